//! What a reconciliation sees: DNS at every look, and the group as seldom as is safe.

use std::collections::BTreeSet;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::evidence::Steady;
use super::roles::Roster;
use super::{Answer, Call, Clusters, Dns, FRESH, Group, OPINION, Pace, RELIST, TargetGroups, Urgency, World};
use crate::config::Binding;
use crate::fault::{Fault, Kind};
use crate::plan::{Beside, Evidence, Family, Plan, Targets, Writer, plan};

fn late() -> Fault {
    let doing = "wait for a turn at the load balancing API before the invocation's time ran out";
    let cure = "look into what else uses up the API's limits, or raise the function's time-out";
    Fault::new(Kind::OutOfTime, doing).cure(cure)
}

/// Ends a call at the deadline, and says so.
async fn bounded<R>(
    deadline: Instant,
    doing: &str,
    call: impl Future<Output = Result<R, Fault>>,
) -> Result<R, Fault> {
    timeout_at(deadline, call).await.unwrap_or_else(|_| {
        Err(Fault::new(Kind::OutOfTime, format!("{doing} before the invocation's time ran out"))
            .cure("raise the function's time-out, or look into why the call takes so long"))
    })
}

/// One complete look: what DNS says beside what the group holds.
pub(super) struct Look {
    pub answer: Answer,
    pub targets: Targets,
    pub family: Family,
    pub port: u16,
}

impl Look {
    /// The targets that the group must hold.
    pub fn wanted(&self) -> BTreeSet<SocketAddr> {
        self.answer.writer.targets(self.port).collect()
    }

    pub fn plan(&self, evidence: Evidence, beside: &Beside) -> Plan {
        plan(&self.answer.writer, self.port, &self.targets, evidence, beside)
    }
}

/// The group as last listed.
struct Listing {
    targets: Targets,
    asked: Instant,
    /// Set when we changed the group since, or must see it afresh.
    outdated: bool,
}

/// What was seen so far.
pub(super) struct Sight<'a, D, T, C> {
    pub world: &'a World<D, T, C>,
    pub binding: &'a Binding,
    /// How urgent it is to see the group.
    pub urgency: Urgency,
    /// Whether a turn to list was waited for and is not used yet.
    has_turn: bool,
    /// The pause between lookups.
    poll: Duration,
    queued: Duration,
    deadline: Instant,
    pub answer: Option<Answer>,
    roster: Roster,
    steady: Steady,
    listing: Option<Listing>,
    /// The family and the port of the targets, once the group was described.
    group: Option<Group>,
    /// Every answer so far: one that comes back is no news.
    known: BTreeSet<Writer>,
}

impl<'a, D: Dns, T: TargetGroups, C: Clusters> Sight<'a, D, T, C> {
    pub fn new(world: &'a World<D, T, C>, binding: &'a Binding, pace: Pace, deadline: Instant) -> Self {
        Self {
            world,
            binding,
            urgency: Urgency::Routine,
            has_turn: false,
            poll: pace.poll,
            queued: Duration::ZERO,
            deadline,
            answer: None,
            roster: Roster::default(),
            steady: Steady::new(pace),
            listing: None,
            group: None,
            known: BTreeSet::new(),
        }
    }

    /// Says how urgent the first look is, or that its turn was waited for.
    pub fn begin(&mut self, urgency: Option<Urgency>) {
        (self.urgency, self.has_turn) = (urgency.unwrap_or(Urgency::Routine), urgency.is_none());
    }

    /// Asks DNS, and lists the group where the last listing no longer serves; while the API `rests`, any
    /// listing serves.
    pub async fn look(&mut self, rests: bool) -> Result<Look, Fault> {
        let describing = self.world.groups.describe(&self.binding.target_group);
        let Group { family, port } = self.bounded("describe the target group", describing).await?;
        let port = self.binding.port.unwrap_or(port);
        self.group = Some(Group { family, port });
        let lists = self.must_list(port, rests);
        if lists && !std::mem::take(&mut self.has_turn) {
            self.turn(self.urgency, Call::Describe).await?;
        }
        let asked = Instant::now();
        let mut answer = if lists {
            let (listed, answer) = self.list(Duration::ZERO).await;
            // A listing that arrived is kept, whatever became of the lookup.
            let listed = listed.map(|targets| self.keep_listing(targets, asked));
            let answer = answer.transpose()?;
            listed?;
            answer
        } else {
            let answer = self.resolve(family).await;
            Some(self.keep_answer(answer, asked)?)
        };
        if self.must_list(port, rests) {
            // At once: what was seen must not grow old, and an answer that is news is worth the call.
            let asked = Instant::now();
            let (listed, later) = self.list(self.poll).await;
            self.keep_listing(listed?, asked);
            answer = later.transpose()?.or(answer);
        }
        let answer = answer.or_else(|| self.answer.clone()).ok_or_else(|| late())?;
        let targets = self.listing.as_ref().map(|listing| listing.targets.clone()).unwrap_or_default();
        Ok(Look { answer, targets, family, port })
    }

    /// What was seen last, be it of two looks: one may have been cut short.
    pub fn seen(&self) -> Option<Look> {
        let (answer, targets) = (self.answer.clone()?, self.listing.as_ref()?.targets.clone());
        let Group { family, port } = self.group?;
        Some(Look { answer, targets, family, port })
    }

    /// Lists the group at the next look, however young the last listing is.
    pub fn look_afresh(&mut self) {
        if let Some(listing) = &mut self.listing {
            listing.outdated = true;
        }
    }

    /// Whether the last look is young enough to evict by.
    pub fn is_fresh(&self) -> bool {
        let is_young = |asked: Instant| asked.elapsed() <= FRESH;
        self.steady.asked().is_some_and(is_young)
            && self.listing.as_ref().is_some_and(|listing| !listing.outdated && is_young(listing.asked))
    }

    /// Whether DNS has given the same answer for long enough.
    pub fn is_steady(&self) -> bool {
        self.steady.is_confirmed()
    }

    /// How long ago DNS first gave the answer that it gives now.
    pub fn known_for(&self) -> Option<Duration> {
        self.steady.since().map(|since| since.elapsed())
    }

    /// Waits until the API's limits allow the call, and says whether it had to wait. What was seen of the
    /// group grows older meanwhile.
    pub async fn turn(&mut self, urgency: Urgency, call: Call) -> Result<bool, Fault> {
        let began = Instant::now();
        let world = self.world;
        let mut turn = pin!(timeout_at(self.deadline, world.groups.turn(urgency, call)));
        tokio::select! {
            biased;
            turn = turn.as_mut() => return turn.map(|()| false).map_err(|_| late()),
            () = ready(()) => {}
        }
        let (turn, _) = self.beside(self.poll, turn).await;
        turn.map_err(|_| late())?;
        self.queued += began.elapsed();
        Ok(true)
    }

    /// Waits for a call while DNS is looked up, first after `pause`, then at every poll: a gap between lookups
    /// would confirm nothing. Returns the call's result, and that of the last lookup, if there was one.
    async fn beside<R>(
        &mut self,
        mut pause: Duration,
        call: impl Future<Output = R>,
    ) -> (R, Option<Result<Answer, Fault>>) {
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
            let Some(Group { family, .. }) = self.group else { continue };
            let asked = Instant::now();
            let (answer, result) = {
                let mut looking = pin!(self.resolve(family));
                tokio::select! {
                    biased;
                    answer = looking.as_mut() => (answer, None),
                    // The lookup is brought to its end: without it there were a gap.
                    result = call.as_mut() => (looking.await, Some(result)),
                }
            };
            last = Some(self.keep_answer(answer, asked));
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
        call: impl Future<Output = Result<R, Fault>>,
    ) -> Result<R, Fault> {
        let call = bounded(self.deadline, doing, call);
        self.beside(self.poll, call).await.0
    }

    /// Looks the endpoint up, and says when it was answered: a listing beside it may take longer.
    async fn resolve(&self, family: Family) -> Result<(Answer, Instant), Fault> {
        let resolving =
            self.roster.resolve(&self.world.dns, &self.world.clusters, self.binding, family, OPINION);
        let answer = bounded(self.deadline, "resolve the endpoint", resolving).await?;
        Ok((answer, Instant::now()))
    }

    /// Lists the group while DNS is looked up, first after `pause`.
    async fn list(&mut self, pause: Duration) -> (Result<Targets, Fault>, Option<Result<Answer, Fault>>) {
        let listing = self.world.groups.targets(&self.binding.target_group);
        self.beside(pause, bounded(self.deadline, "list the group's targets", listing)).await
    }

    fn keep_answer(
        &mut self,
        answer: Result<(Answer, Instant), Fault>,
        asked: Instant,
    ) -> Result<Answer, Fault> {
        let (answer, answered) = answer.inspect_err(|_| self.steady.end())?;
        self.steady.record(&answer.writer, asked, answered);
        let is_news = self.known.insert(answer.writer.clone());
        match &self.answer {
            Some(last) if last.writer != answer.writer => {
                let (from, to) = (&last.writer, &answer.writer);
                // A flicker tells its two sides once, not at every lookup.
                if is_news {
                    say!(info, self.binding, "moved", %from, %to, reason = "DNS names another address", "follows");
                } else {
                    say!(debug, self.binding, "moved", %from, %to, reason = "DNS names an earlier address again", "follows");
                }
            }
            _ => {}
        }
        self.answer = Some(answer.clone());
        Ok(answer)
    }

    fn keep_listing(&mut self, targets: Targets, asked: Instant) {
        self.listing = Some(Listing { targets, asked, outdated: false });
    }

    /// Whether the group must be listed before the next plan. Lookups are cheap, listings are not: an
    /// older one serves as long as the writer is in it.
    fn must_list(&self, port: u16, rests: bool) -> bool {
        let Some(listing) = &self.listing else { return true };
        if rests {
            return false;
        }
        let age = listing.asked.elapsed();
        let lacks_the_writer = || {
            let mut wanted = self.answer.iter().flat_map(|answer| answer.writer.targets(port));
            wanted.any(|target| !listing.targets.contains_key(&target))
        };
        listing.outdated || age >= RELIST || (age >= FRESH && lacks_the_writer())
    }
}
