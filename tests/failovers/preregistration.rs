use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::reconcile::Preregistration;

use super::*;
use testkit::{ENDPOINT, addresses};

const MEMBER: &str = "orders-2.abc123.us-east-1.rds.amazonaws.com";

fn both(aws: &FakeAws) {
    assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
}

#[tokio::test(start_paused = true)]
async fn event_candidate_is_registered_before_dns_moves() {
    let aws = FakeAws::new();
    later(&aws, 1, both);
    later(&aws, 25, |aws| {
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
    });
    let started = Instant::now();
    let report = aws.watch_preregistering("orders-2").await;
    assert_eq!(report.status, Status::Updated);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    assert!(aws.calls(Action::RegisterTargets)[0].at - started <= seconds(1));
    assert!(aws.calls(Action::DeregisterTargets)[0].at - started >= seconds(31), "DNS alone deregisters");
    assert_eq!(format!("{:?}", report.registered), "{10.0.2.20:5432}");
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

/// The RDS API's answers end the pause between two lookups.
#[tokio::test(start_paused = true)]
async fn candidate_is_registered_at_once_at_any_poll_interval() {
    for (poll, watch) in [(10, 180), (30, 60), (60, 61), (60, 180), (60, 60)] {
        let aws = FakeAws::new();
        aws.always(Action::DescribeDBClusters, Some(ApiFault::Slow(seconds(2))));
        let preregistration = Preregistration::On { promoted_instance: Some("orders-2".to_owned()) };
        let timing = Timing { poll: seconds(poll), watch: seconds(watch), ..TIMING };
        let binding = Binding::new(ENDPOINT, GROUP.parse().unwrap());
        let started = Instant::now();
        aws.reconcile_binding(&binding, timing, Mode::Watch, &preregistration, seconds(240)).await;
        let after = aws.calls(Action::RegisterTargets)[0].at - started;
        assert!(after <= seconds(3), "{timing:?}: {after:?}");
        both(&aws);
    }
}

#[tokio::test(start_paused = true)]
async fn rds_writer_is_preregistered_before_dns_moves() {
    let aws = FakeAws::new();
    later(&aws, 15, |aws| aws.writer_per_rds("orders-2"));
    later(&aws, 30, both);
    later(&aws, 40, |aws| aws.promote("orders-2"));
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::Updated);
    let registered = aws.calls(Action::RegisterTargets)[0].at - started;
    assert!((seconds(15)..=seconds(26)).contains(&registered), "{registered:?}");
    assert!(
        aws.count(Action::DescribeDBClusters) <= 8,
        "asked every ten seconds, and before the deregistration"
    );
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn previous_writer_of_lagging_rds_is_not_preregistered() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    // It still calls orders-1 the writer, which is in the group.
    later(&aws, 30, |aws| aws.writer_per_rds("orders-2"));
    let started = Instant::now();
    assert_eq!(aws.watch().await.status, Status::Updated);
    assert!(started.elapsed() <= seconds(40), "{:?}", started.elapsed());
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
}

#[tokio::test(start_paused = true)]
async fn candidate_neither_ends_the_watch_nor_outlives_it() {
    let aws = FakeAws::new();
    let started = Instant::now();
    let report = aws.watch_preregistering("orders-2").await;
    assert!((seconds(179)..=seconds(181)).contains(&started.elapsed()));
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("is about to become the writer"), "{report:?}");
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    assert_eq!(aws.count(Action::DescribeDBInstances), 1, "found once, and not sought again");
    assert_eq!(aws.check().await.status, Status::Updated, "a stale target like any other");
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn candidate_that_leaves_the_cluster_is_deregistered() {
    let aws = FakeAws::new();
    later(&aws, 20, |aws| {
        both(aws);
        let mut state = aws.state();
        state.clusters.get_mut("orders").expect("a cluster").remove("orders-2");
    });
    let report = aws.watch_preregistering("orders-2").await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.2.20:5432"]);
}

#[tokio::test(start_paused = true)]
async fn failover_to_other_member_deregisters_the_candidate() {
    let aws = FakeAws::new();
    later(&aws, 20, |aws| aws.resolves_to(&[THREE]));
    let started = Instant::now();
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Updated);
    assert!((seconds(26)..=seconds(30)).contains(&started.elapsed()), "{:?}", started.elapsed());
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432~ 10.0.3.30:5432").await;
}

#[tokio::test(start_paused = true)]
async fn reverted_failovers_event_deregisters_the_candidate() {
    let aws = FakeAws::new();
    aws.state().failing_over = true;
    // Event 0070 starts another invocation, without a candidate.
    tokio::join!(aws.watch_preregistering("orders-2"), async {
        sleep(seconds(20)).await;
        aws.state().failing_over = false;
        assert_eq!(aws.check().await.status, Status::Updated);
    });
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.2.20:5432"]);
    settled(&aws, "10.0.1.10:5432 10.0.2.20:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn check_during_failover_keeps_the_candidate() {
    let aws = FakeAws::new();
    aws.state().failing_over = true;
    let (report, check) = tokio::join!(aws.watch_preregistering("orders-2"), async {
        sleep(seconds(5)).await;
        let check = aws.check().await;
        both(&aws);
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
        check
    });
    assert_eq!(check.status, Status::Pending);
    assert!(check.waiting[0].contains("no longer reports a failover in progress"), "{check:?}");
    assert_eq!(report.status, Status::Updated);
    assert_eq!(aws.count(Action::DeregisterTargets), 1, "DNS has moved: nothing is left to wait for");
    aws.state().failing_over = false;
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn draining_candidate_is_not_registered_before_dns_moves() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, "10.0.2.20~"]);
    later(&aws, 30, |aws| {
        assert_eq!(aws.writes(), Vec::<String>::new());
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
    });
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn event_candidate_unknown_to_rds_is_not_registered() {
    for fault in [ApiFault::Hangs, ApiFault::Denied, ApiFault::Throttled, ApiFault::ServerError] {
        let aws = FakeAws::new();
        aws.always(Action::DescribeDBClusters, Some(fault));
        aws.always(Action::DescribeDBInstances, Some(fault));
        aws.watch_preregistering("orders-2").await;
        assert_eq!(aws.writes(), Vec::<String>::new(), "an event alone makes nobody a member: {fault:?}");
        aws.promote("orders-2");
        assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Updated, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn event_candidate_is_registered_once_the_rds_api_answers() {
    let aws = FakeAws::new();
    aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied));
    later(&aws, 15, |aws| aws.always(Action::DescribeDBClusters, None));
    later(&aws, 30, both);
    later(&aws, 40, |aws| {
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
    });
    let started = Instant::now();
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Updated);
    let registered = aws.calls(Action::RegisterTargets)[0].at - started;
    assert!((seconds(15)..=seconds(26)).contains(&registered), "{registered:?}");
}

#[tokio::test(start_paused = true)]
async fn member_of_an_earlier_run_is_registered_without_rds() {
    for fault in [ApiFault::Hangs, ApiFault::Denied, ApiFault::Throttled, ApiFault::ServerError] {
        let aws = FakeAws::new();
        aws.watch_preregistering("orders-2").await;
        aws.holds(&[ONE]);
        aws.forget_calls();
        aws.always(Action::DescribeDBClusters, Some(fault));
        aws.always(Action::DescribeDBInstances, Some(fault));
        later(&aws, 20, |aws| aws.promote("orders-2"));
        let started = Instant::now();
        assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Updated, "{fault:?}");
        assert!(started.elapsed() <= seconds(32), "{:?}", started.elapsed());
        let registered = aws.calls(Action::RegisterTargets)[0].at - started;
        assert!(registered < seconds(10), "before DNS moved: {registered:?}");
        settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}

#[tokio::test(start_paused = true)]
async fn member_of_a_namesake_is_not_registered() {
    let aws = FakeAws::new();
    aws.state().is_namesake = true;
    aws.writer_per_rds("orders-2");
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::InSync);
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn candidate_with_an_endpoint_elsewhere_is_not_registered() {
    let aws = FakeAws::new();
    aws.writer_per_rds("orders-2");
    let elsewhere = "orders-2.xyz789.us-east-1.rds.amazonaws.com";
    aws.state().zone.insert(elsewhere.into(), testkit::addresses(&[TWO]));
    aws.state().instances.get_mut("orders-2").expect("a member").endpoint = Some(elsewhere.to_owned());
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::InSync);
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn hanging_rds_api_does_not_delay_the_loop() {
    let aws = FakeAws::new();
    aws.always(Action::DescribeDBClusters, Some(ApiFault::Hangs));
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    later(&aws, 1, |aws| aws.resolves_to(&[THREE]));
    let started = Instant::now();
    aws.watch_preregistering("orders-2").await;
    let registered = aws.calls(Action::RegisterTargets)[0].at - started;
    assert!(registered <= seconds(1) + TIMING.poll, "{registered:?}");
}

#[tokio::test(start_paused = true)]
async fn veto_counts_while_another_rds_call_hangs() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Slow(seconds(2))));
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
    // The veto's query finds no other writer; the candidate's query finds orders-2 while the loop observes again.
    let late = ApiFault::Slow(Duration::from_millis(1500));
    aws.next(Action::DescribeDBClusters, &[ApiFault::Slow(Duration::ZERO), late]);
    later(&aws, 3, |aws| aws.writer_per_rds("orders-2"));
    later(&aws, 30, |aws| {
        both(aws);
        aws.promote("orders-2");
    });
    let preregistration = Preregistration::On { promoted_instance: Some("orders-2".to_owned()) };
    let (binding, timing) =
        (Binding::new(ENDPOINT, GROUP.parse().unwrap()), Timing { confirm: Duration::ZERO, ..TIMING });
    aws.reconcile_binding(&binding, timing, Mode::Watch, &preregistration, seconds(600)).await;
    assert_eq!(aws.writes(), ["DeregisterTargets 10.0.1.10:5432"]);
}

#[tokio::test(start_paused = true)]
async fn veto_counts_if_the_next_question_to_rds_fails() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    both(&aws);
    aws.promote("orders-2");
    // The candidate's query finds that orders-1 is the writer; the veto's own query, two seconds later, fails.
    aws.writer_per_rds("orders-1");
    aws.next(
        Action::DescribeDBClusters,
        &[ApiFault::Slow(Duration::from_millis(1500)), ApiFault::ServerError],
    );
    let (binding, timing) = (
        Binding::new(ENDPOINT, GROUP.parse().unwrap()),
        Timing { confirm: seconds(2), watch: seconds(4), ..TIMING },
    );
    let preregistration = Preregistration::On { promoted_instance: None };
    aws.reconcile_binding(&binding, timing, Mode::Watch, &preregistration, seconds(60)).await;
    assert_eq!(aws.writes(), Vec::<String>::new(), "{:#?}", aws.state().calls);
}

#[tokio::test(start_paused = true)]
async fn event_candidate_is_kept_if_rds_names_it_too() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, TWO]);
    aws.promote("orders-2");
    // Its name fails at first, and resolves a moment later as the name of the RDS API's writer.
    let name = "orders-1.abc123.us-east-1.rds.amazonaws.com";
    aws.state().names.insert(name.to_owned(), ApiFault::ServerError);
    let slow = [ApiFault::Slow(Duration::ZERO), ApiFault::Slow(seconds(2))];
    aws.next(Action::DescribeDBInstances, &slow);
    later(&aws, 1, |aws| {
        aws.state().names.clear();
        aws.writer_per_rds("orders-2");
    });
    let report = aws.watch_preregistering("orders-1").await;
    assert!(report.waiting[0].contains("is about to become the writer"), "{report:?}");
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn non_member_is_not_preregistered() {
    for prepare in [
        |_: &FakeAws| {},
        // Of another cluster, though this one's members are not to be learnt.
        |aws: &FakeAws| aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied)),
    ] {
        let aws = FakeAws::new();
        aws.state().zone.insert("billing-1.abc123.us-east-1.rds.amazonaws.com".into(), addresses(&[THREE]));
        let endpoint = Some("billing-1.abc123.us-east-1.rds.amazonaws.com".to_owned());
        let billing = testkit::Instance { endpoint, cluster: Some("billing"), ..Default::default() };
        aws.state().instances.insert("billing-1".into(), billing);
        prepare(&aws);
        assert_eq!(aws.watch_preregistering("billing-1").await.status, Status::InSync);
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn non_member_known_from_the_veto_is_not_preregistered() {
    let knows_it: fn(&FakeAws) = |_| {};
    let knows_no_cluster: fn(&FakeAws) = |aws| aws.state().clusters.clear();
    for prepare in [knows_it, knows_no_cluster] {
        let aws = FakeAws::new();
        prepare(&aws);
        aws.holds(&[ONE, TWO]);
        let name = "billing-1.abc123.us-east-1.rds.amazonaws.com";
        aws.state().zone.insert(name.into(), addresses(&[THREE]));
        // The veto's query before the deregistration of orders-2 is answered; the candidate's query never is.
        aws.next(Action::DescribeDBClusters, &[ApiFault::Slow(Duration::ZERO), ApiFault::Denied]);
        aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
        later(&aws, 1, |aws| aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied)));
        let preregistration = Preregistration::On { promoted_instance: Some("billing-1".to_owned()) };
        let (binding, timing) =
            (Binding::new(ENDPOINT, GROUP.parse().unwrap()), Timing { confirm: Duration::ZERO, ..TIMING });
        aws.reconcile_binding(&binding, timing, Mode::Watch, &preregistration, seconds(600)).await;
        assert_eq!(aws.writes(), ["DeregisterTargets 10.0.2.20:5432"]);
    }
}

#[tokio::test(start_paused = true)]
async fn candidate_is_kept_if_rds_does_not_know_the_cluster() {
    let aws = FakeAws::new();
    later(&aws, 5, |aws| {
        both(aws);
        aws.state().clusters.clear();
    });
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Pending);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    // The next event's candidate is in the group already.
    assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::Pending);
    assert_eq!(aws.count(Action::DeregisterTargets), 0);
}

#[tokio::test(start_paused = true)]
async fn candidate_with_a_public_address_is_not_registered() {
    let records: [&[&str]; 5] = [&[], &["52.1.2.3"], &["127.0.0.1"], &[TWO, THREE], &["fd00::2"]];
    for record in records {
        let aws = FakeAws::new();
        aws.state().zone.insert(MEMBER.into(), addresses(record));
        assert_eq!(aws.watch_preregistering("orders-2").await.status, Status::InSync, "{record:?}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn preregistration_off_makes_no_rds_calls() {
    let aws = FakeAws::new();
    aws.writer_per_rds("orders-2");
    let binding = Binding::new(ENDPOINT, GROUP.parse().unwrap());
    let watching = aws.reconcile_binding(&binding, TIMING, Mode::Watch, &Preregistration::Off, seconds(600));
    assert_eq!(watching.await.status, Status::InSync);
    assert_eq!(aws.count(Action::DescribeDBClusters) + aws.count(Action::DescribeDBInstances), 0);
}

#[tokio::test(start_paused = true)]
async fn instance_endpoint_has_no_candidates() {
    let aws = FakeAws::new();
    aws.resolves_to(&[ONE]);
    assert_eq!(aws.watch().await.status, Status::InSync);
    assert_eq!(aws.count(Action::DescribeDBClusters), 0);
}

#[tokio::test(start_paused = true)]
async fn check_and_dry_run_preregister_nothing() {
    for mode in [Mode::Check, Mode::DryRun] {
        let aws = FakeAws::new();
        aws.writer_per_rds("orders-2");
        let preregistration = Preregistration::On { promoted_instance: Some("orders-2".to_owned()) };
        let binding = Binding::new(ENDPOINT, GROUP.parse().unwrap());
        let report = aws.reconcile_binding(&binding, TIMING, mode, &preregistration, seconds(60)).await;
        assert_eq!(report.status, Status::InSync);
        assert_eq!(aws.state().calls.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_preregistration_does_not_fail_the_binding() {
    // A denied registration is not retried; a throttled one is retried every ten seconds.
    let faults = [(ApiFault::Denied, 1..=1), (ApiFault::Throttled, 2..=7), (ApiFault::Hangs, 1..=1)];
    for (fault, tries) in faults {
        let aws = FakeAws::new();
        aws.always(Action::RegisterTargets, Some(fault));
        let preregistration = Preregistration::On { promoted_instance: Some("orders-2".to_owned()) };
        let binding = Binding::new(ENDPOINT, GROUP.parse().unwrap());
        let report =
            aws.reconcile_binding(&binding, TIMING, Mode::Watch, &preregistration, seconds(60)).await;
        assert_ne!(report.status, Status::Failed, "{fault:?}: {report:?}");
        assert!(tries.contains(&aws.count(Action::RegisterTargets)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn member_that_dns_names_already_needs_no_lookup_of_its_own() {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.writer_per_rds("orders-2");
    let report = aws.watch_preregistering("orders-2").await;
    assert_eq!(report.status, Status::Updated, "{report:?}");
    assert_eq!(aws.count(Action::DescribeDBInstances), 0);
}
