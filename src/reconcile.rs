//! The bounded loop around the plan: observe, plan, apply, look again.
//!
//! One path serves a failover and a drift check; they differ only in how long they stay
//! ([`Mode`]). The invariants kept here: a deregistration acts on a lookup and a listing no older than
//! [`MAX_OBSERVATION_AGE`], made after the evidence for it was complete; and every await ends at the deadline.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::binding::Binding;
use crate::error::Error;
use crate::plan::{Addresses, Family, Targets};

mod change_log;
mod desired;
mod loop_control;
mod observe;
mod preregister;
mod run;
mod stability;
mod veto;

pub(crate) use desired::{ReaderCache, resolve};
use preregister::BackgroundTasks;
use run::Run;
pub use stability::{Cluster, Instance};

/// How old a look at DNS and at the group may be when a deregistration acts on it. Some round trips, and
/// well below the default confirmation time, within which DNS cannot have moved elsewhere and settled.
pub const MAX_OBSERVATION_AGE: Duration = Duration::from_secs(2);
/// How often a watch lists the group when nothing happens. A hundred watches at once then make three
/// of the ten Describe calls per second that an account may make (ELB API throttling: 40 burst, 10/s).
pub const RELIST_INTERVAL: Duration = Duration::from_secs(30);
/// How long a change may take to show in a listing before it is made again. Listings lag by moments;
/// longer than that, and the call has been lost or undone.
pub const LISTING_LAG: Duration = Duration::from_secs(10);
/// How long the RDS API's opinion counts before it is asked again. Its limits are unpublished, so a
/// watch that it objects to asks a dozen times a minute, not at every poll.
pub const RDS_RECHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long the RDS API may take to object: some round trips. Silence is no objection, because a
/// failover that breaks the API as well must be followed all the same.
pub const RDS_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a watch asks the RDS API for a new writer that DNS does not name yet. Half of that is what it
/// would save on average; the API's limits are unpublished.
pub const CANDIDATE_POLL_INTERVAL: Duration = Duration::from_secs(10);

/// What DNS says: the endpoint's address, and the names followed on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The address.
    pub addresses: Addresses,
    /// The endpoint's name, then every CNAME's target, lower case, without the final dot.
    pub chain: Vec<String>,
}

/// What the loop needs to know of a target group; it does not change while the group exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetGroupInfo {
    /// The family of the addresses that it holds.
    pub family: Family,
    /// The port of targets that are registered without one.
    pub port: u16,
}

/// How urgent a call to the load balancing API is: whose turn comes first where its limits are near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A writer may be missing in its group.
    Failover,
    /// The writer is in; what is left over is cleared up.
    Tidy,
    /// Nothing is known to be wrong.
    Routine,
}

/// What the load balancing API counts by itself, beside all calls together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One that reads.
    Describe,
    /// RegisterTargets and DeregisterTargets.
    Write,
}

/// A name server.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait Resolve {
    /// Looks a name up, past every cache of our own. How many addresses there may be is the role's matter.
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error>;
}

/// The target groups of the account.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait TargetGroupApi {
    /// Waits until the API's limits allow the call, the more urgent ones first.
    async fn permit(&self, _priority: Priority, _call: Call) {}
    /// What the group is, refused if it cannot hold a database's addresses.
    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error>;
    /// The group's targets and their states.
    async fn targets(&self, group: &str) -> Result<Targets, Error>;
    /// Registers targets; already registered ones are fine.
    async fn register(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error>;
    /// Deregisters targets, in one attempt: a retry needs a fresh look first.
    async fn deregister(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error>;
}

/// The clusters and instances of the account.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait RdsApi {
    /// A cluster's members, or `None` where there is no such cluster.
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error>;
    /// An instance, or `None` where there is no such instance.
    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Error>;
}

/// Everything outside.
pub struct Clients<D, T, C> {
    /// The name servers.
    pub dns: D,
    /// The target groups.
    pub groups: T,
    /// The clusters.
    pub rds: C,
}

/// How patient the loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a watch waits for a failover.
    pub watch: Duration,
    /// The pause between lookups.
    pub poll: Duration,
    /// How long DNS must give the same answer before it may deregister.
    pub confirm: Duration,
}

/// How long a reconciliation stays, and whether it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Observe, repair, return; wait only for the confirmation that a repair needs.
    Check,
    /// A failover may be under way: stay until one has been followed, or patience is over.
    Watch,
    /// Observe once and report what would be done.
    DryRun,
}

/// Whether a watch may register who is about to become the writer, before DNS names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preregistration {
    /// Nobody is nominated.
    #[default]
    Off,
    /// The event and the RDS API may nominate members of the bound cluster.
    On {
        /// The member that the event names as the one being promoted.
        event: Option<String>,
    },
}

/// How a binding stands at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The group holds the writer and nothing else; nothing was changed.
    InSync,
    /// The group holds the writer and nothing else, because it was changed.
    Updated,
    /// Something waits, and `waiting` says what for; the next check takes it up.
    Pending,
    /// A dry run would have made the changes listed.
    Planned,
    /// It could not be brought into sync; `error` says why.
    Failed,
}

/// What became of one binding.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The binding's endpoint.
    pub endpoint: String,
    /// The binding's target group.
    pub target_group: String,
    /// How it stands.
    pub status: Status,
    /// The last answer of DNS.
    pub addresses: Vec<String>,
    /// The targets registered; in a dry run, those that would be.
    pub registered: BTreeSet<SocketAddr>,
    /// The targets deregistered; in a dry run, those that would be.
    pub deregistered: BTreeSet<SocketAddr>,
    /// What waits, and for what.
    pub waiting: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// How long after its first sight the writer was registered, in milliseconds: a metric.
    #[serde(skip)]
    pub registration_latency_ms: Option<u64>,
}

impl Report {
    /// A report that tells of nothing but how the binding stands.
    pub(crate) fn new(endpoint: &str, target_group: &str, status: Status) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            target_group: target_group.to_owned(),
            status,
            addresses: Vec::new(),
            registered: BTreeSet::new(),
            deregistered: BTreeSet::new(),
            waiting: Vec::new(),
            error: None,
            elapsed_ms: 0,
            registration_latency_ms: None,
        }
    }

    /// A binding that failed before its group was looked at.
    pub(crate) fn failed(binding: &Binding, error: &Error) -> Self {
        let reason = error.explain();
        log_decision!(error, binding, "fail", reason = %reason, "the binding failed");
        Self { error: Some(reason), ..Self::new(&binding.endpoint, &binding.target_group, Status::Failed) }
    }
}

/// Brings one binding's group into sync with DNS, and says how that went. Ends before the deadline.
/// Nominations count in a watch alone. The urgency is that of the first look, or `None` where its turn was
/// waited for already; what it finds sets that of the calls after it.
pub async fn reconcile<D: Resolve, T: TargetGroupApi, C: RdsApi>(
    clients: &Clients<D, T, C>,
    binding: &Binding,
    timing: Timing,
    mode: Mode,
    preregistration: &Preregistration,
    priority: Option<Priority>,
    deadline: Instant,
) -> Report {
    let preregistration = if mode == Mode::Watch { preregistration } else { &Preregistration::Off };
    let background = BackgroundTasks::new(clients, binding, preregistration, deadline);
    let mut run = Run::new(clients, binding, &background, timing, mode, deadline);
    run.observer.begin(priority);
    let result = match mode {
        Mode::DryRun => run.dry_run().await,
        Mode::Check | Mode::Watch => tokio::select! {
            biased;
            result = run.sync() => result,
            never = background.run() => match never {},
        },
    };
    run.report(result)
}
