//! Everything around the function in a schedule: the model of AWS with the schedule's faults, and a record of
//! all events.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use rds_nlb_sync::reconcile::LISTING_LAG;
use tokio::time::{Instant, advance, sleep};

use super::checker::Checker;
use super::hazard::{Coverage, Hazard};
use super::history::{Change, Event, Targets, Time};
use super::phase::Progress;
use super::schedule::{Act, ExternalChange, MEMBERS, NON_MEMBERS, Schedule, ServerAnswer, Silence, Window};
use crate::account_limits::AccountLimits;
use crate::{Action, FakeAws, Fault, GROUP};

/// How old the group was in a listing.
type Snapshot = (Time, BTreeMap<SocketAddr, Held>);

/// A target in it.
#[derive(Clone, Copy)]
struct Held {
    registered: Instant,
    drained: Option<Instant>,
}

/// The group as a listing shows it.
pub struct Shown {
    pub version: usize,
    pub active: Targets,
    pub draining: Targets,
    /// Of the active ones.
    pub unhealthy: Targets,
    pub initial: Targets,
}

struct Server {
    member: usize,
    broken: Option<Fault>,
}

pub struct State {
    pub schedule: Schedule,
    dice: Rng,
    /// For the waits for permits, in schedules that have them.
    permits: Option<Rng>,
    aws: FakeAws,
    servers: Vec<Server>,
    /// The member that the RDS API calls the writer.
    pub rds: Option<usize>,
    pub failing_over: bool,
    /// The host, and so the address, of each member.
    hosts: [usize; MEMBERS.len()],
    /// The addresses whose hosts answer no health check.
    down: BTreeSet<IpAddr>,
    windows: Vec<Window>,
    limits: Option<AccountLimits>,
    lag: Duration,
    /// The group after each of its changes.
    snapshots: Vec<Snapshot>,
    calls: Vec<Option<(Change, Targets)>>,
    failures: usize,
    pub coverage: Coverage,
    progress: Vec<Progress>,
    /// The run of each call.
    call_runs: Vec<usize>,
    /// Hazards that began and last.
    lasting: BTreeSet<Hazard>,
    /// For jitter, in schedules that have it.
    jitter: Option<Rng>,
    pub checker: Checker,
    /// The events in words, where they are asked for.
    pub trace: Option<Vec<String>>,
}

/// The outside, shared by all invocations.
#[derive(Clone)]
pub struct Outside {
    start: Instant,
    state: Rc<RefCell<State>>,
}

/// The outcome of a call.
pub struct CallOutcome {
    /// Until it takes effect, if it does.
    pub effect: Option<Duration>,
    /// Until its answer arrives, if it does.
    pub answer: Option<Duration>,
    /// The answer, where it is a failure.
    pub failure: Option<Fault>,
}

impl Outside {
    pub fn new(schedule: Schedule, traced: bool) -> Self {
        let aws = FakeAws::new();
        let port = schedule.port();
        aws.group(|group| {
            group.drain = schedule.drain;
            group.address_type = if schedule.ipv6 { "ipv6" } else { "ipv4" };
        });
        let text =
            |(target, drains): &(SocketAddr, bool)| format!("{target}{}", if *drains { "~" } else { "" });
        let texts: Vec<String> = schedule.targets.iter().map(text).collect();
        aws.holds(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let active = schedule.targets.iter().filter(|(_, drains)| !drains).map(|(target, _)| *target);
        let servers = vec![None; schedule.servers];
        let mut state = State {
            dice: Rng::with_seed(!schedule.seed),
            permits: schedule.permit_waits.then(|| Rng::with_seed(schedule.seed ^ 0x7475_726e_7300)),
            servers: (0..schedule.servers).map(|_| Server { member: 0, broken: None }).collect(),
            rds: None,
            failing_over: false,
            hosts: [0, 1, 2],
            down: BTreeSet::new(),
            windows: schedule.windows.clone(),
            limits: Some(AccountLimits::shared(schedule.spare)),
            lag: schedule.lag,
            snapshots: Vec::new(),
            calls: Vec::new(),
            failures: 0,
            coverage: Coverage::default(),
            progress: Vec::new(),
            call_runs: Vec::new(),
            lasting: schedule.silence.hazards(),
            jitter: schedule.jitter.then(|| Rng::with_seed(schedule.seed ^ 0x6a69_7474_6572)),
            checker: Checker::new(schedule.timing, port, schedule.keep, &servers, active.collect()),
            trace: traced.then(Vec::new),
            aws,
            schedule,
        };
        state.keep_snapshot(Time::ZERO);
        Self { start: Instant::now(), state: Rc::new(RefCell::new(state)) }
    }

    pub fn now(&self) -> Time {
        self.start.elapsed()
    }

    pub fn at(&self, time: Time) -> Instant {
        self.start + time
    }

    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Sleeps, and moves the clock off the grid of whole milliseconds, in which the timers of a paused clock
    /// would tie.
    pub async fn pause(&self, time: Duration) {
        if !time.is_zero() {
            sleep(time).await;
        }
        let off_grid = self.state().off_grid();
        if let Some(off_grid) = off_grid {
            advance(off_grid).await;
        }
    }

    pub fn record(&self, event: Event) {
        let now = self.now();
        self.state().record(now, event);
    }

    pub fn act(&self, act: Act) {
        let now = self.now();
        let mut state = self.state();
        match act {
            Act::Serves(server, member) => {
                state.servers[server].member = member;
                state.serves(now, server);
            }
            Act::Breaks(server, broken) => {
                state.servers[server].broken = broken;
                state.serves(now, server);
            }
            Act::RdsSays(writer) => state.rds = writer,
            Act::FailoverInProgress(is_failing_over) => state.failing_over = is_failing_over,
            Act::Answers(host, true) => {
                let address = state.schedule.address(host);
                if state.down.remove(&address) && now > Time::ZERO {
                    state.begin(now, Hazard::StandbyWakesUp);
                }
            }
            Act::Answers(host, false) => {
                let address = state.schedule.address(host);
                state.down.insert(address);
            }
            Act::Renumbers(member, host) => {
                state.begin(now, Hazard::ReusedAddress);
                state.hosts[member] = host;
                for server in 0..state.servers.len() {
                    state.serves(now, server);
                }
            }
            Act::ChangesGroup(change) => {
                state.count_running(now, Hazard::ExternalChange);
                state.change_externally(now, change);
            }
        }
    }

    /// Ends all faults: every name server and the RDS API name this member.
    pub fn calm(&self, member: usize) {
        let now = self.now();
        let mut state = self.state();
        state.windows.clear();
        state.limits = None;
        state.lag = Duration::ZERO;
        for server in 0..state.servers.len() {
            state.servers[server] = Server { member, broken: None };
            state.serves(now, server);
        }
        state.rds = state.rds.map(|_| member);
        state.failing_over = false;
        if !state.schedule.is_of_the_template() {
            state.schedule.silence = Silence::default();
        }
        let writer = state.address(member);
        state.down.remove(&writer);
        let slowest = &mut state.schedule.latency.1;
        *slowest = (*slowest).min(Duration::from_millis(200));
    }

    /// Lets a change take effect, once.
    pub fn land(&self, call: usize) {
        let now = self.now();
        let mut state = self.state();
        let Some((change, targets)) = state.calls[call].take() else { return };
        let list: Vec<SocketAddr> = targets.into_iter().collect();
        {
            let mut aws = state.aws.state();
            let done = match change {
                Change::Register => {
                    let list: Vec<_> = list.into_iter().map(|target| (target, None)).collect();
                    aws.register(GROUP, &list)
                }
                Change::Deregister => aws.deregister(GROUP, &list),
            };
            done.expect("the model takes every target of the schedule");
        }
        let active = state.keep_snapshot(now);
        state.record(now, Event::Landed { call, active });
    }
}

/// For how long the scheduler of the machine stalls the process at most, as an invocation with a fourteenth of a
/// core can see it.
pub const STALL: Duration = Duration::from_millis(40);

impl State {
    /// Counts a hazard in the phase of this run.
    pub fn count(&mut self, now: Time, run: usize, hazard: Hazard) {
        let phase = self.progress[run].phase(now);
        self.coverage.count(hazard, phase);
    }

    /// Counts a hazard in the phase of each run.
    fn count_running(&mut self, now: Time, hazard: Hazard) {
        let running = (0..self.progress.len()).filter(|run| self.progress[*run].is_running);
        running.collect::<Vec<_>>().into_iter().for_each(|run| self.count(now, run, hazard));
    }

    /// A hazard begins and lasts.
    fn begin(&mut self, now: Time, hazard: Hazard) {
        self.lasting.insert(hazard);
        self.count_running(now, hazard);
    }

    /// Follows the phase of the event's run.
    fn follow(&mut self, now: Time, event: &Event) {
        let run = match event {
            Event::Began { candidate, .. } => {
                self.progress.push(Progress::new(*candidate));
                return self.enter(now, self.progress.len() - 1);
            }
            Event::Asked { run, .. }
            | Event::Looked { run, .. }
            | Event::Listed { run, .. }
            | Event::RdsAnswered { run, .. }
            | Event::Failed { run, .. }
            | Event::Ended { run, .. } => *run,
            Event::Sent { run, .. } => {
                self.call_runs.push(*run);
                *run
            }
            Event::Answered { call, .. } => self.call_runs[*call],
            _ => return,
        };
        if let Event::Listed { version, .. } = event
            && version + 1 < self.snapshots.len()
        {
            self.count(now, run, Hazard::StaleListing);
        }
        let port = self.schedule.port();
        let before = self.progress[run].phase(now);
        self.progress[run].observe(now, port, event);
        if self.progress[run].phase(now) != before && self.progress[run].is_running {
            self.enter(now, run);
        }
    }

    /// Counts the hazards that are there when a run enters a phase.
    fn enter(&mut self, now: Time, run: usize) {
        let first = self.says(0);
        let is_split = (1..self.servers.len()).any(|server| self.says(server) != first);
        let names = |writer| matches!(first, ServerAnswer::Member(member) if member != writer);
        let progress = &self.progress[run];
        let is_stale = progress.listed.is_some_and(|version| version + 1 < self.snapshots.len());
        let overlaps = self.progress.iter().filter(|progress| progress.is_running).count() > 1;
        let candidate = progress.candidate;
        let next = MEMBERS[self.schedule.settles_on];
        let present = [
            (is_split, Hazard::StaleServer),
            (is_stale, Hazard::StaleListing),
            (overlaps, Hazard::Overlap),
            (self.rds.is_some_and(names), Hazard::RdsDisagrees),
            (self.permits.is_some(), Hazard::PermitWait),
            (candidate.is_some_and(|name| NON_MEMBERS.contains(&name)), Hazard::NonMemberCandidate),
            (candidate.is_some_and(|name| MEMBERS.contains(&name) && name != next), Hazard::WrongCandidate),
        ];
        let lasting = self.lasting.clone().into_iter();
        for hazard in
            present.into_iter().filter_map(|(is_there, hazard)| is_there.then_some(hazard)).chain(lasting)
        {
            self.count(now, run, hazard);
        }
    }

    pub fn record(&mut self, now: Time, event: Event) {
        self.follow(now, &event);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8.3} {event:?}", now.as_secs_f64()));
        }
        let found = self.checker.violations.len();
        self.checker.observe(now, &event);
        if let Some(trace) = &mut self.trace {
            trace.extend(self.checker.violations[found..].iter().map(|v| format!("         !!! {v:?}")));
        }
    }

    fn serves(&mut self, now: Time, server: usize) {
        let address = match self.says(server) {
            ServerAnswer::Member(member) => Some(self.address(member)),
            ServerAnswer::Unusable(_) => None,
        };
        self.record(now, Event::Serves { server, address });
    }

    /// The answer of a name server now.
    pub fn says(&self, server: usize) -> ServerAnswer {
        let Server { member, broken } = self.servers[server];
        broken.map_or(ServerAnswer::Member(member), ServerAnswer::Unusable)
    }

    /// The answer of this name server, or of a random one.
    pub fn asks_server(&mut self, now: Time, run: usize, of: Option<usize>) -> ServerAnswer {
        let server = of.unwrap_or_else(|| self.dice.usize(..self.servers.len()));
        let says = self.says(server);
        if let ServerAnswer::Unusable(fault) = says {
            self.count(now, run, Hazard::Answer(fault.kind()));
        }
        says
    }

    fn change_externally(&mut self, now: Time, change: ExternalChange) {
        {
            let mut aws = self.aws.state();
            let done = match change {
                ExternalChange::Registers(target) => aws.register(GROUP, &[(target, None)]),
                ExternalChange::Deregisters(target) => aws.deregister(GROUP, &[target]),
                ExternalChange::DeregistersAll => {
                    let all: Vec<SocketAddr> = aws.groups[GROUP].targets.keys().copied().collect();
                    aws.deregister(GROUP, &all)
                }
            };
            done.expect("the model takes every target of the schedule");
        }
        let active = self.keep_snapshot(now);
        self.record(now, Event::ExternalChange { active });
    }

    /// Keeps the group as it is, and returns its active targets.
    fn keep_snapshot(&mut self, now: Time) -> Targets {
        let targets: BTreeMap<SocketAddr, Held> = {
            let aws = self.aws.state();
            let group = &aws.groups[GROUP];
            let held = |of: &crate::Target| Held { registered: of.registered, drained: of.drained };
            group.targets.iter().map(|(target, of)| (*target, held(of))).collect()
        };
        let active =
            targets.iter().filter(|(_, held)| held.drained.is_none()).map(|(target, _)| *target).collect();
        self.snapshots.push((now, targets));
        active
    }

    /// The group as the API shows it now.
    pub fn listing(&mut self, outside: &Outside, now: Time) -> Shown {
        let lag = self.lag.mul_f64(self.dice.f64());
        let as_of = now.saturating_sub(lag);
        let version = self.snapshots.partition_point(|(at, _)| *at <= as_of).max(1) - 1;
        let as_of = outside.at(as_of);
        let health = self.schedule.health;
        let mut shown = Shown {
            version,
            active: Targets::new(),
            draining: Targets::new(),
            unhealthy: Targets::new(),
            initial: Targets::new(),
        };
        for (target, Held { registered, drained }) in &self.snapshots[version].1 {
            match drained {
                None => {
                    shown.active.insert(*target);
                    if as_of < *registered + health {
                        shown.initial.insert(*target);
                    } else if self.down.contains(&target.ip()) {
                        shown.unhealthy.insert(*target);
                    }
                }
                Some(drained) if *drained > as_of => drop(shown.draining.insert(*target)),
                Some(_) => {}
            }
        }
        shown
    }

    /// Sends a change, and returns its number.
    pub fn send(&mut self, now: Time, run: usize, change: Change, targets: &Targets) -> usize {
        let call = self.calls.len();
        self.calls.push(Some((change, targets.clone())));
        self.record(now, Event::Sent { run, call, change, targets: targets.clone() });
        call
    }

    pub fn fails(&mut self, now: Time, run: usize, action: Action) -> usize {
        self.failures += 1;
        let failure = self.failures;
        self.record(now, Event::Failed { run, action, failure });
        failure
    }

    pub fn latency(&mut self) -> Duration {
        let (from, until) = self.schedule.latency;
        let (from, until) = (from.as_millis() as u64, until.as_millis() as u64);
        let latency =
            if until == 0 { Duration::ZERO } else { Duration::from_millis(self.dice.u64(from..=until)) };
        self.jittered(latency)
    }

    /// The time, some early and some late, in schedules with jitter.
    fn jittered(&mut self, time: Duration) -> Duration {
        let Some(jitter) = &mut self.jitter else { return time };
        time.mul_f64(jitter.f64().mul_add(0.2, 0.9)) + Duration::from_nanos(jitter.u64(..1_500_000))
    }

    fn off_grid(&mut self) -> Option<Duration> {
        self.jitter.as_mut().map(|jitter| Duration::from_nanos(jitter.u64(1..1_000_000)))
    }

    /// The time until the scheduler of the machine stalls the process, and for how long.
    pub fn stall(&mut self) -> Option<(Duration, Duration)> {
        let jitter = self.jitter.as_mut()?;
        let longest = if jitter.u8(..10) == 0 { STALL } else { STALL / 10 };
        let stall = Duration::from_nanos(jitter.u64(..longest.as_nanos() as u64));
        Some((Duration::from_micros(jitter.u64(20_000..4_000_000)), stall))
    }

    /// From now on no call waits for a permit.
    pub fn stop_permit_waits(&mut self) {
        self.permits = None;
    }

    /// How long a call waits for its turn, if it does.
    pub fn permit(&mut self) -> Option<Duration> {
        let permits = self.permits.as_mut()?;
        permits.bool().then(|| Duration::from_millis(permits.u64(..4000)))
    }

    /// An invocation begins or ends to wait for a permit.
    pub fn waits_for_permit(&mut self, now: Time, run: usize, waits: bool) {
        self.progress[run].waits_for_permit(waits);
        if waits {
            self.enter(now, run);
        }
    }

    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let time = Duration::from_millis(self.dice.u64(..=longest.as_millis() as u64));
        self.jittered(time)
    }

    /// The fault of a call or lookup that is sent now.
    pub fn fault(&mut self, now: Time, run: usize, action: Action) -> Option<Fault> {
        let State { windows, dice, limits, .. } = self;
        let open = windows.iter().filter(|w| w.action == action && (w.from..w.until).contains(&now));
        let mut met = open.filter(|window| dice.f64() < window.chance).map(|window| window.fault);
        if let Some(fault) = met.next() {
            let is_lookup = action == Action::Lookup;
            let kind = fault.kind();
            self.count(now, run, if is_lookup { Hazard::Lookup(kind) } else { Hazard::Call(kind) });
            return Some(fault);
        }
        let is_refused = limits.as_mut().is_some_and(|limits| !limits.take(action));
        is_refused.then(|| {
            self.count(now, run, Hazard::RateLimit);
            Fault::Throttled
        })
    }

    /// The outcome of an API call that is sent now.
    pub fn outcome(&mut self, now: Time, run: usize, action: Action) -> CallOutcome {
        let is_of_rds = matches!(action, Action::DescribeDBClusters | Action::DescribeDBInstances);
        if is_of_rds && self.schedule.silence.rds {
            return CallOutcome { effect: None, answer: None, failure: None };
        }
        let (there, back) = (self.latency() / 2, self.latency() / 2);
        let fault = self.fault(now, run, action);
        let arrives = Some(there);
        let perhaps = self.dice.bool().then_some(there);
        let (effect, answer, failure) = match fault {
            None => (arrives, Some(there + back), None),
            Some(Fault::Slow(longest)) => {
                let late = there + self.up_to(longest);
                let effect = if self.dice.bool() { there } else { late };
                (Some(effect), Some(late + back), None)
            }
            Some(Fault::Hangs) => (perhaps, None, None),
            Some(Fault::TimesOut) => {
                let gives_up = Duration::from_secs(2) + self.up_to(Duration::from_secs(18));
                (perhaps, Some(there + gives_up), fault)
            }
            Some(Fault::AnswerLost) => (arrives, Some(there + back), fault),
            Some(Fault::TakesEffectLate) => {
                // And is listed after as long as the loop reckons with, not later.
                let late = self.up_to(Duration::from_secs(4)).min(LISTING_LAG - self.lag);
                (Some(there + back + late), Some(there + back), fault)
            }
            Some(_) => (None, Some(there + back), fault),
        };
        CallOutcome { effect, answer, failure }
    }

    /// The member that the RDS API calls the writer.
    pub fn rds_verdict(&self) -> Option<&'static str> {
        self.rds.map(|writer| MEMBERS[writer])
    }

    pub fn address(&self, member: usize) -> IpAddr {
        self.schedule.address(self.hosts[member])
    }
}
