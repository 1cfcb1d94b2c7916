//! Killed at every await: an invocation is dropped where it waits for the first time, the second, and
//! so on to its end, and the next one mends what it left.

use std::time::Duration;

use rds_nlb_sync::reconcile::Mode;

use super::fault::Fault;
use super::play::{Sabotage, play_schedule};
use super::schedule::{Act, Kill, Schedule, Window};
use crate::testkit::Action;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Kills the schedule's invocation at each of its waits in turn. However it ends, an undisturbed check
/// brings the group into sync, and the group never was without an active target.
fn killed_at_every_await(mut schedule: Schedule) {
    for wait in 0.. {
        schedule.invocations[0].kill = Some(Kill::AtWait(wait));
        let played = play_schedule(schedule.clone(), Sabotage::default(), true);
        assert!(
            played.violations.is_empty() && played.emptied == 0,
            "killed at wait {wait}: {:#?}\n{}",
            played.violations,
            played.trace.join("\n")
        );
        if !played.tally.0.contains_key(&Fault::Killed) {
            assert!(wait >= 3, "it waited only {wait} times");
            return;
        }
    }
}

/// The writer moves to the second member, at once for DNS and some seconds later for the RDS API.
fn fails_over(schedule: &mut Schedule, at: u64) {
    schedule.acts.push((seconds(at), Act::Serves(0, 1)));
    schedule.acts.push((seconds(at + 4), Act::RdsSays(Some(1))));
    schedule.settles_on = 1;
}

fn window(action: Action, fault: Fault, until: u64) -> Window {
    Window { from: Duration::ZERO, until: seconds(until), action, fault, chance: 1.0 }
}

fn holds(schedule: &mut Schedule, members: &[(usize, bool)]) {
    let target = |(member, drains): &(usize, bool)| {
        (std::net::SocketAddr::new(schedule.address(*member), schedule.port()), *drains)
    };
    schedule.targets = members.iter().map(target).collect();
}

#[test]
fn of_a_group_in_sync() {
    killed_at_every_await(Schedule::plain(Mode::Watch));
}

#[test]
fn of_a_failover_watched() {
    let mut schedule = Schedule::plain(Mode::Watch);
    fails_over(&mut schedule, 5);
    killed_at_every_await(schedule);
}

#[test]
fn of_a_failover_found_by_a_check() {
    let mut schedule = Schedule::plain(Mode::Check);
    fails_over(&mut schedule, 0);
    killed_at_every_await(schedule);
}

#[test]
fn of_a_failback_while_the_old_target_drains() {
    let mut schedule = Schedule::plain(Mode::Watch);
    holds(&mut schedule, &[(0, true), (1, false)]);
    killed_at_every_await(schedule);
}

#[test]
fn of_a_failover_and_a_failback_in_one_watch() {
    let mut schedule = Schedule::plain(Mode::Watch);
    fails_over(&mut schedule, 3);
    schedule.acts.push((seconds(6), Act::Serves(0, 0)));
    schedule.settles_on = 0;
    killed_at_every_await(schedule);
}

#[test]
fn of_a_flicker() {
    let mut schedule = Schedule::plain(Mode::Watch);
    schedule.servers = 2;
    schedule.acts.push((Duration::ZERO, Act::Serves(1, 0)));
    fails_over(&mut schedule, 3);
    schedule.acts.push((seconds(12), Act::Serves(1, 1)));
    killed_at_every_await(schedule);
}

#[test]
fn of_a_veto() {
    let mut schedule = Schedule::plain(Mode::Watch);
    schedule.acts.push((seconds(2), Act::Serves(0, 1)));
    schedule.acts.push((seconds(20), Act::RdsSays(Some(1))));
    schedule.settles_on = 1;
    killed_at_every_await(schedule);
}

#[test]
fn of_several_stale_targets() {
    let mut schedule = Schedule::plain(Mode::Check);
    holds(&mut schedule, &[(0, false), (1, false), (2, false)]);
    killed_at_every_await(schedule);
}

#[test]
fn of_a_failover_while_the_api_fails() {
    for fault in Fault::CALLS {
        for action in [Action::RegisterTargets, Action::DeregisterTargets, Action::DescribeTargetHealth] {
            let mut schedule = Schedule::plain(Mode::Watch);
            fails_over(&mut schedule, 2);
            schedule.windows = vec![window(action, fault, 12)];
            killed_at_every_await(schedule);
        }
    }
}

#[test]
fn of_a_failover_while_dns_fails() {
    for fault in Fault::LOOKUPS {
        let mut schedule = Schedule::plain(Mode::Watch);
        fails_over(&mut schedule, 2);
        schedule.windows = vec![window(Action::Lookup, fault, 8)];
        killed_at_every_await(schedule);
    }
}

#[test]
fn of_a_failover_while_the_rds_api_is_down() {
    for fault in [Fault::Hangs, Fault::Denied, Fault::ServerError] {
        let mut schedule = Schedule::plain(Mode::Watch);
        fails_over(&mut schedule, 2);
        schedule.windows = vec![window(Action::DescribeDBClusters, fault, 60)];
        killed_at_every_await(schedule);
    }
}
