use super::*;

#[tokio::test]
async fn one_lookup_gives_the_address_and_the_chain_of_names() {
    let aws = FakeAws::new();
    let answer = resolve(&aws).await.unwrap();
    assert_eq!(answer.addresses.to_string(), ONE);
    assert_eq!(answer.chain, [ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"]);
    assert_eq!(aws.count(Action::Lookup), 1);
}

#[tokio::test]
async fn answers_are_not_cached() {
    let aws = FakeAws::new();
    let servers = [aws.serve_dns().await];
    let servers = DnsClient::new(Some(&servers)).unwrap();
    servers.resolve(ENDPOINT, Family::V4).await.unwrap();
    aws.promote("orders-2");
    let answer = servers.resolve(ENDPOINT, Family::V4).await.unwrap();
    assert_eq!(answer.addresses.to_string(), TWO);
}

#[tokio::test]
async fn name_is_looked_up_as_given_without_a_search_suffix() {
    let aws = FakeAws::new();
    aws.state().zone.clear();
    resolve(&aws).await.unwrap_err();
    let names: BTreeSet<String> = aws.calls(Action::Lookup).into_iter().map(|call| call.detail).collect();
    assert_eq!(names, BTreeSet::from([format!("{ENDPOINT}. udp")]));
}

#[tokio::test]
async fn ipv6_group_looks_up_ipv6_addresses() {
    let aws = FakeAws::new();
    aws.resolves_to(&["fd00::20", ONE]);
    let servers = [aws.serve_dns().await];
    let answer = DnsClient::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V6).await.unwrap();
    assert_eq!(answer.addresses.to_string(), "fd00::20");
}

#[tokio::test]
async fn each_failed_lookup_names_endpoint_reason_and_fix() {
    for (fault, reason) in [
        (ApiFault::NxDomain, "NXDOMAIN"),
        (ApiFault::NoRecords, "an empty answer"),
        (ApiFault::ServerError, "SERVFAIL"),
        (ApiFault::Denied, "REFUSED"),
        (ApiFault::TruncatedAlways, "truncated"),
        (ApiFault::Garbage, "not usable"),
        (ApiFault::Hangs, "in time"),
    ] {
        let aws = FakeAws::new();
        aws.always(Action::Lookup, Some(fault));
        let error = resolve(&aws).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoAnswer);
        let message_text = error.explain();
        assert!(
            message_text.contains(reason) && message_text.contains(ENDPOINT) && message_text.contains("Fix:"),
            "{fault:?}: {message_text}"
        );
        let packets = aws.count(Action::Lookup);
        assert!(packets <= 10, "{fault:?} is bounded, not {packets} packets");
    }
}

#[tokio::test]
async fn truncated_answer_is_fetched_over_tcp() {
    let aws = FakeAws::new();
    aws.always(Action::Lookup, Some(ApiFault::Truncated));
    assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);
    assert_eq!(transports(&aws), ["udp", "tcp"]);
}

#[tokio::test]
async fn malformed_answer_is_fetched_over_tcp() {
    let aws = FakeAws::new();
    aws.next(Action::Lookup, &[ApiFault::Garbage]);
    assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);
    assert_eq!(transports(&aws), ["udp", "tcp"]);
}

#[tokio::test]
async fn alias_without_its_target_is_followed() {
    let aws = FakeAws::new();
    aws.next(Action::Lookup, &[ApiFault::CnameOnly]);
    let answer = resolve(&aws).await.unwrap();
    assert_eq!(answer.addresses.to_string(), ONE);
    assert_eq!(answer.chain.len(), 2, "{:?}", answer.chain);
    assert_eq!(transports(&aws), ["udp", "udp"], "the name, and what it stands for");
}

#[tokio::test]
async fn missing_name_or_record_is_not_retried() {
    for fault in [ApiFault::NxDomain, ApiFault::NoRecords] {
        let aws = FakeAws::new();
        aws.next(Action::Lookup, &[fault]);
        resolve(&aws).await.unwrap_err();
        assert_eq!(transports(&aws), ["udp"], "{fault:?}");
    }
}

#[tokio::test]
async fn failing_server_is_asked_once_more() {
    for fault in [ApiFault::ServerError, ApiFault::Denied] {
        let aws = FakeAws::new();
        aws.next(Action::Lookup, &[fault]);
        assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);
        assert_eq!(transports(&aws), ["udp", "udp"], "{fault:?}");

        let aws = FakeAws::new();
        aws.always(Action::Lookup, Some(fault));
        resolve(&aws).await.unwrap_err();
        assert_eq!(transports(&aws), ["udp", "udp"], "{fault:?}");
    }
}

#[tokio::test]
async fn lost_packet_is_sent_again() {
    let aws = FakeAws::new();
    aws.next(Action::Lookup, &[ApiFault::Hangs]);
    assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);
    assert_eq!(transports(&aws), ["udp", "udp"]);
}

#[tokio::test]
async fn silent_name_server_does_not_stop_the_next() {
    let (dead, good) = (FakeAws::new(), FakeAws::new());
    dead.always(Action::Lookup, Some(ApiFault::Hangs));
    let servers = [dead.serve_dns().await, good.serve_dns().await];
    let servers = DnsClient::new(Some(&servers)).unwrap();
    assert_eq!(servers.resolve(ENDPOINT, Family::V4).await.unwrap().addresses.to_string(), ONE);
}

#[tokio::test]
async fn failing_name_server_does_not_stop_the_next() {
    for fault in [ApiFault::ServerError, ApiFault::Denied, ApiFault::Garbage, ApiFault::TruncatedAlways] {
        let (failing, good) = (FakeAws::new(), FakeAws::new());
        failing.always(Action::Lookup, Some(fault));
        good.state().latency = Duration::from_millis(20);
        let servers = [failing.serve_dns().await, good.serve_dns().await];
        let servers = DnsClient::new(Some(&servers)).unwrap();
        assert_eq!(
            servers.resolve(ENDPOINT, Family::V4).await.unwrap().addresses.to_string(),
            ONE,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn second_name_server_is_not_asked_while_the_first_answers() {
    let (first, second) = (FakeAws::new(), FakeAws::new());
    let servers = [first.serve_dns().await, second.serve_dns().await];
    DnsClient::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V4).await.unwrap();
    assert_eq!((first.count(Action::Lookup), second.count(Action::Lookup)), (1, 0));
}

#[tokio::test]
async fn several_addresses_are_all_returned() {
    let aws = FakeAws::new();
    aws.resolves_to(&[ONE, TWO]);
    assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), "10.0.1.10, 10.0.2.20");
}

#[tokio::test]
async fn endless_aliases_are_no_answer() {
    let aws = FakeAws::new();
    aws.state().zone.insert(ENDPOINT.into(), Record::Cname(ENDPOINT.into()));
    assert_eq!(resolve(&aws).await.unwrap_err().kind(), ErrorKind::NoAnswer);
}

#[tokio::test]
async fn records_of_other_names_are_ignored() {
    let aws = FakeAws::new();
    aws.state().stowaway = Some(("intruder.example.com".into(), addresses(&[THREE])));
    assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);
}

#[tokio::test]
async fn public_address_names_the_fix() {
    let aws = FakeAws::new();
    aws.resolves_to(&["52.1.2.3"]);
    let message_text = resolve(&aws).await.unwrap_err().explain();
    assert!(
        message_text.contains("52.1.2.3, a public address") && message_text.contains("SubnetIds"),
        "{message_text}"
    );
}

#[tokio::test]
async fn own_alias_is_followed_to_the_member() {
    let aws = FakeAws::new();
    aws.state().zone.insert("db.example.com".into(), Record::Cname(ENDPOINT.into()));
    let servers = [aws.serve_dns().await];
    let answer =
        DnsClient::new(Some(&servers)).unwrap().resolve("DB.example.com.", Family::V4).await.unwrap();
    let names = ["db.example.com", ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"];
    assert_eq!(answer.chain, names);
}
