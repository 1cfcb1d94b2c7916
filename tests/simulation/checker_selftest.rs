//! Tests of the checker: hand-made histories that break one invariant each, and a loop with injected defects.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, Status, Timing};

use testkit::Action;
use testkit::simulation::checker::Checker;
use testkit::simulation::history::{Change, Event, Named, Result, Targets};
use testkit::simulation::play::{Sabotage, play_schedule};
use testkit::simulation::ports::Defect;
use testkit::simulation::schedule::{Schedule, address};

const PORT: u16 = 5432;
const TIMING: Timing = Timing {
    watch: Duration::from_secs(60),
    poll: Duration::from_millis(500),
    confirm: Duration::from_secs(6),
};

fn member(number: usize) -> IpAddr {
    address(false, number)
}

fn targets(members: &[usize]) -> Targets {
    members.iter().map(|number| SocketAddr::new(member(*number), PORT)).collect()
}

/// A history in the making: one name server, one invocation, and a group that holds members 0 and 1.
struct History(Checker);

impl History {
    fn new() -> Self {
        let mut history = Self(Checker::new(TIMING, PORT, false, &[None], targets(&[0, 1])));
        history.at(0, Event::Serves { server: 0, address: Some(member(1)) });
        history.at(
            0,
            Event::Began { run: 0, mode: Mode::Check, deadline: Duration::from_secs(60), candidate: None },
        );
        history
    }

    fn at(&mut self, millis: u64, event: Event) -> &mut Self {
        self.0.observe(Duration::from_millis(millis), &event);
        self
    }

    fn looks(&mut self, millis: u64, number: usize) -> &mut Self {
        let named = Named { address: member(number), member: None };
        let asked = Duration::from_millis(millis);
        self.at(millis, Event::Asked { run: 0, action: Action::Lookup });
        self.at(millis, Event::Looked { run: 0, asked, named: Some(named) })
    }

    fn lists(&mut self, millis: u64, version: usize, active: &[usize], draining: &[usize]) -> &mut Self {
        let (active, draining) = (targets(active), targets(draining));
        let asked = Duration::from_millis(millis);
        self.at(millis, Event::Asked { run: 0, action: Action::DescribeTargetHealth });
        self.at(millis, Event::Listed { run: 0, asked, version, active, draining, unhealthy: Targets::new() })
    }

    /// Resolves to member 1 for seven seconds, and lists members 0 and 1.
    fn confirms(&mut self) -> &mut Self {
        for second in 0..=7 {
            self.looks(second * 1000, 1);
        }
        self.lists(7000, 0, &[0, 1], &[])
    }

    fn sends(&mut self, millis: u64, change: Change, members: &[usize]) -> &mut Self {
        let targets = targets(members);
        self.at(millis, Event::Sent { run: 0, call: self.0.calls(), change, targets })
    }

    fn lands(&mut self, millis: u64, left: &[usize]) -> &mut Self {
        let call = self.0.calls() - 1;
        self.at(millis, Event::Landed { call, active: targets(left) })
    }

    fn ends(&mut self, millis: u64, status: Status, error: Option<&str>) -> &mut Self {
        let result = Result {
            status,
            addresses: vec![member(1).to_string()],
            waiting: 0,
            error: error.map(str::to_owned),
            names_the_binding: true,
        };
        self.at(millis, Event::Ended { run: 0, result: Some(result) })
    }

    fn breaks(&self, invariant: u8) {
        let found = &self.0.violations;
        assert!(found.iter().any(|violation| violation.invariant == invariant), "{invariant}: {found:#?}");
    }

    fn breaks_nothing(&self) {
        assert_eq!(self.0.violations, []);
    }
}

#[test]
fn checker_accepts_a_justified_deregistration() {
    let mut history = History::new();
    history.confirms().sends(7000, Change::Deregister, &[0]).lands(7000, &[1]);
    history.at(7000, Event::Answered { call: 0, succeeded: true });
    history.looks(7000, 1).lists(7000, 1, &[1], &[0]).ends(7000, Status::Updated, None);
    history.breaks_nothing();
}

#[test]
fn checker_finds_an_emptied_group() {
    History::new().confirms().sends(7000, Change::Deregister, &[0, 1]).lands(7000, &[]).breaks(1);
}

#[test]
fn checker_excuses_an_emptying_by_an_external_change_only() {
    let mut somebody_else = History::new();
    somebody_else.confirms().sends(7000, Change::Deregister, &[0]);
    somebody_else.at(7001, Event::ExternalChange { active: targets(&[0]) }).lands(7002, &[]).breaks_nothing();
    assert_eq!(somebody_else.0.excused.external, 1);

    let mut ourselves_before = History::new();
    ourselves_before.confirms().sends(7000, Change::Deregister, &[1]).lands(7001, &[0]);
    // A listing that is older than the deregistration.
    ourselves_before.lists(7002, 0, &[0, 1], &[]).sends(7003, Change::Deregister, &[0]).lands(7004, &[]);
    ourselves_before.breaks(1);
}

#[test]
fn checker_finds_crossing_calls_while_dns_is_stable() {
    for (moved, excused) in [(None, 0), (Some(6999), 1)] {
        let mut history = History::new();
        history.at(
            0,
            Event::Began { run: 1, mode: Mode::Check, deadline: Duration::from_secs(60), candidate: None },
        );
        history.confirms();
        if let Some(moved) = moved {
            history.at(moved, Event::Serves { server: 0, address: Some(member(2)) });
        }
        history.at(7000, Event::Sent { run: 1, call: 0, change: Change::Deregister, targets: targets(&[1]) });
        history.lands(7001, &[0]).sends(7000, Change::Deregister, &[0]).lands(7002, &[]);
        assert_eq!(history.0.excused.crossing, excused);
        assert_eq!(history.0.violations.iter().any(|violation| violation.invariant == 1), excused == 0);
    }
}

#[test]
fn checker_finds_deregistration_of_the_stable_address() {
    History::new().confirms().sends(7000, Change::Deregister, &[1]).breaks(2);
}

#[test]
fn checker_finds_an_unconfirmed_deregistration() {
    let mut unconfirmed = History::new();
    unconfirmed.looks(0, 1).looks(5900, 1).lists(5900, 0, &[0, 1], &[]);
    unconfirmed.sends(5900, Change::Deregister, &[0]).breaks(2);

    let mut moved_between = History::new();
    moved_between.looks(0, 1).looks(3000, 0).looks(7000, 1).lists(7000, 0, &[0, 1], &[]);
    moved_between.sends(7000, Change::Deregister, &[0]).breaks(2);

    History::new().confirms().sends(9001, Change::Deregister, &[0]).breaks(2);

    let mut writer_not_listed = History::new();
    writer_not_listed.confirms().lists(7000, 0, &[0], &[1]);
    writer_not_listed.sends(7000, Change::Deregister, &[0]).breaks(2);
}

#[test]
fn checker_finds_registration_of_an_unnamed_address() {
    History::new().looks(0, 1).sends(0, Change::Register, &[2]).breaks(3);

    let public = SocketAddr::new([52, 1, 2, 3].into(), PORT);
    let mut history = History::new();
    let named = Some(Named { address: public.ip(), member: None });
    history.at(0, Event::Looked { run: 0, asked: Duration::ZERO, named });
    history.at(0, Event::Sent { run: 0, call: 0, change: Change::Register, targets: [public].into() });
    history.breaks(3);

    let mut drains = History::new();
    drains.looks(0, 1).lists(0, 0, &[0], &[1]).sends(0, Change::Register, &[1]).breaks(3);
}

#[test]
fn checker_finds_a_group_that_does_not_settle() {
    let writer = SocketAddr::new(member(1), PORT);
    let mut unequal = History::new();
    unequal.at(0, Event::Calm { writer, within: 1 }).looks(0, 1).lists(0, 0, &[0, 1], &[]);
    unequal.ends(0, Status::Pending, None).breaks(4);

    let mut restless = History::new();
    restless.at(0, Event::ExternalChange { active: targets(&[1]) }).at(0, Event::Calm { writer, within: 1 });
    restless.looks(0, 1).lists(0, 1, &[1], &[]).ends(0, Status::InSync, None).breaks_nothing();
    restless.sends(1, Change::Register, &[1]).breaks(4);
}

#[test]
fn checker_finds_a_missed_deadline_or_a_false_report() {
    let synced = || {
        let mut history = History::new();
        history.looks(0, 1).lists(0, 0, &[1], &[]);
        history
    };
    synced().ends(60_000, Status::InSync, None).breaks_nothing();
    // A process may stall for 40 ms, and its timers may be a millisecond late.
    synced().ends(60_042, Status::InSync, None).breaks(5);
    synced().ends(1, Status::Failed, None).breaks(5);
    synced().ends(1, Status::Failed, Some("something went wrong")).breaks(5);
    synced().ends(1, Status::Failed, Some("list before the time ran out")).breaks(5);
    synced().ends(60_000, Status::Failed, Some("list before the time ran out")).breaks_nothing();
    synced().looks(1, 0).ends(1, Status::InSync, None).breaks(5);
}

#[test]
fn checker_finds_too_many_calls() {
    let mut lookups = History::new();
    for millis in 0..100 {
        lookups.looks(millis, 1);
    }
    lookups.lists(100, 0, &[1], &[]).ends(100, Status::InSync, None).breaks(6);

    let mut listings = History::new();
    listings.looks(0, 1);
    for millis in 0..10 {
        listings.lists(millis, 0, &[1], &[]);
    }
    listings.ends(100, Status::InSync, None).breaks(6);

    let mut again = History::new();
    again.looks(0, 1).sends(0, Change::Register, &[1]);
    again.at(0, Event::Answered { call: 0, succeeded: true }).sends(9999, Change::Register, &[1]).breaks(6);
}

/// Plays schedules with a loop that is misled until an invariant breaks.
fn a_misled_loop_breaks(invariant: u8, sabotage: Sabotage) {
    let breaks = |seed| {
        let played = play_schedule(Schedule::draw(seed), sabotage, false);
        played.violations.iter().any(|violation| violation.invariant == invariant)
    };
    assert!((0..500).any(breaks), "nobody noticed {sabotage:?}");
}

#[test]
fn checker_finds_every_injected_defect() {
    let with = |defect| Sabotage { defect: Some(defect), ..Sabotage::default() };
    a_misled_loop_breaks(1, with(Defect::ListsTheWriter));
    a_misled_loop_breaks(2, with(Defect::ListsTheWriter));
    a_misled_loop_breaks(2, with(Defect::CachesDns));
    a_misled_loop_breaks(2, with(Defect::SilencesRds));
    a_misled_loop_breaks(3, with(Defect::CachesDns));
    a_misled_loop_breaks(3, with(Defect::RegistersAnother));
    a_misled_loop_breaks(4, with(Defect::DropsChanges));
    a_misled_loop_breaks(5, with(Defect::HidesReasons));
}

#[test]
fn checker_finds_a_loop_with_wrong_timing() {
    let at = |timing| Sabotage { timing: Some(timing), ..Sabotage::default() };
    a_misled_loop_breaks(2, at(Timing { confirm: Duration::ZERO, ..TIMING }));
    a_misled_loop_breaks(6, at(Timing { poll: Duration::from_millis(20), ..TIMING }));
    a_misled_loop_breaks(5, Sabotage { overtime: Duration::from_secs(10), ..Sabotage::default() });
}

/// A watch whose event names orders-2 (member 1) as the next writer; DNS names member 0, and only that is in the group.
fn candidates(candidate: &'static str) -> History {
    let mut history = History(Checker::new(TIMING, PORT, false, &[None], targets(&[0])));
    history.at(0, Event::Serves { server: 0, address: Some(member(0)) });
    let deadline = Duration::from_secs(60);
    history.at(0, Event::Began { run: 0, mode: Mode::Watch, deadline, candidate: Some(candidate) });
    history.looks(100, 0).lists(100, 0, &[0], &[]);
    history
}

fn finds(history: &mut History, name: &str, number: usize) {
    history.at(200, Event::CandidateLookup { run: 0 });
    history.at(200, Event::CandidateFound { run: 0, name: name.to_owned(), address: member(number) });
}

#[test]
fn checker_accepts_registration_of_listed_candidates_only() {
    let mut good = candidates("orders-2");
    finds(&mut good, "orders-2", 1);
    good.sends(300, Change::Register, &[1]).breaks_nothing();

    let mut not_found = candidates("orders-2");
    not_found.sends(300, Change::Register, &[1]).breaks(3);

    let mut another = candidates("orders-2");
    finds(&mut another, "orders-3", 2);
    another.sends(300, Change::Register, &[2]).breaks(3);

    let mut by_rds = candidates("orders-2");
    finds(&mut by_rds, "orders-3", 2);
    by_rds.at(250, Event::RdsAnswered { run: 0, writer: Some("orders-3") });
    by_rds.sends(300, Change::Register, &[2]).breaks_nothing();

    let mut may_be_member = candidates("orders-9");
    finds(&mut may_be_member, "orders-9", 2);
    may_be_member.sends(300, Change::Register, &[2]).breaks_nothing();

    for writer in [Some("orders-1"), None] {
        let mut stranger = candidates("orders-9");
        finds(&mut stranger, "orders-9", 2);
        stranger.at(250, Event::RdsAnswered { run: 0, writer });
        stranger.sends(300, Change::Register, &[2]).breaks(3);
    }

    let mut draining = candidates("orders-2");
    finds(&mut draining, "orders-2", 1);
    draining.lists(250, 0, &[0], &[1]).sends(300, Change::Register, &[1]).breaks(3);
}

#[test]
fn checker_finds_deregistration_of_the_own_candidate() {
    let mut history = candidates("orders-2");
    finds(&mut history, "orders-2", 1);
    for second in 1..=8 {
        history.looks(second * 1000, 0);
    }
    history.lists(8000, 0, &[0, 1], &[]).sends(8000, Change::Deregister, &[1]).breaks(2);
}

#[test]
fn checker_finds_a_candidate_registered_after_dns_settled() {
    // Another run registers the newcomer after this one has seen the group without it.
    for (seen_before, breaks) in [(true, true), (false, false)] {
        let mut history = History(Checker::new(TIMING, PORT, false, &[None], targets(&[0])));
        history.at(0, Event::Serves { server: 0, address: Some(member(2)) });
        let deadline = Duration::from_secs(60);
        history.at(0, Event::Began { run: 0, mode: Mode::Watch, deadline, candidate: Some("orders-2") });
        // Neither observation is complete, but together they have seen both.
        history.looks(100, 2);
        history.at(100, Event::Asked { run: 0, action: Action::DescribeTargetHealth });
        history.at(100, Event::Failed { run: 0, action: Action::DescribeTargetHealth, failure: 1 });
        history.at(300, Event::Asked { run: 0, action: Action::Lookup });
        history.at(300, Event::Looked { run: 0, asked: Duration::from_millis(300), named: None });
        if seen_before {
            history.lists(300, 0, &[0], &[]);
        }
        history.at(400, Event::ExternalChange { active: targets(&[0, 2]) });
        for second in 1..=8 {
            history.looks(second * 1000, 2).lists(second * 1000, 1, &[0, 2], &[]);
        }
        finds(&mut history, "orders-2", 1);
        history.sends(8000, Change::Register, &[1]);
        if breaks { history.breaks(3) } else { history.breaks_nothing() }
    }
}
