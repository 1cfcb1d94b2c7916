//! Which of many groups an invocation lists.
//!
//! Lookups are cheap, listings are not: an account may make ten a second, and shares them with everybody's
//! deployments. So a check looks every endpoint up, and lists the groups whose endpoint has moved since
//! they were last found in sync, and of the others those for which that was longest ago: as many as it
//! takes to list each within the verification period, spread evenly, and a score at least, so that a few
//! groups are all listed by every check.
//!
//! The invariant kept here: what is remembered decides which groups are listed, and nothing else. A
//! function that remembers nothing lists them all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt, future};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use crate::budget::Pace;
use crate::config::{Binding, Config};
use crate::fault::{Fault, Kind};
use crate::plan::Family;
use crate::reconcile::{
    Answer, Call, Clusters, Dns, Mode, Nominations, Report, Roster, Status, TargetGroups, Urgency, World,
    reconcile,
};

/// How many groups a check lists at least, if there are as many: with the routine calls' default rate, as
/// many as it may list at once.
const FLOOR: usize = 20;
/// How much of the verification period is planned with; the rest is for checks that come late.
const PLANNED: f64 = 0.9;
/// How long a check goes on to begin listings. The next one comes within the minute and goes on from there.
pub const BOX: Duration = Duration::from_secs(45);
/// How often a watch looks after the bindings that it is not about. A zone's failure moves many databases
/// at once, and their own events may wait for a function that is free.
pub const PATROL: Duration = Duration::from_secs(1);
/// How long a patrol leaves a binding alone that it could not bring into sync.
const AGAIN: Duration = Duration::from_secs(5);
/// Lookups per second, below the 1,024 packets that a network interface may send to the VPC's resolver
/// (VPC user guide, "DNS quotas"); the polls of watches come on top.
const LOOKUPS: f64 = 400.0;
/// Lookups at once: each has a socket of its own, and a function may open 1,024 files (Lambda quotas).
const LOOKUPS_AT_ONCE: usize = 64;

/// Which bindings an invocation looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, with their groups: somebody asked for it.
    Whole,
    /// All of them. The list of groups may have been read just now, which has used up part of what
    /// routine calls may take.
    Check {
        /// Whether it was.
        relisted: bool,
    },
    /// All of them, beside a watch, which comes first.
    Patrol,
}

/// What a warm function remembers of its groups.
pub struct Fleet {
    period: Duration,
    /// By target group.
    memory: RefCell<BTreeMap<String, Seen>>,
    /// The target groups that are being looked at.
    busy: RefCell<BTreeSet<String>>,
    /// How many bindings have moved, and are being followed.
    repairs: Cell<usize>,
    passed: Cell<Option<Instant>>,
    /// How many groups' turn it is by now, in fractions.
    due: Cell<f64>,
    lookups: Pace,
    at_once: Semaphore,
}

/// How a group was when it was last seen.
enum Seen {
    InSync(Rc<Verified>),
    /// Something was left to do, this urgent, and this was when.
    Amiss(Urgency, Instant),
    /// DNS gave no answer: there is nothing to go on with before the next check.
    Unresolved,
}

/// A group that was found in sync.
struct Verified {
    binding: Binding,
    writer: Vec<String>,
    /// The names of its readers.
    roster: Roster,
    at: Cell<Instant>,
}

/// What is to be done about which binding, by index.
#[derive(Default)]
struct Tour {
    /// Not known to be in sync: to be listed when it is their turn.
    list: Vec<usize>,
    /// Not brought into sync a moment ago: to be taken up again at once.
    again: Vec<(usize, Option<Urgency>)>,
    /// To be looked up; the first so many of them to be listed all the same.
    compare: Vec<(usize, Rc<Verified>)>,
    due: usize,
}

impl Fleet {
    /// Remembers nothing yet.
    pub fn new(config: &Config) -> Self {
        Self {
            period: config.verify,
            memory: RefCell::default(),
            busy: RefCell::default(),
            repairs: Cell::new(0),
            passed: Cell::new(None),
            due: Cell::new(0.0),
            lookups: Pace::new(LOOKUPS_AT_ONCE as f64, LOOKUPS),
            at_once: Semaphore::new(LOOKUPS_AT_ONCE),
        }
    }

    /// Looks at the bindings once, and repairs what can be repaired.
    pub async fn pass<D: Dns, T: TargetGroups, C: Clusters>(
        &self,
        world: &World<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        scope: Scope,
        deadline: Instant,
    ) -> Vec<Report> {
        let Tour { list, again, compare, due } = self.sort_out(bindings, scope);
        let until = match scope {
            Scope::Whole => deadline,
            Scope::Check { .. } => deadline.min(Instant::now() + BOX),
            // What is routine waits for a quieter time.
            Scope::Patrol => deadline.min(Instant::now() + PATROL),
        };
        let reports = RefCell::new(BTreeMap::new());
        let run = async |index: usize, urgency| {
            let Some(binding) = bindings.get(index) else { return };
            let Some(_busy) = Busy::new(&self.busy, binding) else { return };
            let closed = Nominations::Closed;
            // Boxed, because most bindings need none of it.
            let running = Box::pin(reconcile(world, binding, config.pace, mode, &closed, urgency, deadline));
            let report = running.await;
            self.remember(binding, &report);
            reports.borrow_mut().insert(index, report);
        };
        let (line, in_line) = mpsc::unbounded_channel();
        // It is read to its end below: nothing that is sent is lost.
        let queue = move |index| line.send(index).unwrap_or_default();
        list.into_iter().for_each(&queue);
        let repairing = stream::iter(again).for_each_concurrent(None, |(index, urgency)| run(index, urgency));
        let comparing = async {
            let compare = stream::iter(compare.into_iter().enumerate());
            let each = compare.for_each_concurrent(None, async |(place, (index, verified))| {
                let Some(report) = self.compare(world, &verified, scope, deadline).await else {
                    // It has moved: a failover was missed.
                    let _repair = Repair::new(&self.repairs);
                    return run(index, Some(Urgency::Failover)).await;
                };
                let is_due = place < due && report.status == Status::InSync;
                reports.borrow_mut().insert(index, report);
                if is_due {
                    queue(index);
                }
            });
            each.await;
            drop(queue);
        };
        let in_line = stream::unfold(in_line, async |mut line| Some((line.recv().await?, line)));
        // One after the other gets its turn; then they go on side by side.
        let turns = in_line.then(async |index| {
            let turn = world.groups.turn(Urgency::Routine, Call::Describe);
            (index, timeout_at(until, turn).await.is_ok())
        });
        let listing = turns.for_each_concurrent(None, async |(index, has_turn)| {
            if has_turn {
                run(index, None).await;
            } else if let Some(binding) = bindings.get(index).filter(|_| scope != Scope::Patrol) {
                // One that was looked up is in sync, as far as that tells.
                reports.borrow_mut().entry(index).or_insert_with(|| put_off(binding));
            }
        });
        future::join3(repairing, comparing, listing).await;
        reports.into_inner().into_values().collect()
    }

    /// Looks after the bindings until that is over, now and then, whatever became of the time before. Tells
    /// of those that it changed.
    pub async fn patrol<D: Dns, T: TargetGroups, C: Clusters>(
        &self,
        world: &World<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        deadline: Instant,
        over: &Notify,
    ) -> Vec<Report> {
        let mut found = BTreeMap::new();
        let mut passes = FuturesUnordered::new();
        let mut ticks = interval_at(Instant::now() + PATROL, PATROL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_over = false;
        // While some are being followed, others may move as well: their own events may still be waiting.
        while !is_over || self.repairs.get() > 0 {
            tokio::select! {
                () = over.notified(), if !is_over => is_over = true,
                _ = ticks.tick() => {
                    passes.push(self.pass(world, bindings, config, mode, Scope::Patrol, deadline));
                }
                Some(reports) = passes.next(), if !passes.is_empty() => {
                    reports.into_iter().for_each(|report| add(&mut found, report));
                }
            }
        }
        // What was begun is brought to its end.
        passes.concat().await.into_iter().for_each(|report| add(&mut found, report));
        found.into_values().collect()
    }

    /// Remembers how a binding's group was found.
    pub fn remember(&self, binding: &Binding, report: &Report) {
        let seen = match report.status {
            Status::InSync | Status::Updated => Seen::InSync(Rc::new(Verified {
                binding: binding.clone(),
                writer: report.writer.clone(),
                roster: Roster::default(),
                at: Cell::new(Instant::now()),
            })),
            Status::Failed if report.writer.is_empty() => Seen::Unresolved,
            Status::Failed => Seen::Amiss(Urgency::Failover, Instant::now()),
            Status::Pending | Status::Planned => Seen::Amiss(Urgency::Tidy, Instant::now()),
        };
        self.memory.borrow_mut().insert(binding.target_group.clone(), seen);
    }

    /// Forgets a binding, so that the next check lists its group.
    pub fn forget(&self, binding: &Binding) {
        self.memory.borrow_mut().remove(&binding.target_group);
    }

    fn sort_out(&self, bindings: &[Binding], scope: Scope) -> Tour {
        let mut memory = self.memory.borrow_mut();
        if scope != Scope::Patrol {
            let bound: BTreeSet<&str> = bindings.iter().map(|binding| &*binding.target_group).collect();
            memory.retain(|group, _| bound.contains(group.as_str()));
        }
        let (mut tour, mut amiss) = (Tour::default(), Vec::new());
        let busy = self.busy.borrow();
        let is_free = |binding: &Binding| scope != Scope::Patrol || !busy.contains(&binding.target_group);
        for (index, binding) in bindings.iter().enumerate().filter(|(_, binding)| is_free(binding)) {
            match memory.get(&binding.target_group) {
                _ if scope == Scope::Whole => tour.list.push(index),
                Some(Seen::InSync(verified)) if verified.binding == *binding => {
                    tour.compare.push((index, Rc::clone(verified)));
                }
                Some(Seen::Amiss(urgency, at)) if scope == Scope::Patrol => {
                    if at.elapsed() >= AGAIN {
                        tour.again.push((index, Some(*urgency)));
                    }
                }
                Some(Seen::Unresolved) if scope == Scope::Patrol => {}
                // So few are listed by the next check at once.
                _ if scope == Scope::Patrol && bindings.len() <= FLOOR => {}
                // A few at once; many that stay amiss from check to check must not crowd out everybody else.
                Some(Seen::Amiss(urgency, _)) if tour.again.len() < FLOOR => {
                    tour.again.push((index, Some(*urgency)))
                }
                Some(Seen::Amiss(..)) => amiss.push(index),
                Some(Seen::InSync(_) | Seen::Unresolved) | None => tour.list.push(index),
            }
        }
        tour.list.splice(0..0, amiss);
        // Those whose turn it is are the ones that were longest ago.
        tour.compare.sort_by_key(|(_, verified)| verified.at.get());
        tour.due = self.share(bindings.len(), scope).min(tour.compare.len());
        if bindings.len() <= FLOOR && scope != Scope::Patrol {
            // So few need no line and no turn: all of them are due, and listing one looks it up as well.
            let all = (0..bindings.len()).map(|index| (index, None)).collect();
            return Tour { again: all, ..Tour::default() };
        }
        tour
    }

    /// How many groups, of those that were in sync, it takes to list each within the period.
    fn share(&self, bindings: usize, scope: Scope) -> usize {
        let now = Instant::now();
        let elapsed = self.passed.replace(Some(now)).map_or(Duration::ZERO, |passed| now - passed);
        let planned = self.period.mul_f64(PLANNED).as_secs_f64();
        let due = self.due.get() + bindings as f64 * elapsed.as_secs_f64() / planned;
        let share = match scope {
            Scope::Whole => bindings,
            Scope::Check { relisted: false } => FLOOR.max(due as usize),
            Scope::Check { relisted: true } => FLOOR,
            Scope::Patrol => due as usize,
        };
        // A patrol keeps the fractions. A check that leaves some out makes up for them by what is planned.
        self.due.set(if scope == Scope::Patrol { due.fract() } else { 0.0 });
        share
    }

    /// Looks up a binding whose group was in sync, and tells how it stands, or nothing if it has moved.
    async fn compare<D: Dns, T: TargetGroups, C: Clusters>(
        &self,
        world: &World<D, T, C>,
        verified: &Verified,
        scope: Scope,
        deadline: Instant,
    ) -> Option<Report> {
        let Verified { binding, writer, roster, .. } = verified;
        let _busy = Busy::new(&self.busy, binding);
        let looking = async {
            let _one = self.at_once.acquire().await;
            let group = world.groups.describe(&binding.target_group).await?;
            let dns = Paced { dns: &world.dns, pace: &self.lookups };
            roster.resolve(&dns, &world.clusters, binding, group.family, self.period).await
        };
        let answer = timeout_at(deadline, looking).await.unwrap_or_else(|_| {
            let doing = format!("look {} up before the invocation's time ran out", binding.endpoint);
            Err(Fault::new(Kind::OutOfTime, doing).cure("raise the function's time-out"))
        });
        if answer.is_err() {
            // To the end of the line, so that names that are gone do not keep the others from their turn.
            verified.at.set(Instant::now());
        }
        match answer {
            Ok(answer) if addresses(&answer) == *writer => Some(in_sync(binding, &answer)),
            Ok(_) => None,
            // The next check tells of it, if it stays.
            Err(fault) if scope == Scope::Patrol => {
                say!(debug, binding, "look", reason = %fault.explain(), "leaves it to the next check");
                Some(Report::new(&binding.endpoint, &binding.target_group, Status::Pending))
            }
            Err(fault) => Some(Report::failed(binding, &fault)),
        }
    }
}

/// Adds what a pass found to what others did before it, by target group. One that nothing was done to tells
/// nothing new.
fn add(found: &mut BTreeMap<String, Report>, mut report: Report) {
    let before = found.remove(&report.target_group);
    let was_changed = before.is_some();
    if let Some(Report { writer, registered, evicted, elapsed_ms, follow_ms, .. }) = before {
        if report.writer.is_empty() {
            report.writer = writer;
        }
        report.registered.extend(registered);
        report.evicted.extend(evicted);
        report.elapsed_ms += elapsed_ms;
        report.follow_ms = report.follow_ms.max(follow_ms);
    }
    if was_changed && report.status == Status::InSync {
        report.status = Status::Updated;
    }
    if !report.registered.is_empty() || !report.evicted.is_empty() {
        found.insert(report.target_group.clone(), report);
    }
}

/// A name server that is asked no faster than this.
struct Paced<'a, D> {
    dns: &'a D,
    pace: &'a Pace,
}

impl<D: Dns> Dns for Paced<'_, D> {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Answer, Fault> {
        self.pace.turn().await;
        self.dns.resolve(endpoint, family).await
    }
}

/// Marks a group that is being looked at, for as long as that takes.
struct Busy<'a>(&'a RefCell<BTreeSet<String>>, String);

impl<'a> Busy<'a> {
    /// Nothing where somebody else looks at it already.
    fn new(busy: &'a RefCell<BTreeSet<String>>, binding: &Binding) -> Option<Self> {
        let group = binding.target_group.clone();
        busy.borrow_mut().insert(group.clone()).then(|| Self(busy, group))
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
    }
}

/// Counts a binding that is being followed, for as long as that takes.
struct Repair<'a>(&'a Cell<usize>);

impl<'a> Repair<'a> {
    fn new(repairs: &'a Cell<usize>) -> Self {
        repairs.set(repairs.get() + 1);
        Self(repairs)
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.writer.addresses().map(|address| address.to_string()).collect()
}

/// A binding whose endpoint has not moved since its group was found in sync.
fn in_sync(binding: &Binding, answer: &Answer) -> Report {
    Report {
        writer: addresses(answer),
        ..Report::new(&binding.endpoint, &binding.target_group, Status::InSync)
    }
}

/// A binding that no time is left for.
fn put_off(binding: &Binding) -> Report {
    let waiting = "is compared with its group by the next check: there are many, and the load balancing API's \
                   limits are shared with the whole account";
    Report {
        waiting: vec![waiting.to_owned()],
        ..Report::new(&binding.endpoint, &binding.target_group, Status::Pending)
    }
}
