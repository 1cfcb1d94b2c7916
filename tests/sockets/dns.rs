use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record as DnsRecord};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use super::*;

/// The fake AWS and the result of one lookup whose first packets meet these faults, and that sends none again for want of
/// time.
async fn lookup_with(faults: &[ApiFault]) -> (FakeAws, Result<Resolution, Error>) {
    let case = async || {
        let aws = FakeAws::new();
        aws.next(Action::Lookup, faults);
        let answer = resolve(&aws).await;
        (aws, answer)
    };
    undisturbed(case).await
}

#[tokio::test]
async fn one_lookup_gives_the_address_and_the_chain_of_names() {
    let (aws, answer) = lookup_with(&[]).await;
    let answer = answer.unwrap();
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
    let (aws, answer) = lookup_with(&[ApiFault::Truncated; 5]).await;
    assert_eq!(answer.unwrap().addresses.to_string(), ONE);
    assert_eq!(transports(&aws), ["udp", "tcp"]);
}

#[tokio::test]
async fn malformed_answer_is_fetched_over_tcp() {
    let (aws, answer) = lookup_with(&[ApiFault::Garbage]).await;
    assert_eq!(answer.unwrap().addresses.to_string(), ONE);
    assert_eq!(transports(&aws), ["udp", "tcp"]);
}

#[tokio::test]
async fn alias_without_its_target_is_followed() {
    let (aws, answer) = lookup_with(&[ApiFault::CnameOnly]).await;
    let answer = answer.unwrap();
    assert_eq!(answer.addresses.to_string(), ONE);
    assert_eq!(answer.chain.len(), 2, "{:?}", answer.chain);
    assert_eq!(transports(&aws), ["udp", "udp"], "the name, and what it stands for");
}

#[tokio::test]
async fn missing_name_or_record_is_not_retried() {
    for fault in [ApiFault::NxDomain, ApiFault::NoRecords] {
        let (aws, answer) = lookup_with(&[fault]).await;
        answer.unwrap_err();
        assert_eq!(transports(&aws), ["udp"], "{fault:?}");
    }
}

#[tokio::test]
async fn failing_server_is_asked_once_more() {
    for fault in [ApiFault::ServerError, ApiFault::Denied] {
        let (aws, answer) = lookup_with(&[fault]).await;
        assert_eq!(answer.unwrap().addresses.to_string(), ONE);
        assert_eq!(transports(&aws), ["udp", "udp"], "{fault:?}");

        let (aws, answer) = lookup_with(&[fault; 5]).await;
        answer.unwrap_err();
        assert_eq!(transports(&aws), ["udp", "udp"], "{fault:?}");
    }
}

#[tokio::test]
async fn lost_packet_is_sent_again() {
    // It is sent again after 333 ms, and once more after as long.
    let lost = async || {
        let aws = FakeAws::new();
        aws.next(Action::Lookup, &[ApiFault::Hangs]);
        assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);
        aws
    };
    let aws = undisturbed_within(Duration::from_millis(600), lost).await;
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
async fn refusal_is_the_reason_if_the_other_server_is_silent() {
    let (refusing, silent) = (FakeAws::new(), FakeAws::new());
    refusing.always(Action::Lookup, Some(ApiFault::Denied));
    silent.always(Action::Lookup, Some(ApiFault::Hangs));
    let alone = resolve(&refusing).await.unwrap_err().explain();
    let (refusing, silent) = (refusing.serve_dns().await, silent.serve_dns().await);
    for servers in [[refusing, silent], [silent, refusing]] {
        let both = DnsClient::new(Some(&servers)).unwrap();
        assert_eq!(both.resolve(ENDPOINT, Family::V4).await.unwrap_err().explain(), alone);
    }
}

#[tokio::test]
async fn second_name_server_is_not_asked_while_the_first_answers() {
    let counts = undisturbed(async || {
        let (first, second) = (FakeAws::new(), FakeAws::new());
        let servers = [first.serve_dns().await, second.serve_dns().await];
        DnsClient::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V4).await.unwrap();
        (first.count(Action::Lookup), second.count(Action::Lookup))
    });
    assert_eq!(counts.await, (1, 0));
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

#[tokio::test]
async fn missing_target_of_an_alias_is_named() {
    for (target, reason) in [
        (None, "gone.example.com, where its aliases lead, does not exist (NXDOMAIN)"),
        (Some(addresses(&[])), "gone.example.com, where its aliases lead, has no such record"),
    ] {
        let aws = FakeAws::new();
        aws.state().zone.insert("db.example.com".into(), Record::Cname("gone.example.com".into()));
        if let Some(target) = target {
            aws.state().zone.insert("gone.example.com".into(), target);
        }
        let servers = [aws.serve_dns().await];
        let answer = DnsClient::new(Some(&servers)).unwrap().resolve("db.example.com", Family::V4).await;
        let message_text = answer.unwrap_err().explain();
        assert!(message_text.contains("resolve db.example.com (A)"), "{message_text}");
        assert!(message_text.contains(reason), "{message_text}");
    }
}

#[tokio::test]
async fn record_of_the_other_family_is_ignored() {
    let aws = FakeAws::new();
    let member = "orders-1.abc123.us-east-1.rds.amazonaws.com";
    aws.state().stowaway = Some((member.into(), addresses(&["fd00::1"])));
    assert_eq!(resolve(&aws).await.unwrap().addresses.to_string(), ONE);

    aws.state().stowaway = Some((member.into(), addresses(&[ONE])));
    let servers = [aws.serve_dns().await];
    let answer = DnsClient::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V6).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::NoAnswer);
}

/// Over UDP, and over TCP where UDP truncates the answer.
#[tokio::test]
async fn loop_or_dead_end_lets_the_next_server_answer() {
    let alias = |target: &str| Record::Cname(target.to_owned());
    for fault in [None, Some(ApiFault::Truncated)] {
        for zone in [
            vec![(ENDPOINT, alias(ENDPOINT))],
            vec![(ENDPOINT, alias("b.example.com")), ("b.example.com", alias(ENDPOINT))],
            vec![(ENDPOINT, alias("gone.example.com"))],
            vec![(ENDPOINT, alias("empty.example.com")), ("empty.example.com", addresses(&[]))],
        ] {
            let (first, second) = (FakeAws::new(), FakeAws::new());
            first.always(Action::Lookup, fault);
            first.state().zone = zone.into_iter().map(|(name, record)| (name.to_owned(), record)).collect();
            let servers = [first.serve_dns().await, second.serve_dns().await];
            let answer = DnsClient::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V4).await;
            assert_eq!(answer.unwrap().addresses.to_string(), ONE, "{fault:?}");
        }
    }
}

/// A name server that answers each query over UDP or TCP as the function says, or not.
async fn serve<F>(answer: F) -> SocketAddr
where
    F: Fn(&Message, bool) -> Option<Message> + Clone + Send + Sync + 'static,
{
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let over_udp = answer.clone();
    tokio::spawn(async move {
        let mut query = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut query).await {
            if let Some(reply) = over_udp(&Message::from_vec(&query[..length]).unwrap(), true) {
                udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    stream.read_exact(&mut query).await.unwrap();
                    if let Some(reply) = answer(&Message::from_vec(&query).unwrap(), false) {
                        let reply = reply.to_vec().unwrap();
                        stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                        stream.write_all(&reply).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.id, query.op_code);
    reply.add_queries(query.queries.clone());
    reply.metadata.response_code = code;
    if code == ResponseCode::NoError {
        let address = RData::A(ONE.parse().unwrap());
        reply.add_answer(DnsRecord::from_rdata(query.queries[0].name().clone(), 5, address));
    }
    reply
}

#[tokio::test]
async fn name_server_that_rejects_or_drops_edns_answers() {
    let codes = [ResponseCode::FormErr, ResponseCode::NotImp, ResponseCode::BADVERS];
    for rejection in codes.map(Some).into_iter().chain([None]) {
        let server = serve(move |query, _| match query.edns {
            Some(_) => rejection.map(|code| reply(query, code)),
            None => Some(reply(query, ResponseCode::NoError)),
        });
        let servers = DnsClient::new(Some(&[server.await])).unwrap();
        let answer = servers.resolve(ENDPOINT, Family::V4).await;
        assert_eq!(answer.unwrap().addresses.to_string(), ONE, "{rejection:?}");
    }
}

#[tokio::test]
async fn lost_udp_slows_one_lookup_and_not_the_next() {
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let server = serve(move |query, is_udp| {
        if is_udp {
            counted.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        Some(reply(query, ResponseCode::NoError))
    });
    let servers = DnsClient::new(Some(&[server.await])).unwrap();
    servers.resolve(ENDPOINT, Family::V4).await.unwrap();
    let over_udp = asked.load(Ordering::SeqCst);
    assert!(over_udp > 0);
    let started = Instant::now();
    for _ in 0..5 {
        assert_eq!(servers.resolve(ENDPOINT, Family::V4).await.unwrap().addresses.to_string(), ONE);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(asked.load(Ordering::SeqCst), over_udp);
}

#[tokio::test]
async fn lost_tcp_brings_udp_back_in_the_same_lookup() {
    let lookups = Arc::<AtomicUsize>::default();
    let done = Arc::clone(&lookups);
    // TCP alone works for the first lookup, and UDP alone for the second.
    let server = serve(move |query, is_udp| {
        (is_udp == (done.load(Ordering::SeqCst) > 0)).then(|| reply(query, ResponseCode::NoError))
    });
    let servers = DnsClient::new(Some(&[server.await])).unwrap();
    for _ in 0..2 {
        assert_eq!(servers.resolve(ENDPOINT, Family::V4).await.unwrap().addresses.to_string(), ONE);
        lookups.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn failing_server_over_tcp_alone_is_asked_once_more() {
    let asked = Arc::<AtomicUsize>::default();
    let server = serve(move |query, is_udp| {
        let code = match asked.fetch_add(usize::from(!is_udp), Ordering::SeqCst) {
            0 => ResponseCode::ServFail,
            _ => ResponseCode::NoError,
        };
        (!is_udp).then(|| reply(query, code))
    });
    let servers = DnsClient::new(Some(&[server.await])).unwrap();
    assert_eq!(servers.resolve(ENDPOINT, Family::V4).await.unwrap().addresses.to_string(), ONE);
}
