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

use crate::binding::Binding;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, Family};
use crate::rate_limit::RateLimiter;
use crate::rate_limit::{Call, Priority};
use crate::reconcile::{
    Clients, FirstPermit, Mode, Options, Preregistration, RdsApi, ReaderCache, Report, Resolution, Resolve,
    Status, TargetGroupApi, reconcile,
};

/// How many groups a check lists at least, if there are as many: with the routine calls' default rate, as
/// many as it may list at once.
const MIN_LISTED: usize = 20;
/// How much of the verification period is planned with; the rest is for checks that come late.
const PLANNED: f64 = 0.9;
/// How long a check goes on to begin listings. The next one comes within the minute and goes on from there.
pub const CHECK_BUDGET: Duration = Duration::from_secs(45);
/// How often a watch looks after the bindings that it is not about. A zone's failure moves many databases
/// at once, and their own events may wait for a function that is free.
pub const BACKGROUND_INTERVAL: Duration = Duration::from_secs(1);
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
    Background,
}

/// What a warm function remembers of its groups.
pub struct Fleet {
    period: Duration,
    /// By target group.
    memory: RefCell<BTreeMap<String, LastResult>>,
    /// The target groups that are being looked at.
    busy: RefCell<BTreeSet<String>>,
    /// How many bindings have moved, and are being followed.
    repairs: Cell<usize>,
    selected_at: Cell<Option<Instant>>,
    /// How many groups' turn it is by now, in fractions.
    due: Cell<f64>,
    lookups: RateLimiter,
    at_once: Semaphore,
}

/// How a group was when it was last seen.
enum LastResult {
    InSync(Rc<InSyncRecord>),
    /// Something was left to do, this urgent, and this was when.
    NeedsSync(Priority, Instant),
    /// DNS gave no answer: there is nothing to go on with before the next check.
    Unresolved,
}

/// A group that was found in sync.
struct InSyncRecord {
    binding: Binding,
    addresses: Option<Addresses>,
    /// The names of its readers.
    reader_cache: ReaderCache,
    at: Cell<Instant>,
}

/// What is to be done about which binding, by index.
#[derive(Default)]
struct Selection {
    /// Not known to be in sync: to be listed when it is their turn.
    list: Vec<usize>,
    /// Not brought into sync a moment ago: to be taken up again at once.
    again: Vec<(usize, Option<Priority>)>,
    /// To be looked up; the first so many of them to be listed all the same.
    compare: Vec<(usize, Rc<InSyncRecord>)>,
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
            selected_at: Cell::new(None),
            due: Cell::new(0.0),
            lookups: RateLimiter::new(LOOKUPS_AT_ONCE as f64, LOOKUPS),
            at_once: Semaphore::new(LOOKUPS_AT_ONCE),
        }
    }

    /// Looks at the bindings once, and repairs what can be repaired.
    pub async fn sync_once<D: Resolve, T: TargetGroupApi, C: RdsApi>(
        &self,
        clients: &Clients<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        scope: Scope,
        deadline: Instant,
    ) -> Vec<Report> {
        let Selection { list, again, compare, due } = self.select(bindings, scope);
        let until = match scope {
            Scope::Whole => deadline,
            Scope::Check { .. } => deadline.min(Instant::now() + CHECK_BUDGET),
            // What is routine waits for a quieter time.
            Scope::Background => deadline.min(Instant::now() + BACKGROUND_INTERVAL),
        };
        let reports = RefCell::new(BTreeMap::new());
        let run = async |index: usize, first_permit| {
            let Some(binding) = bindings.get(index) else { return };
            let Some(_in_progress) = InProgressGuard::new(&self.busy, binding) else { return };
            let closed = Preregistration::Off;
            // Boxed, because most bindings need none of it.
            let running = Box::pin(reconcile(
                clients,
                binding,
                Options { timing: config.timing, mode, preregistration: &closed, first_permit, deadline },
            ));
            let report = running.await;
            self.remember(binding, &report);
            reports.borrow_mut().insert(index, report);
        };
        let (line, in_line) = mpsc::unbounded_channel();
        // It is read to its end below: nothing that is sent is lost.
        let queue = move |index| line.send(index).unwrap_or_default();
        list.into_iter().for_each(&queue);
        let repairing = stream::iter(again).for_each_concurrent(None, |(index, priority)| {
            let first_permit = match priority {
                Some(priority) => FirstPermit::At(priority),
                None => FirstPermit::Held(clients.groups.immediate_permit()),
            };
            run(index, first_permit)
        });
        let comparing = async {
            let compare = stream::iter(compare.into_iter().enumerate());
            let each = compare.for_each_concurrent(None, async |(place, (index, record))| {
                let Some(report) = self.compare(clients, &record, scope, deadline).await else {
                    // It has moved: a failover was missed.
                    let _repair = RepairGuard::new(&self.repairs);
                    return run(index, FirstPermit::At(Priority::Failover)).await;
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
        let permits = in_line.then(async |index| {
            let permit = clients.groups.permit(Priority::Routine, Call::Describe);
            (index, timeout_at(until, permit).await)
        });
        let listing = permits.for_each_concurrent(None, async |(index, permit)| {
            if let Ok(permit) = permit {
                run(index, FirstPermit::Held(permit)).await;
            } else if let Some(binding) = bindings.get(index).filter(|_| scope != Scope::Background) {
                // One that was looked up is in sync, as far as that tells.
                reports.borrow_mut().entry(index).or_insert_with(|| postponed(binding));
            }
        });
        future::join3(repairing, comparing, listing).await;
        reports.into_inner().into_values().collect()
    }

    /// Looks after the bindings until that is over, now and then, whatever became of the time before. Tells
    /// of those that it changed.
    pub async fn sync_until<D: Resolve, T: TargetGroupApi, C: RdsApi>(
        &self,
        clients: &Clients<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        deadline: Instant,
        over: &Notify,
    ) -> Vec<Report> {
        let mut found = BTreeMap::new();
        let mut syncs = FuturesUnordered::new();
        let mut ticks = interval_at(Instant::now() + BACKGROUND_INTERVAL, BACKGROUND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_over = false;
        // While some are being followed, others may move as well: their own events may still be waiting.
        while !is_over || self.repairs.get() > 0 {
            tokio::select! {
                () = over.notified(), if !is_over => is_over = true,
                _ = ticks.tick() => {
                    syncs.push(self.sync_once(clients, bindings, config, mode, Scope::Background, deadline));
                }
                Some(reports) = syncs.next(), if !syncs.is_empty() => {
                    reports.into_iter().for_each(|report| add(&mut found, report));
                }
            }
        }
        // What was begun is brought to its end.
        syncs.concat().await.into_iter().for_each(|report| add(&mut found, report));
        found.into_values().collect()
    }

    /// Remembers how a binding's group was found.
    pub fn remember(&self, binding: &Binding, report: &Report) {
        let last_result = match report.status {
            Status::InSync | Status::Updated => LastResult::InSync(Rc::new(InSyncRecord {
                binding: binding.clone(),
                addresses: report.addresses.clone(),
                reader_cache: ReaderCache::default(),
                at: Cell::new(Instant::now()),
            })),
            Status::Failed if report.addresses.is_none() => LastResult::Unresolved,
            Status::Failed => LastResult::NeedsSync(Priority::Failover, Instant::now()),
            Status::Pending | Status::Deferred | Status::Planned => {
                LastResult::NeedsSync(Priority::Tidy, Instant::now())
            }
        };
        self.memory.borrow_mut().insert(binding.target_group.to_string(), last_result);
    }

    /// Forgets a binding, so that the next check lists its group.
    pub fn forget(&self, binding: &Binding) {
        self.memory.borrow_mut().remove(binding.target_group.as_str());
    }

    fn select(&self, bindings: &[Binding], scope: Scope) -> Selection {
        let mut memory = self.memory.borrow_mut();
        if scope != Scope::Background {
            let bound: BTreeSet<&str> =
                bindings.iter().map(|binding| binding.target_group.as_str()).collect();
            memory.retain(|group, _| bound.contains(group.as_str()));
        }
        let (mut selection, mut needs_sync) = (Selection::default(), Vec::new());
        let busy = self.busy.borrow();
        let is_free =
            |binding: &Binding| scope != Scope::Background || !busy.contains(binding.target_group.as_str());
        for (index, binding) in bindings.iter().enumerate().filter(|(_, binding)| is_free(binding)) {
            match memory.get(binding.target_group.as_str()) {
                _ if scope == Scope::Whole => selection.list.push(index),
                Some(LastResult::InSync(record)) if record.binding == *binding => {
                    selection.compare.push((index, Rc::clone(record)));
                }
                Some(LastResult::NeedsSync(priority, at)) if scope == Scope::Background => {
                    if at.elapsed() >= AGAIN {
                        selection.again.push((index, Some(*priority)));
                    }
                }
                Some(LastResult::Unresolved) if scope == Scope::Background => {}
                // So few are listed by the next check at once.
                _ if scope == Scope::Background && bindings.len() <= MIN_LISTED => {}
                // A few at once; many that stay amiss from check to check must not crowd out everybody else.
                Some(LastResult::NeedsSync(priority, _)) if selection.again.len() < MIN_LISTED => {
                    selection.again.push((index, Some(*priority)))
                }
                Some(LastResult::NeedsSync(..)) => needs_sync.push(index),
                Some(LastResult::InSync(_) | LastResult::Unresolved) | None => selection.list.push(index),
            }
        }
        selection.list.splice(0..0, needs_sync);
        // Those whose turn it is are the ones that were longest ago.
        selection.compare.sort_by_key(|(_, record)| record.at.get());
        selection.due = self.share(bindings.len(), scope).min(selection.compare.len());
        if bindings.len() <= MIN_LISTED && scope != Scope::Background {
            // So few need no line and no turn: all of them are due, and listing one looks it up as well.
            let all = (0..bindings.len()).map(|index| (index, None)).collect();
            return Selection { again: all, ..Selection::default() };
        }
        selection
    }

    /// How many groups, of those that were in sync, it takes to list each within the period.
    fn share(&self, bindings: usize, scope: Scope) -> usize {
        let now = Instant::now();
        let elapsed =
            self.selected_at.replace(Some(now)).map_or(Duration::ZERO, |selected_at| now - selected_at);
        let planned = self.period.mul_f64(PLANNED).as_secs_f64();
        let due = self.due.get() + bindings as f64 * elapsed.as_secs_f64() / planned;
        let share = match scope {
            Scope::Whole => bindings,
            Scope::Check { relisted: false } => MIN_LISTED.max(due as usize),
            Scope::Check { relisted: true } => MIN_LISTED,
            Scope::Background => due as usize,
        };
        // A patrol keeps the fractions. A check that leaves some out makes up for them by what is planned.
        self.due.set(if scope == Scope::Background { due.fract() } else { 0.0 });
        share
    }

    /// Looks up a binding whose group was in sync, and tells how it stands, or nothing if it has moved.
    async fn compare<D: Resolve, T: TargetGroupApi, C: RdsApi>(
        &self,
        clients: &Clients<D, T, C>,
        record: &InSyncRecord,
        scope: Scope,
        deadline: Instant,
    ) -> Option<Report> {
        let InSyncRecord { binding, addresses, reader_cache, .. } = record;
        let _in_progress = InProgressGuard::new(&self.busy, binding);
        let looking = async {
            let _one = self.at_once.acquire().await;
            let group = clients.groups.describe(binding.target_group.as_str()).await?;
            let dns = RateLimitedDns { dns: &clients.dns, limiter: &self.lookups };
            reader_cache.resolve(&dns, &clients.rds, binding, group.family, self.period).await
        };
        let resolution = timeout_at(deadline, looking).await.unwrap_or_else(|_| {
            let doing = format!("look {} up before the invocation's time ran out", binding.endpoint);
            Err(Error::new(ErrorKind::DeadlineExceeded, doing).with_fix("raise the function's time-out"))
        });
        if resolution.is_err() {
            // To the end of the line, so that names that are gone do not keep the others from their turn.
            record.at.set(Instant::now());
        }
        match resolution {
            Ok(resolution) if Some(&resolution.addresses) == addresses.as_ref() => {
                Some(in_sync(binding, &resolution))
            }
            Ok(_) => None,
            // The next check tells of it, if it stays.
            Err(error) if scope == Scope::Background => {
                log_decision!(debug, binding, "lookup_failed", reason = %error.explain(), "leaves it to the next check");
                Some(Report::new(&binding.endpoint, binding.target_group.as_str(), Status::Deferred))
            }
            Err(error) => Some(Report::failed(binding, &error)),
        }
    }
}

/// Adds what a pass found to what others did before it, by target group. One that nothing was done to tells
/// nothing new.
fn add(found: &mut BTreeMap<String, Report>, mut report: Report) {
    let before = found.remove(&report.target_group);
    let was_changed = before.is_some();
    if let Some(Report { addresses, registered, deregistered, elapsed_ms, registration_latency_ms, .. }) =
        before
    {
        if report.addresses.is_none() {
            report.addresses = addresses;
        }
        report.registered.extend(registered);
        report.deregistered.extend(deregistered);
        report.elapsed_ms += elapsed_ms;
        report.registration_latency_ms = report.registration_latency_ms.max(registration_latency_ms);
    }
    if was_changed && report.status == Status::InSync {
        report.status = Status::Updated;
    }
    if !report.registered.is_empty() || !report.deregistered.is_empty() {
        found.insert(report.target_group.clone(), report);
    }
}

/// A name server that is asked no faster than this.
struct RateLimitedDns<'a, D> {
    dns: &'a D,
    limiter: &'a RateLimiter,
}

impl<D: Resolve> Resolve for RateLimitedDns<'_, D> {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error> {
        self.limiter.permit().await;
        self.dns.resolve(endpoint, family).await
    }
}

/// Marks a group that is being looked at, for as long as that takes.
struct InProgressGuard<'a>(&'a RefCell<BTreeSet<String>>, String);

impl<'a> InProgressGuard<'a> {
    /// Nothing where somebody else looks at it already.
    fn new(busy: &'a RefCell<BTreeSet<String>>, binding: &Binding) -> Option<Self> {
        let group = binding.target_group.to_string();
        busy.borrow_mut().insert(group.clone()).then(|| Self(busy, group))
    }
}

impl Drop for InProgressGuard<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
    }
}

/// Counts a binding that is being followed, for as long as that takes.
struct RepairGuard<'a>(&'a Cell<usize>);

impl<'a> RepairGuard<'a> {
    fn new(repairs: &'a Cell<usize>) -> Self {
        repairs.set(repairs.get() + 1);
        Self(repairs)
    }
}

impl Drop for RepairGuard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A binding whose endpoint has not moved since its group was found in sync.
fn in_sync(binding: &Binding, resolution: &Resolution) -> Report {
    Report {
        addresses: Some(resolution.addresses.clone()),
        ..Report::new(&binding.endpoint, binding.target_group.as_str(), Status::InSync)
    }
}

/// A binding that no time is left for.
fn postponed(binding: &Binding) -> Report {
    let waiting = "is compared with its group by the next check: there are many, and the load balancing API's \
                   limits are shared with the whole account";
    Report {
        waiting: vec![waiting.to_owned()],
        ..Report::new(&binding.endpoint, binding.target_group.as_str(), Status::Deferred)
    }
}
