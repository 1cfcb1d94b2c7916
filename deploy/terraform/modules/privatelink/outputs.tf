locals {
  zone_ids = sort(distinct(data.aws_subnet.this[*].availability_zone_id))
}

output "handover" {
  description = "Text for the vendor's form."
  value       = <<-EOT
    Connection by AWS PrivateLink
    Service name: ${aws_vpc_endpoint_service.this.service_name}
    Region: ${data.aws_region.current.id}
    Supported Regions: ${join(", ", sort(setunion(var.supported_regions, [data.aws_region.current.id])))}
    Availability zone ids: ${join(", ", local.zone_ids)}
    IP address types: ${var.dual_stack ? "IPv4, IPv6" : "IPv4"}
    Allowed principals: ${length(var.allowed_principals) == 0 ? "none yet" : join(", ", var.allowed_principals)}
    Connection requests: ${var.acceptance_required ? "we accept each by hand" : "accepted automatically"}
    Databases:
    ${join("\n", [for key, database in local.databases : "- ${key}: port ${database.listener_port}, server name for TLS: ${trimsuffix(lower(database.endpoint), ".")}"])}
  EOT
}

output "service_name" {
  description = "Name of the endpoint service."
  value       = aws_vpc_endpoint_service.this.service_name
}

output "service_id" {
  description = "Id of the endpoint service, for accepting and rejecting connections."
  value       = aws_vpc_endpoint_service.this.id
}

output "region" {
  description = "The Region."
  value       = data.aws_region.current.id
}

output "zone_ids" {
  description = "Ids of the availability zones that vendors can connect from, such as use1-az1."
  value       = local.zone_ids
}

output "ports" {
  description = "The port of each database on the load balancer."
  value       = { for key, database in local.databases : key => database.listener_port }
}

output "target_group_arns" {
  description = "The target groups that the function keeps in sync."
  value       = { for key, group in aws_lb_target_group.this : key => group.arn }
}

output "load_balancer_arn" {
  description = "The load balancer."
  value       = aws_lb.this.arn
}

output "load_balancer_security_group_id" {
  description = "The load balancer's security group, for rules of your own."
  value       = aws_security_group.load_balancer.id
}

output "sync" {
  description = "All outputs of the sync module."
  value       = module.sync
}
