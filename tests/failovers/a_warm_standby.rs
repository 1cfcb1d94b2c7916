use rds_nlb_sync::config::Binding;
use rds_nlb_sync::plan::Standby;
use rds_nlb_sync::reconcile::Nominations;

use super::*;
use crate::world::{ENDPOINT, Instance};

const INSTANCE: &str = "orders.abc123.us-east-1.rds.amazonaws.com";

/// The Multi-AZ instance `orders`, at one address.
fn instance() -> World {
    let world = World::new();
    moves(&world, ONE);
    let orders = Instance { endpoint: Some(INSTANCE.to_owned()), multi_az: true, ..Instance::default() };
    world.state().instances.insert("orders".into(), orders);
    world.state().clusters.clear();
    world
}

fn moves(world: &World, address: &str) {
    world.state().zone.insert(INSTANCE.into(), crate::world::addresses(&[address]));
}

async fn keeps(world: &World, mode: Mode) -> Report {
    let binding = Binding { standby: Standby::Keep, ..Binding::new(INSTANCE, GROUP) };
    let nominations = Nominations::Open { event: None };
    world.reconcile_binding(&binding, PACE, mode, &nominations, seconds(240)).await
}

fn health(world: &World, of: &[(&str, &'static str)]) {
    world.group(|group| {
        for (target, target_is) in &mut group.targets {
            let found = of.iter().find(|(address, _)| target.ip().to_string() == *address);
            if let Some((_, state)) = found {
                target_is.state = Some(*state);
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn is_kept_after_a_failover_and_comes_back_without_a_call() {
    let world = instance();
    // The failover: the load balancer learns late who is healthy and who is not.
    later(&world, 10, |world| moves(world, TWO));
    later(&world, 50, |world| health(world, &[(ONE, "unhealthy")]));
    later(&world, 120, |world| health(world, &[(TWO, "healthy")]));
    assert_eq!(keeps(&world, Mode::Watch).await.status, Status::Updated);
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync);
    // And the next one: health checks alone bring the standby back.
    world.forget_calls();
    health(&world, &[(TWO, "unhealthy")]);
    later(&world, 10, |world| moves(world, ONE));
    later(&world, 30, |world| health(world, &[(ONE, "healthy")]));
    assert_eq!(keeps(&world, Mode::Watch).await.status, Status::InSync);
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn is_awaited_while_the_writer_is_not_healthy() {
    let world = instance();
    moves(&world, TWO);
    world.group(|group| group.health = seconds(3600));
    let report = keeps(&world, Mode::Check).await;
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("by its health, once the writer's target is healthy"), "{report:?}");
    assert_eq!(world.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    assert!(world.count(Action::DescribeTargetHealth) <= 12, "not listed at every poll");
}

#[tokio::test(start_paused = true)]
async fn that_wakes_up_while_dns_names_another_is_none_and_is_evicted_once_confirmed() {
    let world = instance();
    moves(&world, TWO);
    world.holds(&["10.0.1.10!", TWO]);
    assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync);
    health(&world, &[(ONE, "healthy")]);
    let started = Instant::now();
    assert_eq!(keeps(&world, Mode::Check).await.status, Status::Updated);
    assert!(world.calls(Action::DeregisterTargets)[0].at - started >= seconds(6));
    assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn is_one_at_most() {
    let world = instance();
    world.holds(&[ONE, "10.0.2.20!", "10.0.3.30!"]);
    assert_eq!(keeps(&world, Mode::Check).await.status, Status::Updated);
    assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432 10.0.3.30:5432~");
}

#[tokio::test(start_paused = true)]
async fn is_evicted_like_anybody_unless_it_is_asked_for() {
    let world = World::new();
    world.holds(&[ONE, "10.0.2.20!"]);
    assert_eq!(world.check().await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

/// The failover is followed, the old writer evicted, and the operator told.
#[track_caller]
fn refused(world: &World, report: &Report, why: &str) {
    assert_eq!(report.status, Status::Failed);
    assert!(error(report).contains(why) && error(report).contains("take \"standby\" out"), "{report:?}");
    assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn is_refused_for_an_instance_that_is_not_multi_az() {
    let world = instance();
    world.state().instances.get_mut("orders").unwrap().multi_az = false;
    moves(&world, TWO);
    world.holds(&["10.0.1.10!", TWO]);
    let report = keeps(&world, Mode::Check).await;
    refused(&world, &report, "the instance orders is not Multi-AZ");
    assert_eq!(keeps(&world, Mode::DryRun).await.status, Status::Failed);
    assert_eq!(keeps(&world, Mode::Watch).await.status, Status::Failed);
}

#[tokio::test(start_paused = true)]
async fn is_refused_for_a_cluster_whatever_its_endpoint_is_called() {
    let why = "a cluster's old writer goes on answering as a reader";
    let of_member: fn(&World) = |world| {
        world.state().instances.get_mut("orders").unwrap().cluster = Some("sales");
    };
    let of_cluster: fn(&World) = |world| {
        world.state().instances.clear();
        world.writer_per_rds("orders-2");
    };
    let of_chain: fn(&World) = |world| {
        world.promote("orders-2");
        world.writer_per_rds("orders-2");
        world.state().zone.insert(INSTANCE.into(), crate::world::Record::Cname(ENDPOINT.to_owned()));
    };
    for prepare in [of_member, of_cluster, of_chain] {
        let world = instance();
        moves(&world, TWO);
        world.holds(&["10.0.1.10!", TWO]);
        prepare(&world);
        refused(&world, &keeps(&world, Mode::Check).await, why);
    }
}

#[tokio::test(start_paused = true)]
async fn is_kept_where_the_rds_api_does_not_answer() {
    for trouble in [Trouble::Hangs, Trouble::Denied, Trouble::ServerError] {
        let world = instance();
        world.always(Action::DescribeDBInstances, Some(trouble));
        moves(&world, TWO);
        world.holds(&["10.0.1.10!", TWO]);
        assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync, "{trouble:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn is_kept_for_a_name_that_says_nothing_to_the_rds_api() {
    let world = instance();
    world.state().instances.clear();
    moves(&world, TWO);
    world.holds(&["10.0.1.10!", TWO]);
    assert_eq!(keeps(&world, Mode::Check).await.status, Status::InSync);
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn costs_no_failover_any_time_while_it_is_judged() {
    let world = instance();
    world.always(Action::DescribeDBInstances, Some(Trouble::Hangs));
    later(&world, 1, |world| moves(world, TWO));
    let started = Instant::now();
    keeps(&world, Mode::Watch).await;
    let registered = world.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(1) + PACE.poll, "{registered:?}");
}
