use super::*;

#[tokio::test(start_paused = true)]
async fn hanging_call_fails_at_the_deadline_and_says_so() {
    for action in [Action::DescribeTargetHealth, Action::RegisterTargets] {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.always(action, Some(ApiFault::Hangs));
        let report = aws.reconcile(Mode::Check, seconds(10)).await;
        assert_eq!(report.status, Status::Failed);
        assert!(error(&report).contains("before the time ran out"), "{report:?}");
    }
}

/// The watch would end before the deadline, but the change that it began does not.
#[tokio::test(start_paused = true)]
async fn change_cut_off_by_the_deadline_is_an_error_in_a_watch() {
    let aws = FakeAws::new();
    later(&aws, 18, |aws| {
        aws.always(Action::RegisterTargets, Some(ApiFault::Hangs));
        aws.resolves_to(&[TWO]);
    });
    let report = aws.reconcile_at(Timing { watch: seconds(20), ..TIMING }, Mode::Watch, seconds(25)).await;
    assert_eq!(report.status, Status::Failed, "{report:?}");
    assert!(error(&report).contains("register the endpoint's addresses before the time"));
    assert!(report.may_apply_late, "it may take effect all the same");
}

#[tokio::test(start_paused = true)]
async fn watch_longer_than_the_deadline_ends_without_error() {
    let aws = FakeAws::new();
    let report = aws.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(report.status, Status::InSync);
}

#[tokio::test(start_paused = true)]
async fn lookup_cut_by_the_deadline_is_no_error_if_in_sync() {
    let aws = FakeAws::new();
    later(&aws, 28, |aws| aws.always(Action::Lookup, Some(ApiFault::Slow(seconds(60)))));
    let report = aws.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(report.status, Status::InSync);
}

#[tokio::test(start_paused = true)]
async fn deadline_before_confirmation_is_pending_then_resumed() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let report = aws.reconcile(Mode::Check, seconds(3)).await;
    assert_eq!(report.status, Status::Pending);
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn deadline_in_the_past_is_an_error() {
    let aws = FakeAws::new();
    aws.state().latency = Duration::from_millis(10);
    assert_eq!(aws.reconcile(Mode::Check, Duration::ZERO).await.status, Status::Failed);
}
