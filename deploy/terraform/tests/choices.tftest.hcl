# The effect of each input on the plan.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  bindings = { orders = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" } }
  package  = { filename = "tests/choices.tftest.hcl" }
}

run "two_inputs_suffice" {
  command = plan
  assert {
    condition     = aws_lambda_function.this.function_name == "rds-nlb-sync" && aws_lambda_function.this.source_code_hash == filebase64sha256("tests/choices.tftest.hcl")
    error_message = "The function has another name or another code."
  }
  assert {
    condition     = length(aws_lambda_invocation.check) == 1 && aws_lambda_invocation.check[0].input == "{\"command\":\"check\"}"
    error_message = "The apply does not invoke a check."
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) == 5 && length(aws_sns_topic.this) == 1 && length(aws_cloudwatch_dashboard.this) == 1
    error_message = "Alarms, topic or dashboard are missing."
  }
  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == -1
    error_message = "Runs are reserved without a fleet."
  }
  assert {
    condition     = output.check_command == "printf '{\"command\":\"check\"}' | aws lambda invoke --region eu-west-1 --function-name rds-nlb-sync --cli-read-timeout 0 --payload fileb:///dev/stdin /dev/stdout"
    error_message = output.check_command
  }
}

run "everything_optional_is_off" {
  command = plan
  variables {
    alarms        = { enabled = false }
    dashboard     = false
    initial_check = false
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) + length(aws_cloudwatch_metric_alarm.change_notice) + length(aws_cloudwatch_metric_alarm.dead_letters) + length(aws_sns_topic.this) + length(aws_cloudwatch_dashboard.this) + length(aws_lambda_invocation.check) == 0
    error_message = "Something is made all the same."
  }
}

run "the_change_notice_is_left_out" {
  command = plan
  variables {
    alarms = { change_notice = false }
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.change_notice) == 0 && length(aws_cloudwatch_metric_alarm.this) == 5
    error_message = "Another alarm is missing, or the notice is not."
  }
}

run "alarms_write_to_topics_of_yours" {
  command = plan
  variables {
    alarms = { topic_arns = ["arn:aws:sns:eu-west-1:123456789012:pager"] }
  }
  assert {
    condition     = length(aws_sns_topic.this) == 0 && alltrue([for alarm in aws_cloudwatch_metric_alarm.this : one(alarm.alarm_actions) == "arn:aws:sns:eu-west-1:123456789012:pager"])
    error_message = "The alarms write elsewhere."
  }
}

run "a_role_of_yours" {
  command = plan
  variables {
    role_arn = "arn:aws:iam::123456789012:role/sync"
  }
  assert {
    condition     = length(aws_iam_role.this) + length(aws_iam_role_policy.sync) + length(aws_iam_role_policy.lambda) == 0 && aws_lambda_function.this.role == "arn:aws:iam::123456789012:role/sync"
    error_message = "The module makes a role of its own."
  }
  assert {
    condition = toset(flatten(jsondecode(output.role_policy_json).Statement[*].Action)) == toset([
      "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
      "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancerAttributes",
      "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTargetGroupAttributes",
      "elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets",
      "elasticloadbalancing:DescribeListenerAttributes",
      "rds:DescribeDBClusters", "rds:DescribeDBInstances",
      "rds:DescribeDBClusterParameters", "rds:DescribeDBParameters",
      "logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage",
    ])
    error_message = output.role_policy_json
  }
}

run "a_fleet_by_tag_alone" {
  command = plan
  variables {
    bindings      = {}
    discovery_tag = "rds-nlb-sync"
  }
  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == 1 && aws_lambda_function.this.environment[0].variables["BINDINGS"] == ""
    error_message = "More than one run looks after the fleet, or something else is bound."
  }
}

run "code_in_a_bucket_with_a_checksum" {
  command = plan
  variables {
    package = { s3_bucket = "bucket", s3_key = "code.zip", s3_object_version = "v1", sha256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", architecture = "x86_64" }
  }
  assert {
    # The checksum of nothing at all, in the one form and in the other.
    condition     = aws_lambda_function.this.source_code_hash == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" && one(aws_lambda_function.this.architectures) == "x86_64"
    error_message = "source_code_hash: ${aws_lambda_function.this.source_code_hash}"
  }
}

run "a_release" {
  command = plan
  variables {
    package = { release_version = "1.2.3", release_url = "https://example.com/releases/", sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }
  }
  assert {
    condition     = aws_lambda_function.this.source_code_hash == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    error_message = "source_code_hash: ${aws_lambda_function.this.source_code_hash}"
  }
  assert {
    condition     = endswith(aws_lambda_function.this.filename, "/.terraform/rds-nlb-sync-1.2.3-arm64.zip")
    error_message = aws_lambda_function.this.filename
  }
}

run "the_dashboard_shows_the_group" {
  command = plan
  variables {
    alarms = { enabled = false }
  }
  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.this[0].dashboard_body, "TargetGroup=\\\"targetgroup/orders/0123456789abcdef\\\"")
    error_message = aws_cloudwatch_dashboard.this[0].dashboard_body
  }
}
