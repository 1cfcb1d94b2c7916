use super::*;

#[tokio::test(start_paused = true)]
async fn of_zero_seconds_evicts_at_once_after_one_more_look() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    let pace = Pace { confirm: Duration::ZERO, ..PACE };
    let report = world.reconcile_at(pace, Mode::Check, seconds(60)).await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(report.elapsed_ms, 0);
    assert!(world.count(Action::Lookup) >= 3, "a look before the registration, and before the eviction");
}

#[tokio::test(start_paused = true)]
async fn looks_afresh_right_before_the_eviction() {
    let world = World::new();
    world.holds(&[ONE, TWO]);
    world.check().await;
    let calls = world.state().calls.clone();
    let evicted = calls.iter().position(|call| call.action == Action::DeregisterTargets).unwrap();
    let mut before = [calls[evicted - 1].action, calls[evicted - 2].action];
    before.sort();
    assert_eq!(before, [Action::Lookup, Action::DescribeTargetHealth]);
    assert!(calls[evicted - 2..].iter().all(|call| call.at == calls[evicted].at));
}
