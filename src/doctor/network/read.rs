//! Reads the facts about the network until the deadline.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::facts::{
    Acl, Connection, LatticePath, Network, ResourceConfiguration, ResourceGateway, RouteTable, Rule, Service,
    ServicesAndSubnets, Share, Subnet, Sums,
};
use super::lattice;
use crate::doctor::context::CheckContext;
use crate::doctor::facts::{Fact, Facts, LoadBalancer, read_until};
use crate::error::Error;

pub trait InspectNetwork {
    /// The endpoint services on this load balancer, without principals and connections.
    async fn services(&self, load_balancer: &str) -> Result<Vec<Service>, Error>;
    async fn principals(&self, service: &str) -> Result<Vec<String>, Error>;
    async fn connections(&self, service: &str) -> Result<Vec<Connection>, Error>;
    async fn rules(&self, groups: &[String]) -> Result<Vec<Rule>, Error>;
    async fn subnets(&self, ids: &[String]) -> Result<Vec<Subnet>, Error>;
    async fn acls(&self, subnets: &[String]) -> Result<Vec<Acl>, Error>;
    async fn route_tables(&self, vpcs: &[String]) -> Result<Vec<RouteTable>, Error>;
}

pub trait InspectMetrics {
    async fn metrics(&self, load_balancer: &str, services: &[String]) -> Result<Sums, Error>;
}

pub trait InspectLattice {
    async fn configurations(&self, account: &str) -> Result<Vec<ResourceConfiguration>, Error>;
    async fn gateway(&self, id: &str) -> Result<ResourceGateway, Error>;
}

pub trait InspectShares {
    /// The shares that the resource of this ARN is in, or was in.
    async fn shares(&self, resource: &str) -> Result<Vec<Share>, Error>;
}

pub async fn read_network(
    api: &impl InspectNetwork,
    metrics: &impl InspectMetrics,
    facts: &Facts,
    load_balancer: &LoadBalancer,
    deadline: Instant,
) -> Network {
    let hosts = facts.hosts.as_deref().unwrap_or_default();
    let groups = distinct(load_balancer.security_groups.iter().chain(groups_of_database(facts)));
    let of_hosts = hosts.iter().flat_map(|host| host.subnets.iter().map(|(id, _)| id));
    let ids = distinct(load_balancer.zones.values().chain(of_hosts));
    let vpcs = distinct(load_balancer.vpc.iter().chain(hosts.iter().filter_map(|host| host.vpc.as_ref())));

    let arn = load_balancer.arn.as_str();
    let services_and_metrics = async {
        let services = services(api, arn, deadline).await;
        let ids: Vec<String> = services.iter().flatten().map(|service| service.id.clone()).collect();
        tokio::join!(
            with_connections(api, services, deadline),
            read_until(deadline, "read the metrics", metrics.metrics(arn, &ids)),
        )
    };
    let ((services, metrics), rules, subnets, acls, route_tables) = tokio::join!(
        services_and_metrics,
        read_some(deadline, "read the rules of the security groups", &groups, api.rules(&groups)),
        read_some(deadline, "describe the subnets", &ids, api.subnets(&ids)),
        read_some(deadline, "describe the network ACLs", &ids, api.acls(&ids)),
        read_some(deadline, "describe the route tables", &vpcs, api.route_tables(&vpcs)),
    );
    Network { services, rules, subnets: subnets.map(by_id), acls, route_tables, metrics }
}

pub async fn read_services_and_subnets(
    api: &impl InspectNetwork,
    load_balancer: &LoadBalancer,
    deadline: Instant,
) -> ServicesAndSubnets {
    let ids = distinct(load_balancer.zones.values());
    let (services, subnets) = tokio::join!(
        services(api, &load_balancer.arn, deadline),
        read_some(deadline, "describe the subnets", &ids, api.subnets(&ids)),
    );
    ServicesAndSubnets { services, subnets: subnets.map(by_id) }
}

/// The APIs that the paths by VPC Lattice are read from, until a deadline.
#[derive(Clone, Copy, Debug)]
pub struct LatticeReader<'a, L, S, N> {
    pub lattice: &'a L,
    pub shares: &'a S,
    pub network: &'a N,
    pub deadline: Instant,
}

impl<L: InspectLattice, S: InspectShares, N: InspectNetwork> LatticeReader<'_, L, S, N> {
    pub async fn configurations(&self, account: &str) -> Fact<Vec<ResourceConfiguration>> {
        let listing = self.lattice.configurations(account);
        read_until(self.deadline, "list the resource configurations", listing).await
    }

    pub async fn paths(
        &self,
        context: CheckContext<'_>,
        configurations: &[ResourceConfiguration],
    ) -> Vec<LatticePath> {
        let own = configurations.iter().filter(|one| lattice::designation(context, &one.resource).is_some());
        join_all(own.map(|configuration| self.path(context.facts, configuration))).await
    }

    async fn path(&self, facts: &Facts, configuration: &ResourceConfiguration) -> LatticePath {
        let reading = self.shares.shares(&configuration.shared_arn);
        let ((gateway, rules, subnets), shares) = tokio::join!(
            self.around_gateway(facts, configuration.gateway.as_deref()),
            read_until(self.deadline, "list the resource shares", reading),
        );
        LatticePath { configuration: configuration.clone(), gateway, rules, subnets, shares }
    }

    async fn around_gateway(
        &self,
        facts: &Facts,
        id: Option<&str>,
    ) -> (Option<Fact<ResourceGateway>>, Fact<Vec<Rule>>, Fact<BTreeMap<String, Subnet>>) {
        let nothing = |gateway| (gateway, Ok(Vec::new()), Ok(BTreeMap::new()));
        let Some(id) = id else { return nothing(None) };
        let (deadline, api) = (self.deadline, self.network);
        let gateway = read_until(deadline, "describe the resource gateway", self.lattice.gateway(id)).await;
        let Ok(found) = &gateway else { return nothing(Some(gateway)) };
        let groups = distinct(found.security_groups.iter().chain(groups_of_database(facts)));
        let ids = distinct(found.subnets.iter());
        let (rules, subnets) = tokio::join!(
            read_some(deadline, "read the rules of the security groups", &groups, api.rules(&groups)),
            read_some(deadline, "describe the subnets", &ids, api.subnets(&ids)),
        );
        (Some(gateway), rules, subnets.map(by_id))
    }
}

fn groups_of_database(facts: &Facts) -> impl Iterator<Item = &String> {
    let hosts = facts.hosts.as_deref().unwrap_or_default();
    let of_database = facts.database().into_iter().flat_map(|database| &database.security_groups);
    hosts.iter().flat_map(|host| &host.security_groups).chain(of_database)
}

fn by_id(subnets: Vec<Subnet>) -> BTreeMap<String, Subnet> {
    subnets.into_iter().map(|subnet| (subnet.id.clone(), subnet)).collect()
}

/// The services with their principals.
async fn services(api: &impl InspectNetwork, load_balancer: &str, deadline: Instant) -> Fact<Vec<Service>> {
    let listed = read_until(deadline, "list the endpoint services", api.services(load_balancer)).await?;
    let with_principals = listed.into_iter().map(async |service| {
        let principals = api.principals(&service.id);
        let principals = read_until(deadline, "list the allowed principals", principals).await;
        Service { principals: Some(principals), ..service }
    });
    Ok(join_all(with_principals).await)
}

async fn with_connections(
    api: &impl InspectNetwork,
    services: Fact<Vec<Service>>,
    deadline: Instant,
) -> Fact<Vec<Service>> {
    let with_connections = services?.into_iter().map(async |service| {
        let connections = api.connections(&service.id);
        let connections = read_until(deadline, "list the endpoint connections", connections).await;
        Service { connections: Some(connections), ..service }
    });
    Ok(join_all(with_connections).await)
}

fn distinct<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    ids.filter(|id| !id.is_empty()).collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// Makes no call for no ids: without a filter the API would list everything.
async fn read_some<R: Default>(
    deadline: Instant,
    doing: &str,
    ids: &[String],
    call: impl Future<Output = Result<R, Error>>,
) -> Fact<R> {
    if ids.is_empty() { Ok(R::default()) } else { read_until(deadline, doing, call).await }
}
