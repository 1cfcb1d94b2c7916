//! What an invocation did: its answer, or the message of its failure, and its line in the log.

use std::fmt;

use serde::Serialize;

use crate::discovery::Unbound;
use crate::doctor::DoctorReport;
use crate::error;
use crate::event::UnsupportedEvent;
use crate::reconcile::{Report, Status};

/// How many failed bindings an error message names in full. Lambda cuts long messages.
const MAX_NAMED: usize = 5;
/// The longest endpoint in a message, as long as a DNS name may be. A tag's value may be any text.
const MAX_ENDPOINT_CHARS: usize = 253;
/// How many characters of a long reason a message holds, from its start and from its end. The fix is at the end.
const REASON_START: usize = 600;
const REASON_END: usize = 400;
/// How many reports the log line of an invocation holds: a line may have 256 KB (CloudWatch Logs quotas).
const MAX_LOGGED: usize = 50;

/// The work that the event started: the field `trigger` of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Watches bound databases, because of an event that may come with a failover.
    Watch,
    /// Checks all bindings: the schedule, another event, or an operator.
    Check,
    /// Shows an operator what a check would do.
    Plan,
    /// Shows an operator what is wrong.
    Doctor,
}

impl Trigger {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Check => "check",
            Self::Plan => "plan",
            Self::Doctor => "doctor",
        }
    }
}

/// The reports of an invocation.
#[derive(Clone, Debug, Serialize)]
pub struct InvocationResult {
    pub trigger: Trigger,
    /// The reports of the bindings, then those of the tagged groups that could not be bound.
    pub bindings: Vec<Report>,
    /// How many bindings there are, whether or not this invocation was about them. A metric.
    #[serde(skip)]
    pub bound: usize,
    /// How many of the reports, at the end of the list, are of tagged groups that could not be bound.
    #[serde(skip)]
    pub unbound: usize,
}

impl InvocationResult {
    /// `bound` is the number of all bindings.
    pub fn new(trigger: Trigger, bound: usize, mut bindings: Vec<Report>, unbound: &[Unbound]) -> Self {
        bindings.extend(unbound.iter().map(Unbound::report));
        Self { trigger, bindings, bound, unbound: unbound.len() }
    }
}

/// The answer of a successful invocation.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The result of a check, a watch or a plan.
    InvocationResult(InvocationResult),
    /// The doctor's report. The problems in it do not fail the invocation.
    DoctorReport {
        trigger: Trigger,
        #[serde(flatten)]
        doctor_report: DoctorReport,
    },
}

/// A failed invocation. An operator reads its message first.
pub enum InvocationError {
    /// The event is not for this function.
    UnsupportedEvent(UnsupportedEvent),
    /// No binding has the name that the command gave.
    UnknownBinding { name: String, known: Vec<String> },
    /// Some bindings could not be brought into sync; the others were.
    Bindings(InvocationResult),
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match self {
            Self::UnsupportedEvent(unsupported) => return unsupported.fmt(f),
            Self::UnknownBinding { name, known } => return write_unknown(f, name, known),
            Self::Bindings(result) => result,
        };
        let failed: Vec<&Report> = result.bindings.iter().filter(|b| b.status == Status::Failed).collect();
        write!(f, "{} of {} bindings failed", failed.len(), result.bindings.len())?;
        for report in failed.iter().take(MAX_NAMED) {
            let reason = shortened(report.error.as_deref().unwrap_or("no reason given"));
            // A group that could not be bound may have no endpoint.
            let arrow = if report.endpoint.is_empty() { "" } else { " → " };
            let endpoint = error::brief(&report.endpoint, MAX_ENDPOINT_CHARS);
            write!(f, "; {endpoint}{arrow}{}: {reason}", report.target_group)?;
        }
        match failed.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more: see the log"),
        }
    }
}

fn shortened(reason: &str) -> String {
    match reason.chars().count().checked_sub(REASON_START + REASON_END) {
        None | Some(0) => reason.to_owned(),
        Some(more) => {
            let end: String = reason.chars().skip(REASON_START + more).collect();
            error::brief(reason, REASON_START) + &end
        }
    }
}

fn write_unknown(f: &mut fmt::Formatter<'_>, name: &str, known: &[String]) -> fmt::Result {
    let listed: Vec<&str> = known.iter().take(MAX_NAMED * 4).map(String::as_str).collect();
    write!(f, "no binding has a target group named {:?}; ", error::brief(name, MAX_ENDPOINT_CHARS))?;
    match known.len().saturating_sub(listed.len()) {
        0 if listed.is_empty() => write!(f, "there are no bindings"),
        0 => write!(f, "the command accepts the target groups {}", listed.join(", ")),
        more => write!(f, "the command accepts the target groups {} and {more} more", listed.join(", ")),
    }
}

/// Prints the message, because `unwrap` prints this form.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Logs one line for the whole invocation.
pub(super) fn log_result(result: &InvocationResult) {
    let InvocationResult { trigger, bindings, bound, unbound: _ } = result;
    let count = |status| bindings.iter().filter(move |report| report.status == status).count();
    // Bindings in sync are only counted: a thousand of them would fill the log every minute.
    let others = bindings.iter().filter(|report| report.status != Status::InSync);
    let (others, left_out) =
        (others.clone().take(MAX_LOGGED).collect::<Vec<_>>(), others.skip(MAX_LOGGED).count());
    tracing::info!(
        decision = "done",
        trigger = trigger.name(),
        bound,
        bindings = bindings.len(),
        in_sync = count(Status::InSync),
        failed = count(Status::Failed),
        left_out,
        result = %serde_json::to_string(&others).unwrap_or_default(),
        "reconciled"
    );
}
