//! The decision: from what DNS says and what the group holds to what must change.
//!
//! Pure and infallible: no clock, no network, no log. The invariant kept here is that an eviction
//! is planned only beside a registered writer and only on confirmed evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What a target group can hold: addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The group's address type is `ipv4`; the endpoint's A records count.
    V4,
    /// The group's address type is `ipv6`; the endpoint's AAAA records count.
    V6,
}

/// The address that DNS gives for the endpoint now: never empty, and always one that a target group
/// can hold. A set, because other roles than the writer may have several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer(BTreeSet<IpAddr>);

/// Why an answer names no writer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWriter {
    /// The name exists, but has no address of the group's family.
    #[error("the answer holds no address")]
    Empty,
    /// A writer endpoint has one address; several are another kind of name, or an answer in motion.
    #[error("the answer holds {} addresses ({}) where a writer has one", .0.len(), list(.0))]
    Several(BTreeSet<IpAddr>),
    /// No target group takes this address.
    #[error("the answer holds {0}, {1}, which no target group can hold")]
    NotATarget(IpAddr, &'static str),
}

impl Writer {
    /// Takes an answer's addresses for the writer, if they can be it.
    ///
    /// ```
    /// # use rds_nlb_sync::plan::*;
    /// assert!(Writer::parse(["10.0.2.20".parse().unwrap()]).is_ok());
    /// assert_eq!(Writer::parse([]), Err(NotAWriter::Empty));
    /// ```
    pub fn parse(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, NotAWriter> {
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        if let Some((address, kind)) = addresses.iter().find_map(|a| Some((*a, never_a_target(a)?))) {
            return Err(NotAWriter::NotATarget(address, kind));
        }
        match addresses.len() {
            0 => Err(NotAWriter::Empty),
            1 => Ok(Self(addresses)),
            _ => Err(NotAWriter::Several(addresses)),
        }
    }

    /// The addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied()
    }

    /// The targets that the group must hold.
    pub fn targets(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        self.addresses().map(move |address| SocketAddr::new(address, port))
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.0))
    }
}

/// Says why a group of type `ip` cannot hold the address, or `None` where it can.
///
/// IPv4 targets come from the VPC's subnets, 10/8, 100.64/10, 172.16/12 or 192.168/16, never from
/// the public internet (NLB guide, "Target groups"). IPv6 addresses of a VPC are global ones, so
/// for them only what no VPC can contain is refused.
fn never_a_target(address: &IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && (64..128).contains(&second);
            (!v4.is_private() && !shared).then_some("a public address")
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map(|_| "an IPv4-mapped address"),
    }
}

/// Whether a target serves or is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Registered: `initial`, `healthy`, `unhealthy`, `unused` or `unavailable`.
    Active,
    /// `draining` or `unhealthy.draining`: on its way out, and counted as absent.
    Draining,
}

/// A target group's targets.
pub type Targets = BTreeMap<SocketAddr, State>;

/// How sure we are that DNS's latest answer will stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// DNS has not yet given this answer for long enough.
    Unconfirmed,
    /// DNS has, but the RDS API names another cluster member as the writer.
    Contradicted,
    /// DNS has, but the look at DNS and the group is too old to evict by.
    Outdated,
    /// DNS has, and the RDS API does not contradict it.
    Confirmed,
}

/// What a change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waits {
    /// To be registered again, once DNS has confirmed the address: it was evicted a moment ago.
    RegistrationForConfirmation,
    /// To be registered again, once the RDS API names the same writer as DNS.
    RegistrationForAgreement,
    /// To be evicted, once the writer is registered.
    EvictionForWriter,
    /// To be evicted, once DNS has confirmed the writer.
    EvictionForConfirmation,
    /// To be evicted, once the RDS API names the same writer as DNS.
    EvictionForAgreement,
    /// To be evicted, once a look at DNS and the group is fresh enough.
    EvictionForFreshLook,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RegistrationForConfirmation => {
                "drains; is registered again once DNS has confirmed it as the writer"
            }
            Self::RegistrationForAgreement => {
                "drains; is registered again once the RDS API names the same writer as DNS"
            }
            Self::EvictionForWriter => "is evicted once the writer is registered",
            Self::EvictionForConfirmation => "is evicted once DNS has confirmed the writer",
            Self::EvictionForAgreement => "is evicted once the RDS API names the same writer as DNS",
            Self::EvictionForFreshLook => {
                "is evicted once DNS and the API answer fast enough for a fresh look"
            }
        })
    }
}

/// What must change in a group; empty where it already is as DNS says.
///
/// Prints like a diff: `+ 10.0.2.20:5432, - 10.0.1.10:5432`, with `?` for what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To register now.
    pub register: BTreeSet<SocketAddr>,
    /// To evict now.
    pub evict: BTreeSet<SocketAddr>,
    /// To do later, and what each waits for.
    pub waiting: BTreeMap<SocketAddr, Waits>,
}

impl Plan {
    /// Whether the group is as DNS says, with nothing left to wait for.
    pub fn is_empty(&self) -> bool {
        let Self { register, evict, waiting } = self;
        register.is_empty() && evict.is_empty() && waiting.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { register, evict, waiting } = self;
        let mut items: Vec<String> = register.iter().map(|target| format!("+ {target}")).collect();
        items.extend(evict.iter().map(|target| format!("- {target}")));
        items.extend(waiting.iter().map(|(target, waits)| format!("? {target} {waits}")));
        if items.is_empty() {
            return f.write_str("nothing to do");
        }
        f.write_str(&items.join(", "))
    }
}

/// Decides what must change so that the group holds the writer and nothing else.
///
/// An address that the group does not know is registered at first sight. One that drains was evicted
/// a moment ago, and DNS may be flickering: it is registered again only on confirmed evidence.
pub fn plan(writer: &Writer, port: u16, targets: &Targets, evidence: Evidence) -> Plan {
    let mut plan = Plan::default();
    for target in writer.targets(port) {
        match targets.get(&target) {
            Some(State::Active) => {}
            None => {
                plan.register.insert(target);
            }
            Some(State::Draining) => match evidence {
                Evidence::Confirmed | Evidence::Outdated => {
                    plan.register.insert(target);
                }
                Evidence::Contradicted => {
                    plan.waiting.insert(target, Waits::RegistrationForAgreement);
                }
                Evidence::Unconfirmed => {
                    plan.waiting.insert(target, Waits::RegistrationForConfirmation);
                }
            },
        }
    }
    let wanted: BTreeSet<SocketAddr> = writer.targets(port).collect();
    for target in active(targets).filter(|target| !wanted.contains(target)) {
        match hold_on_to(&wanted, targets, evidence) {
            None => {
                plan.evict.insert(target);
            }
            Some(reason) => {
                plan.waiting.insert(target, reason);
            }
        }
    }
    plan
}

/// **Only DNS may evict.** Why a stale target must be held on to, or `None` where it may go: the
/// writer that DNS names is registered and not draining, and the evidence for it is confirmed.
fn hold_on_to(wanted: &BTreeSet<SocketAddr>, targets: &Targets, evidence: Evidence) -> Option<Waits> {
    let writer_is_in = wanted.iter().all(|target| targets.get(target) == Some(&State::Active));
    match evidence {
        _ if !writer_is_in => Some(Waits::EvictionForWriter),
        Evidence::Unconfirmed => Some(Waits::EvictionForConfirmation),
        Evidence::Contradicted => Some(Waits::EvictionForAgreement),
        Evidence::Outdated => Some(Waits::EvictionForFreshLook),
        Evidence::Confirmed => None,
    }
}

/// Everything that would change on this evidence: the plans up to the fixpoint, as one.
pub fn outcome(writer: &Writer, port: u16, targets: &Targets, evidence: Evidence) -> Plan {
    let mut whole = Plan::default();
    let mut targets = targets.clone();
    // One round registers, the next evicts, and the third finds nothing left but what waits.
    for _ in 0..3 {
        let next = plan(writer, port, &targets, evidence);
        apply(&mut targets, &next);
        whole.register.extend(next.register);
        whole.evict.extend(next.evict);
        whole.waiting = next.waiting;
    }
    whole
}

/// What a plan does to a group, as AWS does it: evicted targets drain, registered ones are active.
pub fn apply(targets: &mut Targets, plan: &Plan) {
    targets.extend(plan.register.iter().map(|target| (*target, State::Active)));
    targets.extend(plan.evict.iter().map(|target| (*target, State::Draining)));
}

/// The targets that are registered and not draining.
pub fn active(targets: &Targets) -> impl Iterator<Item = SocketAddr> {
    targets.iter().filter(|(_, state)| **state == State::Active).map(|(target, _)| *target)
}

/// The items in one line, for messages.
pub(crate) fn list<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
