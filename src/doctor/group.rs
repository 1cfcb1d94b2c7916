//! The target group: what it is, how it checks its targets, and how it lets them go.

use super::{Attributes, CheckContext, Finding, Group, HealthCheck};

/// Seconds from a target's death until the group knows, above which it is worth a word. The least that
/// the API allows is two checks, five seconds apart; its default is two, thirty seconds apart.
const SLOW: u32 = 20;
/// Seconds for which a removed target should drain at least: after a failover DNS can go back and forth
/// for some 30 s, and a draining target is the memory that it was removed.
const MEMORY: u32 = 30;
/// Seconds for which it should drain at most: an Aurora ex-writer serves its old clients as a reader.
const LINGER: u32 = 120;

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    let mut findings = match &context.facts.group {
        Err(unread) => {
            let could_not =
                "the group's type, protocol, port and health check, and everything about its load balancer";
            vec![Finding::unread_vital("target_group", unread, could_not)]
        }
        Ok(group) => {
            let Group { target_type, protocol, address_type, health_check, port: _, load_balancers: _ } =
                group;
            vec![
                check_target_type(target_type),
                check_protocol(protocol),
                Finding::ok("address_type", format!("holds {address_type} addresses")),
                check_health_check(context, health_check),
            ]
        }
    };
    match &context.facts.attributes {
        Err(unread) => {
            let could_not = "how removed and unhealthy targets let their connections go, client addresses, \
                             proxy protocol, and the group's cross-zone setting";
            findings.push(Finding::unread("attributes", unread, could_not));
        }
        Ok(attributes) => findings.extend([
            check_deregistration(context, attributes),
            check_unhealthy_targets(context, attributes),
            check_client_addresses(context, attributes),
            check_proxy_protocol(context, attributes),
        ]),
    }
    findings
}

fn check_target_type(target_type: &str) -> Finding {
    if target_type == "ip" {
        return Finding::ok("target_type", "ip");
    }
    Finding::problem(
        "target_type",
        target_type,
        "only a group of type ip holds a database's address",
        "create a group of type ip, let the listener forward to it, and bind that",
    )
}

fn check_protocol(protocol: &str) -> Finding {
    match protocol {
        "TCP" => Finding::ok("protocol", protocol),
        "TLS" | "TCP_UDP" => Finding::warning(
            "protocol",
            protocol,
            "databases are reached by plain TCP, inside which most of them start TLS of their own",
            "create a group with TCP, let the listener forward to it, and bind that",
        ),
        other => Finding::problem(
            "protocol",
            other,
            "it carries no database",
            "create a group with TCP, let the listener forward to it, and bind that",
        ),
    }
}

/// The health check suits a database, and is quick: every second of it is outage.
fn check_health_check(context: CheckContext<'_>, check: &HealthCheck) -> Finding {
    let HealthCheck { enabled, protocol, port, interval, unhealthy_threshold } = check;
    let fix = context.elbv2(&format!(
        "modify-target-group --target-group-arn {} --health-check-enabled --health-check-protocol TCP \
         --health-check-port traffic-port --health-check-interval-seconds 10 --healthy-threshold-count 2 \
         --unhealthy-threshold-count 2",
        context.binding.target_group
    ));
    if !enabled {
        let impact = "a dead target looks like a live one to the load balancer and to everybody who looks";
        return Finding::warning("health_check", "disabled", impact, fix);
    }
    if protocol != "TCP" {
        let impact = "databases do not answer it: every target is unhealthy";
        return Finding::problem("health_check", format!("by {protocol}"), impact, fix);
    }
    let is_traffic_port =
        port == "traffic-port" || context.port().is_some_and(|ours| *port == ours.to_string());
    if !is_traffic_port {
        let impact = "it says nothing about the database's port";
        return Finding::warning("health_check", format!("of port {port}"), impact, fix);
    }
    let seconds = interval * unhealthy_threshold;
    let observed =
        format!("TCP every {interval} s, {unhealthy_threshold} failures: {seconds} s until a death shows");
    if seconds > SLOW {
        let impact =
            "for that long, new connections go to a dead target, and a new one waits for its first check";
        return Finding::warning("health_check", observed, impact, fix);
    }
    Finding::ok("health_check", observed)
}

fn attribute<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    attributes.get(key).map(String::as_str)
}

fn is_true(attributes: &Attributes, key: &str, default: bool) -> bool {
    attribute(attributes, key).map_or(default, |value| value == "true")
}

/// Removed targets drop their clients soon, but not at once.
fn check_deregistration(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const DELAY: &str = "deregistration_delay.timeout_seconds";
    const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";
    // Both defaults are the API's, for TCP.
    let delay = attribute(attributes, DELAY).and_then(|value| value.parse().ok()).unwrap_or(300);
    let fix = context.set_attributes(&[(DELAY, "60"), (TERMINATION, "true")]);
    if !is_true(attributes, TERMINATION, false) {
        return Finding::warning(
            "deregistration",
            format!("a removed target keeps its connections (delay {delay} s, no termination)"),
            "clients stay on the ex-writer, which in Aurora serves them on as a reader, until they let go",
            fix,
        );
    }
    let observed = format!("a removed target drops its connections after {delay} s");
    if delay > LINGER {
        let impact =
            "for that long clients stay on the ex-writer, which in Aurora serves them on as a reader";
        return Finding::warning("deregistration", observed, impact, fix);
    }
    if delay < MEMORY {
        let impact = "DNS can go back and forth for 30 s after a failover, and a target that no longer drains \
                   is not known to have been removed: it may come back for some seconds";
        return Finding::warning("deregistration", observed, impact, fix);
    }
    Finding::ok("deregistration", observed)
}

fn check_unhealthy_targets(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const TERMINATION: &str = "target_health_state.unhealthy.connection_termination.enabled";
    if is_true(attributes, TERMINATION, true) {
        return Finding::ok("unhealthy_targets", "an unhealthy target drops its connections");
    }
    Finding::warning(
        "unhealthy_targets",
        "an unhealthy target keeps its connections",
        "clients hang on a dead database until their own time-outs",
        context.set_attributes(&[(TERMINATION, "true")]),
    )
}

fn check_client_addresses(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const PRESERVE: &str = "preserve_client_ip.enabled";
    if !is_true(attributes, PRESERVE, false) {
        return Finding::ok("client_addresses", "connections come from the load balancer's addresses");
    }
    Finding::warning(
        "client_addresses",
        "client addresses are preserved",
        "the database's security group must admit every client and not the load balancer alone; PrivateLink \
         traffic never carries them",
        context.set_attributes(&[(PRESERVE, "false")]),
    )
}

fn check_proxy_protocol(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const PROXY: &str = "proxy_protocol_v2.enabled";
    if !is_true(attributes, PROXY, false) {
        return Finding::ok("proxy_protocol", "off");
    }
    Finding::problem(
        "proxy_protocol",
        "on",
        "databases of RDS do not speak it and refuse every connection",
        context.set_attributes(&[(PROXY, "false")]),
    )
}
