//! The model that the contenders run in: a failover, and a load balancer with its delays. It is a model; every
//! duration is drawn, for each trial, from the range that is documented or was measured, as named here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep_until};

use testkit::{Action, FakeAws, GROUP, Instance, ONE, TWO, addresses};

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Aurora,
    MultiAz,
}

/// Ranges, in seconds.
pub type Range = (f64, f64);

/// From the failure to the event that announces the failover. An instance's came 15.5 s after the request
/// (measured by others, 2026); Aurora's is not documented.
pub const STARTED: Range = (2.0, 16.0);
/// From the failure to a writer that accepts writes. Aurora: "usually less than 60 s, often less than 30 s"
/// (Aurora user guide); Multi-AZ instances: "typically 60–120 s" (RDS user guide), 31 s where measured.
pub const PROMOTED_AURORA: Range = (10.0, 60.0);
pub const PROMOTED_MULTI_AZ: Range = (30.0, 120.0);
/// From then to the event that says completed: 3–42 s (measured by others, 2026).
pub const COMPLETED: Range = (3.0, 42.0);
/// From the event's emission to the function: near real time (EventBridge), and a cold start.
pub const DELIVERY: Range = (0.5, 3.0);
/// From the promotion to DNS. Aurora's cluster endpoint: "typically less than 30 s" (Aurora user guide). An
/// instance's name is repointed around the time at which the standby opens.
pub const DNS_AURORA: Range = (0.0, 30.0);
pub const DNS_MULTI_AZ: Range = (-20.0, 10.0);
/// How long DNS then gives both answers: up to 30 s (reports, AWS drivers' issues).
pub const FLICKER_AURORA: Range = (0.0, 30.0);
/// From the promotion to the RDS API's `IsClusterWriter`. Not documented.
pub const RDS_API: Range = (0.0, 20.0);
/// From the failure until the old Aurora writer answers again, as a reader. Not documented.
pub const READER: Range = (5.0, 40.0);
/// From RegisterTargets to a target in service: some 60 s (aws-load-balancer-controller, issue 4180, 2025), 90–180 s
/// (issue 1834, 2021), 180–300 s (AWS support, 2023); the NLB guide says "a few minutes".
pub const REGISTRATION: Range = (60.0, 300.0);
/// From the health check that makes a target unhealthy until no new connection reaches it: 30–40 s (containers-roadmap,
/// issue 470, 2023).
pub const WITHDRAWAL: Range = (30.0, 40.0);
/// From DeregisterTargets until no new connection reaches the target: about 120 s where measured (the same issue).
pub const DEREGISTRATION: Range = (60.0, 120.0);
/// Health checks: interval in seconds, and how many in a row make a target healthy and unhealthy. The first
/// is quick; the last is what a target group has by default (NLB guide).
pub const HEALTH_CHECKS: [(f64, u32, u32); 3] = [(10.0, 2, 2), (10.0, 3, 3), (30.0, 5, 2)];
/// How long a trial is watched.
pub const HORIZON: Duration = Duration::from_secs(900);
/// When the failure happens in a trial.
pub const FAILURE: Duration = Duration::from_secs(90);

pub const INSTANCE: &str = "orders.abc123.us-east-1.rds.amazonaws.com";

/// A trial's durations, since its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    pub database: Database,
    pub started: Duration,
    pub completed: Duration,
    promoted: Duration,
    dns: Duration,
    settled: Duration,
    api: Duration,
    reader: Duration,
    registration: Duration,
    deregistration: Duration,
    withdrawal: Duration,
    checks: (Duration, u32, u32),
    /// The time from the start of the trial to the next minute.
    pub phase: Duration,
}

impl Failover {
    pub fn draw(database: Database, seed: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut draw = |(from, until): Range| from + (until - from) * dice.f64();
        let is_aurora = database == Database::Aurora;
        let started = draw(STARTED);
        let promoted = draw(if is_aurora { PROMOTED_AURORA } else { PROMOTED_MULTI_AZ }).max(started + 5.0);
        let dns = (promoted + draw(if is_aurora { DNS_AURORA } else { DNS_MULTI_AZ })).max(started + 1.0);
        let settled = dns + if is_aurora { draw(FLICKER_AURORA) } else { 0.0 };
        let (completed, api, reader) = (promoted + draw(COMPLETED), promoted + draw(RDS_API), draw(READER));
        let (delivery, phase) = (draw(DELIVERY), draw((0.0, 60.0)));
        let (registration, deregistration) = (draw(REGISTRATION), draw(DEREGISTRATION));
        let withdrawal = draw(WITHDRAWAL);
        let (interval, healthy, unhealthy) = HEALTH_CHECKS[seed as usize % HEALTH_CHECKS.len()];
        let at = |seconds: f64| FAILURE + Duration::from_secs_f64(seconds);
        Self {
            database,
            started: at(started + delivery),
            completed: at(completed + delivery),
            promoted: at(promoted),
            dns: at(dns),
            settled: at(settled),
            api: at(api),
            reader: at(reader),
            registration: Duration::from_secs_f64(registration),
            deregistration: Duration::from_secs_f64(deregistration),
            withdrawal: Duration::from_secs_f64(withdrawal),
            checks: (Duration::from_secs_f64(interval), healthy, unhealthy),
            phase: Duration::from_secs_f64(phase),
        }
    }

    /// Whether the host accepts connections at this time, and whether its database accepts writes.
    fn host(&self, address: IpAddr, now: Duration) -> (bool, bool) {
        let (before, after) = (now < FAILURE, now >= self.promoted);
        let is_aurora = self.database == Database::Aurora;
        if address.to_string() == ONE {
            return (before || (is_aurora && now >= self.reader), before);
        }
        (after || is_aurora, after)
    }

    /// The fake AWS before the failover.
    pub fn aws(&self, keeps_standby: bool) -> FakeAws {
        let aws = FakeAws::new();
        if self.database == Database::MultiAz {
            let mut state = aws.state();
            state.zone.insert(INSTANCE.into(), addresses(&[ONE]));
            state.clusters.clear();
            let endpoint = Some(INSTANCE.to_owned());
            state
                .instances
                .insert("orders".into(), Instance { endpoint, multi_az: true, ..Instance::default() });
        }
        let standby = format!("{TWO}!");
        let before = [ONE, standby.as_str()];
        aws.holds(if keeps_standby { &before } else { &before[..1] });
        aws.state().latency = Duration::from_millis(40);
        aws
    }

    /// The failover's changes of DNS and of the RDS API.
    pub async fn happen(self, aws: FakeAws) {
        let start = Instant::now();
        let at = |time| sleep_until(start + time);
        match self.database {
            Database::MultiAz => {
                at(self.dns).await;
                aws.state().zone.insert(INSTANCE.into(), addresses(&[TWO]));
            }
            Database::Aurora => {
                let api = async {
                    at(self.started).await;
                    aws.state().failing_over = true;
                    at(self.api).await;
                    aws.writer_per_rds("orders-2");
                    at(self.api.max(self.completed)).await;
                    aws.state().failing_over = false;
                };
                let dns = async {
                    at(self.dns).await;
                    aws.members_flicker();
                    at(self.settled).await;
                    aws.promote("orders-2");
                };
                tokio::join!(api, dns);
            }
        }
    }
}

/// A target as the load balancer sees it.
struct Seen {
    registered: Instant,
    in_service: Duration,
    /// When it gets no new connection any more.
    gone: Option<Duration>,
    next_check: Duration,
    row: u32,
    is_healthy: Option<bool>,
    /// Until when it gets new connections although it is unhealthy.
    routed_until: Duration,
}

/// The part of the new connections that reached a writer that accepts writes, second by second.
pub type Served = Rc<RefCell<Vec<(Duration, f64)>>>;

/// The load balancer: puts targets into service and out, and checks their health, all with delays.
pub async fn balance(failover: Failover, aws: FakeAws, served: Served) {
    let start = Instant::now();
    let (interval, healthy, unhealthy) = failover.checks;
    let mut seen: BTreeMap<SocketAddr, Seen> = BTreeMap::new();
    let mut now = Duration::ZERO;
    while now < HORIZON {
        let targets = aws.state().groups[GROUP].targets.clone();
        for (address, target) in &targets {
            let is_old = target.registered <= start;
            let wait = if is_old { Duration::ZERO } else { failover.registration };
            let known = seen.entry(*address).or_insert_with(|| Seen {
                registered: target.registered,
                in_service: now + wait,
                gone: None,
                next_check: now + wait,
                row: 0,
                is_healthy: is_old.then_some(target.state == Some("healthy")),
                routed_until: Duration::ZERO,
            });
            if known.registered != target.registered && known.gone.is_some_and(|gone| gone <= now) {
                (known.in_service, known.next_check, known.is_healthy) = (now + wait, now + wait, None);
            }
            known.registered = target.registered;
            known.gone = target.drained.map(|_| known.gone.unwrap_or(now + failover.deregistration));
            while known.next_check <= now {
                let (answers, _) = failover.host(address.ip(), now);
                known.next_check += interval;
                match known.is_healthy {
                    // The first check decides, whatever the thresholds are (NLB guide).
                    None => known.is_healthy = Some(answers),
                    Some(is_healthy) if is_healthy == answers => known.row = 0,
                    Some(_) => {
                        known.row += 1;
                        if known.row >= if answers { healthy } else { unhealthy } {
                            (known.is_healthy, known.row) = (Some(answers), 0);
                            known.routed_until =
                                if answers { Duration::ZERO } else { now + failover.withdrawal };
                        }
                    }
                }
            }
        }
        aws.group(|group| {
            for (address, target) in &mut group.targets {
                target.state = seen.get(address).map(|known| match known.is_healthy {
                    None => "initial",
                    Some(true) => "healthy",
                    Some(false) => "unhealthy",
                });
            }
        });
        served.borrow_mut().push((now, part(&failover, &seen, now)));
        now += Duration::from_secs(1);
        sleep_until(start + now).await;
    }
}

/// The part of the new connections that reaches a writer: they go to the healthy targets in service, to those that
/// have just turned unhealthy, and to all in service where none is healthy (fail open).
fn part(failover: &Failover, seen: &BTreeMap<SocketAddr, Seen>, now: Duration) -> f64 {
    let in_service = |known: &&Seen| known.in_service <= now && known.gone.is_none_or(|gone| now < gone);
    let all: Vec<(&SocketAddr, &Seen)> = seen.iter().filter(|(_, known)| in_service(known)).collect();
    let is_routed = |known: &Seen| known.is_healthy == Some(true) || now < known.routed_until;
    let healthy: Vec<_> = all.iter().copied().filter(|(_, known)| is_routed(known)).collect();
    let open = if healthy.is_empty() { all } else { healthy };
    let writers = open.iter().filter(|(address, _)| failover.host(address.ip(), now).1).count();
    if open.is_empty() { 0.0 } else { writers as f64 / open.len() as f64 }
}

/// The endpoint's address now, as a plain lookup gives it.
pub fn look_up(aws: &FakeAws, database: Database) -> Option<SocketAddr> {
    let name = if database == Database::Aurora { testkit::ENDPOINT } else { INSTANCE };
    let mut state = aws.state();
    let _ = state.begin(Action::Lookup, name);
    let address = state.find(name, false).addresses?.first().copied()?;
    Some(SocketAddr::new(address, 5432))
}
