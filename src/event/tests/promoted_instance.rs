//! The member that an event names as the one being promoted.

use super::*;

fn promotes(event: &Value) -> Option<String> {
    promotes_with(&bindings(), event)
}

fn promotes_with(bindings: &[Binding], event: &Value) -> Option<String> {
    let event = Event::parse(&event.to_string()).ok()?;
    match decide_request(&event, bindings, &ClusterByInstance::new(), SystemTime::UNIX_EPOCH) {
        Request::Watch(about) => about.into_iter().find_map(|watched| watched.promoted_instance),
        _ => None,
    }
}

#[test]
fn cluster_failover_event_names_the_promoted_member() {
    for (message, name) in [
        ("Started same AZ failover to DB instance: orders-2", "orders-2"),
        ("Started cross AZ failover to DB instance: orders-2", "orders-2"),
        ("Started cross AZ failover to DB instance: orders-2.", "orders-2"),
        ("Completed failover to DB instance: Orders-2", "orders-2"),
        ("Completed failover to DB instance: a", "a"),
        ("Started failover to DB instance: orders-2", "orders-2"),
        ("started cross AZ failover to DB instance: orders-2", "orders-2"),
        ("Completed customer initiated failover to DB instance: orders-2", "orders-2"),
        ("Completed RDS initiated failover to DB instance: orders-2 ", "orders-2"),
        ("Started cross AZ failover to DB instance:  orders-2..", "orders-2"),
        ("Started cross AZ failover to DB instance: orders-2. \r\n", "orders-2"),
        (" Started cross AZ failover to DB instance: orders-2", "orders-2"),
    ] {
        assert_eq!(promotes(&failover_with("/detail/Message", message)).as_deref(), Some(name), "{message}");
    }
}

#[test]
fn latest_failover_of_a_batch_names_the_promoted_member() {
    let failover = |time: &str, member: &str| {
        let mut event =
            failover_with("/detail/Message", format!("Completed failover to DB instance: {member}"));
        event["time"] = time.into();
        json!({"eventSource": "aws:sqs", "body": event.to_string()})
    };
    let (first, last) =
        (failover("2026-11-20T10:00:00Z", "orders-2"), failover("2026-11-20T10:02:00Z", "orders-1"));
    for records in [[&first, &last], [&last, &first]] {
        assert_eq!(promotes(&json!({"Records": records})).as_deref(), Some("orders-1"));
    }
}

#[test]
fn only_cluster_failover_samples_name_a_promoted_member() {
    let promoted = |(file, event): (String, Value)| Some((file, promotes(&event)?));
    let promoted: Vec<_> = samples().into_iter().filter_map(promoted).collect();
    let expected = [
        "cluster-failover-completed.json",
        "cluster-failover-started.json",
        "pipe-sqs.json",
        "sns-eventbridge.json",
        "sns-rds-subscription.json",
        "sqs-eventbridge.json",
        "sqs-sns-eventbridge.json",
    ]
    .map(|file| (file.to_owned(), "orders-2".to_owned()));
    assert_eq!(promoted, expected);
}

#[test]
fn other_messages_name_no_promoted_member() {
    for message in [
        "Promoting previous primary again: orders-2",
        "Cluster failover failed, check the health of your cluster instances and try again.",
        "Started cross AZ failover to DB instance: ",
        "Started cross AZ failover to DB instance: .",
        "Started cross AZ failover to DB instance: orders-2, orders-3",
        "Started cross AZ failover to DB instance: orders-2.example.com",
        "Started cross AZ failover to DB instance: órders-2",
        "AZ übergreifendes Failover zu DB-Instance gestartet: orders-2",
        "Completed failover to DB instance:",
        "Completed failover to DB instance: orders-2 (was orders-1)",
        "Completed failover to DB instance: orders-2 in us-east-1a",
        "",
    ] {
        assert_eq!(promotes(&failover_with("/detail/Message", message)), None, "{message}");
    }
    let long = "Completed failover to DB instance: ".to_owned() + &"a".repeat(64);
    assert_eq!(promotes(&failover_with("/detail/Message", long)), None);
    for message in [json!(null), json!(7), json!(["Completed failover to DB instance: orders-2"])] {
        assert_eq!(promotes(&failover_with("/detail/Message", message)), None);
    }
    assert_eq!(promotes(&failover_without("Message")), None);
}

#[test]
fn event_of_another_database_names_no_promoted_member() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:db:orders",
        "arn:aws:rds:us-east-1:123456789012:db:billing",
        "arn:aws:rds:us-east-1:123456789012:cluster:sales",
    ] {
        assert_eq!(promotes(&failover_of(arn)), None, "{arn}");
    }
}

#[test]
fn event_of_another_account_names_no_promoted_member() {
    let event = failover_of("arn:aws:rds:us-east-1:210987654321:cluster:orders");
    assert_eq!(asks(&event), "watch orders", "a forwarded event still starts the watch");
    assert_eq!(promotes(&event), None);
    let mut without_arn = failover_without("SourceArn");
    without_arn["resources"] = json!([]);
    assert_eq!(promotes(&without_arn).as_deref(), Some("orders-2"), "of the event's own account");
    without_arn["account"] = json!("210987654321");
    assert_eq!(promotes(&without_arn), None);
    without_arn.as_object_mut().unwrap().remove("account");
    assert_eq!(promotes(&without_arn), None, "of nobody knows which");
}

#[test]
fn event_of_another_region_names_no_promoted_member_if_the_endpoint_names_no_region() {
    let of = |region: &str| failover_of(&format!("arn:aws:rds:{region}:123456789012:cluster:orders"));
    for endpoint in ["db.example.com", "shop.global-abc123.global.rds.amazonaws.com"] {
        let bindings = [Binding {
            databases: vec!["orders".to_owned()],
            ..Binding::new(endpoint, GROUP.parse().unwrap())
        }];
        assert_eq!(
            asks_with(&bindings, &[], &of("eu-west-1")).split(' ').next(),
            Some("watch"),
            "{endpoint}"
        );
        assert_eq!(promotes_with(&bindings, &of("us-east-1")).as_deref(), Some("orders-2"), "{endpoint}");
        assert_eq!(promotes_with(&bindings, &of("eu-west-1")), None, "{endpoint}");
    }
}
