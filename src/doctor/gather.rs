//! Reads what can be read about the bindings, within the deadline, and changes nothing.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Attached, Attributes, Balancer, Database, Facts, Finding, Group, Health, Level, Listener, Read, findings,
};
use crate::config::Binding;
use crate::fault::{Fault, Kind};
use crate::plan::Family;
use crate::reconcile::{Answer, Clusters, Dns, World, cluster_identifier, resolve};

/// How many bindings are examined at once. Each needs some six calls to the load balancing API, and an
/// account may make 40 at once and ten per second (ELB API throttling); a failover may need them too.
const AT_ONCE: usize = 4;

/// The target groups and load balancers of the account, looked at closely.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait InspectGroups {
    /// A target group, whatever it is.
    async fn group(&self, group: &str) -> Result<Group, Fault>;
    /// A target group's attributes.
    async fn attributes(&self, group: &str) -> Result<Attributes, Fault>;
    /// A target group's targets, as `address:port`, and their states.
    async fn health(&self, group: &str) -> Result<BTreeMap<String, Health>, Fault>;
    /// Load balancers.
    async fn balancers(&self, balancers: &[String]) -> Result<Vec<Balancer>, Fault>;
    /// Whether a load balancer sends to targets in all zones.
    async fn cross_zone(&self, balancer: &str) -> Result<bool, Fault>;
    /// A load balancer's listeners.
    async fn listeners(&self, balancer: &str) -> Result<Vec<Listener>, Fault>;
}

/// The databases of the account.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait InspectDatabases {
    /// The cluster of this identifier, else the instance, else `None`.
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Fault>;
}

/// The findings about every binding.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// About what all bindings share.
    pub general: Vec<Finding>,
    /// About each binding.
    pub bindings: Vec<Diagnosis>,
}

/// The findings about one binding.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The binding's endpoint.
    pub endpoint: String,
    /// The binding's target group.
    pub target_group: String,
    /// What was found, check by check.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Every finding.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.general.iter().chain(self.bindings.iter().flat_map(|binding| &binding.findings))
    }

    /// How many findings are of this level.
    pub fn count(&self, level: Level) -> usize {
        self.findings().filter(|finding| finding.level == level).count()
    }
}

/// Examines the bindings side by side. What cannot be read by the deadline stays unread.
pub async fn examine<D: Dns, T: InspectGroups, C: InspectDatabases + Clusters>(
    world: &World<D, T, C>,
    bindings: &[Binding],
    deadline: Instant,
) -> Vec<Diagnosis> {
    let diagnoses = bindings.iter().map(async |binding| {
        let facts = Reader { world, binding, deadline }.facts().await;
        Diagnosis {
            endpoint: binding.endpoint.clone(),
            target_group: binding.target_group.clone(),
            findings: findings(binding, &facts),
        }
    });
    stream::iter(diagnoses).buffered(AT_ONCE).collect().await
}

struct Reader<'a, D, T, C> {
    world: &'a World<D, T, C>,
    binding: &'a Binding,
    deadline: Instant,
}

impl<D: Dns, T: InspectGroups, C: InspectDatabases + Clusters> Reader<'_, D, T, C> {
    async fn facts(&self) -> Facts {
        let arn = &self.binding.target_group;
        let groups = &self.world.groups;
        let (about_group, attributes, targets) = tokio::join!(
            self.about_group(),
            self.read("read the group's attributes", groups.attributes(arn)),
            self.read("list the group's targets", groups.health(arn)),
        );
        let (group, (answer, identifier, database), balancers) = about_group;
        Facts { answer, identifier, database, group, attributes, balancers, targets }
    }

    /// The group, and what must know it first: its address family decides which address is looked up.
    async fn about_group(
        &self,
    ) -> (Read<Group>, (Read<Answer>, String, Read<Option<Database>>), Read<Vec<Attached>>) {
        let describing = self.world.groups.group(&self.binding.target_group);
        let group = self.read("describe the target group", describing).await;
        let (family, balancers) = match &group {
            Ok(group) if group.address_type == "ipv6" => (Family::V6, group.balancers.as_slice()),
            Ok(group) => (Family::V4, group.balancers.as_slice()),
            Err(_) => (Family::V4, [].as_slice()),
        };
        let (database, balancers) = tokio::join!(self.database(family), self.balancers(balancers));
        (group, database, balancers)
    }

    /// What DNS says and, by the names in its answer, the database.
    async fn database(&self, family: Family) -> (Read<Answer>, String, Read<Option<Database>>) {
        let resolving = resolve(self.world, self.binding, family);
        let answer = self.read("resolve the endpoint", resolving).await;
        let identifier = match (&answer, &self.binding.database) {
            (Ok(answer), _) => cluster_identifier(self.binding, answer),
            (Err(_), Some(database)) => database.clone(),
            (Err(_), None) => self.binding.first_label().to_owned(),
        };
        let database = self.read("ask the RDS API", self.world.clusters.database(&identifier)).await;
        (answer, identifier, database)
    }

    async fn balancers(&self, arns: &[String]) -> Read<Vec<Attached>> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let groups = &self.world.groups;
        let balancers = self.read("describe the load balancers", groups.balancers(arns)).await?;
        let attached = balancers.into_iter().map(async |balancer| {
            let (cross_zone, listeners) = tokio::join!(
                self.read("read the load balancer's attributes", groups.cross_zone(&balancer.arn)),
                self.read("list the load balancer's listeners", groups.listeners(&balancer.arn)),
            );
            Attached { balancer, cross_zone, listeners }
        });
        Ok(join_all(attached).await)
    }

    async fn read<R>(&self, doing: &str, call: impl Future<Output = Result<R, Fault>>) -> Read<R> {
        let result = timeout_at(self.deadline, call).await.unwrap_or_else(|_| {
            Err(Fault::new(Kind::OutOfTime, format!("{doing} before the time ran out"))
                .cure("raise the function's time-out, or look into why the call takes so long"))
        });
        Ok(result?)
    }
}
