//! What an event asks for: to watch the bindings that it is about, or to check all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::SystemTime;

use super::command::Action;
use super::kind::Event;
use super::rds::{Database, RdsEvent, SourceKind};
use crate::binding::{Binding, Role};
use crate::endpoint::{RdsKind, RdsName};

/// The cluster of each known instance, both in lower case. `None` for an instance outside a cluster.
pub type ClusterByInstance = BTreeMap<String, Option<String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Watch these bindings: a failover may be under way.
    Watch(Vec<WatchedBinding>),
    /// Check every binding, and list the groups of these bindings in any case, by index: the event may be about them.
    Check(BTreeSet<usize>),
    /// Check every binding, and list every group: an operator asked for it.
    FullCheck,
    /// Report what a check would do.
    Plan,
    /// Examine every binding, and change nothing.
    Doctor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedBinding {
    pub index: usize,
    /// The cluster member that the event names as the one being promoted, in lower case.
    pub promoted_instance: Option<String>,
}

/// Decides what the event asks for, given the bindings and the known cluster members. An RDS event from before `watch_cutoff`
/// starts no watch: its failover is over, and a check repairs the group if nothing followed that failover.
pub fn decide_request(
    event: &Event,
    bindings: &[Binding],
    members: &ClusterByInstance,
    watch_cutoff: SystemTime,
) -> Request {
    let events = match event {
        Event::Command(command) => match command.action {
            Action::Check => return Request::FullCheck,
            Action::Plan => return Request::Plan,
            Action::Doctor => return Request::Doctor,
        },
        Event::Schedule => return Request::Check(BTreeSet::new()),
        Event::Rds(events) => events,
    };
    let mut watched = BTreeMap::<usize, Option<String>>::new();
    let mut to_list = BTreeSet::new();
    // The latest event first: of two failovers in a batch, the last one names the writer.
    let mut events: Vec<&RdsEvent> = events.iter().collect();
    events.sort_by_key(|event| Reverse(event.time));
    for event in events {
        let about = bindings.iter().enumerate().filter(|(_, binding)| is_about(event, binding, members));
        for (index, binding) in about {
            if starts_watch(event, watch_cutoff) {
                let promoted = watched.entry(index).or_default();
                *promoted = promoted.take().or_else(|| promoted_instance(event, binding));
            } else if event.may_move_address || binding.role == Role::Readers {
                to_list.insert(index);
            }
        }
    }
    if watched.is_empty() {
        return Request::Check(to_list);
    }
    let watched =
        watched.into_iter().map(|(index, promoted_instance)| WatchedBinding { index, promoted_instance });
    Request::Watch(watched.collect())
}

/// The instances that the event is about and that may be members of a bound cluster. Known members are left out.
pub fn unknown_instances(
    event: &Event,
    bindings: &[Binding],
    members: &ClusterByInstance,
) -> BTreeSet<String> {
    let Event::Rds(events) = event else { return BTreeSet::new() };
    let has_readers = bindings.iter().any(|binding| binding.role == Role::Readers);
    let has_cluster = bindings.iter().any(may_be_of_cluster);
    // The RDS API that is asked knows the databases of this account and Region.
    let groups = || bindings.iter().map(|binding| &binding.target_group);
    let is_of_account = |event: &&RdsEvent| {
        event.account.as_deref().is_none_or(|id| groups().any(|group| group.account() == id))
    };
    let is_of_region = |database: &Database| {
        database.region.as_deref().is_none_or(|name| groups().any(|group| group.region() == name))
    };
    let events = events.iter().filter(is_of_account);
    let events = events.filter(|event| has_readers || (has_cluster && event.may_move_address));
    let instances = events.flat_map(|event| &event.databases).filter(|database| {
        database.kind == SourceKind::Instance
            && is_of_region(database)
            && !members.contains_key(&database.identifier)
    });
    instances.map(|database| database.identifier.clone()).collect()
}

/// True if the event would start a watch but its database has no binding.
pub fn is_about_unbound_database(
    event: &Event,
    bindings: &[Binding],
    members: &ClusterByInstance,
    watch_cutoff: SystemTime,
) -> bool {
    let Event::Rds(events) = event else { return false };
    events.iter().any(|event| {
        starts_watch(event, watch_cutoff)
            && !event.databases.is_empty()
            && !bindings.iter().any(|binding| is_about(event, binding, members))
    })
}

/// An event from the future may start a watch: clocks differ.
fn starts_watch(event: &RdsEvent, watch_cutoff: SystemTime) -> bool {
    event.may_move_address && event.time.is_none_or(|time| time >= watch_cutoff)
}

fn is_about(event: &RdsEvent, binding: &Binding, members: &ClusterByInstance) -> bool {
    let is_global = RdsKind::parse(&binding.endpoint) == Some(RdsKind::Global);
    // A regional cluster's event does not name the global cluster that it belongs to.
    if event.is_global_failover && is_global {
        return true;
    }
    event.databases.iter().any(|database| {
        let cluster = members.get(&database.identifier).filter(|_| database.kind == SourceKind::Instance);
        let identifiers = iter::once(&database.identifier).chain(cluster.and_then(Option::as_ref));
        (database.kind != SourceKind::Global || is_global)
            && !is_elsewhere(database, binding)
            && identifiers.into_iter().any(|identifier| binding.is_about(identifier))
    })
}

/// An RDS name shows its Region: a database of the same name in another Region is another database.
fn is_elsewhere(database: &Database, binding: &Binding) -> bool {
    match (RdsName::parse(&binding.endpoint), &database.region) {
        (Some(name), Some(region)) if name.kind != RdsKind::Global => {
            !name.zone.region.eq_ignore_ascii_case(region)
        }
        _ => false,
    }
}

/// The member to register early. An event of another account or Region is about another database of that name, and one
/// without an account may be.
fn promoted_instance(event: &RdsEvent, binding: &Binding) -> Option<String> {
    let is_of_account = event.account.as_deref() == Some(binding.target_group.account());
    // The name of a regional endpoint has been compared already.
    let is_regional = RdsKind::parse(&binding.endpoint).is_some_and(|kind| kind != RdsKind::Global);
    let is_of_region = event.databases.iter().all(|database| {
        is_regional || database.region.as_deref().is_none_or(|region| region == binding.target_group.region())
    });
    event.promoted_instance.clone().filter(|_| is_of_account && is_of_region)
}

/// Whether the endpoint may lead to a cluster with members. A name that is not RDS's may lead to any database.
fn may_be_of_cluster(binding: &Binding) -> bool {
    RdsKind::parse(&binding.endpoint) != Some(RdsKind::Instance) || !binding.databases.is_empty()
}
