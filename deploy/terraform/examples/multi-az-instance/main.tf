terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83"
    }
  }
}

# A Multi-AZ instance behind a load balancer that exists. Its standby stays in the group, unhealthy, so that the next
# failover needs no registration. Where UnHealthyHostCount has an alarm, one is then the normal value.

variable "target_group_name" {
  description = "Name of the load balancer's target group (type ip)."
  type        = string
  default     = "billing"
}

variable "package_file" {
  description = "The zip with the function's code."
  type        = string
}

data "aws_db_instance" "billing" {
  db_instance_identifier = "billing"
}

data "aws_lb_target_group" "billing" {
  name = var.target_group_name
}

module "sync" {
  source = "../.."

  name    = "billing-sync"
  package = { filename = var.package_file }
  bindings = {
    billing = {
      endpoint         = data.aws_db_instance.billing.address
      target_group_arn = data.aws_lb_target_group.billing.arn
      standby          = "keep"
    }
  }
}

output "doctor_command" {
  description = "Examines load balancer, group and database."
  value       = module.sync.doctor_command
}
