//! Reads the facts about the bindings until the deadline. It makes only calls that change nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream;
use tokio::time::Instant;

use super::checks::{InspectPath, findings_with};
use super::context::CheckContext;
use super::facts::{
    Attributes, DEFAULT_PARAMETER_GROUP, Database, DatabaseKind, Fact, Facts, Group, Health, InstanceFacts,
    Listener, LoadBalancer, LoadBalancerFacts, parameter_groups, read_until, tls_parameter_group,
};
use super::report::BindingFindings;
use crate::binding::Binding;
use crate::endpoint::{RdsKind, database_identifier, zone};
use crate::error::Error;
use crate::plan::Family;
use crate::reconcile::{Clients, RdsApi, Resolution, Resolve, resolve};

/// How many bindings are examined at once. Each takes some seven calls of the ELB API, which allows an account
/// a burst of 40 calls and ten per second (ELB API throttling). A failover needs some of them at the same time.
const CONCURRENT_BINDINGS: usize = 4;

pub trait InspectGroups {
    /// A target group, of any type and protocol.
    async fn group(&self, group: &str) -> Result<Group, Error>;
    async fn attributes(&self, group: &str) -> Result<Attributes, Error>;
    /// A target group's targets, as `address:port`, and their states.
    async fn health(&self, group: &str) -> Result<BTreeMap<String, Health>, Error>;
    /// The load balancers of these ARNs, or all of the account where there are none.
    async fn load_balancers(&self, load_balancers: &[String]) -> Result<Vec<LoadBalancer>, Error>;
    /// Whether a load balancer sends to the targets in all zones.
    async fn cross_zone(&self, load_balancer: &str) -> Result<bool, Error>;
    async fn listeners(&self, load_balancer: &str) -> Result<Vec<Listener>, Error>;
    async fn listener_attributes(&self, listener: &str) -> Result<Attributes, Error>;
}

pub trait InspectDatabases {
    /// The cluster of this identifier, else the instance, else `None`.
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Error>;
    /// The zone, subnets and groups of the instance with this identifier.
    async fn host(&self, identifier: &str) -> Result<Option<InstanceFacts>, Error>;
    /// The parameters of a parameter group that differ from the engine's defaults.
    async fn parameters(&self, kind: DatabaseKind, group: &str) -> Result<Attributes, Error>;
}

/// How many load balancers of the VPC are read for a group that no load balancer forwards to. Each takes two calls.
const MAX_OF_VPC: usize = 5;

/// Examines the bindings, several at a time. A fact that is not read by the deadline is `Unread`.
pub async fn examine<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi>(
    clients: &Clients<D, T, C>,
    path: &impl InspectPath,
    bindings: &[Binding],
    deadline: Instant,
) -> Vec<BindingFindings> {
    let all_findings = bindings.iter().map(async |binding| {
        let facts = read_facts(clients, binding, deadline).await;
        let context = CheckContext::new(binding, &facts);
        let on_path = path.inspect_path(context, deadline).await;
        let findings = findings_with(context, on_path);
        BindingFindings::new(&binding.endpoint, binding.target_group.as_str(), findings)
    });
    stream::iter(all_findings).buffered(CONCURRENT_BINDINGS).collect().await
}

pub async fn read_facts<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi>(
    clients: &Clients<D, T, C>,
    binding: &Binding,
    deadline: Instant,
) -> Facts {
    Reader { clients, binding, deadline }.facts().await
}

struct Reader<'a, D, T, C> {
    clients: &'a Clients<D, T, C>,
    binding: &'a Binding,
    deadline: Instant,
}

struct DatabaseSide {
    resolution: Fact<Resolution>,
    identifier: String,
    database: Fact<Option<Database>>,
    hosts: Fact<Vec<InstanceFacts>>,
    parameters: BTreeMap<String, Fact<Attributes>>,
    tls_parameters: Option<Fact<Attributes>>,
}

/// The load balancers that the group is attached to, and those that it could be attached to.
type LoadBalancers = (Fact<Vec<LoadBalancerFacts>>, Fact<Vec<LoadBalancerFacts>>);

impl<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi> Reader<'_, D, T, C> {
    async fn facts(&self) -> Facts {
        let arn = self.binding.target_group.as_str();
        let groups = &self.clients.groups;
        let ((group, database_side, of_group), attributes, targets) = tokio::join!(
            self.about_group(),
            self.read("read the group's attributes", groups.attributes(arn)),
            self.read("list the group's targets", groups.health(arn)),
        );
        let (load_balancers, load_balancers_of_vpc) = of_group;
        Facts {
            resolution: database_side.resolution,
            identifier: database_side.identifier,
            database: database_side.database,
            hosts: database_side.hosts,
            parameters: database_side.parameters,
            tls_parameters: database_side.tls_parameters,
            group,
            attributes,
            load_balancers,
            load_balancers_of_vpc,
            targets,
        }
    }

    /// The group, then the facts that depend on it: its address family decides which records are looked up.
    async fn about_group(&self) -> (Fact<Group>, DatabaseSide, LoadBalancers) {
        let describing = self.clients.groups.group(self.binding.target_group.as_str());
        let group = self.read("describe the target group", describing).await;
        let family = match &group {
            Ok(group) if group.address_type == "ipv6" => Family::V6,
            _ => Family::V4,
        };
        let (database_side, load_balancers) =
            tokio::join!(self.database_side(family), self.load_balancers(group.as_ref().ok()));
        (group, database_side, load_balancers)
    }

    /// The endpoint's addresses and, by the names in the answer, the database.
    async fn database_side(&self, family: Family) -> DatabaseSide {
        let resolving = resolve(self.clients, self.binding, family);
        let resolution = self.read("resolve the endpoint", resolving).await;
        let identifier = match (&resolution, self.binding.databases.first()) {
            (Ok(resolution), _) => database_identifier(self.binding, &resolution.chain),
            (Err(_), Some(database)) => database.clone(),
            (Err(_), None) => self.binding.first_label().to_owned(),
        };
        let chain = resolution.as_ref().map(|resolution| resolution.chain.as_slice());
        let chain = chain.unwrap_or(std::slice::from_ref(&self.binding.endpoint));
        let is_proxy = |name: &String| RdsKind::parse(name) == Some(RdsKind::Proxy);
        // A database of the proxy's name, or the binding's `database`, has another address than the proxy.
        let database = match [&self.binding.endpoint].into_iter().chain(chain).any(is_proxy) {
            true => Ok(None),
            false => self.read("ask the RDS API", self.clients.rds.database(&identifier)).await,
        };
        // A database of the same name in another account or Region is another database.
        let named = zone(chain);
        let is_it = |database: &Database| match (&named, &database.described.zone) {
            (Some(named), Some(described)) => named == described,
            _ => true,
        };
        let database = database.map(|database| database.filter(is_it));
        let found = database.as_ref().ok().and_then(Option::as_ref);
        let hosts = match found {
            Some(database) => self.read("describe the cluster's instances", self.hosts(database)).await,
            None => Ok(Vec::new()),
        };
        let hosts_or_none = hosts.as_deref().unwrap_or_default();
        let groups = found.filter(|database| database.is_mysql());
        let groups = groups.map(|database| parameter_groups(database, hosts_or_none)).unwrap_or_default();
        let tls_group = found.filter(|database| database.begins_in_plain_text());
        let tls_group = tls_group.and_then(|database| tls_parameter_group(database, hosts_or_none));
        let of_groups = groups.iter().map(|(name, group)| (group.kind, *name));
        // The group that decides on TLS may be among the others.
        let distinct: BTreeSet<_> = of_groups.clone().chain(tls_group).collect();
        let reading = distinct.into_iter().map(async |of| (of, self.parameters(of.0, of.1).await));
        let read: BTreeMap<_, _> = join_all(reading).await.into_iter().collect();
        let parameters = of_groups.filter_map(|of| Some((of.1.to_owned(), read.get(&of)?.clone()))).collect();
        let tls_parameters = tls_group.and_then(|of| read.get(&of).cloned());
        DatabaseSide { resolution, identifier, database, hosts, parameters, tls_parameters }
    }

    async fn hosts(&self, database: &Database) -> Result<Vec<InstanceFacts>, Error> {
        if database.kind == DatabaseKind::Instance {
            return Ok(database.host.iter().cloned().collect());
        }
        let members = database.described.members.keys();
        let hosts = try_join_all(members.map(|member| self.clients.rds.host(member))).await?;
        Ok(hosts.into_iter().flatten().collect())
    }

    async fn parameters(&self, kind: DatabaseKind, group: &str) -> Fact<Attributes> {
        if group.starts_with(DEFAULT_PARAMETER_GROUP) {
            return Ok(Attributes::new());
        }
        self.read("read the database's parameters", self.clients.rds.parameters(kind, group)).await
    }

    async fn load_balancers(&self, group: Option<&Group>) -> LoadBalancers {
        let none = || Ok(Vec::new());
        let Some(Group { load_balancers: arns, vpc, port, .. }) = group else { return (none(), none()) };
        // All of the account where the group has none.
        let describing = self.clients.groups.load_balancers(arns);
        let found = match self.read("describe the load balancers", describing).await {
            Ok(mut found) if arns.is_empty() => {
                // A listener of an internet-facing one would make the database public.
                found.retain(|one| one.kind == "network" && one.scheme == "internal" && one.vpc == *vpc);
                found.truncate(MAX_OF_VPC);
                Ok(self.load_balancer_facts(found, None).await)
            }
            Ok(found) => Ok(self.load_balancer_facts(found, *port).await),
            Err(unread) => Err(unread),
        };
        if arns.is_empty() { (none(), found) } else { (found, none()) }
    }

    /// The load balancers with what further calls say of them. `port` is the group's.
    async fn load_balancer_facts(
        &self,
        load_balancers: Vec<LoadBalancer>,
        port: Option<u16>,
    ) -> Vec<LoadBalancerFacts> {
        let port = self.binding.port.or(port);
        let groups = &self.clients.groups;
        let all = load_balancers.into_iter().map(async |load_balancer| {
            let (cross_zone, listeners) = tokio::join!(
                self.read("read the load balancer's attributes", groups.cross_zone(&load_balancer.arn)),
                self.read("list the load balancer's listeners", groups.listeners(&load_balancer.arn)),
            );
            let mut facts =
                LoadBalancerFacts { load_balancer, cross_zone, listeners, listener_attributes: None };
            if let Some(listener) = facts.serving(self.binding.target_group.as_str(), port) {
                let reading = groups.listener_attributes(&listener.arn);
                facts.listener_attributes = Some(self.read("read the listener's attributes", reading).await);
            }
            facts
        });
        join_all(all).await
    }

    async fn read<R>(&self, doing: &str, call: impl Future<Output = Result<R, Error>>) -> Fact<R> {
        read_until(self.deadline, doing, call).await
    }
}
