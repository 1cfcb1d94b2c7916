//! Everything that can be done to a run, by name, and how often it was.

use std::collections::{BTreeMap, BTreeSet};

/// A kind of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    // Calls.
    Throttled,
    ServerError,
    Denied,
    Reset,
    Garbage,
    /// No answer ever, with or without the effect.
    Hangs,
    /// The client gives up on the answer, with or without the effect.
    TimesOut,
    /// The call takes effect, and then its answer is lost.
    AnswerLost,
    /// The call fails, and takes effect some seconds later all the same.
    LandsLate,
    Slow,
    // Lookups.
    ServFail,
    Refused,
    Malformed,
    NoAnswer,
    // Answers.
    NxDomain,
    Empty,
    Several,
    Public,
    Loopback,
    LinkLocal,
    // The rest.
    StaleServer,
    StaleListing,
    RateLimit,
    RdsContradicts,
    Meddling,
    Killed,
    Overlap,
    DeadlineExceeded,
    /// An event nominates who is no member.
    Stranger,
    /// An event nominates who does not become the writer.
    WrongCandidate,
    /// A standby that answers health checks again.
    WakesUp,
    /// A member whose address was another's before.
    ReusedAddress,
    /// Other bindings are first: a call waits for its turn.
    Crowded,
}

impl Fault {
    pub const CALLS: [Self; 10] = [
        Self::Throttled,
        Self::ServerError,
        Self::Denied,
        Self::Reset,
        Self::Garbage,
        Self::Hangs,
        Self::TimesOut,
        Self::AnswerLost,
        Self::LandsLate,
        Self::Slow,
    ];
    pub const LOOKUPS: [Self; 5] =
        [Self::ServFail, Self::Refused, Self::Malformed, Self::NoAnswer, Self::Slow];
    pub const ANSWERS: [Self; 7] = [
        Self::NxDomain,
        Self::ServFail,
        Self::Empty,
        Self::Several,
        Self::Public,
        Self::Loopback,
        Self::LinkLocal,
    ];
    const REST: [Self; 13] = [
        Self::StaleServer,
        Self::StaleListing,
        Self::RateLimit,
        Self::RdsContradicts,
        Self::Meddling,
        Self::Killed,
        Self::Overlap,
        Self::DeadlineExceeded,
        Self::Stranger,
        Self::WrongCandidate,
        Self::WakesUp,
        Self::ReusedAddress,
        Self::Crowded,
    ];

    /// Every harm.
    pub fn all() -> BTreeSet<Self> {
        let groups: [&[Self]; 4] = [&Self::CALLS, &Self::LOOKUPS, &Self::ANSWERS, &Self::REST];
        groups.into_iter().flatten().copied().collect()
    }
}

/// How often each harm was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<Fault, u64>);

impl Tally {
    pub fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }
}
