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
async fn transient_error_is_retried_by_the_sdk() {
    for fault in TRANSIENT.into_iter().filter(|fault| *fault != ApiFault::Garbage) {
        let aws = FakeAws::new();
        let groups = groups_with(&aws, fault).await;
        aws.next(Action::RegisterTargets, &[fault]);
        groups.register(permit().await, GROUP, &targets(&["10.0.2.20:5432"])).await.unwrap();
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432", "{fault:?}");
    }
}

#[tokio::test]
async fn change_with_an_unclear_attempt_has_an_unknown_outcome() {
    for fault in TRANSIENT.into_iter().filter(|fault| *fault != ApiFault::Garbage) {
        let aws = FakeAws::new();
        let groups = groups_with(&aws, fault).await;
        aws.next(Action::RegisterTargets, &[fault]);
        aws.next(Action::DeregisterTargets, &[fault]);
        let is_refused = fault == ApiFault::Throttled;
        let expected = if is_refused { Attempts::AllKnown } else { Attempts::SomeUnknown };
        let registered = groups.register(permit().await, GROUP, &targets(&["10.0.2.20:5432"])).await;
        assert_eq!(registered.unwrap(), expected, "{fault:?}, then a retry that is accepted");
        let one = targets(&["10.0.1.10:5432"]);
        let error = groups.deregister(permit().await, GROUP, &one).await.unwrap_err();
        assert_eq!(error.is_outcome_unknown(), !is_refused, "{fault:?}: {}", error.explain());
        assert!(groups.deregister(permit().await, GROUP, &one).await.is_ok());
    }
    let aws = FakeAws::new();
    aws.always(Action::RegisterTargets, Some(ApiFault::Denied));
    let denied = groups(&aws).await.register(permit().await, GROUP, &targets(&["10.0.2.20:5432"])).await;
    assert!(!denied.unwrap_err().is_outcome_unknown());
}

#[tokio::test]
async fn throttled_call_pauses_routine_calls_only() {
    let aws = FakeAws::new();
    let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(5));
    groups.describe(GROUP).await.unwrap();
    let grant = |priority| timeout(Duration::from_secs(1), groups.permit(priority, Call::Describe));
    assert!(grant(Priority::Routine).await.is_ok());
    aws.next(Action::DescribeTargetHealth, &[ApiFault::Throttled]);
    groups.targets(permit().await, GROUP).await.unwrap();
    assert!(grant(Priority::Failover).await.is_ok());
    assert!(grant(Priority::Routine).await.is_err(), "routine calls pause");
}

#[tokio::test]
async fn lasting_error_is_transient_after_3_attempts() {
    for fault in TRANSIENT {
        let aws = FakeAws::new();
        let groups = groups_with(&aws, fault).await;
        groups.describe(GROUP).await.unwrap();
        aws.always(Action::DescribeTargetHealth, Some(fault));
        let error = groups.targets(permit().await, GROUP).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{fault:?}: {}", error.explain());
        assert!(aws.count(Action::DescribeTargetHealth) <= 3, "{fault:?}");
    }
}

#[tokio::test]
async fn deregistration_is_not_retried_by_the_sdk() {
    for fault in TRANSIENT.into_iter().filter(|fault| *fault != ApiFault::Garbage) {
        let aws = FakeAws::new();
        let groups = groups_with(&aws, fault).await;
        aws.always(Action::DeregisterTargets, Some(fault));
        let error =
            groups.deregister(permit().await, GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{fault:?}: {}", error.explain());
        assert_eq!(aws.count(Action::DeregisterTargets), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn missing_permission_names_the_iam_action() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups.describe(GROUP).await.unwrap();
    for action in [Action::DescribeTargetHealth, Action::RegisterTargets, Action::DeregisterTargets] {
        aws.always(action, Some(ApiFault::Denied));
    }
    let one = targets(&["10.0.2.20:5432"]);
    for (error, action) in [
        (groups.targets(permit().await, GROUP).await.unwrap_err(), "DescribeTargetHealth"),
        (groups.register(permit().await, GROUP, &one).await.unwrap_err(), "RegisterTargets"),
        (groups.deregister(permit().await, GROUP, &one).await.unwrap_err(), "DeregisterTargets"),
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
