//! Which of many groups an invocation lists.
//!
//! Lookups are cheap, listings are not: an account may make ten a second, and shares them with everybody's
//! deployments. So a check looks every endpoint up, and lists the groups whose endpoint has moved since
//! they were last found in sync, and of the others those that were longest ago: a score of them at least,
//! so that a few groups are all listed by every check, and of many as many as it takes to list each within
//! the verification period, spread evenly.
//!
//! The invariant kept here: what is remembered decides which groups are listed, and nothing else. A
//! function that remembers nothing lists them all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt, future};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use crate::budget::{self, Pace};
use crate::config::{Binding, Config};
use crate::fault::{Fault, Kind};
use crate::reconcile::{
    Answer, Clusters, Dns, Mode, Nominations, Report, Roster, Status, TargetGroups, Urgency, World, reconcile,
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
pub const PATROL: Duration = Duration::from_secs(5);
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
    /// Those that this function has seen before.
    Patrol,
}

/// What a warm function remembers of its groups.
pub struct Fleet {
    period: Duration,
    /// By target group; `None` for one that was not in sync when it was last seen.
    memory: RefCell<BTreeMap<String, Option<Rc<Verified>>>>,
    /// The target groups that are being looked at.
    busy: RefCell<BTreeSet<String>>,
    passed: Cell<Option<Instant>>,
    /// How fast listings are begun.
    starts: Pace,
    lookups: Pace,
    at_once: Semaphore,
}

/// A group that was found in sync.
struct Verified {
    binding: Binding,
    writer: Vec<String>,
    /// The names of its readers.
    roster: Roster,
    at: Instant,
}

/// What is to be done about which binding, by index.
#[derive(Default)]
struct Tour {
    list: Vec<usize>,
    compare: Vec<(usize, Rc<Verified>)>,
}

impl Fleet {
    /// Remembers nothing yet.
    pub fn new(config: &Config) -> Self {
        Self {
            period: config.verify,
            memory: RefCell::default(),
            busy: RefCell::default(),
            passed: Cell::new(None),
            starts: budget::routine(config.elb_calls),
            lookups: Pace::new(LOOKUPS, LOOKUPS),
            at_once: Semaphore::new(LOOKUPS_AT_ONCE),
        }
    }

    /// Looks at the bindings once, and repairs what can be repaired. A patrol tells only of what it
    /// changed.
    pub async fn pass<D: Dns, T: TargetGroups, C: Clusters>(
        &self,
        world: &World<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        scope: Scope,
        deadline: Instant,
    ) -> Vec<Report> {
        let Tour { list, compare } = self.sort_out(bindings, scope);
        let until = match scope {
            Scope::Whole => deadline,
            Scope::Check { .. } | Scope::Patrol => deadline.min(Instant::now() + BOX),
        };
        let reports = RefCell::new(BTreeMap::new());
        let bound = |index: usize| bindings.get(index);
        let keep = |index, report| drop(reports.borrow_mut().insert(index, report));
        let run = async |binding, urgency| {
            let closed = Nominations::Closed;
            // Boxed, because most bindings need none of it.
            let report =
                Box::pin(reconcile(world, binding, config.pace, mode, &closed, urgency, deadline)).await;
            self.remember(binding, &report);
            report
        };
        let begun = stream::iter(list)
            .then(async |index| (index, timeout_at(until, self.starts.turn()).await.is_ok()));
        let listing = begun.for_each_concurrent(None, async |(index, has_turn)| {
            let Some(binding) = bound(index) else { return };
            let _busy = Busy::new(&self.busy, binding);
            let report = if has_turn { run(binding, Urgency::Routine).await } else { put_off(binding) };
            keep(index, report);
        });
        let comparing = stream::iter(compare).for_each_concurrent(None, async |(index, verified)| {
            let Some(binding) = bound(index) else { return };
            let _busy = Busy::new(&self.busy, binding);
            let report = match self.look_up(world, &verified, deadline).await {
                Ok(answer) if addresses(&answer) == verified.writer => in_sync(binding, &answer),
                // It has moved: a failover was missed.
                Ok(_) => run(binding, Urgency::Failover).await,
                Err(fault) if scope == Scope::Patrol => {
                    let reason = fault.explain();
                    say!(debug, binding, "look", reason = %reason, "leaves it to the next check");
                    return;
                }
                Err(fault) => Report::failed(binding, &fault),
            };
            keep(index, report);
        });
        future::join(listing, comparing).await;
        let has_changed = |report: &Report| !report.registered.is_empty() || !report.evicted.is_empty();
        let reports = reports.into_inner().into_values();
        reports.filter(|report| scope != Scope::Patrol || has_changed(report)).collect()
    }

    /// Looks after the bindings until that is over: now and then, whatever became of the time before.
    pub async fn patrol<D: Dns, T: TargetGroups, C: Clusters>(
        &self,
        world: &World<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        deadline: Instant,
        over: &Notify,
    ) -> Vec<Report> {
        let mut found = Vec::new();
        let mut passes = FuturesUnordered::new();
        let mut ticks = interval_at(Instant::now() + PATROL, PATROL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = over.notified() => break,
                _ = ticks.tick() => passes.push(self.pass(world, bindings, config, mode, Scope::Patrol, deadline)),
                Some(reports) = passes.next(), if !passes.is_empty() => found.extend(reports),
            }
        }
        // What was begun is brought to its end.
        found.extend(passes.concat().await);
        found
    }

    /// Remembers how a binding's group was found.
    pub fn remember(&self, binding: &Binding, report: &Report) {
        let found = match report.status {
            Status::InSync | Status::Updated => Some(Rc::new(Verified {
                binding: binding.clone(),
                writer: report.writer.clone(),
                roster: Roster::default(),
                at: Instant::now(),
            })),
            // Without an answer of DNS there is nothing to go on with before the next check.
            Status::Failed if report.writer.is_empty() => return self.forget(binding),
            Status::Pending | Status::Planned | Status::Failed => None,
        };
        self.memory.borrow_mut().insert(binding.target_group.clone(), found);
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
        let mut tour = Tour::default();
        let busy = self.busy.borrow();
        let is_free = |binding: &Binding| scope != Scope::Patrol || !busy.contains(&binding.target_group);
        for (index, binding) in bindings.iter().enumerate().filter(|(_, binding)| is_free(binding)) {
            match memory.get(&binding.target_group) {
                _ if scope == Scope::Whole => tour.list.push(index),
                Some(Some(verified)) if verified.binding == *binding => {
                    tour.compare.push((index, Rc::clone(verified)));
                }
                None if scope == Scope::Patrol => {}
                Some(_) | None => tour.list.push(index),
            }
        }
        // Those whose turn it is are the ones that were longest ago.
        tour.compare.sort_by_key(|(_, verified)| verified.at);
        let due = self.share(bindings.len(), scope).min(tour.compare.len());
        tour.list.extend(tour.compare.drain(..due).map(|(index, _)| index));
        tour
    }

    /// How many groups, of those that were in sync, it takes to list each within the period.
    fn share(&self, bindings: usize, scope: Scope) -> usize {
        let now = Instant::now();
        let elapsed = self.passed.replace(Some(now)).map_or(Duration::ZERO, |passed| now - passed);
        let planned = self.period.mul_f64(PLANNED).as_secs_f64();
        let even = (bindings as f64 * elapsed.as_secs_f64() / planned).ceil() as usize;
        match scope {
            Scope::Whole => bindings,
            Scope::Check { relisted: false } => even.max(FLOOR),
            Scope::Check { relisted: true } => FLOOR,
            Scope::Patrol => even,
        }
    }

    async fn look_up<D: Dns, T: TargetGroups, C: Clusters>(
        &self,
        world: &World<D, T, C>,
        verified: &Verified,
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        let Verified { binding, roster, .. } = verified;
        let looking = async {
            let _one = self.at_once.acquire().await;
            let group = world.groups.describe(&binding.target_group).await?;
            self.lookups.turn().await;
            roster.resolve(world, binding, group.family, self.period).await
        };
        timeout_at(deadline, looking).await.unwrap_or_else(|_| {
            let doing = format!("look {} up before the invocation's time ran out", binding.endpoint);
            Err(Fault::new(Kind::OutOfTime, doing).cure("raise the function's time-out"))
        })
    }
}

/// Marks a group that is being looked at, for as long as that takes.
struct Busy<'a>(&'a RefCell<BTreeSet<String>>, String);

impl<'a> Busy<'a> {
    fn new(busy: &'a RefCell<BTreeSet<String>>, binding: &Binding) -> Self {
        busy.borrow_mut().insert(binding.target_group.clone());
        Self(busy, binding.target_group.clone())
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
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
