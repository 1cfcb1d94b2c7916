locals {
  make_topic = var.alarms.enabled && length(var.alarms.topic_arns) == 0
  # Built from the name, so that a plan shows the policy in full.
  own_topic_arn = "arn:${local.partition}:sns:${local.region}:${local.account}:${var.name}-alarms"
  topic_arns    = local.make_topic ? aws_sns_topic.this[*].arn : var.alarms.topic_arns

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
    # A load balancer needs up to five minutes to put a new target into service. The alarm allows ten, or two checks where
    # they are rarer.
    not_in_service = {
      description = "The addresses of an endpoint have been registered for more than ten minutes, and the load balancer does not send traffic to them: the targets are unhealthy, or the group is in no use. The answer of a check has their health, and the command \"doctor\" finds the reason."
      namespace   = "rds-nlb-sync", metric = "WritersNotInService", statistic = "Maximum"
      period      = local.drift_seconds, periods = local.in_service[tostring(var.settings.drift_check_minutes)].periods
      datapoints  = local.in_service[tostring(var.settings.drift_check_minutes)].datapoints
      comparison  = "GreaterThanOrEqualToThreshold", threshold = 1, missing = "notBreaching"
    }
    duration = {
      description = "A run of rds-nlb-sync came near its time-out. APIs or DNS are slow, or there are more bindings than one run can serve."
      namespace   = "AWS/Lambda", metric = "Duration", statistic = "Maximum"
      period      = 60, periods = 1, datapoints = null
      comparison  = "GreaterThanThreshold", threshold = (var.settings.watch_seconds + 30) * 1000, missing = "notBreaching"
    }
  }
  in_service = {
    "1"  = { datapoints = 10, periods = 12 }
    "2"  = { datapoints = 5, periods = 6 }
    "5"  = { datapoints = 2, periods = 3 }
    "10" = { datapoints = 2, periods = 3 }
    "15" = { datapoints = 2, periods = 3 }
  }
  # Alarms on what cannot happen otherwise: without a tag the number of bindings cannot fall.
  conditional_alarms = merge(
    var.discovery_tag == null ? {} : {
      nothing_bound = {
        description = "rds-nlb-sync has no binding: no target group has the tag, and there are no bindings. Check the tags, and that the function may read them."
        namespace   = "rds-nlb-sync", metric = "Bindings", statistic = "Maximum"
        period      = local.drift_seconds, periods = 5, datapoints = 3
        comparison  = "LessThanThreshold", threshold = 1, missing = "notBreaching"
      }
    },
    !var.settings.dry_run ? {} : {
      dry_run = {
        description = "rds-nlb-sync is in a dry run, and a target group differs from DNS: a failover may have cut off its clients. Set settings.dry_run = false to let the function change the group."
        namespace   = "rds-nlb-sync", metric = "DryRunDrift", statistic = "Maximum"
        period      = local.drift_seconds, periods = 5, datapoints = 2
        comparison  = "GreaterThanOrEqualToThreshold", threshold = 1, missing = "notBreaching"
      }
    },
  )
}

resource "aws_sns_topic" "this" {
  #checkov:skip=CKV_AWS_26: CloudWatch alarms cannot publish to a topic under the AWS managed key of SNS, whose policy cannot be changed; kms_key_arn brings a key that admits them.
  count = local.make_topic ? 1 : 0

  name              = "${var.name}-alarms"
  display_name      = "rds-nlb-sync"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

# It replaces the default policy, so it has to allow the alarms.
resource "aws_sns_topic_policy" "this" {
  count = local.make_topic ? 1 : 0

  arn = aws_sns_topic.this[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = local.own_topic_arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = local.own_topic_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  count = local.make_topic && var.alarms.email != null ? 1 : 0

  topic_arn = aws_sns_topic.this[0].arn
  protocol  = "email"
  endpoint  = var.alarms.email
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { for key, alarm in merge(local.alarms, local.conditional_alarms) : key => alarm if var.alarms.enabled }

  alarm_name          = "${var.name}-${replace(each.key, "_", "-")}"
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

  alarm_name        = "${var.name}-change-notice"
  alarm_description = "A notice: rds-nlb-sync has changed the targets of a load balancer, after a failover or because another process had changed them. Nothing needs to be done."
  # Metrics come some minutes late, and FILL has put a zero in their place by then. An alarm on the last period alone would
  # not see them (CloudWatch guide, metric math).
  evaluation_periods  = 10
  datapoints_to_alarm = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = length(var.alarms.change_topic_arns) > 0 ? var.alarms.change_topic_arns : local.topic_arns
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

  alarm_name        = "${var.name}-dead-letters"
  alarm_description = "An event could not be handed to rds-nlb-sync, or failed there to the last attempt. The drift check makes up for it; the message in the queue has the reason. Delete it to end this alarm, which then ends within 20 minutes."
  # The metrics of an idle queue come up to 15 minutes late; see the notice above.
  evaluation_periods  = 20
  datapoints_to_alarm = 1
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

# What could not be kept in a queue either.
resource "aws_cloudwatch_metric_alarm" "lost_events" {
  count = var.alarms.enabled ? 1 : 0

  alarm_name          = "${var.name}-lost-events"
  alarm_description   = "EventBridge could not write an undelivered event of rds-nlb-sync to its queue, or Lambda could not write a failed run to its queue. Check the policies of the queues, of the role and of the KMS key. The drift check replaces the lost run."
  evaluation_periods  = 10
  datapoints_to_alarm = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags

  metric_query {
    id          = "lost"
    label       = "Events and runs lost"
    expression  = "FILL(events, 0) + FILL(ticks, 0) + FILL(runs, 0)"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = {
      events = { namespace = "AWS/Events", metric = "InvocationsFailedToBeSentToDlq", dimensions = { RuleName = local.rule_names["database"] } }
      ticks  = { namespace = "AWS/Events", metric = "InvocationsFailedToBeSentToDlq", dimensions = { RuleName = local.rule_names["drift"] } }
      runs   = { namespace = "AWS/Lambda", metric = "DestinationDeliveryFailures", dimensions = { FunctionName = var.name } }
    }
    content {
      id          = metric_query.key
      return_data = false
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        stat        = "Sum"
        period      = 60
      }
    }
  }
}
