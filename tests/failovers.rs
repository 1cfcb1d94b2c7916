//! Failovers, and everything that goes wrong with them, through the real loop on a paused clock.

use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, OPINION, Pace, Report, SETTLE, Status};
use tokio::time::{Instant, sleep};

use crate::world::ports::PACE;
use crate::world::{Action, GROUP, ONE, THREE, TWO, Trouble, World};

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
async fn time_in_which_nobody_looked_confirms_nothing() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    // While the registration takes its time, DNS goes back and forth unseen.
    world.next(Action::RegisterTargets, &[Trouble::Slow(seconds(5))]);
    let started = Instant::now();
    world.check().await;
    let evicted = world.calls(Action::DeregisterTargets)[0].at - started;
    assert!(evicted >= seconds(11), "confirmed from the first look after it, not after {evicted:?}");
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

mod without_an_answer_nothing_changes {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_fails_and_names_the_endpoint() {
        for trouble in
            [Trouble::NxDomain, Trouble::ServerError, Trouble::Denied, Trouble::NoRecords, Trouble::Hangs]
        {
            let world = World::new();
            world.holds(&[ONE, TWO]);
            world.always(Action::Lookup, Some(trouble));
            let report = world.check().await;
            assert_eq!(report.status, Status::Failed, "{trouble:?}");
            assert!(error(&report).contains(crate::world::ENDPOINT), "{report:?}");
            assert_eq!(world.writes(), Vec::<String>::new());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_writer_is_refused_with_its_addresses() {
        let answers: [&[&str]; 5] = [&[], &[ONE, TWO], &["52.1.2.3"], &["127.0.0.1"], &["169.254.1.1"]];
        for addresses in answers {
            let world = World::new();
            world.holds(&[ONE, TWO]);
            world.resolves_to(addresses);
            let report = world.check().await;
            assert_eq!(report.status, Status::Failed, "{addresses:?}");
            assert!(addresses.iter().all(|address| error(&report).contains(address)), "{report:?}");
            assert_eq!(world.writes(), Vec::<String>::new());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_asks_until_dns_answers_again() {
        let world = World::new();
        world.always(Action::Lookup, Some(Trouble::NxDomain));
        later(&world, 60, |world| {
            world.always(Action::Lookup, None);
            world.resolves_to(&[TWO]);
        });
        assert_eq!(world.watch().await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_never_gets_one_fails_when_its_patience_is_over() {
        let world = World::new();
        world.always(Action::Lookup, Some(Trouble::ServerError));
        let started = Instant::now();
        assert_eq!(world.watch().await.status, Status::Failed);
        assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()));
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_fails_amid_a_confirmation_starts_it_anew() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        later(&world, 3, |world| world.next(Action::Lookup, &[Trouble::ServerError]));
        let pace = Pace { watch: seconds(20), ..PACE };
        let started = Instant::now();
        world.reconcile_at(pace, Mode::Watch, seconds(60)).await;
        let evicted = world.calls(Action::DeregisterTargets)[0].at - started;
        assert!(evicted >= seconds(9), "six seconds after the failure at three, not after {evicted:?}");
    }
}

mod the_rds_api {
    use super::*;

    /// DNS has moved to `orders-2`; the group holds both.
    fn moved() -> World {
        let world = World::new();
        world.promote("orders-2");
        world.holds(&[ONE, TWO]);
        world
    }

    #[tokio::test(start_paused = true)]
    async fn vetoes_an_eviction_while_it_names_another_member() {
        let world = moved();
        world.writer_per_rds("orders-1");
        let report = world.check().await;
        assert_eq!(report.status, Status::Pending);
        assert!(report.waiting[0].contains("once the RDS API names the same writer"), "{report:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
        world.writer_per_rds("orders-2");
        assert_eq!(world.check().await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn is_asked_again_once_its_opinion_is_five_seconds_old() {
        let world = moved();
        world.writer_per_rds("orders-1");
        world.check().await;
        let asked = world.calls(Action::DescribeDBClusters);
        assert_eq!(asked.len(), 2, "in the six seconds between the confirmation and the bound");
        assert_eq!(asked[1].at - asked[0].at, OPINION);
    }

    #[tokio::test(start_paused = true)]
    async fn vetoes_the_return_of_a_draining_target_as_well() {
        let world = moved();
        world.holds(&[ONE, "10.0.2.20~"]);
        world.writer_per_rds("orders-1");
        assert_eq!(world.check().await.status, Status::Pending);
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn never_vetoes_a_registration() {
        let world = moved();
        world.holds(&[ONE]);
        world.writer_per_rds("orders-1");
        assert_eq!(world.check().await.status, Status::Pending);
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    }

    #[tokio::test(start_paused = true)]
    async fn is_not_needed() {
        for trouble in [Trouble::Hangs, Trouble::Denied, Trouble::Throttled, Trouble::ServerError] {
            let world = moved();
            world.writer_per_rds("orders-1");
            world.always(Action::DescribeDBClusters, Some(trouble));
            assert_eq!(world.check().await.status, Status::Updated, "{trouble:?}");
            settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_not_asked_where_nothing_hangs_on_it() {
        let world = World::new();
        world.check().await;
        world.resolves_to(&[TWO]);
        world.check().await;
        assert_eq!(world.count(Action::DescribeDBClusters), 0, "no CNAME, no member, no question");
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_know_the_cluster_and_does_not_matter() {
        let world = moved();
        world.state().clusters.clear();
        assert_eq!(world.check().await.status, Status::Updated);
    }
}

mod when_the_api_fails {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_denied_registration_evicts_nothing_and_fails() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.always(Action::RegisterTargets, Some(Trouble::Denied));
        let report = world.check().await;
        assert_eq!(report.status, Status::Failed);
        assert!(error(&report).contains("AccessDenied"), "{report:?}");
        assert_eq!(world.targets(), "10.0.1.10:5432");
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_after_another_failure_is_told_as_what_it_is() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.next(Action::RegisterTargets, &[Trouble::Throttled, Trouble::Denied]);
        let report = world.check().await;
        assert!(error(&report).contains("AccessDenied"), "{report:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_registration_of_whom_dns_names_no_more_is_forgotten() {
        let world = World::new();
        sleep(seconds(60)).await;
        world.state().lag = seconds(60);
        world.resolves_to(&[TWO]);
        later(&world, 1, |world| {
            world.resolves_to(&[THREE]);
            world.always(Action::RegisterTargets, Some(Trouble::Throttled));
        });
        later(&world, 2, |world| world.resolves_to(&[TWO]));
        let report = world.reconcile(Mode::Check, seconds(6)).await;
        assert_eq!(report.status, Status::Pending, "{report:?}");
        assert!(report.waiting.contains(&"10.0.2.20:5432 is not listed as registered yet".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_registration_is_tried_again_and_evicts_nothing_meanwhile() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.always(Action::RegisterTargets, Some(Trouble::Throttled));
        later(&world, 60, |world| {
            assert_eq!(world.targets(), "10.0.1.10:5432");
            world.always(Action::RegisterTargets, None);
        });
        assert_eq!(world.watch().await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_gives_up_on_a_throttled_registration_within_bounds() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.always(Action::RegisterTargets, Some(Trouble::Throttled));
        assert_eq!(world.check().await.status, Status::Failed);
        assert_eq!(world.count(Action::RegisterTargets), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_lost_after_the_call_took_effect_changes_nothing() {
        for action in [Action::RegisterTargets, Action::DeregisterTargets] {
            let world = World::new();
            world.resolves_to(&[TWO]);
            world.next(action, &[Trouble::AnswerLost]);
            let report = world.check().await;
            assert_eq!(report.status, Status::Updated);
            let changes = format!("{:?} {:?}", report.registered, report.evicted);
            assert_eq!(
                changes, "{10.0.2.20:5432} {10.0.1.10:5432}",
                "reported though {action:?} seemed to fail"
            );
            assert_eq!(world.count(action), 1, "the next look shows that {action:?} took effect");
            settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_eviction_looks_again_before_it_is_tried_again() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.next(Action::DeregisterTargets, &[Trouble::Throttled]);
        // While the call fails, DNS moves to the very target that was to be evicted.
        later(&world, 6, |world| world.resolves_to(&[TWO]));
        assert_eq!(world.check().await.status, Status::Pending, "the new answer is not confirmed yet");
        assert_eq!(
            world.writes(),
            ["DeregisterTargets 10.0.2.20:5432"],
            "the throttled call was not repeated"
        );
        assert_eq!(world.check().await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_cannot_be_listed_is_not_touched() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.always(Action::DescribeTargetHealth, Some(Trouble::ServerError));
        assert_eq!(world.check().await.status, Status::Failed);
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_listing_is_too_old_to_evict_by() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        later(&world, 5, |world| world.always(Action::DescribeTargetHealth, Some(Trouble::Slow(seconds(3)))));
        let report = world.check().await;
        assert_eq!(report.status, Status::Pending);
        assert!(report.waiting[0].contains("answer fast enough for a fresh look"), "{report:?}");
        assert!(report.elapsed_ms <= 16_000, "twice the confirmation time and one last look: {report:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_confirmation_time_a_slow_listing_ends_the_check_pending() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.always(Action::DescribeTargetHealth, Some(Trouble::Slow(Duration::from_millis(2300))));
        let pace = Pace { confirm: Duration::ZERO, ..PACE };
        let report = world.reconcile_at(pace, Mode::Check, seconds(60)).await;
        assert_eq!(report.status, Status::Pending, "{report:?}");
        assert!(report.elapsed_ms <= 5_000, "{report:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_cannot_be_described_fails_the_binding() {
        for (trouble, expected) in
            [(Trouble::Denied, "AccessDenied"), (Trouble::Hangs, "describe the target group")]
        {
            let world = World::new();
            world.state().known.clear();
            world.always(Action::DescribeTargetGroups, Some(trouble));
            let report = world.check().await;
            assert_eq!(report.status, Status::Failed);
            assert!(error(&report).contains(expected), "{report:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_lags_delays_the_eviction_only_by_its_lag() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.state().lag = Duration::from_millis(1500);
        let report = world.check().await;
        assert_eq!(report.status, Status::Updated);
        assert!(report.elapsed_ms <= 7_000, "{report:?}");
        assert_eq!(world.count(Action::RegisterTargets), 1, "not registered twice meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_hand_undoes_is_done_again_as_soon_as_it_is_seen() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        later(&world, 3, |world| world.holds(&["10.0.1.10~", "10.0.2.20~"]));
        let report = world.check().await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_told_once_and_tried_ever_more_slowly() {
        let world = World::new();
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
        world.holds(&[ONE, TWO]);
        world.always(Action::DeregisterTargets, Some(Trouble::Throttled));
        assert_eq!(world.watch().await.status, Status::Failed);
        let count = world.count(Action::DeregisterTargets);
        assert!((20..=50).contains(&count), "in three minutes, with a pause of up to 8 s, not {count} times");
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_stays_unlisted_is_not_registered_without_end() {
        let world = World::new();
        world.group(|group| {
            group.targets.values_mut().for_each(|target| target.state = Some("unhealthy.draining"));
        });
        let report = world.watch().await;
        assert_eq!(report.status, Status::Pending);
        let count = world.count(Action::RegisterTargets);
        assert!((1..=19).contains(&count), "at most every ten seconds, not {count} times");
        let registered = world.calls(Action::RegisterTargets);
        assert_eq!(registered[1].at - registered[0].at, SETTLE);
    }
}

mod time {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_at_the_deadline_with_an_error_that_says_so() {
        for action in [Action::DescribeTargetHealth, Action::RegisterTargets] {
            let world = World::new();
            world.resolves_to(&[TWO]);
            world.always(action, Some(Trouble::Hangs));
            let report = world.reconcile(Mode::Check, seconds(10)).await;
            assert_eq!(report.status, Status::Failed);
            assert!(error(&report).contains("before the invocation's time ran out"), "{report:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_longer_than_the_invocation_ends_in_time_and_is_no_error() {
        let world = World::new();
        let report = world.reconcile(Mode::Watch, seconds(30)).await;
        assert_eq!(report.status, Status::InSync);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_cut_short_by_the_deadline_is_no_error_where_all_was_well() {
        let world = World::new();
        later(&world, 28, |world| world.always(Action::Lookup, Some(Trouble::Slow(seconds(60)))));
        let report = world.reconcile(Mode::Watch, seconds(30)).await;
        assert_eq!(report.status, Status::InSync);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_that_ends_before_the_confirmation_is_pending_and_the_next_goes_on() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        let report = world.reconcile(Mode::Check, seconds(3)).await;
        assert_eq!(report.status, Status::Pending);
        assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432");
        assert_eq!(world.check().await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_at_all_is_an_error() {
        let world = World::new();
        world.state().latency = Duration::from_millis(10);
        assert_eq!(world.reconcile(Mode::Check, Duration::ZERO).await.status, Status::Failed);
    }
}

mod confirmation {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_zero_seconds_evicts_at_once_after_one_more_look() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        let pace = Pace { confirm: Duration::ZERO, ..PACE };
        let report = world.reconcile_at(pace, Mode::Check, seconds(60)).await;
        assert_eq!(report.status, Status::Updated);
        assert_eq!(report.elapsed_ms, 0);
        assert!(world.count(Action::Lookup) >= 3, "a look before the registration, and before the eviction");
    }

    #[tokio::test(start_paused = true)]
    async fn looks_afresh_right_before_the_eviction() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.check().await;
        let calls = world.state().calls.clone();
        let evicted = calls.iter().position(|call| call.action == Action::DeregisterTargets).unwrap();
        let mut before = [calls[evicted - 1].action, calls[evicted - 2].action];
        before.sort();
        assert_eq!(before, [Action::Lookup, Action::DescribeTargetHealth]);
        assert!(calls[evicted - 2..].iter().all(|call| call.at == calls[evicted].at));
    }
}

mod two_at_once {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follow_the_same_failover() {
        let world = World::new();
        later(&world, 5, |world| world.resolves_to(&[TWO]));
        let (first, second) = tokio::join!(world.watch(), async {
            sleep(Duration::from_millis(250)).await;
            world.watch().await
        });
        assert!([first.status, second.status].iter().all(|s| matches!(s, Status::Updated | Status::InSync)));
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_killed_at_any_moment_leaves_the_next_one_a_group_it_can_mend() {
        for step in 0..80 {
            let world = World::new();
            world.state().latency = Duration::from_millis(100);
            world.resolves_to(&[TWO]);
            let killed = tokio::time::timeout(Duration::from_millis(100 * step), world.check());
            drop(killed.await);
            assert!(world.state().health(GROUP).unwrap().iter().any(|(_, state)| *state != "draining"));
            let report = world.check().await;
            assert!(
                matches!(report.status, Status::Updated | Status::InSync),
                "killed at {step}: {report:?}"
            );
            settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
        }
    }
}

mod a_dry_run {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn says_what_would_be_done_and_changes_nothing() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        let report = world.reconcile(Mode::DryRun, seconds(60)).await;
        assert_eq!(report.status, Status::Planned);
        assert_eq!(
            format!("{:?} {:?}", report.registered, report.evicted),
            "{10.0.2.20:5432} {10.0.1.10:5432}"
        );
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn finds_nothing_to_do_where_there_is_nothing() {
        let report = World::new().reconcile(Mode::DryRun, seconds(60)).await;
        assert_eq!(report.status, Status::InSync);
    }

    #[tokio::test(start_paused = true)]
    async fn registers_no_draining_target_that_a_check_would_not() {
        let world = World::new();
        world.promote("orders-2");
        world.holds(&[ONE, "10.0.2.20~"]);
        let report = world.reconcile(Mode::DryRun, seconds(60)).await;
        assert!(report.registered.is_empty() && report.evicted.is_empty(), "{report:?}");
        assert!(report.waiting.iter().any(|waits| waits.contains("once the RDS API names")), "{report:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn shows_the_veto() {
        let world = World::new();
        world.promote("orders-2");
        let report = world.reconcile(Mode::DryRun, seconds(60)).await;
        assert_eq!(report.status, Status::Planned);
        assert!(report.evicted.is_empty());
        assert!(report.waiting[0].starts_with("10.0.1.10:5432"), "{report:?}");
    }
}

mod nominations {
    use rds_nlb_sync::config::Binding;
    use rds_nlb_sync::reconcile::Nominations;

    use super::*;
    use crate::world::{ENDPOINT, addresses};

    const MEMBER: &str = "orders-2.abc123.us-east-1.rds.amazonaws.com";

    fn both(world: &World) {
        assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_registers_the_next_writer_before_dns_moves_and_the_failover_is_followed_as_ever() {
        let world = World::new();
        later(&world, 1, both);
        later(&world, 25, |world| {
            world.promote("orders-2");
            world.writer_per_rds("orders-2");
        });
        let started = Instant::now();
        let report = world.watch_nominating("orders-2").await;
        assert_eq!(report.status, Status::Updated);
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
        assert!(world.calls(Action::RegisterTargets)[0].at - started <= seconds(1));
        assert!(world.calls(Action::DeregisterTargets)[0].at - started >= seconds(31), "DNS alone evicts");
        assert_eq!(format!("{:?}", report.registered), "{10.0.2.20:5432}");
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_rds_api_nominates_whom_it_calls_the_writer_before_dns_does() {
        let world = World::new();
        later(&world, 15, |world| world.writer_per_rds("orders-2"));
        later(&world, 30, both);
        later(&world, 40, |world| world.promote("orders-2"));
        let started = Instant::now();
        assert_eq!(world.watch().await.status, Status::Updated);
        let registered = world.calls(Action::RegisterTargets)[0].at - started;
        assert!((seconds(15)..=seconds(26)).contains(&registered), "{registered:?}");
        assert!(
            world.count(Action::DescribeDBClusters) <= 8,
            "asked every ten seconds, and before the eviction"
        );
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_writer_before_is_not_nominated_by_an_api_that_lags() {
        let world = World::new();
        world.promote("orders-2");
        // It still calls orders-1 the writer, which is in the group.
        later(&world, 30, |world| world.writer_per_rds("orders-2"));
        let started = Instant::now();
        assert_eq!(world.watch().await.status, Status::Updated);
        assert!(started.elapsed() <= seconds(40), "{:?}", started.elapsed());
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_nomination_alone_neither_ends_the_watch_nor_evicts_and_outlives_it_by_nothing() {
        let world = World::new();
        let started = Instant::now();
        let report = world.watch_nominating("orders-2").await;
        assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()));
        assert_eq!(report.status, Status::Pending);
        assert!(report.waiting[0].contains("was nominated as the next writer"), "{report:?}");
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
        assert_eq!(world.count(Action::DescribeDBInstances), 1, "found once, and not sought again");
        assert_eq!(world.check().await.status, Status::Updated, "a stale target like any other");
        settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failover_to_somebody_else_evicts_the_nominee_once_dns_has_settled() {
        let world = World::new();
        later(&world, 20, |world| world.resolves_to(&[THREE]));
        let started = Instant::now();
        assert_eq!(world.watch_nominating("orders-2").await.status, Status::Updated);
        assert!((seconds(26)..=seconds(30)).contains(&started.elapsed()), "{:?}", started.elapsed());
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432~ 10.0.3.30:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failover_that_is_reverted_evicts_the_nominee_by_the_event_that_says_so() {
        let world = World::new();
        world.state().failing_over = true;
        // Event 0070 wakes another invocation, which nominates nobody.
        tokio::join!(world.watch_nominating("orders-2"), async {
            sleep(seconds(20)).await;
            world.state().failing_over = false;
            assert_eq!(world.check().await.status, Status::Updated);
        });
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.2.20:5432"]);
        settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_drift_check_amid_the_failover_leaves_the_nominee_alone() {
        let world = World::new();
        world.state().failing_over = true;
        let (report, check) = tokio::join!(world.watch_nominating("orders-2"), async {
            sleep(seconds(5)).await;
            let check = world.check().await;
            both(&world);
            world.promote("orders-2");
            world.writer_per_rds("orders-2");
            check
        });
        assert_eq!(check.status, Status::Pending);
        assert!(check.waiting[0].contains("no longer reports a failover under way"), "{check:?}");
        assert_eq!(report.status, Status::Updated);
        assert_eq!(world.count(Action::DeregisterTargets), 1, "DNS has moved: nothing is left to wait for");
        world.state().failing_over = false;
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_draining_nominee_waits_for_dns() {
        let world = World::new();
        world.holds(&[ONE, "10.0.2.20~"]);
        later(&world, 30, |world| {
            assert_eq!(world.writes(), Vec::<String>::new());
            world.promote("orders-2");
            world.writer_per_rds("orders-2");
        });
        assert_eq!(world.watch_nominating("orders-2").await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_rds_api_is_down_the_event_vouches_and_the_name_is_derived() {
        for trouble in [Trouble::Hangs, Trouble::Denied, Trouble::Throttled, Trouble::ServerError] {
            let world = World::new();
            world.always(Action::DescribeDBClusters, Some(trouble));
            world.always(Action::DescribeDBInstances, Some(trouble));
            later(&world, 5, both);
            later(&world, 20, |world| world.promote("orders-2"));
            let started = Instant::now();
            assert_eq!(world.watch_nominating("orders-2").await.status, Status::Updated, "{trouble:?}");
            assert!(started.elapsed() <= seconds(32), "{:?}", started.elapsed());
            let asked: Vec<String> =
                world.calls(Action::Lookup).into_iter().map(|call| call.detail).collect();
            assert!(asked.contains(&MEMBER.to_owned()));
            settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_hangs_never_delays_the_loop() {
        let world = World::new();
        world.always(Action::DescribeDBClusters, Some(Trouble::Hangs));
        world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
        later(&world, 1, |world| world.resolves_to(&[THREE]));
        let started = Instant::now();
        world.watch_nominating("orders-2").await;
        let registered = world.calls(Action::RegisterTargets)[0].at - started;
        assert!(registered <= seconds(1) + PACE.poll, "{registered:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_objection_counts_while_what_is_asked_beside_it_hangs() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.always(Action::DescribeTargetHealth, Some(Trouble::Slow(seconds(2))));
        world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
        // The loop is told of no other writer, and the scout of orders-2 while the loop looks once more.
        let late = Trouble::Slow(Duration::from_millis(1500));
        world.next(Action::DescribeDBClusters, &[Trouble::Slow(Duration::ZERO), late]);
        later(&world, 3, |world| world.writer_per_rds("orders-2"));
        later(&world, 30, |world| {
            both(world);
            world.promote("orders-2");
        });
        let nominations = Nominations::Open { event: Some("orders-2".to_owned()) };
        let (binding, pace) = (Binding::new(ENDPOINT, GROUP), Pace { confirm: Duration::ZERO, ..PACE });
        world.reconcile_binding(&binding, pace, Mode::Watch, &nominations, seconds(600)).await;
        assert_eq!(world.writes(), ["DeregisterTargets 10.0.1.10:5432"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_events_nominee_is_held_whoever_finds_it() {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.promote("orders-2");
        // Its name fails at first, and is found a moment later as that of whom the RDS API calls the writer.
        let name = "orders-1.abc123.us-east-1.rds.amazonaws.com";
        world.state().names.insert(name.to_owned(), Trouble::ServerError);
        let slow = [Trouble::Slow(Duration::ZERO), Trouble::Slow(seconds(2))];
        world.next(Action::DescribeDBInstances, &slow);
        later(&world, 1, |world| {
            world.state().names.clear();
            world.writer_per_rds("orders-2");
        });
        let report = world.watch_nominating("orders-1").await;
        assert!(report.waiting[0].contains("was nominated as the next writer"), "{report:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_no_member_is_nobody() {
        for prepare in [
            |_: &World| {},
            // Of another cluster, though this one's members are not to be learnt.
            |world: &World| world.always(Action::DescribeDBClusters, Some(Trouble::Denied)),
        ] {
            let world = World::new();
            world
                .state()
                .zone
                .insert("billing-1.abc123.us-east-1.rds.amazonaws.com".into(), addresses(&[THREE]));
            let endpoint = Some("billing-1.abc123.us-east-1.rds.amazonaws.com".to_owned());
            let billing = crate::world::Instance { endpoint, cluster: Some("billing"), ..Default::default() };
            world.state().instances.insert("billing-1".into(), billing);
            prepare(&world);
            assert_eq!(world.watch_nominating("billing-1").await.status, Status::InSync);
            assert_eq!(world.writes(), Vec::<String>::new());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_no_member_is_nobody_whoever_was_told_so() {
        let knows_it: fn(&World) = |_| {};
        let knows_no_cluster: fn(&World) = |world| world.state().clusters.clear();
        for prepare in [knows_it, knows_no_cluster] {
            let world = World::new();
            prepare(&world);
            world.holds(&[ONE, TWO]);
            let name = "billing-1.abc123.us-east-1.rds.amazonaws.com";
            world.state().zone.insert(name.into(), addresses(&[THREE]));
            // The loop asks before it evicts orders-2, and is answered; the scout never is.
            world.next(Action::DescribeDBClusters, &[Trouble::Slow(Duration::ZERO), Trouble::Denied]);
            world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
            later(&world, 1, |world| world.always(Action::DescribeDBClusters, Some(Trouble::Denied)));
            let nominations = Nominations::Open { event: Some("billing-1".to_owned()) };
            let (binding, pace) = (Binding::new(ENDPOINT, GROUP), Pace { confirm: Duration::ZERO, ..PACE });
            world.reconcile_binding(&binding, pace, Mode::Watch, &nominations, seconds(600)).await;
            assert_eq!(world.writes(), ["DeregisterTargets 10.0.2.20:5432"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_nominee_is_not_let_go_because_the_rds_api_knows_no_such_cluster() {
        let world = World::new();
        world.always(Action::DescribeDBClusters, Some(Trouble::Denied));
        later(&world, 5, |world| {
            both(world);
            world.always(Action::DescribeDBClusters, None);
            world.state().clusters.clear();
        });
        assert_eq!(world.watch_nominating("orders-2").await.status, Status::Pending);
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
        // Nor is the next event's, who is in the group already.
        assert_eq!(world.watch_nominating("orders-2").await.status, Status::Pending);
        assert_eq!(world.count(Action::DeregisterTargets), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_admissible_address_is_nobody() {
        let records: [&[&str]; 5] = [&[], &["52.1.2.3"], &["127.0.0.1"], &[TWO, THREE], &["fd00::2"]];
        for record in records {
            let world = World::new();
            world.state().zone.insert(MEMBER.into(), addresses(record));
            assert_eq!(world.watch_nominating("orders-2").await.status, Status::InSync, "{record:?}");
            assert_eq!(world.writes(), Vec::<String>::new());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turned_off_nobody_is_nominated_and_nobody_asked() {
        let world = World::new();
        world.writer_per_rds("orders-2");
        let binding = Binding::new(ENDPOINT, GROUP);
        let watching =
            world.reconcile_binding(&binding, PACE, Mode::Watch, &Nominations::Closed, seconds(600));
        assert_eq!(watching.await.status, Status::InSync);
        assert_eq!(world.count(Action::DescribeDBClusters) + world.count(Action::DescribeDBInstances), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_has_no_members_to_ask_for() {
        let world = World::new();
        world.resolves_to(&[ONE]);
        assert_eq!(world.watch().await.status, Status::InSync);
        assert_eq!(world.count(Action::DescribeDBClusters), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_and_a_dry_run_nominate_nobody() {
        for mode in [Mode::Check, Mode::DryRun] {
            let world = World::new();
            world.writer_per_rds("orders-2");
            let nominations = Nominations::Open { event: Some("orders-2".to_owned()) };
            let binding = Binding::new(ENDPOINT, GROUP);
            let report = world.reconcile_binding(&binding, PACE, mode, &nominations, seconds(60)).await;
            assert_eq!(report.status, Status::InSync);
            assert_eq!(world.state().calls.len(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_nominee_that_cannot_be_registered_is_no_failure() {
        // What is denied is not tried again, and what is throttled every ten seconds.
        let troubles = [(Trouble::Denied, 1..=1), (Trouble::Throttled, 2..=7), (Trouble::Hangs, 1..=1)];
        for (trouble, tries) in troubles {
            let world = World::new();
            world.always(Action::RegisterTargets, Some(trouble));
            let nominations = Nominations::Open { event: Some("orders-2".to_owned()) };
            let binding = Binding::new(ENDPOINT, GROUP);
            let report =
                world.reconcile_binding(&binding, PACE, Mode::Watch, &nominations, seconds(60)).await;
            assert_ne!(report.status, Status::Failed, "{trouble:?}: {report:?}");
            assert!(tries.contains(&world.count(Action::RegisterTargets)), "{trouble:?}");
        }
    }
}

mod a_warm_standby {
    use rds_nlb_sync::config::Binding;
    use rds_nlb_sync::plan::Standby;
    use rds_nlb_sync::reconcile::Nominations;

    use super::*;
    use crate::world::{ENDPOINT, Instance};

    const INSTANCE: &str = "orders.abc123.us-east-1.rds.amazonaws.com";

    /// The Multi-AZ instance `orders`, at one address.
    fn instance() -> World {
        let world = World::new();
        moves(&world, ONE);
        let orders = Instance { endpoint: Some(INSTANCE.to_owned()), multi_az: true, ..Instance::default() };
        world.state().instances.insert("orders".into(), orders);
        world.state().clusters.clear();
        world
    }

    fn moves(world: &World, address: &str) {
        world.state().zone.insert(INSTANCE.into(), crate::world::addresses(&[address]));
    }

    async fn keeps(world: &World, mode: Mode) -> Report {
        let binding = Binding { standby: Standby::Keep, ..Binding::new(INSTANCE, GROUP) };
        let nominations = Nominations::Open { event: None };
        world.reconcile_binding(&binding, PACE, mode, &nominations, seconds(240)).await
    }

    fn health(world: &World, of: &[(&str, &'static str)]) {
        world.group(|group| {
            for (target, target_is) in &mut group.targets {
                let found = of.iter().find(|(address, _)| target.ip().to_string() == *address);
                if let Some((_, state)) = found {
                    target_is.state = Some(*state);
                }
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn is_kept_after_a_failover_and_comes_back_without_a_call() {
        let world = instance();
        // The failover: the load balancer learns late who is healthy and who is not.
        later(&world, 10, |world| moves(world, TWO));
        later(&world, 50, |world| health(world, &[(ONE, "unhealthy")]));
        later(&world, 120, |world| health(world, &[(TWO, "healthy")]));
        assert_eq!(keeps(&world, Mode::Watch).await.status, Status::Updated);
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
        assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync);
        // And the next one: health checks alone bring the standby back.
        world.forget_calls();
        health(&world, &[(TWO, "unhealthy")]);
        later(&world, 10, |world| moves(world, ONE));
        later(&world, 30, |world| health(world, &[(ONE, "healthy")]));
        assert_eq!(keeps(&world, Mode::Watch).await.status, Status::InSync);
        assert_eq!(world.writes(), Vec::<String>::new());
        assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432");
    }

    #[tokio::test(start_paused = true)]
    async fn is_awaited_while_the_writer_is_not_healthy() {
        let world = instance();
        moves(&world, TWO);
        world.group(|group| group.health = seconds(3600));
        let report = keeps(&world, Mode::Check).await;
        assert_eq!(report.status, Status::Pending);
        assert!(
            report.waiting[0].contains("by its health, once the writer's target is healthy"),
            "{report:?}"
        );
        assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
        assert!(world.count(Action::DescribeTargetHealth) <= 12, "not listed at every poll");
    }

    #[tokio::test(start_paused = true)]
    async fn that_wakes_up_while_dns_names_another_is_none_and_is_evicted_once_confirmed() {
        let world = instance();
        moves(&world, TWO);
        world.holds(&["10.0.1.10!", TWO]);
        assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync);
        health(&world, &[(ONE, "healthy")]);
        let started = Instant::now();
        assert_eq!(keeps(&world, Mode::Check).await.status, Status::Updated);
        assert!(world.calls(Action::DeregisterTargets)[0].at - started >= seconds(6));
        assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    }

    #[tokio::test(start_paused = true)]
    async fn is_one_at_most() {
        let world = instance();
        world.holds(&[ONE, "10.0.2.20!", "10.0.3.30!"]);
        assert_eq!(keeps(&world, Mode::Check).await.status, Status::Updated);
        assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432 10.0.3.30:5432~");
    }

    #[tokio::test(start_paused = true)]
    async fn is_evicted_like_anybody_unless_it_is_asked_for() {
        let world = World::new();
        world.holds(&[ONE, "10.0.2.20!"]);
        assert_eq!(world.check().await.status, Status::Updated);
        settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
    }

    /// The failover is followed, the old writer evicted, and the operator told.
    #[track_caller]
    fn refused(world: &World, report: &Report, why: &str) {
        assert_eq!(report.status, Status::Failed);
        assert!(error(report).contains(why) && error(report).contains("take \"standby\" out"), "{report:?}");
        assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    }

    #[tokio::test(start_paused = true)]
    async fn is_refused_for_an_instance_that_is_not_multi_az() {
        let world = instance();
        world.state().instances.get_mut("orders").unwrap().multi_az = false;
        moves(&world, TWO);
        world.holds(&["10.0.1.10!", TWO]);
        let report = keeps(&world, Mode::Check).await;
        refused(&world, &report, "the instance orders is not Multi-AZ");
        assert_eq!(keeps(&world, Mode::DryRun).await.status, Status::Failed);
        assert_eq!(keeps(&world, Mode::Watch).await.status, Status::Failed);
    }

    #[tokio::test(start_paused = true)]
    async fn is_refused_for_a_cluster_whatever_its_endpoint_is_called() {
        let why = "a cluster's old writer goes on answering as a reader";
        let of_member: fn(&World) = |world| {
            world.state().instances.get_mut("orders").unwrap().cluster = Some("sales");
        };
        let of_cluster: fn(&World) = |world| {
            world.state().instances.clear();
            world.writer_per_rds("orders-2");
        };
        let of_chain: fn(&World) = |world| {
            world.promote("orders-2");
            world.writer_per_rds("orders-2");
            world.state().zone.insert(INSTANCE.into(), crate::world::Record::Cname(ENDPOINT.to_owned()));
        };
        for prepare in [of_member, of_cluster, of_chain] {
            let world = instance();
            moves(&world, TWO);
            world.holds(&["10.0.1.10!", TWO]);
            prepare(&world);
            refused(&world, &keeps(&world, Mode::Check).await, why);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_kept_where_the_rds_api_does_not_answer() {
        for trouble in [Trouble::Hangs, Trouble::Denied, Trouble::ServerError] {
            let world = instance();
            world.always(Action::DescribeDBInstances, Some(trouble));
            moves(&world, TWO);
            world.holds(&["10.0.1.10!", TWO]);
            assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync, "{trouble:?}");
            assert_eq!(world.writes(), Vec::<String>::new());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_kept_for_a_name_that_says_nothing_to_the_rds_api() {
        let world = instance();
        world.state().instances.clear();
        moves(&world, TWO);
        world.holds(&["10.0.1.10!", TWO]);
        assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync);
        assert_eq!(world.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn costs_no_failover_any_time_while_it_is_judged() {
        let world = instance();
        world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
        later(&world, 1, |world| moves(world, TWO));
        let started = Instant::now();
        keeps(&world, Mode::Watch).await;
        let registered = world.calls(Action::RegisterTargets)[0].at - started;
        assert!(registered <= seconds(1) + PACE.poll, "{registered:?}");
    }
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

/// How urgent each call is, for where the API's limits are near.
mod turns {
    use rds_nlb_sync::reconcile::Call::{Describe, Write};
    use rds_nlb_sync::reconcile::Urgency::{Failover, Routine, Tidy};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_check_that_finds_a_failover_come_first_until_the_writer_is_in() {
        let world = World::new();
        world.resolves_to(&[TWO]);
        world.check().await;
        let turns = [
            (Routine, Describe),
            (Failover, Write),
            (Failover, Describe),
            // The look before the eviction, the eviction, and the look after it.
            (Tidy, Describe),
            (Tidy, Write),
            (Tidy, Describe),
        ];
        assert_eq!(world.state().turns, turns);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_watch_in_which_nothing_happens_stay_as_urgent_as_they_were() {
        let world = World::new();
        world.watch().await;
        let turns = world.state().turns.clone();
        assert!(turns.len() > 1 && turns.iter().all(|turn| *turn == (Routine, Describe)), "{turns:?}");
    }
}

mod the_log {
    use super::*;
    use crate::world::log::Log;

    #[tokio::test(start_paused = true)]
    async fn tells_each_step_of_a_failover_once() {
        let (world, log) = (World::new(), Log::open());
        later(&world, 20, |world| world.resolves_to(&[TWO]));
        world.watch().await;
        assert_eq!(log.decisions(), ["moved", "plan", "register", "plan", "plan", "evict"]);
    }

    #[tokio::test(start_paused = true)]
    async fn tells_of_a_flicker_once_however_long_it_lasts() {
        let (world, log) = (World::new(), Log::open());
        world.flickers(&[ONE, TWO]);
        world.watch().await;
        assert_eq!(log.decisions(), ["moved", "plan", "register", "plan", "plan"]);
    }

    #[tokio::test(start_paused = true)]
    async fn tells_once_why_somebody_is_not_nominated() {
        let (world, log) = (World::new(), Log::open());
        world.watch_nominating("billing-1").await;
        assert_eq!(log.decisions(), ["nominate"]);
    }

    #[tokio::test(start_paused = true)]
    async fn tells_that_time_was_over() {
        let (world, log) = (World::new(), Log::open());
        world.reconcile(Mode::Watch, seconds(30)).await;
        assert_eq!(log.decisions(), ["stop"]);
    }
}
