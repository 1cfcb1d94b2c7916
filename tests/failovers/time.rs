use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_at_the_deadline_with_an_error_that_says_so() {
    for action in [Action::DescribeTargetHealth, Action::RegisterTargets] {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.always(action, Some(ApiFault::Hangs));
        let report = aws.reconcile(Mode::Check, seconds(10)).await;
        assert_eq!(report.status, Status::Failed);
        assert!(error(&report).contains("before the invocation's time ran out"), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_longer_than_the_invocation_ends_in_time_and_is_no_error() {
    let aws = FakeAws::new();
    let report = aws.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(report.status, Status::InSync);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_cut_short_by_the_deadline_is_no_error_where_all_was_well() {
    let aws = FakeAws::new();
    later(&aws, 28, |aws| aws.always(Action::Lookup, Some(ApiFault::Slow(seconds(60)))));
    let report = aws.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(report.status, Status::InSync);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_ends_before_the_confirmation_is_pending_and_the_next_goes_on() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let report = aws.reconcile(Mode::Check, seconds(3)).await;
    assert_eq!(report.status, Status::Pending);
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_is_an_error() {
    let aws = FakeAws::new();
    aws.state().latency = Duration::from_millis(10);
    assert_eq!(aws.reconcile(Mode::Check, Duration::ZERO).await.status, Status::Failed);
}
