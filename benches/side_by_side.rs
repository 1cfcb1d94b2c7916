//! Compares this function with an echo function in Rust and with a Python handler, in one run, with the same
//! Runtime API, name server and AWS APIs on loopback. `make bench` builds and runs it; the table goes to
//! standard output.
#![allow(clippy::disallowed_methods, reason = "the bench stands for everything around the function")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

mod report;

use report::{Measured, Report};
use testkit::lambda::{Function, sent_now};
use testkit::{Action, FakeAws};

/// How long the API and the name server take to answer.
const API: Duration = Duration::from_millis(20);
const DNS: Duration = Duration::from_millis(4);
/// The default poll interval of a watch.
pub const POLL: Duration = Duration::from_millis(500);
/// The defaults, which [`Function`] shortens otherwise. Pre-registration is off, because it would register
/// the new writer before DNS names it.
const TIMING: [(&str, &str); 3] =
    [("POLL_MILLIS", "500"), ("CONFIRM_SECONDS", "6"), ("PREREGISTER", "false")];

const CHECKS: u32 = 1000;
/// The checks that the function makes in a row. Its rate limit allows five routine calls per second, and six seconds'
/// worth at once; the pause that follows brings as many back.
const IN_A_ROW: u32 = 25;
const PAUSE: Duration = Duration::from_secs(6);
const STARTS: usize = 100;
const FLIPS: usize = 100;
/// How many failovers are played at once, each with a function of its own that sleeps most of the time.
const AT_ONCE: usize = 10;
/// The function's time-out.
const TIME: Duration = Duration::from_secs(30);

const SCHEDULE: &str = include_str!("../events/schedule.json");
const STARTED: &str = include_str!("../events/cluster-failover-started.json");

/// The three that are compared, and another build of this function, which is compared alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    This,
    Floor,
    Python,
    Other,
}

impl Subject {
    const ALL: [Self; 3] = [Self::This, Self::Floor, Self::Python];

    async fn start(self, aws: &FakeAws) -> Function {
        let command = match self {
            Self::This => Command::new(built("BOOTSTRAP", "bootstrap")),
            Self::Floor => Command::new(built("ECHO", "echo")),
            Self::Other => Command::new(std::env::var_os("OTHER").expect("OTHER names another build")),
            Self::Python => {
                let root = Path::new(env!("CARGO_MANIFEST_DIR"));
                let mut command = Command::new(root.join(".venv/bin/python"));
                command.args(["-m", "awslambdaric", "handler.handler"]).current_dir(root.join("benches"));
                command
            }
        };
        Function::launch(aws, command, &TIMING).await
    }
}

/// The program that the variable names, or the release build next to this program.
fn built(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let bench = std::env::current_exe().expect("the path of this program");
    bench.ancestors().nth(3).expect("target/PROFILE/deps/side_by_side").join("release").join(name)
}

fn aws() -> FakeAws {
    let aws = FakeAws::new();
    {
        let mut state = aws.state();
        (state.latency, state.lookup_latency) = (API, Some(DNS));
    }
    aws
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::var_os("OTHER").is_some_and(|path| !path.is_empty()) {
        compare().await;
        return ExitCode::SUCCESS;
    }
    let inits = inits().await;
    let [this, floor, python] = inits;
    let round_trip = round_trip().await;
    eprintln!("init is measured; {CHECKS} checks each take a minute");
    let mut checks = Vec::new();
    for subject in Subject::ALL {
        checks.push(Checks::of(subject, aws()).await);
    }
    let at_once = Checks::of(Subject::This, FakeAws::new()).await;
    eprintln!("the checks are measured; {FLIPS} failovers take another");
    let flips = flips().await;
    let bootstrap = built("BOOTSTRAP", "bootstrap");
    let zip = zipped(&bootstrap).await;
    let Ok([of_this, of_floor, of_python]) = <[Checks; 3]>::try_from(checks) else { unreachable!("three") };
    let report = Report {
        init: [this, floor, python],
        round_trip,
        check: [of_this.wall, of_floor.wall, of_python.wall],
        cpu: [of_this.cpu, of_floor.cpu, of_python.cpu],
        cpu_at_once: at_once.cpu,
        calls: [of_this.calls, of_floor.calls, of_python.calls],
        early_memory: [of_this.early_memory, of_floor.early_memory, of_python.early_memory],
        memory: [of_this.memory, of_floor.memory, of_python.memory],
        flips,
        zip,
    };
    println!("{report}");
    if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The processor time of a check, of this build and of another at the same time: whatever else slows the machine slows both.
async fn compare() {
    println!("| processor time of a check | this build | the other | ratio |\n|---|---|---|---|");
    let worlds: [(_, fn() -> FakeAws); 2] =
        [("the API takes 20 ms, DNS 4 ms", aws), ("both answer at once", FakeAws::new)];
    for (answers, world) in worlds {
        let (this, other) =
            tokio::join!(Checks::of(Subject::This, world()), Checks::of(Subject::Other, world()));
        let ratio = this.cpu.median().as_secs_f64() / other.cpu.median().as_secs_f64();
        println!("| {answers} | {:.2} | {:.2} | {ratio:.2} |", this.cpu, other.cpu);
    }
}

/// From the start of the process to its first poll of the Runtime API: this function and the floor in
/// turn, and then Python, which would sweep the caches between them.
async fn inits() -> [Measured; 3] {
    let mut samples = [const { Vec::new() }; 3];
    let rounds = [(&[Subject::This, Subject::Floor][..], STARTS), (&[Subject::Python], STARTS / 10)];
    for (subjects, starts) in rounds {
        // The first round fills the page cache.
        for round in 0..=starts {
            for &subject in subjects {
                let took = subject.start(&aws()).await.polled(1).await;
                if round > 0 {
                    samples[subject as usize].push(took);
                }
            }
        }
    }
    samples.map(Measured::new)
}

/// How long a call to the API takes over a connected bare socket: the API's sleep, and the overhead of the
/// testkit.
async fn round_trip() -> Measured {
    let address = aws().serve_aws().await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "DescribeTargetHealth")
        .append_pair("TargetGroupArn", testkit::GROUP)
        .finish();
    let request =
        format!("POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{form}", form.len());
    let mut samples = Vec::new();
    for _ in 0..200 {
        let (asked, mut answer, mut buffer) = (Instant::now(), String::new(), [0; 4096]);
        stream.write_all(request.as_bytes()).await.expect("a request");
        while !answer.ends_with("</DescribeTargetHealthResponse>") {
            let length = stream.read(&mut buffer).await.expect("an answer");
            answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        samples.push(asked.elapsed());
    }
    Measured::new(samples)
}

/// The measurements of a thousand warm checks in sync.
struct Checks {
    wall: Measured,
    cpu: Measured,
    /// API calls and lookups per check.
    calls: [f64; 2],
    /// Peak memory in KiB after a tenth of the checks, and after all.
    early_memory: u64,
    memory: u64,
}

impl Checks {
    async fn of(subject: Subject, aws: FakeAws) -> Self {
        let function = subject.start(&aws).await;
        let process = function.process_id().expect("a running function");
        let mut polls = 1;
        function.polled(polls).await;
        let check = async |polls: &mut usize| {
            *polls += 1;
            let asked = Instant::now();
            let result = function.invoke(SCHEDULE, TIME).await;
            let took = asked.elapsed();
            assert!(result.is_ok(), "{subject:?}: {result:?}, {:?}", function.log);
            // It ends with the poll for the next event.
            function.polled(*polls).await;
            took
        };
        // The first checks connect, and learn what the group is.
        for _ in 0..5 {
            check(&mut polls).await;
        }
        aws.forget_calls();
        let (mut samples, mut used, mut early_memory) = (Vec::new(), vec![cpu(process)], 0);
        for number in 0..CHECKS {
            if number == CHECKS / 10 {
                early_memory = peak_memory(process);
            }
            if matches!(subject, Subject::This | Subject::Other) && number % IN_A_ROW == IN_A_ROW - 1 {
                sleep(PAUSE).await;
            }
            samples.push(check(&mut polls).await);
            used.push(cpu(process));
        }
        let lookups = aws.count(Action::Lookup);
        let calls = aws.state().calls.len() - lookups;
        let per_check = |count: usize| count as f64 / f64::from(CHECKS);
        Self {
            wall: Measured::new(samples),
            cpu: Measured::new(used.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()),
            calls: [per_check(calls), per_check(lookups)],
            early_memory,
            memory: peak_memory(process),
        }
    }
}

/// From the moment at which DNS names another writer to the call that registers it, during a watch.
async fn flips() -> Measured {
    let mut samples = Vec::new();
    while samples.len() < FLIPS {
        let batch = (0..AT_ONCE).map(|_| tokio::spawn(flip()));
        for flip in batch.collect::<Vec<_>>() {
            samples.push(flip.await.expect("a registered writer"));
        }
    }
    Measured::new(samples)
}

async fn flip() -> Duration {
    let aws = aws();
    let function = Subject::This.start(&aws).await;
    let watch = function.invoke(sent_now(STARTED), TIME);
    let failover = async {
        // Anywhere between two lookups.
        sleep(Duration::from_secs(1) + POLL.mul_f64(fastrand::f64())).await;
        let flipped = Instant::now();
        aws.promote("orders-2");
        loop {
            if let Some(call) = aws.calls(Action::RegisterTargets).first() {
                return call.at - flipped;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = async {
        let result = watch.await;
        panic!("the watch ended first: {result:?}")
    };
    tokio::select! {
        took = timeout(TIME, failover) => took.expect("a registration"),
        () = ended => unreachable!(),
    }
}

/// The time on a processor that the process and its threads have used.
fn cpu(process: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("Linux's /proc");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The most memory that the process has had, in KiB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// The size of a zip with this program, in bytes, as deflated by Python.
async fn zipped(program: &Path) -> u64 {
    let script = "import io, sys, zipfile\n\
                  file = io.BytesIO()\n\
                  zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED).write(sys.argv[1], 'bootstrap')\n\
                  print(len(file.getvalue()))";
    let output = Command::new("python3").args(["-c", script]).arg(program).output().await.expect("Python");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a size")
}
