//! What a reconciliation has changed, and what listings have shown of it.
//!
//! Listings lag, and answers get lost. The invariant kept here: what the API accepted a moment ago is not
//! done again, and a target that was deregistered a moment ago counts as gone, whatever a listing says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::time::Instant;

use super::LISTING_LAG;
use super::observe::Observation;
use crate::plan::{Plan, TargetState, Targets};

/// What is done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Register,
    Deregister,
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
pub(super) struct ChangeLog {
    pub registered: BTreeSet<SocketAddr>,
    pub deregistered: BTreeSet<SocketAddr>,
    unseen: BTreeMap<SocketAddr, Unseen>,
    /// When each target was deregistered that was not registered again since.
    deregistrations: BTreeMap<SocketAddr, Instant>,
}

impl ChangeLog {
    /// Adds a call that was made.
    pub fn record(&mut self, change: Change, targets: &BTreeSet<SocketAddr>, accepted: bool) {
        let (at, shown) = (Instant::now(), false);
        match change {
            Change::Deregister => self.deregistrations.extend(targets.iter().map(|target| (*target, at))),
            Change::Register if accepted => {
                self.deregistrations.retain(|target, _| !targets.contains(target))
            }
            // It may still be gone.
            Change::Register => {}
        }
        if accepted {
            self.done(change).extend(targets);
        }
        self.unseen.extend(targets.iter().map(|target| (*target, Unseen { change, at, accepted, shown })));
    }

    /// Heeds a listing: what was not accepted, but took effect, is this run's work all the same.
    pub fn record_listing(&mut self, targets: &Targets) {
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
    pub fn is_empty(&self) -> bool {
        self.registered.is_empty() && self.deregistered.is_empty()
    }

    /// Counts the writer as draining where this run deregistered it a moment ago, whatever the listing
    /// says: it may be older than the deregistration, and deregistering the others by it would leave nobody.
    pub fn mask_deregistered(&self, mut observation: Observation) -> Observation {
        for target in observation.wanted() {
            if self.deregistrations.get(&target).is_some_and(|at| at.elapsed() < LISTING_LAG)
                && let Some(state) = observation.targets.get_mut(&target)
            {
                *state = TargetState::Draining;
            }
        }
        observation
    }

    /// Whether the plan still is for a change that failed.
    pub fn failed_what_is_wanted(&self, observation: &Observation, plan: &Plan) -> bool {
        let (wanted, Plan { register, deregister, waiting }) = (observation.wanted(), plan);
        self.unseen.iter().filter(|(_, unseen)| !unseen.accepted && !unseen.shown).any(|(target, unseen)| {
            let is_planned =
                register.contains(target) || deregister.contains(target) || waiting.contains_key(target);
            is_planned && wanted.contains(target) == (unseen.change == Change::Register)
        })
    }

    /// Leaves out what the API accepted a moment ago: a listing may take a while to show it. A registration
    /// of one that is not wanted, a candidate's, is a courtesy, and tried again as seldom.
    pub fn left_to_do(
        &self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        wanted: &BTreeSet<SocketAddr>,
    ) -> BTreeSet<SocketAddr> {
        let is_done = |target: &SocketAddr| {
            self.unseen.get(target).is_some_and(|unseen| {
                let is_best_effort = change == Change::Register && !wanted.contains(target);
                let counts = unseen.accepted || is_best_effort;
                unseen.change == change && counts && !unseen.shown && unseen.at.elapsed() < LISTING_LAG
            })
        };
        targets.iter().copied().filter(|target| !is_done(target)).collect()
    }

    fn done(&mut self, change: Change) -> &mut BTreeSet<SocketAddr> {
        match change {
            Change::Register => &mut self.registered,
            Change::Deregister => &mut self.deregistered,
        }
    }
}
