"""Validates the requests that the tests' fake AWS received against botocore's models of the APIs.

`make test` records them: RECORD_REQUESTS names a file to which the fake AWS appends each request body. The fake AWS and the
function are written by the same hands; botocore's models come from AWS.
"""

import os
import pathlib
import re
import unittest
import urllib.parse

try:
    import botocore.loaders
    import botocore.model
    import botocore.validate
except ImportError:
    botocore = None

ROOT = pathlib.Path(__file__).parents[2]
RECORD = pathlib.Path(os.environ.get("RECORD_REQUESTS", ROOT / "target" / "requests.log"))
APIS = {"2015-12-01": "elbv2", "2014-10-31": "rds"}
# What the function must have asked at least, so that an empty record is no success.
EXPECTED = {
    "DescribeTargetGroups", "DescribeTargetHealth", "RegisterTargets", "DeregisterTargets", "DescribeTags",
    "DescribeTargetGroupAttributes", "DescribeListeners", "DescribeLoadBalancers", "DescribeLoadBalancerAttributes",
    "DescribeDBClusters", "DescribeDBInstances", "DescribeDBParameters", "DescribeDBClusterParameters",
    "DescribeListenerAttributes",
}


def model(service):
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"))


def value(shape, form, prefix):
    """The value at `prefix`, as the query protocol writes a value of this shape."""
    if shape.type_name == "structure":
        members = {}
        for name, member in shape.members.items():
            key = f"{prefix}.{member.serialization.get('name', name)}" if prefix else member.serialization.get("name", name)
            if any(field == key or field.startswith(key + ".") for field in form):
                members[name] = value(member, form, key)
        return members
    if shape.type_name == "list":
        item = shape.member.serialization.get("name", "member")
        stem = prefix if shape.serialization.get("flattened") else f"{prefix}.{item}"
        numbers = {int(found[1]) for field in form if (found := re.match(re.escape(stem) + r"\.(\d+)(?:\.|$)", field))}
        assert numbers == set(range(1, len(numbers) + 1)), f"{prefix}: items {sorted(numbers)}"
        return [value(shape.member, form, f"{stem}.{number}") for number in sorted(numbers)]
    text = form.pop(prefix)
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name == "boolean":
        return {"true": True, "false": False}[text]
    if shape.enum:
        assert text in shape.enum, f"{prefix}: {text!r} is none of {shape.enum}"
    return text


def faults(models, body):
    """What is wrong with a request."""
    form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=True))
    name, version = form.pop("Action"), form.pop("Version")
    service = models[APIS[version]]
    shape = service.operation_model(name).input_shape
    parameters = value(shape, form, "")
    report = botocore.validate.ParamValidator().validate(parameters, shape).generate_report()
    unknown = [f"unknown field {field}" for field in form]
    return name, [line for line in [report, *unknown] if line]


@unittest.skipIf(botocore is None, "SKIPPED: botocore is not installed; tests/install installs it")
class Requests(unittest.TestCase):
    def setUp(self):
        self.models = {service: model(service) for service in APIS.values()}

    @unittest.skipUnless(RECORD.exists(), f"SKIPPED: no requests were recorded; make test records them in {RECORD.name}")
    def test_recorded_requests_are_valid(self):
        seen = set()
        for body in sorted(set(RECORD.read_text().splitlines())):
            name, wrong = faults(self.models, body)
            seen.add(name)
            self.assertEqual(wrong, [], body)
        self.assertLessEqual(EXPECTED, seen)

    def test_wrong_requests_are_found(self):
        wrong = {
            "Action=DescribeTargetHealth&Version=2015-12-01": "Missing required parameter",
            "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=a&Targets.member.1.Port=5432": "Missing required",
            "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=a&Targets.member.1.Id=b&Targets.member.1.Port=0":
                "valid min value: 1",
            "Action=DescribeDBClusters&Version=2014-10-31&DBClusterIdentifer=orders": "unknown field DBClusterIdentifer",
        }
        for body, expected in wrong.items():
            self.assertIn(expected, " ".join(faults(self.models, body)[1]), body)


if __name__ == "__main__":
    unittest.main()
