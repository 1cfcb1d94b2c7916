//! The network around the load balancer: the endpoint service before it, and security groups, network ACLs and routes
//! between it and the database. Beside it, the paths to the same database by VPC Lattice. Only a command line with the
//! feature `network` reads it.

mod acls;
mod database_side;
mod endpoint_service;
mod facts;
mod lattice;
mod metrics;
mod read;
mod routes;
mod security_groups;
mod shares;

pub use facts::{
    Acl, AclEntry, Connection, LatticePath, Measured, Network, Peer, Ports, Principal, Resource,
    ResourceConfiguration, ResourceGateway, Route, RouteTable, Rule, Service, ServicesAndSubnets, Share,
    Subnet, Sums,
};
pub use read::{
    InspectLattice, InspectMetrics, InspectNetwork, InspectShares, LatticeReader, read_network,
    read_services_and_subnets,
};

use super::context::CheckContext;
use super::facts::{Fact, LoadBalancerFacts};
use super::finding::{Finding, all};

/// The findings about the network around one load balancer of the binding.
pub fn network_findings(
    context: CheckContext<'_>,
    attached: &LoadBalancerFacts,
    network: &Network,
) -> Vec<Finding> {
    let load_balancer = &attached.load_balancer;
    let mut findings = all(endpoint_service::findings(context, load_balancer, network));
    findings.extend(security_groups::findings(context, attached, network));
    findings.extend(all(acls::check_acls(context, load_balancer, network)));
    findings.extend(all(routes::check_routes(context, load_balancer, network)));
    findings.extend(all(metrics::findings(network)));
    findings
}

/// The findings about the paths by VPC Lattice to the binding's database. A path that is shared with nobody gets the
/// command that shares it with the account of the context's principal.
pub fn lattice_findings(context: CheckContext<'_>, paths: &Fact<Vec<LatticePath>>) -> Vec<Finding> {
    all(lattice::findings(context, paths))
}
