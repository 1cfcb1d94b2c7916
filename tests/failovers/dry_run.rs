use super::*;

#[tokio::test(start_paused = true)]
async fn dry_run_reports_the_plan_and_changes_nothing() {
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
async fn dry_run_in_sync_plans_nothing() {
    let report = FakeAws::new().reconcile(Mode::DryRun, seconds(60)).await;
    assert_eq!(report.status, Status::InSync);
}

#[tokio::test(start_paused = true)]
async fn dry_run_does_not_plan_to_register_a_draining_target() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.holds(&[ONE, "10.0.2.20~"]);
    let report = aws.reconcile(Mode::DryRun, seconds(60)).await;
    assert!(report.registered.is_empty() && report.deregistered.is_empty(), "{report:?}");
    assert!(report.waiting.iter().any(|waits| waits.contains("once the RDS API names")), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn dry_run_shows_the_veto() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    let report = aws.reconcile(Mode::DryRun, seconds(60)).await;
    assert_eq!(report.status, Status::Planned);
    assert!(report.deregistered.is_empty());
    assert!(report.waiting[0].starts_with("10.0.1.10:5432"), "{report:?}");
}
