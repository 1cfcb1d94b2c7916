"""The stacks around the function: what the vendors' guides ask for, resolved."""

import re

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from stack import ENDPOINT, REGION, ROOT, Refused, Stack, source

DATABASE = {
    "Endpoint": ENDPOINT, "Port": "5432", "VpcId": "vpc-0a", "SubnetIds": "subnet-0a,subnet-0b",
    "DatabaseSecurityGroupId": "sg-0d",
}
PRIVATELINK = DATABASE | {"AllowedPrincipals": "arn:aws:iam::210987654321:root"}
LATTICE = DATABASE | {"VendorAccountIds": "210987654321"}


API_ENDPOINTS = {"FunctionInVpc": "true", "ApiEndpoints": "true", "VpcCidr": "10.0.0.0/16"}


def privatelink(partition="aws", **parameters):
    return Stack(PRIVATELINK | parameters, "deploy/privatelink.yaml", partition)


def database(path, **parameters):
    """Another database behind the path's load balancer."""
    given = {"PathStack": "sync", "ListenerPort": "5433", "Endpoint": "billing.abc123.us-east-1.rds.amazonaws.com",
             "Port": "5432", "DatabaseSecurityGroupId": "sg-0e"}
    return Stack(given | parameters, "deploy/database.yaml", path.partition, imports=path.exports())


def lattice(**parameters):
    return Stack(LATTICE | parameters, "deploy/lattice.yaml")


def sync_parameters(stack):
    """What the stack of the function gets, with what only AWS knows in the form that AWS gives it."""
    given = dict(stack.resources["Sync"]["Parameters"])
    given["TargetGroupArn"] = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/g/0123456789abcdef"
    given["SecurityGroupIds"] = "sg-0e" if given["SecurityGroupIds"] else ""
    return given


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


@pytest.mark.parametrize("vpc", [{}, {"FunctionInVpc": "true"}, API_ENDPOINTS])
def test_the_function_s_parameters_are_accepted_by_its_template(vpc):
    stack = Stack(sync_parameters(privatelink(**vpc)))
    [function] = stack.of_type("AWS::Lambda::Function").values()
    assert ("VpcConfig" in function) == bool(vpc)


def test_path_hands_on_every_rule_of_the_account():
    passed = {
        "Database": "orders", "Targets": "writer", "Standby": "keep", "DiscoveryTag": "sync/vendor",
        "DiscoveryEndpoints": "*.rds.amazonaws.com,*.corp.example.com", "DryRun": "true", "Architecture": "x86_64",
        "ReservedConcurrency": "none", "LogRetentionDays": "365", "Monitoring": "alarms",
        "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:pager",
        "ChangeTopicArn": "arn:aws:sns:us-east-1:123456789012:changes",
        "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0a", "RolePath": "/service/",
        "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
        "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg",
    }
    given = sync_parameters(privatelink(**passed))
    assert passed.items() <= given.items()
    Stack(given)
    for others in ({"RoleArn": "arn:aws:iam::123456789012:role/sync"}, {"Targets": "readers"}, {"AlarmEmail": "data@example.com"}):
        given = sync_parameters(privatelink(**others))
        assert others.items() <= given.items()
        Stack(given)
    # Whatever both have.
    assert source("deploy/privatelink.yaml")["Parameters"].keys() & source()["Parameters"].keys() <= given.keys()


def test_path_declares_parameters_as_the_function_does():
    # What the inner stack would refuse, the outer one refuses first, before it creates a load balancer.
    outer, inner = source("deploy/privatelink.yaml")["Parameters"], source()["Parameters"]
    for name in outer.keys() & inner.keys() - {"Endpoint", "SubnetIds"}:
        for constraint in ("Type", "Default", "AllowedPattern", "AllowedValues", "MinValue", "MaxValue", "MaxLength"):
            assert outer[name].get(constraint) == inner[name].get(constraint), (name, constraint)


def named_in(value):
    """The parameters that a part of a rule names."""
    if isinstance(value, dict):
        return ({value["Ref"]} if "Ref" in value else set()).union(*map(named_in, value.values()))
    return set().union(*map(named_in, value)) if isinstance(value, list) else set()


def test_path_refuses_together_what_the_function_s_stack_refuses():
    outer, inner = source("deploy/privatelink.yaml"), source()
    has_endpoint = {"Fn::Not": [{"Fn::Equals": [{"Ref": "Endpoint"}, ""]}]}
    copied = {
        name: rule for name, rule in inner["Rules"].items()
        if named_in(rule) <= outer["Parameters"].keys()
        # The path always has an endpoint.
        and any(assertion["Assert"] != has_endpoint for assertion in rule["Assertions"])
    }
    assert {"OneTopic", "TopicsHaveAlarms", "OneRole", "EndpointsHaveTag", "StandbyIsForWriters"} <= copied.keys()
    assert {name: outer["Rules"].get(name) for name in copied} == copied
    added = source("deploy/database.yaml")["Rules"]
    for name in added.keys() & outer["Rules"].keys():
        assert added[name] == outer["Rules"][name], name
    assert "StandbyIsForWriters" in added


@pytest.mark.parametrize("template", ["template.yaml", "deploy/privatelink.yaml"])
@pytest.mark.parametrize("document", ["docs/runbook.md", "docs/reference.md"])
def test_stack_has_the_outputs_that_the_documents_name(document, template):
    text = " ".join((ROOT / document).read_text().split())
    lists = re.findall(r"outputs? ((?:`\w+`(?:, | and )?)+)", text)
    # Terraform's are in lower case.
    named = {name for names in lists for name in re.findall(r"`([A-Z]\w+)`", names)}
    assert {"FunctionName", "FunctionArn"} <= named or {"LogGroup", "DatabaseRule", "CheckCommand", "DoctorCommand"} <= named
    stack = privatelink() if "privatelink" in template else Stack(sync_parameters(privatelink()))
    assert named <= stack.outputs().keys()


def test_output_of_the_path_has_the_function_s_value():
    # The path asks the nested stack for each by its own name, and in the same cases.
    inner, outer = source()["Outputs"], source("deploy/privatelink.yaml")["Outputs"]
    asked = {name: output for name, output in outer.items() if "Sync" in str(output["Value"])}
    for name, output in asked.items():
        assert output["Value"] == {"Fn::GetAtt": ["Sync", f"Outputs.{name}"]}
        assert output["Condition"] == inner[name].get("Condition", "HasFunction"), name
    assert asked.keys() == inner.keys()


def test_path_without_function():
    stack = privatelink(CreateFunction="false")
    assert "Sync" not in stack.resources and "TargetGroup" in stack.resources
    assert {"ServiceName", "ServiceId", "TargetGroupArn"} <= stack.outputs().keys()
    function_s = source()["Outputs"].keys()
    assert {"CheckCommand", "LogGroup"} <= privatelink().outputs().keys() & function_s and not stack.outputs().keys() & function_s


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
    (lambda: lattice(), "GatewaySecurityGroup"),
])
def test_the_database_and_what_stands_before_it_admit_each_other(stack, front):
    stack = stack()
    ingress = [r for r in stack.of_type("AWS::EC2::SecurityGroupIngress").values() if r["GroupId"] == "sg-0d"]
    egress = [r for r in stack.of_type("AWS::EC2::SecurityGroupEgress").values()]
    assert [(r["SourceSecurityGroupId"], r["FromPort"]) for r in ingress] == [(front, "5432")]
    assert [(r["GroupId"], r["DestinationSecurityGroupId"], r["FromPort"]) for r in egress] == [(front, "sg-0d", "5432")]


@pytest.mark.parametrize("parameters,acceptance,principals", [
    ({}, "true", ["arn:aws:iam::210987654321:root"]),
    ({"AcceptanceRequired": "false"}, "false", ["arn:aws:iam::210987654321:root"]),
    ({"AllowedPrincipals": "*"}, "true", ["*"]),
    ({"AllowedPrincipals": "arn:aws:iam::1:root,arn:aws:iam::2:role/a".replace("::1", "::111111111111").replace("::2", "::222222222222")},
     "true", ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:role/a"]),
    ({"AllowedPrincipals": ""}, "true", None),
])
def test_principals_and_acceptance(parameters, acceptance, principals):
    stack = privatelink(**parameters)
    assert stack.resources["EndpointService"]["AcceptanceRequired"] == acceptance
    if principals is None:
        assert "EndpointServicePermissions" not in stack.resources
    else:
        assert stack.resources["EndpointServicePermissions"]["AllowedPrincipals"] == principals


def test_service_reaches_other_regions():
    service = privatelink(SupportedRegions="us-east-1,eu-west-1").resources["EndpointService"]
    assert service["SupportedRegions"] == ["us-east-1", "eu-west-1"]
    assert "SupportedRegions" not in privatelink().resources["EndpointService"]
    # The form of every Region's name, whatever the partition.
    for name in ("us-gov-west-1", "cn-northwest-1", "eusc-de-east-1"):
        privatelink(SupportedRegions=name)


@pytest.mark.parametrize("kind,families", [("ipv4", ["ipv4"]), ("dualstack", ["ipv4", "ipv6"])])
def test_dual_stack(kind, families):
    stack = privatelink(IpAddressType=kind)
    assert stack.resources["LoadBalancer"]["IpAddressType"] == kind
    assert stack.resources["EndpointService"]["SupportedIpAddressTypes"] == families
    # RDS gives IPv4 addresses; a group holds one family.
    assert stack.resources["TargetGroup"]["IpAddressType"] == "ipv4"


@pytest.mark.parametrize("partition,services,name", [
    ("aws", {"com.amazonaws.us-east-1.elasticloadbalancing", "com.amazonaws.us-east-1.rds"}, "com.amazonaws.vpce.us-east-1"),
    ("aws-us-gov", {"com.amazonaws.us-gov-west-1.elasticloadbalancing", "com.amazonaws.us-gov-west-1.rds"},
     "com.amazonaws.vpce.us-gov-west-1"),
    ("aws-cn", {"com.amazonaws.cn-north-1.elasticloadbalancing", "cn.com.amazonaws.cn-north-1.rds"},
     "cn.com.amazonaws.vpce.cn-north-1"),
])
def test_names_of_services_in_each_partition(partition, services, name):
    stack = privatelink(partition, **API_ENDPOINTS)
    assert {e["ServiceName"] for e in stack.of_type("AWS::EC2::VPCEndpoint").values()} == services
    assert stack.outputs()["ServiceName"] == f"{name}.EndpointService"
    assert not privatelink(partition).of_type("AWS::EC2::VPCEndpoint")


def test_api_endpoints_admit_the_vpc():
    rules = [r for r in privatelink(**API_ENDPOINTS).of_type("AWS::EC2::SecurityGroupIngress").values()
             if r["GroupId"] == "ApiSecurityGroup"]
    assert {r.get("CidrIp", r.get("SourceSecurityGroupId")) for r in rules} == {"10.0.0.0/16", "FunctionSecurityGroup"}
    assert {(r["FromPort"], r["ToPort"]) for r in rules} == {(443, 443)}


@pytest.mark.parametrize("stack,rules", [
    (lambda **p: privatelink(**p), ["FromLoadBalancer"]),
    (lambda **p: lattice(**p), ["FromGateway"]),
    (lambda **p: database(privatelink(DiscoveryTag="sync"), **p), ["FromLoadBalancer"]),
])
def test_rule_in_the_database_s_group_is_optional(stack, rules):
    def admitted(built):
        return [n for n, r in built.of_type("AWS::EC2::SecurityGroupIngress").items() if r["GroupId"] in ("sg-0d", "sg-0e")]

    assert admitted(stack()) == rules
    assert admitted(stack(AddDatabaseRule="false")) == []


def test_databases_share_load_balancer_and_function():
    path = privatelink(DiscoveryTag="sync/vendor")
    [function] = Stack(sync_parameters(path)).of_type("AWS::Lambda::Function").values()
    key = function["Environment"]["Variables"]["DISCOVERY_TAG"]
    added = database(path, Database="billing", Standby="keep")
    assert added.resources["Listener"]["LoadBalancerArn"] == path.outputs()["LoadBalancerArn"]
    assert added.resources["Listener"]["Port"] == "5433" and added.resources["TargetGroup"]["Port"] == "5432"
    tags = {tag["Key"]: tag["Value"] for tag in added.resources["TargetGroup"]["Tags"]}
    assert tags == {key: "billing.abc123.us-east-1.rds.amazonaws.com", f"{key}:database": "billing", f"{key}:standby": "keep"}
    readers = database(path, Targets="readers").resources["TargetGroup"]["Tags"]
    assert {"Key": f"{key}:role", "Value": "readers"} in readers
    assert not added.of_type("AWS::Lambda::Function") and not added.of_type("AWS::EC2::VPCEndpointService")


@pytest.mark.parametrize("options", [
    {}, {"Database": "orders"}, {"Standby": "keep"}, {"Database": "orders", "Standby": "keep"},
    {"Targets": "readers"}, {"Targets": "all", "Database": "orders"},
])
def test_database_s_group_is_configured_like_the_path_s(options):
    # The tags too: without them no group would carry the tag before there is another database, and every run would fail.
    path = privatelink(DiscoveryTag="sync/vendor", **options)
    own = path.resources["TargetGroup"]
    assert own["Tags"][0] == {"Key": "sync/vendor", "Value": ENDPOINT}
    assert own == database(path, Endpoint=ENDPOINT, **options).resources["TargetGroup"]
    roles = [tag["Value"] for tag in own["Tags"] if tag["Key"] == "sync/vendor:role"]
    assert roles == [value for name, value in options.items() if name == "Targets"]


def test_path_s_group_has_no_tags_without_a_key():
    assert "Tags" not in privatelink(Database="orders", Standby="keep").resources["TargetGroup"]


def test_tag_of_several_databases_has_spaces_between_them():
    path = privatelink(DiscoveryTag="sync", Database="orders,orders-green")
    for stack in path, database(path, Database="orders,orders-green"):
        assert {"Key": "sync:database", "Value": "orders orders-green"} in tags_of_group(stack)


def tags_of_group(stack):
    return stack.resources["TargetGroup"]["Tags"]


def test_database_needs_a_path_with_a_tag():
    with pytest.raises(Refused, match="No export named sync-DiscoveryTag found"):
        database(privatelink())


def test_databases_with_one_security_group_share_its_rules():
    path = privatelink(DiscoveryTag="sync/vendor")
    added = database(path, AddDatabaseRule="false", AddLoadBalancerRule="false", VendorCidr="10.20.0.0/16")
    assert not added.of_type("AWS::EC2::SecurityGroupEgress")
    [vendor] = added.of_type("AWS::EC2::SecurityGroupIngress").values()
    assert (vendor["GroupId"], vendor["FromPort"]) == (path.outputs()["LoadBalancerSecurityGroupId"], "5433")


def test_what_vendors_ask_for():
    outputs = privatelink().outputs()
    assert outputs["ServiceName"] == "com.amazonaws.vpce.us-east-1.EndpointService"
    assert (outputs["Region"], outputs["Port"]) == ("us-east-1", "5432")
    assert "--subnet-ids subnet-0a subnet-0b --query" in outputs["AvailabilityZoneIdsCommand"]


@pytest.mark.parametrize("parameters,reason", [
    ({"VendorCidr": "10.20.0.0/16", "VendorPrefixListId": "pl-0a"}, "OneKindOfRange"),
    ({"ApiEndpoints": "true", "VpcCidr": "10.0.0.0/16"}, "ApiEndpointsAreForTheVpc"),
    (API_ENDPOINTS | {"VpcCidr": ""}, "ApiEndpointsAreForTheVpc"),
    ({"AllowedPrincipals": "*", "AcceptanceRequired": "false"}, "EveryAccountNeedsAcceptance"),
    ({"AllowedPrincipals": "*,arn:aws:iam::210987654321:root"}, "AllowedPrincipals"),
    ({"AllowedPrincipals": "arn:aws:iam::210987654321:root, arn:aws:iam::210987654321:root"}, "AllowedPrincipals"),
    ({"CreateFunction": "false", "FunctionInVpc": "true"}, "FunctionInVpcIsAFunction"),
    ({"CreateFunction": "false", "DiscoveryTag": "sync", "DiscoveryEndpoints": "db.example.com"}, "FunctionInVpcIsAFunction"),
    ({"DiscoveryEndpoints": "db.example.com"}, "EndpointsHaveTag"),
    ({"DiscoveryTag": "sync", "DiscoveryEndpoints": "*"}, "DiscoveryEndpoints"),
    ({"SupportedRegions": "Ireland"}, "SupportedRegions"),
    ({"Targets": "all", "Standby": "keep"}, "StandbyIsForWriters"),
    ({"AlarmEmail": "data@example.com", "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:pager"}, "OneTopic"),
    ({"AlarmEmail": "data@example.com", "Monitoring": "none"}, "TopicsHaveAlarms"),
    ({"RoleArn": "arn:aws:iam::123456789012:role/sync", "RolePath": "/service/"}, "OneRole"),
    ({"SubnetIds": "subnet-0a"}, "SubnetIds"),
    ({"Port": "0"}, "Port"),
])
def test_impossible(parameters, reason):
    with pytest.raises(Refused, match=f"^{reason}:"):
        privatelink(**parameters)


def test_lattice_goes_by_name_to_the_named_accounts():
    stack = lattice()
    configuration = stack.resources["ResourceConfiguration"]
    assert configuration["ResourceConfigurationDefinition"]["DnsResource"]["DomainName"] == ENDPOINT
    assert configuration["PortRanges"] == ["5432"]
    assert len(stack.resources["ResourceGateway"]["SubnetIds"]) == 2
    assert stack.resources["Share"]["Principals"] == ["210987654321"]


def test_lattice_names_are_unique_and_replaceable():
    first, second = lattice(), lattice(Generation="2")
    for resource in ("ResourceGateway", "ResourceConfiguration", "Share"):
        name = first.resources[resource]["Name"]
        # The first part of the stack's id, so that two stacks of one account do not collide.
        assert name == "rds-writer-0a1b2c3d-1"
        assert second.resources[resource]["Name"] != name
    longest = lattice(Name="a" * 27, Generation="999").resources["ResourceGateway"]["Name"]
    assert len(longest) <= 40
    with pytest.raises(Refused):
        lattice(Name="a" * 28)


def parameters_behind(value, template):
    """The parameters that a property's value depends on: by name, by condition, and through resources that it names."""
    if isinstance(value, str):
        return set().union(*(parameters_behind({"Ref": name}, template) for name in re.findall(r"\$\{(\w+)\}", value)))
    if isinstance(value, list):
        return set().union(*(parameters_behind(item, template) for item in value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, item in value.items():
        if key == "Ref" and item in template["Parameters"]:
            found.add(item)
        elif key == "Ref" and item in template["Resources"]:
            found |= replacing(template["Resources"][item], template)
        elif key == "Fn::If":
            found |= parameters_behind(template["Conditions"][item[0]], template) | parameters_behind(item[1:], template)
        elif key == "Condition":
            found |= parameters_behind(template["Conditions"][item], template)
        elif key != "Ref":
            found |= parameters_behind(item, template)
    return found


def replacing(resource, template):
    """The parameters that replace a resource, by CloudFormation's own list of properties that cannot be updated."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource["Type"]).schema
    properties = {path.removeprefix("/properties/") for path in schema.get("createOnlyProperties", [])}
    # A new name is the name of the new one.
    return set().union(*(parameters_behind(resource["Properties"].get(name), template) for name in properties - {"Name"}))


def test_lattice_generation_is_for_each_parameter_that_replaces_a_named_resource():
    template = source("deploy/lattice.yaml")
    found = set()
    for resource in template["Resources"].values():
        if resource["Type"].startswith(("AWS::VpcLattice::", "AWS::RAM::")):
            assert "Generation" in str(resource["Properties"]["Name"])
            found |= replacing(resource, template)
    assert {"VpcId", "CustomDomainName", "DomainVerificationId"} <= found
    said = re.match(r"Increase it whenever you change ([^.]+)\.", template["Parameters"]["Generation"]["Description"])[1]
    assert set(re.findall(r"\w+", said)) - {"or"} == found
    text = " ".join((ROOT / "docs/deploy.md").read_text().split())
    [said] = re.findall(r"Increase `Generation` whenever you change ([^;.]+)[;.]", text)
    assert set(re.findall(r"`(\w+)`", said)) == found


def test_lattice_custom_domain_and_addresses():
    stack = lattice(CustomDomainName=ENDPOINT, DomainVerificationId="dv-0123456789abcdef0", AddressesPerInterface="4")
    assert stack.resources["ResourceConfiguration"]["CustomDomainName"] == ENDPOINT
    assert stack.resources["ResourceConfiguration"]["DomainVerificationId"] == "dv-0123456789abcdef0"
    assert stack.resources["ResourceGateway"]["Ipv4AddressesPerEni"] == "4"
    assert "CustomDomainName" not in lattice().resources["ResourceConfiguration"]
    with pytest.raises(Refused, match="^VerificationHasName:"):
        lattice(DomainVerificationId="dv-0123456789abcdef0")
