data "aws_region" "current" {}

# Counted, because the ids may be known only after apply.
data "aws_subnet" "this" {
  count = length(var.subnet_ids)
  id    = var.subnet_ids[count.index]
}

resource "aws_security_group" "gateway" {
  #checkov:skip=CKV2_AWS_5: It is attached to the resource gateway below.
  name_prefix = "${var.name}-"
  description = "Resource gateway in front of the database"
  vpc_id      = var.vpc_id
  tags        = merge({ Name = var.name }, var.tags)

  lifecycle {
    create_before_destroy = true
  }
}

# The security group of a gateway governs its outbound connections alone (VPC Lattice guide, resource gateways).
resource "aws_vpc_security_group_egress_rule" "to_database" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "The database"
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  referenced_security_group_id = var.database_security_group_id
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "from_gateway" {
  count = var.manage_database_rule ? 1 : 0

  security_group_id            = var.database_security_group_id
  description                  = "Resource gateway for vendors by VPC Lattice"
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  referenced_security_group_id = aws_security_group.gateway.id
  tags                         = var.tags
}

resource "aws_vpclattice_resource_gateway" "this" {
  name               = var.name
  vpc_id             = var.vpc_id
  subnet_ids         = var.subnet_ids
  security_group_ids = [aws_security_group.gateway.id]
  ip_address_type    = "IPV4"
  tags               = var.tags
}

resource "aws_vpclattice_resource_configuration" "this" {
  name                        = var.name
  type                        = "SINGLE"
  resource_gateway_identifier = aws_vpclattice_resource_gateway.this.id
  protocol                    = "TCP"
  port_ranges                 = [tostring(var.port)]
  # The vendor takes it by a VPC endpoint of type resource, and into no service network that others share.
  allow_association_to_shareable_service_network = false
  tags                                           = var.tags

  # By name, never by address: VPC Lattice resolves the name, and so follows a failover.
  resource_configuration_definition {
    dns_resource {
      domain_name     = var.endpoint
      ip_address_type = "IPV4"
    }
  }
}

resource "aws_ram_resource_share" "this" {
  name                      = var.name
  allow_external_principals = var.allow_external_accounts
  tags                      = var.tags
}

resource "aws_ram_resource_association" "this" {
  resource_share_arn = aws_ram_resource_share.this.arn
  resource_arn       = aws_vpclattice_resource_configuration.this.arn
}

resource "aws_ram_principal_association" "this" {
  for_each = toset(var.vendor_account_ids)

  resource_share_arn = aws_ram_resource_share.this.arn
  principal          = each.value
}
