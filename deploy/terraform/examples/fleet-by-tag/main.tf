terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83"
    }
  }
}

# Every target group of the account and Region with the tag rds-nlb-sync is kept in sync with the endpoint in the tag's
# value, also groups of other configurations and teams. Every principal
# with elasticloadbalancing:AddTags can thereby choose the database that a group leads to.

variable "vpc_id" {
  description = "The VPC of the databases and target groups."
  type        = string
}

variable "release" {
  description = "The release of the function: version, address that releases are downloaded from, and SHA-256 of its zip."
  type = object({
    version = string
    url     = string
    sha256  = string
  })
}

# Options of a binding are further tags.
resource "aws_lb_target_group" "orders_readers" {
  name        = "orders-readers"
  target_type = "ip"
  protocol    = "TCP"
  port        = 5432
  vpc_id      = var.vpc_id
  tags = {
    "rds-nlb-sync"      = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com"
    "rds-nlb-sync:role" = "readers"
  }
}

module "sync" {
  source = "../.."

  name          = "fleet-sync"
  discovery_tag = "rds-nlb-sync"
  settings = {
    discovery_endpoints = ["*.rds.amazonaws.com", "*.db.example.com"]
  }
  package = {
    release_version = var.release.version
    release_url     = var.release.url
    sha256          = var.release.sha256
  }

  # A tag that binds nothing is a failure, and the groups may get theirs later. The schedule checks within a minute.
  initial_check = false
}

output "check_command" {
  description = "Runs a check by hand."
  value       = module.sync.check_command
}
