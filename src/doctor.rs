//! The doctor examines every binding: each finding says what was observed, why it matters and how to fix it.
//!
//! [`examine`] reads [`Facts`] from DNS and the APIs and changes nothing. [`findings`] judges them and calls
//! nothing. A fact that could not be read is a finding as well: it gives the reason, the missing permission if
//! there is one, and the checks that were not made.

mod collect;
mod connect_errors;
mod database;
mod facts;
mod group;
mod listeners;
mod load_balancer;
mod report;
mod settings;
mod shell;
mod targets;
mod zones;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::binding::{Binding, Role};
use crate::endpoint::member;
use crate::error::ErrorKind;

pub use collect::{InspectDatabases, InspectGroups, examine, read_facts};
pub use facts::{
    Attached, Attributes, Database, DatabaseKind, Facts, Group, Health, HealthCheck, Host, Listener,
    LoadBalancer, Read, Unread,
};
pub use report::{BindingFindings, Counts, DoctorReport};
pub use settings::check_settings;
pub use shell::{command, quote};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing could be observed, and the check is optional. Reports list it apart from the findings.
    #[default]
    NotExamined,
    /// As it should be.
    Ok,
    /// It works, but slower, less often or less safely than it could, or it could not be checked.
    Warning,
    /// Clients are cut off, or the next failover cuts them off, or it is not known whether they are.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub level: Severity,
    /// The check's name, such as `cross_zone`.
    pub check: Cow<'static, str>,
    pub observed: String,
    /// Why it matters. `None` where the level is `Ok`.
    pub impact: Option<String>,
    /// What to change, with shell commands in backquotes. `None` where the level is `Ok`.
    pub fix: Option<String>,
    /// The check that found the cause, where this finding is a consequence.
    pub cause: Option<Cow<'static, str>>,
    #[serde(skip)]
    pub(crate) nature: Nature,
}

/// What kind of finding it is, which decides what it can follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Nature {
    #[default]
    Observed,
    /// A required or important fact could not be read.
    Unread(Unread),
    /// The check needs a fact that another finding reports as unread.
    Unknown,
    /// The group does not hold the endpoint's addresses alone. A check fixes that.
    Unsynced,
    /// The load balancer sends no clients to a registered target.
    Unserved,
}

impl Finding {
    fn ok(check: &'static str, observed: impl Into<String>) -> Self {
        Self { level: Severity::Ok, check: check.into(), observed: observed.into(), ..Self::default() }
    }

    fn warning(
        check: &'static str,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (impact, fix) = (Some(impact.into()), Some(fix.into()));
        Self { level: Severity::Warning, impact, fix, ..Self::ok(check, observed) }
    }

    fn problem(
        check: &'static str,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Severity::Problem, ..Self::warning(check, observed, impact, fix) }
    }

    /// An optional check that could not be made. `fix` says how to examine it.
    fn not_examined(check: &'static str, observed: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Severity::NotExamined, fix: Some(fix.into()), ..Self::ok(check, observed) }
    }

    /// An important fact that could not be read. `could_not` names the checks that need it.
    fn unread(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let fix = unread.fix.as_deref().unwrap_or("find the cause of this error, then run the doctor again");
        let finding = Self::warning(check, &unread.story, format!("not checked: {could_not}"), fix);
        finding.of(Nature::Unread(unread.clone()))
    }

    /// A fact that the function itself needs. Without it nothing is known to be well.
    fn unread_required(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let impact = match unread.kind {
            ErrorKind::Transient | ErrorKind::DeadlineExceeded => format!("not checked: {could_not}"),
            ErrorKind::NoAnswer | ErrorKind::Permanent => {
                format!("without it the function cannot sync the group; not checked: {could_not}")
            }
        };
        Self { level: Severity::Problem, impact: Some(impact), ..Self::unread(check, unread, could_not) }
    }

    /// An optional fact that could not be read.
    fn unread_optional(check: &'static str, unread: &Unread, could_not: &str) -> Self {
        let fix = unread.fix.as_deref().unwrap_or("find the cause of this error, then run the doctor again");
        Self::not_examined(check, format!("{could_not}: {}", unread.story), fix)
    }

    fn of(self, nature: Nature) -> Self {
        Self { nature, ..self }
    }

    /// Makes this a consequence of what another check found.
    fn follows(&mut self, cause: &str) {
        self.fix = Some(format!("see the finding {cause}"));
        self.cause = Some(cause.to_owned().into());
    }
}

impl Unread {
    /// Whether both calls failed because the same API does not answer.
    fn is_same_silence(&self, other: &Self) -> bool {
        let is_silence = matches!(self.kind, ErrorKind::Transient | ErrorKind::DeadlineExceeded);
        is_silence && self.kind == other.kind && self.fix == other.fix
    }
}

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

/// The input of every check.
#[derive(Clone, Copy)]
struct CheckContext<'a> {
    binding: &'a Binding,
    facts: &'a Facts,
}

impl<'a> CheckContext<'a> {
    /// The port that targets are registered with, if it is known.
    fn port(self) -> Option<u16> {
        self.binding.port.or(self.facts.group.as_ref().ok().and_then(|group| group.port))
    }

    /// The cluster member that DNS names as the writer.
    fn member(self) -> Option<&'a str> {
        if self.binding.role != Role::Writer {
            return None;
        }
        self.facts.resolution.as_ref().ok().and_then(|resolution| member(&resolution.chain))
    }

    /// The word for a target that belongs in the group.
    fn target(self) -> &'static str {
        match self.binding.role {
            Role::Writer => "writer",
            Role::Readers => "reader",
            Role::All => "address",
        }
    }

    /// The endpoint and the names of its CNAME chain.
    fn names(self) -> Vec<&'a str> {
        let chain = self.facts.resolution.as_ref().map(|resolution| resolution.chain.as_slice());
        let chain = chain.unwrap_or_default().iter().map(String::as_str);
        std::iter::once(self.binding.endpoint.as_str()).chain(chain).collect()
    }

    /// Whether the endpoint or a name in its CNAME chain is of this kind, such as `cluster-ro-`. RDS endpoints
    /// have the form NAME.KIND-ID.REGION.rds.amazonaws.com.
    fn is_named(self, kind: &str) -> bool {
        self.names().iter().any(|name| is_of_kind(name, kind))
    }

    /// The group's Region, where the commands run.
    fn region(self) -> &'a str {
        self.binding.target_group.region()
    }

    fn database(self) -> Option<&'a Database> {
        self.facts.database.as_ref().ok().and_then(Option::as_ref)
    }

    fn hosts(self) -> &'a [Host] {
        self.facts.hosts.as_deref().unwrap_or_default()
    }

    /// The host of the writer: the member that DNS names, otherwise the RDS API's writer, or the instance.
    fn writer_host(self) -> Option<&'a Host> {
        let database = self.database()?;
        let by_rds = database.members.members.iter().find(|(_, is_writer)| **is_writer).map(|(name, _)| name);
        let name = self.member().or(by_rds.map(String::as_str));
        match database.kind {
            DatabaseKind::Instance => self.hosts().first(),
            DatabaseKind::Cluster => self.hosts().iter().find(|host| Some(host.identifier.as_str()) == name),
        }
    }

    /// The targets that belong in the group, as `address:port`, if the addresses and the port are known.
    fn wanted(self) -> Option<BTreeSet<String>> {
        let (resolution, port) = (self.facts.resolution.as_ref().ok()?, self.port()?);
        Some(resolution.addresses.targets(port).map(|target| target.to_string()).collect())
    }

    /// An AWS CLI command in the group's Region, in backquotes. `words` begin with the service.
    fn aws<'w>(self, words: impl IntoIterator<Item = &'w str>) -> String
    where
        'a: 'w,
    {
        let words = std::iter::once("aws").chain(words).chain(["--region", self.region()]);
        command(words)
    }

    /// The command that sets these attributes of the group.
    fn set_attributes(self, attributes: &[(&str, &str)]) -> String {
        let list: Vec<String> =
            attributes.iter().map(|(key, value)| format!("Key={key},Value={value}")).collect();
        let group = self.binding.target_group.as_str();
        let words = ["elbv2", "modify-target-group-attributes", "--target-group-arn", group, "--attributes"];
        self.aws(words.into_iter().chain(list.iter().map(String::as_str)))
    }

    /// The command that creates a TCP group of type ip like this one.
    fn create_group(self) -> String {
        let name: String = self.binding.name().chars().take(28).collect();
        let name = format!("{}-tcp", name.trim_end_matches('-'));
        let port = self.port().unwrap_or(5432).to_string();
        let vpc = self.facts.group.as_ref().ok().and_then(|group| group.vpc.as_deref());
        let words = ["elbv2", "create-target-group", "--name", &name, "--protocol", "TCP", "--port", &port];
        let vpc = vpc.into_iter().flat_map(|vpc| ["--vpc-id", vpc]);
        self.aws(words.into_iter().chain(["--target-type", "ip"]).chain(vpc))
    }
}

fn is_of_kind(name: &str, kind: &str) -> bool {
    name.split_once('.').is_some_and(|(_, rest)| rest.to_ascii_lowercase().starts_with(kind))
}

#[cfg(test)]
mod tests;
