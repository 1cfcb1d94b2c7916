"""The PrivateLink module against moto, whose endpoint services have principals and Regions. moto runs no function."""

import json
import re
import zipfile

import boto3
import pytest

import runner

CONFIGURATION = """
variable "databases" { type = any }
variable "choices" { type = any }

resource "aws_vpc" "this" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_support   = true
  enable_dns_hostnames = true
}

resource "aws_subnet" "this" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  cidr_block        = "10.0.${count.index}.0/24"
  availability_zone = "us-east-1${["a", "b"][count.index]}"
}

# No inline rules, as the module asks.
resource "aws_security_group" "database" {
  name   = "database"
  vpc_id = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "team" {
  security_group_id = aws_security_group.database.id
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
  cidr_ipv4         = "10.9.0.0/16"
}

module "privatelink" {
  source = "../terraform/modules/privatelink"

  vpc_id              = aws_vpc.this.id
  subnet_ids          = aws_subnet.this[*].id
  security_group_ids  = { shared = aws_security_group.database.id }
  databases           = var.databases
  allowed_principals  = ["arn:aws:iam::210987654321:root"]
  package             = { filename = "code.zip" }
  # moto runs no function.
  initial_check       = false
  acceptance_required = try(var.choices.acceptance_required, null)
  supported_regions   = try(var.choices.supported_regions, null)
  vendor_cidrs        = try(var.choices.vendor_cidrs, null)
  function_in_vpc     = try(var.choices.in_vpc, null)
  api_endpoints       = try(var.choices.in_vpc, null)
}

output "privatelink" { value = module.privatelink }
"""

ORDERS = {"endpoint": "orders.cluster-abc123.us-east-1.rds.amazonaws.com", "port": 5432}
BILLING = {"endpoint": "billing.abc123.us-east-1.rds.amazonaws.com", "port": 5432, "listener_port": 5433, "standby": "keep"}
SHOP = {"endpoint": "shop.example.com", "port": 3306, "database": "shop"}


@pytest.fixture
def client(moto):
    def client(service):
        return boto3.client(service, endpoint_url=moto, region_name=runner.REGION, aws_access_key_id="test",
                            aws_secret_access_key="test")
    return client


# Attributes that moto does not return as they were given.
FORGOTTEN = {
    "aws_lambda_function": {"logging_config"},
    "aws_lb": {"enforce_security_group_inbound_rules_on_private_link_traffic"},
    "aws_vpc_endpoint_service": {"supported_ip_address_types"},
    "aws_vpc_security_group_egress_rule": {"description"},
    "aws_vpc_security_group_ingress_rule": {"description"},
}


def changes(workspace):
    """The changes of the next plan, without the attributes that moto does not return."""
    found = {}
    for address, what in runner.changed(workspace.plan()).items():
        kind = re.findall(r"(aws_\w+)\.", address)[-1]
        if isinstance(what, set):
            what = what - FORGOTTEN.get(kind, set())
        if what:
            found[address] = what
    return found


def permitted(client, port):
    """Sources that the database's group admits on a port: ranges and groups."""
    [group] = client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["database"]}])["SecurityGroups"]
    found = set()
    for rule in group["IpPermissions"]:
        if rule["FromPort"] == port:
            found |= {entry["CidrIp"] for entry in rule["IpRanges"]}
            found |= {entry["GroupId"] for entry in rule["UserIdGroupPairs"]}
    return found


def test_path_from_apply_to_destroy(provider, moto, client, tmp_path):
    workspace = runner.Workspace(tmp_path, CONFIGURATION, moto)
    with zipfile.ZipFile(workspace.folder / "code.zip", "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\n")

    def apply(databases, **choices):
        (workspace.folder / "terraform.tfvars.json").write_text(json.dumps({"databases": databases, "choices": choices}))
        workspace.apply()
        # A second plan changes nothing.
        assert changes(workspace) == {}
        return workspace.outputs()["privatelink"]

    outputs = apply({"orders": ORDERS, "billing": BILLING})
    assert outputs["ports"] == {"orders": 5432, "billing": 5433}
    [service] = client("ec2").describe_vpc_endpoint_service_configurations()["ServiceConfigurations"]
    assert service["ServiceName"] == outputs["service_name"] and service["AcceptanceRequired"]
    assert service["NetworkLoadBalancerArns"] == [outputs["load_balancer_arn"]]
    principals = client("ec2").describe_vpc_endpoint_service_permissions(ServiceId=service["ServiceId"])
    assert [p["Principal"] for p in principals["AllowedPrincipals"]] == ["arn:aws:iam::210987654321:root"]
    assert outputs["handover"] == f"""\
Connection by AWS PrivateLink
Service name: {service["ServiceName"]}
Region: us-east-1
Supported Regions: us-east-1
Availability zone ids: {", ".join(outputs["zone_ids"])}
IP address types: IPv4
Allowed principals: arn:aws:iam::210987654321:root
Connection requests: we accept each by hand
Databases:
- billing: port 5433, server name for TLS: {BILLING["endpoint"]}
- orders: port 5432, server name for TLS: {ORDERS["endpoint"]}
"""

    # No group has targets that Terraform knows of, and each listener forwards to the group of its database.
    elb = client("elbv2")
    forwards = {listener["Port"]: listener["DefaultActions"][0]["TargetGroupArn"]
                for listener in elb.describe_listeners(LoadBalancerArn=outputs["load_balancer_arn"])["Listeners"]}
    assert forwards == {5432: outputs["target_group_arns"]["orders"], 5433: outputs["target_group_arns"]["billing"]}
    variables = client("lambda").get_function(FunctionName="rds-privatelink-sync")["Configuration"]["Environment"]["Variables"]
    for group in outputs["target_group_arns"].values():
        assert elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"] == []
        assert group in variables["BINDINGS"]

    # The rule of the module stands beside the other one.
    assert permitted(client, 5432) == {"10.9.0.0/16", outputs["load_balancer_security_group_id"]}

    # Targets that the function registers are none of Terraform's business.
    elb.register_targets(TargetGroupArn=outputs["target_group_arns"]["orders"], Targets=[{"Id": "10.0.0.10", "Port": 5432}])
    assert changes(workspace) == {}

    # One database leaves, another comes: the one that stays is not touched.
    (workspace.folder / "terraform.tfvars.json").write_text(
        json.dumps({"databases": {"orders": ORDERS, "shop": SHOP}, "choices": {}}))
    touched = changes(workspace)
    assert not [address for address in touched if '"orders"' in address], touched
    outputs = apply({"orders": ORDERS, "shop": SHOP})
    assert outputs["ports"] == {"orders": 5432, "shop": 3306}
    health = elb.describe_target_health(TargetGroupArn=outputs["target_group_arns"]["orders"])
    assert [entry["Target"]["Id"] for entry in health["TargetHealthDescriptions"]] == ["10.0.0.10"]

    # Everything by choice.
    outputs = apply({"orders": ORDERS}, acceptance_required=False, supported_regions=["eu-west-1"],
                    vendor_cidrs=["10.20.0.0/16"], in_vpc=True)
    [service] = client("ec2").describe_vpc_endpoint_service_configurations()["ServiceConfigurations"]
    assert not service["AcceptanceRequired"]
    # The service's own Region too, which the choice leaves out.
    assert {region["Region"] for region in service["SupportedRegions"]} == {"us-east-1", "eu-west-1"}
    assert "Supported Regions: eu-west-1, us-east-1\n" in outputs["handover"]
    endpoints = client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    assert {endpoint["ServiceName"].rsplit(".", 1)[1] for endpoint in endpoints} == {"elasticloadbalancing", "rds"}

    workspace.destroy()
    assert client("ec2").describe_vpc_endpoint_service_configurations()["ServiceConfigurations"] == []
    assert elb.describe_load_balancers()["LoadBalancers"] == []
