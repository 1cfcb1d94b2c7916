"""alarms.py on made-up metrics: every loss of events, and the rules that the rehearsals rely on."""

import pytest

from alarms import Sample, goes_off_with, samples, state
from stack import TWO_PARAMETERS, Stack

LATEST = {"Namespace": "AWS/Lambda", "MetricName": "Duration", "Dimensions": [], "Statistic": "Maximum", "EvaluationPeriods": 1,
          "Threshold": 10, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}


def duration(*values):
    return [Sample("AWS/Lambda", "Duration", (), value) for value in values]


@pytest.mark.parametrize("metric,dimension,value", [
    ("InvocationsFailedToBeSentToDlq", "RuleName", "FunctionDatabase"),
    ("InvocationsFailedToBeSentToDlq", "RuleName", "FunctionDrift"),
    ("DestinationDeliveryFailures", "FunctionName", "Function"),
])
def test_lostevents_alarm_goes_off_with_any_loss(metric, dimension, value):
    alarm = Stack(TWO_PARAMETERS).resources["LostEventsAlarm"]
    namespace = "AWS/Events" if dimension == "RuleName" else "AWS/Lambda"
    lost = [Sample(namespace, metric, ((dimension, value),), 1)]
    assert goes_off_with(alarm, [[], [], lost, *[[]] * 9]) == 3
    assert state(alarm, [lost, *[[]] * 10]) == "OK"
    other = [Sample(namespace, metric, ((dimension, "of another stack"),), 1)]
    assert goes_off_with(alarm, [other, other]) is None


def test_statistic_is_of_one_period_and_metric():
    assert state(LATEST, [duration(9, 10)]) == "OK"
    assert state(LATEST, [duration(9, 11)]) == "ALARM"
    assert state(LATEST, [duration(11), duration(9)]) == "OK"
    assert state(LATEST | {"Statistic": "Sum"}, [duration(9, 2)]) == "ALARM"
    assert state(LATEST | {"MetricName": "Errors"}, [duration(11)]) == "OK"


def test_m_of_n_periods_make_an_alarm():
    alarm = LATEST | {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}
    bad, good = duration(11), duration(9)
    assert [state(alarm, [*periods, good]) for periods in ([bad], [bad, bad], [bad, bad, good])] == ["OK", "ALARM", "OK"]
    assert state(LATEST | {"EvaluationPeriods": 3}, [bad, bad]) == "OK"
    assert state(LATEST | {"EvaluationPeriods": 3}, [bad, bad, bad]) == "ALARM"


def test_missing_data_is_what_the_alarm_takes_it_for():
    assert state(LATEST, [[]]) == "OK"
    assert state(LATEST | {"TreatMissingData": "breaching"}, [[]]) == "ALARM"
    with pytest.raises(KeyError):
        state(LATEST | {"TreatMissingData": "ignore"}, [[]])


def test_alarm_that_ends_too_early_is_no_alarm():
    with pytest.raises(AssertionError):
        goes_off_with(LATEST, [duration(11), duration(9)])


def test_metrics_are_those_that_a_line_declares():
    line = ('{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"n","Dimensions":[["F"]],"Metrics":[{"Name":"A","Unit":"Count"}]}]},'
            '"F":"f","A":2,"B":3}')
    assert samples(["START RequestId: 1", '{"decision":"done"}', line]) == [Sample("n", "A", (("F", "f"),), 2)]
