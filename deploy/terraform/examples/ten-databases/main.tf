terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83"
    }
  }
}

# Ten databases behind one load balancer and one endpoint service, kept in sync by one function. Each has
# a port of its own. Removing a line leaves the others alone.

variable "vpc_id" {
  description = "The databases' VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two or more availability zones."
  type        = list(string)
}

variable "database_security_group_id" {
  description = "The security group that the databases share."
  type        = string
}

variable "zone" {
  description = "The part after the identifier in the endpoints of this account and Region; a cluster's endpoint has cluster- before it."
  type        = string
  default     = "abc123.eu-west-1.rds.amazonaws.com"
}

variable "package_file" {
  description = "The zip with the function's code."
  type        = string
}

locals {
  clusters = {
    orders    = { port = 5432, listener_port = 15432 }
    customers = { port = 5432, listener_port = 15433 }
    catalog   = { port = 5432, listener_port = 15434 }
    stock     = { port = 5432, listener_port = 15435 }
    shop      = { port = 3306, listener_port = 13306 }
    reviews   = { port = 3306, listener_port = 13307 }
  }
  instances = {
    billing   = { port = 5432, listener_port = 15436 }
    payroll   = { port = 5432, listener_port = 15437 }
    tickets   = { port = 3306, listener_port = 13308 }
    warehouse = { port = 1433, listener_port = 11433 }
  }
}

module "privatelink" {
  source = "../../modules/privatelink"

  name               = "databases"
  vpc_id             = var.vpc_id
  subnet_ids         = var.subnet_ids
  allowed_principals = ["arn:aws:iam::210987654321:root"]
  security_group_ids = { shared = var.database_security_group_id }
  databases = merge(
    { for key, ports in local.clusters : key => merge(ports, { endpoint = "${key}.cluster-${var.zone}" }) },
    { for key, ports in local.instances : key => merge(ports, { endpoint = "${key}.${var.zone}" }) },
  )

  package = { filename = var.package_file }
}

output "handover" {
  description = "For the vendor's form."
  value       = module.privatelink.handover
}
