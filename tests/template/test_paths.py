"""The two stacks around the function: what the vendors' guides ask for, resolved."""

import pytest

from stack import ENDPOINT, Refused, Stack

DATABASE = {
    "Endpoint": ENDPOINT, "Port": "5432", "VpcId": "vpc-0a", "SubnetIds": "subnet-0a,subnet-0b",
    "DatabaseSecurityGroupId": "sg-0d",
}
PRIVATELINK = DATABASE | {"AllowedPrincipals": "arn:aws:iam::210987654321:root"}
LATTICE = DATABASE | {"VendorAccountIds": "210987654321"}


def privatelink(**parameters):
    return Stack(PRIVATELINK | parameters, "deploy/privatelink.yaml")


def attributes(of, key):
    return {item["Key"]: item["Value"] for item in of[key]}


def test_the_load_balancer():
    stack = privatelink()
    balancer = stack.resources["LoadBalancer"]
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internal")
    assert balancer["Subnets"] == ["subnet-0a", "subnet-0b"]
    assert attributes(balancer, "LoadBalancerAttributes")["load_balancing.cross_zone.enabled"] == "true"
    assert stack.resources["Listener"]["Protocol"] == "TCP"
    assert stack.resources["Listener"]["Port"] == stack.resources["TargetGroup"]["Port"] == "5432"


def test_the_group_is_the_function_s_alone():
    stack = privatelink()
    group = stack.resources["TargetGroup"]
    assert group["TargetType"] == "ip" and "Targets" not in group
    assert attributes(group, "TargetGroupAttributes")["deregistration_delay.connection_termination.enabled"] == "true"
    [sync] = [r for n, r in stack.resources.items() if n == "Sync"]
    assert sync["Parameters"]["TargetGroupArn"].endswith(":TargetGroup")


@pytest.mark.parametrize("vpc", [{}, {"FunctionInVpc": "true"}, {"FunctionInVpc": "true", "ApiEndpoints": "true"}])
def test_the_function_s_parameters_are_accepted_by_its_template(vpc):
    given = dict(privatelink(**vpc).resources["Sync"]["Parameters"])
    # What only AWS knows, in the form that AWS gives it.
    given["TargetGroupArn"] = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/g/0123456789abcdef"
    given["SecurityGroupIds"] = "sg-0e" if given["SecurityGroupIds"] else ""
    stack = Stack(given)
    [function] = stack.of_type("AWS::Lambda::Function").values()
    assert ("VpcConfig" in function) == bool(vpc)


@pytest.mark.parametrize("vendor,enforces,ingress", [
    ({}, "off", {}),
    ({"VendorCidr": "10.20.0.0/16"}, "on", {"CidrIp": "10.20.0.0/16"}),
    ({"VendorPrefixListId": "pl-0a"}, "on", {"SourcePrefixListId": "pl-0a"}),
])
def test_who_gets_through_to_the_load_balancer(vendor, enforces, ingress):
    stack = privatelink(**vendor)
    assert stack.resources["LoadBalancer"]["EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"] == enforces
    rules = [r for r in stack.of_type("AWS::EC2::SecurityGroupIngress").values()
             if r["GroupId"] == "LoadBalancerSecurityGroup"]
    assert len(rules) == bool(ingress)
    for rule in rules:
        assert ingress.items() <= rule.items() and (rule["FromPort"], rule["ToPort"]) == ("5432", "5432")


@pytest.mark.parametrize("stack,front", [
    (lambda: privatelink(), "LoadBalancerSecurityGroup"),
    (lambda: Stack(LATTICE, "deploy/lattice.yaml"), "GatewaySecurityGroup"),
])
def test_the_database_and_what_stands_before_it_admit_each_other(stack, front):
    stack = stack()
    ingress = [r for r in stack.of_type("AWS::EC2::SecurityGroupIngress").values() if r["GroupId"] == "sg-0d"]
    egress = [r for r in stack.of_type("AWS::EC2::SecurityGroupEgress").values()]
    assert [(r["SourceSecurityGroupId"], r["FromPort"]) for r in ingress] == [(front, "5432")]
    assert [(r["GroupId"], r["DestinationSecurityGroupId"], r["FromPort"]) for r in egress] == [(front, "sg-0d", "5432")]


def test_connections_need_acceptance():
    stack = privatelink()
    assert stack.resources["EndpointService"]["AcceptanceRequired"] is True
    assert stack.resources["EndpointServicePermissions"]["AllowedPrincipals"] == ["arn:aws:iam::210987654321:root"]


def test_endpoints_for_the_apis():
    services = {e["ServiceName"] for e in privatelink(FunctionInVpc="true", ApiEndpoints="true")
                .of_type("AWS::EC2::VPCEndpoint").values()}
    assert services == {"com.amazonaws.us-east-1.elasticloadbalancing", "com.amazonaws.us-east-1.rds"}
    assert not privatelink().of_type("AWS::EC2::VPCEndpoint")


def test_what_vendors_ask_for():
    outputs = privatelink().outputs()
    assert outputs["ServiceName"] == "com.amazonaws.vpce.us-east-1.EndpointService"
    assert (outputs["Region"], outputs["Port"]) == ("us-east-1", "5432")
    assert "--subnet-ids subnet-0a subnet-0b --query" in outputs["AvailabilityZoneIdsCommand"]


@pytest.mark.parametrize("parameters,reason", [
    ({"VendorCidr": "10.20.0.0/16", "VendorPrefixListId": "pl-0a"}, "OneKindOfRange"),
    ({"ApiEndpoints": "true"}, "ApiEndpointsAreForTheVpc"),
    ({"SubnetIds": "subnet-0a"}, "SubnetIds"),
    ({"Port": "0"}, "Port"),
])
def test_impossible(parameters, reason):
    with pytest.raises(Refused, match=f"^{reason}:"):
        privatelink(**parameters)


def test_lattice_goes_by_name_to_the_named_accounts():
    stack = Stack(LATTICE, "deploy/lattice.yaml")
    configuration = stack.resources["ResourceConfiguration"]
    assert configuration["ResourceConfigurationDefinition"]["DnsResource"]["DomainName"] == ENDPOINT
    assert configuration["PortRanges"] == ["5432"]
    assert len(stack.resources["ResourceGateway"]["SubnetIds"]) == 2
    assert stack.resources["Share"]["Principals"] == ["210987654321"]
