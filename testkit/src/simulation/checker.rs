//! Checks the invariants after every event; shares no code with the planner.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use rds_nlb_sync::reconcile::{
    LISTING_LAG, MAX_OBSERVATION_AGE, Mode, RDS_RECHECK_INTERVAL, RDS_TIMEOUT, Timing,
};

use super::bounds::{self, Counts};
use super::history::{Change, Event, Named, Targets, Time};
use super::outside::STALL;
use super::schedule::MEMBERS;
use super::verdict;
use crate::Action;

/// How long an observation waits for its permits at most: one to list, and one to list again.
const PERMITS: Time = Time::from_secs(8);
/// How late timers may fire: the longest stall, and the timer's own millisecond.
const SLACK: Time = STALL.saturating_add(Time::from_millis(1));

/// The end of a schedule, without faults.
struct Calm {
    writer: SocketAddr,
    /// The invocations that may pass until the group equals the writer.
    within: usize,
    ended: usize,
}

/// A broken invariant, by its number in the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: u8,
    pub at: Time,
    pub what: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    asked: Time,
    answered: Time,
    pub named: Option<Named>,
}

#[derive(Clone, Debug)]
pub(super) struct Listing {
    asked: Time,
    answered: Time,
    version: usize,
    pub active: Targets,
    draining: Targets,
    pub unhealthy: Targets,
}

/// An invocation, as far as its traffic shows it.
#[derive(Debug)]
pub(super) struct Run {
    pub mode: Mode,
    pub began: Time,
    pub deadline: Time,
    pub lookups: Vec<Lookup>,
    pub listing: Option<Listing>,
    pub counts: Counts,
    pub failures: Vec<usize>,
    /// When the RDS API was asked last.
    asked_rds: Option<Time>,
    /// The writer in its last answer; none while it has not answered.
    rds_verdict: Option<&'static str>,
    /// Every writer that it has named.
    rds_writers: BTreeSet<&'static str>,
    /// Whether it has answered at all.
    rds_answered: bool,
    /// The candidate of the event.
    candidate: Option<&'static str>,
    /// The group in its first listing.
    first_active: Option<Targets>,
    /// Addresses, by the instance whose own name gave them.
    found: BTreeSet<(String, IpAddr)>,
}

#[derive(Debug)]
struct Call {
    run: usize,
    change: Change,
    targets: Targets,
    sent: Time,
    /// The listing that it was sent by.
    listing: Option<Listing>,
    succeeded: Option<Time>,
    /// Its targets that no listing of the same run has shown as changed since it succeeded.
    unseen: Targets,
}

/// A target that ceased to be active.
#[derive(Debug)]
struct Removal {
    target: SocketAddr,
    at: Time,
    /// The version of the group that lacks it.
    version: usize,
    /// The call that removed it; none if another process did.
    call: Option<usize>,
}

/// How often a group was emptied in a way that no client of an API without transactions can prevent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excused {
    /// Another process removed the last other target between our listing and our call.
    pub external: u64,
    /// Two of our calls crossed while the name servers disagreed or moved.
    pub crossing: u64,
}

pub struct Checker {
    timing: Timing,
    port: u16,
    now: Time,
    servers: Vec<Option<IpAddr>>,
    /// Since when all name servers give the same address, or none do.
    unanimous: Vec<(Time, Option<IpAddr>)>,
    active: Targets,
    version: usize,
    removals: Vec<Removal>,
    runs: Vec<Run>,
    calls: Vec<Call>,
    calm: Option<Calm>,
    /// Whether one unhealthy target is kept.
    keep: bool,
    pub excused: Excused,
    /// How often the group lost its last active target.
    pub emptied: u64,
    pub violations: Vec<Violation>,
}

impl Checker {
    /// Checks a schedule at this pace, in which the group begins with these active targets.
    pub fn new(timing: Timing, port: u16, keep: bool, servers: &[Option<IpAddr>], active: Targets) -> Self {
        let mut checker = Self {
            timing,
            port,
            now: Time::ZERO,
            servers: servers.to_vec(),
            unanimous: Vec::new(),
            active,
            version: 0,
            removals: Vec::new(),
            runs: Vec::new(),
            calls: Vec::new(),
            calm: None,
            keep,
            excused: Excused::default(),
            emptied: 0,
            violations: Vec::new(),
        };
        checker.note_unanimity();
        checker
    }

    pub fn observe(&mut self, at: Time, event: &Event) {
        self.now = at;
        match event {
            Event::Serves { server, address } => {
                self.servers[*server] = *address;
                self.note_unanimity();
            }
            Event::Began { run, mode, deadline, candidate } => {
                assert_eq!(*run, self.runs.len(), "runs are counted from zero");
                self.runs.push(Run {
                    mode: *mode,
                    began: at,
                    deadline: *deadline,
                    lookups: Vec::new(),
                    listing: None,
                    counts: Counts::default(),
                    failures: Vec::new(),
                    asked_rds: None,
                    rds_verdict: None,
                    rds_writers: BTreeSet::new(),
                    rds_answered: false,
                    candidate: *candidate,
                    first_active: None,
                    found: BTreeSet::new(),
                });
            }
            Event::Asked { run, action } => {
                let run = &mut self.runs[*run];
                run.counts.asked(*action);
                if *action == Action::DescribeDBClusters {
                    (run.asked_rds, run.rds_verdict) = (Some(at), None);
                }
            }
            Event::Looked { run, asked, named } => {
                let run = &mut self.runs[*run];
                let last = run.lookups.iter().rev().find_map(|lookup| lookup.named);
                let moved = named.is_some_and(|named| last.is_some_and(|last| last != named));
                run.counts.moves += u64::from(moved);
                if let Some(Named { address, member: Some(member) }) = named {
                    run.found.insert(((*member).to_owned(), *address));
                }
                run.lookups.push(Lookup { asked: *asked, answered: at, named: *named });
            }
            Event::Listed { run, asked, version, active, draining, unhealthy } => {
                for call in self.calls.iter_mut().filter(|call| call.run == *run) {
                    if call.succeeded.is_some_and(|at| at <= *asked) {
                        let registers = call.change == Change::Register;
                        call.unseen.retain(|target| active.contains(target) != registers);
                    }
                }
                let (active, draining, unhealthy) = (active.clone(), draining.clone(), unhealthy.clone());
                let run = &mut self.runs[*run];
                let writer = run.lookups.iter().rev().find_map(|lookup| lookup.named);
                let targets = writer.map(|named| Targets::from([SocketAddr::new(named.address, self.port)]));
                let is_in_sync = |writer| verdict::is_as_it_must_be(&active, &unhealthy, &writer, self.keep);
                run.counts.differences += u64::from(!targets.is_some_and(is_in_sync));
                run.first_active.get_or_insert_with(|| active.clone());
                run.listing = Some(Listing {
                    asked: *asked,
                    answered: self.now,
                    version: *version,
                    active,
                    draining,
                    unhealthy,
                });
            }
            Event::RdsAnswered { run, writer } => {
                let run = &mut self.runs[*run];
                (run.rds_verdict, run.rds_answered) = (*writer, true);
                run.rds_writers.extend(writer);
            }
            Event::CandidateLookup { run } => self.runs[*run].counts.sought += 1,
            Event::CandidateFound { run, name, address } => {
                self.runs[*run].found.insert((name.clone(), *address));
            }
            Event::Sent { run, call, change, targets } => {
                assert_eq!(*call, self.calls.len(), "calls are counted from zero");
                self.check_call(*run, *change, targets);
                self.calls.push(Call {
                    run: *run,
                    change: *change,
                    targets: targets.clone(),
                    sent: at,
                    listing: self.runs[*run].listing.clone(),
                    succeeded: None,
                    unseen: targets.clone(),
                });
            }
            Event::Landed { call, active } => self.land(Some(*call), active),
            Event::ExternalChange { active } => self.land(None, active),
            Event::Answered { call, succeeded } => {
                self.calls[*call].succeeded = succeeded.then_some(at);
            }
            Event::Failed { run, failure, action } => {
                self.runs[*run].failures.push(*failure);
                self.runs[*run].counts.failed(*action);
            }
            Event::Ended { run, result } => self.end(*run, result.as_ref()),
            Event::Calm { writer, within } => {
                self.calm = Some(Calm { writer: *writer, within: *within, ended: 0 });
            }
        }
    }

    /// How many changes were sent so far.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    pub fn invocations(&self) -> u64 {
        self.runs.len() as u64
    }

    fn violated(&mut self, invariant: u8, what: impl Into<String>) {
        self.violations.push(Violation { invariant, at: self.now, what: what.into() });
    }

    fn note_unanimity(&mut self) {
        let first = self.servers[0];
        let all = first.filter(|_| self.servers.iter().all(|server| *server == first));
        if self.unanimous.last().is_none_or(|(_, last)| *last != all) {
            self.unanimous.push((self.now, all));
        }
    }

    /// The address that every name server has given from `from` until now.
    fn named_throughout(&self, from: Time) -> Option<IpAddr> {
        let (since, address) = self.unanimous.last()?;
        address.filter(|_| *since < from || since.is_zero())
    }

    fn check_call(&mut self, run: usize, change: Change, targets: &Targets) {
        if self.runs[run].mode == Mode::DryRun {
            self.violated(3, format!("a dry run sent {change:?} {targets:?}"));
        }
        if let Some(Calm { within, ended, .. }) = self.calm
            && ended >= within
        {
            self.violated(4, format!("{change:?} {targets:?} after {ended} undisturbed invocations"));
        }
        let is_recent = |call: &&Call| {
            call.run == run
                && call.change == change
                && !call.unseen.is_disjoint(targets)
                && call.succeeded.is_some_and(|at| self.now < at + LISTING_LAG)
        };
        let undone = |call: &Call| {
            let later = self.calls.iter().filter(|c| c.run == run && c.sent >= call.sent);
            later.into_iter().any(|c| c.change != change && !c.targets.is_disjoint(&call.targets))
        };
        if let Some(call) = self.calls.iter().filter(is_recent).find(|call| !undone(call)) {
            let at = call.sent;
            self.violated(6, format!("{change:?} {targets:?} again, after it succeeded, sent at {at:?}"));
        }
        match change {
            Change::Register => self.check_registration(run, targets),
            Change::Deregister => self.check_deregistration(run, targets),
        }
    }

    /// Invariant 3.
    fn check_registration(&mut self, run: usize, targets: &Targets) {
        let state = &self.runs[run];
        let named = state.lookups.last().and_then(|lookup| lookup.named);
        let mut problems = Vec::new();
        for target in targets {
            let is_named = named.is_some_and(|named| SocketAddr::new(named.address, self.port) == *target);
            let is_candidate =
                target.port() == self.port && state.is_candidate(target.ip(), self.timing, self.port);
            if !is_named && !is_candidate {
                problems.push((3, format!("registers {target}, but the last lookup gave {named:?}")));
            }
            if !can_be_a_target(target.ip()) {
                problems.push((3, format!("registers {target}, which no target group can hold")));
            }
            let drains = state.listing.as_ref().is_some_and(|listing| listing.draining.contains(target));
            if drains && !is_named {
                problems.push((3, format!("registers the candidate {target}, which drains")));
            }
            if drains && !state.is_confirmed(self.timing) {
                problems.push((3, format!("registers {target} again, which drains, before it is confirmed")));
            }
        }
        problems.into_iter().for_each(|(invariant, what)| self.violated(invariant, what));
    }

    /// Invariant 2.
    fn check_deregistration(&mut self, run: usize, targets: &Targets) {
        let state = &self.runs[run];
        let mut problems: Vec<String> = Vec::new();
        // The age of an answer counts from its arrival.
        let lookup = state.lookups.last().map(|lookup| lookup.answered - lookup.asked);
        let age = MAX_OBSERVATION_AGE + lookup.unwrap_or_default();
        if let Some(address) = self.named_throughout(self.now.saturating_sub(age))
            && targets.contains(&SocketAddr::new(address, self.port))
        {
            problems.push(format!("deregisters {address}, which every name server has given for {age:?}"));
        }
        let oldest = self.now.saturating_sub(MAX_OBSERVATION_AGE);
        let failed =
            |call: &&Call| call.run == run && call.change == Change::Register && call.succeeded.is_none();
        let is_over = state.dns_has_moved() || state.dns_has_settled_elsewhere(self.timing, self.port);
        if !is_over && !self.calls.iter().any(|call| failed(&call)) {
            let of_candidate = |(name, address): &&(String, IpAddr)| {
                state.candidate == Some(name.as_str())
                    && MEMBERS.contains(&name.as_str())
                    && targets.contains(&SocketAddr::new(*address, self.port))
                    && state.mode == Mode::Watch
            };
            if let Some((name, address)) = state.found.iter().find(of_candidate) {
                problems
                    .push(format!("deregisters its own candidate {name} at {address} before DNS has moved"));
            }
        }
        match state.lookups.last() {
            Some(Lookup { answered, named: Some(named), .. }) if *answered >= oldest => {
                let writer = SocketAddr::new(named.address, self.port);
                if targets.contains(&writer) {
                    problems.push(format!("deregisters {writer}, which the last lookup gave"));
                }
                if !state.is_confirmed(self.timing) {
                    problems.push(format!("deregisters before {writer} is confirmed"));
                }
                match &state.listing {
                    Some(listing) if listing.answered >= oldest => {
                        if !listing.active.contains(&writer) {
                            problems.push(format!(
                                "deregisters next to {writer}, which was not listed as active"
                            ));
                        }
                        if !targets.is_subset(&listing.active) {
                            problems.push("deregisters a target that was not listed as active".to_owned());
                        }
                    }
                    listing => problems.push(format!("deregisters by an old listing, {listing:?}")),
                }
                if let Some(member) = named.member {
                    if state.rds_verdict.is_some_and(|writer| writer != member) {
                        problems.push(format!("deregisters although the RDS API contradicts {member}"));
                    }
                    // An answer of RDS that is recent when an observation begins counts, however long its permits and
                    // its list take: other users of the API must not hold up a deregistration for ever.
                    let listed = state.listing.as_ref().map_or(self.now, |listing| listing.asked);
                    // Each wait and each list ends with the lookup beside it.
                    let slowest = state.lookups.iter().map(|lookup| lookup.answered - lookup.asked).max();
                    let observes = PERMITS + 4 * slowest.unwrap_or_default();
                    let asked = state.asked_rds.is_some_and(|at| {
                        at + RDS_RECHECK_INTERVAL + RDS_TIMEOUT + observes + 2 * SLACK >= listed
                    });
                    if !asked {
                        problems.push("deregisters without having asked the RDS API".to_owned());
                    }
                }
            }
            lookup => problems.push(format!("deregisters by an old or failed lookup, {lookup:?}")),
        }
        problems.into_iter().for_each(|what| self.violated(2, what));
    }

    /// Invariant 1.
    fn land(&mut self, call: Option<usize>, active: &Targets) {
        self.version += 1;
        let (target_of, version, at) = (self.active.difference(active), self.version, self.now);
        self.removals.extend(target_of.map(|target| Removal { target: *target, at, version, call }));
        let emptied = !self.active.is_empty() && active.is_empty();
        self.active.clone_from(active);
        self.emptied += u64::from(emptied);
        if let Some(call) = call
            && emptied
        {
            self.judge_emptying(call);
        }
    }

    fn judge_emptying(&mut self, index: usize) {
        let call = &self.calls[index];
        let Some(listing) = &call.listing else {
            return self.violated(1, "emptied a group that it had never listed");
        };
        // Excused by another process, or by another call of ours.
        let mut excused = None;
        for target in listing.active.difference(&call.targets) {
            // It was listed and is gone: the last removal since then decides.
            let later = |removal: &&Removal| removal.target == *target && removal.version > listing.version;
            match self.removals.iter().rev().find(later).map(|removal| (removal.call, removal.at)) {
                None => {}
                Some((None, _)) => excused = Some(true),
                Some((Some(other), at)) => {
                    let known = self.calls[other].run == call.run && at <= call.sent;
                    let first = self.calls[other].sent.min(call.sent);
                    let moved = self.named_throughout(first.saturating_sub(MAX_OBSERVATION_AGE)).is_none();
                    if !known && moved {
                        excused = Some(false);
                    }
                }
            }
        }
        match excused {
            Some(true) => self.excused.external += 1,
            Some(false) => self.excused.crossing += 1,
            None => {
                let what = format!("left no active target by call {index}, run {}: {call:?}", call.run);
                self.violated(1, what);
            }
        }
    }

    fn end(&mut self, run: usize, result: Option<&super::history::Result>) {
        let now = self.now;
        let state = &self.runs[run];
        let unhealthy = state.listing.as_ref().map_or_else(Targets::new, |listing| listing.unhealthy.clone());
        let took = now - state.began;
        let mut problems = bounds::check(&state.counts, self.timing, state.mode, self.keep, took);
        if now > state.deadline + SLACK {
            problems.push((5, format!("run {run} ended after its deadline {:?}", state.deadline)));
        }
        if let Some(result) = result {
            problems.extend(verdict::check(state, result, self.port, self.keep, now));
        }
        problems.into_iter().for_each(|(invariant, what)| self.violated(invariant, what));
        if let Some(Calm { writer, within, ended }) = &mut self.calm {
            *ended += 1;
            let (writer, within, ended) = (*writer, *within, *ended);
            let wanted = BTreeSet::from([writer]);
            let equal = verdict::is_as_it_must_be(&self.active, &unhealthy, &wanted, self.keep);
            if ended >= within && !equal {
                let what = format!("holds {:?}, not {writer}, after {ended} invocations", self.active);
                self.violated(4, what);
            }
            if ended > within && result.is_none_or(|r| r.status != rds_nlb_sync::reconcile::Status::InSync) {
                self.violated(4, format!("invocation {ended} ended as {result:?}"));
            }
        }
    }
}

impl Run {
    /// Whether this is a candidate's address: the event or the RDS API named the instance, the RDS API does not
    /// deny that it is a member, and its own name resolved to the address. Only a watch has candidates, and
    /// only until DNS has moved from its first answer and settled.
    fn is_candidate(&self, address: IpAddr, timing: Timing, port: u16) -> bool {
        let is_candidate = |name: &str| {
            let may_be_member = !self.rds_answered || MEMBERS.contains(&name);
            self.rds_writers.contains(name) || (self.candidate == Some(name) && may_be_member)
        };
        let is_over = self.dns_has_settled_elsewhere(timing, port);
        let mut found = self.found.iter();
        self.mode == Mode::Watch && !is_over && found.any(|(name, a)| *a == address && is_candidate(name))
    }

    /// Whether any lookup gave another address than the first one did.
    fn dns_has_moved(&self) -> bool {
        let mut named = self.lookups.iter().filter_map(|lookup| lookup.named).map(|named| named.address);
        named.next().is_some_and(|first| named.any(|address| address != first))
    }

    /// Whether DNS has settled on an address that is neither the first one nor was in the group at first.
    fn dns_has_settled_elsewhere(&self, timing: Timing, port: u16) -> bool {
        let mut named = self.lookups.iter().filter_map(|lookup| lookup.named).map(|named| named.address);
        let Some(last) = named.next_back() else { return false };
        let was_in =
            self.first_active.as_ref().is_none_or(|first| first.contains(&SocketAddr::new(last, port)));
        !was_in && self.is_confirmed(timing)
    }

    /// Whether the last lookups gave one address from the end of the first of them to the start of the
    /// last for the confirmation time, with no gap between them of more than half of it or two polls.
    fn is_confirmed(&self, timing: Timing) -> bool {
        let Some(last) = self.lookups.last().filter(|last| last.named.is_some()) else { return false };
        let address = |lookup: &Lookup| lookup.named.map(|named| named.address);
        let gap = (timing.confirm / 2).max(2 * timing.poll);
        let (mut length, mut first) = (1, last);
        for lookup in self.lookups.iter().rev().skip(1) {
            if address(lookup) != address(last) || first.asked > lookup.answered + gap {
                break;
            }
            (length, first) = (length + 1, lookup);
        }
        timing.confirm.is_zero() || (length >= 2 && last.asked >= first.answered + timing.confirm)
    }
}

/// Whether a group of type `ip` can hold the address: a private one (RFC 1918), a shared one (RFC
/// 6598), or for IPv6 a global or unique local one.
fn can_be_a_target(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let number = u32::from(v4);
            let within = |network: [u8; 4], bits: u32| {
                number >> (32 - bits) == u32::from(std::net::Ipv4Addr::from(network)) >> (32 - bits)
            };
            within([10, 0, 0, 0], 8)
                || within([172, 16, 0, 0], 12)
                || within([192, 168, 0, 0], 16)
                || within([100, 64, 0, 0], 10)
        }
        IpAddr::V6(v6) => matches!(v6.segments()[0], 0x2000..=0x3fff | 0xfc00..=0xfdff),
    }
}
