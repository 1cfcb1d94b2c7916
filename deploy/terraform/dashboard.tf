locals {
  function_metric = "rds-nlb-sync"
  # A search expression holds 1,024 characters: a few groups by name, more or discovered ones as all of the Region.
  shown_groups = [for binding in values(var.bindings) : "\"${split(":", binding.target_group_arn)[5]}\""]
  group_filter = (
    length(var.bindings) == 0 || length(var.bindings) > 10 || var.discovery_tag != null ? ""
    : length(var.bindings) == 1 ? " TargetGroup=${local.shown_groups[0]}"
    : " TargetGroup=(${join(" OR ", local.shown_groups)})"
  )
  host_search = "SEARCH('{AWS/NetworkELB,LoadBalancer,TargetGroup} MetricName=\"%s\"${local.group_filter}', '%s', 60)"

  alarm_arns = merge(
    { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.arn },
    { for alarm in aws_cloudwatch_metric_alarm.change_notice : "change_notice" => alarm.arn },
    { for alarm in aws_cloudwatch_metric_alarm.dead_letters : "dead_letters" => alarm.arn },
    { for alarm in aws_cloudwatch_metric_alarm.lost_events : "lost_events" => alarm.arn },
  )

  charts = [
    {
      title = "Targets changed", stat = "Sum", period = 60
      metrics = [
        [local.function_metric, "Registered", "FunctionName", var.name],
        [local.function_metric, "Deregistered", "FunctionName", var.name],
      ]
    },
    {
      title = "Targets by health"
      yAxis = { left = { min = 0 } }
      metrics = [
        [{ expression = format(local.host_search, "HealthyHostCount", "Minimum"), id = "healthy", label = "healthy" }],
        [{ expression = format(local.host_search, "UnHealthyHostCount", "Maximum"), id = "unhealthy", label = "unhealthy" }],
      ]
    },
    {
      title = "From the first lookup of a new address to its registration", period = 60
      yAxis = { left = { min = 0, label = "ms", showUnits = false } }
      metrics = [
        [local.function_metric, "RegistrationLatencyMillis", "FunctionName", var.name, { stat = "Maximum", label = "slowest" }],
        [local.function_metric, "RegistrationLatencyMillis", "FunctionName", var.name, { stat = "Average", label = "mean" }],
      ]
    },
    {
      title = "Bindings", stat = "Maximum", period = 60
      yAxis = { left = { min = 0 } }
      metrics = [
        [local.function_metric, "Bindings", "FunctionName", var.name],
        [local.function_metric, "WritersNotInService", "FunctionName", var.name],
        [local.function_metric, "DryRunDrift", "FunctionName", var.name],
        [local.function_metric, "Pending", "FunctionName", var.name],
        [local.function_metric, "Failed", "FunctionName", var.name],
      ]
    },
    {
      title = "Runs", stat = "Sum", period = 60
      metrics = [
        [local.function_metric, "Checks", "FunctionName", var.name],
        [local.function_metric, "Watches", "FunctionName", var.name],
        ["AWS/Lambda", "Errors", "FunctionName", var.name],
        ["AWS/Lambda", "Throttles", "FunctionName", var.name],
      ]
    },
    {
      title = "Duration of a check", period = 60
      yAxis = { left = { min = 0, label = "ms", showUnits = false } }
      metrics = [
        [local.function_metric, "CheckMillis", "FunctionName", var.name, { stat = "Maximum", label = "slowest" }],
        [local.function_metric, "CheckMillis", "FunctionName", var.name, { stat = "p50", label = "median" }],
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.dashboard ? 1 : 0

  # Dashboards are the whole account's, over all Regions.
  dashboard_name = "${var.name}-${local.region}"
  dashboard_body = jsonencode({
    periodOverride = "inherit"
    widgets = concat(
      length(local.alarm_arns) == 0 ? [] : [
        {
          type       = "alarm", x = 0, y = 0, width = 24, height = 3
          properties = { title = "Alarms", alarms = values(local.alarm_arns) }
        },
      ],
      [
        for index, chart in local.charts : {
          type       = "metric", x = index % 2 * 12, y = 3 + floor(index / 2) * 6, width = 12, height = 6
          properties = merge({ region = local.region }, chart)
        }
      ],
    )
  })
}
