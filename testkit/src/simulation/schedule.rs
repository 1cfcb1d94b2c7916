//! A schedule: everything that will happen to the function, drawn from one seed.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use rds_nlb_sync::reconcile::{Mode, Timing};

use super::hazard::{ANSWERS, CALLS, Hazard, LOOKUPS};
use super::history::Time;
use crate::{Action, Fault};

pub const MEMBERS: [&str; 3] = ["orders-1", "orders-2", "orders-3"];
/// The endpoint of an instance, which has a standby.
pub const INSTANCE: &str = "orders.abc123.us-east-1.rds.amazonaws.com";
/// Instances of another cluster and of none.
pub const NON_MEMBERS: [&str; 2] = ["billing-1", "orders-9"];
/// In one of so many schedules, calls wait for permits.
const PERMIT_WAITS_EVERY: u64 = 7;
/// The port of a binding that has its own.
const OWN_PORT: u16 = 6432;

/// The answer of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAnswer {
    /// A member's address.
    Member(usize),
    /// An answer without a usable address.
    Unusable(Fault),
}

/// A change of the group by another process.
#[derive(Clone, Copy, Debug)]
pub enum ExternalChange {
    Registers(SocketAddr),
    Deregisters(SocketAddr),
    DeregistersAll,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// This name server names this member from now on.
    Serves(usize, usize),
    /// This name server gives nothing usable from now on, or its answer again.
    Breaks(usize, Option<Fault>),
    /// This member's own name gives the address that was this one's from now on.
    Renumbers(usize, usize),
    /// Whether the host of this address answers health checks from now on.
    Answers(usize, bool),
    /// Whether the RDS API reports a failover under way.
    FailoverInProgress(bool),
    /// The RDS API calls this member the writer from now on, or knows no cluster.
    RdsSays(Option<usize>),
    ChangesGroup(ExternalChange),
}

/// A time in which some calls of a kind meet a fault.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Time,
    pub until: Time,
    pub action: Action,
    pub fault: Fault,
    pub chance: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// At this time after its start.
    After(Duration),
    /// When it waits for the nth time.
    AtWait(u32),
}

#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    pub at: Time,
    pub mode: Mode,
    pub time: Duration,
    pub kill: Option<Kill>,
    /// The name server that it asks; a random one at every lookup where there is none.
    pub server: Option<usize>,
    /// The instance that the event names as the next writer.
    pub candidate: Option<&'static str>,
}

/// What never answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    pub rds: bool,
    /// Lookups fall back to TCP.
    pub udp: bool,
}

impl Silence {
    pub fn hazards(self) -> BTreeSet<Hazard> {
        let silent = [(self.rds, Hazard::RdsSilent), (self.udp, Hazard::UdpSilent)];
        silent.into_iter().filter_map(|(is_silent, hazard)| is_silent.then_some(hazard)).collect()
    }
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub timing: Timing,
    pub ipv6: bool,
    pub own_port: Option<u16>,
    /// Whether the endpoint is a CNAME to a member's name.
    pub cname: bool,
    pub servers: usize,
    /// The targets at the start, and whether each drains.
    pub targets: Vec<(SocketAddr, bool)>,
    pub drain: Duration,
    /// How old the group's state in a listing may be.
    pub lag: Duration,
    pub latency: (Duration, Duration),
    /// The part of the API limits that the account's other callers leave.
    pub spare: f64,
    /// Whether each invocation must describe the group through the API first.
    pub cold: bool,
    pub windows: Vec<Window>,
    pub acts: Vec<(Time, Act)>,
    pub invocations: Vec<Invocation>,
    /// The writer when all is calm.
    pub settles_on: usize,
    /// Whether an invocation is a check or a watch when all is calm.
    pub settles_by: Mode,
    /// Lasts for the whole schedule, and when all is calm.
    pub silence: Silence,
    /// Whether latencies, pauses and timers vary, so that no two moments tie.
    pub jitter: bool,
    /// Whether calls wait for permits.
    pub permit_waits: bool,
    /// Whether one unhealthy target is kept.
    pub keep: bool,
    /// From a registration until health checks speak.
    pub health: Duration,
}

impl Schedule {
    /// The schedule of this seed, with jitter, with settings of the template's range in most cases, and with
    /// silences.
    pub fn draw(seed: u64) -> Self {
        let mut schedule = Self::draw_round(seed);
        Dice(Rng::with_seed(seed ^ 0x726f_756e_6400)).unround(&mut schedule);
        schedule
    }

    /// A schedule of whole milliseconds.
    pub fn draw_round(seed: u64) -> Self {
        let mut schedule = Dice(Rng::with_seed(seed)).schedule(seed);
        // Drawn from dice of their own, so that the rest of each schedule stays the same.
        Dice(Rng::with_seed(seed ^ 0x6e6f_6d69_6e65_6573)).candidates_and_standbys(&mut schedule);
        schedule
    }

    /// One name server, a group that holds the writer, orders-1, and the usual pace; nothing goes wrong,
    /// and one invocation looks at it.
    pub fn plain(mode: Mode) -> Self {
        let timing = Timing { watch: seconds(40), poll: millis(500), confirm: seconds(6) };
        let invocation =
            Invocation { at: seconds(1), mode, time: seconds(59), kill: None, server: None, candidate: None };
        Self {
            seed: 0,
            timing,
            ipv6: false,
            own_port: None,
            cname: true,
            servers: 1,
            targets: vec![(SocketAddr::new(address(false, 0), 5432), false)],
            drain: seconds(300),
            lag: Duration::ZERO,
            latency: (millis(20), millis(20)),
            spare: 1.0,
            cold: true,
            windows: Vec::new(),
            acts: vec![(Time::ZERO, Act::Serves(0, 0)), (Time::ZERO, Act::RdsSays(Some(0)))],
            invocations: vec![invocation],
            settles_on: 0,
            settles_by: Mode::Check,
            silence: Silence::default(),
            jitter: false,
            permit_waits: false,
            keep: false,
            health: Duration::ZERO,
        }
    }

    /// The settings in one line.
    pub fn settings(&self) -> String {
        let Self { timing: Timing { watch, poll, confirm }, silence: Silence { rds, udp }, .. } = self;
        let silent = match (rds, udp) {
            (true, true) => ", RDS and UDP silent",
            (true, false) => ", RDS silent",
            (false, true) => ", UDP silent",
            (false, false) => "",
        };
        format!(
            "confirm {confirm:?}, poll {poll:?}, watch {watch:?}{silent}, settles by {:?}",
            self.settles_by
        )
    }

    /// Whether the template allows these settings.
    pub fn is_of_the_template(&self) -> bool {
        let Timing { watch, poll, confirm } = self.timing;
        (seconds(4)..=seconds(20)).contains(&confirm)
            && (millis(100)..=seconds(60)).contains(&poll)
            && (seconds(60)..=seconds(600)).contains(&watch)
    }

    /// After how many invocations without other faults the group equals the writer.
    pub fn settles_within(&self) -> usize {
        let is_silent = self.silence != Silence::default();
        if is_silent && self.settles_by == Mode::Check { 2 } else { 1 }
    }

    pub fn port(&self) -> u16 {
        self.own_port.unwrap_or(crate::Group::default().port)
    }

    pub fn address(&self, member: usize) -> IpAddr {
        address(self.ipv6, member)
    }
}

pub fn address(ipv6: bool, member: usize) -> IpAddr {
    let number = u8::try_from(member + 1).expect("few members");
    match ipv6 {
        false => IpAddr::from([10, 0, number, number * 10]),
        true => IpAddr::from([0xfd00, 0, 0, u16::from(number), 0, 0, 0, u16::from(number)]),
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Dice(Rng);

impl Dice {
    fn chance(&mut self, chance: f64) -> bool {
        self.0.f64() < chance
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.usize(..choices.len())]
    }

    fn between(&mut self, from: Duration, until: Duration) -> Duration {
        let (from, until) = (from.as_millis() as u64, until.as_millis() as u64);
        millis(self.0.u64(from..=until.max(from)))
    }

    fn schedule(&mut self, seed: u64) -> Schedule {
        let timing = self.timing();
        let horizon = self.between(seconds(5), seconds(150));
        let ipv6 = self.chance(0.1);
        let own_port = self.chance(0.15).then_some(OWN_PORT);
        let servers = self.one_of(&[1, 1, 2, 3]);
        let port = own_port.unwrap_or(crate::Group::default().port);
        let first = self.0.usize(..MEMBERS.len());
        let mut acts: Vec<(Time, Act)> = (0..servers).map(|k| (Time::ZERO, Act::Serves(k, first))).collect();
        let settles_on = self.moves(&mut acts, horizon, servers, first);
        self.rds(&mut acts, horizon, first);
        self.external_changes(&mut acts, horizon, ipv6, port);
        acts.sort_by_key(|(at, _)| *at);
        let lag = self.one_of(&[seconds(0), seconds(0), seconds(0), millis(800), seconds(4), seconds(9)]);
        let latency = self.one_of(&[
            (millis(0), millis(0)),
            (millis(1), millis(30)),
            (millis(5), millis(200)),
            (millis(50), millis(900)),
            (millis(0), millis(3000)),
        ]);
        Schedule {
            seed,
            timing,
            ipv6,
            own_port,
            cname: self.chance(0.7),
            servers,
            targets: self.targets(first, ipv6, port),
            drain: self.one_of(&[seconds(0), seconds(5), seconds(20), seconds(60), seconds(300)]),
            lag,
            latency,
            spare: self.one_of(&[1.0, 1.0, 1.0, 0.1, 0.02]),
            cold: self.chance(0.2),
            windows: self.windows(horizon),
            acts,
            invocations: self.invocations(horizon, servers),
            settles_on,
            settles_by: Mode::Check,
            silence: Silence::default(),
            jitter: false,
            permit_waits: seed.is_multiple_of(PERMIT_WAITS_EVERY),
            keep: false,
            health: Duration::ZERO,
        }
    }

    /// Candidates, standbys, and addresses that are used again.
    fn candidates_and_standbys(&mut self, schedule: &mut Schedule) {
        let horizon = schedule.acts.iter().map(|(at, _)| *at).max().unwrap_or_default() + seconds(20);
        schedule.health = self.one_of(&[seconds(0), seconds(3), seconds(20)]);
        schedule.keep = !schedule.cname && self.chance(0.7);
        for invocation in &mut schedule.invocations {
            if invocation.mode == Mode::Watch && self.chance(0.6) {
                let anybody =
                    self.one_of(&[MEMBERS[0], MEMBERS[1], MEMBERS[2], NON_MEMBERS[0], NON_MEMBERS[1]]);
                let next = MEMBERS[schedule.settles_on];
                invocation.candidate = Some(if self.chance(0.6) { next } else { anybody });
            }
        }
        for _ in 0..self.one_of(&[0, 0, 1, 2]) {
            let (from, until) = self.span(horizon);
            schedule.acts.push((from, Act::FailoverInProgress(true)));
            schedule.acts.push((until, Act::FailoverInProgress(false)));
        }
        for host in 0..=MEMBERS.len() {
            // A kept standby's database is stopped.
            let is_up = !schedule.keep || host == schedule.settles_on;
            schedule.acts.push((Time::ZERO, Act::Answers(host, is_up)));
        }
        for _ in 0..self.one_of(&[0, 1, 2, 4]) {
            let (at, host) = (self.between(Time::ZERO, horizon), self.0.usize(..MEMBERS.len()));
            schedule.acts.push((at, Act::Answers(host, self.0.bool())));
        }
        if self.chance(0.15) {
            let (at, member) = (self.between(Time::ZERO, horizon), self.0.usize(..MEMBERS.len()));
            schedule.acts.push((at, Act::Renumbers(member, self.0.usize(..=MEMBERS.len()))));
        }
        if self.chance(0.5) {
            let (from, until) = self.span(horizon);
            let fault = self.one_of(&CALLS);
            let window = Window { from, until, action: Action::DescribeDBInstances, fault, chance: 1.0 };
            schedule.windows.push(window);
        }
        schedule.acts.sort_by_key(|(at, _)| *at);
    }

    /// Jitter for all moments, the settings of the template's corners, and silences.
    fn unround(&mut self, schedule: &mut Schedule) {
        schedule.jitter = true;
        schedule.timing = match self.0.u8(..20) {
            0..6 => Timing { watch: seconds(180), poll: millis(500), confirm: seconds(6) },
            6..13 => self.timing_of_the_template(),
            13..16 => Timing { confirm: seconds(self.0.u64(..=3)), ..schedule.timing },
            _ => schedule.timing,
        };
        schedule.silence = match self.0.u8(..12) {
            0 | 1 => Silence { rds: true, udp: false },
            2 => Silence { rds: false, udp: true },
            3 => Silence { rds: true, udp: true },
            _ => Silence::default(),
        };
        if schedule.is_of_the_template()
            && schedule.timing.watch > 3 * schedule.timing.confirm
            && self.chance(0.3)
        {
            schedule.settles_by = Mode::Watch;
        }
        schedule.acts.iter_mut().filter(|(at, _)| !at.is_zero()).for_each(|(at, _)| *at = self.near(*at));
        schedule.acts.sort_by_key(|(at, _)| *at);
        for window in &mut schedule.windows {
            (window.from, window.until) = (self.near(window.from), self.near(window.until));
        }
        for invocation in &mut schedule.invocations {
            (invocation.at, invocation.time) = (self.near(invocation.at), self.near(invocation.time));
        }
        self.meet_short_phases(schedule);
    }

    /// Faults that meet the phases that are short: calls of the RDS API during the wait for a permit, and lookups
    /// during a change.
    fn meet_short_phases(&mut self, schedule: &mut Schedule) {
        let horizon = schedule.acts.iter().map(|(at, _)| *at).max().unwrap_or_default() + seconds(60);
        let mut window = |action, fault, chance| {
            schedule.windows.push(Window { from: Time::ZERO, until: horizon, action, fault, chance });
        };
        if schedule.permit_waits && self.chance(0.7) {
            window(Action::DescribeDBClusters, self.one_of(&CALLS), 0.7);
        }
        if self.chance(0.1) {
            let change = self.one_of(&[Action::RegisterTargets, Action::DeregisterTargets]);
            window(change, Fault::Slow(seconds(6)), 1.0);
            if self.0.bool() {
                window(Action::Lookup, self.one_of(&LOOKUPS), 0.2);
            }
        }
    }

    fn timing_of_the_template(&mut self) -> Timing {
        let confirm = self.one_of(&[4, 4, 5, 6, 20, 20, 0]);
        let confirm = if confirm == 0 { self.0.u64(4..=20) } else { confirm };
        let poll = self.one_of(&[100, 100, 1000, 3000, 60_000, 60_000, 0]);
        let poll = if poll == 0 { self.0.u64(100..=60_000) } else { poll };
        let watch = self.one_of(&[60, 60, 60, 180, 600]);
        // Some thousand lookups are enough.
        let watch = if poll < 500 { 60 } else { watch };
        Timing { watch: seconds(watch), poll: millis(poll), confirm: seconds(confirm) }
    }

    /// A moment shortly before or after.
    fn near(&mut self, at: Time) -> Time {
        let (early, late) = (self.0.u64(..3_000_000), self.0.u64(..3_000_000));
        at.saturating_sub(Duration::from_nanos(early)) + Duration::from_nanos(late)
    }

    fn timing(&mut self) -> Timing {
        let poll = self.one_of(&[500, 500, 500, 100, 250, 1000, 1700, 3000, 7000]);
        let watch = self.one_of(&[180, 60, 30, 20, 5, 0]);
        let (poll, watch) = if self.chance(0.05) { (20, watch.min(20)) } else { (poll, watch) };
        let confirm = self.one_of(&[6, 6, 6, 6, 0, 1, 2, 3, 10, 20]);
        Timing { watch: seconds(watch), poll: millis(poll), confirm: seconds(confirm) }
    }

    /// Failovers, failbacks, name servers that lag behind, and unusable answers.
    fn moves(&mut self, acts: &mut Vec<(Time, Act)>, horizon: Time, servers: usize, first: usize) -> usize {
        let mut last = first;
        for _ in 0..self.one_of(&[0, 1, 1, 1, 2, 3, 5]) {
            let at = self.between(Time::ZERO, horizon);
            let member = self.0.usize(..MEMBERS.len());
            for server in 0..servers {
                let behind =
                    self.one_of(&[millis(0), millis(0), seconds(1), seconds(5), seconds(12), seconds(40)]);
                let behind = self.between(Time::ZERO, behind);
                acts.push((at + behind, Act::Serves(server, member)));
            }
            last = member;
        }
        for _ in 0..self.one_of(&[0, 0, 0, 1, 2]) {
            let (from, until) = self.span(horizon);
            let fault = self.one_of(&ANSWERS);
            let all = self.chance(0.5);
            let one = self.0.usize(..servers);
            for server in (0..servers).filter(|server| all || *server == one) {
                acts.push((from, Act::Breaks(server, Some(fault))));
                acts.push((until, Act::Breaks(server, None)));
            }
        }
        last
    }

    /// The RDS API's answers: right, late, wrong or none.
    fn rds(&mut self, acts: &mut Vec<(Time, Act)>, horizon: Time, first: usize) {
        acts.push((Time::ZERO, Act::RdsSays(self.chance(0.8).then_some(first))));
        let moves: Vec<(Time, usize)> = acts
            .iter()
            .filter_map(|(at, act)| match act {
                Act::Serves(0, member) => Some((*at, *member)),
                _ => None,
            })
            .collect();
        for (at, member) in moves {
            let late = self.between(Time::ZERO, seconds(30));
            if self.chance(0.8) {
                acts.push((at + late, Act::RdsSays(Some(member))));
            }
        }
        if self.chance(0.2) {
            let (from, until) = self.span(horizon);
            let wrong = self.0.usize(..MEMBERS.len());
            acts.push((from, Act::RdsSays(Some(wrong))));
            acts.push((until, Act::RdsSays(None)));
        }
    }

    fn external_changes(&mut self, acts: &mut Vec<(Time, Act)>, horizon: Time, ipv6: bool, port: u16) {
        for _ in 0..self.one_of(&[0, 0, 0, 1, 2, 4]) {
            let at = self.between(Time::ZERO, horizon);
            let port = if self.chance(0.85) { port } else { port + 1 };
            let target = SocketAddr::new(address(ipv6, self.0.usize(..MEMBERS.len() + 1)), port);
            let change = match self.0.u8(..10) {
                0..5 => ExternalChange::Registers(target),
                5..9 => ExternalChange::Deregisters(target),
                _ => ExternalChange::DeregistersAll,
            };
            acts.push((at, Act::ChangesGroup(change)));
        }
    }

    fn targets(&mut self, first: usize, ipv6: bool, port: u16) -> Vec<(SocketAddr, bool)> {
        let mut targets = Vec::new();
        for member in 0..MEMBERS.len() {
            let chance = if member == first { 0.85 } else { 0.25 };
            if self.chance(chance) {
                targets.push((SocketAddr::new(address(ipv6, member), port), self.chance(0.15)));
            }
        }
        if self.chance(0.1) {
            targets.push((SocketAddr::new(address(ipv6, first), port + 1), false));
        }
        targets
    }

    fn windows(&mut self, horizon: Time) -> Vec<Window> {
        let count = self.one_of(&[0, 0, 1, 2, 4, 7]);
        let mut windows = Vec::new();
        for _ in 0..count {
            let action = self.one_of(&[
                Action::Lookup,
                Action::DescribeTargetHealth,
                Action::DescribeTargetHealth,
                Action::RegisterTargets,
                Action::DeregisterTargets,
                Action::DescribeDBClusters,
                Action::DescribeTargetGroups,
            ]);
            let faults: &[Fault] = if action == Action::Lookup { &LOOKUPS } else { &CALLS };
            let fault = self.one_of(faults);
            let (from, until) = self.span(horizon);
            let chance = self.one_of(&[1.0, 0.5, 0.2, 0.05]);
            windows.push(Window { from, until, action, fault, chance });
        }
        windows
    }

    fn invocations(&mut self, horizon: Time, servers: usize) -> Vec<Invocation> {
        let mut invocations = Vec::new();
        let mut at = self.between(Time::ZERO, seconds(5));
        for _ in 0..self.one_of(&[1, 1, 2, 2, 3, 3, 4]) {
            let mode = self.one_of(&[
                Mode::Watch,
                Mode::Watch,
                Mode::Watch,
                Mode::Check,
                Mode::Check,
                Mode::Check,
                Mode::DryRun,
            ]);
            let time = match self.0.u8(..10) {
                0 => self.between(Time::ZERO, seconds(1)),
                1 => self.between(Time::ZERO, seconds(10)),
                2..5 => self.between(Time::ZERO, seconds(100)),
                5..8 => seconds(59),
                _ => seconds(299),
            };
            let kill = match self.0.u8(..10) {
                0 => Some(Kill::After(self.between(Time::ZERO, time.min(seconds(30))))),
                1 | 2 => Some(Kill::AtWait(self.0.u32(..60))),
                _ => None,
            };
            let server = self.chance(0.5).then(|| self.0.usize(..servers));
            invocations.push(Invocation { at, mode, time, kill, server, candidate: None });
            // Side by side, one after another, or far apart.
            let pause = self.one_of(&[millis(0), millis(700), seconds(6), horizon / 2]);
            at += self.between(Time::ZERO, pause);
        }
        invocations
    }

    fn span(&mut self, horizon: Time) -> (Time, Time) {
        let from = self.between(Time::ZERO, horizon);
        let length = self.one_of(&[millis(300), seconds(3), seconds(20), horizon]);
        (from, from + self.between(Time::ZERO, length))
    }
}
