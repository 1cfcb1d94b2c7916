"""The architecture: what SAM builds, what it deploys, and the check between them; the release's metadata."""

import re
import shutil
import subprocess
import tomllib

import pytest
from click.testing import CliRunner
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

import commands
from stack import GROUP, ROOT, Stack, source
from test_documents import parsed_by_sam

CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())


@pytest.mark.parametrize("environment,architecture", [("default", "arm64"), ("x86_64", "x86_64")])
def test_samconfig_builds_and_deploys_the_same(environment, architecture):
    for command in ("build", "deploy"):
        assert CONFIG[environment][command]["parameters"]["parameter_overrides"] == [f"Architecture={architecture}"]


def test_samconfig_environments_differ_in_architecture_only():
    def without(environment):
        deploy = dict(CONFIG[environment]["deploy"]["parameters"])
        del deploy["parameter_overrides"]
        return deploy

    assert without("default") == without("x86_64")


@pytest.fixture
def guided(tmp_path, monkeypatch):
    """Answers the questions of `sam deploy --guided`, in a copy of what it reads; returns the copy."""
    import samcli.commands.deploy.guided_context as asking
    from samcli.commands.deploy import command
    from samcli.commands.deploy.deploy_context import DeployContext
    from samcli.commands.package.package_context import PackageContext

    # What comes between the answers and AWS.
    monkeypatch.setattr(asking, "manage_stack", lambda **_: "bucket")
    monkeypatch.setattr(asking, "print_managed_s3_bucket_info", lambda _: None)
    monkeypatch.setattr(asking.GuidedContext, "prompt_image_repository", lambda *_: {})
    monkeypatch.setattr(PackageContext, "run", lambda _: None)
    monkeypatch.setattr(DeployContext, "run", lambda _: None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    for name in ("samconfig.toml", "template.yaml"):
        shutil.copy(ROOT / name, tmp_path)

    def guided(*options, **answers):
        monkeypatch.chdir(tmp_path)
        parameters = [answers.get(name, "") for name in source()["Parameters"]]
        # Stack and Region; after the parameters: confirm, create roles, disable rollback; then sign the code. Nothing to that is a yes.
        lines = ["", "", *parameters, "", "", "", answers.get("sign", "n"), "", "", ""]
        result = CliRunner().invoke(command.cli, ["--guided", *options], input="\n".join(lines) + "\n", obj=None)
        assert "Do you want to sign your code? [Y/n]" in result.output and "Saved arguments to config file" in result.output, result.output
        return tmp_path

    return guided


def upgrade(folder, monkeypatch, *options):
    """The parameters that the documented upgrade gives to sam build and to sam deploy, by SAM's own reader of samconfig.toml."""
    [line] = [line for line in commands.lines("docs/deploy.md") if line == "sam build && sam deploy"]
    return [parsed_by_sam([*words, *options], monkeypatch, folder) for words in commands.simple(line)]


X86_64 = ("--config-env", "x86_64")


@pytest.mark.parametrize("options,architecture", [((), "arm64"), (X86_64, "x86_64")])
def test_upgrade_as_shipped(options, architecture, monkeypatch):
    # What it does not name keeps its value.
    assert upgrade(ROOT, monkeypatch, *options) == [{"Architecture": architecture}] * 2


@pytest.mark.parametrize("options,architecture", [((), "arm64"), (X86_64, "x86_64")])
def test_upgrade_after_guided_answers(guided, options, architecture, monkeypatch):
    folder = guided(*options, Endpoint="orders.example.com", TargetGroupArn=GROUP, DryRun="true")
    built, deployed = upgrade(folder, monkeypatch, *options)
    assert built["Architecture"] == deployed["Architecture"] == architecture
    # The document warns of that: each later run gives them again.
    assert deployed.keys() == source()["Parameters"].keys()
    assert (deployed["DryRun"], deployed["TargetGroupArn"]) == ("true", GROUP)
    text = " ".join((ROOT / "docs/deploy.md").read_text().split())
    assert text.count("saved `DryRun=true` starts the dry run again") == 2
    Stack(deployed)


def test_another_answer_for_the_architecture_is_not_what_sam_builds(guided, monkeypatch):
    # SAM saves it for sam deploy alone. While that is so, docs/deploy.md asks for --config-env.
    built, deployed = upgrade(guided(DiscoveryTag="sync", Architecture="x86_64"), monkeypatch)
    assert (built["Architecture"], deployed["Architecture"]) == ("arm64", "x86_64")


@pytest.mark.parametrize("template", ["template.yaml", "deploy/privatelink.yaml"])
@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_sam_builds_for_the_given_architecture(template, architecture):
    # The function inside the nested stack gets it by the outer stack's parameter.
    stacks, _ = SamLocalStackProvider.get_stacks(str(ROOT / template), parameter_overrides={"Architecture": architecture})
    assert [f.architectures for f in SamFunctionProvider(stacks).get_all()] == [[architecture]]


def elf(machine):
    return b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + bytes(40)


@pytest.mark.parametrize("machine,expected,message", [
    (183, "arm64", None),
    (62, "x86_64", None),
    (62, "arm64", "is for x86_64, and the function for arm64"),
    (183, "x86_64", "is for arm64, and the function for x86_64"),
    (40, "arm64", "is for no architecture of Lambda"),
])
def test_check_build_reads_the_binary(tmp_path, machine, expected, message):
    # As SAM lays out the build of a nested application.
    (tmp_path / "Sync" / "Function").mkdir(parents=True)
    (tmp_path / "Sync" / "Function" / "bootstrap").write_bytes(elf(machine))
    done = subprocess.run([ROOT / "scripts/check-build", expected, tmp_path], text=True, capture_output=True)
    assert done.returncode == (message is not None) and (message or "") in done.stderr


def test_check_build_needs_a_build(tmp_path):
    done = subprocess.run([ROOT / "scripts/check-build", "arm64", tmp_path], text=True, capture_output=True)
    assert done.returncode == 1 and "run sam build first" in done.stderr


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_make_deploy_gives_one_architecture_to_all_steps(architecture):
    done = subprocess.run(["make", "--dry-run", "deploy", f"ARCH={architecture}", "STACK=sync", "PARAMETERS=DryRun=false"],
                          cwd=ROOT, text=True, capture_output=True, check=True)
    steps = [line for line in done.stdout.splitlines() if "sam build" in line or "sam deploy" in line or "check-build" in line]
    assert [re.search(r"sam build|check-build|sam deploy", step)[0] for step in steps] == ["sam build", "check-build", "sam deploy"]
    assert all(architecture in step for step in steps) and "DryRun=false" in steps[-1]


def test_metadata_of_the_application_repository():
    metadata = source()["Metadata"]["AWS::ServerlessRepo::Application"]
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    assert metadata["SemanticVersion"] == package["version"]
    assert metadata["SpdxLicenseId"] == package["license"]
    assert (ROOT / metadata["LicenseUrl"]).is_file() and (ROOT / metadata["ReadmeUrl"]).is_file()
    # The limits of the Serverless Application Repository API, CreateApplication.
    assert re.fullmatch(r"[a-zA-Z0-9\-]{1,140}", metadata["Name"]) and len(metadata["Description"]) <= 256
    assert re.fullmatch(r"[a-zA-Z0-9](([a-zA-Z0-9]|-(?!-))*[a-zA-Z0-9])?", metadata["Author"])
    assert len(metadata["Labels"]) <= 10
