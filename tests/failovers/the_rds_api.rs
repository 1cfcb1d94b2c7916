use super::*;

/// DNS has moved to `orders-2`; the group holds both.
fn moved() -> World {
    let world = World::new();
    world.promote("orders-2");
    world.holds(&[ONE, TWO]);
    world
}

#[tokio::test(start_paused = true)]
async fn vetoes_an_eviction_while_it_names_another_member() {
    let world = moved();
    world.writer_per_rds("orders-1");
    let report = world.check().await;
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("once the RDS API names the same writer"), "{report:?}");
    assert_eq!(world.writes(), Vec::<String>::new());
    world.writer_per_rds("orders-2");
    assert_eq!(world.check().await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn is_asked_again_once_its_opinion_is_five_seconds_old() {
    let world = moved();
    world.writer_per_rds("orders-1");
    world.check().await;
    let asked = world.calls(Action::DescribeDBClusters);
    assert_eq!(asked.len(), 2, "in the six seconds between the confirmation and the bound");
    assert_eq!(asked[1].at - asked[0].at, OPINION);
}

#[tokio::test(start_paused = true)]
async fn vetoes_the_return_of_a_draining_target_as_well() {
    let world = moved();
    world.holds(&[ONE, "10.0.2.20~"]);
    world.writer_per_rds("orders-1");
    assert_eq!(world.check().await.status, Status::Pending);
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn never_vetoes_a_registration() {
    let world = moved();
    world.holds(&[ONE]);
    world.writer_per_rds("orders-1");
    assert_eq!(world.check().await.status, Status::Pending);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
}

#[tokio::test(start_paused = true)]
async fn is_not_needed() {
    for trouble in [Trouble::Hangs, Trouble::Denied, Trouble::Throttled, Trouble::ServerError] {
        let world = moved();
        world.writer_per_rds("orders-1");
        world.always(Action::DescribeDBClusters, Some(trouble));
        assert_eq!(world.check().await.status, Status::Updated, "{trouble:?}");
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}

#[tokio::test(start_paused = true)]
async fn is_not_asked_where_nothing_hangs_on_it() {
    let world = World::new();
    world.check().await;
    world.resolves_to(&[TWO]);
    world.check().await;
    assert_eq!(world.count(Action::DescribeDBClusters), 0, "no CNAME, no member, no question");
}

#[tokio::test(start_paused = true)]
async fn does_not_know_the_cluster_and_does_not_matter() {
    let world = moved();
    world.state().clusters.clear();
    assert_eq!(world.check().await.status, Status::Updated);
}

/// A real clock has no exact ties: every call takes some milliseconds.
#[tokio::test(start_paused = true)]
async fn that_is_silent_for_ever_holds_up_no_deregistration() {
    for confirm in [4, 6, 20] {
        for poll in [100, 500, 2_000] {
            for mode in [Mode::Check, Mode::Watch] {
                let world = moved();
                world.state().latency = Duration::from_millis(7);
                world.always(Action::DescribeDBClusters, Some(Trouble::Hangs));
                world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
                let pace = Pace {
                    confirm: seconds(confirm),
                    poll: Duration::from_millis(poll),
                    watch: seconds(3 * confirm + 1),
                };
                let mut report = world.reconcile_at(pace, mode, seconds(120)).await;
                if mode == Mode::Check && report.status == Status::Pending {
                    report = world.reconcile_at(pace, mode, seconds(120)).await;
                }
                assert_eq!(report.status, Status::Updated, "{pace:?} {mode:?} {report:?}");
                assert_eq!(world.writes(), ["DeregisterTargets 10.0.1.10:5432"]);
            }
        }
    }
}
