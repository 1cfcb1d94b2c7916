//! What makes an answer of DNS sure: that it stays, and that the RDS API does not contradict it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Pace};
use crate::config::Binding;
use crate::plan::Writer;

/// A row of lookups that gave the same answer.
///
/// It counts from the end of the first lookup to the start of the last, so that a slow lookup never
/// makes the row longer than DNS was in truth steady. A gap in which nobody looked ends the row as
/// well: DNS may have said anything meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Steady {
    confirm: Duration,
    gap: Duration,
    row: Option<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    writer: Writer,
    since: Instant,
    asked: Instant,
    answered: Instant,
    lookups: u32,
}

impl Steady {
    /// No lookup yet. A gap may be half the confirmation time, or two polls where they are slower.
    pub fn new(pace: Pace) -> Self {
        Self { confirm: pace.confirm, gap: (pace.confirm / 2).max(2 * pace.poll), row: None }
    }

    /// Adds a lookup that was asked and answered at these times.
    pub fn record(&mut self, writer: &Writer, asked: Instant, answered: Instant) {
        match &mut self.row {
            Some(row)
                if row.writer == *writer && asked.saturating_duration_since(row.answered) <= self.gap =>
            {
                (row.asked, row.answered) = (asked, answered);
                row.lookups += 1;
            }
            _ => {
                let writer = writer.clone();
                self.row = Some(Row { writer, since: answered, asked, answered, lookups: 1 });
            }
        }
    }

    /// Ends the row: a lookup failed, and no answer confirms nothing.
    pub fn end(&mut self) {
        self.row = None;
    }

    /// Whether every lookup of the confirmation time gave this answer, and there were at least two.
    /// Zero confirms at once.
    pub fn is_confirmed(&self) -> bool {
        self.row.as_ref().is_some_and(|row| {
            let length = row.asked.saturating_duration_since(row.since);
            self.confirm.is_zero() || (row.lookups >= 2 && length >= self.confirm)
        })
    }

    /// When the first lookup of the row was answered.
    pub fn since(&self) -> Option<Instant> {
        self.row.as_ref().map(|row| row.since)
    }

    /// When the last lookup of the row was asked.
    pub fn asked(&self) -> Option<Instant> {
        self.row.as_ref().map(|row| row.asked)
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
        let writer = self.members.iter().find(|(_, is_writer)| **is_writer);
        writer.filter(|_| !named_is_writer).map(|(name, _)| name.as_str())
    }
}

/// The cluster member that the answer's CNAME names: the first label of the name that the chain ends
/// in. Without a CNAME the answer names none.
pub(crate) fn member(answer: &Answer) -> Option<&str> {
    let [_, .., last] = answer.chain.as_slice() else { return None };
    last.split('.').next()
}

/// The cluster that the endpoint belongs to: the binding's `database`, else the first cluster endpoint
/// (`NAME.cluster-…`) among the names followed, else what the endpoint's first label names.
pub(crate) fn cluster_identifier(binding: &Binding, answer: &Answer) -> String {
    if let Some(database) = &binding.database {
        return database.clone();
    }
    let of_cluster = answer.chain.iter().find_map(|name| {
        let (label, rest) = name.split_once('.')?;
        rest.starts_with("cluster-").then(|| label.to_owned())
    });
    of_cluster.unwrap_or_else(|| binding.first_label().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(members: &[(&str, bool)]) -> Cluster {
        let members = members.iter().map(|(name, writer)| ((*name).to_owned(), *writer)).collect();
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

    fn answer(chain: &[&str]) -> Answer {
        let writer = Writer::parse(["10.0.1.10".parse().unwrap()]).unwrap();
        Answer { writer, chain: chain.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn the_chain_names_the_member_and_the_cluster() {
        let cname = answer(&["orders.cluster-x.rds.example", "orders-1.x.rds.example"]);
        assert_eq!(member(&cname), Some("orders-1"));
        assert_eq!(member(&answer(&["billing.x.rds.example"])), None);

        let bound = |endpoint: &str| Binding::new(endpoint, "arn:…");
        assert_eq!(cluster_identifier(&bound("orders.cluster-x.rds.example"), &cname), "orders");
        let custom = answer(&["db.example.com", "orders.cluster-x.rds.example", "orders-1.x.rds.example"]);
        assert_eq!(cluster_identifier(&bound("db.example.com"), &custom), "orders");
        let named = Binding { database: Some("sales".into()), ..bound("db.example.com") };
        assert_eq!(cluster_identifier(&named, &custom), "sales");
        let plain = answer(&["orders.example.com", "orders-1.example.com"]);
        assert_eq!(cluster_identifier(&bound("orders.example.com"), &plain), "orders");
    }

    fn steady(confirm: u64) -> Steady {
        Steady::new(Pace {
            watch: Duration::ZERO,
            poll: Duration::from_secs(1),
            confirm: Duration::from_secs(confirm),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_counts_from_the_end_of_its_first_lookup_to_the_start_of_its_last() {
        let (writer, zero, second) = (answer(&[]).writer, Instant::now(), Duration::from_secs(1));
        for (confirm, expected) in [(5, true), (6, false)] {
            let mut steady = steady(confirm);
            assert!(!steady.is_confirmed(), "nothing was looked up");
            steady.record(&writer, zero, zero + 2 * second);
            assert!(!steady.is_confirmed(), "one lookup confirms nothing");
            steady.record(&writer, zero + 4 * second, zero + 5 * second);
            steady.record(&writer, zero + 7 * second, zero + 9 * second);
            assert_eq!(steady.is_confirmed(), expected, "steady from 2 s to 7 s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_answer_a_failure_or_a_gap_starts_another_row() {
        let (writer, zero, second) = (answer(&[]).writer, Instant::now(), Duration::from_secs(1));
        let other = Writer::parse(["10.0.2.20".parse().unwrap()]).unwrap();
        let interruptions: [fn(&mut Steady, &Writer, Instant); 3] =
            [|steady, other, at| steady.record(other, at, at), |steady, _, _| steady.end(), |_, _, _| {}];
        for interrupt in interruptions {
            let mut steady = steady(6);
            steady.record(&writer, zero, zero);
            steady.record(&writer, zero + 2 * second, zero + 2 * second);
            interrupt(&mut steady, &other, zero + 4 * second);
            steady.record(&writer, zero + 6 * second, zero + 6 * second);
            assert_eq!(steady.since(), Some(zero + 6 * second));
            assert!(!steady.is_confirmed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn zero_confirms_at_once() {
        let mut steady = steady(0);
        assert!(!steady.is_confirmed());
        steady.record(&answer(&[]).writer, Instant::now(), Instant::now());
        assert!(steady.is_confirmed());
    }
}
