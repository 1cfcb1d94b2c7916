//! All checks of a binding.

use super::context::CheckContext;
use super::facts::Facts;
use super::finding::Finding;
use super::{connect_errors, database, group, load_balancer, targets};
use crate::binding::Binding;

/// The findings of every check, in the order of the path from the endpoint to the targets.
pub fn findings(binding: &Binding, facts: &Facts) -> Vec<Finding> {
    let context = CheckContext { binding, facts };
    let mut findings = database::findings(context);
    findings.extend(connect_errors::findings(context));
    findings.extend(group::findings(context));
    findings.extend(load_balancer::findings(context));
    findings.extend(targets::findings(context));
    findings
}
