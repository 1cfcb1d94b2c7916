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
async fn target_group_of_wrong_kind_is_refused_by_name() {
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

#[tokio::test]
async fn listing_waits_for_a_permit() {
    let aws = FakeAws::new();
    let api = Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::new(1));
    let permit = async || timeout(Duration::ZERO, api.permit(Priority::Routine, Call::Describe)).await;
    let mut permits = 0;
    while permits < 100 && permit().await.is_ok() {
        permits += 1;
    }
    assert_eq!(permits, 6, "six seconds' worth at once");
}

#[tokio::test]
async fn target_group_with_tls_tcp_udp_or_ipv6_is_accepted() {
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
}

#[tokio::test]
async fn every_target_state_is_read() {
    let aws = FakeAws::new();
    let states =
        ["initial", "healthy", "unhealthy", "unused", "unavailable", "draining", "unhealthy.draining"];
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
    let listed = groups.targets(groups.immediate_permit(), GROUP).await.unwrap();
    for (port, state) in (1..).zip(states) {
        let expected = match state {
            "initial" => TargetState::Initial,
            "unhealthy" => TargetState::Unhealthy,
            state if state.contains("draining") => TargetState::Draining,
            _ => TargetState::Active,
        };
        assert_eq!(listed[&SocketAddr::new(ONE.parse().unwrap(), port)], expected, "{state}");
    }
}

#[tokio::test]
async fn addresses_outside_the_vpc_are_registered_in_all_zones() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups
        .register(
            groups.immediate_permit(),
            GROUP,
            &targets(&["10.0.2.20:5432", "192.168.7.7:5432", "172.16.1.1:5432"]),
        )
        .await
        .unwrap();
    let zones = |address: &str| aws.state().groups[GROUP].targets[&address.parse().unwrap()].all_zones;
    assert!(!zones("10.0.2.20:5432"));
    assert!(zones("192.168.7.7:5432") && zones("172.16.1.1:5432"));
}

#[tokio::test]
async fn changes_use_the_bindings_port() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups.register(groups.immediate_permit(), GROUP, &targets(&["10.0.2.20:6432"])).await.unwrap();
    groups.deregister(groups.immediate_permit(), GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap();
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:6432");
}

#[tokio::test]
async fn changes_are_sent_in_hundreds_of_targets() {
    let aws = FakeAws::new();
    let many: BTreeSet<SocketAddr> = (1..=250).map(|n| SocketAddr::new(TWO.parse().unwrap(), n)).collect();
    let groups = groups(&aws).await;
    groups.register(groups.immediate_permit(), GROUP, &many).await.unwrap();
    groups.deregister(groups.immediate_permit(), GROUP, &many).await.unwrap();
    assert_eq!((aws.count(Action::RegisterTargets), aws.count(Action::DeregisterTargets)), (3, 3));
}
