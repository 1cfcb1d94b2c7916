"""Format, validity and plans of every module and example."""

import json
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


def test_runbook_names_outputs_of_the_module_which_the_path_hands_on():
    [table] = re.findall(r"^\| what \|[^\n]*Terraform[^\n]*\n(?:\|[^\n]*\n)+", (runner.ROOT / "docs/runbook.md").read_text(), re.M)
    named = {name for row in table.splitlines() for name in re.findall(r"`([a-z_]+)`", row.split("|")[3])}
    assert {"log_group_name", "queue_urls", "schedule_rule_name"} <= named
    [names] = re.findall(r"queue_names += (.*)", (runner.MODULES / "main.tf").read_text())
    queues = set(re.findall(r"(\w+) = ", names))
    assert queues == {"undelivered_events", "failed_runs"} <= named
    outputs = (runner.MODULES / "outputs.tf").read_text()
    assert named - queues <= set(re.findall(r'^output "(\w+)"', outputs, re.M))
    path = (runner.MODULES / "modules/privatelink/outputs.tf").read_text()
    assert re.search(r'^output "sync" {\n.*\n  value += module\.sync$', path, re.M)
    assert "`sync`" in (runner.MODULES / "README.md").read_text()


# The parameters of deploy/lattice.yaml: the module's input, or what the provider would have to have.
OF_LATTICE = {
    "Name": "name", "Endpoint": "endpoint", "Port": "port", "VpcId": "vpc_id", "SubnetIds": "subnet_ids",
    "DatabaseSecurityGroupId": "database_security_group_id", "AddDatabaseRule": "manage_database_rule",
    "VendorAccountIds": "vendor_account_ids", "AllowExternalAccounts": "allow_external_accounts",
    "LookUp": ("aws_vpclattice_resource_gateway", "resource_config_dns_resolution"),
    "AddressesPerInterface": ("aws_vpclattice_resource_gateway", "ipv4_addresses_per_eni"),
    "CustomDomainName": ("aws_vpclattice_resource_configuration", "custom_domain_name"),
    "DomainVerificationId": ("aws_vpclattice_resource_configuration", "domain_verification_id"),
    # Terraform deletes the old gateway before it makes one of the same name.
    "Generation": None,
}


def test_lattice_has_the_templates_parameters_or_the_readme_names_them():
    template = (runner.ROOT / "deploy/lattice.yaml").read_text()
    parameters = re.findall(r"^  (\w+):$", template[template.index("\nParameters:"):template.index("\nRules:")], re.M)
    assert set(parameters) == OF_LATTICE.keys()
    ours = {parameter: name for parameter, name in OF_LATTICE.items() if isinstance(name, str)}
    assert set(ours.values()) | {"tags"} == inputs("modules/lattice").keys()
    [said] = re.findall(r"^## VPC Lattice\n(.*?)^## ", (runner.MODULES / "README.md").read_text(), re.M | re.S)
    for parameter in OF_LATTICE.keys() - ours.keys():
        assert f"`{parameter}`" in said, parameter


def test_provider_has_none_of_what_the_lattice_module_lacks(modules):
    folder = modules / "modules/lattice"
    runner.init(folder)
    [version] = json.loads(runner.terraform(folder, "version", "-json")[1])["provider_selections"].values()
    if not version.startswith("5."):
        pytest.skip("the module works with version 5 of the provider, and has what that has")
    [schemas] = json.loads(runner.terraform(folder, "providers", "schema", "-json")[1])["provider_schemas"].values()
    for resource, attribute in filter(lambda lacking: isinstance(lacking, tuple), OF_LATTICE.values()):
        # The resource and its other attributes are there.
        assert "name" in schemas["resource_schemas"][resource]["block"]["attributes"]
        assert attribute not in schemas["resource_schemas"][resource]["block"]["attributes"], attribute


NAME_ALONE = "Fix: give the DNS name alone, such as orders.cluster-….rds.amazonaws.com"

# What the module says of the bindings below: where, the value, and the sentences, which are the program's to the end of its text.
SENTENCES = [
    ('bindings["address"].endpoint', '"10.0.0.1"', ["is an address, which never follows a failover.", NAME_ALONE]),
    ('bindings["label"].endpoint', '"orders"', ["is not a fully qualified DNS name.", NAME_ALONE]),
    ('bindings["group"].target_group_arn', '"arn:aws:s3:::bucket"',
     ["is not a target group's ARN. Fix: give arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"]),
    ('bindings["address"].port', "0", ["is not a port from 1 to 65535"]),
    ('bindings["group"].database', '"a.b"',
     ["is not the identifier of a cluster or instance. Fix: give one such as orders, or leave it out"]),
    ('bindings["group"].role', '"reader"', ['is not a role. Fix: give "writer", "readers" or "all"']),
    ('bindings["reader"].endpoint', '"e.cluster-ro-a.us-east-1.rds.amazonaws.com"',
     ["is a cluster's reader endpoint, which gives one reader at a time and not the writer. Fix: give the writer endpoint "
      '(ID.cluster-….rds.amazonaws.com), or set role to "readers"']),
    ('bindings["standby"].standby', '"leave"', ['is not "keep". Fix: leave it out to deregister the previous writer']),
    ('bindings["cluster"].standby', "",
     ['"keep" is for Multi-AZ instances; a cluster\'s previous writer continues as a reader, so clients would reach a database that '
      "they cannot write to"]),
    ('bindings["readers"].standby', "", ['"keep" goes with the role "writer" alone. Fix: leave "standby" or "role" out']),
    ("discovery_tag", '"aws:tag"', ["is not a tag key. Fix: give one such as rds-nlb-sync"]),
    ("settings.nameservers[1]", '"dns.example.com"', ["is not an address such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53"]),
    ("settings.discovery_endpoints[0]", '"rds"', ["is neither a DNS name nor a suffix such as *.rds.amazonaws.com"]),
    # The bounds are below: the program's text has them as values.
    ("settings.watch_seconds", "30", ["is not a whole number from 60 to 600 (default 180)"]),
]

REFUSED = """
module "sync" {
  source        = "../terraform"
  discovery_tag = "aws:tag"
  package       = { s3_bucket = "bucket", s3_key = "code.zip" }
  settings      = { watch_seconds = 30, nameservers = ["10.0.0.2", "dns.example.com"], discovery_endpoints = ["rds"] }
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


def squeezed(text):
    """Terraform breaks its lines where they are long, and draws a frame around them."""
    return re.sub(r"[│╷╵\s]", "", text)


def test_refusals_have_the_sentences_of_the_program(provider, tmp_path):
    # Nothing listens there: a plan that is refused asks no API.
    workspace = runner.Workspace(tmp_path, REFUSED, "http://127.0.0.1:9")
    code, output = workspace.run("plan", "-no-color", check=False)
    assert code == 1
    said = squeezed(output)
    for where, value, sentences in SENTENCES:
        expected = f"{where}: {' '.join([value, *sentences])}."
        assert squeezed(expected) in said, expected
    assert squeezed('is bound by "address" and "label". Fix: bind each target group to one endpoint.') in said


def program():
    """The program's texts: a line of Rust may end within one, and its quotes are escaped."""
    sources = [path.read_text() for path in sorted((runner.ROOT / "src").rglob("*.rs")) if "tests" not in str(path)]
    return "".join(re.sub(r"\\\n\s*", "", source) for source in sources).replace('\\"', '"')


@pytest.mark.parametrize("sentence", sorted({sentence for _, _, sentences in SENTENCES for sentence in sentences}))
def test_sentence_is_in_the_program(sentence):
    said = re.sub(r"from 60 to 600 \(default 180\)", "from {least} to {most} (default {default})", sentence)
    # Number and reason are two texts there.
    said = said.removeprefix("is not ") if "{least}" in said else said
    # It begins a text or follows the value, and it ends the text or comes before the fix.
    begins, ends = ('"', "?} ", "{value} "), ('"', " {fix}")
    text = program()
    assert any(f"{begin}{said}{end}" in text for begin in begins for end in ends), said


def test_fix_of_two_bindings_of_one_group_is_the_programs():
    assert 'already. Fix: bind each target group to one endpoint"' in program()
