//! Network ACLs between the load balancer's subnets and the database's: they see each packet, both ways.
//!
//! A connection needs four permissions: out of the load balancer's subnet and into the database's to the database's
//! port, and back to the load balancer's port, which is any from 1024 on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::database_side;
use super::facts::{Acl, AclEntry, Network, Ports, Subnet};
use crate::doctor::context::CheckContext;
use crate::doctor::facts::LoadBalancer;
use crate::doctor::finding::{Checked, FactOr as _, Finding, FindingKind};
use crate::text::Joined as _;

const CHECK: &str = "network_acls";
/// The entry that denies everything else has this number, and no other entry has a higher one.
const DEFAULT_ENTRY: u16 = 32767;

struct Permission<'n> {
    acl: &'n Acl,
    is_egress: bool,
    peer: IpNet,
    /// The addresses in this range that are known to matter.
    addresses: Vec<IpAddr>,
    ports: Ports,
}

pub fn check_acls(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
) -> Checked<Option<Finding>> {
    let what = "the network ACLs between the load balancer and the database";
    let acls = network.acls.or_not_examined(CHECK, what)?;
    let subnets = network.subnets.or_not_examined(CHECK, what)?;
    let Some(port) = context.port() else { return Ok(None) };
    let addresses = database_side::addresses(context);
    let is_v4 = addresses.first().is_none_or(IpAddr::is_ipv4);
    let of_load_balancer = database_side::load_balancer_subnets(load_balancer, subnets);
    let of_database = database_side::current_subnets(context, subnets);
    if of_database.is_empty() || of_load_balancer.is_empty() {
        return Ok(Some(database_side::subnets_not_known(context, CHECK, what)));
    }
    let pairs_now = pairs(&of_load_balancer, &of_database);
    let pairs_later = pairs(&of_load_balancer, &database_side::failover_subnets(context, subnets));
    let now = permissions(acls, &pairs_now, port, is_v4, &addresses);
    let later = permissions(acls, &pairs_later, port, is_v4, &[]);
    if let Some((observed, fix)) = denials(context, &now) {
        let impact = "packets between the load balancer and the database are dropped";
        return Ok(Some(database_side::cut_off(context, CHECK, observed, impact, fix)));
    }
    let is_listed = |subnet: &Subnet| acl_of(acls, subnet).is_some();
    let are_listed = pairs_now.iter().all(|(from, to)| is_listed(from) && is_listed(to));
    if !are_listed || now.is_empty() && !pairs_now.is_empty() {
        let observed = "the network ACLs of these subnets, which the EC2 API does not list";
        let fix = "run the doctor in the account of the subnets";
        return Ok(Some(Finding::not_examined(CHECK, observed, fix)));
    }
    if let Some((observed, fix)) = denials(context, &later) {
        let impact = "the next failover may move the writer into such a subnet, and packets are then dropped";
        let finding = Finding::warning(CHECK, observed, impact, fix);
        return Ok(Some(finding.of_kind(FindingKind::NextFailover)));
    }
    let ids: BTreeSet<&String> = now.iter().chain(&later).map(|permission| &permission.acl.id).collect();
    Ok(Some(Finding::ok(CHECK, ids.into_iter().listed_or("none applies inside one subnet"))))
}

/// Each two different subnets of the two sides. Inside one subnet no ACL applies.
fn pairs<'n>(here: &[&'n Subnet], there: &[&'n Subnet]) -> Vec<(&'n Subnet, &'n Subnet)> {
    let pairs = here.iter().flat_map(|from| there.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from.id != to.id).collect()
}

fn acl_of<'n>(acls: &'n [Acl], subnet: &Subnet) -> Option<&'n Acl> {
    acls.iter().find(|acl| acl.subnets.contains(&subnet.id))
}

fn permissions<'n>(
    acls: &'n [Acl],
    pairs: &[(&Subnet, &Subnet)],
    port: u16,
    is_v4: bool,
    addresses: &[IpAddr],
) -> Vec<Permission<'n>> {
    let mut permissions = Vec::new();
    for (from, to) in pairs {
        let (Some(here), Some(there)) = (from.range(is_v4), to.range(is_v4)) else { continue };
        for (subnet, peer, is_out) in [(from, there, true), (to, here, false)] {
            let Some(acl) = acl_of(acls, subnet) else { continue };
            // The load balancer's own addresses are not known.
            let known = addresses.iter().filter(|address| is_out && peer.contains(*address));
            let known: Vec<IpAddr> = known.copied().collect();
            for (is_egress, ports) in [(is_out, Ports::one(port)), (!is_out, Ports::OF_CLIENTS)] {
                permissions.push(Permission { acl, is_egress, peer, addresses: known.clone(), ports });
            }
        }
    }
    permissions
}

/// The first ports that are denied, and the number of the entry that denies them. For each port the first entry that
/// matches decides.
///
/// An entry for a part of the peer's range counts if it allows, since it may be for the very addresses that matter, or if
/// it denies one of the known addresses.
fn denial(permission: &Permission<'_>) -> Option<(Ports, u16)> {
    let Permission { acl, is_egress, peer, addresses, ports } = permission;
    let decides_on_a_part = |entry: &AclEntry| match entry.allows {
        true => peer.contains(&entry.cidr),
        false => addresses.iter().any(|address| entry.cidr.contains(address)),
    };
    let decides = |entry: &&AclEntry| {
        entry.is_egress == *is_egress && (entry.cidr.contains(peer) || decides_on_a_part(entry))
    };
    let mut entries: Vec<&AclEntry> = acl.entries.iter().filter(decides).collect();
    entries.sort_by_key(|entry| entry.number);
    let mut undecided = vec![*ports];
    for entry in entries {
        let denied = undecided.iter().find_map(|ports| common(*ports, entry.ports));
        if let Some(ports) = denied.filter(|_| !entry.allows) {
            return Some((ports, entry.number));
        }
        undecided = undecided.into_iter().flat_map(|ports| without(ports, entry.ports)).collect();
    }
    undecided.first().map(|ports| (*ports, DEFAULT_ENTRY))
}

fn common(one: Ports, other: Ports) -> Option<Ports> {
    let (from, to) = (one.from.max(other.from), one.to.min(other.to));
    (from <= to).then_some(Ports { from, to })
}

fn without(ports: Ports, taken: Ports) -> impl Iterator<Item = Ports> {
    let below = taken.from.checked_sub(1).and_then(|to| common(ports, Ports { from: 0, to }));
    let above = taken.to.checked_add(1).and_then(|from| common(ports, Ports { from, to: u16::MAX }));
    below.into_iter().chain(above)
}

/// What the ACLs deny, and the commands that together open the way. `None` if they deny nothing.
fn denials(context: CheckContext<'_>, permissions: &[Permission<'_>]) -> Option<(String, String)> {
    // The numbers of the entries that the commands add.
    let mut added = BTreeSet::new();
    let (mut observed, mut fixes) = (Vec::new(), Vec::new());
    for permission in permissions {
        let Some((ports, by)) = denial(permission) else { continue };
        let Permission { acl, is_egress, peer, .. } = permission;
        let to = if *is_egress { "to" } else { "from" };
        let by_entry = match by {
            DEFAULT_ENTRY => "no entry allows".to_owned(),
            number => format!("entry {number} denies"),
        };
        let denial = format!("{}: {by_entry} port {ports} {to} {peer}", acl.id);
        if observed.contains(&denial) {
            continue;
        }
        observed.push(denial);
        let is_taken = |number: &u16| {
            added.contains(&(&acl.id, *is_egress, *number))
                || acl.entries.iter().any(|it| it.is_egress == *is_egress && it.number == *number)
        };
        // Before the entry that denies, where a number is free.
        let number = (1..by).rev().find(|number| !is_taken(number));
        added.extend(number.map(|number| (&acl.id, *is_egress, number)));
        fixes.push(match number {
            Some(number) => allow(context, permission, number),
            None => {
                let show = context.aws("ec2 describe-network-acls --network-acl-ids", &[&acl.id]);
                format!("entry {by} of {} leaves no lower number free; renumber it: {show}", acl.id)
            }
        });
    }
    let fix = format!("allow it: {}", fixes.join(" "));
    (!observed.is_empty()).then(|| (observed.join("; "), fix))
}

fn allow(context: CheckContext<'_>, permission: &Permission<'_>, number: u16) -> String {
    let Permission { acl, is_egress, peer, ports, .. } = permission;
    let direction = if *is_egress { "--egress" } else { "--ingress" };
    let cidr = if peer.addr().is_ipv4() { "--cidr-block" } else { "--ipv6-cidr-block" };
    let (number, range) = (number.to_string(), format!("From={},To={}", ports.from, ports.to));
    context.aws(
        "ec2 create-network-acl-entry --network-acl-id {} {} --rule-number {} --protocol tcp --port-range {} {} {} \
         --rule-action allow",
        &[&acl.id, direction, &number, &range, cidr, &peer.to_string()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u16, allows: bool, cidr: &str, from: u16, to: u16) -> AclEntry {
        AclEntry { number, is_egress: false, allows, cidr: cidr.parse().unwrap(), ports: Ports { from, to } }
    }

    fn ask(entries: Vec<AclEntry>, from: u16, to: u16) -> Option<(Ports, u16)> {
        let acl = Acl { id: "acl-1".into(), subnets: Vec::new(), entries };
        let peer = "10.0.1.0/24".parse().unwrap();
        let addresses = vec!["10.0.1.10".parse().unwrap()];
        let permission =
            Permission { acl: &acl, is_egress: false, peer, addresses, ports: Ports { from, to } };
        denial(&permission)
    }

    #[test]
    fn first_matching_entry_decides() {
        let ports = |from, to| Ports { from, to };
        let everything = || entry(100, true, "0.0.0.0/0", 0, 65535);
        assert_eq!(ask(vec![everything()], 5432, 5432), None);
        assert_eq!(ask(vec![], 5432, 5432), Some((ports(5432, 5432), 32767)), "the default denies");
        let deny = entry(90, false, "10.0.0.0/16", 5000, 6000);
        assert_eq!(ask(vec![everything(), deny.clone()], 5432, 5432), Some((ports(5432, 5432), 90)));
        assert_eq!(ask(vec![everything(), deny.clone()], 80, 80), None);
        assert_eq!(ask(vec![everything(), deny], 1024, 65535), Some((ports(5000, 6000), 90)));
        let late = entry(200, false, "0.0.0.0/0", 0, 65535);
        assert_eq!(ask(vec![everything(), late], 5432, 5432), None, "an earlier entry has decided");
        let elsewhere = entry(90, false, "10.9.0.0/16", 0, 65535);
        assert_eq!(ask(vec![everything(), elsewhere], 5432, 5432), None);
        let egress = AclEntry { is_egress: true, ..everything() };
        assert!(ask(vec![egress], 5432, 5432).is_some());
    }

    #[test]
    fn ports_of_clients_may_be_allowed_in_parts() {
        let low = entry(100, true, "0.0.0.0/0", 1024, 32767);
        let high = entry(110, true, "0.0.0.0/0", 32768, 65535);
        assert_eq!(ask(vec![low, high.clone()], 1024, 65535), None);
        assert_eq!(ask(vec![high], 1024, 65535), Some((Ports { from: 1024, to: 32767 }, 32767)));
    }

    #[test]
    fn rule_for_a_part_of_the_subnet_allows_and_denies_nothing() {
        assert_eq!(ask(vec![entry(100, true, "10.0.1.5/32", 0, 65535)], 5432, 5432), None);
        let denies =
            vec![entry(90, false, "10.0.1.9/32", 0, 65535), entry(100, true, "10.0.0.0/8", 0, 65535)];
        assert_eq!(ask(denies, 5432, 5432), None);
    }

    #[test]
    fn rule_that_denies_a_known_address_denies() {
        let denies = |address: &str| {
            vec![entry(90, false, address, 0, 65535), entry(100, true, "10.0.0.0/8", 0, 65535)]
        };
        let denial = Some((Ports { from: 5432, to: 5432 }, 90));
        assert_eq!(ask(denies("10.0.1.10/32"), 5432, 5432), denial);
        assert_eq!(ask(denies("10.0.1.8/30"), 5432, 5432), denial);
        let mut allowed_before = denies("10.0.1.10/32");
        allowed_before.push(entry(80, true, "10.0.1.0/24", 0, 65535));
        assert_eq!(ask(allowed_before, 5432, 5432), None);
    }
}
