//! Which bindings an event is about: members, blue/green deployments, global clusters, Regions.

use super::*;
use crate::binding::Role;

const GLOBAL: &str = "shop.global-abc123.global.rds.amazonaws.com";

fn bound(endpoint: &str) -> Binding {
    Binding::new(endpoint, GROUP.parse().unwrap())
}

fn with(more: &str) -> Vec<Binding> {
    let mut bindings = bindings();
    bindings.push(bound(more));
    bindings
}

#[test]
fn event_about_a_member_watches_the_bindings_of_its_cluster() {
    let event = failover_of("arn:aws:rds:us-east-1:123456789012:db:Orders-1");
    let members = [("orders-1", "orders"), ("sales-1", "sales")];
    assert_eq!(asks_with(&bindings(), &members, &event), "watch orders");
    let instance = with("orders-1.abc123.us-east-1.rds.amazonaws.com");
    assert_eq!(asks_with(&instance, &members, &event), "watch orders orders-1");
    let other = failover_of("arn:aws:rds:us-east-1:123456789012:db:sales-1");
    assert_eq!(asks_with(&bindings(), &members, &other), "check");
}

#[test]
fn other_event_about_a_member_lists_the_readers_group() {
    let mut bindings = bindings();
    bindings[0].role = Role::Readers;
    let mut event = failover_of("arn:aws:rds:us-east-1:123456789012:db:orders-3");
    event["detail"]["EventCategories"] = json!(["creation"]);
    assert_eq!(asks_with(&bindings, &[("orders-3", "orders")], &event), "check and list orders");
    assert_eq!(asks_with(&bindings, &[], &event), "check");
}

#[test]
fn unknown_instances_are_those_that_may_be_members() {
    let unknown = |bindings: &[Binding], members: &ClusterByInstance, event: &Value| -> Vec<String> {
        unknown_instances(&Event::parse(&event.to_string()).unwrap(), bindings, members).into_iter().collect()
    };
    let event = failover_of("arn:aws:rds:us-east-1:123456789012:db:Orders-1");
    assert_eq!(unknown(&bindings(), &ClusterByInstance::new(), &event), ["orders-1"]);
    assert_eq!(
        unknown(&bindings(), &ClusterByInstance::from([("orders-1".to_owned(), None)]), &event),
        [""; 0]
    );
    assert_eq!(unknown(&bindings()[1..], &ClusterByInstance::new(), &event), [""; 0], "no cluster is bound");
    assert_eq!(
        unknown(&[bound("db.example.com")], &ClusterByInstance::new(), &event),
        ["orders-1"],
        "an alias"
    );
    assert_eq!(
        unknown(&bindings(), &ClusterByInstance::new(), &failover_with("/id", "")),
        [""; 0],
        "about a cluster"
    );
    let bound_itself = failover_of("arn:aws:rds:us-east-1:123456789012:db:billing");
    assert_eq!(
        unknown(&bindings(), &ClusterByInstance::new(), &bound_itself),
        ["billing"],
        "its cluster may be bound"
    );
    for elsewhere in
        ["arn:aws:rds:eu-west-1:123456789012:db:orders-1", "arn:aws:rds:us-east-1:210987654321:db:orders-1"]
    {
        let unknown = unknown(&bindings(), &ClusterByInstance::new(), &failover_of(elsewhere));
        assert_eq!(unknown, [""; 0], "the RDS API of this account and Region does not know {elsewhere}");
    }
    let mut backup = event;
    backup["detail"]["EventCategories"] = json!(["backup"]);
    assert_eq!(unknown(&bindings(), &ClusterByInstance::new(), &backup), [""; 0], "nothing to watch");
    let mut readers = bindings();
    readers[0].role = Role::Readers;
    assert_eq!(unknown(&readers, &ClusterByInstance::new(), &backup), ["orders-1"]);
}

#[test]
fn switchover_watches_the_databases_that_it_names() {
    let switched = |message: &str| {
        let mut event = samples().remove("blue-green-switched.json").unwrap();
        event["detail"]["Message"] = json!(message);
        event
    };
    for (message, expected) in [
        ("Switchover from DB cluster orders to orders-green started.", "watch orders"),
        ("Switchover from primary Billing to billing-green started.", "watch billing"),
        ("Renamed blue to blue-old1 and green to orders.", "watch orders"),
        ("Renamed orders to a, billing to b.", "watch orders billing"),
        ("Switchover from DB cluster sales to sales-green started.", "check"),
        ("Switchover from orders2 to my-orders, orders-old", "check"),
        ("", "check"),
    ] {
        assert_eq!(asks(&switched(message)), expected, "{message}");
    }
    let mut event = failover_with("/detail/Message", "Renamed billing to orders.");
    event["detail"]["SourceArn"] = json!("arn:aws:rds:us-east-1:123456789012:cluster:sales");
    assert_eq!(asks(&event), "check", "only a deployment's message names databases");
}

#[test]
fn switchover_without_an_arn_is_known_by_its_source_type() {
    let mut event = samples().remove("blue-green-cluster-switched.json").unwrap();
    event["detail"].as_object_mut().unwrap().remove("SourceArn");
    event["resources"] = json!([]);
    assert_eq!(asks(&event), "watch orders");
}

#[test]
fn global_failover_watches_global_endpoints() {
    let bindings = with(GLOBAL);
    let event = samples().remove("global-failover-completed.json").unwrap();
    assert_eq!(asks_with(&bindings, &[], &event), "watch orders shop");
    let mut elsewhere = event.clone();
    elsewhere["detail"]["SourceArn"] = json!("arn:aws:rds:eu-west-1:123456789012:cluster:other");
    assert_eq!(asks_with(&bindings, &[], &elsewhere), "watch shop");
    let regional = failover_with("/id", "");
    assert_eq!(asks_with(&bindings, &[], &regional), "watch orders");
}

#[test]
fn event_about_a_global_cluster_watches_its_endpoint() {
    let bindings = with(GLOBAL);
    let of = |arn| asks_with(&bindings, &[], &failover_of(arn));
    assert_eq!(of("arn:aws:rds::123456789012:global-cluster:shop"), "watch shop");
    assert_eq!(of("arn:aws:rds::123456789012:global-cluster:orders"), "check");
    assert_eq!(of("arn:aws:rds:us-east-1:123456789012:cluster:shop"), "watch shop");
}

#[test]
fn event_of_another_region_is_about_another_database() {
    let elsewhere = "arn:aws:rds:eu-west-1:123456789012:cluster:orders";
    assert_eq!(asks(&failover_of(elsewhere)), "check");
    let alias = Binding { databases: vec!["orders".to_owned()], ..bound("db.example.com") };
    assert_eq!(asks_with(&[alias], &[], &failover_of(elsewhere)), "watch db", "an alias says no Region");
    let mut by_identifier = failover_without("SourceArn");
    by_identifier["resources"] = json!([]);
    assert_eq!(asks(&by_identifier), "watch orders");
    by_identifier["region"] = json!("eu-west-1");
    assert_eq!(asks(&by_identifier), "check", "an identifier is of the event's Region");
    let member = failover_of("arn:aws:rds:eu-west-1:123456789012:db:orders-1");
    assert_eq!(asks_with(&bindings(), &[("orders-1", "orders")], &member), "check");
}

#[test]
fn source_type_says_the_kind_where_no_arn_does() {
    for (source_type, kind) in [
        ("DB_INSTANCE", SourceKind::Instance),
        ("db-instance", SourceKind::Instance),
        ("CLUSTER", SourceKind::Cluster),
        ("db-cluster", SourceKind::Cluster),
        ("SNAPSHOT", SourceKind::Unknown),
    ] {
        let mut event = failover_with("/detail/SourceType", source_type);
        event["resources"] = json!([]);
        event["detail"]["SourceArn"].take();
        let kinds: Vec<SourceKind> = of_rds(&event).databases.iter().map(|database| database.kind).collect();
        assert_eq!(kinds, [kind], "{source_type}");
    }
}
