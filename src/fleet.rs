//! Keeps many bindings in sync under the API's rate limit.
//!
//! `select` decides which groups are listed; this module lists them. A check resolves every endpoint and lists the
//! groups that are due. During a watch, a background sync does the same for the bindings that are not watched. A warm
//! function remembers its groups, which saves calls; no deregistration depends on that memory.

mod select;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt, future};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

pub use self::select::Scope;
use self::select::{InSyncRecord, Memory, Selection};
use crate::binding::Binding;
use crate::config::Config;
use crate::error::Error;
use crate::guard::OnDrop;
use crate::plan::Family;
use crate::rate_limit::{Call, Priority, RateLimiter};
use crate::reconcile::{
    Clients, KnownMembers, ListPermit, Mode, Options, Preregistration, RdsApi, Report, Resolution, Resolve,
    Status, TargetGroupApi, reconcile,
};

/// How long after its own start a check may start listings. The schedule's next check comes within a minute and
/// continues.
pub const LISTING_TIME: Duration = Duration::from_secs(45);
/// How often a watch syncs the other bindings. The failure of an Availability Zone moves many databases at once, and
/// their own events may wait for a free function.
pub const BACKGROUND_INTERVAL: Duration = Duration::from_secs(1);
/// Lookups per second. A network interface may send 1,024 packets per second to the VPC's resolver (VPC user
/// guide, "DNS quotas"); the lookups of watches come in addition.
const LOOKUPS_PER_SECOND: f64 = 400.0;
/// Lookups at once. Each has a socket of its own, and a function may open 1,024 files (Lambda quotas).
const LOOKUPS_AT_ONCE: usize = 64;

/// The bindings of a function, and what it remembers of them while it is warm.
pub struct Fleet {
    memory: RefCell<Memory>,
    pub(crate) known_members: KnownMembers,
    /// How many bindings are being repaired because their addresses changed.
    repairs: Cell<usize>,
    lookups_per_second: RateLimiter,
    lookups_at_once: Semaphore,
}

impl Fleet {
    pub fn new(config: &Config) -> Self {
        Self {
            memory: RefCell::new(Memory::new(config.verify, config.discovery.is_some())),
            known_members: KnownMembers::default(),
            repairs: Cell::new(0),
            lookups_per_second: RateLimiter::new(LOOKUPS_AT_ONCE as f64, LOOKUPS_PER_SECOND),
            lookups_at_once: Semaphore::new(LOOKUPS_AT_ONCE),
        }
    }

    /// Resolves or lists each binding once, and reconciles those that need it.
    pub async fn sync_once<D: Resolve, T: TargetGroupApi, C: RdsApi>(
        &self,
        clients: &Clients<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        scope: Scope,
        deadline: Instant,
    ) -> Vec<Report> {
        let reports = RefCell::default();
        SyncOnce { fleet: self, clients, bindings, config, mode, scope, deadline, reports }.run().await
    }

    /// Syncs the bindings every [`BACKGROUND_INTERVAL`] until `watch_ended` is notified and no repair is left. Returns
    /// one report for each binding that was changed.
    pub async fn sync_until<D: Resolve, T: TargetGroupApi, C: RdsApi>(
        &self,
        clients: &Clients<D, T, C>,
        bindings: &[Binding],
        config: &Config,
        mode: Mode,
        deadline: Instant,
        watch_ended: &Notify,
    ) -> Vec<Report> {
        let mut changed = BTreeMap::new();
        let mut syncs = FuturesUnordered::new();
        let mut ticks = interval_at(Instant::now() + BACKGROUND_INTERVAL, BACKGROUND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_over = false;
        // A repair shows that more databases than the watched ones are failing over. Others may follow, and their own
        // events may still be waiting.
        while !is_over || self.repairs.get() > 0 {
            tokio::select! {
                () = watch_ended.notified(), if !is_over => is_over = true,
                // A slow sync does not delay the next one, which leaves out the groups in progress.
                _ = ticks.tick() => {
                    syncs.push(self.sync_once(clients, bindings, config, mode, Scope::Background, deadline));
                }
                Some(reports) = syncs.next(), if !syncs.is_empty() => {
                    reports.into_iter().for_each(|report| merge(&mut changed, report));
                }
            }
        }
        // A reconciliation that was started is finished.
        syncs.concat().await.into_iter().for_each(|report| merge(&mut changed, report));
        changed.into_values().collect()
    }

    pub fn remember(&self, binding: &Binding, report: &Report) {
        self.memory.borrow_mut().record(binding, report, Instant::now());
    }

    /// Forgets a binding, so that the next check lists its group.
    pub fn forget(&self, binding: &Binding) {
        self.memory.borrow_mut().forget(binding);
    }

    /// Marks a group as in progress until the guard is dropped. `None` if it is marked already.
    pub(crate) fn start<'a>(&'a self, binding: &'a Binding) -> Option<OnDrop<impl FnMut() + 'a>> {
        let group = binding.target_group.as_str();
        let is_started = self.memory.borrow_mut().start(group);
        is_started.then(|| OnDrop(|| self.memory.borrow_mut().finish(group)))
    }
}

struct SyncOnce<'a, D, T, C> {
    fleet: &'a Fleet,
    clients: &'a Clients<D, T, C>,
    bindings: &'a [Binding],
    config: &'a Config,
    mode: Mode,
    scope: Scope,
    deadline: Instant,
    /// By the binding's index.
    reports: RefCell<BTreeMap<usize, Report>>,
}

impl<D: Resolve, T: TargetGroupApi, C: RdsApi> SyncOnce<'_, D, T, C> {
    async fn run(self) -> Vec<Report> {
        let selection = self.fleet.memory.borrow_mut().select(self.bindings, Instant::now(), self.scope);
        let Selection { reconcile, list, compare, due } = selection;
        let (to_list, queue) = mpsc::unbounded_channel();
        list.into_iter().for_each(|index| enqueue(&to_list, index));
        let reconcile_now = stream::iter(reconcile)
            .for_each_concurrent(None, |(index, priority)| self.reconcile(index, ListPermit::At(priority)));
        let compare = self.compare_all(compare, due, to_list);
        future::join3(reconcile_now, compare, self.reconcile_queued(queue)).await;
        self.reports.into_inner().into_values().collect()
    }

    /// Compares the bindings, and queues the first `due` of them. The queue ends with the last comparison.
    async fn compare_all(
        &self,
        compare: Vec<(usize, Rc<InSyncRecord>)>,
        due: usize,
        to_list: mpsc::UnboundedSender<usize>,
    ) {
        let records = stream::iter(compare.into_iter().enumerate());
        let each = records.for_each_concurrent(None, async |(place, (index, record))| {
            if self.compare(index, &record).await && place < due {
                enqueue(&to_list, index);
            }
        });
        each.await;
    }

    /// Reconciles the bindings in order, as fast as routine calls are permitted, until the time for listings is
    /// over. The others are deferred.
    async fn reconcile_queued(&self, queue: mpsc::UnboundedReceiver<usize>) {
        let now = Instant::now();
        let until = match self.scope {
            Scope::Full => self.deadline,
            Scope::Check => self.deadline.min(now + LISTING_TIME),
            // The next background sync selects again.
            Scope::Background => self.deadline.min(now + BACKGROUND_INTERVAL),
        };
        let in_order = stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
        let permitted = in_order.then(async |index| {
            let permit = self.clients.groups.permit(Priority::Routine, Call::Describe);
            (index, timeout_at(until, permit).await.ok())
        });
        let each = permitted.for_each_concurrent(None, async |(index, permit)| match permit {
            Some(permit) => self.reconcile(index, ListPermit::Held(permit)).await,
            None => self.defer(index),
        });
        each.await;
    }

    async fn reconcile(&self, index: usize, list_permit: ListPermit) {
        let Some(binding) = self.bindings.get(index) else { return };
        let Some(_in_progress) = self.fleet.start(binding) else { return };
        let options = Options {
            timing: self.config.timing,
            mode: self.mode,
            preregistration: &Preregistration::Off,
            known_members: &self.fleet.known_members,
            list_permit,
            deadline: self.deadline,
        };
        // Boxed, because most bindings are compared only, and their futures stay small.
        let report = Box::pin(reconcile(self.clients, binding, options)).await;
        self.fleet.remember(binding, &report);
        self.reports.borrow_mut().insert(index, report);
    }

    /// Reports a binding whose group this sync does not list. A binding whose addresses were compared keeps that
    /// report.
    fn defer(&self, index: usize) {
        let Some(binding) = self.bindings.get(index).filter(|_| self.scope != Scope::Background) else {
            return;
        };
        let waiting = "the next check lists the group: there are many bindings, and the load balancing API's limits are \
                       shared with the whole account";
        let deferred =
            || Report { waiting: vec![waiting.to_owned()], ..Report::new(binding, Status::Deferred) };
        self.reports.borrow_mut().entry(index).or_insert_with(deferred);
    }

    /// Resolves a binding whose group was in sync, and reconciles it at once if its addresses have changed. Returns
    /// true if they are the same. A watch of the binding needs no comparison.
    async fn compare(&self, index: usize, record: &InSyncRecord) -> bool {
        let binding = &record.binding;
        let Some(in_progress) = self.fleet.start(binding) else { return false };
        let resolution = self.resolve(record).await;
        drop(in_progress);
        let report = match resolution {
            Ok(resolution) if resolution.addresses == record.addresses => {
                let (addresses, health) = (Some(resolution.addresses), record.health.clone());
                Report { addresses, health, ..Report::new(binding, Status::InSync) }
            }
            // The addresses have changed without a watch: a failover was missed.
            Ok(_) => {
                let repairs = &self.fleet.repairs;
                repairs.update(|count| count + 1);
                let _repair = OnDrop(|| repairs.update(|count| count - 1));
                self.reconcile(index, ListPermit::At(Priority::Failover)).await;
                return false;
            }
            Err(error) => {
                self.fleet.memory.borrow_mut().postpone(binding, Instant::now());
                // The background sync fails nothing: the watch is about other bindings, and the next check reports the
                // error if it persists.
                if self.scope == Scope::Background {
                    log_decision!(debug, binding, "lookup_failed", reason = %error.explain(), "left to the next check");
                    Report::new(binding, Status::Deferred)
                } else {
                    Report::failed(binding, &error)
                }
            }
        };
        let is_in_sync = report.status == Status::InSync;
        self.reports.borrow_mut().insert(index, report);
        is_in_sync
    }

    async fn resolve(&self, record: &InSyncRecord) -> Result<Resolution, Error> {
        let InSyncRecord { binding, reader_cache, .. } = record;
        let fleet = self.fleet;
        let resolving = async {
            let _slot = fleet.lookups_at_once.acquire().await;
            let group = self.clients.groups.describe(binding.target_group.as_str()).await?;
            let dns = RateLimitedDns { dns: &self.clients.dns, limiter: &fleet.lookups_per_second };
            reader_cache.resolve(&dns, &self.clients.rds, binding, group.family, self.config.verify).await
        };
        timeout_at(self.deadline, resolving)
            .await
            .unwrap_or_else(|_| Err(Error::deadline_exceeded(&format!("resolve {}", binding.endpoint))))
    }
}

/// Never fails: `reconcile_queued` reads the queue until all senders are gone.
fn enqueue(to_list: &mpsc::UnboundedSender<usize>, index: usize) {
    to_list.send(index).unwrap_or_default();
}

/// Merges the report of one background sync into the reports of the earlier ones, by target group. A report without a
/// change counts only if an earlier sync changed the group; the next check reports what failed.
fn merge(changed: &mut BTreeMap<String, Report>, mut report: Report) {
    if report.status == Status::Deferred {
        return;
    }
    if let Some(before) = changed.remove(&report.target_group) {
        report.addresses = report.addresses.or(before.addresses);
        report.registered.extend(before.registered);
        report.deregistered.extend(before.deregistered);
        report.elapsed_ms += before.elapsed_ms;
        report.registration_latency_ms = report.registration_latency_ms.max(before.registration_latency_ms);
        if report.status == Status::InSync {
            report.status = Status::Updated;
        }
    }
    if !report.registered.is_empty() || !report.deregistered.is_empty() {
        changed.insert(report.target_group.clone(), report);
    }
}

struct RateLimitedDns<'a, D> {
    dns: &'a D,
    limiter: &'a RateLimiter,
}

impl<D: Resolve> Resolve for RateLimitedDns<'_, D> {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error> {
        self.limiter.wait().await;
        self.dns.resolve(endpoint, family).await
    }
}
