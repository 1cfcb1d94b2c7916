use super::*;

/// DNS has moved to `orders-2`; the group holds both.
fn moved() -> FakeAws {
    let aws = FakeAws::new();
    aws.promote("orders-2");
    aws.holds(&[ONE, TWO]);
    aws
}

#[tokio::test(start_paused = true)]
async fn rds_naming_another_writer_vetoes_deregistration() {
    let aws = moved();
    aws.writer_per_rds("orders-1");
    let report = aws.check().await;
    assert_eq!(report.status, Status::Pending);
    assert!(report.waiting[0].contains("once the RDS API names the same writer"), "{report:?}");
    assert_eq!(aws.writes(), Vec::<String>::new());
    aws.writer_per_rds("orders-2");
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn rds_is_asked_again_after_five_seconds() {
    let aws = moved();
    aws.writer_per_rds("orders-1");
    aws.check().await;
    let asked = aws.calls(Action::DescribeDBClusters);
    assert_eq!(asked.len(), 2, "in the six seconds between the confirmation and the bound");
    assert_eq!(asked[1].at - asked[0].at, RDS_RECHECK_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn rds_vetoes_registering_a_draining_target() {
    let aws = moved();
    aws.holds(&[ONE, "10.0.2.20~"]);
    aws.writer_per_rds("orders-1");
    assert_eq!(aws.check().await.status, Status::Pending);
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn rds_does_not_veto_a_new_registration() {
    let aws = moved();
    aws.holds(&[ONE]);
    aws.writer_per_rds("orders-1");
    assert_eq!(aws.check().await.status, Status::Pending);
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
}

#[tokio::test(start_paused = true)]
async fn failover_is_followed_without_the_rds_api() {
    for fault in [ApiFault::Hangs, ApiFault::Denied, ApiFault::Throttled, ApiFault::ServerError] {
        let aws = moved();
        aws.writer_per_rds("orders-1");
        aws.always(Action::DescribeDBClusters, Some(fault));
        assert_eq!(aws.check().await.status, Status::Updated, "{fault:?}");
        settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}

#[tokio::test(start_paused = true)]
async fn rds_is_not_asked_where_it_has_no_veto() {
    let aws = FakeAws::new();
    aws.check().await;
    aws.resolves_to(&[TWO]);
    aws.check().await;
    assert_eq!(aws.count(Action::DescribeDBClusters), 0, "no CNAME, no member, no question");
}

#[tokio::test(start_paused = true)]
async fn cluster_of_the_same_name_elsewhere_vetoes_nothing() {
    let aws = moved();
    aws.state().is_namesake = true;
    aws.writer_per_rds("orders-1");
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
}

#[tokio::test(start_paused = true)]
async fn unknown_cluster_vetoes_nothing() {
    let aws = moved();
    aws.state().clusters.clear();
    assert_eq!(aws.check().await.status, Status::Updated);
}

/// A real clock has no exact ties: every call takes some milliseconds.
#[tokio::test(start_paused = true)]
async fn silent_rds_api_does_not_block_deregistration() {
    for confirm in [4, 6, 20] {
        for poll in [100, 500, 2_000] {
            for mode in [Mode::Check, Mode::Watch] {
                let aws = moved();
                aws.state().latency = Duration::from_millis(7);
                aws.always(Action::DescribeDBClusters, Some(ApiFault::Hangs));
                aws.always(Action::DescribeDBInstances, Some(ApiFault::Hangs));
                let timing = Timing {
                    confirm: seconds(confirm),
                    poll: Duration::from_millis(poll),
                    watch: seconds(3 * confirm + 1),
                };
                let mut report = aws.reconcile_at(timing, mode, seconds(120)).await;
                if mode == Mode::Check && report.status == Status::Pending {
                    report = aws.reconcile_at(timing, mode, seconds(120)).await;
                }
                assert_eq!(report.status, Status::Updated, "{timing:?} {mode:?} {report:?}");
                assert_eq!(aws.writes(), ["DeregisterTargets 10.0.1.10:5432"]);
            }
        }
    }
}

/// The task that looks for candidates gets an answer, and the loop's own question, which ends later, gets none.
#[tokio::test(start_paused = true)]
async fn question_without_an_answer_does_not_replace_an_answer() {
    let aws = moved();
    aws.writer_per_rds("orders-1");
    aws.state().latency = Duration::from_millis(100);
    // The task asks at the start and after 10 s, the loop after 8 s.
    let mut asked = 0;
    aws.state().chooser = Some(Box::new(move |action| {
        asked += usize::from(action == Action::DescribeDBClusters);
        (action == Action::DescribeDBClusters && asked == 2).then_some(ApiFault::Hangs)
    }));
    let timing = Timing { confirm: seconds(8), watch: seconds(60), ..TIMING };
    aws.reconcile_at(timing, Mode::Watch, seconds(120)).await;
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn disagreement_that_has_ended_blocks_nothing() {
    let (aws, log) = (FakeAws::new(), Log::open());
    aws.promote("orders-1");
    aws.writer_per_rds("orders-2");
    later(&aws, 5, |aws| aws.writer_per_rds("orders-1"));
    later(&aws, 60, |aws| aws.holds(&[ONE, "10.0.3.30"]));
    aws.watch().await;
    assert_eq!(aws.writes().last().map(String::as_str), Some("DeregisterTargets 10.0.3.30:5432"));
    assert!(!log.decisions().contains(&"veto".to_owned()), "{:?}", log.decisions());
}

#[tokio::test(start_paused = true)]
async fn vetoed_watch_lists_no_more_often_than_any_other() {
    let aws = moved();
    aws.writer_per_rds("orders-1");
    let timing = Timing { watch: seconds(120), ..TIMING };
    let report = aws.reconcile_at(timing, Mode::Watch, seconds(200)).await;
    assert_eq!(report.status, Status::Pending, "{report:?}");
    assert!(aws.count(Action::DescribeDBClusters) >= 15, "the veto is renewed");
    let lists = aws.count(Action::DescribeTargetHealth);
    assert!(lists <= 6, "every 30 s, not {lists} times in two minutes");
}
