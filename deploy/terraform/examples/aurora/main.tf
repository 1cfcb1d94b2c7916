terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83"
    }
  }
}

# An Aurora cluster, offered to a vendor by AWS PrivateLink: the writer on one port, its readers on another.

variable "vpc_id" {
  description = "The cluster's VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two or more availability zones."
  type        = list(string)
}

variable "vendor_principal" {
  description = "The vendor's account, as it names it."
  type        = string
  default     = "arn:aws:iam::210987654321:root"
}

variable "package_file" {
  description = "The zip with the function's code."
  type        = string
}

data "aws_rds_cluster" "orders" {
  cluster_identifier = "orders"
}

module "privatelink" {
  source = "../../modules/privatelink"

  name               = "orders"
  vpc_id             = var.vpc_id
  subnet_ids         = var.subnet_ids
  allowed_principals = [var.vendor_principal]
  # Its rules must not be written inline (ingress blocks of aws_security_group), or Terraform would remove the one that the
  # module adds: give manage_database_rules = false there.
  security_group_ids = { orders = one(data.aws_rds_cluster.orders.vpc_security_group_ids) }
  databases = {
    writer = {
      endpoint = data.aws_rds_cluster.orders.endpoint
      port     = data.aws_rds_cluster.orders.port
    }
    readers = {
      endpoint      = data.aws_rds_cluster.orders.reader_endpoint
      port          = data.aws_rds_cluster.orders.port
      listener_port = 5433
      role          = "readers"
    }
  }

  package = { filename = var.package_file }
  alarms  = { email = "data-platform@example.com" }
}

output "handover" {
  description = "For the vendor's form."
  value       = module.privatelink.handover
}
