variable "name" {
  description = "Name of the resource gateway, the resource configuration and the share. The vendor sees it. Two copies of the module in one account and Region need two names."
  type        = string
  default     = "rds-writer"
  nullable    = false

  validation {
    # VPC Lattice API, CreateResourceGateway (3 to 40 characters) and CreateResourceConfiguration.
    condition     = can(regex("^[a-z0-9]([a-z0-9]|-[a-z0-9])+$", var.name)) && length(var.name) >= 3 && length(var.name) <= 40 && !startswith(var.name, "rcfg-") && !startswith(var.name, "rgw-")
    error_message = "name: \"${var.name}\" is not a name of 3 to 40 lower-case letters, digits and single hyphens that starts with neither rcfg- nor rgw-."
  }
}

variable "endpoint" {
  description = "DNS name that follows the writer, a cluster's writer endpoint or an instance's endpoint."
  type        = string
  nullable    = false

  validation {
    # Terraform's function takes leading zeros, with which the text is a name.
    condition     = !can(cidrnetmask("${trimsuffix(var.endpoint, ".")}/32")) || can(regex("(^|\\.)0[0-9]", var.endpoint))
    error_message = "endpoint: \"${var.endpoint}\" is an address, which never follows a failover. Fix: give the DNS name alone, such as orders.cluster-….rds.amazonaws.com."
  }
  validation {
    condition     = can(regex("^([A-Za-z0-9_-]{1,63}\\.)+[A-Za-z0-9_-]{1,63}$", var.endpoint))
    error_message = "endpoint: \"${var.endpoint}\" is not a fully qualified DNS name. Fix: give the DNS name alone, such as orders.cluster-….rds.amazonaws.com."
  }
}

variable "port" {
  description = "The database's port, such as 5432 (PostgreSQL) or 3306 (MySQL)."
  type        = number
  nullable    = false

  validation {
    condition     = var.port >= 1 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port: ${var.port} is not a port from 1 to 65535."
  }
}

variable "vpc_id" {
  description = "The database's VPC."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Private subnets of that VPC: two or more, each in another availability zone. One at least must be in a zone of the vendor's endpoint."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids: give two or more subnets, each in another availability zone."
  }
}

variable "database_security_group_id" {
  description = "The database's security group."
  type        = string
  nullable    = false
}

variable "manage_database_rule" {
  description = "Add a rule to the database's security group that admits the resource gateway. Set it to false where that group's rules are written inline (ingress blocks of aws_security_group), and add a rule there for the output gateway_security_group_id."
  type        = bool
  default     = true
  nullable    = false
}

variable "vendor_account_ids" {
  description = "The vendors' AWS account ids."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.vendor_account_ids) > 0 && alltrue([for id in var.vendor_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "vendor_account_ids: give one or more account ids of twelve digits."
  }
}

variable "allow_external_accounts" {
  description = "false shares inside your organization alone; a vendor is outside."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
