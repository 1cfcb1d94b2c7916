"""What is in .github: linted, and every action pinned by the hash of a commit."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from checks import ROOT, run, skip, tool

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def test_actionlint_finds_nothing():
    done = run(tool("actionlint"), "-no-color", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing():
    # Without the network: it would ask GitHub about the actions.
    done = run(tool("zizmor"), "--offline", "--no-progress", "--persona", "pedantic", GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


@pytest.mark.parametrize("schema,files", [
    ("vendor.github-workflows", WORKFLOWS),
    ("custom.github-workflows-require-timeout", WORKFLOWS),
    ("vendor.github-issue-forms", FORMS),
    ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
    ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
])
def test_files_follow_githubs_schemas(schema, files):
    assert files
    done = run(tool("check-jsonschema"), "--builtin-schema", schema, *files)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash(workflow):
    uses = re.findall(r"^ *(?:- )?uses: (.*)$", workflow.read_text(), re.MULTILINE)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_one_version_of_an_action_and_of_rust_is_used():
    texts = "".join(path.read_text() for path in WORKFLOWS)
    pins = {}
    for action, version in re.findall(r"uses: ([\w/-]+)@(\S+)", texts):
        pins.setdefault(action, set()).add(version)
    assert all(len(versions) == 1 for versions in pins.values()), pins
    [rust] = set(re.findall(r"RUST: (\S+)", texts))
    image = (ROOT / "deploy/container/Dockerfile").read_text()
    assert f"FROM rust:{rust}-" in image
    assert ci("run")["container"]["image"] == f"rust:{rust}-bookworm"


def test_release_without_a_dated_section_of_the_changelog_builds_nothing():
    jobs = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())["jobs"]
    [first] = [name for name, job in jobs.items() if "needs" not in job]
    assert any(step.get("run", "").endswith(" --notes") for step in jobs[first]["steps"])
    assert jobs["build"]["needs"] == first


def test_dependabot_reads_every_list_of_python_packages():
    lists = run("git", "ls-files", "*requirements*.txt").stdout.split()
    assert lists
    [pip] = [entry for entry in yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"] if entry["package-ecosystem"] == "pip"]
    assert set(pip["directories"]) == {"/" + path.rpartition("/")[0] for path in lists}


def ci(job):
    return yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())["jobs"][job]


def test_ci_runs_what_the_repository_runs():
    assert ".ci/run" in [step.get("run") for step in ci("run")["steps"]]


# --- What .ci/run finds in the jobs ---


def test_ci_installs_every_package_that_the_tests_need():
    """GitHub sets CI=true, and then the tests fail without their programs: tests/install must be able to install all of them."""
    assert "\ntests/install\n" in (ROOT / ".ci" / "run").read_text()
    assert "tests/install" in [step.get("run") for step in ci("drill")["steps"]]
    for job in ("run", "drill"):
        container = ci(job)["container"]
        # Debian 12, as root: a user that the options name would not be.
        assert container["image"].endswith("-bookworm") and "--user" not in container["options"], job
        assert "env" not in container
    installing = (ROOT / "tests" / "install").read_text()
    packages = re.findall(r"packages\+=\(([\w-]+)\)", installing)
    assert {"unbound", "bind9", "postgresql", "mariadb-server-core", "jq", "awscli"} <= set(packages)
    assert len(packages) == installing.count("packages+=")
    if not shutil.which("apt-cache") or "bookworm" not in open("/etc/os-release").read():
        skip("this is not Debian 12: whether it has the packages of tests/install was not asked")
    policy = run("apt-cache", "policy", *packages, env=os.environ | {"LC_ALL": "C"}).stdout
    if not policy:
        skip("this machine has no list of Debian's packages: whether they have those of tests/install was not asked")
    candidates = re.findall(r"^(\S+):\n.*\n  Candidate: (\S+)", policy, re.MULTILINE)
    assert {name for name, version in candidates if version != "(none)"} == set(packages)
    assert dict(candidates)["awscli"].startswith("2.")


def installing(folder, missing):
    """Runs tests/install where jq and MariaDB's client are not installed, and apt knows all packages except the missing ones."""
    tools = folder / "bin"
    for path in (tools, folder / "tests", folder / ".venv/bin", folder / ".venv/awscli/bin"):
        path.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "install", folder / "tests")
    for name in ("sed", "dirname", "bash"):
        (tools / name).symlink_to(shutil.which(name))
    unknown = " | ".join(missing) or "''"
    scripts = {
        tools / "id": "echo 0",
        tools / "apt-get": f'echo "$*" >> {folder}/installed',
        tools / "apt-cache": f'case $2 in {unknown}) ;; *) printf "$2:\\n  Installed: (none)\\n  Candidate: 1.0\\n" ;; esac',
        **{folder / venv / "bin" / name: ":" for venv in (".venv", ".venv/awscli") for name in ("python", "pip")},
    }
    for path, text in scripts.items():
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    done = subprocess.run([shutil.which("bash"), folder / "tests" / "install"], env={"PATH": str(tools)}, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return (folder / "installed").read_text().splitlines()[-1].split(), done.stderr


def test_package_that_a_distribution_lacks_is_named_and_stops_no_other(tmp_path):
    installed, said = installing(tmp_path / "all", [])
    assert {"install", "jq", "mariadb-client-core"} <= set(installed) and "no package jq" not in said
    installed, said = installing(tmp_path / "one", ["jq"])
    assert {"install", "mariadb-client-core"} <= set(installed) and "jq" not in installed
    assert "SKIPPED: this distribution has no package jq" in said


def test_ci_cannot_skip_terraform(tmp_path):
    job = ci("run")
    [setup] = [step for step in job["steps"] if step.get("uses", "").startswith("hashicorp/setup-terraform@")]
    assert setup["with"]["terraform_wrapper"] is False
    assert job["env"]["REQUIRE_TERRAFORM"]
    # The provider of one version, before the tests.
    scripts = [step.get("run", "") for step in job["steps"]]
    [mirror] = [number for number, script in enumerate(scripts) if "terraform providers mirror" in script]
    assert mirror < scripts.index(".ci/run")
    program = "import runner; runner.skip('terraform is not installed')"
    for required, kind in (("1", "Failed"), ("", "Skipped")):
        environment = os.environ | {"REQUIRE_TERRAFORM": required, "PYTHONPATH": str(ROOT / "tests" / "terraform")}
        done = run(sys.executable, "-c", program, env=environment)
        assert f"{kind}: terraform is not installed" in done.stderr, done.stderr


# What `terraform providers mirror` writes.
MIRROR = """#!/bin/sh
grep -q '"hashicorp/aws", version = "'$AWS'"' main.tf || exit 1
mkdir -p $3/registry.terraform.io/hashicorp/aws && cd $3/registry.terraform.io/hashicorp/aws
echo program > terraform-provider-aws_v${AWS}_x5
python3 -m zipfile -c terraform-provider-aws_${AWS}_linux_amd64.zip terraform-provider-aws_v${AWS}_x5
rm terraform-provider-aws_v${AWS}_x5
echo {} > index.json
echo {} > $AWS.json
"""


def test_ci_leaves_the_provider_where_the_tests_look_for_it(tmp_path):
    if not shutil.which("unzip"):
        skip("unzip is not installed: the workflow's step for Terraform's provider was not played")
    [step] = [step for step in ci("run")["steps"] if "terraform providers mirror" in step.get("run", "")]
    (tmp_path / "terraform").write_text(MIRROR)
    (tmp_path / "terraform").chmod(0o755)
    environment = os.environ | step["env"] | {"RUNNER_TEMP": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env"),
                                              "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run("bash", "-e", "-c", step["run"], env=environment)
    assert done.returncode == 0, done.stderr
    # The variable that tests/terraform/runner.py reads, and Terraform's layout of an unpacked provider.
    plugins = (tmp_path / "env").read_text().strip().removeprefix("TF_PLUGIN_DIR=")
    version = step["env"]["AWS"]
    folder = f"{plugins}/registry.terraform.io/hashicorp/aws"
    assert os.listdir(folder) == [version]
    assert os.listdir(f"{folder}/{version}/linux_amd64") == [f"terraform-provider-aws_v{version}_x5"]


def test_drill_runs_on_the_oldest_python_that_it_supports(tmp_path):
    [version] = re.findall(r"needs Python (3\.\d+) or newer", (ROOT / "docs" / "drill.md").read_text())
    assert f"versions=({version} " in (ROOT / "scripts" / "pythons").read_text()
    assert ci("drill")["container"]["image"] == f"python:{version}-bookworm"
    assert ci("drill")["env"]["DRILL_PYTHONS"].endswith(f"/python{version}")
    # The given one, and an older one before it where there is one.
    def found(path):
        return run(ROOT / "scripts" / "pythons", sys.executable, env={"PATH": path}).stdout.splitlines()

    for name in ("bash", "readlink"):
        (tmp_path / name).symlink_to(shutil.which(name))
    assert found(str(tmp_path)) == [sys.executable]
    for name, text in (("python3.9", "exit 127"), ("python3.10", "echo /opt/python3.10"), ("python3.11", "echo /opt/python3.11")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    assert found(f"{tmp_path}") == ["/opt/python3.10", sys.executable]


# --- What the weekly workflow and `make deny` look at ---


@pytest.mark.parametrize("target,checks", [
    (["deny"], {"bans", "licenses", "sources"}),
    (["deny", "ADVISORY_DB=/nowhere"], {"bans", "licenses", "sources", "advisories"}),
    (["advisories"], {"advisories"}),
])
def test_dependencies_of_the_released_command_line_are_checked(tmp_path, target, checks):
    tool, calls = tmp_path / "cargo-deny", tmp_path / "calls"
    tool.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    tool.chmod(0o755)
    done = run("make", "--always-make", *target, f"CARGO_DENY={tool}", "--assume-old", tool)
    assert done.returncode == 0, done.stderr
    # scripts/release builds the command line with it.
    assert "--features network --bin rds-nlb-sync" in (ROOT / "Makefile").read_text()
    released = [call.split(" check ")[1].split() for call in calls.read_text().splitlines() if "--features network" in call]
    assert {check for checked in released for check in checked} == checks
