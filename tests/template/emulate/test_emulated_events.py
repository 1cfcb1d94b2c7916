"""A stack by `sam deploy` at work: an event through its rule, its schedule, and the retries of a failed run, with a timeline."""

import datetime
import json
import os
import shutil
import subprocess
import time

import pytest

import emulator
from emulator import MACHINE, Deployed, adapt, client, skipped, wait_for
from names import Names
from stack import ENDPOINT, ROOT, source

ONE, TWO, THREE = "10.0.1.10", "10.0.2.20", "10.0.3.30"
SAM = ROOT / ".venv/bin/sam"


class Timeline:
    """What happened when, for the output of `make emulate`."""

    def __init__(self, title):
        self.title, self.happened = title, []

    def add(self, what, at=None):
        self.happened.append((time.time() if at is None else at, what))

    def print(self):
        start = min(at for at, _ in self.happened)
        emulator.timeline.append(f"\n{self.title}")
        emulator.timeline.extend(f"  {at - start:7.2f} s  {what}" for at, what in sorted(self.happened))


class Synced(Deployed):
    """A stack of template.yaml that `sam deploy` created, with its group and its name server."""

    def __init__(self, endpoint, folder):
        super().__init__(endpoint, "synced")
        self.folder, self.names = folder, Names({ENDPOINT: ONE})
        self.elb, self.events, self.lambdas = (client(service, endpoint) for service in ("elbv2", "events", "lambda"))
        made = self.elb.create_target_group(Name="synced", Protocol="TCP", Port=5432, TargetType="ip", VpcId="vpc-0a")
        self.group = made["TargetGroups"][0]["TargetGroupArn"]

    def sam_deploy(self):
        template = adapt(source())
        template["Resources"]["Function"]["Properties"]["CodeUri"] = "code"
        (self.folder / "code").mkdir()
        emulator.stripped(self.folder / "code", emulator.binary())
        (self.folder / "template.json").write_text(json.dumps(template))
        for name in ("README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.folder)
        client("s3", self.endpoint).create_bucket(Bucket="sam")
        parameters = {"Endpoint": ENDPOINT, "TargetGroupArn": self.group, "Architecture": MACHINE,
                      "Nameservers": self.names.address, "ConfirmSeconds": "4", "WatchSeconds": "60"}
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [SAM, "deploy", "--template-file", "template.json", "--stack-name", self.name, "--s3-bucket", "sam",
             "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--no-progressbar",
             "--parameter-overrides", *(f"{name}={text}" for name, text in parameters.items())],
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
            env=inherited | {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test",
                             "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": os.devnull, "SAM_CLI_TELEMETRY": "0",
                             "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
        assert done.returncode == 0, done.stdout
        self.function = self.outputs()["FunctionName"]
        return self

    def targets(self):
        health = self.elb.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"] for entry in health}

    def follow(self, timeline, expected, seconds):
        """Waits until the group holds these targets, and notes each change of it."""
        held = self.targets()
        deadline = time.monotonic() + seconds
        while held != expected:
            assert time.monotonic() < deadline, f"the group holds {held}\n{self.log()}"
            time.sleep(0.02)
            now = self.targets()
            for what, addresses in [("registered", now - held), ("deregistered", held - now)]:
                for address in addresses:
                    timeline.add(f"{what}: {address}:5432")
            held = now

    def log(self):
        """The lines of the log, parsed; Lambda's own are not JSON here."""
        group = client("logs", self.endpoint)
        pages = group.get_paginator("filter_log_events").paginate(logGroupName=self.outputs()["LogGroup"])
        messages = [event["message"] for page in pages for event in page["events"]]
        return [json.loads(message) for message in messages if message.startswith("{")]

    def runs(self):
        """The last lines of all runs so far, but for plans."""
        return [line for line in self.log() if line.get("decision") == "done" and line["trigger"] != "plan"]

    def runs_since(self, known, number=1):
        """Waits for this many further runs, and returns what started each and when it was done."""

        def ended():
            if len(found := self.runs()[known:]) >= number:
                return found
            # A line that came too late is in the log of the next run.
            self.lambdas.invoke(FunctionName=self.function, Payload='{"command":"plan"}')

        return [(line["trigger"], datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp())
                for line in wait_for(ended)]

    def put(self, sample, **detail):
        """Sends a sample event through the default bus, as if this account's cluster were the sample's."""
        event = json.loads((ROOT / "events" / sample).read_text().replace("123456789012", "000000000000"))
        answer = self.events.put_events(Entries=[{
            "Source": event["source"], "DetailType": event["detail-type"], "Resources": event["resources"],
            "Detail": json.dumps(event["detail"] | detail)}])
        assert answer["FailedEntryCount"] == 0, answer


@pytest.fixture(scope="module")
def synced(ministack, tmp_path_factory):
    for path, fix in [(emulator.binary(), "cargo build --bin bootstrap"), (SAM, "make .venv/template")]:
        if not os.path.exists(path):
            skipped.add(f"no {path}; {fix} makes it: no event was played on MiniStack")
            pytest.skip(f"no {path}")
    stack = Synced(ministack, tmp_path_factory.mktemp("sam"))
    yield stack.sam_deploy()
    stack.delete()
    stack.names.close()


@pytest.fixture
def quiet(synced):
    """The stack with its schedule off, with one target, and in sync."""
    rule = synced.outputs()["ScheduleRule"]
    synced.events.disable_rule(Name=rule)
    synced.names.addresses[ENDPOINT] = ONE
    known = len(synced.runs())
    answer = synced.lambdas.invoke(FunctionName=synced.function, Payload='{"command":"check"}')
    assert "FunctionError" not in answer, answer["Payload"].read()
    # The test counts the runs after this one.
    synced.runs_since(known)
    assert synced.targets() == {ONE}
    yield synced
    synced.events.enable_rule(Name=rule)


def test_event_through_the_rule_is_followed(quiet):
    timeline = Timeline("A failover on MiniStack, in a stack by sam deploy:")
    # The rule's pattern keeps this one from the function: it would be a run before the other's.
    quiet.put("cluster-failover-started.json", EventCategories=["backup"])
    known = len(quiet.runs())
    timeline.add("event put: RDS-EVENT-0073, started failover to orders-2")
    put = time.time()
    quiet.put("cluster-failover-started.json")
    wait_for(lambda: [at for at in quiet.names.lookups if at >= put])
    timeline.add("function invoked by the rule: its first lookup", min(at for at in quiet.names.lookups if at >= put))
    timeline.add(f"DNS moves from {ONE} to {TWO}")
    quiet.names.addresses[ENDPOINT] = TWO
    quiet.follow(timeline, {TWO}, 60)
    assert [trigger for trigger, _ in quiet.runs_since(known)] == ["watch"]
    changes = [what.split()[0] for _, what in sorted(timeline.happened)]
    assert changes == ["event", "function", "DNS", "registered:", "deregistered:"]
    timeline.print()


def test_failed_run_is_retried_and_kept_in_the_queue(quiet):
    timeline = Timeline("An asynchronous invocation that fails on MiniStack, whose retries come after 1 and 2 s:")
    del quiet.names.addresses[ENDPOINT]
    known = len(quiet.runs())
    event = {"command": "check"}
    timeline.add("invoked asynchronously; the endpoint's name does not exist")
    quiet.lambdas.invoke(FunctionName=quiet.function, InvocationType="Event", Payload=json.dumps(event))
    queue = client("sqs", quiet.endpoint)

    def message():
        answer = queue.receive_message(QueueUrl=quiet.outputs()["FailedRunsUrl"], WaitTimeSeconds=1)
        return answer.get("Messages")

    [kept] = wait_for(message)
    timeline.add("in the queue of failed runs")
    attempts = quiet.runs_since(known, 3)
    assert [trigger for trigger, _ in attempts] == ["check"] * 3
    for number, (_, at) in enumerate(attempts, 1):
        timeline.add(f"attempt {number} of 3 fails", at)
    body = json.loads(kept["Body"])
    assert body["requestPayload"] == event
    assert body["requestContext"]["condition"] == "RetriesExhausted"
    assert body["responsePayload"]["errorType"] == "BindingsFailed"
    assert f"could not resolve {ENDPOINT} (A): the name does not exist" in body["responsePayload"]["errorMessage"]
    # A failed lookup removes nothing.
    assert quiet.targets() == {ONE}
    queue.delete_message(QueueUrl=quiet.outputs()["FailedRunsUrl"], ReceiptHandle=kept["ReceiptHandle"])
    timeline.print()


def test_schedule_finds_a_move_without_an_event(quiet):
    timeline = Timeline("A move without an event on MiniStack; the schedule of the stack is rate(1 minute):")
    rule = quiet.outputs()["ScheduleRule"]
    assert quiet.events.describe_rule(Name=rule)["ScheduleExpression"] == "rate(1 minute)"
    known = len(quiet.runs())
    timeline.add(f"DNS moves from {ONE} to {THREE}")
    quiet.names.addresses[ENDPOINT] = THREE
    moved = time.time()
    quiet.events.enable_rule(Name=rule)
    quiet.follow(timeline, {THREE}, 180)
    timeline.add("function invoked by the schedule: its first lookup", min(at for at in quiet.names.lookups if at >= moved))
    assert {trigger for trigger, _ in quiet.runs_since(known)} == {"check"}
    timeline.print()
