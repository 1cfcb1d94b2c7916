use super::*;

#[tokio::test]
async fn are_described_once_and_then_known() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    for _ in 0..3 {
        let group = groups.describe(GROUP).await.unwrap();
        assert_eq!((group.family, group.port), (Family::V4, 5432));
    }
    assert_eq!(aws.count(Action::DescribeTargetGroups), 1);
}

#[tokio::test]
async fn that_cannot_carry_a_database_are_refused_by_name() {
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
async fn without_a_port_are_refused() {
    let aws = FakeAws::new();
    aws.group(|group| group.port = 0);
    let message_text = groups(&aws).await.describe(GROUP).await.unwrap_err().explain();
    assert!(message_text.contains("it has no port"), "{message_text}");
}

#[tokio::test]
async fn are_listed_only_when_it_is_their_turn() {
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
async fn with_tls_tcp_udp_or_ipv6_are_accepted() {
    for protocol in ["TCP", "TLS", "TCP_UDP"] {
        let aws = FakeAws::new();
        aws.group(|group| (group.protocol, group.address_type) = (protocol, "ipv6"));
        assert_eq!(groups(&aws).await.describe(GROUP).await.unwrap().family, Family::V6);
    }
}

#[tokio::test]
async fn that_do_not_exist_are_named() {
    let aws = FakeAws::new();
    aws.state().groups.clear();
    let message_text = groups(&aws).await.describe(GROUP).await.unwrap_err().explain();
    assert!(message_text.contains("TargetGroupNotFound") && message_text.contains(GROUP), "{message_text}");
}

#[tokio::test]
async fn show_every_state() {
    let aws = FakeAws::new();
    let states =
        ["initial", "healthy", "unhealthy", "unused", "unavailable", "draining", "unhealthy.draining"];
    aws.group(|group| {
        for (port, state) in (1..).zip(states) {
            let target = group.targets.values().next().unwrap().clone();
            group.targets.insert(
                SocketAddr::new(ONE.parse().unwrap(), port),
                crate::testkit::Target { state: Some(state), ..target },
            );
        }
    });
    let listed = groups(&aws).await.targets(GROUP).await.unwrap();
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
async fn take_addresses_outside_the_vpc_in_all_zones_and_only_those() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups
        .register(GROUP, &targets(&["10.0.2.20:5432", "192.168.7.7:5432", "172.16.1.1:5432"]))
        .await
        .unwrap();
    let zones = |address: &str| aws.state().groups[GROUP].targets[&address.parse().unwrap()].all_zones;
    assert!(!zones("10.0.2.20:5432"));
    assert!(zones("192.168.7.7:5432") && zones("172.16.1.1:5432"));
}

#[tokio::test]
async fn are_changed_with_the_port_that_was_asked_for() {
    let aws = FakeAws::new();
    let groups = groups(&aws).await;
    groups.register(GROUP, &targets(&["10.0.2.20:6432"])).await.unwrap();
    groups.deregister(GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap();
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:6432");
}

#[tokio::test]
async fn are_changed_a_hundred_targets_at_a_time() {
    let aws = FakeAws::new();
    let many: BTreeSet<SocketAddr> = (1..=250).map(|n| SocketAddr::new(TWO.parse().unwrap(), n)).collect();
    let groups = groups(&aws).await;
    groups.register(GROUP, &many).await.unwrap();
    groups.deregister(GROUP, &many).await.unwrap();
    assert_eq!((aws.count(Action::RegisterTargets), aws.count(Action::DeregisterTargets)), (3, 3));
}
