//! A thousand databases in one account, whose limits are enforced: the cost of checks, the time until a cold
//! function knows all groups, and the time to follow the failure of a zone. `make bench-fleet` builds what it needs and
//! runs it, in some ten minutes; the table goes to standard output.
#![allow(clippy::disallowed_methods, reason = "the bench stands for everything around the function")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, interval, sleep, sleep_until};

use testkit::account_limits::AccountLimits;
use testkit::fleet::{endpoint, group};
use testkit::lambda::Function;
use testkit::{Action, FakeAws};

const TAG: &str = "rds-nlb-sync";
/// How long the API and the name server take to answer.
const API: Duration = Duration::from_millis(20);
const DNS: Duration = Duration::from_millis(4);
/// The template's default time-out.
const TIME: Duration = Duration::from_secs(240);
const MINUTE: Duration = Duration::from_secs(60);

const FLEET: usize = 1000;
const STORM: usize = 100;
/// How many functions take its events.
const FUNCTIONS: [usize; 3] = [1, 2, 10];
/// How long it takes the zone's databases to fail over, one after the other.
const STORM_TAKES: Duration = Duration::from_secs(5);
/// RegisterTargets, at once and per second (ELB API throttling).
const WRITES: (f64, f64) = (20.0, 4.0);

const SCHEDULE: &str = include_str!("../events/schedule.json");

#[tokio::main]
async fn main() -> ExitCode {
    // All parts, or the one that is named: growth, cold or storm.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let mut rows = Rows::default();
    if runs("growth") {
        growth(&mut rows).await;
    }
    if runs("cold") {
        cold_and_warm(&mut rows).await;
    }
    if runs("storm") {
        storms(&mut rows).await;
    }
    print!("{}", rows.table);
    if rows.all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn growth(rows: &mut Rows) {
    for count in [1, 10, 100] {
        let fleet = Fleet::of(count).await;
        let cold = fleet.check().await;
        // Long enough for the tokens to come back.
        sleep(Duration::from_secs(10)).await;
        let warm = fleet.check().await;
        rows.tell(
            &format!("{count} binding(s): a cold function's first check; a later one"),
            format!("{cold}; {warm}"),
            None,
        );
    }
}

async fn cold_and_warm(rows: &mut Rows) {
    let fleet = Fleet::of(FLEET).await;
    let cold = fleet.cold().await;
    rows.tell(
        "1,000 bindings, cold: a failover's event comes first",
        format!("registered after {:.1} s, the list of groups included", seconds(cold.followed)),
        None,
    );
    rows.tell(
        "1,000 bindings, cold: every group listed",
        format!(
            "after {:.0} s and {} checks; {} calls, {} refused",
            seconds(cold.took),
            cold.checks,
            cold.calls,
            cold.refused
        ),
        Some(("no call refused", cold.refused == 0)),
    );
    let mut worst = Check::default();
    for _ in 0..3 {
        fleet.next_minute().await;
        worst = worst.max(fleet.check().await);
    }
    rows.tell(
        "1,000 bindings, warm: the most that one of three checks took",
        worst.to_string(),
        Some(("100 calls, 10 s", worst.calls <= 100 && worst.took <= Duration::from_secs(10))),
    );
    let peak = fleet.peak_memory();
    rows.tell(
        "1,000 bindings: peak memory after all of that",
        format!("{peak:.1} MiB"),
        Some(("48 MB", peak <= 48e6 / f64::from(1 << 20))),
    );
}

async fn storms(rows: &mut Rows) {
    let best = at_best();
    let warm = FUNCTIONS.map(|functions| tokio::spawn(async move { (functions, warmed().await) }));
    for (functions, warm) in join_all(warm).await.into_iter().map(|warm| warm.expect("a warm function")) {
        let storm = Storm::of(functions, warm).await;
        rows.tell(
            &format!("storm: {STORM} of 1,000 fail over in 5 s; ReservedConcurrency={functions}"),
            format!(
                "last of {} writers registered after {:.1} s, median {:.1} s; {} calls refused, {} runs failed",
                storm.registered.len(),
                seconds(storm.last()),
                seconds(storm.median()),
                storm.refused,
                storm.failed
            ),
            // Several functions share the limits of one: reported, and without a limit of ours.
            (functions == 1).then_some((
                format!("1.2 × {:.1} s", seconds(best)).as_str(),
                storm.registered.len() == STORM && storm.last() <= best.mul_f64(1.2),
            )),
        );
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// The table, in Markdown.
struct Rows {
    table: String,
    all_met: bool,
}

impl Default for Rows {
    fn default() -> Self {
        Self { table: "| case | measured | must reach |\n|---|---|---|\n".to_owned(), all_met: true }
    }
}

impl Rows {
    fn tell(&mut self, case: &str, measured: String, goal: Option<(&str, bool)>) {
        let (goal, is_met) = goal.unwrap_or(("–", true));
        let verdict = if is_met { "" } else { " **missed**" };
        let row = format!("| {case} | {measured} | {goal}{verdict} |\n");
        eprint!("{row}");
        self.table += &row;
        self.all_met &= is_met;
    }
}

/// The cost of a check.
#[derive(Clone, Copy, Debug, Default)]
struct Check {
    calls: usize,
    lookups: usize,
    took: Duration,
}

impl Check {
    fn max(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            lookups: self.lookups.max(other.lookups),
            took: self.took.max(other.took),
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calls, lookups, took } = self;
        write!(f, "{calls} calls, {lookups} lookups, {:.2} s", seconds(*took))
    }
}

/// The release build next to this program.
fn bootstrap() -> PathBuf {
    if let Some(path) = std::env::var_os("BOOTSTRAP") {
        return path.into();
    }
    let bench = std::env::current_exe().expect("the path of this program");
    bench.ancestors().nth(3).expect("target/PROFILE/deps/fleet").join("release/bootstrap")
}

async fn start(aws: &FakeAws) -> Function {
    let variables = [
        ("BINDINGS", ""),
        ("DISCOVERY_TAG", TAG),
        ("CONFIRM_SECONDS", "6"),
        ("POLL_MILLIS", "500"),
        ("AWS_LAMBDA_LOG_LEVEL", "WARN"),
    ];
    Function::start(aws, &bootstrap(), &variables).await
}

/// An account of tagged groups in sync, with its limits.
fn account(count: usize) -> FakeAws {
    let aws = FakeAws::of_databases(count);
    let mut state = aws.state();
    (state.latency, state.lookup_latency) = (API, Some(DNS));
    state.limits = Some(AccountLimits::of_aws());
    for number in 0..count {
        state.tags.insert(group(number), [(TAG.to_owned(), endpoint(number))].into());
    }
    drop(state);
    aws
}

fn refused(aws: &FakeAws) -> usize {
    aws.state().limits.as_ref().map_or(0, |limits| limits.refused)
}

fn calls(aws: &FakeAws) -> usize {
    let lookups = aws.count(Action::Lookup);
    aws.state().calls.len() - lookups
}

/// An event about the database.
fn event(number: usize, id: &str, message: &str) -> String {
    let arn = format!("arn:aws:rds:us-east-1:123456789012:db:db-{number}");
    json!({
        "source": "aws.rds", "detail-type": "RDS DB Instance Event", "resources": [arn],
        "detail": {"EventCategories": ["failover"], "SourceArn": arn, "EventID": id, "Message": message}
    })
    .to_string()
}

/// Every event of a failover of a Multi-AZ instance.
fn events(number: usize) -> [String; 3] {
    [
        event(number, "RDS-EVENT-0013", "Multi-AZ instance failover started."),
        event(number, "RDS-EVENT-0006", "DB instance restarted."),
        event(number, "RDS-EVENT-0049", "Multi-AZ instance failover completed."),
    ]
}

/// When the database's second host was registered, if it was.
fn registered(aws: &FakeAws, number: usize) -> Option<Instant> {
    let target = format!("{}:5432", testkit::fleet::address(number, 2));
    aws.calls(Action::RegisterTargets).iter().find(|call| call.detail == target).map(|call| call.at)
}

/// One function and its databases.
struct Fleet {
    aws: FakeAws,
    function: Function,
    last_check: std::sync::Mutex<Instant>,
}

impl Fleet {
    async fn of(count: usize) -> Self {
        let aws = account(count);
        let function = start(&aws).await;
        function.polled(1).await;
        Self { aws, function, last_check: Instant::now().into() }
    }

    /// The schedule's check.
    async fn check(&self) -> Check {
        self.scheduled().await.0
    }

    async fn scheduled(&self) -> (Check, Value) {
        self.aws.forget_calls();
        let asked = Instant::now();
        *self.last_check.lock().expect("no panic") = asked;
        let result = self.function.invoke(SCHEDULE, TIME).await;
        let took = asked.elapsed();
        let result = result.unwrap_or_else(|error| panic!("{error}, {:?}", self.function.log));
        let check = Check { calls: calls(&self.aws), lookups: self.aws.count(Action::Lookup), took };
        (check, result)
    }

    async fn next_minute(&self) {
        let last = *self.last_check.lock().expect("no panic");
        sleep_until(last + MINUTE).await;
    }

    async fn cold(&self) -> Cold {
        let started = Instant::now();
        let number = FLEET / 2;
        self.aws.fails_over(number);
        let watch = self.function.invoke(event(number, "RDS-EVENT-0049", "completed"), TIME).await;
        watch.unwrap_or_else(|error| panic!("{error}, {:?}", self.function.log));
        let followed = registered(&self.aws, number).expect("a registration") - started;
        let (mut checks, mut calls) = (0, calls(&self.aws));
        loop {
            let (check, result) = self.scheduled().await;
            (checks, calls) = (checks + 1, calls + check.calls);
            let bindings = result["bindings"].as_array().expect("bindings");
            assert_eq!(bindings.len(), FLEET);
            if bindings.iter().all(|binding| binding["status"] == "in_sync") {
                break;
            }
            self.next_minute().await;
        }
        let (took, refused) = (started.elapsed(), refused(&self.aws));
        Cold { followed, took, checks, calls, refused }
    }

    fn peak_memory(&self) -> f64 {
        let process = self.function.process_id().expect("a running function");
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux's /proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim_end_matches("kB").trim().parse::<f64>().expect("a number") / 1024.0
    }
}

/// The cost of a cold function's checks.
struct Cold {
    /// From the event to the registration.
    followed: Duration,
    /// Until every group was listed.
    took: Duration,
    checks: usize,
    calls: usize,
    refused: usize,
}

/// A zone's failure: a hundred databases, three events each, and so many functions at once to take them, as
/// Lambda's queue hands them out. One of them knows the fleet, because the schedule keeps it warm.
struct Storm {
    /// From the first failover to each registration, in order.
    registered: Vec<Duration>,
    refused: usize,
    /// Runs that failed, and were taken up again.
    failed: usize,
}

/// A function that knows the fleet, in an account whose limits are untouched.
async fn warmed() -> (FakeAws, Function) {
    let aws = account(FLEET);
    let function = start(&aws).await;
    function.polled(1).await;
    function.invoke(json!({"command": "check"}), TIME).await.expect("all in sync");
    (aws, function)
}

impl Storm {
    async fn of(functions: usize, (aws, warm): (FakeAws, Function)) -> Self {
        {
            let mut state = aws.state();
            state.calls.clear();
            state.limits = Some(AccountLimits::of_aws());
        }
        let (queue, events) = mpsc::unbounded_channel();
        let line = Arc::new(Line { queue, events: events.into(), failed: AtomicUsize::new(0) });
        let mut workers = vec![tokio::spawn(serve(aws.clone(), Some(warm), line.clone()))];
        workers.extend((1..functions).map(|_| tokio::spawn(serve(aws.clone(), None, line.clone()))));
        let began = Instant::now();
        let mut ticks = interval(STORM_TAKES / STORM as u32);
        // Every tenth database of the fleet, in no order that the function knows.
        for number in (0..STORM).map(|failed| (failed * 7 % STORM) * (FLEET / STORM)) {
            ticks.tick().await;
            aws.fails_over(number);
            line.add_events_of(number);
        }
        let times = |aws: &FakeAws| {
            let all = (0..FLEET).filter_map(|number| registered(aws, number));
            let mut times: Vec<Duration> = all.map(|at| at - began).collect();
            times.sort();
            times
        };
        while times(&aws).len() < STORM && began.elapsed() < 2 * MINUTE {
            sleep(Duration::from_millis(200)).await;
        }
        workers.iter().for_each(tokio::task::JoinHandle::abort);
        let failed = line.failed.load(Ordering::Relaxed);
        Self { registered: times(&aws), refused: refused(&aws), failed }
    }

    fn last(&self) -> Duration {
        self.registered.last().copied().unwrap_or(Duration::MAX)
    }

    fn median(&self) -> Duration {
        self.registered.get(STORM / 2).copied().unwrap_or(Duration::MAX)
    }
}

/// Lambda's queue.
struct Line {
    queue: mpsc::UnboundedSender<String>,
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    failed: AtomicUsize,
}

impl Line {
    /// Adds a database's events as RDS sends them: at once, and one and two seconds later.
    fn add_events_of(&self, number: usize) {
        for (event, seconds) in events(number).into_iter().zip(0..) {
            self.add(event, Duration::from_secs(seconds));
        }
    }

    fn add(&self, event: String, after: Duration) {
        let queue = self.queue.clone();
        tokio::spawn(async move {
            sleep(after).await;
            let _ = queue.send(event);
        });
    }
}

/// Takes one event after the other, in a function that starts with the first. One that fails is taken up
/// again after a minute, as Lambda does.
async fn serve(aws: FakeAws, mut function: Option<Function>, line: Arc<Line>) {
    loop {
        let Some(event) = line.events.lock().await.recv().await else { return };
        if function.is_none() {
            function = Some(start(&aws).await);
        }
        let Some(function) = &function else { return };
        if let Err(error) = function.invoke(&event, TIME).await {
            eprintln!("{error}");
            line.failed.fetch_add(1, Ordering::Relaxed);
            line.add(event, MINUTE);
        }
    }
}

/// When the last registration is possible: the databases fail over one by one, each needs one call.
fn at_best() -> Duration {
    let (burst, rate) = WRITES;
    let step = seconds(STORM_TAKES) / STORM as f64;
    let (mut at, mut tokens) = (0.0_f64, burst);
    for number in 0..STORM {
        let failed = step * number as f64;
        if failed > at {
            tokens = (tokens + (failed - at) * rate).min(burst);
            at = failed;
        }
        if tokens < 1.0 {
            at += (1.0 - tokens) / rate;
            tokens = 1.0;
        }
        tokens -= 1.0;
    }
    Duration::from_secs_f64(at)
}
