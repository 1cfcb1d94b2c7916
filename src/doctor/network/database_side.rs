//! Where the database is in the network, as far as the facts tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::Subnet;
use crate::binding::Role;
use crate::doctor::context::CheckContext;
use crate::doctor::facts::LoadBalancer;
use crate::doctor::finding::Finding;
use crate::text::Joined as _;

type Subnets = BTreeMap<String, Subnet>;

pub fn addresses(context: CheckContext<'_>) -> Vec<IpAddr> {
    context.facts.resolution.iter().flat_map(|resolution| resolution.addresses.iter()).collect()
}

/// The subnets that the database's instances may be in.
fn all_subnets<'n>(context: CheckContext<'_>, subnets: &'n Subnets) -> impl Iterator<Item = &'n Subnet> {
    let of_hosts = context.hosts().iter().flat_map(|host| &host.subnets);
    let ids: BTreeSet<&String> = of_hosts.map(|(id, _)| id).collect();
    subnets.values().filter(move |subnet| ids.contains(&subnet.id))
}

/// Those of them that hold the endpoint's addresses.
pub fn current_subnets<'n>(context: CheckContext<'_>, subnets: &'n Subnets) -> Vec<&'n Subnet> {
    let addresses = addresses(context);
    let is_here = |subnet: &&Subnet| addresses.iter().any(|address| subnet.holds(*address));
    all_subnets(context, subnets).filter(is_here).collect()
}

/// The subnets that a failover may move the endpoint's addresses into: those in the zone of another instance than the
/// writer's, or of a standby, without those that hold the addresses now.
pub fn failover_subnets<'n>(context: CheckContext<'_>, subnets: &'n Subnets) -> Vec<&'n Subnet> {
    let writer = context.writer_host().filter(|_| context.binding.role == Role::Writer);
    let mut zones = BTreeSet::new();
    for host in context.hosts() {
        zones.extend(&host.standby_zone);
        if writer.is_none_or(|writer| writer.identifier != host.identifier) {
            zones.extend(&host.zone);
        }
    }
    let addresses = addresses(context);
    let is_next = |subnet: &&Subnet| {
        zones.contains(&subnet.zone) && !addresses.iter().any(|address| subnet.holds(*address))
    };
    all_subnets(context, subnets).filter(is_next).collect()
}

/// The ranges of all the database's subnets, of the family of the endpoint's addresses.
pub fn ranges(context: CheckContext<'_>, subnets: &Subnets) -> Vec<IpNet> {
    let is_v4 = addresses(context).iter().all(IpAddr::is_ipv4);
    let ranges = all_subnets(context, subnets).flat_map(|subnet| &subnet.cidrs);
    ranges.filter(|range| range.addr().is_ipv4() == is_v4).copied().collect()
}

pub fn load_balancer_subnets<'n>(load_balancer: &LoadBalancer, subnets: &'n Subnets) -> Vec<&'n Subnet> {
    load_balancer.zones.values().filter_map(|id| subnets.get(id)).collect()
}

pub fn subnets_not_known(context: CheckContext<'_>, check: &'static str, what: &str) -> Finding {
    if let Some(unread) = context.unread_database() {
        return Finding::not_examined_because(check, unread, what);
    }
    let observed = format!("{what}: the subnets of one side, or what applies to them, are not known");
    let addresses = addresses(context);
    if addresses.is_empty() {
        return Finding::not_examined(check, observed, "see the finding endpoint");
    }
    let field = if context.is_v6() { "ipv6-addresses.ipv6-address" } else { "addresses.private-ip-address" };
    let filter = format!("Name={field},Values={}", addresses.iter().joined(","));
    let find = "ec2 describe-network-interfaces --filters {} --query {} --output text";
    let find = context.aws(find, &[&filter, "NetworkInterfaces[].[VpcId,SubnetId]"]);
    let fix = format!("find the database's subnet, in the account and Region of its VPC: {find}");
    Finding::not_examined(check, observed, fix)
}

/// Whether the load balancer's health checks reach every address, from one of its zones at least.
pub fn is_reached(context: CheckContext<'_>) -> bool {
    let (Some(wanted), Ok(targets)) = (context.wanted(), &context.facts.targets) else { return false };
    wanted.iter().all(|address| targets.get(address).is_some_and(|health| health.state == "healthy"))
}

/// A problem, or a warning where the target is healthy: then a part of the load balancer gets through.
pub fn cut_off(
    context: CheckContext<'_>,
    check: &'static str,
    observed: String,
    impact: &str,
    fix: String,
) -> Finding {
    if is_reached(context) {
        let impact =
            format!("{impact}. The target is healthy, so this concerns a part of the zones or connections");
        return Finding::warning(check, observed, impact, fix);
    }
    Finding::problem(check, observed, format!("{impact}: clients are cut off"), fix)
}
