use super::*;

#[tokio::test(start_paused = true)]
async fn says_what_would_be_done_and_changes_nothing() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let report = aws.reconcile(Mode::DryRun, seconds(60)).await;
    assert_eq!(report.status, Status::Planned);
    assert_eq!(
        format!("{:?} {:?}", report.registered, report.deregistered),
        "{10.0.2.20:5432} {10.0.1.10:5432}"
    );
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn finds_nothing_to_do_where_there_is_nothing() {
    let report = FakeAws::new().reconcile(Mode::DryRun, seconds(60)).await;
    assert_eq!(report.status, Status::InSync);
}

#[tokio::test(start_paused = true)]
async fn registers_no_draining_target_that_a_check_would_not() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.holds(&[ONE, "10.0.2.20~"]);
    let report = aws.reconcile(Mode::DryRun, seconds(60)).await;
    assert!(report.registered.is_empty() && report.deregistered.is_empty(), "{report:?}");
    assert!(report.waiting.iter().any(|waits| waits.contains("once the RDS API names")), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn shows_the_veto() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    let report = aws.reconcile(Mode::DryRun, seconds(60)).await;
    assert_eq!(report.status, Status::Planned);
    assert!(report.deregistered.is_empty());
    assert!(report.waiting[0].starts_with("10.0.1.10:5432"), "{report:?}");
}
