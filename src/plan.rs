//! The decision: from what DNS says and what the group holds to what must change.
//!
//! Pure and infallible: no clock, no network, no log. The invariant kept here is that a deregistration
//! is planned only beside a registered writer and only on confirmed evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The family of the addresses that a target group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The target group's address type is `ipv4`. The endpoint's A records count.
    V4,
    /// The target group's address type is `ipv6`. The endpoint's AAAA records count.
    V6,
}

/// The addresses that DNS gives for the endpoint now: at least one, and only such as a target group can hold.
/// With the role `writer`, it is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addresses(BTreeSet<IpAddr>);

/// Why an answer of DNS is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// The name exists, but has no address of the target group's family.
    #[error("the answer holds no address")]
    Empty,
    /// A writer endpoint has one address. Several belong to another kind of name, or DNS is changing.
    #[error("the answer holds {} addresses ({}), and a writer has one", .0.len(), list(.0))]
    Several(BTreeSet<IpAddr>),
    /// No target group accepts this address.
    #[error("the answer holds {0}, {1}, which no target group can hold")]
    NotATarget(IpAddr, &'static str),
}

impl Addresses {
    /// Checks that there is an address, and that a target group can hold all of them.
    ///
    /// ```
    /// # use rds_nlb_sync::plan::*;
    /// assert!(Addresses::parse(["10.0.2.20".parse().unwrap()]).is_ok());
    /// assert_eq!(Addresses::parse([]), Err(InvalidAnswer::Empty));
    /// ```
    pub fn parse(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, InvalidAnswer> {
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        if let Some((address, kind)) = addresses.iter().find_map(|a| Some((*a, never_a_target(a)?))) {
            return Err(InvalidAnswer::NotATarget(address, kind));
        }
        if addresses.is_empty() { Err(InvalidAnswer::Empty) } else { Ok(Self(addresses)) }
    }

    /// Checks that it is one address, as a writer has.
    pub fn single(self) -> Result<Self, InvalidAnswer> {
        if self.0.len() == 1 { Ok(self) } else { Err(InvalidAnswer::Several(self.0)) }
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied()
    }

    pub fn targets(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        self.iter().map(move |address| SocketAddr::new(address, port))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.0))
    }
}

/// Why a target group of type `ip` cannot hold the address; `None` if it can.
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
pub enum TargetState {
    /// Registered, and nothing speaks against it: `healthy`, `unused` or `unavailable`.
    Active,
    /// Registered, and not in service yet: `initial`.
    Initial,
    /// Registered, and sent nothing: `unhealthy`.
    Unhealthy,
    /// `draining` or `unhealthy.draining`: on its way out, and counted as absent.
    Draining,
}

impl TargetState {
    /// Whether the target is registered and not on its way out, whatever its health.
    pub fn is_active(self) -> bool {
        self != Self::Draining
    }
}

/// A target group's targets.
pub type Targets = BTreeMap<SocketAddr, TargetState>;

/// How sure we are that DNS's latest answer will stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// DNS has not yet given this answer for long enough.
    Unconfirmed,
    /// DNS has, but the RDS API names another cluster member as the writer.
    RdsDisagrees,
    /// DNS has, but the RDS API reports a failover under way, of which DNS has shown nothing yet.
    FailoverInProgress,
    /// DNS has, but the look at DNS and the group is too old to deregister by.
    StaleObservation,
    /// DNS has, and the RDS API does not contradict it.
    Confirmed,
}

/// What may be in the group beside the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedExtras {
    /// The addresses of those nominated as the next writer: registered early, and not deregistered.
    pub candidates: BTreeSet<IpAddr>,
    /// What becomes of the writer before.
    pub standby: StandbyPolicy,
}

/// What becomes of a writer's target after a failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StandbyPolicy {
    /// It is deregistered.
    #[default]
    Deregister,
    /// It is kept while it is unhealthy, as a Multi-AZ instance's standby is, whose database is stopped:
    /// when it is promoted again, health checks alone bring it back.
    Keep,
}

/// What a change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitReason {
    /// To be registered again, once DNS has confirmed the address: it was deregistered a moment ago.
    RegistrationForConfirmation,
    /// To be registered again, once the RDS API names the same writer as DNS.
    RegistrationForAgreement,
    /// To be deregistered, once the writer is registered.
    DeregistrationForWriter,
    /// To be deregistered, once DNS has confirmed the writer.
    DeregistrationForConfirmation,
    /// To be deregistered, once the RDS API names the same writer as DNS.
    DeregistrationForAgreement,
    /// To be deregistered, once the RDS API reports no failover any more.
    DeregistrationForFailover,
    /// To be deregistered, once a look at DNS and the group is fresh enough.
    DeregistrationForFreshObservation,
    /// To turn out as the standby or not: the writer's own target is not healthy yet.
    StandbyForWriter,
    /// To turn out as the writer or not: it was nominated.
    Candidate,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RegistrationForConfirmation => {
                "drains; is registered again once DNS has confirmed it as the writer"
            }
            Self::RegistrationForAgreement => {
                "drains; is registered again once the RDS API names the same writer as DNS"
            }
            Self::DeregistrationForWriter => "is deregistered once the writer is registered",
            Self::DeregistrationForConfirmation => "is deregistered once DNS has confirmed the writer",
            Self::DeregistrationForAgreement => {
                "is deregistered once the RDS API names the same writer as DNS"
            }
            Self::DeregistrationForFailover => {
                "is deregistered once the RDS API no longer reports a failover under way"
            }
            Self::DeregistrationForFreshObservation => {
                "is deregistered once DNS and the API answer fast enough for a fresh look"
            }
            Self::StandbyForWriter => {
                "is kept as the standby or deregistered, by its health, once the writer's target is healthy"
            }
            Self::Candidate => "was nominated as the next writer; is deregistered if DNS settles elsewhere",
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
    /// To deregister now.
    pub deregister: BTreeSet<SocketAddr>,
    /// To do later, and what each waits for.
    pub waiting: BTreeMap<SocketAddr, WaitReason>,
}

impl Plan {
    /// Whether the group is as DNS says, with nothing left to wait for.
    pub fn is_empty(&self) -> bool {
        let Self { register, deregister, waiting } = self;
        register.is_empty() && deregister.is_empty() && waiting.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { register, deregister, waiting } = self;
        let mut items: Vec<String> = register.iter().map(|target| format!("+ {target}")).collect();
        items.extend(deregister.iter().map(|target| format!("- {target}")));
        items.extend(waiting.iter().map(|(target, waits)| format!("? {target} {waits}")));
        if items.is_empty() {
            return f.write_str("nothing to do");
        }
        f.write_str(&items.join(", "))
    }
}

/// Decides what must change so that the group holds the writer, and nothing else but what may be
/// beside it.
///
/// An address that the group does not know is registered at first sight. One that drains was deregistered
/// a moment ago, and DNS may be flickering: it is registered again only on confirmed evidence.
pub fn plan(
    addresses: &Addresses,
    port: u16,
    targets: &Targets,
    confirmation: Confirmation,
    allowed_extras: &AllowedExtras,
) -> Plan {
    let AllowedExtras { candidates, standby } = allowed_extras;
    let mut plan = Plan::default();
    for target in addresses.targets(port) {
        match targets.get(&target) {
            Some(state) if state.is_active() => {}
            None => {
                plan.register.insert(target);
            }
            Some(_) => match confirmation {
                Confirmation::Confirmed
                | Confirmation::FailoverInProgress
                | Confirmation::StaleObservation => {
                    plan.register.insert(target);
                }
                Confirmation::RdsDisagrees => {
                    plan.waiting.insert(target, WaitReason::RegistrationForAgreement);
                }
                Confirmation::Unconfirmed => {
                    plan.waiting.insert(target, WaitReason::RegistrationForConfirmation);
                }
            },
        }
    }
    let wanted: BTreeSet<SocketAddr> = addresses.targets(port).collect();
    let candidates: BTreeSet<SocketAddr> =
        candidates.iter().map(|address| SocketAddr::new(*address, port)).collect();
    for target in candidates.difference(&wanted) {
        match targets.get(target) {
            None => {
                plan.register.insert(*target);
            }
            Some(state) if state.is_active() => {
                plan.waiting.insert(*target, WaitReason::Candidate);
            }
            // It was deregistered a moment ago: DNS alone brings it back.
            Some(_) => {}
        }
    }
    let is_stale = |target: &SocketAddr| !wanted.contains(target) && !candidates.contains(target);
    let stale: BTreeSet<SocketAddr> = active(targets).filter(is_stale).collect();
    let kept = match standby {
        StandbyPolicy::Deregister => None,
        StandbyPolicy::Keep => keep(&stale, &wanted, targets, &mut plan),
    };
    for target in stale.into_iter().filter(|target| Some(*target) != kept) {
        if plan.waiting.contains_key(&target) {
            continue;
        }
        match deregistration_blocker(&wanted, targets, confirmation) {
            None => {
                plan.deregister.insert(target);
            }
            Some(reason) => {
                plan.waiting.insert(target, reason);
            }
        }
    }
    plan
}

/// Picks the stale target that is kept as the standby: at most one, and an unhealthy one.
///
/// Right after a failover the load balancer calls the old primary healthy for some health checks yet,
/// and the new one not healthy yet. Where the writer's target is not healthy, a failover was moments
/// ago: a healthy stale target then waits until health checks have told what it is, and the one place
/// is reserved for it. That takes no memory but the group's.
fn keep(
    stale: &BTreeSet<SocketAddr>,
    wanted: &BTreeSet<SocketAddr>,
    targets: &Targets,
    plan: &mut Plan,
) -> Option<SocketAddr> {
    let state = |target: &SocketAddr| targets.get(target).copied();
    let starts =
        |target: &SocketAddr| matches!(state(target), Some(TargetState::Initial | TargetState::Unhealthy));
    if wanted.iter().any(starts) {
        let healthy = stale.iter().filter(|target| state(target) == Some(TargetState::Active));
        plan.waiting.extend(healthy.map(|target| (*target, WaitReason::StandbyForWriter)));
        if plan.waiting.values().any(|waits| *waits == WaitReason::StandbyForWriter) {
            return None;
        }
    }
    stale.iter().find(|target| state(target) == Some(TargetState::Unhealthy)).copied()
}

/// **Only DNS may deregister.** Why a stale target must be held on to, or `None` where it may go: the
/// writer that DNS names is registered and not draining, and the evidence for it is confirmed.
fn deregistration_blocker(
    wanted: &BTreeSet<SocketAddr>,
    targets: &Targets,
    confirmation: Confirmation,
) -> Option<WaitReason> {
    let is_in = |target: &SocketAddr| targets.get(target).is_some_and(|state| state.is_active());
    match confirmation {
        _ if !wanted.iter().all(is_in) => Some(WaitReason::DeregistrationForWriter),
        Confirmation::Unconfirmed => Some(WaitReason::DeregistrationForConfirmation),
        Confirmation::RdsDisagrees => Some(WaitReason::DeregistrationForAgreement),
        Confirmation::FailoverInProgress => Some(WaitReason::DeregistrationForFailover),
        Confirmation::StaleObservation => Some(WaitReason::DeregistrationForFreshObservation),
        Confirmation::Confirmed => None,
    }
}

/// Everything that would change on this evidence: the plans up to the fixpoint, as one.
pub fn plan_to_fixpoint(
    addresses: &Addresses,
    port: u16,
    targets: &Targets,
    confirmation: Confirmation,
    allowed_extras: &AllowedExtras,
) -> Plan {
    let mut whole = Plan::default();
    let mut targets = targets.clone();
    // One round registers, the next deregisters, and the third finds nothing left but what waits.
    for _ in 0..3 {
        let next = plan(addresses, port, &targets, confirmation, allowed_extras);
        simulate_apply(&mut targets, &next);
        whole.register.extend(next.register);
        whole.deregister.extend(next.deregister);
        whole.waiting = next.waiting;
    }
    whole
}

/// What a plan does to a group, as AWS does it: deregistered targets drain, registered ones start.
pub fn simulate_apply(targets: &mut Targets, plan: &Plan) {
    targets.extend(plan.register.iter().map(|target| (*target, TargetState::Initial)));
    targets.extend(plan.deregister.iter().map(|target| (*target, TargetState::Draining)));
}

/// The targets that are registered and not draining.
pub fn active(targets: &Targets) -> impl Iterator<Item = SocketAddr> {
    targets.iter().filter(|(_, state)| state.is_active()).map(|(target, _)| *target)
}

/// The items in one line, for messages.
pub(crate) fn list<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
