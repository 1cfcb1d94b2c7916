//! The load balancers that the group is attached to.

use super::{Attached, Balancer, Finding, Group, Listener, Patient, Read};

/// The setting has the same key on groups and on load balancers.
pub const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

pub fn findings(patient: Patient<'_>) -> Vec<Finding> {
    // Without the group its load balancers are not known, and the group's own finding says so.
    let Ok(group) = &patient.facts.group else { return Vec::new() };
    if group.balancers.is_empty() {
        return vec![Finding::problem(
            "load_balancer",
            "the group is attached to none",
            "nobody connects through it",
            format!(
                "give a network load balancer a listener that forwards to it: {}",
                create_listener(patient, "ARN")
            ),
        )];
    }
    match &patient.facts.balancers {
        Err(unread) => {
            let could_not =
                "the load balancer's scheme, zones, listeners, security groups and cross-zone setting";
            vec![Finding::unread("load_balancer", unread, could_not)]
        }
        Ok(balancers) => balancers.iter().flat_map(|attached| of(patient, group, attached)).collect(),
    }
}

fn of(patient: Patient<'_>, group: &Group, attached: &Attached) -> Vec<Finding> {
    let Attached { balancer, cross_zone: is_cross_zone, listeners: listening } = attached;
    let mut findings = vec![what(balancer)];
    if balancer.kind == "network" {
        findings.extend([scheme(balancer), zones(patient, balancer), cross_zone(patient, is_cross_zone)]);
        findings.extend(listeners(patient, balancer, listening));
        findings.push(security_groups(patient, balancer));
        findings.extend(addresses(patient, group, balancer));
    }
    findings
}

/// A network load balancer, at work.
fn what(balancer: &Balancer) -> Finding {
    let Balancer { name, kind, state, .. } = balancer;
    let seen = format!("{name}, {kind}, {state}");
    if kind != "network" {
        let why = "an endpoint service needs a network load balancer";
        return Finding::problem(
            "load_balancer",
            seen,
            why,
            "forward to the group from a network load balancer",
        );
    }
    match state.as_str() {
        "active" => Finding::ok("load_balancer", seen),
        "failed" => {
            let why = "it could not be set up, and forwards nothing";
            Finding::problem("load_balancer", seen, why, "look at its state reason, and create it anew")
        }
        _ => {
            let why = "it may not forward yet, or not everywhere";
            Finding::warning("load_balancer", seen, why, "ask the doctor again in some minutes")
        }
    }
}

fn scheme(balancer: &Balancer) -> Finding {
    if balancer.scheme == "internal" {
        return Finding::ok("scheme", "internal");
    }
    Finding::warning(
        "scheme",
        &balancer.scheme,
        "it offers the database to the internet, which PrivateLink is there to avoid",
        "a scheme cannot be changed: create an internal load balancer and give that to the endpoint service",
    )
}

fn zones(patient: Patient<'_>, balancer: &Balancer) -> Finding {
    let Balancer { arn, zones, .. } = balancer;
    let seen = zones.join(", ");
    if zones.len() >= 2 {
        return Finding::ok("zones", seen);
    }
    Finding::warning(
        "zones",
        seen,
        "with that zone every client is cut off, and an endpoint service is reached from its zones alone",
        format!(
            "add a zone: {}",
            patient.elbv2(&format!("set-subnets --load-balancer-arn {arn} --subnets SUBNET SUBNET"))
        ),
    )
}

/// A writer is in one zone; without cross-zone balancing the other zones' addresses lead nowhere.
fn cross_zone(patient: Patient<'_>, of_balancer: &Read<bool>) -> Finding {
    let of_group = patient.facts.attributes.as_ref().ok().and_then(|attributes| attributes.get(CROSS_ZONE));
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
            patient.set_attributes(&[(CROSS_ZONE, "true")]),
        ),
    }
}

fn create_listener(patient: Patient<'_>, balancer: &str) -> String {
    let port = patient.port().map_or_else(|| "PORT".to_owned(), |port| port.to_string());
    patient.elbv2(&format!(
        "create-listener --load-balancer-arn {balancer} --protocol TCP --port {port} --default-actions \
         Type=forward,TargetGroupArn={}",
        patient.binding.target_group
    ))
}

/// Listeners forward to the group, by TCP and at the database's port.
fn listeners(patient: Patient<'_>, balancer: &Balancer, listening: &Read<Vec<Listener>>) -> Vec<Finding> {
    let listeners = match listening {
        Err(unread) => {
            return vec![Finding::unread("listener", unread, "whether a listener forwards to the group")];
        }
        Ok(listeners) => listeners,
    };
    let ours: Vec<&Listener> =
        listeners.iter().filter(|listener| listener.groups.contains(&patient.binding.target_group)).collect();
    if ours.is_empty() {
        return vec![Finding::problem(
            "listener",
            format!("none of {} forwards to the group", balancer.name),
            "nobody connects through it",
            create_listener(patient, &balancer.arn),
        )];
    }
    ours.into_iter().map(|listener| judge(patient, listener)).collect()
}

fn judge(patient: Patient<'_>, listener: &Listener) -> Finding {
    let Listener { port, protocol, groups } = listener;
    let seen = format!("{protocol} {port} forwards to the group");
    if groups.len() > 1 {
        return Finding::warning(
            "listener",
            format!("{seen} and to {} more", groups.len() - 1),
            "a part of the clients is sent elsewhere",
            "forward to this group alone, unless the other holds the same database",
        );
    }
    if protocol != "TCP" {
        let why = "databases are reached by plain TCP, inside which most of them start TLS of their own";
        return Finding::warning("listener", seen, why, "make it a TCP listener");
    }
    match patient.port() {
        Some(ours) if ours != *port => {
            let why = format!("clients that try the database's own port, {ours}, find nothing");
            let cure = format!("tell the clients the port {port}, or listen on {ours} as well");
            Finding::warning("listener", seen, why, cure)
        }
        _ => Finding::ok("listener", seen),
    }
}

/// Security groups let PrivateLink traffic through, as far as can be told.
fn security_groups(patient: Patient<'_>, balancer: &Balancer) -> Finding {
    let Balancer { arn, security_groups, enforces_on_private_link, .. } = balancer;
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
            patient.elbv2(&format!(
                "set-security-groups --load-balancer-arn {arn} --security-groups {list} \
                 --enforce-security-group-inbound-rules-on-private-link-traffic off"
            ))
        ),
    )
}

/// IPv6 targets need a dualstack load balancer.
fn addresses(patient: Patient<'_>, group: &Group, balancer: &Balancer) -> Option<Finding> {
    let is_stuck = group.address_type == "ipv6" && balancer.address_type == "ipv4";
    is_stuck.then(|| {
        Finding::problem(
            "dualstack",
            "the group holds ipv6 addresses, and the load balancer is ipv4 alone",
            "it does not reach the targets",
            patient.elbv2(&format!(
                "set-ip-address-type --load-balancer-arn {} --ip-address-type dualstack",
                balancer.arn
            )),
        )
    })
}
