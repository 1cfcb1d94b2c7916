//! The first bytes of a connection to a load balancer. Nothing logs in.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::doctor::{Handshake, Outcome, Protocol, Reply, SSL_REQUEST, is_complete, parse_answer};
use crate::error::{Error, ErrorKind as Kind};

/// How much of an answer is read. A greeting has some hundred bytes.
const MAX_ANSWER: usize = 4096;
/// A load balancer has one address in each zone.
const MAX_ADDRESSES: usize = 16;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time limit of the connection. Linux repeats a lost packet after one second, and again after two more.
    pub connect: Duration,
    /// Time limit of the server's first bytes. MySQL may look up the client's name before it speaks.
    pub answer: Duration,
    /// Time limit of a second attempt, and of a server that probably waits for the client.
    pub again: Duration,
}

pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), answer: Duration::from_secs(6), again: Duration::from_secs(3) };

pub async fn shake(
    host: &str,
    port: u16,
    expected: Protocol,
    limits: Limits,
    deadline: Instant,
) -> Handshake {
    let replies = match addresses(host, port, deadline).await {
        Err(error) => Err(error.into()),
        Ok(addresses) => {
            let attempts = addresses.into_iter().map(async |address| Reply {
                address: address.ip(),
                from: source(address),
                outcome: timeout_at(deadline, attempt(host, address, expected, limits))
                    .await
                    .unwrap_or(Outcome::Unfinished),
            });
            Ok(join_all(attempts).await)
        }
    };
    Handshake { host: host.to_owned(), port, replies }
}

async fn addresses(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
    let failed = |kind| {
        let fix = "check the name, and that this computer's name servers resolve public names";
        Error::new(kind, format!("resolve {host}")).with_fix(fix)
    };
    let found = timeout_at(deadline, lookup_host((host, port))).await;
    let found = found.map_err(|_| failed(Kind::DeadlineExceeded))?;
    let mut addresses: Vec<SocketAddr> =
        found.map_err(|error| failed(Kind::NoAnswer).with_source(error))?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

/// The address of this computer towards that one. Connecting a UDP socket sends nothing.
fn source(address: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

async fn attempt(host: &str, address: SocketAddr, expected: Protocol, limits: Limits) -> Outcome {
    let outcome = match connect(address, limits).await {
        Err(outcome) => return outcome,
        Ok(_) if expected == Protocol::Other => return Outcome::Connected,
        Ok(stream) => converse(stream, expected, limits).await,
    };
    if !matches!(outcome, Outcome::Closed | Outcome::Silent) {
        return outcome;
    }
    // A TLS listener understands nothing but a ClientHello.
    match say_hello(host, address, limits).await {
        Ok(Outcome::Tls) => Outcome::Tls,
        _ => outcome,
    }
}

async fn connect(address: SocketAddr, limits: Limits) -> Result<TcpStream, Outcome> {
    let connected = timeout(limits.connect, TcpStream::connect(address)).await;
    connected.map_err(|_| Outcome::TimedOut)?.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => Outcome::TimedOut,
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Outcome::Refused,
        _ => Outcome::Unreachable(error.to_string()),
    })
}

async fn converse(mut stream: TcpStream, expected: Protocol, limits: Limits) -> Outcome {
    let (greeting, answer) = match expected {
        Protocol::Mysql => (limits.answer, limits.again),
        _ => (limits.again, limits.answer),
    };
    if expected != Protocol::Postgres {
        let outcome = listen(&mut stream, expected, greeting).await;
        if outcome != Outcome::Silent {
            return outcome;
        }
    }
    match stream.write_all(&SSL_REQUEST).await {
        Ok(()) => listen(&mut stream, expected, answer).await,
        Err(_) => Outcome::Closed,
    }
}

async fn say_hello(host: &str, address: SocketAddr, limits: Limits) -> io::Result<Outcome> {
    let hello = client_hello(host).map_err(io::Error::other)?;
    let mut stream = timeout(limits.connect, TcpStream::connect(address)).await??;
    stream.write_all(&hello).await?;
    Ok(listen(&mut stream, Protocol::Unknown, limits.again).await)
}

/// The first message of a TLS client. What comes back is not verified: that it is TLS is all that counts.
fn client_hello(host: &str) -> Result<Vec<u8>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| rustls::Error::General("no name for TLS".into()))?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name)?
        .write_tls(&mut hello)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(hello)
}

async fn listen(stream: &mut TcpStream, expected: Protocol, limit: Duration) -> Outcome {
    let mut answer = Vec::new();
    let reading = async {
        while stream.read_buf(&mut answer).await? > 0
            && !is_complete(&answer, expected)
            && answer.len() < MAX_ANSWER
        {}
        Ok::<_, io::Error>(())
    };
    let in_time = timeout(limit, reading).await.is_ok();
    if answer.is_empty() && !in_time { Outcome::Silent } else { parse_answer(&answer, expected) }
}

#[cfg(test)]
mod tests;
