//! Security groups: the load balancer's admit clients and let it out to the database, and the database's admit the
//! load balancer. A resource gateway of VPC Lattice needs the last two as well.
//!
//! Rules only allow. The addresses of a prefix list are not read. While a rule names one, no missing rule is reported.
//! Such a rule counts as admitting the other side only if healthy targets show that connections get through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::database_side;
use super::facts::{Connection, Network, Peer, Rule, Subnet};
use crate::doctor::context::CheckContext;
use crate::doctor::facts::{Fact, LoadBalancer, LoadBalancerFacts};
use crate::doctor::finding::{Checked, FactOr as _, Finding, all};
use crate::text::Joined as _;

const OF_CLIENTS: &str = "security_groups";
const OF_LOAD_BALANCER: &str = "load_balancer_egress";
const OF_DATABASE: &str = "database_ingress";

pub fn findings(context: CheckContext<'_>, attached: &LoadBalancerFacts, network: &Network) -> Vec<Finding> {
    let load_balancer = &attached.load_balancer;
    let serving = attached.serving(context.group_arn(), context.port());
    let subnets = network.subnets.as_ref().ok();
    let of_zones = subnets.map(|subnets| database_side::load_balancer_subnets(load_balancer, subnets));
    let source = Source {
        context,
        name: "the load balancer",
        vpc: load_balancer.vpc.as_deref(),
        egress: OF_LOAD_BALANCER,
        ingress: OF_DATABASE,
        security_groups: &load_balancer.security_groups,
        subnets: of_zones.unwrap_or_default(),
        is_known_to_connect: database_side::is_reached(context),
        database_ranges: subnets.map(|subnets| database_side::ranges(context, subnets)).unwrap_or_default(),
    };
    let mut findings = Vec::new();
    if let (Some(listener), Ok(rules)) = (serving, &network.rules)
        && !load_balancer.security_groups.is_empty()
    {
        findings.extend(all(check_clients(context, load_balancer, network, rules, listener.port)));
    }
    findings.extend(source.check(&network.rules, &network.subnets));
    findings
}

/// The load balancer's groups admit somebody to the listener's port. Which addresses vendors have is not known here.
fn check_clients(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
    rules: &[Rule],
    port: u16,
) -> Checked<Option<Finding>> {
    // The check of the load balancer says so.
    if !load_balancer.enforces_on_private_link {
        return Ok(None);
    }
    let allowed = allowing(rules, &load_balancer.security_groups, false, port);
    let groups = load_balancer.security_groups.join(", ");
    let fix = format!(
        "do not apply it to PrivateLink clients, because the endpoint service admits those: {} or add inbound rules for the \
         clients' own addresses",
        context.set_not_enforced(load_balancer)
    );
    if allowed.is_empty() {
        let observed = format!("{groups} has no inbound rule for port {port}");
        let impact = "the load balancer drops every client's connection";
        return Ok(Some(Finding::problem(OF_CLIENTS, observed, impact, fix)));
    }
    let observed = format!("{groups} admits {} to port {port}", peers(&allowed));
    if !allowed.iter().all(|rule| matches!(rule.peer, Peer::Group(_))) {
        return Ok(Some(Finding::ok(OF_CLIENTS, observed)));
    }
    let not_checked = format!("{observed}, and whether PrivateLink clients need more");
    let services = network.services.or_not_examined(OF_CLIENTS, &not_checked)?;
    if services.is_empty() {
        return Ok(Some(Finding::ok(OF_CLIENTS, observed)));
    }
    // A client of another account is not in a group of this one.
    let observed = format!("{observed}, and no range of addresses");
    let impact = "the load balancer drops the connections of PrivateLink clients in other accounts";
    let is_available = |it: &Connection| it.state.eq_ignore_ascii_case("available");
    let mut connections = services.iter().filter_map(|it| it.connections.as_ref()?.as_ref().ok()).flatten();
    let finding = if connections.any(is_available) { Finding::problem } else { Finding::warning };
    Ok(Some(finding(OF_CLIENTS, observed, impact, fix)))
}

/// What connects to the database: a load balancer, or a resource gateway.
pub struct Source<'a> {
    pub context: CheckContext<'a>,
    /// What the findings call it.
    pub name: &'static str,
    pub vpc: Option<&'a str>,
    /// The name of the check of its own groups.
    pub egress: &'static str,
    /// The name of the check of the database's groups.
    pub ingress: &'static str,
    pub security_groups: &'a [String],
    pub subnets: Vec<&'a Subnet>,
    /// Whether healthy targets show that it gets through, from one of its subnets at least.
    pub is_known_to_connect: bool,
    /// The ranges of the database's subnets, which a new outbound rule is for.
    pub database_ranges: Vec<IpNet>,
}

impl Source<'_> {
    /// The source's groups let it out to the database, and the database's groups admit it from each of its own subnets.
    pub fn check(&self, rules: &Fact<Vec<Rule>>, subnets: &Fact<BTreeMap<String, Subnet>>) -> Vec<Finding> {
        let admits = format!("whether the database's security group admits {}", self.name);
        let not_checked = format!("{admits}, and its own allow the connections");
        let rules = match rules.or_not_examined(self.ingress, &not_checked) {
            Ok(rules) => rules,
            Err(unread) => return vec![unread],
        };
        let mut findings: Vec<Finding> = self.check_egress(rules).into_iter().collect();
        findings.push(self.check_database(rules).unwrap_or_else(|| {
            let observed = format!(
                "{admits}: the database's port, addresses or security groups are not known, or the subnets of {} have \
                 no range of the address's family",
                self.name
            );
            let fix = "see the findings endpoint, database and target_group";
            let unread = subnets.or_not_examined(self.ingress, &admits).err();
            unread.unwrap_or_else(|| Finding::not_examined(self.ingress, observed, fix))
        }));
        findings
    }

    /// The source's groups let it connect to the database. `None` without a port or an address, or where it has no
    /// groups.
    fn check_egress(&self, rules: &[Rule]) -> Option<Finding> {
        let Source { context, name, egress, .. } = self;
        let (port, own) = (context.port()?, self.security_groups.first()?);
        let of_database = context.security_groups();
        let addresses = database_side::addresses(*context);
        addresses.first()?;
        let allowed = allowing(rules, self.security_groups, true, port);
        let reaches = |address: &IpAddr| {
            allowed.iter().any(|rule| match &rule.peer {
                Peer::Cidr(cidr) => cidr.contains(address),
                Peer::Group(group) => of_database.contains(group),
                Peer::PrefixList(_) => self.is_known_to_connect,
            })
        };
        let missing: Vec<&IpAddr> = addresses.iter().filter(|address| !reaches(address)).collect();
        let groups = self.security_groups.join(", ");
        if missing.is_empty() {
            let observed = format!("{groups} allows {name} outbound connections to port {port}");
            return Some(Finding::ok(egress, observed));
        }
        let to = format!("{name} outbound connections to {} port {port}", missing.iter().joined(", "));
        let may_reach = |rule: &&&Rule| match &rule.peer {
            Peer::Cidr(_) => false,
            Peer::Group(_) => of_database.is_empty(),
            Peer::PrefixList(_) => true,
        };
        let open: Vec<&Rule> = allowed.iter().filter(may_reach).copied().collect();
        if !open.is_empty() {
            return Some(self.not_judged(egress, &format!("whether {groups} allows {to}"), &open));
        }
        let is_named_by_group = self.is_in_the_databases_vpc() || self.database_ranges.is_empty();
        let permission = match of_database.first().filter(|_| is_named_by_group) {
            Some(database) => permission_for_group(port, database),
            // After a failover the database has another address, but in the same subnets.
            None if !self.database_ranges.is_empty() => {
                permission(port, self.database_ranges.iter().copied())
            }
            None => permission(port, missing.iter().map(|address| IpNet::from(**address))),
        };
        let rule = "ec2 authorize-security-group-egress --group-id {} --ip-permissions {}";
        let fix = format!("add an outbound rule: {}", context.aws(rule, &[own, &permission]));
        let impact = format!("{name} cannot connect to the database");
        Some(self.cut_off(egress, format!("{groups} does not allow {to}"), &impact, fix))
    }

    /// `None` without a port or an address, where the database's groups are not known, or where they admit no group of
    /// the source's and no range of the address's family is known of its subnets.
    fn check_database(&self, rules: &[Rule]) -> Option<Finding> {
        let Source { context, name, ingress, .. } = self;
        let port = context.port()?;
        let own = context.security_groups().first()?;
        let is_v4 = database_side::addresses(*context).first()?.is_ipv4();
        let allowed = allowing(rules, context.security_groups(), false, port);
        let is_admitted = allowed.iter().any(|rule| match &rule.peer {
            Peer::Group(group) => self.security_groups.contains(group),
            Peer::PrefixList(_) => self.is_known_to_connect,
            Peer::Cidr(_) => false,
        });
        let cidrs = self.subnets.iter().flat_map(|subnet| &subnet.cidrs);
        let cidrs: Vec<&IpNet> = cidrs.filter(|cidr| cidr.addr().is_ipv4() == is_v4).collect();
        if cidrs.is_empty() && !is_admitted {
            return None;
        }
        let ranges = allowed.iter().filter_map(|rule| match rule.peer {
            Peer::Cidr(cidr) => Some(cidr),
            Peer::Group(_) | Peer::PrefixList(_) => None,
        });
        let ranges = IpNet::aggregate(&ranges.collect());
        let is_covered = |cidr: &&IpNet| ranges.iter().any(|range| range.contains(*cidr));
        let uncovered: Vec<&IpNet> = cidrs.into_iter().filter(|cidr| !is_covered(cidr)).collect();
        // A rule for a part of a subnet may be for the source's own addresses.
        let may_admit = |rule: &Rule, cidr: &IpNet| match &rule.peer {
            Peer::Cidr(other) => cidr.contains(other),
            Peer::PrefixList(_) => true,
            Peer::Group(_) => false,
        };
        let missing = uncovered.iter().filter(|cidr| !allowed.iter().any(|rule| may_admit(rule, cidr)));
        let missing: Vec<IpNet> = missing.map(|cidr| **cidr).collect();
        let groups = context.security_groups().join(", ");
        let admits = format!("{groups} admits {name} to port {port}");
        if is_admitted || uncovered.is_empty() || (missing.is_empty() && self.is_known_to_connect) {
            return Some(Finding::ok(ingress, admits));
        }
        if missing.is_empty() {
            let may_be_for_it = |rule: &&Rule| uncovered.iter().any(|cidr| may_admit(rule, cidr));
            let open: Vec<&Rule> = allowed.into_iter().filter(may_be_for_it).collect();
            return Some(self.not_judged(ingress, &format!("whether {admits}"), &open));
        }
        let permission = match self.security_groups.first().filter(|_| self.is_in_the_databases_vpc()) {
            Some(source) => permission_for_group(port, source),
            None => permission(port, missing.iter().copied()),
        };
        let from = missing.iter().joined(", ");
        let observed = match peers(&allowed) {
            none if none.is_empty() => {
                format!("{groups} has no inbound rule for port {port}, so it does not admit {name} ({from})")
            }
            list => format!("{groups} admits only {list} to port {port}, and not {name} ({from})"),
        };
        let rule = "ec2 authorize-security-group-ingress --group-id {} --ip-permissions {}";
        let fix = format!("add the rule: {}", context.aws(rule, &[own, &permission]));
        let impact = format!("the database's security group blocks {name}");
        Some(self.cut_off(ingress, observed, &impact, fix))
    }

    /// As far as is known. A rule may name a group of another VPC only over a peering connection, or a transit gateway
    /// that supports it (VPC guide, "Security group referencing").
    fn is_in_the_databases_vpc(&self) -> bool {
        self.context.writer_host().is_none_or(|host| host.is_in_vpc(self.vpc))
    }

    fn cut_off(&self, check: &'static str, observed: String, impact: &str, fix: String) -> Finding {
        if self.is_known_to_connect {
            return database_side::cut_off(self.context, check, observed, impact, fix);
        }
        Finding::problem(check, observed, format!("{impact}: clients are cut off"), fix)
    }

    /// The finding where the rules `open` may let the source through, and the facts do not show whether they do.
    fn not_judged(&self, check: &'static str, whether: &str, open: &[&Rule]) -> Finding {
        let look = |rule: &&Rule| match &rule.peer {
            Peer::PrefixList(id) => {
                let show = self.context.aws("ec2 get-managed-prefix-list-entries --prefix-list-id", &[id]);
                format!("see the prefix list's addresses: {show}")
            }
            Peer::Group(_) => "see the finding database".to_owned(),
            Peer::Cidr(_) => format!("see the addresses of {}: {}", self.name, self.interfaces()),
        };
        let looks: BTreeSet<String> = open.iter().map(look).collect();
        let rules = peers(open);
        let observed =
            format!("{whether}: the rule for {rules} may do so, and the facts do not show whether it does");
        Finding::not_examined(check, observed, looks.iter().joined("; "))
    }

    fn interfaces(&self) -> String {
        let filter = match self.security_groups {
            [] => format!("Name=subnet-id,Values={}", self.subnets.iter().map(|it| &it.id).joined(",")),
            groups => format!("Name=group-id,Values={}", groups.join(",")),
        };
        self.context.aws("ec2 describe-network-interfaces --filters", &[&filter])
    }
}

/// The rules of these groups that allow this port.
fn allowing<'n>(rules: &'n [Rule], groups: &[String], is_egress: bool, port: u16) -> Vec<&'n Rule> {
    let allows = |rule: &&Rule| {
        rule.is_egress == is_egress
            && groups.contains(&rule.group)
            && rule.ports.is_some_and(|ports| ports.contains(port))
    };
    rules.iter().filter(allows).collect()
}

fn peers(rules: &[&Rule]) -> String {
    rules.iter().map(|rule| rule.peer.to_string()).collect::<BTreeSet<_>>().iter().joined(", ")
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
