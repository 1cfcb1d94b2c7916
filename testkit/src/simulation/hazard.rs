//! Everything that a schedule can do to an invocation, and in which phase of the loop it was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
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
    /// Calls wait for permits.
    PermitWait,
    /// The RDS API never answers.
    RdsSilent,
    /// Nothing ever answers over UDP, and every lookup falls back to TCP.
    UdpSilent,
}

/// What an invocation is doing, by its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Until a lookup and a listing were answered.
    FirstObservation,
    /// The group differs from DNS, and no change is under way.
    Confirming,
    AskingRds,
    WaitingForPermit,
    Registering,
    /// From a change's answer until a lookup and a listing were answered.
    ObservingAgain,
    Deregistering,
    /// The group equals DNS: the invocation reports, or goes on watching.
    Reporting,
}

impl Phase {
    pub const ALL: [Self; 8] = [
        Self::FirstObservation,
        Self::Confirming,
        Self::AskingRds,
        Self::WaitingForPermit,
        Self::Registering,
        Self::ObservingAgain,
        Self::Deregistering,
        Self::Reporting,
    ];
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
const REST: [Hazard; 15] = [
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
    Hazard::RdsSilent,
    Hazard::UdpSilent,
];

impl Hazard {
    fn name(self) -> String {
        let fault = |kind, fault: Fault| match fault {
            Fault::Slow(_) => format!("{kind} Slow"),
            other => format!("{kind} {other:?}"),
        };
        match self {
            Self::Call(met) => fault("call", met),
            Self::Lookup(met) => fault("lookup", met),
            Self::Answer(met) => fault("answer", met),
            other => format!("{other:?}"),
        }
    }

    pub fn all() -> BTreeSet<Self> {
        let calls = CALLS.map(|fault| Self::Call(fault.kind()));
        let lookups = LOOKUPS.map(|fault| Self::Lookup(fault.kind()));
        let answers = ANSWERS.map(|fault| Self::Answer(fault.kind()));
        calls.into_iter().chain(lookups).chain(answers).chain(REST).collect()
    }
}

/// How often each hazard met an invocation in each phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<(Hazard, Phase), u64>);

impl Coverage {
    pub fn count(&mut self, hazard: Hazard, phase: Phase) {
        *self.0.entry((hazard, phase)).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (cell, count) in &other.0 {
            *self.0.entry(*cell).or_default() += count;
        }
    }

    pub fn cell(&self, hazard: Hazard, phase: Phase) -> u64 {
        self.0.get(&(hazard, phase)).copied().unwrap_or_default()
    }

    pub fn of(&self, hazard: Hazard) -> u64 {
        Phase::ALL.iter().map(|phase| self.cell(hazard, *phase)).sum()
    }

    /// The cells that are possible and were never played.
    pub fn missing(&self) -> Vec<(Hazard, Phase)> {
        let cells = Hazard::all().into_iter().flat_map(|hazard| Phase::ALL.map(|phase| (hazard, phase)));
        cells
            .filter(|(hazard, phase)| self.cell(*hazard, *phase) == 0 && is_possible(*hazard, *phase))
            .collect()
    }
}

/// Some cells are empty by the definition of their hazard or phase.
pub fn is_possible(hazard: Hazard, phase: Phase) -> bool {
    // While a run waits for a permit, it makes no call of the load balancing API that could be refused.
    (hazard, phase) != (Hazard::RateLimit, Phase::WaitingForPermit)
}

/// A table of all cells.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24}", "")?;
        for phase in Phase::ALL {
            write!(f, "{:>17}", format!("{phase:?}"))?;
        }
        for hazard in Hazard::all() {
            write!(f, "\n{:<24}", hazard.name())?;
            for phase in Phase::ALL {
                match self.cell(hazard, phase) {
                    0 if !is_possible(hazard, phase) => write!(f, "{:>17}", "–")?,
                    count => write!(f, "{count:>17}")?,
                }
            }
        }
        Ok(())
    }
}
