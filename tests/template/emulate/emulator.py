"""Stacks of the templates on an emulator of AWS, through create, update and delete.

The templates are changed only where the emulator lacks something, in `adapted`, which says what.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import zipfile

import boto3

from stack import REGION, ROOT, expand

BUCKET = "code"

# The reasons of skipped tests, for the end of the run.
skipped = set()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def client(service, endpoint):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test",
                        aws_secret_access_key="test")


def adapted(name, parameters=None):
    """The expanded template as MiniStack 1.5 can create it."""
    template = expand(name, parameters=parameters)
    # Its target groups have ids of all letters.
    text = json.dumps(template).replace("[0-9a-f]{16}", "[0-9a-z]{16}").replace('"bucket"', f'"{BUCKET}"').replace("bucket.s3.amazonaws.com/", f"s3.amazonaws.com/{BUCKET}/")
    template = json.loads(text)
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
    if name == "deploy/privatelink.yaml":
        for output in ("ServiceName", "ServiceId"):
            del template["Outputs"][output]
    return template


def package(folder, binary):
    """The zip for Lambda of a binary that was built for this machine."""
    stripped = folder / "bootstrap"
    shutil.copy(binary, stripped)
    if shutil.which("strip"):
        subprocess.run(["strip", stripped], check=True)
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    path = folder / "code.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, stripped.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return path.read_bytes()


def binary():
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.environ.get("BOOTSTRAP", f"{target}/debug/bootstrap")


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
