//! The last hour's connections and resets.

use std::collections::BTreeMap;

use super::facts::{Measured, Network};
use crate::doctor::finding::Finding;

const TRAFFIC: &str = "traffic";
const BLOCKED: &str = "blocked_flows";
const RESETS: &str = "resets";
/// Fewer in an hour say nothing.
const MANY: u64 = 10;

pub fn findings(network: &Network) -> Vec<Finding> {
    let sums = match &network.metrics {
        Err(unread) => {
            let could_not = "the last hour's connections, resets and blocked connections";
            return vec![Finding::unread(TRAFFIC, unread, could_not)];
        }
        Ok(sums) => sums,
    };
    let is_private_link = network.services.as_ref().is_ok_and(|services| !services.is_empty());
    vec![check_traffic(sums, is_private_link), check_blocked(sums), check_resets(sums)]
}

fn sum(sums: &BTreeMap<Measured, u64>, of: Measured) -> u64 {
    sums.get(&of).copied().unwrap_or_default()
}

/// Connections through the endpoint service also go through the load balancer.
fn check_traffic(sums: &BTreeMap<Measured, u64>, is_private_link: bool) -> Finding {
    let flows = sum(sums, Measured::NEW_FLOWS);
    let through = sum(sums, Measured::NEW_CONNECTIONS);
    let of_services = match is_private_link {
        true => format!(", {through} through the endpoint service"),
        false => String::new(),
    };
    let observed = format!("{flows} new connections in the last hour{of_services}");
    // The two are counted by different services, some minutes apart.
    if is_private_link && flows == 0 && through > MANY {
        let impact = "vendors connect to the endpoint service, and nothing gets through the load balancer";
        let fix = "see blocked_flows, security_groups and targets";
        return Finding::warning(TRAFFIC, observed, impact, fix);
    }
    Finding::ok(TRAFFIC, observed)
}

/// The load balancer's security groups block no connection.
fn check_blocked(sums: &BTreeMap<Measured, u64>) -> Finding {
    let (inbound, outbound) = (sum(sums, Measured::BLOCKED_INBOUND), sum(sums, Measured::BLOCKED_OUTBOUND));
    let observed =
        format!("{inbound} connections blocked from clients and {outbound} towards targets in the last hour");
    if outbound > 0 {
        let impact = "the load balancer's own rules keep it from the database";
        let fix = "see load_balancer_egress: allow the database's port outbound in the load balancer's security group";
        return Finding::warning(BLOCKED, observed, impact, fix);
    }
    if inbound > 0 {
        let impact = "the load balancer's security groups refuse these clients";
        let fix = "see security_groups: admit the clients' addresses, or turn off enforcement on PrivateLink traffic";
        return Finding::warning(BLOCKED, observed, impact, fix);
    }
    Finding::ok(BLOCKED, observed)
}

/// Resets are few against the connections: some are part of every day.
fn check_resets(sums: &BTreeMap<Measured, u64>) -> Finding {
    let flows = sum(sums, Measured::NEW_FLOWS);
    let (own, target) = (sum(sums, Measured::LOAD_BALANCER_RESETS), sum(sums, Measured::TARGET_RESETS));
    let client = sum(sums, Measured::CLIENT_RESETS);
    let observed =
        format!("{own} by the load balancer, {target} by targets, {client} by clients in the last hour");
    let are_many = |resets: u64| resets > MANY && resets.saturating_mul(2) > flows;
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
