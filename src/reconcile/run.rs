//! One reconciliation under way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::evidence;
use super::sight::{Look, Sight};
use super::{
    Answer, Clusters, Dns, Mode, OBJECTION, OPINION, Pace, Report, SETTLE, Status, TargetGroups, World,
};
use crate::config::Binding;
use crate::fault::{Fault, Kind};
use crate::plan::{Evidence, Plan, State, Waits, list, outcome};

/// How many rounds a check adds when the API fails, after the SDK's own retries.
const ROUNDS: u32 = 2;
/// How often the loop goes round without a pause: register, look, ask, look, evict, look, and some.
const HURRIES: u32 = 8;

/// What the loop does next.
enum Next {
    /// Looks again at once: something was changed or learnt.
    Look,
    /// Looks again after the poll interval.
    Poll,
    /// Stops.
    End,
}

/// What is done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Register,
    /// Sent, but not known to have succeeded.
    PerhapsEvict,
    Evict,
}

/// What the RDS API said of an answer.
struct Opinion {
    of: Answer,
    objects: bool,
    at: Instant,
}

/// One reconciliation under way.
pub(super) struct Run<'a, D, T, C> {
    binding: &'a Binding,
    pace: Pace,
    mode: Mode,
    started: Instant,
    deadline: Instant,
    sight: Sight<'a, D, T, C>,
    opinion: Option<Opinion>,

    /// Whether a new writer was seen in this run: what a watch stays for.
    followed: bool,
    /// The last plan.
    planned: Option<Plan>,
    /// What this run last did to each target, and when.
    applied: BTreeMap<SocketAddr, (Change, Instant)>,
    registered: BTreeSet<SocketAddr>,
    evicted: BTreeSet<SocketAddr>,

    waiting_since: Option<Instant>,
    hurries: u32,
    rounds: u32,
    /// The failure that is being tried again.
    trouble: Option<Fault>,
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
            pace,
            mode,
            started: Instant::now(),
            deadline,
            sight: Sight::new(world, binding, deadline),
            opinion: None,
            followed: false,
            planned: None,
            applied: BTreeMap::new(),
            registered: BTreeSet::new(),
            evicted: BTreeSet::new(),
            waiting_since: None,
            hurries: 0,
            rounds: 0,
            trouble: None,
        }
    }

    /// Follows DNS until there is nothing left to do, or no time or patience left to do it.
    pub async fn follow(&mut self) -> Result<Status, Fault> {
        loop {
            let pause = match self.step().await {
                Ok(next) => {
                    self.recovered();
                    match next {
                        Next::End => return Ok(self.status()),
                        Next::Look if self.hurries < HURRIES => {
                            self.hurries += 1;
                            continue;
                        }
                        Next::Look | Next::Poll => {}
                    }
                    if self.waited_enough() {
                        return Ok(self.status());
                    }
                    self.pace.poll
                }
                Err(fault) => match self.backoff(&fault) {
                    Some(pause) => {
                        self.note(fault);
                        pause
                    }
                    None => return Err(self.blame(fault)),
                },
            };
            if let Some(result) = self.time_is_up(pause) {
                return result;
            }
            self.hurries = 0;
            sleep(pause).await;
        }
    }

    /// Looks once, and says what following DNS would change.
    pub async fn rehearse(&mut self) -> Result<Status, Fault> {
        let Look { answer, targets, port } = self.sight.look().await?;
        let mut plan = outcome(&answer.writer, port, &targets);
        if !plan.evict.is_empty() && self.ask_rds(&answer).await {
            let vetoed = std::mem::take(&mut plan.evict);
            plan.waiting.extend(vetoed.into_iter().map(|target| (target, Waits::EvictionForAgreement)));
        }
        say!(info, self.binding, "plan", plan = %plan, "plans, and changes nothing");
        let status = if plan.is_empty() { Status::InSync } else { Status::Planned };
        self.registered.clone_from(&plan.register);
        self.evicted.clone_from(&plan.evict);
        self.planned = Some(plan);
        Ok(status)
    }

    /// Observes, plans, and makes at most one change.
    async fn step(&mut self) -> Result<Next, Fault> {
        let look = match self.sight.look().await {
            Ok(look) => self.doubt(look),
            // Cut short between two looks, the last complete one stands.
            Err(cut) if cut.kind() == Kind::OutOfTime && self.planned.is_some() && self.trouble.is_none() => {
                return Ok(Next::End);
            }
            Err(fault) => return Err(fault),
        };
        let Some(evidence) = self.evidence(&look).await else {
            return Ok(Next::Look);
        };
        let plan = look.plan(evidence);
        self.remember(&look, &plan);
        self.act(&plan).await
    }

    /// Makes the plan's next change: registers first, evicts when there is nothing to register.
    async fn act(&mut self, plan: &Plan) -> Result<Next, Fault> {
        let register = self.unapplied(Change::Register, &plan.register);
        if !register.is_empty() {
            self.register(register).await?;
            return Ok(Next::Look);
        }
        let evict = self.unapplied(Change::Evict, &plan.evict);
        if !evict.is_empty() {
            self.evict(evict).await?;
            return Ok(Next::Look);
        }
        let is_done = match self.mode {
            Mode::Watch => (self.followed || self.sight.ever_moved) && self.sight.is_steady(self.pace),
            Mode::Check | Mode::DryRun => true,
        };
        Ok(if plan.is_empty() && is_done { Next::End } else { Next::Poll })
    }

    /// How sure DNS's answer is, or `None` where another look must come first: an eviction acts only
    /// on a look that is fresh when everything else is settled.
    async fn evidence(&mut self, look: &Look) -> Option<Evidence> {
        if !self.sight.is_steady(self.pace) {
            return Some(Evidence::Unconfirmed);
        }
        if look.plan(Evidence::Unconfirmed) == look.plan(Evidence::Confirmed) {
            // Nothing hangs on it, so the RDS API need not be asked.
            return Some(Evidence::Confirmed);
        }
        match &self.opinion {
            Some(opinion) if opinion.of == look.answer && opinion.at.elapsed() < OPINION => {
                if opinion.objects {
                    return Some(Evidence::Contradicted);
                }
            }
            _ => {
                let objects = self.ask_rds(&look.answer).await;
                self.opinion = Some(Opinion { of: look.answer.clone(), objects, at: Instant::now() });
                self.sight.look_afresh();
                return None;
            }
        }
        if !self.sight.is_fresh() {
            self.sight.look_afresh();
            return None;
        }
        Some(Evidence::Confirmed)
    }

    /// Whether the RDS API names another writer than DNS. It can veto, never command: where it does
    /// not know the cluster, may not be asked or does not answer in time, it does not object.
    async fn ask_rds(&self, answer: &Answer) -> bool {
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
                say!(
                    info,
                    self.binding,
                    "veto",
                    dns = member,
                    rds = other,
                    "the RDS API names another writer"
                );
                true
            }
            Err(fault) => {
                say!(warn, self.binding, "no_veto", reason = %fault.explain(), "goes on without the RDS API");
                false
            }
        }
    }

    /// Counts the writer as draining where this run evicted it a moment ago, whatever the listing
    /// says: it may be older than the eviction, and evicting the others by it would leave nobody.
    fn doubt(&self, mut look: Look) -> Look {
        for target in look.wanted() {
            if matches!(self.lately(target), Some(Change::Evict | Change::PerhapsEvict))
                && let Some(state) = look.targets.get_mut(&target)
            {
                *state = State::Draining;
            }
        }
        look
    }

    /// Leaves out what this run did a moment ago: the API may take a while to show it.
    fn unapplied(&self, change: Change, targets: &BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
        targets.iter().copied().filter(|target| self.lately(*target) != Some(change)).collect()
    }

    /// What this run did to a target so lately that a listing may not show it yet.
    fn lately(&self, target: SocketAddr) -> Option<Change> {
        let (change, at) = self.applied.get(&target)?;
        (at.elapsed() < SETTLE).then_some(*change)
    }

    fn keep(&mut self, change: Change, targets: &BTreeSet<SocketAddr>) {
        self.applied.extend(targets.iter().map(|target| (*target, (change, Instant::now()))));
    }

    async fn register(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let reason = "DNS names it as the writer";
        say!(info, self.binding, "register", targets = %list(&targets), reason, "registers");
        let registering = self.sight.world.groups.register(&self.binding.target_group, &targets);
        let result = self.sight.bounded("register the writer", registering).await;
        // Even a failed call may have taken effect.
        self.sight.look_afresh();
        result?;
        self.keep(Change::Register, &targets);
        self.registered.extend(targets);
        Ok(())
    }

    async fn evict(&mut self, targets: BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let reason = "DNS has confirmed the writer, which is registered";
        say!(info, self.binding, "evict", targets = %list(&targets), reason, "deregisters");
        let deregistering = self.sight.world.groups.deregister(&self.binding.target_group, &targets);
        let result = self.sight.bounded("deregister stale targets", deregistering).await;
        self.sight.look_afresh();
        self.keep(if result.is_ok() { Change::Evict } else { Change::PerhapsEvict }, &targets);
        result?;
        self.evicted.extend(targets);
        Ok(())
    }

    /// Keeps the plan, and logs it where it has changed.
    fn remember(&mut self, look: &Look, plan: &Plan) {
        if self.planned.is_none() {
            // The failover came before our first look: following it is what the watch is for.
            let wanted = look.wanted();
            self.followed |= plan.register.iter().chain(plan.waiting.keys()).any(|t| wanted.contains(t));
        }
        if !plan.is_empty() && self.planned.as_ref() != Some(plan) {
            say!(info, self.binding, "plan", plan = %plan, "plans");
        }
        self.planned = Some(plan.clone());
    }

    fn status(&mut self) -> Status {
        // What was seen after the last plan counts as well: the time may have ended amid a look.
        if self.planned.as_ref().is_none_or(Plan::is_empty)
            && let Some(seen) = self.sight.seen()
        {
            self.planned = Some(seen.plan(Evidence::Unconfirmed));
        }
        match &self.planned {
            Some(plan) if !plan.is_empty() => Status::Pending,
            _ if self.registered.is_empty() && self.evicted.is_empty() => Status::InSync,
            _ => Status::Updated,
        }
    }

    /// Whether a check has waited as long as it may for a confirmation. A watch has its own patience.
    fn waited_enough(&mut self) -> bool {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        self.mode == Mode::Check && since.elapsed() >= 2 * self.pace.confirm
    }

    /// Ends the run where a pause would outlast the watch's patience or the invocation.
    fn time_is_up(&mut self, pause: Duration) -> Option<Result<Status, Fault>> {
        let then = Instant::now() + pause;
        let out_of_patience = self.mode == Mode::Watch && then >= self.started + self.pace.watch;
        if then < self.deadline && !out_of_patience {
            return None;
        }
        if !out_of_patience {
            let reason = "the invocation's time is over; the next one goes on";
            say!(
                info,
                self.binding,
                "stop",
                reason,
                patience_seconds = self.pace.watch.as_secs(),
                "ends early"
            );
        }
        Some(match self.trouble.take() {
            Some(fault) => Err(fault),
            None => Ok(self.status()),
        })
    }

    /// How long to wait before another try, or `None` where there is none.
    fn backoff(&mut self, fault: &Fault) -> Option<Duration> {
        match (self.mode, fault.kind()) {
            (Mode::DryRun, _) | (_, Kind::Permanent | Kind::OutOfTime) => return None,
            (Mode::Check, Kind::NoAnswer) => return None,
            (Mode::Watch, Kind::NoAnswer) => return Some(self.pace.poll),
            (Mode::Check, Kind::Transient) if self.rounds >= ROUNDS => return None,
            (Mode::Check | Mode::Watch, Kind::Transient) => {}
        }
        let ceiling = Duration::from_secs(1 << self.rounds.min(3));
        self.rounds += 1;
        // Half of it is jitter, so that watches that failed together do not return together.
        Some(ceiling.mul_f64(0.5 + 0.5 * fastrand::f64()))
    }

    /// Logs a failure that will be tried again, once for as long as it stays the same.
    fn note(&mut self, fault: Fault) {
        let reason = fault.explain();
        if self.trouble.as_ref().map(Fault::explain).as_ref() != Some(&reason) {
            say!(warn, self.binding, "retry", reason = %reason, "tries again");
        }
        self.trouble = Some(fault);
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            say!(info, self.binding, "recovered", "what failed before works again");
            // A check's rounds are all that it gets; a watch's backoff starts anew.
            self.rounds = if self.mode == Mode::Watch { 0 } else { self.rounds };
        }
    }

    /// Where time runs out while something fails, what fails is the reason.
    fn blame(&mut self, fault: Fault) -> Fault {
        match self.trouble.take() {
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
            elapsed_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
