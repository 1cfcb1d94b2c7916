"""The path of PrivateLink: several databases on one load balancer on MiniStack, endpoint services on moto."""

import json
import os

import pytest

import emulator
from emulator import Deployed, Failed, client
from stack import ENDPOINT, ROOT, Stack
from test_emulated_function import Names, code  # noqa: F401, a fixture

BILLING = "billing.abc123.us-east-1.rds.amazonaws.com"
STOCK = "stock.abc123.us-east-1.rds.amazonaws.com"
PATH = {"Endpoint": ENDPOINT, "Port": "5432", "DatabaseSecurityGroupId": "sg-0d", "DiscoveryTag": "rds-nlb-sync/path",
        "ReservedConcurrency": "none", "AllowedPrincipals": "arn:aws:iam::210987654321:root",
        "Architecture": "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"}


@pytest.fixture(scope="module")
def network(ministack):
    ec2 = client("ec2", ministack)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
               for n, zone in enumerate("ab")]
    return {"VpcId": vpc, "SubnetIds": ",".join(subnets)}


@pytest.fixture
def path(ministack, code, network):  # noqa: F811
    client("s3", ministack).put_object(
        Bucket=emulator.BUCKET, Key="template.yaml", Body=json.dumps(emulator.adapted("template.yaml")).encode())
    stack = Deployed(ministack, "path", "deploy/privatelink.yaml")
    yield stack.deploy(**network, **PATH)
    stack.delete()


def listeners(ministack, stack):
    """The ports of the load balancer, with the name of the tag's endpoint of each group."""
    elb = client("elbv2", ministack)
    found = {}
    for listener in elb.describe_listeners(LoadBalancerArn=stack.outputs()["LoadBalancerArn"])["Listeners"]:
        group = listener["DefaultActions"][0]["TargetGroupArn"]
        [tags] = elb.describe_tags(ResourceArns=[group])["TagDescriptions"]
        found[listener["Port"]] = {tag["Key"]: tag["Value"] for tag in tags["Tags"] if tag["Key"].startswith("rds-nlb-sync")}
    return found


@pytest.fixture
def names():
    names = Names({ENDPOINT: "10.0.1.10", BILLING: "10.0.5.50", STOCK: "10.0.6.60"})
    yield names
    names.close()


def run(ministack, path, event='{"command": "check"}'):
    """The answer of a run of the path's function, and its error."""
    answer = client("lambda", ministack).invoke(FunctionName=path.outputs()["FunctionName"], Payload=event)
    body = json.loads(answer["Payload"].read())
    return (None, body["errorMessage"]) if "FunctionError" in answer else (body, None)


def check(ministack, path):
    """The endpoint of each group that a run looks after, and the group's targets."""
    body, error = run(ministack, path)
    assert not error, error
    return {binding["target_group"]: (binding["endpoint"], targets(ministack, binding["target_group"])) for binding in body["bindings"]}


def targets(ministack, group):
    health = client("elbv2", ministack).describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return {entry["Target"]["Id"] for entry in health if entry["TargetHealth"]["State"] != "draining"}


def test_databases_come_and_go_beside_each_other(ministack, path, code, names):  # noqa: F811
    key = PATH["DiscoveryTag"]
    functions = client("lambda", ministack)
    assert path.outputs()["FunctionName"] in [f["FunctionName"] for f in functions.list_functions()["Functions"]]
    own = path.outputs()["TargetGroupArn"]

    def restart(**changed):
        given = functions.get_function_configuration(FunctionName=path.outputs()["FunctionName"])["Environment"]["Variables"]
        functions.update_function_configuration(FunctionName=path.outputs()["FunctionName"], Environment={"Variables": given | changed})

    # The path's stack has no parameter for it: on AWS the VPC's resolver answers.
    restart(NAMESERVERS=names.address)

    def add(name, port, **further):
        return Deployed(ministack, name, "deploy/database.yaml").deploy(
            PathStack="path", ListenerPort=port, Port="5432", DatabaseSecurityGroupId="sg-0e", **further)

    # The path's own group carries the tag: a run before there is another database finds it, and does not fail.
    if code:
        assert check(ministack, path) == {own: (ENDPOINT, {"10.0.1.10"})}
        restart(POLL_MILLIS="499")
    billing = add("billing", 5433, Endpoint=BILLING, Database="billing", Standby="keep")
    stock = add("stock", 5434, Endpoint=STOCK, AddLoadBalancerRule="false", AddDatabaseRule="false")
    assert listeners(ministack, path) == {
        5432: {key: ENDPOINT},
        5433: {key: BILLING, f"{key}:database": "billing", f"{key}:standby": "keep"},
        5434: {key: STOCK},
    }
    group = stock.outputs()["TargetGroupArn"]
    if code:
        # One run of the path's function finds the groups of all three stacks and fills them.
        assert check(ministack, path) == {
            own: (ENDPOINT, {"10.0.1.10"}), billing.outputs()["TargetGroupArn"]: (BILLING, {"10.0.5.50"}), group: (STOCK, {"10.0.6.60"})}

    # One is changed, one is removed: the others stay what they are.
    billing.deploy(Standby="deregister", ListenerPort=5435)
    assert listeners(ministack, path)[5435] == {key: BILLING, f"{key}:database": "billing"}
    billing.delete()
    assert listeners(ministack, path).keys() == {5432, 5434}
    assert (stock.outputs()["TargetGroupArn"], path.outputs()["TargetGroupArn"]) == (group, own)
    if code:
        # Until the function reads the tags again, it says that a group has gone, and looks after the others. A command
        # may read them at once, a scheduled check does not.
        names.addresses[STOCK] = "10.0.6.61"
        _, error = run(ministack, path, (ROOT / "events/schedule.json").read_text())
        assert error.startswith(f"1 of 3 bindings failed; {BILLING}") and "not found" in error
        assert targets(ministack, group) == {"10.0.6.61"}
        restart(POLL_MILLIS="501")
        assert check(ministack, path) == {own: (ENDPOINT, {"10.0.1.10"}), group: (STOCK, {"10.0.6.61"})}

    # The path's stack stays while a database uses it.
    with pytest.raises((Failed, path.cloudformation.exceptions.ClientError)):
        path.delete()
    stock.delete()


def test_path_without_tag_takes_no_database(ministack, code, network):  # noqa: F811
    stack = Deployed(ministack, "untagged", "deploy/privatelink.yaml").deploy(
        **network, **{**PATH, "DiscoveryTag": "", "CreateFunction": "false"})
    assert "FunctionName" not in stack.outputs() and "TargetGroupArn" in stack.outputs()
    database = Deployed(ministack, "refused-database", "deploy/database.yaml")
    with pytest.raises((Failed, stack.cloudformation.exceptions.ClientError), match="DiscoveryTag"):
        database.deploy(PathStack="untagged", ListenerPort=5433, Port="5432", DatabaseSecurityGroupId="sg-0e", Endpoint=BILLING)
    database.cloudformation.delete_stack(StackName="refused-database")
    stack.delete()


@pytest.mark.parametrize("parameters,acceptance,principals,regions", [
    ({}, True, ["arn:aws:iam::210987654321:root"], []),
    ({"AcceptanceRequired": "false", "SupportedRegions": "us-east-1,eu-west-1"}, False, ["arn:aws:iam::210987654321:root"],
     ["us-east-1", "eu-west-1"]),
    ({"AllowedPrincipals": "*"}, True, ["*"], []),
    ({"AllowedPrincipals": ""}, True, [], []),
])
def test_endpoint_service_on_moto(moto, parameters, acceptance, principals, regions):
    # moto's CloudFormation does not know the type, so its EC2 API gets the template's own properties.
    ec2, elb = client("ec2", moto), client("elbv2", moto)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
               for n, zone in enumerate("ab")]
    given = PATH | {"VpcId": vpc, "SubnetIds": ",".join(subnets)} | parameters
    resources = Stack(given, "deploy/privatelink.yaml").resources
    name = f"path-{abs(hash(json.dumps(parameters))) % 10**8}"
    balancer = elb.create_load_balancer(Name=name, Type="network", Scheme=resources["LoadBalancer"]["Scheme"],
                                        Subnets=resources["LoadBalancer"]["Subnets"])["LoadBalancers"][0]["LoadBalancerArn"]
    wanted = resources["EndpointService"]
    further = {"SupportedRegions": wanted["SupportedRegions"]} if "SupportedRegions" in wanted else {}
    service = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer], AcceptanceRequired=wanted["AcceptanceRequired"] == "true",
        SupportedIpAddressTypes=wanted["SupportedIpAddressTypes"], **further)["ServiceConfiguration"]
    if "EndpointServicePermissions" in resources:
        ec2.modify_vpc_endpoint_service_permissions(
            ServiceId=service["ServiceId"], AddAllowedPrincipals=resources["EndpointServicePermissions"]["AllowedPrincipals"])
    [found] = ec2.describe_vpc_endpoint_service_configurations(ServiceIds=[service["ServiceId"]])["ServiceConfigurations"]
    assert found["AcceptanceRequired"] is acceptance
    allowed = ec2.describe_vpc_endpoint_service_permissions(ServiceId=service["ServiceId"])["AllowedPrincipals"]
    assert [a["Principal"] for a in allowed] == principals
    # Those that the service has, not those that it was given.
    assert [region["Region"] for region in found.get("SupportedRegions", [])] == regions
