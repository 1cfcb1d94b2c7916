//! The first answer of DNS and the first list of the group in a run. Later answers are compared with them to tell whether
//! DNS has moved.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::plan::{Targets, active};

#[derive(Default)]
pub(super) struct Baseline {
    /// The endpoint's targets by the first answer.
    wanted: Option<BTreeSet<SocketAddr>>,
    /// The active targets in the first list.
    active: Option<BTreeSet<SocketAddr>>,
}

impl Baseline {
    pub fn record_wanted(&mut self, wanted: impl Iterator<Item = SocketAddr>) {
        self.wanted.get_or_insert_with(|| wanted.collect());
    }

    pub fn record_list(&mut self, targets: &Targets) {
        self.active.get_or_insert_with(|| active(targets).collect());
    }

    pub fn active(&self) -> impl Iterator<Item = &SocketAddr> {
        self.active.iter().flatten()
    }

    /// Whether DNS has moved, as far as this run can know. DNS has moved in two cases: the group did not hold the
    /// present addresses at first; or it held the first addresses, and the present ones are others. A name that
    /// switched to another address and back has not moved.
    pub fn has_moved(&self, wanted: &BTreeSet<SocketAddr>) -> bool {
        let (Some(first), Some(active)) = (&self.wanted, &self.active) else { return false };
        !wanted.is_subset(active) || (first.is_subset(active) && wanted != first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TargetState;

    const ONE: &str = "10.0.1.10:5432";
    const TWO: &str = "10.0.2.20:5432";

    fn target(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn list(targets: &[&str]) -> Targets {
        targets.iter().map(|text| (target(text), TargetState::Healthy)).collect()
    }

    fn baseline(listed: &[&str], answer: &str) -> Baseline {
        let mut baseline = Baseline::default();
        baseline.record_list(&list(listed));
        baseline.record_wanted([target(answer)].into_iter());
        baseline
    }

    fn has_moved(baseline: &Baseline, answer: &str) -> bool {
        baseline.has_moved(&BTreeSet::from([target(answer)]))
    }

    #[test]
    fn nothing_has_moved_before_the_first_answer_and_the_first_list() {
        let mut baseline = Baseline::default();
        assert!(!has_moved(&baseline, TWO));
        baseline.record_wanted([target(ONE)].into_iter());
        assert!(!has_moved(&baseline, TWO));
        baseline.record_list(&list(&[ONE]));
        assert!(has_moved(&baseline, TWO));
    }

    #[test]
    fn address_that_the_group_did_not_hold_at_first_has_moved() {
        assert!(has_moved(&baseline(&[ONE], TWO), TWO));
        assert!(!has_moved(&baseline(&[ONE], ONE), ONE));
        assert!(has_moved(&baseline(&[], ONE), ONE));
    }

    #[test]
    fn name_that_returns_to_its_first_address_has_not_moved() {
        let both = baseline(&[ONE, TWO], ONE);
        assert!(has_moved(&both, TWO) && !has_moved(&both, ONE));
    }

    #[test]
    fn later_lists_and_answers_change_nothing() {
        let mut baseline = baseline(&[ONE], ONE);
        baseline.record_list(&list(&[ONE, TWO]));
        baseline.record_wanted([target(TWO)].into_iter());
        assert!(has_moved(&baseline, TWO) && !has_moved(&baseline, ONE));
    }
}
