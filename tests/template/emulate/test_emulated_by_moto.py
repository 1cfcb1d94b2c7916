"""moto's CloudFormation, a second one that nobody here wrote, makes of the template what our own resolver makes of it."""

import io
import json
import zipfile

import pytest

from emulator import BUCKET, client
from stack import ENDPOINT, GROUP, TWO_PARAMETERS, Stack, expand

# What moto's CloudFormation lacks; limits.py has it as well. The dashboard names the alarms.
LACKING = {
    "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::IAM::RolePolicy", "AWS::Lambda::EventInvokeConfig",
    "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
}
BINDINGS = json.dumps([{"endpoint": ENDPOINT, "target_group": GROUP, "port": 6432}], separators=(",", ":"))


def for_moto(parameters):
    """The expanded template without what moto lacks, and without the outputs that name it."""
    template = json.loads(json.dumps(expand(parameters=parameters)).replace('"bucket"', f'"{BUCKET}"'))
    lacking = {key for key, resource in template["Resources"].items() if resource["Type"] in LACKING}
    template["Resources"] = {key: it for key, it in template["Resources"].items() if key not in lacking}
    template["Outputs"] = {key: it for key, it in template["Outputs"].items()
                           if not any(name in json.dumps(it) for name in lacking)}
    return json.dumps(template)


class OnMoto:
    def __init__(self, moto, name):
        self.name = name
        self.cloudformation, self.lambdas, self.events, self.sqs = (
            client(service, moto) for service in ("cloudformation", "lambda", "events", "sqs"))
        s3, code = client("s3", moto), io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("bootstrap", "")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="code.zip", Body=code.getvalue())

    def deploy(self, act, parameters):
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        getattr(self.cloudformation, act)(
            StackName=self.name, TemplateBody=for_moto(parameters), Parameters=given,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])

    def functions(self):
        return [it for it in self.lambdas.list_functions()["Functions"] if it["FunctionName"].startswith(f"{self.name}-")]

    def rules(self):
        """The pattern or schedule of each rule, with its state, retries and queue."""
        rules = [rule for rule in self.events.list_rules()["Rules"] if rule["Name"].startswith(f"{self.name}-")]
        for rule in rules:
            [target] = self.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            pattern = json.loads(rule["EventPattern"]) if "EventPattern" in rule else rule["ScheduleExpression"]
            yield pattern, rule["State"], target["RetryPolicy"], target["DeadLetterConfig"]["Arn"].split(":")[-1].split("-")[1]


def check(stack, parameters):
    """moto's function and rules are those of the resolver."""
    expected = Stack(parameters).resources
    [function] = stack.functions()
    wanted = expected["Function"]
    for key in ("MemorySize", "Timeout", "Handler", "Runtime"):
        assert str(function[key]) == str(wanted[key]), key
    variables = {key: str(value) for key, value in wanted["Environment"]["Variables"].items()}
    assert {key: str(value) for key, value in function["Environment"]["Variables"].items()} == variables
    made = sorted(map(str, stack.rules()))
    rules = [expected[key] for key in ("FunctionDatabase", "FunctionDrift")]
    described = [(rule.get("EventPattern", rule.get("ScheduleExpression")), rule.get("State", "ENABLED"),
                  rule["Targets"][0]["RetryPolicy"], "UndeliveredEvents") for rule in rules]
    assert made == sorted(map(str, described))


@pytest.mark.parametrize("parameters,later", [
    (TWO_PARAMETERS, {"Bindings": BINDINGS, "BindingsTargetGroupArns": GROUP}),
    (TWO_PARAMETERS | {"DryRun": "true"}, TWO_PARAMETERS | {"DryRun": "false", "WatchSeconds": "60"}),
    ({"DiscoveryTag": "rds-nlb-sync", "WatchSeconds": "600", "DriftCheckRate": "5"},
     {"DiscoveryTag": "rds-nlb-sync", "DriftCheckRate": "5", "Nameservers": "10.0.0.2", "MemorySize": "128"}),
], ids=["bindings", "watch", "tag"])
def test_moto_makes_and_changes_what_the_resolver_says(moto, request, parameters, later):
    stack = OnMoto(moto, request.node.callspec.id)
    stack.deploy("create_stack", parameters)
    check(stack, parameters)
    stack.deploy("update_stack", later)
    check(stack, later)
    stack.cloudformation.delete_stack(StackName=stack.name)
    assert not stack.functions() and not list(stack.rules())
