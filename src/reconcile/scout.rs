//! What goes on beside the loop and never delays it: who may be the next writer, and whether there is a
//! standby to keep.
//!
//! **Anyone may nominate.** Whoever is nominated is registered early, so that the load balancer's wait
//! runs beside the failover instead of after it. The invariant kept here: a nominee is a member of the
//! bound cluster, found under its own name, and counts only within the watch that nominated it, until
//! DNS has moved and settled.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::evidence::{self, Cluster, Instance};
use super::roles::only;
use super::{Answer, Clusters, Dns, Nominations, OBJECTION, SCOUT, TargetGroups, World};
use crate::config::{Binding, KEPT_OF_A_CLUSTER, Role, is_of_a_cluster};
use crate::fault::{Fault, Kind};
use crate::plan::{Beside, Family, Standby, Writer};

const NO_MEMBER: &str = "the RDS API does not list it as a member of the cluster";

/// What the loop has seen, as far as it matters here.
#[derive(Clone)]
pub(super) struct Scene {
    pub answer: Answer,
    pub family: Family,
    /// Who was in the group at the first look.
    pub first: BTreeSet<IpAddr>,
    /// Who is in it now.
    pub held: BTreeSet<IpAddr>,
}

/// Who nominates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Event,
    Rds,
}

/// Whether the standby may be kept.
#[derive(Clone)]
enum Judgement {
    Asking,
    Allowed,
    Refused(String),
}

pub(super) struct Scout<'a, D, T, C> {
    world: &'a World<D, T, C>,
    binding: &'a Binding,
    deadline: Instant,
    nominations: &'a Nominations,
    scene: RefCell<Option<Scene>>,
    /// Wakes whoever waits for the first scene, or for the judgement.
    news: Notify,
    /// Whether nominations still count.
    is_open: Cell<bool>,
    /// Whether the RDS API has objected since that was asked for last.
    objected: Cell<bool>,
    /// What the RDS API said of the cluster last, if it has answered: `None` where it knows no such cluster.
    heard: RefCell<Option<Option<Cluster>>>,
    nominees: RefCell<BTreeMap<String, Option<IpAddr>>>,
    judgement: RefCell<Judgement>,
    told: RefCell<BTreeSet<String>>,
}

impl<'a, D: Dns, T: TargetGroups, C: Clusters> Scout<'a, D, T, C> {
    pub fn new(
        world: &'a World<D, T, C>,
        binding: &'a Binding,
        nominations: &'a Nominations,
        deadline: Instant,
    ) -> Self {
        let judgement = match binding.standby {
            Standby::Evict => Judgement::Allowed,
            Standby::Keep => Judgement::Asking,
        };
        Self {
            world,
            binding,
            deadline,
            nominations,
            scene: RefCell::new(None),
            news: Notify::new(),
            is_open: Cell::new(*nominations != Nominations::Closed && binding.role == Role::Writer),
            objected: Cell::new(false),
            heard: RefCell::default(),
            nominees: RefCell::default(),
            judgement: RefCell::new(judgement),
            told: RefCell::default(),
        }
    }

    /// Shows what the loop sees now.
    pub fn show(&self, scene: impl FnOnce() -> Scene) {
        if self.is_open.get() || self.is_judging() {
            self.scene.replace(Some(scene()));
            self.news.notify_waiters();
        }
    }

    /// What may be in the group beside the writer, as far as it is known.
    pub fn beside(&self) -> Beside {
        let nominees = self.nominees.borrow();
        let nominated = match self.is_open.get() {
            true => nominees.values().copied().flatten().filter(|address| self.counts(address)).collect(),
            false => BTreeSet::new(),
        };
        let standby = match *self.judgement.borrow() {
            Judgement::Refused(_) => Standby::Evict,
            Judgement::Asking | Judgement::Allowed => self.binding.standby,
        };
        Beside { nominated, standby }
    }

    /// Whether the RDS API named another writer than DNS, unasked by the loop, since the last time.
    pub fn take_objection(&self) -> bool {
        self.objected.take()
    }

    /// Hears the RDS API's answer, whoever asked: one that was vouched for while it was silent must stand it.
    pub fn hear(&self, cluster: Option<&Cluster>) {
        self.heard.replace(Some(cluster.cloned()));
        let Some(cluster) = cluster else { return };
        let denied: Vec<String> =
            self.standing().filter(|name| !cluster.members.contains_key(name)).collect();
        denied.iter().for_each(|name| self.reject(name, NO_MEMBER));
    }

    /// Whether a nominee's address counts. While the RDS API knows no such cluster, nobody is registered
    /// on a nomination, and nobody is let go for it either.
    fn counts(&self, address: &IpAddr) -> bool {
        let is_held = || self.scene.borrow().as_ref().is_some_and(|scene| scene.held.contains(address));
        *self.heard.borrow() != Some(None) || is_held()
    }

    /// Ends all nominations: DNS has moved and settled.
    pub fn close(&self) {
        self.is_open.set(false);
    }

    /// Forgets a nominee that cannot be registered.
    pub fn forget(&self, addresses: impl Iterator<Item = IpAddr>) {
        let addresses: BTreeSet<IpAddr> = addresses.collect();
        for found in self.nominees.borrow_mut().values_mut() {
            found.take_if(|address| addresses.contains(address));
        }
    }

    /// Whether it is still open if the standby may be kept.
    pub fn is_judging(&self) -> bool {
        matches!(*self.judgement.borrow(), Judgement::Asking)
    }

    /// Waits until it is known whether the standby may be kept.
    pub async fn judged(&self) {
        while self.is_judging() {
            self.news.notified().await;
        }
    }

    /// Why the standby may not be kept, if so.
    pub fn refusal(&self) -> Option<Fault> {
        let Judgement::Refused(reason) = &*self.judgement.borrow() else { return None };
        let doing = format!("keep a standby for {}", self.binding.endpoint);
        let cure = "take \"standby\" out of the binding; the failover was followed without it";
        Some(Fault::new(Kind::Permanent, doing).because(reason.clone()).cure(cure))
    }

    /// Scouts for as long as it is polled.
    pub async fn roam(&self) -> Infallible {
        while self.scene.borrow().is_none() {
            self.news.notified().await;
        }
        tokio::join!(self.judge(), self.nominate());
        pending().await
    }

    /// Finds out whether there is a standby to keep. Where the RDS API does not answer, the operator's
    /// word stands: only an unhealthy target is ever kept, and nothing is sent to it.
    pub async fn judge(&self) {
        let scene = self.scene.borrow().clone();
        let Some(scene) = scene.filter(|_| self.is_judging()) else { return };
        let judgement = match self.why_not(&scene.answer).await {
            Ok(None) => Judgement::Allowed,
            Ok(Some(reason)) => Judgement::Refused(reason),
            Err(fault) => {
                let reason = fault.explain();
                say!(warn, self.binding, "no_veto", reason = %reason, "keeps the standby without the RDS API");
                Judgement::Allowed
            }
        };
        self.judgement.replace(judgement);
        self.news.notify_waiters();
    }

    async fn why_not(&self, answer: &Answer) -> Result<Option<String>, Fault> {
        if answer.chain.iter().any(|name| is_of_a_cluster(name)) {
            return Ok(Some(KEPT_OF_A_CLUSTER.to_owned()));
        }
        let last = answer.chain.last().and_then(|name| name.split('.').next());
        let identifier = self.binding.database.as_deref().or(last).unwrap_or(self.binding.first_label());
        let instance = self.ask(self.world.clusters.instance(identifier)).await?;
        Ok(match instance {
            Some(Instance { cluster: Some(_), .. }) => Some(KEPT_OF_A_CLUSTER.to_owned()),
            Some(Instance { is_multi_az: false, .. }) => Some(format!(
                "the RDS API says that the instance {identifier} is not Multi-AZ: it has no standby"
            )),
            // No instance of this account by that name may be a cluster; or it is an alias that says nothing.
            None if self.ask(self.world.clusters.cluster(identifier)).await?.is_some() => {
                Some(KEPT_OF_A_CLUSTER.to_owned())
            }
            Some(_) | None => None,
        })
    }

    /// Asks who may be the next writer, while that matters.
    async fn nominate(&self) {
        while self.is_open.get() {
            let scene = self.scene.borrow().clone();
            if let Some(scene) = scene {
                self.look_around(&scene).await;
            }
            sleep(SCOUT).await;
        }
    }

    async fn look_around(&self, scene: &Scene) {
        let member = evidence::member(&scene.answer);
        let named = match self.nominations {
            Nominations::Open { event } => event.as_deref(),
            Nominations::Closed => None,
        };
        if member.is_none() && named.is_none() {
            // No cluster's endpoint, and no cluster's event.
            return;
        }
        let identifier = evidence::cluster_identifier(self.binding, &scene.answer);
        let named = named.filter(|name| !self.has_found(name));
        let (cluster, instance) = tokio::join!(self.ask_cluster(&identifier), async {
            let name = named.filter(|name| Some(*name) != member)?;
            Some(self.ask(self.world.clusters.instance(name)).await)
        });
        if let Err(fault) = &cluster {
            say!(debug, self.binding, "no_scout", reason = %fault.explain(), "nominates without the RDS API");
        }
        if let Some(name) = named {
            // As long as the API is silent, the event about this very cluster vouches for its member.
            if self.is_denied(name) {
                self.reject(name, NO_MEMBER);
            } else {
                self.find(scene, &identifier, By::Event, name, instance).await;
            }
        }
        let other = match (&cluster, member) {
            (Ok(Some(cluster)), Some(member)) => cluster.contradicts(member),
            _ => None,
        };
        if let Some(name) = other.filter(|name| !self.has_found(name)) {
            // Whom the event names as well is the event's nominee, whoever finds it.
            let by = if named == Some(name) { By::Event } else { By::Rds };
            let instance = self.ask(self.world.clusters.instance(name)).await;
            self.find(scene, &identifier, by, name, Some(instance)).await;
        }
    }

    /// Asks who is the cluster's writer. An objection counts from its arrival on, against what DNS names
    /// by then: whatever else is asked beside it may take its time.
    async fn ask_cluster(&self, identifier: &str) -> Result<Option<Cluster>, Fault> {
        let cluster = self.ask(self.world.clusters.cluster(identifier)).await?;
        self.hear(cluster.as_ref());
        let scene = self.scene.borrow();
        let member = scene.as_ref().and_then(|scene| evidence::member(&scene.answer));
        if let (Some(cluster), Some(member)) = (&cluster, member)
            && cluster.contradicts(member).is_some()
        {
            self.objected.set(true);
        }
        Ok(cluster)
    }

    /// Finds the nominee's address, under its own name.
    async fn find(
        &self,
        scene: &Scene,
        cluster: &str,
        by: By,
        name: &str,
        instance: Option<Result<Option<Instance>, Fault>>,
    ) {
        let endpoint = match instance {
            // DNS names it already.
            None => return self.found(name, by, scene, &scene.answer.writer),
            Some(Ok(Some(instance))) => {
                if !instance.cluster.is_some_and(|of| of.eq_ignore_ascii_case(cluster)) {
                    return self.reject(name, "the RDS API says that it is no member of the cluster");
                }
                instance.endpoint
            }
            Some(Ok(None)) => return self.reject(name, "the RDS API knows no such instance"),
            Some(Err(_)) => derived(&scene.answer, name),
        };
        let Some(endpoint) = endpoint else { return self.refuse(name, "its endpoint is not known") };
        let resolving = self.world.dns.resolve(&endpoint, scene.family);
        match timeout_at(self.deadline, resolving).await.map(|answer| answer.and_then(only)) {
            Ok(Ok(answer)) => self.found(name, by, scene, &answer.writer),
            Ok(Err(fault)) => self.refuse(name, &fault.explain()),
            Err(_) => {}
        }
    }

    fn found(&self, name: &str, by: By, scene: &Scene, address: &Writer) {
        if self.is_denied(name) {
            // While its address was sought.
            return self.reject(name, NO_MEMBER);
        }
        let addresses: BTreeSet<IpAddr> = address.addresses().collect();
        let was_first = addresses.iter().any(|address| scene.first.contains(address));
        if by == By::Rds && was_first {
            // The API names the writer before, late: its objection alone holds it, as before.
            return;
        }
        let reason = match by {
            By::Event => "an event names it as the member being promoted",
            By::Rds => "the RDS API calls it the writer, which DNS does not name yet",
        };
        say!(info, self.binding, "nominate", member = name, address = %address, reason, "nominates");
        self.nominees.borrow_mut().insert(name.to_owned(), addresses.first().copied());
    }

    /// The nominees that count now.
    fn standing(&self) -> impl Iterator<Item = String> {
        let nominees = self.nominees.borrow().clone();
        nominees.into_iter().filter(|(_, address)| address.is_some()).map(|(name, _)| name)
    }

    /// Whether the RDS API knows the cluster, and does not list this one as a member.
    fn is_denied(&self, name: &str) -> bool {
        let heard = self.heard.borrow();
        heard.as_ref().and_then(Option::as_ref).is_some_and(|cluster| !cluster.members.contains_key(name))
    }

    fn has_found(&self, name: &str) -> bool {
        self.nominees.borrow().contains_key(name)
    }

    /// Refuses a nominee for good: once the API has denied that it is a member, no later silence of the API
    /// makes it one.
    fn reject(&self, name: &str, reason: &str) {
        self.nominees.borrow_mut().insert(name.to_owned(), None);
        self.refuse(name, reason);
    }

    fn refuse(&self, name: &str, reason: &str) {
        if self.told.borrow_mut().insert(format!("{name} {reason}")) {
            say!(info, self.binding, "nominate", member = name, reason, "does not nominate");
        }
    }

    /// Bounds a question to the RDS API, as its objections are.
    async fn ask<R>(&self, asking: impl Future<Output = Result<R, Fault>>) -> Result<R, Fault> {
        let end = self.deadline.min(Instant::now() + OBJECTION);
        timeout_at(end, asking).await.unwrap_or_else(|_| {
            Err(Fault::new(Kind::Transient, "ask the RDS API").because("no answer in time"))
        })
    }
}

/// The name that a member has beside the one that DNS names: the same but for its first label.
fn derived(answer: &Answer, name: &str) -> Option<String> {
    evidence::member(answer)?;
    let (_, suffix) = answer.chain.last()?.split_once('.')?;
    Some(format!("{name}.{suffix}"))
}
