//! Bindings by tag, through the binary.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use testkit::lambda::{Function, Result, SLOWLY};
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP, THREE, TWO, addresses};

const TIME: Duration = Duration::from_secs(30);
const TAG: &str = "rds-nlb-sync";
const BILLING: &str = "billing.abc123.us-east-1.rds.amazonaws.com";

/// An AWS with a second database and its group, which is empty and tagged.
fn tagged() -> (FakeAws, String) {
    let aws = FakeAws::new();
    aws.state().zone.insert(BILLING.into(), addresses(&[TWO]));
    let group = aws.tagged("billing", &[(TAG, BILLING), ("team", "finance")]);
    (aws, group)
}

async fn discovering(aws: &FakeAws, bindings: &str) -> Function {
    with(aws, bindings, None).await
}

/// The same, where a check has to deregister something.
async fn deregistering(aws: &FakeAws, bindings: &str) -> Function {
    with(aws, bindings, Some(SLOWLY)).await
}

async fn with(aws: &FakeAws, bindings: &str, variable: Option<(&str, &str)>) -> Function {
    let binary = Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    let endpoints = ("DISCOVERY_ENDPOINTS", "*.rds.amazonaws.com,*.example.com");
    let mut variables = vec![("DISCOVERY_TAG", TAG), ("BINDINGS", bindings), endpoints];
    variables.extend(variable);
    Function::start(aws, binary, &variables).await
}

async fn check(function: &Function) -> Result {
    function.invoke(json!({"command": "check"}), TIME).await
}

/// The schedule's check, which may use the known list of groups.
async fn drift_check(function: &Function) -> Result {
    function.invoke(json!({"source": "aws.events", "detail-type": "Scheduled Event"}), TIME).await
}

fn message(error: &Value) -> &str {
    error["errorMessage"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn tagged_group_is_bound_to_the_endpoint_in_its_tag() {
    let (aws, group) = tagged();
    let function = discovering(&aws, "").await;
    let result = check(&function).await.unwrap();
    assert_eq!(result["bindings"].as_array().unwrap().len(), 1, "and the group without the tag is not");
    assert_eq!(result["bindings"][0]["endpoint"], BILLING);
    assert_eq!(aws.targets_of(&group), "10.0.2.20:5432");
}

#[tokio::test]
async fn further_tags_hold_the_options_of_a_binding() {
    let (aws, _) = tagged();
    aws.state().zone.insert("sales.example.com".into(), addresses(&[THREE]));
    let tags =
        [(TAG, "sales.example.com"), ("rds-nlb-sync:port", "6432"), ("rds-nlb-sync:database", "sales-db")];
    let group = aws.tagged("sales", &tags);
    let function = discovering(&aws, "").await;
    check(&function).await.unwrap();
    assert_eq!(aws.targets_of(&group), "10.0.3.30:6432");
    let event = json!({"source": "aws.rds", "detail-type": "RDS DB Instance Event", "detail": {
        "SourceArn": "arn:aws:rds:us-east-1:123456779012:db:sales-db", "EventCategories": ["failover"]
    }});
    let watch = function.invoke(event, Duration::from_secs(4)).await.unwrap();
    assert_eq!(
        (&watch["trigger"], &watch["bindings"][0]["endpoint"]),
        (&json!("watch"), &json!("sales.example.com"))
    );
}

#[tokio::test]
async fn role_tag_binds_a_group_to_the_readers() {
    let (aws, _) = tagged();
    let group = aws.tagged("readers", &[(TAG, ENDPOINT), ("rds-nlb-sync:role", "readers")]);
    let function = discovering(&aws, "").await;
    check(&function).await.unwrap();
    assert_eq!(aws.targets_of(&group), "10.0.2.20:5432", "orders-2, by its own name");
    assert_eq!(aws.targets_of(GROUP), "10.0.1.10:5432", "which is not tagged");
}

#[tokio::test]
async fn invalid_tag_fails_its_group_alone() {
    let (aws, good) = tagged();
    let bad = aws
        .tagged("bad", &[(TAG, "10.0.0.1"), ("rds-nlb-sync:port", "many"), ("rds-nlb-sync:rolle", "writer")]);
    let function = discovering(&aws, "").await;
    let error = check(&function).await.unwrap_err();
    let message_text = message(&error);
    assert!(
        message_text.starts_with("1 of 2 bindings failed") && message_text.contains(&bad),
        "{message_text}"
    );
    for option in ["rds-nlb-sync: \"10.0.0.1\" is an address", "rds-nlb-sync:port: ", "rds-nlb-sync:rolle: "]
    {
        assert!(message_text.contains(option), "{option}: {message_text}");
    }
    assert_eq!(aws.targets_of(&good), "10.0.2.20:5432");
    assert_eq!(aws.targets_of(&bad), "");
    let metrics = function.lines().into_iter().find(|line| line["_aws"].is_object()).unwrap();
    assert_eq!(
        (&metrics["Bindings"], &metrics["Failed"], &metrics["Checks"]),
        (&json!(1), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn tags_are_read_by_page_and_twenty_groups_at_a_time() {
    let (aws, group) = tagged();
    aws.state().page = 7;
    for number in 0..45 {
        aws.tagged(&format!("other-{number:02}"), &[("team", "other")]);
    }
    let function = discovering(&aws, "").await;
    check(&function).await.unwrap();
    assert_eq!(aws.targets_of(&group), "10.0.2.20:5432");
    assert_eq!(aws.count(Action::DescribeTags), 3, "47 groups");
    assert_eq!(aws.count(Action::DescribeTargetGroups), 7, "seven pages, which describe the groups as well");
}

#[tokio::test]
async fn warm_function_keeps_the_list_of_tagged_groups() {
    let (aws, _) = tagged();
    let function = discovering(&aws, "").await;
    check(&function).await.unwrap();
    let calls_of_tags = || aws.count(Action::DescribeTags) + aws.count(Action::DescribeTargetGroups);
    aws.forget_calls();
    drift_check(&function).await.unwrap();
    assert_eq!(calls_of_tags(), 0);
    check(&function).await.unwrap();
    assert!(calls_of_tags() > 0, "a command reads the tags again");
}

#[tokio::test]
async fn deleted_group_fails_one_check() {
    let (aws, group) = tagged();
    aws.tagged("sales", &[(TAG, ENDPOINT)]);
    let function = discovering(&aws, "").await;
    check(&function).await.unwrap();
    aws.state().groups.remove(&group);
    aws.state().tags.remove(&group);
    aws.state().zone.insert(BILLING.into(), addresses(&[THREE]));
    let error = drift_check(&function).await.unwrap_err();
    assert!(message(&error).contains("TargetGroupNotFound"), "{error}");
    let result = drift_check(&function).await.unwrap();
    assert_eq!(result["bindings"].as_array().map(Vec::len), Some(1), "{result}");
}

#[tokio::test]
async fn tag_without_groups_fails_and_changes_nothing() {
    let (aws, group) = tagged();
    aws.state().tags.clear();
    aws.state().zone.remove(BILLING);
    let function = discovering(&aws, "").await;
    let error = check(&function).await.unwrap_err();
    let expected = format!("every target group tagged {TAG}: no target group carries the tag {TAG}. Fix: ");
    assert!(message(&error).contains(&expected), "{error}");
    assert_eq!((aws.writes(), aws.targets_of(&group)), (Vec::new(), String::new()));
    let metrics = function.lines().into_iter().find(|line| line["_aws"].is_object()).unwrap();
    assert_eq!(
        (&metrics["Bindings"], &metrics["Failed"], &metrics["Checks"]),
        (&json!(0), &json!(1), &Value::Null)
    );
    let report = function.invoke(json!({"command": "doctor"}), TIME).await.unwrap();
    assert_eq!(report["general"][0]["level"], "problem", "{report}");
}

#[tokio::test]
async fn bindings_variable_wins_over_a_tag() {
    let (aws, _) = tagged();
    aws.tagged("orders", &[(TAG, BILLING)]);
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let function = discovering(&aws, &bindings).await;
    let result = check(&function).await.unwrap();
    let endpoints: Vec<&Value> =
        result["bindings"].as_array().unwrap().iter().map(|b| &b["endpoint"]).collect();
    assert_eq!(endpoints, [ENDPOINT, BILLING]);
}

#[tokio::test]
async fn unreadable_tags_do_not_stop_configured_bindings() {
    let (aws, _) = tagged();
    aws.resolves_to(&[TWO]);
    aws.always(Action::DescribeTags, Some(ApiFault::Denied));
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let function = deregistering(&aws, &bindings).await;
    let error = check(&function).await.unwrap_err();
    assert!(message(&error).contains("allow elasticloadbalancing:DescribeTags"), "{error}");
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test]
async fn known_groups_stay_bound_while_tags_cannot_be_read() {
    let (aws, group) = tagged();
    let function = deregistering(&aws, "").await;
    check(&function).await.unwrap();
    aws.always(Action::DescribeTags, Some(ApiFault::Denied));
    aws.state().zone.insert(BILLING.into(), addresses(&[THREE]));
    let error = check(&function).await.unwrap_err();
    assert!(message(&error).contains("allow elasticloadbalancing:DescribeTags"), "{error}");
    assert_eq!(aws.targets_of(&group), "10.0.2.20:5432~ 10.0.3.30:5432");
}

#[tokio::test]
async fn doctor_examines_discovered_groups() {
    let (aws, _) = tagged();
    let function = discovering(&aws, "").await;
    let result = function.invoke(json!({"command": "doctor"}), TIME).await.unwrap();
    assert_eq!(result["bindings"][0]["endpoint"], BILLING);
}

#[tokio::test]
async fn tag_scan_begins_anew_if_a_group_was_deleted_meanwhile() {
    let (aws, _) = tagged();
    let others: Vec<String> =
        (0..39).map(|number| aws.tagged(&format!("other-{number:02}"), &[("team", "other")])).collect();
    let mut asked = 0;
    aws.state().chooser = Some(Box::new(move |action| {
        asked += usize::from(action == Action::DescribeTags);
        (action == Action::DescribeTags && asked > 1).then_some(ApiFault::Throttled)
    }));
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let function = discovering(&aws, &bindings).await;
    check(&function).await.unwrap_err();
    aws.state().chooser = None;
    for group in others {
        aws.state().groups.remove(&group);
    }
    let result = check(&function).await.unwrap();
    assert_eq!(result["bindings"].as_array().map(Vec::len), Some(2), "{result}");
}

#[tokio::test]
async fn tag_scan_continues_where_a_throttle_stopped_it() {
    let (aws, group) = tagged();
    for number in 0..98 {
        aws.tagged(&format!("other-{number:02}"), &[("team", "other")]);
    }
    // Two of five calls are answered, and then nine attempts are refused, as many as the SDK makes for the other three.
    // The first listing fails for any order of them, after five at least. The second does not: its three calls begin
    // together, and of four refusals none of them gets three.
    let (mut asked, answered) = (0, Arc::new(AtomicUsize::new(0)));
    let count = answered.clone();
    aws.state().chooser = Some(Box::new(move |action| {
        asked += usize::from(action == Action::DescribeTags);
        let refuses = action == Action::DescribeTags && (3..=11).contains(&asked);
        count.fetch_add(usize::from(action == Action::DescribeTags && !refuses), Ordering::Relaxed);
        refuses.then_some(ApiFault::Throttled)
    }));
    let function = discovering(&aws, "").await;
    // A refused call pauses the routine calls for ten seconds.
    function.invoke(json!({"command": "check"}), 2 * TIME).await.unwrap();
    assert_eq!(aws.targets_of(&group), "10.0.2.20:5432");
    assert!(aws.count(Action::DescribeTags) >= 5 + 3, "{}", aws.count(Action::DescribeTags));
    assert_eq!(answered.load(Ordering::Relaxed), 5, "a hundred groups, twenty at a time");
    assert_eq!(aws.count(Action::DescribeTargetGroups), 1);
}

/// Other systems of the account, such as Kubernetes, delete groups at any time.
#[tokio::test]
async fn group_deleted_during_the_tag_scan_fails_no_check() {
    let (aws, _) = tagged();
    let other = aws.tagged("other", &[("team", "other")]);
    aws.next(Action::DescribeTags, &[ApiFault::Slow(Duration::from_secs(1))]);
    let deleting = aws.clone();
    tokio::spawn(async move {
        while deleting.count(Action::DescribeTags) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        deleting.state().groups.remove(&other);
    });
    let function = discovering(&aws, "").await;
    let result = check(&function).await.unwrap();
    assert_eq!(result["bindings"].as_array().unwrap().len(), 1, "{result}");
    assert_eq!(aws.count(Action::DescribeTags), 2);
}

#[tokio::test]
async fn command_for_a_bound_group_does_not_fail_by_a_tag_that_binds_nothing() {
    let aws = FakeAws::new();
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let function = discovering(&aws, &bindings).await;
    let invoke = async |name: &str| function.invoke(json!({"command": "check", "binding": name}), TIME).await;
    assert_eq!(invoke("orders").await.unwrap()["bindings"][0]["status"], "in_sync");
    let error = invoke("billing").await.unwrap_err();
    assert!(message(&error).contains("no target group carries the tag"), "it may be the reason: {error}");
    assert!(message(&check(&function).await.unwrap_err()).contains("no target group carries the tag"));
}
