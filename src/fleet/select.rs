//! Which groups a check lists, and which endpoints it only resolves.
//!
//! Lookups are cheap, listings are not: an account may make ten Describe calls a second, which all deployments in it
//! share. So a check resolves every endpoint, and lists only some groups: those not known to be in sync, those whose
//! addresses have changed, and those that are due. The groups that were listed longest ago are due: as many as it takes
//! to list each group within the verification period, but at least [`MIN_LISTED`].
//!
//! The invariant kept here: the memory decides which groups are listed, and nothing else. With an empty memory,
//! all groups are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::binding::Binding;
use crate::plan::{Addresses, TargetState, Targets};
use crate::rate_limit::Priority;
use crate::reconcile::{ReaderCache, Report, Status};

/// How many groups a check lists at least, if there are as many. The default rate allows more routine calls at once
/// (30).
const MIN_LISTED: usize = 20;
/// How many groups with an address that is not in service a check lists as well, because their health may have changed.
const MAX_NOT_IN_SERVICE: usize = 10;
/// The part of the verification period within which every group is listed. The rest is for checks that start
/// late.
const PLANNED_PART: f64 = 0.9;
/// How long the background sync waits before it retries a binding that it could not bring into sync.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All bindings, and every group is listed: an operator asked for it.
    Full,
    /// All bindings: the schedule's check.
    Check,
    /// All bindings but those that are watched, while a watch goes on.
    Background,
}

pub struct Memory {
    /// Within this time, every group is listed.
    period: Duration,
    /// Whether no other run may sync the groups meanwhile: the templates reserve one run for a function with a tag.
    is_only_run: bool,
    /// By target group.
    results: BTreeMap<String, LastResult>,
    /// The target groups that are being resolved, listed or reconciled.
    in_progress: BTreeSet<String>,
    selected_at: Option<Instant>,
    /// The fraction of a group that was due at the last selection and is not listed yet.
    due: f64,
}

pub enum LastResult {
    InSync {
        record: Rc<InSyncRecord>,
        /// When the group was last listed, or when a later lookup failed.
        at: Instant,
    },
    /// The group may not be in sync: the run failed or waits, or an attempt may still take effect.
    NeedsSync { priority: Priority, at: Instant },
    /// It failed before DNS answered. Only the next check tries again.
    NotObserved,
}

pub struct InSyncRecord {
    pub binding: Binding,
    pub addresses: Addresses,
    /// The health of the endpoint's targets in the last list of the group.
    pub health: Targets,
    pub reader_cache: ReaderCache,
}

/// What to do about the bindings, which are given by their index.
#[derive(Default)]
pub struct Selection {
    /// To be reconciled at once.
    pub reconcile: Vec<(usize, Priority)>,
    /// To be reconciled when a routine call is permitted, in this order.
    pub list: Vec<usize>,
    /// To be resolved: those listed longest ago come first.
    pub compare: Vec<(usize, Rc<InSyncRecord>)>,
    /// How many of `compare`, from the first, are to be listed even if their addresses are unchanged.
    pub due: usize,
}

impl InSyncRecord {
    /// Whether the load balancer sent traffic to every address of the endpoint.
    fn is_in_service(&self) -> bool {
        self.health.values().all(|state| *state == TargetState::Healthy)
    }
}

impl LastResult {
    /// The result to remember of a report. `None` if the binding was not observed.
    fn from_report(binding: &Binding, report: &Report, now: Instant) -> Option<Self> {
        Some(match (report.status, &report.addresses) {
            (Status::InSync | Status::Updated, Some(_)) if report.may_apply_late => {
                Self::NeedsSync { priority: Priority::Cleanup, at: now }
            }
            (Status::InSync | Status::Updated, Some(addresses)) => {
                let record = InSyncRecord {
                    binding: binding.clone(),
                    addresses: addresses.clone(),
                    health: report.health.clone(),
                    reader_cache: ReaderCache::default(),
                };
                Self::InSync { record: Rc::new(record), at: now }
            }
            (Status::Failed, None) => Self::NotObserved,
            (Status::Failed, Some(_)) => Self::NeedsSync { priority: Priority::Failover, at: now },
            (Status::Pending | Status::Planned, _) => {
                Self::NeedsSync { priority: Priority::Cleanup, at: now }
            }
            (Status::InSync | Status::Updated, None) | (Status::Deferred, _) => return None,
        })
    }
}

impl Memory {
    pub fn new(period: Duration, is_only_run: bool) -> Self {
        Self {
            period,
            is_only_run,
            results: BTreeMap::new(),
            in_progress: BTreeSet::new(),
            selected_at: None,
            due: 0.0,
        }
    }

    /// Decides which groups are listed, and remembers when that was:
    ///
    /// | last result | full | check | background |
    /// |---|---|---|---|
    /// | in sync, same binding | list | resolve; list if it is due | resolve; list if it is due |
    /// | in sync, changed binding, or none | list | list | list |
    /// | needs sync | list | reconcile the first 20 at once; list the others first | reconcile at once, after 5 s |
    /// | not observed | list | list | leave to the next check |
    ///
    /// With up to [`MIN_LISTED`] bindings, a check lists every group, and without a tag the background sync leaves a group
    /// without a result to the next check. A check also lists up to [`MAX_NOT_IN_SERVICE`] groups with an address that is
    /// not in service. The background sync leaves out the groups in progress.
    pub fn select(&mut self, bindings: &[Binding], now: Instant, scope: Scope) -> Selection {
        let elapsed = self.selected_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let planned = self.period.mul_f64(PLANNED_PART);
        // So many groups that each is listed within the period.
        let due = self.due + bindings.len() as f64 * elapsed.as_secs_f64() / planned.as_secs_f64();
        let (mut selection, listed, remaining_due) = match scope {
            // An operator may have asked for one binding alone, which says nothing of the others.
            Scope::Full => {
                return Selection { list: (0..bindings.len()).collect(), ..Selection::default() };
            }
            // A check lists more than is due, as a rule, and leaves nothing to the next one.
            Scope::Check => {
                self.forget_unbound(bindings);
                (select_for_check(bindings, &self.results), MIN_LISTED.max(due as usize), 0.0)
            }
            // The background sync runs every second. In that time less than one group may become due.
            Scope::Background => (self.select_for_background(bindings, now), due as usize, due.fract()),
        };
        (self.selected_at, self.due) = (Some(now), remaining_due);
        selection.due = (selection.due + listed).min(selection.compare.len());
        selection
    }

    fn select_for_background(&self, bindings: &[Binding], now: Instant) -> Selection {
        let mut selection = Selection::default();
        let mut in_sync = Vec::new();
        for (index, binding) in bindings.iter().enumerate() {
            let group = binding.target_group.as_str();
            if self.in_progress.contains(group) {
                continue;
            }
            match self.results.get(group) {
                Some(LastResult::NeedsSync { priority, at }) => {
                    if now.saturating_duration_since(*at) >= RETRY_INTERVAL {
                        selection.reconcile.push((index, *priority));
                    }
                }
                Some(LastResult::NotObserved) => {}
                Some(LastResult::InSync { record, at }) if record.binding == *binding => {
                    in_sync.push((*at, index, Rc::clone(record)));
                }
                _ if bindings.len() <= MIN_LISTED && !self.is_only_run => {}
                Some(LastResult::InSync { .. }) | None => selection.list.push(index),
            }
        }
        selection.compare = oldest_first(in_sync);
        selection
    }

    pub fn record(&mut self, binding: &Binding, report: &Report, now: Instant) {
        match LastResult::from_report(binding, report, now) {
            Some(result) => {
                self.results.insert(binding.target_group.to_string(), result);
            }
            None => self.forget(binding),
        }
    }

    pub fn forget(&mut self, binding: &Binding) {
        self.results.remove(binding.target_group.as_str());
    }

    /// Puts a binding whose lookup failed behind the others. Otherwise names that do not resolve would take the turns of the
    /// other groups.
    pub fn postpone(&mut self, binding: &Binding, now: Instant) {
        if let Some(LastResult::InSync { at, .. }) = self.results.get_mut(binding.target_group.as_str()) {
            *at = now;
        }
    }

    /// Marks a group as in progress. Returns false if it was marked already.
    pub fn start(&mut self, target_group: &str) -> bool {
        self.in_progress.insert(target_group.to_owned())
    }

    pub fn finish(&mut self, target_group: &str) {
        self.in_progress.remove(target_group);
    }

    fn forget_unbound(&mut self, bindings: &[Binding]) {
        let bound: BTreeSet<&str> = bindings.iter().map(|binding| binding.target_group.as_str()).collect();
        self.results.retain(|group, _| bound.contains(group.as_str()));
    }
}

fn select_for_check(bindings: &[Binding], results: &BTreeMap<String, LastResult>) -> Selection {
    let mut selection = Selection::default();
    let (mut in_sync, mut left_over) = (Vec::new(), Vec::new());
    for (index, binding) in bindings.iter().enumerate() {
        match results.get(binding.target_group.as_str()) {
            // Many bindings that fail again and again must not delay the others.
            Some(LastResult::NeedsSync { priority, .. }) if selection.reconcile.len() < MIN_LISTED => {
                selection.reconcile.push((index, *priority));
            }
            Some(LastResult::NeedsSync { .. }) => left_over.push(index),
            Some(LastResult::InSync { record, at })
                if record.binding == *binding && bindings.len() > MIN_LISTED =>
            {
                in_sync.push((*at, index, Rc::clone(record)));
            }
            // A listing resolves the endpoint as well.
            _ => selection.list.push(index),
        }
    }
    selection.list.splice(0..0, left_over);
    selection.compare = oldest_first(in_sync);
    let not_in_service = selection.compare.extract_if(.., |(_, record)| !record.is_in_service());
    let not_in_service: Vec<_> = not_in_service.take(MAX_NOT_IN_SERVICE).collect();
    selection.due = not_in_service.len();
    selection.compare.splice(0..0, not_in_service);
    selection
}

fn oldest_first(mut in_sync: Vec<(Instant, usize, Rc<InSyncRecord>)>) -> Vec<(usize, Rc<InSyncRecord>)> {
    in_sync.sort_by_key(|(at, ..)| *at);
    in_sync.into_iter().map(|(_, index, record)| (index, record)).collect()
}

#[cfg(test)]
mod tests;
