use super::*;

#[tokio::test(start_paused = true)]
async fn check_without_answer_fails_and_names_the_endpoint() {
    for fault in
        [ApiFault::NxDomain, ApiFault::ServerError, ApiFault::Denied, ApiFault::NoRecords, ApiFault::Hangs]
    {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.always(Action::Lookup, Some(fault));
        let report = aws.check().await;
        assert_eq!(report.status, Status::Failed, "{fault:?}");
        assert!(error(&report).contains(testkit::ENDPOINT), "{report:?}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn unusable_answer_is_refused_with_its_addresses() {
    let answers: [&[&str]; 5] = [&[], &[ONE, TWO], &["52.1.2.3"], &["127.0.0.1"], &["169.254.1.1"]];
    for addresses in answers {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.resolves_to(addresses);
        let report = aws.check().await;
        assert_eq!(report.status, Status::Failed, "{addresses:?}");
        assert!(addresses.iter().all(|address| error(&report).contains(address)), "{report:?}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn watch_retries_until_dns_answers() {
    let aws = FakeAws::new();
    aws.always(Action::Lookup, Some(ApiFault::NxDomain));
    later(&aws, 60, |aws| {
        aws.always(Action::Lookup, None);
        aws.resolves_to(&[TWO]);
    });
    assert_eq!(aws.watch().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn watch_without_answer_fails_after_watch_seconds() {
    let aws = FakeAws::new();
    aws.always(Action::Lookup, Some(ApiFault::ServerError));
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::Failed);
    assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()));
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn failed_lookup_restarts_confirmation() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    later(&aws, 3, |aws| aws.next(Action::Lookup, &[ApiFault::ServerError]));
    let timing = Timing { watch: seconds(20), ..TIMING };
    let started = Instant::now();
    aws.reconcile_at(timing, Mode::Watch, seconds(60)).await;
    let deregistered = aws.calls(Action::DeregisterTargets)[0].at - started;
    assert!(deregistered >= seconds(9), "six seconds after the failure at three, not after {deregistered:?}");
}
