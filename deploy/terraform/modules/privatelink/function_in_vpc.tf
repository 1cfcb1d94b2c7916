data "aws_vpc" "this" {
  count = var.api_endpoints ? 1 : 0
  id    = var.vpc_id
}

data "aws_partition" "current" {}

resource "aws_security_group" "function" {
  #checkov:skip=CKV2_AWS_5: It is attached to the function of the sync module.
  count = var.function_in_vpc ? 1 : 0

  name_prefix = "${var.name}-sync-"
  description = "rds-nlb-sync"
  vpc_id      = var.vpc_id
  tags        = merge({ Name = "${var.name}-sync" }, var.tags)

  lifecycle {
    create_before_destroy = true
  }
}

# DNS by the VPC's resolver passes no security group.
resource "aws_vpc_security_group_egress_rule" "function_to_endpoints" {
  count = var.function_in_vpc && var.api_endpoints ? 1 : 0

  security_group_id            = aws_security_group.function[0].id
  description                  = "The ELB and RDS APIs by their endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.api[0].id
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "function_to_nat" {
  count = var.function_in_vpc && !var.api_endpoints ? 1 : 0

  security_group_id = aws_security_group.function[0].id
  description       = "The ELB and RDS APIs by the NAT gateway"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
  tags              = var.tags
}

resource "aws_security_group" "api" {
  #checkov:skip=CKV2_AWS_5: It is attached to the interface endpoints below.
  count = var.api_endpoints ? 1 : 0

  name_prefix = "${var.name}-api-"
  description = "Interface endpoints of the ELB and RDS APIs"
  vpc_id      = var.vpc_id
  tags        = merge({ Name = "${var.name}-api" }, var.tags)

  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = var.function_in_vpc
      error_message = "api_endpoints are of use to a function in the VPC; set function_in_vpc."
    }
  }
}

# Private DNS answers with these endpoints in the whole VPC: a rule for the function alone would cut off every other
# client of the two APIs.
resource "aws_vpc_security_group_ingress_rule" "api_from_vpc" {
  count = var.api_endpoints ? 1 : 0

  security_group_id = aws_security_group.api[0].id
  description       = "The VPC"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = data.aws_vpc.this[0].cidr_block
  tags              = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "api_from_others" {
  for_each = var.api_endpoints ? toset(var.api_client_cidrs) : toset([])

  security_group_id = aws_security_group.api[0].id
  description       = "Further clients"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = strcontains(each.value, ":") ? null : each.value
  cidr_ipv6         = strcontains(each.value, ":") ? each.value : null
  tags              = var.tags
}

resource "aws_vpc_endpoint" "api" {
  # In China, the name of the RDS API's service starts with the partition's domain turned round, that of ELB does not.
  for_each = var.api_endpoints ? {
    elasticloadbalancing = "com.amazonaws"
    rds                  = data.aws_partition.current.partition == "aws-cn" ? "cn.com.amazonaws" : "com.amazonaws"
  } : {}

  vpc_endpoint_type   = "Interface"
  service_name        = "${each.value}.${data.aws_region.current.id}.${each.key}"
  vpc_id              = var.vpc_id
  subnet_ids          = var.subnet_ids
  security_group_ids  = aws_security_group.api[*].id
  private_dns_enabled = true
  tags                = merge({ Name = "${var.name}-${each.key}" }, var.tags)
}
