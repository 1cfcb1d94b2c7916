//! Many bindings through the handler, on a paused clock: which groups are listed, and when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rds_nlb_sync::binding::{Binding, Role};
use rds_nlb_sync::config::{AllowedEndpoints, Config};
use rds_nlb_sync::fleet::{BACKGROUND_INTERVAL, Fleet, LISTING_TIME};
use rds_nlb_sync::lambda::handle;
use rds_nlb_sync::rate_limit::{ApiRateLimiter, Call, Priority};
use rds_nlb_sync::reconcile::{self, Status};
use rds_nlb_sync::service::{Answer, InvocationError, InvocationResult, Program, Service};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep, timeout};

use testkit::fleet::{address, endpoint, group};
use testkit::ports::TIMING;
use testkit::{Action, ApiFault, FakeAws, Instance, addresses};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A function and its databases, `db-0`, `db-1` and so on, each with a group in sync.
struct Estate {
    aws: FakeAws,
    config: Config,
    fleet: Fleet,
}

impl Estate {
    fn of(databases: usize) -> Self {
        let aws = FakeAws::of_databases(databases);
        let config = Config {
            bindings: (0..databases)
                .map(|number| Binding::new(&endpoint(number), group(number).parse().unwrap()))
                .collect(),
            discovery: None,
            discovery_endpoints: AllowedEndpoints::RdsAnd([].into()),
            timing: TIMING,
            nameservers: None,
            preregister: true,
            verify: seconds(900),
            elb_calls: 5,
            dry_run: false,
        };
        aws.state().rate_limiter = Some(Arc::new(ApiRateLimiter::new(config.elb_calls)));
        let fleet = Fleet::new(&config);
        Self { aws, config, fleet }
    }

    async fn invoke(&self, event: Value) -> Result<InvocationResult, InvocationError> {
        let aws = self.aws.clone();
        let ports = reconcile::Clients { dns: aws.clone(), groups: aws.clone(), rds: aws };
        let service = Service::new(&self.config, &ports, &self.fleet, Program::Lambda);
        match handle(&service, &event.to_string(), SystemTime::UNIX_EPOCH, seconds(240)).await? {
            Answer::InvocationResult(outcome) => Ok(outcome),
            other => panic!("expected bindings, not {other:?}"),
        }
    }

    /// The schedule's check, and how many groups it listed.
    async fn check(&self) -> (InvocationResult, usize) {
        let before = self.aws.count(Action::DescribeTargetHealth);
        let outcome = self.invoke(schedule()).await;
        let outcome = outcome.expect("no failure");
        (outcome, self.aws.count(Action::DescribeTargetHealth) - before)
    }

    /// Checks until all groups were listed.
    async fn warm(&self) {
        while self.check().await.0.bindings.iter().any(|report| report.status == Status::Deferred) {
            sleep(seconds(15)).await;
        }
    }

    async fn watch(&self, number: usize) -> InvocationResult {
        let arn = format!("arn:aws:rds:us-east-1:123456789012:db:db-{number}");
        let event = json!({"source": "aws.rds", "detail-type": "RDS DB Instance Event", "detail": {"SourceArn": arn, "EventCategories": ["failover"]}});
        self.invoke(event).await.expect("no failure")
    }

    fn is_followed(&self, number: usize) -> bool {
        self.aws.targets_of(&group(number))
            == format!("{}:5432~ {}:5432", address(number, 1), address(number, 2))
    }
}

fn schedule() -> Value {
    json!({"source": "aws.events", "detail-type": "Scheduled Event"})
}

fn changed(outcome: &InvocationResult) -> Vec<&str> {
    let changed = outcome.bindings.iter().filter(|report| report.status != Status::InSync);
    changed.map(|report| report.endpoint.split('.').next().unwrap_or_default()).collect()
}

#[tokio::test(start_paused = true)]
async fn check_lists_all_of_a_few_groups() {
    let estate = Estate::of(20);
    for _ in 0..3 {
        let (outcome, listed) = estate.check().await;
        assert_eq!((outcome.bindings.len(), listed), (20, 20));
        sleep(seconds(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn check_of_many_groups_lists_its_share_and_resolves_the_rest() {
    let estate = Estate::of(200);
    estate.warm().await;
    estate.check().await;
    sleep(seconds(60)).await;
    estate.aws.forget_calls();
    let (outcome, listed) = estate.check().await;
    assert_eq!(outcome.bindings.len(), 200);
    assert_eq!(changed(&outcome), [""; 0]);
    assert_eq!(listed, 20);
    assert_eq!(estate.aws.count(Action::Lookup), 200 + 20, "one lookup each, and one with each listing");
    assert_eq!(testkit::ports::addresses(&outcome.bindings[199]), [address(199, 1)]);
}

#[tokio::test(start_paused = true)]
async fn every_group_is_listed_within_verify_seconds() {
    let estate = Estate::of(1000);
    estate.warm().await;
    // An external change that no lookup shows.
    for number in 0..1000 {
        estate.aws.state().groups.get_mut(&group(number)).expect("a group").targets.clear();
    }
    let (started, mut most) = (Instant::now(), 0);
    let mut repaired = BTreeSet::new();
    let mut minutes = interval(seconds(60));
    while repaired.len() < 1000 {
        minutes.tick().await;
        let (outcome, listed) = estate.check().await;
        most = most.max(listed);
        repaired.extend(changed(&outcome).into_iter().map(str::to_owned));
        assert!(started.elapsed() <= seconds(900 + 60), "{} of 1000", repaired.len());
    }
    assert!(most <= 2 * 100, "a listing before and one after each repair: {most}");
}

#[tokio::test(start_paused = true)]
async fn missed_failover_is_followed_at_once() {
    let estate = Estate::of(200);
    estate.warm().await;
    [7, 99, 199].into_iter().for_each(|number| estate.aws.fails_over(number));
    let started = Instant::now();
    let (outcome, _) = estate.check().await;
    assert_eq!(changed(&outcome), ["db-7", "db-99", "db-199"]);
    assert!(started.elapsed() < seconds(8), "{:?}", started.elapsed());
    assert!([7, 99, 199].map(|number| estate.is_followed(number)).into_iter().all(|followed| followed));
}

#[tokio::test(start_paused = true)]
async fn cold_function_lists_all_groups_at_the_routine_rate() {
    let estate = Estate::of(1000);
    let started = Instant::now();
    let (outcome, listed) = estate.check().await;
    assert!(started.elapsed() <= LISTING_TIME + seconds(1), "the check ends before the next one");
    let expected = 30 + 5 * LISTING_TIME.as_secs() as usize;
    assert!(listed.abs_diff(expected) <= 1, "{listed}, not {expected}");
    let pending: Vec<_> = outcome.bindings.iter().filter(|r| r.status == Status::Deferred).collect();
    assert_eq!(pending.len(), 1000 - listed);
    assert!(pending[0].waiting[0].contains("the next check lists the group"), "{:?}", pending[0]);
    estate.warm().await;
    assert!(started.elapsed() < seconds(300), "{:?}", started.elapsed());
    let listed = estate.aws.count(Action::DescribeTargetHealth);
    assert!((1000..1200).contains(&listed), "each of them once, and those that are due: {listed}");
}

#[tokio::test(start_paused = true)]
async fn unresolved_name_fails_its_binding_alone() {
    let estate = Estate::of(50);
    estate.warm().await;
    estate.aws.state().names.insert(endpoint(49), ApiFault::ServerError);
    estate.aws.fails_over(48);
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    let Err(InvocationError::Bindings(outcome)) = estate.invoke(event).await else {
        panic!("expected a failure")
    };
    assert_eq!(changed(&outcome), ["db-48", "db-49"]);
    let error = outcome.bindings[49].error.as_deref().unwrap_or_default();
    assert!(error.contains(&endpoint(49)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn operators_commands_list_every_group() {
    let estate = Estate::of(60);
    estate.warm().await;
    for command in ["check", "plan"] {
        estate.aws.forget_calls();
        estate.invoke(json!({"command": command})).await.unwrap();
        assert_eq!(estate.aws.count(Action::DescribeTargetHealth), 60, "{command}");
        assert_eq!(estate.aws.count(Action::Lookup), 60, "{command}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_binding_is_listed_by_the_next_check() {
    let estate = Estate::of(60);
    estate.warm().await;
    // It was listed recently, so it is not due.
    estate.aws.fails_over(59);
    estate.aws.next(Action::RegisterTargets, &[ApiFault::Denied]);
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    assert!(estate.invoke(event).await.is_err());
    estate.aws.state().zone.insert(endpoint(59), addresses(&[&address(59, 1)]));
    let before = estate.aws.count(Action::DescribeTargetHealth);
    estate.check().await;
    assert_eq!(estate.aws.count(Action::DescribeTargetHealth) - before, 21);
    let before = estate.aws.count(Action::DescribeTargetHealth);
    estate.check().await;
    assert_eq!(estate.aws.count(Action::DescribeTargetHealth) - before, 20, "and then as before");
}

#[tokio::test(start_paused = true)]
async fn changed_binding_is_listed_by_the_next_check() {
    let mut estate = Estate::of(60);
    estate.warm().await;
    estate.check().await;
    estate.config.bindings[59].port = Some(6432);
    assert_eq!(changed(&estate.check().await.0), ["db-59"]);
    assert_eq!(estate.aws.targets_of(&group(59)), format!("{0}:5432~ {0}:6432", address(59, 1)));
}

#[tokio::test(start_paused = true)]
async fn removed_binding_is_listed_when_it_is_back() {
    let mut estate = Estate::of(60);
    estate.warm().await;
    estate.check().await;
    let binding = estate.config.bindings.pop().expect("a binding");
    estate.check().await;
    estate.config.bindings.push(binding);
    assert_eq!(estate.check().await.1, 20 + 1);
}

#[tokio::test(start_paused = true)]
async fn watch_repairs_other_bindings_in_the_background() {
    let estate = Estate::of(100);
    estate.warm().await;
    let aws = estate.aws.clone();
    tokio::spawn(async move {
        sleep(seconds(20)).await;
        for number in 0..50 {
            aws.fails_over(number);
        }
    });
    let started = Instant::now();
    let outcome = estate.watch(0).await;
    assert_eq!(changed(&outcome).len(), 50, "and only these are reported");
    assert_eq!(outcome.bindings[0].endpoint, endpoint(0), "its own first");
    // Deregistrations have a lower priority.
    estate.check().await;
    assert!((0..50).all(|number| estate.is_followed(number)));
    let registered = estate.aws.calls(Action::RegisterTargets);
    let last = registered.iter().map(|call| call.at).max().expect("registrations") - started;
    let at_best = Duration::from_millis((50 - 20) * 250);
    assert!(last <= seconds(20) + BACKGROUND_INTERVAL + at_best + seconds(1), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn cold_watch_leaves_a_few_others_to_the_next_check() {
    let estate = Estate::of(20);
    estate.watch(0).await;
    let lookups = estate.aws.calls(Action::Lookup);
    assert!(lookups.iter().all(|call| call.detail == endpoint(0)));
}

#[tokio::test(start_paused = true)]
async fn cold_watch_lists_many_others_at_the_routine_rate() {
    let estate = Estate::of(400);
    (250..300).for_each(|number| estate.aws.fails_over(number));
    let started = Instant::now();
    let outcome = estate.watch(0).await;
    assert_eq!(changed(&outcome).len(), 50);
    let registered = estate.aws.calls(Action::RegisterTargets);
    let last = registered.iter().map(|call| call.at).max().expect("registrations") - started;
    // Failover calls use up part of the routine share.
    let time_to_list = Duration::from_secs_f64((300.0 - 30.0 + 50.0 * 2.0) / 5.0);
    assert!(last <= time_to_list + seconds(5), "{last:?}");
    let listed = estate.aws.count(Action::DescribeTargetHealth);
    let due = 400 * 180 / (900 * 9 / 10);
    let most = 400 + due + 4 * 50 + 180 / 30;
    assert!(listed <= most, "each once, those that are due, and those that moved: {listed}");
}

/// The templates reserve one run for a function with a tag: no other run looks after them.
#[tokio::test(start_paused = true)]
async fn cold_watch_with_a_tag_lists_a_few_others() {
    let mut estate = Estate::of(10);
    estate.config.discovery = Some("rds-nlb-sync".to_owned());
    estate.fleet = Fleet::new(&estate.config);
    estate.aws.fails_over(1);
    estate.watch(0).await;
    let registered = estate.aws.calls(Action::RegisterTargets);
    assert!(registered[0].detail.contains(&address(1, 2)), "{registered:?}");
}

/// A name server that fails for a moment often does so while a database fails over.
#[tokio::test(start_paused = true)]
async fn failed_lookup_beside_a_watch_hides_no_failover() {
    let estate = Estate::of(200);
    estate.warm().await;
    let aws = estate.aws.clone();
    let moved = tokio::spawn(async move {
        sleep(seconds(20)).await;
        aws.state().names.insert(endpoint(7), ApiFault::ServerError);
        sleep(seconds(2)).await;
        aws.state().names.clear();
        aws.fails_over(7);
        Instant::now()
    });
    estate.watch(0).await;
    let registered = estate.aws.calls(Action::RegisterTargets)[0].at;
    let latency = registered - moved.await.expect("the failover");
    assert!(latency <= seconds(2), "{latency:?}");
}

#[tokio::test(start_paused = true)]
async fn unresolved_names_do_not_block_the_background_sync() {
    let estate = Estate::of(200);
    for number in 1..100 {
        estate.aws.state().names.insert(endpoint(number), ApiFault::NxDomain);
    }
    estate.aws.fails_over(199);
    let outcome = estate.watch(0).await;
    assert_eq!(changed(&outcome), ["db-199"]);
}

#[tokio::test(start_paused = true)]
async fn unresolved_name_does_not_fail_a_watch_of_another() {
    let estate = Estate::of(3);
    estate.warm().await;
    estate.aws.state().names.insert(endpoint(2), ApiFault::NxDomain);
    let outcome = estate.watch(0).await;
    assert_eq!((outcome.bindings.len(), outcome.bindings[0].status), (1, Status::InSync));
}

#[tokio::test(start_paused = true)]
async fn watch_lists_due_groups_in_the_background() {
    let estate = Estate::of(100);
    estate.warm().await;
    estate.check().await;
    estate.aws.forget_calls();
    estate.watch(0).await;
    let listed = estate.aws.count(Action::DescribeTargetHealth);
    let (own, others) = (180 / 30 + 1, 100 * 180 / (900 * 9 / 10));
    assert!((others..=others + own + 1).contains(&listed), "{listed}");
}

#[tokio::test(start_paused = true)]
async fn background_sync_retries_a_failed_binding_every_5_seconds() {
    let estate = Estate::of(60);
    estate.warm().await;
    estate.aws.fails_over(59);
    estate.aws.always(Action::RegisterTargets, Some(ApiFault::Denied));
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    assert!(estate.invoke(event).await.is_err());
    let aws = estate.aws.clone();
    tokio::spawn(async move {
        sleep(seconds(60)).await;
        aws.always(Action::RegisterTargets, None);
    });
    assert_eq!(changed(&estate.watch(0).await), ["db-59"]);
    assert!(estate.is_followed(59));
    let tries = estate.aws.count(Action::RegisterTargets);
    assert!((12..=15).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn unresolved_name_is_left_to_the_next_check() {
    let estate = Estate::of(3);
    estate.warm().await;
    estate.aws.state().names.insert(endpoint(2), ApiFault::NxDomain);
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    assert!(estate.invoke(event).await.is_err());
    estate.aws.forget_calls();
    estate.watch(0).await;
    assert!(estate.aws.calls(Action::Lookup).iter().all(|call| call.detail != endpoint(2)));
}

#[tokio::test(start_paused = true)]
async fn failed_deregistration_in_the_background_is_reported() {
    let estate = Estate::of(3);
    estate.warm().await;
    estate.aws.fails_over(2);
    estate.aws.always(Action::DeregisterTargets, Some(ApiFault::Denied));
    let arn = "arn:aws:rds:us-east-1:123456789012:db:db-0";
    let event = json!({"source": "aws.rds", "detail-type": "RDS DB Instance Event", "detail": {"SourceArn": arn, "EventCategories": ["failover"]}});
    let Err(InvocationError::Bindings(outcome)) = estate.invoke(event).await else {
        panic!("expected a failure")
    };
    assert_eq!(outcome.bindings[1].status, Status::Failed, "{outcome:?}");
    assert_eq!(outcome.bindings[1].registered.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dry_run_of_many_groups_changes_nothing() {
    let mut estate = Estate::of(60);
    estate.config.dry_run = true;
    estate.warm().await;
    estate.aws.fails_over(59);
    let (outcome, _) = estate.check().await;
    assert_eq!(outcome.bindings[59].status, Status::Planned);
    assert_eq!(estate.aws.writes(), Vec::<String>::new());
}

mod readers {
    use super::*;

    /// Sixty clusters of a writer and a reader, and a warm function whose groups of readers are in sync.
    async fn clusters() -> Estate {
        let mut estate = Estate::of(60);
        for number in 0..60 {
            let name = |member| format!("db-{number}-{member}");
            let mut state = estate.aws.state();
            let members = [(name("w"), true), (name("r"), false)];
            state.clusters.insert(format!("db-{number}"), members.into());
            state.zone.insert(endpoint_of(&name("r")), addresses(&[&address(number, 1)]));
            let cluster: &'static str = format!("db-{number}").leak();
            for member in [name("w"), name("r")] {
                let endpoint = Some(endpoint_of(&member));
                let instance = Instance { endpoint, cluster: Some(cluster), ..Instance::default() };
                state.instances.insert(member, instance);
            }
        }
        estate.config.bindings.iter_mut().for_each(|binding| binding.role = Role::Readers);
        estate.warm().await;
        estate.check().await;
        estate
    }

    fn endpoint_of(member: &str) -> String {
        format!("{member}.abc123.us-east-1.rds.amazonaws.com")
    }

    /// Adds a reader to the cluster, and returns the event about it.
    fn add_reader(estate: &Estate, number: usize) -> Value {
        let name = format!("db-{number}-new");
        let mut state = estate.aws.state();
        state.zone.insert(endpoint_of(&name), addresses(&[&address(number, 9)]));
        state.clusters.get_mut(&format!("db-{number}")).expect("a cluster").insert(name.clone(), false);
        let cluster: &'static str = format!("db-{number}").leak();
        let endpoint = Some(endpoint_of(&name));
        state
            .instances
            .insert(name.clone(), Instance { endpoint, cluster: Some(cluster), ..Instance::default() });
        let arn = format!("arn:aws:rds:us-east-1:123456789012:db:{name}");
        json!({"source": "aws.rds", "detail-type": "RDS DB Instance Event", "detail": {"SourceArn": arn, "EventCategories": ["creation"]}})
    }

    #[tokio::test(start_paused = true)]
    async fn reader_names_are_cached_with_the_group() {
        let estate = clusters().await;
        estate.aws.forget_calls();
        estate.check().await;
        let asked = estate.aws.count(Action::DescribeDBClusters);
        assert_eq!(asked, 2 * 20, "with each listing, and once after it");
    }

    #[tokio::test(start_paused = true)]
    async fn event_about_an_instance_lists_its_clusters_group() {
        let estate = clusters().await;
        let event = add_reader(&estate, 59);
        estate.aws.forget_calls();
        let outcome = estate.invoke(event).await.unwrap();
        assert_eq!(changed(&outcome), ["db-59"]);
        let listed = estate.aws.count(Action::DescribeTargetHealth);
        assert!(listed <= 20 + 2, "its own twice, and those that are due: {listed}");
        assert_eq!(
            estate.aws.targets_of(&group(59)),
            format!("{}:5432 {}:5432", address(59, 1), address(59, 9))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn deleted_reader_fails_one_check() {
        let estate = clusters().await;
        {
            let mut state = estate.aws.state();
            state.zone.remove(&endpoint_of("db-59-r"));
            state.clusters.get_mut("db-59").expect("a cluster").remove("db-59-r");
            state.instances.remove("db-59-r");
            state.zone.insert(endpoint_of("db-59-w"), addresses(&[&address(59, 1)]));
        }
        let mut failed = Vec::new();
        for _ in 0..3 {
            sleep(seconds(60)).await;
            failed.push(estate.invoke(schedule()).await.is_err());
        }
        assert_eq!(
            failed,
            [true, false, false],
            "the names of the last of the groups are those of the check before"
        );
    }

    /// The endpoints move, so that every binding asks the RDS API about its readers.
    #[tokio::test(start_paused = true)]
    async fn error_of_the_rds_api_does_not_fail_the_next_check() {
        let estate = clusters().await;
        for number in 0..60 {
            estate.aws.state().zone.insert(endpoint(number), addresses(&[&address(number, 5)]));
        }
        estate.aws.always(Action::DescribeDBClusters, Some(ApiFault::Throttled));
        let failed = estate.invoke(schedule()).await.unwrap_err();
        let InvocationError::Bindings(failed) = failed else { panic!("{failed}") };
        assert!(failed.bindings.iter().all(|report| report.status == Status::Failed), "{failed:?}");
        estate.aws.always(Action::DescribeDBClusters, None);
        sleep(seconds(60)).await;
        estate.check().await;
    }

    #[tokio::test(start_paused = true)]
    async fn verification_finds_a_new_reader_without_an_event() {
        let estate = clusters().await;
        add_reader(&estate, 59);
        let started = Instant::now();
        while changed(&estate.check().await.0).is_empty() {
            sleep(seconds(60)).await;
        }
        assert!(started.elapsed() <= seconds(900), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn check_resolves_while_it_waits_for_permits() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.writer_per_rds("orders-2");
    let rate_limiter = Arc::new(ApiRateLimiter::new(5));
    aws.state().rate_limiter = Some(Arc::clone(&rate_limiter));
    // For half a minute, other calls take every token: only the writer is registered.
    let others = async {
        sleep(seconds(1)).await;
        let other_calls = async {
            loop {
                let _permit = rate_limiter.permit(Priority::Failover, Call::Describe).await;
            }
        };
        let _ = timeout(seconds(30), other_calls).await;
    };
    let (report, ()) = tokio::join!(aws.check(), others);
    assert_eq!(report.status, Status::Updated, "{report:?}");
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    let [registered] = &aws.calls(Action::RegisterTargets)[..] else { panic!("one registration") };
    let [deregistered] = &aws.calls(Action::DeregisterTargets)[..] else { panic!("one deregistration") };
    assert!(deregistered.at - registered.at > seconds(30), "after the other calls");
    assert!(aws.count(Action::Lookup) > 50, "twice a second: {}", aws.count(Action::Lookup));
}

#[tokio::test(start_paused = true)]
async fn unresolved_names_do_not_delay_due_groups() {
    let estate = Estate::of(200);
    estate.warm().await;
    for number in 0..40 {
        estate.aws.state().names.insert(endpoint(number), ApiFault::NxDomain);
    }
    estate.aws.state().groups.get_mut(&group(150)).expect("a group").targets.clear();
    let mut minutes = interval(seconds(60));
    for _ in 0..15 {
        minutes.tick().await;
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        assert!(estate.invoke(event).await.is_err(), "the unresolved names fail it");
    }
    assert_eq!(estate.aws.targets_of(&group(150)), format!("{}:5432", address(150, 1)));
}
