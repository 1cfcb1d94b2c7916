//! Failovers, and everything that goes wrong with them, through the real loop on a paused clock.

use std::time::Duration;

use rds_nlb_sync::reconcile::{LISTING_LAG, Mode, RDS_RECHECK_INTERVAL, Report, Status, Timing};
use tokio::time::{Instant, sleep};

use testkit::log::Log;
use testkit::ports::{TIMING, addresses};
use testkit::{Action, ApiFault, FakeAws, GROUP, ONE, THREE, TWO};

mod api_failures;
mod concurrency;
mod confirmation;
mod deadline;
mod dry_run;
mod log;
mod no_answer;
mod permits;
mod preregistration;
mod rds_api;
mod standby;
mod unknown_state;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Changes the fake AWS later, while the function runs.
fn later(aws: &FakeAws, after: u64, change: impl FnOnce(&FakeAws) + Send + 'static) {
    let aws = aws.clone();
    tokio::spawn(async move {
        sleep(seconds(after)).await;
        change(&aws);
    });
}

/// The fixpoint: another check finds the group in sync and writes nothing.
async fn settled(aws: &FakeAws, targets: &str) {
    aws.forget_calls();
    let report = aws.check().await;
    assert_eq!(report.status, Status::InSync, "{report:?}");
    assert_eq!(aws.writes(), Vec::<String>::new());
    assert_eq!(aws.targets(), targets);
}

fn error(report: &Report) -> &str {
    report.error.as_deref().unwrap_or("no error")
}

#[tokio::test(start_paused = true)]
async fn check_in_sync_costs_one_lookup_and_one_listing() {
    let aws = FakeAws::new();
    let report = aws.check().await;
    assert_eq!(report.status, Status::InSync);
    assert_eq!(addresses(&report), [ONE]);
    assert_eq!((aws.count(Action::Lookup), aws.count(Action::DescribeTargetHealth)), (1, 1));
    assert_eq!(aws.state().calls.len(), 2, "and nothing else");
}

#[tokio::test(start_paused = true)]
async fn failover_during_watch_is_followed() {
    let aws = FakeAws::new();
    later(&aws, 20, |aws| {
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
    });
    let started = Instant::now();
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    let registered = aws.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(20) + TIMING.poll, "registered after {registered:?}");
    let deregistered = aws.calls(Action::DeregisterTargets)[0].at - started;
    assert!(deregistered >= seconds(26), "confirmed for 6 s first, not after {deregistered:?}");
    assert!(started.elapsed() < seconds(30), "a followed failover ends the watch");
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn registration_latency_counts_from_the_first_answer() {
    let aws = FakeAws::new();
    assert_eq!(aws.check().await.registration_latency_ms, None);
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Slow(seconds(2))]);
    assert_eq!(aws.check().await.registration_latency_ms, Some(2000));
}

#[tokio::test(start_paused = true)]
async fn registration_latency_counts_the_first_registration_alone() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    later(&aws, 3, |aws| aws.holds(&[ONE, "10.0.2.20~"]));
    let report = aws.check().await;
    assert_eq!(aws.count(Action::RegisterTargets), 2, "{report:?}");
    assert_eq!(report.registration_latency_ms, Some(0));
}

#[tokio::test(start_paused = true)]
async fn failover_before_the_event_is_followed_and_ends_the_watch() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.writer_per_rds("orders-2");
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::Updated);
    assert!(started.elapsed() < seconds(10));
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn move_seen_during_a_failed_listing_still_ends_the_watch() {
    let aws = FakeAws::new();
    aws.always(Action::Lookup, Some(ApiFault::ServerError));
    later(&aws, 3, |aws| {
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
        aws.always(Action::Lookup, None);
        aws.always(Action::DescribeTargetHealth, Some(ApiFault::Throttled));
    });
    later(&aws, 5, |aws| {
        aws.holds(&[ONE, TWO]);
        aws.always(Action::DescribeTargetHealth, None);
    });
    let (started, timing) = (Instant::now(), Timing { poll: seconds(2), ..TIMING });
    assert_eq!(aws.reconcile_at(timing, Mode::Watch, seconds(600)).await.status, Status::Updated);
    assert!(started.elapsed() < seconds(20), "a followed failover ends the watch");
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn watch_without_a_move_lasts_watch_seconds() {
    let aws = FakeAws::new();
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::InSync);
    assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()), "{:?}", started.elapsed());
    let listings = aws.count(Action::DescribeTargetHealth);
    assert!(listings <= 7, "at most every thirty seconds, not {listings} times");
    assert!(aws.count(Action::Lookup) >= 350, "DNS is polled all the while");
}

#[tokio::test(start_paused = true)]
async fn watch_with_slow_or_silent_dns_lasts_watch_seconds() {
    let timing = Timing { watch: seconds(25), ..TIMING };
    let watched = async |aws: FakeAws| {
        let started = Instant::now();
        let report = aws.reconcile_at(timing, Mode::Watch, seconds(600)).await;
        (report.status, started.elapsed())
    };
    let slow = FakeAws::new();
    slow.state().lookup_latency = Some(Duration::from_millis(2900));
    let (status, elapsed) = watched(slow).await;
    assert_eq!(status, Status::InSync);
    assert!((seconds(24)..=seconds(28)).contains(&elapsed), "{elapsed:?}");
    let silent = FakeAws::new();
    silent.always(Action::Lookup, Some(ApiFault::Hangs));
    let (status, elapsed) = watched(silent).await;
    assert_eq!(status, Status::Failed);
    assert!((seconds(24)..=seconds(28)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn check_follows_a_failover_without_an_event() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(report.registered.len() + report.deregistered.len(), 2);
    assert!(report.elapsed_ms <= 12_000, "waits at most twice the confirmation time");
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn failback_registers_the_draining_target_again() {
    let aws = FakeAws::new();
    aws.holds(&["10.0.1.10~", TWO]);
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432"]);
    let registered = aws.calls(Action::RegisterTargets)[0].at;
    assert!(
        registered - aws.state().calls[0].at >= seconds(6),
        "it was deregistered a moment ago: confirmed first"
    );
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn failback_during_watch_is_followed() {
    let aws = FakeAws::new();
    later(&aws, 10, |aws| aws.resolves_to(&[TWO]));
    aws.watch().await;
    later(&aws, 30, |aws| aws.resolves_to(&[ONE]));
    assert_eq!(aws.watch().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn failback_during_deregistration_ignores_older_listing() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.holds(&[ONE, TWO]);
    aws.next(Action::DeregisterTargets, &[ApiFault::Slow(seconds(3))]);
    aws.next(Action::RegisterTargets, &[ApiFault::Throttled]);
    later(&aws, 8, |aws| aws.resolves_to(&[ONE]));
    // A listing from before the deregistration, while its target is to be registered again.
    later(&aws, 14, |aws| aws.holds(&[ONE, TWO]));
    assert_eq!(aws.watch().await.status, Status::Updated);
    let (register, deregister) = ("RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432");
    assert_eq!(aws.writes(), ["DeregisterTargets 10.0.1.10:5432", register, register, deregister]);
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn flickering_dns_blocks_deregistration_until_it_settles() {
    let aws = FakeAws::new();
    aws.flickers(&[ONE, TWO]);
    later(&aws, 30, |aws| {
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432", "both serve while DNS flickers");
        aws.resolves_to(&[TWO]);
    });
    assert_eq!(aws.watch().await.status, Status::Updated);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn flicker_does_not_end_the_watch_before_the_move() {
    let aws = FakeAws::new();
    later(&aws, 5, |aws| aws.resolves_to(&[TWO]));
    later(&aws, 7, |aws| aws.resolves_to(&[ONE]));
    later(&aws, 20, |aws| aws.resolves_to(&[TWO]));
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::Updated);
    assert!(started.elapsed() >= seconds(26), "still there when DNS moves for good");
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn watch_started_during_a_flicker_waits_for_the_move() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    later(&aws, 1, |aws| aws.resolves_to(&[ONE]));
    later(&aws, 20, |aws| aws.resolves_to(&[TWO]));
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::Updated);
    assert!(started.elapsed() >= seconds(26), "{:?}", started.elapsed());
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn lookups_continue_during_a_slow_call() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Slow(seconds(5))]);
    let started = Instant::now();
    aws.check().await;
    let deregistered = aws.calls(Action::DeregisterTargets)[0].at - started;
    assert!(deregistered <= seconds(7), "confirmed during the registration, not after {deregistered:?}");
}

#[tokio::test(start_paused = true)]
async fn changed_answer_during_slow_call_restarts_confirmation() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    later(&aws, 2, |aws| aws.resolves_to(&[ONE]));
    later(&aws, 4, |aws| aws.resolves_to(&[TWO]));
    aws.next(Action::RegisterTargets, &[ApiFault::Slow(seconds(5))]);
    let started = Instant::now();
    aws.check().await;
    let deregistered = aws.calls(Action::DeregisterTargets)[0].at - started;
    assert!(deregistered >= seconds(10), "confirmed from 4 s on, not after {deregistered:?}");
}

#[tokio::test(start_paused = true)]
async fn long_poll_interval_does_not_lengthen_a_check() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let timing = Timing { poll: seconds(8), confirm: seconds(1), ..TIMING };
    let report = aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
    assert_eq!(report.status, Status::Updated);
    assert!(report.elapsed_ms <= 2_000, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn flicker_to_draining_address_does_not_register_it() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, "10.0.2.20~"]);
    aws.flickers(&[TWO, ONE]);
    let report = aws.check().await;
    assert_eq!(aws.writes(), Vec::<String>::new());
    assert!(matches!(report.status, Status::InSync | Status::Pending), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn endless_flicker_leaves_the_check_pending_in_time() {
    let aws = FakeAws::new();
    aws.flickers(&[TWO, ONE]);
    let report = aws.check().await;
    assert_eq!(report.status, Status::Pending);
    assert!(
        report.waiting[0].contains("is deregistered once DNS has confirmed the endpoint's addresses"),
        "{report:?}"
    );
    assert!((12_000..13_000).contains(&report.elapsed_ms), "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn stale_targets_are_deregistered() {
    let aws = FakeAws::new();
    aws.holds(&[THREE, ONE, TWO, "10.0.1.10:6432"]);
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432 10.0.1.10:6432~ 10.0.2.20:5432~ 10.0.3.30:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn empty_group_gets_the_writer() {
    let aws = FakeAws::new();
    aws.holds(&[]);
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432").await;
}

#[tokio::test(start_paused = true)]
async fn watch_repairs_external_changes() {
    let aws = FakeAws::new();
    later(&aws, 30, |aws| aws.holds(&[TWO]));
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Updated, "somebody replaced the target during the watch");
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn deadline_error_includes_the_earlier_failure() {
    for hangs in [Action::RegisterTargets, Action::DescribeTargetHealth] {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.next(Action::RegisterTargets, &[ApiFault::Throttled]);
        if hangs == Action::DescribeTargetHealth {
            // The listing that lacks the writer is answered.
            aws.next(hangs, &[ApiFault::Slow(Duration::ZERO)]);
        }
        aws.next(hangs, &[ApiFault::Hangs]);
        let report = aws.reconcile(Mode::Check, seconds(30)).await;
        let message_text = error(&report);
        assert!(message_text.contains("before the time ran out"), "{message_text}");
        assert!(message_text.contains("Rate exceeded"), "{message_text}");
    }
}
