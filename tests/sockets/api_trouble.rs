use super::*;

const TRANSIENT: [Trouble; 6] = [
    Trouble::Throttled,
    Trouble::ServerError,
    Trouble::Reset,
    Trouble::AnswerLost,
    Trouble::Hangs,
    Trouble::Garbage,
];

#[tokio::test]
async fn of_a_moment_is_retried_by_the_sdk() {
    for trouble in TRANSIENT.into_iter().filter(|trouble| *trouble != Trouble::Garbage) {
        let world = World::new();
        let groups = groups(&world).await;
        world.next(Action::RegisterTargets, &[trouble]);
        groups.register(GROUP, &targets(&["10.0.2.20:5432"])).await.unwrap();
        assert_eq!(world.targets(), "10.0.1.10:5432 10.0.2.20:5432", "{trouble:?}");
    }
}

#[tokio::test]
async fn holds_up_what_is_routine_and_nothing_else() {
    let world = World::new();
    let groups = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, world), Budget::new(5));
    groups.describe(GROUP).await.unwrap();
    let turn = |urgency| timeout(Duration::from_secs(1), groups.turn(urgency, Call::Describe));
    assert!(turn(Urgency::Routine).await.is_ok());
    world.next(Action::DescribeTargetHealth, &[Trouble::Throttled]);
    groups.targets(GROUP).await.unwrap();
    assert!(turn(Urgency::Failover).await.is_ok());
    assert!(turn(Urgency::Routine).await.is_err(), "it rests for five seconds");
}

#[tokio::test]
async fn that_lasts_is_transient_and_bounded() {
    for trouble in TRANSIENT {
        let world = World::new();
        let groups = groups(&world).await;
        groups.describe(GROUP).await.unwrap();
        world.always(Action::DescribeTargetHealth, Some(trouble));
        let fault = groups.targets(GROUP).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Transient, "{trouble:?}: {}", fault.explain());
        assert!(world.count(Action::DescribeTargetHealth) <= 3, "{trouble:?}");
    }
}

#[tokio::test]
async fn of_a_deregistration_is_never_retried_without_a_fresh_look() {
    for trouble in TRANSIENT.into_iter().filter(|trouble| *trouble != Trouble::Garbage) {
        let world = World::new();
        let groups = groups(&world).await;
        world.always(Action::DeregisterTargets, Some(trouble));
        let fault = groups.deregister(GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Transient, "{trouble:?}: {}", fault.explain());
        assert_eq!(world.count(Action::DeregisterTargets), 1, "{trouble:?}");
    }
}

#[tokio::test]
async fn of_permissions_names_the_action_that_is_missing() {
    let world = World::new();
    let groups = groups(&world).await;
    groups.describe(GROUP).await.unwrap();
    for action in [Action::DescribeTargetHealth, Action::RegisterTargets, Action::DeregisterTargets] {
        world.always(action, Some(Trouble::Denied));
    }
    let one = targets(&["10.0.2.20:5432"]);
    for (fault, action) in [
        (groups.targets(GROUP).await.unwrap_err(), "DescribeTargetHealth"),
        (groups.register(GROUP, &one).await.unwrap_err(), "RegisterTargets"),
        (groups.deregister(GROUP, &one).await.unwrap_err(), "DeregisterTargets"),
    ] {
        assert_eq!(fault.kind(), Kind::Permanent);
        let told = fault.explain();
        assert!(
            told.contains(&format!("allow elasticloadbalancing:{action}")) && told.contains(GROUP),
            "{told}"
        );
    }
}
