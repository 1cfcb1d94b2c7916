//! Routes between the load balancer's subnets and the database's. Inside one VPC there is always a local route; a
//! peering connection or a transit gateway needs a route on each side.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::database_side;
use super::facts::{Network, Route, RouteTable, Subnet};
use crate::doctor::context::CheckContext;
use crate::doctor::facts::LoadBalancer;
use crate::doctor::finding::Finding;

const CHECK: &str = "routes";
const LOCAL: &str = "local";

/// From a subnet to an address.
struct Way<'n> {
    table: &'n RouteTable,
    subnet: &'n Subnet,
    to: IpAddr,
    route: Option<&'n Route>,
}

impl Way<'_> {
    fn is_open(&self) -> bool {
        self.route.is_some_and(|route| !route.is_blackhole)
    }
}

pub fn findings(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
) -> Option<Finding> {
    let (tables, subnets) = match (&network.route_tables, &network.subnets) {
        (Ok(tables), Ok(subnets)) => (tables, subnets),
        (Err(unread), _) | (_, Err(unread)) => {
            let could_not = "the routes between the load balancer and the database";
            return Some(Finding::unread_optional(CHECK, unread, could_not));
        }
    };
    let address = database_side::addresses(context).first().copied()?;
    let of_load_balancer = database_side::of_load_balancer(load_balancer, subnets);
    let of_database = database_side::subnets(context, subnets);
    let mut ways = Vec::new();
    for from in &of_load_balancer {
        ways.push((*from, address));
        ways.extend(of_database.iter().filter_map(|to| Some((*to, first(from, address.is_ipv4())?))));
    }
    // The tables of another account's VPC are not listed.
    let ways = ways.into_iter().filter_map(|(subnet, to)| {
        let table = table(tables, subnet)?;
        let route = route(table, to);
        // A prefix list may have it.
        (route.is_some() || !table.has_prefix_lists).then_some(Way { table, subnet, to, route })
    });
    let (open, closed): (Vec<Way<'_>>, Vec<Way<'_>>) = ways.partition(Way::is_open);
    let by: BTreeSet<&str> = open.iter().filter_map(|way| Some(way.route?.target.as_str())).collect();
    if let Some(way) = closed.first() {
        return Some(broken(context, way, &by));
    }
    let by = by.into_iter().collect::<Vec<_>>().join(", ");
    (!by.is_empty()).then(|| Finding::ok(CHECK, by))
}

/// An address of the subnet, of this family.
fn first(subnet: &Subnet, is_v4: bool) -> Option<IpAddr> {
    subnet.cidrs.iter().map(IpNet::addr).find(|address| address.is_ipv4() == is_v4)
}

/// The subnet's own table, otherwise its VPC's main one.
fn table<'n>(tables: &'n [RouteTable], subnet: &Subnet) -> Option<&'n RouteTable> {
    let own = tables.iter().find(|table| table.subnets.contains(&subnet.id));
    own.or_else(|| tables.iter().find(|table| table.is_main && table.vpc == subnet.vpc))
}

/// The most specific route decides.
fn route(table: &RouteTable, to: IpAddr) -> Option<&Route> {
    let matching = table.routes.iter().filter(|route| route.to.contains(&to));
    matching.max_by_key(|route| route.to.prefix_len())
}

fn broken(context: CheckContext<'_>, way: &Way<'_>, by: &BTreeSet<&str>) -> Finding {
    let Way { table, subnet, to, route: found } = way;
    let observed = match found {
        Some(route) => format!(
            "{} of {}: the route to {} through {} is a blackhole",
            table.id, subnet.id, route.to, route.target
        ),
        None => format!("{} of {} has no route to {to}", table.id, subnet.id),
    };
    let destination = found.map_or_else(
        || format!("{to}/{}", if to.is_ipv4() { 32 } else { 128 }),
        |route| route.to.to_string(),
    );
    // What carries the other direction carries this one as well.
    let through = by.iter().find_map(|target| match target.split('-').next()? {
        "pcx" => Some(("--vpc-peering-connection-id", *target)),
        "tgw" => Some(("--transit-gateway-id", *target)),
        _ => None,
    });
    let fix = match through
        .filter(|(_, id)| !by.contains(LOCAL) && found.is_none_or(|route| route.target != *id))
    {
        Some((option, id)) => {
            let create = if found.is_some() { "replace-route" } else { "create-route" };
            let family =
                if to.is_ipv4() { "--destination-cidr-block" } else { "--destination-ipv6-cidr-block" };
            let words = ["ec2", create, "--route-table-id", &table.id, family, &destination, option, id];
            format!("use {id}, as the other direction does: {}", context.aws(words))
        }
        None => {
            let words = ["ec2", "describe-route-tables", "--route-table-ids", &table.id];
            let advice = match found {
                Some(_) => {
                    "what a blackhole leads to is deleted or not active; route through an active connection of the two VPCs"
                }
                None => "add a route through the connection of the two VPCs to this table",
            };
            format!("{advice}: {}", context.aws(words))
        }
    };
    let impact = "packets between the load balancer and the database are lost";
    database_side::cut_off(context, CHECK, observed, impact, fix)
}
