//! What a reconciliation sees: DNS at every look, and the group as seldom as is safe.

use std::collections::BTreeSet;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::desired::ReaderCache;
use super::stability::AnswerStability;
use super::{
    Call, Clients, MAX_OBSERVATION_AGE, Priority, RDS_RECHECK_INTERVAL, RELIST_INTERVAL, RdsApi, Resolution,
    Resolve, TargetGroupApi, TargetGroupInfo, Timing,
};
use crate::binding::Binding;
use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, AllowedExtras, Confirmation, Family, Plan, Targets, plan};

fn late() -> Error {
    let doing = "wait for a turn at the load balancing API before the invocation's time ran out";
    let fix = "look into what else uses up the API's limits, or raise the function's time-out";
    Error::new(ErrorKind::DeadlineExceeded, doing).with_fix(fix)
}

/// Ends a call at the deadline, and says so.
async fn bounded<R>(
    deadline: Instant,
    doing: &str,
    call: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    timeout_at(deadline, call).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::DeadlineExceeded, format!("{doing} before the invocation's time ran out"))
            .with_fix("raise the function's time-out, or look into why the call takes so long"))
    })
}

/// One complete look: what DNS says beside what the group holds.
pub(super) struct Observation {
    pub resolution: Resolution,
    pub targets: Targets,
    pub family: Family,
    pub port: u16,
}

impl Observation {
    /// The targets that the group must hold.
    pub fn wanted(&self) -> BTreeSet<SocketAddr> {
        self.resolution.addresses.targets(self.port).collect()
    }

    pub fn plan(&self, confirmation: Confirmation, allowed_extras: &AllowedExtras) -> Plan {
        plan(&self.resolution.addresses, self.port, &self.targets, confirmation, allowed_extras)
    }
}

/// The group as last listed.
struct TargetList {
    targets: Targets,
    asked: Instant,
    /// Set when we changed the group since, or must see it afresh.
    outdated: bool,
}

/// What was seen so far.
pub(super) struct Observer<'a, D, T, C> {
    pub clients: &'a Clients<D, T, C>,
    pub binding: &'a Binding,
    /// How urgent it is to see the group.
    pub priority: Priority,
    /// Whether a turn to list was waited for and is not used yet.
    has_permit: bool,
    /// The pause between lookups.
    poll: Duration,
    queued: Duration,
    deadline: Instant,
    pub resolution: Option<Resolution>,
    reader_cache: ReaderCache,
    stability: AnswerStability,
    listing: Option<TargetList>,
    /// The family and the port of the targets, once the group was described.
    group: Option<TargetGroupInfo>,
    /// Every answer so far: one that comes back is no news.
    known: BTreeSet<Addresses>,
}

impl<'a, D: Resolve, T: TargetGroupApi, C: RdsApi> Observer<'a, D, T, C> {
    pub fn new(
        clients: &'a Clients<D, T, C>,
        binding: &'a Binding,
        timing: Timing,
        deadline: Instant,
    ) -> Self {
        Self {
            clients,
            binding,
            priority: Priority::Routine,
            has_permit: false,
            poll: timing.poll,
            queued: Duration::ZERO,
            deadline,
            resolution: None,
            reader_cache: ReaderCache::default(),
            stability: AnswerStability::new(timing),
            listing: None,
            group: None,
            known: BTreeSet::new(),
        }
    }

    /// Says how urgent the first look is, or that its turn was waited for.
    pub fn begin(&mut self, priority: Option<Priority>) {
        (self.priority, self.has_permit) = (priority.unwrap_or(Priority::Routine), priority.is_none());
    }

    /// Asks DNS, and lists the group where the last listing no longer serves; while the API `is_backing_off`, any
    /// listing serves.
    pub async fn observe(&mut self, is_backing_off: bool) -> Result<Observation, Error> {
        let describing = self.clients.groups.describe(&self.binding.target_group);
        let TargetGroupInfo { family, port } = self.bounded("describe the target group", describing).await?;
        let port = self.binding.port.unwrap_or(port);
        self.group = Some(TargetGroupInfo { family, port });
        let lists = self.must_list(port, is_backing_off);
        if lists && !std::mem::take(&mut self.has_permit) {
            self.permit(self.priority, Call::Describe).await?;
        }
        let asked = Instant::now();
        let mut resolution = if lists {
            let (listed, resolution) = self.list(Duration::ZERO).await;
            // A listing that arrived is kept, whatever became of the lookup.
            let listed = listed.map(|targets| self.keep_listing(targets, asked));
            let resolution = resolution.transpose()?;
            listed?;
            resolution
        } else {
            let resolution = self.resolve(family).await;
            Some(self.keep_resolution(resolution, asked)?)
        };
        if self.must_list(port, is_backing_off) {
            // At once: what was seen must not grow old, and an answer that is news is worth the call.
            let asked = Instant::now();
            let (listed, later) = self.list(self.poll).await;
            self.keep_listing(listed?, asked);
            resolution = later.transpose()?.or(resolution);
        }
        let resolution = resolution.or_else(|| self.resolution.clone()).ok_or_else(late)?;
        let targets = self.listing.as_ref().map(|listing| listing.targets.clone()).unwrap_or_default();
        Ok(Observation { resolution, targets, family, port })
    }

    /// What was seen last, be it of two looks: one may have been cut short.
    pub fn seen(&self) -> Option<Observation> {
        let (resolution, targets) = (self.resolution.clone()?, self.listing.as_ref()?.targets.clone());
        let TargetGroupInfo { family, port } = self.group?;
        Some(Observation { resolution, targets, family, port })
    }

    /// Lists the group at the next look, however young the last listing is.
    pub fn require_new_listing(&mut self) {
        if let Some(listing) = &mut self.listing {
            listing.outdated = true;
        }
    }

    /// Whether the last look is young enough to deregister by.
    pub fn is_fresh(&self) -> bool {
        let is_young = |asked: Instant| asked.elapsed() <= MAX_OBSERVATION_AGE;
        self.stability.asked().is_some_and(is_young)
            && self.listing.as_ref().is_some_and(|listing| !listing.outdated && is_young(listing.asked))
    }

    /// Whether DNS has given the same answer for long enough.
    pub fn is_confirmed(&self) -> bool {
        self.stability.is_confirmed()
    }

    /// How long ago DNS first gave the answer that it gives now.
    pub fn known_for(&self) -> Option<Duration> {
        self.stability.since().map(|since| since.elapsed())
    }

    /// Waits until the API's limits allow the call, and says whether it had to wait. What was seen of the
    /// group grows older meanwhile.
    pub async fn permit(&mut self, priority: Priority, call: Call) -> Result<bool, Error> {
        let began = Instant::now();
        let clients = self.clients;
        let mut permit = pin!(timeout_at(self.deadline, clients.groups.permit(priority, call)));
        tokio::select! {
            biased;
            permit = permit.as_mut() => return permit.map(|()| false).map_err(|_| late()),
            () = ready(()) => {}
        }
        let (permit, _) = self.poll_dns_during(self.poll, permit).await;
        permit.map_err(|_| late())?;
        self.queued += began.elapsed();
        Ok(true)
    }

    /// Waits for a call while DNS is looked up, first after `pause`, then at every poll: a gap between lookups
    /// would confirm nothing. Returns the call's result, and that of the last lookup, if there was one.
    async fn poll_dns_during<R>(
        &mut self,
        mut pause: Duration,
        call: impl Future<Output = R>,
    ) -> (R, Option<Result<Resolution, Error>>) {
        let mut call = pin!(call);
        let mut last = None;
        loop {
            if !pause.is_zero() {
                tokio::select! {
                    biased;
                    result = call.as_mut() => return (result, last),
                    () = sleep(pause) => {}
                }
            }
            pause = self.poll;
            let Some(TargetGroupInfo { family, .. }) = self.group else { continue };
            let asked = Instant::now();
            let (resolution, result) = {
                let mut looking = pin!(self.resolve(family));
                tokio::select! {
                    biased;
                    resolution = looking.as_mut() => (resolution, None),
                    // The lookup is brought to its end: without it there were a gap.
                    result = call.as_mut() => (looking.await, Some(result)),
                }
            };
            last = Some(self.keep_resolution(resolution, asked));
            if let Some(result) = result {
                return (result, last);
            }
        }
    }

    /// How long turns were waited for since that was asked for last.
    pub fn take_queued(&mut self) -> Duration {
        std::mem::take(&mut self.queued)
    }

    /// Makes a call while DNS is looked up, ends it at the deadline, and says so.
    pub async fn bounded<R>(
        &mut self,
        doing: &str,
        call: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let call = bounded(self.deadline, doing, call);
        self.poll_dns_during(self.poll, call).await.0
    }

    /// Looks the endpoint up, and says when it was answered: a listing beside it may take longer.
    async fn resolve(&self, family: Family) -> Result<(Resolution, Instant), Error> {
        let resolving = self.reader_cache.resolve(
            &self.clients.dns,
            &self.clients.rds,
            self.binding,
            family,
            RDS_RECHECK_INTERVAL,
        );
        let resolution = bounded(self.deadline, "resolve the endpoint", resolving).await?;
        Ok((resolution, Instant::now()))
    }

    /// Lists the group while DNS is looked up, first after `pause`.
    async fn list(&mut self, pause: Duration) -> (Result<Targets, Error>, Option<Result<Resolution, Error>>) {
        let listing = self.clients.groups.targets(&self.binding.target_group);
        self.poll_dns_during(pause, bounded(self.deadline, "list the group's targets", listing)).await
    }

    fn keep_resolution(
        &mut self,
        resolution: Result<(Resolution, Instant), Error>,
        asked: Instant,
    ) -> Result<Resolution, Error> {
        let (resolution, answered) = resolution.inspect_err(|_| self.stability.end())?;
        self.stability.record(&resolution.addresses, asked, answered);
        let is_news = self.known.insert(resolution.addresses.clone());
        match &self.resolution {
            Some(last) if last.addresses != resolution.addresses => {
                let (from, to) = (&last.addresses, &resolution.addresses);
                // A flicker tells its two sides once, not at every lookup.
                if is_news {
                    log_decision!(info, self.binding, "addresses_changed", %from, %to, reason = "DNS names another address", "follows");
                } else {
                    log_decision!(debug, self.binding, "addresses_changed", %from, %to, reason = "DNS names an earlier address again", "follows");
                }
            }
            _ => {}
        }
        self.resolution = Some(resolution.clone());
        Ok(resolution)
    }

    fn keep_listing(&mut self, targets: Targets, asked: Instant) {
        self.listing = Some(TargetList { targets, asked, outdated: false });
    }

    /// Whether the group must be listed before the next plan. Lookups are cheap, listings are not: an
    /// older one serves as long as the writer is in it.
    fn must_list(&self, port: u16, is_backing_off: bool) -> bool {
        let Some(listing) = &self.listing else { return true };
        if is_backing_off {
            return false;
        }
        let age = listing.asked.elapsed();
        let lacks_the_writer = || {
            let mut wanted = self.resolution.iter().flat_map(|resolution| resolution.addresses.targets(port));
            wanted.any(|target| !listing.targets.contains_key(&target))
        };
        listing.outdated || age >= RELIST_INTERVAL || (age >= MAX_OBSERVATION_AGE && lacks_the_writer())
    }
}
