//! Everything that a schedule can do to an invocation, by name, and how often it did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hazard {
    /// An API call meets this fault.
    Call(Fault),
    /// A lookup meets this fault.
    Lookup(Fault),
    /// A name server gives an unusable answer for some time.
    Answer(Fault),
    /// Two name servers give different answers.
    StaleServer,
    /// A listing shows an earlier state of the group.
    StaleListing,
    /// The account's API limit refuses a call.
    RateLimit,
    /// The RDS API names another writer than DNS.
    RdsDisagrees,
    /// Another process changes the group.
    ExternalChange,
    Killed,
    /// Two invocations run at the same time.
    Overlap,
    DeadlineExceeded,
    /// An event names an instance that is not a member.
    NonMemberCandidate,
    /// An event names a member that does not become the writer.
    WrongCandidate,
    /// A standby answers health checks again.
    StandbyWakesUp,
    /// A member gets an address that another member had before.
    ReusedAddress,
    /// A call waits for a permit.
    PermitWait,
}

/// The faults of API calls.
pub const CALLS: [Fault; 10] = [
    Fault::Throttled,
    Fault::ServerError,
    Fault::Denied,
    Fault::Reset,
    Fault::Garbage,
    Fault::Hangs,
    Fault::TimesOut,
    Fault::AnswerLost,
    Fault::TakesEffectLate,
    SLOW_CALL,
];
/// The faults of lookups.
pub const LOOKUPS: [Fault; 5] =
    [Fault::ServerError, Fault::Denied, Fault::Garbage, Fault::Hangs, SLOW_LOOKUP];
/// The unusable answers that a name server gives for some time.
pub const ANSWERS: [Fault; 7] = [
    Fault::NxDomain,
    Fault::ServerError,
    Fault::NoRecords,
    Fault::Several,
    Fault::Public,
    Fault::Loopback,
    Fault::LinkLocal,
];
const SLOW_CALL: Fault = Fault::Slow(Duration::from_secs(6));
const SLOW_LOOKUP: Fault = Fault::Slow(Duration::from_secs(3));
const REST: [Hazard; 13] = [
    Hazard::StaleServer,
    Hazard::StaleListing,
    Hazard::RateLimit,
    Hazard::RdsDisagrees,
    Hazard::ExternalChange,
    Hazard::Killed,
    Hazard::Overlap,
    Hazard::DeadlineExceeded,
    Hazard::NonMemberCandidate,
    Hazard::WrongCandidate,
    Hazard::StandbyWakesUp,
    Hazard::ReusedAddress,
    Hazard::PermitWait,
];

impl Hazard {
    pub fn all() -> BTreeSet<Self> {
        let calls = CALLS.map(|fault| Self::Call(fault.kind()));
        let lookups = LOOKUPS.map(|fault| Self::Lookup(fault.kind()));
        let answers = ANSWERS.map(|fault| Self::Answer(fault.kind()));
        calls.into_iter().chain(lookups).chain(answers).chain(REST).collect()
    }
}

/// How often each hazard happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<Hazard, u64>);

impl Tally {
    pub fn count(&mut self, hazard: Hazard) {
        *self.0.entry(hazard).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (hazard, count) in &other.0 {
            *self.0.entry(*hazard).or_default() += count;
        }
    }
}
