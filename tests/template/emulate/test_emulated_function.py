"""The stack of the function on MiniStack: created under many parameter sets, updated and deleted, and at work."""

import json
import os
import time

import pytest

import emulator
from emulator import MACHINE, Deployed, Failed, client, skipped
from names import Names
from stack import ENDPOINT, REGION

BILLING = "billing.abc123.us-east-1.rds.amazonaws.com"
ACCOUNT = "000000000000"


@pytest.fixture(scope="session")
def code(ministack, tmp_path_factory):
    """Uploads the code; true if it is the real binary."""
    s3 = client("s3", ministack)
    s3.create_bucket(Bucket=emulator.BUCKET)
    real = os.path.exists(emulator.binary())
    if not real:
        skipped.add("no binary; build it by cargo build --bin bootstrap: no function ran on MiniStack")
    folder = tmp_path_factory.mktemp("code")
    path = emulator.binary() if real else folder / "nothing"
    if not real:
        path.write_bytes(b"\x7fELF")
    s3.put_object(Bucket=emulator.BUCKET, Key="code.zip", Body=emulator.package(folder, path))
    return real


@pytest.fixture(scope="session")
def groups(ministack):
    elb = client("elbv2", ministack)

    def make(name):
        made = elb.create_target_group(Name=name, Protocol="TCP", Port=5432, TargetType="ip", VpcId="vpc-0a")
        return made["TargetGroups"][0]["TargetGroupArn"]

    return {name: make(name) for name in ("orders", "billing")}


@pytest.fixture
def two(groups):
    return {"Endpoint": ENDPOINT, "TargetGroupArn": groups["orders"]}


def function(ministack, stack):
    return client("lambda", ministack).get_function_configuration(FunctionName=stack.outputs()["FunctionName"])


def variables(ministack, stack):
    return function(ministack, stack)["Environment"]["Variables"]


def bindings(*pairs):
    return json.dumps([{"endpoint": endpoint, "target_group": group} for endpoint, group in pairs])


def left_over(ministack):
    """What is there of the resources of a stack."""
    logs, iam = client("logs", ministack), client("iam", ministack)
    return {
        "functions": [f["FunctionName"] for f in client("lambda", ministack).list_functions()["Functions"]],
        "rules": [r["Name"] for r in client("events", ministack).list_rules()["Rules"]],
        "queues": client("sqs", ministack).list_queues().get("QueueUrls", []),
        "topics": client("sns", ministack).list_topics()["Topics"],
        "alarms": client("cloudwatch", ministack).describe_alarms()["MetricAlarms"],
        "dashboards": client("cloudwatch", ministack).list_dashboards()["DashboardEntries"],
        "log groups": [g["logGroupName"] for g in logs.describe_log_groups()["logGroups"]],
        "roles": [r["RoleName"] for r in iam.list_roles()["Roles"] if not r["Path"].startswith("/aws-service-role/")],
    }


SETS = {
    "two-parameters": {},
    "x86": {"Architecture": "x86_64"},
    "database-and-standby": {"Database": "orders", "Standby": "keep"},
    "readers": {"Targets": "readers", "Database": "orders"},
    "email": {"AlarmEmail": "data@example.com"},
    "own-topics": {"AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:pager", "ChangeTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:changes"},
    "alarms-only": {"Monitoring": "alarms"},
    "no-monitoring": {"Monitoring": "none"},
    "slow-checks": {"DriftCheckRate": "15", "WatchSeconds": "600", "ConfirmSeconds": "20", "PollMillis": "60000"},
    "vpc": {"SubnetIds": "subnet-0a,subnet-0b", "SecurityGroupIds": "sg-0c", "Nameservers": "10.0.0.2,10.0.0.3:53"},
    "tag-too": {"DiscoveryTag": "rds-nlb-sync", "DiscoveryEndpoints": "*.rds.amazonaws.com", "ReservedConcurrency": "none"},
    "strict-role": {"RolePath": "/service/", "PermissionsBoundaryArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
    "existing-role": {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/sync"},
    "dry-run": {"DryRun": "true", "Tracing": "Active", "LogRetentionDays": "365", "LogLevel": "DEBUG"},
}


@pytest.mark.parametrize("name", SETS)
def test_stack_is_created_and_leaves_nothing(ministack, code, two, name):
    before = left_over(ministack)
    stack = Deployed(ministack, name).deploy(**two, **SETS[name])
    given = function(ministack, stack)
    assert given["Architectures"] == [SETS[name].get("Architecture", "arm64")]
    assert given["Environment"]["Variables"]["DRY_RUN"] == SETS[name].get("DryRun", "false")
    assert stack.outputs()["RoleArn"] == given["Role"]
    monitored = SETS[name].get("Monitoring", "full")
    assert ("AlarmTopic" in stack.outputs(), "DashboardUrl" in stack.outputs()) == (monitored != "none", monitored == "full")
    stack.delete()
    assert left_over(ministack) == before


def test_updates_from_endpoint_to_bindings_and_back(ministack, code, two, groups):
    before = left_over(ministack)
    stack = Deployed(ministack, "updates").deploy(**two)
    name = stack.outputs()["FunctionName"]
    assert [b["endpoint"] for b in json.loads(variables(ministack, stack)["BINDINGS"])] == [ENDPOINT]

    # An update without the old parameters keeps them, and the rules refuse both at once.
    both = bindings((ENDPOINT, groups["orders"]), (BILLING, groups["billing"]))
    with pytest.raises((Failed, stack.cloudformation.exceptions.ClientError), match="not both"):
        stack.deploy(Bindings=both, BindingsTargetGroupArns=",".join(groups.values()))
    stack.deploy(Endpoint="", TargetGroupArn="", Bindings=both, BindingsTargetGroupArns=",".join(groups.values()))
    assert [b["endpoint"] for b in json.loads(variables(ministack, stack)["BINDINGS"])] == [ENDPOINT, BILLING]

    # One database less, then the fleet's tag instead.
    stack.deploy(Bindings=bindings((BILLING, groups["billing"])), BindingsTargetGroupArns=groups["billing"])
    assert [b["endpoint"] for b in json.loads(variables(ministack, stack)["BINDINGS"])] == [BILLING]
    stack.deploy(Bindings="", BindingsTargetGroupArns="", DiscoveryTag="rds-nlb-sync", ReservedConcurrency="none")
    assert (variables(ministack, stack)["BINDINGS"], variables(ministack, stack)["DISCOVERY_TAG"]) == ("", "rds-nlb-sync")
    assert "NothingBoundAlarm" in stack.resources() and "DiscoveryPolicy" in stack.resources()
    stack.deploy(**two, DiscoveryTag="")
    assert "NothingBoundAlarm" not in stack.resources() and "DiscoveryPolicy" not in stack.resources()
    # All of it was one function: no update replaced it.
    assert stack.outputs()["FunctionName"] == name
    stack.delete()
    assert left_over(ministack) == before


def test_dry_run_lasts_until_it_is_ended(ministack, code, two):
    stack = Deployed(ministack, "dry").deploy(**two, DryRun="true")
    assert "DryRunAlarm" in stack.resources()
    stack.deploy(PollMillis=1000)
    assert variables(ministack, stack)["DRY_RUN"] == "true" and "DryRunAlarm" in stack.resources()
    stack.deploy(DryRun="false")
    assert variables(ministack, stack)["DRY_RUN"] == "false" and "DryRunAlarm" not in stack.resources()
    stack.deploy(DryRun="true")
    assert "DryRunAlarm" in stack.resources()
    stack.delete()


def test_architecture_follows_the_deployment(ministack, code, two):
    stack = Deployed(ministack, "architecture").deploy(**two, Architecture="arm64")
    name = stack.outputs()["FunctionName"]
    for architecture in ("x86_64", "arm64"):
        stack.deploy(Architecture=architecture)
        assert function(ministack, stack)["Architectures"] == [architecture]
    assert stack.outputs()["FunctionName"] == name
    stack.delete()


def test_monitoring_goes_down_and_up(ministack, code, two):
    stack = Deployed(ministack, "monitoring").deploy(**two)
    for level, alarms, dashboards in [("none", False, False), ("alarms", True, False), ("full", True, True)]:
        stack.deploy(Monitoring=level)
        resources = stack.resources().keys()
        assert ("ErrorsAlarm" in resources, "Topic" in resources, "Dashboard" in resources) == (alarms, alarms, dashboards)
    stack.delete()


def test_own_role_is_exchanged_for_an_existing_one_and_back(ministack, code, two):
    stack = Deployed(ministack, "roles").deploy(**two)
    own = stack.outputs()["RoleArn"]
    existing = f"arn:aws:iam::{ACCOUNT}:role/service/sync"
    stack.deploy(RoleArn=existing)
    assert function(ministack, stack)["Role"] == stack.outputs()["RoleArn"] == existing and "Role" not in stack.resources()
    stack.deploy(RoleArn="")
    assert function(ministack, stack)["Role"] != existing and "Role" in stack.resources() and own
    stack.delete()


@pytest.mark.parametrize("parameters,reason", [
    ({"Endpoint": ENDPOINT}, "TargetGroupArn"),
    ({"DiscoveryTag": "t", "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/a", "RolePath": "/service/"}, "RolePath"),
    ({"DiscoveryTag": "t", "Monitoring": "none", "AlarmEmail": "a@b.cd"}, "Monitoring"),
    ({"DiscoveryTag": "t", "Nameservers": "10.0.0.2, 10.0.0.3"}, "without spaces"),
])
def test_cloudformation_refuses_before_it_creates(ministack, code, parameters, reason):
    before = left_over(ministack)
    stack = Deployed(ministack, "refused")
    with pytest.raises((Failed, stack.cloudformation.exceptions.ClientError), match=reason):
        stack.deploy(**parameters)
    stack.cloudformation.delete_stack(StackName="refused")
    assert left_over(ministack) == before


@pytest.fixture
def names():
    names = Names({ENDPOINT: "10.0.1.10", BILLING: "10.0.5.50"})
    yield names
    names.close()


def test_function_works_through_the_updates(ministack, code, two, groups, names):
    if not code:
        pytest.skip("no binary")
    functions, elb = client("lambda", ministack), client("elbv2", ministack)

    def targets(group):
        health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"] for entry in health if entry["TargetHealth"]["State"] != "draining"}

    def follows(group, expected, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and targets(group) != expected:
            time.sleep(0.2)
        return targets(group) == expected

    def check(stack, command="check"):
        answer = functions.invoke(FunctionName=stack.outputs()["FunctionName"], Payload=json.dumps({"command": command}))
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return [binding["status"] for binding in body["bindings"]]

    stack = Deployed(ministack, "works").deploy(**two, Architecture=MACHINE, Nameservers=names.address, ConfirmSeconds=4,
                                               WatchSeconds=60, DryRun="true", DriftCheckRate="15")
    assert check(stack) == ["planned"] and targets(groups["orders"]) == set()
    stack.deploy(DryRun="false")
    check(stack)
    assert follows(groups["orders"], {"10.0.1.10"}), targets(groups["orders"])
    both = bindings((ENDPOINT, groups["orders"]), (BILLING, groups["billing"]))
    stack.deploy(Endpoint="", TargetGroupArn="", Bindings=both, BindingsTargetGroupArns=",".join(groups.values()))
    names.addresses[ENDPOINT] = "10.0.2.20"
    check(stack)
    check(stack)
    assert follows(groups["orders"], {"10.0.2.20"}), targets(groups["orders"])
    assert follows(groups["billing"], {"10.0.5.50"}), targets(groups["billing"])
    stack.delete()
    # The targets outlive the function.
    assert targets(groups["orders"]) == {"10.0.2.20"}
