//! One reconciliation under way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::evidence;
use super::patience::{Ending, Next, Patience, Pause, Stage};
use super::sight::{Look, Sight};
use super::{
    Answer, Clusters, Dns, Mode, OBJECTION, OPINION, Pace, Report, SETTLE, Status, TargetGroups, World,
};
use crate::config::Binding;
use crate::fault::{Fault, Kind};
use crate::plan::{Evidence, Plan, State, Targets, active, list, outcome};

/// What is done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Register,
    Evict,
}

impl Change {
    /// Whether a listing shows the change.
    fn shows(self, target: &SocketAddr, targets: &Targets) -> bool {
        (targets.get(target) == Some(&State::Active)) == (self == Self::Register)
    }
}

/// A change that a listing may not show yet.
struct Unseen {
    change: Change,
    at: Instant,
    /// Whether the API has accepted it. Even a failed call may have taken effect.
    accepted: bool,
    /// Whether a listing has shown it. The next one may be older than that again.
    shown: bool,
}

/// What the RDS API said of an answer.
struct Opinion {
    of: Answer,
    objects: bool,
    at: Instant,
}

/// How things stood at the first complete look.
struct First {
    wanted: BTreeSet<SocketAddr>,
    active: BTreeSet<SocketAddr>,
}

/// One reconciliation under way.
pub(super) struct Run<'a, D, T, C> {
    binding: &'a Binding,
    mode: Mode,
    patience: Patience,
    sight: Sight<'a, D, T, C>,
    opinion: Option<Opinion>,
    first: Option<First>,
    /// The last plan.
    planned: Option<Plan>,
    unseen: BTreeMap<SocketAddr, Unseen>,
    registered: BTreeSet<SocketAddr>,
    evicted: BTreeSet<SocketAddr>,
    follow: Option<Duration>,
    /// What the log has been told: a state that comes back is no news.
    told: BTreeSet<String>,
}

impl<'a, D: Dns, T: TargetGroups, C: Clusters> Run<'a, D, T, C> {
    pub fn new(
        world: &'a World<D, T, C>,
        binding: &'a Binding,
        pace: Pace,
        mode: Mode,
        deadline: Instant,
    ) -> Self {
        Self {
            binding,
            mode,
            patience: Patience::new(mode, pace, deadline),
            sight: Sight::new(world, binding, pace, deadline),
            opinion: None,
            first: None,
            planned: None,
            unseen: BTreeMap::new(),
            registered: BTreeSet::new(),
            evicted: BTreeSet::new(),
            follow: None,
            told: BTreeSet::new(),
        }
    }

    /// Follows DNS until there is nothing left to do, or no time or patience left to do it.
    pub async fn follow(&mut self) -> Result<Status, Fault> {
        loop {
            let pause = match self.step().await {
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
        let Look { answer, targets, port } = self.sight.look(false).await?;
        let outcome = |evidence| outcome(&answer.writer, port, &targets, evidence);
        let mut plan = outcome(Evidence::Confirmed);
        if plan != outcome(Evidence::Unconfirmed) && self.ask_rds(&answer).await {
            plan = outcome(Evidence::Contradicted);
        }
        say!(info, self.binding, "plan", plan = %plan, "plans, and changes nothing");
        let status = if plan.is_empty() { Status::InSync } else { Status::Planned };
        self.registered.clone_from(&plan.register);
        self.evicted.clone_from(&plan.evict);
        self.planned = Some(plan);
        Ok(status)
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
            Err(fault) => return Err((Stage::Look, fault)),
        };
        self.recovered(Stage::Look);
        self.compare(&look, rests);
        let look = self.doubt(look);
        let evidence = self.evidence(&look).await;
        let plan = look.plan(evidence);
        self.remember(&plan, evidence);
        if !self.still_wants_what_failed(&look, &plan) {
            self.recovered(Stage::Change);
        }
        let next = self.act(&look, &plan, evidence).await.map_err(|fault| (Stage::Change, fault))?;
        if next == Next::Changed {
            self.recovered(Stage::Change);
        }
        Ok(next)
    }

    /// Makes the plan's next change: registers first, evicts when there is nothing to register.
    async fn act(&mut self, look: &Look, plan: &Plan, evidence: Evidence) -> Result<Next, Fault> {
        if self.patience.rests() {
            return Ok(Next::Poll);
        }
        let register = self.left_to_do(Change::Register, &plan.register);
        if !register.is_empty() {
            self.register(register).await?;
            return Ok(Next::Changed);
        }
        let evict = self.left_to_do(Change::Evict, &plan.evict);
        if !evict.is_empty() {
            self.evict(evict).await?;
            return Ok(Next::Changed);
        }
        if evidence == Evidence::Outdated {
            return Ok(Next::Again);
        }
        let is_done = self.mode == Mode::Check || (self.has_followed(look) && self.sight.is_steady());
        Ok(if plan.is_empty() && is_done { Next::End } else { Next::Poll })
    }

    /// Whether DNS has moved since the failover began, as far as this run can tell: what a watch stays
    /// for. Either the writer was not in the group at first, or it was the other one that was. A name
    /// that only flickered to a newcomer and back has not moved yet.
    fn has_followed(&self, look: &Look) -> bool {
        let wanted = look.wanted();
        self.first.as_ref().is_some_and(|first| {
            !wanted.is_subset(&first.active)
                || (first.wanted.is_subset(&first.active) && wanted != first.wanted)
        })
    }

    /// Compares the look with the first one, and with the changes that none has shown so far.
    fn compare(&mut self, look: &Look, rests: bool) {
        self.first
            .get_or_insert_with(|| First { wanted: look.wanted(), active: active(&look.targets).collect() });
        if rests {
            // The listing may be older than the changes.
            return;
        }
        for (target, unseen) in &mut self.unseen {
            if unseen.shown || !unseen.change.shows(target, &look.targets) {
                continue;
            }
            unseen.shown = true;
            // What was not accepted, but took effect, is this run's work all the same.
            match unseen.change {
                Change::Register => self.registered.insert(*target),
                Change::Evict => self.evicted.insert(*target),
            };
        }
    }

    /// Counts the writer as draining where this run evicted it a moment ago, whatever the listing
    /// says: it may be older than the eviction, and evicting the others by it would leave nobody.
    fn doubt(&self, mut look: Look) -> Look {
        for target in look.wanted() {
            let was_evicted =
                |unseen: &Unseen| unseen.change == Change::Evict && unseen.at.elapsed() < SETTLE;
            if self.unseen.get(&target).is_some_and(was_evicted)
                && let Some(state) = look.targets.get_mut(&target)
            {
                *state = State::Draining;
            }
        }
        look
    }

    /// Whether the plan still is for a change that failed.
    fn still_wants_what_failed(&self, look: &Look, plan: &Plan) -> bool {
        let (wanted, Plan { register, evict, waiting }) = (look.wanted(), plan);
        self.unseen.iter().filter(|(_, unseen)| !unseen.accepted && !unseen.shown).any(|(target, unseen)| {
            let is_planned =
                register.contains(target) || evict.contains(target) || waiting.contains_key(target);
            is_planned && wanted.contains(target) == (unseen.change == Change::Register)
        })
    }

    /// How sure DNS's answer is. An eviction acts only on a look that is fresh when all else is settled.
    async fn evidence(&mut self, look: &Look) -> Evidence {
        if !self.sight.is_steady() {
            return Evidence::Unconfirmed;
        }
        if look.plan(Evidence::Unconfirmed) == look.plan(Evidence::Confirmed) {
            // Nothing hangs on it, so the RDS API need not be asked.
            return Evidence::Confirmed;
        }
        if self.patience.rests() {
            return Evidence::Outdated;
        }
        let objects = match &self.opinion {
            Some(Opinion { of, objects, at }) if *of == look.answer && at.elapsed() < OPINION => *objects,
            _ => {
                let objects = self.ask_rds(&look.answer).await;
                self.opinion = Some(Opinion { of: look.answer.clone(), objects, at: Instant::now() });
                if !objects {
                    // What may now be done needs a look that is younger than the question.
                    self.sight.look_afresh();
                }
                objects
            }
        };
        if objects {
            return Evidence::Contradicted;
        }
        if !self.sight.is_fresh() {
            self.sight.look_afresh();
            return Evidence::Outdated;
        }
        Evidence::Confirmed
    }

    /// Whether the RDS API names another writer than DNS. It can veto, never command: where it does
    /// not know the cluster, may not be asked or does not answer in time, it does not object.
    async fn ask_rds(&mut self, answer: &Answer) -> bool {
        let Some(member) = evidence::member(answer) else { return false };
        let identifier = evidence::cluster_identifier(self.binding, answer);
        let asking = async {
            timeout(OBJECTION, self.sight.world.clusters.cluster(&identifier)).await.unwrap_or_else(|_| {
                Err(Fault::new(Kind::Transient, "ask the RDS API").because("no answer in time"))
            })
        };
        match self.sight.bounded("ask the RDS API", asking).await {
            Ok(None) => false,
            Ok(Some(cluster)) => {
                let Some(other) = cluster.contradicts(member) else { return false };
                if self.is_news(format!("veto {member} {other}")) {
                    let reason = "the RDS API names another writer than DNS";
                    say!(info, self.binding, "veto", dns = member, rds = other, reason, "evicts nobody");
                }
                true
            }
            Err(fault) => {
                let reason = fault.explain();
                if self.is_news(reason.clone()) {
                    say!(warn, self.binding, "no_veto", reason = %reason, "goes on without the RDS API");
                }
                false
            }
        }
    }

    /// Leaves out what the API accepted a moment ago: a listing may take a while to show it.
    fn left_to_do(&self, change: Change, targets: &BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
        let is_done = |target: &SocketAddr| {
            self.unseen.get(target).is_some_and(|unseen| {
                let is_recent = unseen.at.elapsed() < SETTLE;
                unseen.change == change && unseen.accepted && !unseen.shown && is_recent
            })
        };
        targets.iter().copied().filter(|target| !is_done(target)).collect()
    }

    async fn register(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let reason = "DNS names it as the writer";
        say!(info, self.binding, "register", targets = %list(&targets), reason, "registers");
        let registering = self.sight.world.groups.register(&self.binding.target_group, &targets);
        let result = self.sight.bounded("register the writer", registering).await;
        self.changed(Change::Register, &targets, result)?;
        self.registered.extend(targets);
        self.follow = self.follow.max(self.sight.known_for());
        Ok(())
    }

    async fn evict(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let reason = "DNS has confirmed the writer, which is registered";
        say!(info, self.binding, "evict", targets = %list(&targets), reason, "deregisters");
        let deregistering = self.sight.world.groups.deregister(&self.binding.target_group, &targets);
        let result = self.sight.bounded("deregister stale targets", deregistering).await;
        self.changed(Change::Evict, &targets, result)?;
        self.evicted.extend(targets);
        Ok(())
    }

    fn changed(
        &mut self,
        change: Change,
        targets: &BTreeSet<SocketAddr>,
        result: Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (at, accepted, shown) = (Instant::now(), result.is_ok(), false);
        self.unseen.extend(targets.iter().map(|target| (*target, Unseen { change, at, accepted, shown })));
        self.sight.look_afresh();
        result
    }

    /// Keeps the plan, and logs it where it is news.
    fn remember(&mut self, plan: &Plan, evidence: Evidence) {
        // That a look is not fresh enough is a matter of the next one, as a rule.
        if !plan.is_empty() && evidence != Evidence::Outdated && self.is_news(plan.to_string()) {
            say!(info, self.binding, "plan", plan = %plan, "plans");
        }
        self.planned = Some(plan.clone());
    }

    fn is_news(&mut self, what: String) -> bool {
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
            self.planned = Some(seen.plan(Evidence::Unconfirmed));
        }
        Ok(match &self.planned {
            Some(plan) if !plan.is_empty() => Status::Pending,
            _ if self.registered.is_empty() && self.evicted.is_empty() => Status::InSync,
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
            say!(info, self.binding, "recovered", "what failed before works again");
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
            registered: self.registered.clone(),
            evicted: self.evicted.clone(),
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
