//! One reconciliation under way.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::changes::{Change, Changes};
use super::objection::Opinion;
use super::patience::{Ending, Next, Patience, Pause, Stage};
use super::scout::{Scene, Scout};
use super::sight::{Look, Sight};
use super::{Call, Clusters, Dns, Mode, Pace, Report, Status, TargetGroups, Urgency, World};
use crate::config::{Binding, Role};
use crate::fault::{Fault, Kind};
use crate::plan::{Evidence, Plan, active, list, outcome};

/// How things stood when both DNS and the group had been seen for the first time.
struct First {
    wanted: BTreeSet<SocketAddr>,
    active: BTreeSet<SocketAddr>,
}

impl First {
    fn of(look: &Look) -> Self {
        Self { wanted: look.wanted(), active: active(&look.targets).collect() }
    }
}

/// One reconciliation under way.
pub(super) struct Run<'a, D, T, C> {
    pub(super) binding: &'a Binding,
    mode: Mode,
    pub(super) patience: Patience,
    pub(super) sight: Sight<'a, D, T, C>,
    pub(super) scout: &'a Scout<'a, D, T, C>,
    pub(super) opinion: Option<Opinion>,
    first: Option<First>,
    /// The last plan.
    planned: Option<Plan>,
    changes: Changes,
    follow: Option<Duration>,
    /// Whether a turn to write was waited for and is not used yet.
    has_turn: bool,
    /// What the log has been told: a state that comes back is no news.
    told: BTreeSet<String>,
}

impl<'a, D: Dns, T: TargetGroups, C: Clusters> Run<'a, D, T, C> {
    pub fn new(
        world: &'a World<D, T, C>,
        binding: &'a Binding,
        scout: &'a Scout<'a, D, T, C>,
        pace: Pace,
        mode: Mode,
        deadline: Instant,
    ) -> Self {
        Self {
            binding,
            mode,
            patience: Patience::new(mode, pace, deadline),
            sight: Sight::new(world, binding, pace, deadline),
            scout,
            opinion: None,
            first: None,
            planned: None,
            changes: Changes::default(),
            follow: None,
            has_turn: false,
            told: BTreeSet::new(),
        }
    }

    /// Follows DNS until there is nothing left to do, or no time or patience left to do it.
    pub async fn follow(&mut self) -> Result<Status, Fault> {
        loop {
            let step = self.step().await;
            self.patience.forgive(self.sight.take_queued());
            let pause = match step {
                Ok(Next::End) => return self.end(),
                Ok(next) => match self.patience.after(next) {
                    Pause::None => continue,
                    Pause::For(pause) => pause,
                    Pause::Enough => return self.end(),
                },
                Err((stage, fault)) => match self.patience.after_failure(fault.kind()) {
                    Some(pause) => {
                        self.note(stage, fault);
                        pause
                    }
                    None => return Err(self.blame(fault)),
                },
            };
            match self.patience.ends_within(pause) {
                None => sleep(pause).await,
                Some(Ending::Patience) => return self.end(),
                Some(Ending::Time) => return self.out_of_time(),
            }
        }
    }

    /// Looks once, and says what following DNS would change.
    pub async fn rehearse(&mut self) -> Result<Status, Fault> {
        let look = self.sight.look(false).await?;
        self.compare(&look, false);
        self.scout.judge().await;
        let beside = self.scout.beside();
        let outcome = |evidence| outcome(&look.answer.writer, look.port, &look.targets, evidence, &beside);
        let mut plan = outcome(Evidence::Confirmed);
        if plan != outcome(Evidence::Unconfirmed)
            && let Some(objection) = self.ask_rds(&look).await
        {
            plan = outcome(objection);
        }
        say!(info, self.binding, "plan", plan = %plan, reason = "a dry run", "plans, and changes nothing");
        let status = if plan.is_empty() { Status::InSync } else { Status::Planned };
        self.changes.registered.clone_from(&plan.register);
        self.changes.evicted.clone_from(&plan.evict);
        self.planned = Some(plan);
        self.scout.refusal().map_or(Ok(status), Err)
    }

    /// Observes, plans, and makes at most one change.
    async fn step(&mut self) -> Result<Next, (Stage, Fault)> {
        let rests = self.patience.rests();
        let look = match self.sight.look(rests).await {
            Ok(look) => look,
            // Cut short between two looks, the last complete one stands.
            Err(cut)
                if cut.kind() == Kind::OutOfTime
                    && self.planned.is_some()
                    && !self.patience.is_troubled() =>
            {
                self.tell_of_time();
                return Ok(Next::End);
            }
            Err(fault) => {
                // What it has shown counts: by the next look, another run may have registered the writer.
                if let Some(seen) = self.sight.seen() {
                    self.first.get_or_insert_with(|| First::of(&seen));
                }
                return Err((Stage::Look, fault));
            }
        };
        self.recovered(Stage::Look);
        self.compare(&look, rests);
        let look = self.changes.doubt(look);
        if self.has_followed(&look) && self.sight.is_steady() {
            self.scout.close();
        }
        let evidence = self.evidence(&look).await;
        let plan = self.plan(&look, evidence);
        self.remember(&plan, evidence);
        self.sight.urgency = self.urgency(&look, &plan);
        if !self.changes.failed_what_is_wanted(&look, &plan) {
            self.recovered(Stage::Change);
        }
        let next = self.act(&look, &plan, evidence).await.map_err(|fault| (Stage::Change, fault))?;
        if next == Next::Changed {
            self.recovered(Stage::Change);
        }
        if next == Next::End && self.scout.is_judging() {
            // Whether the group is as it must be hangs on that.
            self.scout.judged().await;
            return Ok(Next::Again);
        }
        Ok(next)
    }

    pub(super) fn plan(&self, look: &Look, evidence: Evidence) -> Plan {
        look.plan(evidence, &self.scout.beside())
    }

    /// Makes the plan's next change: registers first, evicts when there is nothing to register.
    async fn act(&mut self, look: &Look, plan: &Plan, evidence: Evidence) -> Result<Next, Fault> {
        if self.patience.rests() {
            return Ok(Next::Poll);
        }
        let wanted = look.wanted();
        let register = self.changes.left_to_do(Change::Register, &plan.register, &wanted);
        let (writer, nominees): (BTreeSet<_>, BTreeSet<_>) =
            register.into_iter().partition(|target| wanted.contains(target));
        if !writer.is_empty() {
            return match self.turn_to_write(Urgency::Failover, look).await? {
                true => self.register(writer).await.map(|()| Next::Changed),
                false => Ok(Next::Behind),
            };
        }
        if !nominees.is_empty() {
            return match self.turn_to_write(Urgency::Failover, look).await {
                Ok(true) => {
                    self.preregister(nominees).await;
                    Ok(Next::Again)
                }
                Ok(false) => Ok(Next::Behind),
                // A courtesy fails nothing; the time that is over is seen by what comes next.
                Err(_) => Ok(Next::Poll),
            };
        }
        let evict = self.changes.left_to_do(Change::Evict, &plan.evict, &wanted);
        if !evict.is_empty() {
            if !self.has_turn {
                let has_waited = self.sight.turn(Urgency::Tidy, Call::Write).await?;
                self.has_turn = true;
                if has_waited {
                    // All that speaks for it, the RDS API's opinion included, may have changed meanwhile.
                    self.sight.look_afresh();
                    return Ok(Next::Behind);
                }
            }
            self.evict(evict).await?;
            return Ok(Next::Changed);
        }
        if evidence == Evidence::Outdated {
            return Ok(Next::Again);
        }
        let is_done = self.mode == Mode::Check || (self.has_followed(look) && self.sight.is_steady());
        Ok(if plan.is_empty() && is_done { Next::End } else { Next::Poll })
    }

    /// How urgent the next look at the group is.
    fn urgency(&self, look: &Look, plan: &Plan) -> Urgency {
        if !plan.register.is_empty() {
            Urgency::Failover
        } else if !self.changes.registered.is_empty() || (self.mode == Mode::Watch && self.has_followed(look))
        {
            Urgency::Tidy
        } else {
            self.sight.urgency
        }
    }

    /// Waits for a turn to write, once for each write however often the look before it is repeated, and says
    /// whether the look still stands: what DNS says, how sure that is, and who is nominated may have changed
    /// meanwhile.
    async fn turn_to_write(&mut self, urgency: Urgency, look: &Look) -> Result<bool, Fault> {
        let (beside, is_steady) = (self.scout.beside(), self.sight.is_steady());
        if !self.has_turn {
            self.sight.turn(urgency, Call::Write).await?;
            self.has_turn = true;
        }
        // The last lookup may have failed as well.
        let is_same = self.sight.known_for().is_some() && self.sight.answer.as_ref() == Some(&look.answer);
        Ok(is_same && self.sight.is_steady() == is_steady && self.scout.beside() == beside)
    }

    /// Whether DNS has moved since the failover began, as far as this run can tell: what a watch stays
    /// for. Either the writer was not in the group at first, or it was the other one that was. A name
    /// that only flickered to a newcomer and back has not moved yet.
    pub(super) fn has_followed(&self, look: &Look) -> bool {
        let wanted = look.wanted();
        self.first.as_ref().is_some_and(|first| {
            !wanted.is_subset(&first.active)
                || (first.wanted.is_subset(&first.active) && wanted != first.wanted)
        })
    }

    /// Compares the look with the first one, and with the changes that none has shown so far.
    fn compare(&mut self, look: &Look, rests: bool) {
        self.first.get_or_insert_with(|| First::of(look));
        let first = self.first.as_ref().map(|first| first.active.iter().map(SocketAddr::ip).collect());
        self.scout.show(|| Scene {
            answer: look.answer.clone(),
            family: look.family,
            first: first.unwrap_or_default(),
            held: active(&look.targets)
                .filter(|target| target.port() == look.port)
                .map(|target| target.ip())
                .collect(),
        });
        // While the API rests, the listing may be older than the changes.
        if !rests {
            self.changes.see(&look.targets);
        }
    }

    async fn register(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let reason = match self.binding.role {
            Role::Writer => "DNS names it as the writer",
            Role::Readers => "it is a reader of the cluster",
            Role::All => "DNS names it",
        };
        say!(info, self.binding, "register", targets = %list(&targets), reason, "registers");
        let registering = self.sight.world.groups.register(&self.binding.target_group, &targets);
        let result = self.sight.bounded("register the writer", registering).await;
        self.changed(Change::Register, &targets, result)?;
        self.follow = self.follow.max(self.sight.known_for());
        Ok(())
    }

    /// Registers nominees. It is a courtesy: that it fails is told, and fails nothing else.
    async fn preregister(&mut self, targets: BTreeSet<SocketAddr>) {
        let reason = "it was nominated as the next writer";
        say!(info, self.binding, "register", targets = %list(&targets), reason, "registers early");
        let registering = self.sight.world.groups.register(&self.binding.target_group, &targets);
        let result = self.sight.bounded("register a nominee", registering).await;
        if let Err(fault) = self.changed(Change::Register, &targets, result) {
            let reason = fault.explain();
            say!(warn, self.binding, "nominate", reason = %reason, "could not register the nominee");
            if fault.kind() == Kind::Permanent {
                self.scout.forget(targets.iter().map(SocketAddr::ip));
            }
        }
    }

    async fn evict(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let reason = "DNS has confirmed the writer, which is registered";
        say!(info, self.binding, "evict", targets = %list(&targets), reason, "deregisters");
        let deregistering = self.sight.world.groups.deregister(&self.binding.target_group, &targets);
        let result = self.sight.bounded("deregister stale targets", deregistering).await;
        self.changed(Change::Evict, &targets, result)
    }

    fn changed(
        &mut self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        result: Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.has_turn = false;
        self.changes.made(change, targets, result.is_ok());
        self.sight.look_afresh();
        result
    }

    /// Keeps the plan, and logs it where it is news.
    fn remember(&mut self, plan: &Plan, evidence: Evidence) {
        // That a look is not fresh enough is a matter of the next one, as a rule.
        if !plan.is_empty() && evidence != Evidence::Outdated && self.is_news(plan.to_string()) {
            say!(info, self.binding, "plan", plan = %plan, reason = "the group is not as DNS says", "plans");
        }
        self.planned = Some(plan.clone());
    }

    pub(super) fn is_news(&mut self, what: String) -> bool {
        self.told.insert(what)
    }

    /// How things stand when the run ends, or why it failed.
    fn end(&mut self) -> Result<Status, Fault> {
        if let Some(fault) = self.patience.trouble() {
            return Err(fault);
        }
        // What was seen after the last plan counts as well: the time may have ended amid a look.
        if self.planned.as_ref().is_none_or(Plan::is_empty)
            && let Some(seen) = self.sight.seen()
        {
            self.planned = Some(self.plan(&seen, Evidence::Unconfirmed));
        }
        if let Some(refusal) = self.scout.refusal() {
            return Err(refusal);
        }
        Ok(match &self.planned {
            Some(plan) if !plan.is_empty() => Status::Pending,
            _ if self.changes.are_none() => Status::InSync,
            _ => Status::Updated,
        })
    }

    fn out_of_time(&mut self) -> Result<Status, Fault> {
        self.tell_of_time();
        self.end()
    }

    fn tell_of_time(&self) {
        let reason = "the invocation's time is over; the next one goes on";
        say!(info, self.binding, "stop", reason, "ends early");
    }

    /// Logs a failure that will be tried again, where it is news.
    fn note(&mut self, stage: Stage, fault: Fault) {
        let reason = fault.explain();
        if self.is_news(reason.clone()) {
            say!(warn, self.binding, "retry", reason = %reason, "tries again");
        }
        self.patience.suffer(stage, fault);
    }

    fn recovered(&mut self, stage: Stage) {
        if self.patience.recovered(stage) {
            say!(info, self.binding, "recovered", reason = "what failed before works again", "goes on");
        }
    }

    /// Where time runs out while something fails, what fails is the reason.
    fn blame(&mut self, fault: Fault) -> Fault {
        match self.patience.trouble() {
            Some(trouble) if fault.kind() == Kind::OutOfTime => fault.because(trouble.explain()),
            _ => fault,
        }
    }

    pub fn report(&self, result: Result<Status, Fault>) -> Report {
        let mut waiting = Vec::new();
        if let Some(plan) = &self.planned {
            let Plan { register, evict, waiting: waits } = plan;
            if self.mode != Mode::DryRun {
                waiting.extend(
                    register.iter().map(|target| format!("{target} is not listed as registered yet")),
                );
                waiting.extend(evict.iter().map(|target| format!("{target} is still listed as registered")));
            }
            waiting.extend(waits.iter().map(|(target, waits)| format!("{target} {waits}")));
        }
        let (status, error) = match result {
            Ok(status) => (status, None),
            Err(fault) => (Status::Failed, Some(fault.explain())),
        };
        match &error {
            Some(reason) => say!(error, self.binding, "fail", reason = %reason, "the binding failed"),
            None => say!(debug, self.binding, "end", status = ?status, "done"),
        }
        let writer = self.sight.answer.iter().flat_map(|answer| answer.writer.addresses());
        Report {
            endpoint: self.binding.endpoint.clone(),
            target_group: self.binding.target_group.clone(),
            status,
            writer: writer.map(|address| address.to_string()).collect(),
            registered: self.changes.registered.clone(),
            evicted: self.changes.evicted.clone(),
            waiting,
            error,
            elapsed_ms: millis(self.patience.elapsed()),
            follow_ms: self.follow.map(millis),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
