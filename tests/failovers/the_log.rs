use super::*;
use crate::testkit::log::Log;

#[tokio::test(start_paused = true)]
async fn tells_each_step_of_a_failover_once() {
    let (aws, log) = (FakeAws::new(), Log::open());
    later(&aws, 20, |aws| aws.resolves_to(&[TWO]));
    aws.watch().await;
    assert_eq!(log.decisions(), ["addresses_changed", "plan", "register", "plan", "plan", "deregister"]);
}

#[tokio::test(start_paused = true)]
async fn tells_of_a_flicker_once_however_long_it_lasts() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.flickers(&[ONE, TWO]);
    aws.watch().await;
    assert_eq!(log.decisions(), ["addresses_changed", "plan", "register", "plan", "plan"]);
}

#[tokio::test(start_paused = true)]
async fn tells_once_why_somebody_is_not_nominated() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.watch_preregistering("billing-1").await;
    assert_eq!(log.decisions(), ["preregister"]);
}

#[tokio::test(start_paused = true)]
async fn tells_that_time_was_over() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(log.decisions(), ["deadline"]);
}
