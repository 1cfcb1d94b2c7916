//! What the loop needs of the outside: a name server, the target groups, and the RDS API.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::endpoint::{DnsZone, RdsName};
use crate::error::Error;
use crate::plan::{Addresses, Family, Targets};
use crate::rate_limit::{Call, Permit, Priority};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub addresses: Addresses,
    /// The name asked for, then the target of every CNAME, in lower case and without the final dot.
    pub chain: Vec<String>,
}

/// What the loop needs to know of a target group. It does not change while the group exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetGroupInfo {
    pub family: Family,
    /// The port of targets that are registered without one. In an observation, the binding's port if it has one.
    pub port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Instance identifiers in lower case, and whether `IsClusterWriter` is set.
    pub members: BTreeMap<String, bool>,
    /// Whether the API reports a failover in progress.
    pub is_failing_over: bool,
    /// The account and Region in the cluster's own endpoints.
    pub zone: Option<DnsZone>,
}

impl Cluster {
    /// The member that the API names as the writer, if it is not `member`, which DNS names. `None` if `member` is not
    /// in the cluster, or if the cluster has no writer: neither contradicts DNS.
    pub fn other_writer(&self, member: &str) -> Option<&str> {
        let named_is_writer = *self.members.get(member)?;
        let writer = self.members.iter().find(|(_, is_writer)| **is_writer);
        writer.filter(|_| !named_is_writer).map(|(name, _)| name.as_str())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its own DNS name. An instance that is being created has none.
    pub endpoint: Option<String>,
    /// `DBInstanceStatus`.
    pub status: String,
    /// Whether it has a standby that takes over its name.
    pub is_multi_az: bool,
    pub cluster: Option<String>,
}

impl Instance {
    pub fn zone(&self) -> Option<DnsZone> {
        RdsName::parse(self.endpoint.as_ref()?).map(|name| name.zone)
    }
}

pub trait Resolve {
    /// Resolves a name without any cache, to all of its addresses.
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error>;
}

/// What is known of the attempts of an accepted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    /// Each was accepted or refused.
    AllKnown,
    /// One before the last failed without a clear answer. It may take effect later.
    SomeUnknown,
}

pub trait TargetGroupApi {
    /// Waits until the API's limits allow the call. Calls of higher priority come first.
    async fn permit(&self, priority: Priority, call: Call) -> Permit;
    /// What the group is. Fails if it cannot hold a database's addresses. After a success, further calls for this group
    /// do not reach the API. A call that reaches it takes a permit of its own.
    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error>;
    async fn targets(&self, permit: Permit, group: &str) -> Result<Targets, Error>;
    /// Registers targets. Targets that are registered already are no error. An error says whether the outcome is
    /// unknown.
    async fn register(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<Attempts, Error>;
    /// Deregisters targets, in one attempt: a retry needs a new observation first.
    async fn deregister(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<(), Error>;
}

pub trait RdsApi {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error>;
    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Error>;
}

pub struct Clients<D, T, C> {
    pub dns: D,
    pub groups: T,
    pub rds: C,
}
