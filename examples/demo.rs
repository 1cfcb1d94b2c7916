//! Shows the main job: the real `bootstrap` binary against a fake AWS on loopback, through a failover,
//! a failback, a name server outage and a drift check.
//!
//! `cargo run --example demo` plays the story; `cargo run --example demo -- EVENT.json` invokes the
//! function once with an event, and plays what the event says: a failover's writer moves. Build the binary first: `cargo build --bin bootstrap`.
#![allow(clippy::disallowed_methods, reason = "the demo stands for everything around the function")]

use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use rds_nlb_sync::event::Event;
use tokio::time::{Instant, sleep};

use testkit::lambda::{Function, Result, sent_now};
use testkit::{Action, ApiFault, Call, ENDPOINT, FakeAws, GROUP};

const TIME: Duration = Duration::from_secs(60);
/// Shorter than the defaults (6 s, 500 ms), so that the demo is.
const TIMING: [(&str, &str); 2] = [("CONFIRM_SECONDS", "2"), ("POLL_MILLIS", "100")];
/// How long the fake AWS APIs and the name server take to answer.
const LATENCY: Duration = Duration::from_millis(15);
/// How often the function's new log lines are printed.
const LOG_INTERVAL: Duration = Duration::from_millis(50);

const STARTED: &str = include_str!("../events/cluster-failover-started.json");
const COMPLETED: &str = include_str!("../events/cluster-failover-completed.json");
const SCHEDULE: &str = include_str!("../events/schedule.json");

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let aws = FakeAws::new();
    aws.state().latency = LATENCY;
    aws.group(|group| group.health = Duration::from_secs(3));
    match std::env::args().nth(1) {
        Some(file) => {
            let variables = [&TIMING[..], &[("WATCH_SECONDS", "12")]].concat();
            invoke(&Function::start(&aws, &binary(), &variables).await, &aws, &file).await
        }
        None => story(Stage::new(aws.clone(), Function::start(&aws, &binary(), &TIMING).await)).await,
    }
}

/// The binary that `BOOTSTRAP` names, or the one next to the example: `target/PROFILE/bootstrap`.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BOOTSTRAP") {
        return path.into();
    }
    let example = std::env::current_exe().expect("the path of this program");
    example.ancestors().nth(2).expect("target/PROFILE/examples/demo").join("bootstrap")
}

async fn invoke(function: &Function, aws: &FakeAws, file: &str) -> ExitCode {
    let event = match std::fs::read_to_string(file) {
        Ok(event) => event,
        Err(error) => {
            eprintln!("{file}: {error}; name an event's file, such as events/schedule.json");
            return ExitCode::FAILURE;
        }
    };
    let mut printed = 0;
    let mut print_new_lines = || {
        let log = function.log.lock().expect("the log");
        log.iter().skip(printed).for_each(|line| eprintln!("{line}"));
        printed = log.len();
    };
    let result = {
        let mut playing =
            pin!(async { tokio::join!(function.invoke(sent_now(&event), TIME), play(aws, &event)).0 });
        loop {
            tokio::select! {
                result = playing.as_mut() => break result,
                () = sleep(LOG_INTERVAL) => print_new_lines(),
            }
        }
    };
    print_new_lines();
    eprintln!("demo: the group holds {}", held(aws));
    let (document, code) = match result {
        Ok(result) => (result, ExitCode::SUCCESS),
        Err(error) => (error, ExitCode::FAILURE),
    };
    println!("{}", serde_json::to_string_pretty(&document).expect("a JSON value"));
    code
}

/// Plays what an event says: if a writer may move, it does.
async fn play(aws: &FakeAws, event: &str) {
    let moves = matches!(Event::parse(event), Ok(Event::Rds(events)) if events.iter().any(|event| event.may_move_address));
    if moves {
        eprintln!("demo: in a second, DNS and the RDS API name orders-2 instead of orders-1");
        sleep(Duration::from_secs(1)).await;
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
        eprintln!("demo: the writer is orders-2");
    } else {
        eprintln!("demo: this event moves no writer");
    }
}

/// The targets in words.
fn held(aws: &FakeAws) -> String {
    aws.targets().replace('~', " (draining)").replace(' ', "  ").replace("  (", " (")
}

async fn story(mut stage: Stage) -> ExitCode {
    println!("{ENDPOINT}");
    println!("→ {GROUP}");
    println!("  orders-1 is 10.0.1.10, the writer; orders-2 is 10.0.2.20. The function is the real binary.");

    stage.scene("A drift check, and all is well");
    let result = stage.function.invoke(SCHEDULE, TIME).await;
    stage.expect(&result, "in_sync", "10.0.1.10:5432");

    stage.scene("A failover: the event comes first, DNS follows later and flickers");
    stage.happens("RDS says: started cross-AZ failover to orders-2");
    let failover = async {
        sleep(Duration::from_secs(2)).await;
        stage.aws.members_flicker();
        stage.happens("DNS flickers between orders-1 and orders-2");
        sleep(Duration::from_millis(1500)).await;
        stage.aws.promote("orders-2");
        stage.aws.writer_per_rds("orders-2");
        stage.happens("DNS settles on orders-2");
    };
    let (result, ()) = tokio::join!(stage.function.invoke(sent_now(STARTED), TIME), failover);
    stage.expect(&result, "updated", "10.0.1.10:5432~ 10.0.2.20:5432");

    stage.scene("A failback, while the old target still drains");
    stage.aws.promote("orders-1");
    stage.aws.writer_per_rds("orders-1");
    stage.happens("DNS moves back to orders-1; RDS says: completed failover");
    let result = stage.function.invoke(sent_now(COMPLETED), TIME).await;
    stage.expect(&result, "updated", "10.0.1.10:5432 10.0.2.20:5432~");

    stage.scene("The name server fails: no answer is not an answer");
    stage.aws.always(Action::Lookup, Some(ApiFault::ServerError));
    stage.happens("the name server answers SERVFAIL");
    let result = stage.function.invoke(SCHEDULE, TIME).await;
    stage.expect(&result, "failed", "10.0.1.10:5432 10.0.2.20:5432~");

    stage.scene("It recovers, and the next drift check finds what somebody did meanwhile");
    stage.aws.always(Action::Lookup, None);
    stage.aws.holds(&["10.0.3.30"]);
    stage.happens("somebody replaced the target with 10.0.3.30");
    let mut result = stage.function.invoke(SCHEDULE, TIME).await;
    // A machine that stands still for a second breaks the confirmation, and the next check is the one that repairs.
    if result.as_ref().is_ok_and(|result| result["bindings"][0]["status"] == "pending") {
        result = stage.function.invoke(SCHEDULE, TIME).await;
    }
    stage.expect(&result, "updated", "10.0.1.10:5432 10.0.3.30:5432~");

    stage.curtain()
}

/// The fake AWS, the function, and the printed timeline.
struct Stage {
    aws: FakeAws,
    function: Function,
    scene: Instant,
    happened: std::cell::RefCell<Vec<(Instant, String)>>,
    scenes: usize,
    failures: usize,
    colours: bool,
}

impl Stage {
    fn new(aws: FakeAws, function: Function) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (scene, happened) = (Instant::now(), std::cell::RefCell::default());
        Self { aws, function, scene, happened, scenes: 0, failures: 0, colours }
    }

    fn scene(&mut self, title: &str) {
        self.scenes += 1;
        println!("\n{}", self.paint("1", &format!("{}. {title}", self.scenes)));
        self.scene = Instant::now();
        self.aws.forget_calls();
    }

    fn happens(&self, what: &str) {
        self.happened.borrow_mut().push((Instant::now(), what.to_owned()));
    }

    /// Prints the scene's calls, and compares its end with the expected targets.
    fn expect(&mut self, result: &Result, status: &str, targets: &str) {
        let happened = self.happened.take();
        let mut timeline: Vec<(Instant, String)> = Vec::new();
        for call in self.aws.state().calls.iter().filter(|call| call.action != Action::Lookup) {
            let after = happened.iter().filter(|(at, _)| *at <= call.at).map(|(at, _)| *at).max();
            timeline.push((call.at, self.paint("36", &describe(call, after))));
        }
        timeline.extend(
            happened.into_iter().map(|(at, what)| (at, self.paint("33", &format!("world     {what}")))),
        );
        timeline.sort_by_key(|(at, _)| *at);
        for (at, what) in timeline {
            println!("  {:>6} ms  {what}", (at - self.scene).as_millis());
        }
        println!("             {} lookups", self.aws.count(Action::Lookup));
        let found = match result {
            Ok(result) => result["bindings"][0]["status"].as_str().unwrap_or("no status").to_owned(),
            Err(error) => {
                println!("             error: {}", error["errorMessage"].as_str().unwrap_or_default());
                "failed".to_owned()
            }
        };
        let holds = self.aws.targets();
        println!("             the group holds {}", held(&self.aws));
        let as_it_should = found == status && holds == targets;
        let verdict = if as_it_should {
            self.paint("32", &format!("✓ {found}"))
        } else {
            self.failures += 1;
            self.paint("31", &format!("✗ {found}, holding {holds}; expected {status}, holding {targets}"))
        };
        println!("             {verdict}");
    }

    fn curtain(&self) -> ExitCode {
        if self.failures == 0 {
            println!("\n{} scenes, and every one ended as it should.", self.scenes);
            return ExitCode::SUCCESS;
        }
        println!(
            "\n{} of {} scenes did not end as they should. The function's log:",
            self.failures, self.scenes
        );
        for line in self.function.log.lock().expect("the log").iter() {
            println!("{line}");
        }
        ExitCode::FAILURE
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A call in words, with the time since its cause.
fn describe(call: &Call, cause: Option<Instant>) -> String {
    let what = match call.action {
        Action::RegisterTargets => format!("registers {}", call.detail),
        Action::DeregisterTargets => format!("deregisters {}", call.detail),
        Action::DescribeTargetHealth => "lists the group".to_owned(),
        Action::DescribeTargetGroups => "learns what the group is".to_owned(),
        Action::DescribeDBClusters => "asks RDS who the writer is".to_owned(),
        Action::DescribeDBInstances => format!("asks RDS where {} is", call.detail),
        Action::Lookup => "looks up the endpoint".to_owned(),
        other => format!("asks for {other:?}"),
    };
    let writes = matches!(call.action, Action::RegisterTargets | Action::DeregisterTargets);
    match cause {
        Some(cause) if writes => format!("function  {what}, {} ms after", (call.at - cause).as_millis()),
        _ => format!("function  {what}"),
    }
}
