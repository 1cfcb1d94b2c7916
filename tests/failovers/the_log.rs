use super::*;
use crate::world::log::Log;

#[tokio::test(start_paused = true)]
async fn tells_each_step_of_a_failover_once() {
    let (world, log) = (World::new(), Log::open());
    later(&world, 20, |world| world.resolves_to(&[TWO]));
    world.watch().await;
    assert_eq!(log.decisions(), ["moved", "plan", "register", "plan", "plan", "evict"]);
}

#[tokio::test(start_paused = true)]
async fn tells_of_a_flicker_once_however_long_it_lasts() {
    let (world, log) = (World::new(), Log::open());
    world.flickers(&[ONE, TWO]);
    world.watch().await;
    assert_eq!(log.decisions(), ["moved", "plan", "register", "plan", "plan"]);
}

#[tokio::test(start_paused = true)]
async fn tells_once_why_somebody_is_not_nominated() {
    let (world, log) = (World::new(), Log::open());
    world.watch_nominating("billing-1").await;
    assert_eq!(log.decisions(), ["nominate"]);
}

#[tokio::test(start_paused = true)]
async fn tells_that_time_was_over() {
    let (world, log) = (World::new(), Log::open());
    world.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(log.decisions(), ["stop"]);
}
