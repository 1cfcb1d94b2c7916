mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_subnet" {
    defaults = { availability_zone_id = "euw1-az1" }
  }
}

variables {
  endpoint                   = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com"
  port                       = 5432
  vpc_id                     = "vpc-0a"
  subnet_ids                 = ["subnet-0a", "subnet-0b"]
  database_security_group_id = "sg-0d"
  vendor_account_ids         = ["210987654321"]
}

run "by_name_to_the_named_accounts" {
  command = plan
  assert {
    condition     = aws_vpclattice_resource_configuration.this.resource_configuration_definition[0].dns_resource[0].domain_name == var.endpoint && aws_vpclattice_resource_configuration.this.port_ranges == toset(["5432"])
    error_message = "The resource configuration has another name or port."
  }
  assert {
    condition     = keys(aws_ram_principal_association.this) == ["210987654321"] && aws_ram_resource_share.this.allow_external_principals
    error_message = "It is shared with others."
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.to_database.referenced_security_group_id == "sg-0d" && aws_vpc_security_group_ingress_rule.from_gateway[0].security_group_id == "sg-0d"
    error_message = "The gateway and the database do not admit each other."
  }
}

run "rules_of_the_database_are_left_alone" {
  command = plan
  variables {
    manage_database_rule = false
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.from_gateway) == 0
    error_message = "A rule of the database's group is managed."
  }
}

# Every variable of a run is refused.
run "refuses_what_cannot_work" {
  command = plan
  variables {
    name               = "rgw-orders"
    endpoint           = "10.0.0.1"
    port               = 0
    subnet_ids         = ["subnet-0a"]
    vendor_account_ids = []
  }
  expect_failures = [var.name, var.endpoint, var.port, var.subnet_ids, var.vendor_account_ids]
}

run "refuses_further_names_and_accounts" {
  command = plan
  variables {
    name               = "two--hyphens"
    endpoint           = "orders"
    port               = 65536
    vendor_account_ids = ["arn:aws:iam::210987654321:root"]
  }
  expect_failures = [var.name, var.endpoint, var.port, var.vendor_account_ids]
}
