use rds_nlb_sync::config::Binding;
use rds_nlb_sync::reconcile::Nominations;

use super::*;
use crate::world::{ENDPOINT, addresses};

const MEMBER: &str = "orders-2.abc123.us-east-1.rds.amazonaws.com";

fn both(world: &World) {
    assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn an_event_registers_the_next_writer_before_dns_moves_and_the_failover_is_followed_as_ever() {
    let world = World::new();
    later(&world, 1, both);
    later(&world, 25, |world| {
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
    });
    let started = Instant::now();
    let report = world.watch_nominating("orders-2").await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    assert!(world.calls(Action::RegisterTargets)[0].at - started <= seconds(1));
    assert!(world.calls(Action::DeregisterTargets)[0].at - started >= seconds(31), "DNS alone evicts");
    assert_eq!(format!("{:?}", report.registered), "{10.0.2.20:5432}");
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn the_rds_api_nominates_whom_it_calls_the_writer_before_dns_does() {
    let world = World::new();
    later(&world, 15, |world| world.writer_per_rds("orders-2"));
    later(&world, 30, both);
    later(&world, 40, |world| world.promote("orders-2"));
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::Updated);
    let registered = world.calls(Action::RegisterTargets)[0].at - started;
    assert!((seconds(15)..=seconds(26)).contains(&registered), "{registered:?}");
    assert!(world.count(Action::DescribeDBClusters) <= 8, "asked every ten seconds, and before the eviction");
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn the_writer_before_is_not_nominated_by_an_api_that_lags() {
    let world = World::new();
    world.promote("orders-2");
    // It still calls orders-1 the writer, which is in the group.
    later(&world, 30, |world| world.writer_per_rds("orders-2"));
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::Updated);
    assert!(started.elapsed() <= seconds(40), "{:?}", started.elapsed());
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
}

#[tokio::test(start_paused = true)]
async fn a_nomination_alone_neither_ends_the_watch_nor_evicts_and_outlives_it_by_nothing() {
    let world = World::new();
    let started = Instant::now();
    let report = world.watch_nominating("orders-2").await;
    assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()));
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("was nominated as the next writer"), "{report:?}");
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    assert_eq!(world.count(Action::DescribeDBInstances), 1, "found once, and not sought again");
    assert_eq!(world.check().await.status, Status::Updated, "a stale target like any other");
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_to_somebody_else_evicts_the_nominee_once_dns_has_settled() {
    let world = World::new();
    later(&world, 20, |world| world.resolves_to(&[THREE]));
    let started = Instant::now();
    assert_eq!(world.watch_nominating("orders-2").await.status, Status::Updated);
    assert!((seconds(26)..=seconds(30)).contains(&started.elapsed()), "{:?}", started.elapsed());
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432~ 10.0.3.30:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_is_reverted_evicts_the_nominee_by_the_event_that_says_so() {
    let world = World::new();
    world.state().failing_over = true;
    // Event 0070 wakes another invocation, which nominates nobody.
    tokio::join!(world.watch_nominating("orders-2"), async {
        sleep(seconds(20)).await;
        world.state().failing_over = false;
        assert_eq!(world.check().await.status, Status::Updated);
    });
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.2.20:5432"]);
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn a_drift_check_amid_the_failover_leaves_the_nominee_alone() {
    let world = World::new();
    world.state().failing_over = true;
    let (report, check) = tokio::join!(world.watch_nominating("orders-2"), async {
        sleep(seconds(5)).await;
        let check = world.check().await;
        both(&world);
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
        check
    });
    assert_eq!(check.status, Status::Pending);
    assert!(check.waiting[0].contains("no longer reports a failover under way"), "{check:?}");
    assert_eq!(report.status, Status::Updated);
    assert_eq!(world.count(Action::DeregisterTargets), 1, "DNS has moved: nothing is left to wait for");
    world.state().failing_over = false;
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_draining_nominee_waits_for_dns() {
    let world = World::new();
    world.holds(&[ONE, "10.0.2.20~"]);
    later(&world, 30, |world| {
        assert_eq!(world.writes(), Vec::<String>::new());
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
    });
    assert_eq!(world.watch_nominating("orders-2").await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn while_the_rds_api_is_down_the_event_vouches_and_the_name_is_derived() {
    for trouble in [Trouble::Hangs, Trouble::Denied, Trouble::Throttled, Trouble::ServerError] {
        let world = World::new();
        world.always(Action::DescribeDBClusters, Some(trouble));
        world.always(Action::DescribeDBInstances, Some(trouble));
        later(&world, 5, both);
        later(&world, 20, |world| world.promote("orders-2"));
        let started = Instant::now();
        assert_eq!(world.watch_nominating("orders-2").await.status, Status::Updated, "{trouble:?}");
        assert!(started.elapsed() <= seconds(32), "{:?}", started.elapsed());
        let asked: Vec<String> = world.calls(Action::Lookup).into_iter().map(|call| call.detail).collect();
        assert!(asked.contains(&MEMBER.to_owned()));
        settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_never_delays_the_loop() {
    let world = World::new();
    world.always(Action::DescribeDBClusters, Some(Trouble::Hangs));
    world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
    later(&world, 1, |world| world.resolves_to(&[THREE]));
    let started = Instant::now();
    world.watch_nominating("orders-2").await;
    let registered = world.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(1) + PACE.poll, "{registered:?}");
}

#[tokio::test(start_paused = true)]
async fn an_objection_counts_while_what_is_asked_beside_it_hangs() {
    let world = World::new();
    world.holds(&[ONE, TWO]);
    world.always(Action::DescribeTargetHealth, Some(Trouble::Slow(seconds(2))));
    world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
    // The loop is told of no other writer, and the scout of orders-2 while the loop looks once more.
    let late = Trouble::Slow(Duration::from_millis(1500));
    world.next(Action::DescribeDBClusters, &[Trouble::Slow(Duration::ZERO), late]);
    later(&world, 3, |world| world.writer_per_rds("orders-2"));
    later(&world, 30, |world| {
        both(world);
        world.promote("orders-2");
    });
    let nominations = Nominations::Open { event: Some("orders-2".to_owned()) };
    let (binding, pace) = (Binding::new(ENDPOINT, GROUP), Pace { confirm: Duration::ZERO, ..PACE });
    world.reconcile_binding(&binding, pace, Mode::Watch, &nominations, seconds(600)).await;
    assert_eq!(world.writes(), ["DeregisterTargets 10.0.1.10:5432"]);
}

#[tokio::test(start_paused = true)]
async fn the_events_nominee_is_held_whoever_finds_it() {
    let world = World::new();
    world.holds(&[ONE, TWO]);
    world.promote("orders-2");
    // Its name fails at first, and is found a moment later as that of whom the RDS API calls the writer.
    let name = "orders-1.abc123.us-east-1.rds.amazonaws.com";
    world.state().names.insert(name.to_owned(), Trouble::ServerError);
    let slow = [Trouble::Slow(Duration::ZERO), Trouble::Slow(seconds(2))];
    world.next(Action::DescribeDBInstances, &slow);
    later(&world, 1, |world| {
        world.state().names.clear();
        world.writer_per_rds("orders-2");
    });
    let report = world.watch_nominating("orders-1").await;
    assert!(report.waiting[0].contains("was nominated as the next writer"), "{report:?}");
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn who_is_no_member_is_nobody() {
    for prepare in [
        |_: &World| {},
        // Of another cluster, though this one's members are not to be learnt.
        |world: &World| world.always(Action::DescribeDBClusters, Some(Trouble::Denied)),
    ] {
        let world = World::new();
        world.state().zone.insert("billing-1.abc123.us-east-1.rds.amazonaws.com".into(), addresses(&[THREE]));
        let endpoint = Some("billing-1.abc123.us-east-1.rds.amazonaws.com".to_owned());
        let billing = crate::world::Instance { endpoint, cluster: Some("billing"), ..Default::default() };
        world.state().instances.insert("billing-1".into(), billing);
        prepare(&world);
        assert_eq!(world.watch_nominating("billing-1").await.status, Status::InSync);
        assert_eq!(world.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_no_member_is_nobody_whoever_was_told_so() {
    let knows_it: fn(&World) = |_| {};
    let knows_no_cluster: fn(&World) = |world| world.state().clusters.clear();
    for prepare in [knows_it, knows_no_cluster] {
        let world = World::new();
        prepare(&world);
        world.holds(&[ONE, TWO]);
        let name = "billing-1.abc123.us-east-1.rds.amazonaws.com";
        world.state().zone.insert(name.into(), addresses(&[THREE]));
        // The loop asks before it evicts orders-2, and is answered; the scout never is.
        world.next(Action::DescribeDBClusters, &[Trouble::Slow(Duration::ZERO), Trouble::Denied]);
        world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
        later(&world, 1, |world| world.always(Action::DescribeDBClusters, Some(Trouble::Denied)));
        let nominations = Nominations::Open { event: Some("billing-1".to_owned()) };
        let (binding, pace) = (Binding::new(ENDPOINT, GROUP), Pace { confirm: Duration::ZERO, ..PACE });
        world.reconcile_binding(&binding, pace, Mode::Watch, &nominations, seconds(600)).await;
        assert_eq!(world.writes(), ["DeregisterTargets 10.0.2.20:5432"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_nominee_is_not_let_go_because_the_rds_api_knows_no_such_cluster() {
    let world = World::new();
    world.always(Action::DescribeDBClusters, Some(Trouble::Denied));
    later(&world, 5, |world| {
        both(world);
        world.always(Action::DescribeDBClusters, None);
        world.state().clusters.clear();
    });
    assert_eq!(world.watch_nominating("orders-2").await.status, Status::Pending);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    // Nor is the next event's, who is in the group already.
    assert_eq!(world.watch_nominating("orders-2").await.status, Status::Pending);
    assert_eq!(world.count(Action::DeregisterTargets), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_admissible_address_is_nobody() {
    let records: [&[&str]; 5] = [&[], &["52.1.2.3"], &["127.0.0.1"], &[TWO, THREE], &["fd00::2"]];
    for record in records {
        let world = World::new();
        world.state().zone.insert(MEMBER.into(), addresses(record));
        assert_eq!(world.watch_nominating("orders-2").await.status, Status::InSync, "{record:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn turned_off_nobody_is_nominated_and_nobody_asked() {
    let world = World::new();
    world.writer_per_rds("orders-2");
    let binding = Binding::new(ENDPOINT, GROUP);
    let watching = world.reconcile_binding(&binding, PACE, Mode::Watch, &Nominations::Closed, seconds(600));
    assert_eq!(watching.await.status, Status::InSync);
    assert_eq!(world.count(Action::DescribeDBClusters) + world.count(Action::DescribeDBInstances), 0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_no_members_to_ask_for() {
    let world = World::new();
    world.resolves_to(&[ONE]);
    assert_eq!(world.watch().await.status, Status::InSync);
    assert_eq!(world.count(Action::DescribeDBClusters), 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_and_a_dry_run_nominate_nobody() {
    for mode in [Mode::Check, Mode::DryRun] {
        let world = World::new();
        world.writer_per_rds("orders-2");
        let nominations = Nominations::Open { event: Some("orders-2".to_owned()) };
        let binding = Binding::new(ENDPOINT, GROUP);
        let report = world.reconcile_binding(&binding, PACE, mode, &nominations, seconds(60)).await;
        assert_eq!(report.status, Status::InSync);
        assert_eq!(world.state().calls.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_nominee_that_cannot_be_registered_is_no_failure() {
    // What is denied is not tried again, and what is throttled every ten seconds.
    let troubles = [(Trouble::Denied, 1..=1), (Trouble::Throttled, 2..=7), (Trouble::Hangs, 1..=1)];
    for (trouble, tries) in troubles {
        let world = World::new();
        world.always(Action::RegisterTargets, Some(trouble));
        let nominations = Nominations::Open { event: Some("orders-2".to_owned()) };
        let binding = Binding::new(ENDPOINT, GROUP);
        let report = world.reconcile_binding(&binding, PACE, Mode::Watch, &nominations, seconds(60)).await;
        assert_ne!(report.status, Status::Failed, "{trouble:?}: {report:?}");
        assert!(tries.contains(&world.count(Action::RegisterTargets)), "{trouble:?}");
    }
}
