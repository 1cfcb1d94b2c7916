//! One reconciliation under way.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::change_log::{Change, ChangeLog};
use super::loop_control::{Ending, LoopControl, Next, Pause, Stage};
use super::observe::{Observation, Observer};
use super::preregister::{BackgroundTasks, Snapshot};
use super::veto::RdsVerdict;
use super::{Call, Clients, Mode, Priority, RdsApi, Report, Resolve, Status, TargetGroupApi, Timing};
use crate::binding::{Binding, Role};
use crate::error::{Error, ErrorKind};
use crate::plan::{Confirmation, Plan, active, list, plan_to_fixpoint};

/// How things stood when both DNS and the group had been seen for the first time.
struct First {
    wanted: BTreeSet<SocketAddr>,
    active: BTreeSet<SocketAddr>,
}

impl First {
    fn of(observation: &Observation) -> Self {
        Self { wanted: observation.wanted(), active: active(&observation.targets).collect() }
    }
}

/// One reconciliation under way.
pub(super) struct Run<'a, D, T, C> {
    pub(super) binding: &'a Binding,
    mode: Mode,
    pub(super) loop_control: LoopControl,
    pub(super) observer: Observer<'a, D, T, C>,
    pub(super) background: &'a BackgroundTasks<'a, D, T, C>,
    pub(super) rds_verdict: Option<RdsVerdict>,
    first: Option<First>,
    /// The last plan.
    planned: Option<Plan>,
    change_log: ChangeLog,
    registration_latency: Option<Duration>,
    /// Whether a turn to write was waited for and is not used yet.
    has_permit: bool,
    /// What the log has been told: a state that comes back is no news.
    logged: BTreeSet<String>,
}

impl<'a, D: Resolve, T: TargetGroupApi, C: RdsApi> Run<'a, D, T, C> {
    pub fn new(
        clients: &'a Clients<D, T, C>,
        binding: &'a Binding,
        background: &'a BackgroundTasks<'a, D, T, C>,
        timing: Timing,
        mode: Mode,
        deadline: Instant,
    ) -> Self {
        Self {
            binding,
            mode,
            loop_control: LoopControl::new(mode, timing, deadline),
            observer: Observer::new(clients, binding, timing, deadline),
            background,
            rds_verdict: None,
            first: None,
            planned: None,
            change_log: ChangeLog::default(),
            registration_latency: None,
            has_permit: false,
            logged: BTreeSet::new(),
        }
    }

    /// Follows DNS until there is nothing left to do, or no time or patience left to do it.
    pub async fn sync(&mut self) -> Result<Status, Error> {
        loop {
            let step = self.step().await;
            self.loop_control.exclude(self.observer.take_queued());
            let pause = match step {
                Ok(Next::End) => return self.end(),
                Ok(next) => match self.loop_control.after(next) {
                    Pause::None => continue,
                    Pause::For(pause) => pause,
                    Pause::Enough => return self.end(),
                },
                Err((stage, error)) => match self.loop_control.after_failure(error.kind()) {
                    Some(pause) => {
                        self.log_retry(stage, error);
                        pause
                    }
                    None => return Err(self.blame(error)),
                },
            };
            match self.loop_control.ends_within(pause) {
                None => sleep(pause).await,
                Some(Ending::WatchTime) => return self.end(),
                Some(Ending::Time) => return self.out_of_time(),
            }
        }
    }

    /// Looks once, and says what following DNS would change.
    pub async fn dry_run(&mut self) -> Result<Status, Error> {
        let observation = self.observer.observe(false).await?;
        self.compare(&observation, false);
        self.background.check_standby().await;
        let allowed_extras = self.background.allowed_extras();
        let outcome = |confirmation| {
            plan_to_fixpoint(
                &observation.resolution.addresses,
                observation.port,
                &observation.targets,
                confirmation,
                &allowed_extras,
            )
        };
        let mut plan = outcome(Confirmation::Confirmed);
        if plan != outcome(Confirmation::Unconfirmed)
            && let Some(veto) = self.ask_rds(&observation).await
        {
            plan = outcome(veto);
        }
        log_decision!(info, self.binding, "plan", plan = %plan, reason = "a dry run", "plans, and changes nothing");
        let status = if plan.is_empty() { Status::InSync } else { Status::Planned };
        self.change_log.registered.clone_from(&plan.register);
        self.change_log.deregistered.clone_from(&plan.deregister);
        self.planned = Some(plan);
        self.background.standby_error().map_or(Ok(status), Err)
    }

    /// Observes, plans, and makes at most one change.
    async fn step(&mut self) -> Result<Next, (Stage, Error)> {
        let is_backing_off = self.loop_control.is_backing_off();
        let observation = match self.observer.observe(is_backing_off).await {
            Ok(observation) => observation,
            // Cut short between two looks, the last complete one stands.
            Err(cut)
                if cut.kind() == ErrorKind::DeadlineExceeded
                    && self.planned.is_some()
                    && !self.loop_control.has_pending_error() =>
            {
                self.log_deadline();
                return Ok(Next::End);
            }
            Err(error) => {
                // What it has shown counts: by the next look, another run may have registered the writer.
                if let Some(seen) = self.observer.seen() {
                    self.first.get_or_insert_with(|| First::of(&seen));
                }
                return Err((Stage::Observation, error));
            }
        };
        self.recovered(Stage::Observation);
        self.compare(&observation, is_backing_off);
        let observation = self.change_log.mask_deregistered(observation);
        if self.has_followed(&observation) && self.observer.is_confirmed() {
            self.background.close();
        }
        let confirmation = self.confirmation(&observation).await;
        let plan = self.plan(&observation, confirmation);
        self.remember(&plan, confirmation);
        self.observer.priority = self.priority(&observation, &plan);
        if !self.change_log.failed_what_is_wanted(&observation, &plan) {
            self.recovered(Stage::Change);
        }
        let next =
            self.act(&observation, &plan, confirmation).await.map_err(|error| (Stage::Change, error))?;
        if next == Next::Changed {
            self.recovered(Stage::Change);
        }
        if next == Next::End && self.background.is_standby_unknown() {
            // Whether the group is as it must be hangs on that.
            self.background.standby_known().await;
            return Ok(Next::Again);
        }
        Ok(next)
    }

    pub(super) fn plan(&self, observation: &Observation, confirmation: Confirmation) -> Plan {
        observation.plan(confirmation, &self.background.allowed_extras())
    }

    /// Makes the plan's next change: registers first, deregisters when there is nothing to register.
    async fn act(
        &mut self,
        observation: &Observation,
        plan: &Plan,
        confirmation: Confirmation,
    ) -> Result<Next, Error> {
        if self.loop_control.is_backing_off() {
            return Ok(Next::Poll);
        }
        let wanted = observation.wanted();
        let register = self.change_log.left_to_do(Change::Register, &plan.register, &wanted);
        let (missing, candidates): (BTreeSet<_>, BTreeSet<_>) =
            register.into_iter().partition(|target| wanted.contains(target));
        if !missing.is_empty() {
            return match self.permit_to_write(Priority::Failover, observation).await? {
                true => self.register(missing).await.map(|()| Next::Changed),
                false => Ok(Next::Behind),
            };
        }
        if !candidates.is_empty() {
            return match self.permit_to_write(Priority::Failover, observation).await {
                Ok(true) => {
                    self.preregister(candidates).await;
                    Ok(Next::Again)
                }
                Ok(false) => Ok(Next::Behind),
                // A courtesy fails nothing; the time that is over is seen by what comes next.
                Err(_) => Ok(Next::Poll),
            };
        }
        let deregister = self.change_log.left_to_do(Change::Deregister, &plan.deregister, &wanted);
        if !deregister.is_empty() {
            if !self.has_permit {
                let has_waited = self.observer.permit(Priority::Tidy, Call::Write).await?;
                self.has_permit = true;
                if has_waited {
                    // All that speaks for it, the RDS API's opinion included, may have changed meanwhile.
                    self.observer.require_new_listing();
                    return Ok(Next::Behind);
                }
            }
            self.deregister(deregister).await?;
            return Ok(Next::Changed);
        }
        if confirmation == Confirmation::StaleObservation {
            return Ok(Next::Again);
        }
        let is_done =
            self.mode == Mode::Check || (self.has_followed(observation) && self.observer.is_confirmed());
        Ok(if plan.is_empty() && is_done { Next::End } else { Next::Poll })
    }

    /// How urgent the next look at the group is.
    fn priority(&self, observation: &Observation, plan: &Plan) -> Priority {
        if !plan.register.is_empty() {
            Priority::Failover
        } else if !self.change_log.registered.is_empty()
            || (self.mode == Mode::Watch && self.has_followed(observation))
        {
            Priority::Tidy
        } else {
            self.observer.priority
        }
    }

    /// Waits for a turn to write, once for each write however often the look before it is repeated, and says
    /// whether the look still stands: what DNS says, how sure that is, and who is nominated may have changed
    /// meanwhile.
    async fn permit_to_write(
        &mut self,
        priority: Priority,
        observation: &Observation,
    ) -> Result<bool, Error> {
        let (allowed_extras, is_confirmed) = (self.background.allowed_extras(), self.observer.is_confirmed());
        if !self.has_permit {
            self.observer.permit(priority, Call::Write).await?;
            self.has_permit = true;
        }
        // The last lookup may have failed as well.
        let is_same = self.observer.known_for().is_some()
            && self.observer.resolution.as_ref() == Some(&observation.resolution);
        Ok(is_same
            && self.observer.is_confirmed() == is_confirmed
            && self.background.allowed_extras() == allowed_extras)
    }

    /// Whether DNS has moved since the failover began, as far as this run can tell: what a watch stays
    /// for. Either the writer was not in the group at first, or it was the other one that was. A name
    /// that only flickered to a newcomer and back has not moved yet.
    pub(super) fn has_followed(&self, observation: &Observation) -> bool {
        let wanted = observation.wanted();
        self.first.as_ref().is_some_and(|first| {
            !wanted.is_subset(&first.active)
                || (first.wanted.is_subset(&first.active) && wanted != first.wanted)
        })
    }

    /// Compares the look with the first one, and with the changes that none has shown so far.
    fn compare(&mut self, observation: &Observation, is_backing_off: bool) {
        self.first.get_or_insert_with(|| First::of(observation));
        let first = self.first.as_ref().map(|first| first.active.iter().map(SocketAddr::ip).collect());
        self.background.show(|| Snapshot {
            resolution: observation.resolution.clone(),
            family: observation.family,
            first: first.unwrap_or_default(),
            held: active(&observation.targets)
                .filter(|target| target.port() == observation.port)
                .map(|target| target.ip())
                .collect(),
        });
        // While the API rests, the listing may be older than the changes.
        if !is_backing_off {
            self.change_log.record_listing(&observation.targets);
        }
    }

    async fn register(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Error> {
        let reason = match self.binding.role {
            Role::Writer => "DNS names it as the writer",
            Role::Readers => "it is a reader of the cluster",
            Role::All => "DNS names it",
        };
        log_decision!(info, self.binding, "register", targets = %list(&targets), reason, "registers");
        let registering = self.observer.clients.groups.register(&self.binding.target_group, &targets);
        let result = self.observer.bounded("register the writer", registering).await;
        self.changed(Change::Register, &targets, result)?;
        self.registration_latency = self.registration_latency.max(self.observer.known_for());
        Ok(())
    }

    /// Registers candidates. It is a courtesy: that it fails is told, and fails nothing else.
    async fn preregister(&mut self, targets: BTreeSet<SocketAddr>) {
        let reason = "it was nominated as the next writer";
        log_decision!(info, self.binding, "register", targets = %list(&targets), reason, "registers early");
        let registering = self.observer.clients.groups.register(&self.binding.target_group, &targets);
        let result = self.observer.bounded("register a candidate", registering).await;
        if let Err(error) = self.changed(Change::Register, &targets, result) {
            let reason = error.explain();
            log_decision!(warn, self.binding, "preregister", reason = %reason, "could not register the candidate");
            if error.kind() == ErrorKind::Permanent {
                self.background.forget(targets.iter().map(SocketAddr::ip));
            }
        }
    }

    async fn deregister(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Error> {
        let reason = "DNS has confirmed the writer, which is registered";
        log_decision!(info, self.binding, "deregister", targets = %list(&targets), reason, "deregisters");
        let deregistering = self.observer.clients.groups.deregister(&self.binding.target_group, &targets);
        let result = self.observer.bounded("deregister stale targets", deregistering).await;
        self.changed(Change::Deregister, &targets, result)
    }

    fn changed(
        &mut self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        result: Result<(), Error>,
    ) -> Result<(), Error> {
        self.has_permit = false;
        self.change_log.record(change, targets, result.is_ok());
        self.observer.require_new_listing();
        result
    }

    /// Keeps the plan, and logs it where it is news.
    fn remember(&mut self, plan: &Plan, confirmation: Confirmation) {
        // That a look is not fresh enough is a matter of the next one, as a rule.
        if !plan.is_empty()
            && confirmation != Confirmation::StaleObservation
            && self.is_news(plan.to_string())
        {
            log_decision!(info, self.binding, "plan", plan = %plan, reason = "the group is not as DNS says", "plans");
        }
        self.planned = Some(plan.clone());
    }

    pub(super) fn is_news(&mut self, what: String) -> bool {
        self.logged.insert(what)
    }

    /// How things stand when the run ends, or why it failed.
    fn end(&mut self) -> Result<Status, Error> {
        if let Some(error) = self.loop_control.pending_error() {
            return Err(error);
        }
        // What was seen after the last plan counts as well: the time may have ended amid a look.
        if self.planned.as_ref().is_none_or(Plan::is_empty)
            && let Some(seen) = self.observer.seen()
        {
            self.planned = Some(self.plan(&seen, Confirmation::Unconfirmed));
        }
        if let Some(standby_error) = self.background.standby_error() {
            return Err(standby_error);
        }
        Ok(match &self.planned {
            Some(plan) if !plan.is_empty() => Status::Pending,
            _ if self.change_log.is_empty() => Status::InSync,
            _ => Status::Updated,
        })
    }

    fn out_of_time(&mut self) -> Result<Status, Error> {
        self.log_deadline();
        self.end()
    }

    fn log_deadline(&self) {
        let reason = "the invocation's time is over; the next one goes on";
        log_decision!(info, self.binding, "deadline", reason, "ends early");
    }

    /// Logs a failure that will be tried again, where it is news.
    fn log_retry(&mut self, stage: Stage, error: Error) {
        let reason = error.explain();
        if self.is_news(reason.clone()) {
            log_decision!(warn, self.binding, "retry", reason = %reason, "tries again");
        }
        self.loop_control.keep_error(stage, error);
    }

    fn recovered(&mut self, stage: Stage) {
        if self.loop_control.recovered(stage) {
            log_decision!(
                info,
                self.binding,
                "recovered",
                reason = "what failed before works again",
                "goes on"
            );
        }
    }

    /// Where time runs out while something fails, what fails is the reason.
    fn blame(&mut self, error: Error) -> Error {
        match self.loop_control.pending_error() {
            Some(pending_error) if error.kind() == ErrorKind::DeadlineExceeded => {
                error.with_source(pending_error.explain())
            }
            _ => error,
        }
    }

    pub fn report(&self, result: Result<Status, Error>) -> Report {
        let mut waiting = Vec::new();
        if let Some(plan) = &self.planned {
            let Plan { register, deregister, waiting: waits } = plan;
            if self.mode != Mode::DryRun {
                waiting.extend(
                    register.iter().map(|target| format!("{target} is not listed as registered yet")),
                );
                waiting.extend(
                    deregister.iter().map(|target| format!("{target} is still listed as registered")),
                );
            }
            waiting.extend(waits.iter().map(|(target, waits)| format!("{target} {waits}")));
        }
        let (status, error) = match result {
            Ok(status) => (status, None),
            Err(error) => (Status::Failed, Some(error.explain())),
        };
        match &error {
            Some(reason) => {
                log_decision!(error, self.binding, "fail", reason = %reason, "the binding failed")
            }
            None => log_decision!(debug, self.binding, "end", status = ?status, "done"),
        }
        let addresses = self.observer.resolution.iter().flat_map(|resolution| resolution.addresses.iter());
        Report {
            endpoint: self.binding.endpoint.clone(),
            target_group: self.binding.target_group.clone(),
            status,
            addresses: addresses.map(|address| address.to_string()).collect(),
            registered: self.change_log.registered.clone(),
            deregistered: self.change_log.deregistered.clone(),
            waiting,
            error,
            elapsed_ms: millis(self.loop_control.elapsed()),
            registration_latency_ms: self.registration_latency.map(millis),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
