//! How urgent each call is, for where the API's limits are near.

use rds_nlb_sync::reconcile::Call::{Describe, Write};
use rds_nlb_sync::reconcile::Urgency::{Failover, Routine, Tidy};

use super::*;

#[tokio::test(start_paused = true)]
async fn of_a_check_that_finds_a_failover_come_first_until_the_writer_is_in() {
    let world = World::new();
    world.resolves_to(&[TWO]);
    world.check().await;
    let turns = [
        (Routine, Describe),
        (Failover, Write),
        (Failover, Describe),
        // The look before the eviction, the eviction, and the look after it.
        (Tidy, Describe),
        (Tidy, Write),
        (Tidy, Describe),
    ];
    assert_eq!(world.state().turns, turns);
}

#[tokio::test(start_paused = true)]
async fn of_a_watch_in_which_nothing_happens_stay_as_urgent_as_they_were() {
    let world = World::new();
    world.watch().await;
    let turns = world.state().turns.clone();
    assert!(turns.len() > 1 && turns.iter().all(|turn| *turn == (Routine, Describe)), "{turns:?}");
}
