# Bindings that the module accepts, and their effects.

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
  package = { s3_bucket = "bucket", s3_key = "code.zip" }
}

run "accepts_every_kind_of_binding" {
  command = plan
  variables {
    bindings = {
      alias    = { endpoint = "db.my-cluster-1.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/alias/0123456789abcdef", standby = "keep" }
      writer   = { endpoint = "Orders.cluster-abc123.eu-west-1.rds.amazonaws.com.", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/writer/0123456789abcdef", port = 5432 }
      readers  = { endpoint = "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/readers/0123456789abcdef", role = "readers" }
      proxy    = { endpoint = "orders.proxy-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/proxy/0123456789abcdef", role = "all" }
      instance = { endpoint = "billing.abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/instance/0123456789abcdef", standby = "keep" }
      own_name = { endpoint = "_db.example.com", database = "billing", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/own/0123456789abcdef", role = "writer" }
    }
  }
  assert {
    condition = jsondecode(aws_lambda_function.this.environment[0].variables["BINDINGS"]) == [
      { endpoint = "db.my-cluster-1.example.com", target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/alias/0123456789abcdef", standby = "keep" },
      { endpoint = "billing.abc123.eu-west-1.rds.amazonaws.com", target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/instance/0123456789abcdef", standby = "keep" },
      { endpoint = "_db.example.com", database = "billing", target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/own/0123456789abcdef" },
      { endpoint = "orders.proxy-abc123.eu-west-1.rds.amazonaws.com", target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/proxy/0123456789abcdef", role = "all" },
      { endpoint = "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/readers/0123456789abcdef", role = "readers" },
      { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com.", target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/writer/0123456789abcdef", port = 5432 },
    ]
    error_message = "BINDINGS: ${aws_lambda_function.this.environment[0].variables["BINDINGS"]}"
  }
}

# Only the names of RDS say what they are.
run "accepts_a_standby_behind_names_that_only_look_like_a_cluster_s" {
  command = plan
  variables {
    bindings = {
      cluster = { endpoint = "db.cluster-prod.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/cluster/0123456789abcdef", standby = "keep" }
      global  = { endpoint = "db.global-prod.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/global/0123456789abcdef", standby = "keep" }
      reader  = { endpoint = "db.cluster-ro-abc123.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/reader/0123456789abcdef" }
      other   = { endpoint = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com.example.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/other/0123456789abcdef", standby = "keep" }
      zero    = { endpoint = "010.0.0.1", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/zero/0123456789abcdef" }
      china   = { endpoint = "orders.abc123.rds.cn-north-1.amazonaws.com.cn", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/china/0123456789abcdef", standby = "keep" }
    }
    settings = { nameservers = ["10.0.0.2", "10.0.0.3:1", "10.100.0.0:10053", "fd00::2", "[fd00::2]:1", "[fd00::2]:65535", "::ffff:10.0.0.2"] }
    # As if they were not given.
    log_group_name          = null
    code_signing_config_arn = ""
  }
  assert {
    condition     = length(jsondecode(aws_lambda_function.this.environment[0].variables["BINDINGS"])) == 6
    error_message = "BINDINGS: ${aws_lambda_function.this.environment[0].variables["BINDINGS"]}"
  }
  assert {
    condition     = aws_cloudwatch_log_group.this[0].name == "/aws/lambda/rds-nlb-sync" && aws_lambda_function.this.code_signing_config_arn == null
    error_message = "an empty text is not nothing"
  }
}

run "accepts_every_discovery_endpoint_of_the_program" {
  command = plan
  variables {
    discovery_tag = "sync"
    settings      = { discovery_endpoints = ["db.example.com", "*.internal", "*.a_b.example", "DB.example.com.", "*.rds.amazonaws.com"] }
  }
  assert {
    condition     = aws_lambda_function.this.environment[0].variables["DISCOVERY_ENDPOINTS"] == "db.example.com,*.internal,*.a_b.example,DB.example.com.,*.rds.amazonaws.com"
    error_message = aws_lambda_function.this.environment[0].variables["DISCOVERY_ENDPOINTS"]
  }
}

run "reads_the_clusters_of_the_bindings_alone" {
  command = plan
  variables {
    bindings = {
      orders  = { endpoint = "Orders.cluster-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef" }
      readers = { endpoint = "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/readers/0123456789abcdef", role = "readers" }
      billing = { endpoint = "db.example.com", database = "Billing", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/billing/0123456789abcdef" }
    }
  }
  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.sync[0].policy).Statement : statement.Resource if statement.Sid == "ReadClusters"]) == [
      "arn:aws:rds:eu-west-1:123456789012:cluster:billing",
      "arn:aws:rds:eu-west-1:123456789012:cluster:orders",
    ]
    error_message = aws_iam_role_policy.sync[0].policy
  }
}

run "reads_any_cluster_where_a_custom_endpoint_hides_its_name" {
  command = plan
  variables {
    bindings = {
      reports = { endpoint = "reports.cluster-custom-abc123.eu-west-1.rds.amazonaws.com", target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/reports/0123456789abcdef", role = "all" }
    }
  }
  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.sync[0].policy).Statement : statement.Resource if statement.Sid == "ReadClusters"]) == ["arn:aws:rds:eu-west-1:123456789012:cluster:*"]
    error_message = aws_iam_role_policy.sync[0].policy
  }
}

run "refuses_nothing_bound" {
  command         = plan
  expect_failures = [aws_lambda_function.this]
}

run "refuses_a_group_of_another_region" {
  command = plan
  variables {
    bindings = { orders = { endpoint = "orders.example.com", target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef" } }
  }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_more_bindings_than_the_environment_holds" {
  command = plan
  variables {
    bindings = { for number in range(30) : "database-${number}" => {
      endpoint         = "database-${number}.cluster-abc123def456.eu-west-1.rds.amazonaws.com"
      target_group_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/database-${number}/0123456789abcdef"
    } }
  }
  expect_failures = [aws_lambda_function.this]
}
