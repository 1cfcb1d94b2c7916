//! Plays every simulated schedule up to a bound, on all cores: `make exhaust`, or `make exhaust NUMBER=n` to replay
//! one with its events.
//!
//! Finished chunks are kept in a file of the target folder, so that a run that was stopped goes on. A program that
//! has changed starts from the beginning.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time and reads its options from the environment"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use testkit::simulation::exhaust::{count, schedule};
use testkit::simulation::play::{Broken, play_schedule_caught};

const CHUNK: u64 = 5_000;
/// Chunks are played in the order of their number times this, modulo their count. It is prime, so the order spreads them.
const STRIDE: u64 = 367;
/// How many violations are printed.
const PRINTED: usize = 20;

fn main() -> ExitCode {
    if let Some(number) = number("NUMBER") {
        return replay(number);
    }
    // Violations are printed at the end, with the panics among them.
    std::panic::set_hook(Box::new(|_| {}));
    let total = count();
    let progress = Progress::resume();
    let limit = number("CHUNKS").unwrap_or(u64::MAX);
    let all = total.div_ceil(CHUNK);
    let before = progress.done.lock().expect("no panic").len() as u64;
    // A run that is stopped has played chunks from the whole range.
    let mut chunks: Vec<u64> =
        (0..all).filter(|chunk| !progress.done.lock().expect("no panic").contains_key(chunk)).collect();
    chunks.sort_by_key(|chunk| chunk * STRIDE % all);
    chunks.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    println!("{total} schedules, {} of them played before", (before * CHUNK).min(total));
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(chunk) = chunks.get(index as usize) else { return };
                    let numbers = chunk * CHUNK..total.min((chunk + 1) * CHUNK);
                    let violations = numbers.filter(|number| is_broken(*number)).collect();
                    progress.finish(*chunk, violations);
                    if index.is_multiple_of(20) {
                        let speed = ((index + 1) * CHUNK) as f64 / began.elapsed().as_secs_f64();
                        eprintln!(
                            "{} of {} chunks, {speed:.0} schedules per second",
                            index + 1,
                            chunks.len()
                        );
                    }
                }
            });
        }
    });
    report(total, &progress)
}

fn report(total: u64, progress: &Progress) -> ExitCode {
    let done = progress.done.lock().expect("no panic");
    let broken: BTreeSet<u64> = done.values().flatten().copied().collect();
    let played = (done.len() as u64 * CHUNK).min(total);
    println!("{played} of {total} schedules played, {} with violations", broken.len());
    for number in broken.iter().take(PRINTED) {
        if let Err(broken) = play(*number, false) {
            println!("  NUMBER={number}: {}", broken.summary());
        }
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(number: u64) -> ExitCode {
    match play(number, true) {
        Ok(trace) => {
            println!("{}\n{:#?}\nno violation", trace.join("\n"), schedule(number));
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn play(number: u64, traced: bool) -> Result<Vec<String>, Box<Broken>> {
    play_schedule_caught(&schedule(number), traced).map(|played| played.trace)
}

fn is_broken(number: u64) -> bool {
    play(number, false).is_err()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// The finished chunks with their violations.
struct Progress {
    done: Mutex<BTreeMap<u64, Vec<u64>>>,
    file: Mutex<File>,
}

impl Progress {
    /// Reads the finished chunks of the same program.
    fn resume() -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut hasher = DefaultHasher::new();
        std::fs::read(&program).expect("this program").hash(&mut hasher);
        let name = format!("exhaust-{:016x}.txt", hasher.finish());
        let path: PathBuf = program.with_file_name(name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse::<u64>);
            let chunk = numbers.next()?.ok()?;
            Some((chunk, numbers.collect::<Result<_, _>>().ok()?))
        };
        let file =
            OpenOptions::new().create(true).append(true).open(&path).expect("a file of the target folder");
        Self { done: Mutex::new(text.lines().filter_map(line).collect()), file: Mutex::new(file) }
    }

    fn finish(&self, chunk: u64, violations: Vec<u64>) {
        let list: String = violations.iter().map(|number| format!(" {number}")).collect();
        let line = format!("{chunk}{list}\n");
        self.file.lock().expect("no panic").write_all(line.as_bytes()).expect("room on the disk");
        self.done.lock().expect("no panic").insert(chunk, violations);
    }
}
