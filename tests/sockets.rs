//! The adapters, over loopback sockets, with what name servers and the AWS APIs send on a bad day.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use rds_nlb_sync::budget::Budget;
use rds_nlb_sync::dns::NameServers;
use rds_nlb_sync::elb::LoadBalancing;
use rds_nlb_sync::fault::{Fault, Kind};
use rds_nlb_sync::plan::{Family, State};
use rds_nlb_sync::rds::Rds;
use rds_nlb_sync::reconcile::{Answer, Call, Clusters, Dns, Instance, TargetGroups, Urgency};
use tokio::time::timeout;

use crate::world::{Action, ENDPOINT, GROUP, ONE, Record, THREE, TWO, Trouble, World, addresses};

async fn resolve(world: &World) -> Result<Answer, Fault> {
    let servers = [world.serve_dns().await];
    NameServers::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V4).await
}

/// What each lookup came over.
fn transports(world: &World) -> Vec<String> {
    let calls = world.calls(Action::Lookup).into_iter();
    calls.filter_map(|call| call.detail.split(' ').nth(1).map(str::to_owned)).collect()
}

/// The settings of the SDK's clients: those of the function, but with less patience.
macro_rules! client {
    ($sdk:ident, $world:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
                .endpoint_url(format!("http://{}", $world.serve_aws().await))
                .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
                .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
                .build(),
        )
    };
}
const ATTEMPT: Duration = Duration::from_millis(300);

async fn groups(world: &World) -> LoadBalancing {
    LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, world), Budget::unlimited())
}

fn targets(list: &[&str]) -> BTreeSet<SocketAddr> {
    list.iter().map(|target| target.parse().unwrap()).collect()
}

mod dns {
    use super::*;

    #[tokio::test]
    async fn one_question_brings_the_address_and_the_names_on_the_way() {
        let world = World::new();
        let answer = resolve(&world).await.unwrap();
        assert_eq!(answer.writer.to_string(), ONE);
        assert_eq!(answer.chain, [ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"]);
        assert_eq!(world.count(Action::Lookup), 1);
    }

    #[tokio::test]
    async fn nothing_is_cached() {
        let world = World::new();
        let servers = [world.serve_dns().await];
        let servers = NameServers::new(Some(&servers)).unwrap();
        servers.resolve(ENDPOINT, Family::V4).await.unwrap();
        world.promote("orders-2");
        let answer = servers.resolve(ENDPOINT, Family::V4).await.unwrap();
        assert_eq!(answer.writer.to_string(), TWO);
    }

    #[tokio::test]
    async fn the_name_is_asked_for_as_given_without_a_search_suffix() {
        let world = World::new();
        world.state().zone.clear();
        resolve(&world).await.unwrap_err();
        let names: BTreeSet<String> =
            world.calls(Action::Lookup).into_iter().map(|call| call.detail).collect();
        assert_eq!(names, BTreeSet::from([format!("{ENDPOINT}. udp")]));
    }

    #[tokio::test]
    async fn an_ipv6_group_asks_for_ipv6_addresses() {
        let world = World::new();
        world.resolves_to(&["fd00::20", ONE]);
        let servers = [world.serve_dns().await];
        let answer = NameServers::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V6).await.unwrap();
        assert_eq!(answer.writer.to_string(), "fd00::20");
    }

    #[tokio::test]
    async fn every_way_not_to_answer_is_told_apart_and_names_the_endpoint_and_the_cure() {
        for (trouble, reason) in [
            (Trouble::NxDomain, "NXDOMAIN"),
            (Trouble::NoRecords, "an empty answer"),
            (Trouble::ServerError, "SERVFAIL"),
            (Trouble::Denied, "REFUSED"),
            (Trouble::TruncatedAlways, "truncated"),
            (Trouble::Garbage, "not usable"),
            (Trouble::Hangs, "in time"),
        ] {
            let world = World::new();
            world.always(Action::Lookup, Some(trouble));
            let fault = resolve(&world).await.unwrap_err();
            assert_eq!(fault.kind(), Kind::NoAnswer);
            let told = fault.explain();
            assert!(
                told.contains(reason) && told.contains(ENDPOINT) && told.contains("Cure:"),
                "{trouble:?}: {told}"
            );
            let packets = world.count(Action::Lookup);
            assert!(packets <= 10, "{trouble:?} is bounded, not {packets} packets");
        }
    }

    #[tokio::test]
    async fn an_answer_too_long_for_udp_comes_over_tcp() {
        let world = World::new();
        world.always(Action::Lookup, Some(Trouble::Truncated));
        assert_eq!(resolve(&world).await.unwrap().writer.to_string(), ONE);
        assert_eq!(transports(&world), ["udp", "tcp"]);
    }

    #[tokio::test]
    async fn garbage_over_udp_is_cured_by_tcp() {
        let world = World::new();
        world.next(Action::Lookup, &[Trouble::Garbage]);
        assert_eq!(resolve(&world).await.unwrap().writer.to_string(), ONE);
        assert_eq!(transports(&world), ["udp", "tcp"]);
    }

    #[tokio::test]
    async fn an_alias_that_comes_alone_is_followed() {
        let world = World::new();
        world.next(Action::Lookup, &[Trouble::AliasAlone, Trouble::AliasAlone]);
        let answer = resolve(&world).await.unwrap();
        assert_eq!(answer.writer.to_string(), ONE);
        assert_eq!(answer.chain.len(), 2, "{:?}", answer.chain);
        assert_eq!(transports(&world), ["udp", "tcp", "tcp"], "the name, again, and what it stands for");
    }

    #[tokio::test]
    async fn a_server_that_answers_is_asked_once_whatever_it_says() {
        for trouble in [Trouble::NxDomain, Trouble::NoRecords, Trouble::ServerError, Trouble::Denied] {
            let world = World::new();
            world.always(Action::Lookup, Some(trouble));
            resolve(&world).await.unwrap_err();
            assert_eq!(transports(&world), ["udp"], "{trouble:?}");
        }
    }

    #[tokio::test]
    async fn a_lost_packet_costs_a_retry() {
        let world = World::new();
        world.next(Action::Lookup, &[Trouble::Hangs]);
        assert_eq!(resolve(&world).await.unwrap().writer.to_string(), ONE);
    }

    #[tokio::test]
    async fn a_dead_name_server_beside_a_good_one_does_no_harm() {
        let (dead, good) = (World::new(), World::new());
        dead.always(Action::Lookup, Some(Trouble::Hangs));
        let servers = [dead.serve_dns().await, good.serve_dns().await];
        let servers = NameServers::new(Some(&servers)).unwrap();
        assert_eq!(servers.resolve(ENDPOINT, Family::V4).await.unwrap().writer.to_string(), ONE);
    }

    #[tokio::test]
    async fn a_failing_name_server_beside_a_good_one_does_no_harm_either() {
        for trouble in [Trouble::ServerError, Trouble::Denied, Trouble::Garbage, Trouble::TruncatedAlways] {
            let (failing, good) = (World::new(), World::new());
            failing.always(Action::Lookup, Some(trouble));
            good.state().latency = Duration::from_millis(20);
            let servers = [failing.serve_dns().await, good.serve_dns().await];
            let servers = NameServers::new(Some(&servers)).unwrap();
            assert_eq!(
                servers.resolve(ENDPOINT, Family::V4).await.unwrap().writer.to_string(),
                ONE,
                "{trouble:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_second_name_server_is_left_alone_while_the_first_answers() {
        let (first, second) = (World::new(), World::new());
        let servers = [first.serve_dns().await, second.serve_dns().await];
        NameServers::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V4).await.unwrap();
        assert_eq!((first.count(Action::Lookup), second.count(Action::Lookup)), (1, 0));
    }

    #[tokio::test]
    async fn several_addresses_are_told_as_they_are() {
        let world = World::new();
        world.resolves_to(&[ONE, TWO]);
        assert_eq!(resolve(&world).await.unwrap().writer.to_string(), "10.0.1.10, 10.0.2.20");
    }

    #[tokio::test]
    async fn a_chain_without_an_end_is_no_answer() {
        let world = World::new();
        world.state().zone.insert(ENDPOINT.into(), Record::Cname(ENDPOINT.into()));
        assert_eq!(resolve(&world).await.unwrap_err().kind(), Kind::NoAnswer);
    }

    #[tokio::test]
    async fn records_of_other_names_in_the_answer_are_ignored() {
        let world = World::new();
        world.state().stowaway = Some(("intruder.example.com".into(), addresses(&[THREE])));
        assert_eq!(resolve(&world).await.unwrap().writer.to_string(), ONE);
    }

    #[tokio::test]
    async fn a_public_address_names_the_cure() {
        let world = World::new();
        world.resolves_to(&["52.1.2.3"]);
        let told = resolve(&world).await.unwrap_err().explain();
        assert!(told.contains("52.1.2.3, a public address") && told.contains("SubnetIds"), "{told}");
    }

    #[tokio::test]
    async fn an_alias_of_ones_own_is_followed_to_the_member() {
        let world = World::new();
        world.state().zone.insert("db.example.com".into(), Record::Cname(ENDPOINT.into()));
        let servers = [world.serve_dns().await];
        let answer =
            NameServers::new(Some(&servers)).unwrap().resolve("DB.example.com.", Family::V4).await.unwrap();
        let names = ["db.example.com", ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"];
        assert_eq!(answer.chain, names);
    }
}

mod target_groups {
    use super::*;

    #[tokio::test]
    async fn are_described_once_and_then_known() {
        let world = World::new();
        let groups = groups(&world).await;
        for _ in 0..3 {
            let group = groups.describe(GROUP).await.unwrap();
            assert_eq!((group.family, group.port), (Family::V4, 5432));
        }
        assert_eq!(world.count(Action::DescribeTargetGroups), 1);
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
            let world = World::new();
            world.group(|group| (group.target_type, group.protocol) = (target_type, protocol));
            let fault = groups(&world).await.describe(GROUP).await.unwrap_err();
            let told = fault.explain();
            assert!(told.contains(GROUP) && told.contains(what), "{told}");
            assert_eq!(fault.kind(), Kind::Permanent);
        }
    }

    #[tokio::test]
    async fn without_a_port_are_refused() {
        let world = World::new();
        world.group(|group| group.port = 0);
        let told = groups(&world).await.describe(GROUP).await.unwrap_err().explain();
        assert!(told.contains("it has no port"), "{told}");
    }

    #[tokio::test]
    async fn are_listed_only_when_it_is_their_turn() {
        let world = World::new();
        let api = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, world), Budget::new(1));
        let turn = async || timeout(Duration::ZERO, api.turn(Urgency::Routine, Call::Describe)).await;
        let mut turns = 0;
        while turns < 100 && turn().await.is_ok() {
            turns += 1;
        }
        assert_eq!(turns, 6, "six seconds' worth at once");
    }

    #[tokio::test]
    async fn with_tls_tcp_udp_or_ipv6_are_accepted() {
        for protocol in ["TCP", "TLS", "TCP_UDP"] {
            let world = World::new();
            world.group(|group| (group.protocol, group.address_type) = (protocol, "ipv6"));
            assert_eq!(groups(&world).await.describe(GROUP).await.unwrap().family, Family::V6);
        }
    }

    #[tokio::test]
    async fn that_do_not_exist_are_named() {
        let world = World::new();
        world.state().groups.clear();
        let told = groups(&world).await.describe(GROUP).await.unwrap_err().explain();
        assert!(told.contains("TargetGroupNotFound") && told.contains(GROUP), "{told}");
    }

    #[tokio::test]
    async fn show_every_state() {
        let world = World::new();
        let states =
            ["initial", "healthy", "unhealthy", "unused", "unavailable", "draining", "unhealthy.draining"];
        world.group(|group| {
            for (port, state) in (1..).zip(states) {
                let target = group.targets.values().next().unwrap().clone();
                group.targets.insert(
                    SocketAddr::new(ONE.parse().unwrap(), port),
                    crate::world::Target { state: Some(state), ..target },
                );
            }
        });
        let listed = groups(&world).await.targets(GROUP).await.unwrap();
        for (port, state) in (1..).zip(states) {
            let expected = match state {
                "initial" => State::Initial,
                "unhealthy" => State::Unhealthy,
                state if state.contains("draining") => State::Draining,
                _ => State::Active,
            };
            assert_eq!(listed[&SocketAddr::new(ONE.parse().unwrap(), port)], expected, "{state}");
        }
    }

    #[tokio::test]
    async fn take_addresses_outside_the_vpc_in_all_zones_and_only_those() {
        let world = World::new();
        let groups = groups(&world).await;
        groups
            .register(GROUP, &targets(&["10.0.2.20:5432", "192.168.7.7:5432", "172.16.1.1:5432"]))
            .await
            .unwrap();
        let zones = |address: &str| world.state().groups[GROUP].targets[&address.parse().unwrap()].all_zones;
        assert!(!zones("10.0.2.20:5432"));
        assert!(zones("192.168.7.7:5432") && zones("172.16.1.1:5432"));
    }

    #[tokio::test]
    async fn are_changed_with_the_port_that_was_asked_for() {
        let world = World::new();
        let groups = groups(&world).await;
        groups.register(GROUP, &targets(&["10.0.2.20:6432"])).await.unwrap();
        groups.deregister(GROUP, &targets(&["10.0.1.10:5432"])).await.unwrap();
        assert_eq!(world.targets(), "10.0.1.10:5432~ 10.0.2.20:6432");
    }

    #[tokio::test]
    async fn are_changed_a_hundred_targets_at_a_time() {
        let world = World::new();
        let many: BTreeSet<SocketAddr> =
            (1..=250).map(|n| SocketAddr::new(TWO.parse().unwrap(), n)).collect();
        let groups = groups(&world).await;
        groups.register(GROUP, &many).await.unwrap();
        groups.deregister(GROUP, &many).await.unwrap();
        assert_eq!((world.count(Action::RegisterTargets), world.count(Action::DeregisterTargets)), (3, 3));
    }
}

mod api_trouble {
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
}

mod clusters {
    use super::*;

    async fn rds(world: &World) -> Rds {
        Rds::new(client!(aws_sdk_rds, world))
    }

    #[tokio::test]
    async fn list_their_members_and_the_writer() {
        let cluster = rds(&World::new()).await.cluster("orders").await.unwrap().unwrap();
        assert_eq!(cluster.contradicts("orders-2"), Some("orders-1"));
        assert_eq!(cluster.contradicts("orders-1"), None);
    }

    #[tokio::test]
    async fn say_when_they_fail_over() {
        let world = World::new();
        assert!(!rds(&world).await.cluster("orders").await.unwrap().unwrap().is_failing_over);
        world.state().failing_over = true;
        assert!(rds(&world).await.cluster("orders").await.unwrap().unwrap().is_failing_over);
    }

    #[tokio::test]
    async fn that_do_not_exist_are_none() {
        let rds = rds(&World::new()).await;
        assert_eq!(rds.cluster("billing").await.unwrap(), None);
        assert_eq!(rds.instance("billing").await.unwrap(), None);
    }

    #[tokio::test]
    async fn have_instances_with_a_name_of_their_own() {
        let world = World::new();
        let member = rds(&world).await.instance("orders-2").await.unwrap().unwrap();
        let endpoint = Some("orders-2.abc123.us-east-1.rds.amazonaws.com".to_owned());
        assert_eq!(
            member,
            Instance {
                endpoint,
                status: "storage-optimization".to_owned(),
                is_multi_az: false,
                cluster: Some("orders".to_owned())
            }
        );
        let alone = crate::world::Instance { multi_az: true, ..Default::default() };
        world.state().instances.insert("billing".to_owned(), alone);
        let alone = rds(&world).await.instance("billing").await.unwrap().unwrap();
        assert_eq!(
            alone,
            Instance { status: "storage-optimization".to_owned(), is_multi_az: true, ..Instance::default() }
        );
    }

    #[tokio::test]
    async fn without_permission_name_it() {
        let world = World::new();
        world.always(Action::DescribeDBClusters, Some(Trouble::Denied));
        let told = rds(&world).await.cluster("orders").await.unwrap_err().explain();
        assert!(told.contains("allow rds:DescribeDBClusters"), "{told}");
        world.always(Action::DescribeDBInstances, Some(Trouble::Denied));
        let told = rds(&world).await.instance("orders-2").await.unwrap_err().explain();
        assert!(told.contains("allow rds:DescribeDBInstances"), "{told}");
    }
}

mod refusals {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// An API that gives every call the same answer.
    struct Says {
        status: u16,
        body: String,
    }

    impl Says {
        async fn serve_aws(&self) -> SocketAddr {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let Self { status, body } = self;
            let length = body.len();
            let reply = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n{body}");
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let reply = reply.clone();
                    tokio::spawn(async move {
                        while matches!(stream.read(&mut [0; 8192]).await, Ok(1..)) {
                            stream.write_all(reply.as_bytes()).await.unwrap();
                        }
                    });
                }
            });
            address
        }
    }

    async fn fault(status: u16, code: &str) -> Fault {
        let error = format!("<Error><Code>{code}</Code><Message>some words</Message></Error>");
        let says = Says { status, body: format!("<ErrorResponse>{error}</ErrorResponse>") };
        let groups = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, says), Budget::unlimited());
        groups.describe(GROUP).await.unwrap_err()
    }

    #[tokio::test]
    async fn are_told_in_the_services_own_words_and_tried_again_where_that_may_help() {
        let allow = "allow elasticloadbalancing:DescribeTargetGroups";
        let again = "it is tried again";
        for (status, code, kind, told) in [
            (400, "AccessDenied", Kind::Permanent, allow),
            (400, "AccessDeniedException", Kind::Permanent, allow),
            (400, "UnauthorizedOperation", Kind::Permanent, allow),
            (403, "SignatureDoesNotMatch", Kind::Permanent, allow),
            (400, "Throttling", Kind::Transient, again),
            (400, "ThrottlingException", Kind::Transient, again),
            (400, "RequestLimitExceeded", Kind::Transient, again),
            (400, "TooManyRequestsException", Kind::Transient, again),
            (400, "RequestThrottled", Kind::Transient, again),
            (429, "Slower", Kind::Transient, again),
            (500, "InternalFailure", Kind::Transient, again),
            (503, "ServiceUnavailable", Kind::Transient, again),
            (400, "ValidationError", Kind::Permanent, ""),
            (404, "NotFound", Kind::Permanent, ""),
        ] {
            let fault = fault(status, code).await;
            assert_eq!(fault.kind(), kind, "{status} {code}: {}", fault.explain());
            let cure = if told.is_empty() { String::new() } else { format!(". Cure: {told}") };
            let start = format!("could not describe the target group {GROUP}: {code}: some words{cure}");
            assert!(fault.explain().starts_with(&start), "{}", fault.explain());
            assert_eq!(fault.explain().contains("Cure"), !told.is_empty(), "{}", fault.explain());
        }
    }

    #[tokio::test]
    async fn without_a_code_go_by_the_status_and_say_what_was_not_understood() {
        for (status, kind) in
            [(403, Kind::Permanent), (404, Kind::Permanent), (500, Kind::Transient), (200, Kind::Transient)]
        {
            let says = Says { status, body: "<html/>".to_owned() };
            let groups =
                LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, says), Budget::unlimited());
            let fault = groups.describe(GROUP).await.unwrap_err();
            assert_eq!(fault.kind(), kind, "{status}: {}", fault.explain());
            let told = format!("could not understand the answer, of HTTP status {status}");
            assert!(fault.explain().contains(&told), "{status}: {}", fault.explain());
            assert_eq!(fault.explain().contains("allow"), status == 403, "{status}: {}", fault.explain());
        }
    }

    #[tokio::test]
    async fn of_a_group_called_credentials_are_not_about_credentials() {
        let says = Says { status: 500, body: "<html/>".to_owned() };
        let groups = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, says), Budget::unlimited());
        let fault = groups.describe(&GROUP.replace("orders", "credentials")).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Transient, "{}", fault.explain());
    }

    #[tokio::test]
    async fn for_want_of_credentials_are_permanent_and_say_so() {
        let configuration = aws_sdk_elasticloadbalancingv2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:9");
        let client = aws_sdk_elasticloadbalancingv2::Client::from_conf(configuration.build());
        let fault = LoadBalancing::new(client, Budget::unlimited()).describe(GROUP).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Permanent, "{}", fault.explain());
        assert!(fault.explain().contains("give the function a role"), "{}", fault.explain());
    }
}
