//! Killed at every await: an invocation is dropped where it waits for the first time, the second, and
//! so on to its end, and the next one repairs the group.

use std::time::Duration;

use rds_nlb_sync::reconcile::Mode;

use testkit::Action;
use testkit::Fault;
use testkit::simulation::hazard::{CALLS, Hazard, LOOKUPS};
use testkit::simulation::play::{Sabotage, play_schedule};
use testkit::simulation::schedule::{Act, Kill, Schedule, Window};

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
        if played.coverage.of(Hazard::Killed) == 0 {
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
fn kill_of_a_watch_in_sync_is_repaired() {
    killed_at_every_await(Schedule::plain(Mode::Watch));
}

#[test]
fn kill_during_a_failover_watch_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Watch);
    fails_over(&mut schedule, 5);
    killed_at_every_await(schedule);
}

#[test]
fn kill_during_a_failover_check_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Check);
    fails_over(&mut schedule, 0);
    killed_at_every_await(schedule);
}

#[test]
fn kill_during_a_failback_to_a_draining_target_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Watch);
    holds(&mut schedule, &[(0, true), (1, false)]);
    killed_at_every_await(schedule);
}

#[test]
fn kill_during_failover_and_failback_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Watch);
    fails_over(&mut schedule, 3);
    schedule.acts.push((seconds(6), Act::Serves(0, 0)));
    schedule.settles_on = 0;
    killed_at_every_await(schedule);
}

#[test]
fn kill_during_a_flicker_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Watch);
    schedule.servers = 2;
    schedule.acts.push((Duration::ZERO, Act::Serves(1, 0)));
    fails_over(&mut schedule, 3);
    schedule.acts.push((seconds(12), Act::Serves(1, 1)));
    killed_at_every_await(schedule);
}

#[test]
fn kill_during_a_veto_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Watch);
    schedule.acts.push((seconds(2), Act::Serves(0, 1)));
    schedule.acts.push((seconds(20), Act::RdsSays(Some(1))));
    schedule.settles_on = 1;
    killed_at_every_await(schedule);
}

#[test]
fn kill_with_several_stale_targets_is_repaired() {
    let mut schedule = Schedule::plain(Mode::Check);
    holds(&mut schedule, &[(0, false), (1, false), (2, false)]);
    killed_at_every_await(schedule);
}

#[test]
fn kill_during_a_failover_with_api_faults_is_repaired() {
    for fault in CALLS {
        for action in [Action::RegisterTargets, Action::DeregisterTargets, Action::DescribeTargetHealth] {
            let mut schedule = Schedule::plain(Mode::Watch);
            fails_over(&mut schedule, 2);
            schedule.windows = vec![window(action, fault, 12)];
            killed_at_every_await(schedule);
        }
    }
}

#[test]
fn kill_during_a_failover_with_dns_faults_is_repaired() {
    for fault in LOOKUPS {
        let mut schedule = Schedule::plain(Mode::Watch);
        fails_over(&mut schedule, 2);
        schedule.windows = vec![window(Action::Lookup, fault, 8)];
        killed_at_every_await(schedule);
    }
}

#[test]
fn kill_during_a_failover_without_rds_is_repaired() {
    for fault in [Fault::Hangs, Fault::Denied, Fault::ServerError] {
        let mut schedule = Schedule::plain(Mode::Watch);
        fails_over(&mut schedule, 2);
        schedule.windows = vec![window(Action::DescribeDBClusters, fault, 60)];
        killed_at_every_await(schedule);
    }
}
