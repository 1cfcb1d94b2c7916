"""Format, validity and plans of every module and example."""

import re

import pytest

import runner

FOLDERS = sorted(
    str(path.parent.relative_to(runner.MODULES))
    for pattern in ("versions.tf", "modules/*/versions.tf", "examples/*/main.tf")
    for path in runner.MODULES.glob(pattern)
)
TESTED = sorted({str(path.parents[1].relative_to(runner.MODULES)) for path in runner.MODULES.rglob("tests/*.tftest.hcl")
                 if ".terraform" not in path.parts})


@pytest.fixture(scope="module")
def modules(provider, tmp_path_factory):
    return runner.copy(tmp_path_factory.mktemp("modules"))


def test_every_folder_is_found():
    assert {".", "modules/privatelink", "modules/lattice"} < set(FOLDERS)
    assert len([folder for folder in FOLDERS if folder.startswith("examples/")]) == 5
    assert TESTED == [".", "modules/lattice", "modules/privatelink"]


def test_files_are_formatted(modules):
    assert runner.terraform(modules, "fmt", "-check", "-recursive", "-diff", check=False) == (0, "")


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_valid_and_needs_only_the_aws_provider(modules, folder):
    runner.init(modules / folder)
    runner.terraform(modules / folder, "validate", "-no-color")
    sources = set()
    for file in (modules / folder).glob("*.tf"):
        sources |= set(re.findall(r'source\s*=\s*"([^"]+)"', file.read_text()))
    assert {source for source in sources if not source.startswith(".")} <= {"hashicorp/aws"}


@pytest.mark.parametrize("folder", TESTED)
def test_plans(modules, folder):
    runner.init(modules / folder)
    code, output = runner.terraform(modules / folder, "test", "-no-color", check=False)
    print(output)
    assert code == 0, output
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", output), output


@pytest.mark.parametrize("folder", [".", "modules/privatelink", "modules/lattice"])
def test_every_input_and_output_is_described(folder):
    for name, kind in (("variables.tf", "variable"), ("outputs.tf", "output")):
        text = (runner.MODULES / folder / name).read_text()
        blocks = re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.M | re.S)
        assert blocks
        for block, body in blocks:
            assert re.search(r"^  description = ", body, re.M) or re.search(r"^  description\s+= ", body, re.M), block


def inputs(folder):
    """The inputs of a module, each with the names of its attributes if it is one object."""
    text = (runner.MODULES / folder / "variables.tf").read_text()
    return {
        name: set(re.findall(r"^    (\w+) +=", kind[1], re.M)) if (kind := re.search(r"^  type = object\({\n(.*?)^  }\)", body, re.M | re.S)) else set()
        for name, body in re.findall(r'^variable "(\w+)" {\n(.*?)^}', text, re.M | re.S)
    }


def test_path_hands_on_every_input_of_the_function():
    ours, path = inputs("."), inputs("modules/privatelink")
    assert len(ours["alarms"]) == 5 and len(ours["settings"]) == 12
    [call] = re.findall(r'^module "sync" {\n(.*?)^}', (runner.MODULES / "modules/privatelink/main.tf").read_text(), re.M | re.S)
    # The path makes these itself; it has no tag, since every group is its own.
    for name in ours.keys() - {"name", "bindings", "vpc", "discovery_tag"}:
        assert ours[name] == path[name], name
        assert re.search(rf"^  {name} += var\.{name}$", call, re.M), name


def test_every_input_is_in_the_readme():
    text = (runner.MODULES / "README.md").read_text()
    for name in re.findall(r'^variable "(\w+)"', (runner.MODULES / "variables.tf").read_text(), re.M):
        assert f"`{name}`" in text, name


# Phrases of the refusals, which the module and the program share.
WORDS = [
    "is an address, which never follows a failover",
    "is not a fully qualified DNS name",
    "is not a target group's ARN. Fix: give arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID",
    "Fix: bind each target group to one endpoint",
    "is not a port from 1 to 65535",
    "is not the identifier of a cluster or instance. Fix: give one such as orders, or leave it out",
    "is not a role. Fix: give",
    "leave it out to deregister the",
    "is for Multi-AZ instances; a cluster's",
    "goes with the role",
    "is not a tag key. Fix: give one such as rds-nlb-sync",
    "must be addresses such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53",
    "is not a whole number from",
    "is neither a DNS name nor a suffix such as *.rds.amazonaws.com",
]

REFUSED = """
module "sync" {
  source        = "../terraform"
  discovery_tag = "aws:tag"
  package       = { s3_bucket = "bucket", s3_key = "code.zip" }
  settings      = { watch_seconds = 30, nameservers = ["dns.example.com"], discovery_endpoints = ["rds"] }
  bindings = {
    address  = { endpoint = "10.0.0.1", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/a/0a", port = 0 }
    label    = { endpoint = "orders", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/a/0a" }
    group    = { endpoint = "a.example.com", target_group_arn = "arn:aws:s3:::bucket", database = "a.b", role = "reader" }
    standby  = { endpoint = "b.example.com", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/b/0a", standby = "leave" }
    cluster  = { endpoint = "c.cluster-a.us-east-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/c/0a", standby = "keep" }
    readers  = { endpoint = "d.example.com", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/d/0a", standby = "keep", role = "readers" }
    reader   = { endpoint = "e.cluster-ro-a.us-east-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/e/0a" }
  }
}
"""


def test_refusals_have_the_phrases_of_the_program(provider, tmp_path):
    # Nothing listens there: a plan that is refused asks no API.
    workspace = runner.Workspace(tmp_path, REFUSED, "http://127.0.0.1:9")
    code, output = workspace.run("plan", "-no-color", check=False)
    assert code == 1
    said = " ".join(re.sub(r"[│╷╵]", " ", output).split())
    for phrase in WORDS:
        assert phrase in said, phrase
    assert 'bindings["address"].endpoint: "10.0.0.1"' in said
    assert 'is bound by "address" and "label"' in said
    assert 'bindings["reader"].role: "e.cluster-ro-a.us-east-1.rds.amazonaws.com" is a reader endpoint' in said


@pytest.mark.parametrize("phrase", WORDS)
def test_refusal_phrase_is_in_the_program(phrase):
    # A line of Rust may end within a phrase, and its quotes are escaped.
    program = "".join(re.sub(r"\\\n\s*", "", path.read_text()) for path in sorted((runner.ROOT / "src").rglob("*.rs")))
    # The program names one server, the module all of them.
    assert phrase.removeprefix("must be addresses ") in program, phrase
