//! The first answer of DNS and the first list of the group in a run. Later answers are compared with them to tell whether
//! DNS has moved.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::plan::{Targets, active};

#[derive(Default)]
pub(super) struct Baseline {
    /// The endpoint's targets by the first answer.
    wanted: Option<BTreeSet<SocketAddr>>,
    /// The active targets in the first list.
    active: Option<BTreeSet<SocketAddr>>,
}

impl Baseline {
    /// Keeps the endpoint's targets if they are the first.
    pub fn record_wanted(&mut self, wanted: impl Iterator<Item = SocketAddr>) {
        self.wanted.get_or_insert_with(|| wanted.collect());
    }

    /// Keeps the group's active targets if they are the first.
    pub fn record_list(&mut self, targets: &Targets) {
        self.active.get_or_insert_with(|| active(targets).collect());
    }

    /// The group's targets at first.
    pub fn active(&self) -> impl Iterator<Item = &SocketAddr> {
        self.active.iter().flatten()
    }

    /// Whether DNS has moved, as far as this run can know. DNS has moved in two cases: the group did not hold the
    /// present addresses at first; or it held the first addresses, and the present ones are others. A name that
    /// switched to another address and back has not moved.
    pub fn has_moved(&self, wanted: &BTreeSet<SocketAddr>) -> bool {
        let (Some(first), Some(active)) = (&self.wanted, &self.active) else { return false };
        !wanted.is_subset(active) || (first.is_subset(active) && wanted != first)
    }
}
