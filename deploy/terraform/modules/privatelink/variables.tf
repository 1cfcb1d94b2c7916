variable "name" {
  description = "Name of the load balancer, and the beginning of the names of target groups and security groups."
  type        = string
  default     = "rds-privatelink"
  nullable    = false

  validation {
    # Elastic Load Balancing API, CreateLoadBalancer.
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,26}[A-Za-z0-9])?$", var.name)) && !startswith(var.name, "internal-")
    error_message = "name: \"${var.name}\" is not a name of 1 to 28 letters, digits and hyphens that neither starts nor ends with a hyphen, nor starts with internal-."
  }
}

variable "vpc_id" {
  description = "The databases' VPC."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Private subnets of that VPC: two or more, each in another availability zone. Vendors reach the service from the zones of these subnets alone."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids: give two or more subnets, each in another availability zone."
  }
}

variable "databases" {
  description = <<-EOT
    The databases behind the load balancer, each under a key of your choice, with one listener and one target group.

    - endpoint: the DNS name whose addresses the group holds: a cluster's writer endpoint, an instance's endpoint, an
      RDS Proxy's endpoint, or a CNAME to one of them.
    - port: the database's port.
    - listener_port: the port that the vendor connects to. Default: port. No two databases share one.
    - security_group: key in security_group_ids of the database's security group. Default: the database's own key, or
      the only key that there is.
    - database, role, standby: as in the bindings of the sync module.
  EOT
  type = map(object({
    endpoint       = string
    port           = number
    listener_port  = optional(number)
    security_group = optional(string)
    database       = optional(string)
    role           = optional(string)
    standby        = optional(string)
  }))
  nullable = false

  validation {
    condition     = length(var.databases) >= 1 && length(var.databases) <= 50
    error_message = "databases: give 1 to 50; a Network Load Balancer has at most 50 listeners."
  }
  validation {
    condition     = alltrue([for key in keys(var.databases) : can(regex("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", key))])
    error_message = "databases: the keys ${join(", ", [for key in keys(var.databases) : "\"${key}\"" if !can(regex("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", key))])} become part of names; give letters, digits and hyphens, and no hyphen at the ends."
  }
  validation {
    condition = alltrue(flatten([
      for database in values(var.databases) : [
        for port in [database.port, database.listener_port] :
        port == null ? true : port >= 1 && port <= 65535 && floor(port) == port
      ]
    ]))
    error_message = join("\n", flatten([
      for key, database in var.databases : [
        for field, port in { port = database.port, listener_port = database.listener_port } :
        "databases[\"${key}\"].${field}: ${coalesce(port, 0)} is not a port from 1 to 65535."
        if port == null ? false : port < 1 || port > 65535 || floor(port) != port
      ]
    ]))
  }
  validation {
    condition = length(distinct([for database in values(var.databases) : coalesce(database.listener_port, database.port)])) == length(var.databases)
    error_message = join("\n", [
      for port, keys in { for key, database in var.databases : coalesce(database.listener_port, database.port) => key... } :
      "databases: ${join(" and ", [for key in keys : "\"${key}\""])} share the port ${port} of the load balancer; give each a listener_port of its own."
      if length(keys) > 1
    ])
  }
}

variable "security_group_ids" {
  description = "The databases' security groups, each under a key of your choice. A map, because several databases may share one."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "security_group_ids: is empty; give the databases' security groups."
  }
}

variable "manage_database_rules" {
  description = "Add a rule to each database's security group that admits the load balancer. Set it to false where that group's rules are written inline (ingress blocks of aws_security_group): Terraform would remove this rule at every other apply. Add a rule there for the output load_balancer_security_group_id."
  type        = bool
  default     = true
  nullable    = false
}

variable "dual_stack" {
  description = "Give the load balancer and the endpoint service IPv6 addresses as well. Every subnet needs an IPv6 range. The databases are still reached by IPv4."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Protect the load balancer against deletion."
  type        = bool
  default     = false
  nullable    = false
}

variable "allowed_principals" {
  description = "ARNs that may ask for a connection, as the vendor names them, such as arn:aws:iam::123456789012:root; \"*\" admits every account, and none admits only your own."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.allowed_principals : arn == "*" || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/.+|user/.+)$", arn))])
    error_message = "allowed_principals: each must be the ARN of an account, role or user, or \"*\"."
  }
}

variable "acceptance_required" {
  description = "Each connection waits until you accept it."
  type        = bool
  default     = true
  nullable    = false
}

variable "supported_regions" {
  description = "Further Regions that vendors may connect from. Needs the permission vpce:AllowMultiRegion."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for region in var.supported_regions : can(regex("^[a-z]{2,}(-[a-z]+)+-[0-9]+$", region))])
    error_message = "supported_regions: each must be a Region such as eu-west-1."
  }
}

variable "vendor_cidrs" {
  description = "The vendor's private address ranges, IPv4 or IPv6. With them, the load balancer admits connections by PrivateLink from these ranges alone. Without them, allowed_principals and your acceptance are the only limits."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.vendor_cidrs : can(cidrhost(cidr, 0))])
    error_message = "vendor_cidrs: each must be a range such as 10.20.0.0/16."
  }
}

variable "vendor_prefix_list_ids" {
  description = "The same as vendor_cidrs, by prefix lists."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "function_in_vpc" {
  description = "Run the function in the subnets. For publicly accessible databases, whose names give their private addresses inside the VPC alone. The function then reaches the APIs by a NAT gateway or by api_endpoints."
  type        = bool
  default     = false
  nullable    = false
}

variable "api_endpoints" {
  description = "Make interface endpoints for the ELB and RDS APIs in the subnets, so that a function in the VPC needs no NAT. From then on the whole VPC reaches these APIs by the endpoints, which therefore admit the whole VPC. The VPC needs enableDnsSupport and enableDnsHostnames. A VPC can have each endpoint once. They cost money per hour and zone."
  type        = bool
  default     = false
  nullable    = false
}

variable "api_client_cidrs" {
  description = "Ranges that may use the interface endpoints beside the VPC's first range: its further ranges, and networks that use its DNS."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "function_name" {
  description = "Name of the function. Default: the name of the load balancer with -sync."
  type        = string
  default     = null
}

variable "package" {
  description = "The function's code, as in the sync module."
  type = object({
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    release_version   = optional(string)
    release_url       = optional(string)
    sha256            = optional(string)
    architecture      = optional(string)
  })
  nullable = false
}

variable "settings" {
  description = "How the function works, as in the sync module."
  type = object({
    watch_seconds        = optional(number)
    poll_millis          = optional(number)
    confirm_seconds      = optional(number)
    nameservers          = optional(list(string))
    preregister          = optional(bool)
    verify_seconds       = optional(number)
    elb_calls_per_second = optional(number)
    discovery_endpoints  = optional(list(string))
    dry_run              = optional(bool)
    drift_check_minutes  = optional(number)
    log_level            = optional(string)
    tracing              = optional(string)
  })
  default  = {}
  nullable = false
}

variable "alarms" {
  description = "The function's alarms, as in the sync module."
  type = object({
    enabled           = optional(bool)
    topic_arns        = optional(list(string))
    email             = optional(string)
    change_notice     = optional(bool)
    change_topic_arns = optional(list(string))
  })
  default  = {}
  nullable = false
}

variable "dashboard" {
  description = "Make a CloudWatch dashboard."
  type        = bool
  default     = true
  nullable    = false
}

variable "initial_check" {
  description = "Invoke one check at apply, so that the apply itself registers the first targets."
  type        = bool
  default     = true
  nullable    = false
}

variable "memory_size" {
  description = "Memory of the function in MB."
  type        = number
  default     = 256
  nullable    = false
}

variable "reserved_concurrency" {
  description = "Runs at the same time, reserved for the function and its limit. Default: nothing is reserved or limited."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "Days that the function's log is kept."
  type        = number
  default     = 30
  nullable    = false
}

variable "kms_key_arn" {
  description = "A KMS key for the function's environment, log, queues and topic."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary that roles in your account must have."
  type        = string
  default     = null
}

variable "role_path" {
  description = "The path of the module's own role, if your account's rules require one."
  type        = string
  default     = "/"
  nullable    = false
}

variable "log_group_name" {
  description = "An existing log group for the function. Without it, the module makes one."
  type        = string
  default     = null
}

variable "role_arn" {
  description = "An existing role for the function instead of the module's own."
  type        = string
  default     = null
}

variable "create_role" {
  description = "Set it to false together with a role_arn that is made in the same apply. Otherwise leave it out."
  type        = bool
  default     = null
}

variable "code_signing_config_arn" {
  description = "A code signing configuration of Lambda that the package must satisfy."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
