//! What holds for any group, any answer and any evidence.

use proptest::prelude::*;

use super::*;

fn any_extras() -> impl Strategy<Value = AllowedExtras> {
    let any_standby = prop::sample::select(vec![StandbyPolicy::Deregister, StandbyPolicy::Keep]);
    (prop::collection::btree_set(any_address(), 0..3), any_standby)
        .prop_map(|(candidates, standby)| AllowedExtras { candidates, standby })
}

proptest! {
    #[test]
    fn plans_with_candidates_never_empty_a_group(
        group in any_targets(),
        answers in prop::collection::vec((any_addresses(), any_port(), any_confirmation(), any_extras()), 1..12),
    ) {
        let mut group = group;
        for (addresses, port, confirmation, allowed_extras) in answers {
            let was_serving = active(&group).next().is_some();
            let plan = crate::plan::plan(&addresses, port, &group, confirmation, &allowed_extras);
            simulate_apply(&mut group, &plan);
            prop_assert!(!was_serving || active(&group).next().is_some(), "{plan} empties the group");
        }
    }

    #[test]
    fn candidate_removes_nothing_and_is_not_removed(
        addresses in any_addresses(), group in any_targets(), confirmation in any_confirmation(), allowed_extras in any_extras(),
    ) {
        let without = crate::plan::plan(&addresses, PORT, &group, confirmation, &AllowedExtras { candidates: BTreeSet::new(), ..allowed_extras.clone() });
        let with = crate::plan::plan(&addresses, PORT, &group, confirmation, &allowed_extras);
        let candidates: BTreeSet<SocketAddr> = allowed_extras.candidates.iter().map(|a| SocketAddr::new(*a, PORT)).collect();
        prop_assert!(with.deregister.is_disjoint(&candidates));
        if allowed_extras.standby == StandbyPolicy::Deregister {
            prop_assert!(with.deregister.is_subset(&without.deregister));
            prop_assert_eq!(&with.deregister, &(&without.deregister - &candidates));
        }
        prop_assert!((&with.register - &without.register).is_subset(&candidates));
        prop_assert!(with.register.iter().all(|target| !candidates.contains(target) || !group.contains_key(target) || addresses.targets(PORT).any(|wanted| wanted == *target)));
    }

    #[test]
    fn at_most_one_unhealthy_standby_is_kept(addresses in any_addresses(), group in any_targets()) {
        let allowed_extras = AllowedExtras { standby: StandbyPolicy::Keep, ..AllowedExtras::default() };
        let Plan { register, deregister, waiting } = crate::plan::plan(&addresses, PORT, &group, Confirmed, &allowed_extras);
        let wanted: BTreeSet<SocketAddr> = addresses.targets(PORT).collect();
        let kept: Vec<_> = active(&group)
            .filter(|t| !wanted.contains(t) && !register.contains(t) && !deregister.contains(t) && !waiting.contains_key(t))
            .collect();
        prop_assert!(kept.len() <= 1);
        prop_assert!(kept.iter().all(|target| group[target] == TargetState::Unhealthy));
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

fn any_addresses() -> impl Strategy<Value = Addresses> {
    // One, as a writer has, or several, as the other roles do.
    prop::collection::vec(any_address(), 1..4).prop_map(|addresses| Addresses::parse(addresses).unwrap())
}

fn any_targets() -> impl Strategy<Value = Targets> {
    let any_target = (any_address(), any_port()).prop_map(SocketAddr::from);
    let any_state = prop::sample::select(vec![
        TargetState::Healthy,
        TargetState::Initial,
        TargetState::Unhealthy,
        TargetState::Unknown,
        TargetState::Draining,
    ]);
    prop::collection::btree_map(any_target, any_state, 0..8)
}

/// The group, without unknown states of the endpoint's own targets: those block deregistrations for as long as they
/// last.
fn with_known_states(mut group: Targets, addresses: &Addresses, port: u16) -> Targets {
    for target in addresses.targets(port) {
        group.entry(target).and_modify(|state| {
            if *state == TargetState::Unknown {
                *state = TargetState::Healthy;
            }
        });
    }
    group
}

fn any_confirmation() -> impl Strategy<Value = Confirmation> {
    prop::sample::select(vec![Unconfirmed, RdsDisagrees, FailoverInProgress, StaleObservation, Confirmed])
}

fn active_set(targets: &Targets) -> BTreeSet<SocketAddr> {
    active(targets).collect()
}

proptest! {
    #[test]
    fn unknown_state_of_a_wanted_target_blocks_every_deregistration(
        addresses in any_addresses(), group in any_targets(), confirmation in any_confirmation(), allowed_extras in any_extras(),
    ) {
        let plan = crate::plan::plan(&addresses, PORT, &group, confirmation, &allowed_extras);
        if addresses.targets(PORT).any(|target| group.get(&target) == Some(&TargetState::Unknown)) {
            prop_assert!(plan.deregister.is_empty(), "{plan}");
        }
        prop_assert!(plan.register.iter().all(|target| group.get(target) != Some(&TargetState::Unknown)), "{plan}");
    }
}

proptest! {
    #[test]
    fn plans_never_empty_a_group(
        group in any_targets(),
        answers in prop::collection::vec((any_addresses(), any_port(), any_confirmation()), 1..12),
    ) {
        let mut group = group;
        for (addresses, port, confirmation) in answers {
            let was_serving = active(&group).next().is_some();
            let plan = plan(&addresses, port, &group, confirmation);
            simulate_apply(&mut group, &plan);
            prop_assert!(!was_serving || active(&group).next().is_some(), "{plan} empties the group");
        }
    }

    #[test]
    fn plan_touches_only_differences(
        addresses in any_addresses(), port in any_port(), group in any_targets(), confirmation in any_confirmation(),
    ) {
        let wanted: BTreeSet<SocketAddr> = addresses.targets(port).collect();
        let active = active_set(&group);
        let plan = plan(&addresses, port, &group, confirmation);
        prop_assert!(plan.register.is_subset(&wanted));
        prop_assert!(plan.register.is_disjoint(&active));
        prop_assert!(plan.deregister.is_subset(&active));
        prop_assert!(plan.deregister.is_disjoint(&wanted));
    }

    #[test]
    fn every_difference_is_planned_or_waits(
        addresses in any_addresses(), port in any_port(), group in any_targets(), confirmation in any_confirmation(),
    ) {
        let wanted: BTreeSet<SocketAddr> = addresses.targets(port).collect();
        let differences: Vec<_> = wanted.symmetric_difference(&active_set(&group)).copied().collect();
        let Plan { register, deregister, waiting } = plan(&addresses, port, &group, confirmation);
        let mut planned: Vec<_> = register.into_iter().chain(deregister).chain(waiting.into_keys()).collect();
        planned.sort();
        prop_assert_eq!(planned, differences);
    }

    #[test]
    fn deregistration_needs_confirmation_and_registered_writer(
        addresses in any_addresses(), port in any_port(), group in any_targets(), confirmation in any_confirmation(),
    ) {
        let plan = plan(&addresses, port, &group, confirmation);
        let addresses_are_in = addresses.targets(port).all(|target| group.get(&target).is_some_and(|state| state.is_active()));
        prop_assert!(plan.deregister.is_empty() || (confirmation == Confirmed && addresses_are_in));
    }

    #[test]
    fn draining_writer_is_registered_only_if_confirmed(
        addresses in any_addresses(), group in any_targets(), confirmation in any_confirmation(),
    ) {
        let plan = plan(&addresses, PORT, &group, confirmation);
        for target in plan.register {
            prop_assert!(matches!(confirmation, Confirmed | FailoverInProgress | StaleObservation) || !group.contains_key(&target));
        }
    }

    #[test]
    fn confirmed_plans_converge_on_the_writer(
        addresses in any_addresses(), port in any_port(), group in any_targets(),
    ) {
        let mut group = with_known_states(group, &addresses, port);
        for _ in 0..2 {
            let plan = plan(&addresses, port, &group, Confirmed);
            prop_assert!(plan.waiting.values().all(|waits| *waits == WaitReason::DeregisterOnceRegistered), "{plan}");
            simulate_apply(&mut group, &plan);
        }
        prop_assert_eq!(active_set(&group), addresses.targets(port).collect());
        for confirmation in [Unconfirmed, RdsDisagrees, FailoverInProgress, StaleObservation, Confirmed] {
            prop_assert!(plan(&addresses, port, &group, confirmation).is_empty());
        }
    }

    #[test]
    fn fixpoint_equals_all_rounds_together(
        addresses in any_addresses(), port in any_port(), group in any_targets(),
    ) {
        let group = with_known_states(group, &addresses, port);
        let wanted: BTreeSet<SocketAddr> = addresses.targets(port).collect();
        let active = active_set(&group);
        let whole = plan_to_fixpoint(&addresses, port, &group, Confirmed);
        prop_assert_eq!(&whole.register, &(&wanted - &active));
        prop_assert_eq!(&whole.deregister, &(&active - &wanted));
        prop_assert!(whole.waiting.is_empty());

        let mut by_rounds = group.clone();
        for _ in 0..3 {
            let next = plan(&addresses, port, &by_rounds, Confirmed);
            simulate_apply(&mut by_rounds, &next);
        }
        let mut at_once = group;
        simulate_apply(&mut at_once, &whole);
        prop_assert_eq!(at_once, by_rounds);
    }
}
