//! What a check found.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::facts::{Fact, Unread};
use crate::error::ErrorKind;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The facts could not be observed, and the check is optional. Reports list it apart from the findings.
    #[default]
    NotExamined,
    Ok,
    /// Clients are served, but slower or less safely than they could be, or a fact could not be checked.
    Warning,
    /// Clients are cut off, or the next failover cuts them off, or it is not known whether they are.
    Problem,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub level: Severity,
    /// The check's name, such as `cross_zone`.
    pub check: Cow<'static, str>,
    pub observed: String,
    /// Why it matters. A finding of the level `Ok` has one only as a hint.
    pub impact: Option<String>,
    /// What to change, with shell commands in backquotes. A finding of the level `Ok` has one only as a hint.
    pub fix: Option<String>,
    /// The check that found the cause, where this finding is a consequence.
    pub cause: Option<Cow<'static, str>>,
    #[serde(skip)]
    pub(crate) kind: FindingKind,
}

const FIND_THE_CAUSE: &str = "run the doctor again; if the error stays, find its cause where the doctor runs, and check the function's log for it";

/// Decides which other finding can be the cause of this one, or its consequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum FindingKind {
    #[default]
    Observed,
    /// A required or important fact could not be read.
    Unread(Unread),
    /// The check needs a fact that another finding reports as unread.
    Unknown,
    /// The RDS API has no database of the endpoint's identifier.
    NoSuchDatabase,
    /// The health check finds a dead target late.
    SlowDetection,
    /// The function refuses such a group or binding, so a check changes nothing.
    Refused,
    /// The group does not hold the endpoint's addresses alone. A check fixes that.
    OutOfSync,
    /// It matters from the next failover on.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only the network's checks look that far"))]
    NextFailover,
    /// The load balancer sends no clients to a registered target.
    NoTraffic,
}

impl Finding {
    pub(super) fn ok(check: &'static str, observed: impl Into<String>) -> Self {
        Self { level: Severity::Ok, check: check.into(), observed: observed.into(), ..Self::default() }
    }

    pub(super) fn warning(
        check: &'static str,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (impact, fix) = (Some(impact.into()), Some(fix.into()));
        Self { level: Severity::Warning, impact, fix, ..Self::ok(check, observed) }
    }

    pub(super) fn problem(
        check: &'static str,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Severity::Problem, ..Self::warning(check, observed, impact, fix) }
    }

    /// An optional check that could not be made. `fix` says how to examine it.
    pub(super) fn not_examined(
        check: &'static str,
        observed: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Severity::NotExamined, fix: Some(fix.into()), ..Self::ok(check, observed) }
    }

    pub(super) fn not_examined_because(check: &'static str, unread: &Unread, not_checked: &str) -> Self {
        let fix = unread.fix.as_deref().unwrap_or(FIND_THE_CAUSE);
        Self::not_examined(check, format!("{not_checked}: {}", unread.reason), fix)
    }

    pub(super) fn of_kind(self, kind: FindingKind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn set_cause(&mut self, cause: &str) {
        self.fix = Some(format!("see the finding {cause}"));
        self.cause = Some(cause.to_owned().into());
    }
}

/// What a check gives, or the finding that a fact for it could not be read.
pub(super) type Checked<T> = Result<T, Finding>;

pub(super) fn all(checked: Checked<impl IntoIterator<Item = Finding>>) -> Vec<Finding> {
    checked.map_or_else(|unread| vec![unread], |findings| findings.into_iter().collect())
}

/// A fact for a check, or the finding that it could not be read. `not_checked` names what needs the fact.
pub(super) trait FactOr<T> {
    /// For a fact that the function itself needs: without it the group may be wrong.
    fn or_problem(&self, check: &'static str, not_checked: &str) -> Checked<&T>;
    fn or_warning(&self, check: &'static str, not_checked: &str) -> Checked<&T>;
    fn or_not_examined(&self, check: &'static str, not_checked: &str) -> Checked<&T>;
}

impl<T> FactOr<T> for Fact<T> {
    fn or_problem(&self, check: &'static str, not_checked: &str) -> Checked<&T> {
        let is_permanent =
            |unread: &Unread| matches!(unread.kind, ErrorKind::NoAnswer | ErrorKind::Permanent);
        let is_blocked = self.as_ref().is_err_and(is_permanent);
        let prefix = if is_blocked { "without it the function cannot sync the group; " } else { "" };
        let problem = |unread: Finding| Finding {
            level: Severity::Problem,
            impact: unread.impact.map(|impact| format!("{prefix}{impact}")),
            ..unread
        };
        self.or_warning(check, not_checked).map_err(problem)
    }

    fn or_warning(&self, check: &'static str, not_checked: &str) -> Checked<&T> {
        self.as_ref().map_err(|unread| {
            let fix = unread.fix.as_deref().unwrap_or(FIND_THE_CAUSE);
            let finding = Finding::warning(check, &unread.reason, format!("not checked: {not_checked}"), fix);
            finding.of_kind(FindingKind::Unread(unread.clone()))
        })
    }

    fn or_not_examined(&self, check: &'static str, not_checked: &str) -> Checked<&T> {
        self.as_ref().map_err(|unread| Finding::not_examined_because(check, unread, not_checked))
    }
}

impl Unread {
    /// Whether both calls failed in the same way: an API did not answer, or one fix helps both.
    pub(super) fn failed_alike(&self, other: &Self) -> bool {
        let is_silence = matches!(self.kind, ErrorKind::Transient | ErrorKind::DeadlineExceeded);
        (is_silence || self.fix.is_some()) && self.kind == other.kind && self.fix == other.fix
    }
}
