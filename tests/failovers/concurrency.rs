use super::*;

#[tokio::test(start_paused = true)]
async fn two_runs_follow_the_same_failover() {
    let aws = FakeAws::new();
    later(&aws, 5, |aws| aws.resolves_to(&[TWO]));
    let (first, second) = tokio::join!(aws.watch(), async {
        sleep(Duration::from_millis(250)).await;
        aws.watch().await
    });
    assert!([first.status, second.status].iter().all(|s| matches!(s, Status::Updated | Status::InSync)));
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn next_run_repairs_what_a_killed_run_left() {
    for step in 0..80 {
        let aws = FakeAws::new();
        aws.state().latency = Duration::from_millis(100);
        aws.resolves_to(&[TWO]);
        let killed = tokio::time::timeout(Duration::from_millis(100 * step), aws.check());
        drop(killed.await);
        assert!(aws.state().health(GROUP).unwrap().iter().any(|(_, state)| *state != "draining"));
        let report = aws.check().await;
        assert!(matches!(report.status, Status::Updated | Status::InSync), "killed at {step}: {report:?}");
        settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}
