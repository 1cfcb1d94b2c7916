"""What is in .github: linted, and every action pinned by the hash of a commit."""

import re

import pytest
import yaml

from checks import ROOT, run, tool

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


def test_ci_runs_what_the_repository_runs():
    steps = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())["jobs"]["run"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
