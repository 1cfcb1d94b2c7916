//! Whether DNS has given the same answer for long enough to act on it.

use std::time::Duration;

use tokio::time::Instant;

use super::options::Timing;
use crate::plan::Addresses;

/// The current streak of lookups that gave the same answer.
///
/// A streak lasts from the end of its first lookup to the start of its last, so that a slow lookup never makes it
/// longer than DNS really gave the answer. A gap without a lookup ends it as well: DNS may have given any answer
/// meanwhile.
#[derive(Clone, Debug)]
pub(super) struct AnswerStability {
    confirm: Duration,
    max_gap: Duration,
    streak: Option<Streak>,
}

#[derive(Clone, Debug)]
struct Streak {
    addresses: Addresses,
    since: Instant,
    last_asked: Instant,
    last_answered: Instant,
    lookups: u32,
}

impl AnswerStability {
    /// A gap may last half the confirmation time, or two polls if they are slower.
    pub fn new(timing: Timing) -> Self {
        Self { confirm: timing.confirm, max_gap: (timing.confirm / 2).max(2 * timing.poll), streak: None }
    }

    pub fn record(&mut self, addresses: &Addresses, asked: Instant, answered: Instant) {
        match &mut self.streak {
            Some(streak)
                if streak.addresses == *addresses
                    && asked.saturating_duration_since(streak.last_answered) <= self.max_gap =>
            {
                (streak.last_asked, streak.last_answered) = (asked, answered);
                streak.lookups += 1;
            }
            _ => {
                let addresses = addresses.clone();
                let (last_asked, last_answered) = (asked, answered);
                self.streak =
                    Some(Streak { addresses, since: answered, last_asked, last_answered, lookups: 1 });
            }
        }
    }

    /// Ends the streak: a lookup that failed confirms nothing.
    pub fn reset(&mut self) {
        self.streak = None;
    }

    /// Whether every lookup of the confirmation time gave this answer, and there were at least two lookups. A
    /// confirmation time of zero needs one lookup.
    pub fn is_confirmed(&self) -> bool {
        self.streak.as_ref().is_some_and(|streak| {
            let length = streak.last_asked.saturating_duration_since(streak.since);
            self.confirm.is_zero() || (streak.lookups >= 2 && length >= self.confirm)
        })
    }

    /// When the first lookup of the streak was answered.
    pub fn since(&self) -> Option<Instant> {
        self.streak.as_ref().map(|streak| streak.since)
    }

    /// When the last lookup of the streak was answered.
    pub fn answered(&self) -> Option<Instant> {
        self.streak.as_ref().map(|streak| streak.last_answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(address: &str) -> Addresses {
        Addresses::parse([address.parse().unwrap()]).unwrap()
    }

    fn stability(confirm: u64) -> AnswerStability {
        AnswerStability::new(Timing {
            watch: Duration::ZERO,
            poll: Duration::from_secs(1),
            confirm: Duration::from_secs(confirm),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn streak_lasts_from_end_of_first_to_start_of_last_lookup() {
        let (first, zero, second) = (addresses("10.0.1.10"), Instant::now(), Duration::from_secs(1));
        for (confirm, expected) in [(5, true), (6, false)] {
            let mut stability = stability(confirm);
            assert!(!stability.is_confirmed(), "nothing was looked up");
            stability.record(&first, zero, zero + 2 * second);
            assert!(!stability.is_confirmed(), "one lookup confirms nothing");
            stability.record(&first, zero + 4 * second, zero + 5 * second);
            stability.record(&first, zero + 7 * second, zero + 9 * second);
            assert_eq!(stability.is_confirmed(), expected, "the same answer from 2 s to 7 s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn other_answer_failure_or_gap_starts_a_new_streak() {
        let (first, zero, second) = (addresses("10.0.1.10"), Instant::now(), Duration::from_secs(1));
        let other = addresses("10.0.2.20");
        let interruptions: [fn(&mut AnswerStability, &Addresses, Instant); 3] = [
            |stability, other, at| stability.record(other, at, at),
            |stability, _, _| stability.reset(),
            |_, _, _| {},
        ];
        for interrupt in interruptions {
            let mut stability = stability(6);
            stability.record(&first, zero, zero);
            stability.record(&first, zero + 2 * second, zero + 2 * second);
            interrupt(&mut stability, &other, zero + 4 * second);
            stability.record(&first, zero + 6 * second, zero + 6 * second);
            assert_eq!(stability.since(), Some(zero + 6 * second));
            assert!(!stability.is_confirmed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn confirmation_of_zero_seconds_is_immediate() {
        let mut stability = stability(0);
        assert!(!stability.is_confirmed());
        stability.record(&addresses("10.0.1.10"), Instant::now(), Instant::now());
        assert!(stability.is_confirmed());
    }
}
