"""The sync module against template.yaml: both are resolved for the same choices and compared, both ways."""

import json
import re

import pytest

import runner
from stack import ACCOUNT, ENDPOINT, GROUP, OTHER_GROUP, REGION, TWO_PARAMETERS, Stack, listed, policies, source

KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
PAGER = f"arn:aws:sns:{REGION}:{ACCOUNT}:pager"
CHANGES = f"arn:aws:sns:{REGION}:{ACCOUNT}:changes"
SIGNING = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-0123456789abcdefg"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sync"
OTHER_ENDPOINT = "billing.example.com"
ONE = {"orders": {"endpoint": ENDPOINT, "target_group_arn": GROUP}}
BINDINGS = [
    {"endpoint": OTHER_ENDPOINT, "target_group": OTHER_GROUP, "role": "all"},
    {"endpoint": ENDPOINT, "target_group": GROUP, "port": 5433},
]

# Name, parameters of the template, inputs of the module.
CASES = {
    "two inputs": (TWO_PARAMETERS, {"bindings": ONE}),
    "everything": (
        TWO_PARAMETERS | {
            "Database": "orders-1", "Standby": source()["Parameters"]["Standby"]["Default"], "Targets": "readers", "AlarmTopicArn": PAGER,
            "DriftCheckRate": "5", "WatchSeconds": "600", "ConfirmSeconds": "20", "PollMillis": "100",
            "PreRegister": "false", "VerifySeconds": "3600", "ElbCallsPerSecond": "10", "DryRun": "true",
            "SubnetIds": "subnet-0a,subnet-0b", "SecurityGroupIds": "sg-0c", "Nameservers": "10.0.0.2,10.0.0.3:53",
            "Architecture": "x86_64", "MemorySize": "512", "ReservedConcurrency": "3", "Tracing": "Active",
            "LogLevel": "DEBUG", "LogRetentionDays": "90", "KmsKeyArn": KEY, "PermissionsBoundaryArn": BOUNDARY,
        },
        {
            "bindings": {"orders": ONE["orders"] | {"database": "orders-1", "role": "readers"}},
            "alarms": {"topic_arns": [PAGER]},
            "settings": {
                "drift_check_minutes": 5, "watch_seconds": 600, "confirm_seconds": 20, "poll_millis": 100,
                "preregister": False, "verify_seconds": 3600, "elb_calls_per_second": 10, "dry_run": True,
                "nameservers": ["10.0.0.2", "10.0.0.3:53"], "tracing": "Active", "log_level": "DEBUG",
            },
            "vpc": {"subnet_ids": ["subnet-0a", "subnet-0b"], "security_group_ids": ["sg-0c"]},
            "architecture": "x86_64", "memory_size": 512, "reserved_concurrency": 3, "log_retention_days": 90,
            "kms_key_arn": KEY, "permissions_boundary_arn": BOUNDARY,
        },
    ),
    "a strict account": (
        TWO_PARAMETERS | {
            "Endpoint": OTHER_ENDPOINT, "Database": "orders,billing", "RolePath": "/service/", "LogGroupName": "/team/sync",
            "ChangeTopicArn": CHANGES, "CodeSigningConfigArn": SIGNING,
        },
        {
            "bindings": {"orders": {"endpoint": OTHER_ENDPOINT, "target_group_arn": GROUP, "database": "orders,billing"}},
            "role_path": "/service/", "log_group_name": "/team/sync", "alarms": {"change_topic_arns": [CHANGES]},
            "code_signing_config_arn": SIGNING,
        },
    ),
    "an existing role and no monitoring": (
        {"DiscoveryTag": "sync", "DiscoveryEndpoints": "*.rds.amazonaws.com,db.example.com", "RoleArn": ROLE, "Monitoring": "none"},
        {"discovery_tag": "sync", "settings": {"discovery_endpoints": ["*.rds.amazonaws.com", "db.example.com"]},
         "role_arn": ROLE, "alarms": {"enabled": False}, "dashboard": False},
    ),
    "several databases": (
        {"Bindings": json.dumps(BINDINGS), "BindingsTargetGroupArns": f"{GROUP},{OTHER_GROUP}"},
        {"bindings": {
            "billing": {"endpoint": OTHER_ENDPOINT, "target_group_arn": OTHER_GROUP, "role": "all"},
            "orders": ONE["orders"] | {"port": 5433},
        }},
    ),
    "a fleet": (
        {"DiscoveryTag": "sync/endpoint", "AlarmEmail": "data@example.com"},
        {"discovery_tag": "sync/endpoint", "alarms": {"email": "data@example.com"}},
    ),
    "a fleet and a database": (
        TWO_PARAMETERS | {"DiscoveryTag": "sync", "ReservedConcurrency": "none"},
        {"bindings": ONE, "discovery_tag": "sync", "reserved_concurrency": -1},
    ),
    "an own name with a standby": (
        TWO_PARAMETERS | {"Endpoint": OTHER_ENDPOINT, "Database": "billing", "Standby": "keep"},
        {"bindings": {"billing": {
            "endpoint": OTHER_ENDPOINT, "target_group_arn": GROUP, "database": "billing", "standby": "keep"}}},
    ),
}

# Further inputs of the module. Without alarms, whose ARNs a plan does not know, it knows the whole dashboard.
ALONE = {
    "a dashboard of one group": {"bindings": ONE, "alarms": {"enabled": False}},
    "a dashboard of two groups": {"bindings": CASES["several databases"][1]["bindings"], "alarms": {"enabled": False}},
    "a dashboard of a fleet": {"discovery_tag": "sync", "alarms": {"enabled": False}},
}

MODULE = """
variable "inputs" { type = any }

module "sync" {
  source   = "../terraform"
  for_each = var.inputs

  name                     = "sync"
  bindings                 = try(each.value.bindings, {})
  discovery_tag            = try(each.value.discovery_tag, null)
  package                  = { s3_bucket = "bucket", s3_key = "code.zip", architecture = try(each.value.architecture, null) }
  settings                 = try(each.value.settings, {})
  vpc                      = try(each.value.vpc, null)
  alarms                   = try(each.value.alarms, {})
  memory_size              = try(each.value.memory_size, null)
  reserved_concurrency     = try(each.value.reserved_concurrency, null)
  log_retention_days       = try(each.value.log_retention_days, null)
  kms_key_arn              = try(each.value.kms_key_arn, null)
  permissions_boundary_arn = try(each.value.permissions_boundary_arn, null)
  role_path                = try(each.value.role_path, null)
  role_arn                 = try(each.value.role_arn, null)
  log_group_name           = try(each.value.log_group_name, null)
  code_signing_config_arn  = try(each.value.code_signing_config_arn, null)
  dashboard                = try(each.value.dashboard, null)
}
"""


@pytest.fixture(scope="module")
def modules(provider, moto, tmp_path_factory):
    """The planned resources of each case, by their addresses within the module. One plan serves all cases."""
    workspace = runner.Workspace(tmp_path_factory.mktemp("compare"), MODULE, moto)
    inputs = {name: case[1] for name, case in CASES.items()} | ALONE
    (workspace.folder / "terraform.tfvars.json").write_text(json.dumps({"inputs": inputs}))
    plan = workspace.plan()
    [expressions.call] = [plan["configuration"]["root_module"]["module_calls"]["sync"]["module"]]
    return {
        name: {
            address.removeprefix(f'module.sync["{name}"].'): values
            for address, values in runner.planned(plan).items() if address.startswith(f'module.sync["{name}"].')
        }
        for name in inputs
    }


@pytest.fixture(params=CASES)
def case(request, modules):
    return Stack(CASES[request.param][0]), modules[request.param]


def expressions(kind, *path):
    """What an argument of the module's only resource of a kind names: for what is known after the apply alone."""
    [resource] = [found for found in expressions.call["resources"] if found["type"] == kind]
    found = resource["expressions"]
    for name in path:
        found = found[name][0] if isinstance(found[name], list) else found[name]
    return found["references"]


def queue(resources, references):
    """The name of the queue that an argument names."""
    [address] = [reference.removesuffix(".arn") for reference in references if reference.endswith(".arn")]
    return resources[address]["name"]


def one(resources, kind):
    [values] = of_kind(resources, kind).values()
    return values


def of_kind(resources, kind):
    return {address: values for address, values in resources.items() if address.startswith(f"{kind}.")}


def the(stack, kind):
    [properties] = stack.of_type(kind).values()
    return properties


def renamed(value):
    """Replaces the logical ids of the template's resources by the names that the module gives."""
    text = json.dumps(value)
    for logical, name in {
        ":FailedRuns": ":sync-failed-runs", ":UndeliveredEvents": ":sync-undelivered-events",
        "FailedRuns.QueueName": "sync-failed-runs", "UndeliveredEvents.QueueName": "sync-undelivered-events",
        ":log-group:LogGroup": ":log-group:/aws/lambda/sync",
        ":rule/FunctionDatabase": ":rule/sync-database-events", ":rule/FunctionDrift": ":rule/sync-drift-check",
        '"FunctionDatabase"': '"sync-database-events"', '"FunctionDrift"': '"sync-drift-check"',
        ":function:Function": ":function:sync", ":Topic": ":sync-alarms",
    }.items():
        text = text.replace(f"{logical}", name)
    return json.loads(text)


def permissions(statements):
    """Every single permission: statements may be split in other ways and bear other names."""
    return {
        (
            statement["Effect"], json.dumps(statement.get("Principal"), sort_keys=True), action, resource,
            json.dumps({
                operator: {key: sorted(listed(value)) for key, value in keys.items()}
                for operator, keys in statement.get("Condition", {}).items()
            }, sort_keys=True),
        )
        for statement in statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


# A statement of several actions on several resources makes pairs that have no meaning for IAM.
KINDS = {"rds:DescribeDBClusters": ":cluster:", "rds:DescribeDBInstances": ":db:"}


def effective(found):
    """Drops permissions without meaning, and those that a wider one covers: cluster:orders beside cluster:*."""
    found = {permission for permission in found if KINDS.get(permission[2], "") in permission[3]}
    return {
        (effect, principal, action, resource, condition) for effect, principal, action, resource, condition in found
        if not any(
            resource != other and other.endswith("*") and resource.startswith(other[:-1])
            for e, p, a, other, c in found if (e, p, a, c) == (effect, principal, action, condition)
        )
    }


def test_events_schedule_and_retries_match_the_template(case):
    stack, resources = case
    theirs = {}
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        [target] = rule["Targets"]
        theirs[renamed(f":rule/{name}")] = (
            rule.get("EventPattern"), rule.get("ScheduleExpression"), target["RetryPolicy"],
            renamed(target["DeadLetterConfig"]["Arn"]).rpartition(":")[2],
            rule.get("State", "ENABLED"),
        )
    targets = of_kind(resources, "aws_cloudwatch_event_target")
    ours = {}
    for address, rule in of_kind(resources, "aws_cloudwatch_event_rule").items():
        target = targets[address.replace("event_rule", "event_target")]
        assert target["rule"] == rule["name"]
        [retry] = target["retry_policy"]
        assert len(target["dead_letter_config"]) == 1
        undelivered = queue(resources, expressions("aws_cloudwatch_event_target", "dead_letter_config", "arn"))
        ours[f":rule/{rule['name']}"] = (
            rule["event_pattern"] and json.loads(rule["event_pattern"]), rule["schedule_expression"],
            {"MaximumRetryAttempts": retry["maximum_retry_attempts"],
             "MaximumEventAgeInSeconds": retry["maximum_event_age_in_seconds"]},
            undelivered,
            rule.get("state") or "ENABLED",
        )
    assert ours == theirs


def test_failed_runs_match_the_template(case):
    stack, resources = case
    theirs, ours = the(stack, "AWS::Lambda::EventInvokeConfig"), one(resources, "aws_lambda_function_event_invoke_config")
    assert ours["maximum_retry_attempts"] == theirs["MaximumRetryAttempts"]
    assert ours["maximum_event_age_in_seconds"] == theirs["MaximumEventAgeInSeconds"]
    assert list(theirs["DestinationConfig"]) == ["OnFailure"]
    [destination] = ours["destination_config"]
    assert len(destination["on_failure"]) == 1 and not destination["on_success"]
    named = expressions("aws_lambda_function_event_invoke_config", "destination_config", "on_failure", "destination")
    assert queue(resources, named) == renamed(theirs["DestinationConfig"]["OnFailure"]["Destination"]).rpartition(":")[2]


def test_permissions_match_the_template(case):
    stack, resources = case
    theirs = permissions(renamed([s for statements in policies(stack).values() for s in statements]))
    ours = permissions([
        statement for policy in of_kind(resources, "aws_iam_role_policy").values()
        for statement in json.loads(policy["policy"])["Statement"]
    ])
    theirs, ours = effective(theirs), effective(ours)
    # With several bindings the template allows every cluster, because CloudFormation cannot read JSON.
    every = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:"
    if f"{every}*" in {resource for _, _, _, resource, _ in theirs}:
        ours = {(e, p, a, f"{every}*" if r.startswith(every) else r, c) for e, p, a, r, c in ours}
    assert ours == theirs


def test_role_trust_and_boundary_match_the_template(case):
    stack, resources = case
    assert len(of_kind(resources, "aws_iam_role")) == len(stack.of_type("AWS::IAM::Role"))
    if not stack.of_type("AWS::IAM::Role"):
        assert one(resources, "aws_lambda_function")["role"] == the(stack, "AWS::Lambda::Function")["Role"]
        return
    theirs, ours = the(stack, "AWS::IAM::Role"), one(resources, "aws_iam_role")
    assert ours["path"] == theirs["Path"]
    assert json.loads(ours["assume_role_policy"]) == theirs["AssumeRolePolicyDocument"]
    assert ours["permissions_boundary"] == theirs.get("PermissionsBoundary")


def test_queues_and_their_policies_match_the_template(case):
    stack, resources = case
    theirs = {}
    for policy in stack.of_type("AWS::SQS::QueuePolicy").values():
        for name in policy["Queues"]:
            queue = stack.resources[name]
            theirs[renamed(f":{name}")] = (
                permissions(renamed(policy["PolicyDocument"]["Statement"])), queue["MessageRetentionPeriod"],
                queue.get("SqsManagedSseEnabled"), queue.get("KmsMasterKeyId"),
            )
    ours = {
        f":{queue['name']}": (
            permissions(json.loads(queue["policy"])["Statement"]), queue["message_retention_seconds"],
            queue.get("sqs_managed_sse_enabled"), queue["kms_master_key_id"],
        )
        for queue in of_kind(resources, "aws_sqs_queue").values()
    }
    assert ours == theirs


def test_invocation_permissions_match_the_template(case):
    stack, resources = case
    theirs = {
        (renamed(p["SourceArn"]), p["Action"], p["Principal"]) for p in stack.of_type("AWS::Lambda::Permission").values()
    }
    ours = {
        (p["source_arn"], p["action"], p["principal"]) for p in of_kind(resources, "aws_lambda_permission").values()
    }
    assert ours == theirs


def variables(given):
    """An empty variable counts as unset, and the order of the bindings means nothing."""
    found = {name: str(value) for name, value in given.items() if str(value) != ""}
    if "BINDINGS" in found:
        found["BINDINGS"] = sorted(json.loads(found["BINDINGS"]), key=lambda binding: binding["endpoint"])
    return found


def test_environment_matches_the_template(case):
    stack, resources = case
    [ours] = one(resources, "aws_lambda_function")["environment"]
    assert variables(ours["variables"]) == variables(the(stack, "AWS::Lambda::Function")["Environment"]["Variables"])


def test_function_and_log_match_the_template(case):
    stack, resources = case
    theirs, ours = the(stack, "AWS::Lambda::Function"), one(resources, "aws_lambda_function")
    [logging], [tracing] = ours["logging_config"], ours["tracing_config"]
    vpc = [{"SubnetIds": sorted(v["subnet_ids"]), "SecurityGroupIds": v["security_group_ids"]} for v in ours["vpc_config"]]
    assert {
        "Handler": ours["handler"], "Runtime": ours["runtime"],
        "Architectures": ours["architectures"], "MemorySize": str(ours["memory_size"]), "Timeout": ours["timeout"],
        "CodeSigningConfigArn": ours["code_signing_config_arn"],
        "KmsKeyArn": ours["kms_key_arn"], "VpcConfig": vpc[0] if vpc else None,
        "ReservedConcurrentExecutions": ours["reserved_concurrent_executions"],
        "LoggingConfig": {"LogFormat": logging["log_format"], "ApplicationLogLevel": logging["application_log_level"],
                          "SystemLogLevel": logging["system_log_level"], "LogGroup": logging["log_group"]},
        "TracingConfig": {"Mode": tracing["mode"]},
    } == {
        "Handler": theirs["Handler"], "Runtime": theirs["Runtime"],
        "Architectures": theirs["Architectures"], "MemorySize": str(theirs["MemorySize"]), "Timeout": theirs["Timeout"],
        "CodeSigningConfigArn": theirs.get("CodeSigningConfigArn"),
        "KmsKeyArn": theirs.get("KmsKeyArn"), "VpcConfig": theirs.get("VpcConfig"),
        "ReservedConcurrentExecutions": int(theirs.get("ReservedConcurrentExecutions", -1)),
        "LoggingConfig": theirs["LoggingConfig"] | {"LogGroup": theirs["LoggingConfig"]["LogGroup"].replace("LogGroup", "/aws/lambda/sync")},
        "TracingConfig": theirs.get("TracingConfig", {"Mode": "PassThrough"}),
    }
    assert len(of_kind(resources, "aws_cloudwatch_log_group")) == len(stack.of_type("AWS::Logs::LogGroup"))
    if not stack.of_type("AWS::Logs::LogGroup"):
        return
    log, group = one(resources, "aws_cloudwatch_log_group"), the(stack, "AWS::Logs::LogGroup")
    assert (log["name"], str(log["retention_in_days"])) == ("/aws/lambda/sync", str(group["RetentionInDays"]))
    assert log["kms_key_id"] == group.get("KmsKeyId")


def by_metric(queries):
    """A query's id is a name of its author's choice; its metric is not."""
    ids = {id: metric[1] + str(sorted(metric[2].values())) for id, (_, _, metric) in queries.items() if metric}

    def named(expression):
        return expression and re.sub(r"\b[a-z]\w*", lambda found: ids.get(found[0], found[0]), expression)

    return {ids.get(id, "result"): (named(expression or None), returned, metric)
            for id, (expression, returned, metric) in queries.items()}


def dimensions(given):
    return {name: "the function" if name == "FunctionName" else value for name, value in given.items()}


def actions(topics):
    """The own topic's ARN is not known in a plan."""
    return ["the own topic" if topic.endswith(":sync-alarms") else topic for topic in topics]


def alarms_of_the_template(stack):
    def metric(of):
        return of["Namespace"], of["MetricName"], dimensions({d["Name"]: d["Value"] for d in of["Dimensions"]})

    for alarm in renamed(list(stack.of_type("AWS::CloudWatch::Alarm").values())):
        queries = {}
        for query in alarm.get("Metrics", []):
            stat = query.get("MetricStat")
            queries[query["Id"]] = (
                query.get("Expression"), query["ReturnData"], stat and (*metric(stat["Metric"]), stat["Stat"], stat["Period"]),
            )
        yield {
            "metric": metric(alarm) if "MetricName" in alarm else None,
            "statistic": alarm.get("Statistic"), "period": alarm.get("Period"), "queries": by_metric(queries),
            "periods": alarm["EvaluationPeriods"], "datapoints": alarm.get("DatapointsToAlarm"),
            "threshold": alarm["Threshold"], "comparison": alarm["ComparisonOperator"],
            "missing": alarm["TreatMissingData"],
            "alarm actions": actions(alarm["AlarmActions"]), "ok actions": actions(alarm.get("OKActions", [])),
        }


def alarms_of_the_module(resources):
    def planned(alarm, name):
        # A plan leaves out what is not known.
        return actions(alarm[name] or [] if name in alarm else [":sync-alarms"])

    for alarm in of_kind(resources, "aws_cloudwatch_metric_alarm").values():
        queries = {}
        for query in alarm["metric_query"]:
            metrics = [(m["namespace"], m["metric_name"], dimensions(m["dimensions"]), m["stat"], m["period"])
                       for m in query["metric"]]
            queries[query["id"]] = query["expression"], query["return_data"], metrics[0] if metrics else None
        yield {
            "metric": (alarm["namespace"], alarm["metric_name"], dimensions(alarm["dimensions"]))
            if alarm["metric_name"] else None,
            "statistic": alarm["statistic"], "period": alarm["period"], "queries": by_metric(queries),
            "periods": alarm["evaluation_periods"], "datapoints": alarm["datapoints_to_alarm"],
            "threshold": alarm["threshold"], "comparison": alarm["comparison_operator"],
            "missing": alarm["treat_missing_data"],
            "alarm actions": planned(alarm, "alarm_actions"), "ok actions": planned(alarm, "ok_actions"),
        }


def test_alarms_match_the_template(case):
    stack, resources = case

    def ordered(alarms):
        return sorted((json.dumps(alarm, sort_keys=True) for alarm in alarms))

    assert ordered(alarms_of_the_module(resources)) == ordered(alarms_of_the_template(stack))


def test_topics_match_the_template(case):
    stack, resources = case
    assert len(of_kind(resources, "aws_sns_topic")) == len(stack.of_type("AWS::SNS::Topic"))
    subscriptions = [(s["protocol"], s["endpoint"]) for s in of_kind(resources, "aws_sns_topic_subscription").values()]
    assert subscriptions == [(s["Protocol"], s["Endpoint"]) for s in stack.of_type("AWS::SNS::Subscription").values()]
    for topic in of_kind(resources, "aws_sns_topic").values():
        assert topic["kms_master_key_id"] == the(stack, "AWS::SNS::Topic").get("KmsMasterKeyId")
    theirs = [permissions(renamed(p["PolicyDocument"]["Statement"])) for p in stack.of_type("AWS::SNS::TopicPolicy").values()]
    ours = [permissions(json.loads(p["policy"])["Statement"]) for p in of_kind(resources, "aws_sns_topic_policy").values()]
    assert ours == theirs
    assert len(of_kind(resources, "aws_cloudwatch_dashboard")) == len(stack.of_type("AWS::CloudWatch::Dashboard"))


def charts(body):
    return [widget for widget in body["widgets"] if widget["type"] != "alarm"]


@pytest.mark.parametrize("name,parameters,shown", [
    ("a dashboard of one group", TWO_PARAMETERS, None),
    ("a dashboard of a fleet", {"DiscoveryTag": "sync"}, None),
    # The template shows all groups of the Region then, because it cannot split a list.
    ("a dashboard of two groups", CASES["several databases"][0], (GROUP, OTHER_GROUP)),
])
def test_dashboards_match_the_template(modules, name, parameters, shown):
    ours = json.loads(one(modules[name], "aws_cloudwatch_dashboard")["dashboard_body"])
    theirs = json.loads(renamed(the(Stack(parameters), "AWS::CloudWatch::Dashboard")["DashboardBody"]).replace('"Function"', '"sync"'))
    assert [widget["type"] for widget in theirs["widgets"]] == ["alarm"] + ["metric"] * 6
    theirs, ours = json.dumps(charts(theirs), sort_keys=True), json.dumps(charts(ours), sort_keys=True)
    if shown:
        names = [json.dumps(json.dumps(arn.split(":")[5]))[1:-1] for arn in sorted(shown, key=(OTHER_GROUP, GROUP).index)]
        listed_groups = f" TargetGroup=({' OR '.join(names)})"
        assert ours.count(listed_groups) == 2
        ours = ours.replace(listed_groups, "")
    assert json.loads(ours) == json.loads(theirs)


def test_every_parameter_of_the_template_is_compared():
    """A parameter that is added to the template is missing in the module until a case here says otherwise."""
    compared = {parameter for parameters, _ in CASES.values() for parameter in parameters}
    assert compared == set(source()["Parameters"])
