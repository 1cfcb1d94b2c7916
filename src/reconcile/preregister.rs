//! Registers the next writer of a cluster before DNS names it.
//!
//! **Anyone may add.** A load balancer needs minutes to put a target into service; a candidate that is
//! registered early spends them during the failover instead of after it. The invariant kept here: a candidate
//! is a member of the bound cluster, resolved by its own name or named by the endpoint's answer, and counts only in this
//! run, until DNS has moved and is confirmed. It is never a reason to deregister anything.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::desired::single_address;
use super::ports::{Clients, Cluster, RdsApi, Resolution, Resolve};
use super::rds_query::{ask_cluster, with_rds_timeout};
use crate::binding::{Binding, Role};
use crate::endpoint::{DnsZone, cluster_identifier, member, zone};
use crate::error::Error;
use crate::plan::{Addresses, Family};

/// How often a watch asks the RDS API for a new writer that DNS does not name yet. On average an early registration
/// is late by half of this interval. A shorter interval could reach the API's limits, which are unpublished.
pub const CANDIDATE_POLL_INTERVAL: Duration = Duration::from_secs(10);

const NOT_A_MEMBER: &str = "the RDS API does not list it as a member of the cluster";

/// Whether a watch registers the member that is being promoted before DNS names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preregistration {
    #[default]
    Off,
    /// The event and the RDS API may name members of the bound cluster.
    On {
        /// The member that the event names as the one being promoted.
        promoted_instance: Option<String>,
    },
}

/// The part of the loop's last observation that the tasks beside the loop need.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub resolution: Resolution,
    pub family: Family,
    /// The addresses in the first list of the group.
    pub held_at_start: BTreeSet<IpAddr>,
    pub held_now: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Event,
    Rds,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum ClusterAnswer {
    #[default]
    NoneYet,
    NoSuchCluster,
    Known(Cluster),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidate {
    Accepted(IpAddr),
    /// The RDS API does not list it, or the group refuses it. It stays rejected even if a later question to the API
    /// gets no answer.
    Rejected,
}

/// An answer of the RDS API that names another writer than DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disagreement {
    /// The member that DNS named.
    pub dns: String,
    /// The member that the RDS API called the writer.
    pub rds: String,
    pub answered: Instant,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// The last answer that named another writer than DNS, until [`Preregister::take_disagreement`] returns it.
    disagreement: Option<Disagreement>,
    cluster: ClusterAnswer,
    candidates: BTreeMap<String, Candidate>,
    /// Rejections are logged once.
    logged: BTreeSet<String>,
}

impl State {
    /// The addresses that may be in the group beside those that DNS gives. If the API knows no such cluster, only the
    /// candidates in the group count: none is registered, and none is deregistered.
    fn addresses(&self, held: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        if self.is_closed {
            return BTreeSet::new();
        }
        let is_allowed =
            |address: &IpAddr| self.cluster != ClusterAnswer::NoSuchCluster || held.contains(address);
        self.accepted().map(|(_, address)| address).filter(is_allowed).collect()
    }

    /// Records the API's answer and rejects the candidates that it does not list. Returns their names.
    fn record_cluster(&mut self, cluster: Option<&Cluster>) -> Vec<String> {
        self.cluster = cluster.cloned().map_or(ClusterAnswer::NoSuchCluster, ClusterAnswer::Known);
        let not_listed: Vec<String> = self
            .accepted()
            .map(|(name, _)| name.to_owned())
            .filter(|name| self.is_not_listed(name))
            .collect();
        for name in &not_listed {
            self.reject(name);
        }
        not_listed
    }

    /// Whether the API knows the cluster and does not list this member.
    fn is_not_listed(&self, name: &str) -> bool {
        matches!(&self.cluster, ClusterAnswer::Known(cluster) if !cluster.members.contains_key(name))
    }

    fn is_decided(&self, name: &str) -> bool {
        self.candidates.contains_key(name)
    }

    fn accepted(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        self.candidates.iter().filter_map(|(name, candidate)| match candidate {
            Candidate::Accepted(address) => Some((name.as_str(), *address)),
            Candidate::Rejected => None,
        })
    }

    fn accept(&mut self, name: &str, address: IpAddr) {
        self.candidates.insert(name.to_owned(), Candidate::Accepted(address));
    }

    fn reject(&mut self, name: &str) {
        self.candidates.insert(name.to_owned(), Candidate::Rejected);
    }

    fn reject_addresses(&mut self, addresses: &BTreeSet<IpAddr>) {
        for candidate in self.candidates.values_mut() {
            if matches!(candidate, Candidate::Accepted(address) if addresses.contains(address)) {
                *candidate = Candidate::Rejected;
            }
        }
    }
}

/// The members of clusters that the RDS API has listed to this process, and their endpoints if they are known. An
/// event alone cannot add a member.
#[derive(Debug, Default)]
pub struct KnownMembers(RefCell<BTreeMap<(DnsZone, String), Endpoints>>);

/// By the member's identifier; `None` where its endpoint is not known.
type Endpoints = BTreeMap<String, Option<String>>;

impl KnownMembers {
    fn record(&self, zone: &DnsZone, cluster: &str, found: &Cluster) {
        let mut clusters = self.0.borrow_mut();
        let known = clusters.entry((zone.clone(), cluster.to_ascii_lowercase())).or_default();
        let endpoint = |name: &String| known.get(name).cloned().flatten();
        *known = found.members.keys().map(|name| (name.clone(), endpoint(name))).collect();
    }

    fn record_endpoint(&self, zone: &DnsZone, cluster: &str, member: &str, endpoint: &str) {
        let mut clusters = self.0.borrow_mut();
        let known = clusters.get_mut(&(zone.clone(), cluster.to_ascii_lowercase()));
        if let Some(known) = known.and_then(|members| members.get_mut(member)) {
            *known = Some(endpoint.to_owned());
        }
    }

    fn contains(&self, zone: &DnsZone, cluster: &str, member: &str) -> bool {
        let key = (zone.clone(), cluster.to_ascii_lowercase());
        self.0.borrow().get(&key).is_some_and(|members| members.contains_key(member))
    }

    fn endpoint(&self, zone: &DnsZone, cluster: &str, member: &str) -> Option<String> {
        self.0.borrow().get(&(zone.clone(), cluster.to_ascii_lowercase()))?.get(member)?.clone()
    }
}

/// Looks for candidates beside the loop, and never delays it.
pub(super) struct Preregister<'a, D, T, C> {
    clients: &'a Clients<D, T, C>,
    binding: &'a Binding,
    options: &'a Preregistration,
    known_members: &'a KnownMembers,
    deadline: Instant,
    snapshot: &'a watch::Sender<Option<Snapshot>>,
    state: RefCell<State>,
    /// A candidate was accepted.
    accepted: Notify,
}

impl<'a, D: Resolve, T, C: RdsApi> Preregister<'a, D, T, C> {
    pub fn new(
        clients: &'a Clients<D, T, C>,
        binding: &'a Binding,
        options: &'a Preregistration,
        known_members: &'a KnownMembers,
        deadline: Instant,
        snapshot: &'a watch::Sender<Option<Snapshot>>,
    ) -> Self {
        let is_closed = *options == Preregistration::Off || binding.role != Role::Writer;
        let state = RefCell::new(State { is_closed, ..State::default() });
        let accepted = Notify::new();
        Self { clients, binding, options, known_members, deadline, snapshot, state, accepted }
    }

    /// Waits until a candidate is accepted. Returns at once if one was accepted since the last call of this function.
    pub async fn wait_for_candidate(&self) {
        self.accepted.notified().await;
    }

    /// The addresses that may be in the group beside those that DNS gives.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let snapshot = self.snapshot.borrow();
        let nothing = BTreeSet::new();
        self.state.borrow().addresses(snapshot.as_ref().map_or(&nothing, |snapshot| &snapshot.held_now))
    }

    pub fn is_open(&self) -> bool {
        !self.state.borrow().is_closed
    }

    /// Ends pre-registration: DNS has moved and is confirmed.
    pub fn close(&self) {
        self.state.borrow_mut().is_closed = true;
    }

    /// The last answer of the RDS API that named another writer than DNS, if there was one since the last call of this
    /// function. Only the questions of this task count.
    pub fn take_disagreement(&self) -> Option<Disagreement> {
        self.state.borrow_mut().disagreement.take()
    }

    /// Records the RDS API's answer about the cluster. The loop also passes the answers to its own questions.
    pub fn record_cluster(&self, cluster: Option<&Cluster>) {
        let rejected = self.state.borrow_mut().record_cluster(cluster);
        rejected.iter().for_each(|name| self.log_skip(name, NOT_A_MEMBER));
    }

    /// Rejects the candidates at these addresses: the group refused them.
    pub fn reject_addresses(&self, addresses: &BTreeSet<IpAddr>) {
        self.state.borrow_mut().reject_addresses(addresses);
    }

    pub async fn run(&self) {
        let mut snapshot = self.snapshot.subscribe();
        while self.is_open() {
            // The sender lives as long as the run.
            if snapshot.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let seen = self.snapshot.borrow().clone();
            if let Some(seen) = seen {
                self.look_for_candidates(&seen).await;
            }
            sleep(CANDIDATE_POLL_INTERVAL).await;
        }
    }

    async fn look_for_candidates(&self, snapshot: &Snapshot) {
        let chain = &snapshot.resolution.chain;
        // Without a zone, nothing shows that the database is one of this account.
        let Some(zone) = zone(chain) else { return };
        let identifier = cluster_identifier(self.binding, chain);
        let promoted = match self.options {
            Preregistration::On { promoted_instance } => promoted_instance.as_deref(),
            Preregistration::Off => None,
        };
        if member(chain).is_none() && promoted.is_none() {
            // Neither the endpoint nor the event shows a cluster.
            return;
        }
        let promoted = promoted.filter(|name| !self.state.borrow().is_decided(name));
        let cluster = self.ask_and_record(&identifier, &zone).await;
        if let Err(error) = &cluster {
            log_decision!(debug, self.binding, "rds_unavailable", reason = %error.explain(), "looking for candidates without the RDS API");
        }
        if let Some(name) = promoted {
            if self.state.borrow().is_not_listed(name) {
                self.reject(name, NOT_A_MEMBER);
            } else if !self.known_members.contains(&zone, &identifier, name) {
                self.log_skip(name, "the RDS API has not listed it as a member of the cluster");
            } else if member(chain) == Some(name) {
                self.accept(name, NamedBy::Event, snapshot, &snapshot.resolution.addresses);
            } else {
                self.resolve_candidate(snapshot, &zone, &identifier, NamedBy::Event, name).await;
            }
        }
        let writer = match (&cluster, member(chain)) {
            (Ok(Some(cluster)), Some(member)) => cluster.other_writer(member),
            _ => None,
        };
        // If the event named it too, but its name did not resolve, it is tried once more, for the event.
        if let Some(name) = writer.filter(|name| !self.state.borrow().is_decided(name)) {
            let by = if promoted == Some(name) { NamedBy::Event } else { NamedBy::Rds };
            self.resolve_candidate(snapshot, &zone, &identifier, by, name).await;
        }
    }

    /// Asks for the cluster. A disagreement is recorded as soon as the answer is there, because the questions that
    /// follow may take longer. The answer is compared with the member that DNS names at that time.
    async fn ask_and_record(&self, identifier: &str, zone: &DnsZone) -> Result<Option<Cluster>, Error> {
        let cluster = ask_cluster(&self.clients.rds, self.deadline, identifier, zone).await?;
        self.record_cluster(cluster.as_ref());
        let Some(found) = &cluster else { return Ok(None) };
        self.known_members.record(zone, identifier, found);
        let snapshot = self.snapshot.borrow();
        let member = snapshot.as_ref().and_then(|snapshot| member(&snapshot.resolution.chain));
        self.state.borrow_mut().disagreement = member.and_then(|dns| {
            let (dns, rds) = (dns.to_owned(), found.other_writer(dns)?.to_owned());
            Some(Disagreement { dns, rds, answered: Instant::now() })
        });
        Ok(cluster)
    }

    /// Resolves a member of the cluster by its own name. Only the RDS API gives that name, now or in an earlier
    /// answer.
    async fn resolve_candidate(
        &self,
        snapshot: &Snapshot,
        zone: &DnsZone,
        cluster: &str,
        by: NamedBy,
        name: &str,
    ) {
        let endpoint = match with_rds_timeout(self.deadline, self.clients.rds.instance(name)).await {
            Ok(Some(instance)) => {
                if !instance.cluster.as_ref().is_some_and(|of| of.eq_ignore_ascii_case(cluster)) {
                    return self.reject(name, "the RDS API says that it is not a member of the cluster");
                }
                if instance.endpoint.is_some() && instance.zone().as_ref() != Some(zone) {
                    return self.reject(name, "its endpoint belongs to another account or Region");
                }
                if let Some(endpoint) = &instance.endpoint {
                    self.known_members.record_endpoint(zone, cluster, name, endpoint);
                }
                instance.endpoint
            }
            Ok(None) => return self.reject(name, "the RDS API knows no such instance"),
            Err(_) => self.known_members.endpoint(zone, cluster, name),
        };
        let Some(endpoint) = endpoint else { return self.log_skip(name, "its endpoint is not known") };
        let resolving = self.clients.dns.resolve(&endpoint, snapshot.family);
        match timeout_at(self.deadline, resolving).await.map(|answer| answer.and_then(single_address)) {
            Ok(Ok(resolution)) => self.accept(name, by, snapshot, &resolution.addresses),
            Ok(Err(error)) => self.log_skip(name, &error.explain()),
            Err(_) => {}
        }
    }

    fn accept(&self, name: &str, by: NamedBy, snapshot: &Snapshot, addresses: &Addresses) {
        if self.state.borrow().is_not_listed(name) {
            // The API answered while the address was being resolved.
            return self.reject(name, NOT_A_MEMBER);
        }
        if by == NamedBy::Rds && addresses.iter().any(|address| snapshot.held_at_start.contains(&address)) {
            // The API is late and still names the previous writer, which is no candidate. The API's veto keeps that
            // target in the group.
            return;
        }
        let Some(address) = addresses.iter().next() else { return };
        let reason = match by {
            NamedBy::Event => "an event names it as the member being promoted",
            NamedBy::Rds => "the RDS API calls it the writer, and DNS does not name it yet",
        };
        log_decision!(info, self.binding, "preregister", member = name, address = %address, reason, "candidate found");
        self.state.borrow_mut().accept(name, address);
        self.accepted.notify_one();
    }

    fn reject(&self, name: &str, reason: &str) {
        self.state.borrow_mut().reject(name);
        self.log_skip(name, reason);
    }

    fn log_skip(&self, name: &str, reason: &str) {
        if self.state.borrow_mut().logged.insert(format!("{name} {reason}")) {
            log_decision!(info, self.binding, "preregister", member = name, reason, "candidate skipped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn cluster(members: &[&str]) -> Cluster {
        let members = members.iter().map(|name| ((*name).to_owned(), false)).collect();
        Cluster { members, ..Cluster::default() }
    }

    fn with_candidate(name: &str, at: &str) -> State {
        let mut state = State::default();
        state.accept(name, address(at));
        state
    }

    #[test]
    fn accepted_candidate_counts_until_closed() {
        let mut state = with_candidate("orders-2", "10.0.2.20");
        assert_eq!(state.addresses(&BTreeSet::new()), [address("10.0.2.20")].into());
        state.is_closed = true;
        assert_eq!(state.addresses(&BTreeSet::new()), BTreeSet::new());
    }

    #[test]
    fn candidate_that_rds_does_not_list_is_rejected_for_good() {
        let mut state = with_candidate("orders-9", "10.0.2.20");
        assert_eq!(state.record_cluster(Some(&cluster(&["orders-1"]))), ["orders-9"]);
        assert!(state.is_decided("orders-9") && state.addresses(&BTreeSet::new()).is_empty());
        assert_eq!(state.record_cluster(None), Vec::<String>::new());
        assert!(state.addresses(&BTreeSet::new()).is_empty(), "silence does not bring it back");
    }

    #[test]
    fn without_such_a_cluster_only_candidates_in_the_group_count() {
        let mut state = with_candidate("orders-2", "10.0.2.20");
        assert_eq!(state.record_cluster(None), Vec::<String>::new());
        assert_eq!(state.addresses(&BTreeSet::new()), BTreeSet::new());
        let held = [address("10.0.2.20")].into();
        assert_eq!(state.addresses(&held), held);
    }

    #[test]
    fn refused_address_is_not_tried_again() {
        let mut state = with_candidate("orders-2", "10.0.2.20");
        state.reject_addresses(&[address("10.0.3.30")].into());
        assert_eq!(state.accepted().count(), 1);
        state.reject_addresses(&[address("10.0.2.20")].into());
        assert_eq!(state.accepted().count(), 0);
        assert!(state.is_decided("orders-2"));
    }

    #[test]
    fn members_are_known_by_zone_and_cluster() {
        let zone = |hash: &str| DnsZone { hash: hash.into(), region: "us-east-1".into() };
        let known = KnownMembers::default();
        known.record(&zone("abc123"), "Orders", &cluster(&["orders-1", "orders-2"]));
        known.record_endpoint(&zone("abc123"), "orders", "orders-2", "orders-2.abc123.rds.example");
        assert!(known.contains(&zone("abc123"), "orders", "orders-1"));
        assert_eq!(known.endpoint(&zone("abc123"), "orders", "orders-1"), None);
        let endpoint = Some("orders-2.abc123.rds.example".to_owned());
        assert_eq!(known.endpoint(&zone("abc123"), "orders", "orders-2"), endpoint);
        assert!(!known.contains(&zone("xyz789"), "orders", "orders-1"), "a namesake elsewhere");
        known.record(&zone("abc123"), "orders", &cluster(&["orders-2"]));
        assert!(!known.contains(&zone("abc123"), "orders", "orders-1"), "removed from the cluster");
        assert_eq!(known.endpoint(&zone("abc123"), "orders", "orders-2"), endpoint, "it stays known");
    }
}
