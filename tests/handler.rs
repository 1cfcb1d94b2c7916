//! The handler with several bindings, on a paused clock.

use std::time::{Duration, SystemTime};

use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::config::{AllowedEndpoints, Config};
use rds_nlb_sync::discovery::{TAG_AGE, TAG_AGE_UNKNOWN_DB, TagAge};
use rds_nlb_sync::fleet::Fleet;
use rds_nlb_sync::lambda::handle;
use rds_nlb_sync::rate_limit::Priority::{Failover, Routine};
use rds_nlb_sync::reconcile::{self, Report, Status};
use rds_nlb_sync::service::{Answer, InvocationError, InvocationResult, Program, RESERVE, Service, Trigger};
use serde_json::{Value, json};
use tokio::time::Instant;

use testkit::log::Log;
use testkit::ports::TIMING;
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP, Group, TWO, addresses};

const BILLING: &str = "billing.abc123.us-east-1.rds.amazonaws.com";

/// A second database, whose group is still empty.
fn two_databases() -> FakeAws {
    let aws = FakeAws::new();
    let mut state = aws.state();
    state.zone.insert(BILLING.into(), addresses(&[TWO]));
    state.groups.insert(billing_group(), Group::default());
    drop(state);
    aws
}

fn billing_group() -> String {
    GROUP.replace("/orders/", "/billing/")
}

/// A group that holds this address.
fn in_sync_with(address: &str) -> Group {
    let aws = FakeAws::new();
    aws.holds(&[address]);
    let group = aws.state().groups.remove(GROUP);
    group.expect("a group")
}

async fn invoke(aws: &FakeAws, event: Value, time: Duration) -> Result<InvocationResult, InvocationError> {
    invoke_with(None, aws, event, time).await
}

/// The same, with groups that have this tag besides.
async fn invoke_with(
    tag: Option<&str>,
    aws: &FakeAws,
    event: Value,
    time: Duration,
) -> Result<InvocationResult, InvocationError> {
    let config = config(tag);
    let ports = ports(aws);
    let fleet = Fleet::new(&config);
    invoke_on(&Service::new(&config, &ports, &fleet, Program::Lambda), event, time).await
}

type Ports = reconcile::Clients<FakeAws, FakeAws, FakeAws>;

fn ports(aws: &FakeAws) -> Ports {
    reconcile::Clients { dns: aws.clone(), groups: aws.clone(), rds: aws.clone() }
}

/// One more invocation of the same process.
async fn invoke_on(
    service: &Service<'_, FakeAws, FakeAws, FakeAws>,
    event: Value,
    time: Duration,
) -> Result<InvocationResult, InvocationError> {
    match handle(service, &event.to_string(), noon(), time).await? {
        Answer::InvocationResult(outcome) => Ok(outcome),
        other => panic!("expected bindings, not {other:?}"),
    }
}

fn config(tag: Option<&str>) -> Config {
    let bindings = vec![
        Binding::new(ENDPOINT, GROUP.parse().unwrap()),
        Binding::new(BILLING, billing_group().parse().unwrap()),
    ];
    Config {
        bindings,
        discovery: tag.map(str::to_owned),
        discovery_endpoints: AllowedEndpoints::RdsAnd([].into()),
        timing: TIMING,
        nameservers: None,
        preregister: true,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: false,
    }
}

/// Noon of a day, as an event writes it and as a clock does.
const NOON: &str = "2026-11-20T12:00:00Z";

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000)
}

/// A failover of this instance.
fn failover(instance: &str) -> Value {
    let arn = format!("arn:aws:rds:us-east-1:123456789012:db:{instance}");
    json!({
        "source": "aws.rds", "detail-type": "RDS DB Instance Event",
        "detail": {"SourceArn": arn, "EventCategories": ["failover"]},
    })
}

fn schedule() -> Value {
    json!({"source": "aws.events", "detail-type": "Scheduled Event"})
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn failed(result: Result<InvocationResult, InvocationError>) -> Vec<Report> {
    match result {
        Err(InvocationError::Bindings(outcome)) => outcome.bindings,
        other => panic!("expected failed bindings, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn check_covers_all_bindings_and_watch_those_of_the_event() {
    let aws = two_databases();
    let check = invoke(&aws, json!({"command": "check"}), minute()).await.unwrap();
    assert_eq!((check.trigger, check.bindings.len()), (Trigger::Check, 2));
    let watch = invoke(&aws, failover("BILLING"), minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1));
    assert_eq!(watch.bindings[0].endpoint, BILLING);
}

/// The length of a watch without a change, for an event of this time.
async fn watched_for(time: Value, expected: Trigger) -> Duration {
    let aws = two_databases();
    aws.state().groups.insert(billing_group(), in_sync_with(TWO));
    let mut event = failover("orders");
    event["time"] = time;
    let started = Instant::now();
    let outcome = invoke(&aws, event, Duration::from_secs(240)).await.unwrap();
    assert_eq!(outcome.trigger, expected);
    assert_eq!(outcome.bindings[0].status, Status::InSync);
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn event_older_than_a_watch_is_a_check() {
    for late in
        ["2026-11-20T11:56:59Z", "2026-11-20T11:00:01Z", "2026-11-20T10:59:00Z", "2019-01-01T00:00:00Z"]
    {
        assert!(watched_for(json!(late), Trigger::Check).await < Duration::from_secs(1), "{late}");
    }
}

#[tokio::test(start_paused = true)]
async fn recent_or_undated_event_is_watched_to_the_end() {
    let times = [json!(NOON), json!("2026-11-20T11:57:00Z"), json!("2026-11-20T12:00:05Z"), json!(null)];
    for time in times {
        assert!(
            watched_for(time.clone(), Trigger::Watch).await > TIMING.watch - Duration::from_secs(1),
            "{time}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn late_event_repairs_a_missed_failover() {
    let aws = two_databases();
    aws.promote("orders-2");
    aws.writer_per_rds("orders-2");
    let mut event = failover("orders");
    event["time"] = json!("2026-11-20T11:50:00Z");
    let outcome = invoke(&aws, event, Duration::from_secs(240)).await.unwrap();
    assert_eq!((outcome.trigger, outcome.bindings[0].status), (Trigger::Check, Status::Updated));
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn hanging_lookup_delays_no_other_binding() {
    let aws = two_databases();
    aws.resolves_to(&[TWO]);
    aws.state().names.insert(BILLING.into(), ApiFault::Hangs);
    let reports = failed(invoke(&aws, json!({"command": "check"}), minute()).await);
    assert_eq!(reports[0].status, Status::Updated);
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    assert!(reports[0].elapsed_ms <= 7_000, "{reports:?}");
    assert_eq!(reports[1].status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn hanging_api_leaves_time_to_report() {
    let aws = two_databases();
    aws.next(Action::DescribeTargetHealth, &[ApiFault::Hangs]);
    let started = Instant::now();
    let reports = failed(invoke(&aws, json!({"command": "check"}), minute()).await);
    assert_eq!([reports[0].status, reports[1].status], [Status::Failed, Status::Updated]);
    assert_eq!(started.elapsed(), minute() - RESERVE);
}

#[tokio::test(start_paused = true)]
async fn short_timeout_is_not_all_reserve() {
    let aws = two_databases();
    aws.state().latency = Duration::from_millis(10);
    let outcome = invoke(&aws, json!({"command": "plan"}), Duration::from_millis(400)).await.unwrap();
    assert_eq!(outcome.bindings[1].status, Status::Planned);
}

#[tokio::test(start_paused = true)]
async fn unbound_databases_do_not_matter() {
    let aws = two_databases();
    aws.promote("orders-2");
    aws.writer_per_rds("orders-2");
    for number in 0..150 {
        let members = [(format!("other-{number}"), true)].into();
        aws.state().clusters.insert(format!("other-{number}"), members);
    }
    let outcome = invoke(&aws, json!({"command": "check"}), minute()).await.unwrap();
    assert_eq!(outcome.bindings[0].status, Status::Updated);
    assert_eq!(aws.count(Action::DescribeDBClusters), 1, "asked for by name, never listed");
}

#[tokio::test(start_paused = true)]
async fn accepted_tag_age_depends_on_the_event() {
    let any = |priority| (TagAge::Any, priority);
    for (event, are_known, expected) in [
        (failover("billing"), true, vec![any(Failover)]),
        (failover("sales"), true, vec![any(Failover), (TAG_AGE_UNKNOWN_DB, Failover)]),
        (failover("sales"), false, vec![any(Failover)]),
        (schedule(), true, vec![any(Routine), (TAG_AGE, Routine)]),
        (schedule(), false, vec![any(Routine)]),
        (json!({"command": "check"}), true, vec![any(Routine), (TagAge::New, Routine)]),
    ] {
        let aws = two_databases();
        aws.tagged("tagged", &[("rds-endpoint", BILLING)]);
        aws.state().tags_are_known = are_known;
        invoke_with(Some("rds-endpoint"), &aws, event.clone(), minute()).await.unwrap();
        assert_eq!(aws.state().tag_ages, expected, "{event}, {are_known}");
    }
}

#[tokio::test(start_paused = true)]
async fn command_says_if_the_tags_are_not_read_in_time() {
    let aws = two_databases();
    aws.tagged("tagged", &[("rds-endpoint", BILLING)]);
    let (config, ports) = (config(Some("rds-endpoint")), ports(&aws));
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &ports, &fleet, Program::Lambda);
    aws.state().tags_are_known = true;
    // The known list is there; a new one does not come.
    aws.next(Action::DescribeTags, &[ApiFault::Slow(Duration::ZERO), ApiFault::Hangs]);
    let result = invoke_on(&service, json!({"command": "plan"}), minute()).await;
    let reports = failed(result);
    assert!(
        reports.iter().any(|it| it.target_group == "every target group tagged rds-endpoint"),
        "{reports:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn tags_that_bind_nothing_are_read_again_sooner() {
    let aws = two_databases();
    aws.state().tags_are_known = true;
    failed(invoke_with(Some("rds-endpoint"), &aws, schedule(), minute()).await);
    let expected = [(TagAge::Any, Routine), (TAG_AGE_UNKNOWN_DB, Routine)];
    assert_eq!(aws.state().tag_ages, expected);
}

#[tokio::test(start_paused = true)]
async fn group_with_bad_tags_fails_a_check_but_no_watch() {
    let aws = two_databases();
    aws.tagged("odd", &[("rds-endpoint", "not a name")]);
    let invoke = async |event| invoke_with(Some("rds-endpoint"), &aws, event, minute()).await;
    assert_eq!(invoke(failover("billing")).await.unwrap().bindings.len(), 1);
    let reports = failed(invoke(schedule()).await);
    assert_eq!((reports.len(), reports[2].status), (3, Status::Failed));
    assert!(reports[2].error.as_ref().is_some_and(|error| error.contains("not a name")), "{reports:?}");
    // A check reads the known list first, and then a new one.
    aws.state().tags_are_known = true;
    let log = Log::open();
    failed(invoke(schedule()).await);
    let lines = log.lines().into_iter().filter(|line| line["decision"] == "fail");
    assert_eq!(lines.count(), 1, "each bad tag once");
}

#[tokio::test(start_paused = true)]
async fn log_counts_bindings_in_sync_and_lists_the_others() {
    let (aws, log) = (two_databases(), Log::open());
    invoke(&aws, schedule(), minute()).await.unwrap();
    let lines = log.lines();
    let done = lines.iter().find(|line| line["decision"] == "done").expect("a line that says so");
    assert_eq!((&done["trigger"], &done["in_sync"]), (&json!("check"), &json!(1)));
    let message_text: Vec<Value> =
        serde_json::from_str(done["result"].as_str().expect("a text")).expect("JSON");
    assert_eq!(message_text.iter().map(|report| &report["endpoint"]).collect::<Vec<_>>(), [BILLING]);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_no_events_are_logged_and_counted() {
    let (aws, log) = (two_databases(), Log::open());
    invoke(&aws, json!([failover("billing"), schedule()]), minute()).await.unwrap();
    assert!(!log.decisions().contains(&"skip".to_owned()));
    let others = (0..20).map(|number| json!({"source": format!("aws.other-{number}")}));
    let batch: Vec<Value> = std::iter::once(schedule()).chain(others).collect();
    invoke(&aws, json!(batch), minute()).await.unwrap();
    let skips: Vec<Value> = log.lines().into_iter().filter(|line| line["decision"] == "skip").collect();
    assert_eq!(skips.len(), 10 + 1, "{skips:?}");
    assert!(skips[0]["reason"].as_str().is_some_and(|reason| reason.contains("aws.other-0")));
    assert_eq!((&skips[10]["records"], &skips[10]["unsupported"]), (&json!(21), &json!(20)));
}

#[tokio::test(start_paused = true)]
async fn unreadable_event_of_rds_is_logged_and_checks_all() {
    let (aws, log) = (two_databases(), Log::open());
    let mut event = failover("billing");
    event["detail"] = json!(7);
    let outcome = invoke(&aws, event, minute()).await.unwrap();
    assert_eq!((outcome.trigger, outcome.bindings.len()), (Trigger::Check, 2));
    let lines = log.lines();
    let warning = lines.iter().find(|line| line["decision"] == "check").expect("a warning");
    assert_eq!(warning["level"], "WARN");
    assert!(warning["reason"].as_str().is_some_and(|reason| reason.contains("integer `7`")), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn failure_is_logged_by_its_message() {
    let aws = two_databases();
    aws.state().names.insert(BILLING.into(), ApiFault::NxDomain);
    let failure = invoke(&aws, schedule(), minute()).await.unwrap_err();
    assert_eq!(format!("{failure:?}"), failure.to_string());
    assert!(failure.to_string().contains(BILLING), "{failure}");
}

/// The cluster's member `orders-2`, as the RDS API describes it.
fn is_member(aws: &FakeAws) {
    assert!(aws.state().instances.contains_key("orders-2"));
}

#[tokio::test(start_paused = true)]
async fn event_about_a_member_watches_its_clusters_binding() {
    let aws = two_databases();
    is_member(&aws);
    let watch = invoke(&aws, failover("orders-2"), minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1));
    assert_eq!(watch.bindings[0].endpoint, ENDPOINT);
}

#[tokio::test(start_paused = true)]
async fn every_record_of_a_batch_is_watched() {
    let aws = two_databases();
    let record = |event: Value| json!({"eventSource": "aws:sqs", "body": event.to_string()});
    let batch = json!({"Records": [record(failover("billing")), record(failover("orders-2"))]});
    let watch = invoke(&aws, batch, minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 2), "orders-2 is a member of orders");
}

#[tokio::test(start_paused = true)]
async fn command_about_one_binding_counts_all_of_them() {
    let aws = two_databases();
    let check = invoke(&aws, json!({"command": "check", "binding": "billing"}), minute()).await.unwrap();
    assert_eq!((check.bindings.len(), check.bound), (1, 2));
}

/// The cluster's member `orders-2` is bound as well, beside the cluster.
fn with_bound_member(aws: &FakeAws) -> Config {
    const MEMBER: &str = "orders-2.abc123.us-east-1.rds.amazonaws.com";
    is_member(aws);
    aws.state().zone.insert(MEMBER.into(), addresses(&[TWO]));
    let mut config = config(None);
    config.bindings[1] = Binding::new(MEMBER, billing_group().parse().unwrap());
    config
}

#[tokio::test(start_paused = true)]
async fn event_about_a_bound_member_watches_its_clusters_binding_as_well() {
    let aws = two_databases();
    let (config, ports) = (with_bound_member(&aws), ports(&aws));
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &ports, &fleet, Program::Lambda);
    for invocation in 1..=2 {
        let watch = invoke_on(&service, failover("orders-2"), minute()).await.unwrap();
        let endpoints: Vec<_> = watch.bindings.iter().map(|report| &report.endpoint[..8]).collect();
        assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 2), "{invocation}: {endpoints:?}");
        assert!(endpoints.contains(&"orders.c") && endpoints.contains(&"orders-2"), "{endpoints:?}");
    }
    assert_eq!(aws.count(Action::DescribeDBInstances), 1, "the member is known from then on");
}

#[tokio::test(start_paused = true)]
async fn binding_that_joins_a_watch_is_synced_by_the_watch_alone() {
    let aws = two_databases();
    let (config, ports) = (with_bound_member(&aws), ports(&aws));
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &ports, &fleet, Program::Lambda);
    invoke_on(&service, schedule(), minute()).await.unwrap();
    aws.forget_calls();
    // The registration takes long enough for a round of the background sync.
    aws.always(Action::RegisterTargets, Some(ApiFault::Slow(Duration::from_secs(2))));
    let failover_later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
    };
    let watch = invoke_on(&service, failover("orders-2"), minute());
    let (watch, ()) = tokio::join!(watch, failover_later);
    assert_eq!(watch.unwrap().bindings.len(), 2, "one report for each binding");
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
}

#[tokio::test(start_paused = true)]
async fn watch_of_a_bound_member_waits_for_no_answer_of_the_rds_api() {
    let aws = two_databases();
    let (config, ports) = (with_bound_member(&aws), ports(&aws));
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &ports, &fleet, Program::Lambda);
    let started = Instant::now();
    let watch = invoke_on(&service, failover("orders-2"), minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1));
    let [first, ..] = &aws.calls(Action::Lookup)[..] else { panic!("a lookup") };
    assert!(first.at < started + Duration::from_millis(100), "{:?}", first.at - started);
}

#[tokio::test(start_paused = true)]
async fn event_about_a_member_is_a_check_while_the_rds_api_is_silent() {
    let aws = two_databases();
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    let (started, log) = (Instant::now(), Log::open());
    let check = invoke(&aws, failover("orders-2"), minute()).await.unwrap();
    assert_eq!((check.trigger, check.bindings.len()), (Trigger::Check, 2));
    assert!(log.decisions().contains(&"rds_unavailable".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn event_about_a_known_member_waits_for_no_answer_of_the_rds_api() {
    let aws = two_databases();
    let (config, ports) = (config(None), ports(&aws));
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &ports, &fleet, Program::Lambda);
    invoke_on(&service, failover("orders-2"), minute()).await.unwrap();
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    aws.forget_calls();
    let started = Instant::now();
    let watch = invoke_on(&service, failover("orders-2"), minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1));
    let [first, ..] = &aws.calls(Action::Lookup)[..] else { panic!("a lookup") };
    assert!(first.at < started + Duration::from_millis(100), "{:?}", first.at - started);
}

#[tokio::test(start_paused = true)]
async fn instance_outside_the_bound_clusters_is_asked_about_once_per_event() {
    let aws = two_databases();
    aws.state().instances.insert("sales".into(), testkit::Instance::default());
    aws.tagged("tagged", &[("rds-endpoint", BILLING)]);
    aws.state().tags_are_known = true;
    invoke_with(Some("rds-endpoint"), &aws, failover("sales"), minute()).await.unwrap();
    assert_eq!(aws.count(Action::DescribeTags), 2, "the known tags, and the new ones");
    assert_eq!(aws.count(Action::DescribeDBInstances), 1);
}

#[tokio::test(start_paused = true)]
async fn event_about_a_bound_database_asks_no_api_before_its_watch() {
    let aws = two_databases();
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    let watch = invoke(&aws, failover("billing"), minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1));
    let [first, ..] = &aws.calls(Action::Lookup)[..] else { panic!("a lookup") };
    let asked = aws.calls(Action::DescribeDBInstances);
    assert!(asked.iter().all(|call| call.at >= first.at), "the watch comes first");
}

#[tokio::test(start_paused = true)]
async fn tag_that_binds_nothing_is_a_failure() {
    let aws = two_databases();
    let reports = failed(invoke_with(Some("rds-endpoint"), &aws, schedule(), minute()).await);
    assert_eq!(reports.len(), 3, "the configured bindings are checked all the same");
    assert_eq!(reports[2].target_group, "every target group tagged rds-endpoint");
    assert!(reports[2].error.as_ref().is_some_and(|error| error.contains("no target group carries the tag")));
    let watch = invoke_with(Some("rds-endpoint"), &aws, failover("billing"), minute()).await.unwrap();
    assert_eq!((watch.trigger, watch.bindings.len()), (Trigger::Watch, 1), "a watch goes on");
}

#[test]
fn message_of_a_thousand_failed_bindings_has_a_few_kilobytes() {
    let report = |number: usize| Report {
        endpoint: format!("db-{number}.{}", "x".repeat(300)),
        target_group: format!(
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/db-{number}/0"
        ),
        status: Status::Failed,
        addresses: None,
        registered: Default::default(),
        deregistered: Default::default(),
        waiting: Vec::new(),
        health: Default::default(),
        may_apply_late: false,
        error: Some("r".repeat(5000) + ". Fix: allow it"),
        elapsed_ms: 1,
        registration_latency_ms: None,
    };
    let error = |count: usize| {
        let bindings = (0..count).map(report).collect();
        InvocationError::Bindings(InvocationResult {
            trigger: Trigger::Check,
            bindings,
            bound: count,
            unbound: 0,
        })
    };
    let message = error(1000).to_string();
    assert!(message.len() < 8 * 1024, "{} bytes", message.len());
    assert!(message.starts_with("1000 of 1000 bindings failed; db-0.xxx"), "{message}");
    let arrow = " → arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/db-4/0: rrr";
    assert!(message.contains(arrow) && !message.contains("/db-5/"), "{message}");
    assert!(message.ends_with("rrr. Fix: allow it; and 995 more: see the log"), "{message}");
    assert!(!error(5).to_string().contains("more"));
}
