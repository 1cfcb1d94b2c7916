//! Plays simulated schedules on all cores, and counts the faults and the violations:
//! `make soak SEEDS=1000000`, or `START=17 SEEDS=1` to replay the schedule of seed 17.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time and reads its options from the environment"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::simulation::checker::Excused;
use testkit::simulation::hazard::Coverage;
use testkit::simulation::play::{Broken, play_caught};

/// From so many schedules on, every hazard must have met every phase of the loop.
const LONG: u64 = 50_000;
/// How many broken schedules are kept.
const KEPT: usize = 20;

#[derive(Default)]
struct Sum {
    schedules: u64,
    invocations: u64,
    coverage: Coverage,
    excused: Excused,
    broken: Vec<(u64, Box<Broken>)>,
    violations: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.invocations += other.invocations;
        self.coverage.add(&other.coverage);
        self.excused.external += other.excused.external;
        self.excused.crossing += other.excused.crossing;
        self.violations += other.violations;
        self.broken.extend(other.broken);
    }
}

fn main() -> std::process::ExitCode {
    let number = |name: &str, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    };
    let (start, seeds) = (number("START", 0), number("SEEDS", 100_000));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(start);
    let began = Instant::now();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| work(&next, start + seeds))).collect();
        if seeds > 10_000 {
            scope.spawn(|| report_progress(&next, start, seeds, began));
        }
        for thread in threads {
            sum.add(thread.join().expect("a worker"));
        }
    });
    print(&mut sum, began.elapsed(), cores);
    let missing = if seeds < LONG { Vec::new() } else { sum.coverage.missing() };
    if !missing.is_empty() {
        println!("never played: {missing:?}");
    }
    if sum.violations == 0 && missing.is_empty() {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

/// Plays schedules until none is left.
fn work(next: &AtomicU64, end: u64) -> Sum {
    let mut sum = Sum::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return sum;
        }
        sum.schedules += 1;
        match play_caught(seed, false) {
            Ok(played) => {
                sum.invocations += played.invocations;
                sum.coverage.add(&played.coverage);
                sum.excused.external += played.excused.external;
                sum.excused.crossing += played.excused.crossing;
            }
            Err(broken) => {
                sum.violations += broken.violations.len().max(1) as u64;
                if sum.broken.len() < KEPT {
                    sum.broken.push((seed, broken));
                }
            }
        }
    }
}

fn report_progress(next: &AtomicU64, start: u64, seeds: u64, began: Instant) {
    let mut shown = 0;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let done = (next.load(Ordering::Relaxed) - start).min(seeds);
        if done >= seeds {
            return;
        }
        let tenth = done * 10 / seeds;
        if tenth > shown {
            shown = tenth;
            let speed = done as f64 / began.elapsed().as_secs_f64();
            eprintln!("{done} of {seeds} schedules, {speed:.0} per second");
        }
    }
}

fn print(sum: &mut Sum, took: Duration, cores: usize) {
    let Sum { schedules, invocations, coverage, excused, broken, violations } = sum;
    let speed = *schedules as f64 / took.as_secs_f64();
    println!(
        "{schedules} schedules with {invocations} invocations in {:.0} s on {cores} cores: {speed:.0} per second",
        took.as_secs_f64()
    );
    println!("hazards by the phase of the loop:");
    println!("{coverage}");
    let Excused { external, crossing } = excused;
    println!("groups emptied by another process between a listing and its call: {external}");
    println!("groups emptied by two calls that crossed while the name servers moved or differed: {crossing}");
    println!("violations: {violations}");
    broken.sort_by_key(|(seed, _)| *seed);
    for (seed, broken) in broken.iter().take(KEPT) {
        println!("  SEED={seed}: {}", broken.summary());
    }
    if let [(seed, _)] = broken.as_slice()
        && *schedules == 1
        && let Err(broken) = play_caught(*seed, true)
    {
        println!("{broken}");
    }
}
