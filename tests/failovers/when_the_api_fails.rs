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
        assert_eq!(changes, "{10.0.2.20:5432} {10.0.1.10:5432}", "reported though {action:?} seemed to fail");
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
    assert_eq!(world.writes(), ["DeregisterTargets 10.0.2.20:5432"], "the throttled call was not repeated");
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

#[tokio::test(start_paused = true)]
async fn a_listing_slower_than_a_gap_between_lookups_does_not_start_the_confirmation_anew() {
    let world = World::new();
    world.holds(&[ONE, TWO]);
    world.state().latency = Duration::from_millis(7);
    world.always(Action::DescribeTargetHealth, Some(Trouble::Slow(Duration::from_millis(3_400))));
    let started = Instant::now();
    let report = world.watch().await;
    assert_eq!(report.status, Status::Pending, "a listing of 3.4 s is too old to deregister by: {report:?}");
    let lookups = world.calls(Action::Lookup);
    let gap = lookups.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(gap < seconds(1), "every wait is beside the lookups: {gap:?} within {:?}", started.elapsed());
}
