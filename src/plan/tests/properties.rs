//! What holds for any group, any answer and any evidence.

use proptest::prelude::*;

use super::*;

fn any_beside() -> impl Strategy<Value = Beside> {
    let any_standby = prop::sample::select(vec![Standby::Evict, Standby::Keep]);
    (prop::collection::btree_set(any_address(), 0..3), any_standby)
        .prop_map(|(nominated, standby)| Beside { nominated, standby })
}

proptest! {
    #[test]
    fn whatever_is_beside_no_history_of_plans_empties_a_group(
        group in any_targets(),
        answers in prop::collection::vec((any_writer(), any_port(), any_evidence(), any_beside()), 1..12),
    ) {
        let mut group = group;
        for (writer, port, evidence, beside) in answers {
            let was_serving = active(&group).next().is_some();
            let plan = crate::plan::plan(&writer, port, &group, evidence, &beside);
            apply(&mut group, &plan);
            prop_assert!(!was_serving || active(&group).next().is_some(), "{plan} empties the group");
        }
    }

    #[test]
    fn a_nomination_evicts_nobody_and_is_evicted_by_nobody(
        writer in any_writer(), group in any_targets(), evidence in any_evidence(), beside in any_beside(),
    ) {
        let without = crate::plan::plan(&writer, PORT, &group, evidence, &Beside { nominated: BTreeSet::new(), ..beside.clone() });
        let with = crate::plan::plan(&writer, PORT, &group, evidence, &beside);
        let nominees: BTreeSet<SocketAddr> = beside.nominated.iter().map(|a| SocketAddr::new(*a, PORT)).collect();
        prop_assert!(with.evict.is_disjoint(&nominees));
        if beside.standby == Standby::Evict {
            prop_assert!(with.evict.is_subset(&without.evict));
            prop_assert_eq!(&with.evict, &(&without.evict - &nominees));
        }
        prop_assert!((&with.register - &without.register).is_subset(&nominees));
        prop_assert!(with.register.iter().all(|target| !nominees.contains(target) || !group.contains_key(target) || writer.targets(PORT).any(|wanted| wanted == *target)));
    }

    #[test]
    fn at_most_one_is_kept_and_it_is_unhealthy(writer in any_writer(), group in any_targets()) {
        let beside = Beside { standby: Standby::Keep, ..Beside::default() };
        let Plan { register, evict, waiting } = crate::plan::plan(&writer, PORT, &group, Confirmed, &beside);
        let wanted: BTreeSet<SocketAddr> = writer.targets(PORT).collect();
        let kept: Vec<_> = active(&group)
            .filter(|t| !wanted.contains(t) && !register.contains(t) && !evict.contains(t) && !waiting.contains_key(t))
            .collect();
        prop_assert!(kept.len() <= 1);
        prop_assert!(kept.iter().all(|target| group[target] == State::Unhealthy));
    }
}

/// Few addresses and ports, so that writers and targets meet often.
fn any_address() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(vec!["10.0.1.10", "10.0.2.20", "10.0.3.30", "fd00::10", "fd00::20"])
        .prop_map(|text| text.parse().unwrap())
}

fn any_port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![PORT, 6432])
}

fn any_writer() -> impl Strategy<Value = Writer> {
    // One, as a writer has, or several, as the other roles do.
    prop::collection::vec(any_address(), 1..4).prop_map(|addresses| Writer::parse(addresses).unwrap())
}

fn any_targets() -> impl Strategy<Value = Targets> {
    let any_target = (any_address(), any_port()).prop_map(SocketAddr::from);
    let any_state =
        prop::sample::select(vec![State::Active, State::Initial, State::Unhealthy, State::Draining]);
    prop::collection::btree_map(any_target, any_state, 0..8)
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    prop::sample::select(vec![Unconfirmed, Contradicted, FailingOver, Outdated, Confirmed])
}

fn active_set(targets: &Targets) -> BTreeSet<SocketAddr> {
    active(targets).collect()
}

proptest! {
    #[test]
    fn no_history_of_plans_empties_a_group(
        group in any_targets(),
        answers in prop::collection::vec((any_writer(), any_port(), any_evidence()), 1..12),
    ) {
        let mut group = group;
        for (writer, port, evidence) in answers {
            let was_serving = active(&group).next().is_some();
            let plan = plan(&writer, port, &group, evidence);
            apply(&mut group, &plan);
            prop_assert!(!was_serving || active(&group).next().is_some(), "{plan} empties the group");
        }
    }

    #[test]
    fn a_plan_touches_only_differences(
        writer in any_writer(), port in any_port(), group in any_targets(), evidence in any_evidence(),
    ) {
        let wanted: BTreeSet<SocketAddr> = writer.targets(port).collect();
        let active = active_set(&group);
        let plan = plan(&writer, port, &group, evidence);
        prop_assert!(plan.register.is_subset(&wanted));
        prop_assert!(plan.register.is_disjoint(&active));
        prop_assert!(plan.evict.is_subset(&active));
        prop_assert!(plan.evict.is_disjoint(&wanted));
    }

    #[test]
    fn every_difference_is_planned_or_waits(
        writer in any_writer(), port in any_port(), group in any_targets(), evidence in any_evidence(),
    ) {
        let wanted: BTreeSet<SocketAddr> = writer.targets(port).collect();
        let differences: Vec<_> = wanted.symmetric_difference(&active_set(&group)).copied().collect();
        let Plan { register, evict, waiting } = plan(&writer, port, &group, evidence);
        let mut planned: Vec<_> = register.into_iter().chain(evict).chain(waiting.into_keys()).collect();
        planned.sort();
        prop_assert_eq!(planned, differences);
    }

    #[test]
    fn an_eviction_needs_confirmation_and_a_registered_writer(
        writer in any_writer(), port in any_port(), group in any_targets(), evidence in any_evidence(),
    ) {
        let plan = plan(&writer, port, &group, evidence);
        let writer_is_in = writer.targets(port).all(|target| group.get(&target).is_some_and(|state| state.is_active()));
        prop_assert!(plan.evict.is_empty() || (evidence == Confirmed && writer_is_in));
    }

    #[test]
    fn a_draining_writer_is_registered_on_confirmation_only(
        writer in any_writer(), group in any_targets(), evidence in any_evidence(),
    ) {
        let plan = plan(&writer, PORT, &group, evidence);
        for target in plan.register {
            prop_assert!(matches!(evidence, Confirmed | FailingOver | Outdated) || !group.contains_key(&target));
        }
    }

    #[test]
    fn confirmed_plans_converge_on_the_writer_alone(
        writer in any_writer(), port in any_port(), group in any_targets(),
    ) {
        let mut group = group;
        for _ in 0..2 {
            let plan = plan(&writer, port, &group, Confirmed);
            prop_assert!(plan.waiting.values().all(|waits| *waits == Waits::EvictionForWriter), "{plan}");
            apply(&mut group, &plan);
        }
        prop_assert_eq!(active_set(&group), writer.targets(port).collect());
        for evidence in [Unconfirmed, Contradicted, FailingOver, Outdated, Confirmed] {
            prop_assert!(plan(&writer, port, &group, evidence).is_empty());
        }
    }

    #[test]
    fn the_outcome_is_all_that_the_rounds_do(
        writer in any_writer(), port in any_port(), group in any_targets(),
    ) {
        let wanted: BTreeSet<SocketAddr> = writer.targets(port).collect();
        let active = active_set(&group);
        let whole = outcome(&writer, port, &group, Confirmed);
        prop_assert_eq!(&whole.register, &(&wanted - &active));
        prop_assert_eq!(&whole.evict, &(&active - &wanted));
        prop_assert!(whole.waiting.is_empty());

        let mut by_rounds = group.clone();
        for _ in 0..3 {
            let next = plan(&writer, port, &by_rounds, Confirmed);
            apply(&mut by_rounds, &next);
        }
        let mut at_once = group;
        apply(&mut at_once, &whole);
        prop_assert_eq!(at_once, by_rounds);
    }
}
