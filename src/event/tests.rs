use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::binding::Binding;

mod promoted_instance;
mod properties;
mod refusals;

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

/// The end of every refusal.
const ACCEPTED: &str = "; this function accepts EventBridge events from aws.rds, the scheduled events of \
                        EventBridge rules and EventBridge Scheduler, and {\"command\": \"check\"}, {\"command\": \"plan\"} or \
                        {\"command\": \"doctor\"}; nothing was changed";

fn bindings() -> Vec<Binding> {
    ["orders.cluster-abc123.us-east-1.rds.amazonaws.com", "billing.abc123.us-east-1.rds.amazonaws.com"]
        .map(|endpoint| Binding::new(endpoint, GROUP.parse().unwrap()))
        .into()
}

/// The request of the event, as `watch orders`, `check`, `plan`, or the reason why it is refused.
fn asks_with(bindings: &[Binding], event: &Value) -> String {
    match Event::parse(&event.to_string()).map(|event| request(&event, bindings)) {
        Ok(Request::Watch(about)) => {
            let names: Vec<&str> =
                about.iter().map(|watched| bindings[watched.binding].first_label()).collect();
            format!("watch {}", names.join(" "))
        }
        Ok(Request::Check) => "check".to_owned(),
        Ok(Request::CheckAll) => "check and list all".to_owned(),
        Ok(Request::Plan) => "plan".to_owned(),
        Ok(Request::Doctor) => "doctor".to_owned(),
        Err(unsupported) => unsupported.to_string(),
    }
}

/// An event that RDS sent.
fn of_rds(event: &Value) -> RdsEvent {
    match Event::parse(&event.to_string()) {
        Ok(Event::Rds(event)) => event,
        other => panic!("expected an event of RDS, not {other:?}"),
    }
}

fn asks(event: &Value) -> String {
    asks_with(&bindings(), event)
}

/// A failover of the cluster `orders`, with the value at this path replaced.
fn failover_with(path: &str, value: impl Into<Value>) -> Value {
    let mut event = samples().remove("cluster-failover-completed.json").unwrap();
    *event.pointer_mut(path).unwrap() = value.into();
    event
}

fn failover_of(arn: &str) -> Value {
    failover_with("/detail/SourceArn", arn)
}

/// The same failover, without this field of its detail.
fn failover_without(field: &str) -> Value {
    let mut event = failover_with("/id", "");
    event["detail"].as_object_mut().unwrap().remove(field).unwrap();
    event
}

fn samples() -> BTreeMap<String, Value> {
    let sample = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let event = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), event)
    };
    fs::read_dir(EVENTS).unwrap().map(sample).collect()
}

#[test]
fn every_sample_makes_its_request() {
    let not_ours =
        format!("the event from \"aws.s3\" (\"Object Created\") is not for this function{ACCEPTED}");
    let expected = [
        ("backup-finished.json", "check"),
        ("blue-green-switched.json", "check"),
        ("check.json", "check and list all"),
        ("cluster-failover-completed.json", "watch orders"),
        ("cluster-failover-reverted.json", "watch orders"),
        ("cluster-failover-started.json", "watch orders"),
        ("cluster-maintenance.json", "watch orders"),
        ("doctor.json", "doctor"),
        ("instance-failover-completed.json", "watch billing"),
        ("instance-failover-dns.json", "watch billing"),
        ("instance-failover-started.json", "watch billing"),
        ("instance-resized.json", "watch billing"),
        ("instance-two-categories.json", "watch billing"),
        ("instance-without-categories.json", "check"),
        ("instance-without-event-id.json", "check"),
        ("not-ours.json", &not_ours),
        ("plan.json", "plan"),
        ("schedule.json", "check"),
        ("scheduler.json", "check"),
    ]
    .map(|(file, asked)| (file.to_owned(), asked.to_owned()));
    let asked: BTreeMap<String, String> =
        samples().into_iter().map(|(file, event)| (file, asks(&event))).collect();
    assert_eq!(asked, expected.into());
}

#[test]
fn every_sample_of_rds_parses_in_full() {
    for (file, event) in samples().into_iter().filter(|(_, event)| event["source"] == "aws.rds") {
        let parsed = of_rds(&event);
        let age = parsed.age(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000));
        assert_eq!(age, Some(Duration::from_secs(7200)), "{file}");
        assert_eq!(parsed.database.is_none(), file.starts_with("blue-green"), "{file}");
    }
}

#[test]
fn category_that_may_move_the_address_is_watched() {
    for category in [
        "availability",
        "configuration change",
        "failover",
        "failure",
        "global failover",
        "maintenance",
        "notification",
        "recovery",
        "Failover",
        "backup, failover",
    ] {
        assert_eq!(asks(&failover_with("/detail/EventCategories/0", category)), "watch orders", "{category}");
    }
}

#[test]
fn other_category_is_checked() {
    for category in [
        "backtrack",
        "backup",
        "creation",
        "deletion",
        "empty",
        "low storage",
        "migration",
        "read replica",
        "restoration",
        "security patching",
        "serverless",
        "failovers",
        "",
    ] {
        assert_eq!(asks(&failover_with("/detail/EventCategories/0", category)), "check", "{category}");
    }
}

#[test]
fn one_watched_category_is_enough() {
    assert_eq!(
        asks(&failover_with("/detail/EventCategories", json!(["backup", 7, "failover"]))),
        "watch orders"
    );
}

#[test]
fn categories_of_odd_types_are_checked() {
    for categories in [
        json!(null),
        json!(7),
        json!("failover"),
        json!({"failover": "failover"}),
        json!([]),
        json!([null, 7, true, ["failover"], {"failover": 1}]),
    ] {
        assert_eq!(
            asks(&failover_with("/detail/EventCategories", categories.clone())),
            "check",
            "{categories}"
        );
    }
    assert_eq!(asks(&failover_without("EventCategories")), "check");
}

#[test]
fn missing_or_odd_detail_is_checked() {
    for detail in [json!(null), json!({}), json!([]), json!(7), json!("{}")] {
        assert_eq!(asks(&failover_with("/detail", detail.clone())), "check", "{detail}");
    }
    assert_eq!(asks(&json!({"source": "aws.rds"})), "check");
}

#[test]
fn unused_detail_fields_may_be_absent() {
    for field in ["SourceType", "Date", "Message", "SourceIdentifier", "EventID", "Tags"] {
        assert_eq!(asks(&failover_without(field)), "watch orders", "{field}");
    }
}

#[test]
fn unused_detail_fields_may_be_of_any_type() {
    for field in ["SourceType", "Date", "Message", "SourceIdentifier", "EventID"] {
        assert_eq!(asks(&failover_with(&format!("/detail/{field}"), json!([7]))), "watch orders", "{field}");
    }
    assert_eq!(asks(&failover_with("/detail/Tags", json!("data"))), "watch orders");
}

#[test]
fn unreadable_rds_event_is_checked() {
    for path in ["/version", "/id", "/detail-type", "/account", "/time", "/region", "/resources"] {
        assert_eq!(asks(&failover_with(path, json!({"odd": 7}))), "check", "{path}");
    }
    assert_eq!(asks(&failover_with("/time", "yesterday")), "check");
    assert_eq!(asks(&json!({"source": "aws.rds", "detail-type": "RDS DB Cluster Event"})), "check");
}

#[test]
fn event_about_unbound_resource_is_checked() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:db:orders-1",
        "arn:aws:rds:us-east-1:123456789012:cluster:order",
        "arn:aws:rds:us-east-1:123456789012:cluster:orders:1",
        "arn:aws:rds::123456789012:global-cluster:orders",
        "arn:aws:rds:us-east-1:123456789012:cluster-snapshot:orders",
        "arn:aws:rds:us-east-1:123456789012:snapshot:billing",
        "arn:aws:rds:us-east-1:123456789012:deployment:orders",
        "arn:aws:s3:us-east-1:123456789012:db:orders",
        "arn:aws:rds:us-east-1:123456789012:cluster",
        "orders",
        "",
    ] {
        assert_eq!(asks(&failover_of(arn)), "check", "{arn}");
    }
}

#[test]
fn failover_of_unbound_database_is_recognised() {
    let is_about_unbound =
        |event: &Value| is_about_unbound_database(&Event::parse(&event.to_string()).unwrap(), &bindings());
    let unbound = failover_of("arn:aws:rds:us-east-1:123456789012:cluster:sales");
    assert!(is_about_unbound(&unbound));
    assert!(!is_about_unbound(&failover_with("/id", "")), "bound");
    let mut backup = unbound.clone();
    backup["detail"]["EventCategories"] = json!(["backup"]);
    assert!(!is_about_unbound(&backup));
    let mut schedule = unbound;
    schedule["source"] = json!("aws.events");
    schedule["detail-type"] = json!("Scheduled Event");
    assert!(!is_about_unbound(&schedule));
}

#[test]
fn instance_event_names_its_instance() {
    let event = failover_of("arn:aws:rds:us-east-1:123456789012:db:orders-1");
    assert_eq!(of_rds(&event).instance(), Some("orders-1"));
    assert_eq!(of_rds(&failover_with("/id", "")).instance(), None, "about a cluster");
}

#[test]
fn databases_are_compared_without_case_in_every_partition() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:cluster:ORDERS",
        "arn:aws:rds:us-east-1:123456789012:db:Orders",
        "arn:aws-cn:rds:cn-north-1:123456789012:cluster:orders",
        "arn:aws-us-gov:rds:us-gov-west-1:123456789012:cluster:orders",
    ] {
        assert_eq!(asks(&failover_of(arn)), "watch orders", "{arn}");
    }
}

#[test]
fn alias_is_found_by_its_database() {
    let custom = Binding {
        databases: vec!["Orders".to_owned()],
        ..Binding::new("db.example.com", GROUP.parse().unwrap())
    };
    let mut bindings = bindings();
    bindings.push(custom);
    let of = |arn| asks_with(&bindings, &failover_of(arn));
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:cluster:orders"), "watch orders db");
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:db:billing"), "watch billing");
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:cluster:db"), "watch db");
}

#[test]
fn resources_name_the_database_without_a_source_arn() {
    assert_eq!(asks(&failover_without("SourceArn")), "watch orders");
    for odd in [json!(null), json!(7), json!(["arn:aws:rds:us-east-1:123456789012:db:billing"])] {
        assert_eq!(asks(&failover_with("/detail/SourceArn", odd.clone())), "watch orders", "{odd}");
    }
    for resources in [json!(null), json!([]), json!([7]), json!("orders"), json!({"0": 7})] {
        let mut event = failover_without("SourceArn");
        event["resources"] = resources.clone();
        assert_eq!(asks(&event), "check", "{resources}");
    }
}

#[test]
fn source_arn_wins_over_resources() {
    assert_eq!(asks(&failover_of("arn:aws:rds:us-east-1:123456789012:db:billing")), "watch billing");
}

#[test]
fn schedule_needs_its_source_and_its_type() {
    let asked = |source: &str, kind: &str| asks(&json!({"source": source, "detail-type": kind}));
    assert_eq!(asked("aws.events", "Scheduled Event"), "check");
    assert_eq!(asked("aws.scheduler", "Scheduled Event"), "check");
    for (source, kind) in [
        ("aws.events", "Rule Changed"),
        ("aws.scheduler", "scheduled event"),
        ("aws.s3", "Scheduled Event"),
        ("AWS.RDS", "RDS DB Cluster Event"),
        ("aws.rds.evil", "RDS DB Cluster Event"),
        ("", ""),
    ] {
        assert_eq!(
            asked(source, kind),
            format!("the event from {source:?} ({kind:?}) is not for this function{ACCEPTED}")
        );
    }
}

#[test]
fn command_needs_no_other_field() {
    assert_eq!(asks(&json!({"command": "check"})), "check and list all");
    assert_eq!(asks(&json!({"command": "plan", "note": "before the resize"})), "plan");
}

#[test]
fn event_age_is_that_of_its_time() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000);
    let cases = [
        (json!("2026-11-20T12:00:00Z"), Some(0)),
        (json!("2026-11-20T11:59:30Z"), Some(30)),
        (json!("2026-11-20T13:59:30+02:00"), Some(30)),
        (json!("2026-11-20T12:00:01Z"), None),
        (json!("1969-12-31T23:59:59Z"), Some(1_795_176_001)),
        (json!("2026-11-20"), None),
        (json!("12:00"), None),
        (json!(1_795_176_000), None),
        (json!(null), None),
    ];
    for (time, expected) in cases {
        let event = of_rds(&failover_with("/time", time.clone()));
        assert_eq!(event.age(noon), expected.map(Duration::from_secs), "{time}");
    }
    let mut event = failover_with("/id", "");
    event.as_object_mut().unwrap().remove("time");
    assert_eq!(of_rds(&event).age(noon), None);
}
