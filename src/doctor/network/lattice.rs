//! Paths by VPC Lattice: a resource configuration has the database's name, a resource gateway connects to it, and a
//! resource share admits the vendor's account. No load balancer and no target group takes part.
//!
//! VPC Lattice follows a failover by resolving the name. A configuration with an address, or with the name of one instance
//! of a cluster, stays where it is.

use std::net::{IpAddr, SocketAddr};

use super::facts::{LatticePath, Resource, ResourceConfiguration, ResourceGateway};
use super::security_groups::Source;
use super::{database_side, shares};
use crate::binding::Role;
use crate::doctor::context::CheckContext;
use crate::doctor::facts::{Database, DatabaseKind, Fact, Unread};
use crate::doctor::finding::{Checked, FactOr as _, Finding, all};
use crate::endpoint::{self, RdsKind, RdsName, is_of_a_cluster};
use crate::error::ErrorKind;

const CONFIGURATION: &str = "lattice_configuration";
const RESOURCE: &str = "lattice_resource";
const PORT: &str = "lattice_port";
const GATEWAY: &str = "lattice_gateway";
const EGRESS: &str = "lattice_egress";
const INGRESS: &str = "lattice_ingress";

const INSTANCE: Designation = Designation::Fixed("the name of one instance of the cluster");
const INSTANCE_ARN: Designation = Designation::Fixed("the ARN of one instance of the cluster");

/// How a resource configuration designates the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Designation {
    /// By a name or an ARN that leads to the new writer after a failover.
    Follows,
    /// By an address or a name that a failover leaves behind.
    Fixed(&'static str),
    /// By the cluster's reader endpoint. It may be a path for readers.
    Readers,
    /// Not decidable: names the kind of resource.
    Unjudged(&'static str),
}

pub fn findings(context: CheckContext<'_>, paths: &Fact<Vec<LatticePath>>) -> Checked<Vec<Finding>> {
    let not_checked = match paths {
        Err(Unread { kind: ErrorKind::Transient, .. }) => "paths by VPC Lattice, which not every Region has",
        _ => "paths by VPC Lattice",
    };
    let paths = paths.or_not_examined(CONFIGURATION, not_checked)?;
    if paths.is_empty() {
        let not_checked = "whether a resource configuration is for the database";
        context.facts.resolution.or_not_examined(CONFIGURATION, not_checked)?;
        context.facts.targets.or_not_examined(CONFIGURATION, not_checked)?;
        context.facts.database.or_not_examined(CONFIGURATION, not_checked)?;
        let observed = "this account has no resource configuration for the database";
        return Ok(vec![Finding::ok(CONFIGURATION, observed)]);
    }
    Ok(paths.iter().flat_map(|path| findings_about(context, path)).collect())
}

/// How the resource designates the binding's database, or `None` if it is another resource.
pub fn designation(context: CheckContext<'_>, resource: &Resource) -> Option<Designation> {
    let addresses = database_side::addresses(context);
    match resource {
        Resource::Name(name) => by_name(context, name),
        Resource::Address(address) => {
            let is_here = addresses.contains(address) || is_target(context, *address);
            is_here.then_some(Designation::Fixed("an address"))
        }
        Resource::Arn(arn) => by_arn(context, arn),
        Resource::Ranges(ranges) => {
            let is_inside = |address| ranges.iter().any(|range| range.contains(address));
            let may_hold_it = addresses.is_empty() || ranges.is_empty() || addresses.iter().any(is_inside);
            may_hold_it.then_some(Designation::Unjudged("a range of addresses"))
        }
        Resource::Other => Some(Designation::Unjudged("a resource of a kind that the doctor does not know")),
    }
}

fn by_name(context: CheckContext<'_>, name: &str) -> Option<Designation> {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let names: Vec<String> = context.names().into_iter().map(plain).collect();
    let parsed = RdsName::parse(name);
    let Some(index) = names.iter().position(|other| *other == plain(name)) else {
        return beside_chain(context, &names, &parsed?);
    };
    let last_of_rds = names.iter().rposition(|name| RdsName::parse(name).is_some());
    if last_of_rds.is_some_and(|last| index > last) {
        return Some(Designation::Fixed("the name of a host"));
    }
    let kind = parsed.map(|name| name.kind);
    let is_member = kind == Some(RdsKind::Instance) && names.iter().any(|name| is_of_a_cluster(name));
    if is_member || is_bound_to_a_member(context) {
        return Some(INSTANCE);
    }
    if kind == Some(RdsKind::Cluster) && is_global(names.iter().take(index).map(String::as_str)) {
        return Some(Designation::Fixed("the name of one Region's cluster"));
    }
    Some(Designation::Follows)
}

/// By a name of the same database that DNS does not lead through now.
fn beside_chain(context: CheckContext<'_>, names: &[String], name: &RdsName) -> Option<Designation> {
    let database = context.database()?;
    if endpoint::zone(names)? != name.zone {
        return None;
    }
    let is_of_the_cluster = cluster(database).is_some_and(|id| id.eq_ignore_ascii_case(&name.identifier))
        && context.binding.role == Role::Writer;
    match name.kind {
        RdsKind::Instance if database.described.members.contains_key(&name.identifier) => Some(INSTANCE),
        RdsKind::ClusterReader if is_of_the_cluster => Some(Designation::Readers),
        RdsKind::Cluster if is_of_the_cluster => Some(Designation::Follows),
        _ => None,
    }
}

/// By `arn:PARTITION:rds:REGION:ACCOUNT:cluster:ID`, or `…:db:ID`.
fn by_arn(context: CheckContext<'_>, arn: &str) -> Option<Designation> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "rds", _, _, kind @ ("cluster" | "db"), id] = parts.as_slice() else { return None };
    let is_asked_for = id.eq_ignore_ascii_case(&context.facts.identifier);
    let Some(database) = context.database() else {
        // The database behind a proxy may have the proxy's name, or another.
        let is_proxy = context.is_named(RdsKind::Proxy);
        return (is_asked_for && !is_proxy).then_some(Designation::Follows);
    };
    if *kind == "cluster" {
        let is_this = cluster(database).is_some_and(|cluster| cluster.eq_ignore_ascii_case(id));
        let designation = match is_global(context.names().into_iter()) {
            true => Designation::Fixed("the ARN of one Region's cluster"),
            false => Designation::Follows,
        };
        return is_this.then_some(designation);
    }
    match database.kind {
        DatabaseKind::Cluster => {
            database.described.members.contains_key(&id.to_ascii_lowercase()).then_some(INSTANCE_ARN)
        }
        DatabaseKind::Instance if is_bound_to_a_member(context) => is_asked_for.then_some(INSTANCE_ARN),
        DatabaseKind::Instance => is_asked_for.then_some(Designation::Follows),
    }
}

fn cluster(database: &Database) -> Option<&str> {
    match database.kind {
        DatabaseKind::Cluster => Some(&database.identifier),
        DatabaseKind::Instance => database.member_of.as_deref(),
    }
}

/// Whether the binding's endpoint is the one of an instance of a cluster. The check of the endpoint's kind says so.
fn is_bound_to_a_member(context: CheckContext<'_>) -> bool {
    let is_member =
        |database: &Database| database.kind == DatabaseKind::Instance && database.member_of.is_some();
    context.binding.role == Role::Writer && context.database().is_some_and(is_member)
}

fn is_global<'n>(mut names: impl Iterator<Item = &'n str>) -> bool {
    names.any(|name| RdsKind::parse(name) == Some(RdsKind::Global))
}

/// Whether the group holds this address, whatever DNS says now.
fn is_target(context: CheckContext<'_>, address: IpAddr) -> bool {
    let Ok(targets) = &context.facts.targets else { return false };
    targets.keys().filter_map(|target| target.parse::<SocketAddr>().ok()).any(|target| target.ip() == address)
}

fn findings_about(context: CheckContext<'_>, path: &LatticePath) -> Vec<Finding> {
    let configuration = &path.configuration;
    // It may be another database's, and so is everything else about it.
    if let Some(Designation::Unjudged(what)) = designation(context, &configuration.resource) {
        let observed = format!("whether {} is for the database: it has {what}", configuration.id);
        let fix = format!("see its configuration: {}", show(context, configuration));
        return vec![Finding::not_examined(RESOURCE, observed, fix)];
    }
    let mut findings = vec![check_configuration(context, configuration)];
    findings.extend(check_resource(context, configuration));
    findings.extend(check_port(context, configuration));
    findings.extend(all(check_gateway(context, path)));
    findings.extend(all(shares::check_share(context, configuration, &path.shares).map(Some)));
    findings
}

fn check_configuration(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> Finding {
    let ResourceConfiguration { id, name, status, failure, .. } = configuration;
    let reason = failure.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let observed = format!("{name} ({id}), {status}{reason}");
    check_status(CONFIGURATION, observed, status, &show(context, configuration))
}

fn show(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> String {
    let id = &configuration.id;
    context.aws("vpc-lattice get-resource-configuration --resource-configuration-identifier", &[id])
}

fn check_gateway(context: CheckContext<'_>, path: &LatticePath) -> Checked<Vec<Finding>> {
    let between = "security groups between";
    let Some(gateway) = &path.gateway else {
        let id = &path.configuration.id;
        let observed = format!("{between} the resource gateway and the database: {id} names no gateway");
        let fix = format!("see its configuration: {}", show(context, &path.configuration));
        return Ok(vec![Finding::not_examined(GATEWAY, observed, fix)]);
    };
    let not_checked = format!("the resource gateway, and {between} it and the database");
    let ResourceGateway { id, status, security_groups, .. } =
        gateway.or_not_examined(GATEWAY, &not_checked)?;
    let show = context.aws("vpc-lattice get-resource-gateway --resource-gateway-identifier", &[id]);
    let mut findings = vec![check_status(GATEWAY, format!("{id}, {status}"), status, &show)];
    let source = Source {
        context,
        name: "the resource gateway",
        vpc: path
            .subnets
            .iter()
            .flat_map(|subnets| subnets.values())
            .next()
            .map(|subnet| subnet.vpc.as_str()),
        egress: EGRESS,
        ingress: INGRESS,
        security_groups,
        subnets: path.subnets.iter().flat_map(|subnets| subnets.values()).collect(),
        is_known_to_connect: false,
        database_ranges: Vec::new(),
    };
    findings.extend(source.check(&path.rules, &path.subnets));
    Ok(findings)
}

fn check_status(check: &'static str, observed: String, status: &str, look: &str) -> Finding {
    if status == "ACTIVE" {
        return Finding::ok(check, observed);
    }
    if status.ends_with("_IN_PROGRESS") {
        let impact = "it may not carry connections now";
        return Finding::warning(check, observed, impact, "run the doctor again in some minutes");
    }
    let fix = format!("correct the cause, then create it again: {look}");
    Finding::problem(check, observed, "it may carry no connection", fix)
}

fn check_resource(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> Option<Finding> {
    let ResourceConfiguration { id, resource, .. } = configuration;
    let resource_text = match resource {
        Resource::Name(text) | Resource::Arn(text) => text.clone(),
        Resource::Address(address) => address.to_string(),
        Resource::Ranges(_) | Resource::Other => return None,
    };
    let observed = format!("the resource configuration {id} leads to {resource_text}");
    match designation(context, resource)? {
        Designation::Follows => Some(Finding::ok(RESOURCE, observed)),
        Designation::Fixed(what) => {
            let impact = "this does not follow the writer: the next failover cuts clients off, or leads them \
                          to a database that they cannot write to";
            let fix = follow(context, configuration);
            Some(Finding::problem(RESOURCE, format!("{observed}, {what}"), impact, fix))
        }
        Designation::Readers => {
            let impact = "it leads to a reader, which clients cannot write to";
            let fix = format!("if clients write by this path, {}", follow(context, configuration));
            Some(Finding::warning(RESOURCE, format!("{observed}, the reader endpoint"), impact, fix))
        }
        Designation::Unjudged(_) => None,
    }
}

/// How the configuration gets a name that follows a failover.
fn follow(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> String {
    let Some(name) = name_to_follow(context) else {
        return "give it the cluster's writer endpoint, as the binding: see the finding endpoint_kind"
            .to_owned();
    };
    let is_v4 = match configuration.resource {
        Resource::Address(address) => address.is_ipv4(),
        _ => !context.is_v6(),
    };
    let family = if is_v4 { "IPV4" } else { "IPV6" };
    let definition = format!("dnsResource={{domainName={name},ipAddressType={family}}}");
    let option = "--resource-configuration-definition";
    let update = update(context, &[&configuration.id, option, &definition]);
    format!("give it the name that always leads to the writer: {update}")
}

/// The name that RDS gives and that follows the writer, or the endpoint. VPC Lattice resolves names of RDS from outside
/// the VPC, and other names perhaps not.
fn name_to_follow<'a>(context: CheckContext<'a>) -> Option<&'a str> {
    let follows = |name: &&str| by_name(context, name) == Some(Designation::Follows);
    let mut of_rds = context.names().into_iter().filter(|name| RdsName::parse(name).is_some());
    of_rds.find(follows).or_else(|| Some(context.binding.endpoint.as_str()).filter(follows))
}

fn update(context: CheckContext<'_>, values: &[&str]) -> String {
    context.aws("vpc-lattice update-resource-configuration --resource-configuration-identifier", values)
}

/// The configuration carries connections to the database's port. `None` where it names no ports.
fn check_port(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> Option<Finding> {
    let ResourceConfiguration { id, ports, .. } = configuration;
    let (port, _) = (context.port()?, ports.first()?);
    let ranges: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let observed = format!("{id} has port {}", ranges.join(", "));
    if ports.iter().any(|range| range.contains(port)) {
        return Some(Finding::ok(PORT, observed));
    }
    let port = port.to_string();
    let mut values = vec![id.as_str(), "--port-ranges"];
    values.extend(ranges.iter().chain([&port]).map(String::as_str));
    let impact = "no client connects to the database's port by this path";
    let fix = format!("add the port: {}", update(context, &values));
    Some(Finding::problem(PORT, format!("{observed}, and not {port}"), impact, fix))
}
