"""Stacks of the templates on an emulator of AWS, through create, update and delete.

The templates are changed only where the emulator lacks something, in `adapt`. limits.py has the list.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import zipfile

import boto3
from botocore.config import Config

from stack import REGION, ROOT, expand

BUCKET = "code"

# This machine's architecture, in Lambda's words.
MACHINE = "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"

# For the clients of calls that last as long as a run, and are made once.
PATIENT = Config(read_timeout=300, retries={"total_max_attempts": 1})

# For the end of the run: the reasons of skipped tests, and the lines of the timelines.
skipped = set()
timeline = []


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def client(service, endpoint, **settings):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test",
                        aws_secret_access_key="test", **settings)


def program(name, variable):
    """A program that `make emulate` builds."""
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.environ.get(variable, f"{target}/debug/{name}")


def wait_for(what, seconds=60):
    """Polls until there is something, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what.__name__}"
        time.sleep(0.05)
    return found


def adapt(template):
    """The template, expanded or not, as MiniStack 1.5 can create it."""
    template = json.loads(json.dumps(template).replace("[0-9a-f]{16}", "[0-9a-z]{16}"))
    for key, resource in list(template["Resources"].items()):
        kind, properties = resource["Type"], resource.get("Properties", {})
        if kind == "AWS::IAM::RolePolicy":
            # The same, by the type that it knows.
            resource["Type"] = "AWS::IAM::Policy"
            properties["Roles"] = [properties.pop("RoleName")]
        elif kind == "AWS::CloudWatch::Alarm" and "Metrics" in properties:
            # No metric math: the first of the metrics.
            stat = next(part["MetricStat"] for part in properties.pop("Metrics") if "MetricStat" in part)
            properties |= stat["Metric"] | {"Statistic": stat["Stat"], "Period": stat["Period"]}
        elif kind in ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::VPCEndpointService",
                      "AWS::EC2::VPCEndpointServicePermissions"):
            del template["Resources"][key]
    return template


def adapted(name, parameters=None):
    """The expanded template, adapted, with the code in the bucket."""
    template = adapt(expand(name, parameters=parameters))
    text = json.dumps(template).replace('"bucket"', f'"{BUCKET}"').replace("bucket.s3.amazonaws.com/", f"s3.amazonaws.com/{BUCKET}/")
    template = json.loads(text)
    if name == "deploy/privatelink.yaml":
        for output in ("ServiceName", "ServiceId"):
            del template["Outputs"][output]
    return template


def stripped(folder, binary):
    """A copy of the binary, named and made small as in a package."""
    path = folder / "bootstrap"
    shutil.copy(binary, path)
    if shutil.which("strip"):
        subprocess.run(["strip", path], check=True)
    return path


def package(folder, binary):
    """The zip for Lambda of a binary that was built for this machine."""
    code = stripped(folder, binary)
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    path = folder / "code.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, code.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return path.read_bytes()


def binary():
    return program("bootstrap", "BOOTSTRAP")


class Failed(Exception):
    """The stack could not be created, changed or deleted; the message has its events."""


class Deployed:
    """One stack, whose parameters keep their values through updates, as with `sam deploy`."""

    def __init__(self, endpoint, name, template="template.yaml", uploaded=False):
        self.name, self.template = name, template
        self.cloudformation = client("cloudformation", endpoint)
        self.endpoint, self.uploaded = endpoint, uploaded
        self.known = set()

    def deploy(self, **parameters):
        """Creates or updates; a parameter that is not given keeps its value."""
        given = [{"ParameterKey": k, "ParameterValue": str(v)} for k, v in parameters.items()]
        kept = [{"ParameterKey": k, "UsePreviousValue": True} for k in self.known - parameters.keys()]
        body = json.dumps(adapted(self.template, parameters), separators=(",", ":"))
        act = self.cloudformation.update_stack if self.known else self.cloudformation.create_stack
        act(StackName=self.name, TemplateBody=body, Parameters=given + kept, Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
        self.known |= parameters.keys()
        state = self._settled()
        if state not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise Failed(f"{state}\n{self._reasons()}")
        return self

    def delete(self):
        self.cloudformation.delete_stack(StackName=self.name)
        state = self._settled()
        if state != "DELETE_COMPLETE":
            raise Failed(f"{state}\n{self._reasons()}")

    def outputs(self):
        [stack] = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def resources(self):
        """Their physical ids by their logical ones."""
        listed = self.cloudformation.describe_stack_resources(StackName=self.name)["StackResources"]
        return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in listed if "DELETE" not in r["ResourceStatus"]}

    def _settled(self):
        for _ in range(1200):
            try:
                [stack] = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
            except self.cloudformation.exceptions.ClientError as error:
                if "does not exist" in str(error):
                    return "DELETE_COMPLETE"
                raise
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                return stack["StackStatus"]
            time.sleep(0.1)
        raise Failed(f"{self.name} did not settle")

    def _reasons(self):
        events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return "\n".join(f"{e['LogicalResourceId']}: {e['ResourceStatusReason']}" for e in events if e.get("ResourceStatusReason"))
