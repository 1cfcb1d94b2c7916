output "function_name" {
  description = "The function."
  value       = aws_lambda_function.this.function_name
}

output "function_arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = local.role_arn
}

output "role_policy_json" {
  description = "The permissions of the function's role, for a role of your own (role_arn)."
  value = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.sync_statements, local.discovery_statements, local.lambda_statements)
  })
}

output "log_group_name" {
  description = "The log."
  value       = local.log_group_name
}

output "topic_arn" {
  description = "The module's topic that the alarms write to; null where the topics are yours."
  value       = one(aws_sns_topic.this[*].arn)
}

output "alarm_arns" {
  description = "ARNs of the alarms."
  value       = local.alarm_arns
}

output "queue_urls" {
  description = "URLs of the queues for events that were not delivered and for runs that failed to the last attempt."
  value       = { for key, queue in aws_sqs_queue.this : key => queue.url }
}

output "schedule_rule_name" {
  description = "The rule of the drift check. Disabling it stops the checks; events are still followed."
  value       = aws_cloudwatch_event_rule.this["drift"].name
}

output "event_rule_name" {
  description = "The rule of the RDS events."
  value       = aws_cloudwatch_event_rule.this["database"].name
}

output "dashboard_url" {
  description = "The dashboard; null without one."
  value       = var.dashboard ? "https://${local.console}/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.this[0].dashboard_name}" : null
}

output "check_command" {
  description = "Runs a check by hand. \"plan\" instead of \"check\" changes nothing."
  value       = format(local.invoke_command, "check")
}

output "doctor_command" {
  description = "Examines the settings of load balancers, groups and databases, and changes nothing."
  value       = format(local.invoke_command, "doctor")
}

output "initial_check_result" {
  description = "The answer of the check at apply; null without one."
  value       = one(aws_lambda_invocation.check[*].result)
}

locals {
  invoke_command = "printf '{\"command\":\"%s\"}' | aws lambda invoke --region ${local.region} --function-name ${var.name} --cli-read-timeout 0 --payload fileb:///dev/stdin /dev/stdout"
  console = lookup({
    aws-cn     = "console.amazonaws.cn"
    aws-us-gov = "console.amazonaws-us-gov.com"
  }, local.partition, "${local.region}.console.aws.amazon.com")
}
