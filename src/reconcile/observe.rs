//! What a run observes: DNS at every step, and the group as seldom as is safe.
//!
//! The invariant kept here: no wait interrupts the lookups. Whatever a run waits for (a permit, a listing, a
//! change, the RDS API), the endpoint is resolved at every poll meanwhile.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::baseline::Baseline;
use super::desired::ReaderCache;
use super::options::{ListPermit, Timing};
use super::ports::{Clients, RdsApi, Resolution, Resolve, TargetGroupApi, TargetGroupInfo};
use super::stability::AnswerStability;
use super::veto::RDS_RECHECK_INTERVAL;
use crate::binding::Binding;
use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, AllowedExtras, Confirmation, Plan, Targets, plan};
use crate::rate_limit::{Call, Permit, Priority};

/// How old an observation of DNS and of the group may be when a deregistration acts on it. Several round trips fit
/// in it. It is well below the default confirmation time, so DNS cannot have confirmed another address meanwhile.
pub const MAX_OBSERVATION_AGE: Duration = Duration::from_secs(2);
/// The longest pause between lookups beside a listing. With a long poll interval, the last lookup would be older than
/// [`MAX_OBSERVATION_AGE`] when a slow list is there.
const MAX_POLL_BESIDE_LISTING: Duration = Duration::from_millis(500);
/// The greatest age of the last answer if a listing ends during a lookup that is then given up. It leaves some time until
/// [`MAX_OBSERVATION_AGE`], and until the gap of 2 s that ends the template's shortest confirmation, 4 s.
const MAX_AGE_TO_GIVE_UP: Duration = Duration::from_millis(1900);
/// How often a watch lists the group when nothing happens. A hundred watches at once then make three
/// of the ten Describe calls per second that an account may make (ELB API throttling: 40 burst, 10/s).
pub const RELIST_INTERVAL: Duration = Duration::from_secs(30);
/// How often a watch lists the group while an earlier call may still change it. An empty group is filled again
/// within five seconds: this interval, and two seconds for the calls.
pub const RELIST_INTERVAL_AFTER_CHANGE: Duration = Duration::from_secs(3);

pub(super) struct Observation {
    pub resolution: Resolution,
    pub targets: Targets,
    pub group: TargetGroupInfo,
}

impl Observation {
    pub fn wanted(&self) -> BTreeSet<SocketAddr> {
        self.resolution.addresses.targets(self.group.port).collect()
    }

    pub fn plan(&self, confirmation: Confirmation, extras: &AllowedExtras) -> Plan {
        plan(&self.resolution.addresses, self.group.port, &self.targets, confirmation, extras)
    }
}

struct TargetList {
    targets: Targets,
    answered: Instant,
    /// Set when this run changed the group since, or needs a new list.
    is_outdated: bool,
}

/// The lookups beside a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lookups {
    /// The first begins with the call. The observation needs it.
    WithFirst,
    /// The observation has one already. A slow one that goes on after the call would make the call's answer too old, and is
    /// given up.
    AfterOne,
    /// They go on as before the call.
    GoOn,
}

pub(super) struct Observer<'a, D, T, C> {
    pub clients: &'a Clients<D, T, C>,
    binding: &'a Binding,
    list_permit: ListPermit,
    /// The pause between lookups.
    poll: Duration,
    /// When the last lookup ended.
    looked_up_at: Option<Instant>,
    /// How long this run has waited for permits since the last [`Self::take_permit_wait`].
    permit_wait: Duration,
    deadline: Instant,
    /// When lookups, lists and waits for permits end: at the deadline, or, after the first complete observation, at
    /// the end of a watch.
    pub reads_end: Instant,
    pub resolution: Option<Resolution>,
    readers: ReaderCache,
    pub stability: AnswerStability,
    list: Option<TargetList>,
    /// Until when the list is outdated after [`RELIST_INTERVAL_AFTER_CHANGE`].
    pub relist_often_until: Option<Instant>,
    /// What the group is, with the binding's port, once it was described.
    group: Option<TargetGroupInfo>,
    pub baseline: Baseline,
    /// Every answer so far: an answer that comes back is not logged again.
    answers: BTreeSet<Addresses>,
}

impl<'a, D: Resolve, T: TargetGroupApi, C: RdsApi> Observer<'a, D, T, C> {
    pub fn new(
        clients: &'a Clients<D, T, C>,
        binding: &'a Binding,
        timing: Timing,
        list_permit: ListPermit,
        deadline: Instant,
    ) -> Self {
        Self {
            clients,
            binding,
            list_permit,
            poll: timing.poll,
            looked_up_at: None,
            permit_wait: Duration::ZERO,
            deadline,
            reads_end: deadline,
            resolution: None,
            readers: ReaderCache::default(),
            stability: AnswerStability::new(timing),
            list: None,
            relist_often_until: None,
            group: None,
            baseline: Baseline::default(),
            answers: BTreeSet::new(),
        }
    }

    /// Resolves the endpoint, and lists the group if the last list is too old. During a backoff the last list counts
    /// however old it is.
    pub async fn observe(&mut self, is_backing_off: bool) -> Result<Observation, Error> {
        let group = match self.group {
            Some(group) => group,
            None => self.describe().await?,
        };
        let lists = self.must_list(is_backing_off);
        if lists {
            let next = ListPermit::At(self.list_priority());
            let permit = match std::mem::replace(&mut self.list_permit, next) {
                ListPermit::Held(permit) => permit,
                ListPermit::At(priority) => self.permit(priority, Call::Describe).await?.0,
            };
            self.list(permit, Lookups::WithFirst).await?;
        } else {
            let asked = Instant::now();
            let answer = self.look_up(group).await;
            self.record_answer(answer, asked)?;
        }
        if self.must_list(is_backing_off) || (lists && self.list_is_too_old_for_lookup()) {
            // DNS gives an address that the group may not hold, or the lookup took so long that the list is too old.
            // The group is listed again at once.
            let priority = if self.misses_an_address() { Priority::Failover } else { self.list_priority() };
            let (permit, _) = self.permit(priority, Call::Describe).await?;
            self.list(permit, Lookups::AfterOne).await?;
        }
        self.last().ok_or_else(|| Error::deadline_exceeded("observe the endpoint and the group"))
    }

    async fn describe(&mut self) -> Result<TargetGroupInfo, Error> {
        let describing = self.clients.groups.describe(self.binding.target_group.as_str());
        let mut group = until(self.reads_end, "describe the target group", describing).await?;
        group.port = self.binding.port.unwrap_or(group.port);
        self.group = Some(group);
        Ok(group)
    }

    /// What was seen last, even if the last observation was cut short between DNS and the group.
    pub fn last(&self) -> Option<Observation> {
        let (resolution, targets) = (self.resolution.clone()?, self.list.as_ref()?.targets.clone());
        Some(Observation { resolution, targets, group: self.group? })
    }

    /// The states of the endpoint's targets in the last list.
    pub fn health(&self) -> Targets {
        let Some(seen) = self.last() else { return Targets::new() };
        let wanted = seen.wanted();
        seen.targets.into_iter().filter(|(target, _)| wanted.contains(target)).collect()
    }

    /// The priority of the next listings.
    pub fn set_priority(&mut self, priority: Priority) {
        self.list_permit = ListPermit::At(priority);
    }

    fn list_priority(&self) -> Priority {
        match self.list_permit {
            ListPermit::At(priority) => priority,
            ListPermit::Held(_) => Priority::Routine,
        }
    }

    /// Lists the group at the next observation, even if the last list is recent.
    pub fn require_new_list(&mut self) {
        if let Some(list) = &mut self.list {
            list.is_outdated = true;
        }
    }

    /// Whether the last observation is recent enough to deregister by.
    pub fn is_fresh(&self) -> bool {
        let is_recent = |answered: Instant| answered.elapsed() <= MAX_OBSERVATION_AGE;
        self.stability.answered().is_some_and(is_recent)
            && self.list.as_ref().is_some_and(|list| !list.is_outdated && is_recent(list.answered))
    }

    /// How long DNS has given the present answer without interruption. `None` if the last lookup failed.
    pub fn answer_age(&self) -> Option<Duration> {
        self.stability.since().map(|since| since.elapsed())
    }

    /// Waits until the API's limits allow the call. Returns whether it had to wait.
    pub async fn permit(&mut self, priority: Priority, call: Call) -> Result<(Permit, bool), Error> {
        let began = Instant::now();
        let mut permit = pin!(timeout_at(self.reads_end, self.clients.groups.permit(priority, call)));
        let (permit, has_waited) = match permit.as_mut().now_or_never() {
            Some(permit) => (permit, false),
            None => (self.with_lookups(permit).await, true),
        };
        if has_waited {
            self.permit_wait += began.elapsed();
        }
        let permit = permit.map_err(|_| {
            Error::deadline_exceeded("get a permit for the load balancing API")
                .with_fix("check what else uses up the API's limits, or raise the time-out (the function's, or --timeout)")
        })?;
        Ok((permit, has_waited))
    }

    /// How long this run has waited for permits since the last call of this function.
    pub fn take_permit_wait(&mut self) -> Duration {
        std::mem::take(&mut self.permit_wait)
    }

    /// Makes a change, and ends it at the deadline. A change that is cut off may take effect all the same.
    pub async fn change<R>(
        &mut self,
        doing: &str,
        call: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let call = until(self.deadline, doing, call);
        self.with_lookups(call).await.map_err(|error| match error.kind() {
            ErrorKind::DeadlineExceeded => error.with_unknown_outcome(),
            _ => error,
        })
    }

    /// Pauses before the next lookup, counted from the last one. The pause ends when the group must be listed again.
    pub async fn pause(&mut self, time: Duration) {
        let pause = time.saturating_sub(self.since_last_lookup());
        let interval = self.list_interval();
        let until_list = self.list.as_ref().map(|list| interval.saturating_sub(list.answered.elapsed()));
        sleep(until_list.filter(|until| !until.is_zero()).map_or(pause, |until| until.min(pause))).await;
    }

    /// Does not call the load balancing API for this time, but goes on resolving the endpoint.
    pub async fn back_off(&mut self, time: Duration) {
        self.with_lookups(sleep(time)).await;
        self.ask_about_readers_again();
    }

    /// An error of the RDS API about the readers no longer counts.
    pub fn ask_about_readers_again(&self) {
        self.readers.forget_error();
    }

    fn since_last_lookup(&self) -> Duration {
        self.looked_up_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Waits for a call and resolves the endpoint at every poll meanwhile: a gap between lookups would end the
    /// confirmation. Several short waits in a row must not be such a gap, so each continues the pause of the one before.
    pub async fn with_lookups<R>(&mut self, call: impl Future<Output = R>) -> R {
        self.with_lookups_every(self.poll, Lookups::GoOn, call).await.0
    }

    /// Does the same, with pauses of `interval` between the lookups. Also returns the result of the last lookup: `Ok` if
    /// there was none.
    async fn with_lookups_every<R>(
        &mut self,
        interval: Duration,
        lookups: Lookups,
        call: impl Future<Output = R>,
    ) -> (R, Result<(), Error>) {
        let mut call = pin!(call);
        let mut last = Ok(());
        let mut pause = match lookups {
            Lookups::WithFirst => None,
            Lookups::AfterOne | Lookups::GoOn => Some(interval.saturating_sub(self.since_last_lookup())),
        };
        loop {
            if let Some(pause) = pause {
                tokio::select! {
                    biased;
                    result = call.as_mut() => return (result, last),
                    () = sleep(pause) => {}
                }
            }
            pause = Some(interval);
            // Before the group is described, its address family is not known.
            let Some(group) = self.group else { continue };
            let (asked, mut result) = (Instant::now(), None);
            let answer = {
                let mut looking = pin!(self.look_up(group));
                tokio::select! {
                    biased;
                    answer = looking.as_mut() => answer,
                    finished = call.as_mut() => {
                        let age = self.stability.answered().map(|answered| answered.elapsed());
                        if lookups == Lookups::AfterOne && age.is_some_and(|age| age <= MAX_AGE_TO_GIVE_UP) {
                            return (finished, last);
                        }
                        result = Some(finished);
                        // A lookup that is not completed would be a gap.
                        looking.await
                    }
                }
            };
            last = self.record_answer(answer, asked);
            if let Some(result) = result {
                return (result, last);
            }
        }
    }

    /// Resolves the endpoint. Also returns the time of the answer: a call beside the lookup may take longer.
    async fn look_up(&self, group: TargetGroupInfo) -> Result<(Resolution, Instant), Error> {
        let clients = self.clients;
        let resolving = self.readers.resolve(
            &clients.dns,
            &clients.rds,
            self.binding,
            group.family,
            RDS_RECHECK_INTERVAL,
        );
        let resolution = until(self.reads_end, "resolve the endpoint", resolving).await?;
        Ok((resolution, Instant::now()))
    }

    /// Lists the group. A list that arrived is kept, even if the lookup beside it failed.
    async fn list(&mut self, permit: Permit, lookups: Lookups) -> Result<(), Error> {
        let listing = self.clients.groups.targets(permit, self.binding.target_group.as_str());
        let listing = until(self.reads_end, "list the group's targets", listing);
        // A lookup beside the call may take longer than the call.
        let listing = async { listing.await.map(|targets| (targets, Instant::now())) };
        let interval = self.poll.min(MAX_POLL_BESIDE_LISTING);
        let (targets, lookup) = self.with_lookups_every(interval, lookups, listing).await;
        let listed = targets.map(|(targets, answered)| {
            self.baseline.record_list(&targets);
            self.list = Some(TargetList { targets, answered, is_outdated: false })
        });
        lookup.and(listed)
    }

    fn record_answer(
        &mut self,
        answer: Result<(Resolution, Instant), Error>,
        asked: Instant,
    ) -> Result<(), Error> {
        self.looked_up_at = Some(Instant::now());
        let (resolution, answered) = answer.inspect_err(|error| {
            self.stability.reset();
            log_decision!(debug, self.binding, "lookup_failed", reason = %error.explain(), "lookup failed");
        })?;
        self.stability.record(&resolution.addresses, asked, answered);
        let is_new = self.answers.insert(resolution.addresses.clone());
        match &self.resolution {
            Some(last) if last.addresses != resolution.addresses => {
                let (from, to) = (&last.addresses, &resolution.addresses);
                // If DNS alternates between addresses, each is logged once at INFO.
                if is_new {
                    log_decision!(info, self.binding, "addresses_changed", %from, %to, reason = "DNS gives another address", "addresses changed");
                } else {
                    log_decision!(debug, self.binding, "addresses_changed", %from, %to, reason = "DNS gives an earlier address again", "addresses changed");
                }
            }
            _ => {}
        }
        if let Some(group) = self.group {
            self.baseline.record_wanted(resolution.addresses.targets(group.port));
        }
        self.resolution = Some(resolution);
        Ok(())
    }

    /// Whether the last lookup took so long that the list made beside it is too old to deregister by.
    fn list_is_too_old_for_lookup(&self) -> bool {
        let (Some(list), Some(answered)) = (&self.list, self.stability.answered()) else { return false };
        answered.saturating_duration_since(list.answered) > MAX_OBSERVATION_AGE
    }

    /// Whether the group must be listed before the next plan. A list that does not hold the endpoint's addresses counts for
    /// [`MAX_OBSERVATION_AGE`] alone.
    fn must_list(&self, is_backing_off: bool) -> bool {
        let Some(list) = &self.list else { return true };
        if is_backing_off {
            return false;
        }
        let age = list.answered.elapsed();
        let is_old = age >= self.list_interval();
        list.is_outdated || is_old || (age >= MAX_OBSERVATION_AGE && self.misses_an_address())
    }

    /// How long a list counts that holds the endpoint's addresses.
    fn list_interval(&self) -> Duration {
        let is_often = self.relist_often_until.is_some_and(|until| Instant::now() < until);
        if is_often { RELIST_INTERVAL_AFTER_CHANGE } else { RELIST_INTERVAL }
    }

    /// Whether DNS gives an address that is not in the last list.
    fn misses_an_address(&self) -> bool {
        let (Some(list), Some(group)) = (&self.list, self.group) else { return true };
        let mut wanted = self.resolution.iter().flat_map(|found| found.addresses.targets(group.port));
        wanted.any(|target| !list.targets.contains_key(&target))
    }
}

async fn until<R>(
    deadline: Instant,
    doing: &str,
    call: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    timeout_at(deadline, call).await.unwrap_or_else(|_| Err(Error::deadline_exceeded(doing)))
}
