"""What the function may do against what it does, and what EventBridge may do with the queue."""

import json
from pathlib import Path

import pytest

from iam import allows
from stack import ACCOUNT, GROUP, OTHER_GROUP, REGION, TWO_PARAMETERS, Stack, listed, policies

RECORDED = set(json.loads((Path(__file__).parent / "recorded-actions.json").read_text())["actions"])
CHANGES = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
CLUSTER = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:"
BINDINGS = {"Bindings": '[{"endpoint": "a.b", "target_group": "…"}]', "BindingsTargetGroupArns": GROUP}
EVERYTHING = TWO_PARAMETERS | {
    "SubnetIds": "subnet-0a", "SecurityGroupIds": "sg-0b", "Tracing": "Active",
    "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a",
}


def actions(statements):
    return {action for statement in statements for action in listed(statement["Action"])}


def program(parameters):
    """What the program itself may do: not what Lambda does in its name."""
    found = policies(Stack(parameters))
    return [statement for name, statements in found.items() if name.startswith("Sync") for statement in statements]


@pytest.mark.parametrize("parameters", [TWO_PARAMETERS, BINDINGS, {"DiscoveryTag": "sync/endpoint"}, EVERYTHING])
def test_the_policy_allows_what_the_program_calls_and_nothing_else(parameters):
    # Tags are read only where there are any to read.
    unneeded = set() if "DiscoveryTag" in parameters else {"elasticloadbalancing:DescribeTags"}
    assert actions(program(parameters)) == RECORDED - unneeded


def test_what_lambda_does_in_the_function_s_name():
    always = {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
    assert actions(policies(Stack(TWO_PARAMETERS))["Lambda"]) == always
    assert actions(policies(Stack(EVERYTHING))["Lambda"]) == always | {
        "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
        "kms:Decrypt", "kms:GenerateDataKey", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    }


def test_the_role_has_no_managed_policies():
    for parameters in (TWO_PARAMETERS, EVERYTHING):
        [role] = Stack(parameters).of_type("AWS::IAM::Role").values()
        assert "ManagedPolicyArns" not in role


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize("parameters", [TWO_PARAMETERS, BINDINGS])
def test_another_group_is_refused(parameters, action):
    assert allows(program(parameters), action, GROUP)
    assert not allows(program(parameters), action, OTHER_GROUP)
    assert not allows(program(parameters), action, GROUP.replace(REGION, "eu-west-1"))


@pytest.mark.parametrize("action", CHANGES)
def test_every_group_of_the_bindings_is_allowed(action):
    both = program(BINDINGS | {"BindingsTargetGroupArns": f"{GROUP},{OTHER_GROUP}"})
    assert allows(both, action, GROUP) and allows(both, action, OTHER_GROUP)


@pytest.mark.parametrize("action", CHANGES)
def test_with_discovery_the_tag_decides(action):
    discovered = program({"DiscoveryTag": "sync/endpoint"})
    assert allows(discovered, action, OTHER_GROUP, {"aws:ResourceTag/sync/endpoint": "a.b"})
    assert not allows(discovered, action, OTHER_GROUP)
    assert not allows(discovered, action, OTHER_GROUP, {"aws:ResourceTag/team": "data"})


@pytest.mark.parametrize("parameters,cluster,allowed", [
    (TWO_PARAMETERS, "orders", True),
    (TWO_PARAMETERS, "billing", False),
    # A CNAME of one's own: the cluster is whatever it leads to, or what Database says.
    (TWO_PARAMETERS | {"Endpoint": "orders.example.com"}, "billing", True),
    (TWO_PARAMETERS | {"Endpoint": "orders.example.com", "Database": "billing"}, "billing", True),
    (TWO_PARAMETERS | {"Endpoint": "orders.example.com", "Database": "billing"}, "orders", False),
    # A global cluster's endpoint leads to the primary cluster, which has another name.
    (TWO_PARAMETERS | {"Endpoint": "world.global-abc.global.rds.amazonaws.com"}, "orders", True),
    (BINDINGS, "billing", True),
])
def test_clusters(parameters, cluster, allowed):
    assert allows(program(parameters), "rds:DescribeDBClusters", CLUSTER + cluster) is allowed


@pytest.mark.parametrize("parameters", [TWO_PARAMETERS, BINDINGS, {"DiscoveryTag": "sync/endpoint"}])
def test_instances_may_be_looked_at(parameters):
    instance = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders-2"
    assert allows(program(parameters), "rds:DescribeDBInstances", instance)
    assert not allows(program(parameters), "rds:DescribeDBInstances", instance.replace(REGION, "eu-west-1"))


def test_eventbridge_may_use_the_queue_for_these_rules_alone():
    stack = Stack(TWO_PARAMETERS)
    queues = {}
    for policy in stack.of_type("AWS::SQS::QueuePolicy").values():
        for queue in policy["Queues"]:
            queues[f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"] = policy["PolicyDocument"]["Statement"]
    rules = stack.of_type("AWS::Events::Rule")
    assert len(rules) == 2
    for name, rule in rules.items():
        for target in rule["Targets"]:
            queue = target["DeadLetterConfig"]["Arn"]
            assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] >= 60

            def admits(source, secure="true", service="events.amazonaws.com"):
                context = {"aws:SourceArn": source, "aws:SecureTransport": secure}
                return allows(queues[queue], "sqs:SendMessage", queue, context, service)

            arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"
            assert admits(arn)
            assert not admits(arn + "-of-another")
            assert not admits(arn, secure="false")
            assert not admits(arn, service="sns.amazonaws.com")


def test_eventbridge_may_call_the_function_for_these_rules_alone():
    stack = Stack(TWO_PARAMETERS)
    permissions = stack.of_type("AWS::Lambda::Permission").values()
    assert all(p["Principal"] == "events.amazonaws.com" for p in permissions)
    arns = {f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}" for name in stack.of_type("AWS::Events::Rule")}
    assert {p["SourceArn"] for p in permissions} == arns


def test_a_boundary_reaches_the_role():
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
    [role] = Stack(TWO_PARAMETERS | {"PermissionsBoundaryArn": boundary}).of_type("AWS::IAM::Role").values()
    assert role["PermissionsBoundary"] == boundary


def test_a_key_reaches_all_that_is_stored():
    key = EVERYTHING["KmsKeyArn"]
    stack = Stack(EVERYTHING)
    assert [f["KmsKeyArn"] for f in stack.of_type("AWS::Lambda::Function").values()] == [key]
    assert [g["KmsKeyId"] for g in stack.of_type("AWS::Logs::LogGroup").values()] == [key]
    assert {q["KmsMasterKeyId"] for q in stack.of_type("AWS::SQS::Queue").values()} == {key}
    assert [t["KmsMasterKeyId"] for t in stack.of_type("AWS::SNS::Topic").values()] == [key]
    for queue in Stack(TWO_PARAMETERS).of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
