use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::binding::Binding;

mod about;
mod promoted_instance;
mod properties;
mod refusals;
mod wrapped;

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

/// The end of every refusal.
const ACCEPTED: &str = "; this function accepts EventBridge events from aws.rds, the messages of RDS event \
                        subscriptions, both also through SNS, SQS or EventBridge Pipes, the scheduled events of EventBridge \
                        rules and EventBridge Scheduler, and {\"command\": \"check\"}, {\"command\": \"plan\"} or \
                        {\"command\": \"doctor\"}, with \"binding\": \"GROUP NAME\" for one target group; nothing was \
                        changed";

fn bindings() -> Vec<Binding> {
    ["orders.cluster-abc123.us-east-1.rds.amazonaws.com", "billing.abc123.us-east-1.rds.amazonaws.com"]
        .map(|endpoint| Binding::new(endpoint, GROUP.parse().unwrap()))
        .into()
}

/// The samples' moment.
fn ten() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_168_800)
}

/// The request of the event, as `watch orders`, `check`, `plan`, or the reason why it is refused.
fn asks_with(bindings: &[Binding], members: &[(&str, &str)], event: &Value) -> String {
    let members = members.iter().map(|(name, cluster)| ((*name).to_owned(), Some((*cluster).to_owned())));
    let oldest = ten() - Duration::from_secs(180);
    let first_label = |index: &usize| bindings[*index].first_label();
    match Event::parse(&event.to_string())
        .map(|event| decide_request(&event, bindings, &members.collect(), oldest))
    {
        Ok(Request::Watch(about)) => {
            let names: Vec<&str> = about.iter().map(|watched| first_label(&watched.index)).collect();
            format!("watch {}", names.join(" "))
        }
        Ok(Request::Check(to_list)) if to_list.is_empty() => "check".to_owned(),
        Ok(Request::Check(to_list)) => {
            format!("check and list {}", to_list.iter().map(first_label).collect::<Vec<_>>().join(" "))
        }
        Ok(Request::FullCheck) => "check and list all".to_owned(),
        Ok(Request::Plan) => "plan".to_owned(),
        Ok(Request::Doctor) => "doctor".to_owned(),
        Err(unsupported) => unsupported.to_string(),
    }
}

/// An event that RDS sent.
fn of_rds(event: &Value) -> RdsEvent {
    match Event::parse(&event.to_string()) {
        Ok(Event::Rds(events)) if events.len() == 1 => events.into_iter().next().unwrap(),
        other => panic!("expected an event of RDS, not {other:?}"),
    }
}

fn asks(event: &Value) -> String {
    asks_with(&bindings(), &[], event)
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
        ("blue-green-cluster-switched.json", "watch orders"),
        ("blue-green-switched.json", "check"),
        ("check-one.json", "check and list all"),
        ("check.json", "check and list all"),
        ("cluster-failover-completed.json", "watch orders"),
        ("cluster-failover-reverted.json", "watch orders"),
        ("cluster-failover-started.json", "watch orders"),
        ("cluster-maintenance.json", "watch orders"),
        ("doctor.json", "doctor"),
        ("global-failover-completed.json", "watch orders"),
        ("instance-failover-completed.json", "watch billing"),
        ("instance-failover-dns.json", "watch billing"),
        ("instance-failover-started.json", "watch billing"),
        ("instance-resized.json", "watch billing"),
        ("instance-two-categories.json", "watch billing"),
        ("instance-without-categories.json", "check"),
        ("instance-without-event-id.json", "check"),
        ("not-ours.json", &not_ours),
        ("pipe-sqs.json", "watch orders"),
        ("plan.json", "plan"),
        ("schedule.json", "check"),
        ("scheduler.json", "check"),
        ("sns-eventbridge.json", "watch orders"),
        ("sns-rds-subscription.json", "watch orders"),
        ("sqs-eventbridge.json", "watch orders billing"),
        ("sqs-sns-eventbridge.json", "watch orders"),
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
        assert_eq!(parsed.time, Some(ten()), "{file}");
        assert_eq!(parsed.account.as_deref(), Some("123456789012"), "{file}");
        assert!(!parsed.databases.is_empty(), "{file}");
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
        "global-failover",
        "Global_Failover",
        " FAILOVER. ",
        "configuration-change",
        "configuration  change",
        "maintenance/notification",
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
fn event_about_unbound_database_is_checked() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:db:orders-1",
        "arn:aws:rds:us-east-1:123456789012:cluster:order",
        "arn:aws:rds::123456789012:global-cluster:orders",
    ] {
        assert_eq!(asks(&failover_of(arn)), "check", "{arn}");
    }
}

/// The failover of the cluster `orders`, with this ARN and without the other fields that name a database.
fn failover_only_of(arn: &str) -> Value {
    let mut event = failover_of(arn);
    event["resources"] = json!([arn]);
    event["detail"].as_object_mut().unwrap().remove("SourceIdentifier");
    event
}

#[test]
fn event_about_another_resource_is_checked() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:cluster:orders:1",
        "arn:aws:rds:us-east-1:123456789012:cluster-snapshot:orders",
        "arn:aws:rds:us-east-1:123456789012:snapshot:billing",
        "arn:aws:rds:us-east-1:123456789012:deployment:orders",
        "arn:aws:s3:us-east-1:123456789012:db:orders",
        "arn:aws:rds:us-east-1:123456789012:cluster",
        "orders",
        "",
    ] {
        assert_eq!(asks(&failover_only_of(arn)), "check", "{arn}");
    }
}

#[test]
fn failover_of_unbound_database_is_recognised() {
    let is_about_unbound = |event: &Value| {
        let event = Event::parse(&event.to_string()).unwrap();
        is_about_unbound_database(&event, &bindings(), &ClusterByInstance::new(), ten())
    };
    let unbound = failover_of("arn:aws:rds:us-east-1:123456789012:cluster:sales");
    assert!(is_about_unbound(&unbound));
    assert!(!is_about_unbound(&failover_with("/id", "")), "bound");
    let mut backup = unbound.clone();
    backup["detail"]["EventCategories"] = json!(["backup"]);
    assert!(!is_about_unbound(&backup));
    let mut late = unbound.clone();
    late["time"] = json!("2026-11-20T09:00:00Z");
    assert!(!is_about_unbound(&late));
    let mut schedule = unbound;
    schedule["source"] = json!("aws.events");
    schedule["detail-type"] = json!("Scheduled Event");
    assert!(!is_about_unbound(&schedule));
}

#[test]
fn databases_are_compared_without_case_in_every_partition() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:cluster:ORDERS",
        "arn:aws:rds:us-east-1:123456789012:db:Orders",
        "arn:aws-cn:rds:us-east-1:123456789012:cluster:orders",
        "arn:aws-us-gov:rds:us-east-1:123456789012:cluster:orders",
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
    let of = |arn| asks_with(&bindings, &[], &failover_of(arn));
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:cluster:orders"), "watch orders db");
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:db:billing"), "watch billing");
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:cluster:db"), "watch db");
}

#[test]
fn resources_name_the_database_without_a_source_arn() {
    let without_identifier = |mut event: Value| {
        event["detail"].as_object_mut().unwrap().remove("SourceIdentifier");
        event
    };
    assert_eq!(asks(&without_identifier(failover_without("SourceArn"))), "watch orders");
    for odd in [json!(null), json!(7), json!(["arn:aws:rds:us-east-1:123456789012:db:billing"])] {
        let event = without_identifier(failover_with("/detail/SourceArn", odd.clone()));
        assert_eq!(asks(&event), "watch orders", "{odd}");
    }
    for resources in [json!(null), json!([]), json!([7]), json!("orders"), json!({"0": 7})] {
        let mut event = without_identifier(failover_without("SourceArn"));
        event["resources"] = resources.clone();
        assert_eq!(asks(&event), "check", "{resources}");
    }
}

#[test]
fn source_identifier_names_the_database_without_any_arn() {
    for (identifier, expected) in [
        ("orders", "watch orders"),
        ("rds:orders", "watch orders"),
        ("ORDERS", "watch orders"),
        ("sales", "check"),
    ] {
        let mut event = failover_without("SourceArn");
        event["resources"] = json!([]);
        event["detail"]["SourceIdentifier"] = json!(identifier);
        assert_eq!(asks(&event), expected, "{identifier}");
    }
}

#[test]
fn source_arn_of_another_kind_hides_no_database() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:cluster-snapshot:sales",
        "arn:aws:rds:us-east-1:123456789012:deployment:bgd-1",
        "arn:aws:s3:::orders",
        "orders",
        "",
    ] {
        assert_eq!(asks(&failover_of(arn)), "watch orders", "{arn}");
        let mut listed = failover_only_of(arn);
        listed["resources"] = json!([arn, "arn:aws:rds:us-east-1:123456789012:db:billing"]);
        assert_eq!(asks(&listed), "watch billing", "{arn}");
    }
}

#[test]
fn account_of_a_source_arn_of_another_kind_is_not_the_event_s() {
    let account = |arn: &str| {
        let mut event = failover_of(arn);
        event["account"] = json!("210987654321");
        match Event::parse(&event.to_string()).unwrap() {
            Event::Rds(events) => events[0].account.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        account("arn:aws:rds:us-east-1:123456789012:cluster-snapshot:sales").as_deref(),
        Some("210987654321")
    );
    assert_eq!(account("arn:aws:rds:us-east-1:123456789012:cluster:orders").as_deref(), Some("123456789012"));
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
fn command_may_name_a_binding() {
    let parsed = |command: Value| match Event::parse(&command.to_string()) {
        Ok(Event::Command(command)) => command,
        other => panic!("expected a command, not {other:?}"),
    };
    assert_eq!(parsed(json!({"command": "check"})), Command::new(Action::Check));
    for (name, action) in [("check", Action::Check), ("plan", Action::Plan), ("doctor", Action::Doctor)] {
        let command = parsed(json!({"command": name, "binding": "orders"}));
        assert_eq!(command, Command { action, binding: Some("orders".to_owned()) });
    }
}

#[test]
fn event_older_than_a_watch_is_a_check_that_lists_its_group() {
    let asked = |time: &str| asks(&failover_with("/time", time));
    assert_eq!(asked("2026-11-20T09:57:00Z"), "watch orders");
    assert_eq!(asked("2026-11-20T09:56:59Z"), "check and list orders");
    assert_eq!(asked("2019-01-01T00:00:00Z"), "check and list orders");
    assert_eq!(asked("2026-11-21T00:00:00Z"), "watch orders", "a clock ahead of ours");
}

#[test]
fn event_time_is_that_of_its_envelope() {
    for (time, expected) in [
        (json!("2026-11-20T10:00:00Z"), Some(ten())),
        (json!("2026-11-20T12:00:00+02:00"), Some(ten())),
        (json!("1969-12-31T23:59:59Z"), Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1))),
        (json!(null), None),
    ] {
        let mut event = failover_with("/time", time.clone());
        event["detail"]["Date"] = json!("2019-01-01T00:00:00.000Z");
        assert_eq!(of_rds(&event).time, expected, "{time}");
    }
}

#[test]
fn age_of_an_event_is_not_that_of_its_queue() {
    let event = failover_with("/time", json!("2026-11-20T10:00:00Z"));
    for sent in ["1577836800000", "1900000000000"] {
        let attributes = json!({"SentTimestamp": sent, "ApproximateFirstReceiveTimestamp": sent});
        let record = json!({"eventSource": "aws:sqs", "attributes": attributes, "body": event.to_string()});
        assert_eq!(of_rds(&json!({"Records": [record]})).time, Some(ten()), "{sent}");
    }
}
