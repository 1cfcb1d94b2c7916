use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::Evidence::{Confirmed, Contradicted, FailingOver, Outdated, Unconfirmed};
use super::*;

const PORT: u16 = 5432;

/// A target as `10.0.1.10`, with its port where that is not 5432, with `~` where it drains, `+` where it
/// is not in service yet, and `!` where it is unhealthy.
fn target(text: &str) -> (SocketAddr, State) {
    let state = match text.chars().last() {
        Some('~') => State::Draining,
        Some('+') => State::Initial,
        Some('!') => State::Unhealthy,
        _ => State::Active,
    };
    let text = text.trim_end_matches(['~', '+', '!']);
    let address = text.parse().map(|address: IpAddr| SocketAddr::new(address, PORT));
    (address.unwrap_or_else(|_| text.parse().unwrap()), state)
}

fn targets(text: &str) -> Targets {
    text.split_whitespace().map(target).collect()
}

fn writer(text: &str) -> Writer {
    Writer::parse([text.parse().unwrap()]).unwrap()
}

/// Plans for a group that holds the writer alone.
fn plan(writer: &Writer, port: u16, targets: &Targets, evidence: Evidence) -> Plan {
    super::plan(writer, port, targets, evidence, &Beside::default())
}

fn outcome(writer: &Writer, port: u16, targets: &Targets, evidence: Evidence) -> Plan {
    super::outcome(writer, port, targets, evidence, &Beside::default())
}

#[track_caller]
fn case(name: &str, dns: &str, group: &str, evidence: Evidence, expected: &str) {
    let plan = plan(&writer(dns), PORT, &targets(group), evidence);
    assert_eq!(plan.to_string(), expected, "{name}");
    assert_eq!(plan.is_empty(), expected == "nothing to do", "{name}");
}

#[test]
#[rustfmt::skip]
fn what_a_group_needs() {
    case("in sync", "10.0.1.10", "10.0.1.10", Confirmed, "nothing to do");
    case("in sync, unconfirmed", "10.0.1.10", "10.0.1.10", Unconfirmed, "nothing to do");
    case("in sync, contradicted", "10.0.1.10", "10.0.1.10", Contradicted, "nothing to do");
    case("in sync while the old writer drains", "10.0.2.20", "10.0.2.20 10.0.1.10~", Confirmed, "nothing to do");

    case("empty group", "10.0.2.20", "", Confirmed, "+ 10.0.2.20:5432");
    case("empty group, unconfirmed", "10.0.2.20", "", Unconfirmed, "+ 10.0.2.20:5432");
    case("empty group, contradicted", "10.0.2.20", "", Contradicted, "+ 10.0.2.20:5432");
    case("only draining targets left", "10.0.2.20", "10.0.1.10~ 10.0.3.30~", Unconfirmed, "+ 10.0.2.20:5432");

    case("failover before registration", "10.0.2.20", "10.0.1.10", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is evicted once the writer is registered");
    case("failover at first sight", "10.0.2.20", "10.0.1.10", Unconfirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is evicted once the writer is registered");
    case("failover, contradicted", "10.0.2.20", "10.0.1.10", Contradicted, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is evicted once the writer is registered");
    case("failover after registration", "10.0.2.20", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case("registered, unconfirmed", "10.0.2.20", "10.0.1.10 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 is evicted once DNS has confirmed the writer");
    case("registered, contradicted", "10.0.2.20", "10.0.1.10 10.0.2.20", Contradicted, "? 10.0.1.10:5432 is evicted once the RDS API names the same writer as DNS");
    case("second failover while the first drains", "10.0.3.30", "10.0.1.10~ 10.0.2.20", Confirmed, "+ 10.0.3.30:5432, ? 10.0.2.20:5432 is evicted once the writer is registered");

    case("failback while the old writer drains", "10.0.1.10", "10.0.1.10~ 10.0.2.20", Confirmed, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is evicted once the writer is registered");
    case("flicker to the draining writer", "10.0.1.10", "10.0.1.10~ 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 drains; is registered again once DNS has confirmed it as the writer, ? 10.0.2.20:5432 is evicted once the writer is registered");
    case("registered, outdated", "10.0.2.20", "10.0.1.10 10.0.2.20", Outdated, "? 10.0.1.10:5432 is evicted once DNS and the API answer fast enough for a fresh look");
    case("failback, outdated", "10.0.1.10", "10.0.1.10~ 10.0.2.20", Outdated, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is evicted once the writer is registered");
    case("failback, contradicted", "10.0.1.10", "10.0.1.10~ 10.0.2.20", Contradicted, "? 10.0.1.10:5432 drains; is registered again once the RDS API names the same writer as DNS, ? 10.0.2.20:5432 is evicted once the writer is registered");
    case("flicker over", "10.0.2.20", "10.0.1.10~ 10.0.2.20", Unconfirmed, "nothing to do");
    case("flicker before the eviction", "10.0.1.10", "10.0.1.10 10.0.2.20", Unconfirmed, "? 10.0.2.20:5432 is evicted once DNS has confirmed the writer");
    case("failover undone before the eviction", "10.0.1.10", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.2.20:5432");
    case("everything drains, and the writer too", "10.0.1.10", "10.0.1.10~ 10.0.2.20~", Confirmed, "+ 10.0.1.10:5432");

    case("a stale extra target", "10.0.1.10", "10.0.1.10 10.0.9.90", Confirmed, "- 10.0.9.90:5432");
    case("a stale extra target sorts first", "10.0.2.20", "10.0.0.9 10.0.2.20", Confirmed, "- 10.0.0.9:5432");
    case("several stale targets", "10.0.2.20", "10.0.1.10 10.0.2.20 10.0.3.30~ 10.0.9.90", Confirmed, "- 10.0.1.10:5432, - 10.0.9.90:5432");
    case("several stale targets without the writer", "10.0.2.20", "10.0.1.10 10.0.9.90", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is evicted once the writer is registered, ? 10.0.9.90:5432 is evicted once the writer is registered");

    case("the writer on another port", "10.0.1.10", "10.0.1.10:6432", Confirmed, "+ 10.0.1.10:5432, ? 10.0.1.10:6432 is evicted once the writer is registered");
    case("the writer on both ports", "10.0.1.10", "10.0.1.10 10.0.1.10:6432", Confirmed, "- 10.0.1.10:6432");
    case("the writer drains on another port", "10.0.1.10", "10.0.1.10:6432~ 10.0.2.20", Unconfirmed, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is evicted once the writer is registered");

    case("ipv6, in sync", "fd00::10", "fd00::10", Confirmed, "nothing to do");
    case("ipv6, failover", "fd00::20", "fd00::10", Unconfirmed, "+ [fd00::20]:5432, ? [fd00::10]:5432 is evicted once the writer is registered");
    case("ipv6, failover after registration", "fd00::20", "fd00::10 fd00::20", Confirmed, "- [fd00::10]:5432");
    case("ipv6, another port", "fd00::10", "fd00::10 [fd00::10]:6432", Confirmed, "- [fd00::10]:6432");
}

/// A case with something beside the writer: nominees' addresses, or a standby that is kept.
#[track_caller]
fn case_beside(name: &str, beside: &Beside, dns: &str, group: &str, evidence: Evidence, expected: &str) {
    let plan = super::plan(&writer(dns), PORT, &targets(group), evidence, beside);
    assert_eq!(plan.to_string(), expected, "{name}");
}

fn nominated(addresses: &[&str]) -> Beside {
    Beside { nominated: addresses.iter().map(|a| a.parse().unwrap()).collect(), standby: Standby::Evict }
}

#[test]
#[rustfmt::skip]
fn what_a_nomination_does() {
    let two = nominated(&["10.0.2.20"]);
    let held = "? 10.0.2.20:5432 was nominated as the next writer; is evicted if DNS settles elsewhere";
    case_beside("absent", &two, "10.0.1.10", "10.0.1.10", Unconfirmed, "+ 10.0.2.20:5432");
    case_beside("absent, like the writer", &two, "10.0.1.10", "", Unconfirmed, "+ 10.0.1.10:5432, + 10.0.2.20:5432");
    case_beside("draining", &two, "10.0.1.10", "10.0.1.10 10.0.2.20~", Confirmed, "nothing to do");
    case_beside("the writer drains as well", &two, "10.0.1.10", "10.0.1.10~ 10.0.2.20", Unconfirmed, &format!("? 10.0.1.10:5432 drains; is registered again once DNS has confirmed it as the writer, {held}"));
    for evidence in [Unconfirmed, Contradicted, FailingOver, Outdated, Confirmed] {
        case_beside("held", &two, "10.0.1.10", "10.0.1.10 10.0.2.20", evidence, held);
        case_beside("held, not in service yet", &two, "10.0.1.10", "10.0.1.10 10.0.2.20+", evidence, held);
        case_beside("DNS names it", &two, "10.0.2.20", "10.0.2.20", evidence, "nothing to do");
    }
    case_beside("DNS names it, confirmed", &two, "10.0.2.20", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_beside("evicts nobody", &two, "10.0.1.10", "10.0.1.10 10.0.2.20 10.0.3.30", Unconfirmed, &format!("{held}, ? 10.0.3.30:5432 is evicted once DNS has confirmed the writer"));
    case_beside("nobody else is held", &two, "10.0.1.10", "10.0.1.10 10.0.2.20 10.0.3.30", Confirmed, &format!("- 10.0.3.30:5432, {held}"));
    case_beside("another port", &two, "10.0.1.10", "10.0.1.10 10.0.2.20:6432", Confirmed, "+ 10.0.2.20:5432, - 10.0.2.20:6432");
    case_beside("never the writer", &two, "10.0.1.10", "10.0.2.20", Confirmed, &format!("+ 10.0.1.10:5432, {held}"));
}

#[test]
#[rustfmt::skip]
fn what_a_failover_under_way_delays() {
    case("an eviction", "10.0.1.10", "10.0.1.10 10.0.2.20", FailingOver, "? 10.0.2.20:5432 is evicted once the RDS API no longer reports a failover under way");
    case("no registration", "10.0.2.20", "10.0.1.10", FailingOver, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is evicted once the writer is registered");
    case("no return", "10.0.1.10", "10.0.1.10~ 10.0.2.20", FailingOver, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is evicted once the writer is registered");
}

#[test]
#[rustfmt::skip]
fn what_a_standby_is() {
    let keep = Beside { standby: Standby::Keep, ..Beside::default() };
    let waits = |target: &str| format!("? {target}:5432 is kept as the standby or evicted, by its health, once the writer's target is healthy");
    for evidence in [Unconfirmed, Contradicted, FailingOver, Outdated, Confirmed] {
        case_beside("kept while unhealthy", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20", evidence, "nothing to do");
        case_beside("promoted: no call at all", &keep, "10.0.1.10", "10.0.1.10! 10.0.2.20!", evidence, "nothing to do");
        case_beside("both unhealthy amid a failover", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20!", evidence, "nothing to do");
        case_beside("healthy moments after a failover", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20+", evidence, &waits("10.0.1.10"));
        case_beside("healthy, and the writer unhealthy", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20!", evidence, &waits("10.0.1.10"));
    }
    case_beside("without keep", &Beside::default(), "10.0.2.20", "10.0.1.10! 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_beside("turned healthy", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_beside("turned healthy, unconfirmed", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 is evicted once DNS has confirmed the writer");
    case_beside("not in service yet is no standby", &keep, "10.0.2.20", "10.0.1.10+ 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_beside("one at most", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20 10.0.3.30!", Confirmed, "- 10.0.3.30:5432");
    case_beside("the place is reserved for who was healthy last", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20+ 10.0.3.30", Confirmed, &format!("- 10.0.1.10:5432, {}", waits("10.0.3.30")));
    case_beside("the writer is not in yet", &keep, "10.0.2.20", "10.0.1.10", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is evicted once the writer is registered");
    case_beside("the writer is not in yet, and the standby unhealthy", &keep, "10.0.2.20", "10.0.1.10!", Confirmed, "+ 10.0.2.20:5432");
    case_beside("a draining one is none", &keep, "10.0.2.20", "10.0.1.10~ 10.0.2.20", Confirmed, "nothing to do");
}

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
            let plan = super::plan(&writer, port, &group, evidence, &beside);
            apply(&mut group, &plan);
            prop_assert!(!was_serving || active(&group).next().is_some(), "{plan} empties the group");
        }
    }

    #[test]
    fn a_nomination_evicts_nobody_and_is_evicted_by_nobody(
        writer in any_writer(), group in any_targets(), evidence in any_evidence(), beside in any_beside(),
    ) {
        let without = super::plan(&writer, PORT, &group, evidence, &Beside { nominated: BTreeSet::new(), ..beside.clone() });
        let with = super::plan(&writer, PORT, &group, evidence, &beside);
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
        let Plan { register, evict, waiting } = super::plan(&writer, PORT, &group, Confirmed, &beside);
        let wanted: BTreeSet<SocketAddr> = writer.targets(PORT).collect();
        let kept: Vec<_> = active(&group)
            .filter(|t| !wanted.contains(t) && !register.contains(t) && !evict.contains(t) && !waiting.contains_key(t))
            .collect();
        prop_assert!(kept.len() <= 1);
        prop_assert!(kept.iter().all(|target| group[target] == State::Unhealthy));
    }
}

/// Applies what is planned for each answer of DNS, in turn, and compares the group after each.
#[track_caller]
fn history(group: &str, steps: &[(&str, Evidence, &str)]) {
    let mut group = targets(group);
    for (index, (dns, evidence, after)) in steps.iter().enumerate() {
        let plan = plan(&writer(dns), PORT, &group, *evidence);
        apply(&mut group, &plan);
        // Health is none of these histories' business.
        let serves =
            |group: &Targets| group.iter().map(|(t, state)| (*t, state.is_active())).collect::<Vec<_>>();
        assert_eq!(serves(&group), serves(&targets(after)), "step {index}: {plan}");
    }
}

#[test]
fn a_failover_registers_then_evicts_then_rests() {
    history(
        "10.0.1.10",
        &[
            ("10.0.1.10", Confirmed, "10.0.1.10"),
            ("10.0.2.20", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", Confirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.2.20", Confirmed, "10.0.1.10~ 10.0.2.20"),
        ],
    );
}

#[test]
fn a_flicker_during_a_failover_never_costs_a_target() {
    history(
        "10.0.1.10",
        &[
            ("10.0.2.20", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.1.10", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", Contradicted, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", Confirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.1.10", Unconfirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.2.20", Unconfirmed, "10.0.1.10~ 10.0.2.20"),
        ],
    );
}

#[test]
fn a_failback_takes_the_draining_writer_back() {
    history(
        "10.0.1.10~ 10.0.2.20",
        &[
            ("10.0.1.10", Unconfirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.1.10", Contradicted, "10.0.1.10~ 10.0.2.20"),
            ("10.0.1.10", Confirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.1.10", Confirmed, "10.0.1.10 10.0.2.20~"),
            ("10.0.1.10", Confirmed, "10.0.1.10 10.0.2.20~"),
        ],
    );
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

/// The answer's addresses, as the one writer or as the reason why they are not.
fn parsed(answer: &str) -> String {
    let addresses = answer.split_whitespace().map(|address| address.parse().unwrap());
    match Writer::parse(addresses).and_then(Writer::only) {
        Ok(writer) => writer.to_string(),
        Err(reason) => reason.to_string(),
    }
}

#[test]
fn addresses_of_a_vpc_are_writers() {
    for address in [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "fd00::1",
        "fc00::1",
        "2600:1f18::1",
    ] {
        assert_eq!(parsed(address), address);
    }
}

#[test]
fn an_address_that_is_given_twice_is_one() {
    assert_eq!(parsed("10.0.1.10 10.0.1.10"), "10.0.1.10");
}

#[test]
fn addresses_that_no_group_can_hold_are_refused() {
    for (address, kind) in [
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.255", "a loopback address"),
        ("::1", "a loopback address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.255", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("169.254.0.1", "a link-local address"),
        ("169.254.169.253", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("febf::1", "a link-local address"),
        ("::ffff:10.0.1.10", "an IPv4-mapped address"),
        ("::ffff:54.1.2.3", "an IPv4-mapped address"),
        ("54.1.2.3", "a public address"),
        ("0.0.0.1", "a public address"),
        ("9.255.255.255", "a public address"),
        ("11.0.0.0", "a public address"),
        ("100.63.255.255", "a public address"),
        ("100.128.0.0", "a public address"),
        ("101.64.0.0", "a public address"),
        ("172.15.255.255", "a public address"),
        ("172.32.0.0", "a public address"),
        ("192.167.255.255", "a public address"),
        ("192.169.0.0", "a public address"),
        ("240.0.0.1", "a public address"),
        ("255.255.255.255", "a public address"),
    ] {
        assert_eq!(
            parsed(address),
            format!("the answer holds {address}, {kind}, which no target group can hold")
        );
    }
}

#[test]
fn an_answer_without_an_address_is_refused() {
    assert_eq!(parsed(""), "the answer holds no address");
}

#[test]
fn an_answer_with_several_addresses_is_no_single_writer() {
    assert_eq!(
        parsed("10.0.2.20 10.0.1.10"),
        "the answer holds 2 addresses (10.0.1.10, 10.0.2.20) where a writer has one"
    );
    assert_eq!(
        parsed("10.0.1.10 fd00::1"),
        "the answer holds 2 addresses (10.0.1.10, fd00::1) where a writer has one"
    );
}

#[test]
fn several_addresses_are_a_set_that_is_planned_as_one() {
    let several =
        |text: &str| Writer::parse(text.split(' ').map(|address| address.parse().unwrap())).unwrap();
    let plan =
        |group, evidence| plan(&several("10.0.2.20 10.0.3.30"), PORT, &targets(group), evidence).to_string();
    let (two, three) = ("+ 10.0.2.20:5432", "+ 10.0.3.30:5432");
    assert_eq!(plan("", Unconfirmed), format!("{two}, {three}"));
    assert_eq!(
        plan("10.0.1.10 10.0.2.20", Confirmed),
        format!("{three}, ? 10.0.1.10:5432 is evicted once the writer is registered")
    );
    assert_eq!(plan("10.0.1.10 10.0.2.20 10.0.3.30", Confirmed), "- 10.0.1.10:5432");
    assert_eq!(plan("10.0.2.20 10.0.3.30", Confirmed), "nothing to do");
}

#[test]
fn one_impossible_address_spoils_the_answer() {
    let expected = "the answer holds 54.1.2.3, a public address, which no target group can hold";
    assert_eq!(parsed("10.0.1.10 54.1.2.3"), expected);
}

/// Any IPv4 address, and often one beside a border of the ranges that a group takes.
fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let borders = ["10.0.0.0", "11.0.0.0", "100.64.0.0", "100.128.0.0", "172.16.0.0", "172.32.0.0"]
        .into_iter()
        .chain(["192.168.0.0", "192.169.0.0"])
        .map(|text| u32::from(text.parse::<Ipv4Addr>().unwrap()))
        .collect::<Vec<_>>();
    let near_a_border =
        (prop::sample::select(borders), -3_i32..3).prop_map(|(border, by)| border.wrapping_add_signed(by));
    prop_oneof![any::<u32>(), near_a_border].prop_map(Ipv4Addr::from)
}

proptest! {
    #[test]
    fn a_v4_writer_lies_in_one_of_the_four_ranges(address in any_v4()) {
        let in_range = |(base, bits): (&str, u32)| {
            let base: Ipv4Addr = base.parse().unwrap();
            u32::from(base) >> (32 - bits) == u32::from(address) >> (32 - bits)
        };
        let ranges = [("10.0.0.0", 8), ("100.64.0.0", 10), ("172.16.0.0", 12), ("192.168.0.0", 16)];
        prop_assert_eq!(Writer::parse([address.into()]).is_ok(), ranges.into_iter().any(in_range));
    }

    #[test]
    fn any_answer_is_one_address_or_refused(answer in prop::collection::vec(any::<IpAddr>(), 0..4)) {
        match Writer::parse(answer.clone()).and_then(Writer::only) {
            Ok(writer) => {
                let addresses: Vec<IpAddr> = writer.addresses().collect();
                prop_assert_eq!(addresses.len(), 1);
                prop_assert!(answer.iter().all(|address| *address == addresses[0]));
            }
            Err(reason) => prop_assert!(reason.to_string().starts_with("the answer holds ")),
        }
    }
}
