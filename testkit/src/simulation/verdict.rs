//! Invariant 5: the report of an invocation is true, and a failure has its reason.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rds_nlb_sync::reconcile::Status;

use super::checker::Run;
use super::history::{Result, Targets, Time, mark};

/// Whether the group holds the writer, and nothing else but one unhealthy target where that is kept.
pub(super) fn is_as_it_must_be(active: &Targets, unhealthy: &Targets, writer: &Targets, keep: bool) -> bool {
    let others = active - writer;
    writer.is_subset(active)
        && (others.is_empty() || (keep && others.len() == 1 && others.is_subset(unhealthy)))
}

/// The clock's tick.
const TICK: Duration = Duration::from_millis(1);

pub(super) fn check(run: &Run, result: &Result, port: u16, keep: bool, now: Time) -> Vec<(u8, String)> {
    let mut problems = Vec::new();
    if !result.names_the_binding {
        problems.push("the report does not name the binding".to_owned());
    }
    match (&result.error, result.status) {
        (Some(error), Status::Failed) => {
            let met = run.failures.iter().any(|failure| error.contains(&mark(*failure)));
            let out_of_time = error.contains("time ran out") && now + TICK >= run.deadline;
            if !met && !out_of_time {
                problems.push(format!("an error that names nothing that went wrong: {error}"));
            }
        }
        (None, Status::Failed) => problems.push("failed without a reason".to_owned()),
        (Some(error), status) => problems.push(format!("{status:?} with an error: {error}")),
        (None, _) => {}
    }
    let named = run.lookups.iter().rev().find_map(|lookup| lookup.named);
    let listed = run.listing.as_ref().map(|listing| &listing.active);
    let writer = named.map(|named| BTreeSet::from([SocketAddr::new(named.address, port)]));
    let equal = match (&writer, &run.listing) {
        (Some(writer), Some(listing)) => is_as_it_must_be(&listing.active, &listing.unhealthy, writer, keep),
        _ => false,
    };
    match result.status {
        Status::InSync | Status::Updated if !equal => {
            problems.push(format!("says {:?}, but saw {writer:?} and {listed:?}", result.status));
        }
        Status::Pending if result.waiting == 0 => {
            problems.push("pending, but waits for nothing".to_owned());
        }
        Status::Planned if equal => problems.push("plans a change where there is none to make".to_owned()),
        _ => {}
    }
    if let Some(named) = named
        && result.addresses != [named.address.to_string()]
    {
        problems.push(format!("reports the writer {:?}, but saw {named:?} last", result.addresses));
    }
    problems.into_iter().map(|what| (5, what)).collect()
}
