//! The targets: the writer is in, healthy, and alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{CheckContext, Finding, Health};
use crate::plan::StandbyPolicy;

/// What an operator runs to have the group brought into sync at once.
const SYNC: &str = "the next check brings it into sync; to have it at once, run `rds-nlb-sync check` or, for \
                    the function, `aws lambda invoke --function-name FUNCTION --cli-binary-format \
                    raw-in-base64-out --payload '{\"command\":\"check\"}' /dev/stdout`";

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    let targets = match &context.facts.targets {
        Err(unread) => {
            let could_not = "whether the writer is in the group, healthy and alone";
            return vec![Finding::unread_vital("targets", unread, could_not)];
        }
        Ok(targets) => targets,
    };
    let (Ok(resolution), Some(port)) = (&context.facts.resolution, context.port()) else {
        return vec![Finding::warning(
            "targets",
            format!("the group holds {}", describe(targets.iter())),
            "not checked: whether that is the writer, since the endpoint's address or the port is not known",
            "see what is said about the endpoint and the group",
        )];
    };
    let wanted: BTreeSet<String> =
        resolution.addresses.targets(port).map(|target| target.to_string()).collect();
    let mut findings: Vec<Finding> =
        wanted.iter().map(|address| check_registered(context, address, targets)).collect();
    match context.binding.standby {
        StandbyPolicy::Deregister => findings.extend(check_stale_targets(&wanted, targets)),
        StandbyPolicy::Keep => findings.extend(check_standby(&wanted, targets)),
    }
    findings
}

fn describe<'a>(targets: impl Iterator<Item = (&'a String, &'a Health)>) -> String {
    let list: Vec<String> = targets.map(|(target, health)| format!("{target} ({})", health.state)).collect();
    if list.is_empty() { "no target".to_owned() } else { list.join(", ") }
}

/// The writer is in the group, and clients reach it.
fn check_registered(context: CheckContext<'_>, address: &str, targets: &BTreeMap<String, Health>) -> Finding {
    let Some(health) = targets.get(address).filter(|health| !health.is_draining()) else {
        let what = context.target();
        let observed =
            format!("the {what} {address} is not in the group, which holds {}", describe(targets.iter()));
        return Finding::problem("targets", observed, "clients are cut off, or reach another database", SYNC);
    };
    let Health { state, reason } = health;
    let explanation = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let observed = format!("the {} {address} is {state}{explanation}", context.target());
    match (state.as_str(), reason.as_deref().unwrap_or_default()) {
        ("healthy", _) => Finding::ok("targets", observed),
        ("initial", _) => Finding::warning(
            "targets",
            observed,
            "clients do not reach it yet: it takes one to five minutes to put a target into service",
            "wait, and ask the doctor again",
        ),
        ("unused", "Target.NotInUse") => Finding::problem(
            "targets",
            observed,
            "the load balancer does not use it: no listener forwards to the group, or the target's zone is \
             not one of the load balancer's",
            "see to the listener, to cross-zone balancing and to the zones",
        ),
        (_, "Target.IpUnusable") => Finding::problem(
            "targets",
            observed,
            "the address is in use by a load balancer",
            "see what the endpoint's name really leads to",
        ),
        ("unavailable" | "unused", _) => Finding::warning(
            "targets",
            observed,
            "whether clients reach it cannot be told",
            "see to the group's listener and to its health check",
        ),
        _ => Finding::problem(
            "targets",
            observed,
            "clients are cut off",
            format!(
                "admit the load balancer in the database's security group (its security groups, or its \
                 subnets' ranges), and see that the database listens on its port: {}",
                context.elbv2(&format!(
                    "describe-target-health --target-group-arn {}",
                    context.binding.target_group
                ))
            ),
        ),
    }
}

/// Nothing but the writer and one unhealthy standby is in the group.
fn check_standby(wanted: &BTreeSet<String>, targets: &BTreeMap<String, Health>) -> Vec<Finding> {
    let is_standby =
        |(target, health): &(&String, &Health)| !wanted.contains(*target) && health.state == "unhealthy";
    let Some((standby, _)) = targets.iter().find(is_standby) else {
        let observed =
            "the group holds no standby yet; the old writer's address is kept at the next failover";
        return std::iter::once(Finding::ok("standby", observed))
            .chain(check_stale_targets(wanted, targets))
            .collect();
    };
    let mut others = targets.clone();
    others.remove(standby);
    let kept = Finding {
        impact: Some("the group's UnHealthyHostCount is one in normal times".to_owned()),
        fix: Some("alarm on HealthyHostCount below one instead".to_owned()),
        ..Finding::ok(
            "standby",
            format!("{standby} is kept as the standby, and is unhealthy as it should be"),
        )
    };
    std::iter::once(kept).chain(check_stale_targets(wanted, &others)).collect()
}

/// Nothing but the writer is in the group.
fn check_stale_targets(wanted: &BTreeSet<String>, targets: &BTreeMap<String, Health>) -> Option<Finding> {
    let others = || targets.iter().filter(|(target, _)| !wanted.contains(*target));
    let (draining, stale): (Vec<_>, Vec<_>) = others().partition(|(_, health)| health.is_draining());
    if !stale.is_empty() {
        return Some(Finding::problem(
            "stale_targets",
            describe(stale.into_iter()),
            "the load balancer sends a part of the clients there",
            SYNC,
        ));
    }
    if !draining.is_empty() {
        let observed = format!("on their way out: {}", describe(draining.into_iter()));
        return Some(Finding::ok("stale_targets", observed));
    }
    Some(Finding::ok("stale_targets", "none"))
}
