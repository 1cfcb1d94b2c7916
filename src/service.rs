//! One invocation: it does what an event asks for, within the time that is left. The function and the command line
//! share it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{FutureExt, join, join_all};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::arn;
use crate::binding::{Binding, Role};
use crate::config::Config;
use crate::discovery::{self, BindingSet, Discover, TagAge, Unbound};
use crate::doctor::{DoctorReport, InspectDatabases, InspectGroups, InspectPath, check_settings, examine};
use crate::endpoint::{cluster_identifier, member, zone};
use crate::error::Error;
use crate::event::{Action, ClusterByInstance, Command, Event, Request, WatchedBinding};
use crate::fleet::{BACKGROUND_INTERVAL, Fleet, Scope};
use crate::rate_limit::Priority;
use crate::reconcile::{
    Clients, ListPermit, Mode, Options, Preregistration, RdsApi, Report, Resolution, Resolve, Status,
    TargetGroupApi, ask_cluster, reconcile,
};

mod request;
mod result;

pub use result::{Answer, InvocationError, InvocationResult, Trigger};

use result::log_result;

/// The part of an invocation's time in which its result is logged and reported. This takes some milliseconds of work,
/// and a function with 128 MB gets a fourteenth of a core.
pub const RESERVE: Duration = Duration::from_secs(1);

/// The program that serves the invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A Lambda function, whose time-out must be longer than a watch.
    Lambda,
    CommandLine,
}

/// What every invocation of one process shares.
pub struct Service<'a, D, T, C> {
    config: &'a Config,
    clients: &'a Clients<D, T, C>,
    fleet: &'a Fleet,
    program: Program,
    /// The members of bound clusters, as RDS last gave them. It is not asked about them again, so that their events wait for
    /// nothing. If a member moves to another cluster, its event still watches the binding of its previous one.
    members: RefCell<ClusterByInstance>,
}

impl<'a, D, T, C> Service<'a, D, T, C> {
    pub fn new(
        config: &'a Config,
        clients: &'a Clients<D, T, C>,
        fleet: &'a Fleet,
        program: Program,
    ) -> Self {
        Self { config, clients, fleet, program, members: RefCell::default() }
    }

    pub fn config(&self) -> &'a Config {
        self.config
    }
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
        let deadline = deadline(remaining);
        let watch_cutoff = self.watch_cutoff(now);
        let (request, mut set) = self.load_bindings_and_request(event, watch_cutoff, deadline).await;
        let bound = set.bindings.len();
        if let Event::Command(command) = event
            && let Some(name) = &command.binding
        {
            keep_only(&mut set, name)?;
        }
        let BindingSet { bindings, unbound, .. } = set;
        let (trigger, reports) = match request {
            Request::Watch(watched) => {
                let joining = self.joining(event, &bindings, &watched, watch_cutoff, deadline);
                (Trigger::Watch, self.watch(&bindings, &watched, joining, deadline).await)
            }
            Request::Check(to_list) => {
                let to_list = to_list.into_iter().filter_map(|index| bindings.get(index));
                to_list.for_each(|binding| self.fleet.forget(binding));
                (Trigger::Check, self.sync_once(&bindings, self.check_mode(), Scope::Check, deadline).await)
            }
            Request::FullCheck => {
                (Trigger::Check, self.sync_once(&bindings, self.check_mode(), Scope::Full, deadline).await)
            }
            Request::Plan => {
                (Trigger::Plan, self.sync_once(&bindings, Mode::DryRun, Scope::Full, deadline).await)
            }
            Request::Doctor => {
                let doctor_report = self.diagnose(&(), &bindings, &unbound, remaining, deadline).await;
                return Ok(Answer::DoctorReport { trigger: Trigger::Doctor, doctor_report });
            }
        };
        let result = InvocationResult::new(trigger, bound, reports, &unbound);
        log_result(&result);
        if result.bindings.iter().any(|report| report.status == Status::Failed) {
            return Err(InvocationError::Bindings(result));
        }
        Ok(Answer::InvocationResult(result))
    }

    /// Runs the doctor at the command line, which examines the path as well.
    pub async fn examine(
        &self,
        path: &impl InspectPath,
        now: SystemTime,
        remaining: Duration,
    ) -> DoctorReport {
        let deadline = deadline(remaining);
        let event = Event::Command(Command::new(Action::Doctor));
        let (_, BindingSet { bindings, unbound, .. }) =
            self.load_bindings_and_request(&event, self.watch_cutoff(now), deadline).await;
        self.diagnose(path, &bindings, &unbound, remaining, deadline).await
    }

    /// Runs the doctor. The log has the counts, and the answer has the findings.
    async fn diagnose(
        &self,
        path: &impl InspectPath,
        bindings: &[Binding],
        unbound: &[Unbound],
        remaining: Duration,
        deadline: Instant,
    ) -> DoctorReport {
        let time = (self.program == Program::Lambda).then(|| remaining.saturating_sub(RESERVE));
        let general = check_settings(self.config, time);
        let bindings = examine(self.clients, path, bindings, deadline).await;
        let doctor_report = DoctorReport::new(general, bindings, unbound);
        tracing::info!(
            decision = "done",
            trigger = Trigger::Doctor.name(),
            bindings = doctor_report.bindings.len(),
            problems = doctor_report.counts.problems,
            warnings = doctor_report.counts.warnings,
            "examined"
        );
        doctor_report
    }
}

impl<D: Resolve, T: TargetGroupApi + Discover, C: RdsApi> Service<'_, D, T, C> {
    /// Checks all bindings, as the schedule does.
    pub async fn check(&self, now: SystemTime, remaining: Duration) -> InvocationResult {
        let deadline = deadline(remaining);
        let (_, set) =
            self.load_bindings_and_request(&Event::Schedule, self.watch_cutoff(now), deadline).await;
        let BindingSet { bindings, unbound, .. } = set;
        let reports = self.sync_once(&bindings, self.check_mode(), Scope::Check, deadline).await;
        let result = InvocationResult::new(Trigger::Check, bindings.len(), reports, &unbound);
        log_result(&result);
        result
    }

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

    /// Watches the bindings that the event is about, each by itself: one that fails or waits delays no other. Those that
    /// `joining` finds are watched as soon as it ends. Meanwhile it syncs the other bindings in the background, and reports
    /// those that it changed.
    pub async fn watch(
        &self,
        bindings: &[Binding],
        watched: &[WatchedBinding],
        joining: impl Future<Output = Vec<WatchedBinding>>,
        deadline: Instant,
    ) -> Vec<Report> {
        let watch_ended = Notify::new();
        let joining = joining.shared();
        let watching = async {
            let joined = async { self.watch_each(bindings, &joining.clone().await, deadline).await };
            let (mut reports, joined) = join(self.watch_each(bindings, watched, deadline), joined).await;
            watch_ended.notify_one();
            reports.extend(joined);
            reports
        };
        let background = async {
            let joined = joining.clone().await;
            let is_watched = |index| watched.iter().chain(&joined).any(|watched| watched.index == index);
            let others = bindings.iter().enumerate().filter(|(index, _)| !is_watched(*index));
            let others: Vec<Binding> = others.map(|(_, binding)| binding.clone()).collect();
            let Self { config, clients, fleet, .. } = self;
            fleet.sync_until(clients, &others, config, self.check_mode(), deadline, &watch_ended).await
        };
        let (mut reports, found) = join(watching, background).await;
        reports.extend(found);
        reports
    }

    async fn watch_each(
        &self,
        bindings: &[Binding],
        watched: &[WatchedBinding],
        deadline: Instant,
    ) -> Vec<Report> {
        let Self { config, clients, fleet, .. } = self;
        // With WATCH_SECONDS=0 a watch is a check.
        let mode =
            if config.dry_run || config.timing.watch.is_zero() { self.check_mode() } else { Mode::Watch };
        let runs = watched.iter().filter_map(|WatchedBinding { index, promoted_instance }| {
            let binding = bindings.get(*index)?;
            Some(async move {
                let preregistration = match config.preregister {
                    true => Preregistration::On { promoted_instance: promoted_instance.clone() },
                    false => Preregistration::Off,
                };
                let options = Options {
                    timing: config.timing,
                    mode,
                    preregistration: &preregistration,
                    known_members: &fleet.known_members,
                    list_permit: ListPermit::At(Priority::Failover),
                    deadline,
                };
                let report = tokio::select! {
                    biased;
                    never = keep_in_progress(fleet, binding) => match never {},
                    report = reconcile(clients, binding, options) => report,
                };
                fleet.remember(binding, &report);
                report
            })
        });
        join_all(runs).await
    }

    /// An event from before this time is about a failover that is over. Such an event comes late if many events wait
    /// for a free function, or if an archive is replayed.
    fn watch_cutoff(&self, now: SystemTime) -> SystemTime {
        now.checked_sub(self.config.timing.watch).unwrap_or(UNIX_EPOCH)
    }

    /// The bindings, by the tags that were read last.
    pub async fn known_bindings(&self, deadline: Instant) -> Vec<Binding> {
        let groups = &self.clients.groups;
        discovery::binding_set(groups, self.config, TagAge::Any, Priority::Routine, deadline).await.bindings
    }

    /// The member that the RDS API names as the writer, if DNS names another one: a failover is under way.
    pub async fn candidate(&self, binding: &Binding, deadline: Instant) -> Result<Option<String>, Error> {
        if binding.role != Role::Writer {
            return Ok(None);
        }
        let Clients { dns, groups, rds } = self.clients;
        let ask = async {
            let group = groups.describe(binding.target_group.as_str()).await?;
            let Resolution { chain, .. } = dns.resolve(&binding.endpoint, group.family).await?;
            let (Some(member), Some(zone)) = (member(&chain), zone(&chain)) else { return Ok(None) };
            let cluster = ask_cluster(rds, deadline, &cluster_identifier(binding, &chain), &zone).await?;
            Ok(cluster.and_then(|cluster| cluster.other_writer(member).map(str::to_owned)))
        };
        let asked = timeout_at(deadline, ask).await;
        asked.unwrap_or_else(|_| Err(Error::deadline_exceeded("ask whether a failover is under way")))
    }
}

/// Marks a binding as in progress, so that no check lists its group beside the watch. If something else is in progress
/// with it, the mark waits for its end, and the watch does not.
async fn keep_in_progress(fleet: &Fleet, binding: &Binding) -> Infallible {
    loop {
        if let Some(_in_progress) = fleet.start(binding) {
            return pending().await;
        }
        sleep(BACKGROUND_INTERVAL).await;
    }
}

/// When the work of an invocation ends. The reserve is a quarter of the time at most, so that a short time-out leaves time for
/// the work.
fn deadline(remaining: Duration) -> Instant {
    Instant::now() + remaining - RESERVE.min(remaining / 4)
}

/// Keeps the binding whose target group has this name.
fn keep_only(set: &mut BindingSet, name: &str) -> Result<(), InvocationError> {
    let known: Vec<String> = set.bindings.iter().map(|binding| binding.name().to_owned()).collect();
    set.bindings.retain(|binding| binding.name() == name);
    let is_bound = !set.bindings.is_empty();
    set.unbound.retain(|unbound| match unbound {
        Unbound::Group { target_group, .. } => arn::name(target_group) == name,
        // It may be the reason why the binding is not known.
        Unbound::Tag { .. } => !is_bound,
    });
    if set.bindings.is_empty() && set.unbound.is_empty() {
        return Err(InvocationError::UnknownBinding { name: name.to_owned(), known });
    }
    Ok(())
}
