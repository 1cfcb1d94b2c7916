//! The name server of the fake AWS, on a loopback socket, over UDP and TCP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record as DnsRecord, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;

use super::malformed;
use super::witness::{Origin, Via, What};
use super::{Action, FakeAws, Fault, Record};

/// RDS's zones.
const TTL: u32 = 5;

/// How long a connection over TCP stays open without an answer. A client gives up on the answer sooner.
const SILENCE: Duration = Duration::from_secs(2);

enum Reply {
    Bytes(Vec<u8>),
    Nothing,
}

impl FakeAws {
    /// Serves the zone until the process ends, and returns the address.
    pub async fn serve_dns(&self) -> SocketAddr {
        self.serve_dns_to(Origin::default()).await
    }

    /// Serves the zone, as the name server of this number gives it, to one process.
    pub async fn serve_dns_to(&self, origin: Origin) -> SocketAddr {
        // A free UDP port need not be free for TCP: try until one is free for both.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a loopback socket");
            let address = udp.local_addr().expect("a bound socket");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("a bound socket");
        let aws = self.clone();
        tokio::spawn(async move {
            let udp = std::sync::Arc::new(udp);
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let (aws, udp, query) = (aws.clone(), udp.clone(), buffer[..length].to_vec());
                tokio::spawn(async move {
                    let origin = Origin { via: Via::Udp, ..origin };
                    if let Reply::Bytes(bytes) = aws.answer(&query, origin).await {
                        let _ = udp.send_to(&bytes, from).await;
                    }
                });
            }
        });
        let aws = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(serve_stream(aws.clone(), stream, Origin { via: Via::Tcp, ..origin }));
            }
        });
        address
    }

    async fn answer(&self, query: &[u8], origin: Origin) -> Reply {
        let udp = origin.via != Via::Tcp;
        let Ok(query) = Message::from_vec(query) else { return Reply::Nothing };
        let Some(question) = query.queries.first().cloned() else { return Reply::Nothing };
        let name = question.name().to_ascii();
        let (call, fault, latency) = {
            let mut state = self.state();
            let (call, fault) = state.begin_at(origin, Action::Lookup, &name, query.id);
            (call, fault, state.lookup_latency.unwrap_or(state.latency))
        };
        let answered = |outcome: &str| {
            self.state().notify(origin, call, Action::Lookup, What::Answered { outcome });
        };
        // The shortest sleep lasts for a millisecond.
        if !latency.is_zero() {
            sleep(latency).await;
        }
        let mut reply = Message::response(query.id, query.op_code);
        reply.metadata.message_type = MessageType::Response;
        reply.metadata.recursion_desired = query.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        let fails_with = match fault {
            Some(Fault::Hangs | Fault::Stalls | Fault::TimesOut) => return Reply::Nothing,
            Some(Fault::Garbage) => {
                let mut bytes = query.id.to_be_bytes().to_vec();
                bytes.extend([0xff; 60]);
                answered("malformed");
                return Reply::Bytes(bytes);
            }
            Some(Fault::Malformed(number)) => {
                answered("malformed");
                return Reply::Bytes(malformed::of_dns(number, &query));
            }
            Some(Fault::Slow(time)) => {
                sleep(time).await;
                None
            }
            Some(Fault::ServerError | Fault::Reset | Fault::AnswerLost | Fault::TakesEffectLate) => {
                Some(ResponseCode::ServFail)
            }
            Some(Fault::Denied | Fault::Throttled) => Some(ResponseCode::Refused),
            Some(Fault::NxDomain) => Some(ResponseCode::NXDomain),
            Some(Fault::NoRecords) => Some(ResponseCode::NoError),
            Some(
                Fault::Truncated
                | Fault::TruncatedAlways
                | Fault::CnameOnly
                | Fault::Several
                | Fault::Public
                | Fault::Loopback
                | Fault::LinkLocal
                | Fault::AnswerLate(_),
            )
            | None => None,
        };
        let is_cut = fault == Some(Fault::TruncatedAlways) || (fault == Some(Fault::Truncated) && udp);
        if let Some(code) = fails_with {
            reply.metadata.response_code = code;
            answered(&format!("{code:?}"));
        } else {
            let mut found = match fault.and_then(impossible_answer) {
                Some(list) => {
                    list.iter().for_each(|address| add(&mut reply, &name, (*address).into()));
                    list
                }
                None => self.fill(&mut reply, origin.server, &name, question.query_type()),
            };
            reply.metadata.truncation = is_cut;
            let is_alias_alone = fault == Some(Fault::CnameOnly) && reply.answers.len() > 1;
            if is_cut || fault == Some(Fault::CnameOnly) {
                reply.answers.truncate(1);
                found.retain(|address| {
                    !is_cut && reply.answers.iter().any(|record| record.data.ip_addr() == Some(*address))
                });
            }
            self.state().notify(origin, call, Action::Lookup, What::Found(&found));
            if let Some(Fault::AnswerLate(time)) = fault {
                sleep(time).await;
            }
            answered(match reply.metadata.response_code {
                _ if is_cut => "truncated",
                ResponseCode::NoError if is_alias_alone => "alias",
                ResponseCode::NoError => "ok",
                _ => "NXDomain",
            });
        }
        Reply::Bytes(reply.to_vec().expect("an encodable reply"))
    }

    /// Returns the addresses.
    fn fill(&self, reply: &mut Message, server: usize, name: &str, kind: RecordType) -> Vec<IpAddr> {
        let (found, stowaway) = {
            let mut state = self.state();
            (state.find_at(server, name, kind == RecordType::AAAA), state.stowaway.clone())
        };
        if let Some((name, Record::Addresses(list))) = stowaway {
            list.into_iter().for_each(|address| add(reply, &name, address.into()));
        }
        for pair in found.chain.windows(2) {
            add(reply, &pair[0], RData::CNAME(CNAME(fully_qualified(&pair[1]))));
        }
        let last = found.chain.last().expect("never empty");
        match found.addresses {
            None => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                Vec::new()
            }
            Some(list) => {
                list.iter().for_each(|address| add(reply, last, (*address).into()));
                list
            }
        }
    }
}

/// The addresses that the fault puts in place of the zone's.
fn impossible_answer(fault: Fault) -> Option<Vec<IpAddr>> {
    let addresses: &[[u8; 4]] = match fault {
        Fault::Several => &[[10, 0, 1, 10], [10, 0, 2, 20]],
        Fault::Public => &[[52, 1, 2, 3]],
        Fault::Loopback => &[[127, 0, 0, 1]],
        Fault::LinkLocal => &[[169, 254, 169, 254]],
        _ => return None,
    };
    Some(addresses.iter().map(|octets| IpAddr::from(*octets)).collect())
}

fn add(reply: &mut Message, name: &str, record: RData) {
    reply.add_answer(DnsRecord::from_rdata(fully_qualified(name), TTL, record));
}

fn fully_qualified(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    name
}

async fn serve_stream(aws: FakeAws, mut stream: TcpStream, origin: Origin) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).await.is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        match aws.answer(&query, origin).await {
            Reply::Bytes(bytes) => {
                let mut framed = u16::try_from(bytes.len()).expect("a short reply").to_be_bytes().to_vec();
                framed.extend(bytes);
                if stream.write_all(&framed).await.is_err() {
                    return;
                }
            }
            Reply::Nothing => return sleep(SILENCE).await,
        }
    }
}
