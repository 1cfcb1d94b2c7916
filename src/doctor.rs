//! The doctor: for every binding, what is well, what is not, why it matters and what cures it.
//!
//! [`examine`] reads everything that the APIs and DNS tell ([`Facts`]) and changes nothing;
//! [`findings`] judges it, purely. A fact that could not be read is a finding as well: it says why, by
//! the missing permission where there is one, and which checks could not be made without it.

mod balancer;
mod database;
mod facts;
mod gather;
mod general;
mod group;
mod targets;

use serde::Serialize;

use crate::config::{Binding, Role};
use crate::fault::Kind;
use crate::reconcile::member;

pub use facts::{
    Attached, Attributes, Balancer, Database, DatabaseKind, Facts, Group, Health, HealthCheck, Listener,
    Read, Unread,
};
pub use gather::{Diagnosis, Examination, InspectDatabases, InspectGroups, examine};
pub use general::general;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
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
    pub level: Level,
    /// The check's name.
    pub check: &'static str,
    /// What was seen.
    pub seen: String,
    /// Why it matters, unless all is well.
    pub why: Option<String>,
    /// The change that cures it, with shell commands in backquotes, unless all is well.
    pub cure: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, seen: seen.into(), why: None, cure: None }
    }

    fn warning(
        check: &'static str,
        seen: impl Into<String>,
        why: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let (why, cure) = (Some(why.into()), Some(cure.into()));
        Self { level: Level::Warning, check, seen: seen.into(), why, cure }
    }

    fn problem(
        check: &'static str,
        seen: impl Into<String>,
        why: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { level: Level::Problem, ..Self::warning(check, seen, why, cure) }
    }

    /// A fact that could not be read, and what `could_not` be checked without it.
    fn unread(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let Unread { kind: _, story, cure } = unread;
        let cure = cure.as_deref().unwrap_or("look into the reason, and ask the doctor again");
        Self::warning(check, story, format!("not checked: {could_not}"), cure)
    }

    /// A fact that could not be read and that the function itself lives by: for good, it is a problem.
    fn unread_vital(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let finding = Self::unread(check, unread, could_not);
        match unread.kind {
            Kind::Transient | Kind::OutOfTime => finding,
            Kind::NoAnswer | Kind::Permanent => Self {
                level: Level::Problem,
                why: Some(format!(
                    "without it the group follows nothing; {}",
                    finding.why.unwrap_or_default()
                )),
                ..finding
            },
        }
    }
}

/// Judges what was read about a binding, check by check.
pub fn findings(binding: &Binding, facts: &Facts) -> Vec<Finding> {
    let patient = Patient { binding, facts };
    let mut findings = database::findings(patient);
    findings.extend(group::findings(patient));
    findings.extend(balancer::findings(patient));
    findings.extend(targets::findings(patient));
    findings
}

/// A binding and what was read about it: what every check looks at.
#[derive(Clone, Copy)]
struct Patient<'a> {
    binding: &'a Binding,
    facts: &'a Facts,
}

impl<'a> Patient<'a> {
    /// The port that the writer is registered with, where it is known.
    fn port(self) -> Option<u16> {
        self.binding.port.or(self.facts.group.as_ref().ok().and_then(|group| group.port))
    }

    /// The cluster member that DNS names as the writer.
    fn member(self) -> Option<&'a str> {
        let is_of_the_writer = self.binding.role == Role::Writer;
        self.facts.answer.as_ref().ok().filter(|_| is_of_the_writer).and_then(member)
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
        let names = self.facts.answer.as_ref().map(|answer| answer.chain.as_slice()).unwrap_or_default();
        let endpoint = self.binding.endpoint.to_ascii_lowercase();
        let is_of_kind = |name: &str| name.split_once('.').is_some_and(|(_, rest)| rest.starts_with(kind));
        is_of_kind(&endpoint) || names.iter().any(|name| is_of_kind(name))
    }

    /// A command for the load balancing API, to run in the group's region.
    fn elbv2(self, command: &str) -> String {
        let region = self.binding.target_group.split(':').nth(3).unwrap_or_default();
        format!("`aws elbv2 {command} --region {region}`")
    }

    /// The command that sets attributes of the group.
    fn set_attributes(self, attributes: &[(&str, &str)]) -> String {
        let list: Vec<String> =
            attributes.iter().map(|(key, value)| format!("Key={key},Value={value}")).collect();
        let group = &self.binding.target_group;
        self.elbv2(&format!(
            "modify-target-group-attributes --target-group-arn {group} --attributes {}",
            list.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests;
