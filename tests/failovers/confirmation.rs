use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::reconcile::Preregistration;
use testkit::ENDPOINT;

use super::*;

#[tokio::test(start_paused = true)]
async fn zero_confirmation_deregisters_after_one_more_lookup() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let timing = Timing { confirm: Duration::ZERO, ..TIMING };
    let report = aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(report.elapsed_ms, 0);
    assert!(aws.count(Action::Lookup) >= 3, "a look before the registration, and before the deregistration");
}

#[tokio::test(start_paused = true)]
async fn lookup_and_listing_precede_every_deregistration() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.check().await;
    let calls = aws.state().calls.clone();
    let deregistered = calls.iter().position(|call| call.action == Action::DeregisterTargets).unwrap();
    let mut before = [calls[deregistered - 1].action, calls[deregistered - 2].action];
    before.sort();
    assert_eq!(before, [Action::Lookup, Action::DescribeTargetHealth]);
    assert!(calls[deregistered - 2..].iter().all(|call| call.at == calls[deregistered].at));
}

#[tokio::test(start_paused = true)]
async fn long_poll_interval_delays_no_confirmation() {
    for mode in [Mode::Check, Mode::Watch] {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        let timing = Timing { poll: seconds(60), watch: seconds(60), ..TIMING };
        let started = Instant::now();
        aws.reconcile_at(timing, mode, seconds(120)).await;
        let after = aws.calls(Action::DeregisterTargets)[0].at - started;
        assert!((seconds(6)..=seconds(8)).contains(&after), "{mode:?}: {after:?}");
    }
}

/// The template allows a poll interval as long as its shortest watch.
#[tokio::test(start_paused = true)]
async fn failover_in_the_middle_of_a_short_watch_is_followed_at_any_poll_interval() {
    for confirm in [4, 6, 19] {
        for poll in [500, 20_000, 30_000, 59_000, 60_000] {
            let aws = FakeAws::new();
            later(&aws, 5, |aws| {
                aws.promote("orders-2");
                aws.writer_per_rds("orders-2");
            });
            let (confirm, poll) = (seconds(confirm), Duration::from_millis(poll));
            let timing = Timing { poll, confirm, watch: seconds(60) };
            let binding = Binding::new(ENDPOINT, GROUP.parse().unwrap());
            // No answer of the RDS API ends a pause.
            let off = Preregistration::Off;
            aws.reconcile_binding(&binding, timing, Mode::Watch, &off, seconds(120)).await;
            assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432", "{timing:?}");
        }
    }
}

/// The new writer is in the group when the watch ends; the next check removes the old one.
#[tokio::test(start_paused = true)]
async fn failover_at_the_end_of_a_watch_is_seen_at_any_poll_interval() {
    for poll in [500, 5_000, 20_000, 60_000] {
        let aws = FakeAws::new();
        later(&aws, 178, |aws| aws.promote("orders-2"));
        let timing = Timing { poll: Duration::from_millis(poll), ..TIMING };
        aws.reconcile_at(timing, Mode::Watch, seconds(240)).await;
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432", "{timing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn quiet_watch_lists_the_group_every_thirty_seconds_at_any_poll_interval() {
    for poll in [500, 7_000, 29_000, 45_000, 60_000] {
        let aws = FakeAws::new();
        aws.state().latency = Duration::from_millis(7);
        let timing = Timing { poll: Duration::from_millis(poll), watch: seconds(300), ..TIMING };
        aws.reconcile_at(timing, Mode::Watch, seconds(360)).await;
        let lists = aws.calls(Action::DescribeTargetHealth);
        let is_due = |pair: &[testkit::Call]| (seconds(30)..seconds(31)).contains(&(pair[1].at - pair[0].at));
        assert!(lists.len() == 10 && lists.windows(2).all(is_due), "{poll}: {lists:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn group_in_sync_is_looked_up_at_every_poll_and_no_more() {
    let aws = FakeAws::new();
    let timing = Timing { poll: seconds(10), watch: seconds(60), ..TIMING };
    aws.reconcile_at(timing, Mode::Watch, seconds(120)).await;
    assert_eq!(aws.count(Action::Lookup), 7, "and once at the end");
}

#[tokio::test(start_paused = true)]
async fn short_waits_in_a_row_are_no_gap_between_lookups() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.group(|group| group.targets.clear());
    aws.holds(&[ONE]);
    for action in [Action::RegisterTargets, Action::DescribeTargetHealth, Action::DescribeTargetGroups] {
        aws.always(action, Some(ApiFault::Slow(Duration::from_millis(900))));
    }
    let timing = Timing { poll: seconds(1), confirm: seconds(4), ..TIMING };
    aws.reconcile_at(timing, Mode::Watch, seconds(60)).await;
    let lookups = aws.calls(Action::Lookup);
    let gaps = lookups.windows(2).map(|pair| pair[1].at - pair[0].at);
    let longest = gaps.max().unwrap();
    assert!(longest <= seconds(1) + Duration::from_millis(100), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn pause_after_an_error_is_no_gap_between_lookups() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Throttled, ApiFault::Throttled]);
    aws.check().await;
    let lookups = aws.calls(Action::Lookup);
    let longest = lookups.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(longest <= TIMING.poll + Duration::from_millis(1), "{longest:?}");
}
