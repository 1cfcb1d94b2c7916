//! The load balancers that the group is attached to.

use super::context::CheckContext;
use super::facts::{Group, LoadBalancer, LoadBalancerFacts};
use super::finding::{Checked, FactOr as _, Finding, all};
use super::{listeners, zones};

pub fn findings(context: CheckContext<'_>) -> Checked<Vec<Finding>> {
    // If the group could not be read, its load balancers are not known. The group's own finding says so.
    let Ok(group) = &context.facts.group else { return Ok(Vec::new()) };
    if group.load_balancers.is_empty() {
        let observed = "the target group is attached to no load balancer";
        let impact = "no client reaches the database through this group";
        let detached = Finding::problem("load_balancer", observed, impact, listeners::attach(context));
        return Ok([detached].into_iter().chain(unread_candidates(context)).collect());
    }
    let not_checked = "the load balancer's scheme, zones, listeners, security groups and cross-zone setting";
    let load_balancers = context.facts.load_balancers.or_warning("load_balancer", not_checked)?;
    Ok(load_balancers.iter().flat_map(|attached| findings_about(context, group, attached)).collect())
}

/// The finding that the load balancers to which the group could be attached, or their listeners, could not be read.
fn unread_candidates(context: CheckContext<'_>) -> Option<Finding> {
    let not_checked = "which internal load balancer of the VPC could forward to the group";
    match context.facts.load_balancers_of_vpc.or_not_examined("load_balancer", not_checked) {
        Ok(found) => {
            let mut listeners =
                found.iter().map(|it| it.listeners.or_not_examined("load_balancer", not_checked));
            listeners.find_map(Result::err)
        }
        Err(unread) => Some(unread),
    }
}

fn findings_about(context: CheckContext<'_>, group: &Group, attached: &LoadBalancerFacts) -> Vec<Finding> {
    let load_balancer = &attached.load_balancer;
    let mut findings = vec![check_load_balancer(load_balancer)];
    if load_balancer.kind == "network" {
        findings.push(check_scheme(load_balancer));
        findings.extend(zones::findings(context, load_balancer, &attached.cross_zone));
        findings.extend(all(listeners::check_listeners(context, attached).map(Some)));
        findings.extend(all(listeners::check_idle_timeout(context, attached)));
        findings.push(check_security_groups(context, load_balancer));
        findings.extend(check_address_type(context, group, load_balancer));
    }
    findings
}

fn check_load_balancer(load_balancer: &LoadBalancer) -> Finding {
    const CHECK: &str = "load_balancer";
    let LoadBalancer { name, kind, state, .. } = load_balancer;
    if kind != "network" {
        let observed = format!("{name} is not a network load balancer, but of the type {kind}");
        let impact = "an endpoint service needs a network load balancer";
        let fix = "create an internal network load balancer with a TCP listener that forwards to a TCP group of type ip, \
                   and name that group in the binding";
        return Finding::problem(CHECK, observed, impact, fix);
    }
    let observed = format!("{name}, {kind}, {state}");
    match state.as_str() {
        "active" => Finding::ok(CHECK, observed),
        "failed" => {
            let impact = "it could not be set up, and forwards nothing";
            Finding::problem(CHECK, observed, impact, "read its state reason, then create it again")
        }
        _ => {
            let impact = "it may not forward yet, or not in all zones";
            Finding::warning(CHECK, observed, impact, "run the doctor again in some minutes")
        }
    }
}

fn check_scheme(load_balancer: &LoadBalancer) -> Finding {
    if load_balancer.scheme == "internal" {
        return Finding::ok("scheme", "internal");
    }
    let impact = "it has public addresses, so the internet may reach the database";
    let fix =
        "a scheme cannot be changed: create an internal load balancer and give that to the endpoint service";
    Finding::warning("scheme", &load_balancer.scheme, impact, fix)
}

fn check_security_groups(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Finding {
    const CHECK: &str = "security_groups";
    let LoadBalancer { security_groups, enforces_on_private_link, .. } = load_balancer;
    if security_groups.is_empty() {
        return Finding::ok(CHECK, "none on the load balancer");
    }
    let list = security_groups.join(" ");
    if !enforces_on_private_link {
        return Finding::ok(CHECK, format!("{list}, not enforced on PrivateLink traffic"));
    }
    let filter = format!("Name=group-id,Values={}", security_groups.join(","));
    let rules = context.aws("ec2 describe-security-group-rules --filters", &[&filter]);
    let not_enforced = context.set_not_enforced(load_balancer);
    let observed = format!("the inbound rules of {list}, which must admit the clients' own addresses");
    let fix = format!("read them, {rules} or leave admission to the endpoint service: {not_enforced}");
    Finding::not_examined(CHECK, observed, fix)
}

/// IPv6 targets need a dualstack load balancer.
fn check_address_type(
    context: CheckContext<'_>,
    group: &Group,
    load_balancer: &LoadBalancer,
) -> Option<Finding> {
    if group.address_type != "ipv6" || load_balancer.address_type != "ipv4" {
        return None;
    }
    let observed = "the group holds ipv6 addresses, and the load balancer is ipv4 alone";
    let set = "elbv2 set-ip-address-type --load-balancer-arn {} --ip-address-type dualstack";
    let fix = context.aws(set, &[&load_balancer.arn]);
    Some(Finding::problem("dualstack", observed, "it does not reach the targets", fix))
}
