use super::*;

#[tokio::test(start_paused = true)]
async fn a_check_fails_and_names_the_endpoint() {
    for trouble in
        [Trouble::NxDomain, Trouble::ServerError, Trouble::Denied, Trouble::NoRecords, Trouble::Hangs]
    {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.always(Action::Lookup, Some(trouble));
        let report = world.check().await;
        assert_eq!(report.status, Status::Failed, "{trouble:?}");
        assert!(error(&report).contains(crate::world::ENDPOINT), "{report:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_writer_is_refused_with_its_addresses() {
    let answers: [&[&str]; 5] = [&[], &[ONE, TWO], &["52.1.2.3"], &["127.0.0.1"], &["169.254.1.1"]];
    for addresses in answers {
        let world = World::new();
        world.holds(&[ONE, TWO]);
        world.resolves_to(addresses);
        let report = world.check().await;
        assert_eq!(report.status, Status::Failed, "{addresses:?}");
        assert!(addresses.iter().all(|address| error(&report).contains(address)), "{report:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_asks_until_dns_answers_again() {
    let world = World::new();
    world.always(Action::Lookup, Some(Trouble::NxDomain));
    later(&world, 60, |world| {
        world.always(Action::Lookup, None);
        world.resolves_to(&[TWO]);
    });
    assert_eq!(world.watch().await.status, Status::Updated);
    settled(&world, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_gets_one_fails_when_its_patience_is_over() {
    let world = World::new();
    world.always(Action::Lookup, Some(Trouble::ServerError));
    let started = Instant::now();
    assert_eq!(world.watch().await.status, Status::Failed);
    assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()));
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_amid_a_confirmation_starts_it_anew() {
    let world = World::new();
    world.holds(&[ONE, TWO]);
    later(&world, 3, |world| world.next(Action::Lookup, &[Trouble::ServerError]));
    let pace = Pace { watch: seconds(20), ..PACE };
    let started = Instant::now();
    world.reconcile_at(pace, Mode::Watch, seconds(60)).await;
    let evicted = world.calls(Action::DeregisterTargets)[0].at - started;
    assert!(evicted >= seconds(9), "six seconds after the failure at three, not after {evicted:?}");
}
