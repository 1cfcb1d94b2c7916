//! A name server that answers with anything, over UDP and TCP.

use std::net::SocketAddr;

use rds_nlb_sync::dns::{DnsClient, LOOKUP_TIMEOUT};
use rds_nlb_sync::error::ErrorKind;
use rds_nlb_sync::plan::Family;
use rds_nlb_sync::reconcile::Resolve;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use testkit::ENDPOINT;

/// The address that only packets with a wrong id or about another name bring.
const FORGED: [u8; 4] = [10, 66, 6, 6];
const A: u16 = 1;
const CNAME: u16 = 5;

#[tokio::test]
async fn hostile_name_server_answers_are_bounded_and_explained() {
    every_case(|case, rng| async move {
        let mut server = JoinSet::new();
        let address = serve(&mut server, rng).await;
        let servers = DnsClient::new(Some(&[address])).unwrap();
        let asked = Instant::now();
        let answer = servers.resolve(ENDPOINT, Family::V4).await;
        match &answer {
            Ok(answer) => {
                assert_eq!(answer.chain[0], ENDPOINT, "CASE={case}");
                assert!(answer.chain.len() <= 10, "CASE={case}: {} names", answer.chain.len());
                let forged = std::net::IpAddr::from(FORGED);
                assert!(answer.addresses.iter().all(|address| address != forged), "CASE={case} is forged");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoAnswer, "CASE={case}");
                is_well_formed(case, error, ENDPOINT);
            }
        }
        assert!(asked.elapsed() < LOOKUP_TIMEOUT + SLACK, "CASE={case} took {:?}", asked.elapsed());
        answer.is_ok()
    })
    .await;
}

/// Serves until the set is dropped.
async fn serve(tasks: &mut JoinSet<()>, rng: Rng) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a loopback socket");
        let address = udp.local_addr().expect("a bound socket");
        if let Ok(tcp) = TcpListener::bind(address).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().expect("a bound socket");
    let mut dice = rng.clone();
    tasks.spawn(async move {
        let mut query = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut query).await {
            for mut packet in replies(&mut dice, &query[..length]) {
                // The longest that UDP carries.
                packet.truncate(65_507);
                let _ = udp.send_to(&packet, from).await;
            }
        }
    });
    let mut dice = rng;
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).await.is_err() {
                continue;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).await.is_err() {
                continue;
            }
            for packet in replies(&mut dice, &query) {
                let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
                // Sometimes the length is a lie; then the connection ends.
                let claimed = if dice.u8(..10) == 0 { dice.u16(..) } else { length };
                let _ = stream.write_all(&claimed.to_be_bytes()).await;
                let _ = stream.write_all(&packet[..usize::from(length)]).await;
            }
        }
    });
    address
}

/// A message under construction: its bytes, and where the question's name stands.
struct Reply(Vec<u8>);

impl Reply {
    /// The head and the question of a valid answer.
    fn to(query: &[u8]) -> Self {
        let mut bytes = query.get(..2).unwrap_or_default().to_vec();
        bytes.extend([0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
        // The name ends with an empty label, and its type and class follow.
        let question = query.get(12..).unwrap_or_default();
        let end = question.iter().position(|byte| *byte == 0).map_or(0, |end| end + 5);
        bytes.extend(question.get(..end).unwrap_or_default());
        Self(bytes)
    }

    /// Adds an answer, with these bytes for its name.
    fn add(&mut self, name: &[u8], kind: u16, data: &[u8]) {
        let count = u16::from_be_bytes([self.0[6], self.0[7]]).wrapping_add(1);
        self.0[6..8].copy_from_slice(&count.to_be_bytes());
        self.0.extend(name);
        self.0.extend(kind.to_be_bytes());
        self.0.extend([0, 1, 0, 0, 0, 5]);
        self.0.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
        self.0.extend(data);
    }

    /// A name that points at this position.
    fn pointer(at: usize) -> [u8; 2] {
        (0xc000 | u16::try_from(at & 0x3fff).expect("14 bits")).to_be_bytes()
    }

    /// A CNAME and its address, as RDS answers.
    fn valid(query: &[u8], address: [u8; 4]) -> Self {
        let mut reply = Self::to(query);
        let member = b"\x08orders-1\x06abc123\x09us-east-1\x03rds\x09amazonaws\x03com\x00";
        let at = reply.0.len() + 12;
        reply.add(&Self::pointer(12), CNAME, member);
        reply.add(&Self::pointer(at), A, &address);
        reply
    }
}

fn noise(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.usize(..=longest)];
    rng.fill(&mut bytes);
    bytes
}

/// Labels of random bytes, up to the 255 that a name may have and beyond.
fn name(rng: &mut Rng) -> Vec<u8> {
    let mut name = Vec::new();
    for _ in 0..rng.usize(1..7) {
        let label = noise(rng, 63);
        name.push(u8::try_from(label.len()).expect("at most 63"));
        name.extend(label);
    }
    name.push(0);
    name
}

/// The packets in reply to a query: none, one, or many.
fn replies(rng: &mut Rng, query: &[u8]) -> Vec<Vec<u8>> {
    if query.len() < 12 {
        return Vec::new();
    }
    let mut reply = Reply::valid(query, [10, 0, 1, 10]);
    match rng.u8(..14) {
        0..3 => {
            let from = if rng.bool() { 2 } else { 12 };
            mutate(rng, &mut reply.0, from);
        }
        3 => {
            reply.0.truncate(2);
            reply.0.extend(noise(rng, 700));
        }
        4 => reply.0.truncate(rng.usize(..reply.0.len())),
        5 => {
            // Pointers to themselves, to what follows, and round in circles.
            reply = Reply::to(query);
            let at = reply.0.len();
            for hop in 0..rng.usize(1..40) {
                let to = *rng.choice(&[at, at + 12 * hop, at + 12 * (hop + 1), 12, 0, 0x3fff]).expect("one");
                let kind = if rng.bool() { A } else { CNAME };
                let data = Reply::pointer(*rng.choice(&[to, at]).expect("one"));
                reply.add(&Reply::pointer(to), kind, &data);
            }
        }
        6 => {
            let field = 4 + 2 * rng.usize(..4);
            reply.0[field..field + 2].fill(0xff);
        }
        7 => {
            // As many addresses as a message holds.
            reply = Reply::to(query);
            for number in 0..rng.u16(2..4090) {
                let [high, low] = number.to_be_bytes();
                reply.add(&Reply::pointer(12), A, &[10, 1, high, low]);
            }
        }
        8 => {
            // CNAMEs upon CNAMEs, to the end, to nowhere, or back to the start.
            reply = Reply::to(query);
            let mut at = 12;
            for _ in 0..rng.usize(1..200) {
                let next = reply.0.len() + 12;
                let target = if rng.u8(..30) == 0 { Reply::pointer(12).to_vec() } else { name(rng) };
                reply.add(&Reply::pointer(at), CNAME, &target);
                at = next;
            }
            reply.add(&Reply::pointer(at), A, &[10, 0, 1, 10]);
        }
        9 => {
            reply = Reply::to(query);
            let data = noise(rng, 40);
            reply.add(&Reply::pointer(12), *rng.choice(&[A, CNAME, 28, 6, 16, 41]).expect("one"), &data);
        }
        10 => {
            // An attacker guesses ids. Over TCP there is nothing to guess.
            let mut packets = Vec::new();
            for _ in 0..rng.usize(..30) {
                let mut forged = Reply::valid(query, FORGED).0;
                forged[0] ^= rng.u8(1..);
                packets.push(forged);
            }
            packets.push(reply.0);
            return packets;
        }
        11 => {
            // The right id, about another name.
            reply = Reply::valid(query, FORGED);
            let letter = reply.0[14];
            reply.0[14] = if letter == b'x' { b'y' } else { b'x' };
        }
        12 => return Vec::new(),
        _ => {
            let length = rng.usize(..65_536);
            reply.0.extend(std::iter::repeat_with(|| rng.u8(..)).take(length));
        }
    }
    vec![reply.0]
}
