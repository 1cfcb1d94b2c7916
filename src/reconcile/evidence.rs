//! What makes an answer of DNS sure: that it stays, and that the RDS API does not contradict it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Answer;
use crate::config::Binding;
use crate::plan::Writer;

/// A row of lookups that gave the same answer.
///
/// It counts from the end of the first lookup to the start of the last, so that a slow lookup never
/// makes the row longer than DNS was in truth steady.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    row: Option<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    writer: Writer,
    since: Instant,
    looked: Instant,
    lookups: u32,
}

impl Steady {
    /// Adds a lookup that was asked and answered at these times.
    pub fn record(&mut self, writer: &Writer, asked: Instant, answered: Instant) {
        match &mut self.row {
            Some(row) if row.writer == *writer => {
                row.looked = asked;
                row.lookups += 1;
            }
            _ => {
                self.row = Some(Row { writer: writer.clone(), since: answered, looked: asked, lookups: 1 });
            }
        }
    }

    /// Whether every lookup of the last `confirm` gave this answer, and there were at least two.
    /// Zero confirms at once.
    pub fn confirmed(&self, confirm: Duration) -> bool {
        self.row.as_ref().is_some_and(|row| {
            confirm.is_zero()
                || (row.lookups >= 2 && row.looked.saturating_duration_since(row.since) >= confirm)
        })
    }

    /// When the last lookup of the row was asked.
    pub fn looked(&self) -> Option<Instant> {
        self.row.as_ref().map(|row| row.looked)
    }
}

/// A cluster as the RDS API describes it: its members, and which of them it calls the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Instance identifiers, lower case, and whether `IsClusterWriter` is set.
    pub members: BTreeMap<String, bool>,
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
        Cluster { members: members.iter().map(|(name, writer)| ((*name).to_owned(), *writer)).collect() }
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

    #[tokio::test(start_paused = true)]
    async fn a_row_counts_from_the_end_of_its_first_lookup_to_the_start_of_its_last() {
        let writer = answer(&[]).writer;
        let (zero, second) = (Instant::now(), Duration::from_secs(1));
        let mut steady = Steady::default();
        assert!(!steady.confirmed(Duration::ZERO), "nothing was looked up");
        steady.record(&writer, zero, zero + 2 * second);
        assert!(steady.confirmed(Duration::ZERO), "zero confirms at once");
        assert!(!steady.confirmed(second), "one lookup confirms nothing else");
        steady.record(&writer, zero + 7 * second, zero + 9 * second);
        assert!(steady.confirmed(5 * second));
        assert!(!steady.confirmed(6 * second), "steady from 2 s to 7 s");
        let other = Writer::parse(["10.0.2.20".parse().unwrap()]).unwrap();
        steady.record(&other, zero + 9 * second, zero + 9 * second);
        assert!(!steady.confirmed(second), "another answer starts another row");
    }
}
