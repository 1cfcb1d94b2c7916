//! How urgent each call is, for where the API's limits are near.

use rds_nlb_sync::reconcile::Call::{Describe, Write};
use rds_nlb_sync::reconcile::Priority::{Failover, Routine, Tidy};

use super::*;

#[tokio::test(start_paused = true)]
async fn of_a_check_that_finds_a_failover_come_first_until_the_writer_is_in() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.check().await;
    let permits = [
        (Routine, Describe),
        (Failover, Write),
        (Failover, Describe),
        // The look before the deregistration, the deregistration, and the look after it.
        (Tidy, Describe),
        (Tidy, Write),
        (Tidy, Describe),
    ];
    assert_eq!(aws.state().permits, permits);
}

#[tokio::test(start_paused = true)]
async fn of_a_watch_in_which_nothing_happens_stay_as_urgent_as_they_were() {
    let aws = FakeAws::new();
    aws.watch().await;
    let permits = aws.state().permits.clone();
    assert!(permits.len() > 1 && permits.iter().all(|permit| *permit == (Routine, Describe)), "{permits:?}");
}
