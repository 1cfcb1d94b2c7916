"""The rule's pattern against every sample in events/, by moto's implementation of EventBridge patterns."""

import json
import re

import pytest
from moto.events.models import EventPattern

from stack import ROOT, TWO_PARAMETERS, Stack

# Whether the rule for database events lets the sample through. The scheduled ones come by rules of their own.
EXPECTED = {
    "backup-finished.json": False,
    "check.json": False,
    "doctor.json": False,
    "blue-green-switched.json": True,
    "cluster-failover-completed.json": True,
    "cluster-failover-reverted.json": True,
    "cluster-failover-started.json": True,
    "cluster-maintenance.json": True,
    "instance-failover-completed.json": True,
    "instance-failover-dns.json": True,
    "instance-failover-started.json": True,
    "instance-resized.json": True,
    "instance-two-categories.json": True,
    "instance-without-categories.json": True,
    "instance-without-event-id.json": True,
    "not-ours.json": False,
    "plan.json": False,
    "schedule.json": False,
    "scheduler.json": False,
}

WATCHED = ["availability", "configuration change", "failover", "failure", "global failover", "maintenance",
           "notification", "recovery"]
MAY_MOVE = ["creation", "deletion", "read replica", "restoration", "empty", "a category of tomorrow"]
NOISE = ["backtrack", "backup", "low storage", "security", "security patching"]


@pytest.fixture(scope="module")
def pattern():
    rules = Stack(TWO_PARAMETERS).of_type("AWS::Events::Rule").values()
    [pattern] = [rule["EventPattern"] for rule in rules if "EventPattern" in rule]
    return EventPattern.load(json.dumps(pattern))


def sample(name):
    return json.loads((ROOT / "events" / name).read_text())


def test_every_sample_is_expected_to_pass_or_not():
    assert {path.name for path in (ROOT / "events").glob("*.json")} == EXPECTED.keys()


@pytest.mark.parametrize("name,passes", EXPECTED.items())
def test_sample(pattern, name, passes):
    assert pattern.matches_event(sample(name)) is passes


@pytest.mark.parametrize("category,passes", [(c, True) for c in WATCHED + MAY_MOVE] + [(c, False) for c in NOISE])
def test_category(pattern, category, passes):
    event = sample("instance-failover-completed.json")
    event["detail"]["EventCategories"] = [category]
    assert pattern.matches_event(event) is passes


def test_noise_with_another_category_passes(pattern):
    event = sample("backup-finished.json")
    event["detail"]["EventCategories"].append("failover")
    assert pattern.matches_event(event)


@pytest.mark.parametrize("kind", ["RDS DB Snapshot Event", "RDS DB Parameter Group Event", "AWS API Call via CloudTrail"])
def test_other_kinds_of_event_do_not_pass(pattern, kind):
    assert not pattern.matches_event(sample("cluster-failover-completed.json") | {"detail-type": kind})


def test_the_categories_that_the_program_watches_for_pass(pattern):
    # WATCHED above is the list in src/event/rds.rs; a change there needs the same change here.
    text = (ROOT / "src" / "event" / "rds.rs").read_text()
    body = re.search(r"const [A-Z_]+: \[&str; \d+\] = \[(.*?)\];", text, re.DOTALL)[1]
    assert json.loads(f"[{body.strip().rstrip(',')}]") == WATCHED


def test_the_schedule_has_the_rate_that_was_asked_for():
    for minutes, rate in {"1": "rate(1 minute)", "15": "rate(15 minutes)"}.items():
        rules = Stack(TWO_PARAMETERS | {"DriftCheckRate": minutes}).of_type("AWS::Events::Rule").values()
        assert [rule["ScheduleExpression"] for rule in rules if "ScheduleExpression" in rule] == [rate]
