//! The report: counts first, then the findings by severity, each cause once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, FindingKind, Severity};
use crate::discovery::Unbound;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    pub counts: Counts,
    pub general: Vec<Finding>,
    /// Checks whose facts could not be read.
    pub not_examined: Vec<Finding>,
    pub bindings: Vec<BindingFindings>,
}

/// How many findings there are of each severity. A finding with a `cause` is counted with its cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub problems: usize,
    pub warnings: usize,
    pub ok: usize,
    pub not_examined: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingFindings {
    pub endpoint: String,
    pub target_group: String,
    /// The worst first, otherwise in the order of the path from the endpoint to the targets.
    pub findings: Vec<Finding>,
    /// Checks whose facts could not be read.
    pub not_examined: Vec<Finding>,
}

impl BindingFindings {
    pub fn new(endpoint: &str, target_group: &str, mut findings: Vec<Finding>) -> Self {
        link_causes(&mut findings);
        let (endpoint, target_group) = (endpoint.to_owned(), target_group.to_owned());
        let (findings, not_examined) = sorted(findings);
        Self { endpoint, target_group, findings, not_examined }
    }

    /// A group whose tags bind nothing. The reason has a fix for each tag.
    fn unbound(endpoint: &str, target_group: &str, reason: &str) -> Self {
        let impact = "the function does not sync this group";
        let finding = Finding { fix: None, ..Finding::problem("binding", reason, impact, "") };
        Self::new(endpoint, target_group, vec![finding])
    }
}

impl DoctorReport {
    pub fn new(mut general: Vec<Finding>, mut bindings: Vec<BindingFindings>, unbound: &[Unbound]) -> Self {
        for unbound in unbound {
            match unbound {
                Unbound::Group { target_group, endpoint, error } => {
                    bindings.push(BindingFindings::unbound(endpoint, target_group, error));
                }
                Unbound::Tag { .. } => general.push(discovery_failed(unbound)),
            }
        }
        if general.iter().any(|finding| finding.check == "dry_run" && finding.level == Severity::Problem) {
            // A check fixes these only after DRY_RUN is off, and so what follows from them.
            for BindingFindings { findings, .. } in &mut bindings {
                let mut waiting = BTreeSet::new();
                // A cause stands before its consequences.
                for finding in findings {
                    let is_cause = finding.kind == FindingKind::OutOfSync && finding.cause.is_none();
                    waiting.extend(is_cause.then(|| finding.check.clone()));
                    if is_cause || finding.cause.as_ref().is_some_and(|cause| waiting.contains(cause)) {
                        finding.set_cause("dry_run");
                    }
                }
            }
        }
        let (general, not_examined) = sorted(general);
        let mut report = Self { counts: Counts::default(), general, not_examined, bindings };
        report.counts = Counts {
            problems: report.count(Severity::Problem),
            warnings: report.count(Severity::Warning),
            ok: report.count(Severity::Ok),
            not_examined: report.not_examined().count(),
        };
        report
    }

    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.general.iter().chain(self.bindings.iter().flat_map(|binding| &binding.findings))
    }

    pub fn not_examined(&self) -> impl Iterator<Item = &Finding> {
        self.not_examined.iter().chain(self.bindings.iter().flat_map(|binding| &binding.not_examined))
    }

    fn count(&self, level: Severity) -> usize {
        self.findings().filter(|finding| finding.level == level && finding.cause.is_none()).count()
    }
}

fn discovery_failed(unbound: &Unbound) -> Finding {
    let observed = format!("{unbound}: {}", unbound.error());
    let fix = "correct the cause of this error, then run the doctor again";
    let impact = "groups that are bound by tag are not synced, and this report does not show them";
    Finding::problem("discovery", observed, impact, fix)
}

/// The examined findings, the worst first, and those that were not examined.
fn sorted(findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let is_examined = |finding: &Finding| finding.level != Severity::NotExamined;
    let (mut findings, not_examined): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_examined);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.cause.is_some()));
    (findings, not_examined)
}

/// Marks the findings that follow from another finding. Each cause is then reported once. A consequence offers no fix
/// of its own, which would not help before the cause is fixed.
fn link_causes(findings: &mut [Finding]) {
    for index in 1..findings.len() {
        let (earlier, rest) = findings.split_at_mut(index);
        let Some(finding) = rest.first_mut().filter(|finding| finding.level > Severity::Ok) else { continue };
        let cause = earlier.iter().find(|cause| cause.level >= finding.level && is_cause(cause, finding));
        // A consequence of a consequence follows from the first cause, which is the one that is reported.
        if let Some(cause) = cause.map(|cause| cause.cause.clone().unwrap_or(cause.check.clone())) {
            finding.set_cause(&cause);
        }
    }
}

/// The checks whose fault shows in the targets' health and in a handshake.
const KEEPS_CLIENTS_OUT: [&str; 12] = [
    "database",
    "database_port",
    "target_type",
    "protocol",
    "health_check",
    "load_balancer",
    "listener",
    "zones",
    "load_balancer_egress",
    "database_ingress",
    "network_acls",
    "routes",
];

fn is_cause(cause: &Finding, finding: &Finding) -> bool {
    let checks = (cause.check.as_ref(), finding.check.as_ref());
    match (&cause.kind, &finding.kind, checks) {
        (FindingKind::Unread(one), FindingKind::Unread(other), _) => one.failed_alike(other),
        // What the next failover does has not caused anything yet.
        (FindingKind::NextFailover, _, _) => false,
        (_, _, ("target_type", "protocol") | ("protocol", "listener") | ("endpoint_kind", "writer")) => true,
        (_, FindingKind::NoSuchDatabase, ("endpoint_kind", _)) => true,
        (_, FindingKind::SlowDetection, ("connect_errors", _)) => true,
        (FindingKind::Unread(_), FindingKind::Unknown, ("attributes", "cross_zone")) => true,
        (FindingKind::Refused, FindingKind::OutOfSync, _) => true,
        // The endpoint is the wrong name: to register its addresses would make it worse.
        (_, FindingKind::OutOfSync, ("endpoint_kind", _)) => true,
        (FindingKind::OutOfSync, FindingKind::OutOfSync, ("targets", "stale_targets")) => true,
        (_, FindingKind::Unknown, ("endpoint" | "target_group", "targets")) => true,
        (_, FindingKind::NoTraffic, (cause, "targets")) => KEEPS_CLIENTS_OUT.contains(&cause),
        (_, FindingKind::NoTraffic, (cause, "handshake")) => {
            KEEPS_CLIENTS_OUT.contains(&cause) || ["targets", "proxy_protocol", "cross_zone"].contains(&cause)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_first_and_findings_are_sorted() {
        let findings = vec![
            Finding::ok("endpoint", "resolves"),
            Finding::warning("zones", "one", "impact", "fix"),
            Finding::problem("listener", "none", "impact", "fix"),
            Finding::not_examined("failover_zones", "the members' zones", "allow it"),
        ];
        let report = DoctorReport::new(Vec::new(), vec![BindingFindings::new("e", "arn:g", findings)], &[]);
        let counts = Counts { problems: 1, warnings: 1, ok: 1, not_examined: 1 };
        assert_eq!(report.counts, counts);
        let checks: Vec<&str> = report.findings().map(|finding| finding.check.as_ref()).collect();
        assert_eq!(checks, ["listener", "zones", "endpoint"]);
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.starts_with(r#"{"counts":{"problems":1,"warnings":1,"#), "{json}");
        assert_eq!(serde_json::from_str::<DoctorReport>(&json).unwrap(), report);
    }

    #[test]
    fn dry_run_is_the_cause_of_everything_that_a_check_would_fix() {
        let out_of_sync =
            |check| Finding::problem(check, "old", "impact", "fix").of_kind(FindingKind::OutOfSync);
        let binding =
            BindingFindings::new("e", "arn:g", vec![out_of_sync("targets"), out_of_sync("stale_targets")]);
        assert_eq!(binding.findings[1].cause.as_deref(), Some("targets"));
        let dry_run = Finding::problem("dry_run", "on", "impact", "fix");
        let report = DoctorReport::new(vec![dry_run], vec![binding], &[]);
        let causes = report.bindings[0].findings.iter().map(|finding| finding.cause.as_deref());
        assert_eq!(causes.collect::<Vec<_>>(), [Some("dry_run"); 2]);
    }

    #[test]
    fn only_a_slow_health_check_follows_from_connect_errors() {
        let check = |kind| Finding::warning("health_check", "one", "impact", "fix").of_kind(kind);
        for (kind, cause) in
            [(FindingKind::SlowDetection, Some("connect_errors")), (FindingKind::Observed, None)]
        {
            let connect_errors = Finding::warning("connect_errors", "low", "impact", "fix");
            let binding = BindingFindings::new("e", "arn:g", vec![connect_errors, check(kind)]);
            assert_eq!(binding.findings[1].cause.as_deref(), cause);
        }
    }
}
