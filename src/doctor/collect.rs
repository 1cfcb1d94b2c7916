//! Reads what can be read about the bindings, within the deadline, and changes nothing.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Attached, Attributes, Database, Facts, Finding, Group, Health, Listener, LoadBalancer, Read, Severity,
    findings,
};
use crate::binding::Binding;
use crate::endpoint::cluster_identifier;
use crate::error::{Error, ErrorKind};
use crate::plan::Family;
use crate::reconcile::{Clients, RdsApi, Resolution, Resolve, resolve};

/// How many bindings are examined at once. Each needs some six calls to the load balancing API, and an
/// account may make 40 at once and ten per second (ELB API throttling); a failover may need them too.
const AT_ONCE: usize = 4;

/// The target groups and load balancers of the account, looked at closely.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait InspectGroups {
    /// A target group, whatever it is.
    async fn group(&self, group: &str) -> Result<Group, Error>;
    /// A target group's attributes.
    async fn attributes(&self, group: &str) -> Result<Attributes, Error>;
    /// A target group's targets, as `address:port`, and their states.
    async fn health(&self, group: &str) -> Result<BTreeMap<String, Health>, Error>;
    /// Load balancers.
    async fn load_balancers(&self, load_balancers: &[String]) -> Result<Vec<LoadBalancer>, Error>;
    /// Whether a load balancer sends to targets in all zones.
    async fn cross_zone(&self, load_balancer: &str) -> Result<bool, Error>;
    /// A load balancer's listeners.
    async fn listeners(&self, load_balancer: &str) -> Result<Vec<Listener>, Error>;
}

/// The databases of the account.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait InspectDatabases {
    /// The cluster of this identifier, else the instance, else `None`.
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Error>;
}

/// The findings about every binding.
#[derive(Clone, Debug, Serialize)]
pub struct DoctorReport {
    /// About what all bindings share.
    pub general: Vec<Finding>,
    /// About each binding.
    pub bindings: Vec<BindingFindings>,
}

/// The findings about one binding.
#[derive(Clone, Debug, Serialize)]
pub struct BindingFindings {
    /// The binding's endpoint.
    pub endpoint: String,
    /// The binding's target group.
    pub target_group: String,
    /// What was found, check by check.
    pub findings: Vec<Finding>,
}

impl DoctorReport {
    /// Every finding.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.general.iter().chain(self.bindings.iter().flat_map(|binding| &binding.findings))
    }

    /// How many findings are of this level.
    pub fn count(&self, level: Severity) -> usize {
        self.findings().filter(|finding| finding.level == level).count()
    }
}

/// Examines the bindings side by side. What cannot be read by the deadline stays unread.
pub async fn examine<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi>(
    clients: &Clients<D, T, C>,
    bindings: &[Binding],
    deadline: Instant,
) -> Vec<BindingFindings> {
    let all_findings = bindings.iter().map(async |binding| {
        let facts = Reader { clients, binding, deadline }.facts().await;
        BindingFindings {
            endpoint: binding.endpoint.clone(),
            target_group: binding.target_group.to_string(),
            findings: findings(binding, &facts),
        }
    });
    stream::iter(all_findings).buffered(AT_ONCE).collect().await
}

struct Reader<'a, D, T, C> {
    clients: &'a Clients<D, T, C>,
    binding: &'a Binding,
    deadline: Instant,
}

impl<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi> Reader<'_, D, T, C> {
    async fn facts(&self) -> Facts {
        let arn = self.binding.target_group.as_str();
        let groups = &self.clients.groups;
        let (about_group, attributes, targets) = tokio::join!(
            self.about_group(),
            self.read("read the group's attributes", groups.attributes(arn)),
            self.read("list the group's targets", groups.health(arn)),
        );
        let (group, (resolution, identifier, database), load_balancers) = about_group;
        Facts { resolution, identifier, database, group, attributes, load_balancers, targets }
    }

    /// The group, and what must know it first: its address family decides which address is looked up.
    async fn about_group(
        &self,
    ) -> (Read<Group>, (Read<Resolution>, String, Read<Option<Database>>), Read<Vec<Attached>>) {
        let describing = self.clients.groups.group(self.binding.target_group.as_str());
        let group = self.read("describe the target group", describing).await;
        let (family, load_balancers) = match &group {
            Ok(group) if group.address_type == "ipv6" => (Family::V6, group.load_balancers.as_slice()),
            Ok(group) => (Family::V4, group.load_balancers.as_slice()),
            Err(_) => (Family::V4, [].as_slice()),
        };
        let (database, load_balancers) =
            tokio::join!(self.database(family), self.load_balancers(load_balancers));
        (group, database, load_balancers)
    }

    /// What DNS says and, by the names in its answer, the database.
    async fn database(&self, family: Family) -> (Read<Resolution>, String, Read<Option<Database>>) {
        let resolving = resolve(self.clients, self.binding, family);
        let resolution = self.read("resolve the endpoint", resolving).await;
        let identifier = match (&resolution, self.binding.databases.first()) {
            (Ok(resolution), _) => cluster_identifier(self.binding, &resolution.chain),
            (Err(_), Some(database)) => database.clone(),
            (Err(_), None) => self.binding.first_label().to_owned(),
        };
        let database = self.read("ask the RDS API", self.clients.rds.database(&identifier)).await;
        (resolution, identifier, database)
    }

    async fn load_balancers(&self, arns: &[String]) -> Read<Vec<Attached>> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let groups = &self.clients.groups;
        let load_balancers = self.read("describe the load balancers", groups.load_balancers(arns)).await?;
        let attached = load_balancers.into_iter().map(async |load_balancer| {
            let (cross_zone, listeners) = tokio::join!(
                self.read("read the load balancer's attributes", groups.cross_zone(&load_balancer.arn)),
                self.read("list the load balancer's listeners", groups.listeners(&load_balancer.arn)),
            );
            Attached { load_balancer, cross_zone, listeners }
        });
        Ok(join_all(attached).await)
    }

    async fn read<R>(&self, doing: &str, call: impl Future<Output = Result<R, Error>>) -> Read<R> {
        let result = timeout_at(self.deadline, call).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::DeadlineExceeded, format!("{doing} before the time ran out"))
                .with_fix("raise the function's time-out, or look into why the call takes so long"))
        });
        Ok(result?)
    }
}
