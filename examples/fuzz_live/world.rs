//! A world of one schedule: a fake AWS, the real binary once or twice, and everything that happens to them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use testkit::lambda::Function;
use testkit::witness::Origin;
use testkit::{ENDPOINT, FakeAws, GROUP, Instance, ONE, Record, THREE, TWO, account_limits, addresses};

use crate::events::{self, Payload};
use crate::hazards::{Deed, Hazards};
use crate::journal::Journal;
use crate::schedule::{Hazard, Schedule, millis, pick};

/// The ceilings of the function: half the memory of the smallest Lambda function, since an unoptimised binary takes some 40
/// MB, and far fewer than Lambda's 1,024 files, since it has some 20 open.
const MAX_RSS_KB: u64 = 64 << 10;
const MAX_FILES: usize = 64;
/// How late an effect may come: `TakesEffectLate`, and some.
const LAST_EFFECTS: Duration = Duration::from_millis(2500);
/// How long an invocation cannot have confirmed anything, in a control.
const NEW: Duration = Duration::from_millis(300);
const BETWEEN_CHECKS: Duration = Duration::from_millis(1600);
/// How long the world waits for an answer after the deadline. Lambda ends the function at the deadline.
const AFTER_DEADLINE: Duration = Duration::from_secs(8);
/// What the function assumes where no deadline is given: the watch, and a minute.
const ASSUMED: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_millis(500);
/// How late this program or a process may be without a word of it in the journal.
const LATE: Duration = Duration::from_millis(50);
const INTRUDER: &str = "10.0.9.9";
const MEMBERS: [&str; 3] = ["orders-1", "orders-2", "orders-3"];

/// A process of the function.
struct Running {
    number: usize,
    function: Function,
    api: SocketAddr,
    exited: Notify,
    started: Instant,
    has_exited: Cell<bool>,
    /// When it took its last invocation.
    began: Arc<Mutex<Option<Instant>>>,
    rss_kb: Cell<u64>,
    files: Cell<usize>,
    /// How long it had waited for a processor in all, at the last tick.
    waited: Cell<Duration>,
}

pub struct World {
    aws: FakeAws,
    schedule: Schedule,
    journal: Journal,
    hazards: Hazards,
    binary: PathBuf,
    /// Every process that was started, by its number.
    processes: RefCell<Vec<Rc<Running>>>,
    invocations: Cell<usize>,
}

impl World {
    pub fn new(schedule: Schedule, journal: &Journal, binary: PathBuf) -> Self {
        let journal = journal.of(schedule.seed);
        let hazards = Hazards::new(&schedule, &journal);
        let (processes, invocations) = (RefCell::default(), Cell::new(0));
        Self { aws: FakeAws::new(), schedule, journal, hazards, binary, processes, invocations }
    }

    /// Plays the schedule. In a control, a wrong deregistration is made in the function's name.
    pub async fn play(&self, control: bool) {
        self.set_up();
        let story = async {
            let end = Instant::now() + self.schedule.active;
            let slots = join_all((0..self.schedule.processes).map(|slot| self.invoke_until(slot, end)));
            let wrong = async {
                if control {
                    self.deregister_wrongly(end).await;
                }
            };
            // A control needs an address that is never the wrong one.
            let moves = async {
                if !control {
                    self.move_dns(end).await;
                }
            };
            let (running, (), (), (), ()) =
                tokio::join!(slots, moves, self.change_rds(end), self.change_group(end), wrong);
            self.calm(running.into_iter().flatten().next()).await;
        };
        tokio::select! {
            () = story => {}
            () = self.observe() => {}
        }
        for running in self.processes.borrow().iter() {
            self.look_at(running);
            let log = running.function.log.lock().expect("the log");
            for line in log.iter().filter(|line| line.contains("panicked at")) {
                self.journal.write("panic", json!({"p": running.number, "line": line}));
            }
        }
        self.journal.write("over", json!({}));
    }

    fn set_up(&self) {
        let Schedule { seed, main, hazards, confirm, poll, watch, processes, servers, .. } = &self.schedule;
        let hazards: Vec<String> = hazards.iter().map(|hazard| format!("{hazard:?}")).collect();
        let settings = json!({"seed": seed, "main": format!("{main:?}"), "hazards": hazards, "confirm": confirm,
            "poll": poll, "watch": watch, "processes": processes, "servers": servers, "endpoint": ENDPOINT,
            "port": 5432, "max_rss_kb": MAX_RSS_KB, "max_files": MAX_FILES,
            "writers": {ONE: MEMBERS[0], TWO: MEMBERS[1], THREE: MEMBERS[2]},
            "schedule": format!("{:?}", self.schedule)});
        self.journal.write("schedule", settings);
        let mut rng = Rng::with_seed(*seed ^ 0x736574);
        let has = |hazard| self.schedule.has(hazard);
        self.aws.holds(&self.schedule.group);
        let hazards = self.hazards.clone();
        {
            let mut state = self.aws.state();
            for (member, address) in [("orders-3", THREE), ("intruder", INTRUDER)] {
                let name = format!("{member}.abc123.us-east-1.rds.amazonaws.com");
                state.zone.insert(name.clone(), addresses(&[address]));
                // The intruder says that it is a member, but the cluster does not list it.
                let instance =
                    Instance { endpoint: Some(name), cluster: Some("orders"), ..Instance::default() };
                state.instances.insert(member.into(), instance);
            }
            state.latency = self.schedule.latency;
            state.lag = self.schedule.lag;
            let group = state.groups.get_mut(GROUP).expect("the model has the group");
            (group.drain, group.health) = (self.schedule.drain, Duration::from_secs(2));
            if has(Hazard::HostileDns) && rng.bool() {
                state.stowaway = Some(("other.test".into(), addresses(&["10.0.77.77"])));
            }
            state.is_namesake = has(Hazard::HostileApi) && rng.f64() < 0.3;
            if has(Hazard::Throttled) {
                state.limits = Some(account_limits::AccountLimits::shared(0.2));
            }
            state.witness = Some(Box::new(move |moment| hazards.witness(moment)));
            let active = state.active(GROUP).iter().map(ToString::to_string).collect::<Vec<_>>();
            self.journal.write("group", json!({"active": active}));
        }
        self.rds_names("orders-1");
        for server in 0..*servers {
            self.dns_names(server, "orders-1");
        }
    }

    /// The name server gives this member from now on.
    fn dns_names(&self, server: usize, member: &str) {
        let name = format!("{member}.abc123.us-east-1.rds.amazonaws.com");
        let mut state = self.aws.state();
        state.flickers.remove(ENDPOINT);
        state.views.entry(server).or_default().insert(ENDPOINT.into(), Record::Cname(name));
        let found = state.find_at(server, ENDPOINT, false).addresses.unwrap_or_default();
        self.journal.write("dns", json!({"server": server, "addresses": found}));
    }

    fn rds_names(&self, member: &str) {
        let members = MEMBERS.map(|name| (name.to_owned(), name == member));
        self.aws.state().clusters.insert("orders".into(), members.into());
    }

    /// Starts a process with sockets of its own.
    async fn start(&self, slot: usize) -> Rc<Running> {
        let number = self.processes.borrow().len();
        // Two processes may ask two name servers of different opinion.
        let first = slot % self.schedule.servers;
        let origin = |server| Origin { process: number, server, ..Origin::default() };
        let api = self.aws.serve_aws_to(origin(0)).await;
        let mut servers = Vec::new();
        for server in 0..self.schedule.servers {
            let server = (first + server) % self.schedule.servers;
            servers.push(self.aws.serve_dns_to(origin(server)).await.to_string());
        }
        let Schedule { confirm, poll, watch, preregister, .. } = &self.schedule;
        let variables = [
            ("AWS_ENDPOINT_URL", format!("http://{api}")),
            ("NAMESERVERS", servers.join(",")),
            ("CONFIRM_SECONDS", confirm.to_string()),
            ("POLL_MILLIS", poll.to_string()),
            ("WATCH_SECONDS", watch.to_string()),
            ("PREREGISTER", preregister.to_string()),
        ];
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let function = Function::start(&self.aws, &self.binary, &variables).await;
        self.hazards.started(number, function.process_id(), first);
        let running = Rc::new(Running {
            number,
            function,
            api,
            exited: Notify::new(),
            started: Instant::now(),
            has_exited: Cell::new(false),
            began: Arc::default(),
            rss_kb: Cell::new(0),
            files: Cell::new(0),
            waited: Cell::default(),
        });
        self.processes.borrow_mut().push(running.clone());
        running
    }

    /// Invokes a process time and again, and starts the next where one has ended. Returns the last if it lives.
    async fn invoke_until(&self, slot: usize, end: Instant) -> Option<Rc<Running>> {
        let mut rng = Rng::with_seed(self.schedule.seed ^ (0x696e76 + slot as u64));
        let rng = &mut rng;
        let mut running = self.start(slot).await;
        loop {
            sleep(millis(rng, 0..1200)).await;
            if Instant::now() >= end {
                return (!running.has_exited.get()).then_some(running);
            }
            if running.has_exited.get() {
                running = self.start(slot).await;
            }
            let payload = if self.schedule.has(Hazard::HostileEvents) && rng.f64() < 0.6 {
                events::hostile(rng)
            } else {
                events::usual(rng)
            };
            let watch = Duration::from_secs(self.schedule.watch);
            let time = match rng.u32(0..10) {
                0..=2 => millis(rng, 700..4000),
                _ if payload.kind == "check" => millis(rng, 8000..20_000),
                _ => watch + millis(rng, 1500..5000),
            };
            self.invoke(&running, payload, time).await;
        }
    }

    async fn invoke(&self, running: &Rc<Running>, payload: Payload, time: Duration) {
        let Payload { kind, body, headers } = payload;
        let (number, process) = (self.invocations.get(), running.number);
        self.invocations.set(number + 1);
        let has_deadline = !headers.iter().any(|(name, _)| *name == "lambda-runtime-deadline-ms");
        let time_limit = if has_deadline { time } else { Duration::from_secs(self.schedule.watch) + ASSUMED };
        *running.began.lock().expect("a time") = None;
        let began = {
            let (journal, began) = (self.journal.clone(), running.began.clone());
            Box::new(move || {
                *began.lock().expect("a time") = Some(Instant::now());
                let deadline = journal.now() + time_limit.as_secs_f64();
                journal
                    .write("began", json!({"p": process, "i": number, "kind": kind, "deadline": deadline}));
            })
        };
        let queued = running.function.queue(body, time, &headers, began);
        let silent = async {
            loop {
                let waited = Instant::now() + time_limit + AFTER_DEADLINE;
                tokio::time::sleep_until(waited).await;
                if !self.hazards.is_stopped(process) {
                    return;
                }
            }
        };
        let result = tokio::select! {
            result = queued => result,
            () = running.exited.notified() => return,
            () = silent => {
                let has_begun = running.began.lock().expect("a time").is_some();
                self.journal.write("silent", json!({"p": process, "i": number, "began": has_begun}));
                self.hazards.do_to(process, Deed::Kill);
                running.exited.notified().await;
                return;
            }
        };
        let (failed, answer) = match result {
            Ok(answer) => (false, answer),
            Err(error) => (true, error),
        };
        self.journal.write("ended", json!({"p": process, "i": number, "failed": failed, "answer": answer}));
    }

    /// DNS moves a few times, flickers, and its servers follow at their own pace.
    async fn move_dns(&self, end: Instant) {
        let mut rng = Rng::with_seed(self.schedule.seed ^ 0x646e73);
        let rng = &mut rng;
        loop {
            let pause = millis(rng, 300..4500);
            if Instant::now() + pause >= end {
                return;
            }
            sleep(pause).await;
            let member = pick(rng, &MEMBERS);
            if rng.f64() < 0.3 {
                {
                    let others = ["orders-1", "orders-2"];
                    let name = |member: &str| format!("{member}.abc123.us-east-1.rds.amazonaws.com");
                    let mut state = self.aws.state();
                    let records = others.map(|member| Record::Cname(name(member))).into();
                    state.flickers.insert(ENDPOINT.into(), records);
                    for server in 0..self.schedule.servers {
                        let both = json!({"server": server, "addresses": ["10.0.1.10", "10.0.2.20"]});
                        self.journal.write("dns", both);
                    }
                }
                sleep(millis(rng, 200..3000)).await;
            }
            if !self.schedule.rds_is_wrong || rng.bool() {
                self.rds_names(member);
            }
            for server in 0..self.schedule.servers {
                self.dns_names(server, member);
                if server + 1 < self.schedule.servers {
                    sleep(millis(rng, 0..5000)).await;
                }
            }
        }
    }

    /// The RDS API names writers of its own, and reports failovers.
    async fn change_rds(&self, end: Instant) {
        let mut rng = Rng::with_seed(self.schedule.seed ^ 0x726473);
        if !self.schedule.rds_is_wrong {
            return;
        }
        loop {
            let pause = millis(&mut rng, 300..4000);
            if Instant::now() + pause >= end {
                return;
            }
            sleep(pause).await;
            self.rds_names(pick(&mut rng, &MEMBERS));
            self.aws.state().failing_over = rng.f64() < 0.3;
        }
    }

    /// Another process registers and deregisters targets.
    async fn change_group(&self, end: Instant) {
        let mut rng = Rng::with_seed(self.schedule.seed ^ 0x6f7574);
        while self.schedule.has(Hazard::Outside) {
            let pause = millis(&mut rng, 200..3000);
            if Instant::now() + pause >= end {
                return;
            }
            sleep(pause).await;
            let target =
                pick(&mut rng, &["10.0.1.10:5432", "10.0.2.20:5432", "10.0.3.30:5432", "10.0.4.40:5432"]);
            self.change_from_outside(target, rng.bool());
        }
    }

    fn change_from_outside(&self, target: &str, registers: bool) {
        let address = target.parse().expect("a target");
        let mut state = self.aws.state();
        let action = if registers { "RegisterTargets" } else { "DeregisterTargets" };
        let done = if registers {
            state.register(GROUP, &[(address, None)])
        } else {
            state.deregister(GROUP, &[address])
        };
        done.expect("the model accepts it");
        let active = state.active(GROUP).iter().map(ToString::to_string).collect::<Vec<_>>();
        let fields = json!({"p": null, "c": null, "action": action, "targets": [target], "active": active});
        self.journal.write("effect", fields);
    }

    /// All hazards end but those that last, DNS and the RDS API agree, and three checks follow.
    async fn calm(&self, running: Option<Rc<Running>>) {
        let mut rng = Rng::with_seed(self.schedule.seed ^ 0x63616c6d);
        self.hazards.calm();
        sleep(LAST_EFFECTS).await;
        let member = pick(&mut rng, &MEMBERS);
        self.rds_names(member);
        {
            let mut state = self.aws.state();
            (state.failing_over, state.limits) = (false, None);
        }
        for server in 0..self.schedule.servers {
            self.dns_names(server, member);
        }
        self.journal.write("calm", json!({}));
        let running = match running.filter(|running| !running.has_exited.get()) {
            Some(running) => running,
            None => self.start(0).await,
        };
        for _ in 0..3 {
            // As long as lists may lag. Real checks are a minute apart.
            sleep(BETWEEN_CHECKS).await;
            self.invoke(&running, events::check(), Duration::from_secs(60)).await;
        }
    }

    /// Looks at the processes now and then, and continues stopped ones. Writes down where this program itself is late, and
    /// where a process waits for a processor.
    async fn observe(&self) {
        const TICK: Duration = Duration::from_millis(20);
        for tick in 0_u64.. {
            let began = Instant::now();
            sleep(TICK).await;
            let late = began.elapsed().saturating_sub(TICK);
            if late > LATE {
                self.journal.write("lag", json!({"seconds": late.as_secs_f64()}));
            }
            self.hazards.tick();
            for running in self.processes.borrow().iter().filter(|running| !running.has_exited.get()) {
                if let Some(status) = running.function.exit_status() {
                    let killed = self.hazards.ended(running.number);
                    let status = status.to_string();
                    self.journal
                        .write("exit", json!({"p": running.number, "status": status, "killed": killed}));
                    running.has_exited.set(true);
                    running.exited.notify_one();
                } else {
                    self.look_for_waits(running);
                    if tick % 5 == 0 {
                        self.look_at(running);
                    }
                }
            }
        }
    }

    /// Writes down that the process was ready to run and did not, where Linux says so: the function runs on its main
    /// thread. Linux adds a wait when it ends, so that a long one is in one tick. Short ones are harmless, however many.
    fn look_for_waits(&self, running: &Running) {
        let Some(pid) = running.function.process_id() else { return };
        let Ok(times) = std::fs::read_to_string(format!("/proc/{pid}/schedstat")) else { return };
        // On a processor, and in a queue for one, both in nanoseconds.
        let waited = times.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        let Some(waited) = waited.map(Duration::from_nanos) else { return };
        let more = waited.saturating_sub(running.waited.replace(waited));
        if more > LATE {
            self.journal.write("starved", json!({"p": running.number, "seconds": more.as_secs_f64()}));
        }
    }

    /// Writes down the process's peak of memory and its open files, where they have grown.
    fn look_at(&self, running: &Running) {
        // While it starts, it may still hold files of this program.
        if running.started.elapsed() < START {
            return;
        }
        let Some(pid) = running.function.process_id() else { return };
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return };
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let rss_kb = peak.unwrap_or_default();
        if rss_kb > running.rss_kb.get() || files > running.files.get() {
            running.rss_kb.set(rss_kb.max(running.rss_kb.get()));
            running.files.set(files.max(running.files.get()));
            let fields = json!({"p": running.number, "rss_kb": rss_kb, "files": files});
            self.journal.write("resources", fields);
        }
    }

    /// Calls the API in the function's name without a reason: deregisters the address that DNS has named all the time, or
    /// another target before the function can know enough.
    async fn deregister_wrongly(&self, end: Instant) {
        let mut rng = Rng::with_seed(self.schedule.seed ^ 0x77726f6e67);
        let is_early = rng.bool();
        sleep(millis(&mut rng, 300..5000).min(self.schedule.active / 2)).await;
        loop {
            let processes = self.processes.borrow().clone();
            let running = processes.iter().rev().find(|running| {
                let is_new = running.began.lock().expect("a time").is_some_and(|at| at.elapsed() < NEW);
                !running.has_exited.get() && !self.hazards.is_stopped(running.number) && (is_new || !is_early)
            });
            if let Some(running) = running {
                let address = if is_early { "10.0.4.40" } else { ONE };
                return self.post_deregistration(running.number, running.api, address).await;
            }
            assert!(Instant::now() < end + Duration::from_secs(60), "no process to call in the name of");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn post_deregistration(&self, process: usize, api: SocketAddr, address: &str) {
        self.journal.write("wrong", json!({"p": process, "target": address}));
        let form = format!(
            "Action=DeregisterTargets&Version=2015-12-01&TargetGroupArn={GROUP}\
             &Targets.member.1.Id={address}&Targets.member.1.Port=5432"
        );
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {api}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut stream = tokio::net::TcpStream::connect(api).await.expect("the fake API");
        stream.write_all(request.as_bytes()).await.expect("the fake API reads");
        // The answer may be lost, as any.
        let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await;
    }
}
