//! Thousands of schedules in every run of the tests; `make soak` plays more.

use super::play::{play, play_caught};

/// How many schedules every run of the tests plays.
const SCHEDULES: u64 = 4000;

#[test]
fn no_schedule_breaks_an_invariant() {
    let seed = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seeds = seed.map_or(0..SCHEDULES, |seed: u64| seed..seed + 1);
    for seed in seeds {
        if play_caught(seed, false).is_err()
            && let Err(broken) = play_caught(seed, true)
        {
            panic!("{broken}; replay with SEED={seed} cargo test no_schedule");
        }
    }
}

#[test]
fn a_seed_plays_the_same_way_every_time() {
    for seed in 0..50 {
        assert_eq!(play(seed, true).trace, play(seed, true).trace, "SEED={seed}");
    }
}
