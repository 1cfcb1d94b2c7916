//! The first observation of a run. Whether DNS has moved is judged by it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::observe::Observation;
use crate::plan::active;

/// The endpoint's targets and the group's active targets at the first observation of both.
pub(super) struct Baseline {
    wanted: BTreeSet<SocketAddr>,
    pub active: BTreeSet<SocketAddr>,
}

impl Baseline {
    pub fn of(observation: &Observation) -> Self {
        Self { wanted: observation.wanted(), active: active(&observation.targets).collect() }
    }

    /// Whether DNS has moved, as far as this run can know. DNS has moved in two cases: the group did not hold the
    /// present addresses at the first observation; or it held the first addresses, and the present ones are others.
    /// A name that switched to another address and back has not moved.
    pub fn has_moved(&self, wanted: &BTreeSet<SocketAddr>) -> bool {
        !wanted.is_subset(&self.active) || (self.wanted.is_subset(&self.active) && *wanted != self.wanted)
    }
}
