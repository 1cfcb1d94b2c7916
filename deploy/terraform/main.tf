data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  # `name` is deprecated from provider 6 on, `region` is not there before; `id` is the same in both.
  region  = data.aws_region.current.id
  account = data.aws_caller_identity.current.account_id

  # Built from names instead of read from resources, so that a plan shows the policies in full.
  queue_names     = { undelivered_events = "${var.name}-undelivered-events", failed_runs = "${var.name}-failed-runs" }
  queue_arns      = { for key, name in local.queue_names : key => "arn:${local.partition}:sqs:${local.region}:${local.account}:${name}" }
  rule_names      = { database = "${var.name}-database-events", drift = "${var.name}-drift-check" }
  rule_arns       = { for key, name in local.rule_names : key => "arn:${local.partition}:events:${local.region}:${local.account}:rule/${name}" }
  function_arn    = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}"
  make_log_group  = var.log_group_name == null
  log_group_name  = local.make_log_group ? "/aws/lambda/${var.name}" : var.log_group_name
  log_group_arn   = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group_name}"
  drift_seconds   = var.settings.drift_check_minutes * 60
  reserved_runs   = var.reserved_concurrency != null ? var.reserved_concurrency : var.discovery_tag != null ? 1 : -1
  is_release      = var.package.release_version != null
  release_archive = local.is_release ? "rds-nlb-sync-${var.package.release_version}-${var.package.architecture}.zip" : null
  release_file    = local.is_release ? "${path.root}/.terraform/${local.release_archive}" : null

  # Names are compared without case by DNS and with case by IAM, where the endpoint's first label becomes part of an ARN.
  bindings = {
    for key, binding in var.bindings : key => {
      for field, value in {
        endpoint     = lower(binding.endpoint)
        target_group = binding.target_group_arn
        port         = binding.port
        database = binding.database == null ? null : jsondecode(
          # One identifier is a string, several are a list; a conditional cannot have both types.
          can(regex(",", binding.database)) ? jsonencode(split(",", lower(binding.database))) : jsonencode(lower(binding.database))
        )
        role    = binding.role == "writer" ? null : binding.role
        standby = binding.standby
      } : field => value if value != null
    }
  }
  bindings_json = length(local.bindings) == 0 ? "" : jsonencode(values(local.bindings))

  # An empty variable counts as unset.
  environment = {
    BINDINGS             = local.bindings_json
    DISCOVERY_TAG        = var.discovery_tag == null ? "" : var.discovery_tag
    WATCH_SECONDS        = tostring(var.settings.watch_seconds)
    POLL_MILLIS          = tostring(var.settings.poll_millis)
    CONFIRM_SECONDS      = tostring(var.settings.confirm_seconds)
    NAMESERVERS          = join(",", var.settings.nameservers)
    PREREGISTER          = tostring(var.settings.preregister)
    VERIFY_SECONDS       = tostring(var.settings.verify_seconds)
    ELB_CALLS_PER_SECOND = tostring(var.settings.elb_calls_per_second)
    DISCOVERY_ENDPOINTS  = join(",", var.settings.discovery_endpoints)
    DRY_RUN              = tostring(var.settings.dry_run)
  }

  # Lambda and Terraform want the checksum in base64, sha256sum prints hexadecimal, and no function of Terraform
  # converts one into the other. Three hexadecimal digits are twelve bits, which are two digits of base64; the last
  # digit of 64 is four bits, which are one digit and a filler.
  sha256        = var.package.sha256 == null ? null : lower(var.package.sha256)
  base64_digits = split("", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  sha256_base64 = local.sha256 == null ? null : join("", concat(
    [
      for start in range(0, 63, 3) : join("", [
        local.base64_digits[floor(parseint(substr(local.sha256, start, 3), 16) / 64)],
        local.base64_digits[parseint(substr(local.sha256, start, 3), 16) % 64],
      ])
    ],
    [local.base64_digits[parseint(substr(local.sha256, 63, 1), 16) * 4], "="],
  ))
  code_hash = var.package.filename != null ? filebase64sha256(var.package.filename) : local.sha256_base64
}

# Lambda takes code from a file or a bucket, not from an address. The checksum is compared before the file gets its name.
resource "terraform_data" "release" {
  count = local.is_release ? 1 : 0

  # The name of the function is among them because a function that is made anew needs the file again.
  triggers_replace = [local.release_archive, local.sha256, var.name]

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-ec"]
    command     = <<-EOT
      mkdir -p "$(dirname "$FILE")"
      curl --fail --silent --show-error --location --retry 3 --output "$FILE.part" "$URL"
      actual=$( (sha256sum "$FILE.part" 2>/dev/null || shasum -a 256 "$FILE.part") | cut -d ' ' -f 1)
      if [ "$actual" != "$SHA256" ]; then
        rm "$FILE.part"
        echo "$URL has the checksum $actual instead of $SHA256" >&2
        exit 1
      fi
      mv "$FILE.part" "$FILE"
    EOT
    environment = {
      FILE   = local.release_file
      SHA256 = local.sha256
      URL    = "${trimsuffix(coalesce(var.package.release_url, "-"), "/")}/v${var.package.release_version}/${local.release_archive}"
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  count = local.make_log_group ? 1 : 0

  #checkov:skip=CKV_AWS_158: CloudWatch Logs encrypts with its own key, and the log holds addresses and no secrets; kms_key_arn brings yours.
  #checkov:skip=CKV_AWS_338: A month covers every use of this log; log_retention_days keeps it longer.
  name              = local.log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50: A trace adds nothing to the log of a function that calls two APIs; settings.tracing turns it on.
  #checkov:skip=CKV_AWS_115: Runs at the same time are safe, and new accounts have ten in all; reserved_concurrency and discovery_tag set a limit.
  #checkov:skip=CKV_AWS_116: Failed asynchronous invocations go to the on-failure destination, which holds more than a dead-letter queue does.
  #checkov:skip=CKV_AWS_117: A private database's name gives its private address anywhere, and outside the VPC there is no NAT or endpoint to fail; vpc puts it inside.
  #checkov:skip=CKV_AWS_173: The variables hold names and ARNs, no secrets, and are encrypted with Lambda's own key; kms_key_arn brings yours.
  #checkov:skip=CKV_AWS_272: Not every account has a signing profile; code_signing_config_arn brings yours.
  function_name = var.name
  description   = "Keeps NLB target groups in sync with the address of an RDS or Aurora writer"
  role          = local.role_arn

  filename          = local.is_release ? local.release_file : var.package.filename
  s3_bucket         = var.package.s3_bucket
  s3_key            = var.package.s3_key
  s3_object_version = var.package.s3_object_version
  source_code_hash  = local.code_hash

  handler       = "bootstrap"
  runtime       = "provided.al2023"
  architectures = [var.package.architecture]
  memory_size   = var.memory_size
  # A watch ends by itself after watch_seconds. The minute on top is for a cold start, the last API call with its
  # retries (12 s at most) and the second in which the result is reported.
  timeout                        = var.settings.watch_seconds + 60
  reserved_concurrent_executions = local.reserved_runs
  kms_key_arn                    = var.kms_key_arn
  code_signing_config_arn        = var.code_signing_config_arn == "" ? null : var.code_signing_config_arn
  tags                           = var.tags

  environment {
    variables = local.environment
  }

  logging_config {
    log_format            = "JSON"
    application_log_level = var.settings.log_level
    system_log_level      = "INFO"
    log_group             = local.log_group_name
  }

  tracing_config {
    mode = var.settings.tracing
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy.sync,
    aws_iam_role_policy.lambda,
    terraform_data.release,
  ]

  lifecycle {
    precondition {
      condition     = length(var.bindings) > 0 || var.discovery_tag != null
      error_message = "Nothing is bound: give bindings, or discovery_tag, or both."
    }
    precondition {
      condition = alltrue([
        for binding in values(var.bindings) : split(":", binding.target_group_arn)[3] == local.region
      ])
      error_message = "A target group of another Region than ${local.region} is among the bindings. The function calls the API of its own Region alone; deploy the module there."
    }
    precondition {
      # The quota of Lambda, over names and values.
      condition     = sum([for name, value in local.environment : length(name) + length(value)]) <= 4096
      error_message = "The environment holds more than the 4096 bytes that Lambda allows: there are too many bindings. Bind groups by discovery_tag, or use the module twice with two names."
    }
    precondition {
      condition     = local.create_role || var.role_arn != null
      error_message = "create_role = false needs role_arn."
    }
    precondition {
      condition     = local.create_role || var.permissions_boundary_arn == null
      error_message = "permissions_boundary_arn belongs to the module's own role; with role_arn, put it on that role."
    }
    precondition {
      condition     = local.create_role || var.role_path == "/"
      error_message = "role_path belongs to the module's own role; with role_arn, that role has a path already."
    }
    precondition {
      condition     = length(var.settings.discovery_endpoints) == 0 || var.discovery_tag != null
      error_message = "settings.discovery_endpoints limit what discovery_tag binds; give discovery_tag, or leave them out."
    }
  }
}

# A failed run is tried again after one minute and after two more (Lambda, asynchronous invocation). An event older than
# an hour is dropped: drift checks have run since.
resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 3600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.this["failed_runs"].arn
    }
  }
}

# IAM applies a new policy within seconds, not at once: the check comes after the queues and rules, which take longer.
resource "aws_lambda_invocation" "check" {
  count = var.initial_check ? 1 : 0

  function_name = aws_lambda_function.this.function_name
  input         = jsonencode({ command = "check" })
  triggers = {
    bindings      = local.bindings_json
    discovery_tag = local.environment["DISCOVERY_TAG"]
    settings      = jsonencode(var.settings)
    package       = jsonencode({ for key, value in merge(var.package, { filename = null, release_url = null, hash = local.code_hash }) : key => value if value != null })
  }

  depends_on = [
    aws_cloudwatch_event_target.this,
    aws_lambda_function_event_invoke_config.this,
    aws_lambda_permission.this,
  ]
}
