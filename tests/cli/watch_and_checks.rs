//! Watches and checks of one process at the same time, as the command `watch` makes them, on a paused clock.

use std::future::ready;
use std::time::{Duration, SystemTime};

use rds_nlb_sync::config::Config;
use rds_nlb_sync::event::WatchedBinding;
use rds_nlb_sync::fleet::Fleet;
use rds_nlb_sync::reconcile::{self, Report};
use rds_nlb_sync::service::{Program, Service};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use testkit::fleet::{endpoint, group};
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP};

type Clients = reconcile::Clients<FakeAws, FakeAws, FakeAws>;

fn config() -> Config {
    config_of(json!([{"endpoint": ENDPOINT, "target_group": GROUP}]))
}

fn config_of(bindings: Value) -> Config {
    let bindings = bindings.to_string();
    Config::parse(|name| (name == "BINDINGS").then(|| bindings.clone())).unwrap()
}

fn clients(aws: &FakeAws) -> Clients {
    Clients { dns: aws.clone(), groups: aws.clone(), rds: aws.clone() }
}

/// After this many seconds.
async fn after<R>(seconds: u64, then: impl Future<Output = R>) -> R {
    sleep(Duration::from_secs(seconds)).await;
    then.await
}

async fn watch(service: &Service<'_, FakeAws, FakeAws, FakeAws>, seconds: u64) -> Vec<Report> {
    let bindings = &service.config().bindings;
    let watched = [WatchedBinding { index: 0, promoted_instance: None }];
    let deadline = Instant::now() + Duration::from_secs(seconds);
    service.watch(bindings, &watched, ready(Vec::new()), deadline).await
}

/// How many bindings a check reports, and how many calls and lookups are made until it ends.
async fn check(aws: &FakeAws, service: &Service<'_, FakeAws, FakeAws, FakeAws>) -> (usize, usize) {
    let before = aws.state().calls.len();
    let result = service.check(SystemTime::UNIX_EPOCH, Duration::from_secs(60)).await;
    (result.bindings.len(), aws.state().calls.len() - before)
}

#[tokio::test(start_paused = true)]
async fn check_leaves_a_watched_binding_to_the_watch() {
    let (aws, config) = (FakeAws::new(), config());
    let (clients, fleet) = (clients(&aws), Fleet::new(&config));
    let service = Service::new(&config, &clients, &fleet, Program::CommandLine);
    let (reports, checked) = tokio::join!(watch(&service, 60), after(30, check(&aws, &service)));
    assert_eq!((reports.len(), checked), (1, (0, 0)));
    assert_eq!(check(&aws, &service).await.0, 1, "the watch is over");
}

/// The check of many bindings compares most of them with its last result.
#[tokio::test(start_paused = true)]
async fn check_of_many_leaves_a_watched_binding_to_the_watch() {
    let aws = FakeAws::of_databases(30);
    let bindings = (0..30).map(|number| json!({"endpoint": endpoint(number), "target_group": group(number)}));
    let config = config_of(bindings.collect());
    let (clients, fleet) = (clients(&aws), Fleet::new(&config));
    let service = Service::new(&config, &clients, &fleet, Program::CommandLine);
    for _ in 0..3 {
        assert_eq!(check(&aws, &service).await.0, 30);
    }
    let (_, checked) = tokio::join!(watch(&service, 60), after(30, check(&aws, &service)));
    assert_eq!(checked.0, 29);
}

#[tokio::test(start_paused = true)]
async fn watch_that_begins_during_a_check_is_respected_by_the_next() {
    let (aws, config) = (FakeAws::new(), config());
    let (clients, fleet) = (clients(&aws), Fleet::new(&config));
    let service = Service::new(&config, &clients, &fleet, Program::CommandLine);
    aws.next(Action::DescribeTargetHealth, &[ApiFault::Slow(Duration::from_secs(5))]);
    let (first, reports, second) =
        tokio::join!(check(&aws, &service), after(1, watch(&service, 60)), after(30, check(&aws, &service)));
    assert_eq!((first.0, reports.len(), second), (1, 1, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn end_of_one_watch_does_not_end_the_mark_of_another() {
    let (aws, config) = (FakeAws::new(), config());
    let (clients, fleet) = (clients(&aws), Fleet::new(&config));
    let service = Service::new(&config, &clients, &fleet, Program::CommandLine);
    let (_, _, checked) =
        tokio::join!(watch(&service, 20), watch(&service, 60), after(30, check(&aws, &service)));
    assert_eq!(checked, (0, 0));
}
