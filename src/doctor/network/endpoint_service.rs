//! The endpoint service before the load balancer: it is there, a vendor is allowed, and its connection is accepted.

use super::facts::{Connection, Network, Service};
use crate::arn;
use crate::doctor::context::CheckContext;
use crate::doctor::facts::LoadBalancer;
use crate::doctor::finding::{Checked, FactOr as _, Finding, all};
use crate::text::Joined as _;

const EVERYBODY: &str = "*";

pub fn findings(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    network: &Network,
) -> Checked<Vec<Finding>> {
    let not_checked = "the endpoint service, who is allowed, and pending connections";
    let services = network.services.or_not_examined("endpoint_service", not_checked)?;
    if services.is_empty() {
        return Ok(vec![no_service(context, load_balancer)]);
    }
    let mut findings = Vec::new();
    for service in services {
        findings.push(check_service(context, service));
        findings.extend(all(check_principals(context, service)));
        findings.extend(all(check_connections(context, service)));
    }
    findings.extend(all(check_zone_ids(load_balancer, network)));
    Ok(findings)
}

fn no_service(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Finding {
    let create =
        "ec2 create-vpc-endpoint-service-configuration --acceptance-required --network-load-balancer-arns";
    let create = context.aws(create, &[&load_balancer.arn]);
    let observed =
        format!("no endpoint service of this account uses the load balancer {}", load_balancer.name);
    let impact = "no vendor reaches the load balancer through PrivateLink";
    let fix = format!(
        "if vendors connect through PrivateLink, create one, allow the vendors' principals, and give them its name, \
         which is new (rds-nlb-sync handover prints it): {create}"
    );
    Finding::warning("endpoint_service", observed, impact, fix)
}

fn check_service(context: CheckContext<'_>, service: &Service) -> Finding {
    let Service { id, name, state, requires_acceptance, .. } = service;
    let acceptance = if *requires_acceptance { "acceptance required" } else { "no acceptance required" };
    let observed = format!("{name} ({id}), {state}, {acceptance}");
    if state.eq_ignore_ascii_case("available") {
        return Finding::ok("endpoint_service", observed);
    }
    let describe = context.aws("ec2 describe-vpc-endpoint-service-configurations --service-ids", &[id]);
    let impact = "no vendor connects to a service that is not available";
    let fix = format!("wait if it is pending, otherwise create it again: {describe}");
    Finding::problem("endpoint_service", observed, impact, fix)
}

fn check_principals(context: CheckContext<'_>, service: &Service) -> Checked<Option<Finding>> {
    const CHECK: &str = "allowed_principals";
    let Some(allowed) = &service.principals else { return Ok(None) };
    let allowed = allowed.or_not_examined(CHECK, "who is allowed to connect")?;
    let observed = format!("{} may connect to {}", allowed.iter().listed_or("nobody"), service.id);
    let is_open = allowed.iter().any(|other| other == EVERYBODY);
    if let Some(principal) = context.principal.filter(|principal| !is_allowed(allowed, principal)) {
        let add = "ec2 modify-vpc-endpoint-service-permissions --service-id {} --add-allowed-principals";
        let add = context.aws(add, &[&service.id, principal]);
        let impact = format!("{principal} does not find the service");
        return Ok(Some(Finding::problem(CHECK, observed, impact, format!("allow it: {add}"))));
    }
    if allowed.is_empty() {
        let fix =
            "ask the vendor for the ARN of its principal, then run the doctor with --principal and that ARN";
        return Ok(Some(Finding::warning(CHECK, observed, "no vendor finds the service", fix)));
    }
    if is_open && !service.requires_acceptance {
        let accept = "ec2 modify-vpc-endpoint-service-configuration --service-id {} --acceptance-required";
        let accept = context.aws(accept, &[&service.id]);
        let impact = "every AWS account may connect to the database's port, and nobody has to accept it";
        let fix = format!("require acceptance: {accept}");
        return Ok(Some(Finding::warning(CHECK, observed, impact, fix)));
    }
    Ok(Some(Finding::ok(CHECK, observed)))
}

/// Whether the principal is among them: itself, everybody, or the whole account that it is of.
pub fn is_allowed(allowed: &[String], principal: &str) -> bool {
    let partition = arn::partition(principal).unwrap_or("aws");
    let root = arn::account(principal).map(|account| format!("arn:{partition}:iam::{account}:root"));
    allowed.iter().any(|other| other == EVERYBODY || other == principal || Some(other) == root.as_ref())
}

fn check_connections(context: CheckContext<'_>, service: &Service) -> Checked<Option<Finding>> {
    const CHECK: &str = "endpoint_connections";
    let Some(connections) = &service.connections else { return Ok(None) };
    let connections = connections.or_not_examined(CHECK, "the vendors' connections, pending or rejected")?;
    let in_state =
        |state: &'static str| connections.iter().filter(move |it| it.state.eq_ignore_ascii_case(state));
    let describe = |Connection { endpoint, owner, state }: &_| format!("{endpoint} of {owner} ({state})");
    let observed = connections.iter().map(describe).listed_or("none yet");
    if in_state("pendingAcceptance").next().is_some() {
        let mut values = vec![service.id.as_str()];
        values.extend(in_state("pendingAcceptance").map(|it| it.endpoint.as_str()));
        let accept = "ec2 accept-vpc-endpoint-connections --service-id {} --vpc-endpoint-ids";
        let accept = context.aws(accept, &values);
        let impact = "a connection that waits for acceptance carries nothing";
        let fix = format!("accept it if the account is the vendor's: {accept}");
        return Ok(Some(Finding::warning(CHECK, observed, impact, fix)));
    }
    if in_state("failed").next().is_some() {
        let impact = "a failed connection carries nothing";
        let fix = "let the vendor delete its endpoint and create it again";
        return Ok(Some(Finding::warning(CHECK, observed, impact, fix)));
    }
    let is_refused = in_state("rejected").chain(in_state("expired")).next().is_some();
    if is_refused && in_state("available").next().is_none() {
        let impact = "the only connections are rejected or have expired, so no vendor connects";
        let fix = "let the vendor create its endpoint again, and accept it";
        return Ok(Some(Finding::warning(CHECK, observed, impact, fix)));
    }
    Ok(Some(Finding::ok(CHECK, observed)))
}

/// The ids of the zones, by which a vendor in another account knows them.
fn check_zone_ids(load_balancer: &LoadBalancer, network: &Network) -> Checked<Option<Finding>> {
    const CHECK: &str = "zone_ids";
    let subnets = network.subnets.or_not_examined(CHECK, "the zones' ids and address ranges")?;
    let zones = load_balancer.zones.iter();
    let ids = zones.filter_map(|(zone, subnet)| Some(format!("{} ({zone})", subnets.get(subnet)?.zone_id)));
    let ids = ids.joined(", ");
    Ok((!ids.is_empty()).then(|| Finding::ok(CHECK, ids)))
}
