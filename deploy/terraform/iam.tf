locals {
  create_role = var.create_role != null ? var.create_role : var.role_arn == null
  role_arn    = local.create_role ? one(aws_iam_role.this[*].arn) : var.role_arn

  change_actions = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]

  # The cluster's identifier is the first label of a name of RDS's own (not of a custom endpoint, whose first label is
  # the endpoint's own name). Behind a CNAME, or by a tag, it may be any cluster of the account and Region.
  clusters = distinct(concat(
    length(var.bindings) == 0 || var.discovery_tag != null ? ["*"] : [],
    [
      for binding in values(local.bindings) :
      try(binding.database, null) != null ? (can(tostring(binding.database)) ? tostring(binding.database) : "*")
      : can(regex("^[a-z0-9-]+\\.cluster-(ro-)?[a-z0-9]+\\.[a-z0-9-]+\\.rds\\.", binding.endpoint)) ? split(".", binding.endpoint)[0]
      : "*"
    ],
  ))

  # The role's credentials are of no use outside this function. Lambda's own calls have no such key (Lambda guide, source
  # function ARN).
  from_function = { ArnEquals = { "lambda:SourceFunctionArn" = local.function_arn } }

  # The API calls of the program.
  sync_statements = concat(
    [
      {
        Sid    = "Observe"
        Effect = "Allow"
        Action = concat(
          [
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
            # The doctor's.
            "elasticloadbalancing:DescribeListenerAttributes",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
            "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
          ],
          var.discovery_tag == null ? [] : ["elasticloadbalancing:DescribeTags"],
        )
        # These know no resource-level permissions (service authorization reference, ELB v2).
        Resource  = ["*"]
        Condition = local.from_function
      },
      {
        Sid    = "ReadClusters"
        Effect = "Allow"
        Action = ["rds:DescribeDBClusters"]
        Resource = [
          for cluster in contains(local.clusters, "*") ? ["*"] : local.clusters :
          "arn:${local.partition}:rds:${local.region}:${local.account}:cluster:${cluster}"
        ]
        Condition = local.from_function
      },
      {
        # The instance, or the members of the cluster, whose names the cluster alone knows.
        Sid       = "ReadInstances"
        Effect    = "Allow"
        Action    = ["rds:DescribeDBInstances"]
        Resource  = ["arn:${local.partition}:rds:${local.region}:${local.account}:db:*"]
        Condition = local.from_function
      },
      # The doctor's: parameters that cut clients off, such as max_connect_errors. Any group of the account may be the
      # database's.
      {
        Sid       = "ReadParameters"
        Effect    = "Allow"
        Action    = ["rds:DescribeDBParameters"]
        Resource  = ["arn:${local.partition}:rds:${local.region}:${local.account}:pg:*"]
        Condition = local.from_function
      },
      {
        Sid       = "ReadClusterParameters"
        Effect    = "Allow"
        Action    = ["rds:DescribeDBClusterParameters"]
        Resource  = ["arn:${local.partition}:rds:${local.region}:${local.account}:cluster-pg:*"]
        Condition = local.from_function
      },
    ],
    length(var.bindings) == 0 ? [] : [
      {
        Sid       = "ChangeBound"
        Effect    = "Allow"
        Action    = local.change_actions
        Resource  = values(var.bindings)[*].target_group_arn
        Condition = local.from_function
      },
    ],
  )
  discovery_statements = var.discovery_tag == null ? [] : [
    {
      Sid       = "ChangeDiscovered"
      Effect    = "Allow"
      Action    = local.change_actions
      Resource  = ["arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:targetgroup/*/*"]
      Condition = merge(local.from_function, { Null = { "aws:ResourceTag/${var.discovery_tag}" = "false" } })
    },
  ]

  # The API calls of Lambda on behalf of the function. The module makes the log group, so logs:CreateLogGroup is not needed.
  lambda_statements = concat(
    [
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${local.log_group_arn}:*"]
      },
      {
        Sid      = "KeepFailedRuns"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [local.queue_arns["failed_runs"]]
      },
    ],
    var.vpc == null ? [] : [
      {
        Sid    = "JoinVpc"
        Effect = "Allow"
        # Lambda refuses a role that has these on less than "*" (Lambda, VPC execution role permissions).
        Action = [
          "ec2:AssignPrivateIpAddresses",
          "ec2:CreateNetworkInterface",
          "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets",
          "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = ["*"]
      },
    ],
    var.settings.tracing != "Active" ? [] : [
      {
        Sid      = "Trace"
        Effect   = "Allow"
        Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        Resource = ["*"]
      },
    ],
    var.kms_key_arn == null ? [] : [
      {
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
        # For the variables and for the failed runs. In China these names end in .com.cn.
        Condition = { StringLike = { "kms:ViaService" = ["lambda.${local.region}.amazonaws.com*", "sqs.${local.region}.amazonaws.com*"] } }
      },
    ],
  )

  sync_policy   = jsonencode({ Version = "2012-10-17", Statement = concat(local.sync_statements, local.discovery_statements) })
  lambda_policy = jsonencode({ Version = "2012-10-17", Statement = local.lambda_statements })
}

resource "aws_iam_role" "this" {
  count = local.create_role ? 1 : 0

  # Roles are the whole account's: the module may be there in several Regions under one name.
  name_prefix          = "${substr(var.name, 0, 37)}-"
  description          = "Permissions of rds-nlb-sync"
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "sync" {
  count = local.create_role ? 1 : 0

  name   = "Sync"
  role   = aws_iam_role.this[0].name
  policy = local.sync_policy
}

resource "aws_iam_role_policy" "lambda" {
  #checkov:skip=CKV_AWS_290: The writes on "*" are those for which IAM knows no resources (X-Ray) or Lambda allows none (network interfaces of a VPC function); both are off by default.
  #checkov:skip=CKV_AWS_355: As above.
  count = local.create_role ? 1 : 0

  name   = "Lambda"
  role   = aws_iam_role.this[0].name
  policy = local.lambda_policy
}
