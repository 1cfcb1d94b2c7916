"""Parameters: each described and in a group, and what cannot work refused before anything is created."""

import pytest

from stack import ENDPOINT, GROUP, OTHER_GROUP, TEMPLATES, TWO_PARAMETERS, Refused, Stack, source

BINDINGS = {"Bindings": '[{"endpoint": "a.b", "target_group": "…"}]', "BindingsTargetGroupArns": GROUP}
ROLE = "arn:aws:iam::123456789012:role/sync"
TOPIC = "arn:aws:sns:us-east-1:123456789012:pager"


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_parameter_is_described_and_in_one_group(name):
    template = source(name)
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [p for group in interface["ParameterGroups"] for p in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    for parameter in template["Parameters"].values():
        assert parameter["Description"]
        constrained = {"AllowedPattern", "AllowedValues", "MinValue"} & parameter.keys()
        assert constrained or parameter["Type"].startswith(("AWS::", "List<AWS::")), parameter
        assert "AllowedPattern" not in parameter or "ConstraintDescription" in parameter


@pytest.mark.parametrize("parameters", [
    TWO_PARAMETERS,
    BINDINGS,
    BINDINGS | {"BindingsTargetGroupArns": f"{GROUP},{OTHER_GROUP}"},
    {"DiscoveryTag": "rds-nlb-sync:endpoint"},
    TWO_PARAMETERS | {"DiscoveryTag": "rds-nlb-sync"},
    TWO_PARAMETERS | {"AlarmEmail": "data@example.com"},
    TWO_PARAMETERS | {"AlarmTopicArn": TOPIC},
    TWO_PARAMETERS | {"SubnetIds": "subnet-0a", "SecurityGroupIds": "sg-0b,sg-0c"},
    TWO_PARAMETERS | {"Nameservers": "10.0.0.2,10.0.0.3:53,[fd00::2]:53"},
    TWO_PARAMETERS | {"TargetGroupArn": GROUP.replace("arn:aws:", "arn:aws-cn:")},
    TWO_PARAMETERS | {"Database": "orders,orders-global"},
    TWO_PARAMETERS | {"Monitoring": "none"},
    TWO_PARAMETERS | {"AlarmTopicArn": TOPIC, "ChangeTopicArn": TOPIC},
    {"DiscoveryTag": "t", "DiscoveryEndpoints": "*.rds.amazonaws.com,db.corp.example.com"},
    {"DiscoveryTag": "t", "DiscoveryEndpoints": "*.internal,DB.Example.com.,db_1.corp"},
    {"DiscoveryTag": "x" * 119},
    BINDINGS | {"Bindings": '[{"endpoint": "a.b", "target_group": "…", "port": 5432}, {"endpoint": "c.d", "target_group": "…"}]'},
])
def test_possible(parameters):
    Stack(parameters)


@pytest.mark.parametrize("parameters,reason", [
    ({}, "SomethingIsBound"),
    ({"Endpoint": ENDPOINT}, "EndpointHasGroup"),
    ({"TargetGroupArn": GROUP, **BINDINGS}, "GroupHasEndpoint"),
    ({"TargetGroupArn": GROUP, "DiscoveryTag": "t"}, "GroupHasEndpoint"),
    (TWO_PARAMETERS | BINDINGS, "EndpointHasGroup"),
    ({"Bindings": BINDINGS["Bindings"]}, "BindingsHaveGroups"),
    (TWO_PARAMETERS | {"BindingsTargetGroupArns": OTHER_GROUP}, "GroupsHaveBindings"),
    (BINDINGS | {"Database": "orders"}, "DatabaseHasEndpoint"),
    (BINDINGS | {"Standby": "keep"}, "StandbyHasEndpoint"),
    (BINDINGS | {"Targets": "readers"}, "TargetsHaveEndpoint"),
    (TWO_PARAMETERS | {"Targets": "all", "Standby": "keep"}, "StandbyIsForWriters"),
    (TWO_PARAMETERS | {"SubnetIds": "subnet-0a"}, "SubnetsHaveSecurityGroups"),
    (TWO_PARAMETERS | {"SecurityGroupIds": "sg-0a"}, "SecurityGroupsHaveSubnets"),
    (TWO_PARAMETERS | {"AlarmEmail": "data@example.com", "AlarmTopicArn": TOPIC}, "OneTopic"),
    (TWO_PARAMETERS | {"AlarmEmail": "data@example.com", "Monitoring": "none"}, "TopicsHaveAlarms"),
    (TWO_PARAMETERS | {"AlarmTopicArn": TOPIC, "Monitoring": "none"}, "TopicsHaveAlarms"),
    (TWO_PARAMETERS | {"ChangeTopicArn": TOPIC, "Monitoring": "none"}, "TopicsHaveAlarms"),
    (TWO_PARAMETERS | {"DiscoveryEndpoints": "*.rds.amazonaws.com"}, "EndpointsHaveTag"),
    (TWO_PARAMETERS | {"RoleArn": ROLE, "RolePath": "/service/"}, "OneRole"),
    (TWO_PARAMETERS | {"RoleArn": ROLE, "PermissionsBoundaryArn": "arn:aws:iam::aws:policy/AdministratorAccess"}, "OneRole"),
])
def test_impossible_together(parameters, reason):
    with pytest.raises(Refused, match=f"^{reason}:"):
        Stack(parameters)


@pytest.mark.parametrize("parameter,value", [
    ("Endpoint", "10.0.0.1"),
    ("Endpoint", "orders"),
    ("Endpoint", "Orders.example.com"),
    ("Endpoint", "postgres://orders.example.com"),
    ("Endpoint", "orders.example.com:5432"),
    ("TargetGroupArn", GROUP.replace("targetgroup", "loadbalancer")),
    ("TargetGroupArn", f"{GROUP},{OTHER_GROUP}"),
    ("Database", "Orders"),
    ("Bindings", '{"endpoint": "a.b"}'),
    ("BindingsTargetGroupArns", f"{GROUP}, {OTHER_GROUP}"),
    ("DiscoveryTag", '"}}, {"Effect": "Allow"'),
    # What the SAM CLI makes of JSON without quotes around it, and of values with spaces.
    ("Bindings", "[{"),
    ("Bindings", "[{endpoint:a.b,target_group:x}]"),
    ("Nameservers", "10.0.0.2,"),
    ("Nameservers", "10.0.0.2, 10.0.0.3"),
    ("DiscoveryTag", "team data"),
    # As the program: 128 characters less those of the longest option, and no key of AWS's own.
    ("DiscoveryTag", "x" * 120),
    ("DiscoveryTag", "aws:sync"),
    ("DiscoveryEndpoints", "*"),
    ("DiscoveryEndpoints", "*.*.amazonaws.com"),
    ("DiscoveryEndpoints", "localhost"),
    ("DiscoveryEndpoints", "*.rds.amazonaws.com, db.example.com"),
    ("ConfirmSeconds", "3"),
    ("PollMillis", "99"),
    ("PollMillis", "60001"),
    ("RolePath", "service"),
    ("RoleArn", "sync"),
    ("Monitoring", "some"),
    ("WatchSeconds", "45"),
    ("ConfirmSeconds", "21"),
    ("DriftCheckRate", "rate(1 minute)"),
    ("AlarmEmail", "data"),
    ("LogLevel", "WARN"),
    ("LogRetentionDays", "31"),
    ("KmsKeyArn", "alias/mine"),
    ("ReservedConcurrency", "-1"),
    ("ReservedConcurrency", "nine"),
])
def test_impossible_alone(parameter, value):
    with pytest.raises(Refused, match=f"^{parameter}:"):
        Stack(TWO_PARAMETERS | {parameter: value})


def test_an_unknown_parameter_is_refused():
    with pytest.raises(Refused):
        Stack(TWO_PARAMETERS | {"Endpont": ENDPOINT})
