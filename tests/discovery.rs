//! Bindings by tag, through the binary: found, let go, refused one by one, and kept in the warm function.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::lambda::{Function, Result};
use crate::world::{Action, ENDPOINT, GROUP, THREE, TWO, Trouble, World, addresses};

const TIME: Duration = Duration::from_secs(30);
const TAG: &str = "rds-nlb-sync";
const BILLING: &str = "billing.abc123.us-east-1.rds.amazonaws.com";

/// A world with a second database, which no binding is for, and its group, empty and tagged.
fn tagged() -> (World, String) {
    let world = World::new();
    world.state().zone.insert(BILLING.into(), addresses(&[TWO]));
    let group = world.tagged("billing", &[(TAG, BILLING), ("team", "finance")]);
    (world, group)
}

async fn discovering(world: &World, bindings: &str) -> Function {
    let binary = Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    Function::start(world, binary, &[("DISCOVERY_TAG", TAG), ("BINDINGS", bindings)]).await
}

async fn check(function: &Function) -> Result {
    function.invoke(json!({"command": "check"}), TIME).await
}

fn message(error: &Value) -> &str {
    error["errorMessage"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_tagged_group_is_bound_to_the_endpoint_in_its_tag() {
    let (world, group) = tagged();
    let function = discovering(&world, "").await;
    let result = check(&function).await.unwrap();
    assert_eq!(result["bindings"].as_array().unwrap().len(), 1, "and the group without the tag is not");
    assert_eq!(result["bindings"][0]["endpoint"], BILLING);
    assert_eq!(world.targets_of(&group), "10.0.2.20:5432");
}

#[tokio::test]
async fn further_tags_hold_the_options() {
    let (world, _) = tagged();
    world.state().zone.insert("sales.example.com".into(), addresses(&[THREE]));
    let tags =
        [(TAG, "sales.example.com"), ("rds-nlb-sync:port", "6432"), ("rds-nlb-sync:database", "sales-db")];
    let group = world.tagged("sales", &tags);
    let function = discovering(&world, "").await;
    check(&function).await.unwrap();
    assert_eq!(world.targets_of(&group), "10.0.3.30:6432");
    let event = json!({"source": "aws.rds", "detail": {
        "SourceArn": "arn:aws:rds:us-east-1:123456779012:db:sales-db", "EventCategories": ["failover"]
    }});
    let watch = function.invoke(event, Duration::from_secs(4)).await.unwrap();
    assert_eq!(
        (&watch["trigger"], &watch["bindings"][0]["endpoint"]),
        (&json!("watch"), &json!("sales.example.com"))
    );
}

#[tokio::test]
async fn a_tag_says_that_a_group_holds_the_readers() {
    let (world, _) = tagged();
    let group = world.tagged("readers", &[(TAG, ENDPOINT), ("rds-nlb-sync:role", "readers")]);
    let function = discovering(&world, "").await;
    check(&function).await.unwrap();
    assert_eq!(world.targets_of(&group), "10.0.2.20:5432", "orders-2, by its own name");
    assert_eq!(world.targets_of(GROUP), "10.0.1.10:5432", "which is not tagged");
}

#[tokio::test]
async fn a_wrong_tag_fails_its_group_alone_and_by_name() {
    let (world, good) = tagged();
    let bad = world
        .tagged("bad", &[(TAG, "10.0.0.1"), ("rds-nlb-sync:port", "many"), ("rds-nlb-sync:rolle", "writer")]);
    let function = discovering(&world, "").await;
    let error = check(&function).await.unwrap_err();
    let told = message(&error);
    assert!(told.starts_with("1 of 2 bindings failed") && told.contains(&bad), "{told}");
    for option in ["rds-nlb-sync: \"10.0.0.1\" is an address", "rds-nlb-sync:port: ", "rds-nlb-sync:rolle: "]
    {
        assert!(told.contains(option), "{option}: {told}");
    }
    assert_eq!(world.targets_of(&good), "10.0.2.20:5432");
    assert_eq!(world.targets_of(&bad), "");
}

#[tokio::test]
async fn many_groups_are_read_page_by_page_and_twenty_at_a_time() {
    let (world, group) = tagged();
    world.state().page = 7;
    for number in 0..45 {
        world.tagged(&format!("other-{number:02}"), &[("team", "other")]);
    }
    let function = discovering(&world, "").await;
    check(&function).await.unwrap();
    assert_eq!(world.targets_of(&group), "10.0.2.20:5432");
    assert_eq!(world.count(Action::DescribeTags), 3, "47 groups");
    assert_eq!(
        world.count(Action::DescribeTargetGroups),
        7,
        "seven pages, which describe the groups as well"
    );
}

#[tokio::test]
async fn the_list_is_kept_in_the_warm_function() {
    let (world, _) = tagged();
    let function = discovering(&world, "").await;
    check(&function).await.unwrap();
    world.forget_calls();
    check(&function).await.unwrap();
    let calls: BTreeSet<Action> = world.state().calls.iter().map(|call| call.action).collect();
    assert_eq!(calls, BTreeSet::from([Action::Lookup, Action::DescribeTargetHealth]));
}

#[tokio::test]
async fn a_group_that_lost_its_tag_is_let_go_untouched() {
    let (world, group) = tagged();
    world.state().tags.clear();
    world.state().zone.remove(BILLING);
    let function = discovering(&world, "").await;
    assert_eq!(check(&function).await.unwrap()["bindings"], json!([]));
    assert_eq!((world.writes(), world.targets_of(&group)), (Vec::new(), String::new()));
}

#[tokio::test]
async fn a_group_that_is_configured_is_bound_as_configured() {
    let (world, _) = tagged();
    world.tagged("orders", &[(TAG, BILLING)]);
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let function = discovering(&world, &bindings).await;
    let result = check(&function).await.unwrap();
    let endpoints: Vec<&Value> =
        result["bindings"].as_array().unwrap().iter().map(|b| &b["endpoint"]).collect();
    assert_eq!(endpoints, [ENDPOINT, BILLING]);
}

#[tokio::test]
async fn where_tags_cannot_be_read_the_configured_bindings_are_checked_all_the_same() {
    let (world, _) = tagged();
    world.resolves_to(&[TWO]);
    world.always(Action::DescribeTags, Some(Trouble::Denied));
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let function = discovering(&world, &bindings).await;
    let error = check(&function).await.unwrap_err();
    assert!(message(&error).contains("allow elasticloadbalancing:DescribeTags"), "{error}");
    assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test]
async fn known_groups_serve_while_the_tags_cannot_be_read_again() {
    let (world, group) = tagged();
    let function = discovering(&world, "").await;
    check(&function).await.unwrap();
    world.always(Action::DescribeTags, Some(Trouble::Denied));
    world.state().zone.insert(BILLING.into(), addresses(&[THREE]));
    check(&function).await.unwrap();
    assert_eq!(world.targets_of(&group), "10.0.2.20:5432~ 10.0.3.30:5432");
}

#[tokio::test]
async fn the_doctor_sees_discovered_groups() {
    let (world, _) = tagged();
    let function = discovering(&world, "").await;
    let result = function.invoke(json!({"command": "doctor"}), TIME).await.unwrap();
    assert_eq!(result["bindings"][0]["endpoint"], BILLING);
}

#[tokio::test]
async fn what_was_read_before_the_api_refused_is_not_read_again() {
    let (world, group) = tagged();
    for number in 0..98 {
        world.tagged(&format!("other-{number:02}"), &[("team", "other")]);
    }
    // Of five calls two are answered, and then none for a while: more than the SDK tries again.
    let (mut asked, answered) = (0, Arc::new(AtomicUsize::new(0)));
    let count = answered.clone();
    world.state().chooser = Some(Box::new(move |action| {
        asked += usize::from(action == Action::DescribeTags);
        let refuses = action == Action::DescribeTags && (3..=14).contains(&asked);
        count.fetch_add(usize::from(action == Action::DescribeTags && !refuses), Ordering::Relaxed);
        refuses.then_some(Trouble::Throttled)
    }));
    let function = discovering(&world, "").await;
    check(&function).await.unwrap();
    assert_eq!(world.targets_of(&group), "10.0.2.20:5432");
    assert!(world.count(Action::DescribeTags) >= 5 + 3, "{}", world.count(Action::DescribeTags));
    assert_eq!(answered.load(Ordering::Relaxed), 5, "a hundred groups, twenty at a time");
    assert_eq!(world.count(Action::DescribeTargetGroups), 1);
}
