//! All checks of a binding.

use super::context::CheckContext;
use super::database::check_engine;
use super::facts::Facts;
use super::finding::{Finding, Severity};
use super::path::PathFindings;
use super::require_tls::check_require_tls;
use super::{connect_errors, database, group, load_balancer, targets};
use crate::binding::Binding;

/// The findings of every check of the facts.
pub fn findings(binding: &Binding, facts: &Facts) -> Vec<Finding> {
    findings_with(binding, facts, PathFindings::default())
}

/// The findings of every check, in the order of the path from the endpoint to the targets. A handshake sees what is
/// left of it all.
pub fn findings_with(binding: &Binding, facts: &Facts, path: PathFindings) -> Vec<Finding> {
    let PathFindings { network, handshake } = path;
    let context = CheckContext::new(binding, facts);
    let mut findings = database::findings(context);
    findings.extend(connect_errors::findings(context));
    findings.extend(check_require_tls(context));
    findings.extend(check_engine(context));
    findings.extend(group::findings(context));
    findings.extend(load_balancer::findings(context));
    // The network's checks examine some of what the others cannot.
    let is_seen = |finding: &Finding| network.iter().any(|seen| seen.check == finding.check);
    findings.retain(|finding| finding.level != Severity::NotExamined || !is_seen(finding));
    // A load balancer without security groups has no check of its own rules.
    let of = |check: &'static str| network.iter().filter(move |it| it.check == check);
    let is_ok = |finding: &Finding| finding.level == Severity::Ok;
    let is_admitted = of("database_ingress").next().is_some()
        && of("database_ingress").chain(of("load_balancer_egress")).all(is_ok);
    findings.extend(network);
    findings.extend(targets::findings(context, is_admitted));
    findings.extend(handshake);
    findings
}
