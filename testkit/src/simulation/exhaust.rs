//! Every schedule up to a bound, by number.
//!
//! A schedule has one or two invocations, up to two moves of DNS, and up to three different hazards, each at a
//! moment of a coarse grid. Its number is its place in the enumeration, so that it can be replayed.

use std::net::SocketAddr;
use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, Timing};

use super::schedule::{Act, ExternalChange, Invocation, Kill, Schedule, Silence, Window};
use crate::{Action, Fault};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The first invocation's start.
const START: Duration = seconds(1);
/// Moments of hazards, and how long a fault lasts: while the first answers arrive, and while a change is confirmed
/// and made.
const MOMENTS: [Duration; 2] = [millis(900), millis(7_300)];
const LASTS: Duration = millis(6_100);
/// Moments of DNS: before the first invocation, during its confirmation, and about its deregistration.
const MOVES: [Duration; 3] = [millis(400), millis(4_200), millis(8_700)];
/// How much later the second invocation starts.
const LATER: [Duration; 2] = [millis(700), millis(8_900)];
/// How much later the RDS API names the writer that DNS names.
const RDS_LAG: Duration = millis(3_700);

const SLOW: Fault = Fault::Slow(seconds(6));
/// One fault for each way in which the loop can see a call end.
const LISTING: [Fault; 4] = [Fault::ServerError, Fault::Denied, Fault::Hangs, SLOW];
const CHANGE: [Fault; 6] =
    [Fault::ServerError, Fault::Denied, Fault::Hangs, Fault::AnswerLost, Fault::TakesEffectLate, SLOW];
const RDS: [Fault; 3] = [Fault::ServerError, Fault::Hangs, SLOW];
const LOOKUPS: [Fault; 3] = [Fault::ServerError, Fault::Hangs, Fault::Slow(seconds(3))];

/// A hazard of the catalogue.
#[derive(Clone, Copy, Debug)]
enum Item {
    Fault(Action, Fault, Duration),
    /// The name server gives several addresses.
    SeveralAddresses(Duration),
    /// Another process registers a stranger, deregisters the next writer, or everything.
    Registers(Duration),
    Deregisters(Duration),
    DeregistersAll(Duration),
    /// The first invocation is killed.
    Kill(Duration),
    /// For the whole schedule.
    ListingsLag,
    /// A second name server follows ten seconds later.
    StaleServer,
    RdsSilent,
    UdpSilent,
    PermitWaits,
}

fn catalogue() -> Vec<Item> {
    let faults = [
        (Action::DescribeTargetHealth, &LISTING[..]),
        (Action::RegisterTargets, &CHANGE),
        (Action::DeregisterTargets, &CHANGE),
        (Action::DescribeDBClusters, &RDS),
        (Action::Lookup, &LOOKUPS),
    ];
    let mut items =
        vec![Item::ListingsLag, Item::StaleServer, Item::RdsSilent, Item::UdpSilent, Item::PermitWaits];
    for at in MOMENTS {
        for (action, faults) in faults {
            items.extend(faults.iter().map(|fault| Item::Fault(action, *fault, at)));
        }
        items.extend([
            Item::SeveralAddresses(at),
            Item::Registers(at),
            Item::Deregisters(at),
            Item::DeregistersAll(at),
            Item::Kill(at),
        ]);
    }
    items
}

/// The modes of the invocations, and how much later the second starts.
fn invocations() -> Vec<Vec<(Mode, Duration)>> {
    let modes = [Mode::Watch, Mode::Check];
    let mut all: Vec<_> = modes.iter().map(|mode| vec![(*mode, START)]).collect();
    for first in modes {
        for second in modes {
            all.extend(LATER.map(|later| vec![(first, START), (second, START + later)]));
        }
    }
    all
}

/// The moves of DNS: when, and to which member. Without one, the group holds a stale target.
fn moves() -> Vec<Vec<(Duration, usize)>> {
    let mut all = vec![Vec::new()];
    all.extend(MOVES.map(|at| vec![(at, 1)]));
    for (index, first) in MOVES.iter().enumerate() {
        for second in &MOVES[index + 1..] {
            all.extend([0, 2].map(|back| vec![(*first, 1), (*second, back)]));
        }
    }
    all
}

/// How many schedules there are.
pub fn count() -> u64 {
    (invocations().len() * moves().len()) as u64 * combinations(catalogue().len() as u64)
}

/// The sets of up to three of so many.
fn combinations(of: u64) -> u64 {
    1 + of + of * (of - 1) / 2 + of * (of - 1) * (of - 2) / 6
}

/// The nth set of up to three of so many: the empty one, all of one, all of two, all of three.
fn combination(mut number: u64, of: usize) -> Vec<usize> {
    if number == 0 {
        return Vec::new();
    }
    number -= 1;
    if number < of as u64 {
        return vec![number as usize];
    }
    number -= of as u64;
    for first in 0..of {
        let rest = (of - first - 1) as u64;
        if number < rest {
            return vec![first, first + 1 + number as usize];
        }
        number -= rest;
    }
    for first in 0..of {
        for second in first + 1..of {
            let rest = (of - second - 1) as u64;
            if number < rest {
                return vec![first, second, second + 1 + number as usize];
            }
            number -= rest;
        }
    }
    unreachable!("a number below `combinations`")
}

/// The schedule of this number, below [`count`].
pub fn schedule(number: u64) -> Schedule {
    let (invocations, moves, catalogue) = (invocations(), moves(), catalogue());
    let (rest, run) = (number / invocations.len() as u64, number % invocations.len() as u64);
    let (set, moved) = (rest / moves.len() as u64, rest % moves.len() as u64);
    let (runs, moves) = (&invocations[run as usize], &moves[moved as usize]);
    let mut schedule = Schedule::plain(Mode::Watch);
    schedule.seed = number;
    schedule.jitter = true;
    schedule.timing = Timing { watch: seconds(60), ..schedule.timing };
    let [plain] = schedule.invocations[..] else { unreachable!("one invocation") };
    schedule.invocations = runs
        .iter()
        .map(|(mode, at)| Invocation { at: *at, mode: *mode, time: seconds(59), ..plain })
        .collect();
    let items: Vec<Item> =
        combination(set, catalogue.len()).into_iter().map(|index| catalogue[index]).collect();
    let servers = if items.iter().any(|item| matches!(item, Item::StaleServer)) { 2 } else { 1 };
    schedule.servers = servers;
    if servers == 2 {
        schedule.acts.push((Duration::ZERO, Act::Serves(1, 0)));
    }
    for (at, member) in moves {
        schedule.acts.push((*at, Act::Serves(0, *member)));
        schedule.acts.push((*at + RDS_LAG, Act::RdsSays(Some(*member))));
        if servers == 2 {
            schedule.acts.push((*at + seconds(10), Act::Serves(1, *member)));
        }
    }
    if moves.is_empty() {
        let stale = target(&schedule, 1);
        schedule.targets.push((stale, false));
    }
    schedule.settles_on = moves.last().map_or(0, |(_, member)| *member);
    items.into_iter().for_each(|item| apply(&mut schedule, item));
    schedule.acts.sort_by_key(|(at, _)| *at);
    schedule
}

fn target(schedule: &Schedule, member: usize) -> SocketAddr {
    SocketAddr::new(schedule.address(member), schedule.port())
}

fn apply(schedule: &mut Schedule, item: Item) {
    let changes = |schedule: &mut Schedule, at, change| schedule.acts.push((at, Act::ChangesGroup(change)));
    match item {
        Item::Fault(action, fault, at) => {
            schedule.windows.push(Window { from: at, until: at + LASTS, action, fault, chance: 1.0 });
        }
        Item::SeveralAddresses(at) => {
            schedule.acts.push((at, Act::Breaks(0, Some(Fault::Several))));
            schedule.acts.push((at + LASTS, Act::Breaks(0, None)));
        }
        Item::Registers(at) => {
            let other = target(schedule, 3);
            changes(schedule, at, ExternalChange::Registers(other));
        }
        Item::Deregisters(at) => {
            let writer = target(schedule, schedule.settles_on);
            changes(schedule, at, ExternalChange::Deregisters(writer));
        }
        Item::DeregistersAll(at) => changes(schedule, at, ExternalChange::DeregistersAll),
        Item::Kill(at) => {
            schedule.invocations[0].kill = Some(Kill::After(at.saturating_sub(START) + millis(330)));
        }
        Item::ListingsLag => schedule.lag = seconds(4),
        Item::StaleServer => {}
        Item::RdsSilent => schedule.silence = Silence { rds: true, ..schedule.silence },
        Item::UdpSilent => schedule.silence = Silence { udp: true, ..schedule.silence },
        Item::PermitWaits => schedule.permit_waits = true,
    }
}
