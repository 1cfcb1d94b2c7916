use super::Evidence::{Confirmed, Contradicted, FailingOver, Outdated, Unconfirmed};
use super::*;

mod properties;
mod writers;

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
