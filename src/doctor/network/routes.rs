//! Routes between the load balancer's subnets and the database's. Inside one VPC there is always a local route; a
//! peering connection or a transit gateway needs a route on each side.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::database_side;
use super::facts::{Network, Route, RouteTable, Subnet};
use crate::doctor::context::CheckContext;
use crate::doctor::facts::LoadBalancer;
use crate::doctor::finding::{Checked, FactOr as _, Finding, FindingKind};
use crate::text::Joined as _;

const CHECK: &str = "routes";

/// From a subnet to the addresses of another.
struct Direction<'n> {
    table: &'n RouteTable,
    subnet: &'n Subnet,
    to: IpNet,
    route: Option<&'n Route>,
    /// Whether it is the way back from the database to the load balancer.
    is_back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Closed,
    /// The facts do not show it.
    Unknown,
}

impl Direction<'_> {
    fn verdict(&self) -> Verdict {
        // A route for a part of the range may be for the very addresses that matter, and so may a prefix list.
        let for_a_part =
            |route: &Route| !route.is_blackhole && route.to != self.to && self.to.contains(&route.to);
        let by_another = self.table.has_prefix_lists || self.table.routes.iter().any(for_a_part);
        let verdict = match self.route {
            None => Verdict::Closed,
            Some(route) if route.is_blackhole => Verdict::Closed,
            Some(route) => match route.target.split('-').next().unwrap_or_default() {
                // An internet gateway carries no packet to another VPC's private addresses.
                "igw" | "eigw" => Verdict::Closed,
                // A NAT gateway carries no replies to connections that it did not open.
                "nat" if self.is_back => Verdict::Closed,
                // It forwards other packets by the routes of its own subnet, which are not followed.
                "nat" | "unknown" => Verdict::Unknown,
                _ => Verdict::Open,
            },
        };
        if verdict == Verdict::Closed && by_another { Verdict::Unknown } else { verdict }
    }
}

pub fn check_routes(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
) -> Checked<Option<Finding>> {
    let what = "the routes between the load balancer and the database";
    let tables = network.route_tables.or_not_examined(CHECK, what)?;
    let subnets = network.subnets.or_not_examined(CHECK, what)?;
    let Some(address) = database_side::addresses(context).first().copied() else { return Ok(None) };
    let of_load_balancer = database_side::load_balancer_subnets(load_balancer, subnets);
    let of_database = database_side::current_subnets(context, subnets);
    let mut now = directions(tables, &of_load_balancer, &of_database, address.is_ipv4());
    if of_database.is_empty() {
        // The subnets of another account are not listed.
        let to = IpNet::from(address);
        now.extend(of_load_balancer.iter().filter_map(|from| direction(tables, from, to, false)));
    }
    let after_failover = database_side::failover_subnets(context, subnets);
    let later = directions(tables, &of_load_balancer, &after_failover, address.is_ipv4());
    let any = |directions: &[Direction<'_>], wanted: Verdict| {
        directions.iter().any(|direction| direction.verdict() == wanted)
    };
    let open = now.iter().chain(&later).filter(|direction| direction.verdict() == Verdict::Open);
    let by: BTreeSet<&str> = open.filter_map(|direction| Some(direction.route?.target.as_str())).collect();
    if any(&now, Verdict::Closed) {
        let (observed, fix) = describe(context, &now, &by);
        let impact = "packets between the load balancer and the database are lost";
        return Ok(Some(database_side::cut_off(context, CHECK, observed, impact, fix)));
    }
    if any(&now, Verdict::Unknown) && !database_side::is_reached(context) {
        return Ok(Some(not_judged(context, &now)));
    }
    let is_side_known =
        |side: &[&Subnet]| !side.is_empty() && side.iter().all(|subnet| table(tables, subnet).is_some());
    // Inside one VPC both directions are local.
    let is_local = |direction: &Direction<'_>| direction.route.is_some_and(|route| route.target == "local");
    let are_all_local = !now.is_empty() && now.iter().all(is_local);
    if !(is_side_known(&of_database) && is_side_known(&of_load_balancer) || are_all_local) {
        let what = format!("{what}, in both directions");
        return Ok(Some(database_side::subnets_not_known(context, CHECK, &what)));
    }
    if any(&later, Verdict::Closed) {
        let (observed, fix) = describe(context, &later, &by);
        let impact = "the next failover may move the writer into such a subnet, and packets are then lost";
        let finding = Finding::warning(CHECK, observed, impact, fix);
        return Ok(Some(finding.of_kind(FindingKind::NextFailover)));
    }
    let by = by.into_iter().listed_or(if now.is_empty() { "" } else { "the target is reached" });
    Ok((!by.is_empty()).then(|| Finding::ok(CHECK, by)))
}

/// The directions from each subnet of the one side to each of the other, and back.
fn directions<'n>(
    tables: &'n [RouteTable],
    of_load_balancer: &[&'n Subnet],
    of_database: &[&'n Subnet],
    is_v4: bool,
) -> Vec<Direction<'n>> {
    let between = |from: &'n Subnet, to: &'n Subnet| {
        let there = to.range(is_v4).and_then(|range| direction(tables, from, range, false));
        // Behind a NAT gateway, the replies go to its own address, which the facts do not have.
        let route = there.as_ref().and_then(|direction| direction.route);
        let is_by_nat = route.is_some_and(|route| route.target.starts_with("nat-"));
        let back = from.range(is_v4).filter(|_| !is_by_nat);
        [there, back.and_then(|range| direction(tables, to, range, true))].into_iter().flatten()
    };
    let pairs = of_load_balancer.iter().flat_map(|from| of_database.iter().map(move |to| (from, to)));
    pairs.flat_map(|(from, to)| between(from, to)).collect()
}

/// `None` in a VPC of another account, whose tables are not listed.
fn direction<'n>(
    tables: &'n [RouteTable],
    subnet: &'n Subnet,
    to: IpNet,
    is_back: bool,
) -> Option<Direction<'n>> {
    let table = table(tables, subnet)?;
    // The most specific route for the whole range decides.
    let matching = table.routes.iter().filter(|route| route.to.contains(&to));
    let route = matching.max_by_key(|route| route.to.prefix_len());
    Some(Direction { table, subnet, to, route, is_back })
}

/// The subnet's own table, otherwise its VPC's main one.
fn table<'n>(tables: &'n [RouteTable], subnet: &Subnet) -> Option<&'n RouteTable> {
    let own = tables.iter().find(|table| table.subnets.contains(&subnet.id));
    own.or_else(|| tables.iter().find(|table| table.is_main && table.vpc == subnet.vpc))
}

/// What is observed of the closed directions, and the commands that together open them.
fn describe(
    context: CheckContext<'_>,
    directions: &[Direction<'_>],
    by: &BTreeSet<&str>,
) -> (String, String) {
    let mut faults = BTreeMap::<_, BTreeSet<&str>>::new();
    let mut fixes = BTreeMap::<_, BTreeSet<_>>::new();
    for direction in directions.iter().filter(|direction| direction.verdict() == Verdict::Closed) {
        let Direction { table, subnet, to, route, .. } = direction;
        let fault = match route {
            Some(Route { to, target, is_blackhole: true }) => {
                format!(": the route to {to} through {target} is a blackhole")
            }
            Some(route) => {
                format!(" has no route to {to} but the one to {} through {}", route.to, route.target)
            }
            None => format!(" has no route to {to}"),
        };
        faults.entry((&table.id, fault)).or_default().insert(&subnet.id);
        let (advice, command) = fix(context, direction, by);
        fixes.entry(advice).or_default().insert(command);
    }
    let observed = faults.into_iter().map(|((table, fault), subnets)| {
        format!("{table} of {}{fault}", subnets.into_iter().joined(" and "))
    });
    let fixes =
        fixes.into_iter().map(|(advice, commands)| format!("{advice}: {}", commands.iter().joined(" ")));
    (observed.joined("; "), fixes.joined("; "))
}

/// How to open a closed direction, and the command for it.
fn fix(context: CheckContext<'_>, direction: &Direction<'_>, by: &BTreeSet<&str>) -> (String, String) {
    let Direction { table, to, route, .. } = direction;
    // The connection of the other direction carries this one as well.
    let through = by.iter().find_map(|target| match target.split('-').next()? {
        "pcx" => Some(("--vpc-peering-connection-id", *target)),
        "tgw" => Some(("--transit-gateway-id", *target)),
        _ => None,
    });
    let is_dead = |id: &str| route.is_some_and(|route| route.is_blackhole && route.target == id);
    // A single address is the writer's, which the next failover changes.
    let is_range = to.prefix_len() < to.max_prefix_len();
    if let Some((option, id)) = through.filter(|(_, id)| !is_dead(id) && is_range) {
        // A default route stays: other packets take it.
        let old = route.filter(|route| route.to == *to || route.is_blackhole && route.to.prefix_len() > 0);
        let (action, destination) = match old {
            Some(route) => ("replace-route", route.to.to_string()),
            None => ("create-route", to.to_string()),
        };
        let family = match to {
            IpNet::V4(_) => "--destination-cidr-block",
            IpNet::V6(_) => "--destination-ipv6-cidr-block",
        };
        let values = [action, "--route-table-id", &table.id, family, &destination, option, id];
        let advice = format!("route to the other network through {id}, as other routes between the two do");
        return (advice, context.aws("ec2", &values));
    }
    let advice = match route {
        Some(route) if route.is_blackhole => {
            "what a blackhole leads to is deleted or not active; route through an active connection of the two VPCs"
        }
        _ => {
            "add a route to the range of the other VPC, through the connection of the two VPCs, to this table"
        }
    };
    (advice.to_owned(), show(context, table))
}

fn show(context: CheckContext<'_>, table: &RouteTable) -> String {
    context.aws("ec2 describe-route-tables --route-table-ids", &[&table.id])
}

fn not_judged(context: CheckContext<'_>, directions: &[Direction<'_>]) -> Finding {
    let (mut unknown, mut shows) = (BTreeSet::new(), BTreeSet::new());
    for direction in directions.iter().filter(|direction| direction.verdict() == Verdict::Unknown) {
        let Direction { table, subnet, to, route, .. } = direction;
        let may_lead_there = |route: &&Route| {
            !route.is_blackhole && (route.target.starts_with("nat-") || route.target == "unknown")
        };
        let target = route.filter(may_lead_there).map(|route| route.target.as_str());
        let target = target.unwrap_or("a prefix list or a route for a part of it");
        unknown.insert(format!("{} of {} may lead to {to} through {target}", table.id, subnet.id));
        shows.insert(show(context, table));
    }
    let list = unknown.iter().joined("; ");
    let observed = format!("whether the routes lead to the other VPC, which the facts do not show: {list}");
    Finding::not_examined(CHECK, observed, format!("see the routes: {}", shows.iter().joined(" ")))
}
