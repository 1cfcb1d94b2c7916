data "aws_region" "current" {}

# Counted, because the ids may be known only after apply.
data "aws_subnet" "this" {
  count = length(var.subnet_ids)
  id    = var.subnet_ids[count.index]
}

locals {
  databases = {
    for key, database in var.databases : key => merge(database, {
      listener_port = coalesce(database.listener_port, database.port)
      security_group = (
        database.security_group != null ? database.security_group
        : contains(keys(var.security_group_ids), key) || length(var.security_group_ids) != 1 ? key
        : one(keys(var.security_group_ids))
      )
    })
  }
  listener_ports = toset([for database in values(local.databases) : tostring(database.listener_port)])

  # One rule for each security group and port, however many databases share them: EC2 refuses the same rule twice.
  database_rules = {
    for database in values(local.databases) :
    "${database.security_group}-${database.port}" => { security_group = database.security_group, port = database.port }...
  }

  vendor_sources = merge(
    { for cidr in var.vendor_cidrs : cidr => { ipv4 = strcontains(cidr, ":") ? null : cidr, ipv6 = strcontains(cidr, ":") ? cidr : null, list = null } },
    # By position, because an id may be known only after apply.
    { for index, id in var.vendor_prefix_list_ids : "list-${index}" => { ipv4 = null, ipv6 = null, list = id } },
  )
  vendor_rules = {
    for pair in setproduct(keys(local.vendor_sources), local.listener_ports) :
    join(" ", pair) => merge(local.vendor_sources[pair[0]], { port = tonumber(pair[1]) })
  }
}

# A Network Load Balancer that is made without a security group can never have one (NLB guide, security groups).
resource "aws_security_group" "load_balancer" {
  #checkov:skip=CKV2_AWS_5: It is attached to the load balancer below.
  name_prefix = "${var.name}-"
  description = "Load balancer in front of the database"
  vpc_id      = var.vpc_id
  tags        = merge({ Name = var.name }, var.tags)

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "from_vendor" {
  for_each = local.vendor_rules

  security_group_id = aws_security_group.load_balancer.id
  description       = "The vendor"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.ipv4
  cidr_ipv6         = each.value.ipv6
  prefix_list_id    = each.value.list
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "to_database" {
  for_each = local.database_rules

  security_group_id            = aws_security_group.load_balancer.id
  description                  = "The database, for connections and health checks"
  ip_protocol                  = "tcp"
  from_port                    = each.value[0].port
  to_port                      = each.value[0].port
  referenced_security_group_id = lookup(var.security_group_ids, each.value[0].security_group, "")
  tags                         = var.tags

  lifecycle {
    precondition {
      condition     = contains(keys(var.security_group_ids), each.value[0].security_group)
      error_message = "databases: security_group_ids has no \"${each.value[0].security_group}\"; name the database's security group in its field security_group."
    }
  }
}

# A resource of its own, so that it does not touch other rules of the database's group.
resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  for_each = var.manage_database_rules ? local.database_rules : {}

  security_group_id            = lookup(var.security_group_ids, each.value[0].security_group, "")
  description                  = "Load balancer for vendors by PrivateLink"
  ip_protocol                  = "tcp"
  from_port                    = each.value[0].port
  to_port                      = each.value[0].port
  referenced_security_group_id = aws_security_group.load_balancer.id
  tags                         = var.tags
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91: The access log of a Network Load Balancer records TLS listeners alone, and these pass TCP through.
  #checkov:skip=CKV_AWS_150: With it, an apply that fails cannot be undone; deletion_protection turns it on.
  name                       = var.name
  load_balancer_type         = "network"
  internal                   = true
  ip_address_type            = var.dual_stack ? "dualstack" : "ipv4"
  subnets                    = var.subnet_ids
  security_groups            = [aws_security_group.load_balancer.id]
  enable_deletion_protection = var.deletion_protection
  # The writer is one target, in one zone. Without this, the other zones have none.
  enable_cross_zone_load_balancing = true
  # On by default; without rules for the vendor's range it would refuse every vendor.
  enforce_security_group_inbound_rules_on_private_link_traffic = length(local.vendor_sources) > 0 ? "on" : "off"
  tags                                                         = var.tags
}

# No attachments: Terraform would undo what the function does at every apply.
resource "aws_lb_target_group" "this" {
  for_each = local.databases

  # The port is part of the name, because a group with another port is a new one, and stands beside the old one until the
  # listener has changed over.
  name            = "${var.name}-${each.key}-${each.value.port}"
  target_type     = "ip"
  ip_address_type = "ipv4"
  protocol        = "TCP"
  port            = each.value.port
  vpc_id          = var.vpc_id
  # Clients must not stay with a database that is the writer no longer.
  connection_termination = true
  # That happens when the delay ends. It is not zero, because a draining target is the function's record that it has
  # removed this address a moment ago, and DNS can go back and forth for some 30 s after a failover.
  deregistration_delay = 60
  # Connections come from the load balancer's own addresses, which the database's security group admits.
  preserve_client_ip = false
  # Databases do not speak it.
  proxy_protocol_v2 = false
  tags              = var.tags

  # The shortest interval that does not slow a new target down, times two: 20 s to take a dead writer out.
  health_check {
    protocol            = "TCP"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = length("${var.name}-${each.key}-${each.value.port}") <= 32
      error_message = "The target group's name \"${var.name}-${each.key}-${each.value.port}\" is longer than 32 characters; shorten name or the database's key."
    }
  }
}

resource "aws_lb_listener" "this" {
  #checkov:skip=CKV_AWS_2: TCP passes the database's own TLS through, end to end.
  #checkov:skip=CKV_AWS_103: As above.
  for_each = local.databases

  load_balancer_arn = aws_lb.this.arn
  protocol          = "TCP"
  port              = each.value.listener_port
  tags              = var.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }

  # A group that replaces another one is filled by the check at apply before the listener forwards to it.
  depends_on = [module.sync]
}

resource "aws_vpc_endpoint_service" "this" {
  #checkov:skip=CKV_AWS_123: Each connection is accepted by hand unless acceptance_required says otherwise.
  acceptance_required        = var.acceptance_required
  allowed_principals         = var.allowed_principals
  network_load_balancer_arns = [aws_lb.this.arn]
  supported_ip_address_types = var.dual_stack ? ["ipv4", "ipv6"] : ["ipv4"]
  supported_regions          = length(var.supported_regions) == 0 ? null : setunion(var.supported_regions, [data.aws_region.current.id])
  tags                       = merge({ Name = var.name }, var.tags)

  # The service is not offered before its load balancer forwards connections.
  depends_on = [aws_lb_listener.this]

  lifecycle {
    precondition {
      condition     = var.acceptance_required || !contains(var.allowed_principals, "*")
      error_message = "allowed_principals = [\"*\"] without acceptance would connect every AWS account; leave acceptance_required true, or name the accounts."
    }
  }
}

module "sync" {
  source = "../.."

  name = coalesce(var.function_name, "${var.name}-sync")
  bindings = {
    for key, database in local.databases : key => {
      endpoint         = database.endpoint
      target_group_arn = aws_lb_target_group.this[key].arn
      database         = database.database
      role             = database.role
      standby          = database.standby
    }
  }
  vpc = var.function_in_vpc ? {
    subnet_ids         = var.subnet_ids
    security_group_ids = aws_security_group.function[*].id
  } : null

  # Attributes that were not given are null, and the sync module replaces null by its default.
  package  = var.package
  settings = var.settings
  alarms   = var.alarms

  dashboard                = var.dashboard
  initial_check            = var.initial_check
  memory_size              = var.memory_size
  reserved_concurrency     = var.reserved_concurrency
  log_retention_days       = var.log_retention_days
  kms_key_arn              = var.kms_key_arn
  permissions_boundary_arn = var.permissions_boundary_arn
  role_path                = var.role_path
  log_group_name           = var.log_group_name
  role_arn                 = var.role_arn
  create_role              = var.create_role
  code_signing_config_arn  = var.code_signing_config_arn
  tags                     = var.tags
}
