//! How long a failover cuts vendors off, with this function and with the usual alternatives: `make outage`.
//!
//! A model, not a measurement: the real reconcile loop on a paused clock, against a failover and a load
//! balancer with the documented durations ([`model`]). `scripts/drill` measures the real thing.
#![allow(clippy::disallowed_methods, reason = "an example")]

mod contenders;
mod model;
mod picture;

use std::rc::Rc;
use std::time::Duration;

use contenders::Contender;
use model::{Database, FAILURE, Failover, Served};
use tokio::task::LocalSet;

/// Trials of each contender. The same trial has the same durations for all of them.
const TRIALS: u64 = 100;
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outage.svg");

/// Seconds from the failure, over all trials.
pub struct Row {
    pub contender: Contender,
    /// Until new connections reach the new writer again, and none goes elsewhere. Sorted; one that never
    /// recovered within the trial is missing.
    pub outages: Vec<f64>,
    /// Until the first new connection does.
    pub first: Vec<f64>,
}

fn main() -> std::io::Result<()> {
    println!(
        "A model, not a measurement: documented durations, {TRIALS} trials each. To measure: scripts/drill."
    );
    let mut charts = Vec::new();
    for (database, title) in [
        (Database::Aurora, "Aurora cluster, a reader is promoted"),
        (Database::MultiAz, "Multi-AZ instance, the standby takes over"),
    ] {
        println!("\n{title}: seconds from the failure until new connections reach a writable writer");
        println!("{:<44}{:>22}{:>28}{:>10}", "", "all of them", "the first of them", "not in");
        println!("{:<44}{:>22}{:>28}{:>10}", "", "min / median / max", "min / median / max", "13 min");
        let rows: Vec<Row> = contenders::of(database).into_iter().map(|who| play(who, database)).collect();
        for Row { contender, outages, first } in &rows {
            let lost = TRIALS - outages.len() as u64;
            println!("{:<44}{:>22}{:>28}{lost:>10}", contender.name(), text(outages), text(first));
        }
        charts.push((title, rows));
    }
    picture::draw(PICTURE, &charts).map_err(std::io::Error::other)?;
    println!("\nwrote {PICTURE}");
    Ok(())
}

/// The least, the middle and the greatest.
pub fn spread(sorted: &[f64]) -> Option<(f64, f64, f64)> {
    Some((*sorted.first()?, sorted[sorted.len() / 2], *sorted.last()?))
}

fn text(sorted: &[f64]) -> String {
    match spread(sorted) {
        Some((least, middle, greatest)) => format!("{least:.0} / {middle:.0} / {greatest:.0}"),
        None => "–".to_owned(),
    }
}

fn play(contender: Contender, database: Database) -> Row {
    let (mut outages, mut first) = (Vec::new(), Vec::new());
    for seed in 0..TRIALS {
        let served = trial(contender, Failover::draw(database, seed));
        let after = |at: &Duration| (*at - FAILURE).as_secs_f64();
        let since = served.iter().filter(|(at, _)| *at >= FAILURE);
        first.extend(since.clone().find(|(_, part)| *part > 0.0).map(|(at, _)| after(at)));
        let last = since.rev().find(|(_, part)| *part < 1.0).map(|(at, _)| *at + Duration::from_secs(1));
        let end = served.last().map(|(at, _)| *at).unwrap_or_default();
        outages.extend(last.filter(|at| *at < end).map(|at| after(&at)));
    }
    outages.sort_by(f64::total_cmp);
    first.sort_by(f64::total_cmp);
    Row { contender, outages, first }
}

fn trial(contender: Contender, failover: Failover) -> Vec<(Duration, f64)> {
    fastrand::seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output");
    let served = Served::default();
    LocalSet::new().block_on(&runtime, async {
        let aws = failover.aws(contender == Contender::WithStandby);
        tokio::task::spawn_local(failover.happen(aws.clone()));
        tokio::task::spawn_local(contenders::act(contender, failover, aws.clone()));
        model::balance(failover, aws, served.clone()).await;
    });
    Rc::unwrap_or_clone(served).into_inner()
}
