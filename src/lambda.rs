//! The handler: an event and a deadline in, a result or a failed invocation out.

use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::future::{join, join_all};
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::binding::{Binding, Role};
use crate::config::Config;
use crate::discovery::{self, BindingSet, Discover, TAG_MAX_AGE, TAG_MAX_AGE_UNKNOWN_DB};
use crate::doctor::{DoctorReport, InspectDatabases, InspectGroups, Severity, check_settings, examine};
use crate::event::{self, Request, UnsupportedEvent, WatchedBinding};
use crate::fleet::{Fleet, Scope};
use crate::reconcile::{
    Clients, Instance, Mode, Preregistration, Priority, RDS_TIMEOUT, RdsApi, Report, Resolve, Status,
    TargetGroupApi, reconcile,
};

/// What of an invocation's time is kept back, in which the result is logged and reported: some
/// milliseconds of work, which at 128 MB may get a fourteenth of a core.
pub const RESERVE: Duration = Duration::from_secs(1);

/// A JSON string around an invocation's body that is no JSON, which the runtime would not hand on. Broken JSON
/// is an event as well: it is answered, not died of.
pub fn envelope(body: &[u8]) -> Option<String> {
    let is_broken = serde_json::from_slice::<&RawValue>(body).is_err();
    is_broken.then(|| Value::from(String::from_utf8_lossy(body)).to_string())
}

/// What woke the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// An event about a bound database that may come with a failover.
    Watch,
    /// The schedule, another event, or an operator.
    Check,
    /// An operator who wants to know what a check would do.
    Plan,
    /// An operator who wants to know what is wrong.
    Doctor,
}

impl Trigger {
    fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Check => "check",
            Self::Plan => "plan",
            Self::Doctor => "doctor",
        }
    }
}

/// What became of an invocation.
#[derive(Clone, Debug, Serialize)]
pub struct InvocationResult {
    /// What woke the function.
    pub trigger: Trigger,
    /// Every binding that was looked at.
    pub bindings: Vec<Report>,
}

/// What an invocation that did not fail returns.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of bindings that were reconciled, or would be.
    InvocationResult(InvocationResult),
    /// Of the doctor. Problems that it finds fail no invocation: finding them was the task.
    DoctorReport {
        /// The doctor.
        trigger: Trigger,
        /// What was found.
        #[serde(flatten)]
        doctor_report: DoctorReport,
    },
}

/// A failed invocation. Its message is what the operator sees first.
pub enum InvocationError {
    /// The event is not for us.
    UnsupportedEvent(UnsupportedEvent),
    /// Some bindings could not be brought into sync; the others were.
    Bindings(InvocationResult),
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self {
            Self::UnsupportedEvent(unsupported) => return unsupported.fmt(f),
            Self::Bindings(outcome) => outcome,
        };
        let failed: Vec<&Report> = outcome.bindings.iter().filter(|b| b.status == Status::Failed).collect();
        write!(f, "{} of {} bindings failed", failed.len(), outcome.bindings.len())?;
        for report in failed {
            let reason = report.error.as_deref().unwrap_or("no reason given");
            write!(f, "; {} → {}: {reason}", report.endpoint, report.target_group)?;
        }
        Ok(())
    }
}

/// The runtime logs a handler's error by its `Debug`: make that the message.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(failed: InvocationError) -> Self {
        let error_type = match failed {
            InvocationError::UnsupportedEvent(_) => "EventRefused",
            InvocationError::Bindings(_) => "BindingsFailed",
        };
        Self { error_type: error_type.to_owned(), error_message: failed.to_string() }
    }
}

/// Does what the event asks for, within `remaining`, which is the time until Lambda ends the function. The
/// time of day, `now`, tells how old the event is.
pub async fn handle<D, T, C>(
    config: &Config,
    clients: &Clients<D, T, C>,
    fleet: &Fleet,
    event: &str,
    now: SystemTime,
    remaining: Duration,
) -> Result<Answer, InvocationError>
where
    D: Resolve,
    T: TargetGroupApi + InspectGroups + Discover,
    C: RdsApi + InspectDatabases,
{
    // A quarter at most, so that a short time-out is not all reserve.
    let deadline = Instant::now() + remaining - RESERVE.min(remaining / 4);
    let broken = |error: serde_json::Error| {
        InvocationError::UnsupportedEvent(UnsupportedEvent::not_json(&error.to_string()))
    };
    let event: Value = serde_json::from_str(event).map_err(broken)?;
    if let Value::String(enveloped) = &event {
        serde_json::from_str::<IgnoredAny>(enveloped).map_err(broken)?;
    }
    let (request, BindingSet { bindings, failed: unbound, are_new: relisted }) =
        load_request(config, clients, &event, deadline).await?;
    let mode = if config.dry_run { Mode::DryRun } else { Mode::Check };
    let sync_once =
        async |mode, scope| fleet.sync_once(clients, &bindings, config, mode, scope, deadline).await;
    let (trigger, mut reports) = match request {
        Request::Watch(watched) => {
            let is_late =
                event::age(&event, now).is_some_and(|age| age > config.timing.watch && age < MAX_EVENT_AGE);
            (Trigger::Watch, watch(config, clients, fleet, &bindings, watched, is_late, deadline).await)
        }
        Request::Check => {
            let readers = affected_reader_bindings(clients, &event, &bindings, deadline).await;
            readers.into_iter().for_each(|binding| fleet.forget(binding));
            (Trigger::Check, sync_once(mode, Scope::Check { relisted }).await)
        }
        Request::CheckAll => (Trigger::Check, sync_once(mode, Scope::Whole).await),
        Request::Plan => (Trigger::Plan, sync_once(Mode::DryRun, Scope::Whole).await),
        Request::Doctor => return Ok(diagnose(config, clients, &bindings, remaining, deadline).await),
    };
    reports.extend(unbound);
    let outcome = InvocationResult { trigger, bindings: reports };
    let of = |status| outcome.bindings.iter().filter(move |report| report.status == status);
    let failed = of(Status::Failed).count();
    // Those in sync are counted: of a thousand bindings they would fill the log every minute.
    let others: Vec<&Report> =
        outcome.bindings.iter().filter(|report| report.status != Status::InSync).collect();
    tracing::info!(
        decision = "done",
        trigger = trigger.name(),
        bindings = outcome.bindings.len(),
        in_sync = of(Status::InSync).count(),
        failed,
        result = %serde_json::to_string(&others).unwrap_or_default(),
        "reconciled"
    );
    if failed > 0 { Err(InvocationError::Bindings(outcome)) } else { Ok(Answer::InvocationResult(outcome)) }
}

/// Lambda keeps an event no longer than this for a function that is not free (`MaximumEventAgeInSeconds` in
/// the template). One that is older was sent by hand, and its time says nothing.
const MAX_EVENT_AGE: Duration = Duration::from_secs(3600);

/// Watches the bindings that the event is about, side by side: one that fails or waits delays no other.
/// Meanwhile it looks after the others, and tells of those that had moved as well.
///
/// After a storm, events wait for a function that is free. One that has waited for longer than a watch is
/// about a failover that is over: a check tells whether it was followed.
async fn watch<D: Resolve, T: TargetGroupApi, C: RdsApi>(
    config: &Config,
    clients: &Clients<D, T, C>,
    fleet: &Fleet,
    bindings: &[Binding],
    watched: Vec<WatchedBinding>,
    is_late: bool,
    deadline: Instant,
) -> Vec<Report> {
    let other = if config.dry_run { Mode::DryRun } else { Mode::Check };
    let mode = if config.dry_run || is_late { other } else { Mode::Watch };
    let is_watched = |index: &usize| watched.iter().any(|watched| watched.binding == *index);
    let others = bindings.iter().enumerate().filter(|(index, _)| !is_watched(index));
    let others: Vec<Binding> = others.map(|(_, binding)| binding.clone()).collect();
    let runs = watched.iter().filter_map(|WatchedBinding { binding, promoted_instance }| {
        let (binding, timing) = (bindings.get(*binding)?, config.timing);
        Some(async move {
            let preregistration = match config.preregister {
                true => Preregistration::On { event: promoted_instance.clone() },
                false => Preregistration::Off,
            };
            let priority = Some(Priority::Failover);
            let report =
                reconcile(clients, binding, timing, mode, &preregistration, priority, deadline).await;
            fleet.remember(binding, &report);
            report
        })
    });
    let over = Notify::new();
    let watching = async {
        let reports = join_all(runs).await;
        over.notify_one();
        reports
    };
    let background = fleet.sync_until(clients, &others, config, other, deadline, &over);
    let (mut reports, found) = join(watching, background).await;
    reports.extend(found);
    reports
}

/// The groups of readers that an event about an instance may have changed: it names the instance, and
/// not the cluster that it reads for.
async fn affected_reader_bindings<'a, D, T, C: RdsApi>(
    clients: &Clients<D, T, C>,
    event: &Value,
    bindings: &'a [Binding],
    deadline: Instant,
) -> Vec<&'a Binding> {
    let readers: Vec<&Binding> = bindings.iter().filter(|binding| binding.role == Role::Readers).collect();
    let Some(instance) = event::instance(event).filter(|_| !readers.is_empty()) else { return Vec::new() };
    let soon = deadline.min(Instant::now() + RDS_TIMEOUT);
    let described = timeout_at(soon, clients.rds.instance(instance)).await;
    match described {
        Ok(Ok(Some(Instance { cluster: None, .. }))) => Vec::new(),
        Ok(Ok(Some(Instance { cluster: Some(cluster), .. }))) => {
            readers.into_iter().filter(|binding| binding.is_about(&cluster)).collect()
        }
        // Gone, or not to be asked: it may have been anybody's.
        _ => readers,
    }
}

/// How long a check may take to read the tags again, where they are known. A thousand groups take some five
/// seconds at the routine rate.
const REFRESH: Duration = Duration::from_secs(30);

/// Reads the event, beside the bindings that it may be about. What is known of tags serves a watch,
/// which must not wait; everything else, and an event about a database that is not bound, has them read
/// again now and then.
async fn load_request<D, T: Discover, C>(
    config: &Config,
    clients: &Clients<D, T, C>,
    event: &Value,
    deadline: Instant,
) -> Result<(Request, BindingSet), InvocationError> {
    // Before anything is called: the event may not be for us.
    event::request(event, &config.bindings).map_err(InvocationError::UnsupportedEvent)?;
    // What a cold function must know first to follow a failover.
    let priority = if event::is_of_rds(event) { Priority::Failover } else { Priority::Routine };
    let bound = async |age, priority| {
        let bound = discovery::binding_set(&clients.groups, config, age, priority, deadline).await;
        let request = event::request(event, &bound.bindings).map_err(InvocationError::UnsupportedEvent)?;
        Ok((request, bound))
    };
    let (request, known) = bound(Duration::MAX, priority).await?;
    match request {
        Request::Watch(_) => Ok((request, BindingSet { failed: Vec::new(), ..known })),
        _ if known.are_new => Ok((request, known)),
        _ if event::is_about_unbound_database(event, &known.bindings) => {
            bound(TAG_MAX_AGE_UNKNOWN_DB, priority).await
        }
        _ => match timeout(REFRESH, bound(TAG_MAX_AGE, Priority::Routine)).await {
            Ok(bound) => bound,
            // What is known serves better than none, and the next check goes on.
            Err(_) => {
                tracing::warn!(
                    decision = "retry",
                    reason = "the tags are not read in time",
                    "goes on with the known groups"
                );
                Ok((request, known))
            }
        },
    }
}

/// Asks the doctor. The log tells how much was found; the answer tells what.
async fn diagnose<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi>(
    config: &Config,
    clients: &Clients<D, T, C>,
    bindings: &[Binding],
    remaining: Duration,
    deadline: Instant,
) -> Answer {
    let doctor_report = DoctorReport {
        general: check_settings(config, Some(remaining)),
        bindings: examine(clients, bindings, deadline).await,
    };
    let trigger = Trigger::Doctor;
    tracing::info!(
        decision = "done",
        trigger = trigger.name(),
        bindings = doctor_report.bindings.len(),
        problems = doctor_report.count(Severity::Problem),
        warnings = doctor_report.count(Severity::Warning),
        "examined"
    );
    Answer::DoctorReport { trigger, doctor_report }
}
