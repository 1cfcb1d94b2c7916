use super::Confirmation::{Confirmed, FailoverInProgress, RdsDisagrees, StaleObservation, Unconfirmed};
use super::*;

mod addresses;
mod properties;

const PORT: u16 = 5432;

/// A target as `10.0.1.10`, with its port where that is not 5432, with `~` if it is draining, `+` if it is not in
/// service yet, `!` if it is unhealthy, and `?` if its state is unknown.
fn target(text: &str) -> (SocketAddr, TargetState) {
    let state = match text.chars().last() {
        Some('~') => TargetState::Draining,
        Some('+') => TargetState::Initial,
        Some('!') => TargetState::Unhealthy,
        Some('?') => TargetState::Unknown,
        _ => TargetState::Healthy,
    };
    let text = text.trim_end_matches(['~', '+', '!', '?']);
    let address = text.parse().map(|address: IpAddr| SocketAddr::new(address, PORT));
    (address.unwrap_or_else(|_| text.parse().unwrap()), state)
}

fn targets(text: &str) -> Targets {
    text.split_whitespace().map(target).collect()
}

fn addresses(text: &str) -> Addresses {
    Addresses::parse([text.parse().unwrap()]).unwrap()
}

/// Plans for a group that holds the writer alone.
fn plan(addresses: &Addresses, port: u16, targets: &Targets, confirmation: Confirmation) -> Plan {
    super::plan(addresses, port, targets, confirmation, &AllowedExtras::default())
}

fn plan_to_fixpoint(addresses: &Addresses, port: u16, targets: &Targets, confirmation: Confirmation) -> Plan {
    super::plan_to_fixpoint(addresses, port, targets, confirmation, &AllowedExtras::default())
}

#[track_caller]
fn case(name: &str, dns: &str, group: &str, confirmation: Confirmation, expected: &str) {
    let plan = plan(&addresses(dns), PORT, &targets(group), confirmation);
    assert_eq!(plan.to_string(), expected, "{name}");
    assert_eq!(plan.is_empty(), expected == "nothing to do", "{name}");
}

#[test]
#[rustfmt::skip]
fn plan_matches_the_truth_table() {
    case("in sync", "10.0.1.10", "10.0.1.10", Confirmed, "nothing to do");
    case("in sync, unconfirmed", "10.0.1.10", "10.0.1.10", Unconfirmed, "nothing to do");
    case("in sync, contradicted", "10.0.1.10", "10.0.1.10", RdsDisagrees, "nothing to do");
    case("in sync while the old writer drains", "10.0.2.20", "10.0.2.20 10.0.1.10~", Confirmed, "nothing to do");

    case("empty group", "10.0.2.20", "", Confirmed, "+ 10.0.2.20:5432");
    case("empty group, unconfirmed", "10.0.2.20", "", Unconfirmed, "+ 10.0.2.20:5432");
    case("empty group, contradicted", "10.0.2.20", "", RdsDisagrees, "+ 10.0.2.20:5432");
    case("only draining targets left", "10.0.2.20", "10.0.1.10~ 10.0.3.30~", Unconfirmed, "+ 10.0.2.20:5432");

    case("failover before registration", "10.0.2.20", "10.0.1.10", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered");
    case("failover at the first lookup", "10.0.2.20", "10.0.1.10", Unconfirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered");
    case("failover, contradicted", "10.0.2.20", "10.0.1.10", RdsDisagrees, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered");
    case("failover after registration", "10.0.2.20", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case("registered, unconfirmed", "10.0.2.20", "10.0.1.10 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 is deregistered once DNS has confirmed the endpoint's addresses");
    case("registered, contradicted", "10.0.2.20", "10.0.1.10 10.0.2.20", RdsDisagrees, "? 10.0.1.10:5432 is deregistered once the RDS API names the same writer as DNS");
    case("second failover while the first drains", "10.0.3.30", "10.0.1.10~ 10.0.2.20", Confirmed, "+ 10.0.3.30:5432, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");

    case("failback while the old writer drains", "10.0.1.10", "10.0.1.10~ 10.0.2.20", Confirmed, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");
    case("flicker to the draining writer", "10.0.1.10", "10.0.1.10~ 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 is draining; is registered again once DNS has confirmed it, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");
    case("registered, outdated", "10.0.2.20", "10.0.1.10 10.0.2.20", StaleObservation, "? 10.0.1.10:5432 is deregistered once DNS and the API answer fast enough for a recent observation");
    case("failback, outdated", "10.0.1.10", "10.0.1.10~ 10.0.2.20", StaleObservation, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");
    case("failback, contradicted", "10.0.1.10", "10.0.1.10~ 10.0.2.20", RdsDisagrees, "? 10.0.1.10:5432 is draining; is registered again once the RDS API names the same writer as DNS, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");
    case("flicker over", "10.0.2.20", "10.0.1.10~ 10.0.2.20", Unconfirmed, "nothing to do");
    case("flicker before the deregistration", "10.0.1.10", "10.0.1.10 10.0.2.20", Unconfirmed, "? 10.0.2.20:5432 is deregistered once DNS has confirmed the endpoint's addresses");
    case("failover undone before the deregistration", "10.0.1.10", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.2.20:5432");
    case("everything drains, and the writer too", "10.0.1.10", "10.0.1.10~ 10.0.2.20~", Confirmed, "+ 10.0.1.10:5432");

    case("a stale extra target", "10.0.1.10", "10.0.1.10 10.0.9.90", Confirmed, "- 10.0.9.90:5432");
    case("a stale extra target sorts first", "10.0.2.20", "10.0.0.9 10.0.2.20", Confirmed, "- 10.0.0.9:5432");
    case("several stale targets", "10.0.2.20", "10.0.1.10 10.0.2.20 10.0.3.30~ 10.0.9.90", Confirmed, "- 10.0.1.10:5432, - 10.0.9.90:5432");
    case("several stale targets without the writer", "10.0.2.20", "10.0.1.10 10.0.9.90", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered, ? 10.0.9.90:5432 is deregistered once the endpoint's addresses are registered");

    case("the writer on another port", "10.0.1.10", "10.0.1.10:6432", Confirmed, "+ 10.0.1.10:5432, ? 10.0.1.10:6432 is deregistered once the endpoint's addresses are registered");
    case("the writer on both ports", "10.0.1.10", "10.0.1.10 10.0.1.10:6432", Confirmed, "- 10.0.1.10:6432");
    case("the writer drains on another port", "10.0.1.10", "10.0.1.10:6432~ 10.0.2.20", Unconfirmed, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");

    case("ipv6, in sync", "fd00::10", "fd00::10", Confirmed, "nothing to do");
    case("ipv6, failover", "fd00::20", "fd00::10", Unconfirmed, "+ [fd00::20]:5432, ? [fd00::10]:5432 is deregistered once the endpoint's addresses are registered");
    case("ipv6, failover after registration", "fd00::20", "fd00::10 fd00::20", Confirmed, "- [fd00::10]:5432");
    case("ipv6, another port", "fd00::10", "fd00::10 [fd00::10]:6432", Confirmed, "- [fd00::10]:6432");
}

/// A case with something beside the writer: candidates' addresses, or a standby that is kept.
#[track_caller]
fn case_with_extras(
    name: &str,
    allowed_extras: &AllowedExtras,
    dns: &str,
    group: &str,
    confirmation: Confirmation,
    expected: &str,
) {
    let plan = super::plan(&addresses(dns), PORT, &targets(group), confirmation, allowed_extras);
    assert_eq!(plan.to_string(), expected, "{name}");
}

fn candidate_waits(target: &str) -> String {
    format!("? {target}:5432 is about to become the writer; is deregistered if DNS confirms another address")
}

fn candidates(addresses: &[&str]) -> AllowedExtras {
    AllowedExtras {
        candidates: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        standby: StandbyPolicy::Deregister,
    }
}

#[test]
#[rustfmt::skip]
fn plan_with_candidate_matches_the_truth_table() {
    let two = candidates(&["10.0.2.20"]);
    let held = "? 10.0.2.20:5432 is about to become the writer; is deregistered if DNS confirms another address";
    case_with_extras("absent", &two, "10.0.1.10", "10.0.1.10", Unconfirmed, "+ 10.0.2.20:5432");
    case_with_extras("absent, like the writer", &two, "10.0.1.10", "", Unconfirmed, "+ 10.0.1.10:5432, + 10.0.2.20:5432");
    case_with_extras("draining", &two, "10.0.1.10", "10.0.1.10 10.0.2.20~", Confirmed, "nothing to do");
    case_with_extras("the writer drains as well", &two, "10.0.1.10", "10.0.1.10~ 10.0.2.20", Unconfirmed, &format!("? 10.0.1.10:5432 is draining; is registered again once DNS has confirmed it, {held}"));
    for confirmation in [Unconfirmed, RdsDisagrees, FailoverInProgress, StaleObservation, Confirmed] {
        case_with_extras("held", &two, "10.0.1.10", "10.0.1.10 10.0.2.20", confirmation, held);
        case_with_extras("held, not in service yet", &two, "10.0.1.10", "10.0.1.10 10.0.2.20+", confirmation, held);
        case_with_extras("DNS names it", &two, "10.0.2.20", "10.0.2.20", confirmation, "nothing to do");
    }
    case_with_extras("DNS names it, confirmed", &two, "10.0.2.20", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_with_extras("deregisters nobody", &two, "10.0.1.10", "10.0.1.10 10.0.2.20 10.0.3.30", Unconfirmed, &format!("{held}, ? 10.0.3.30:5432 is deregistered once DNS has confirmed the endpoint's addresses"));
    case_with_extras("nobody else is held", &two, "10.0.1.10", "10.0.1.10 10.0.2.20 10.0.3.30", Confirmed, &format!("- 10.0.3.30:5432, {held}"));
    case_with_extras("another port", &two, "10.0.1.10", "10.0.1.10 10.0.2.20:6432", Confirmed, "+ 10.0.2.20:5432, - 10.0.2.20:6432");
    case_with_extras("never the writer", &two, "10.0.1.10", "10.0.2.20", Confirmed, &format!("+ 10.0.1.10:5432, {held}"));
}

#[test]
#[rustfmt::skip]
fn plan_during_failover_matches_the_truth_table() {
    case("a deregistration", "10.0.1.10", "10.0.1.10 10.0.2.20", FailoverInProgress, "? 10.0.2.20:5432 is deregistered once the RDS API no longer reports a failover in progress");
    case("no registration", "10.0.2.20", "10.0.1.10", FailoverInProgress, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered");
    case("no return", "10.0.1.10", "10.0.1.10~ 10.0.2.20", FailoverInProgress, "+ 10.0.1.10:5432, ? 10.0.2.20:5432 is deregistered once the endpoint's addresses are registered");
}

#[test]
#[rustfmt::skip]
fn plan_with_standby_matches_the_truth_table() {
    let keep = AllowedExtras { standby: StandbyPolicy::Keep, ..AllowedExtras::default() };
    let waits = |target: &str| format!("? {target}:5432 is kept as the standby or deregistered, depending on its health, once the writer's target is healthy");
    for confirmation in [Unconfirmed, RdsDisagrees, FailoverInProgress, StaleObservation, Confirmed] {
        case_with_extras("kept while unhealthy", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20", confirmation, "nothing to do");
        case_with_extras("promoted: no call at all", &keep, "10.0.1.10", "10.0.1.10! 10.0.2.20!", confirmation, "nothing to do");
        case_with_extras("both unhealthy amid a failover", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20!", confirmation, "nothing to do");
        case_with_extras("healthy moments after a failover", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20+", confirmation, &waits("10.0.1.10"));
        case_with_extras("healthy, and the writer unhealthy", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20!", confirmation, &waits("10.0.1.10"));
    }
    case_with_extras("without keep", &AllowedExtras::default(), "10.0.2.20", "10.0.1.10! 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_with_extras("turned healthy", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_with_extras("turned healthy, unconfirmed", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 is deregistered once DNS has confirmed the endpoint's addresses");
    case_with_extras("not in service yet is no standby", &keep, "10.0.2.20", "10.0.1.10+ 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case_with_extras("both not in service yet", &keep, "10.0.2.20", "10.0.1.10+ 10.0.2.20+", Confirmed, "- 10.0.1.10:5432");
    case_with_extras("one at most", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20 10.0.3.30!", Confirmed, "- 10.0.3.30:5432");
    case_with_extras("the place is reserved for who was healthy last", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20+ 10.0.3.30", Confirmed, &format!("- 10.0.1.10:5432, {}", waits("10.0.3.30")));
    case_with_extras("the writer is not in yet", &keep, "10.0.2.20", "10.0.1.10", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered");
    case_with_extras("the writer is not in yet, and the standby unhealthy", &keep, "10.0.2.20", "10.0.1.10!", Confirmed, "+ 10.0.2.20:5432");
    case_with_extras("a draining one is none", &keep, "10.0.2.20", "10.0.1.10~ 10.0.2.20", Confirmed, "nothing to do");
}

#[test]
#[rustfmt::skip]
fn target_in_an_unknown_state_neither_counts_nor_is_registered() {
    let waits = |target: &str| format!("? {target}:5432 is deregistered once the state of the endpoint's target is known");
    for confirmation in [Unconfirmed, RdsDisagrees, FailoverInProgress, StaleObservation, Confirmed] {
        case("alone", "10.0.1.10", "10.0.1.10?", confirmation, "nothing to do");
        case("beside a stale target", "10.0.2.20", "10.0.1.10 10.0.2.20?", confirmation, &waits("10.0.1.10"));
        case("beside a draining target", "10.0.2.20", "10.0.1.10~ 10.0.2.20?", confirmation, "nothing to do");
        case_with_extras("a candidate", &candidates(&["10.0.2.20"]), "10.0.1.10", "10.0.1.10 10.0.2.20?", confirmation, &candidate_waits("10.0.2.20"));
    }
    case("both", "10.0.2.20", "10.0.1.10? 10.0.2.20?", Confirmed, &waits("10.0.1.10"));
    case("a stale target", "10.0.2.20", "10.0.1.10? 10.0.2.20", Confirmed, "- 10.0.1.10:5432");
    case("a stale target, unconfirmed", "10.0.2.20", "10.0.1.10? 10.0.2.20", Unconfirmed, "? 10.0.1.10:5432 is deregistered once DNS has confirmed the endpoint's addresses");
    case("a stale target, and the writer absent", "10.0.2.20", "10.0.1.10?", Confirmed, "+ 10.0.2.20:5432, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered");
    let keep = AllowedExtras { standby: StandbyPolicy::Keep, ..AllowedExtras::default() };
    let own_state = "? 10.0.1.10:5432 is kept as the standby or deregistered once its state is known";
    case_with_extras("a standby", &keep, "10.0.2.20", "10.0.1.10? 10.0.2.20", Confirmed, own_state);
    case_with_extras("a standby, and the writer starts", &keep, "10.0.2.20", "10.0.1.10? 10.0.2.20+", Confirmed, own_state);
    case_with_extras("beside a standby", &keep, "10.0.2.20", "10.0.1.10? 10.0.2.20 10.0.3.30!", Confirmed, own_state);
    case_with_extras("the writer, with a standby", &keep, "10.0.2.20", "10.0.1.10! 10.0.2.20?", Confirmed, "nothing to do");
    case_with_extras("the writer, with a healthy previous one", &keep, "10.0.2.20", "10.0.1.10 10.0.2.20?", Confirmed, &waits("10.0.1.10"));
}

/// Applies what is planned for each answer of DNS, in turn, and compares the group after each.
#[track_caller]
fn history(group: &str, steps: &[(&str, Confirmation, &str)]) {
    let mut group = targets(group);
    for (index, (dns, confirmation, after)) in steps.iter().enumerate() {
        let plan = plan(&addresses(dns), PORT, &group, *confirmation);
        simulate_apply(&mut group, &plan);
        // Health is none of these histories' business.
        let serves =
            |group: &Targets| group.iter().map(|(t, state)| (*t, state.is_active())).collect::<Vec<_>>();
        assert_eq!(serves(&group), serves(&targets(after)), "step {index}: {plan}");
    }
}

#[test]
fn failover_registers_then_deregisters_then_stops() {
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
fn flicker_during_failover_removes_no_target() {
    history(
        "10.0.1.10",
        &[
            ("10.0.2.20", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.1.10", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", Unconfirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", RdsDisagrees, "10.0.1.10 10.0.2.20"),
            ("10.0.2.20", Confirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.1.10", Unconfirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.2.20", Unconfirmed, "10.0.1.10~ 10.0.2.20"),
        ],
    );
}

#[test]
fn failback_registers_the_draining_writer() {
    history(
        "10.0.1.10~ 10.0.2.20",
        &[
            ("10.0.1.10", Unconfirmed, "10.0.1.10~ 10.0.2.20"),
            ("10.0.1.10", RdsDisagrees, "10.0.1.10~ 10.0.2.20"),
            ("10.0.1.10", Confirmed, "10.0.1.10 10.0.2.20"),
            ("10.0.1.10", Confirmed, "10.0.1.10 10.0.2.20~"),
            ("10.0.1.10", Confirmed, "10.0.1.10 10.0.2.20~"),
        ],
    );
}

#[test]
fn states_have_the_names_of_the_api() {
    use TargetState::*;
    let names = [Healthy, Unavailable, Unused, Initial, Unhealthy, Unknown, Draining].map(TargetState::name);
    assert_eq!(names, ["healthy", "unavailable", "unused", "initial", "unhealthy", "unknown", "draining"]);
}
