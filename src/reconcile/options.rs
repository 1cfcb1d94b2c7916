//! How one reconciliation is run.

use std::time::Duration;

use tokio::time::Instant;

use super::preregister::{KnownMembers, Preregistration};
use crate::rate_limit::{Permit, Priority};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a watch waits for a failover.
    pub watch: Duration,
    /// The pause between lookups.
    pub poll: Duration,
    /// How long DNS must give the same answer before a target is deregistered.
    pub confirm: Duration,
}

/// How long a reconciliation goes on, and whether it changes the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Observes, repairs and returns. Waits only for the confirmation that a repair needs.
    Check,
    /// Goes on until DNS has moved, its answer is confirmed and the group is in sync, or until the time of the watch is
    /// over. A group that lacked the writer at the start counts as moved: the next check sees what follows.
    Watch,
    /// Observes once and reports what would be done.
    DryRun,
}

/// The permit for the next listing of the group.
#[derive(Debug)]
pub enum ListPermit {
    /// The caller has waited for it.
    Held(Permit),
    /// The run waits for the permit at this priority. The plan sets the priority of its later calls.
    At(Priority),
}

pub struct Options<'a> {
    pub timing: Timing,
    pub mode: Mode,
    /// Only a watch uses it.
    pub preregistration: &'a Preregistration,
    pub known_members: &'a KnownMembers,
    /// For the first listing.
    pub list_permit: ListPermit,
    /// Every call and pause ends before this.
    pub deadline: Instant,
}
