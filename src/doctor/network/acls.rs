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
use crate::doctor::finding::{Finding, FindingKind};
use crate::text::Joined as _;

const CHECK: &str = "network_acls";
/// The highest number that an entry may have. The entry that denies everything else comes after it.
const LAST: u16 = 32766;

#[derive(Clone, Copy)]
struct Question<'n> {
    acl: &'n Acl,
    is_egress: bool,
    peer: IpNet,
    ports: Ports,
}

pub fn findings(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
) -> Option<Finding> {
    let (acls, subnets) = match (&network.acls, &network.subnets) {
        (Ok(acls), Ok(subnets)) => (acls, subnets),
        (Err(unread), _) | (_, Err(unread)) => {
            let could_not = "the network ACLs between the load balancer and the database";
            return Some(Finding::unread(CHECK, unread, could_not));
        }
    };
    let port = context.port()?;
    let is_v4 = database_side::addresses(context).first().is_none_or(IpAddr::is_ipv4);
    let of_database = database_side::subnets(context, subnets);
    let of_load_balancer = database_side::of_load_balancer(load_balancer, subnets);
    if of_database.is_empty() || of_load_balancer.is_empty() {
        let what = "the network ACLs between the load balancer and the database";
        return Some(database_side::not_known(context, CHECK, what));
    }
    let ask = |of_database: &[&Subnet]| {
        let mut asked: Vec<Question<'_>> = Vec::new();
        for from in &of_load_balancer {
            // Inside one subnet no ACL applies.
            for to in of_database.iter().filter(|to| to.id != from.id) {
                asked.extend(questions(acls, from, to, port, is_v4));
            }
        }
        asked
    };
    let (now, later) = (ask(&of_database), ask(&database_side::failover_subnets(context, subnets)));
    if let Some((observed, fix)) = denied(context, &now) {
        let impact = "packets between the load balancer and the database are dropped";
        return Some(database_side::cut_off(context, CHECK, observed, impact, fix));
    }
    let has_pair = |one: &Subnet, others: &[&Subnet]| others.iter().any(|other| other.id != one.id);
    let is_listed = |subnet: &Subnet| acls.iter().any(|acl| acl.subnets.contains(&subnet.id));
    let is_open = |(one, others): (&Subnet, &[&Subnet])| has_pair(one, others) && !is_listed(one);
    let there = of_load_balancer.iter().map(|one| (*one, of_database.as_slice()));
    let back = of_database.iter().map(|one| (*one, of_load_balancer.as_slice()));
    let is_unlisted = there.chain(back).any(is_open);
    let is_inside = |from: &&Subnet| !has_pair(from, &of_database);
    let ids: BTreeSet<&str> = now.iter().chain(&later).map(|question| question.acl.id.as_str()).collect();
    if is_unlisted || now.is_empty() && !of_load_balancer.iter().all(is_inside) {
        let observed = "the network ACLs of these subnets, which the EC2 API does not list";
        return Some(Finding::not_examined(CHECK, observed, "run the doctor in the account of the subnets"));
    }
    if let Some((observed, fix)) = denied(context, &later) {
        let impact = "the next failover may move the writer into such a subnet, and packets are then dropped";
        return Some(Finding::warning(CHECK, observed, impact, fix).of_kind(FindingKind::NextFailover));
    }
    Some(Finding::ok(CHECK, ids.into_iter().listed_or("none applies inside one subnet")))
}

fn questions<'n>(acls: &'n [Acl], from: &Subnet, to: &Subnet, port: u16, is_v4: bool) -> Vec<Question<'n>> {
    let acl = |subnet: &Subnet| acls.iter().find(|acl| acl.subnets.contains(&subnet.id));
    let mut questions = Vec::new();
    let is_of_family = |cidr: &&IpNet| cidr.addr().is_ipv4() == is_v4;
    let (Some(here), Some(there)) =
        (from.cidrs.iter().find(is_of_family), to.cidrs.iter().find(is_of_family))
    else {
        return questions;
    };
    let to_port = Ports::one(port);
    if let Some(acl) = acl(from) {
        questions.push(Question { acl, is_egress: true, peer: *there, ports: to_port });
        questions.push(Question { acl, is_egress: false, peer: *there, ports: Ports::OF_CLIENTS });
    }
    if let Some(acl) = acl(to) {
        questions.push(Question { acl, is_egress: false, peer: *here, ports: to_port });
        questions.push(Question { acl, is_egress: true, peer: *here, ports: Ports::OF_CLIENTS });
    }
    questions
}

struct Denial<'n> {
    question: Question<'n>,
    denied: Ports,
    /// The number of the entry that denies it.
    by: u16,
}

/// The ports that are denied, and the number of the entry that denies them: the first that matches decides.
///
/// An entry for a part of the peer's range counts if it allows, since it may be for the very addresses that matter.
fn deny(question: Question<'_>) -> Option<Denial<'_>> {
    let Question { acl, is_egress, peer, ports } = question;
    let mut entries: Vec<&AclEntry> =
        acl.entries.iter().filter(|entry| entry.is_egress == is_egress).collect();
    entries.sort_by_key(|entry| entry.number);
    let mut open = vec![ports];
    for entry in entries {
        let covers = entry.cidr.contains(&peer);
        if !(covers || entry.allows && peer.contains(&entry.cidr)) {
            continue;
        }
        if !entry.allows
            && let Some(denied) = open.iter().find_map(|ports| common(*ports, entry.ports))
        {
            return Some(Denial { question, denied, by: entry.number });
        }
        open = open.into_iter().flat_map(|ports| without(ports, entry.ports)).collect();
    }
    open.first().map(|ports| Denial { question, denied: *ports, by: LAST + 1 })
}

fn common(one: Ports, other: Ports) -> Option<Ports> {
    let (from, to) = (one.from.max(other.from), one.to.min(other.to));
    (from <= to).then_some(Ports { from, to })
}

fn without(ports: Ports, taken: Ports) -> Vec<Ports> {
    let below = taken.from.checked_sub(1).and_then(|to| common(ports, Ports { from: 0, to }));
    let above = taken.to.checked_add(1).and_then(|from| common(ports, Ports { from, to: u16::MAX }));
    below.into_iter().chain(above).collect()
}

/// What the ACLs deny, and the commands that together open the way.
fn denied(context: CheckContext<'_>, asked: &[Question<'_>]) -> Option<(String, String)> {
    let mut used: BTreeSet<(&str, bool, u16)> = BTreeSet::new();
    let (mut observed, mut fixes): (Vec<String>, Vec<String>) = Default::default();
    let denials = asked.iter().filter_map(|question| deny(*question));
    for Denial { question: Question { acl, is_egress, peer, ports }, denied, by } in denials {
        let (what, direction) = if is_egress { ("to", "--egress") } else { ("from", "--ingress") };
        let by_entry = if by > LAST { "no entry allows".to_owned() } else { format!("entry {by} denies") };
        let one = format!("{}: {by_entry} port {denied} {what} {peer}", acl.id);
        if observed.contains(&one) {
            continue;
        }
        observed.push(one);
        let is_taken = |number: u16| {
            let entries = acl.entries.iter();
            entries.filter(|it| it.is_egress == is_egress).any(|it| it.number == number)
                || used.contains(&(&acl.id, is_egress, number))
        };
        // Before the entry that denies, where a number is free.
        let Some(number) = (1..by).rev().find(|number| !is_taken(*number)) else {
            let describe = context.aws("ec2 describe-network-acls --network-acl-ids", &[&acl.id]);
            fixes.push(format!(
                "entry {by} of {} leaves no lower number free; renumber it: {describe}",
                acl.id
            ));
            continue;
        };
        used.insert((&acl.id, is_egress, number));
        let (number, range) = (number.to_string(), format!("From={},To={}", ports.from, ports.to));
        let cidr = if peer.addr().is_ipv4() { "--cidr-block" } else { "--ipv6-cidr-block" };
        fixes.push(context.aws(
            "ec2 create-network-acl-entry --network-acl-id {} {} --rule-number {} --protocol tcp --port-range {} {} {} \
             --rule-action allow",
            &[&acl.id, direction, &number, &range, cidr, &peer.to_string()],
        ));
    }
    let fix = format!("allow it: {}", fixes.join(" "));
    (!observed.is_empty()).then(|| (observed.join("; "), fix))
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
        let question = Question { acl: &acl, is_egress: false, peer, ports: Ports { from, to } };
        deny(question).map(|Denial { denied, by, .. }| (denied, by))
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
}
