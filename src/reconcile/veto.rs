//! The RDS API's veto against a deregistration.
//!
//! The API can veto, never command: it names no address, and an API that does not know the cluster or does not
//! answer vetoes nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::ports::{Cluster, Resolution};
use crate::plan::Confirmation;

/// How long an answer of the RDS API counts before the API is asked again. Its limits are unpublished; a watch
/// that it vetoes asks a dozen times a minute, not at every lookup.
pub const RDS_RECHECK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RdsVerdict {
    NoVeto,
    Disagrees,
    FailoverInProgress,
}

impl RdsVerdict {
    /// Compares the cluster with the member that DNS names as the writer.
    pub fn compare(cluster: Option<&Cluster>, member: &str, dns_has_moved: bool) -> Self {
        match cluster {
            None => Self::NoVeto,
            Some(cluster) if cluster.other_writer(member).is_some() => Self::Disagrees,
            // A target that looks stale may be the next writer, registered early by another invocation. Once
            // DNS has moved, there is nothing left to wait for.
            Some(cluster) if cluster.is_failing_over && !dns_has_moved => Self::FailoverInProgress,
            Some(_) => Self::NoVeto,
        }
    }

    /// What the confirmation becomes with this veto; `None` without one.
    pub fn veto(self) -> Option<Confirmation> {
        match self {
            Self::NoVeto => None,
            Self::Disagrees => Some(Confirmation::RdsDisagrees),
            Self::FailoverInProgress => Some(Confirmation::FailoverInProgress),
        }
    }
}

#[derive(Default)]
pub(super) struct Veto(Option<(Resolution, RdsVerdict, Instant)>);

impl Veto {
    /// The last verdict, if it is about this DNS answer and was recent when the observation began. Its age now does
    /// not count: if the group took long to list, every verdict would be too old.
    pub fn current(&self, resolution: &Resolution, began: Instant) -> Option<RdsVerdict> {
        let (about, verdict, at) = self.0.as_ref()?;
        let is_recent = began.saturating_duration_since(*at) < RDS_RECHECK_INTERVAL;
        (about == resolution && is_recent).then_some(*verdict)
    }

    /// Replaces the last verdict, even if that is a moment newer: it may stand for a question without an answer.
    pub fn record(&mut self, resolution: &Resolution, verdict: RdsVerdict, answered: Instant) {
        self.0 = Some((resolution.clone(), verdict, answered));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::plan::Addresses;

    fn cluster(members: &[(&str, bool)]) -> Cluster {
        let members = members.iter().map(|(name, writer)| ((*name).to_owned(), *writer)).collect();
        Cluster { members, ..Cluster::default() }
    }

    #[test]
    fn rds_disagrees_only_if_it_names_another_member_as_writer() {
        let api = cluster(&[("orders-1", true), ("orders-2", false)]);
        assert_eq!(api.other_writer("orders-1"), None);
        assert_eq!(api.other_writer("orders-2"), Some("orders-1"));
        assert_eq!(api.other_writer("billing"), None, "no member of this cluster");
        assert_eq!(cluster(&[("orders-1", false)]).other_writer("orders-1"), None, "no writer named");
    }

    #[test]
    fn failover_in_progress_vetoes_until_dns_has_moved() {
        let api = Cluster { is_failing_over: true, ..cluster(&[("orders-1", true), ("orders-2", false)]) };
        assert_eq!(RdsVerdict::compare(Some(&api), "orders-1", false), RdsVerdict::FailoverInProgress);
        assert_eq!(RdsVerdict::compare(Some(&api), "orders-1", true), RdsVerdict::NoVeto);
        assert_eq!(RdsVerdict::compare(Some(&api), "orders-2", true), RdsVerdict::Disagrees);
        assert_eq!(RdsVerdict::compare(None, "orders-1", false), RdsVerdict::NoVeto);
    }

    #[tokio::test(start_paused = true)]
    async fn verdict_counts_for_five_seconds_and_for_its_own_answer() {
        let resolution = |address: &str| Resolution {
            addresses: Addresses::parse([address.parse().unwrap()]).unwrap(),
            chain: vec!["orders.example.com".into()],
        };
        let mut veto = Veto::default();
        veto.record(&resolution("10.0.1.10"), RdsVerdict::Disagrees, Instant::now());
        assert_eq!(veto.current(&resolution("10.0.1.10"), Instant::now()), Some(RdsVerdict::Disagrees));
        assert_eq!(veto.current(&resolution("10.0.2.20"), Instant::now()), None);
        advance(RDS_RECHECK_INTERVAL).await;
        assert_eq!(veto.current(&resolution("10.0.1.10"), Instant::now()), None);
    }
}
