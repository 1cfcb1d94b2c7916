use super::*;

#[tokio::test(start_paused = true)]
async fn a_denied_registration_evicts_nothing_and_fails() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::RegisterTargets, Some(ApiFault::Denied));
    let report = aws.check().await;
    assert_eq!(report.status, Status::Failed);
    assert!(error(&report).contains("AccessDenied"), "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432");
}

#[tokio::test(start_paused = true)]
async fn a_denial_after_another_failure_is_told_as_what_it_is() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.next(Action::RegisterTargets, &[ApiFault::Throttled, ApiFault::Denied]);
    let report = aws.check().await;
    assert!(error(&report).contains("AccessDenied"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_registration_of_whom_dns_names_no_more_is_forgotten() {
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
async fn a_throttled_registration_is_tried_again_and_evicts_nothing_meanwhile() {
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
async fn a_check_gives_up_on_a_throttled_registration_within_bounds() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::RegisterTargets, Some(ApiFault::Throttled));
    assert_eq!(aws.check().await.status, Status::Failed);
    assert_eq!(aws.count(Action::RegisterTargets), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_after_the_call_took_effect_changes_nothing() {
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
async fn a_failed_eviction_looks_again_before_it_is_tried_again() {
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
async fn a_group_that_cannot_be_listed_is_not_touched() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::ServerError));
    assert_eq!(aws.check().await.status, Status::Failed);
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_slow_listing_is_too_old_to_evict_by() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    later(&aws, 5, |aws| aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(seconds(3)))));
    let report = aws.check().await;
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("answer fast enough for a recent observation"), "{report:?}");
    assert!(report.elapsed_ms <= 16_000, "twice the confirmation time and one last look: {report:?}");
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn without_a_confirmation_time_a_slow_listing_ends_the_check_pending() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(Duration::from_millis(2300))));
    let timing = Timing { confirm: Duration::ZERO, ..TIMING };
    let report = aws.reconcile_at(timing, Mode::Check, seconds(60)).await;
    assert_eq!(report.status, Status::Pending, "{report:?}");
    assert!(report.elapsed_ms <= 5_000, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_be_described_fails_the_binding() {
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
async fn a_listing_that_lags_delays_the_eviction_only_by_its_lag() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.state().lag = Duration::from_millis(1500);
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated);
    assert!(report.elapsed_ms <= 7_000, "{report:?}");
    assert_eq!(aws.count(Action::RegisterTargets), 1, "not registered twice meanwhile");
}

#[tokio::test(start_paused = true)]
async fn what_another_hand_undoes_is_done_again_as_soon_as_it_is_seen() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    later(&aws, 3, |aws| aws.holds(&["10.0.1.10~", "10.0.2.20~"]));
    let report = aws.check().await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_is_told_once_and_tried_ever_more_slowly() {
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
async fn a_writer_that_stays_unlisted_is_not_registered_without_end() {
    let aws = FakeAws::new();
    aws.group(|group| {
        group.targets.values_mut().for_each(|target| target.state = Some("unhealthy.draining"));
    });
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Pending);
    let count = aws.count(Action::RegisterTargets);
    assert!((1..=19).contains(&count), "at most every ten seconds, not {count} times");
    let registered = aws.calls(Action::RegisterTargets);
    assert_eq!(registered[1].at - registered[0].at, LISTING_LAG);
}

#[tokio::test(start_paused = true)]
async fn a_listing_slower_than_a_gap_between_lookups_does_not_start_the_confirmation_anew() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.state().latency = Duration::from_millis(7);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(Duration::from_millis(3_400))));
    let started = Instant::now();
    let report = aws.watch().await;
    assert_eq!(report.status, Status::Pending, "a listing of 3.4 s is too old to deregister by: {report:?}");
    let lookups = aws.calls(Action::Lookup);
    let gap = lookups.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(gap < seconds(1), "every wait is beside the lookups: {gap:?} within {:?}", started.elapsed());
}
