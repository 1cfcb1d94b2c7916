//! Whom an event nominates.

use super::*;

/// Whom the event nominates.
fn promotes(event: &Value) -> Option<String> {
    match request(event, &bindings()) {
        Ok(Request::Watch(about)) => about.into_iter().find_map(|watched| watched.promoted_instance),
        _ => None,
    }
}

#[test]
fn the_events_of_a_cluster_failover_nominate_the_member_that_they_name() {
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
fn the_samples_nominate_whom_they_name_and_no_others_do() {
    let promoted = |(file, event): (String, Value)| Some((file, promotes(&event)?));
    let promoted: Vec<_> = samples().into_iter().filter_map(promoted).collect();
    let expected = ["cluster-failover-completed.json", "cluster-failover-started.json"]
        .map(|file| (file.to_owned(), "orders-2".to_owned()));
    assert_eq!(promoted, expected);
}

#[test]
fn other_words_nominate_nobody() {
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
fn an_event_of_an_instance_or_of_another_cluster_nominates_nobody() {
    for arn in [
        "arn:aws:rds:us-east-1:123456789012:db:orders",
        "arn:aws:rds:us-east-1:123456789012:db:billing",
        "arn:aws:rds:us-east-1:123456789012:cluster:sales",
    ] {
        assert_eq!(promotes(&failover_of(arn)), None, "{arn}");
    }
}
