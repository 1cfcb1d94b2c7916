locals {
  rules = {
    database = {
      description = "Events of RDS that may move a database's address"
      schedule    = null
      # No event ids: they can be absent, and patches, resizes and host replacements move addresses as failovers do.
      # Categories that are known to move none are left out. Every other one passes, known or not, as does "empty",
      # which RDS sends, and none at all: an event too many costs one check, one too few costs the time until the next.
      # Categories: RDS and Aurora user guides, USER_Events.Messages.
      pattern = jsonencode({
        source      = ["aws.rds"]
        detail-type = ["RDS DB Instance Event", "RDS DB Cluster Event", "RDS Blue Green Deployment Event"]
        detail = {
          "$or" = [
            { EventCategories = [{ anything-but = ["backtrack", "backup", "low storage", "security", "security patching"] }] },
            { EventCategories = [{ exists = false }] },
          ]
        }
      })
      retries = 185
      age     = 3600
    }
    drift = {
      description = "Compares the target groups with DNS, whether or not an event came"
      schedule    = var.settings.drift_check_minutes == 1 ? "rate(1 minute)" : "rate(${var.settings.drift_check_minutes} minutes)"
      pattern     = null
      # The next tick does as well as a late one. 60 s is the least that EventBridge allows.
      retries = 3
      age     = 60
    }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.rules

  name                = local.rule_names[each.key]
  description         = each.value.description
  event_pattern       = each.value.pattern
  schedule_expression = each.value.schedule
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.rules

  rule      = aws_cloudwatch_event_rule.this[each.key].name
  target_id = "function"
  arn       = aws_lambda_function.this.arn

  retry_policy {
    maximum_retry_attempts       = each.value.retries
    maximum_event_age_in_seconds = each.value.age
  }

  dead_letter_config {
    arn = aws_sqs_queue.this["undelivered_events"].arn
  }

  # Without it, the first events would be refused.
  depends_on = [aws_lambda_permission.this]
}

resource "aws_lambda_permission" "this" {
  for_each = local.rules

  statement_id  = each.key
  function_name = aws_lambda_function.this.function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = local.rule_arns[each.key]
}

# undelivered_events: events that EventBridge could not hand to the function.
# failed_runs: invocations that failed to the last attempt.
resource "aws_sqs_queue" "this" {
  for_each = local.queue_names

  name                      = each.value
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      each.key != "undelivered_events" ? [] : [
        {
          Sid       = "EventBridge"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = local.queue_arns[each.key]
          Condition = { ArnEquals = { "aws:SourceArn" = [local.rule_arns["database"], local.rule_arns["drift"]] } }
        },
      ],
      [
        {
          Sid       = "TlsOnly"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = local.queue_arns[each.key]
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ],
    )
  })
}
