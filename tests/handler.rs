//! The handler with several bindings, on a paused clock.

use std::time::Duration;

use rds_nlb_sync::config::{Binding, Config};
use rds_nlb_sync::fleet::Fleet;
use rds_nlb_sync::lambda::{Answer, Failed, Outcome, Trigger, handle};
use rds_nlb_sync::reconcile::{self, Report, Status};
use serde_json::{Value, json};

use crate::world::ports::PACE;
use crate::world::{Action, ENDPOINT, GROUP, Group, TWO, Trouble, World, addresses};

const BILLING: &str = "billing.abc123.us-east-1.rds.amazonaws.com";

/// A world with a second database, whose group is still empty.
fn two_databases() -> World {
    let world = World::new();
    let mut state = world.state();
    state.zone.insert(BILLING.into(), addresses(&[TWO]));
    state.groups.insert(billing_group(), Group::default());
    drop(state);
    world
}

fn billing_group() -> String {
    GROUP.replace("/orders/", "/billing/")
}

async fn invoke(world: &World, event: Value, time: Duration) -> Result<Outcome, Failed> {
    let bindings = vec![Binding::new(ENDPOINT, GROUP), Binding::new(BILLING, &billing_group())];
    let config = Config {
        bindings,
        discovery: None,
        pace: PACE,
        nameservers: None,
        preregister: true,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: false,
    };
    let ports = reconcile::World { dns: world.clone(), groups: world.clone(), clusters: world.clone() };
    match handle(&config, &ports, &Fleet::new(&config), &event.to_string(), time).await? {
        Answer::Outcome(outcome) => Ok(outcome),
        other => panic!("expected bindings, not {other:?}"),
    }
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn failed(result: Result<Outcome, Failed>) -> Vec<Report> {
    match result {
        Err(Failed::Bindings(outcome)) => outcome.bindings,
        other => panic!("expected failed bindings, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_is_of_all_bindings_and_a_watch_of_those_that_the_event_is_about() {
    let world = two_databases();
    let check = invoke(&world, json!({"command": "check"}), minute()).await.unwrap();
    assert_eq!((check.trigger, check.bindings.len()), (Trigger::Check, 2));
    let event = json!({"source": "aws.rds", "detail": {
        "SourceArn": "arn:aws:rds:us-east-1:123456789012:db:BILLING", "EventCategories": ["failover"]
    }});
    let watch = invoke(&world, event, minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1));
    assert_eq!(watch.bindings[0].endpoint, BILLING);
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_hangs_delays_no_other() {
    let world = two_databases();
    world.resolves_to(&[TWO]);
    world.state().names.insert(BILLING.into(), Trouble::Hangs);
    let reports = failed(invoke(&world, json!({"command": "check"}), minute()).await);
    assert_eq!(reports[0].status, Status::Updated);
    assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    assert!(reports[0].elapsed_ms <= 7_000, "{reports:?}");
    assert_eq!(reports[1].status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_to_the_end_spares_the_others_and_leaves_time_to_report() {
    let world = two_databases();
    world.next(Action::DescribeTargetHealth, &[Trouble::Hangs]);
    let started = tokio::time::Instant::now();
    let reports = failed(invoke(&world, json!({"command": "check"}), minute()).await);
    assert_eq!([reports[0].status, reports[1].status], [Status::Failed, Status::Updated]);
    assert_eq!(started.elapsed(), minute() - rds_nlb_sync::lambda::RESERVE);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_shorter_than_the_reserve_is_not_all_reserve() {
    let world = two_databases();
    world.state().latency = Duration::from_millis(10);
    let outcome = invoke(&world, json!({"command": "plan"}), Duration::from_millis(400)).await.unwrap();
    assert_eq!(outcome.bindings[1].status, Status::Planned);
}

#[tokio::test(start_paused = true)]
async fn the_number_and_the_state_of_other_databases_do_not_matter() {
    let world = two_databases();
    world.promote("orders-2");
    world.writer_per_rds("orders-2");
    for number in 0..150 {
        let members = [(format!("other-{number}"), true)].into();
        world.state().clusters.insert(format!("other-{number}"), members);
    }
    let outcome = invoke(&world, json!({"command": "check"}), minute()).await.unwrap();
    assert_eq!(outcome.bindings[0].status, Status::Updated);
    assert_eq!(world.count(Action::DescribeDBClusters), 1, "asked for by name, never listed");
}
