//! What a reconciliation has changed, and what listings have shown of it.
//!
//! Listings lag, and answers get lost. The invariant kept here: what the API accepted a moment ago is not
//! done again, and a target that was evicted a moment ago counts as gone, whatever a listing says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::time::Instant;

use super::SETTLE;
use super::sight::Look;
use crate::plan::{Plan, State, Targets};

/// What is done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Register,
    Evict,
}

impl Change {
    /// Whether a listing shows the change.
    fn shows(self, target: &SocketAddr, targets: &Targets) -> bool {
        targets.get(target).is_some_and(|state| state.is_active()) == (self == Self::Register)
    }
}

/// A change that a listing may not show yet.
struct Unseen {
    change: Change,
    at: Instant,
    /// Whether the API has accepted it. Even a failed call may have taken effect.
    accepted: bool,
    /// Whether a listing has shown it. The next one may be older than that again.
    shown: bool,
}

/// Everything that a run has changed.
#[derive(Default)]
pub(super) struct Changes {
    pub registered: BTreeSet<SocketAddr>,
    pub evicted: BTreeSet<SocketAddr>,
    unseen: BTreeMap<SocketAddr, Unseen>,
    /// When each target was evicted that was not registered again since.
    evictions: BTreeMap<SocketAddr, Instant>,
}

impl Changes {
    /// Adds a call that was made.
    pub fn made(&mut self, change: Change, targets: &BTreeSet<SocketAddr>, accepted: bool) {
        let (at, shown) = (Instant::now(), false);
        match change {
            Change::Evict => self.evictions.extend(targets.iter().map(|target| (*target, at))),
            Change::Register if accepted => self.evictions.retain(|target, _| !targets.contains(target)),
            // It may still be gone.
            Change::Register => {}
        }
        if accepted {
            self.done(change).extend(targets);
        }
        self.unseen.extend(targets.iter().map(|target| (*target, Unseen { change, at, accepted, shown })));
    }

    /// Heeds a listing: what was not accepted, but took effect, is this run's work all the same.
    pub fn see(&mut self, targets: &Targets) {
        let mut seen = Vec::new();
        for (target, unseen) in &mut self.unseen {
            if !unseen.shown && unseen.change.shows(target, targets) {
                unseen.shown = true;
                seen.push((*target, unseen.change));
            }
        }
        for (target, change) in seen {
            self.done(change).insert(target);
        }
    }

    /// Whether nothing was changed.
    pub fn are_none(&self) -> bool {
        self.registered.is_empty() && self.evicted.is_empty()
    }

    /// Counts the writer as draining where this run evicted it a moment ago, whatever the listing
    /// says: it may be older than the eviction, and evicting the others by it would leave nobody.
    pub fn doubt(&self, mut look: Look) -> Look {
        for target in look.wanted() {
            if self.evictions.get(&target).is_some_and(|at| at.elapsed() < SETTLE)
                && let Some(state) = look.targets.get_mut(&target)
            {
                *state = State::Draining;
            }
        }
        look
    }

    /// Whether the plan still is for a change that failed.
    pub fn failed_what_is_wanted(&self, look: &Look, plan: &Plan) -> bool {
        let (wanted, Plan { register, evict, waiting }) = (look.wanted(), plan);
        self.unseen.iter().filter(|(_, unseen)| !unseen.accepted && !unseen.shown).any(|(target, unseen)| {
            let is_planned =
                register.contains(target) || evict.contains(target) || waiting.contains_key(target);
            is_planned && wanted.contains(target) == (unseen.change == Change::Register)
        })
    }

    /// Leaves out what the API accepted a moment ago: a listing may take a while to show it. A registration
    /// of one that is not wanted, a nominee's, is a courtesy, and tried again as seldom.
    pub fn left_to_do(
        &self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        wanted: &BTreeSet<SocketAddr>,
    ) -> BTreeSet<SocketAddr> {
        let is_done = |target: &SocketAddr| {
            self.unseen.get(target).is_some_and(|unseen| {
                let is_courtesy = change == Change::Register && !wanted.contains(target);
                let counts = unseen.accepted || is_courtesy;
                unseen.change == change && counts && !unseen.shown && unseen.at.elapsed() < SETTLE
            })
        };
        targets.iter().copied().filter(|target| !is_done(target)).collect()
    }

    fn done(&mut self, change: Change) -> &mut BTreeSet<SocketAddr> {
        match change {
            Change::Register => &mut self.registered,
            Change::Evict => &mut self.evicted,
        }
    }
}
