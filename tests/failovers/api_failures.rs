use super::*;

#[tokio::test(start_paused = true)]
async fn denied_registration_deregisters_nothing_and_fails() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::RegisterTargets, Some(ApiFault::Denied));
    let report = aws.check().await;
    assert_eq!(report.status, Status::Failed);
    assert!(error(&report).contains("AccessDenied"), "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432");
}

#[tokio::test(start_paused = true)]
async fn denial_after_another_failure_is_reported() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Throttled, ApiFault::Denied]);
    let report = aws.check().await;
    assert!(error(&report).contains("AccessDenied"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn failed_registration_is_dropped_after_dns_moved_on() {
    let aws = FakeAws::new();
    sleep(seconds(60)).await;
    aws.state().lag = seconds(60);
    aws.resolves_to(&[TWO]);
    later(&aws, 1, |aws| {
        aws.resolves_to(&[THREE]);
        aws.always(Action::RegisterTargets, Some(ApiFault::Throttled));
    });
    later(&aws, 2, |aws| aws.resolves_to(&[TWO]));
    let report = aws.reconcile(Mode::Check, seconds(6)).await;
    assert_eq!(report.status, Status::Pending, "{report:?}");
    assert!(report.waiting.contains(&"10.0.2.20:5432 is not listed as registered yet".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn throttled_registration_is_retried_before_deregistering() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::RegisterTargets, Some(ApiFault::Throttled));
    later(&aws, 60, |aws| {
        assert_eq!(aws.targets(), "10.0.1.10:5432");
        aws.always(Action::RegisterTargets, None);
    });
    assert_eq!(aws.watch().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn check_stops_retrying_a_throttled_registration() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::RegisterTargets, Some(ApiFault::Throttled));
    assert_eq!(aws.check().await.status, Status::Failed);
    assert_eq!(aws.count(Action::RegisterTargets), 3);
}

#[tokio::test(start_paused = true)]
async fn answer_lost_after_the_effect_changes_nothing() {
    for action in [Action::RegisterTargets, Action::DeregisterTargets] {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.next(action, &[ApiFault::AnswerLost]);
        let report = aws.check().await;
        assert_eq!(report.status, Status::Updated);
        let changes = format!("{:?} {:?}", report.registered, report.deregistered);
        assert_eq!(changes, "{10.0.2.20:5432} {10.0.1.10:5432}", "reported though {action:?} seemed to fail");
        assert_eq!(aws.count(action), 1, "the next look shows that {action:?} took effect");
        settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}

#[tokio::test(start_paused = true)]
async fn deregistration_applied_late_empties_the_group_for_at_most_5_seconds() {
    for poll in [500, 7000] {
        let late = seconds(22);
        let started = Instant::now();
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.resolves_to(&[TWO]);
        aws.next(Action::DeregisterTargets, &[ApiFault::Reset]);
        later(&aws, 7, |aws| aws.resolves_to(&[ONE]));
        later(&aws, late.as_secs(), |aws| {
            aws.state().deregister(GROUP, &[format!("{ONE}:5432").parse().unwrap()]).unwrap();
        });
        let timing = Timing { poll: Duration::from_millis(poll), ..TIMING };
        let report = aws.reconcile_at(timing, Mode::Watch, seconds(120)).await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        let registered = aws.calls(Action::RegisterTargets).last().map(|call| call.at - started);
        let is_in_time = registered.is_some_and(|at| at >= late && at <= late + seconds(5));
        assert!(is_in_time, "emptied at {late:?}, filled at {registered:?}: {:?}", aws.writes());
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_deregistration_cannot_be_applied_late() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.resolves_to(&[TWO]);
    aws.next(Action::DeregisterTargets, &[ApiFault::Throttled]);
    later(&aws, 7, |aws| aws.resolves_to(&[ONE]));
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
    assert!(report.elapsed_ms < 20_000, "the API has refused it, so the watch ends: {report:?}");
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn attempt_of_unknown_outcome_is_watched_even_if_its_retry_succeeded() {
    for (is_unclear, seconds_watched, lists) in [(true, 20..30, 8..20), (false, 6..15, 1..8)] {
        let aws = FakeAws::new();
        aws.state().first_attempt_is_unclear = is_unclear;
        later(&aws, 1, |aws| aws.resolves_to(&[TWO]));
        let report = aws.watch().await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        let watched = report.elapsed_ms / 1000;
        assert!(seconds_watched.contains(&watched), "{is_unclear}: the watch ended after {watched} s");
        let count = aws.count(Action::DescribeTargetHealth);
        assert!(lists.contains(&count), "{is_unclear}: listed {count} times");
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_of_a_check_is_not_shortened_by_a_long_poll_interval() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Throttled, ApiFault::Throttled]);
    let latency = Duration::from_millis(1_900);
    aws.state().latency = latency;
    let timing = Timing { poll: seconds(60), ..TIMING };
    aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
    let calls = aws.calls(Action::RegisterTargets);
    // The failed call takes this time, and so does the observation after the pause.
    let backoff = |pair: usize| calls[pair + 1].at - calls[pair].at - 2 * latency;
    assert!(backoff(0) >= Duration::from_millis(500) && backoff(1) >= seconds(1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn check_fills_a_group_that_its_own_late_call_empties() {
    for late in [19, 22] {
        let started = Instant::now();
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.resolves_to(&[TWO]);
        // The first attempt takes effect late. The second one succeeds.
        aws.next(Action::DeregisterTargets, &[ApiFault::Reset]);
        later(&aws, 9, |aws| aws.resolves_to(&[ONE]));
        later(&aws, late, |aws| {
            aws.state().deregister(GROUP, &[format!("{ONE}:5432").parse().unwrap()]).unwrap();
        });
        let report = aws.check().await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        let registered = aws.calls(Action::RegisterTargets).last().map(|call| call.at - started);
        let is_in_time = registered.is_some_and(|at| at >= seconds(late) && at <= seconds(late + 5));
        assert!(is_in_time, "emptied after {late} s, filled after {registered:?}: {:?}", aws.writes());
    }
}

#[tokio::test(start_paused = true)]
async fn group_emptied_by_another_run_is_filled_within_5_seconds_of_a_change() {
    let aws = FakeAws::new();
    // DNS does not move in this watch, so that it goes on after its change.
    aws.holds(&[ONE, TWO]);
    later(&aws, 15, |aws| {
        aws.state().deregister(GROUP, &[format!("{ONE}:5432").parse().unwrap()]).unwrap();
    });
    let started = Instant::now();
    let report = aws.watch().await;
    assert_eq!(
        aws.writes(),
        ["DeregisterTargets 10.0.2.20:5432", "RegisterTargets 10.0.1.10:5432"],
        "{report:?}"
    );
    let registered = aws.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(20), "emptied after 15 s, filled after {registered:?}");
}

#[tokio::test(start_paused = true)]
async fn failed_deregistration_observes_again_before_retry() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.next(Action::DeregisterTargets, &[ApiFault::Throttled]);
    // While the call fails, DNS moves to the very target that was to be deregistered.
    later(&aws, 6, |aws| aws.resolves_to(&[TWO]));
    assert_eq!(aws.check().await.status, Status::Pending, "the new answer is not confirmed yet");
    assert_eq!(aws.writes(), ["DeregisterTargets 10.0.2.20:5432"], "the throttled call was not repeated");
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn unlisted_group_is_not_changed() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::ServerError));
    assert_eq!(aws.check().await.status, Status::Failed);
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn slow_listing_delays_no_deregistration() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    later(&aws, 5, |aws| aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(seconds(3)))));
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated, "a list is as old as its answer: {report:?}");
    assert_eq!(aws.writes(), ["DeregisterTargets 10.0.2.20:5432"]);
}

#[tokio::test(start_paused = true)]
async fn slow_lookup_delays_no_deregistration() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.always(Action::Lookup, Some(ApiFault::Slow(seconds(3))));
    for mode in [Mode::Check, Mode::Watch] {
        aws.holds(&[ONE, TWO]);
        aws.forget_calls();
        let report = aws.reconcile(mode, seconds(120)).await;
        assert_eq!(aws.writes(), ["DeregisterTargets 10.0.2.20:5432"], "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn listing_longer_than_a_poll_beside_slow_lookups_delays_no_deregistration() {
    for lookup in (2000..3000).step_by(50) {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.always(Action::Lookup, Some(ApiFault::Slow(Duration::from_millis(lookup))));
        aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(Duration::from_millis(110))));
        let timing = Timing { poll: Duration::from_millis(100), ..TIMING };
        let first = aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
        let second = aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432~", "{lookup} ms: {first:?} {second:?}");
    }
}

/// A backoff is 8 s at most.
#[tokio::test(start_paused = true)]
async fn long_poll_interval_delays_no_retry_of_a_watch() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Throttled; 6]);
    let timing = Timing { poll: seconds(60), ..TIMING };
    aws.reconcile_at(timing, Mode::Watch, seconds(240)).await;
    let calls = aws.calls(Action::RegisterTargets);
    let longest = calls.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(calls.len() == 7 && longest <= seconds(8 + 3), "{calls:?}");
}

/// The old target waits for the confirmation meanwhile.
#[tokio::test(start_paused = true)]
async fn attempt_of_unknown_outcome_is_watched_at_any_confirmation_time() {
    for (confirm, poll) in [(6, 500), (20, 500), (20, 7_000), (20, 60_000)] {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.state().first_attempt_is_unclear = true;
        let (confirm, poll) = (seconds(confirm), Duration::from_millis(poll));
        let started = Instant::now();
        aws.reconcile_at(Timing { confirm, poll, ..TIMING }, Mode::Watch, seconds(240)).await;
        let lists = aws.calls(Action::DescribeTargetHealth);
        let lists: Vec<Duration> =
            lists.iter().map(|call| call.at - started).filter(|at| *at <= seconds(18)).collect();
        let longest = lists.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= seconds(3), "{confirm:?} {poll:?}: {lists:?}");
    }
}

/// An attempt may take 3 s, and a lookup 4 s. The RDS API is silent as well.
#[tokio::test(start_paused = true)]
async fn slow_calls_at_every_corner_of_the_template_delay_no_deregistration() {
    let slow = |millis| Some(ApiFault::Slow(Duration::from_millis(millis)));
    let mut late = Vec::new();
    for confirm in [4, 6, 20] {
        for poll in [100, 500, 2_000, 5_000, 60_000] {
            for (lookup, list) in [0, 300, 1_100, 1_950, 2_550, 3_050, 3_950]
                .iter()
                .flat_map(|lookup| [7, 107, 607, 1_307, 1_707, 2_007, 2_707].map(|list| (*lookup, list)))
            {
                for mode in [Mode::Check, Mode::Watch] {
                    let aws = FakeAws::new();
                    aws.promote("orders-2");
                    aws.holds(&[ONE, TWO]);
                    aws.always(Action::DescribeDBClusters, Some(ApiFault::Hangs));
                    aws.always(Action::Lookup, slow(lookup));
                    aws.always(Action::DescribeTargetHealth, slow(list));
                    let (poll, watch) = (Duration::from_millis(poll), seconds(60.max(3 * confirm + 1)));
                    let timing = Timing { confirm: seconds(confirm), poll, watch };
                    let mut report = aws.reconcile_at(timing, mode, seconds(120)).await;
                    if mode == Mode::Check && report.status == Status::Pending {
                        report = aws.reconcile_at(timing, mode, seconds(120)).await;
                    }
                    if report.status != Status::Updated {
                        late.push(format!(
                            "{mode:?} confirm {confirm} poll {poll:?} lookup {lookup} list {list}"
                        ));
                    }
                }
            }
        }
    }
    assert!(late.is_empty(), "{} {late:#?}", late.len());
}

#[tokio::test(start_paused = true)]
async fn slow_name_server_at_the_shortest_confirmation_delays_no_deregistration() {
    for lookup in (2000..3000).step_by(50) {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.always(Action::Lookup, Some(ApiFault::Slow(Duration::from_millis(lookup))));
        let timing = Timing { poll: Duration::from_millis(850), confirm: seconds(4), ..TIMING };
        for _ in 0..2 {
            aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
        }
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432~", "{lookup} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_listing_without_confirmation_is_acted_on() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(Duration::from_millis(2300))));
    let timing = Timing { confirm: Duration::ZERO, ..TIMING };
    let report = aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn undescribed_group_fails_the_binding() {
    for (fault, expected) in
        [(ApiFault::Denied, "AccessDenied"), (ApiFault::Hangs, "describe the target group")]
    {
        let aws = FakeAws::new();
        aws.state().known.clear();
        aws.always(Action::DescribeTargetGroups, Some(fault));
        let report = aws.check().await;
        assert_eq!(report.status, Status::Failed);
        assert!(error(&report).contains(expected), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lagging_listing_delays_deregistration_by_its_lag() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.state().lag = Duration::from_millis(1500);
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated);
    assert!(report.elapsed_ms <= 7_000, "{report:?}");
    assert_eq!(aws.count(Action::RegisterTargets), 1, "not registered twice meanwhile");
}

#[tokio::test(start_paused = true)]
async fn undone_registration_is_repeated_when_listed() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    later(&aws, 3, |aws| aws.holds(&["10.0.1.10~", "10.0.2.20~"]));
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn lasting_failure_is_logged_once_and_backs_off() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.writer_per_rds("orders-2");
    aws.holds(&[ONE, TWO]);
    aws.always(Action::DeregisterTargets, Some(ApiFault::Throttled));
    assert_eq!(aws.watch().await.status, Status::Failed);
    let count = aws.count(Action::DeregisterTargets);
    assert!((20..=50).contains(&count), "in three minutes, with a pause of up to 8 s, not {count} times");
}

#[tokio::test(start_paused = true)]
async fn listings_that_fail_back_off_and_fail_the_watch() {
    for failing_from in [0, 2] {
        let (aws, log) = (FakeAws::new(), Log::open());
        let fail = |aws: &FakeAws| {
            aws.always(Action::DescribeTargetHealth, Some(ApiFault::Throttled));
            // DNS gives an address that must be registered.
            aws.resolves_to(&[TWO]);
        };
        if failing_from == 0 {
            fail(&aws)
        } else {
            later(&aws, failing_from, fail)
        }
        let report = aws.watch().await;
        assert_eq!(report.status, Status::Failed, "{failing_from}: {report:?}");
        let count = aws.count(Action::DescribeTargetHealth);
        assert!((20..=50).contains(&count), "from {failing_from} s on: in three minutes {count} times");
        assert!(!log.decisions().contains(&"recovered".to_owned()), "no listing succeeded");
    }
}

/// An unhealthy target is registered for as long as its group's draining interval keeps its connections.
#[tokio::test(start_paused = true)]
async fn unhealthy_target_that_drains_is_registered() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.group(|group| {
        group.targets.values_mut().for_each(|target| target.state = Some("unhealthy.draining"));
    });
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(aws.writes(), ["DeregisterTargets 10.0.2.20:5432"], "and the writer is not registered again");
}

#[tokio::test(start_paused = true)]
async fn unlisted_writer_is_not_registered_without_end() {
    let aws = FakeAws::new();
    aws.group(|group| {
        group.targets.values_mut().for_each(|target| target.state = Some("draining"));
    });
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Pending);
    let count = aws.count(Action::RegisterTargets);
    assert!((1..=19).contains(&count), "at most every ten seconds, not {count} times");
    let registered = aws.calls(Action::RegisterTargets);
    assert_eq!(registered[1].at - registered[0].at, LISTING_LAG);
}

#[tokio::test(start_paused = true)]
async fn slow_listing_does_not_restart_confirmation() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.state().latency = Duration::from_millis(7);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(Duration::from_millis(3_400))));
    let started = Instant::now();
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
    let lookups = aws.calls(Action::Lookup);
    let gap = lookups.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(gap < seconds(1), "lookups continue during every wait: {gap:?} within {:?}", started.elapsed());
}
