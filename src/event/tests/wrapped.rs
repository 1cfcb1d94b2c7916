//! Events inside others: SNS, SQS, EventBridge Pipes, and the messages of RDS event subscriptions.

use super::*;

fn started() -> Value {
    samples().remove("cluster-failover-started.json").unwrap()
}

fn sqs(body: impl ToString) -> Value {
    json!({"messageId": "1", "body": body.to_string(), "attributes": {}, "eventSource": "aws:sqs"})
}

/// A record of SNS in a Lambda event.
fn sns(message: impl ToString) -> Value {
    let mut event = samples().remove("sns-eventbridge.json").unwrap();
    event["Records"][0]["Sns"]["Message"] = json!(message.to_string());
    event["Records"][0].take()
}

/// An SNS notification, as SQS carries it.
fn notification(message: impl ToString) -> Value {
    sns(message)["Sns"].take()
}

/// An RDS event subscription's message, with the value of this field replaced, or removed where it is null.
fn subscription(field: &str, value: Value) -> Value {
    let sample = samples().remove("sns-rds-subscription.json").unwrap();
    let message = sample["Records"][0]["Sns"]["Message"].as_str().unwrap();
    let mut message: Value = serde_json::from_str(message).unwrap();
    match value {
        Value::Null => drop(message.as_object_mut().unwrap().remove(field)),
        value => message[field] = value,
    }
    json!({"Records": [sns(message)]})
}

#[test]
fn every_nesting_is_unwrapped() {
    let event = started();
    for (name, wrapped) in [
        ("SNS", json!({"Records": [sns(&event)]})),
        ("SQS", json!({"Records": [sqs(&event)]})),
        ("SNS in SQS", json!({"Records": [sqs(notification(&event))]})),
        ("SQS in a pipe", json!([sqs(&event)])),
        ("SNS in SQS in a pipe", json!([sqs(notification(&event))])),
        ("SNS event in SQS", json!({"Records": [sqs(json!({"Records": [sns(&event)]}))]})),
        ("a pipe", json!([event])),
        ("a pipe of bodies", json!([event.to_string()])),
        ("an array in SQS", json!({"Records": [sqs(json!([event]))]})),
        ("a notification alone", notification(&event)),
        ("an SQS message alone", sqs(&event)),
    ] {
        assert_eq!(asks(&wrapped), "watch orders", "{name}");
    }
}

#[test]
fn nesting_deeper_than_four_is_refused() {
    type Wrap = fn(Value) -> Value;
    let nested = |times: usize, wrap: Wrap| (0..times).fold(started(), |event, _| wrap(event));
    let wraps: [(&str, Wrap); 4] = [
        ("SQS", |event| sqs(event)),
        ("SNS", |event| notification(event)),
        ("arrays", |event| json!([event])),
        ("records", |event| json!({"Records": [event]})),
    ];
    for (name, wrap) in wraps {
        // The outermost array or list of records is the batch itself.
        let most = if matches!(name, "arrays" | "records") { 5 } else { 4 };
        assert_eq!(asks(&nested(most, wrap)), "watch orders", "{name}");
        let refused = asks(&nested(most + 1, wrap));
        assert!(refused.contains("the event lies too deep inside others"), "{name}: {refused}");
    }
    let text = |event: Value| json!(event.to_string());
    assert_eq!(asks(&json!([nested(4, text)])), "watch orders");
    assert!(asks(&json!([nested(5, text)])).contains("the event lies too deep inside others"));
}

#[test]
fn batch_watches_the_bindings_of_all_its_records() {
    let billing = samples().remove("instance-failover-started.json").unwrap();
    assert_eq!(
        asks(&json!({"Records": [sqs(started()), sqs(&billing), sqs(started())]})),
        "watch orders billing"
    );
    let mut late = started();
    late["time"] = json!("2026-11-20T09:00:00Z");
    assert_eq!(asks(&json!([late, billing])), "watch billing");
    assert_eq!(asks(&json!([late])), "check and list orders");
    let schedule = samples().remove("schedule.json").unwrap();
    assert_eq!(asks(&json!([schedule, billing])), "watch billing");
    assert_eq!(asks(&json!([schedule])), "check");
}

#[test]
fn record_that_is_no_event_fails_nothing() {
    for odd in
        [json!(7), json!(null), json!([]), json!({}), json!("text"), json!({"command": "check"}), sqs("text")]
    {
        assert_eq!(asks(&json!([odd, started(), odd])), "watch orders", "{odd}");
        assert_eq!(asks(&json!({"Records": [odd, sqs(started())]})), "watch orders", "{odd}");
    }
}

#[test]
fn subscription_message_is_an_event() {
    assert_eq!(asks(&subscription("", json!(null))), "watch orders");
    assert_eq!(asks(&subscription("Source ARN", json!(null))), "watch orders", "an older one");
    let billing = json!("arn:aws:rds:us-east-1:123456789012:db:billing");
    assert_eq!(asks(&subscription("Source ARN", billing)), "watch billing");
    for field in ["Identifier Link", "Event ID", "Event Message", "Event Time"] {
        assert_eq!(asks(&subscription(field, json!(null))), "watch orders", "{field}");
        assert_eq!(asks(&subscription(field, json!({"odd": [7]}))), "watch orders", "{field}");
    }
    assert_eq!(asks(&subscription("Event Categories", json!(["backup"]))), "check");
    assert_eq!(asks(&subscription("Event Categories", json!(["failover"]))), "watch orders");
}

/// RDS makes backups every day, and their messages move no address.
#[test]
fn backup_message_of_a_subscription_is_a_check() {
    let guide = "http://docs.amazonwebservices.com/AmazonRDS/latest/UserGuide/USER_Events.html#";
    for (id, expected) in
        [("RDS-EVENT-0001", "check"), ("RDS-EVENT-0002 ", "check"), ("RDS-EVENT-0020", "watch orders")]
    {
        assert_eq!(asks(&subscription("Event ID", json!(format!("{guide}{id}")))), expected, "{id}");
    }
}

#[test]
fn subscription_message_without_an_arn_has_the_region_of_its_link() {
    for (region, expected) in [("us-east-1", "watch orders"), ("eu-west-1", "check")] {
        let link = format!("https://console.aws.amazon.com/rds/home?region={region}#dbclusters:id=orders");
        let mut event = subscription("Source ARN", json!(null));
        let message = event["Records"][0]["Sns"]["Message"].as_str().unwrap();
        let mut message: Value = serde_json::from_str(message).unwrap();
        message["Identifier Link"] = json!(link);
        event = json!({"Records": [sns(message)]});
        assert_eq!(asks(&event), expected, "{region}");
    }
}

#[test]
fn subscription_message_about_a_global_failover_watches_global_endpoints() {
    let global = "shop.global-abc123.global.rds.amazonaws.com";
    let bindings = [Binding::new(global, GROUP.parse().unwrap())];
    for (message, expected) in [
        ("Global switchover to DB cluster orders in Region us-east-1 finished.", "watch shop"),
        ("Aurora finished changing the DNS name that the global writer endpoint resolves to.", "watch shop"),
        ("Completed failover to DB instance: orders-2", "check"),
    ] {
        assert_eq!(asks_with(&bindings, &[], &subscription("Event Message", json!(message))), expected);
    }
}

#[test]
fn flood_of_events_hides_no_failover() {
    let failover = |minute: usize| {
        let mut event = failover_with("/id", "");
        event["time"] = json!(format!("2026-11-20T09:{minute:02}:00Z"));
        event
    };
    let named = |count: usize| -> Vec<String> {
        (0..count).map(|index| format!("arn:aws:rds:us-east-1:123456789012:db:other-{index}")).collect()
    };
    let mut many = failover_without("SourceArn");
    many["resources"] = json!(named(1001));
    assert_eq!(
        asks(&json!([many, failover(59)])),
        "watch orders",
        "an event about 1,001 databases is a check"
    );
    let mut old = failover_without("SourceArn");
    (old["resources"], old["time"]) = (json!(named(10)), json!("2026-11-20T09:00:00Z"));
    let mut records = vec![old; 200];
    records.push(failover(59));
    assert_eq!(asks(&json!(records)), "watch orders", "the oldest events go first");
}

#[test]
fn batch_keeps_events_about_a_thousand_databases() {
    let mut event = failover_without("SourceArn");
    event["detail"].as_object_mut().unwrap().remove("SourceIdentifier");
    event["resources"] =
        (0..10).map(|index| json!(format!("arn:aws:rds:us-east-1:123456789012:db:other-{index}"))).collect();
    // Each event without databases stands for a check.
    for (records, expected) in [(99, (990, 0)), (100, (1000, 0)), (101, (1000, 1)), (250, (1000, 1))] {
        let batch = json!(vec![event.clone(); records]).to_string();
        let Ok(Event::Rds(events)) = Event::parse(&batch) else { panic!("events of RDS") };
        let databases: usize = events.iter().map(|event| event.databases.len()).sum();
        let checks = events.iter().filter(|event| event.databases.is_empty()).count();
        assert_eq!((databases, checks), expected, "{records} events of ten databases each");
    }
}

#[test]
fn subscription_message_is_as_old_as_its_event_time() {
    let asked = |time: &str| asks(&subscription("Event Time", json!(time)));
    assert_eq!(asked("2026-11-20 09:57:00.000"), "watch orders");
    assert_eq!(asked("2026-11-20 09:56:59.999"), "check and list orders");
    assert_eq!(asked("2026-11-20 09:56:59"), "check and list orders");
    assert_eq!(asked("2019-01-01T00:00:00"), "check and list orders");
    assert_eq!(asked("2026-11-21 00:00:00.000"), "watch orders", "a clock ahead of ours");
    assert_eq!(asked("yesterday"), "watch orders", "an unknown time");
}

#[test]
fn subscription_message_without_an_account_promotes_nobody() {
    let promoted = |event: &Value| match Event::parse(&event.to_string()) {
        Ok(event) => match decide_request(&event, &bindings(), &ClusterByInstance::new(), ten()) {
            Request::Watch(watched) => watched[0].promoted_instance.clone(),
            other => panic!("expected a watch, not {other:?}"),
        },
        other => panic!("expected an event, not {other:?}"),
    };
    assert_eq!(promoted(&subscription("", json!(null))).as_deref(), Some("orders-2"));
    assert_eq!(promoted(&subscription("Source ARN", json!(null))), None);
}

#[test]
fn text_of_a_subscription_is_a_check() {
    let mut record = sns("This is to inform you that the event subscription rds-failovers is active.");
    record["Sns"]["Subject"] = json!("RDS Notification Message");
    assert_eq!(asks(&json!({"Records": [record]})), "check");
    record["Sns"]["Subject"] = json!("Hello");
    assert!(asks(&json!({"Records": [record]})).starts_with("the record is not JSON (This is to inform"));
}

#[test]
fn text_of_a_subscription_by_raw_delivery_is_a_check() {
    let body = "This is a message to notify that RDS will attempt to send you event notifications of type db-cluster to the \
                topic arn:aws:sns:us-east-1:123456789012:rds-failovers.";
    let by_raw_delivery = |body: &str| json!({"Records": [{"eventSource": "aws:sqs", "body": body}]});
    assert_eq!(asks(&by_raw_delivery(body)), "check");
    assert!(asks(&by_raw_delivery("RDS is slow today")).starts_with("the record is not JSON (RDS is slow"));
}
