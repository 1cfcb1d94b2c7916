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
        assert!(matches!(report.status, Status::Updated | Status::InSync), "killed at {step}: {report:?}");
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}
