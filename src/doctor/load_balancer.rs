//! The load balancers that the group is attached to.

use super::{Attached, CheckContext, Finding, Group, Listener, LoadBalancer, Read};

/// The setting has the same key on groups and on load balancers.
pub const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    // Without the group its load balancers are not known, and the group's own finding says so.
    let Ok(group) = &context.facts.group else { return Vec::new() };
    if group.load_balancers.is_empty() {
        return vec![Finding::problem(
            "load_balancer",
            "the group is attached to none",
            "nobody connects through it",
            format!(
                "give a network load balancer a listener that forwards to it: {}",
                create_listener(context, "ARN")
            ),
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

fn of(context: CheckContext<'_>, group: &Group, attached: &Attached) -> Vec<Finding> {
    let Attached { load_balancer, cross_zone: is_cross_zone, listeners: listening } = attached;
    let mut findings = vec![check_load_balancer(load_balancer)];
    if load_balancer.kind == "network" {
        findings.extend([
            check_scheme(load_balancer),
            check_zones(context, load_balancer),
            check_cross_zone(context, is_cross_zone),
        ]);
        findings.extend(check_listeners(context, load_balancer, listening));
        findings.push(check_security_groups(context, load_balancer));
        findings.extend(check_address_type(context, group, load_balancer));
    }
    findings
}

/// A network load balancer, at work.
fn check_load_balancer(load_balancer: &LoadBalancer) -> Finding {
    let LoadBalancer { name, kind, state, .. } = load_balancer;
    let observed = format!("{name}, {kind}, {state}");
    if kind != "network" {
        let impact = "an endpoint service needs a network load balancer";
        return Finding::problem(
            "load_balancer",
            observed,
            impact,
            "forward to the group from a network load balancer",
        );
    }
    match state.as_str() {
        "active" => Finding::ok("load_balancer", observed),
        "failed" => {
            let impact = "it could not be set up, and forwards nothing";
            Finding::problem(
                "load_balancer",
                observed,
                impact,
                "look at its state reason, and create it anew",
            )
        }
        _ => {
            let impact = "it may not forward yet, or not everywhere";
            Finding::warning("load_balancer", observed, impact, "ask the doctor again in some minutes")
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
        "it offers the database to the internet, which PrivateLink is there to avoid",
        "a scheme cannot be changed: create an internal load balancer and give that to the endpoint service",
    )
}

fn check_zones(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Finding {
    let LoadBalancer { arn, zones, .. } = load_balancer;
    let observed = zones.join(", ");
    if zones.len() >= 2 {
        return Finding::ok("zones", observed);
    }
    Finding::warning(
        "zones",
        observed,
        "with that zone every client is cut off, and an endpoint service is reached from its zones alone",
        format!(
            "add a zone: {}",
            context.elbv2(&format!("set-subnets --load-balancer-arn {arn} --subnets SUBNET SUBNET"))
        ),
    )
}

/// A writer is in one zone; without cross-zone balancing the other zones' addresses lead nowhere.
fn check_cross_zone(context: CheckContext<'_>, of_balancer: &Read<bool>) -> Finding {
    let of_group = context.facts.attributes.as_ref().ok().and_then(|attributes| attributes.get(CROSS_ZONE));
    let (is_on, whose): (&Read<bool>, _) = match of_group.map(String::as_str) {
        Some("true") => (&Ok(true), "by the group's attribute"),
        Some("false") => (&Ok(false), "by the group's attribute"),
        _ => (of_balancer, "by the load balancer's attribute"),
    };
    match is_on {
        Err(unread) => Finding::unread("cross_zone", unread, "whether all zones lead to the writer"),
        Ok(true) => Finding::ok("cross_zone", format!("on, {whose}")),
        Ok(false) => Finding::problem(
            "cross_zone",
            format!("off, {whose}"),
            "the writer is in one zone, and clients in the others have no target",
            context.set_attributes(&[(CROSS_ZONE, "true")]),
        ),
    }
}

fn create_listener(context: CheckContext<'_>, load_balancer: &str) -> String {
    let port = context.port().map_or_else(|| "PORT".to_owned(), |port| port.to_string());
    context.elbv2(&format!(
        "create-listener --load-balancer-arn {load_balancer} --protocol TCP --port {port} --default-actions \
         Type=forward,TargetGroupArn={}",
        context.binding.target_group
    ))
}

/// Listeners forward to the group, by TCP and at the database's port.
fn check_listeners(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    listening: &Read<Vec<Listener>>,
) -> Vec<Finding> {
    let listeners = match listening {
        Err(unread) => {
            return vec![Finding::unread("listener", unread, "whether a listener forwards to the group")];
        }
        Ok(listeners) => listeners,
    };
    let ours: Vec<&Listener> = listeners
        .iter()
        .filter(|listener| listener.groups.iter().any(|group| group == context.binding.target_group.as_str()))
        .collect();
    if ours.is_empty() {
        return vec![Finding::problem(
            "listener",
            format!("none of {} forwards to the group", load_balancer.name),
            "nobody connects through it",
            create_listener(context, &load_balancer.arn),
        )];
    }
    ours.into_iter().map(|listener| check_listener(context, listener)).collect()
}

fn check_listener(context: CheckContext<'_>, listener: &Listener) -> Finding {
    let Listener { port, protocol, groups } = listener;
    let observed = format!("{protocol} {port} forwards to the group");
    if groups.len() > 1 {
        return Finding::warning(
            "listener",
            format!("{observed} and to {} more", groups.len() - 1),
            "a part of the clients is sent elsewhere",
            "forward to this group alone, unless the other holds the same database",
        );
    }
    if protocol != "TCP" {
        let impact = "databases are reached by plain TCP, inside which most of them start TLS of their own";
        return Finding::warning("listener", observed, impact, "make it a TCP listener");
    }
    match context.port() {
        Some(ours) if ours != *port => {
            let impact = format!("clients that try the database's own port, {ours}, find nothing");
            let fix = format!("tell the clients the port {port}, or listen on {ours} as well");
            Finding::warning("listener", observed, impact, fix)
        }
        _ => Finding::ok("listener", observed),
    }
}

/// Security groups let PrivateLink traffic through, as far as can be told.
fn check_security_groups(context: CheckContext<'_>, load_balancer: &LoadBalancer) -> Finding {
    let LoadBalancer { arn, security_groups, enforces_on_private_link, .. } = load_balancer;
    if security_groups.is_empty() {
        return Finding::ok("security_groups", "none on the load balancer");
    }
    let list = security_groups.join(" ");
    if !enforces_on_private_link {
        return Finding::ok("security_groups", format!("{list}, not enforced on PrivateLink traffic"));
    }
    Finding::warning(
        "security_groups",
        format!("{list}, enforced on PrivateLink traffic too"),
        "clients come with addresses of their own; whether the rules admit them cannot be told from here",
        format!(
            "admit the clients' ranges, or leave admission to the endpoint service: {}",
            context.elbv2(&format!(
                "set-security-groups --load-balancer-arn {arn} --security-groups {list} \
                 --enforce-security-group-inbound-rules-on-private-link-traffic off"
            ))
        ),
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
            context.elbv2(&format!(
                "set-ip-address-type --load-balancer-arn {} --ip-address-type dualstack",
                load_balancer.arn
            )),
        )
    })
}
