//! The last hour's connections and resets.

use super::facts::{Measured, Network};
use crate::doctor::finding::{Checked, FactOr as _, Finding};

const TRAFFIC: &str = "traffic";
const BLOCKED: &str = "blocked_flows";
const RESETS: &str = "resets";
/// Up to this many in an hour say nothing.
const MAX_INSIGNIFICANT: u64 = 10;

pub fn findings(network: &Network) -> Checked<[Finding; 3]> {
    let not_checked = "the last hour's connections, resets and blocked connections";
    let sums = network.metrics.or_not_examined(TRAFFIC, not_checked)?;
    let sum = |measured: Measured| sums.get(&measured).copied().unwrap_or_default();
    let flows = sum(Measured::NEW_FLOWS);
    let is_private_link = network.services.as_ref().is_ok_and(|services| !services.is_empty());
    let through = is_private_link.then(|| sum(Measured::NEW_CONNECTIONS));
    let (own, target) = (sum(Measured::LOAD_BALANCER_RESETS), sum(Measured::TARGET_RESETS));
    Ok([
        check_traffic(flows, through),
        check_blocked(sum(Measured::BLOCKED_INBOUND), sum(Measured::BLOCKED_OUTBOUND)),
        check_resets(flows, own, target, sum(Measured::CLIENT_RESETS)),
    ])
}

/// Connections through the endpoint service also go through the load balancer.
fn check_traffic(flows: u64, through_services: Option<u64>) -> Finding {
    let of_services = through_services.map(|through| format!(", {through} through the endpoint service"));
    let of_services = of_services.unwrap_or_default();
    let observed = format!("{flows} new connections in the last hour{of_services}");
    // The two are counted by different services, some minutes apart.
    if flows == 0 && through_services.is_some_and(|through| through > MAX_INSIGNIFICANT) {
        let impact = "vendors connect to the endpoint service, and nothing gets through the load balancer";
        let fix = "see blocked_flows, security_groups and targets";
        return Finding::warning(TRAFFIC, observed, impact, fix);
    }
    Finding::ok(TRAFFIC, observed)
}

fn check_blocked(inbound: u64, outbound: u64) -> Finding {
    let observed =
        format!("{inbound} connections blocked from clients and {outbound} towards targets in the last hour");
    if outbound > MAX_INSIGNIFICANT {
        let impact = "the load balancer's own rules keep it from the database";
        let fix = "see load_balancer_egress: allow the database's port outbound in the load balancer's security group";
        return Finding::warning(BLOCKED, observed, impact, fix);
    }
    if inbound > MAX_INSIGNIFICANT {
        let impact = "the load balancer's security groups refuse these clients";
        let fix = "see security_groups: admit the clients' addresses, or turn off enforcement on PrivateLink traffic";
        return Finding::warning(BLOCKED, observed, impact, fix);
    }
    Finding::ok(BLOCKED, observed)
}

/// Some resets are normal. They are reported only if there are more than ten, and more than half as many as new
/// connections.
fn check_resets(flows: u64, own: u64, target: u64, client: u64) -> Finding {
    let observed =
        format!("{own} by the load balancer, {target} by targets, {client} by clients in the last hour");
    let are_many = |resets: u64| resets > MAX_INSIGNIFICANT && resets.saturating_mul(2) > flows;
    if are_many(target) {
        let impact =
            "the database resets half of the connections or more: it may be restarting, full or blocking";
        let fix = "read the database's error log, and run the doctor with --through";
        return Finding::warning(RESETS, observed, impact, fix);
    }
    if are_many(own) {
        let impact = "the load balancer resets half as many connections as it opens, or more: connections idle for longer than the \
                      listener's time-out, or without a target";
        let fix = "see idle_timeout and targets; let the clients send TCP keepalives";
        return Finding::warning(RESETS, observed, impact, fix);
    }
    Finding::ok(RESETS, observed)
}
