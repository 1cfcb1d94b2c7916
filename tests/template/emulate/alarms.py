"""What CloudWatch makes of the function's log: metrics, periods, and the state of an alarm (CloudWatch guide, "Evaluating an alarm").

It knows what the template's alarms use and refuses any other, so that it cannot pass over one.
"""

import json
import operator
import re
from dataclasses import dataclass

COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}
STATISTICS = {"Sum": sum, "Maximum": max}
IS_MISSING_BREACHING = {"breaching": True, "notBreaching": False}


@dataclass(frozen=True)
class Sample:
    """One value of a metric."""

    namespace: str
    name: str
    dimensions: tuple
    value: float


def samples(messages):
    """The metrics in a log, as the embedded metric format declares them."""
    found = []
    for message in messages:
        line = json.loads(message) if message.startswith("{") else {}
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for dimensions in directive["Dimensions"]:
                pairs = tuple((name, line[name]) for name in dimensions)
                found += [Sample(directive["Namespace"], metric["Name"], pairs, line[metric["Name"]])
                          for metric in directive["Metrics"]]
    return found


def statistic(metric, stat, period):
    """The value of a metric in a period, or None without data."""
    wanted = (metric["Namespace"], metric["MetricName"], tuple((d["Name"], d["Value"]) for d in metric["Dimensions"]))
    values = [s.value for s in period if (s.namespace, s.name, s.dimensions) == wanted]
    return STATISTICS[stat](values) if values else None


def value(alarm, period):
    """What the alarm compares with its threshold."""
    if "MetricName" in alarm:
        return statistic(alarm, alarm["Statistic"], period)
    [returned] = [part for part in alarm["Metrics"] if part.get("ReturnData", True)]
    stats = {part["Id"]: part["MetricStat"] for part in alarm["Metrics"] if "MetricStat" in part}
    filled = {}
    for term in returned["Expression"].split(" + "):
        name = re.fullmatch(r"FILL\((\w+), 0\)", term).group(1)
        filled[name] = statistic(stats[name]["Metric"], stats[name]["Stat"], period) or 0
    assert filled.keys() == stats.keys(), "a metric that the expression leaves out"
    return sum(filled.values())


def state(alarm, periods):
    """The state of an alarm after these periods, the newest of which is the last. Before the first there was no data."""
    number = alarm["EvaluationPeriods"]
    window = ([[]] * number + periods)[-number:]
    is_breaching = COMPARISONS[alarm["ComparisonOperator"]]
    values = [value(alarm, period) for period in window]
    breaching = [IS_MISSING_BREACHING[alarm["TreatMissingData"]] if v is None else is_breaching(v, alarm["Threshold"])
                 for v in values]
    return "ALARM" if sum(breaching) >= alarm.get("DatapointsToAlarm", number) else "OK"


def goes_off_with(alarm, periods):
    """The number of the period with which the alarm goes off, or None; it must not end before the last of them."""
    states = [state(alarm, periods[:number]) for number in range(1, len(periods) + 1)]
    first = states.index("ALARM") + 1 if "ALARM" in states else None
    assert first is None or set(states[first - 1:]) == {"ALARM"}, states
    return first
