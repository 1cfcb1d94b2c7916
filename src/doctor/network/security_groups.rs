//! Security groups: the load balancer's admit clients and let it out to the database, and the database's admit the
//! load balancer. A resource gateway of VPC Lattice needs the last two as well.
//!
//! Rules only allow. A prefix list may hold any address, so no missing rule is reported beside one. Only where health
//! checks show that connections get through does it count as a rule for the other side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::database_side;
use super::facts::{Connection, Network, Peer, Rule, Subnet};
use crate::doctor::context::CheckContext;
use crate::doctor::facts::{Fact, LoadBalancer, LoadBalancerFacts};
use crate::doctor::finding::Finding;
use crate::text::Joined as _;

const OF_CLIENTS: &str = "security_groups";
const OF_LOAD_BALANCER: &str = "load_balancer_egress";
const OF_DATABASE: &str = "database_ingress";

/// What connects to the database: a load balancer, or a resource gateway.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub name: &'static str,
    pub egress: &'static str,
    pub ingress: &'static str,
    pub security_groups: &'a [String],
    pub subnets: &'a [&'a Subnet],
    /// Whether a healthy target shows that it gets through, from one of its subnets at least.
    pub has_health_checks: bool,
}

impl Source<'_> {
    fn cut_off(
        self,
        context: CheckContext<'_>,
        check: &'static str,
        observed: String,
        fix: String,
    ) -> Finding {
        let impact = match check == self.egress {
            true => format!("{} cannot connect to the database", self.name),
            false => format!("the database's security group blocks {}", self.name),
        };
        if self.has_health_checks {
            return database_side::cut_off(context, check, observed, &impact, fix);
        }
        Finding::problem(check, observed, format!("{impact}: clients are cut off"), fix)
    }

    /// The finding where the rules `open` may let the source through, and the facts do not show whether they do.
    fn not_judged(
        self,
        context: CheckContext<'_>,
        check: &'static str,
        whether: &str,
        open: &[&Rule],
    ) -> Finding {
        let look = |rule: &&Rule| match &rule.peer {
            Peer::PrefixList(id) => {
                let show = context.aws("ec2 get-managed-prefix-list-entries --prefix-list-id", &[id]);
                format!("see the prefix list's addresses: {show}")
            }
            Peer::Group(_) => "see the finding database".to_owned(),
            Peer::Cidr(_) => format!("see the addresses of {}: {}", self.name, self.interfaces(context)),
        };
        let looks: BTreeSet<String> = open.iter().map(look).collect();
        let rules = list(open.iter().copied());
        let observed =
            format!("{whether}: the rule for {rules} may do so, and the facts do not show whether it does");
        Finding::not_examined(check, observed, looks.iter().joined("; "))
    }

    fn interfaces(self, context: CheckContext<'_>) -> String {
        let filter = match self.security_groups {
            [] => {
                let subnets = self.subnets.iter().map(|subnet| &subnet.id);
                format!("Name=subnet-id,Values={}", subnets.joined(","))
            }
            groups => format!("Name=group-id,Values={}", groups.join(",")),
        };
        context.aws("ec2 describe-network-interfaces --filters", &[&filter])
    }
}

pub fn findings(context: CheckContext<'_>, attached: &LoadBalancerFacts, network: &Network) -> Vec<Finding> {
    let load_balancer = &attached.load_balancer;
    let serving = attached.serving(context.binding.target_group.as_str(), context.port());
    let subnets = network.subnets.as_ref().ok();
    let of_zones = subnets.map(|subnets| database_side::of_load_balancer(load_balancer, subnets));
    let source = Source {
        name: "the load balancer",
        egress: OF_LOAD_BALANCER,
        ingress: OF_DATABASE,
        security_groups: &load_balancer.security_groups,
        subnets: of_zones.as_deref().unwrap_or_default(),
        has_health_checks: database_side::is_reached(context),
    };
    let mut findings = Vec::new();
    if let (Some(listener), Ok(rules)) = (serving, &network.rules)
        && !load_balancer.security_groups.is_empty()
    {
        findings.extend(check_clients(context, load_balancer, network, rules, listener.port));
    }
    let ranges = subnets.map(|subnets| database_side::ranges(context, subnets)).unwrap_or_default();
    findings.extend(check_source(context, source, &network.rules, ranges, &network.subnets));
    findings
}

/// The source's groups let it out to the database, whose subnets have these ranges, and the database's groups admit it
/// from each of its own subnets.
pub fn check_source(
    context: CheckContext<'_>,
    source: Source<'_>,
    rules: &Fact<Vec<Rule>>,
    ranges: Vec<IpNet>,
    subnets: &Fact<BTreeMap<String, Subnet>>,
) -> Vec<Finding> {
    let Source { name, ingress, .. } = source;
    let rules = match rules {
        Err(unread) => {
            let could_not = format!(
                "whether the database's security group admits {name}, and its own allow the connections"
            );
            return vec![Finding::unread(ingress, unread, &could_not)];
        }
        Ok(rules) => rules,
    };
    let could_not = format!("whether the database's security group admits {name}");
    let database = check_database(context, source, rules).unwrap_or_else(|| match subnets {
        Err(unread) => Finding::unread(ingress, unread, &could_not),
        Ok(_) => Finding::not_examined(
            ingress,
            format!(
                "{could_not}: the database's port, addresses or security groups are not known, or the subnets of {name} \
                 have no range of the address's family"
            ),
            "see the findings endpoint, database and target_group",
        ),
    });
    check_egress(context, source, rules, ranges).into_iter().chain([database]).collect()
}

fn allowing<'n>(
    rules: &'n [Rule],
    groups: &'n [String],
    is_egress: bool,
    port: u16,
) -> impl Iterator<Item = &'n Rule> {
    let is_of = move |rule: &&Rule| {
        rule.is_egress == is_egress
            && groups.contains(&rule.group)
            && rule.ports.is_some_and(|ports| ports.contains(port))
    };
    rules.iter().filter(is_of)
}

fn list<'a>(peers: impl Iterator<Item = &'a Rule>) -> String {
    peers.map(|rule| rule.peer.to_string()).collect::<BTreeSet<_>>().iter().joined(", ")
}

/// The load balancer's groups admit somebody to the listener's port. Which addresses vendors have is not known here.
fn check_clients(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
    rules: &[Rule],
    port: u16,
) -> Option<Finding> {
    // The check of the load balancer says so.
    if !load_balancer.enforces_on_private_link {
        return None;
    }
    let groups = &load_balancer.security_groups;
    let admitted = list(allowing(rules, groups, false, port));
    let fix = format!(
        "do not apply it to PrivateLink clients, because the endpoint service admits those: {} or add inbound rules for the \
         clients' own addresses",
        context.set_not_enforced(load_balancer)
    );
    if admitted.is_empty() {
        let observed = format!("{} has no inbound rule for port {port}", groups.join(", "));
        let impact = "the load balancer drops every client's connection";
        return Some(Finding::problem(OF_CLIENTS, observed, impact, fix));
    }
    let observed = format!("{} admits {admitted} to port {port}", groups.join(", "));
    let mut admitting = allowing(rules, groups, false, port);
    if !admitting.all(|rule| matches!(rule.peer, Peer::Group(_))) {
        return Some(Finding::ok(OF_CLIENTS, observed));
    }
    let services = match &network.services {
        Err(unread) => {
            let could_not = format!("{observed}, and whether PrivateLink clients need more");
            return Some(Finding::unread(OF_CLIENTS, unread, &could_not));
        }
        Ok(services) if services.is_empty() => return Some(Finding::ok(OF_CLIENTS, observed)),
        Ok(services) => services,
    };
    // A client of another account is not in a group of this one.
    let observed = format!("{observed}, and no range of addresses");
    let impact = "the load balancer drops the connections of PrivateLink clients in other accounts";
    let is_available = |it: &Connection| it.state.eq_ignore_ascii_case("available");
    let connections =
        services.iter().filter_map(|service| service.connections.as_ref()?.as_ref().ok()).flatten();
    let has_clients = connections.into_iter().any(is_available);
    let finding = if has_clients { Finding::problem } else { Finding::warning };
    Some(finding(OF_CLIENTS, observed, impact, fix))
}

/// The source's groups let it connect to the database. `None` without a port or an address, or where it has no groups.
fn check_egress(
    context: CheckContext<'_>,
    source: Source<'_>,
    rules: &[Rule],
    ranges: Vec<IpNet>,
) -> Option<Finding> {
    let Source { name, egress, security_groups: groups, .. } = source;
    let (port, own) = (context.port()?, groups.first()?);
    let of_database = context.security_groups();
    let addresses = database_side::addresses(context);
    let allowed: Vec<&Rule> = allowing(rules, groups, true, port).collect();
    let reaches = |address: &IpAddr| {
        allowed.iter().any(|rule| match &rule.peer {
            Peer::Cidr(cidr) => cidr.contains(address),
            Peer::Group(group) => of_database.contains(group),
            Peer::PrefixList(_) => source.has_health_checks,
        })
    };
    addresses.first()?;
    let missing: Vec<&IpAddr> = addresses.iter().filter(|address| !reaches(address)).collect();
    if missing.is_empty() {
        let observed = format!("{} allows {name} outbound connections to port {port}", groups.join(", "));
        return Some(Finding::ok(egress, observed));
    }
    let to = missing.iter().joined(", ");
    let may_reach = |rule: &&Rule| match &rule.peer {
        Peer::Cidr(_) => false,
        Peer::Group(_) => of_database.is_empty(),
        Peer::PrefixList(_) => true,
    };
    let open: Vec<&Rule> = allowed.into_iter().filter(may_reach).collect();
    if !open.is_empty() {
        let whether =
            format!("whether {} allows {name} outbound connections to {to} port {port}", groups.join(", "));
        return Some(source.not_judged(context, egress, &whether, &open));
    }
    let permission = match of_database.first() {
        Some(database) => permission_for_group(port, database),
        // After a failover the database has another address, but in the same subnets.
        None if !ranges.is_empty() => permission(port, ranges.into_iter()),
        None => permission(port, missing.iter().map(|address| IpNet::from(**address))),
    };
    let observed =
        format!("{} does not allow {name} outbound connections to {to} port {port}", groups.join(", "));
    let rule = "ec2 authorize-security-group-egress --group-id {} --ip-permissions {}";
    let fix = format!("add an outbound rule: {}", context.aws(rule, &[own, &permission]));
    Some(source.cut_off(context, egress, observed, fix))
}

/// `None` without a port or an address, where the database's groups are not known, or where they admit no group of the
/// source's and no range of the address's family is known of its subnets.
fn check_database(context: CheckContext<'_>, source: Source<'_>, rules: &[Rule]) -> Option<Finding> {
    let Source { name, ingress, security_groups, subnets, has_health_checks, .. } = source;
    let port = context.port()?;
    let groups = context.security_groups();
    let own = groups.first()?;
    let is_v4 = database_side::addresses(context).first()?.is_ipv4();
    let allowed: Vec<&Rule> = allowing(rules, groups, false, port).collect();
    let is_admitted = allowed.iter().any(|rule| match &rule.peer {
        Peer::Group(group) => security_groups.contains(group),
        Peer::PrefixList(_) => has_health_checks,
        Peer::Cidr(_) => false,
    });
    let cidrs = subnets.iter().flat_map(|subnet| &subnet.cidrs).filter(|cidr| cidr.addr().is_ipv4() == is_v4);
    let cidrs: Vec<&IpNet> = cidrs.collect();
    if cidrs.is_empty() && !is_admitted {
        return None;
    }
    let admitted = IpNet::aggregate(&allowed.iter().filter_map(|rule| range(rule)).collect());
    let is_covered = |cidr: &IpNet| admitted.iter().any(|other| other.contains(cidr));
    let uncovered: Vec<&IpNet> = cidrs.into_iter().filter(|cidr| !is_covered(cidr)).collect();
    // A rule for a part of a subnet may be for the source's own addresses.
    let may_admit = |rule: &Rule, cidr: &IpNet| match &rule.peer {
        Peer::Cidr(other) => cidr.contains(other),
        Peer::PrefixList(_) => true,
        Peer::Group(_) => false,
    };
    let missing = uncovered.iter().filter(|cidr| !allowed.iter().any(|rule| may_admit(rule, cidr)));
    let missing: Vec<IpNet> = missing.map(|cidr| **cidr).collect();
    if is_admitted || uncovered.is_empty() || (missing.is_empty() && has_health_checks) {
        let observed = format!("{} admits {name} to port {port}", groups.join(", "));
        return Some(Finding::ok(ingress, observed));
    }
    if missing.is_empty() {
        let may_be_for_it = |rule: &&Rule| uncovered.iter().any(|cidr| may_admit(rule, cidr));
        let open: Vec<&Rule> = allowed.into_iter().filter(may_be_for_it).collect();
        let whether = format!("whether {} admits {name} to port {port}", groups.join(", "));
        return Some(source.not_judged(context, ingress, &whether, &open));
    }
    let permission = match security_groups.first() {
        Some(source) => permission_for_group(port, source),
        None => permission(port, missing.iter().copied()),
    };
    let from = missing.iter().joined(", ");
    let present = Some(list(allowed.into_iter())).filter(|list| !list.is_empty());
    let groups = groups.join(", ");
    let observed = match present {
        Some(list) => format!("{groups} admits only {list} to port {port}, and not {name} ({from})"),
        None => format!("{groups} has no inbound rule for port {port}, so it does not admit {name} ({from})"),
    };
    let rule = "ec2 authorize-security-group-ingress --group-id {} --ip-permissions {}";
    let fix = format!("add the rule: {}", context.aws(rule, &[own, &permission]));
    Some(source.cut_off(context, ingress, observed, fix))
}

fn range(rule: &Rule) -> Option<IpNet> {
    if let Peer::Cidr(cidr) = &rule.peer { Some(*cidr) } else { None }
}

fn permission_for_group(port: u16, group: &str) -> String {
    format!("IpProtocol=tcp,FromPort={port},ToPort={port},UserIdGroupPairs=[{{GroupId={group}}}]")
}

fn permission(port: u16, cidrs: impl Iterator<Item = IpNet>) -> String {
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = cidrs.partition(|cidr| cidr.addr().is_ipv4());
    let ranges = |name: &str, key: &str, cidrs: Vec<IpNet>| {
        let list = cidrs.iter().map(|cidr| format!("{{{key}={cidr}}}")).joined(",");
        if list.is_empty() { String::new() } else { format!(",{name}=[{list}]") }
    };
    let (v4, v6) = (ranges("IpRanges", "CidrIp", v4), ranges("Ipv6Ranges", "CidrIpv6", v6));
    format!("IpProtocol=tcp,FromPort={port},ToPort={port}{v4}{v6}")
}
