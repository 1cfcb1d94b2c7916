//! The faults of API calls and lookups: in process, over sockets and in the simulator.

use std::time::Duration;

/// A comment's second sentence describes the fault for a lookup, where it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// "Rate exceeded". REFUSED.
    Throttled,
    /// A 500. SERVFAIL.
    ServerError,
    /// AccessDenied. REFUSED.
    Denied,
    /// No answer ever. A change may or may not take effect in the simulator, and does not elsewhere.
    Hangs,
    /// An answer begins and never ends. No answer.
    Stalls,
    /// The connection breaks before the call takes effect. SERVFAIL.
    Reset,
    /// The call takes effect, and then its answer is lost. SERVFAIL.
    AnswerLost,
    /// The client gives up on the answer; the call may have taken effect. No answer.
    TimesOut,
    /// The call fails, and takes effect some seconds later. SERVFAIL.
    TakesEffectLate,
    /// The answer cannot be parsed.
    Garbage,
    /// The answer arrives this much later; in the simulator, up to this much.
    Slow(Duration),
    /// The call takes effect at once, and its answer arrives this much later. Over sockets only.
    AnswerLate(Duration),
    /// One of many answers that no service gives, by number. Over sockets only.
    Malformed(u8),

    // Lookups only.
    /// The name does not exist.
    NxDomain,
    /// The name has no such record.
    NoRecords,
    /// The answer is truncated over UDP, and whole over TCP.
    Truncated,
    /// The answer is truncated over both.
    TruncatedAlways,
    /// The answer holds the CNAME and not its target's address.
    CnameOnly,
    /// Several addresses for a writer.
    Several,
    /// A public address.
    Public,
    /// A loopback address.
    Loopback,
    /// A link-local address.
    LinkLocal,
}

impl Fault {
    /// The same for every duration, to count by.
    #[must_use]
    pub fn kind(self) -> Self {
        match self {
            Self::Slow(_) => Self::Slow(Duration::ZERO),
            Self::AnswerLate(_) => Self::AnswerLate(Duration::ZERO),
            Self::Malformed(_) => Self::Malformed(0),
            other => other,
        }
    }
}
