//! One invocation: what an event asks for is done, within the time that is left. The function and the
//! command line share it.

use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::future::{join, join_all};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::binding::{Binding, Role};
use crate::config::Config;
use crate::discovery::{self, BindingSet, Discover, TAG_MAX_AGE, TAG_MAX_AGE_UNKNOWN_DB};
use crate::doctor::{DoctorReport, InspectDatabases, InspectGroups, check_settings, examine};
use crate::endpoint::{cluster_identifier, member};
use crate::event::{Event, Request, UnsupportedEvent, WatchedBinding, is_about_unbound_database, request};
use crate::fleet::{Fleet, Scope};
use crate::rate_limit::Priority;
use crate::reconcile::{
    Clients, FirstPermit, Instance, Mode, Options, Preregistration, RDS_TIMEOUT, RdsApi, Report, Resolve,
    Status, TargetGroupApi, reconcile,
};

/// The part of an invocation's time in which its result is logged and reported: some milliseconds of work,
/// which at 128 MB may get a fourteenth of a core.
pub const RESERVE: Duration = Duration::from_secs(1);

/// How long a check may take to read the tags again, where they are known. A thousand groups take some five
/// seconds at the routine rate.
const REFRESH: Duration = Duration::from_secs(30);

/// What an invocation does.
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
    fn name(self) -> &'static str {
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
    pub bindings: Vec<Report>,
}

/// What an invocation that did not fail returns.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of bindings that were reconciled, or would be.
    InvocationResult(InvocationResult),
    /// Of the doctor. The problems that it finds do not fail the invocation: finding them was the task.
    DoctorReport {
        trigger: Trigger,
        #[serde(flatten)]
        doctor_report: DoctorReport,
    },
}

/// A failed invocation. Its message is what the operator sees first.
pub enum InvocationError {
    /// The event is not for this function.
    UnsupportedEvent(UnsupportedEvent),
    /// Some bindings could not be brought into sync; the others were.
    Bindings(InvocationResult),
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match self {
            Self::UnsupportedEvent(unsupported) => return unsupported.fmt(f),
            Self::Bindings(result) => result,
        };
        let failed: Vec<&Report> = result.bindings.iter().filter(|b| b.status == Status::Failed).collect();
        write!(f, "{} of {} bindings failed", failed.len(), result.bindings.len())?;
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

/// The program that serves the invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A Lambda function, whose time-out must be longer than a watch.
    Lambda,
    CommandLine,
}

/// What every invocation of one process shares.
pub struct Service<'a, D, T, C> {
    pub config: &'a Config,
    pub clients: &'a Clients<D, T, C>,
    pub fleet: &'a Fleet,
    pub host: Host,
}

impl<D, T, C> Service<'_, D, T, C>
where
    D: Resolve,
    T: TargetGroupApi + InspectGroups + Discover,
    C: RdsApi + InspectDatabases,
{
    /// Does what the event asks for, within `remaining`. The time of day, `now`, decides how old the event is.
    pub async fn invoke(
        &self,
        event: &Event,
        now: SystemTime,
        remaining: Duration,
    ) -> Result<Answer, InvocationError> {
        // A quarter at most, so that a short time-out is not all reserve.
        let deadline = Instant::now() + remaining - RESERVE.min(remaining / 4);
        let (request, bound) = self.load_request(event, deadline).await;
        let BindingSet { bindings, failed: unbound, are_new: relisted } = bound;
        let (trigger, mut reports) = match request {
            Request::Watch(watched) => {
                (Trigger::Watch, self.watch(&bindings, watched, self.is_late(event, now), deadline).await)
            }
            Request::Check => {
                let readers = self.affected_reader_bindings(event, &bindings, deadline).await;
                readers.into_iter().for_each(|binding| self.fleet.forget(binding));
                let scope = Scope::Check { relisted };
                (Trigger::Check, self.sync_once(&bindings, self.check_mode(), scope, deadline).await)
            }
            Request::CheckAll => {
                (Trigger::Check, self.sync_once(&bindings, self.check_mode(), Scope::Whole, deadline).await)
            }
            Request::Plan => {
                (Trigger::Plan, self.sync_once(&bindings, Mode::DryRun, Scope::Whole, deadline).await)
            }
            Request::Doctor => return Ok(self.diagnose(&bindings, &unbound, remaining, deadline).await),
        };
        reports.extend(unbound);
        let result = InvocationResult { trigger, bindings: reports };
        log_result(&result);
        if result.bindings.iter().any(|report| report.status == Status::Failed) {
            return Err(InvocationError::Bindings(result));
        }
        Ok(Answer::InvocationResult(result))
    }

    /// Runs the doctor. The log says how much it found; the answer says what.
    async fn diagnose(
        &self,
        bindings: &[Binding],
        unbound: &[Report],
        remaining: Duration,
        deadline: Instant,
    ) -> Answer {
        let time = (self.host == Host::Lambda).then(|| remaining.saturating_sub(RESERVE));
        let general = check_settings(self.config, time);
        let bindings = examine(self.clients, bindings, deadline).await;
        let doctor_report = DoctorReport::new(general, bindings, unbound);
        let trigger = Trigger::Doctor;
        tracing::info!(
            decision = "done",
            trigger = trigger.name(),
            bindings = doctor_report.bindings.len(),
            problems = doctor_report.counts.problems,
            warnings = doctor_report.counts.warnings,
            "examined"
        );
        Answer::DoctorReport { trigger, doctor_report }
    }
}

impl<D: Resolve, T: TargetGroupApi + Discover, C: RdsApi> Service<'_, D, T, C> {
    fn check_mode(&self) -> Mode {
        if self.config.dry_run { Mode::DryRun } else { Mode::Check }
    }

    async fn sync_once(
        &self,
        bindings: &[Binding],
        mode: Mode,
        scope: Scope,
        deadline: Instant,
    ) -> Vec<Report> {
        self.fleet.sync_once(self.clients, bindings, self.config, mode, scope, deadline).await
    }

    /// After a storm, events wait for a function that is free. One that has waited for longer than a watch is
    /// about a failover that is over: a check finds whether it was followed.
    fn is_late(&self, event: &Event, now: SystemTime) -> bool {
        let Event::Rds(event) = event else { return false };
        event.age(now).is_some_and(|age| age > self.config.timing.watch)
    }

    /// Watches the bindings that the event is about, each by itself: one that fails or waits delays no other.
    /// Meanwhile it looks after the others, and reports those that had moved as well.
    pub async fn watch(
        &self,
        bindings: &[Binding],
        watched: Vec<WatchedBinding>,
        is_late: bool,
        deadline: Instant,
    ) -> Vec<Report> {
        let Self { config, clients, fleet, host: _ } = self;
        let mode = if config.dry_run || is_late { self.check_mode() } else { Mode::Watch };
        let is_watched = |index: &usize| watched.iter().any(|watched| watched.binding == *index);
        let others = bindings.iter().enumerate().filter(|(index, _)| !is_watched(index));
        let others: Vec<Binding> = others.map(|(_, binding)| binding.clone()).collect();
        let runs = watched.iter().filter_map(|WatchedBinding { binding, promoted_instance }| {
            let (binding, timing) = (bindings.get(*binding)?, config.timing);
            Some(async move {
                let preregistration = match config.preregister {
                    true => Preregistration::On { promoted_instance: promoted_instance.clone() },
                    false => Preregistration::Off,
                };
                let options = Options {
                    timing,
                    mode,
                    preregistration: &preregistration,
                    known_members: &fleet.known_members,
                    first_permit: FirstPermit::At(Priority::Failover),
                    deadline,
                };
                let report = reconcile(clients, binding, options).await;
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
        let background = fleet.sync_until(clients, &others, config, self.check_mode(), deadline, &over);
        let (mut reports, found) = join(watching, background).await;
        reports.extend(found);
        reports
    }

    /// The groups of readers that an event about an instance may have changed: it names the instance, and
    /// not the cluster that the instance is a reader of.
    async fn affected_reader_bindings<'b>(
        &self,
        event: &Event,
        bindings: &'b [Binding],
        deadline: Instant,
    ) -> Vec<&'b Binding> {
        let Event::Rds(event) = event else { return Vec::new() };
        let readers: Vec<&Binding> =
            bindings.iter().filter(|binding| binding.role == Role::Readers).collect();
        let Some(instance) = event.instance().filter(|_| !readers.is_empty()) else { return Vec::new() };
        let soon = deadline.min(Instant::now() + RDS_TIMEOUT);
        match timeout_at(soon, self.clients.rds.instance(instance)).await {
            Ok(Ok(Some(Instance { cluster: None, .. }))) => Vec::new(),
            Ok(Ok(Some(Instance { cluster: Some(cluster), .. }))) => {
                readers.into_iter().filter(|binding| binding.is_about(&cluster)).collect()
            }
            // Unknown instance or no answer: assume that every readers binding is affected.
            _ => readers,
        }
    }

    /// Finds the bindings, and what the event asks for given them. A watch must not wait, so known tags are
    /// good enough for it. Everything else, and an event about a database that is not bound, has them read
    /// again now and then.
    async fn load_request(&self, event: &Event, deadline: Instant) -> (Request, BindingSet) {
        // A cold function must know the tags first to follow a failover.
        let priority = if event.is_of_rds() { Priority::Failover } else { Priority::Routine };
        let load = async |age, priority| {
            let bound =
                discovery::binding_set(&self.clients.groups, self.config, age, priority, deadline).await;
            (request(event, &bound.bindings), bound)
        };
        let (request, known) = load(Duration::MAX, priority).await;
        match request {
            Request::Watch(_) => (request, BindingSet { failed: Vec::new(), ..known }),
            _ if known.are_new => (request, known),
            _ if is_about_unbound_database(event, &known.bindings) => {
                load(TAG_MAX_AGE_UNKNOWN_DB, priority).await
            }
            _ => match timeout(REFRESH, load(TAG_MAX_AGE, Priority::Routine)).await {
                Ok(loaded) => loaded,
                // The next check goes on with the reading.
                Err(_) => {
                    tracing::warn!(
                        decision = "retry",
                        reason = "the tags are not read in time",
                        "using the known groups"
                    );
                    (request, known)
                }
            },
        }
    }

    /// The bindings as of the last reading of the tags.
    pub async fn known_bindings(&self, deadline: Instant) -> Vec<Binding> {
        let groups = &self.clients.groups;
        let age = Duration::MAX;
        discovery::binding_set(groups, self.config, age, Priority::Routine, deadline).await.bindings
    }

    /// The member that the RDS API names as the writer, where DNS names another one: a failover is under
    /// way, and no event says so. Best effort: without an answer there is none.
    pub async fn candidate(&self, binding: &Binding, deadline: Instant) -> Option<String> {
        if !self.config.preregister || binding.role != Role::Writer {
            return None;
        }
        let Clients { dns, groups, rds } = self.clients;
        let ask = async {
            let family = groups.describe(binding.target_group.as_str()).await.ok()?.family;
            let chain = dns.resolve(&binding.endpoint, family).await.ok()?.chain;
            let cluster = rds.cluster(&cluster_identifier(binding, &chain)).await.ok()??;
            cluster.other_writer(member(&chain)?).map(str::to_owned)
        };
        timeout_at(deadline.min(Instant::now() + RDS_TIMEOUT), ask).await.ok()?
    }
}

fn log_result(result: &InvocationResult) {
    let InvocationResult { trigger, bindings } = result;
    let count = |status| bindings.iter().filter(move |report| report.status == status).count();
    // Bindings in sync are only counted: of a thousand bindings they would fill the log every minute.
    let others: Vec<&Report> = bindings.iter().filter(|report| report.status != Status::InSync).collect();
    tracing::info!(
        decision = "done",
        trigger = trigger.name(),
        bindings = bindings.len(),
        in_sync = count(Status::InSync),
        failed = count(Status::Failed),
        result = %serde_json::to_string(&others).unwrap_or_default(),
        "reconciled"
    );
}
