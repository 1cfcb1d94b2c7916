//! The targets: the writer is in, healthy, and alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Health, Patient};
use crate::plan::Standby;

/// What an operator runs to have the group brought into sync at once.
const SYNC: &str = "the next check brings it into sync; to have it at once, run `rds-nlb-sync check` or, for \
                    the function, `aws lambda invoke --function-name FUNCTION --cli-binary-format \
                    raw-in-base64-out --payload '{\"command\":\"check\"}' /dev/stdout`";

pub fn findings(patient: Patient<'_>) -> Vec<Finding> {
    let targets = match &patient.facts.targets {
        Err(unread) => {
            let could_not = "whether the writer is in the group, healthy and alone";
            return vec![Finding::unread_vital("targets", unread, could_not)];
        }
        Ok(targets) => targets,
    };
    let (Ok(answer), Some(port)) = (&patient.facts.answer, patient.port()) else {
        return vec![Finding::warning(
            "targets",
            format!("the group holds {}", told(targets.iter())),
            "not checked: whether that is the writer, since the endpoint's address or the port is not known",
            "see what is said about the endpoint and the group",
        )];
    };
    let writers: BTreeSet<String> = answer.writer.targets(port).map(|target| target.to_string()).collect();
    let mut findings: Vec<Finding> =
        writers.iter().map(|writer| registered(patient, writer, targets)).collect();
    match patient.binding.standby {
        Standby::Evict => findings.extend(alone(&writers, targets)),
        Standby::Keep => findings.extend(beside_a_standby(&writers, targets)),
    }
    findings
}

fn told<'a>(targets: impl Iterator<Item = (&'a String, &'a Health)>) -> String {
    let list: Vec<String> = targets.map(|(target, health)| format!("{target} ({})", health.state)).collect();
    if list.is_empty() { "no target".to_owned() } else { list.join(", ") }
}

/// The writer is in the group, and clients reach it.
fn registered(patient: Patient<'_>, writer: &str, targets: &BTreeMap<String, Health>) -> Finding {
    let Some(health) = targets.get(writer).filter(|health| !health.is_draining()) else {
        let what = patient.target();
        let seen = format!("the {what} {writer} is not in the group, which holds {}", told(targets.iter()));
        return Finding::problem("targets", seen, "clients are cut off, or reach another database", SYNC);
    };
    let Health { state, reason } = health;
    let because = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let seen = format!("the {} {writer} is {state}{because}", patient.target());
    match (state.as_str(), reason.as_deref().unwrap_or_default()) {
        ("healthy", _) => Finding::ok("targets", seen),
        ("initial", _) => Finding::warning(
            "targets",
            seen,
            "clients do not reach it yet: it takes one to five minutes to put a target into service",
            "wait, and ask the doctor again",
        ),
        ("unused", "Target.NotInUse") => Finding::problem(
            "targets",
            seen,
            "the load balancer does not use it: no listener forwards to the group, or the target's zone is \
             not one of the load balancer's",
            "see to the listener, to cross-zone balancing and to the zones",
        ),
        (_, "Target.IpUnusable") => Finding::problem(
            "targets",
            seen,
            "the address is in use by a load balancer",
            "see what the endpoint's name really leads to",
        ),
        ("unavailable" | "unused", _) => Finding::warning(
            "targets",
            seen,
            "whether clients reach it cannot be told",
            "see to the group's listener and to its health check",
        ),
        _ => Finding::problem(
            "targets",
            seen,
            "clients are cut off",
            format!(
                "admit the load balancer in the database's security group (its security groups, or its \
                 subnets' ranges), and see that the database listens on its port: {}",
                patient.elbv2(&format!(
                    "describe-target-health --target-group-arn {}",
                    patient.binding.target_group
                ))
            ),
        ),
    }
}

/// Nothing but the writer and one unhealthy standby is in the group.
fn beside_a_standby(writers: &BTreeSet<String>, targets: &BTreeMap<String, Health>) -> Vec<Finding> {
    let is_standby =
        |(target, health): &(&String, &Health)| !writers.contains(*target) && health.state == "unhealthy";
    let Some((standby, _)) = targets.iter().find(is_standby) else {
        let seen = "the group holds no standby yet; the old writer's address is kept at the next failover";
        return std::iter::once(Finding::ok("standby", seen)).chain(alone(writers, targets)).collect();
    };
    let mut others = targets.clone();
    others.remove(standby);
    let kept = Finding {
        why: Some("the group's UnHealthyHostCount is one in normal times".to_owned()),
        cure: Some("alarm on HealthyHostCount below one instead".to_owned()),
        ..Finding::ok(
            "standby",
            format!("{standby} is kept as the standby, and is unhealthy as it should be"),
        )
    };
    std::iter::once(kept).chain(alone(writers, &others)).collect()
}

/// Nothing but the writer is in the group.
fn alone(writers: &BTreeSet<String>, targets: &BTreeMap<String, Health>) -> Option<Finding> {
    let others = || targets.iter().filter(|(target, _)| !writers.contains(*target));
    let (draining, stale): (Vec<_>, Vec<_>) = others().partition(|(_, health)| health.is_draining());
    if !stale.is_empty() {
        return Some(Finding::problem(
            "stale_targets",
            told(stale.into_iter()),
            "the load balancer sends a part of the clients there",
            SYNC,
        ));
    }
    if !draining.is_empty() {
        let seen = format!("on their way out: {}", told(draining.into_iter()));
        return Some(Finding::ok("stale_targets", seen));
    }
    Some(Finding::ok("stale_targets", "none"))
}
