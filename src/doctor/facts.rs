//! The facts about a binding, in the words of the APIs.

use std::collections::BTreeMap;
use std::fmt;

use tokio::time::{Instant, timeout_at};

use crate::arn;
use crate::binding::Binding;
use crate::error::{Error, ErrorKind};
use crate::reconcile::{Cluster, Resolution};

/// A fact, or why it could not be read.
pub type Fact<T> = Result<T, Unread>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub kind: ErrorKind,
    /// What failed and why, in one line.
    pub reason: String,
    /// How to fix it, such as the missing permission.
    pub fix: Option<String>,
}

/// The call's result, or `Unread` at the deadline. `doing` is the action, such as "list the targets".
pub async fn read_until<R>(
    deadline: Instant,
    doing: &str,
    call: impl Future<Output = Result<R, Error>>,
) -> Fact<R> {
    let result = timeout_at(deadline, call).await.unwrap_or_else(|_| Err(Error::deadline_exceeded(doing)));
    Ok(result?)
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), reason: error.message(), fix: error.fix().map(str::to_owned) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub resolution: Fact<Resolution>,
    /// The identifier that the RDS API was asked for.
    pub identifier: String,
    /// The cluster or instance, or `None` if the RDS API has none of this identifier.
    pub database: Fact<Option<Database>>,
    /// The cluster's members, or the instance. Empty where the database could not be read.
    pub hosts: Fact<Vec<InstanceFacts>>,
    /// The parameters that differ from the engine's defaults, by parameter group. Empty if no check needs them.
    pub parameters: BTreeMap<String, Fact<Attributes>>,
    /// The parameters of the group that decides on TLS, which in Aurora is the cluster's own.
    pub tls_parameters: Option<Fact<Attributes>>,
    pub group: Fact<Group>,
    pub attributes: Fact<Attributes>,
    /// The load balancers that the group is attached to. Empty where the group could not be read.
    pub load_balancers: Fact<Vec<LoadBalancerFacts>>,
    /// If the group is attached to no load balancer: the first internal network load balancers of its VPC.
    pub load_balancers_of_vpc: Fact<Vec<LoadBalancerFacts>>,
    /// The targets, as `address:port`.
    pub targets: Fact<BTreeMap<String, Health>>,
}

impl Facts {
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref().ok()?.as_ref()
    }

    pub fn port(&self, binding: &Binding) -> Option<u16> {
        binding.port.or(self.group.as_ref().ok().and_then(|group| group.port))
    }
}

pub type Attributes = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseKind {
    /// An Aurora or Multi-AZ cluster.
    Cluster,
    Instance,
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Cluster { "cluster" } else { "instance" })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub kind: DatabaseKind,
    pub identifier: String,
    pub status: String,
    /// Such as `aurora-mysql` or `postgres`.
    pub engine: String,
    pub engine_version: Option<String>,
    pub allows_iam_login: Option<bool>,
    /// The port that it listens on. Absent while it is created.
    pub port: Option<u16>,
    /// Whether an instance has a standby.
    pub is_multi_az: bool,
    /// The cluster, as the RDS API describes it. An instance has no members, and its zone is that of its endpoint.
    pub described: Cluster,
    /// The cluster that an instance belongs to.
    pub member_of: Option<String>,
    pub security_groups: Vec<String>,
    /// A cluster's own parameter group.
    pub parameter_group: Option<String>,
    /// Whether the cluster's parameter group, or a change of it, takes effect in a member only with its next reboot.
    pub needs_reboot: bool,
    pub host: Option<InstanceFacts>,
}

impl Database {
    pub fn is_mysql(&self) -> bool {
        ["mysql", "mariadb", "aurora-mysql"].contains(&self.engine.as_str()) || self.engine == "aurora"
    }

    /// Whether its clients begin with plain text and ask for TLS inside the connection.
    pub fn begins_in_plain_text(&self) -> bool {
        self.is_mysql() || ["postgres", "aurora-postgresql"].contains(&self.engine.as_str())
    }
}

/// A DB instance: where it runs, the subnets that it may move to, and its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFacts {
    pub identifier: String,
    pub zone: Option<String>,
    pub standby_zone: Option<String>,
    pub vpc: Option<String>,
    /// The DB subnet group's subnets: id and zone.
    pub subnets: Vec<(String, String)>,
    pub security_groups: Vec<String>,
    pub parameter_group: Option<String>,
    /// Whether the parameter group, or a change of it, takes effect only with the next reboot.
    pub needs_reboot: bool,
}

impl InstanceFacts {
    /// Whether it is in this VPC, as far as is known.
    pub fn is_in_vpc(&self, vpc: Option<&str>) -> bool {
        self.vpc.as_deref().zip(vpc).is_none_or(|(own, vpc)| own == vpc)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `ip`, `instance`, `alb` or `lambda`.
    pub target_type: String,
    pub protocol: String,
    /// The port of targets that are registered without one.
    pub port: Option<u16>,
    /// `ipv4` or `ipv6`.
    pub address_type: String,
    pub vpc: Option<String>,
    /// ARNs of the load balancers that the group is attached to.
    pub load_balancers: Vec<String>,
    pub health_check: HealthCheck,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub enabled: bool,
    /// `TCP`, `HTTP` or `HTTPS`.
    pub protocol: String,
    /// `traffic-port`, or a number.
    pub port: String,
    /// Seconds between two checks.
    pub interval: Option<u32>,
    pub unhealthy_threshold: Option<u32>,
}

impl HealthCheck {
    /// Whether it checks this port of the targets, with which they are registered.
    pub fn is_of_port(&self, port: Option<u16>) -> bool {
        self.port == "traffic-port" || port.is_some_and(|port| self.port == port.to_string())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    pub arn: String,
    pub name: String,
    pub dns_name: Option<String>,
    /// `network`, `application` or `gateway`.
    pub kind: String,
    /// `internal` or `internet-facing`.
    pub scheme: String,
    /// `active`, `provisioning`, `active_impaired` or `failed`.
    pub state: String,
    pub vpc: Option<String>,
    /// Its Availability Zones by name, each with its subnet's id.
    pub zones: BTreeMap<String, String>,
    /// `ipv4` or `dualstack`.
    pub address_type: String,
    pub security_groups: Vec<String>,
    /// Whether the security groups' inbound rules apply to PrivateLink traffic.
    pub enforces_on_private_link: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerFacts {
    pub load_balancer: LoadBalancer,
    pub cross_zone: Fact<bool>,
    pub listeners: Fact<Vec<Listener>>,
    /// The attributes of the listener that clients use. `None` where there is none.
    pub listener_attributes: Option<Fact<Attributes>>,
}

impl LoadBalancerFacts {
    /// The listener that sends clients to the group: the one on this port, otherwise the first.
    pub fn serving(&self, group: &str, port: Option<u16>) -> Option<&Listener> {
        let listeners = self.listeners.as_deref().unwrap_or_default();
        let serving = || listeners.iter().filter(|listener| listener.serves(group));
        serving().find(|listener| Some(listener.port) == port).or_else(|| serving().next())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub arn: String,
    pub port: u16,
    pub protocol: String,
    /// The target groups that it forwards to, each with its weight.
    pub forwards: Vec<(String, u32)>,
}

impl Listener {
    pub fn serves(&self, group: &str) -> bool {
        self.forwards.iter().any(|(arn, weight)| arn == group && *weight > 0)
    }

    /// The percentage of connections that it sends to this group, rounded down.
    pub fn share(&self, group: &str) -> u32 {
        let weights = |is_ours: bool| -> u32 {
            let of = self.forwards.iter().filter(|(arn, _)| !is_ours || arn == group);
            of.map(|(_, weight)| *weight).sum()
        };
        (weights(true) * 100).checked_div(weights(false)).unwrap_or(0)
    }

    pub fn others(&self, group: &str) -> Vec<&str> {
        let others = self.forwards.iter().filter(|(arn, weight)| arn != group && *weight > 0);
        others.map(|(arn, _)| arn::name(arn)).collect()
    }
}

/// The state of a target, in the API's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `initial`, `healthy`, `unhealthy`, `unhealthy.draining`, `unused`, `draining` or `unavailable`.
    pub state: String,
    /// Such as `Target.FailedHealthChecks`.
    pub reason: Option<String>,
    /// The target's Availability Zone, or `all` for an address outside the VPC.
    pub zone: Option<String>,
}

impl Health {
    pub fn is_draining(&self) -> bool {
        self.state == "draining"
    }
}

/// The zone of a target outside the group's VPC, which every zone reaches (ELBv2 API,
/// `TargetDescription.AvailabilityZone`).
pub const ALL_ZONES: &str = "all";
/// The attribute's key, which groups and load balancers share. It is off by default in a network load balancer.
pub const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
/// The prefix of the parameter groups that RDS makes and that cannot be changed.
pub const DEFAULT_PARAMETER_GROUP: &str = "default.";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterGroup<'a> {
    pub kind: DatabaseKind,
    /// The cluster, or the instances.
    pub users: Vec<&'a str>,
    /// Those in which the group, or a change of it, takes effect only with the next reboot.
    pub pending: Vec<&'a str>,
}

/// The parameter groups that decide on `max_connect_errors`, by name: a Multi-AZ cluster's own, otherwise those of all
/// instances, each of which may become the writer.
pub fn parameter_groups<'a>(
    database: &'a Database,
    hosts: &'a [InstanceFacts],
) -> BTreeMap<&'a str, ParameterGroup<'a>> {
    let of_host = |host: &'a InstanceFacts| {
        (DatabaseKind::Instance, host.parameter_group.as_deref(), host.identifier.as_str(), host.needs_reboot)
    };
    let Database { kind, identifier, parameter_group, needs_reboot, .. } = database;
    let users = match kind {
        DatabaseKind::Cluster if !database.engine.starts_with("aurora") => {
            vec![(*kind, parameter_group.as_deref(), identifier.as_str(), *needs_reboot)]
        }
        _ => hosts.iter().map(of_host).collect(),
    };
    let mut groups = BTreeMap::new();
    for (kind, name, user, needs_reboot) in users {
        let Some(name) = name else { continue };
        let unused = ParameterGroup { kind, users: Vec::new(), pending: Vec::new() };
        let group = groups.entry(name).or_insert(unused);
        group.users.push(user);
        group.pending.extend(needs_reboot.then_some(user));
    }
    groups
}

/// The parameter group that decides whether clients must use TLS: a cluster's own, otherwise the instance's.
pub fn tls_parameter_group<'a>(
    database: &'a Database,
    hosts: &'a [InstanceFacts],
) -> Option<(DatabaseKind, &'a str)> {
    if database.kind == DatabaseKind::Cluster {
        return Some((DatabaseKind::Cluster, database.parameter_group.as_deref()?));
    }
    let group = hosts.iter().find_map(|host| host.parameter_group.as_deref())?;
    Some((DatabaseKind::Instance, group))
}
