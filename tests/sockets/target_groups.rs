use rds_nlb_sync::discovery::{Discover as _, TagAge};

use super::*;

#[tokio::test]
async fn target_group_is_described_once() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    for _ in 0..3 {
        let group = groups.describe(GROUP).await.unwrap();
        assert_eq!((group.family, group.port), (Family::V4, 5432));
    }
    assert_eq!(aws.count(Action::DescribeTargetGroups), 1);
}

#[tokio::test]
async fn target_group_of_a_wrong_kind_is_refused_by_name() {
    let refused = [
        ("instance", "TCP"),
        ("alb", "TCP"),
        ("lambda", "TCP"),
        ("ip", "UDP"),
        ("ip", "HTTP"),
        ("ip", "QUIC"),
    ];
    for (target_type, protocol) in refused {
        let what = if target_type == "ip" { protocol } else { target_type };
        let aws = FakeAws::new();
        aws.group(|group| (group.target_type, group.protocol) = (target_type, protocol));
        let error = groups(&aws).await.describe(GROUP).await.unwrap_err();
        let message_text = error.explain();
        assert!(message_text.contains(GROUP) && message_text.contains(what), "{message_text}");
        assert_eq!(error.kind(), ErrorKind::Permanent);
    }
}

#[tokio::test]
async fn target_group_without_a_port_is_refused() {
    let aws = FakeAws::new();
    aws.group(|group| group.port = 0);
    let message_text = groups(&aws).await.describe(GROUP).await.unwrap_err().explain();
    assert!(message_text.contains("it has no port"), "{message_text}");
}

#[tokio::test(start_paused = true)]
async fn routine_permits_are_limited_to_their_burst() {
    let aws = FakeAws::new();
    let api = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(1));
    let granted =
        async || timeout(Duration::ZERO, api.permit(Priority::Routine, Call::Describe)).await.is_ok();
    let mut permits = 0;
    while permits < 100 && granted().await {
        permits += 1;
    }
    assert_eq!(permits, 6, "six seconds' worth at once");
}

#[tokio::test]
async fn target_group_of_tls_tcp_udp_or_ipv6_is_accepted() {
    for protocol in ["TCP", "TLS", "TCP_UDP"] {
        let aws = FakeAws::new();
        aws.group(|group| (group.protocol, group.address_type) = (protocol, "ipv6"));
        assert_eq!(groups(&aws).await.describe(GROUP).await.unwrap().family, Family::V6);
    }
}

#[tokio::test]
async fn missing_target_group_is_named_in_the_error() {
    let aws = FakeAws::new();
    aws.state().groups.clear();
    let message_text = groups(&aws).await.describe(GROUP).await.unwrap_err().explain();
    assert!(message_text.contains("TargetGroupNotFound") && message_text.contains(GROUP), "{message_text}");
    assert!(
        message_text.contains(". Fix: no target group of this account and Region has that ARN"),
        "{message_text}"
    );
}

#[tokio::test]
async fn every_target_state_is_listed() {
    let aws = FakeAws::new();
    let states = [
        "initial",
        "healthy",
        "unhealthy",
        "unused",
        "unavailable",
        "draining",
        "unhealthy.draining",
        "of a later version",
        "",
    ];
    aws.group(|group| {
        for (port, state) in (1..).zip(states) {
            let target = group.targets.values().next().unwrap().clone();
            group.targets.insert(
                SocketAddr::new(ONE.parse().unwrap(), port),
                testkit::Target { state: Some(state), ..target },
            );
        }
    });
    let groups = groups(&aws).await;
    let listed = groups.targets(permit().await, GROUP).await.unwrap();
    for (port, state) in (1..).zip(states) {
        let expected = match state {
            "initial" => TargetState::Initial,
            "unhealthy" | "unhealthy.draining" => TargetState::Unhealthy,
            "draining" => TargetState::Draining,
            "healthy" => TargetState::Healthy,
            "unused" => TargetState::Unused,
            "unavailable" => TargetState::Unavailable,
            _ => TargetState::Unknown,
        };
        assert_eq!(listed[&SocketAddr::new(ONE.parse().unwrap(), port)], expected, "{state}");
    }
}

#[tokio::test]
async fn only_addresses_outside_the_vpc_get_all_zones() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups
        .register(permit().await, GROUP, &targets(&["10.0.2.20:5432", "192.168.7.7:5432", "172.16.1.1:5432"]))
        .await
        .unwrap();
    let zones = |address: &str| aws.state().groups[GROUP].targets[&address.parse().unwrap()].all_zones;
    assert!(!zones("10.0.2.20:5432"));
    assert!(zones("192.168.7.7:5432") && zones("172.16.1.1:5432"));
}

#[tokio::test]
async fn targets_are_changed_with_the_given_port() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups.register(permit().await, GROUP, &targets(&["10.0.2.20:6432"])).await.unwrap();
    groups.deregister(permit().await, GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap();
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:6432");
}

#[tokio::test]
async fn targets_are_changed_in_batches_of_a_hundred() {
    let aws = FakeAws::new();
    let many: BTreeSet<SocketAddr> = (1..=250).map(|n| SocketAddr::new(TWO.parse().unwrap(), n)).collect();
    let groups = groups(&aws).await;
    groups.register(permit().await, GROUP, &many).await.unwrap();
    groups.deregister(permit().await, GROUP, &many).await.unwrap();
    assert_eq!((aws.count(Action::RegisterTargets), aws.count(Action::DeregisterTargets)), (3, 3));
}

/// How many of the writes that may come at once are left.
async fn writes_left(groups: &Elb) -> usize {
    let granted =
        async || timeout(Duration::ZERO, groups.permit(Priority::Failover, Call::Write)).await.is_ok();
    let mut left = 0;
    while left < 100 && granted().await {
        left += 1;
    }
    left
}

#[tokio::test]
async fn every_further_call_of_a_change_takes_a_permit() {
    let many: BTreeSet<SocketAddr> = (1..=1000).map(|n| SocketAddr::new(TWO.parse().unwrap(), n)).collect();
    let two_outside = targets(&["10.0.2.20:5432", "192.168.7.7:5432", "172.16.1.1:5432"]);
    for (name, changed, permits) in
        [("register", &many, 9), ("deregister", &many, 9), ("outside", &two_outside, 2)]
    {
        let aws = FakeAws::new();
        let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(5));
        let started = Instant::now();
        match name {
            "deregister" => groups.deregister(permit().await, GROUP, changed).await.unwrap(),
            _ => drop(groups.register(permit().await, GROUP, changed).await.unwrap()),
        }
        let left = writes_left(&groups).await;
        // Four tokens a second came back meanwhile.
        let refilled = (started.elapsed().as_secs_f64() * 4.0).ceil() as usize;
        assert!(
            (19 - permits..=19 - permits + refilled).contains(&left),
            "{name}: {left}, refilled {refilled}"
        );
    }
}

#[tokio::test]
async fn load_balancers_of_the_account_are_listed_page_by_page() {
    use rds_nlb_sync::doctor::InspectGroups as _;

    let aws = FakeAws::new();
    let api = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(5));
    let expected: Vec<String> = {
        let state = &mut *aws.state();
        let first = state.estate.load_balancers[0].clone();
        for name in ["second", "third"] {
            let mut further = first.clone();
            (further.0.arn, further.0.name) = (format!("{}/{name}", first.0.arn), name.to_owned());
            state.estate.load_balancers.push(further);
        }
        state.page = 2;
        state.estate.load_balancers.iter().map(|(one, ..)| one.name.clone()).collect()
    };
    let names = api.load_balancers(&[]).await.unwrap().into_iter().map(|found| found.name);
    assert_eq!(names.collect::<Vec<_>>(), expected);
    aws.always(Action::DescribeLoadBalancers, Some(ApiFault::Denied));
    let message_text = api.load_balancers(&[]).await.unwrap_err().explain();
    assert!(message_text.starts_with("could not list the load balancers of this account"), "{message_text}");
}

#[tokio::test]
async fn every_call_of_the_doctor_takes_a_routine_permit() {
    use rds_nlb_sync::doctor::InspectGroups as _;

    let aws = FakeAws::new();
    // Six routine calls may come at once.
    let api = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(1));
    let has_permit =
        async || timeout(Duration::ZERO, api.permit(Priority::Routine, Call::Describe)).await.is_ok();
    let load_balancer = testkit::estate::LOAD_BALANCER;
    let started = Instant::now();
    api.group(GROUP).await.unwrap();
    api.attributes(GROUP).await.unwrap();
    api.health(GROUP).await.unwrap();
    api.load_balancers(&[load_balancer.to_owned()]).await.unwrap();
    api.cross_zone(load_balancer).await.unwrap();
    api.listeners(load_balancer).await.unwrap();
    // On a slow machine, one a second has come back.
    for _ in 0..started.elapsed().as_secs() {
        has_permit().await;
    }
    assert!(!has_permit().await);
}

/// An event and a check of a cold process ask at the same time.
#[tokio::test]
async fn callers_at_the_same_time_share_one_scan_of_the_tags() {
    let aws = FakeAws::new();
    let group = aws.tagged("billing", &[("rds-nlb-sync", "billing.example.com")]);
    let groups = groups(&aws).await;
    let tagged = || groups.tagged("rds-nlb-sync", TagAge::Any, Priority::Routine);
    let (one, other) = tokio::join!(tagged(), tagged());
    for tags in [one, other] {
        assert_eq!(tags.unwrap().groups[0].group, group);
    }
    assert_eq!(aws.count(Action::DescribeTags), 1);
}
