//! What goes on beside the loop and never delays it: who may be the next writer, and whether there is a
//! standby to keep.
//!
//! **Anyone may nominate.** Whoever is nominated is registered early, so that the load balancer's wait
//! runs beside the failover instead of after it. The invariant kept here: a candidate is a member of the
//! bound cluster, found under its own name, and counts only within the watch that nominated it, until
//! DNS has moved and settled.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::desired::only;
use super::stability::{Cluster, Instance};
use super::{
    CANDIDATE_POLL_INTERVAL, Clients, Preregistration, RDS_TIMEOUT, RdsApi, Resolution, Resolve,
    TargetGroupApi,
};
use crate::binding::{Binding, Role};
use crate::endpoint::{NO_STANDBY_IN_A_CLUSTER, cluster_identifier, is_of_a_cluster, member};
use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, AllowedExtras, Family, StandbyPolicy};

const NO_MEMBER: &str = "the RDS API does not list it as a member of the cluster";

/// What the loop has seen, as far as it matters here.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub resolution: Resolution,
    pub family: Family,
    /// Who was in the group at the first look.
    pub first: BTreeSet<IpAddr>,
    /// Who is in it now.
    pub held: BTreeSet<IpAddr>,
}

/// Who nominates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Event,
    Rds,
}

/// Whether the standby may be kept.
#[derive(Clone)]
enum StandbyState {
    Unknown,
    Allowed,
    Refused(String),
}

pub(super) struct BackgroundTasks<'a, D, T, C> {
    clients: &'a Clients<D, T, C>,
    binding: &'a Binding,
    deadline: Instant,
    preregistration: &'a Preregistration,
    snapshot: RefCell<Option<Snapshot>>,
    /// Wakes whoever waits for the first scene, or for the judgement.
    news: Notify,
    /// Whether nominations still count.
    is_open: Cell<bool>,
    /// Whether the RDS API has objected since that was asked for last.
    vetoed: Cell<bool>,
    /// What the RDS API said of the cluster last, if it has answered: `None` where it knows no such cluster.
    last_cluster: RefCell<Option<Option<Cluster>>>,
    candidates: RefCell<BTreeMap<String, Option<IpAddr>>>,
    standby_state: RefCell<StandbyState>,
    logged: RefCell<BTreeSet<String>>,
}

impl<'a, D: Resolve, T: TargetGroupApi, C: RdsApi> BackgroundTasks<'a, D, T, C> {
    pub fn new(
        clients: &'a Clients<D, T, C>,
        binding: &'a Binding,
        preregistration: &'a Preregistration,
        deadline: Instant,
    ) -> Self {
        let standby_state = match binding.standby {
            StandbyPolicy::Deregister => StandbyState::Allowed,
            StandbyPolicy::Keep => StandbyState::Unknown,
        };
        Self {
            clients,
            binding,
            deadline,
            preregistration,
            snapshot: RefCell::new(None),
            news: Notify::new(),
            is_open: Cell::new(*preregistration != Preregistration::Off && binding.role == Role::Writer),
            vetoed: Cell::new(false),
            last_cluster: RefCell::default(),
            candidates: RefCell::default(),
            standby_state: RefCell::new(standby_state),
            logged: RefCell::default(),
        }
    }

    /// Shows what the loop sees now.
    pub fn show(&self, snapshot: impl FnOnce() -> Snapshot) {
        if self.is_open.get() || self.is_standby_unknown() {
            self.snapshot.replace(Some(snapshot()));
            self.news.notify_waiters();
        }
    }

    /// What may be in the group beside the writer, as far as it is known.
    pub fn allowed_extras(&self) -> AllowedExtras {
        let candidates = self.candidates.borrow();
        let candidates = match self.is_open.get() {
            true => candidates.values().copied().flatten().filter(|address| self.counts(address)).collect(),
            false => BTreeSet::new(),
        };
        let standby = match *self.standby_state.borrow() {
            StandbyState::Refused(_) => StandbyPolicy::Deregister,
            StandbyState::Unknown | StandbyState::Allowed => self.binding.standby,
        };
        AllowedExtras { candidates, standby }
    }

    /// Whether the RDS API named another writer than DNS, unasked by the loop, since the last time.
    pub fn take_veto(&self) -> bool {
        self.vetoed.take()
    }

    /// Hears the RDS API's answer, whoever asked: one that was vouched for while it was silent must stand it.
    pub fn record_cluster(&self, cluster: Option<&Cluster>) {
        self.last_cluster.replace(Some(cluster.cloned()));
        let Some(cluster) = cluster else { return };
        let denied: Vec<String> =
            self.accepted().filter(|name| !cluster.members.contains_key(name)).collect();
        denied.iter().for_each(|name| self.reject(name, NO_MEMBER));
    }

    /// Whether a candidate's address counts. While the RDS API knows no such cluster, nobody is registered
    /// on a nomination, and nobody is let go for it either.
    fn counts(&self, address: &IpAddr) -> bool {
        let is_held =
            || self.snapshot.borrow().as_ref().is_some_and(|snapshot| snapshot.held.contains(address));
        *self.last_cluster.borrow() != Some(None) || is_held()
    }

    /// Ends all nominations: DNS has moved and settled.
    pub fn close(&self) {
        self.is_open.set(false);
    }

    /// Forgets a candidate that cannot be registered.
    pub fn forget(&self, addresses: impl Iterator<Item = IpAddr>) {
        let addresses: BTreeSet<IpAddr> = addresses.collect();
        for address in self.candidates.borrow_mut().values_mut() {
            address.take_if(|address| addresses.contains(address));
        }
    }

    /// Whether it is still open if the standby may be kept.
    pub fn is_standby_unknown(&self) -> bool {
        matches!(*self.standby_state.borrow(), StandbyState::Unknown)
    }

    /// Waits until it is known whether the standby may be kept.
    pub async fn standby_known(&self) {
        while self.is_standby_unknown() {
            self.news.notified().await;
        }
    }

    /// Why the standby may not be kept, if so.
    pub fn standby_error(&self) -> Option<Error> {
        let StandbyState::Refused(reason) = &*self.standby_state.borrow() else { return None };
        let doing = format!("keep a standby for {}", self.binding.endpoint);
        let fix = "take \"standby\" out of the binding; the failover was followed without it";
        Some(Error::new(ErrorKind::Permanent, doing).with_source(reason.clone()).with_fix(fix))
    }

    /// Scouts for as long as it is polled.
    pub async fn run(&self) -> Infallible {
        while self.snapshot.borrow().is_none() {
            self.news.notified().await;
        }
        tokio::join!(self.check_standby(), self.poll_while_open());
        pending().await
    }

    /// Finds out whether there is a standby to keep. Where the RDS API does not answer, the operator's
    /// word stands: only an unhealthy target is ever kept, and nothing is sent to it.
    pub async fn check_standby(&self) {
        let snapshot = self.snapshot.borrow().clone();
        let Some(snapshot) = snapshot.filter(|_| self.is_standby_unknown()) else { return };
        let standby_state = match self.standby_objection(&snapshot.resolution).await {
            Ok(None) => StandbyState::Allowed,
            Ok(Some(reason)) => StandbyState::Refused(reason),
            Err(error) => {
                let reason = error.explain();
                log_decision!(warn, self.binding, "rds_unavailable", reason = %reason, "keeps the standby without the RDS API");
                StandbyState::Allowed
            }
        };
        self.standby_state.replace(standby_state);
        self.news.notify_waiters();
    }

    async fn standby_objection(&self, resolution: &Resolution) -> Result<Option<String>, Error> {
        if resolution.chain.iter().any(|name| is_of_a_cluster(name)) {
            return Ok(Some(NO_STANDBY_IN_A_CLUSTER.to_owned()));
        }
        let last = resolution.chain.last().and_then(|name| name.split('.').next());
        let identifier = self.binding.database.as_deref().or(last).unwrap_or(self.binding.first_label());
        let instance = self.ask(self.clients.rds.instance(identifier)).await?;
        Ok(match instance {
            Some(Instance { cluster: Some(_), .. }) => Some(NO_STANDBY_IN_A_CLUSTER.to_owned()),
            Some(Instance { is_multi_az: false, .. }) => Some(format!(
                "the RDS API says that the instance {identifier} is not Multi-AZ: it has no standby"
            )),
            // No instance of this account by that name may be a cluster; or it is an alias that says nothing.
            None if self.ask(self.clients.rds.cluster(identifier)).await?.is_some() => {
                Some(NO_STANDBY_IN_A_CLUSTER.to_owned())
            }
            Some(_) | None => None,
        })
    }

    /// Asks who may be the next writer, while that matters.
    async fn poll_while_open(&self) {
        while self.is_open.get() {
            let snapshot = self.snapshot.borrow().clone();
            if let Some(snapshot) = snapshot {
                self.poll_candidates(&snapshot).await;
            }
            sleep(CANDIDATE_POLL_INTERVAL).await;
        }
    }

    async fn poll_candidates(&self, snapshot: &Snapshot) {
        let member = member(&snapshot.resolution.chain);
        let named = match self.preregistration {
            Preregistration::On { event } => event.as_deref(),
            Preregistration::Off => None,
        };
        if member.is_none() && named.is_none() {
            // No cluster's endpoint, and no cluster's event.
            return;
        }
        let identifier = cluster_identifier(self.binding, &snapshot.resolution.chain);
        let named = named.filter(|name| !self.has_decided(name));
        let (cluster, instance) = tokio::join!(self.ask_cluster(&identifier), async {
            let name = named.filter(|name| Some(*name) != member)?;
            Some(self.ask(self.clients.rds.instance(name)).await)
        });
        if let Err(error) = &cluster {
            log_decision!(debug, self.binding, "rds_unavailable", reason = %error.explain(), "nominates without the RDS API");
        }
        if let Some(name) = named {
            // As long as the API is silent, the event about this very cluster vouches for its member.
            if self.is_no_member(name) {
                self.reject(name, NO_MEMBER);
            } else {
                self.resolve_candidate(snapshot, &identifier, NamedBy::Event, name, instance).await;
            }
        }
        let other = match (&cluster, member) {
            (Ok(Some(cluster)), Some(member)) => cluster.contradicts(member),
            _ => None,
        };
        if let Some(name) = other.filter(|name| !self.has_decided(name)) {
            // Whom the event names as well is the event's candidate, whoever finds it.
            let by = if named == Some(name) { NamedBy::Event } else { NamedBy::Rds };
            let instance = self.ask(self.clients.rds.instance(name)).await;
            self.resolve_candidate(snapshot, &identifier, by, name, Some(instance)).await;
        }
    }

    /// Asks who is the cluster's writer. An objection counts from its arrival on, against what DNS names
    /// by then: whatever else is asked beside it may take its time.
    async fn ask_cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error> {
        let cluster = self.ask(self.clients.rds.cluster(identifier)).await?;
        self.record_cluster(cluster.as_ref());
        let snapshot = self.snapshot.borrow();
        let member = snapshot.as_ref().and_then(|snapshot| member(&snapshot.resolution.chain));
        if let (Some(cluster), Some(member)) = (&cluster, member)
            && cluster.contradicts(member).is_some()
        {
            self.vetoed.set(true);
        }
        Ok(cluster)
    }

    /// Finds the candidate's address, under its own name.
    async fn resolve_candidate(
        &self,
        snapshot: &Snapshot,
        cluster: &str,
        by: NamedBy,
        name: &str,
        instance: Option<Result<Option<Instance>, Error>>,
    ) {
        let endpoint = match instance {
            // DNS names it already.
            None => return self.accept(name, by, snapshot, &snapshot.resolution.addresses),
            Some(Ok(Some(instance))) => {
                if !instance.cluster.is_some_and(|of| of.eq_ignore_ascii_case(cluster)) {
                    return self.reject(name, "the RDS API says that it is no member of the cluster");
                }
                instance.endpoint
            }
            Some(Ok(None)) => return self.reject(name, "the RDS API knows no such instance"),
            Some(Err(_)) => derived(&snapshot.resolution, name),
        };
        let Some(endpoint) = endpoint else { return self.refuse(name, "its endpoint is not known") };
        let resolving = self.clients.dns.resolve(&endpoint, snapshot.family);
        match timeout_at(self.deadline, resolving).await.map(|resolution| resolution.and_then(only)) {
            Ok(Ok(resolution)) => self.accept(name, by, snapshot, &resolution.addresses),
            Ok(Err(error)) => self.refuse(name, &error.explain()),
            Err(_) => {}
        }
    }

    fn accept(&self, name: &str, by: NamedBy, snapshot: &Snapshot, address: &Addresses) {
        if self.is_no_member(name) {
            // While its address was sought.
            return self.reject(name, NO_MEMBER);
        }
        let addresses: BTreeSet<IpAddr> = address.iter().collect();
        let was_first = addresses.iter().any(|address| snapshot.first.contains(address));
        if by == NamedBy::Rds && was_first {
            // The API names the writer before, late: its objection alone holds it, as before.
            return;
        }
        let reason = match by {
            NamedBy::Event => "an event names it as the member being promoted",
            NamedBy::Rds => "the RDS API calls it the writer, which DNS does not name yet",
        };
        log_decision!(info, self.binding, "preregister", member = name, address = %address, reason, "nominates");
        self.candidates.borrow_mut().insert(name.to_owned(), addresses.first().copied());
    }

    /// The candidates that count now.
    fn accepted(&self) -> impl Iterator<Item = String> {
        let candidates = self.candidates.borrow().clone();
        candidates.into_iter().filter(|(_, address)| address.is_some()).map(|(name, _)| name)
    }

    /// Whether the RDS API knows the cluster, and does not list this one as a member.
    fn is_no_member(&self, name: &str) -> bool {
        let last_cluster = self.last_cluster.borrow();
        last_cluster
            .as_ref()
            .and_then(Option::as_ref)
            .is_some_and(|cluster| !cluster.members.contains_key(name))
    }

    fn has_decided(&self, name: &str) -> bool {
        self.candidates.borrow().contains_key(name)
    }

    /// Refuses a candidate for good: once the API has denied that it is a member, no later silence of the API
    /// makes it one.
    fn reject(&self, name: &str, reason: &str) {
        self.candidates.borrow_mut().insert(name.to_owned(), None);
        self.refuse(name, reason);
    }

    fn refuse(&self, name: &str, reason: &str) {
        if self.logged.borrow_mut().insert(format!("{name} {reason}")) {
            log_decision!(info, self.binding, "preregister", member = name, reason, "does not nominate");
        }
    }

    /// Bounds a question to the RDS API, as its objections are.
    async fn ask<R>(&self, asking: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
        let end = self.deadline.min(Instant::now() + RDS_TIMEOUT);
        timeout_at(end, asking).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Transient, "ask the RDS API").with_source("no answer in time"))
        })
    }
}

/// The name that a member has beside the one that DNS names: the same but for its first label.
fn derived(resolution: &Resolution, name: &str) -> Option<String> {
    member(&resolution.chain)?;
    let (_, suffix) = resolution.chain.last()?.split_once('.')?;
    Some(format!("{name}.{suffix}"))
}
