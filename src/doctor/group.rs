//! The target group: its type, its health check, and its attributes.

use super::connect_errors::{self, Protection};
use super::context::CheckContext;
use super::facts::{Attributes, Database, HealthCheck};
use super::finding::{Checked, FactOr as _, Finding, FindingKind, all};

/// The doctor warns if a dead target is unhealthy only after more than this many seconds. The API's shortest setting is
/// two checks five seconds apart; its default is two checks thirty seconds apart.
const SLOW_DETECTION: u32 = 20;
/// The shortest good drain time in seconds. After a failover DNS can alternate between two addresses for some
/// 30 s, and a draining target is the only record that it was removed.
const MIN_DRAIN_TIME: u32 = 30;
/// The longest good drain time in seconds. In Aurora, the previous writer serves its old connections as a reader.
const MAX_DRAIN_TIME: u32 = 120;

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    all(check_group(context)).into_iter().chain(all(check_attributes(context))).collect()
}

fn check_group(context: CheckContext<'_>) -> Checked<[Finding; 4]> {
    let not_checked =
        "the group's type, protocol, port and health check, and everything about its load balancer";
    let group = context.facts.group.or_problem("target_group", not_checked)?;
    Ok([
        check_target_type(context, &group.target_type),
        check_protocol(context, &group.protocol),
        Finding::ok("address_type", format!("holds {} addresses", group.address_type)),
        check_health_check(context, &group.health_check),
    ])
}

fn check_attributes(context: CheckContext<'_>) -> Checked<[Finding; 4]> {
    let not_checked = "connection termination of removed and unhealthy targets, client addresses, proxy \
                       protocol, and the group's cross-zone setting";
    let attributes = context.facts.attributes.or_warning("attributes", not_checked)?;
    Ok([
        check_deregistration(context, attributes),
        check_unhealthy_targets(context, attributes),
        check_client_addresses(context, attributes),
        check_proxy_protocol(context, attributes),
    ])
}

fn check_target_type(context: CheckContext<'_>, target_type: &str) -> Finding {
    if target_type == "ip" {
        return Finding::ok("target_type", "ip");
    }
    let impact = "only a group of type ip holds a database's address";
    Finding::problem("target_type", target_type, impact, another_group(context)).of_kind(FindingKind::Refused)
}

/// The fix for a wrong type or protocol of a group, which cannot be changed: another group.
fn another_group(context: CheckContext<'_>) -> String {
    let create = context.create_group();
    format!(
        "create a TCP group of type ip, name it in the binding instead of this group, and run a check, which registers \
         the database; when the new target is healthy, make the listener a TCP listener that forwards to the new group: \
         {create}"
    )
}

fn check_protocol(context: CheckContext<'_>, protocol: &str) -> Finding {
    const CHECK: &str = "protocol";
    if ["TCP", "TCP_UDP"].contains(&protocol) {
        return Finding::ok(CHECK, protocol);
    }
    let observed = format!("the target group's protocol is {protocol}, not TCP");
    let fix = another_group(context);
    if protocol != "TLS" {
        let impact = "this protocol carries no database connection";
        return Finding::problem(CHECK, observed, impact, fix).of_kind(FindingKind::Refused);
    }
    if context.database().is_some_and(Database::begins_in_plain_text) {
        let impact =
            "the load balancer begins with TLS and the database with plain text, so every connection fails";
        return Finding::problem(CHECK, observed, impact, fix);
    }
    let impact = "most databases begin in plain text and start TLS inside the connection";
    Finding::warning(CHECK, observed, impact, fix)
}

/// The health check suits a database and is quick: clients fail until it marks a dead target as unhealthy.
fn check_health_check(context: CheckContext<'_>, check: &HealthCheck) -> Finding {
    const CHECK: &str = "health_check";
    let HealthCheck { enabled, protocol, port, interval, unhealthy_threshold } = check;
    // The API keeps the settings that the command does not give.
    let modify = |options: &str| {
        let modify = format!("elbv2 modify-target-group --target-group-arn {{}} {options}");
        context.aws(&modify, &[context.group_arn()])
    };
    let repaired =
        || modify("--health-check-enabled --health-check-protocol TCP --health-check-port traffic-port");
    if !enabled {
        let impact = "a dead target looks healthy, so the load balancer sends clients to it";
        return Finding::warning(CHECK, "disabled", impact, repaired());
    }
    if protocol != "TCP" && !has_healthy_target(context) {
        let impact = "a database does not answer it, so every target is unhealthy";
        return Finding::problem(CHECK, format!("by {protocol}"), impact, repaired());
    }
    let is_traffic_port = check.is_of_port(context.port());
    if !is_traffic_port && protocol == "TCP" {
        let impact = "it does not show whether the database answers";
        let fix = format!("let it check the database's port: {}", repaired());
        return Finding::warning(CHECK, format!("checks port {port}"), impact, fix);
    }
    let (Some(interval), Some(unhealthy_threshold)) = (interval, unhealthy_threshold) else {
        let show = context.aws("elbv2 describe-target-groups --target-group-arns", &[context.group_arn()]);
        let observed =
            "how soon a dead target is unhealthy: the ELB API does not say how often it is checked";
        return Finding::not_examined(CHECK, observed, format!("see the group's health check: {show}"));
    };
    let seconds = interval.saturating_mul(*unhealthy_threshold);
    let observed = format!(
        "{protocol} every {interval} s, {unhealthy_threshold} failures: a dead target is unhealthy after {seconds} s"
    );
    if seconds <= SLOW_DETECTION {
        return Finding::ok(CHECK, observed);
    }
    let impact =
        "for that long, new connections go to a dead target, and a new target waits for its first check";
    // A present time-out above the new interval would be refused.
    let faster = modify(
        "--health-check-interval-seconds 10 --health-check-timeout-seconds 10 --unhealthy-threshold-count 2",
    );
    // More health checks reach the limit of a MySQL server sooner, if they connect to it.
    let fix = match connect_errors::protection(context) {
        _ if !is_traffic_port => faster,
        Protection::Protected => faster,
        Protection::Unprotected => {
            "raise max_connect_errors first, see connect_errors; then run the doctor again".to_owned()
        }
        Protection::Unknown => format!(
            "if the database is MySQL or MariaDB and its max_connect_errors is low, raise that first (error 1129); \
             then: {faster}"
        ),
    };
    Finding::warning(CHECK, observed, impact, fix).of_kind(FindingKind::SlowDetection)
}

fn has_healthy_target(context: CheckContext<'_>) -> bool {
    let (Some(wanted), Ok(targets)) = (context.wanted(), &context.facts.targets) else { return false };
    targets.iter().any(|(address, health)| wanted.contains(address) && health.state == "healthy")
}

fn is_true(attributes: &Attributes, key: &str, default: bool) -> bool {
    attributes.get(key).map_or(default, |value| value == "true")
}

fn check_deregistration(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const CHECK: &str = "deregistration";
    const DELAY: &str = "deregistration_delay.timeout_seconds";
    const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";
    // Both defaults are the API's, for TCP.
    let delay = attributes.get(DELAY).and_then(|value| value.parse().ok()).unwrap_or(300);
    let fix = context.set_attributes(&[(DELAY, "60"), (TERMINATION, "true")]);
    if !is_true(attributes, TERMINATION, false) {
        let observed = format!("a removed target keeps its connections (delay {delay} s, no termination)");
        let impact = "clients stay on the previous writer, which in Aurora serves them as a reader, until they disconnect";
        return Finding::warning(CHECK, observed, impact, fix);
    }
    let observed = format!("a removed target drops its connections after {delay} s");
    if delay > MAX_DRAIN_TIME {
        let impact =
            "for that long clients stay on the previous writer, which in Aurora serves them as a reader";
        return Finding::warning(CHECK, observed, impact, fix);
    }
    if delay < MIN_DRAIN_TIME {
        let impact = "for 30 s after a failover DNS can still give the old address; the function registers a draining target again \
                      only after the confirmation, but with this short delay the target is gone sooner, and the function \
                      registers the previous writer again at once";
        return Finding::warning(CHECK, observed, impact, fix);
    }
    Finding::ok(CHECK, observed)
}

fn check_unhealthy_targets(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const TERMINATION: &str = "target_health_state.unhealthy.connection_termination.enabled";
    if is_true(attributes, TERMINATION, true) {
        return Finding::ok("unhealthy_targets", "connections to an unhealthy target are closed");
    }
    let observed = "connections to an unhealthy target are kept";
    let impact = "clients hang on a dead database until their own time-outs";
    let fix = context.set_attributes(&[(TERMINATION, "true")]);
    Finding::warning("unhealthy_targets", observed, impact, fix)
}

fn check_client_addresses(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const PRESERVE: &str = "preserve_client_ip.enabled";
    if !is_true(attributes, PRESERVE, false) {
        return Finding::ok("client_addresses", "connections come from the load balancer's addresses");
    }
    let set = context.set_attributes(&[(PRESERVE, "false")]);
    let observed = "client addresses are preserved";
    let impact = "the database's security group sees the clients' addresses and not the load balancer's: clients that it does \
         not admit are cut off; PrivateLink clients are not affected";
    let fix = format!("first let the database's security group admit the load balancer, then: {set}");
    Finding::warning("client_addresses", observed, impact, fix)
}

fn check_proxy_protocol(context: CheckContext<'_>, attributes: &Attributes) -> Finding {
    const PROXY: &str = "proxy_protocol_v2.enabled";
    if !is_true(attributes, PROXY, false) {
        return Finding::ok("proxy_protocol", "off");
    }
    let impact = "RDS databases do not support it and refuse every connection";
    let fix = context.set_attributes(&[(PROXY, "false")]);
    Finding::problem("proxy_protocol", "Proxy Protocol version 2 is on", impact, fix)
}
