"""A template as CloudFormation would see it: expanded by SAM's own translator, then resolved for given parameters.

The resolver knows the functions that these templates use and refuses any other, so that it cannot pass over one.
"""

import functools
import json
import re
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
REGION, ACCOUNT = "us-east-1", "123456789012"
TEMPLATES = ["template.yaml", "deploy/privatelink.yaml", "deploy/database.yaml", "deploy/lattice.yaml"]
# A Region of each partition, with the suffix of its names.
PARTITIONS = {
    "aws": (REGION, "amazonaws.com"),
    "aws-cn": ("cn-north-1", "amazonaws.com.cn"),
    "aws-us-gov": ("us-gov-west-1", "amazonaws.com"),
}
NO_VALUE = object()

ENDPOINT = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
GROUP = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/orders/0123456789abcdef"
OTHER_GROUP = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/billing/fedcba9876543210"
TWO_PARAMETERS = {"Endpoint": ENDPOINT, "TargetGroupArn": GROUP}


class Refused(Exception):
    """The parameters break a constraint or a rule: CloudFormation creates nothing."""


class ManagedPolicies:
    """The translator asks IAM for these, unless it is given them. The templates name none."""

    def load(self):
        return {}


def source(name="template.yaml"):
    return yaml_parse((ROOT / name).read_text())


# The transform puts the values of these parameters in place of their names.
TRANSFORMED = ("RoleArn", "Tracing")


def expand(name="template.yaml", region=REGION, parameters=None):
    """The template after its SAM transform. `sam package` replaces the local code by what it uploads."""
    values = {key: value for key, value in (parameters or {}).items() if key in TRANSFORMED}
    return json.loads(_expanded(name, region, tuple(sorted(values.items()))))


@functools.cache
def _expanded(name, region, values):
    template = source(name)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
        if resource["Type"] == "AWS::Serverless::Application":
            resource["Properties"]["Location"] = "https://bucket.s3.amazonaws.com/template.yaml"
    if "Transform" in template:
        template = transform(template, {"AWS::Region": region, **dict(values)}, ManagedPolicies())
    return json.dumps(template)


class Stack:
    """One template with these parameters, as far as it can be known before it is created."""

    def __init__(self, parameters, name="template.yaml", partition="aws", imports=None, stack_name="sync"):
        region, suffix = PARTITIONS[partition]
        self.partition, self.region = partition, region
        self.pseudo = {
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::AccountId": ACCOUNT,
            "AWS::StackName": stack_name,
            "AWS::StackId": f"arn:{partition}:cloudformation:{region}:{ACCOUNT}:stack/{stack_name}/0a1b2c3d-0000-0000-0000-000000000000",
            "AWS::URLSuffix": suffix,
        }
        self.imports = imports or {}
        self.template = expand(name, region, parameters)
        self.parameters = self._check(parameters)
        self._apply_rules()
        self.conditions = self.template.get("Conditions", {})
        self.resources = {
            name: self.resolve(resource.get("Properties", {}))
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }

    def of_type(self, kind):
        return {n: p for n, p in self.resources.items() if self.template["Resources"][n]["Type"] == kind}

    def outputs(self):
        return {
            name: self.resolve(output["Value"])
            for name, output in self.template.get("Outputs", {}).items()
            if "Condition" not in output or self._condition(output["Condition"])
        }

    def exports(self):
        return {
            self.resolve(output["Export"]["Name"]): self.resolve(output["Value"])
            for output in self.template.get("Outputs", {}).values()
            if "Export" in output and ("Condition" not in output or self._condition(output["Condition"]))
        }

    def _check(self, given):
        declared = self.template["Parameters"]
        if unknown := given.keys() - declared.keys():
            raise Refused(f"no such parameters: {unknown}")
        values = {}
        for name, parameter in declared.items():
            value = given.get(name, parameter.get("Default"))
            if value is None:
                raise Refused(f"{name} is missing")
            value = str(value)
            is_list = parameter["Type"].startswith(("List<", "CommaDelimitedList"))
            members = value.split(",") if is_list else [value]
            if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
                raise Refused(f"{name}: {value} is not among {parameter['AllowedValues']}")
            # CloudFormation matches the whole value, and each member of a list.
            pattern = parameter.get("AllowedPattern", ".*")
            if not all(re.fullmatch(pattern, member, re.DOTALL) for member in members):
                raise Refused(f"{name}: {parameter.get('ConstraintDescription', pattern)}")
            if len(value) > int(parameter.get("MaxLength", 4096)):
                raise Refused(f"{name}: {len(value)} characters are too many")
            if parameter["Type"] == "Number":
                if not float(parameter.get("MinValue", "-inf")) <= float(value) <= float(parameter.get("MaxValue", "inf")):
                    raise Refused(f"{name}: {value} is out of range")
            values[name] = members if is_list else value
        return values

    def _apply_rules(self):
        for name, rule in self.template.get("Rules", {}).items():
            if not self.resolve(rule.get("RuleCondition", True)):
                continue
            for assertion in rule["Assertions"]:
                if not self.resolve(assertion["Assert"]):
                    raise Refused(f"{name}: {assertion['AssertDescription']}")

    def _condition(self, name):
        return self.resolve(self.conditions[name])

    def resolve(self, value):
        if isinstance(value, list):
            return [r for r in map(self.resolve, value) if r is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(key, argument)] = value.items()
            if key == "Ref" or key == "Condition" and isinstance(argument, str) or key.startswith("Fn::"):
                return self._call(key, argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _call(self, function, argument):
        if function == "Ref":
            return self._ref(argument)
        if function == "Condition":
            return self._condition(argument)
        if function == "Fn::If":
            # Only the branch that is taken: the other may not even be valid.
            condition, yes, no = argument
            return self.resolve(yes if self._condition(condition) else no)
        if function == "Fn::Sub":
            text, names = argument if isinstance(argument, list) else (argument, {})
            names = {name: self.resolve(item) for name, item in names.items()}
            return re.sub(r"\$\{([^!}]+)\}", lambda m: str(self._named(m[1], names)), text)
        if function == "Fn::GetAtt":
            parts = argument.split(".", 1) if isinstance(argument, str) else argument
            return self._attribute(*parts)
        argument = self.resolve(argument)
        match function:
            case "Fn::Equals":
                return argument[0] == argument[1]
            case "Fn::Not":
                return not argument[0]
            case "Fn::And":
                return all(argument)
            case "Fn::Or":
                return any(argument)
            case "Fn::Join":
                return argument[0].join(argument[1])
            case "Fn::Split":
                return argument[1].split(argument[0])
            case "Fn::Select":
                return argument[1][int(argument[0])]
            case "Fn::ImportValue":
                if argument not in self.imports:
                    raise Refused(f"No export named {argument} found")
                return self.imports[argument]
            case "Fn::FindInMap":
                table, row, column = argument
                return self.template["Mappings"][table][row][column]
        raise NotImplementedError(function)

    def _named(self, name, names):
        if name in names:
            return names[name]
        return self._attribute(*name.split(".", 1)) if "." in name else self._ref(name)

    def _ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        kind = self.template["Resources"][name]["Type"]
        by_arn = ("AWS::SNS::Topic", "AWS::ElasticLoadBalancingV2::TargetGroup", "AWS::ElasticLoadBalancingV2::LoadBalancer")
        return self._arn(name, kind) if kind in by_arn else name

    def _attribute(self, name, attribute):
        kind = self.template["Resources"][name]["Type"]
        return self._arn(name, kind) if attribute.endswith("Arn") else f"{name}.{attribute}"

    def _arn(self, name, kind):
        service = kind.split("::")[1].lower()
        form = {
            "AWS::Events::Rule": "rule/{}",
            "AWS::IAM::Role": "role/{}",
            "AWS::Lambda::Function": "function:{}",
            "AWS::Logs::LogGroup": "log-group:{}:*",
        }.get(kind, "{}")
        return f"arn:{self.partition}:{service}:{self.region}:{ACCOUNT}:{form.format(name)}"


def policies(stack):
    """The role's policies by their names, each a list of statements."""
    found = {}
    for role in stack.of_type("AWS::IAM::Role").values():
        for policy in role["Policies"]:
            found[policy["PolicyName"]] = policy["PolicyDocument"]["Statement"]
    for policy in stack.of_type("AWS::IAM::RolePolicy").values():
        document = policy["PolicyDocument"]
        document = json.loads(document) if isinstance(document, str) else document
        found[policy["PolicyName"]] = document["Statement"]
    return found


def listed(value):
    return value if isinstance(value, list) else [value]
