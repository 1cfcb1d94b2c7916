use super::*;

#[tokio::test(start_paused = true)]
async fn log_has_each_step_of_a_failover_once() {
    let (aws, log) = (FakeAws::new(), Log::open());
    later(&aws, 20, |aws| aws.resolves_to(&[TWO]));
    aws.watch().await;
    assert_eq!(log.decisions(), ["addresses_changed", "plan", "register", "plan", "plan", "deregister"]);
}

#[tokio::test(start_paused = true)]
async fn log_has_one_line_per_flicker() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.flickers(&[ONE, TWO]);
    aws.watch().await;
    assert_eq!(log.decisions(), ["addresses_changed", "plan", "register", "plan", "plan"]);
}

#[tokio::test(start_paused = true)]
async fn log_gives_the_reason_against_a_candidate_once() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.watch_preregistering("billing-1").await;
    assert_eq!(log.decisions(), ["preregister"]);
}

#[tokio::test(start_paused = true)]
async fn log_says_that_the_deadline_was_reached() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.reconcile(Mode::Watch, seconds(30)).await;
    assert_eq!(log.decisions(), ["deadline"]);
}
