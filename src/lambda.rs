//! The handler: an event and a deadline in, a result or a failed invocation out.

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::config::{Binding, Config};
use crate::discovery::{self, Bound, Discover, MISS, PERIOD};
use crate::doctor::{Examination, InspectDatabases, InspectGroups, Level, examine, general};
use crate::event::{self, Refused, Request, Watched};
use crate::reconcile::{Clusters, Dns, Mode, Nominations, Report, Status, TargetGroups, World, reconcile};

/// What of an invocation's time is kept back, in which the result is logged and reported: some
/// milliseconds of work, which at 128 MB may get a fourteenth of a core.
pub const RESERVE: Duration = Duration::from_secs(1);

/// Wraps an invocation's body in a JSON string, so that the runtime hands it on as it is. Broken JSON is
/// an event as well: it is answered, not died of.
pub fn envelope(body: &[u8]) -> Vec<u8> {
    Value::from(String::from_utf8_lossy(body)).to_string().into_bytes()
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

/// Does what the event asks for, within `remaining`, which is the time until Lambda ends the function.
pub async fn handle<D, T, C>(
    config: &Config,
    world: &World<D, T, C>,
    event: &str,
    remaining: Duration,
) -> Result<Answer, Failed>
where
    D: Dns,
    T: TargetGroups + InspectGroups + Discover,
    C: Clusters + InspectDatabases,
{
    // A quarter at most, so that a short time-out is not all reserve.
    let deadline = Instant::now() + remaining - RESERVE.min(remaining / 4);
    let event: Value = serde_json::from_str(event)
        .map_err(|error| Failed::Refused(Refused::not_json(&error.to_string())))?;
    // Boxed: the future of everything is deep enough for the compiler without it.
    let asking = Box::pin(asked(config, world, &event, deadline));
    let (request, Bound { bindings, failed: unbound }) = asking.await?;
    let all = || (0..bindings.len()).map(|binding| Watched { binding, nominee: None }).collect();
    let (trigger, mode, watched): (_, _, Vec<Watched>) = match request {
        Request::Watch(about) => (Trigger::Watch, Mode::Watch, about),
        Request::Check => (Trigger::Check, Mode::Check, all()),
        Request::Plan => (Trigger::Plan, Mode::DryRun, all()),
        Request::Doctor => return Ok(diagnose(config, world, &bindings, remaining, deadline).await),
    };
    let mode = if config.dry_run { Mode::DryRun } else { mode };
    // Side by side: one that fails or waits delays no other.
    let runs = watched.into_iter().filter_map(|Watched { binding, nominee }| {
        let binding = bindings.get(binding)?;
        Some(async move {
            let nominations = match config.preregister {
                true => Nominations::Open { event: nominee },
                false => Nominations::Closed,
            };
            reconcile(world, binding, config.pace, mode, &nominations, deadline).await
        })
    });
    let mut outcome = Outcome { trigger, bindings: join_all(runs).await };
    outcome.bindings.extend(unbound);
    let failed = outcome.bindings.iter().filter(|report| report.status == Status::Failed).count();
    tracing::info!(
        decision = "done",
        trigger = trigger.name(),
        bindings = outcome.bindings.len(),
        failed,
        result = %serde_json::to_string(&outcome.bindings).unwrap_or_default(),
        "reconciled"
    );
    if failed > 0 { Err(Failed::Bindings(outcome)) } else { Ok(Answer::Outcome(outcome)) }
}

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
    let bound = async |age| {
        let bound = discovery::bound(&world.groups, config, age, deadline).await;
        let request = event::request(event, &bound.bindings).map_err(Failed::Refused)?;
        Ok((request, bound))
    };
    let (request, known) = bound(Duration::MAX).await?;
    match request {
        Request::Watch(_) => Ok((request, Bound { failed: Vec::new(), ..known })),
        _ if event::tells_of_a_stranger(event, &known.bindings) => bound(MISS).await,
        _ => bound(PERIOD).await,
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
