//! Thousands of schedules in every run of the tests; `make soak` plays more.

use std::net::SocketAddr;
use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, Timing};

use testkit::simulation::exhaust;
use testkit::simulation::hazard::{Coverage, Hazard};
use testkit::simulation::play::{Sabotage, play, play_caught, play_schedule, play_schedule_caught};
use testkit::simulation::schedule::{Act, ExternalChange, Schedule, Silence};

/// How many schedules every run of the tests plays.
const SCHEDULES: u64 = 4000;

#[test]
fn random_schedules_break_no_invariant() {
    let seed = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seeds = seed.map_or(0..SCHEDULES, |seed: u64| seed..seed + 1);
    for seed in seeds {
        if play_caught(seed, false).is_err()
            && let Err(broken) = play_caught(seed, true)
        {
            panic!("{broken}; replay with SEED={seed} cargo test random_schedules");
        }
    }
}

#[test]
fn same_seed_plays_the_same_events() {
    for seed in 0..50 {
        assert_eq!(play(seed, true).trace, play(seed, true).trace, "SEED={seed}");
    }
}

/// Schedules that once broke an invariant.
#[test]
fn earlier_failing_seeds_break_no_invariant() {
    // A report of "in sync" by a run whose last observation was cut short after it had shown a difference.
    let untrue = [774, 828];
    // The writer deregistered a moment before, still listed as active, and the other target deregistered by that.
    let emptied = [14548, 14772, 1_294_196, 1_301_062, 1_397_600, 1_521_565];
    // Lookups that flicker with a confirmation time of zero.
    let flickering = [28707, 49366, 63987, 79949];
    // A streak that counted a slow listing as time with lookups.
    let gaps = [29, 170, 183, 222, 538];
    // An old listing taken as proof of a change.
    let old_listing = [21, 198, 257, 323, 14394];
    // A candidate that the RDS API had denied, registered after the API fell silent or answered again.
    let non_member = [33912, 3094338, 3335233];
    // A registered candidate, dropped because the RDS API did not know the cluster during the lookup of its name.
    let dropped = [21_421_272];
    // A veto that was applied only after another RDS call had ended.
    let late_veto = [4_997_801];
    // The event's candidate, found only as the RDS API's writer, and deregistered.
    let found_by_rds = [4_171_900];
    // A move forgotten because its observation failed, and a candidate registered after it.
    let forgotten = [4_016_491, 4_063_786, 4_574_690];
    // A non-member registered while the RDS API answered the veto's query and not the candidate's.
    let known_to_the_veto = [3_535_436, 11_118_000, 11_928_999];
    // Changes by an observation that had become outdated during the wait for a permit; and permits without a call.
    let permits = [210, 392, 1085, 3171, 40_088_545, 40_260_395, 60_014_486, 60_111_807];
    // A candidate of an unknown cluster, registered because its address was in the group at another port.
    let other_port = [40_283_273];
    let candidates =
        [&non_member[..], &known_to_the_veto, &dropped, &late_veto, &found_by_rds, &forgotten].concat();
    for seed in
        [&untrue[..], &emptied, &flickering, &gaps, &old_listing, &permits, &other_port, &candidates].concat()
    {
        let played = play_schedule(Schedule::draw_round(seed), Sabotage::default(), false);
        assert_eq!(played.violations, [], "SEED={seed}");
    }
}

/// The same two bugs by hand, which stay when the dice fall otherwise.
#[test]
fn listing_older_than_a_deregistration_removes_nothing_else() {
    // Both members are listed for seconds after one of them was deregistered, and DNS moves to that one.
    let mut schedule = Schedule::plain(Mode::Watch);
    schedule.timing.confirm = Duration::ZERO;
    schedule.lag = Duration::from_secs(9);
    schedule.targets.push((SocketAddr::new(schedule.address(1), schedule.port()), false));
    schedule.acts.push((Duration::from_secs(2), Act::Serves(0, 1)));
    schedule.acts.push((Duration::from_secs(2), Act::RdsSays(Some(1))));
    schedule.settles_on = 1;
    for seed in 0..50 {
        schedule.seed = seed;
        let played = play_schedule(schedule.clone(), Sabotage::default(), true);
        assert!(played.violations.is_empty() && played.emptied == 0, "{}", played.trace.join("\n"));
    }
}

#[test]
fn observation_cut_by_the_deadline_counts_in_part() {
    // Another process registers a second target, and the deadline comes soon after a listing has shown it.
    for millis in 0..200 {
        let mut schedule = Schedule::plain(Mode::Watch);
        let stale = SocketAddr::new(schedule.address(1), schedule.port());
        schedule.acts.push((Duration::from_secs(9), Act::ChangesGroup(ExternalChange::Registers(stale))));
        schedule.latency = (Duration::from_millis(1), Duration::from_millis(150));
        schedule.seed = millis;
        schedule.invocations[0].time = Duration::from_millis(10_000 + 5 * millis);
        let played = play_schedule(schedule, Sabotage::default(), true);
        assert!(played.violations.is_empty(), "{}", played.trace.join("\n"));
    }
}

#[test]
fn every_hazard_happens() {
    let mut sum = Coverage::default();
    (0..600).for_each(|seed| sum.add(&play(seed, false).coverage));
    let missing = Hazard::all().into_iter().filter(|hazard| sum.of(*hazard) == 0);
    assert_eq!(missing.collect::<Vec<_>>(), []);
}

/// `make exhaust` plays all of them. The step is a prime, so that every part of the enumeration varies.
#[test]
fn slice_of_the_bounded_schedules_breaks_no_invariant() {
    const STEP: usize = 2503;
    for number in (0..exhaust::count()).step_by(STEP) {
        if let Err(broken) = play_schedule_caught(&exhaust::schedule(number), true) {
            panic!("{broken}; replay with make exhaust NUMBER={number}");
        }
    }
}

/// A stale target is deregistered within two checks, or within a watch, while an API stays silent for ever.
#[test]
fn silence_at_every_corner_of_the_template_delays_no_deregistration() {
    let seconds = Duration::from_secs;
    let silences = [(true, false), (false, true), (true, true)].map(|(rds, udp)| Silence { rds, udp });
    for (confirm, poll, watch) in [4, 6, 20].into_iter().flat_map(|confirm| {
        [100, 500, 3000, 60_000]
            .into_iter()
            .flat_map(move |poll| [61, 600].map(|watch| (confirm, poll, watch)))
    }) {
        for (silence, settles_by, seed) in silences.into_iter().flat_map(|silence| {
            [Mode::Check, Mode::Watch]
                .into_iter()
                .flat_map(move |mode| (0..3).map(move |seed| (silence, mode, seed)))
        }) {
            let mut schedule = Schedule::plain(Mode::Check);
            schedule.timing = Timing {
                confirm: seconds(confirm),
                poll: Duration::from_millis(poll),
                watch: seconds(watch),
            };
            (schedule.silence, schedule.settles_by) = (silence, settles_by);
            (schedule.seed, schedule.jitter) = (seed, true);
            // DNS moves between the schedule's own check and those that must settle it.
            (schedule.settles_on, schedule.invocations[0].time) = (1, seconds(59));
            assert!(schedule.is_of_the_template());
            let played = play_schedule(schedule.clone(), Sabotage::default(), true);
            assert_eq!(played.violations, [], "{}, seed {seed}: {:#?}", schedule.settings(), played.trace);
        }
    }
}
