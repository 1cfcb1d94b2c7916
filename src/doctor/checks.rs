//! All checks of a binding.

use tokio::time::Instant;

use super::context::CheckContext;
use super::finding::{Finding, Severity, all};
use super::{connect_errors, database, group, load_balancer, targets};

/// The path from a client to the database, as the command line examines it.
pub trait InspectPath {
    async fn inspect_path(&self, context: CheckContext<'_>, deadline: Instant) -> PathFindings;
}

#[derive(Debug, Default)]
pub struct PathFindings {
    pub network: Vec<Finding>,
    /// The result of a handshake, as a client makes it.
    pub handshake: Vec<Finding>,
}

/// The function examines none of it.
impl InspectPath for () {
    async fn inspect_path(&self, _: CheckContext<'_>, _: Instant) -> PathFindings {
        PathFindings::default()
    }
}

/// The findings of every check, in the order of the path from the endpoint to the targets. The handshake comes last, as
/// a consequence of the others.
pub fn findings_with(context: CheckContext<'_>, path: PathFindings) -> Vec<Finding> {
    let PathFindings { network, handshake } = path;
    let mut findings = database::findings(context);
    findings.extend(all(connect_errors::check_connect_errors(context)));
    findings.extend(all(database::check_require_tls(context)));
    findings.extend(database::check_engine(context));
    findings.extend(group::findings(context));
    findings.extend(all(load_balancer::findings(context)));
    // The network's checks examine some of what the others cannot.
    let is_examined = |finding: &Finding| network.iter().any(|other| other.check == finding.check);
    findings.retain(|finding| finding.level != Severity::NotExamined || !is_examined(finding));
    // A load balancer without security groups has no check of its own rules.
    let checks_of = |check: &'static str| network.iter().filter(move |finding| finding.check == check);
    let is_admitted = checks_of("database_ingress").next().is_some()
        && checks_of("database_ingress")
            .chain(checks_of("load_balancer_egress"))
            .all(|finding| finding.level == Severity::Ok);
    findings.extend(network);
    findings.extend(all(targets::findings(context, is_admitted)));
    findings.extend(handshake);
    findings
}
