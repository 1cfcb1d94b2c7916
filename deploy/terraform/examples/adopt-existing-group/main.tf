terraform {
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83"
    }
  }
}

# A load balancer and a target group that exist already, in this configuration. Before, an attachment kept the address:
#
#   resource "aws_lb_target_group_attachment" "writer" {
#     target_group_arn = aws_lb_target_group.orders.arn
#     target_id        = "10.0.1.10"
#   }
#
# An apply would put the old address back after every failover, and ignore_changes does not help, because Terraform makes
# a missing attachment anew whatever it ignores. This block takes the attachment out of the state and leaves the target in
# the group. To delete the resource without it deregisters the target: an outage.
removed {
  from = aws_lb_target_group_attachment.writer

  lifecycle {
    destroy = false
  }
}

variable "vpc_id" {
  description = "The VPC of the database and the load balancer."
  type        = string
}

variable "package_file" {
  description = "The zip with the function's code."
  type        = string
}

variable "dry_run" {
  description = "Apply with true first, and read the output check: in_sync, or the change that you expect. Then apply with false."
  type        = bool
  default     = true
}

resource "aws_lb_target_group" "orders" {
  name        = "orders"
  target_type = "ip"
  protocol    = "TCP"
  port        = 5432
  vpc_id      = var.vpc_id
}

module "sync" {
  source = "../.."

  package = { filename = var.package_file }
  bindings = {
    orders = {
      endpoint         = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com"
      target_group_arn = aws_lb_target_group.orders.arn
    }
  }
  settings = { dry_run = var.dry_run }
}

output "check" {
  description = "Result of the check at apply."
  value       = jsondecode(module.sync.initial_check_result).bindings
}
