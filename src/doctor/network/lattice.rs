//! Paths by VPC Lattice: a resource configuration has the database's name, a resource gateway connects to it, and a
//! resource share admits the vendor's account. No load balancer and no target group takes part.
//!
//! VPC Lattice follows a failover by resolving the name. A configuration with an address, or with the name of one instance
//! of a cluster, stays where it is.

use std::net::{IpAddr, SocketAddr};

use super::facts::{LatticePath, Ports, Resource, ResourceConfiguration, ResourceGateway};
use super::security_groups::{self, Source};
use super::{database_side, shares};
use crate::doctor::context::CheckContext;
use crate::doctor::facts::{Read, Unread};
use crate::doctor::finding::Finding;
use crate::endpoint::{RdsKind, RdsName, is_of_a_cluster};
use crate::error::ErrorKind;

const CONFIGURATION: &str = "lattice_configuration";
const RESOURCE: &str = "lattice_resource";
const PORT: &str = "lattice_port";
const GATEWAY: &str = "lattice_gateway";
const EGRESS: &str = "lattice_egress";
const INGRESS: &str = "lattice_ingress";

/// How a resource configuration designates the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Designation {
    /// By a name or an ARN that stays the database's.
    Follows,
    /// By what stays the same in a failover.
    Fixed(&'static str),
}

pub fn findings(
    context: CheckContext<'_>,
    paths: &Read<Vec<LatticePath>>,
    principal: Option<&str>,
) -> Vec<Finding> {
    match paths {
        Err(unread) => vec![unread_paths(unread)],
        Ok(paths) if paths.is_empty() => {
            vec![Finding::ok(CONFIGURATION, "this account has no resource configuration for the database")]
        }
        Ok(paths) => paths.iter().flat_map(|path| of(context, path, principal)).collect(),
    }
}

fn unread_paths(unread: &Unread) -> Finding {
    let could_not = match unread.kind {
        ErrorKind::Transient => "paths by VPC Lattice, which not every Region has",
        _ => "paths by VPC Lattice",
    };
    Finding::unread_optional(CONFIGURATION, unread, could_not)
}

/// How the resource designates the binding's database, or `None` if it is another resource.
pub fn designation(context: CheckContext<'_>, resource: &Resource) -> Option<Designation> {
    match resource {
        Resource::Name(name) => by_name(context, name),
        Resource::Address(address) => {
            let is_here = database_side::addresses(context).contains(address) || is_target(context, *address);
            is_here.then_some(Designation::Fixed("an address"))
        }
        Resource::Arn(arn) => is_database(context, arn).then_some(Designation::Follows),
    }
}

fn by_name(context: CheckContext<'_>, name: &str) -> Option<Designation> {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let names: Vec<String> = context.names().into_iter().map(plain).collect();
    let index = names.iter().position(|other| *other == plain(name))?;
    let last_of_rds = names.iter().rposition(|name| RdsName::parse(name).is_some());
    if index == 0 {
        return Some(Designation::Follows);
    }
    if last_of_rds.is_some_and(|last| index > last) {
        return Some(Designation::Fixed("the name of a host"));
    }
    let is_instance = RdsName::parse(name).is_some_and(|name| name.kind == RdsKind::Instance);
    if is_instance && names.iter().any(|name| is_of_a_cluster(name)) {
        return Some(Designation::Fixed("the name of one instance of the cluster"));
    }
    Some(Designation::Follows)
}

/// Whether the group holds this address, whatever DNS says now.
fn is_target(context: CheckContext<'_>, address: IpAddr) -> bool {
    let Ok(targets) = &context.facts.targets else { return false };
    targets.keys().filter_map(|target| target.parse::<SocketAddr>().ok()).any(|target| target.ip() == address)
}

/// Whether it is the ARN of the database, `arn:PARTITION:rds:REGION:ACCOUNT:cluster:NAME` or `…:db:NAME`.
fn is_database(context: CheckContext<'_>, arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "rds", _, _, "cluster" | "db", name]
        if name.eq_ignore_ascii_case(&context.facts.identifier))
}

fn of(context: CheckContext<'_>, path: &LatticePath, principal: Option<&str>) -> Vec<Finding> {
    let LatticePath { configuration, gateway, rules: _, subnets: _, shares } = path;
    let mut findings = vec![check_configuration(context, configuration)];
    findings.extend(check_resource(context, configuration));
    findings.extend(check_port(context, configuration));
    match gateway {
        None => findings.push(no_gateway(context, configuration)),
        Some(Err(unread)) => {
            let could_not = "the resource gateway, and security groups between it and the database";
            findings.push(Finding::unread_optional(GATEWAY, unread, could_not));
        }
        Some(Ok(gateway)) => {
            findings.push(check_gateway(context, gateway));
            findings.extend(check_security_groups(context, path, gateway));
        }
    }
    findings.push(shares::check_share(context, configuration, shares, principal));
    findings
}

/// The configuration can be used.
fn check_configuration(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> Finding {
    let ResourceConfiguration { id, name, status, failure, .. } = configuration;
    let reason = failure.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let words = ["vpc-lattice", "get-resource-configuration", "--resource-configuration-identifier", id];
    check_status(CONFIGURATION, format!("{name} ({id}), {status}{reason}"), status, &context.aws(words))
}

fn check_gateway(context: CheckContext<'_>, gateway: &ResourceGateway) -> Finding {
    let ResourceGateway { id, status, .. } = gateway;
    let words = ["vpc-lattice", "get-resource-gateway", "--resource-gateway-identifier", id];
    check_status(GATEWAY, format!("{id}, {status}"), status, &context.aws(words))
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

/// The configuration has a name that follows a failover.
fn check_resource(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> Option<Finding> {
    let ResourceConfiguration { id, resource, .. } = configuration;
    let resource_text = match resource {
        Resource::Name(text) | Resource::Arn(text) => text.clone(),
        Resource::Address(address) => address.to_string(),
    };
    let observed = format!("{id} has {resource_text}");
    let Designation::Fixed(what) = designation(context, resource)? else {
        return Some(Finding::ok(RESOURCE, observed));
    };
    let is_v4 = database_side::addresses(context).first().is_none_or(IpAddr::is_ipv4);
    let family = if is_v4 { "IPV4" } else { "IPV6" };
    let definition = format!("dnsResource={{domainName={},ipAddressType={family}}}", name_to_follow(context));
    let update = update(context, id, ["--resource-configuration-definition", &definition]);
    Some(Finding::problem(
        RESOURCE,
        format!("{observed}, {what}"),
        "it stays where it is: the next failover cuts clients off, or leads them to a database that they cannot write to",
        format!("give it the name that follows a failover: {update}"),
    ))
}

/// The name that RDS gives and that follows the writer, or the endpoint. VPC Lattice resolves names of RDS from outside
/// the VPC, and other names perhaps not.
fn name_to_follow<'a>(context: CheckContext<'a>) -> &'a str {
    let follows =
        |name: &&str| RdsName::parse(name).is_some() && by_name(context, name) == Some(Designation::Follows);
    context.names().into_iter().find(follows).unwrap_or(&context.binding.endpoint)
}

fn update<'w>(context: CheckContext<'w>, id: &'w str, options: impl IntoIterator<Item = &'w str>) -> String {
    let words = ["vpc-lattice", "update-resource-configuration", "--resource-configuration-identifier", id];
    context.aws(words.into_iter().chain(options))
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
    let all = Ports::one(port).to_string();
    let options =
        ["--port-ranges"].into_iter().chain(ranges.iter().map(String::as_str)).chain([all.as_str()]);
    Some(Finding::problem(
        PORT,
        format!("{observed}, and not {port}"),
        "no client connects to the database's port by this path",
        format!("add the port: {}", update(context, id, options)),
    ))
}

fn no_gateway(context: CheckContext<'_>, configuration: &ResourceConfiguration) -> Finding {
    let id = &configuration.id;
    let words = ["vpc-lattice", "get-resource-configuration", "--resource-configuration-identifier", id];
    let observed =
        format!("security groups between the resource gateway and the database: {id} names no gateway");
    Finding::not_examined(GATEWAY, observed, format!("see its configuration: {}", context.aws(words)))
}

/// The gateway's groups let it out to the database, and the database's groups admit it.
fn check_security_groups(
    context: CheckContext<'_>,
    path: &LatticePath,
    gateway: &ResourceGateway,
) -> Vec<Finding> {
    let rules = match &path.rules {
        Err(unread) => {
            let could_not =
                "whether the database's security group admits the resource gateway, and its own let it out";
            return vec![Finding::unread_optional(INGRESS, unread, could_not)];
        }
        Ok(rules) => rules,
    };
    let subnets: Vec<_> = path.subnets.iter().flat_map(|subnets| subnets.values()).collect();
    let source = Source {
        name: "the resource gateway",
        egress: EGRESS,
        ingress: INGRESS,
        security_groups: &gateway.security_groups,
        subnets: &subnets,
        has_health_checks: false,
    };
    let mut findings = Vec::from_iter(security_groups::check_egress(context, source, rules));
    let of_database = security_groups::check_database(context, source, rules);
    findings.push(of_database.unwrap_or_else(|| ingress_unknown(path)));
    findings
}

fn ingress_unknown(path: &LatticePath) -> Finding {
    let could_not = "whether the database's security group admits the resource gateway";
    match &path.subnets {
        Err(unread) => Finding::unread_optional(INGRESS, unread, could_not),
        Ok(_) => Finding::not_examined(
            INGRESS,
            format!("{could_not}: the database's port, addresses or security groups are not known"),
            "see the findings endpoint, database and target_group",
        ),
    }
}
