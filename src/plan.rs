//! The decision: which targets to register and to deregister, from what DNS gives and what the group holds.
//!
//! Pure and infallible: no clock, no network, no log. The invariant kept here: a deregistration is planned only if
//! the endpoint's addresses are registered and confirmed.

mod addresses;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::text::Joined as _;
pub(crate) use addresses::list;
pub use addresses::{Addresses, Family, Form, InvalidAnswer};

/// The state of a target in the group, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetState {
    /// Registered and in service.
    Healthy,
    /// Registered, with health checks switched off or not possible.
    Unavailable,
    /// Registered, and the load balancer sends nothing to it: no listener forwards to the group, or the load
    /// balancer does not have the target's Availability Zone.
    Unused,
    /// Registered and not in service yet: `initial`.
    Initial,
    /// Registered and not in service: `unhealthy` or `unhealthy.draining`.
    Unhealthy,
    /// Listed with a state that this version does not know; a later API may have more states. The target is not
    /// registered again. It does not count as registered where a deregistration needs a registered target.
    Unknown,
    /// Deregistered, with connections left: `draining`. Counts as absent.
    Draining,
}

impl TargetState {
    /// Reads the API's word for a state. `unhealthy.draining` is a registered target whose connections last until the
    /// group's attribute `target_health_state.unhealthy.draining_interval_seconds` ends them.
    pub fn parse(word: &str) -> Self {
        match word {
            "healthy" => Self::Healthy,
            "unavailable" => Self::Unavailable,
            "unused" => Self::Unused,
            "initial" => Self::Initial,
            "unhealthy" | "unhealthy.draining" => Self::Unhealthy,
            "draining" => Self::Draining,
            _ => Self::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unavailable => "unavailable",
            Self::Unused => "unused",
            Self::Initial => "initial",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
            Self::Draining => "draining",
        }
    }

    /// Whether the target is listed and not known to be draining, whatever its health.
    pub fn is_active(self) -> bool {
        self != Self::Draining
    }
}

pub type Targets = BTreeMap<SocketAddr, TargetState>;

/// Whether a deregistration may rely on the last DNS answer, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// DNS has not given the same answer for `CONFIRM_SECONDS` yet.
    Unconfirmed,
    /// DNS has confirmed its answer, but the RDS API names another cluster member as the writer.
    RdsDisagrees,
    /// DNS has confirmed its answer, but the RDS API reports a failover in progress, and DNS has not moved yet.
    FailoverInProgress,
    /// DNS has confirmed its answer, but the last lookup or the last list of targets is too old for a deregistration, or
    /// the API gets no calls for now.
    StaleObservation,
    /// DNS has confirmed its answer, and no veto of the RDS API is known.
    Confirmed,
}

/// What may be in the group beside the endpoint's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedExtras {
    /// The members that are about to become the writer. They are registered early and not deregistered.
    pub candidates: BTreeSet<IpAddr>,
    pub standby: StandbyPolicy,
}

/// What happens to the previous writer's target after a failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StandbyPolicy {
    #[default]
    Deregister,
    /// It stays while it is unhealthy. The standby of a Multi-AZ instance does not answer health checks; when it is
    /// promoted again, its health check brings it back into service without a registration.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitReason {
    ReregisterOnceConfirmed,
    ReregisterOnceRdsAgrees,
    DeregisterOnceRegistered,
    DeregisterOnceConfirmed,
    DeregisterOnceRdsAgrees,
    DeregisterOnceFailoverEnds,
    DeregisterOnceObservationIsFresh,
    DeregisterOnceStateIsKnown,
    /// The target stays as the standby or is deregistered, which depends on its own state.
    DecideOnceStateIsKnown,
    /// The endpoint's target must be healthy first. After that, this target's health shows whether it is the standby.
    DecideOnceWriterIsHealthy,
    Candidate,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReregisterOnceConfirmed => {
                "is draining; is registered again once DNS has confirmed it"
            }
            Self::ReregisterOnceRdsAgrees => {
                "is draining; is registered again once the RDS API names the same writer as DNS"
            }
            Self::DeregisterOnceRegistered => "is deregistered once the endpoint's addresses are registered",
            Self::DeregisterOnceConfirmed => "is deregistered once DNS has confirmed the endpoint's addresses",
            Self::DeregisterOnceRdsAgrees => {
                "is deregistered once the RDS API names the same writer as DNS"
            }
            Self::DeregisterOnceFailoverEnds => {
                "is deregistered once the RDS API no longer reports a failover in progress"
            }
            Self::DeregisterOnceObservationIsFresh => {
                "is deregistered once DNS and the API answer fast enough for a recent observation"
            }
            Self::DeregisterOnceStateIsKnown => {
                "is deregistered once the state of the endpoint's target is known"
            }
            Self::DecideOnceStateIsKnown => "is kept as the standby or deregistered once its state is known",
            Self::DecideOnceWriterIsHealthy => {
                "is kept as the standby or deregistered, depending on its health, once the writer's target is healthy"
            }
            Self::Candidate => "is about to become the writer; is deregistered if DNS confirms another address",
        })
    }
}

/// What must change in a group. Empty if the group agrees with DNS.
///
/// Prints like a diff: `+ 10.0.2.20:5432, - 10.0.1.10:5432`, with `?` for what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub register: BTreeSet<SocketAddr>,
    pub deregister: BTreeSet<SocketAddr>,
    pub waiting: BTreeMap<SocketAddr, WaitReason>,
}

impl Plan {
    fn wait(&mut self, target: SocketAddr, reason: WaitReason) {
        self.waiting.insert(target, reason);
    }

    pub fn is_empty(&self) -> bool {
        let Self { register, deregister, waiting } = self;
        register.is_empty() && deregister.is_empty() && waiting.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { register, deregister, waiting } = self;
        let register = register.iter().map(|target| format!("+ {target}"));
        let deregister = deregister.iter().map(|target| format!("- {target}"));
        let waiting = waiting.iter().map(|(target, reason)| format!("? {target} {reason}"));
        f.write_str(&register.chain(deregister).chain(waiting).listed_or("nothing to do"))
    }
}

/// Decides what must change so that the group holds the endpoint's addresses, and beside them only the allowed
/// extras. The first row that fits a target decides.
///
/// | target | in the group | confirmation | decision |
/// |---|---|---|---|
/// | an address of the endpoint | absent | any | register |
/// | | registered, whatever its health, or in an unknown state | any | nothing |
/// | | draining | `Confirmed`, `FailoverInProgress`, `StaleObservation` | register |
/// | | draining | `RdsDisagrees` | wait for RDS |
/// | | draining | `Unconfirmed` | wait for the confirmation |
/// | a candidate that DNS does not give | absent | any | register |
/// | | registered, or in an unknown state | any | wait until it is the writer or no candidate |
/// | | draining | any | nothing: only DNS brings it back |
/// | any other, with `StandbyPolicy::Keep` | in an unknown state | any | wait for its state |
/// | | healthy, unavailable or unused, while a target of the endpoint is initial or unhealthy | any | wait until the endpoint's is healthy; meanwhile no unhealthy target is kept as the standby, and the rows below decide about it |
/// | | otherwise the first that is unhealthy | any | nothing: it is the standby |
/// | any other | listed, while an address of the endpoint is absent or draining | any | wait for that |
/// | | listed, while an address of the endpoint is in an unknown state | any | wait for that |
/// | | registered, or in an unknown state | `Confirmed` | **deregister** |
/// | | registered, or in an unknown state | any other | wait for what it names |
/// | | draining | any | nothing |
///
/// A draining target was deregistered a moment ago, and DNS may alternate between two addresses. So the target is
/// registered again only when DNS has confirmed its address and the RDS API does not name another writer.
pub fn plan(
    addresses: &Addresses,
    port: u16,
    targets: &Targets,
    confirmation: Confirmation,
    allowed_extras: &AllowedExtras,
) -> Plan {
    let wanted: BTreeSet<SocketAddr> = addresses.targets(port).collect();
    let candidates: BTreeSet<SocketAddr> = allowed_extras
        .candidates
        .iter()
        .map(|address| SocketAddr::new(*address, port))
        .filter(|target| !wanted.contains(target))
        .collect();
    let mut plan = Plan::default();
    for target in &wanted {
        let blocker = match targets.get(target) {
            None => None,
            Some(TargetState::Draining) => reregistration_blocker(confirmation),
            Some(_) => continue,
        };
        match blocker {
            None => _ = plan.register.insert(*target),
            Some(reason) => plan.wait(*target, reason),
        }
    }
    for target in &candidates {
        match targets.get(target) {
            None => _ = plan.register.insert(*target),
            Some(TargetState::Draining) => {}
            Some(_) => plan.wait(*target, WaitReason::Candidate),
        }
    }
    let is_stale = |target: &SocketAddr| !wanted.contains(target) && !candidates.contains(target);
    let mut stale: BTreeSet<SocketAddr> = active(targets).filter(is_stale).collect();
    if allowed_extras.standby == StandbyPolicy::Keep {
        keep_standby(&mut stale, &wanted, targets, &mut plan);
    }
    for target in stale {
        match deregistration_blocker(&wanted, targets, confirmation) {
            None => _ = plan.deregister.insert(target),
            Some(reason) => plan.wait(target, reason),
        }
    }
    plan
}

/// Why a draining address of the endpoint must wait before it is registered again, if it must.
fn reregistration_blocker(confirmation: Confirmation) -> Option<WaitReason> {
    match confirmation {
        Confirmation::Confirmed | Confirmation::FailoverInProgress | Confirmation::StaleObservation => None,
        Confirmation::RdsDisagrees => Some(WaitReason::ReregisterOnceRdsAgrees),
        Confirmation::Unconfirmed => Some(WaitReason::ReregisterOnceConfirmed),
    }
}

/// Removes from `stale` the target that stays as the standby, and the targets that wait. At most one unhealthy
/// target stays.
///
/// Right after a failover the health checks are late: the load balancer still reports the previous writer as healthy,
/// and the new writer not yet. So while the endpoint's target is not healthy, a healthy stale target waits, and no
/// other target stays in its place.
fn keep_standby(
    stale: &mut BTreeSet<SocketAddr>,
    wanted: &BTreeSet<SocketAddr>,
    targets: &Targets,
    plan: &mut Plan,
) {
    let state = |target: &SocketAddr| targets.get(target).copied();
    let unknown = stale.extract_if(.., |target| state(target) == Some(TargetState::Unknown));
    unknown.for_each(|target| plan.wait(target, WaitReason::DecideOnceStateIsKnown));
    let is_not_in_service_yet =
        |target: &SocketAddr| matches!(state(target), Some(TargetState::Initial | TargetState::Unhealthy));
    if wanted.iter().any(is_not_in_service_yet) {
        let healthy: Vec<SocketAddr> =
            stale.extract_if(.., |target| state(target) < Some(TargetState::Initial)).collect();
        if !healthy.is_empty() {
            healthy.into_iter().for_each(|target| plan.wait(target, WaitReason::DecideOnceWriterIsHealthy));
            return;
        }
    }
    let standby = stale.iter().find(|target| state(target) == Some(TargetState::Unhealthy)).copied();
    if let Some(standby) = standby {
        stale.remove(&standby);
    }
}

/// **Only DNS may remove.** Why a stale target must stay for now. `None` if it may be deregistered: then the
/// addresses that DNS gives are registered, not draining, and confirmed.
fn deregistration_blocker(
    wanted: &BTreeSet<SocketAddr>,
    targets: &Targets,
    confirmation: Confirmation,
) -> Option<WaitReason> {
    let is_registered = |target: &SocketAddr| targets.get(target).is_some_and(|state| state.is_active());
    if !wanted.iter().all(is_registered) {
        return Some(WaitReason::DeregisterOnceRegistered);
    }
    if wanted.iter().any(|target| targets.get(target) == Some(&TargetState::Unknown)) {
        return Some(WaitReason::DeregisterOnceStateIsKnown);
    }
    match confirmation {
        Confirmation::Unconfirmed => Some(WaitReason::DeregisterOnceConfirmed),
        Confirmation::RdsDisagrees => Some(WaitReason::DeregisterOnceRdsAgrees),
        Confirmation::FailoverInProgress => Some(WaitReason::DeregisterOnceFailoverEnds),
        Confirmation::StaleObservation => Some(WaitReason::DeregisterOnceObservationIsFresh),
        Confirmation::Confirmed => None,
    }
}

/// Joins the plans of a whole run into one: everything that would change with this confirmation.
pub fn plan_to_fixpoint(
    addresses: &Addresses,
    port: u16,
    targets: &Targets,
    confirmation: Confirmation,
    allowed_extras: &AllowedExtras,
) -> Plan {
    let mut whole = Plan::default();
    let mut targets = targets.clone();
    // The first round registers, the second deregisters, and the third finds only what waits.
    for _ in 0..3 {
        let next = plan(addresses, port, &targets, confirmation, allowed_extras);
        simulate_apply(&mut targets, &next);
        whole.register.extend(next.register);
        whole.deregister.extend(next.deregister);
        whole.waiting = next.waiting;
    }
    whole
}

/// Changes the targets as AWS would: deregistered targets drain, and registered targets begin as `initial`.
pub fn simulate_apply(targets: &mut Targets, plan: &Plan) {
    targets.extend(plan.register.iter().map(|target| (*target, TargetState::Initial)));
    targets.extend(plan.deregister.iter().map(|target| (*target, TargetState::Draining)));
}

pub fn active(targets: &Targets) -> impl Iterator<Item = SocketAddr> {
    targets.iter().filter(|(_, state)| state.is_active()).map(|(target, _)| *target)
}

#[cfg(test)]
mod tests;
