"""Alarms, dashboard and topics: what they watch, when they go off, and where they write to."""

import json
import re

import pytest

from stack import GROUP, OTHER_GROUP, ROOT, TWO_PARAMETERS, Stack, source

TAG = {"DiscoveryTag": "sync/endpoint"}
ALWAYS = {"ErrorsAlarm", "SilenceAlarm", "PendingAlarm", "ChangeNotice", "DeadLettersAlarm", "DurationAlarm",
          "LostEventsAlarm", "NotInServiceAlarm"}
PAGER = "arn:aws:sns:us-east-1:123456789012:pager"
TOPIC = "arn:aws:sns:us-east-1:123456789012:Topic"


def alarms(parameters=TWO_PARAMETERS):
    return Stack(parameters).of_type("AWS::CloudWatch::Alarm")


def metrics(alarm):
    """The metrics that an alarm reads, each with its dimensions."""
    if "MetricName" in alarm:
        return [alarm]
    return [part["MetricStat"]["Metric"] for part in alarm["Metrics"] if "MetricStat" in part]


@pytest.mark.parametrize("parameters,further", [
    (TWO_PARAMETERS, set()),
    (TWO_PARAMETERS | {"DryRun": "true"}, {"DryRunAlarm"}),
    (TAG, {"NothingBoundAlarm"}),
    (TAG | {"DryRun": "true"}, {"NothingBoundAlarm", "DryRunAlarm"}),
])
def test_alarms_exist_for_what_can_happen(parameters, further):
    stack = Stack(parameters)
    assert stack.of_type("AWS::CloudWatch::Alarm").keys() == ALWAYS | further
    # The dashboard shows them all.
    widgets = json.loads(stack.resources["Dashboard"]["DashboardBody"])["widgets"]
    [shown] = [w["properties"]["alarms"] for w in widgets if w["type"] == "alarm"]
    assert {arn.rpartition(":")[2] for arn in shown} == ALWAYS | further


def test_ended_dry_run_has_no_alarm():
    assert "DryRunAlarm" not in alarms(TWO_PARAMETERS | {"DryRun": "false"})


@pytest.mark.parametrize("monitoring,has_alarms,has_dashboard", [
    ("full", True, True), ("alarms", True, False), ("none", False, False),
])
def test_monitoring_has_three_levels(monitoring, has_alarms, has_dashboard):
    stack = Stack(TAG | {"DryRun": "true", "Monitoring": monitoring})
    assert bool(stack.of_type("AWS::CloudWatch::Alarm")) is has_alarms
    assert bool(stack.of_type("AWS::SNS::Topic")) is bool(stack.of_type("AWS::SNS::TopicPolicy")) is has_alarms
    assert bool(stack.of_type("AWS::CloudWatch::Dashboard")) is has_dashboard
    assert ("AlarmTopic" in stack.outputs(), "DashboardUrl" in stack.outputs()) == (has_alarms, has_dashboard)


def test_filled_metrics_cover_the_delay():
    # FILL puts a zero in the place of a late datapoint, so one period is not enough; queue metrics come up to 15 minutes
    # late (SQS guide), others some minutes.
    for name, alarm in alarms(TAG | {"DryRun": "true"}).items():
        if "FILL" not in json.dumps(alarm):
            continue
        delay = 15 if "AWS/SQS" in json.dumps(alarm) else 5
        periods = {part["MetricStat"]["Period"] for part in alarm["Metrics"] if "MetricStat" in part}
        assert alarm["DatapointsToAlarm"] == 1, name
        assert alarm["EvaluationPeriods"] * min(periods) > delay * 60, name


@pytest.mark.parametrize("rate", source()["Parameters"]["DriftCheckRate"]["AllowedValues"])
def test_writer_out_of_service_gets_time_to_start(rate):
    alarm = alarms(TWO_PARAMETERS | {"DriftCheckRate": rate})["NotInServiceAlarm"]
    assert alarm["DatapointsToAlarm"] * alarm["Period"] >= 600
    assert 2 <= alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"]
    # CloudWatch API, PutMetricAlarm: a day at most for these periods.
    assert alarm["EvaluationPeriods"] * alarm["Period"] <= 86400


def test_lost_events_cover_every_queue():
    lost = {(m["MetricName"], m["Dimensions"][0]["Value"]) for m in metrics(alarms()["LostEventsAlarm"])}
    rules = Stack(TWO_PARAMETERS).of_type("AWS::Events::Rule").keys()
    assert lost == {("DestinationDeliveryFailures", "Function")} | {("InvocationsFailedToBeSentToDlq", r) for r in rules}


def test_alarms_read_metrics_that_the_program_writes():
    text = (ROOT / "src/metrics.rs").read_text()
    written = set(re.findall(r'"([A-Z][A-Za-z]+)"', text))
    stack = Stack(TAG | {"DryRun": "true"})
    read = [metric for alarm in stack.of_type("AWS::CloudWatch::Alarm").values() for metric in metrics(alarm)]
    for widget in json.loads(stack.resources["Dashboard"]["DashboardBody"])["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], str):
                read.append({"Namespace": metric[0], "MetricName": metric[1],
                             "Dimensions": [{"Name": metric[2], "Value": metric[3]}]})
    ours = [metric for metric in read if metric["Namespace"] == "rds-nlb-sync"]
    assert {metric["MetricName"] for metric in ours} <= written
    assert {"Checks", "Watches", "Registered", "Deregistered", "Pending", "Failed", "RegistrationLatencyMillis", "CheckMillis",
            "Bindings", "WritersNotInService", "DryRunDrift"} == {metric["MetricName"] for metric in ours}
    assert all(metric["Dimensions"] == [{"Name": "FunctionName", "Value": "Function"}] for metric in ours)


@pytest.mark.parametrize("parameters,topic", [
    ({}, TOPIC),
    ({"AlarmEmail": "data@example.com"}, TOPIC),
    ({"AlarmTopicArn": PAGER}, PAGER),
])
def test_every_alarm_reaches_the_topic(parameters, topic):
    stack = Stack(TWO_PARAMETERS | parameters)
    assert {tuple(a["AlarmActions"]) for a in stack.of_type("AWS::CloudWatch::Alarm").values()} == {(topic,)}
    assert stack.outputs()["AlarmTopic"] == topic
    assert len(stack.of_type("AWS::SNS::Subscription")) == ("AlarmEmail" in parameters)


@pytest.mark.parametrize("parameters,others", [({}, TOPIC), ({"AlarmTopicArn": PAGER}, PAGER)])
def test_change_notice_can_have_its_own_topic(parameters, others):
    changes = PAGER.replace("pager", "changes")
    found = alarms(TWO_PARAMETERS | parameters | {"ChangeTopicArn": changes})
    assert found.pop("ChangeNotice")["AlarmActions"] == [changes]
    assert {tuple(a["AlarmActions"]) for a in found.values()} == {(others,)}


def test_dashboard_shows_the_group():
    for parameters, group in [
        (TWO_PARAMETERS, 'TargetGroup="targetgroup/orders/0123456789abcdef"'),
        ({"Bindings": '[{"endpoint":"a.b"}]', "BindingsTargetGroupArns": f"{GROUP},{OTHER_GROUP}"}, "NetworkELB"),
    ]:
        widgets = json.loads(Stack(parameters).resources["Dashboard"]["DashboardBody"])["widgets"]
        assert group in "".join(m[0]["expression"] for w in widgets for m in w["properties"].get("metrics", [])
                                if isinstance(m[0], dict))


def test_every_alarm_has_its_place_in_the_runbook():
    text = (ROOT / "docs/runbook.md").read_text()
    for name in ALWAYS | {"NothingBoundAlarm", "DryRunAlarm"}:
        assert f"| `{name}` |" in text, name
