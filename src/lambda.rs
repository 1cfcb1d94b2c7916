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

use crate::config::{Binding, Config, Role};
use crate::discovery::{self, Bound, Discover, MISS, PERIOD};
use crate::doctor::{Examination, InspectDatabases, InspectGroups, Level, examine, general};
use crate::event::{self, Refused, Request, Watched};
use crate::fleet::{Fleet, Scope};
use crate::reconcile::{
    Clusters, Dns, Instance, Mode, Nominations, OBJECTION, Report, Status, TargetGroups, Urgency, World,
    reconcile,
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
pub struct Outcome {
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
    Outcome(Outcome),
    /// Of the doctor. Problems that it finds fail no invocation: finding them was the task.
    Examination {
        /// The doctor.
        trigger: Trigger,
        /// What was found.
        #[serde(flatten)]
        examination: Examination,
    },
}

/// A failed invocation. Its message is what the operator sees first.
pub enum Failed {
    /// The event is not for us.
    Refused(Refused),
    /// Some bindings could not be brought into sync; the others were.
    Bindings(Outcome),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self {
            Self::Refused(refused) => return refused.fmt(f),
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
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        let error_type = match failed {
            Failed::Refused(_) => "EventRefused",
            Failed::Bindings(_) => "BindingsFailed",
        };
        Self { error_type: error_type.to_owned(), error_message: failed.to_string() }
    }
}

/// Does what the event asks for, within `remaining`, which is the time until Lambda ends the function. The
/// time of day, `now`, tells how old the event is.
pub async fn handle<D, T, C>(
    config: &Config,
    world: &World<D, T, C>,
    fleet: &Fleet,
    event: &str,
    now: SystemTime,
    remaining: Duration,
) -> Result<Answer, Failed>
where
    D: Dns,
    T: TargetGroups + InspectGroups + Discover,
    C: Clusters + InspectDatabases,
{
    // A quarter at most, so that a short time-out is not all reserve.
    let deadline = Instant::now() + remaining - RESERVE.min(remaining / 4);
    let broken = |error: serde_json::Error| Failed::Refused(Refused::not_json(&error.to_string()));
    let event: Value = serde_json::from_str(event).map_err(broken)?;
    if let Value::String(enveloped) = &event {
        serde_json::from_str::<IgnoredAny>(enveloped).map_err(broken)?;
    }
    let (request, Bound { bindings, failed: unbound, are_new: relisted }) =
        asked(config, world, &event, deadline).await?;
    let mode = if config.dry_run { Mode::DryRun } else { Mode::Check };
    let pass = async |mode, scope| fleet.pass(world, &bindings, config, mode, scope, deadline).await;
    let (trigger, mut reports) = match request {
        Request::Watch(watched) => {
            let is_late = event::age(&event, now).is_some_and(|age| age > config.pace.watch && age < LOST);
            (Trigger::Watch, watch(config, world, fleet, &bindings, watched, is_late, deadline).await)
        }
        Request::Check => {
            let readers = moved_readers(world, &event, &bindings, deadline).await;
            readers.into_iter().for_each(|binding| fleet.forget(binding));
            (Trigger::Check, pass(mode, Scope::Check { relisted }).await)
        }
        Request::Thorough => (Trigger::Check, pass(mode, Scope::Whole).await),
        Request::Plan => (Trigger::Plan, pass(Mode::DryRun, Scope::Whole).await),
        Request::Doctor => return Ok(diagnose(config, world, &bindings, remaining, deadline).await),
    };
    reports.extend(unbound);
    let outcome = Outcome { trigger, bindings: reports };
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
    if failed > 0 { Err(Failed::Bindings(outcome)) } else { Ok(Answer::Outcome(outcome)) }
}

/// Lambda keeps an event no longer than this for a function that is not free (`MaximumEventAgeInSeconds` in
/// the template). One that is older was sent by hand, and its time says nothing.
const LOST: Duration = Duration::from_secs(3600);

/// Watches the bindings that the event is about, side by side: one that fails or waits delays no other.
/// Meanwhile it looks after the others, and tells of those that had moved as well.
///
/// After a storm, events wait for a function that is free. One that has waited for longer than a watch is
/// about a failover that is over: a check tells whether it was followed.
async fn watch<D: Dns, T: TargetGroups, C: Clusters>(
    config: &Config,
    world: &World<D, T, C>,
    fleet: &Fleet,
    bindings: &[Binding],
    watched: Vec<Watched>,
    is_late: bool,
    deadline: Instant,
) -> Vec<Report> {
    let other = if config.dry_run { Mode::DryRun } else { Mode::Check };
    let mode = if config.dry_run || is_late { other } else { Mode::Watch };
    let is_watched = |index: &usize| watched.iter().any(|watched| watched.binding == *index);
    let others = bindings.iter().enumerate().filter(|(index, _)| !is_watched(index));
    let others: Vec<Binding> = others.map(|(_, binding)| binding.clone()).collect();
    let runs = watched.iter().filter_map(|Watched { binding, nominee }| {
        let (binding, pace) = (bindings.get(*binding)?, config.pace);
        Some(async move {
            let nominations = match config.preregister {
                true => Nominations::Open { event: nominee.clone() },
                false => Nominations::Closed,
            };
            let urgency = Some(Urgency::Failover);
            let report = reconcile(world, binding, pace, mode, &nominations, urgency, deadline).await;
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
    let patrolling = fleet.patrol(world, &others, config, other, deadline, &over);
    let (mut reports, found) = join(watching, patrolling).await;
    reports.extend(found);
    reports
}

/// The groups of readers that an event about an instance may have changed: it names the instance, and
/// not the cluster that it reads for.
async fn moved_readers<'a, D, T, C: Clusters>(
    world: &World<D, T, C>,
    event: &Value,
    bindings: &'a [Binding],
    deadline: Instant,
) -> Vec<&'a Binding> {
    let readers: Vec<&Binding> = bindings.iter().filter(|binding| binding.role == Role::Readers).collect();
    let Some(instance) = event::instance(event).filter(|_| !readers.is_empty()) else { return Vec::new() };
    let soon = deadline.min(Instant::now() + OBJECTION);
    let described = timeout_at(soon, world.clusters.instance(instance)).await;
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
async fn asked<D, T: Discover, C>(
    config: &Config,
    world: &World<D, T, C>,
    event: &Value,
    deadline: Instant,
) -> Result<(Request, Bound), Failed> {
    // Before anything is called: the event may not be for us.
    event::request(event, &config.bindings).map_err(Failed::Refused)?;
    // What a cold function must know first to follow a failover.
    let urgency = if event::is_of_rds(event) { Urgency::Failover } else { Urgency::Routine };
    let bound = async |age, urgency| {
        let bound = discovery::bound(&world.groups, config, age, urgency, deadline).await;
        let request = event::request(event, &bound.bindings).map_err(Failed::Refused)?;
        Ok((request, bound))
    };
    let (request, known) = bound(Duration::MAX, urgency).await?;
    match request {
        Request::Watch(_) => Ok((request, Bound { failed: Vec::new(), ..known })),
        _ if known.are_new => Ok((request, known)),
        _ if event::tells_of_a_stranger(event, &known.bindings) => bound(MISS, urgency).await,
        _ => match timeout(REFRESH, bound(PERIOD, Urgency::Routine)).await {
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
async fn diagnose<D: Dns, T: InspectGroups, C: InspectDatabases + Clusters>(
    config: &Config,
    world: &World<D, T, C>,
    bindings: &[Binding],
    remaining: Duration,
    deadline: Instant,
) -> Answer {
    let examination = Examination {
        general: general(config, Some(remaining)),
        bindings: examine(world, bindings, deadline).await,
    };
    let trigger = Trigger::Doctor;
    tracing::info!(
        decision = "done",
        trigger = trigger.name(),
        bindings = examination.bindings.len(),
        problems = examination.count(Level::Problem),
        warnings = examination.count(Level::Warning),
        "examined"
    );
    Answer::Examination { trigger, examination }
}
