use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::plan::StandbyPolicy;
use rds_nlb_sync::reconcile::Preregistration;

use super::*;
use testkit::{ENDPOINT, Instance};

const INSTANCE: &str = "orders.abc123.us-east-1.rds.amazonaws.com";
/// An instance of the same name in another account.
const ELSEWHERE: &str = "orders.xyz789.us-east-1.rds.amazonaws.com";

/// The Multi-AZ instance `orders`, at one address.
fn instance() -> FakeAws {
    let aws = FakeAws::new();
    moves(&aws, ONE);
    let orders = Instance { endpoint: Some(INSTANCE.to_owned()), multi_az: true, ..Instance::default() };
    aws.state().instances.insert("orders".into(), orders);
    aws.state().clusters.clear();
    aws
}

fn moves(aws: &FakeAws, address: &str) {
    aws.state().zone.insert(INSTANCE.into(), testkit::addresses(&[address]));
}

async fn keeps(aws: &FakeAws, mode: Mode) -> Report {
    let binding = Binding { standby: StandbyPolicy::Keep, ..Binding::new(INSTANCE, GROUP.parse().unwrap()) };
    let preregistration = Preregistration::On { promoted_instance: None };
    aws.reconcile_binding(&binding, TIMING, mode, &preregistration, seconds(240)).await
}

fn health(aws: &FakeAws, of: &[(&str, &'static str)]) {
    aws.group(|group| {
        for (target, target_is) in &mut group.targets {
            let found = of.iter().find(|(address, _)| target.ip().to_string() == *address);
            if let Some((_, state)) = found {
                target_is.state = Some(*state);
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn standby_is_kept_after_failover_and_needs_no_call_later() {
    let aws = instance();
    // The failover: the load balancer notices late which target is healthy.
    later(&aws, 10, |aws| moves(aws, TWO));
    later(&aws, 50, |aws| health(aws, &[(ONE, "unhealthy")]));
    later(&aws, 120, |aws| health(aws, &[(TWO, "healthy")]));
    assert_eq!(keeps(&aws, Mode::Watch).await.status, Status::Updated);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    assert_eq!(keeps(&aws, Mode::Check).await.status, Status::InSync);
    // And the next one: health checks alone bring the standby back.
    aws.forget_calls();
    health(&aws, &[(TWO, "unhealthy")]);
    later(&aws, 10, |aws| moves(aws, ONE));
    later(&aws, 30, |aws| health(aws, &[(ONE, "healthy")]));
    assert_eq!(keeps(&aws, Mode::Watch).await.status, Status::InSync);
    assert_eq!(aws.writes(), Vec::<String>::new());
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

/// An alias of two instances, which a switchover moves from the one to the other.
#[tokio::test(start_paused = true)]
async fn standby_is_that_of_the_instance_that_the_alias_leads_to() {
    const ALIAS: &str = "orders.example.com";
    let aws = instance();
    // The other one is not Multi-AZ.
    let blue =
        Instance { endpoint: Some(INSTANCE.replace("orders.", "orders-blue.")), ..Instance::default() };
    aws.state().instances.insert("orders-blue".into(), blue);
    aws.state().zone.insert(ALIAS.into(), testkit::Record::Cname(INSTANCE.into()));
    aws.holds(&[ONE, "10.0.2.20!"]);
    let databases = ["orders-blue", "orders"].map(str::to_owned).into();
    let binding =
        Binding { standby: StandbyPolicy::Keep, databases, ..Binding::new(ALIAS, GROUP.parse().unwrap()) };
    let preregistration = Preregistration::Off;
    let report = aws.reconcile_binding(&binding, TIMING, Mode::Check, &preregistration, seconds(60)).await;
    assert_eq!(report.status, Status::InSync, "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn standby_decision_waits_until_the_writer_is_healthy() {
    let aws = instance();
    moves(&aws, TWO);
    aws.group(|group| group.health = seconds(3600));
    let report = keeps(&aws, Mode::Check).await;
    assert_eq!(report.status, Status::Pending);
    assert!(
        report.waiting[0].contains("depending on its health, once the writer's target is healthy"),
        "{report:?}"
    );
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    assert!(aws.count(Action::DescribeTargetHealth) <= 12, "not listed at every poll");
}

#[tokio::test(start_paused = true)]
async fn healthy_standby_is_deregistered_after_confirmation() {
    let aws = instance();
    moves(&aws, TWO);
    aws.holds(&["10.0.1.10!", TWO]);
    assert_eq!(keeps(&aws, Mode::Check).await.status, Status::InSync);
    health(&aws, &[(ONE, "healthy")]);
    let started = Instant::now();
    assert_eq!(keeps(&aws, Mode::Check).await.status, Status::Updated);
    assert!(aws.calls(Action::DeregisterTargets)[0].at - started >= seconds(6));
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn one_standby_at_most_is_kept() {
    let aws = instance();
    aws.holds(&[ONE, "10.0.2.20!", "10.0.3.30!"]);
    assert_eq!(keeps(&aws, Mode::Check).await.status, Status::Updated);
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432 10.0.3.30:5432~");
}

#[tokio::test(start_paused = true)]
async fn standby_is_deregistered_unless_configured() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, "10.0.2.20!"]);
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

/// The failover is followed, the previous writer is deregistered, and the error says why.
#[track_caller]
fn refused(aws: &FakeAws, report: &Report, why: &str) {
    assert_eq!(report.status, Status::Failed);
    assert!(error(report).contains(why) && error(report).contains("remove \"standby\""), "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn standby_of_single_az_instance_is_refused() {
    let aws = instance();
    aws.state().instances.get_mut("orders").unwrap().multi_az = false;
    moves(&aws, TWO);
    aws.holds(&["10.0.1.10!", TWO]);
    let report = keeps(&aws, Mode::Check).await;
    refused(&aws, &report, "the instance orders is not Multi-AZ");
    assert_eq!(keeps(&aws, Mode::DryRun).await.status, Status::Failed);
    assert_eq!(keeps(&aws, Mode::Watch).await.status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn standby_of_cluster_is_refused_under_any_name() {
    let why = "a cluster's previous writer continues as a reader";
    let of_member: fn(&FakeAws) = |aws| {
        aws.state().instances.get_mut("orders").unwrap().cluster = Some("sales");
    };
    let of_cluster: fn(&FakeAws) = |aws| {
        aws.state().instances.clear();
        aws.writer_per_rds("orders-2");
    };
    let of_chain: fn(&FakeAws) = |aws| {
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
        aws.state().zone.insert(INSTANCE.into(), testkit::Record::Cname(ENDPOINT.to_owned()));
    };
    for prepare in [of_member, of_cluster, of_chain] {
        let aws = instance();
        moves(&aws, TWO);
        aws.holds(&["10.0.1.10!", TWO]);
        prepare(&aws);
        refused(&aws, &keeps(&aws, Mode::Check).await, why);
    }
}

#[tokio::test(start_paused = true)]
async fn standby_is_kept_while_the_rds_api_is_silent() {
    for fault in [ApiFault::Hangs, ApiFault::Denied, ApiFault::ServerError] {
        let aws = instance();
        aws.always(Action::DescribeDBInstances, Some(fault));
        moves(&aws, TWO);
        aws.holds(&["10.0.1.10!", TWO]);
        assert_eq!(keeps(&aws, Mode::Check).await.status, Status::InSync, "{fault:?}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_continue_while_the_standby_is_unknown() {
    let aws = instance();
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Slow(seconds(2))));
    moves(&aws, TWO);
    aws.holds(&["10.0.1.10!", TWO]);
    assert_eq!(keeps(&aws, Mode::Check).await.status, Status::InSync);
    let lookups = aws.calls(Action::Lookup);
    let longest = lookups.windows(2).map(|pair| pair[1].at - pair[0].at).max();
    assert!(longest.is_some_and(|gap| gap <= seconds(1)), "{longest:?} in {} lookups", lookups.len());
    assert!((4..=9).contains(&lookups.len()), "{} lookups in two seconds", lookups.len());
}

#[tokio::test(start_paused = true)]
async fn standby_is_kept_for_a_name_unknown_to_rds() {
    let aws = instance();
    aws.state().instances.clear();
    moves(&aws, TWO);
    aws.holds(&["10.0.1.10!", TWO]);
    assert_eq!(keeps(&aws, Mode::Check).await.status, Status::InSync);
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn standby_query_does_not_delay_registration() {
    let aws = instance();
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    later(&aws, 1, |aws| moves(aws, TWO));
    let started = Instant::now();
    keeps(&aws, Mode::Watch).await;
    let registered = aws.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(1) + TIMING.poll, "{registered:?}");
}

#[tokio::test(start_paused = true)]
async fn instance_of_the_same_name_elsewhere_decides_nothing_about_the_standby() {
    for (endpoint, expected) in [(INSTANCE, Status::Failed), (ELSEWHERE, Status::InSync)] {
        let aws = instance();
        let single_az = Instance { endpoint: Some(endpoint.to_owned()), ..Instance::default() };
        aws.state().instances.insert("orders".into(), single_az);
        let report = keeps(&aws, Mode::Check).await;
        assert_eq!(report.status, expected, "{endpoint}: {report:?}");
    }
}
