//! The network around the load balancer: the endpoint service before it, and security groups, network ACLs and routes
//! between it and the database. Only a command line with the feature `network` reads it.

mod acls;
mod database_side;
mod endpoint_service;
mod facts;
mod metrics;
mod read;
mod routes;
mod security_groups;

pub use facts::{
    Acl, AclEntry, Connection, Measured, Network, Peer, Ports, Route, RouteTable, Rule, Service, Subnet,
};
pub use read::{InspectMetrics, InspectNetwork, read_network};

use super::context::CheckContext;
use super::facts::{Attached, Facts};
use super::finding::Finding;
use crate::binding::Binding;

/// The findings about the network around one load balancer of the binding. `principal` is an ARN that should be
/// allowed to connect.
pub fn network_findings(
    binding: &Binding,
    facts: &Facts,
    attached: &Attached,
    network: &Network,
    principal: Option<&str>,
) -> Vec<Finding> {
    let context = CheckContext { binding, facts };
    let mut findings = endpoint_service::findings(context, &attached.load_balancer, network, principal);
    findings.extend(security_groups::findings(context, attached, network));
    findings.extend(acls::findings(context, &attached.load_balancer, network));
    findings.extend(routes::findings(context, &attached.load_balancer, network));
    findings.extend(metrics::findings(network));
    findings
}
