"""Terraform on copies of deploy/terraform.

Every run works on a copy: the modules must read nothing outside their folder, and nothing that a run writes is left in
the repository. The provider comes from the folder in TF_PLUGIN_DIR, or from the registry where that is not set.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "deploy" / "terraform"
REGION = "us-east-1"
# Where the provider is kept that the registry gives, until the end of the session.
PROVIDERS = tempfile.TemporaryDirectory(prefix="terraform-providers-")
# How often it is asked for: the registry, or the way there, may fail for a moment.
TRIES = 3


skipped = set()


def skip(reason):
    """Skips a test and repeats the reason in the summary; fails where REQUIRE_TERRAFORM is set."""
    if os.environ.get("REQUIRE_TERRAFORM"):
        pytest.fail(f"{reason}, and REQUIRE_TERRAFORM is set")
    skipped.add(reason)
    pytest.skip(reason)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Failed(Exception):
    """Terraform ended with an error; the message is its output."""


def environment(**variables):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    # It may name a mirror of the registry.
    if os.path.exists(settings := os.environ.get("TF_CLI_CONFIG_FILE", "")):
        inherited["TF_CLI_CONFIG_FILE"] = settings
    if "TF_PLUGIN_DIR" not in os.environ:
        # The copies have no lock file, without which Terraform would use the cache for nothing.
        inherited |= {"TF_PLUGIN_CACHE_DIR": PROVIDERS.name, "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1"}
    return inherited | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # A certificate, a profile or a configuration of the machine must not take part.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
    } | variables


def terraform(folder, *arguments, check=True, **variables):
    """Runs Terraform and returns its exit code and its output."""
    done = subprocess.run(
        ["terraform", *arguments], cwd=folder, env=environment(**variables), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if check and done.returncode:
        raise Failed(f"terraform {' '.join(arguments)}\n{done.stdout}")
    return done.returncode, done.stdout


def init(folder):
    command = ["init", "-no-color", "-backend=false"]
    if plugins := os.environ.get("TF_PLUGIN_DIR"):
        return terraform(folder, *command, f"-plugin-dir={plugins}")
    for wait in range(1, TRIES):
        code, _ = terraform(folder, *command, check=False)
        if code == 0:
            return
        time.sleep(wait)
    terraform(folder, *command)


def copy(target):
    ignored = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*")
    return Path(shutil.copytree(MODULES, target / "terraform", ignore=ignored))


PROVIDER = """
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
"""


class Workspace:
    """A configuration beside a copy of the modules, against an emulator's address."""

    def __init__(self, folder, configuration, endpoint):
        self.folder = folder / "root"
        self.folder.mkdir()
        copy(folder)
        self.variables = {"AWS_ENDPOINT_URL": endpoint}
        self.write(configuration)
        init(self.folder)

    def write(self, configuration):
        (self.folder / "main.tf").write_text(PROVIDER + configuration)

    def run(self, *arguments, check=True):
        return terraform(self.folder, *arguments, check=check, **self.variables)

    def apply(self):
        return self.run("apply", "-auto-approve", "-no-color")[1]

    def destroy(self):
        return self.run("destroy", "-auto-approve", "-no-color")[1]

    def plan(self):
        """The plan as `terraform show -json` gives it."""
        self.run("plan", "-out=plan", "-no-color")
        return json.loads(self.run("show", "-json", "plan")[1])

    def outputs(self):
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")[1]).items()}


def changed(plan):
    """The changed attributes of each resource in a plan, or the actions where the whole resource comes or goes."""
    found = {}
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        if resource["mode"] != "managed" or change["actions"] == ["no-op"]:
            continue
        found[resource["address"]] = change["actions"] if change["actions"] != ["update"] else {
            name for name in change["before"].keys() | change["after"].keys()
            if change["before"].get(name) != change["after"].get(name) and not change["after_unknown"].get(name)
        }
    return found


def planned(plan):
    """All planned resources by their addresses, those of child modules too."""
    found = {}

    def walk(module):
        for resource in module.get("resources", []):
            found[resource["address"]] = resource["values"]
        for child in module.get("child_modules", []):
            walk(child)

    walk(plan["planned_values"]["root_module"])
    return found
