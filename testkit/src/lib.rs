//! A fake AWS for tests, examples and benches: DNS, target groups and clusters, with faults.
//!
//! [`FakeAws`] is the model. Tests of the loop reach it in process, on tokio's paused clock
//! ([`ports`]); tests of the adapters, of the binary and the demo reach the same model over loopback
//! sockets ([`name_server`], [`api`], [`lambda`]). Every call is recorded with its time.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "it stands for everything around the function")]

pub mod account_limits;
pub mod api;
pub mod estate;
mod fault;
pub mod fleet;
pub mod lambda;
pub mod lattice;
pub mod log;
mod malformed;
pub mod name_server;
pub mod network;
pub mod ports;
pub mod simulation;
pub mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rds_nlb_sync::discovery::TagAge;
use rds_nlb_sync::endpoint::{DnsZone, RdsName};
use tokio::time::Instant;

pub use fault::Fault;
/// Its name in tests that say which side fails.
pub use fault::Fault as ApiFault;

/// The group that most tests bind.
pub const GROUP: &str =
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
/// The cluster endpoint that most tests bind.
pub const ENDPOINT: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
/// The addresses of the cluster's members, `orders-1` and `orders-2`, and of a third.
pub const ONE: &str = "10.0.1.10";
pub const TWO: &str = "10.0.2.20";
pub const THREE: &str = "10.0.3.30";

/// A call or lookup, by the name that IAM and CloudTrail use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Lookup,
    DescribeTargetGroups,
    DescribeTargetHealth,
    RegisterTargets,
    DeregisterTargets,
    DescribeDBClusters,
    // Only the doctor calls these.
    DescribeTargetGroupAttributes,
    DescribeLoadBalancers,
    DescribeLoadBalancerAttributes,
    DescribeListeners,
    DescribeListenerAttributes,
    DescribeDBInstances,
    DescribeDBParameters,
    DescribeDBClusterParameters,
    // Only discovery calls this.
    DescribeTags,
}

impl Action {
    /// The permission that the call needs, or `None` for a lookup.
    pub fn permission(self) -> Option<String> {
        match self {
            Self::Lookup => None,
            Self::DescribeDBClusters
            | Self::DescribeDBInstances
            | Self::DescribeDBParameters
            | Self::DescribeDBClusterParameters => Some(format!("rds:{self:?}")),
            _ => Some(format!("elasticloadbalancing:{self:?}")),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Record {
    Cname(String),
    Addresses(Vec<IpAddr>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub action: Action,
    pub detail: String,
    pub at: Instant,
}

/// A refusal of the API, in its own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct Target {
    pub registered: Instant,
    /// Set when it was deregistered: it is gone when this time has come.
    pub drained: Option<Instant>,
    pub all_zones: bool,
    /// Overrides the state that health checks would give it.
    pub state: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub target_type: &'static str,
    pub protocol: &'static str,
    pub address_type: &'static str,
    pub port: u16,
    pub targets: BTreeMap<SocketAddr, Target>,
    /// `deregistration_delay.timeout_seconds`.
    pub drain: Duration,
    /// From registration until a target is healthy.
    pub health: Duration,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            target_type: "ip",
            protocol: "TCP",
            address_type: "ipv4",
            port: 5432,
            targets: BTreeMap::new(),
            drain: Duration::from_secs(300),
            health: Duration::from_secs(90),
        }
    }
}

/// An instance as the RDS API shows it.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// The name of its own.
    pub endpoint: Option<String>,
    /// `DBInstanceStatus`, where it is not the usual one.
    pub status: &'static str,
    pub multi_az: bool,
    pub cluster: Option<&'static str>,
}

/// Chooses the fault of each call.
pub type Chooser = Box<dyn FnMut(Action) -> Option<Fault> + Send>;

#[derive(Default)]
pub struct State {
    pub zone: BTreeMap<String, Record>,
    /// Names that change with every lookup.
    pub flickers: BTreeMap<String, VecDeque<Record>>,
    /// A record of another name that rides along in every answer over the wire.
    pub stowaway: Option<(String, Record)>,
    pub groups: BTreeMap<String, Group>,
    /// Group → its tags.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// The greatest age of a list of tagged groups that the function in process accepted, and its priority.
    pub tag_ages: Vec<(TagAge, rds_nlb_sync::rate_limit::Priority)>,
    /// Whether the function in process knows a list of them that is young enough.
    pub tags_are_known: bool,
    /// Groups on a page.
    pub page: usize,
    /// The groups that the function in process has described.
    pub known_members: rds_nlb_sync::reconcile::KnownMembers,
    pub known: BTreeMap<String, rds_nlb_sync::reconcile::TargetGroupInfo>,
    /// How long a listing lags behind the group.
    pub lag: Duration,
    /// Cluster → members, and whether each is called the writer.
    pub clusters: BTreeMap<String, BTreeMap<String, bool>>,
    /// The status of all clusters, where it is not the usual one.
    pub failing_over: bool,
    /// Whether each registration succeeds at the second attempt only, after one of unknown outcome.
    pub first_attempt_is_unclear: bool,
    /// Whether the RDS API describes a cluster of the same name in another account.
    pub is_namesake: bool,
    pub instances: BTreeMap<String, Instance>,
    /// The account's API limits, if it has any.
    pub limits: Option<account_limits::AccountLimits>,
    /// The rate limiter of the function in process.
    pub rate_limiter: Option<Arc<rds_nlb_sync::rate_limit::ApiRateLimiter>>,
    /// The turns that the function in process has asked for.
    pub permits: Vec<(rds_nlb_sync::rate_limit::Priority, rds_nlb_sync::rate_limit::Call)>,
    /// The resources around the groups.
    pub estate: estate::Estate,
    /// The network around the load balancers.
    pub network: network::NetworkApis,
    /// Deployed functions: the answer of each, and whether it is an error.
    pub functions: BTreeMap<String, (String, bool)>,
    pub calls: Vec<Call>,
    /// Faults for the next calls, then for all.
    pub next: BTreeMap<Action, VecDeque<Fault>>,
    pub always: BTreeMap<Action, Fault>,
    /// Faults for every lookup of a name.
    pub names: BTreeMap<String, Fault>,
    pub chooser: Option<Chooser>,
    /// Sees what happens over sockets, and chooses faults.
    pub witness: Option<witness::Witness>,
    /// Calls over sockets so far.
    pub served: u64,
    /// What single name servers give instead, by their number.
    pub views: BTreeMap<usize, BTreeMap<String, Record>>,
    /// The latency of a call without a fault.
    pub latency: Duration,
    /// The latency of a lookup, if it differs.
    pub lookup_latency: Option<Duration>,
    /// The connections to the AWS APIs, as tasks that serve them.
    pub connections: Vec<tokio::task::AbortHandle>,
}

/// The model. Clones share its state.
#[derive(Clone, Default)]
pub struct FakeAws(Arc<Mutex<State>>);

impl FakeAws {
    /// The cluster `orders` with the members `orders-1`, the writer, and `orders-2`, and a group that
    /// holds the writer.
    pub fn new() -> Self {
        let aws = Self::default();
        {
            let mut state = aws.state();
            state.zone.insert("orders-1.abc123.us-east-1.rds.amazonaws.com".into(), addresses(&[ONE]));
            state.zone.insert("orders-2.abc123.us-east-1.rds.amazonaws.com".into(), addresses(&[TWO]));
            for member in ["orders-1", "orders-2"] {
                let endpoint = Some(format!("{member}.abc123.us-east-1.rds.amazonaws.com"));
                let instance = Instance { endpoint, cluster: Some("orders"), ..Instance::default() };
                state.instances.insert(member.into(), instance);
            }
            state.groups.insert(GROUP.into(), Group::default());
            let known = rds_nlb_sync::reconcile::TargetGroupInfo {
                family: rds_nlb_sync::plan::Family::V4,
                port: 5432,
            };
            state.known.insert(GROUP.into(), known);
        }
        aws.promote("orders-1");
        aws.writer_per_rds("orders-1");
        aws.holds(&[ONE]);
        aws
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// DNS names this member as the cluster's writer from now on.
    pub fn promote(&self, member: &str) {
        let name = format!("{member}.abc123.us-east-1.rds.amazonaws.com");
        let mut state = self.state();
        state.flickers.remove(ENDPOINT);
        state.zone.insert(ENDPOINT.into(), Record::Cname(name));
    }

    /// DNS gives these addresses for the endpoint from now on, without a CNAME.
    pub fn resolves_to(&self, list: &[&str]) {
        let mut state = self.state();
        state.flickers.remove(ENDPOINT);
        state.zone.insert(ENDPOINT.into(), addresses(list));
    }

    /// DNS gives one of these addresses after the other, lookup by lookup.
    pub fn flickers(&self, between: &[&str]) {
        let records = between.iter().map(|address| addresses(&[address])).collect();
        self.state().flickers.insert(ENDPOINT.into(), records);
    }

    /// The RDS API calls this member the writer from now on.
    pub fn writer_per_rds(&self, member: &str) {
        let members = ["orders-1", "orders-2"].map(|name| (name.to_owned(), name == member));
        self.state().clusters.insert("orders".into(), members.into());
    }

    /// The group holds these targets, healthy, and nothing else. `~` marks one that drains, `!` one that
    /// is unhealthy, `+` one that is not in service yet.
    pub fn holds(&self, targets: &[&str]) {
        let mut state = self.state();
        let now = Instant::now();
        let group = state.groups.get_mut(GROUP).expect("the model has the group");
        let drain = group.drain;
        let target = |text: &&str| {
            let drained = text.ends_with('~').then(|| now + drain);
            let state = match text.chars().last() {
                Some('!') => "unhealthy",
                Some('+') => "initial",
                _ => "healthy",
            };
            let text = text.trim_end_matches(['~', '!', '+']);
            let address = text.parse().unwrap_or_else(|_| SocketAddr::new(text.parse().unwrap(), group.port));
            (address, Target { registered: now, drained, all_zones: false, state: Some(state) })
        };
        group.targets = targets.iter().map(target).collect();
    }

    /// DNS names one member after the other, lookup by lookup.
    pub fn members_flicker(&self) {
        let name = |member| Record::Cname(format!("{member}.abc123.us-east-1.rds.amazonaws.com"));
        let records = ["orders-2", "orders-1"].map(name).into();
        self.state().flickers.insert(ENDPOINT.into(), records);
    }

    /// A group with these tags, and nothing in it.
    pub fn tagged(&self, name: &str, tags: &[(&str, &str)]) -> String {
        let arn = GROUP.replace("/orders/", &format!("/{name}/"));
        let mut state = self.state();
        state.groups.entry(arn.clone()).or_default();
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        state.tags.insert(arn.clone(), tags.collect());
        arn
    }

    /// Changes the group's properties.
    pub fn group(&self, change: impl FnOnce(&mut Group)) {
        change(self.state().groups.get_mut(GROUP).expect("the model has the group"));
    }

    /// The next calls of this kind meet these faults, one each.
    pub fn next(&self, action: Action, fault: &[Fault]) {
        self.state().next.entry(action).or_default().extend(fault);
    }

    /// Every call of this kind meets this fault from now on, or no fault any more.
    pub fn always(&self, action: Action, fault: Option<Fault>) {
        let mut state = self.state();
        match fault {
            Some(fault) => state.always.insert(action, fault),
            None => state.always.remove(&action),
        };
    }

    /// The group's targets in one line, such as `10.0.1.10:5432~ 10.0.2.20:5432`, `~` for draining.
    pub fn targets(&self) -> String {
        self.targets_of(GROUP)
    }

    pub fn targets_of(&self, group: &str) -> String {
        let mut state = self.state();
        state.expire();
        let targets = state.groups.get(group).map(|group| group.targets.clone()).unwrap_or_default();
        let text = |(address, target): (&SocketAddr, &Target)| match target.drained {
            Some(_) => format!("{address}~"),
            None => address.to_string(),
        };
        targets.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    pub fn calls(&self, action: Action) -> Vec<Call> {
        self.state().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    pub fn count(&self, action: Action) -> usize {
        self.calls(action).len()
    }

    /// The calls that write, in one line, such as `RegisterTargets 10.0.2.20:5432`.
    pub fn writes(&self) -> Vec<String> {
        let state = self.state();
        let writes = state
            .calls
            .iter()
            .filter(|call| matches!(call.action, Action::RegisterTargets | Action::DeregisterTargets));
        writes.map(|call| format!("{:?} {}", call.action, call.detail)).collect()
    }

    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }
}

/// Plays a case again where the machine slowed it, for the function sends a lookup again after a third of a second, and
/// asks the next name server a little earlier.
pub async fn undisturbed<T>(case: impl AsyncFn() -> T) -> T {
    undisturbed_within(Duration::from_millis(250), case).await
}

/// The same for a case that lasts longer by itself.
pub async fn undisturbed_within<T>(limit: Duration, case: impl AsyncFn() -> T) -> T {
    for _ in 0..20 {
        let started = Instant::now();
        let result = case().await;
        if started.elapsed() < limit {
            return result;
        }
    }
    panic!("twenty times, the case took {limit:?} or longer")
}

pub fn addresses(list: &[&str]) -> Record {
    Record::Addresses(list.iter().map(|text| text.parse().expect("an address")).collect())
}

/// The answer to a lookup: the chain of names, and the addresses of the last.
pub struct Found {
    pub chain: Vec<String>,
    /// `None` where the last name does not exist.
    pub addresses: Option<Vec<IpAddr>>,
}

impl State {
    /// The endpoint of the cluster that the RDS API describes.
    pub fn described_endpoint(&self) -> String {
        if self.is_namesake { ENDPOINT.replace("abc123", "xyz789") } else { ENDPOINT.to_owned() }
    }

    pub fn rds_zone(&self) -> Option<DnsZone> {
        RdsName::parse(&self.described_endpoint()).map(|name| name.zone)
    }

    /// Records a call and chooses its fault.
    pub fn begin(&mut self, action: Action, detail: impl Into<String>) -> Option<Fault> {
        let detail = detail.into();
        let of_name = self.names.iter().find(|(name, _)| detail.starts_with(*name)).map(|(_, fault)| *fault);
        if self.limits.as_mut().is_some_and(|limits| !limits.take(action)) {
            return Some(Fault::Throttled);
        }
        self.calls.push(Call { action, detail, at: Instant::now() });
        if of_name.is_some() {
            return of_name;
        }
        if let Some(fault) = self.next.get_mut(&action).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        if let Some(fault) = self.always.get(&action) {
            return Some(*fault);
        }
        self.chooser.as_mut().and_then(|choose| choose(action))
    }

    pub fn find(&mut self, name: &str, ipv6: bool) -> Found {
        self.find_at(0, name, ipv6)
    }

    /// What the name server of this number gives.
    pub fn find_at(&mut self, server: usize, name: &str, ipv6: bool) -> Found {
        let mut chain = vec![name.trim_end_matches('.').to_ascii_lowercase()];
        loop {
            let at = chain.last().expect("never empty").clone();
            let flicker = self.flickers.get_mut(&at).and_then(|records| {
                records.rotate_left(1);
                records.back().cloned()
            });
            let of_server = self.views.get(&server).and_then(|view| view.get(&at)).cloned();
            match flicker.or(of_server).or_else(|| self.zone.get(&at).cloned()) {
                Some(Record::Cname(next)) if chain.len() < 8 => chain.push(next.to_ascii_lowercase()),
                Some(Record::Cname(_)) => return Found { chain, addresses: Some(Vec::new()) },
                Some(Record::Addresses(list)) => {
                    let list = list.into_iter().filter(|address| address.is_ipv6() == ipv6).collect();
                    return Found { chain, addresses: Some(list) };
                }
                None => return Found { chain, addresses: None },
            }
        }
    }

    /// The targets that are registered and not draining.
    pub fn active(&mut self, group: &str) -> Vec<SocketAddr> {
        self.expire();
        let targets = self.groups.get(group).map(|group| &group.targets);
        let active = targets.into_iter().flatten().filter(|(_, target)| target.drained.is_none());
        active.map(|(address, _)| *address).collect()
    }

    /// Lets drained targets go.
    pub fn expire(&mut self) {
        let now = Instant::now();
        for group in self.groups.values_mut() {
            group.targets.retain(|_, target| target.drained.is_none_or(|drained| drained > now));
        }
    }

    fn existing(&mut self, group: &str) -> Result<&mut Group, ApiError> {
        self.expire();
        self.groups.get_mut(group).ok_or_else(|| ApiError {
            status: 400,
            code: "TargetGroupNotFound",
            message: format!("Target groups '{group}' not found"),
        })
    }

    pub fn described(&mut self, group: &str) -> Result<Group, ApiError> {
        self.existing(group).cloned()
    }

    /// Every target with its state and reason.
    pub fn health(&mut self, group: &str) -> Result<Vec<(SocketAddr, &'static str)>, ApiError> {
        let (now, lag) = (Instant::now(), self.lag);
        let group = self.existing(group)?;
        let health = group.health;
        let state = |target: &Target| match (target.drained, target.state) {
            (Some(_), _) => "draining",
            (None, Some(state)) => state,
            (None, None) if now < target.registered + health => "initial",
            (None, None) => "healthy",
        };
        let listed = group.targets.iter().filter(|(_, target)| now >= target.registered + lag);
        Ok(listed.map(|(address, target)| (*address, state(target))).collect())
    }

    /// Registers targets, each with the zone that was asked for.
    pub fn register(
        &mut self,
        group: &str,
        targets: &[(SocketAddr, Option<String>)],
    ) -> Result<(), ApiError> {
        let group = self.existing(group)?;
        for (target, zone) in targets {
            // The group's VPC is 10.0.0.0/16, and fd00::/16.
            let inside = match target.ip() {
                IpAddr::V4(v4) => v4.octets().starts_with(&[10, 0]),
                IpAddr::V6(v6) => v6.segments()[0] == 0xfd00,
            };
            let refuse = |message: String| Err(ApiError { status: 400, code: "ValidationError", message });
            match (inside, zone.as_deref()) {
                (true, Some("all")) => {
                    return refuse(format!(
                        "The IP address '{}' is within the VPC, and cannot have its Availability Zone overridden to 'all' from 'us-east-1b'",
                        target.ip()
                    ));
                }
                (false, None) if target.ip().to_string().starts_with("172.") => {
                    return refuse(format!(
                        "The Availability Zone is required for IP address '{}' because it is not in the VPC",
                        target.ip()
                    ));
                }
                (false, None) => {
                    return refuse(format!(
                        "You must specify a valid Availability Zone or select 'all' for all enabled Availability zones, since the IP address '{}' is outside the VPC",
                        target.ip()
                    ));
                }
                _ => {}
            }
        }
        for (target, zone) in targets {
            let fresh =
                Target { registered: Instant::now(), drained: None, all_zones: zone.is_some(), state: None };
            let known = group.targets.entry(*target).or_insert_with(|| fresh.clone());
            if known.drained.is_some() {
                *known = fresh;
            }
        }
        Ok(())
    }

    /// Deregisters targets; one that is not there is a success.
    pub fn deregister(&mut self, group: &str, targets: &[SocketAddr]) -> Result<(), ApiError> {
        let group = self.existing(group)?;
        for target in targets {
            if let Some(target) = group.targets.get_mut(target)
                && target.drained.is_none()
            {
                target.drained = Some(Instant::now() + group.drain);
            }
        }
        Ok(())
    }
}
