"""The expanded templates in every partition of AWS, and as stack sets need them."""

import json
import re

import pytest
from parliament import analyze_policy_string

from stack import ACCOUNT, GROUP, PARTITIONS, ROOT, TEMPLATES, Stack, expand, policies
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
    found = [Stack(in_partition(everything, partition), partition=partition), path]
    # VPC Lattice has no resource gateways elsewhere.
    return found + ([Stack(LATTICE, "deploy/lattice.yaml"), database(path)] if partition == "aws" else [])


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


@pytest.mark.parametrize("partition", PARTITIONS)
def test_policies_pass_parliament(partition):
    found = set()
    for name, statements in policies(stacks(partition)[0]).items():
        # parliament knows only the partition aws.
        text = json.dumps({"Version": "2012-10-17", "Statement": statements}).replace(f"arn:{partition}:", "arn:aws:")
        found |= {(name, finding.issue, re.sub(" for action .*", "", str(finding.detail)))
                  for finding in analyze_policy_string(text).findings}
    source_function = "Unknown condition lambda:SourceFunctionArn"
    assert found == {
        # Its list of keys lacks this one (Lambda guide, source function ARN).
        ("Sync", "UNKNOWN_CONDITION_FOR_ACTION", source_function),
        ("SyncDiscovered", "UNKNOWN_CONDITION_FOR_ACTION", source_function),
        # Lambda refuses a role with less (Lambda guide, VPC execution role permissions).
        ("Lambda", "RESOURCE_STAR", "['ec2:AssignPrivateIpAddresses', 'ec2:CreateNetworkInterface', "
                                    "'ec2:DeleteNetworkInterface', 'ec2:UnassignPrivateIpAddresses']"),
    }


def test_expanded_template_is_within_the_limit_of_stack_sets():
    # 1 MB by URL (CloudFormation API, CreateStackSet).
    for name in TEMPLATES:
        assert len(json.dumps(expand(name), indent=2)) < 1_000_000
    # docs/deploy.md says that the template of the function is too long for a body.
    assert len(json.dumps(expand(), indent=2)) > 51_200
    text = (ROOT / "docs/deploy.md").read_text()
    assert "--template-url" in text and "--template-body" not in text.split("```sh")[-1]


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
