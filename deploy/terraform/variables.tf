variable "name" {
  description = "Name of the function. The log group, queues, rules, alarms and dashboard carry it as well. Two copies of the module in one account and Region need two names."
  type        = string
  default     = "rds-nlb-sync"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,40}$", var.name))
    error_message = "name: \"${var.name}\" is not a name of 1 to 40 letters, digits, hyphens and underscores."
  }
}

variable "bindings" {
  description = <<-EOT
    The bindings of endpoints to target groups, each under a key of your choice. Removing one leaves the others alone.

    - endpoint: the DNS name whose addresses the group holds: a cluster's writer endpoint, an instance's endpoint, an
      RDS Proxy's endpoint, or a CNAME to one of them.
    - target_group_arn: ARN of the target group (type ip). Terraform must not manage its targets.
    - port: the port to register. Default: the group's own port.
    - database: identifier of the cluster or instance, where the endpoint is a CNAME of your own and its first label
      differs from the identifier. Several, separated by commas, where it can lead to several.
    - role: writer (the one address of the endpoint), readers (every reader of the cluster, or its writer where it has
      none) or all (every address of the endpoint, as of an RDS Proxy). Default: writer.
    - standby: keep leaves the standby of a Multi-AZ instance in the group, unhealthy, so that the next failover needs
      no registration. Not for clusters. Default: the previous writer is deregistered.

    The environment of a Lambda function holds about fifteen bindings; discovery_tag binds any number.
  EOT
  type = map(object({
    endpoint         = string
    target_group_arn = string
    port             = optional(number)
    database         = optional(string)
    role             = optional(string)
    standby          = optional(string)
  }))
  default  = {}
  nullable = false

  # The rules and the words are those of the program, src/config. Terraform's functions take an address such as 010.0.0.1,
  # which the program and DNS take for a name.
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      !(can(cidrnetmask("${trimsuffix(binding.endpoint, ".")}/32")) && !can(regex("(^|\\.)0[0-9]", binding.endpoint)))
      && !can(cidrhost("${trimsuffix(binding.endpoint, ".")}/128", 0))
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].endpoint: \"${binding.endpoint}\" is an address, which never follows a failover. Fix: give the DNS name alone, such as orders.cluster-….rds.amazonaws.com."
      if can(cidrnetmask("${trimsuffix(binding.endpoint, ".")}/32")) && !can(regex("(^|\\.)0[0-9]", binding.endpoint)) || can(cidrhost("${trimsuffix(binding.endpoint, ".")}/128", 0))
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      can(regex("^([A-Za-z0-9_-]{1,63}\\.)+[A-Za-z0-9_-]{1,63}\\.?$", binding.endpoint))
      && length(trimsuffix(binding.endpoint, ".")) <= 253
      || can(cidrhost("${trimsuffix(binding.endpoint, ".")}/128", 0))
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].endpoint: \"${binding.endpoint}\" is not a fully qualified DNS name. Fix: give the DNS name alone, such as orders.cluster-….rds.amazonaws.com."
      if !can(regex("^([A-Za-z0-9_-]{1,63}\\.)+[A-Za-z0-9_-]{1,63}\\.?$", binding.endpoint)) || length(trimsuffix(binding.endpoint, ".")) > 253
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      can(regex("^arn:[^:\\s]+:elasticloadbalancing:[^:\\s]+:[^:\\s]+:targetgroup/[^:/\\s]+/[^:/\\s]+$", binding.target_group_arn))
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].target_group_arn: \"${binding.target_group_arn}\" is not a target group's ARN. Fix: give arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID."
      if !can(regex("^arn:[^:\\s]+:elasticloadbalancing:[^:\\s]+:[^:\\s]+:targetgroup/[^:/\\s]+/[^:/\\s]+$", binding.target_group_arn))
    ])
  }
  validation {
    condition = length(distinct(values(var.bindings)[*].target_group_arn)) == length(var.bindings)
    error_message = join("\n", [
      for arn, keys in { for key, binding in var.bindings : binding.target_group_arn => key... } :
      "bindings: ${arn} is bound by ${join(" and ", [for key in keys : "\"${key}\""])}. Fix: bind each target group to one endpoint."
      if length(keys) > 1
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      binding.port == null ? true : binding.port >= 1 && binding.port <= 65535 && floor(binding.port) == binding.port
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].port: ${coalesce(binding.port, 0)} is not a port from 1 to 65535."
      if binding.port == null ? false : binding.port < 1 || binding.port > 65535 || floor(binding.port) != binding.port
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      binding.database == null ? true : can(regex("^[A-Za-z](-?[A-Za-z0-9]){0,62}(,[A-Za-z](-?[A-Za-z0-9]){0,62})*$", binding.database))
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].database: \"${binding.database == null ? "" : binding.database}\" is not the identifier of a cluster or instance. Fix: give one such as orders, or leave it out."
      if binding.database == null ? false : !can(regex("^[A-Za-z](-?[A-Za-z0-9]){0,62}(,[A-Za-z](-?[A-Za-z0-9]){0,62})*$", binding.database))
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      binding.role == null ? true : contains(["writer", "readers", "all"], binding.role)
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].role: \"${binding.role == null ? "" : binding.role}\" is not a role. Fix: give \"writer\", \"readers\" or \"all\"."
      if binding.role == null ? false : !contains(["writer", "readers", "all"], binding.role)
    ])
  }
  validation {
    # The names of RDS in each partition, as in src/endpoint.rs; a name of your own may have such a label.
    condition = alltrue([
      for binding in values(var.bindings) :
      !(can(regex("(?i)^[^.]+\\.cluster-ro-[a-z0-9]+\\.([^.]+\\.rds|rds\\.[^.]+)\\.(amazonaws\\.com(\\.cn)?|amazonaws\\.eu|c2s\\.ic\\.gov|sc2s\\.sgov\\.gov|cloud\\.adc-e\\.uk|csp\\.hci\\.ic\\.gov)\\.?$", binding.endpoint)) && (binding.role == null ? true : binding.role == "writer"))
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].endpoint: \"${binding.endpoint}\" is a cluster's reader endpoint, which gives one reader at a time and not the writer. Fix: give the writer endpoint (ID.cluster-….rds.amazonaws.com), or set role to \"readers\"."
      if can(regex("(?i)^[^.]+\\.cluster-ro-[a-z0-9]+\\.([^.]+\\.rds|rds\\.[^.]+)\\.(amazonaws\\.com(\\.cn)?|amazonaws\\.eu|c2s\\.ic\\.gov|sc2s\\.sgov\\.gov|cloud\\.adc-e\\.uk|csp\\.hci\\.ic\\.gov)\\.?$", binding.endpoint)) && (binding.role == null ? true : binding.role == "writer")
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) : binding.standby == null ? true : binding.standby == "keep"
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].standby: \"${binding.standby == null ? "" : binding.standby}\" is not \"keep\". Fix: leave it out to deregister the previous writer."
      if binding.standby == null ? false : binding.standby != "keep"
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      binding.standby == null ? true : !can(regex("(?i)^[^.]+\\.(cluster-(ro-|custom-)?|global-|shardgrp-)[a-z0-9]+\\.([^.]+\\.rds|rds\\.[^.]+)\\.(amazonaws\\.com(\\.cn)?|amazonaws\\.eu|c2s\\.ic\\.gov|sc2s\\.sgov\\.gov|cloud\\.adc-e\\.uk|csp\\.hci\\.ic\\.gov)\\.?$", binding.endpoint))
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].standby: \"keep\" is for Multi-AZ instances; a cluster's previous writer continues as a reader, so clients would reach a database that they cannot write to."
      if binding.standby == null ? false : can(regex("(?i)^[^.]+\\.(cluster-(ro-|custom-)?|global-|shardgrp-)[a-z0-9]+\\.([^.]+\\.rds|rds\\.[^.]+)\\.(amazonaws\\.com(\\.cn)?|amazonaws\\.eu|c2s\\.ic\\.gov|sc2s\\.sgov\\.gov|cloud\\.adc-e\\.uk|csp\\.hci\\.ic\\.gov)\\.?$", binding.endpoint))
    ])
  }
  validation {
    condition = alltrue([
      for binding in values(var.bindings) :
      binding.standby == null || binding.role == null ? true : binding.role == "writer"
    ])
    error_message = join("\n", [
      for key, binding in var.bindings :
      "bindings[\"${key}\"].standby: \"keep\" goes with the role \"writer\" alone. Fix: leave \"standby\" or \"role\" out."
      if binding.standby == null || binding.role == null ? false : binding.role != "writer"
    ])
  }
}

variable "discovery_tag" {
  description = "A tag key: every target group of the account and Region that carries it is bound to the endpoint in the tag's value. The function may then change every group with this tag, and no other. Every principal with elasticloadbalancing:AddTags on a group can thereby choose the database that the group's clients reach."
  type        = string
  default     = null

  validation {
    # The options of a binding are further tags, KEY:database the longest of them; a key has at most 128 characters.
    condition     = var.discovery_tag == null ? true : can(regex("^[\\p{L}\\p{N} _.:/=+@-]{1,119}$", var.discovery_tag)) && trimspace(var.discovery_tag) != "" && !startswith(var.discovery_tag, "aws:")
    error_message = "discovery_tag: \"${var.discovery_tag == null ? "" : var.discovery_tag}\" is not a tag key. Fix: give one such as rds-nlb-sync."
  }
}

variable "package" {
  description = <<-EOT
    Where the function's code is. Exactly one of:

    - filename: a zip on this machine.
    - s3_bucket and s3_key: a zip in a bucket of this Region, and s3_object_version where the bucket keeps versions.
    - release_version, release_url and sha256: a release, downloaded at apply by curl from
      RELEASE_URL/vVERSION/rds-nlb-sync-VERSION-ARCHITECTURE.zip and compared with the checksum.

    sha256 is the zip's checksum in hexadecimal. With a bucket it is optional, and makes Terraform notice new code under
    the same key. architecture is arm64 or x86_64, the processor that the zip was built for.
  EOT
  type = object({
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    release_version   = optional(string)
    release_url       = optional(string)
    sha256            = optional(string)
    architecture      = optional(string, "arm64")
  })
  nullable = false

  validation {
    condition     = length([for source in [var.package.filename, var.package.s3_bucket, var.package.release_version] : source if source != null]) == 1
    error_message = "package: give exactly one of filename, s3_bucket with s3_key, and release_version with sha256."
  }
  validation {
    condition     = (var.package.s3_bucket == null) == (var.package.s3_key == null)
    error_message = "package: s3_bucket and s3_key need each other."
  }
  validation {
    condition     = var.package.s3_object_version == null || var.package.s3_bucket != null
    error_message = "package.s3_object_version: belongs to s3_bucket and s3_key."
  }
  validation {
    condition     = var.package.release_version == null || (var.package.sha256 != null && var.package.release_url != null)
    error_message = "package.release_version: needs sha256, the checksum of the release's zip, and release_url, the address that releases are downloaded from."
  }
  validation {
    condition     = var.package.release_version == null ? true : can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$", var.package.release_version))
    error_message = "package.release_version: \"${var.package.release_version == null ? "" : var.package.release_version}\" is not a version such as 1.2.3."
  }
  validation {
    condition     = var.package.release_url == null ? true : can(regex("^https?://[^\\s'\"]+$", var.package.release_url))
    error_message = "package.release_url: must be an address such as https://example.com/releases/download."
  }
  validation {
    condition     = var.package.sha256 == null ? true : can(regex("^[0-9A-Fa-f]{64}$", var.package.sha256))
    error_message = "package.sha256: must be 64 hexadecimal digits, as sha256sum prints them."
  }
  validation {
    condition     = var.package.sha256 == null || var.package.filename == null
    error_message = "package.sha256: belongs to s3_bucket or release_version; the checksum of a local file is computed."
  }
  validation {
    condition     = contains(["arm64", "x86_64"], var.package.architecture)
    error_message = "package.architecture: \"${var.package.architecture}\" is not a processor of Lambda; give \"arm64\" or \"x86_64\"."
  }
}

variable "settings" {
  description = <<-EOT
    How the function works. The defaults suit most.

    - watch_seconds: how long a failover is watched, 60 to 600. The function's time-out follows from it.
    - poll_millis: pause between two lookups of a watch, 100 to 60000.
    - confirm_seconds: how long DNS must give the same answer before an address is deregistered, 4 to 20.
    - nameservers: DNS servers to ask instead of the system's, each IP or IP:PORT.
    - preregister: register the next writer of a cluster as soon as its failover is announced, before DNS names it.
    - verify_seconds: within how many seconds every group is compared with DNS, where there are more than twenty, 60 to
      86400.
    - elb_calls_per_second: calls of the load balancing API for everything but failovers, 1 to 10. The account has ten.
    - discovery_endpoints: the names that a tag may bind, such as db.example.com, or suffixes, such as *.corp.example.com.
      Default: the names of RDS and those in bindings. Only with discovery_tag.
    - dry_run: true reports the changes that the function would make, and makes none.
    - drift_check_minutes: minutes between two drift checks: 1, 2, 5, 10 or 15. RDS delivers its events by best effort,
      so this is the longest that a change can stay unnoticed.
    - log_level: the least severe level that is logged: TRACE, DEBUG or INFO.
    - tracing: Active records traces with AWS X-Ray.
  EOT
  type = object({
    watch_seconds        = optional(number, 180)
    poll_millis          = optional(number, 500)
    confirm_seconds      = optional(number, 6)
    nameservers          = optional(list(string), [])
    preregister          = optional(bool, true)
    verify_seconds       = optional(number, 900)
    elb_calls_per_second = optional(number, 5)
    discovery_endpoints  = optional(list(string), [])
    dry_run              = optional(bool, false)
    drift_check_minutes  = optional(number, 1)
    log_level            = optional(string, "INFO")
    tracing              = optional(string, "PassThrough")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.settings.watch_seconds >= 60 && var.settings.watch_seconds <= 600 && floor(var.settings.watch_seconds) == var.settings.watch_seconds
    error_message = "settings.watch_seconds: ${var.settings.watch_seconds} is not a whole number from 60 to 600 (default 180)."
  }
  validation {
    condition     = var.settings.poll_millis >= 100 && var.settings.poll_millis <= 60000 && floor(var.settings.poll_millis) == var.settings.poll_millis
    error_message = "settings.poll_millis: ${var.settings.poll_millis} is not a whole number from 100 to 60000 (default 500)."
  }
  validation {
    # Below 4 it would be shorter than one attempt of an API call may take; above 20 a check that waits twice as long
    # would come near the shortest time-out.
    condition     = var.settings.confirm_seconds >= 4 && var.settings.confirm_seconds <= 20 && floor(var.settings.confirm_seconds) == var.settings.confirm_seconds
    error_message = "settings.confirm_seconds: ${var.settings.confirm_seconds} is not a whole number from 4 to 20 (default 6)."
  }
  validation {
    condition     = var.settings.verify_seconds >= 60 && var.settings.verify_seconds <= 86400 && floor(var.settings.verify_seconds) == var.settings.verify_seconds
    error_message = "settings.verify_seconds: ${var.settings.verify_seconds} is not a whole number from 60 to 86400 (default 900)."
  }
  validation {
    condition     = var.settings.elb_calls_per_second >= 1 && var.settings.elb_calls_per_second <= 10 && floor(var.settings.elb_calls_per_second) == var.settings.elb_calls_per_second
    error_message = "settings.elb_calls_per_second: ${var.settings.elb_calls_per_second} is not a whole number from 1 to 10 (default 5)."
  }
  validation {
    # The second part: Terraform's functions take leading zeros, which the program refuses.
    condition = alltrue([
      for server in var.settings.nameservers : (
        can(cidrnetmask("${split(":", server)[0]}/32")) && can(regex("^[0-9.]+(:[0-9]{1,5})?$", server))
        && try(tonumber(split(":", server)[1]) >= 1 && tonumber(split(":", server)[1]) <= 65535, true)
        || can(cidrhost("${server}/128", 0))
        || can(regex("^\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5}$", server)) && can(cidrhost("${trimprefix(split("]", server)[0], "[")}/128", 0))
        && try(tonumber(split("]:", server)[1]) >= 1 && tonumber(split("]:", server)[1]) <= 65535, false)
      ) && !can(regex("(^|[.:])0[0-9]+\\.|\\.0[0-9]|^[^.]*[0-9A-Fa-f]{5}", split("]", server)[0]))
    ])
    error_message = join("\n", [
      for index, server in var.settings.nameservers :
      "settings.nameservers[${index}]: \"${server}\" is not an address such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53."
      if !(
        can(cidrnetmask("${split(":", server)[0]}/32")) && can(regex("^[0-9.]+(:[0-9]{1,5})?$", server))
        && try(tonumber(split(":", server)[1]) >= 1 && tonumber(split(":", server)[1]) <= 65535, true)
        || can(cidrhost("${server}/128", 0))
        || can(regex("^\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5}$", server)) && can(cidrhost("${trimprefix(split("]", server)[0], "[")}/128", 0))
        && try(tonumber(split("]:", server)[1]) >= 1 && tonumber(split("]:", server)[1]) <= 65535, false)
      ) || can(regex("(^|[.:])0[0-9]+\\.|\\.0[0-9]|^[^.]*[0-9A-Fa-f]{5}", split("]", server)[0]))
    ])
  }
  validation {
    condition = alltrue([
      for name in var.settings.discovery_endpoints :
      can(regex("^(\\*\\.|[A-Za-z0-9_-]{1,63}\\.)([A-Za-z0-9_-]{1,63}\\.)*[A-Za-z0-9_-]{1,63}\\.?$", name))
      && length(trimprefix(trimsuffix(name, "."), "*.")) <= 253
    ])
    error_message = join("\n", [
      for index, name in var.settings.discovery_endpoints :
      "settings.discovery_endpoints[${index}]: \"${name}\" is neither a DNS name nor a suffix such as *.rds.amazonaws.com."
      if !can(regex("^(\\*\\.|[A-Za-z0-9_-]{1,63}\\.)([A-Za-z0-9_-]{1,63}\\.)*[A-Za-z0-9_-]{1,63}\\.?$", name))
      || length(trimprefix(trimsuffix(name, "."), "*.")) > 253
    ])
  }
  validation {
    condition     = contains([1, 2, 5, 10, 15], var.settings.drift_check_minutes)
    error_message = "settings.drift_check_minutes: ${var.settings.drift_check_minutes} is not among 1, 2, 5, 10 and 15 (default 1)."
  }
  validation {
    # Lambda drops application lines below the level. Metrics are log lines of level INFO: above it they would be lost.
    condition     = contains(["TRACE", "DEBUG", "INFO"], var.settings.log_level)
    error_message = "settings.log_level: \"${var.settings.log_level}\" is not among TRACE, DEBUG and INFO; metrics are log lines of level INFO."
  }
  validation {
    condition     = contains(["Active", "PassThrough"], var.settings.tracing)
    error_message = "settings.tracing: \"${var.settings.tracing}\" is neither Active nor PassThrough."
  }
}

variable "vpc" {
  description = "Subnets and security groups to run the function in. Leave it out, unless the database is publicly accessible (its name gives its private address inside the VPC alone) or settings.nameservers are in the VPC. The function then needs HTTPS to the ELB and RDS APIs by a NAT gateway or interface endpoints."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0
    error_message = "vpc.subnet_ids: is empty; give at least one subnet, or leave vpc out."
  }
  validation {
    condition     = var.vpc == null ? true : length(var.vpc.security_group_ids) > 0
    error_message = "vpc.security_group_ids: is empty; give at least one security group, or leave vpc out."
  }
  validation {
    condition     = var.vpc == null ? true : alltrue([for id in var.vpc.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "vpc.subnet_ids: each must be the id of a subnet, such as subnet-0123456789abcdef0."
  }
  validation {
    condition     = var.vpc == null ? true : alltrue([for id in var.vpc.security_group_ids : can(regex("^sg-[0-9a-f]+$", id))])
    error_message = "vpc.security_group_ids: each must be the id of a security group, such as sg-0123456789abcdef0."
  }
}

variable "alarms" {
  description = <<-EOT
    Alarms of the function, and where they write to.

    - enabled: false makes no alarm and no topic.
    - topic_arns: SNS topics of yours. Without one, the module makes a topic.
    - email: an address that subscribes to the module's topic; it has to be confirmed once by a click.
    - change_notice: a notice whenever targets were changed.
    - change_topic_arns: other topics for that notice.
  EOT
  type = object({
    enabled           = optional(bool, true)
    topic_arns        = optional(list(string), [])
    email             = optional(string)
    change_notice     = optional(bool, true)
    change_topic_arns = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for arn in concat(var.alarms.topic_arns, var.alarms.change_topic_arns) : can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", arn))])
    error_message = "alarms.topic_arns, alarms.change_topic_arns: each must be the ARN of a standard SNS topic."
  }
  validation {
    condition     = var.alarms.email == null ? true : can(regex("^[^\\s@]+@[^\\s@]+\\.[^\\s@]+$", var.alarms.email))
    error_message = "alarms.email: \"${var.alarms.email == null ? "" : var.alarms.email}\" is not an e-mail address."
  }
  validation {
    condition     = var.alarms.email == null || length(var.alarms.topic_arns) == 0
    error_message = "alarms: give email or topic_arns, not both; subscribe the address to your topic instead."
  }
  validation {
    condition     = var.alarms.enabled || (var.alarms.email == null && length(var.alarms.topic_arns) == 0 && length(var.alarms.change_topic_arns) == 0)
    error_message = "alarms: email, topic_arns and change_topic_arns have no use with enabled = false."
  }
}

variable "dashboard" {
  description = "Make a CloudWatch dashboard."
  type        = bool
  default     = true
  nullable    = false
}

variable "initial_check" {
  description = "Invoke one check at apply, and again whenever bindings, settings or the package change. The first target is then registered by the apply itself, and an apply fails whose function cannot work."
  type        = bool
  default     = true
  nullable    = false
}

variable "memory_size" {
  description = "Memory of the function in MB. Lambda gives processor time in proportion."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 1024 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size: ${var.memory_size} is not a whole number from 128 to 1024 (default 256)."
  }
}

variable "reserved_concurrency" {
  description = "Runs at the same time, reserved for this function and its limit. 0 switches it off, -1 reserves and limits nothing. Default: 1 with a discovery_tag, since one run looks after the whole fleet and more would share the API's limits with it; -1 without one, because new accounts have ten runs in all, of which none can be reserved."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= -1 && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency: must be a whole number, 0 (off) or -1 (reserve and limit nothing)."
  }
}

variable "log_retention_days" {
  description = "Days that the log is kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: ${var.log_retention_days} is not a retention of CloudWatch Logs, such as 30, 90 or 365."
  }
}

variable "kms_key_arn" {
  description = "A KMS key for the environment, the log, the queues and the topic. Its policy must admit logs.REGION.amazonaws.com, events.amazonaws.com and cloudwatch.amazonaws.com; see docs/deploy.md of the project."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn: must be the ARN of a KMS key (not of an alias)."
  }
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary that roles in your account must have."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: must be the ARN of an IAM policy."
  }
}

variable "role_path" {
  description = "The path of the module's own role, if your account's rules require one."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9+=,.@_-]+/)*$", var.role_path))
    error_message = "role_path: \"${var.role_path}\" does not start and end with a slash, such as /service/."
  }
}

variable "log_group_name" {
  description = "An existing log group for the function. Without it, the module makes /aws/lambda/NAME."
  type        = string
  default     = null

  validation {
    condition     = var.log_group_name == null ? true : can(regex("^[A-Za-z0-9._/#-]{1,512}$", var.log_group_name))
    error_message = "log_group_name: must be the name of a log group, such as /aws/lambda/rds-nlb-sync, and not its ARN. Leave it out to let the module make one."
  }
}

variable "role_arn" {
  description = "An existing role for the function instead of the module's own. It must trust lambda.amazonaws.com and hold the permissions in the output role_policy_json."
  type        = string
  default     = null

  validation {
    condition     = var.role_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.role_arn))
    error_message = "role_arn: must be the ARN of an IAM role."
  }
}

variable "create_role" {
  description = "Set it to false together with a role_arn that is made in the same apply: Terraform must know in the plan whether the module makes a role. Otherwise leave it out."
  type        = bool
  default     = null
}

variable "code_signing_config_arn" {
  description = "A code signing configuration of Lambda that the package must satisfy."
  type        = string
  default     = null

  validation {
    condition     = var.code_signing_config_arn == null ? true : can(regex("^$|^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:code-signing-config:csc-[a-z0-9]{17}$", var.code_signing_config_arn))
    error_message = "code_signing_config_arn: must be the ARN of a code signing configuration of Lambda."
  }
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
