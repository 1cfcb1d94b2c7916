"""The architecture: what SAM builds, what it deploys, and the check between them; the release's metadata."""

import re
import subprocess
import tomllib

import pytest
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

from stack import ROOT, source

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
