"""The expanded templates in every partition of AWS, and as stack sets need them."""

import json
import re

import pytest
from parliament import analyze_policy_string

import commands
from stack import ACCOUNT, GROUP, PARTITIONS, ROOT, TEMPLATES, Stack, expand
from test_paths import API_ENDPOINTS, LATTICE, PRIVATELINK, database

KEY = "arn:aws:kms:us-east-1:123456789012:key/0a"


def in_partition(value, partition):
    region = PARTITIONS[partition][0]
    return json.loads(json.dumps(value).replace("arn:aws:", f"arn:{partition}:").replace("us-east-1", region))


def stacks(partition):
    """Every template with as much as it can have."""
    everything = {
        "Endpoint": "orders.cluster-abc123.us-east-1.rds.amazonaws.com", "TargetGroupArn": GROUP, "Database": "orders",
        "DiscoveryTag": "sync/endpoint", "SubnetIds": "subnet-0a", "SecurityGroupIds": "sg-0b", "Tracing": "Active",
        "KmsKeyArn": KEY, "DryRun": "true",
    }
    path = Stack(in_partition(PRIVATELINK | API_ENDPOINTS | {"DiscoveryTag": "sync"}, partition), "deploy/privatelink.yaml", partition)
    # Of all its choices, those that add something.
    choices = {"Endpoint": "billing.abc123.us-east-1.rds.amazonaws.com", "Database": "billing", "Standby": "keep", "VendorCidr": "10.20.0.0/16"}
    found = [Stack(in_partition(everything, partition), partition=partition), path, database(path, **in_partition(choices, partition))]
    # VPC Lattice has no resource gateways elsewhere.
    return found + ([Stack(LATTICE, "deploy/lattice.yaml")] if partition == "aws" else [])


@pytest.mark.parametrize("partition", PARTITIONS.keys() - {"aws"})
def test_nothing_names_another_partition(partition):
    for stack in stacks(partition):
        text = json.dumps([stack.resources, stack.outputs()])
        assert "arn:aws:" not in text and "us-east-1" not in text


@pytest.mark.parametrize("partition,console", [
    ("aws", "https://us-east-1.console.aws.amazon.com/"),
    ("aws-cn", "https://console.amazonaws.cn/"),
    ("aws-us-gov", "https://console.amazonaws-us-gov.com/"),
])
def test_dashboard_is_in_the_partition_s_console(partition, console):
    assert stacks(partition)[0].outputs()["DashboardUrl"].startswith(console)


def statements(value, name):
    """Every policy in a resource, those of roles, queues and topics: its name, or the resource's, and its statements."""
    if isinstance(value, str) and '"Statement"' in value:
        value = json.loads(value)
    if isinstance(value, list):
        return [found for item in value for found in statements(item, name)]
    if not isinstance(value, dict):
        return []
    if "Statement" in value:
        return [(name, value["Statement"])]
    return [found for item in value.values() for found in statements(item, value.get("PolicyName", name))]


def linted(given, partition="aws"):
    """What parliament finds in statements. It knows only the partition aws."""
    text = json.dumps({"Version": "2012-10-17", "Statement": given}).replace(f"arn:{partition}:", "arn:aws:")
    return {(finding.issue, re.sub(" for action .*", "", str(finding.detail))) for finding in analyze_policy_string(text).findings}


# Lambda refuses a role with less (Lambda guide, VPC execution role permissions).
VPC = ("RESOURCE_STAR", "['ec2:AssignPrivateIpAddresses', 'ec2:CreateNetworkInterface', "
                        "'ec2:DeleteNetworkInterface', 'ec2:UnassignPrivateIpAddresses']")


@pytest.mark.parametrize("partition", PARTITIONS)
def test_policies_pass_parliament(partition):
    policies = [found for stack in stacks(partition) for name, resource in stack.resources.items() for found in statements(resource, name)]
    # Every queue, the topic and the role, with what the role may do.
    assert {name for name, _ in policies} == {
        "Lambda", "Sync", "SyncDiscovered", "Role", "FailedRunsPolicy", "UndeliveredEventsPolicy", "TopicPolicy"}
    found = {(name, *finding) for name, given in policies for finding in linted(given, partition)}
    source_function = "Unknown condition lambda:SourceFunctionArn"
    assert found == {
        # Its list of keys lacks this one (Lambda guide, source function ARN).
        ("Sync", "UNKNOWN_CONDITION_FOR_ACTION", source_function),
        ("SyncDiscovered", "UNKNOWN_CONDITION_FOR_ACTION", source_function),
        ("Lambda", *VPC),
        # The policy that says who may assume the role: the role is the resource.
        ("Role", "MALFORMED", "Statement contains neither Resource nor NotResource"),
    }


FILLED = {
    "REGION": "us-east-1", "ACCOUNT": ACCOUNT, "TARGET_GROUP_ARN": GROUP, "KEY_ARN": KEY, "STACK": "sync", "PARTITION": "aws",
    "QUEUE_ARN": f"arn:aws:sqs:us-east-1:{ACCOUNT}:rds-events",
}
# Newer than parliament, which looks no further at the statement of an action that it does not know.
NEWER = re.compile(r'"(lambda:GetFunctionScalingConfig)",?\s*')


def documented():
    """Every policy of the documents, and of the files that they give to a command: where it stands and its text."""
    found = []
    for document in commands.DOCUMENTS:
        text = commands.read(document)
        blocks = re.findall(r"^ *```.*?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        found += [(document, block) for block in blocks if re.search(r'"?Effect"?\s*[:=]', block)]
        found += [(name, commands.read(name)) for name in re.findall(r"--policy-document file://(\S+)", text)]
    return found


def test_documented_policies_pass_parliament():
    found, placeholders = set(), re.compile(rf"\b({'|'.join(FILLED)})\b")
    for where, text in documented():
        policy = json.loads(NEWER.sub("", placeholders.sub(lambda name: FILLED[name[0]], text)))
        found |= {(where, *finding) for finding in linted(policy if isinstance(policy, list) else policy["Statement"])}
    assert len(documented()) == 10
    everything = {(where, detail) for where, issue, detail in found if issue == "RESOURCE_STAR" and len(detail) > 500}
    # The deployer's of each template, whose resources the document says to limit by name.
    assert [where for where, _ in everything] == ["docs/deploy.md"] * len(TEMPLATES)
    key = "'kms:Decrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyPair', 'kms:GenerateDataKeyPairWithoutPlaintext', " \
          "'kms:GenerateDataKeyWithoutPlaintext'"
    assert found - {(where, "RESOURCE_STAR", detail) for where, detail in everything} == {
        ("docs/deploy.md", *VPC),
        # In the policy of a key, "*" is the key.
        ("docs/deploy.md", "RESOURCE_STAR", f"[{key}]"),
        ("docs/deploy.md", "RESOURCE_STAR", f"[{key}, 'kms:ReEncryptFrom', 'kms:ReEncryptTo']"
         .replace("['kms:Decrypt', ", "['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', ")),
        # AWS's own statement for a log group (CloudWatch Logs guide, encrypting log data) has both.
        ("docs/deploy.md", "UNKNOWN_CONDITION_FOR_ACTION", "Unknown condition kms:EncryptionContext:aws:logs:arn"),
        ("docs/deploy.md", "MISMATCHED_TYPE", "Type mismatch: ArnLike requires a value of type Arn but given String"),
        # The doctor only reads, and reads any database that somebody names.
        ("docs/doctor.md", "RESOURCE_STAR", "['rds:DescribeDBClusters', 'rds:DescribeDBInstances']"),
        ("docs/doctor.md", "RESOURCE_STAR", "['rds:DescribeDBClusterParameters', 'rds:DescribeDBParameters']"),
        ("docs/doctor.md", "RESOURCE_STAR", "['ec2:DescribeVpcEndpointServicePermissions', "
                                            "'vpc-lattice:GetResourceConfiguration', 'vpc-lattice:GetResourceGateway']"),
    }


def test_documented_policies_name_no_partition_or_say_to_replace_it():
    everything = {document: commands.read(document) for document in commands.DOCUMENTS}
    for where, text in documented():
        if where in everything:
            assert not re.search(r"arn:aws[a-z-]*:", text), where
            assert "PARTITION" not in text or "PARTITION is `aws`, `aws-cn` or `aws-us-gov`" in everything[where]
        else:
            # A file has values, so that a command can read it.
            [around] = [document for document in everything.values() if f"[{where}]" in document]
            assert re.search(rf"\[{re.escape(where)}\][^#]*Put your [^.]*\bpartition\b", around), where


def test_expanded_template_is_within_the_limit_of_stack_sets():
    # 1 MB by URL (CloudFormation API, CreateStackSet).
    for name in TEMPLATES:
        assert len(json.dumps(expand(name), indent=2)) < 1_000_000
    # docs/deploy.md says that the template of the function is too long for a body.
    assert len(json.dumps(expand(), indent=2)) > 51_200
    given = [line for _, line in commands.of("aws") if " create-stack-set " in line or " --template-body" in line]
    assert given and all(" --template-url " in line and " --template-body" not in line for line in given)


def test_transform_fixes_the_named_parameters_only():
    # docs/deploy.md names them: a stack set made of the expanded template cannot change them.
    from samtranslator.yaml_helper import yaml_parse

    before = yaml_parse((ROOT / "template.yaml").read_text())
    after = json.dumps(expand()["Resources"])
    for parameter in before["Parameters"]:
        used = f'"Ref": "{parameter}"' in after or f"${{{parameter}}}" in after or f'"Ref": "{parameter}"' in json.dumps(expand()["Conditions"])
        assert used or parameter in ("Tracing",), parameter
    role = expand()["Resources"]["Function"]["Properties"]["Role"]
    assert role == {"Fn::If": ["MakesRole", {"Fn::GetAtt": ["Role", "Arn"]}, ""]}
    assert "`RoleArn` and `Tracing`" in (ROOT / "docs/deploy.md").read_text()


def test_names_do_not_collide_between_regions():
    for resource in Stack({"DiscoveryTag": "sync"}).resources.values():
        assert not resource.keys() & {"RoleName", "QueueName", "TopicName", "FunctionName", "AlarmName"} or "PolicyName" in resource \
            or "Action" in resource or "MaximumEventAgeInSeconds" in resource
    [dashboard] = Stack({"DiscoveryTag": "sync"}).of_type("AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == "sync-us-east-1"
    assert ACCOUNT not in dashboard["DashboardName"]
