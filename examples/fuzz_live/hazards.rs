//! The witness of a world: writes down every call, chooses faults, and kills or stops processes between two calls.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use testkit::witness::{Moment, Via, What};
use testkit::{Action, Fault};

use crate::journal::Journal;
use crate::schedule::{Hazard, Schedule, Silence, millis, pick};

#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Kill,
    Stop(Duration),
}

/// Something done to a process at its nth moment.
#[derive(Clone, Copy, Debug)]
struct Trap {
    at: u64,
    deed: Deed,
}

#[derive(Default)]
struct Process {
    pid: Option<u32>,
    moments: u64,
    trap: Option<Trap>,
    resume: Option<Instant>,
    killed: bool,
}

struct State {
    rng: Rng,
    calm: bool,
    processes: BTreeMap<usize, Process>,
}

/// What the world does to processes and calls. Clones share its state.
#[derive(Clone)]
pub struct Hazards {
    schedule: Schedule,
    journal: Journal,
    state: Arc<Mutex<State>>,
}

impl Hazards {
    pub fn new(schedule: &Schedule, journal: &Journal) -> Self {
        let rng = Rng::with_seed(schedule.seed ^ 0x68617a61);
        let state = State { rng, calm: false, processes: BTreeMap::new() };
        Self { schedule: schedule.clone(), journal: journal.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch over a process, which asks this name server first.
    pub fn started(&self, process: usize, pid: Option<u32>, first: usize) {
        self.journal.write("start", json!({"p": process, "pid": pid, "first": first}));
        let mut state = self.state();
        let trap = if state.calm { None } else { self.trap(&mut state.rng) };
        state.processes.insert(process, Process { pid, trap, ..Process::default() });
    }

    /// Says whether the world killed it.
    pub fn ended(&self, process: usize) -> bool {
        self.state().processes.remove(&process).is_some_and(|process| process.killed)
    }

    /// Ends every fault that is not to last, and continues what was stopped.
    pub fn calm(&self) {
        let mut state = self.state();
        state.calm = true;
        let now = Instant::now();
        for (number, process) in &mut state.processes {
            process.trap = None;
            self.resume(*number, process, now + Duration::from_secs(3600));
        }
    }

    /// Continues the processes whose time has come.
    pub fn tick(&self) {
        let now = Instant::now();
        for (number, process) in &mut self.state().processes {
            self.resume(*number, process, now);
        }
    }

    pub fn is_stopped(&self, process: usize) -> bool {
        self.state().processes.get(&process).is_some_and(|process| process.resume.is_some())
    }

    pub fn do_to(&self, process: usize, deed: Deed) {
        if let Some(found) = self.state().processes.get_mut(&process) {
            self.perform(process, found, deed);
        }
    }

    /// Kills or stops it at a random moment from now on.
    fn trap(&self, rng: &mut Rng) -> Option<Trap> {
        let at = rng.u64(1..80);
        let has = |hazard| self.schedule.has(hazard);
        let deed = match (has(Hazard::Kill), has(Hazard::Stop)) {
            (true, true) => rng.bool(),
            (kills, stops) if kills || stops => kills,
            _ => return None,
        };
        let deed = if deed { Deed::Kill } else { Deed::Stop(millis(rng, 100..4000)) };
        Some(Trap { at, deed })
    }

    fn perform(&self, number: usize, process: &mut Process, deed: Deed) {
        let Some(pid) = process.pid else { return };
        match deed {
            Deed::Kill => {
                process.killed = true;
                self.journal.write("kill", json!({"p": number}));
                signal(pid, "KILL");
            }
            Deed::Stop(time) => {
                process.resume = Some(Instant::now() + time);
                // Before and after: it stands still in between at the latest.
                self.journal.write("stop", json!({"p": number}));
                signal(pid, "STOP");
            }
        }
    }

    fn resume(&self, number: usize, process: &mut Process, now: Instant) {
        if let (Some(pid), Some(_)) = (process.pid, process.resume.take_if(|at| *at <= now)) {
            signal(pid, "CONT");
            self.journal.write("continue", json!({"p": number}));
        }
    }

    /// Writes down the moment, springs traps, and returns the fault of a call that came in.
    pub fn witness(&self, moment: &Moment<'_>) -> Option<Fault> {
        self.record(moment);
        let mut state = self.state();
        let State { rng, calm, processes } = &mut *state;
        let number = moment.origin.process;
        if let Some(process) = processes.get_mut(&number) {
            process.moments += 1;
            if let Some(trap) = process.trap.take_if(|trap| trap.at <= process.moments) {
                self.perform(number, process, trap.deed);
                // It may be stopped again.
                if matches!(trap.deed, Deed::Stop(_)) {
                    process.trap = self.trap(rng).map(|trap| Trap { at: trap.at + process.moments, ..trap });
                }
            }
        }
        match moment.what {
            What::Asked { .. } => self.lasting_fault(moment).or_else(|| {
                let fault = if *calm { None } else { self.fault(rng, moment) };
                if let Some(fault) = fault {
                    let name = format!("{:?}", fault.kind());
                    let name = name.split('(').next().unwrap_or_default().to_owned();
                    self.journal.write("fault", json!({"p": number, "c": moment.call, "fault": name}));
                }
                fault
            }),
            _ => None,
        }
    }

    fn record(&self, moment: &Moment<'_>) {
        let (process, call) = (moment.origin.process, moment.call);
        let action = format!("{:?}", moment.action);
        let text = |list: &[std::net::SocketAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        match moment.what {
            What::Asked { detail, id } => {
                let via = format!("{:?}", moment.origin.via).to_lowercase();
                let server = moment.origin.server;
                let detail = detail.trim_end_matches('.').to_lowercase();
                let fields = json!({"p": process, "c": call, "action": action, "detail": detail, "id": id,
                    "via": via, "server": server});
                self.journal.write("asked", fields);
            }
            What::Effect { targets, active } => {
                let fields = json!({"p": process, "c": call, "action": action, "targets": text(targets), "active": text(active)});
                self.journal.write("effect", fields);
            }
            What::Found(addresses) => {
                self.journal.write("found", json!({"p": process, "c": call, "addresses": addresses}));
            }
            What::Listed(targets) => {
                let targets: BTreeMap<String, &str> =
                    targets.iter().map(|(target, state)| (target.to_string(), *state)).collect();
                self.journal.write("listed", json!({"p": process, "c": call, "targets": targets}));
            }
            What::Members { endpoint, members, writer } => {
                let fields = json!({"p": process, "c": call, "endpoint": endpoint, "members": members, "writer": writer});
                self.journal.write("members", fields);
            }
            What::Answered { outcome } => {
                self.journal.write("answered", json!({"p": process, "c": call, "outcome": outcome}));
            }
        }
    }

    /// What stays broken to the end: it must not hold up what DNS and the group justify.
    fn lasting_fault(&self, moment: &Moment<'_>) -> Option<Fault> {
        let is_of_rds = matches!(moment.action, Action::DescribeDBClusters | Action::DescribeDBInstances);
        if is_of_rds && self.schedule.has(Hazard::SilentRds) {
            return Some(match self.schedule.silence {
                Silence::NoAnswer => Fault::Hangs,
                Silence::Stalls => Fault::Stalls,
                Silence::Errors => Fault::ServerError,
                Silence::Malformed => Fault::Malformed((moment.call % 128) as u8),
            });
        }
        let is_lost = moment.origin.via == Via::Udp && self.schedule.has(Hazard::UdpLost);
        let is_silent = moment.action == Action::Lookup
            && moment.origin.server == 0
            && self.schedule.servers > 1
            && self.schedule.first_is_silent;
        (is_lost || is_silent).then_some(Fault::Hangs)
    }

    fn fault(&self, rng: &mut Rng, moment: &Moment<'_>) -> Option<Fault> {
        let mut faults = Vec::new();
        let has = |hazard| self.schedule.has(hazard);
        let is_lookup = moment.action == Action::Lookup;
        let is_change = matches!(moment.action, Action::RegisterTargets | Action::DeregisterTargets);
        // Changes are few.
        let least = if is_change { 0.4 } else { 0.0 };
        if rng.f64() >= self.schedule.intensity.max(least) {
            return None;
        }
        if has(Hazard::Lost) {
            faults.extend([Fault::Hangs, Fault::Reset]);
            faults.extend(if is_change { vec![Fault::AnswerLost; 4] } else { Vec::new() });
        }
        if has(Hazard::Late) {
            faults.extend([Fault::Slow(millis(rng, 50..5000)), Fault::AnswerLate(millis(rng, 50..5000))]);
            faults.extend(if is_change { vec![Fault::TakesEffectLate; 3] } else { Vec::new() });
        }
        if has(Hazard::HostileDns) && is_lookup {
            faults.extend([
                Fault::Malformed(rng.u8(..)),
                Fault::Malformed(rng.u8(..)),
                Fault::Malformed(rng.u8(..)),
            ]);
            faults.extend([
                Fault::Garbage,
                Fault::NxDomain,
                Fault::NoRecords,
                Fault::ServerError,
                Fault::Denied,
            ]);
            faults.extend([Fault::Truncated, Fault::TruncatedAlways, Fault::CnameOnly, Fault::Several]);
            faults.extend([Fault::Public, Fault::Loopback, Fault::LinkLocal]);
        }
        if has(Hazard::HostileApi) && !is_lookup {
            faults.extend([
                Fault::Malformed(rng.u8(..)),
                Fault::Malformed(rng.u8(..)),
                Fault::Malformed(rng.u8(..)),
            ]);
            faults.extend([Fault::Garbage, Fault::Stalls, Fault::Reset, Fault::ServerError, Fault::Denied]);
        }
        if has(Hazard::Throttled) && !is_lookup {
            faults.extend([Fault::Throttled; 3]);
        }
        if faults.is_empty() { None } else { Some(pick(rng, &faults)) }
    }
}

fn signal(pid: u32, name: &str) {
    // It may have ended by itself just now.
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
}
