locals {
  zone_ids = sort(distinct(data.aws_subnet.this[*].availability_zone_id))
}

output "handover" {
  description = "Text for the vendor's form."
  value       = <<-EOT
    Connection by an AWS VPC Lattice resource configuration
    Resource configuration: ${aws_vpclattice_resource_configuration.this.arn}
    Resource share to accept: ${aws_ram_resource_share.this.arn}
    Region: ${data.aws_region.current.id}
    Availability zone ids: ${join(", ", local.zone_ids)}
    Port: ${var.port}
    Server name for TLS: ${lower(var.endpoint)}
  EOT
}

output "resource_configuration_arn" {
  description = "The resource configuration, for the vendor."
  value       = aws_vpclattice_resource_configuration.this.arn
}

output "share_arn" {
  description = "The resource share, for the vendor to accept."
  value       = aws_ram_resource_share.this.arn
}

output "region" {
  description = "The Region, for the vendor."
  value       = data.aws_region.current.id
}

output "port" {
  description = "The port, for the vendor."
  value       = var.port
}

output "zone_ids" {
  description = "Ids of the gateway's availability zones, such as use1-az1."
  value       = local.zone_ids
}

output "gateway_security_group_id" {
  description = "The gateway's security group, for rules of your own."
  value       = aws_security_group.gateway.id
}
