//! Failovers, and everything that goes wrong with them, through the real loop on a paused clock.

use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, OPINION, Pace, Report, SETTLE, Status};
use tokio::time::{Instant, sleep};

use crate::world::ports::PACE;
use crate::world::{Action, GROUP, ONE, THREE, TWO, Trouble, World};

mod a_dry_run;
mod a_warm_standby;
mod confirmation;
mod nominations;
mod the_log;
mod the_rds_api;
mod time;
mod turns;
mod two_at_once;
mod when_the_api_fails;
mod without_an_answer_nothing_changes;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Does something to the world later, while the function is at work.
fn later(world: &World, after: u64, change: impl FnOnce(&World) + Send + 'static) {
    let world = world.clone();
    tokio::spawn(async move {
        sleep(seconds(after)).await;
        change(&world);
    });
}

/// The fixpoint: another check finds the group in sync and writes nothing.
async fn settled(world: &World, targets: &str) {
    world.forget_calls();
    let report = world.check().await;
    assert_eq!(report.status, Status::InSync, "{report:?}");
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.targets(), targets);
}

fn error(report: &Report) -> &str {
    report.error.as_deref().unwrap_or("no error")
}

#[tokio::test(start_paused = true)]
async fn a_group_in_sync_costs_one_lookup_and_one_listing() {
    let world = World::new();
    let report = world.check().await;
    assert_eq!(report.status, Status::InSync);
    assert_eq!(report.writer, [ONE]);
    assert_eq!((world.count(Action::Lookup), world.count(Action::DescribeTargetHealth)), (1, 1));
    assert_eq!(world.state().calls.len(), 2, "and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_followed_while_it_happens() {
    let world = World::new();
    later(&world, 20, |world| {
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
    });
    let started = Instant::now();
    let report = world.watch().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    let registered = world.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(20) + PACE.poll, "registered after {registered:?}");
    let evicted = world.calls(Action::DeregisterTargets)[0].at - started;
    assert!(evicted >= seconds(26), "confirmed for 6 s first, not after {evicted:?}");
    assert!(started.elapsed() < seconds(30), "a followed failover ends the watch");
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn how_long_it_took_to_follow_counts_from_the_first_sight_of_the_writer() {
    let world = World::new();
    assert_eq!(world.check().await.follow_ms, None);
    world.resolves_to(&[TWO]);
    world.next(Action::RegisterTargets, &[Trouble::Slow(seconds(2))]);
    assert_eq!(world.check().await.follow_ms, Some(2000));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_late_is_followed_and_ends_the_watch() {
    let world = World::new();
    world.promote("orders-2");
    world.writer_per_rds("orders-2");
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::Updated);
    assert!(started.elapsed() < seconds(10));
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_move_shown_by_a_look_that_failed_is_followed_whoever_registers_the_writer() {
    let world = World::new();
    world.always(Action::Lookup, Some(Trouble::ServerError));
    later(&world, 3, |world| {
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
        world.always(Action::Lookup, None);
        world.always(Action::DescribeTargetHealth, Some(Trouble::Throttled));
    });
    later(&world, 5, |world| {
        world.holds(&[ONE, TWO]);
        world.always(Action::DescribeTargetHealth, None);
    });
    let (started, pace) = (Instant::now(), Pace { poll: seconds(2), ..PACE });
    assert_eq!(world.reconcile_at(pace, Mode::Watch, seconds(600)).await.status, Status::Updated);
    assert!(started.elapsed() < seconds(20), "a followed failover ends the watch");
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_before_dns_moves_is_watched_for_as_long_as_patience_lasts() {
    let world = World::new();
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::InSync);
    assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()), "{:?}", started.elapsed());
    let listings = world.count(Action::DescribeTargetHealth);
    assert!(listings <= 7, "at most every thirty seconds, not {listings} times");
    assert!(world.count(Action::Lookup) >= 350, "DNS is polled all the while");
}

#[tokio::test(start_paused = true)]
async fn a_drift_check_follows_a_failover_that_no_event_told_of() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    let report = world.check().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(report.registered.len() + report.evicted.len(), 2);
    assert!(report.elapsed_ms <= 12_000, "waits at most twice the confirmation time");
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_failback_while_the_old_target_drains_registers_it_again() {
    let world = World::new();
    world.holds(&["10.0.1.10~", TWO]);
    let report = world.check().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432"]);
    let registered = world.calls(Action::RegisterTargets)[0].at;
    assert!(
        registered - world.state().calls[0].at >= seconds(6),
        "it was evicted a moment ago: confirmed first"
    );
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn a_failback_within_one_watch_is_followed() {
    let world = World::new();
    later(&world, 10, |world| world.resolves_to(&[TWO]));
    world.watch().await;
    later(&world, 30, |world| world.resolves_to(&[ONE]));
    assert_eq!(world.watch().await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn a_failback_amid_the_eviction_registers_again_whatever_an_older_listing_shows() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    world.holds(&[ONE, TWO]);
    world.next(Action::DeregisterTargets, &[Trouble::Slow(seconds(3))]);
    world.next(Action::RegisterTargets, &[Trouble::Throttled]);
    later(&world, 8, |world| world.resolves_to(&[ONE]));
    // A listing from before the eviction, while its target is to be registered again.
    later(&world, 14, |world| world.holds(&[ONE, TWO]));
    assert_eq!(world.watch().await.status, Status::Updated);
    let (register, evict) = ("RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432");
    assert_eq!(world.writes(), ["DeregisterTargets 10.0.1.10:5432", register, register, evict]);
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn dns_that_flickers_between_old_and_new_evicts_nobody_until_it_settles() {
    let world = World::new();
    world.flickers(&[ONE, TWO]);
    later(&world, 30, |world| {
        assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432", "both serve while DNS flickers");
        world.resolves_to(&[TWO]);
    });
    assert_eq!(world.watch().await.status, Status::Updated);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_flicker_and_back_does_not_end_the_watch_before_the_real_move() {
    let world = World::new();
    later(&world, 5, |world| world.resolves_to(&[TWO]));
    later(&world, 7, |world| world.resolves_to(&[ONE]));
    later(&world, 20, |world| world.resolves_to(&[TWO]));
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::Updated);
    assert!(started.elapsed() >= seconds(26), "still there when DNS moves for good");
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_begins_amid_a_flicker_stays_for_the_real_move() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    later(&world, 1, |world| world.resolves_to(&[ONE]));
    later(&world, 20, |world| world.resolves_to(&[TWO]));
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::Updated);
    assert!(started.elapsed() >= seconds(26), "{:?}", started.elapsed());
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn lookups_go_on_while_a_call_takes_its_time() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    world.next(Action::RegisterTargets, &[Trouble::Slow(seconds(5))]);
    let started = Instant::now();
    world.check().await;
    let evicted = world.calls(Action::DeregisterTargets)[0].at - started;
    assert!(evicted <= seconds(7), "confirmed beside the registration, not after {evicted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_changes_while_a_call_takes_its_time_starts_the_confirmation_anew() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    later(&world, 2, |world| world.resolves_to(&[ONE]));
    later(&world, 4, |world| world.resolves_to(&[TWO]));
    world.next(Action::RegisterTargets, &[Trouble::Slow(seconds(5))]);
    let started = Instant::now();
    world.check().await;
    let evicted = world.calls(Action::DeregisterTargets)[0].at - started;
    assert!(evicted >= seconds(10), "confirmed from 4 s on, not after {evicted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_slower_than_the_confirmation_does_not_stretch_a_check() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    let pace = Pace { poll: seconds(8), confirm: seconds(1), ..PACE };
    let report = world.reconcile_at(pace, Mode::Check, seconds(60)).await;
    assert_eq!(report.status, Status::Updated);
    assert!(report.elapsed_ms <= 2_000, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flicker_to_a_draining_address_does_not_register_it() {
    let world = World::new();
    world.holds(&[ONE, "10.0.2.20~"]);
    world.flickers(&[TWO, ONE]);
    let report = world.check().await;
    assert_eq!(world.writes(), Vec::<String>::new());
    assert!(matches!(report.status, Status::InSync | Status::Pending), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn dns_that_never_settles_leaves_the_check_pending_within_its_bound() {
    let world = World::new();
    world.flickers(&[TWO, ONE]);
    let report = world.check().await;
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("is evicted once DNS has confirmed the writer"), "{report:?}");
    assert!((12_000..13_000).contains(&report.elapsed_ms), "{report:?}");
    assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn stale_extra_targets_are_evicted() {
    let world = World::new();
    world.holds(&[THREE, ONE, TWO, "10.0.1.10:6432"]);
    assert_eq!(world.check().await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432 10.0.1.10:6432~ 10.0.2.20:5432~ 10.0.3.30:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_group_gets_the_writer() {
    let world = World::new();
    world.holds(&[]);
    assert_eq!(world.check().await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_mends_what_somebody_else_does_to_the_group_meanwhile() {
    let world = World::new();
    later(&world, 30, |world| world.holds(&[TWO]));
    let report = world.watch().await;
    assert_eq!(report.status, Status::Updated, "somebody replaced the target during the watch");
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn a_hang_after_other_failures_is_told_with_what_failed_before() {
    for hangs in [Action::RegisterTargets, Action::DescribeTargetHealth] {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.next(Action::RegisterTargets, &[Trouble::Throttled]);
        if hangs == Action::DescribeTargetHealth {
            // The look that finds the writer missing is answered.
            world.next(hangs, &[Trouble::Slow(Duration::ZERO)]);
        }
        world.next(hangs, &[Trouble::Hangs]);
        let report = world.reconcile(Mode::Check, seconds(30)).await;
        let told = error(&report);
        assert!(told.contains("before the invocation's time ran out"), "{told}");
        assert!(told.contains("Rate exceeded"), "{told}");
    }
}
