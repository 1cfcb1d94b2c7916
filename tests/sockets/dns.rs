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
    let names: BTreeSet<String> = world.calls(Action::Lookup).into_iter().map(|call| call.detail).collect();
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
    world.next(Action::Lookup, &[Trouble::AliasAlone]);
    let answer = resolve(&world).await.unwrap();
    assert_eq!(answer.writer.to_string(), ONE);
    assert_eq!(answer.chain.len(), 2, "{:?}", answer.chain);
    assert_eq!(transports(&world), ["udp", "udp"], "the name, and what it stands for");
}

#[tokio::test]
async fn no_such_name_or_record_is_believed_at_once() {
    for trouble in [Trouble::NxDomain, Trouble::NoRecords] {
        let world = World::new();
        world.next(Action::Lookup, &[trouble]);
        resolve(&world).await.unwrap_err();
        assert_eq!(transports(&world), ["udp"], "{trouble:?}");
    }
}

#[tokio::test]
async fn a_server_that_fails_is_asked_once_more() {
    for trouble in [Trouble::ServerError, Trouble::Denied] {
        let world = World::new();
        world.next(Action::Lookup, &[trouble]);
        assert_eq!(resolve(&world).await.unwrap().writer.to_string(), ONE);
        assert_eq!(transports(&world), ["udp", "udp"], "{trouble:?}");

        let world = World::new();
        world.always(Action::Lookup, Some(trouble));
        resolve(&world).await.unwrap_err();
        assert_eq!(transports(&world), ["udp", "udp"], "{trouble:?}");
    }
}

#[tokio::test]
async fn a_lost_packet_costs_a_retry() {
    let world = World::new();
    world.next(Action::Lookup, &[Trouble::Hangs]);
    assert_eq!(resolve(&world).await.unwrap().writer.to_string(), ONE);
    assert_eq!(transports(&world), ["udp", "udp"]);
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
