"""Each alarm of the template: its fault with the real binary on MiniStack, the run with which it goes off, its message, and the
output that the runbook shows."""

import contextlib
import itertools
import json
import os
import shutil
import threading
import time
import urllib.request

import pytest

import emulator
from alarms import Sample, goes_off_with, state
from conftest import serve_ministack
from emulator import client, skipped, wait_for
from rehearsal import CHECK, LoadBalancing, Rehearsal, alike, blocks
from stack import ENDPOINT, ROOT, TWO_PARAMETERS, Stack

ONE, TWO, OTHER = "10.0.1.10", "10.0.2.20", "10.0.9.90"
STARTED = ROOT / "events/cluster-failover-started.json"


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    needed = [(os.path.exists(emulator.binary()), "no binary; build it by cargo build --bin bootstrap"),
              ((ROOT / ".venv/awscli/bin/aws").is_file(), "the AWS CLI is not in .venv/awscli; run tests/install"),
              (shutil.which("jq"), "jq is not installed; run tests/install")]
    for found, reason in needed:
        if not found:
            skipped.add(f"{reason}: no alarm was rehearsed")
            pytest.skip(reason)
    return emulator.package(tmp_path_factory.mktemp("package"), emulator.binary())


@pytest.fixture(scope="module")
def emptied(tmp_path_factory):
    yield from serve_ministack(tmp_path_factory.mktemp("rehearsals"))


@pytest.fixture
def rehearse(emptied, package, tmp_path):
    """Makes the stack of one rehearsal. MiniStack's alarms do not look at dimensions, so it is emptied before each."""
    urllib.request.urlopen(urllib.request.Request(f"{emptied}/_ministack/reset", method="POST")).read()
    with contextlib.ExitStack() as stack:

        def make(**arguments):
            rehearsal = Rehearsal(emptied, package, tmp_path, **arguments)
            stack.callback(rehearsal.close)
            return rehearsal

        yield make


def shows(rehearsal, alarm, *varying):
    """The runbook's commands print what the runbook shows, but for what varies, whatever output the user's AWS CLI is set to."""
    [(_, common)] = blocks("The log and the answer")
    [(_, command), (_, output)] = blocks(alarm)
    for setting in ("json", "text"):
        rehearsal.shell(common, setting)
        assert alike(rehearsal.shell(command, setting), *varying) == alike(output, *varying), setting


def test_every_alarm_is_rehearsed():
    alarms = Stack({"DiscoveryTag": "rds-nlb-sync", "DryRun": "true"}).of_type("AWS::CloudWatch::Alarm").keys()
    rehearsed = {name.removeprefix("test_").partition("_goes_off")[0] for name in globals() if "_goes_off" in name}
    assert rehearsed == {alarm.lower() for alarm in alarms}


def test_errorsalarm_goes_off_when_the_retry_fails_too(rehearse):
    rehearsal = rehearse()
    alarm = rehearsal.alarm("ErrorsAlarm")
    _, well = rehearsal.run()
    del rehearsal.names.addresses[ENDPOINT]
    failed = [rehearsal.run()[1] for _ in range(3)]
    assert goes_off_with(alarm, [well, failed[0], well, well, well, well]) is None, "the retry ends it"
    assert goes_off_with(alarm, [well, *failed]) == 3
    assert state(alarm, [*failed, well, well, well]) == "ALARM" and state(alarm, [*failed, well, well, well, well]) == "OK"
    assert rehearsal.of_lambda("Errors", "Sum") >= 3
    assert rehearsal.notice("ErrorsAlarm", failed[0])["NewStateValue"] == "ALARM"
    shows(rehearsal, "ErrorsAlarm")


def test_silencealarm_goes_off_without_a_successful_check(rehearse):
    rehearsal = rehearse()
    alarm = rehearsal.alarm("SilenceAlarm")
    _, well = rehearsal.run()
    assert goes_off_with(alarm, [*[well] * 5, *[[]] * 6]) == 10, "no run"
    assert state(alarm, [well, *[[]] * 5, well]) == "OK"
    del rehearsal.names.addresses[ENDPOINT]
    _, failed = rehearsal.run()
    assert goes_off_with(alarm, [*[well] * 5, *[failed] * 5]) == 10, "runs that fail"
    shows(rehearsal, "SilenceAlarm")


def test_pendingalarm_goes_off_with_the_fourth_check(rehearse):
    # Shorter than the template's least, so that a check gives up sooner.
    rehearsal = rehearse(environment={"CONFIRM_SECONDS": "1"}, PollMillis=100)
    alarm = rehearsal.alarm("PendingAlarm")
    _, well = rehearsal.run()
    rehearsal.elb.register_targets(TargetGroupArn=rehearsal.group, Targets=[{"Id": OTHER, "Port": 5432}])
    rehearsal.names.addresses[ENDPOINT] = itertools.cycle([ONE, TWO])
    pending = [rehearsal.run()[1] for _ in range(4)]
    assert goes_off_with(alarm, [well, *pending]) == 5
    assert state(alarm, [*pending, well]) == "ALARM" and state(alarm, [*pending, well, well]) == "OK"
    assert rehearsal.notice("PendingAlarm", pending[0])["NewStateValue"] == "ALARM"
    # The last answer of DNS is either of the two.
    shows(rehearsal, "PendingAlarm", (r"10\.0\.(1\.10|2\.20)", "MEMBER"))


def test_notinservicealarm_goes_off_after_ten_minutes(rehearse, emptied):
    with LoadBalancing(emptied, state="unhealthy") as proxy:
        rehearsal = rehearse(environment={"AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2": proxy.url})
        alarm = rehearsal.alarm("NotInServiceAlarm")
        unhealthy = [rehearsal.run()[1] for _ in range(10)]
        assert goes_off_with(alarm, unhealthy) == 10
        proxy.state = "healthy"
        _, well = rehearsal.run()
        assert state(alarm, [*unhealthy, well, well]) == "ALARM" and state(alarm, [*unhealthy, well, well, well]) == "OK"
        proxy.state = "unhealthy"
        assert rehearsal.notice("NotInServiceAlarm", unhealthy[0])["NewStateValue"] == "ALARM"
        shows(rehearsal, "NotInServiceAlarm")
        proxy.shutdown()


def test_changenotice_goes_off_with_a_change(rehearse):
    rehearsal = rehearse(ConfirmSeconds=4)
    alarm = rehearsal.alarm("ChangeNotice")
    _, well = rehearsal.run()
    rehearsal.names.addresses[ENDPOINT] = ONE
    _, changed = rehearsal.run()
    assert goes_off_with(alarm, [well, changed, *[well] * 9]) == 2
    assert state(alarm, [changed, *[well] * 10]) == "OK"
    shows(rehearsal, "ChangeNotice")


def test_deadlettersalarm_goes_off_with_a_message(rehearse):
    rehearsal = rehearse()
    alarm = rehearsal.alarm("DeadLettersAlarm")
    empty = [rehearsal.queued("FailedRunsUrl"), rehearsal.queued("UndeliveredEventsUrl")]
    del rehearsal.names.addresses[ENDPOINT]
    rehearsal.lambdas.invoke(FunctionName=rehearsal.function, InvocationType="Event", Payload=json.dumps(CHECK))
    wait_for(lambda: rehearsal.queued("FailedRunsUrl").value)
    kept = [rehearsal.queued("FailedRunsUrl"), rehearsal.queued("UndeliveredEventsUrl")]
    assert goes_off_with(alarm, [empty, kept]) == 2
    # No emulator writes to the other queue.
    undelivered = [Sample(s.namespace, s.name, s.dimensions, float("Undelivered" in str(s.dimensions))) for s in kept]
    assert goes_off_with(alarm, [empty, undelivered]) == 2
    shows(rehearsal, "DeadLettersAlarm")
    rehearsal.sqs.purge_queue(QueueUrl=rehearsal.outputs["FailedRunsUrl"])
    deleted = [rehearsal.queued("FailedRunsUrl"), rehearsal.queued("UndeliveredEventsUrl")]
    assert state(alarm, [kept, *[deleted] * 19]) == "ALARM" and state(alarm, [kept, *[deleted] * 20]) == "OK"


def test_losteventsalarm_goes_off_with_a_run_that_no_queue_keeps(rehearse):
    rehearsal = rehearse()
    alarm = rehearsal.alarm("LostEventsAlarm")
    rehearsal.sqs.delete_queue(QueueUrl=rehearsal.outputs["FailedRunsUrl"])
    del rehearsal.names.addresses[ENDPOINT]
    rehearsal.lambdas.invoke(FunctionName=rehearsal.function, InvocationType="Event", Payload=json.dumps(CHECK))
    began = time.monotonic()

    def all_ended():
        # Each run writes its metrics once, at its end. A run that came later would be one of the next test's.
        if sum("_aws" in message for message in rehearsal.messages()) == 3:
            return True
        # A line that came too late is in the log of the next run. The retries come after 1 and 2 s; a plan at the same time as
        # one would be another process.
        if time.monotonic() - began > 10:
            rehearsal.invoke({"command": "plan"})

    wait_for(all_ended)
    # No emulator counts what Lambda could not write to a queue.
    lost = [Sample("AWS/Lambda", "DestinationDeliveryFailures", (("FunctionName", rehearsal.function),), 1.0)]
    assert goes_off_with(alarm, [[], [], lost, *[[]] * 9]) == 3
    assert state(alarm, [lost, *[[]] * 10]) == "OK"
    shows(rehearsal, "LostEventsAlarm", (r"https?://[^/]+/\d{12}/", "URL/"), (r"-[0-9A-Z]{12,13}$", "-ID"))


def test_nothingboundalarm_goes_off_with_the_third_check(rehearse):
    rehearsal = rehearse(tag="rds-nlb-sync")
    alarm = rehearsal.alarm("NothingBoundAlarm")
    nothing = [rehearsal.run()[1] for _ in range(3)]
    assert goes_off_with(alarm, nothing) == 3
    assert rehearsal.notice("NothingBoundAlarm", nothing[0])["NewStateValue"] == "ALARM"
    shows(rehearsal, "NothingBoundAlarm")
    rehearsal.elb.add_tags(ResourceArns=[rehearsal.group], Tags=[{"Key": "rds-nlb-sync", "Value": ENDPOINT}])
    # A new process: a known list of tags may be five minutes old.
    rehearsal.set()
    answer, bound = rehearsal.run()
    assert [binding["status"] for binding in answer["bindings"]] == ["in_sync"]
    assert state(alarm, [*nothing, bound, bound]) == "ALARM" and state(alarm, [*nothing, bound, bound, bound]) == "OK"


def test_dryrunalarm_goes_off_with_the_second_check(rehearse):
    rehearsal = rehearse(DryRun="true")
    alarm = rehearsal.alarm("DryRunAlarm")
    _, well = rehearsal.run()
    rehearsal.names.addresses[ENDPOINT] = ONE
    planned = [rehearsal.run()[1] for _ in range(2)]
    assert goes_off_with(alarm, [well, *planned]) == 3
    assert state(alarm, [*planned, well, well, well]) == "ALARM" and state(alarm, [*planned, well, well, well, well]) == "OK"
    assert rehearsal.notice("DryRunAlarm", planned[0])["NewStateValue"] == "ALARM"
    shows(rehearsal, "DryRunAlarm")


class LongRun(threading.Thread):
    """A run of more than 90 s, on a MiniStack of its own, while the other tests run."""

    # The watch makes its last observation a second before its end, and a listing may end later.
    WATCH = 97

    def __init__(self, tmp_path_factory, package):
        super().__init__(daemon=True)
        self.servers = contextlib.ExitStack()
        self.folder = tmp_path_factory.mktemp("long-run")
        ministack = self.servers.enter_context(contextlib.contextmanager(serve_ministack)(self.folder))
        self.proxy = self.servers.enter_context(LoadBalancing(ministack))
        self.rehearsal = Rehearsal(ministack, package, self.folder, environment={
            "WATCH_SECONDS": str(self.WATCH), "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2": self.proxy.url})
        self.result = None

    def run(self):
        self.result = self.rehearsal.run(), self.rehearsal.run(self.event())

    def event(self):
        event = json.loads(STARTED.read_text()) | {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        # Longer than the 3 s that an attempt may take.
        self.proxy.delay = 4
        return event

    def close(self):
        self.proxy.shutdown()
        self.rehearsal.close()
        self.servers.close()


@pytest.fixture(scope="session", autouse=True)
def long_run(request, tmp_path_factory):
    """Starts with the first test of the session if the test that needs it is among them."""
    if not any("durationalarm" in item.name for item in request.session.items):
        yield None
        return
    run = LongRun(tmp_path_factory, request.getfixturevalue("package"))
    run.start()
    yield run
    run.close()


def test_durationalarm_goes_off_near_the_time_out(long_run):
    long_run.join(300)
    rehearsal, alarm = long_run.rehearsal, long_run.rehearsal.alarm("DurationAlarm")
    assert long_run.result, "the run did not end, or failed"

    def period(milliseconds):
        return [Sample("AWS/Lambda", "Duration", (("FunctionName", rehearsal.function),), milliseconds)]

    # MiniStack's own, of both runs.
    longest = rehearsal.of_lambda("Duration", "Maximum")
    assert longest > 1000 * (long_run.WATCH - 1), "the run was not long"
    assert "could not list the targets of" in long_run.result[1][0]["errorMessage"], "it did not end by itself"
    assert goes_off_with(alarm, [period(rehearsal.of_lambda("Duration", "Minimum")), period(longest)]) == 2
    assert rehearsal.notice("DurationAlarm", long_run.result[0][1])["NewStateValue"] == "ALARM"
    long_run.proxy.delay = 0
    shows(rehearsal, "DurationAlarm")
