//! Plays random schedules of harm against the real binary, in real time, over loopback sockets.
//!
//! `make fuzz-live SECONDS=600` plays for ten minutes; `make fuzz-live SEED=17` replays one schedule (its settings and
//! its hazards; the machine decides the rest); `HAZARD=UdpLost` plays only schedules of this main hazard; `START` and
//! `SEEDS` choose a range of seeds, and `JOBS` how many are played at the same time.
//!
//! The world (`world.rs`) writes what happened to a journal. A checker in another process (`tests/live/check.py`), which
//! shares no code with it, reads the journal from a pipe and judges it.
//! With `CONTROL=1`, every schedule holds one deregistration that is wrong, which the checker must find.
#![allow(clippy::disallowed_methods, reason = "the program stands for everything around the function")]

mod events;
mod hazards;
mod journal;
mod schedule;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use journal::Journal;
use schedule::{Hazard, Schedule};
use world::World;

/// How many schedules are played at the same time on each processor, and how many in all. Most of the time of each is
/// waiting.
const AT_ONCE: u64 = 4;
const MOST_AT_ONCE: u64 = 16;

fn main() -> ExitCode {
    let number = |name: &str| {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a whole number")))
    };
    let control = number("CONTROL").is_some_and(|value| value != 0);
    let (start, seeds) = match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => (seed, Some(1)),
        (None, seeds) => (number("START").unwrap_or_else(random_start), seeds),
    };
    let seconds = Duration::from_secs(number("SECONDS").unwrap_or(60));
    let end = Instant::now() + seconds;
    let hazard = std::env::var("HAZARD").ok().filter(|name| !name.is_empty());
    if let Some(name) = &hazard {
        let names = Hazard::ALL.map(|hazard| format!("{hazard:?}"));
        assert!(names.contains(name), "HAZARD is one of {}", names.join(", "));
    }
    let is_wanted =
        |seed| hazard.as_ref().is_none_or(|name| *name == format!("{:?}", Schedule::of(seed).main));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checker = Command::new(std::env::var("PYTHON").unwrap_or_else(|_| "python3".into()))
        .arg(root.join("tests/live/check.py"))
        .args(control.then_some("--control"))
        .arg("--keep")
        .arg(root.join("target/fuzz-live"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("Python runs the checker");
    let journal = Journal::new(checker.stdin.take().expect("piped"));
    let processors = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
    let jobs = number("JOBS").unwrap_or((AT_ONCE * processors).min(MOST_AT_ONCE));
    let next = AtomicU64::new(start);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = seeds.map_or(Instant::now() >= end, |seeds| seed >= start + seeds);
                    if is_over {
                        return;
                    }
                    if is_wanted(seed) {
                        play(seed, &journal, control);
                    }
                }
            });
        }
    });
    // The checker reads to the end.
    drop(journal);
    let verdict = checker.wait().expect("the checker ends");
    if verdict.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one schedule. Its runtime ends with it, and so do its sockets and processes.
fn play(seed: u64, journal: &Journal, control: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut schedule = Schedule::of(seed);
    if control {
        // Zero confirms at once.
        schedule.confirm = schedule.confirm.max(1);
    }
    runtime.block_on(World::new(schedule, journal, binary()).play(control));
    runtime.shutdown_background();
}

/// The binary that `BOOTSTRAP` names, or the one next to the example: `target/PROFILE/bootstrap`.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BOOTSTRAP") {
        return path.into();
    }
    let example = std::env::current_exe().expect("the path of this program");
    example.ancestors().nth(2).expect("target/PROFILE/examples/fuzz_live").join("bootstrap")
}

/// Other schedules each time.
fn random_start() -> u64 {
    fastrand::u64(0..1_000_000) * 1000
}
