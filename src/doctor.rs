//! The doctor: for every binding, what is well, what is not, why it matters and what cures it.
//!
//! [`examine`] reads everything that the APIs and DNS tell ([`Facts`]) and changes nothing;
//! [`findings`] judges it, purely. A fact that could not be read is a finding as well: it says why, by
//! the missing permission where there is one, and which checks could not be made without it.

mod collect;
mod database;
mod facts;
mod group;
mod load_balancer;
mod settings;
mod targets;

use serde::Serialize;

use crate::binding::{Binding, Role};
use crate::endpoint::member;
use crate::error::ErrorKind;

pub use collect::{BindingFindings, DoctorReport, InspectDatabases, InspectGroups, examine};
pub use facts::{
    Attached, Attributes, Database, DatabaseKind, Facts, Group, Health, HealthCheck, Listener, LoadBalancer,
    Read, Unread,
};
pub use settings::check_settings;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, but slower, less often or less safely than it could; or it could not be checked.
    Warning,
    /// Clients are cut off, or will be by the next failover.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Severity,
    /// The check's name.
    pub check: &'static str,
    /// What was seen.
    pub observed: String,
    /// Why it matters, unless all is well.
    pub impact: Option<String>,
    /// The change that cures it, with shell commands in backquotes, unless all is well.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, observed: impl Into<String>) -> Self {
        Self { level: Severity::Ok, check, observed: observed.into(), impact: None, fix: None }
    }

    fn warning(
        check: &'static str,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (impact, fix) = (Some(impact.into()), Some(fix.into()));
        Self { level: Severity::Warning, check, observed: observed.into(), impact, fix }
    }

    fn problem(
        check: &'static str,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Severity::Problem, ..Self::warning(check, observed, impact, fix) }
    }

    /// A fact that could not be read, and what `could_not` be checked without it.
    fn unread(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let Unread { kind: _, story, fix } = unread;
        let fix = fix.as_deref().unwrap_or("look into the reason, and ask the doctor again");
        Self::warning(check, story, format!("not checked: {could_not}"), fix)
    }

    /// A fact that could not be read and that the function itself lives by: for good, it is a problem.
    fn unread_vital(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let finding = Self::unread(check, unread, could_not);
        match unread.kind {
            ErrorKind::Transient | ErrorKind::DeadlineExceeded => finding,
            ErrorKind::NoAnswer | ErrorKind::Permanent => Self {
                level: Severity::Problem,
                impact: Some(format!(
                    "without it the group follows nothing; {}",
                    finding.impact.unwrap_or_default()
                )),
                ..finding
            },
        }
    }
}

/// Judges what was read about a binding, check by check.
pub fn findings(binding: &Binding, facts: &Facts) -> Vec<Finding> {
    let context = CheckContext { binding, facts };
    let mut findings = database::findings(context);
    findings.extend(group::findings(context));
    findings.extend(load_balancer::findings(context));
    findings.extend(targets::findings(context));
    findings
}

/// A binding and what was read about it: what every check looks at.
#[derive(Clone, Copy)]
struct CheckContext<'a> {
    binding: &'a Binding,
    facts: &'a Facts,
}

impl<'a> CheckContext<'a> {
    /// The port that the writer is registered with, where it is known.
    fn port(self) -> Option<u16> {
        self.binding.port.or(self.facts.group.as_ref().ok().and_then(|group| group.port))
    }

    /// The cluster member that DNS names as the writer.
    fn member(self) -> Option<&'a str> {
        let is_of_the_writer = self.binding.role == Role::Writer;
        self.facts
            .resolution
            .as_ref()
            .ok()
            .filter(|_| is_of_the_writer)
            .and_then(|resolution| member(&resolution.chain))
    }

    /// What a target that belongs into the group is.
    fn target(self) -> &'static str {
        match self.binding.role {
            Role::Writer => "writer",
            Role::Readers => "reader",
            Role::All => "address",
        }
    }

    /// Whether a name on the way to the address is of this kind, such as `cluster-ro-`: RDS's endpoints
    /// are called NAME.KIND-ID.REGION.rds.amazonaws.com.
    fn is_named(self, kind: &str) -> bool {
        let names =
            self.facts.resolution.as_ref().map(|resolution| resolution.chain.as_slice()).unwrap_or_default();
        let endpoint = self.binding.endpoint.to_ascii_lowercase();
        let is_of_kind = |name: &str| name.split_once('.').is_some_and(|(_, rest)| rest.starts_with(kind));
        is_of_kind(&endpoint) || names.iter().any(|name| is_of_kind(name))
    }

    /// A command for the load balancing API, to run in the group's region.
    fn elbv2(self, command: &str) -> String {
        let region = self.binding.target_group.region();
        format!("`aws elbv2 {command} --region {region}`")
    }

    /// The command that sets attributes of the group.
    fn set_attributes(self, attributes: &[(&str, &str)]) -> String {
        let list: Vec<String> =
            attributes.iter().map(|(key, value)| format!("Key={key},Value={value}")).collect();
        let group = self.binding.target_group.as_str();
        self.elbv2(&format!(
            "modify-target-group-attributes --target-group-arn {group} --attributes {}",
            list.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests;
