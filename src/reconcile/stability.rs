//! What makes an answer of DNS sure: that it stays, and that the RDS API does not contradict it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Timing;
use crate::plan::Addresses;

/// A row of lookups that gave the same answer.
///
/// It counts from the end of the first lookup to the start of the last, so that a slow lookup never
/// makes the row longer than DNS was in truth steady. A gap in which nobody looked ends the row as
/// well: DNS may have said anything meanwhile.
#[derive(Clone, Debug)]
pub(super) struct AnswerStability {
    confirm: Duration,
    gap: Duration,
    streak: Option<Streak>,
}

#[derive(Clone, Debug)]
struct Streak {
    addresses: Addresses,
    since: Instant,
    asked: Instant,
    answered: Instant,
    lookups: u32,
}

impl AnswerStability {
    /// No lookup yet. A gap may be half the confirmation time, or two polls where they are slower.
    pub fn new(timing: Timing) -> Self {
        Self { confirm: timing.confirm, gap: (timing.confirm / 2).max(2 * timing.poll), streak: None }
    }

    /// Adds a lookup that was asked and answered at these times.
    pub fn record(&mut self, addresses: &Addresses, asked: Instant, answered: Instant) {
        match &mut self.streak {
            Some(streak)
                if streak.addresses == *addresses
                    && asked.saturating_duration_since(streak.answered) <= self.gap =>
            {
                (streak.asked, streak.answered) = (asked, answered);
                streak.lookups += 1;
            }
            _ => {
                let addresses = addresses.clone();
                self.streak = Some(Streak { addresses, since: answered, asked, answered, lookups: 1 });
            }
        }
    }

    /// Ends the row: a lookup failed, and no answer confirms nothing.
    pub fn end(&mut self) {
        self.streak = None;
    }

    /// Whether every lookup of the confirmation time gave this answer, and there were at least two.
    /// Zero confirms at once.
    pub fn is_confirmed(&self) -> bool {
        self.streak.as_ref().is_some_and(|streak| {
            let length = streak.asked.saturating_duration_since(streak.since);
            self.confirm.is_zero() || (streak.lookups >= 2 && length >= self.confirm)
        })
    }

    /// When the first lookup of the row was answered.
    pub fn since(&self) -> Option<Instant> {
        self.streak.as_ref().map(|streak| streak.since)
    }

    /// When the last lookup of the row was asked.
    pub fn asked(&self) -> Option<Instant> {
        self.streak.as_ref().map(|streak| streak.asked)
    }
}

/// A cluster as the RDS API describes it: its members, and which of them it calls the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Instance identifiers, lower case, and whether `IsClusterWriter` is set.
    pub members: BTreeMap<String, bool>,
    /// Whether the API reports a failover under way.
    pub is_failing_over: bool,
}

/// An instance as the RDS API describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// The DNS name of its own; there is none while it is being created.
    pub endpoint: Option<String>,
    /// `DBInstanceStatus`.
    pub status: String,
    /// Whether it has a standby that takes over its name.
    pub is_multi_az: bool,
    /// The cluster that it is a member of.
    pub cluster: Option<String>,
}

impl Cluster {
    /// The member that the API calls the writer, if it is another than the one that DNS names. A
    /// name that is no member's, or a cluster without a writer, contradicts nothing.
    pub fn contradicts(&self, member: &str) -> Option<&str> {
        let named_is_writer = *self.members.get(member)?;
        let named_writer = self.members.iter().find(|(_, is_writer)| **is_writer);
        named_writer.filter(|_| !named_is_writer).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resolution;
    use super::*;

    fn cluster(members: &[(&str, bool)]) -> Cluster {
        let members = members.iter().map(|(name, is_writer)| ((*name).to_owned(), *is_writer)).collect();
        Cluster { members, is_failing_over: false }
    }

    #[test]
    fn the_api_contradicts_only_where_it_names_another_member() {
        let api = cluster(&[("orders-1", true), ("orders-2", false)]);
        assert_eq!(api.contradicts("orders-1"), None);
        assert_eq!(api.contradicts("orders-2"), Some("orders-1"));
        assert_eq!(api.contradicts("billing"), None, "no member of this cluster");
        assert_eq!(cluster(&[("orders-1", false)]).contradicts("orders-1"), None, "no writer named");
    }

    fn resolution(chain: &[&str]) -> Resolution {
        let addresses = Addresses::parse(["10.0.1.10".parse().unwrap()]).unwrap();
        Resolution { addresses, chain: chain.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn stability(confirm: u64) -> AnswerStability {
        AnswerStability::new(Timing {
            watch: Duration::ZERO,
            poll: Duration::from_secs(1),
            confirm: Duration::from_secs(confirm),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_counts_from_the_end_of_its_first_lookup_to_the_start_of_its_last() {
        let (addresses, zero, second) = (resolution(&[]).addresses, Instant::now(), Duration::from_secs(1));
        for (confirm, expected) in [(5, true), (6, false)] {
            let mut stability = stability(confirm);
            assert!(!stability.is_confirmed(), "nothing was looked up");
            stability.record(&addresses, zero, zero + 2 * second);
            assert!(!stability.is_confirmed(), "one lookup confirms nothing");
            stability.record(&addresses, zero + 4 * second, zero + 5 * second);
            stability.record(&addresses, zero + 7 * second, zero + 9 * second);
            assert_eq!(stability.is_confirmed(), expected, "steady from 2 s to 7 s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_answer_a_failure_or_a_gap_starts_another_row() {
        let (addresses, zero, second) = (resolution(&[]).addresses, Instant::now(), Duration::from_secs(1));
        let other = Addresses::parse(["10.0.2.20".parse().unwrap()]).unwrap();
        let interruptions: [fn(&mut AnswerStability, &Addresses, Instant); 3] = [
            |stability, other, at| stability.record(other, at, at),
            |stability, _, _| stability.end(),
            |_, _, _| {},
        ];
        for interrupt in interruptions {
            let mut stability = stability(6);
            stability.record(&addresses, zero, zero);
            stability.record(&addresses, zero + 2 * second, zero + 2 * second);
            interrupt(&mut stability, &other, zero + 4 * second);
            stability.record(&addresses, zero + 6 * second, zero + 6 * second);
            assert_eq!(stability.since(), Some(zero + 6 * second));
            assert!(!stability.is_confirmed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn zero_confirms_at_once() {
        let mut stability = stability(0);
        assert!(!stability.is_confirmed());
        stability.record(&resolution(&[]).addresses, Instant::now(), Instant::now());
        assert!(stability.is_confirmed());
    }
}
