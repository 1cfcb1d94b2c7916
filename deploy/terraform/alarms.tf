locals {
  make_topic = var.alarms.enabled && length(var.alarms.topic_arns) == 0
  topic_arns = local.make_topic ? aws_sns_topic.this[*].arn : var.alarms.topic_arns

  alarms = {
    # Twice within five minutes: Lambda retries a failed run after one minute, and one failure that the retry ends is no alarm.
    errors = {
      description = "rds-nlb-sync fails, and again when retried. The error in its log names each failed binding, the reason and the fix."
      namespace   = "AWS/Lambda", metric = "Errors", statistic = "Sum"
      period      = 60, periods = 5, datapoints = 2
      comparison  = "GreaterThanOrEqualToThreshold", threshold = 1, missing = "notBreaching"
    }
    # Missing data breach: a function that does not run at all sends none. A new alarm therefore goes off
    # once, until the first check ends it.
    silence = {
      description = "rds-nlb-sync has completed no check for five check intervals. A failover now goes unnoticed. Check that its schedule is enabled, and read its log."
      namespace   = "rds-nlb-sync", metric = "Checks", statistic = "Sum"
      period      = local.drift_seconds, periods = 5, datapoints = null
      comparison  = "LessThanThreshold", threshold = 1, missing = "breaching"
    }
    # Four of five intervals, since two ticks of the schedule can fall into one interval and none into the next.
    pending = {
      description = "rds-nlb-sync has been waiting for more than three checks to deregister an address: the answers of DNS keep changing, or the RDS API names another writer than DNS. The log names the reason. The writer is registered."
      namespace   = "rds-nlb-sync", metric = "Pending", statistic = "Maximum"
      period      = local.drift_seconds, periods = 5, datapoints = 4
      comparison  = "GreaterThanOrEqualToThreshold", threshold = 1, missing = "notBreaching"
    }
    duration = {
      description = "A run of rds-nlb-sync came near its time-out. APIs or DNS are slow, or there are more bindings than one run can serve."
      namespace   = "AWS/Lambda", metric = "Duration", statistic = "Maximum"
      period      = 60, periods = 1, datapoints = null
      comparison  = "GreaterThanThreshold", threshold = (var.settings.watch_seconds + 30) * 1000, missing = "notBreaching"
    }
  }
}

resource "aws_sns_topic" "this" {
  #checkov:skip=CKV_AWS_26: CloudWatch alarms cannot publish to a topic under the AWS managed key of SNS, whose policy cannot be changed; kms_key_arn brings a key that admits them.
  count = local.make_topic ? 1 : 0

  name              = "${var.name}-alarms"
  display_name      = "rds-nlb-sync"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_subscription" "email" {
  count = local.make_topic && var.alarms.email != null ? 1 : 0

  topic_arn = aws_sns_topic.this[0].arn
  protocol  = "email"
  endpoint  = var.alarms.email
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = var.alarms.enabled ? local.alarms : {}

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}

# A notice, not a fault: nothing is sent when it ends.
resource "aws_cloudwatch_metric_alarm" "change_notice" {
  count = var.alarms.enabled && var.alarms.change_notice ? 1 : 0

  alarm_name          = "${var.name}-change-notice"
  alarm_description   = "A notice: rds-nlb-sync has changed the targets of a load balancer, after a failover or because another process had changed them. Nothing needs to be done."
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  tags                = var.tags

  metric_query {
    id          = "changed"
    label       = "Targets changed"
    expression  = "FILL(registered, 0) + FILL(deregistered, 0)"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { registered = "Registered", deregistered = "Deregistered" }
    content {
      id          = metric_query.key
      return_data = false
      metric {
        namespace   = "rds-nlb-sync"
        metric_name = metric_query.value
        dimensions  = { FunctionName = aws_lambda_function.this.function_name }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = var.alarms.enabled ? 1 : 0

  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "An event could not be handed to rds-nlb-sync, or failed there to the last attempt. The drift check makes up for it; the message in the queue has the reason. Delete it to end this alarm."
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags

  metric_query {
    id          = "messages"
    label       = "Messages in both queues"
    expression  = "FILL(undelivered, 0) + FILL(failed, 0)"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { undelivered = "undelivered_events", failed = "failed_runs" }
    content {
      id          = metric_query.key
      return_data = false
      metric {
        namespace   = "AWS/SQS"
        metric_name = "ApproximateNumberOfMessagesVisible"
        dimensions  = { QueueName = aws_sqs_queue.this[metric_query.value].name }
        stat        = "Maximum"
        period      = 60
      }
    }
  }
}
