use super::*;

const TRANSIENT: [ApiFault; 6] = [
    ApiFault::Throttled,
    ApiFault::ServerError,
    ApiFault::Reset,
    ApiFault::AnswerLost,
    ApiFault::Hangs,
    ApiFault::Garbage,
];

#[tokio::test]
async fn of_a_moment_is_retried_by_the_sdk() {
    for fault in TRANSIENT.into_iter().filter(|fault| *fault != ApiFault::Garbage) {
        let aws = FakeAws::new();
        let groups = groups(&aws).await;
        aws.next(Action::RegisterTargets, &[fault]);
        groups.register(GROUP, &targets(&["10.0.2.20:5432"])).await.unwrap();
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432", "{fault:?}");
    }
}

#[tokio::test]
async fn holds_up_what_is_routine_and_nothing_else() {
    let aws = FakeAws::new();
    let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(5));
    groups.describe(GROUP).await.unwrap();
    let permit = |priority| timeout(Duration::from_secs(1), groups.permit(priority, Call::Describe));
    assert!(permit(Priority::Routine).await.is_ok());
    aws.next(Action::DescribeTargetHealth, &[ApiFault::Throttled]);
    groups.targets(GROUP).await.unwrap();
    assert!(permit(Priority::Failover).await.is_ok());
    assert!(permit(Priority::Routine).await.is_err(), "it rests for five seconds");
}

#[tokio::test]
async fn that_lasts_is_transient_and_bounded() {
    for fault in TRANSIENT {
        let aws = FakeAws::new();
        let groups = groups(&aws).await;
        groups.describe(GROUP).await.unwrap();
        aws.always(Action::DescribeTargetHealth, Some(fault));
        let error = groups.targets(GROUP).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{fault:?}: {}", error.explain());
        assert!(aws.count(Action::DescribeTargetHealth) <= 3, "{fault:?}");
    }
}

#[tokio::test]
async fn of_a_deregistration_is_never_retried_without_a_fresh_look() {
    for fault in TRANSIENT.into_iter().filter(|fault| *fault != ApiFault::Garbage) {
        let aws = FakeAws::new();
        let groups = groups(&aws).await;
        aws.always(Action::DeregisterTargets, Some(fault));
        let error = groups.deregister(GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{fault:?}: {}", error.explain());
        assert_eq!(aws.count(Action::DeregisterTargets), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn of_permissions_names_the_action_that_is_missing() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups.describe(GROUP).await.unwrap();
    for action in [Action::DescribeTargetHealth, Action::RegisterTargets, Action::DeregisterTargets] {
        aws.always(action, Some(ApiFault::Denied));
    }
    let one = targets(&["10.0.2.20:5432"]);
    for (error, action) in [
        (groups.targets(GROUP).await.unwrap_err(), "DescribeTargetHealth"),
        (groups.register(GROUP, &one).await.unwrap_err(), "RegisterTargets"),
        (groups.deregister(GROUP, &one).await.unwrap_err(), "DeregisterTargets"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Permanent);
        let message_text = error.explain();
        assert!(
            message_text.contains(&format!("allow elasticloadbalancing:{action}"))
                && message_text.contains(GROUP),
            "{message_text}"
        );
    }
}
