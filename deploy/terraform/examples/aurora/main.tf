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

resource "aws_db_subnet_group" "orders" {
  name       = "orders"
  subnet_ids = var.subnet_ids
}

# Without inline rules: the module adds one that admits the load balancer.
resource "aws_security_group" "orders" {
  name_prefix = "orders-"
  description = "The orders database"
  vpc_id      = var.vpc_id
}

resource "aws_rds_cluster" "orders" {
  cluster_identifier          = "orders"
  engine                      = "aurora-postgresql"
  database_name               = "orders"
  master_username             = "orders"
  manage_master_user_password = true
  db_subnet_group_name        = aws_db_subnet_group.orders.name
  vpc_security_group_ids      = [aws_security_group.orders.id]
  storage_encrypted           = true
}

resource "aws_rds_cluster_instance" "orders" {
  count = 2

  identifier         = "orders-${count.index}"
  cluster_identifier = aws_rds_cluster.orders.id
  engine             = aws_rds_cluster.orders.engine
  instance_class     = "db.r7g.large"
}

module "privatelink" {
  source = "../../modules/privatelink"

  name               = "orders"
  vpc_id             = var.vpc_id
  subnet_ids         = var.subnet_ids
  allowed_principals = [var.vendor_principal]
  security_group_ids = { orders = aws_security_group.orders.id }
  databases = {
    writer = {
      endpoint = aws_rds_cluster.orders.endpoint
      port     = aws_rds_cluster.orders.port
    }
    readers = {
      endpoint      = aws_rds_cluster.orders.reader_endpoint
      port          = aws_rds_cluster.orders.port
      listener_port = 5433
      role          = "readers"
    }
  }

  package = { filename = var.package_file }
  alarms  = { email = "data-platform@example.com" }

  # The check at apply resolves the endpoint, which names no address before the instances are there.
  depends_on = [aws_rds_cluster_instance.orders]
}

output "handover" {
  description = "For the vendor's form."
  value       = module.privatelink.handover
}
