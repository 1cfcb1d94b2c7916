//! Availability Zones: the load balancer sends only to targets in its own zones, with cross-zone balancing too.

use std::collections::BTreeSet;

use super::context::CheckContext;
use super::facts::{ALL_ZONES, CROSS_ZONE, Fact, InstanceFacts, LoadBalancer};
use super::finding::{Checked, FactOr as _, Finding, FindingKind};
use crate::binding::Role;
use crate::text::Joined as _;

pub fn findings(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    cross_zone: &Fact<bool>,
) -> impl Iterator<Item = Finding> {
    let zones = check_zones(context, load_balancer);
    let (Ok(cross_zone) | Err(cross_zone)) = check_cross_zone(context, load_balancer, cross_zone);
    [zones].into_iter().chain(check_failover_zones(context, load_balancer)).chain([cross_zone])
}

/// The zones of the endpoint's addresses, as far as they are known: by the targets, otherwise by the RDS API.
fn known_zones(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> BTreeSet<String> {
    let (Some(wanted), Ok(targets)) = (context.wanted(), &context.facts.targets) else {
        return BTreeSet::new();
    };
    let of_targets = targets.iter().filter(|(address, _)| wanted.contains(*address));
    let zones: BTreeSet<String> = of_targets.filter_map(|(_, health)| health.zone.clone()).collect();
    if !zones.is_empty() || context.binding.role != Role::Writer {
        return zones;
    }
    match context.writer_host() {
        // Every zone reaches a target outside the load balancer's VPC.
        Some(host) if !host.is_in_vpc(load_balancer.vpc.as_deref()) => BTreeSet::from([ALL_ZONES.to_owned()]),
        host => host.and_then(|host| host.zone.clone()).into_iter().collect(),
    }
}

/// The zones of all the endpoint's addresses. `None` if an address or its zone is not known.
fn zones_of_addresses(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Option<BTreeSet<String>> {
    let zones = known_zones(context, load_balancer);
    let targets = context.facts.targets.as_ref().ok()?;
    let has_zone = |address: &String| targets.get(address).is_some_and(|health| health.zone.is_some());
    // A writer has one address, whose zone the RDS API may have given.
    let is_of_writer = context.binding.role == Role::Writer && !zones.is_empty();
    (is_of_writer || context.wanted()?.iter().all(has_zone)).then_some(zones)
}

fn check_zones(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Finding {
    let zones = &load_balancer.zones;
    let list = zones.keys().joined(", ");
    let of_addresses = known_zones(context, load_balancer);
    let is_served = |zone: &&String| zone.as_str() == ALL_ZONES || zones.contains_key(zone.as_str());
    let outside: Vec<&str> =
        of_addresses.iter().filter(|zone| !is_served(zone)).map(String::as_str).collect();
    if !outside.is_empty() {
        let what = context.target_noun();
        let observed = format!("the {what} is in {}, and the load balancer in {list}", outside.join(", "));
        let fix = add_zones(context, load_balancer, &outside);
        if of_addresses.iter().any(|zone| is_served(&zone)) {
            let impact = "the addresses in that zone get no clients";
            return Finding::warning("zones", observed, impact, fix);
        }
        let impact = "the load balancer sends nothing to a target outside its zones: clients are cut off";
        return Finding::problem("zones", observed, impact, fix);
    }
    let has_zone = |host: &InstanceFacts| host.zone.is_some() || host.standby_zone.is_some();
    // A database outside the load balancer's zones has a finding of its own.
    if zones.len() > 1 || context.hosts().iter().any(has_zone) {
        return Finding::ok("zones", list);
    }
    let observed = format!("the load balancer is in one zone only, {list}");
    let impact = "an outage of that zone cuts off every client, and PrivateLink consumers can connect from that zone alone";
    let subnets = list_subnets(context, load_balancer, &[]);
    let fix = format!(
        "add a zone with set-subnets; name the present subnet too, because it replaces the list: {subnets}"
    );
    Finding::warning("zones", observed, impact, fix)
}

fn check_failover_zones(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Option<Finding> {
    const CHECK: &str = "failover_zones";
    if let Some(unread) = context.unread_database() {
        return Some(Finding::not_examined_because(CHECK, unread, "the zones of the database's instances"));
    }
    let hosts = context.hosts();
    if hosts.is_empty() {
        return None;
    }
    let now = known_zones(context, load_balancer);
    let is_in_vpc = |host: &&InstanceFacts| host.is_in_vpc(load_balancer.vpc.as_deref());
    if now.contains(ALL_ZONES) || !hosts.iter().any(|host| is_in_vpc(&host)) {
        let observed = "the database is outside the load balancer's VPC, and every zone reaches it";
        return Some(Finding::ok(CHECK, observed));
    }
    let is_outside = |zone: &String| !load_balancer.zones.contains_key(zone) && !now.contains(zone);
    let mut places = Vec::new();
    let mut missing = BTreeSet::new();
    for host in hosts.iter().filter(is_in_vpc) {
        for (what, zone) in [("", &host.zone), ("the standby of ", &host.standby_zone)] {
            if let Some(zone) = zone.as_ref().filter(|zone| is_outside(zone)) {
                places.push(format!("{what}{} is in {zone}", host.identifier));
                missing.insert(zone.as_str());
            }
        }
    }
    if places.is_empty() {
        return Some(Finding::ok(CHECK, "the load balancer has every zone of the database"));
    }
    let list = load_balancer.zones.keys().joined(", ");
    let missing: Vec<&str> = missing.into_iter().collect();
    let observed = format!("{}, and the load balancer in {list}", places.join(", "));
    let impact =
        "a failover there cuts clients off: the load balancer sends nothing to a target outside its zones";
    let fix = add_zones(context, load_balancer, &missing);
    Some(Finding::warning(CHECK, observed, impact, fix))
}

/// The command that gives the load balancer these zones as well. It must name every subnet.
fn add_zones(context: CheckContext<'_>, load_balancer: &LoadBalancer, missing: &[&str]) -> String {
    let mut values = vec![load_balancer.arn.as_str()];
    values.extend(load_balancer.zones.values().map(String::as_str));
    let is_same_vpc = |vpc: &Option<String>| vpc.is_some() && *vpc == load_balancer.vpc;
    let hosts = || context.hosts().iter().filter(|host| is_same_vpc(&host.vpc));
    for zone in missing {
        let in_zone = hosts().flat_map(|host| &host.subnets).find(|(_, of)| of == zone);
        let Some((subnet, _)) = in_zone else { return find_subnets(context, load_balancer, missing) };
        values.push(subnet);
    }
    let set = context.aws("elbv2 set-subnets --load-balancer-arn {} --subnets", &values);
    format!("add the zone (set-subnets replaces the list, so this names every subnet): {set}")
}

fn find_subnets(context: CheckContext<'_>, load_balancer: &LoadBalancer, missing: &[&str]) -> String {
    let zones = format!("Name=availability-zone,Values={}", missing.join(","));
    let find = list_subnets(context, load_balancer, &[&zones]);
    let present = load_balancer.zones.values().joined(", ");
    format!("find a subnet in the zone, {find} then add it with set-subnets to the present ones, {present}")
}

/// The command that lists the subnets of the load balancer's VPC that pass these filters.
fn list_subnets(context: CheckContext<'_>, load_balancer: &LoadBalancer, filters: &[&str]) -> String {
    let vpc = format!("Name=vpc-id,Values={}", load_balancer.vpc.as_deref().unwrap_or_default());
    let query = ["--query", "Subnets[].[AvailabilityZone,SubnetId]", "--output", "text"];
    context.aws("ec2 describe-subnets --filters {}", &[&[vpc.as_str()], filters, &query].concat())
}

/// A writer is in one zone. Without cross-zone balancing the load balancer has no target in the other zones.
fn check_cross_zone(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    of_load_balancer: &Fact<bool>,
) -> Checked<Finding> {
    const CHECK: &str = "cross_zone";
    let with_targets = zones_of_addresses(context, load_balancer);
    let without: Option<Vec<&String>> = with_targets.map(|with_targets| {
        let has_target = |zone: &&String| with_targets.contains(*zone) || with_targets.contains(ALL_ZONES);
        load_balancer.zones.keys().filter(|zone| !has_target(zone)).collect()
    });
    let needs_none = match (load_balancer.zones.len(), &without) {
        // With one zone there is no other to cross to.
        (1, _) => Some("the load balancer has one zone"),
        (_, Some(without)) if without.is_empty() => Some("every zone has a target of its own"),
        _ => None,
    };
    let not_checked = "whether all zones reach the database";
    // The group's setting decides over the load balancer's.
    let of_group = match context.facts.attributes.or_warning(CHECK, not_checked) {
        Ok(attributes) => attributes.get(CROSS_ZONE).and_then(|value| value.parse::<bool>().ok()),
        Err(_) if needs_none.is_some() => Some(false),
        Err(unread) => return Err(unread.of_kind(FindingKind::Unknown)),
    };
    let whose = if of_group.is_some() { "the group's attribute" } else { "the load balancer's attribute" };
    let is_on = of_group.map_or_else(|| of_load_balancer.or_warning(CHECK, not_checked).copied(), Ok);
    match (is_on, needs_none) {
        (Ok(true), _) => Ok(Finding::ok(CHECK, format!("on, by {whose}"))),
        (_, Some(observed)) => Ok(Finding::ok(CHECK, observed)),
        (Err(unread), None) => Err(unread),
        (Ok(false), None) => {
            let off = format!("cross-zone balancing is off, by {whose}");
            let set = context.set_attributes(&[(CROSS_ZONE, "true")]);
            let Some(without) = without else {
                let observed = format!("{not_checked}: {off}, and the zones of the targets are not known");
                let fix = format!(
                    "see the findings endpoint, targets and database, or turn it on for this group: {set}"
                );
                return Ok(Finding::not_examined(CHECK, observed, fix));
            };
            let observed = format!("{off}, and there is no target in {}", without.into_iter().joined(", "));
            let impact = "clients that use the load balancer's addresses there are cut off";
            Ok(Finding::problem(CHECK, observed, impact, format!("turn it on for this group: {set}")))
        }
    }
}
