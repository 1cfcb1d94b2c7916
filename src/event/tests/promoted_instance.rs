//! The member that an event names as the one being promoted.

use super::*;

fn promotes(event: &Value) -> Option<String> {
    match request(&Event::parse(&event.to_string()).ok()?, &bindings()) {
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
    ] {
        assert_eq!(promotes(&failover_with("/detail/Message", message)).as_deref(), Some(name), "{message}");
    }
}

#[test]
fn only_cluster_failover_samples_name_a_promoted_member() {
    let promoted = |(file, event): (String, Value)| Some((file, promotes(&event)?));
    let promoted: Vec<_> = samples().into_iter().filter_map(promoted).collect();
    let expected = ["cluster-failover-completed.json", "cluster-failover-started.json"]
        .map(|file| (file.to_owned(), "orders-2".to_owned()));
    assert_eq!(promoted, expected);
}

#[test]
fn other_messages_name_no_promoted_member() {
    for message in [
        "Promoting previous primary again: orders-2",
        "Cluster failover failed, check the health of your cluster instances and try again.",
        "Started failover to DB instance: orders-2",
        "started cross AZ failover to DB instance: orders-2",
        "Started cross AZ failover to DB instance: ",
        "Started cross AZ failover to DB instance: .",
        "Started cross AZ failover to DB instance: orders-2..",
        "Started cross AZ failover to DB instance: orders-2, orders-3",
        "Started cross AZ failover to DB instance: orders-2 ",
        "Started cross AZ failover to DB instance:  orders-2",
        "Started cross AZ failover to DB instance: orders-2.example.com",
        "Started cross AZ failover to DB instance: órders-2",
        " Started cross AZ failover to DB instance: orders-2",
        "AZ übergreifendes Failover zu DB-Instance gestartet: orders-2",
        "Completed failover to DB instance:",
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
