//! The priority of each call.

use rds_nlb_sync::rate_limit::Call::{Describe, Write};
use rds_nlb_sync::rate_limit::Priority::{Cleanup, Failover, Routine};

use super::*;

#[tokio::test(start_paused = true)]
async fn check_calls_have_priority_until_the_writer_is_in() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    aws.check().await;
    let permits = [
        (Routine, Describe),
        (Failover, Write),
        (Failover, Describe),
        // The listing before the deregistration, the deregistration, and the listing after it.
        (Cleanup, Describe),
        (Cleanup, Write),
        (Cleanup, Describe),
    ];
    assert_eq!(aws.state().permits, permits);
}

#[tokio::test(start_paused = true)]
async fn watch_without_a_move_keeps_its_priority() {
    let aws = FakeAws::new();
    aws.watch().await;
    let permits = aws.state().permits.clone();
    assert!(permits.len() > 1 && permits.iter().all(|permit| *permit == (Routine, Describe)), "{permits:?}");
}

/// The writer is in the group already, so other bindings' failovers come first.
#[tokio::test(start_paused = true)]
async fn watch_that_finds_the_writer_registered_gives_way() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    later(&aws, 3, |aws| aws.resolves_to(&[TWO]));
    assert_eq!(aws.watch().await.status, Status::Updated);
    let permits = aws.state().permits.clone();
    assert_eq!(
        permits[permits.len() - 3..],
        [(Cleanup, Describe), (Cleanup, Write), (Cleanup, Describe)],
        "{permits:?}"
    );
}

/// The lookup makes the list beside it too old for a deregistration, so the group is listed again.
#[tokio::test(start_paused = true)]
async fn slow_name_server_leaves_routine_lists_routine() {
    let aws = FakeAws::new();
    aws.always(Action::Lookup, Some(ApiFault::Slow(seconds(3))));
    assert_eq!(aws.check().await.status, Status::InSync);
    let lists = [(Routine, Describe); 2];
    assert_eq!(aws.state().permits, lists);
}
