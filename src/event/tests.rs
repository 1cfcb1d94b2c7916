use std::collections::BTreeMap;
use std::fs;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use serde_json::json;

use super::*;

mod promoted_instance;
mod properties;
mod refusals;

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

/// What every refusal says at its end.
const ACCEPTED: &str = "; this function accepts EventBridge events from aws.rds, the scheduled events of \
                        EventBridge rules and EventBridge Scheduler, and {\"command\": \"check\"}, {\"command\": \"plan\"} or \
                        {\"command\": \"doctor\"}; nothing was changed";

fn bindings() -> Vec<Binding> {
    ["orders.cluster-abc123.us-east-1.rds.amazonaws.com", "billing.abc123.us-east-1.rds.amazonaws.com"]
        .map(|endpoint| Binding::new(endpoint, GROUP.parse().unwrap()))
        .into()
}

/// What the event asks for, as `watch orders`, `check`, `plan`, or the reason why it is refused.
fn asks_with(bindings: &[Binding], event: &Value) -> String {
    match request(event, bindings) {
        Ok(Request::Watch(about)) => {
            let names: Vec<&str> =
                about.iter().map(|watched| bindings[watched.binding].first_label()).collect();
            format!("watch {}", names.join(" "))
        }
        Ok(Request::Check) => "check".to_owned(),
        Ok(Request::CheckAll) => "thorough check".to_owned(),
        Ok(Request::Plan) => "plan".to_owned(),
        Ok(Request::Doctor) => "doctor".to_owned(),
        Err(unsupported) => unsupported.to_string(),
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
fn every_sample_asks_for_what_it_should() {
    let not_ours =
        format!("the event from \"aws.s3\" (\"Object Created\") is not for this function{ACCEPTED}");
    let expected = [
        ("backup-finished.json", "check"),
        ("blue-green-switched.json", "check"),
        ("check.json", "thorough check"),
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
fn every_sample_but_the_commands_is_an_eventbridge_event() {
    for (file, event) in samples() {
        if ["check.json", "doctor.json", "plan.json"].contains(&file.as_str()) {
            continue;
        }
        let parsed: EventBridgeEvent = serde_json::from_value(event.clone()).expect(&file);
        assert_eq!(event["source"], parsed.source, "{file}");
        assert_eq!(event["detail-type"], parsed.detail_type, "{file}");
        assert_eq!(event["detail"], parsed.detail, "{file}");
        assert!(parsed.time.is_some() && parsed.resources.is_some(), "{file}");
    }
}

#[test]
fn a_category_that_may_move_the_address_is_watched() {
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
fn any_other_category_is_checked() {
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
fn a_detail_that_is_missing_or_odd_is_checked() {
    for detail in [json!(null), json!({}), json!([]), json!(7), json!("{}")] {
        assert_eq!(asks(&failover_with("/detail", detail.clone())), "check", "{detail}");
    }
    assert_eq!(asks(&json!({"source": "aws.rds"})), "check");
}

#[test]
fn fields_that_nobody_reads_may_be_anything() {
    for path in ["/version", "/id", "/detail-type", "/account", "/time", "/region"] {
        assert_eq!(asks(&failover_with(path, json!([7]))), "watch orders", "{path}");
    }
    for field in ["SourceType", "Date", "Message", "SourceIdentifier", "EventID", "Tags"] {
        assert_eq!(asks(&failover_without(field)), "watch orders", "{field}");
    }
}

#[test]
fn an_event_about_anything_but_a_bound_database_is_checked() {
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
fn a_stranger_is_an_unbound_database_that_would_be_watched() {
    let is_about_unbound = |event: &Value| is_about_unbound_database(event, &bindings());
    let stranger = failover_of("arn:aws:rds:us-east-1:123456789012:cluster:sales");
    assert!(is_about_unbound(&stranger));
    assert!(!is_about_unbound(&failover_with("/id", "")), "bound");
    for (path, other) in [("/source", json!("aws.events")), ("/detail/EventCategories", json!(["backup"]))] {
        let mut event = stranger.clone();
        *event.pointer_mut(path).unwrap() = other;
        assert!(!is_about_unbound(&event), "{path}");
    }
}

#[test]
fn only_an_event_of_rds_is_about_an_instance() {
    let mut event = failover_of("arn:aws:rds:us-east-1:123456789012:db:orders-1");
    assert_eq!(instance(&event), Some("orders-1"));
    assert_eq!(instance(&failover_with("/id", "")), None, "about a cluster");
    event["source"] = json!("aws.events");
    assert_eq!(instance(&event), None);
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
fn a_custom_name_is_found_by_its_database() {
    let custom = Binding {
        database: Some("Orders".to_owned()),
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
fn without_a_source_arn_the_resources_tell() {
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
fn the_source_arn_wins_over_the_resources() {
    assert_eq!(asks(&failover_of("arn:aws:rds:us-east-1:123456789012:db:billing")), "watch billing");
}

#[test]
fn a_schedule_needs_its_source_and_its_type() {
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
fn a_command_needs_nothing_beside_it() {
    assert_eq!(asks(&json!({"command": "check"})), "thorough check");
    assert_eq!(asks(&json!({"command": "plan", "note": "before the resize"})), "plan");
}

#[test]
fn an_event_is_as_old_as_its_time_says() {
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
        assert_eq!(age(&json!({"time": time}), noon), expected.map(Duration::from_secs), "{time}");
    }
    assert_eq!(age(&json!({}), noon), None);
}
