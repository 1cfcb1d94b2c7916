//! The result of one binding's reconciliation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::options::Mode;
use crate::binding::Binding;
use crate::error::Error;
use crate::plan::{Addresses, Plan, TargetState};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The group holds the endpoint's addresses and no target that must go; nothing was changed.
    InSync,
    /// The group holds the endpoint's addresses and no target that must go, because it was changed.
    Updated,
    /// A change waits, and `waiting` says for what. The next check continues.
    Pending,
    /// Not observed: there are many bindings, and the next check continues with this one.
    #[serde(rename = "pending")]
    Deferred,
    /// A dry run found changes to make, or changes that wait.
    Planned,
    /// It could not be brought into sync; `error` says why.
    Failed,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub endpoint: String,
    pub target_group: String,
    pub status: Status,
    /// What DNS gave last, if it gave anything.
    #[serde(serialize_with = "list_addresses")]
    pub addresses: Option<Addresses>,
    /// The targets registered; in a dry run, those that would be.
    pub registered: BTreeSet<SocketAddr>,
    /// The targets deregistered; in a dry run, those that would be.
    pub deregistered: BTreeSet<SocketAddr>,
    pub waiting: Vec<String>,
    /// The health of the endpoint's targets in the last list.
    #[serde(serialize_with = "health_by_name")]
    pub health: BTreeMap<SocketAddr, TargetState>,
    /// Whether an attempt of a change may still take effect.
    #[serde(skip)]
    pub may_apply_late: bool,
    pub error: Option<String>,
    pub elapsed_ms: u64,
    /// Milliseconds until an address was registered, from the first of the lookups that gave it without interruption. A
    /// metric.
    #[serde(skip)]
    pub registration_latency_ms: Option<u64>,
}

impl Report {
    pub(crate) fn new(binding: &Binding, status: Status) -> Self {
        Self::for_group(&binding.endpoint, binding.target_group.as_str(), status)
    }

    /// A report about a group that may not be bound.
    pub(crate) fn for_group(endpoint: &str, target_group: &str, status: Status) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            target_group: target_group.to_owned(),
            status,
            addresses: None,
            registered: BTreeSet::new(),
            deregistered: BTreeSet::new(),
            waiting: Vec::new(),
            health: BTreeMap::new(),
            may_apply_late: false,
            error: None,
            elapsed_ms: 0,
            registration_latency_ms: None,
        }
    }

    /// A binding that failed before its group was listed.
    pub(crate) fn failed(binding: &Binding, error: &Error) -> Self {
        let reason = error.explain();
        log_decision!(error, binding, "fail", reason = %reason, "binding failed");
        Self { error: Some(reason), ..Self::new(binding, Status::Failed) }
    }
}

fn health_by_name<S: Serializer>(
    health: &BTreeMap<SocketAddr, TargetState>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(health.iter().map(|(target, state)| (target, state.name())))
}

fn list_addresses<S: Serializer>(addresses: &Option<Addresses>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().flat_map(Addresses::iter))
}

pub(super) fn waiting_lines(plan: Plan, mode: Mode) -> Vec<String> {
    let Plan { register, deregister, waiting } = plan;
    let waiting = waiting.iter().map(|(target, reason)| format!("{target} {reason}"));
    if mode == Mode::DryRun {
        return waiting.collect();
    }
    let register = register.iter().map(|target| format!("{target} is not listed as registered yet"));
    let deregister = deregister.iter().map(|target| format!("{target} is still listed as registered"));
    register.chain(deregister).chain(waiting).collect()
}
