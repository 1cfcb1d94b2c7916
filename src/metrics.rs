//! The CloudWatch metrics, in the embedded metric format: JSON lines on standard output.
//!
//! Metrics have the function as their only dimension, because each further dimension costs money. A line about one
//! binding has the binding as a property. The format: CloudWatch user guide, "Specification: Embedded metric format".

use std::collections::BTreeMap;
use std::iter;

use serde::Serialize;

use crate::plan::TargetState;
use crate::reconcile::{Report, Status};
use crate::service::{InvocationResult, Trigger};

pub const NAMESPACE: &str = "rds-nlb-sync";

/// The metric lines of an invocation: one for itself, and one for each binding that was changed.
/// `now` is the time in milliseconds since 1970.
/// `docs/reference.md` says what each metric counts.
pub fn lines(result: &InvocationResult, function: &str, now: u64) -> Vec<String> {
    if result.trigger == Trigger::Plan {
        return Vec::new();
    }
    let line = |metrics: Vec<Metric>, properties| {
        let values = metrics.iter().map(|Metric { name, value, .. }| (*name, *value)).collect();
        let directive = Directive { namespace: NAMESPACE, dimensions: [["FunctionName"]], metrics };
        let metadata = Metadata { timestamp: now, directives: [directive] };
        // A line holds only text and numbers, which can always be written as JSON.
        serde_json::to_string(&Line { metadata, function, properties, values }).ok()
    };
    let changed = result.bindings.iter().map(|report| (report, changes(report)));
    let of_bindings = changed.filter(|(_, changes)| !changes.is_empty()).map(|(report, changes)| {
        let Report { endpoint, target_group, .. } = report;
        line(changes, BTreeMap::from([("endpoint", &**endpoint), ("target_group", target_group)]))
    });
    iter::once(line(invocation(result), BTreeMap::new())).chain(of_bindings).flatten().collect()
}

/// A line in the embedded metric format: the declarations of the metrics, then the values by name.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "_aws")]
    metadata: Metadata,
    #[serde(rename = "FunctionName")]
    function: &'a str,
    #[serde(flatten)]
    properties: BTreeMap<&'static str, &'a str>,
    #[serde(flatten)]
    values: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: [Directive; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
    #[serde(skip)]
    value: u64,
}

impl Metric {
    fn count(name: &'static str, value: usize) -> Self {
        Self { name, unit: "Count", value: value as u64 }
    }

    fn millis(name: &'static str, value: u64) -> Self {
        Self { name, unit: "Milliseconds", value }
    }
}

fn invocation(result: &InvocationResult) -> Vec<Metric> {
    let InvocationResult { trigger, bindings, bound, unbound } = result;
    let count = |status| bindings.iter().filter(|report| report.status == status).count();
    let (pending, failed) = (count(Status::Pending), count(Status::Failed));
    // The load balancer may send nothing to a registered address that is not healthy.
    let is_not_in_service =
        |report: &&Report| report.health.values().any(|state| *state != TargetState::Healthy);
    let mut metrics = vec![
        Metric::count("Bindings", *bound),
        Metric::count("Pending", pending),
        Metric::count("Failed", failed),
        Metric::count("WritersNotInService", bindings.iter().filter(is_not_in_service).count()),
    ];
    // Each metric costs money, and most functions are in no dry run.
    let planned = count(Status::Planned);
    if planned > 0 {
        metrics.push(Metric::count("DryRunDrift", planned));
    }
    let is_check = *trigger == Trigger::Check;
    // A group with wrong tags concerns that group alone: the check still counts as completed. A check of one binding, as a
    // command may ask for, says nothing of the others.
    let is_whole = !is_check || bindings.len() >= *bound + *unbound;
    if *bound > 0 && failed <= *unbound && is_whole {
        metrics.push(Metric::count(if is_check { "Checks" } else { "Watches" }, 1));
    }
    if let Some(slowest) = bindings.iter().map(|report| report.elapsed_ms).max().filter(|_| is_check) {
        metrics.push(Metric::millis("CheckMillis", slowest));
    }
    metrics
}

fn changes(report: &Report) -> Vec<Metric> {
    let mut metrics = Vec::new();
    if report.status == Status::Planned {
        return metrics;
    }
    for (name, targets) in [("Registered", &report.registered), ("Deregistered", &report.deregistered)] {
        if !targets.is_empty() {
            metrics.push(Metric::count(name, targets.len()));
        }
    }
    let latency = report.registration_latency_ms;
    metrics.extend(latency.map(|latency| Metric::millis("RegistrationLatencyMillis", latency)));
    metrics
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn report(status: Status) -> Report {
        Report {
            endpoint: "orders.example.com".to_owned(),
            target_group: "arn:…".to_owned(),
            status,
            addresses: None,
            registered: BTreeSet::new(),
            deregistered: BTreeSet::new(),
            waiting: Vec::new(),
            health: Default::default(),
            may_apply_late: false,
            error: None,
            elapsed_ms: 25,
            registration_latency_ms: None,
        }
    }

    fn parsed(trigger: Trigger, bindings: Vec<Report>) -> Vec<Value> {
        let bound = bindings.len();
        of_result(&InvocationResult { trigger, bindings, bound, unbound: 0 })
    }

    fn of_result(result: &InvocationResult) -> Vec<Value> {
        let lines = lines(result, "sync", 1_700_000_000_000);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The metrics that CloudWatch would take from a line, as it would.
    fn metrics(line: &Value) -> Vec<String> {
        let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        let mut metrics: Vec<String> = declared
            .iter()
            .map(|metric| {
                format!("{}={}", metric["Name"].as_str().unwrap(), line[metric["Name"].as_str().unwrap()])
            })
            .collect();
        metrics.sort();
        metrics
    }

    #[test]
    fn check_in_sync_is_one_line_of_embedded_metrics() {
        assert_eq!(
            parsed(Trigger::Check, vec![report(Status::InSync)]),
            [json!({
                "_aws": {"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [{
                    "Namespace": "rds-nlb-sync", "Dimensions": [["FunctionName"]], "Metrics": [
                        {"Name": "Bindings", "Unit": "Count"}, {"Name": "Pending", "Unit": "Count"},
                        {"Name": "Failed", "Unit": "Count"}, {"Name": "WritersNotInService", "Unit": "Count"},
                        {"Name": "Checks", "Unit": "Count"}, {"Name": "CheckMillis", "Unit": "Milliseconds"},
                    ]
                }]},
                "FunctionName": "sync", "Bindings": 1, "Pending": 0, "Failed": 0, "WritersNotInService": 0, "Checks": 1, "CheckMillis": 25,
            })]
        );
    }

    #[test]
    fn change_adds_a_line_with_the_binding_as_property() {
        let changed = Report {
            registered: BTreeSet::from(["10.0.2.20:5432".parse().unwrap()]),
            deregistered: BTreeSet::from(["10.0.1.10:5432".parse().unwrap()]),
            registration_latency_ms: Some(40),
            ..report(Status::Updated)
        };
        let lines = parsed(Trigger::Watch, vec![report(Status::InSync), changed]);
        assert_eq!(
            metrics(&lines[0]),
            ["Bindings=2", "Failed=0", "Pending=0", "Watches=1", "WritersNotInService=0"]
        );
        assert_eq!(metrics(&lines[1]), ["Deregistered=1", "Registered=1", "RegistrationLatencyMillis=40"]);
        assert_eq!(
            lines[1],
            json!({
                "_aws": {"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [{
                    "Namespace": "rds-nlb-sync", "Dimensions": [["FunctionName"]], "Metrics": [
                        {"Name": "Registered", "Unit": "Count"}, {"Name": "Deregistered", "Unit": "Count"},
                        {"Name": "RegistrationLatencyMillis", "Unit": "Milliseconds"},
                    ]
                }]},
                "FunctionName": "sync", "endpoint": "orders.example.com", "target_group": "arn:…",
                "Registered": 1, "Deregistered": 1, "RegistrationLatencyMillis": 40,
            })
        );
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn failed_check_is_not_counted_as_a_check() {
        let waits = report(Status::Pending);
        let lines = parsed(Trigger::Check, vec![report(Status::Failed), waits]);
        assert_eq!(
            metrics(&lines[0]),
            ["Bindings=2", "CheckMillis=25", "Failed=1", "Pending=1", "WritersNotInService=0"]
        );
    }

    #[test]
    fn group_with_bad_tags_does_not_uncount_the_check() {
        let bindings = vec![report(Status::InSync), report(Status::Failed)];
        let result = InvocationResult { trigger: Trigger::Check, bindings, bound: 1, unbound: 1 };
        let lines = of_result(&result);
        assert_eq!(
            metrics(&lines[0]),
            ["Bindings=1", "CheckMillis=25", "Checks=1", "Failed=1", "Pending=0", "WritersNotInService=0"]
        );
    }

    /// The alarm on missing checks must notice that the schedule is off while an operator checks one binding.
    #[test]
    fn check_of_one_binding_is_not_counted_as_a_check() {
        let bindings = vec![report(Status::InSync)];
        let mut result = InvocationResult { trigger: Trigger::Check, bindings, bound: 2, unbound: 0 };
        let lines = of_result(&result);
        assert_eq!(
            metrics(&lines[0]),
            ["Bindings=2", "CheckMillis=25", "Failed=0", "Pending=0", "WritersNotInService=0"]
        );
        // The tags could not be read.
        result.bindings.push(report(Status::Failed));
        result.unbound = 1;
        assert!(!metrics(&of_result(&result)[0]).contains(&"Checks=1".to_owned()));
    }

    #[test]
    fn check_without_bindings_is_not_counted() {
        let bindings = vec![report(Status::Failed)];
        let result = InvocationResult { trigger: Trigger::Check, bindings, bound: 0, unbound: 1 };
        let lines = of_result(&result);
        assert_eq!(
            metrics(&lines[0]),
            ["Bindings=0", "CheckMillis=25", "Failed=1", "Pending=0", "WritersNotInService=0"]
        );
    }

    #[test]
    fn postponed_binding_is_not_counted_as_pending() {
        let lines = parsed(Trigger::Check, vec![report(Status::Deferred), report(Status::InSync)]);
        assert_eq!(
            metrics(&lines[0]),
            ["Bindings=2", "CheckMillis=25", "Checks=1", "Failed=0", "Pending=0", "WritersNotInService=0"]
        );
    }

    #[test]
    fn binding_with_an_unhealthy_address_is_not_in_service() {
        let with_health = |states: &[TargetState]| {
            let target = |index| format!("10.0.2.{index}:5432").parse().unwrap();
            let health = states.iter().enumerate().map(|(index, state)| (target(index), *state)).collect();
            Report { health, ..report(Status::InSync) }
        };
        let count = |reports: Vec<Report>| parsed(Trigger::Check, reports)[0]["WritersNotInService"].clone();
        use TargetState::{Healthy, Initial, Unhealthy, Unused};
        assert_eq!(count(vec![with_health(&[Healthy]), with_health(&[Healthy, Healthy])]), 0);
        assert_eq!(count(vec![with_health(&[Healthy, Unhealthy]), with_health(&[Unused])]), 2);
        assert_eq!(count(vec![with_health(&[Initial]), with_health(&[])]), 1);
    }

    #[test]
    fn dry_run_counts_no_changes() {
        let planned = Report {
            registered: BTreeSet::from(["10.0.2.20:5432".parse().unwrap()]),
            ..report(Status::Planned)
        };
        assert_eq!(parsed(Trigger::Plan, vec![planned.clone()]), Vec::<Value>::new());
        let lines = parsed(Trigger::Check, vec![planned, report(Status::InSync)]);
        assert_eq!((lines.len(), &lines[0]["DryRunDrift"]), (1, &json!(1)));
    }
}
