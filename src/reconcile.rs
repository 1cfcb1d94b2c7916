//! One bounded reconciliation of a binding: observe, confirm, plan, apply, and observe again.
//!
//! A failover and a drift check take the same path; they differ in how long they go on ([`Mode`]), and a watch registers
//! candidates. The invariants kept here: a deregistration acts on a lookup and a list that are no older than
//! [`MAX_OBSERVATION_AGE`], and both were made after the RDS API was asked; no wait interrupts the lookups; and every
//! await ends at the deadline.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::binding::{Binding, Role};
use crate::endpoint::{cluster_identifier, member, zone};
use crate::error::{Error, ErrorKind};
use crate::plan::{AllowedExtras, Confirmation, Plan, active, plan_to_fixpoint};
use crate::rate_limit::{Call, Permit, Priority};

mod baseline;
mod change_log;
mod decision_log;
mod desired;
mod loop_control;
mod observe;
mod options;
mod ports;
mod preregister;
mod rds_query;
mod report;
mod stability;
mod standby;
mod veto;

pub use change_log::LISTING_LAG;
pub(crate) use desired::{ReaderCache, resolve};
pub use observe::{MAX_OBSERVATION_AGE, RELIST_INTERVAL};
pub use options::{ListPermit, Mode, Options, Timing};
pub use ports::{
    Attempts, Clients, Cluster, Instance, RdsApi, Resolution, Resolve, TargetGroupApi, TargetGroupInfo,
};
pub use preregister::{CANDIDATE_POLL_INTERVAL, KnownMembers, Preregistration};
pub use rds_query::RDS_TIMEOUT;
pub(crate) use rds_query::{ask_cluster, with_rds_timeout};
pub use report::{Report, Status};
pub use veto::RDS_RECHECK_INTERVAL;

use change_log::{Change, ChangeLog};
use decision_log::DecisionLog;
use loop_control::{LoopControl, Stage, Stop, Then};
use observe::{Observation, Observer};
use preregister::{Disagreement, Preregister, Snapshot};
use report::waiting_lines;
use standby::StandbyCheck;
use veto::{RdsVerdict, Veto};

/// Brings one binding's group into sync with DNS, and reports what was done.
pub async fn reconcile<D: Resolve, T: TargetGroupApi, C: RdsApi>(
    clients: &Clients<D, T, C>,
    binding: &Binding,
    options: Options<'_>,
) -> Report {
    let Options { timing, mode, preregistration, known_members, list_permit, deadline } = options;
    let preregistration = if mode == Mode::Watch { preregistration } else { &Preregistration::Off };
    let reads_end = match mode {
        Mode::Watch => deadline.min(Instant::now() + timing.watch),
        Mode::Check | Mode::DryRun => deadline,
    };
    let (snapshot, _) = watch::channel(None);
    let standby = StandbyCheck::new(clients, binding, deadline);
    let preregister = Preregister::new(clients, binding, preregistration, known_members, deadline, &snapshot);
    let mut run = Run {
        binding,
        mode,
        reads_end,
        control: LoopControl::new(mode, timing, deadline),
        observer: Observer::new(clients, binding, timing, list_permit, deadline),
        snapshot: &snapshot,
        standby: &standby,
        preregister: &preregister,
        veto: Veto::default(),
        plan: None,
        changes: ChangeLog::default(),
        registration_latency: None,
        write_permit: None,
        log: DecisionLog::new(binding),
    };
    let result = match mode {
        Mode::DryRun => run.dry_run().await,
        Mode::Check | Mode::Watch => {
            let background_tasks = async {
                tokio::join!(standby.run(&snapshot), preregister.run());
                pending::<Infallible>().await
            };
            tokio::select! {
                biased;
                result = run.sync() => result,
                never = background_tasks => match never {},
            }
        }
    };
    run.into_report(result)
}

struct Run<'a, D, T, C> {
    binding: &'a Binding,
    mode: Mode,
    reads_end: Instant,
    control: LoopControl,
    observer: Observer<'a, D, T, C>,
    snapshot: &'a watch::Sender<Option<Snapshot>>,
    standby: &'a StandbyCheck<'a, D, T, C>,
    preregister: &'a Preregister<'a, D, T, C>,
    veto: Veto,
    plan: Option<Plan>,
    changes: ChangeLog,
    registration_latency: Option<Duration>,
    /// A permit that came after the observation had become too old. The next write uses it.
    write_permit: Option<Permit>,
    log: DecisionLog<'a>,
}

impl<D: Resolve, T: TargetGroupApi, C: RdsApi> Run<'_, D, T, C> {
    /// Repeats [`Self::step`] until nothing is left to do or the time is over.
    async fn sync(&mut self) -> Result<Status, Error> {
        loop {
            let then = match self.step().await {
                Ok(then) => then,
                Err((stage, error)) => match self.end_of_time(stage, &error) {
                    Some(end) => Then::Stop(end),
                    None => self.retry(stage, error),
                },
            };
            match then {
                Then::Again => {}
                Then::Sleep(pause) => tokio::select! {
                    biased;
                    () = self.observer.pause(pause) => {}
                    // A candidate is registered at once, however long the poll interval is.
                    () = self.preregister.wait_for_candidate() => {}
                },
                Then::BackOff(pause) => self.observer.back_off(pause).await,
                Then::Stop(reason) => return self.finish(reason),
            }
        }
    }

    /// Observes, confirms, plans, and makes at most one change.
    async fn step(&mut self) -> Result<Then, (Stage, Error)> {
        if self.control.take_end_of_backoff() {
            self.observer.ask_about_readers_again();
        }
        let is_backing_off = self.control.is_backing_off();
        let began = Instant::now();
        let observed = self.observer.observe(is_backing_off).await;
        let observation = observed.map_err(|error| (Stage::Observation, error))?;
        if !is_backing_off {
            // During a backoff the group is not listed.
            self.clear_error(Stage::Observation);
        }
        self.record(&observation, is_backing_off);
        let observation = self.changes.mask_deregistered(observation);
        self.close_preregistration(&observation);
        let confirmation = self.confirmation(&observation, began).await;
        self.control.exclude_from_limit(self.observer.take_permit_wait());
        let is_unconfirmed_now =
            confirmation != Confirmation::Unconfirmed && !self.observer.stability.is_confirmed();
        if !self.still_holds(&observation) || is_unconfirmed_now {
            // DNS changed while the RDS API was asked, perhaps to another answer and back.
            return Ok(self.control.observe_now());
        }
        let plan = observation.plan(confirmation, &self.allowed_extras());
        self.keep_plan(&plan, confirmation);
        if let Some(priority) = self.priority(&observation, &plan) {
            self.observer.set_priority(priority);
        }
        if !self.changes.has_failed_change_of(&observation, &plan) {
            self.clear_error(Stage::Change);
        }
        let then =
            self.apply(&observation, &plan, confirmation).await.map_err(|error| (Stage::Change, error))?;
        if then == Then::Stop(Stop::Done) && self.standby.is_unknown() {
            // Whether the standby may stay decides whether a deregistration is left to do.
            let standby = self.standby;
            self.observer.with_lookups(standby.wait_until_known()).await;
            return Ok(self.control.observe_now_within_limit());
        }
        Ok(then)
    }

    /// Why the run ends, if the step failed only because the time is over. After a complete observation that is no error,
    /// unless a change was cut off.
    fn end_of_time(&self, stage: Stage, error: &Error) -> Option<Stop> {
        if error.kind() != ErrorKind::DeadlineExceeded
            || self.plan.is_none()
            || self.control.has_pending_error()
        {
            return None;
        }
        let end = self.control.end_reason();
        match stage {
            Stage::Observation => Some(end),
            Stage::Change if error.is_outcome_unknown() || end == Stop::Deadline => None,
            Stage::Change => Some(end),
        }
    }

    /// Whether a deregistration may rely on the last DNS answer. The age of the observation is checked last, because
    /// the question to the RDS API takes time. The observation began at `began`.
    async fn confirmation(&mut self, observation: &Observation, began: Instant) -> Confirmation {
        if !self.observer.stability.is_confirmed() {
            return Confirmation::Unconfirmed;
        }
        let extras = self.allowed_extras();
        if observation.plan(Confirmation::Unconfirmed, &extras)
            == observation.plan(Confirmation::Confirmed, &extras)
        {
            // The plan is the same with and without a confirmation, so the RDS API is not asked.
            return Confirmation::Confirmed;
        }
        if self.control.is_backing_off() {
            return Confirmation::StaleObservation;
        }
        if let Some(Disagreement { dns, rds, answered }) = self.preregister.take_disagreement()
            && member(&observation.resolution.chain) == Some(&dns)
        {
            // The pre-registration task's answer counts as a veto, because the loop's own next question may get no answer.
            // If that answer is too old, the loop asks again.
            if answered.elapsed() < RDS_RECHECK_INTERVAL {
                self.log.disagreement(&dns, &rds);
            }
            self.veto.record(&observation.resolution, RdsVerdict::Disagrees, answered);
        }
        let verdict = match self.veto.current(&observation.resolution, began) {
            Some(verdict) => verdict,
            None => {
                let (verdict, answered) = self.ask_rds(observation).await;
                self.veto.record(&observation.resolution, verdict, answered);
                if verdict == RdsVerdict::NoVeto {
                    // A deregistration needs a new list, and one that is newer than the question to the RDS API.
                    self.observer.require_new_list();
                }
                verdict
            }
        };
        if let Some(veto) = verdict.veto() {
            return veto;
        }
        if !self.observer.is_fresh() {
            self.observer.require_new_list();
            return Confirmation::StaleObservation;
        }
        Confirmation::Confirmed
    }

    /// Asks the RDS API about the writer that DNS names, if it names one. Returns the verdict and the time of the answer.
    /// Without an answer there is no veto.
    async fn ask_rds(&mut self, observation: &Observation) -> (RdsVerdict, Instant) {
        let began = Instant::now();
        let chain = &observation.resolution.chain;
        let member = member(chain).filter(|_| self.binding.role == Role::Writer);
        let (Some(member), Some(zone)) = (member, zone(chain)) else { return (RdsVerdict::NoVeto, began) };
        let identifier = cluster_identifier(self.binding, chain);
        let question = ask_cluster(&self.observer.clients.rds, self.reads_end, &identifier, &zone);
        let question = async { (question.await, Instant::now()) };
        let (answer, answered) = match self.mode {
            // A dry run makes one lookup, before this question.
            Mode::DryRun => question.await,
            Mode::Check | Mode::Watch => self.observer.with_lookups(question).await,
        };
        // The limit of a check is for the confirmation alone: a slow RDS API must not use it up.
        self.control.exclude_from_limit(began.elapsed());
        let verdict = match answer {
            Ok(cluster) => self.verdict(member, cluster.as_ref(), observation),
            Err(error) => {
                self.log.rds_unavailable(&error);
                RdsVerdict::NoVeto
            }
        };
        (verdict, answered)
    }

    /// Records the RDS API's answer, and logs a veto.
    fn verdict(&mut self, member: &str, cluster: Option<&Cluster>, observation: &Observation) -> RdsVerdict {
        self.preregister.record_cluster(cluster);
        let verdict = RdsVerdict::compare(cluster, member, self.dns_has_moved(observation));
        match verdict {
            RdsVerdict::NoVeto => {}
            RdsVerdict::Disagrees => {
                let other = cluster.and_then(|cluster| cluster.other_writer(member));
                self.log.disagreement(member, other.unwrap_or_default());
            }
            RdsVerdict::FailoverInProgress => self.log.failover_in_progress(member),
        }
        verdict
    }

    /// Makes the plan's next change: registers first, and deregisters when there is nothing to register.
    async fn apply(
        &mut self,
        observation: &Observation,
        plan: &Plan,
        confirmation: Confirmation,
    ) -> Result<Then, Error> {
        if self.control.is_backing_off() {
            return Ok(self.control.observe_while_backing_off());
        }
        let wanted = observation.wanted();
        let register = self.changes.left_to_do(Change::Register, &plan.register, &wanted);
        let (missing, candidates): (BTreeSet<_>, BTreeSet<_>) =
            register.into_iter().partition(|target| wanted.contains(target));
        if !missing.is_empty() {
            if let Some(permit) = self.permit_to_register(observation).await? {
                self.register(permit, missing).await?;
            }
            return Ok(self.control.observe_now());
        }
        if !candidates.is_empty() {
            // Best effort: an error here does not fail the binding. If the deadline is over, the next step ends the
            // run.
            let Ok(permit) = self.permit_to_register(observation).await else {
                return Ok(self.control.observe_after_poll());
            };
            let Some(permit) = permit else { return Ok(self.control.observe_now()) };
            self.register_candidates(permit, candidates).await;
            return Ok(self.control.observe_now_within_limit());
        }
        let deregister = self.changes.left_to_do(Change::Deregister, &plan.deregister, &wanted);
        if !deregister.is_empty() {
            if let Some(permit) = self.permit_to_deregister().await? {
                self.deregister(permit, deregister).await?;
            }
            return Ok(self.control.observe_now());
        }
        if confirmation == Confirmation::StaleObservation {
            return Ok(self.control.observe_now_within_limit());
        }
        let is_followed = self.dns_has_moved(observation) && self.observer.stability.is_confirmed();
        let is_done = (self.mode == Mode::Check || is_followed) && !self.changes.may_apply_late();
        Ok(if plan.is_empty() && is_done {
            Then::Stop(Stop::Done)
        } else if confirmation == Confirmation::Unconfirmed && !plan.is_empty() {
            self.control.observe_soon_to_confirm()
        } else if self.changes.relist_often_until().is_some_and(|until| Instant::now() < until) {
            self.control.observe_soon_to_relist()
        } else {
            self.control.observe_after_poll()
        })
    }

    fn close_preregistration(&self, observation: &Observation) {
        if self.dns_has_moved(observation) && self.observer.stability.is_confirmed() {
            self.preregister.close();
        }
    }

    /// Whether DNS still gives the observed answer: lookups go on during every wait. A lookup that failed leaves
    /// no answer to compare.
    fn still_holds(&self, observation: &Observation) -> bool {
        self.observer.answer_age().is_some()
            && self.observer.resolution.as_ref() == Some(&observation.resolution)
    }

    /// Waits for a permit to register. Returns `None` and keeps the permit for the next step if the observation no
    /// longer holds after the wait.
    async fn permit_to_register(&mut self, observation: &Observation) -> Result<Option<Permit>, Error> {
        let (extras, is_confirmed) = (self.allowed_extras(), self.observer.stability.is_confirmed());
        let permit = match self.write_permit.take() {
            Some(permit) => permit,
            None => self.wait_to_write(Priority::Failover).await?.0,
        };
        if self.still_holds(observation)
            && self.observer.stability.is_confirmed() == is_confirmed
            && self.allowed_extras() == extras
        {
            return Ok(Some(permit));
        }
        self.write_permit = Some(permit);
        Ok(None)
    }

    /// Waits for a permit to deregister. Returns `None` and keeps the permit for the next step if it had to wait:
    /// DNS, the group or the RDS API's answer may have changed meanwhile.
    async fn permit_to_deregister(&mut self) -> Result<Option<Permit>, Error> {
        if let Some(permit) = self.write_permit.take() {
            return Ok(Some(permit));
        }
        let (permit, has_waited) = self.wait_to_write(Priority::Cleanup).await?;
        if !has_waited {
            return Ok(Some(permit));
        }
        self.write_permit = Some(permit);
        self.observer.require_new_list();
        Ok(None)
    }

    async fn wait_to_write(&mut self, priority: Priority) -> Result<(Permit, bool), Error> {
        let permit = self.observer.permit(priority, Call::Write).await?;
        self.control.exclude_from_limit(self.observer.take_permit_wait());
        Ok(permit)
    }

    async fn register(&mut self, permit: Permit, targets: BTreeSet<SocketAddr>) -> Result<(), Error> {
        self.log.registering(&targets);
        let group = self.binding.target_group.as_str();
        let call = self.observer.clients.groups.register(permit, group, &targets);
        let result = self.observer.change("register the endpoint's addresses", call).await;
        // Another process may have deregistered a target that this run had registered.
        let is_first = self.changes.registered.is_disjoint(&targets);
        self.record_change(Change::Register, &targets, result)?;
        self.clear_error(Stage::Change);
        if is_first {
            self.registration_latency = self.registration_latency.max(self.observer.answer_age());
        }
        Ok(())
    }

    /// Best effort: a failure is logged and does not fail the binding.
    async fn register_candidates(&mut self, permit: Permit, targets: BTreeSet<SocketAddr>) {
        self.log.registering_early(&targets);
        let group = self.binding.target_group.as_str();
        let call = self.observer.clients.groups.register(permit, group, &targets);
        let result = self.observer.change("register a candidate", call).await;
        if let Err(error) = self.record_change(Change::Register, &targets, result) {
            self.log.candidate_failed(&error);
            if error.kind() == ErrorKind::Permanent {
                self.preregister.reject_addresses(&targets.iter().map(SocketAddr::ip).collect());
            }
        }
    }

    async fn deregister(&mut self, permit: Permit, targets: BTreeSet<SocketAddr>) -> Result<(), Error> {
        self.log.deregistering(&targets);
        let group = self.binding.target_group.as_str();
        let call = self.observer.clients.groups.deregister(permit, group, &targets);
        let result = self.observer.change("deregister stale targets", call).await;
        // A deregistration is one attempt: its result alone shows whether the outcome is known.
        let result = result.map(|()| Attempts::AllKnown);
        self.record_change(Change::Deregister, &targets, result)?;
        self.clear_error(Stage::Change);
        Ok(())
    }

    fn record_change(
        &mut self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        result: Result<Attempts, Error>,
    ) -> Result<(), Error> {
        self.changes.record(change, targets, &result);
        self.observer.relist_often_until = self.changes.relist_often_until();
        if let Some(end) = self.changes.may_apply_late_until() {
            self.control.prolong_until(end);
        }
        self.observer.require_new_list();
        result.map(|_| ())
    }

    /// Observes once, and plans without applying.
    async fn dry_run(&mut self) -> Result<Status, Error> {
        let observation = self.observer.observe(false).await?;
        self.standby.check(&observation.resolution.chain).await;
        let extras = self.allowed_extras();
        let plan_with = |confirmation| {
            let Observation { resolution, targets, group } = &observation;
            plan_to_fixpoint(&resolution.addresses, group.port, targets, confirmation, &extras)
        };
        let mut plan = plan_with(Confirmation::Confirmed);
        if plan != plan_with(Confirmation::Unconfirmed)
            && let Some(veto) = self.ask_rds(&observation).await.0.veto()
        {
            plan = plan_with(veto);
        }
        self.log.dry_run(&plan);
        let status = if plan.is_empty() { Status::InSync } else { Status::Planned };
        self.changes.registered.clone_from(&plan.register);
        self.changes.deregistered.clone_from(&plan.deregister);
        self.plan = Some(plan);
        self.standby.error().map_or(Ok(status), Err)
    }

    fn allowed_extras(&self) -> AllowedExtras {
        AllowedExtras { candidates: self.preregister.addresses(), standby: self.standby.policy() }
    }

    /// The priority of the next listing, if the plan or the mode decides it.
    fn priority(&self, observation: &Observation, plan: &Plan) -> Option<Priority> {
        if !plan.register.is_empty() {
            return Some(Priority::Failover);
        }
        let has_moved = self.mode == Mode::Watch && self.dns_has_moved(observation);
        (has_moved || !self.changes.registered.is_empty()).then_some(Priority::Cleanup)
    }

    /// Whether DNS has moved since the run began. A watch goes on until then.
    fn dns_has_moved(&self, observation: &Observation) -> bool {
        self.observer.baseline.has_moved(&observation.wanted())
    }

    /// Passes the observation to the snapshot and the change log.
    fn record(&mut self, observation: &Observation, is_backing_off: bool) {
        if self.preregister.is_open() || self.standby.is_unknown() {
            let Observation { resolution, targets, group } = observation;
            let held = active(targets).filter(|target| target.port() == group.port);
            self.snapshot.send_replace(Some(Snapshot {
                resolution: resolution.clone(),
                family: group.family,
                held_at_start: self.observer.baseline.active().map(SocketAddr::ip).collect(),
                held_now: held.map(|target| target.ip()).collect(),
            }));
        }
        // During a backoff the list may be older than the changes.
        if !is_backing_off {
            self.changes.record_list(&observation.targets);
        }
    }

    /// Keeps the plan, and logs a new one.
    fn keep_plan(&mut self, plan: &Plan, confirmation: Confirmation) {
        // A stale observation is repeated at once; its plan is not logged.
        let is_worth_logging = !plan.is_empty() && confirmation != Confirmation::StaleObservation;
        if is_worth_logging {
            self.log.plan(plan);
        }
        self.plan = Some(plan.clone());
        // From now on, the end of a watch is no error.
        self.observer.reads_end = self.reads_end;
    }

    fn retry(&mut self, stage: Stage, error: Error) -> Then {
        let earlier = self.control.take_pending_error();
        let error = match earlier {
            // If time runs out while something fails, that failure is the reason.
            Some(earlier) if error.kind() == ErrorKind::DeadlineExceeded => error.caused_by(&earlier),
            _ => error,
        };
        let reason = error.explain();
        let then = self.control.retry(stage, error, self.plan.is_some());
        if !matches!(then, Then::Stop(_)) {
            self.log.retrying(&reason);
        }
        then
    }

    fn clear_error(&mut self, stage: Stage) {
        if self.control.clear_error(stage) {
            self.log.recovered();
        }
    }

    /// The binding's status at the end, or why it failed.
    fn finish(&mut self, reason: Stop) -> Result<Status, Error> {
        if reason == Stop::Deadline {
            self.log.deadline();
        }
        if let Some(error) = self.control.take_pending_error() {
            return Err(error);
        }
        // The time may have ended during an observation. What that observation showed counts as well.
        if self.plan.as_ref().is_none_or(Plan::is_empty)
            && let Some(seen) = self.observer.last()
        {
            self.plan = Some(seen.plan(Confirmation::Unconfirmed, &self.allowed_extras()));
        }
        if let Some(error) = self.standby.error() {
            return Err(error);
        }
        Ok(match &self.plan {
            Some(plan) if !plan.is_empty() => Status::Pending,
            _ if self.changes.is_empty() => Status::InSync,
            _ => Status::Updated,
        })
    }

    fn into_report(self, result: Result<Status, Error>) -> Report {
        let (status, error) = match result {
            Ok(status) => (status, None),
            Err(error) => (Status::Failed, Some(error.explain())),
        };
        self.log.end(status, error.as_deref());
        let plan = self.plan.unwrap_or_default();
        let may_apply_late = self.changes.may_apply_late();
        Report {
            addresses: self.observer.resolution.as_ref().map(|found| found.addresses.clone()),
            registered: self.changes.registered,
            deregistered: self.changes.deregistered,
            waiting: waiting_lines(plan, self.mode),
            health: self.observer.health(),
            may_apply_late,
            error,
            elapsed_ms: millis(self.control.elapsed()),
            registration_latency_ms: self.registration_latency.map(millis),
            ..Report::new(self.binding, status)
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
