//! The load balancers that the group is attached to.

use super::context::CheckContext;
use super::facts::{Group, LoadBalancer, LoadBalancerFacts};
use super::finding::Finding;
use super::{idle_timeout, listeners, zones};

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    // If the group could not be read, its load balancers are not known. The group's own finding says so.
    let Ok(group) = &context.facts.group else { return Vec::new() };
    if group.load_balancers.is_empty() {
        return vec![Finding::problem(
            "load_balancer",
            "the target group is attached to no load balancer",
            "no client reaches the database through this group",
            listeners::attach(context),
        )];
    }
    match &context.facts.load_balancers {
        Err(unread) => {
            let could_not =
                "the load balancer's scheme, zones, listeners, security groups and cross-zone setting";
            vec![Finding::unread("load_balancer", unread, could_not)]
        }
        Ok(load_balancers) => {
            load_balancers.iter().flat_map(|attached| of(context, group, attached)).collect()
        }
    }
}

fn of(context: CheckContext<'_>, group: &Group, attached: &LoadBalancerFacts) -> Vec<Finding> {
    let LoadBalancerFacts { load_balancer, cross_zone, listeners, listener_attributes } = attached;
    let mut findings = vec![check_load_balancer(load_balancer)];
    if load_balancer.kind == "network" {
        findings.push(check_scheme(load_balancer));
        findings.extend(zones::findings(context, load_balancer, cross_zone));
        findings.push(listeners::check_listeners(context, load_balancer, listeners));
        let serving = attached.serving(context.binding.target_group.as_str(), context.port());
        let of_serving = listener_attributes.as_ref();
        findings.extend(of_serving.map(|read| idle_timeout::check_idle_timeout(context, serving, read)));
        findings.push(check_security_groups(context, load_balancer));
        findings.extend(check_address_type(context, group, load_balancer));
    }
    findings
}

/// It is an active network load balancer.
fn check_load_balancer(load_balancer: &LoadBalancer) -> Finding {
    let LoadBalancer { name, kind, state, .. } = load_balancer;
    let observed = format!("{name}, {kind}, {state}");
    if kind != "network" {
        let observed = format!("{name} is not a network load balancer, but of the type {kind}");
        let impact = "an endpoint service needs a network load balancer";
        let fix = "create an internal network load balancer with a TCP listener that forwards to a TCP group of type ip, \
                   and name that group in the binding";
        return Finding::problem("load_balancer", observed, impact, fix);
    }
    match state.as_str() {
        "active" => Finding::ok("load_balancer", observed),
        "failed" => {
            let impact = "it could not be set up, and forwards nothing";
            Finding::problem("load_balancer", observed, impact, "read its state reason, then create it again")
        }
        _ => {
            let impact = "it may not forward yet, or not in all zones";
            Finding::warning("load_balancer", observed, impact, "run the doctor again in some minutes")
        }
    }
}

fn check_scheme(load_balancer: &LoadBalancer) -> Finding {
    if load_balancer.scheme == "internal" {
        return Finding::ok("scheme", "internal");
    }
    Finding::warning(
        "scheme",
        &load_balancer.scheme,
        "it has public addresses, so the internet may reach the database",
        "a scheme cannot be changed: create an internal load balancer and give that to the endpoint service",
    )
}

/// The load balancer's security groups admit PrivateLink traffic.
fn check_security_groups(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Finding {
    let LoadBalancer { security_groups, enforces_on_private_link, .. } = load_balancer;
    if security_groups.is_empty() {
        return Finding::ok("security_groups", "none on the load balancer");
    }
    let list = security_groups.join(" ");
    if !enforces_on_private_link {
        return Finding::ok("security_groups", format!("{list}, not enforced on PrivateLink traffic"));
    }
    let filter = format!("Name=group-id,Values={}", security_groups.join(","));
    let rules = context.aws("ec2 describe-security-group-rules --filters", &[&filter]);
    let not_enforced = context.set_not_enforced(load_balancer);
    Finding::not_examined(
        "security_groups",
        format!("the inbound rules of {list}, which must admit the clients' own addresses"),
        format!("read them, {rules} or leave admission to the endpoint service: {not_enforced}"),
    )
}

/// IPv6 targets need a dualstack load balancer.
fn check_address_type(
    context: CheckContext<'_>,
    group: &Group,
    load_balancer: &LoadBalancer,
) -> Option<Finding> {
    let is_stuck = group.address_type == "ipv6" && load_balancer.address_type == "ipv4";
    is_stuck.then(|| {
        Finding::problem(
            "dualstack",
            "the group holds ipv6 addresses, and the load balancer is ipv4 alone",
            "it does not reach the targets",
            context.aws(
                "elbv2 set-ip-address-type --load-balancer-arn {} --ip-address-type dualstack",
                &[&load_balancer.arn],
            ),
        )
    })
}
