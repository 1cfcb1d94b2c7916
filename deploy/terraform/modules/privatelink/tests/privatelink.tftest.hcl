mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_subnet" {
    defaults = { availability_zone_id = "euw1-az1" }
  }
  mock_data "aws_vpc" {
    defaults = { cidr_block = "10.0.0.0/16" }
  }
}

variables {
  vpc_id             = "vpc-0a"
  subnet_ids         = ["subnet-0a", "subnet-0b"]
  security_group_ids = { shared = "sg-0d" }
  allowed_principals = ["arn:aws:iam::210987654321:root"]
  package            = { s3_bucket = "bucket", s3_key = "code.zip" }
  databases = {
    orders  = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", port = 5432 }
    billing = { endpoint = "billing.abc123.eu-west-1.rds.amazonaws.com", port = 5432, listener_port = 5433, standby = "keep" }
    shop    = { endpoint = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com", port = 3306 }
  }
}

run "several_databases_behind_one_load_balancer" {
  command = plan
  assert {
    condition     = aws_lb.this.internal && aws_lb.this.load_balancer_type == "network" && aws_lb.this.enable_cross_zone_load_balancing && aws_lb.this.ip_address_type == "ipv4"
    error_message = "The load balancer is not an internal one of IPv4 with cross-zone load balancing."
  }
  assert {
    condition     = { for key, listener in aws_lb_listener.this : key => listener.port } == { orders = 5432, billing = 5433, shop = 3306 }
    error_message = "The listeners have other ports."
  }
  assert {
    condition     = { for key, group in aws_lb_target_group.this : key => group.port } == { orders = 5432, billing = 5432, shop = 3306 }
    error_message = "The groups have other ports."
  }
  assert {
    condition     = alltrue([for group in aws_lb_target_group.this : group.target_type == "ip" && group.protocol == "TCP" && group.connection_termination && group.deregistration_delay == "60" && group.preserve_client_ip == "false" && !group.proxy_protocol_v2])
    error_message = "A group is not as the function needs it."
  }
  assert {
    condition     = alltrue([for group in aws_lb_target_group.this : group.health_check[0].protocol == "TCP" && group.health_check[0].interval == 10 && group.health_check[0].healthy_threshold == 2 && group.health_check[0].unhealthy_threshold == 2])
    error_message = "The health checks differ from those of deploy/privatelink.yaml."
  }
  assert {
    # Two databases share security group and port, and so a rule.
    condition     = keys(aws_vpc_security_group_ingress_rule.from_load_balancer) == ["shared-3306", "shared-5432"] && keys(aws_vpc_security_group_egress_rule.to_database) == ["shared-3306", "shared-5432"]
    error_message = "The rules are not one for each port."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.from_load_balancer : rule.security_group_id == "sg-0d"]) && alltrue([for rule in aws_vpc_security_group_egress_rule.to_database : rule.referenced_security_group_id == "sg-0d"])
    error_message = "The rules are about another group."
  }
  assert {
    condition     = aws_lb.this.enforce_security_group_inbound_rules_on_private_link_traffic == "off" && length(aws_vpc_security_group_ingress_rule.from_vendor) == 0
    error_message = "The load balancer would refuse every vendor."
  }
  assert {
    condition     = aws_vpc_endpoint_service.this.acceptance_required && aws_vpc_endpoint_service.this.supported_ip_address_types == toset(["ipv4"]) && aws_vpc_endpoint_service.this.allowed_principals == toset(["arn:aws:iam::210987654321:root"])
    error_message = "Other principals are admitted, or without acceptance."
  }
  assert {
    condition     = output.ports == { orders = 5432, billing = 5433, shop = 3306 } && join(" ", output.zone_ids) == "euw1-az1"
    error_message = "The outputs name other ports or zones."
  }
  assert {
    condition     = length(aws_security_group.function) == 0 && length(aws_vpc_endpoint.api) == 0
    error_message = "The function is in the VPC."
  }
}

run "by_ipv6_as_well" {
  command = plan
  variables {
    dual_stack = true
  }
  assert {
    condition     = aws_lb.this.ip_address_type == "dualstack" && aws_vpc_endpoint_service.this.supported_ip_address_types == toset(["ipv4", "ipv6"])
    error_message = "Load balancer or endpoint service have no IPv6 addresses."
  }
}

run "vendor_ranges_are_enforced" {
  command = plan
  variables {
    vendor_cidrs           = ["10.20.0.0/16", "fd00:20::/32"]
    vendor_prefix_list_ids = ["pl-0a"]
  }
  assert {
    condition     = aws_lb.this.enforce_security_group_inbound_rules_on_private_link_traffic == "on"
    error_message = "The ranges are not enforced."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.from_vendor) == 9
    error_message = "Three sources and three ports make nine rules."
  }
}

run "acceptance_and_regions_by_choice" {
  command = plan
  variables {
    acceptance_required = false
    supported_regions   = ["us-east-1"]
    allowed_principals  = []
  }
  assert {
    condition     = !aws_vpc_endpoint_service.this.acceptance_required && aws_vpc_endpoint_service.this.supported_regions == toset(["eu-west-1", "us-east-1"]) && length(aws_vpc_endpoint_service.this.allowed_principals) == 0
    error_message = "Acceptance, Regions or principals differ."
  }
}

run "rules_of_the_database_are_left_alone" {
  command = plan
  variables {
    manage_database_rules = false
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.from_load_balancer) == 0 && length(aws_vpc_security_group_egress_rule.to_database) == 2
    error_message = "A rule of the database's group is managed."
  }
}

run "function_in_the_vpc_with_nat" {
  command = plan
  variables {
    function_in_vpc = true
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.function_to_nat) == 1 && length(aws_vpc_endpoint.api) == 0
    error_message = "The function has no way to the APIs."
  }
}

run "endpoints_of_the_apis_admit_the_whole_vpc" {
  command = plan
  variables {
    function_in_vpc  = true
    api_endpoints    = true
    api_client_cidrs = ["10.1.0.0/16"]
  }
  assert {
    condition     = { for key, endpoint in aws_vpc_endpoint.api : key => endpoint.service_name } == { elasticloadbalancing = "com.amazonaws.eu-west-1.elasticloadbalancing", rds = "com.amazonaws.eu-west-1.rds" }
    error_message = "The endpoints are of other services."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.api_from_vpc[0].cidr_ipv4 == "10.0.0.0/16" && length(aws_vpc_security_group_ingress_rule.api_from_others) == 1
    error_message = "Other clients of the VPC are cut off."
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.function_to_nat) == 0 && length(aws_vpc_security_group_egress_rule.function_to_endpoints) == 1
    error_message = "The function may call more than the endpoints."
  }
}

# Every variable of a run is refused.
run "refuses_what_cannot_work" {
  command = plan
  variables {
    name               = "internal-orders"
    subnet_ids         = ["subnet-0a"]
    databases          = {}
    security_group_ids = {}
    allowed_principals = ["210987654321"]
    supported_regions  = ["Ireland"]
    vendor_cidrs       = ["10.20.0.0"]
  }
  expect_failures = [var.name, var.subnet_ids, var.databases, var.security_group_ids, var.allowed_principals, var.supported_regions, var.vendor_cidrs]
}

run "refuses_two_databases_on_one_port" {
  command = plan
  variables {
    databases = {
      orders  = { endpoint = "orders.example.com", port = 5432 }
      billing = { endpoint = "billing.example.com", port = 5432 }
    }
  }
  expect_failures = [var.databases]
}

run "refuses_a_port_out_of_range" {
  command = plan
  variables {
    databases = { orders = { endpoint = "orders.example.com", port = 70000 } }
  }
  expect_failures = [var.databases]
}

run "refuses_a_key_that_cannot_be_part_of_a_name" {
  command = plan
  variables {
    databases = { "orders db" = { endpoint = "orders.example.com", port = 5432 } }
  }
  expect_failures = [var.databases]
}

run "refuses_a_name_too_long_for_a_target_group" {
  command = plan
  variables {
    databases = { "a-database-of-a-long-name" = { endpoint = "orders.example.com", port = 5432 } }
  }
  expect_failures = [aws_lb_target_group.this]
}

run "refuses_a_security_group_that_is_not_given" {
  command = plan
  variables {
    databases = { orders = { endpoint = "orders.example.com", port = 5432, security_group = "other" } }
  }
  expect_failures = [aws_vpc_security_group_egress_rule.to_database]
}

run "refuses_endpoints_without_a_function_in_the_vpc" {
  command = plan
  variables {
    api_endpoints = true
  }
  expect_failures = [aws_security_group.api]
}

run "refuses_every_account_without_acceptance" {
  command = plan
  variables {
    allowed_principals  = ["*"]
    acceptance_required = false
  }
  expect_failures = [aws_vpc_endpoint_service.this]
}

run "every_account_may_ask_where_you_accept" {
  command = plan
  variables {
    allowed_principals = ["*"]
  }
  assert {
    condition     = aws_vpc_endpoint_service.this.acceptance_required && aws_vpc_endpoint_service.this.allowed_principals == toset(["*"])
    error_message = "Acceptance or principals differ."
  }
}

run "rules_of_the_account_reach_the_function" {
  command = plan
  variables {
    log_group_name = "/team/sync"
  }
  assert {
    condition     = module.sync.log_group_name == "/team/sync"
    error_message = "The log is ${module.sync.log_group_name}."
  }
}
