"""A newcomer's way with SAM: the README's `sam deploy` with samconfig.toml as it is, the commands in the stack's outputs, and a
followed failover. `pytest -s` prints the seconds of each step. The zip is there already, as with a release."""

import contextlib
import json
import os
import shutil
import subprocess
import time

import pytest

import commands
import emulator
from emulator import client, skipped
from stack import ENDPOINT, ROOT
from test_emulated_function import Names

SAM, AWS = ROOT / ".venv/bin/sam", ROOT / ".venv/awscli/bin/aws"
MACHINE = "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"


@pytest.fixture
def folder(tmp_path):
    """A copy of what the README's command reads; its template as MiniStack can create it."""
    for path, fix in ((emulator.binary(), "cargo build --bin bootstrap"), (SAM, "make .venv/template"), (AWS, "make .venv/awscli/installed")):
        if not os.path.exists(path):
            skipped.add(f"no {path}; {fix} makes it: nobody played a newcomer with SAM")
            pytest.skip(f"no {path}")
    (tmp_path / "rds-nlb-sync.zip").write_bytes(emulator.package(tmp_path, emulator.binary()))
    template = emulator.adapted("template.yaml")
    [function] = [r for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
    function["Properties"]["Code"] = "rds-nlb-sync.zip"
    (tmp_path / "template.yaml").write_text(json.dumps(template))
    for name in ("samconfig.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def run(ministack, folder):
    """Runs a command as in a shell, with MiniStack for AWS."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "PATH": f"{AWS.parent}:{SAM.parent}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0", "AWS_ENDPOINT_URL": ministack,
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }

    def run(command, **given):
        shell = isinstance(command, str)
        done = subprocess.run(command, cwd=folder, env=variables, text=True, timeout=300, shell=shell,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **given)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.fixture
def names():
    names = Names({ENDPOINT: "10.0.1.10"})
    yield names
    names.close()


class Steps:
    """How long each step takes, for the output of `pytest -s`."""

    def __init__(self):
        self.taken = []

    @contextlib.contextmanager
    def step(self, name):
        start = time.monotonic()
        yield
        self.taken.append((name, time.monotonic() - start))

    def print(self, title):
        print(f"\n{title}")
        for name, seconds in [*self.taken, ("together", sum(seconds for _, seconds in self.taken))]:
            print(f"{seconds:7.1f} s  {name}")


def deploy(dry_run, group, names):
    """The README's `sam deploy`, for the database and the group that are here."""
    [words] = [words for line in commands.lines("README.md") for words in commands.simple(line) if words[:2] == ["sam", "deploy"]]
    here = {"Architecture": MACHINE, "DryRun": dry_run, "Endpoint": ENDPOINT, "TargetGroupArn": group}
    named = [word.split("=", 1)[0] for word in words if "=" in word]
    # That it can be copied with these four replaced is the point. The name server is the test's own.
    assert sorted(named) == sorted(here)
    return [f"{word.split('=', 1)[0]}={here[word.split('=', 1)[0]]}" if "=" in word else word for word in words] + [f"Nameservers={names.address}"]


def test_newcomer_with_sam_follows_a_failover(ministack, run, names):
    steps = Steps()
    elb = client("elbv2", ministack)
    group = elb.create_target_group(Name="newcomer", Protocol="TCP", Port=5432, TargetType="ip", VpcId="vpc-0a")["TargetGroups"][0]["TargetGroupArn"]

    def targets():
        health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"] for entry in health if entry["TargetHealth"]["State"] != "draining"}

    def outputs():
        [stack] = client("cloudformation", ministack).describe_stacks(StackName="rds-nlb-sync")["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    with steps.step("sam deploy, as a dry run"):
        run(deploy("true", group, names))
    [doctor] = [line for line in commands.lines("README.md") if "aws lambda invoke" in line]
    with steps.step("the README's doctor"):
        assert '"problems"' in run(doctor.replace("FUNCTION", outputs()["FunctionName"]))
    with steps.step("the output DoctorCommand, the same"):
        assert '"problems"' in run(outputs()["DoctorCommand"])
    with steps.step("the output CheckCommand"):
        assert '"planned"' in run(outputs()["CheckCommand"]) and targets() == set()
    with steps.step("sam deploy, for real"):
        run(deploy("false", group, names))
    with steps.step("the output CheckCommand, which registers"):
        run(outputs()["CheckCommand"])
        assert targets() == {"10.0.1.10"}
    names.addresses[ENDPOINT] = "10.0.2.20"
    with steps.step("a failover's event, followed"):
        event = ROOT / "events/cluster-failover-completed.json"
        run([AWS, "lambda", "invoke", "--function-name", outputs()["FunctionName"], "--payload", f"fileb://{event}", "/dev/stdout"])
        assert targets() == {"10.0.2.20"}
    steps.print("A newcomer with SAM")
    run([SAM, "delete", "--stack-name", "rds-nlb-sync", "--no-prompts", "--region", "us-east-1"])
    assert targets() == {"10.0.2.20"}
