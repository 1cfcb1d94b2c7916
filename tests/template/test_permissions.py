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


FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Function"


def program(parameters):
    """The permissions of the program itself, without those of Lambda."""
    found = policies(Stack(parameters))
    return [statement for name, statements in found.items() if name.startswith("Sync") for statement in statements]


def permits(statements, action, resource, context=None, function=FUNCTION):
    """Whether a call from the code of this function is allowed."""
    return allows(statements, action, resource, (context or {}) | {"lambda:SourceFunctionArn": function})


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
    assert permits(program(parameters), action, GROUP)
    assert not permits(program(parameters), action, OTHER_GROUP)
    assert not permits(program(parameters), action, GROUP.replace(REGION, "eu-west-1"))


@pytest.mark.parametrize("action", CHANGES)
def test_every_group_of_the_bindings_is_allowed(action):
    both = program(BINDINGS | {"BindingsTargetGroupArns": f"{GROUP},{OTHER_GROUP}"})
    assert permits(both, action, GROUP) and permits(both, action, OTHER_GROUP)


@pytest.mark.parametrize("action", CHANGES)
def test_with_discovery_the_tag_decides(action):
    discovered = program({"DiscoveryTag": "sync/endpoint"})
    assert permits(discovered, action, OTHER_GROUP, {"aws:ResourceTag/sync/endpoint": "a.b"})
    assert not permits(discovered, action, OTHER_GROUP)
    assert not permits(discovered, action, OTHER_GROUP, {"aws:ResourceTag/team": "data"})


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
    # One of several, and the first label of a custom endpoint, which is not its cluster's identifier.
    (TWO_PARAMETERS | {"Endpoint": "orders.example.com", "Database": "orders,billing"}, "billing", True),
    (TWO_PARAMETERS | {"Endpoint": "analysts.cluster-custom-abc.us-east-1.rds.amazonaws.com"}, "orders", True),
])
def test_clusters(parameters, cluster, allowed):
    assert permits(program(parameters), "rds:DescribeDBClusters", CLUSTER + cluster) is allowed


@pytest.mark.parametrize("parameters", [TWO_PARAMETERS, BINDINGS, {"DiscoveryTag": "sync/endpoint"}])
def test_instances_of_this_region_are_readable(parameters):
    instance = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders-2"
    assert permits(program(parameters), "rds:DescribeDBInstances", instance)
    assert not permits(program(parameters), "rds:DescribeDBInstances", instance.replace(REGION, "eu-west-1"))


@pytest.mark.parametrize("parameters", [TWO_PARAMETERS, BINDINGS, {"DiscoveryTag": "sync/endpoint"}])
@pytest.mark.parametrize("action,kind", [("rds:DescribeDBParameters", "pg"), ("rds:DescribeDBClusterParameters", "cluster-pg")])
def test_parameter_groups_of_this_region_are_readable(parameters, action, kind):
    group = f"arn:aws:rds:{REGION}:{ACCOUNT}:{kind}:orders"
    assert permits(program(parameters), action, group)
    assert not permits(program(parameters), action, group.replace(REGION, "eu-west-1"))


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


@pytest.mark.parametrize("parameters", [TWO_PARAMETERS, BINDINGS, {"DiscoveryTag": "sync/endpoint"}])
def test_credentials_outside_the_function_permit_nothing(parameters):
    tagged = {"aws:ResourceTag/sync/endpoint": "a.b"}
    for action in RECORDED:
        for resource in (GROUP, CLUSTER + "orders", f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders"):
            assert not allows(program(parameters), action, resource, tagged)
            assert not permits(program(parameters), action, resource, tagged, FUNCTION + "-of-another")


def test_lambda_s_own_calls_have_no_source_function():
    # Lambda sends these without the key (Lambda guide, source function ARN).
    for statement in policies(Stack(EVERYTHING))["Lambda"]:
        assert "lambda:SourceFunctionArn" not in str(statement.get("Condition"))


# AWS's documents do not say how kms:ViaService ends in China, so the template admits both.
@pytest.mark.parametrize("partition,suffix", [
    ("aws", "amazonaws.com"), ("aws-us-gov", "amazonaws.com"), ("aws-cn", "amazonaws.com.cn"), ("aws-cn", "amazonaws.com")])
@pytest.mark.parametrize("action", ["kms:Decrypt", "kms:GenerateDataKey"])
def test_key_is_usable_through_lambda_and_sqs_only(partition, suffix, action):
    stack = Stack(EVERYTHING, partition=partition)
    statements = policies(stack)["Lambda"]

    def usable(service, region=stack.region, key=EVERYTHING["KmsKeyArn"]):
        return allows(statements, action, key, {"kms:ViaService": f"{service}.{region}.{suffix}"})

    assert usable("lambda") and usable("sqs")
    assert not usable("s3") and not usable("sqs", region="eu-west-1") and not usable("sqs", key=EVERYTHING["KmsKeyArn"] + "1")
    assert not allows(statements, action, EVERYTHING["KmsKeyArn"])


def test_existing_role_replaces_role_and_policies():
    role = f"arn:aws:iam::{ACCOUNT}:role/service/sync"
    stack = Stack({"DiscoveryTag": "sync/endpoint", "RoleArn": role})
    [function] = stack.of_type("AWS::Lambda::Function").values()
    assert function["Role"] == stack.outputs()["RoleArn"] == role
    assert not stack.of_type("AWS::IAM::Role") and not stack.of_type("AWS::IAM::RolePolicy")


def test_role_path_reaches_the_role():
    [role] = Stack(TWO_PARAMETERS | {"RolePath": "/service/"}).of_type("AWS::IAM::Role").values()
    assert role["Path"] == "/service/"
    [role] = Stack(TWO_PARAMETERS).of_type("AWS::IAM::Role").values()
    assert role["Path"] == "/"


def test_topic_admits_alarms_of_this_account_over_tls():
    stack = Stack(TWO_PARAMETERS)
    [policy] = stack.of_type("AWS::SNS::TopicPolicy").values()
    [topic] = policy["Topics"]

    def admits(account=ACCOUNT, secure="true", service="cloudwatch.amazonaws.com"):
        context = {"aws:SourceAccount": account, "aws:SecureTransport": secure}
        return allows(policy["PolicyDocument"]["Statement"], "sns:Publish", topic, context, service)

    assert admits()
    assert not admits(account="210987654321")
    assert not admits(secure="false")
    assert not admits(service="events.amazonaws.com")
    assert not Stack(TWO_PARAMETERS | {"AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:pager"}).of_type("AWS::SNS::TopicPolicy")


def test_existing_log_group_is_used_and_writable():
    stack = Stack(TWO_PARAMETERS | {"LogGroupName": "/team/sync"})
    assert not stack.of_type("AWS::Logs::LogGroup")
    [function] = stack.of_type("AWS::Lambda::Function").values()
    assert function["LoggingConfig"]["LogGroup"] == stack.outputs()["LogGroup"] == "/team/sync"
    stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/team/sync:log-stream:a"
    assert allows(policies(stack)["Lambda"], "logs:PutLogEvents", stream)
    assert not allows(policies(stack)["Lambda"], "logs:PutLogEvents", stream.replace("/team/", "/other/"))


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
