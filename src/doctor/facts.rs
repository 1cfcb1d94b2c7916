//! What can be read about a binding, in the words of the APIs.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};
use crate::reconcile::{Cluster, Resolution};

/// A fact, or why it could not be read.
pub type Read<T> = Result<T, Unread>;

/// Why a fact could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Whether another attempt may work.
    pub kind: ErrorKind,
    /// What was tried, and why it failed.
    pub story: String,
    /// What cures it, such as the permission that is missing.
    pub fix: Option<String>,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), story: error.story(), fix: error.fix().map(str::to_owned) }
    }
}

/// Everything that could be read about a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What DNS says, from here.
    pub resolution: Read<Resolution>,
    /// The identifier by which the RDS API was asked.
    pub identifier: String,
    /// The cluster or instance, or `None` where the RDS API knows no such identifier.
    pub database: Read<Option<Database>>,
    /// The target group.
    pub group: Read<Group>,
    /// The target group's attributes.
    pub attributes: Read<Attributes>,
    /// The load balancers that the group is attached to. Empty where the group could not be read.
    pub load_balancers: Read<Vec<Attached>>,
    /// The targets, as `address:port`.
    pub targets: Read<BTreeMap<String, Health>>,
}

/// Attributes by their keys.
pub type Attributes = BTreeMap<String, String>;

/// What the RDS API calls a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// An Aurora or Multi-AZ cluster.
    Cluster,
    /// A DB instance.
    Instance,
}

/// A cluster or instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Which of both it is.
    pub kind: DatabaseKind,
    /// Its identifier.
    pub identifier: String,
    /// Its status, such as `available`.
    pub status: String,
    /// Where it listens. Absent while it is created.
    pub port: Option<u16>,
    /// A cluster's members.
    pub members: Cluster,
    /// The cluster that an instance belongs to.
    pub cluster: Option<String>,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `ip`, `instance`, `alb` or `lambda`.
    pub target_type: String,
    /// `TCP`, `TLS`, …
    pub protocol: String,
    /// The port of targets that are registered without one.
    pub port: Option<u16>,
    /// `ipv4` or `ipv6`.
    pub address_type: String,
    /// The load balancers that the group is attached to.
    pub load_balancers: Vec<String>,
    /// How targets are checked.
    pub health_check: HealthCheck,
}

/// How a group checks its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Whether it does.
    pub enabled: bool,
    /// `TCP`, `HTTP` or `HTTPS`.
    pub protocol: String,
    /// `traffic-port`, or a number.
    pub port: String,
    /// Seconds between two checks.
    pub interval: u32,
    /// Failed checks in a row that make a target unhealthy.
    pub unhealthy_threshold: u32,
}

/// A load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// `network`, `application` or `gateway`.
    pub kind: String,
    /// `internal` or `internet-facing`.
    pub scheme: String,
    /// `active`, `provisioning`, `active_impaired` or `failed`.
    pub state: String,
    /// The availability zones that it stands in.
    pub zones: Vec<String>,
    /// `ipv4` or `dualstack`.
    pub address_type: String,
    /// Its security groups; a network load balancer may have none.
    pub security_groups: Vec<String>,
    /// Whether the security groups apply to what comes through PrivateLink.
    pub enforces_on_private_link: bool,
}

/// A load balancer that a group is attached to, with what calls of their own bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The load balancer.
    pub load_balancer: LoadBalancer,
    /// Whether it sends to targets in all zones.
    pub cross_zone: Read<bool>,
    /// Where it listens.
    pub listeners: Read<Vec<Listener>>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The port that clients connect to.
    pub port: u16,
    /// `TCP`, `TLS`, …
    pub protocol: String,
    /// The target groups that it forwards to.
    pub groups: Vec<String>,
}

/// The state of a target, in the API's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `initial`, `healthy`, `unhealthy`, `unhealthy.draining`, `unused`, `draining` or `unavailable`.
    pub state: String,
    /// Such as `Target.FailedHealthChecks`.
    pub reason: Option<String>,
}

impl Health {
    /// Whether the target is on its way out.
    pub fn is_draining(&self) -> bool {
        self.state == "draining" || self.state == "unhealthy.draining"
    }
}
