//! Invariant 6: how many lookups and calls an invocation may make.
//!
//! With `T` the time that the invocation took, `pause` the poll interval, a third of the confirmation or half
//! a second, whichever is shorter (a failure is tried again after half a second at the earliest), and each number counted in
//! the one invocation:
//!
//! ```text
//! lookups  <= 3 + T/pause + changes + questions + failures + moves + 2 T/MAX_OBSERVATION_AGE
//! listings <= 3 + T/RELIST_INTERVAL + changes + questions + failures + moves + 3 T/MAX_OBSERVATION_AGE
//! changes  <= failed changes + targets changed * (1 + T/LISTING_LAG)
//! questions to the RDS API about the cluster <= 1 + T/RDS_RECHECK_INTERVAL + moves, and 2 (1 + T/CANDIDATE_POLL_INTERVAL) in a watch
//! questions about instances, and lookups of their names <= 2 (1 + T/CANDIDATE_POLL_INTERVAL) in a watch
//! ```
//!
//! and with a standby to keep, one question more of each kind. In the first two, questions count no
//! further than the first of these three bounds: finding candidates costs neither lookups nor listings.
//!
//! A move is an answer that differs from the one before. The third bound is checked call by call:
//! no change that succeeded is made again within SETTLE, unless a listing has shown it meanwhile and
//! another process has undone it since. A port's call may be several HTTP requests: the
//! SDK tries some again, and a truncated lookup is repeated over TCP.
//!
//! An invocation that sees one answer, no failure and nothing to change costs far less:
//! `lookups <= 2 + T/pause` and `listings <= 2 + T/RELIST`.

use std::time::Duration;

use rds_nlb_sync::reconcile::{
    CANDIDATE_POLL_INTERVAL, MAX_OBSERVATION_AGE, Mode, RDS_RECHECK_INTERVAL, RELIST_INTERVAL, Timing,
};

use crate::Action;

/// An invocation's traffic, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub lookups: u64,
    pub listings: u64,
    pub changes: u64,
    pub questions: u64,
    /// Questions about instances.
    pub instances: u64,
    /// Lookups of candidates' names.
    pub sought: u64,
    pub failures: u64,
    pub failed_changes: u64,
    /// Answers that differ from the one before.
    pub moves: u64,
    /// Listings that hold something else than the writer.
    pub differences: u64,
}

impl Counts {
    pub fn asked(&mut self, action: Action) {
        match action {
            Action::Lookup => self.lookups += 1,
            Action::DescribeTargetHealth => self.listings += 1,
            Action::RegisterTargets | Action::DeregisterTargets => self.changes += 1,
            Action::DescribeDBClusters => self.questions += 1,
            Action::DescribeDBInstances => self.instances += 1,
            // Asked once for each group; the rest is the doctor's alone.
            _ => {}
        }
    }

    pub fn failed(&mut self, action: Action) {
        self.failures += u64::from(action != Action::DescribeDBInstances);
        if matches!(action, Action::RegisterTargets | Action::DeregisterTargets) {
            self.failed_changes += 1;
        }
    }
}

pub(super) fn check(
    counts: &Counts,
    timing: Timing,
    mode: Mode,
    keep: bool,
    took: Duration,
) -> Vec<(u8, String)> {
    let Counts {
        lookups, listings, changes, questions, instances, sought, failures, moves, differences, ..
    } = *counts;
    let every = |period: Duration| (took.as_nanos() / period.as_nanos().max(1)) as u64;
    let confirming = if timing.confirm.is_zero() { timing.poll } else { timing.confirm / 3 };
    let polls = every(timing.poll.min(confirming).min(Duration::from_millis(500)));
    let rds_calls_max = 1 + every(RDS_RECHECK_INTERVAL) + moves;
    let candidate_polls_max = if mode == Mode::Watch { 1 + every(CANDIDATE_POLL_INTERVAL) } else { 0 };
    let reasons = changes + questions.min(rds_calls_max) + failures + moves;
    let (lookups_max, listings_max) = if reasons + differences == 0 {
        (2 + polls, 2 + every(RELIST_INTERVAL))
    } else {
        (
            3 + polls + reasons + 2 * every(MAX_OBSERVATION_AGE),
            3 + every(RELIST_INTERVAL) + reasons + 3 * every(MAX_OBSERVATION_AGE),
        )
    };
    let questions_max = rds_calls_max + 2 * candidate_polls_max + u64::from(keep);
    let bounds = [
        ("lookups", lookups, lookups_max),
        ("listings", listings, listings_max),
        ("questions", questions, questions_max),
        ("questions about instances", instances, 2 * candidate_polls_max + u64::from(keep)),
        ("lookups of candidates", sought, 2 * candidate_polls_max),
    ];
    let exceeded = bounds.into_iter().filter(|(_, count, most)| count > most);
    exceeded
        .map(|(what, count, most)| (6, format!("{count} {what} in {took:?}, not {most}: {counts:?}")))
        .collect()
}
