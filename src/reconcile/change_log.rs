//! What a run has changed, and which of the changes the lists of targets show.
//!
//! Lists lag, and answers get lost. The invariant kept here: a change that the API has accepted is not made again
//! within [`LISTING_LAG`], unless a list has shown it; and a target that was deregistered within it counts as gone, whatever a list says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::observe::Observation;
use super::ports::Attempts;
use crate::error::Error;
use crate::plan::{Plan, TargetState, Targets};

/// How long a change may take to show in a list before it is made again. Lists lag by moments. A change that is
/// missing for longer was lost or undone.
pub const LISTING_LAG: Duration = Duration::from_secs(10);
/// How long after a change the group may change again without a new call of this run. An attempt that timed out may
/// take effect late, and another invocation may deregister the target that this one relied on. The time is longer than
/// a call with all its retries, which ends after 12 s.
const LATE_EFFECT_TIME: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Register,
    Deregister,
}

impl Change {
    fn shows(self, target: &SocketAddr, targets: &Targets) -> bool {
        targets.get(target).is_some_and(|state| state.is_active()) == (self == Self::Register)
    }
}

/// A change, and whether a list has shown it yet.
struct RecentChange {
    change: Change,
    at: Instant,
    /// Whether the API has accepted it. A failed call may have taken effect as well.
    accepted: bool,
    /// Whether a list has shown it. A later list may be older than that one.
    shown: bool,
}

#[derive(Default)]
pub(super) struct ChangeLog {
    pub registered: BTreeSet<SocketAddr>,
    pub deregistered: BTreeSet<SocketAddr>,
    recent: BTreeMap<SocketAddr, RecentChange>,
    /// The targets of this run's deregistrations, failed ones included, that were not registered again, and when.
    deregistrations: BTreeMap<SocketAddr, Instant>,
    /// When a change was last made after which the group may lose a target: a deregistration, or a change with an
    /// attempt of unknown outcome.
    may_lose_target_since: Option<Instant>,
    /// When a change with an attempt of unknown outcome was last made.
    last_unknown: Option<Instant>,
}

impl ChangeLog {
    pub fn record(
        &mut self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        result: &Result<Attempts, Error>,
    ) {
        let (at, accepted) = (Instant::now(), result.is_ok());
        let is_unknown = match result {
            Ok(attempts) => *attempts == Attempts::SomeUnknown,
            Err(error) => error.is_outcome_unknown(),
        };
        if is_unknown {
            self.last_unknown = Some(at);
        }
        if is_unknown || change == Change::Deregister {
            self.may_lose_target_since = Some(at);
        }
        match change {
            Change::Deregister => self.deregistrations.extend(targets.iter().map(|target| (*target, at))),
            Change::Register if accepted => {
                self.deregistrations.retain(|target, _| !targets.contains(target))
            }
            // It may not have taken effect.
            Change::Register => {}
        }
        if accepted {
            self.changed_mut(change).extend(targets);
        }
        self.recent.extend(
            targets.iter().map(|target| (*target, RecentChange { change, at, accepted, shown: false })),
        );
    }

    /// Compares the changes with a list. A call that failed but took effect counts as this run's change.
    pub fn record_list(&mut self, targets: &Targets) {
        let mut seen = Vec::new();
        for (target, recent) in &mut self.recent {
            if !recent.shown && recent.change.shows(target, targets) {
                recent.shown = true;
                seen.push((*target, recent.change));
            }
        }
        for (target, change) in seen {
            self.changed_mut(change).insert(target);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.registered.is_empty() && self.deregistered.is_empty()
    }

    /// Until when the group may lose a target without a new call of this run. The group is listed often until then.
    pub fn relist_often_until(&self) -> Option<Instant> {
        self.may_lose_target_since.map(|at| at + LATE_EFFECT_TIME)
    }

    /// Until when an attempt of unknown outcome may still take effect.
    pub fn may_apply_late_until(&self) -> Option<Instant> {
        self.last_unknown.map(|at| at + LATE_EFFECT_TIME)
    }

    pub fn may_apply_late(&self) -> bool {
        self.may_apply_late_until().is_some_and(|until| Instant::now() < until)
    }

    /// Counts the endpoint's target as draining if this run has just deregistered it. The list may be older than
    /// that. A deregistration of the other targets that relies on such a list would leave the group empty.
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

    /// Whether a registration of the endpoint's addresses, or a deregistration of other targets, has failed and the plan
    /// still has it, as a change or as waiting. A candidate's registration does not count.
    pub fn has_failed_change_of(&self, observation: &Observation, plan: &Plan) -> bool {
        let (wanted, Plan { register, deregister, waiting }) = (observation.wanted(), plan);
        self.recent.iter().filter(|(_, recent)| !recent.accepted && !recent.shown).any(|(target, recent)| {
            let is_planned =
                register.contains(target) || deregister.contains(target) || waiting.contains_key(target);
            is_planned && wanted.contains(target) == (recent.change == Change::Register)
        })
    }

    /// Leaves out the changes that the API has just accepted: a list may not show them yet. The registration of a
    /// candidate is best effort: even if it failed, it is repeated no sooner.
    pub fn left_to_do(
        &self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        wanted: &BTreeSet<SocketAddr>,
    ) -> BTreeSet<SocketAddr> {
        let is_done = |target: &SocketAddr| {
            self.recent.get(target).is_some_and(|recent| {
                let is_best_effort = change == Change::Register && !wanted.contains(target);
                let counts = recent.accepted || is_best_effort;
                recent.change == change && counts && !recent.shown && recent.at.elapsed() < LISTING_LAG
            })
        };
        targets.iter().copied().filter(|target| !is_done(target)).collect()
    }

    fn changed_mut(&mut self, change: Change) -> &mut BTreeSet<SocketAddr> {
        match change {
            Change::Register => &mut self.registered,
            Change::Deregister => &mut self.deregistered,
        }
    }
}
