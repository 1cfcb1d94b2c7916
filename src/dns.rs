//! The endpoint's address, by `hickory-resolver`. The only module that knows it.
//!
//! Names are looked up as given, fully qualified: no search suffix, no hosts file, no cache of our
//! own. Every lookup is bounded by [`LOOKUP`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsRequestSender, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, Family, InvalidAnswer};
use crate::reconcile::{Resolution, Resolve};

/// What UDP may take; meanwhile the query is sent again every third of a second, [`UDP_SENDS`] times in all. A
/// name server inside a VPC answers within milliseconds.
const UDP: Duration = Duration::from_secs(2);
const UDP_SENDS: u8 = 5;
/// What a connection over TCP may take, and then the query.
const TCP: Duration = Duration::from_secs(1);
/// A whole lookup, over UDP and then over TCP.
pub const LOOKUP: Duration = Duration::from_secs(4);
const DNS_PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many CNAMEs an answer may chain; RDS uses one, a global cluster behind an own name three.
const CHAIN: usize = 8;

/// How long the first name server may take before the next is asked beside it.
const HEDGE_DELAY: Duration = Duration::from_millis(300);

/// The name servers, in the order in which they are asked.
pub struct DnsClient(Vec<NameServer>);

/// A name server. It is asked over UDP, without the resolver: caches, hosts files, search lists and
/// statistics of servers, which are not wanted here, would be half of the work.
struct NameServer {
    address: SocketAddr,
    runtime: TokioRuntimeProvider,
    /// Asks over TCP, where UDP brings nothing usable or not the whole answer.
    tcp: TokioResolver,
}

impl DnsClient {
    /// Asks these servers, or the system's (`/etc/resolv.conf`) where none are given.
    pub fn new(servers: Option<&[SocketAddr]>) -> Result<Self, Error> {
        let servers = match servers {
            Some(servers) => servers.to_vec(),
            None => std::fs::read(RESOLV_CONF)
                .map_err(|error| unreadable(error.into()))
                .and_then(|text| system(&text))?,
        };
        Ok(Self(servers.into_iter().map(NameServer::new).collect::<Result<_, Error>>()?))
    }

    /// Asks one server after the other, the next as soon as one fails or is slow. The first usable
    /// answer counts, and so does word from any of them that there is no such name or record.
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<CnameResolution, NetError> {
        let mut left = self.0.iter();
        let mut asked = FuturesUnordered::new();
        let mut failure = NetError::NoConnections;
        loop {
            asked.extend(left.next().map(|server| server.lookup(name, kind)));
            let wait = if left.len() > 0 { HEDGE_DELAY } else { LOOKUP };
            match timeout(wait, asked.next()).await {
                Ok(Some(Ok(resolution))) => return Ok(resolution),
                Ok(Some(Err(none @ NetError::Dns(DnsError::NoRecordsFound(_))))) => return Err(none),
                Ok(Some(Err(error))) => failure = error,
                Ok(None) if left.len() == 0 => return Err(failure),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

impl NameServer {
    fn new(address: SocketAddr) -> Result<Self, Error> {
        let runtime = TokioRuntimeProvider::default();
        Ok(Self { address, tcp: over_tcp(address, runtime.clone())?, runtime })
    }

    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<CnameResolution, NetError> {
        let over_udp =
            async || timeout(UDP, self.over_udp(name, kind)).await.unwrap_or(Err(NetError::Timeout));
        let mut brought = over_udp().await;
        if let Err(NetError::Dns(DnsError::ResponseCode(_))) = brought {
            // A server that fails or refuses once may answer the next time.
            brought = over_udp().await;
        }
        let error = match brought {
            Ok(resolution) => return Ok(resolution),
            // The server was reached and has answered; another transport brings no other answer.
            Err(error @ NetError::Dns(_)) => return Err(error),
            Err(error) => error,
        };
        // Truncated, malformed, or no answer: what TCP brings counts, but where that fails, UDP explains.
        match self.tcp.lookup(name.clone(), kind).await {
            Ok(lookup) => {
                let mut resolution = CnameResolution::new(name);
                resolution.follow(no_failure(lookup.message())?)?;
                Ok(resolution)
            }
            Err(NetError::Io(_) | NetError::NoConnections | NetError::Timeout) => Err(error),
            Err(error) => Err(error),
        }
    }

    /// Asks for the name, and on for what it stands for where the server gives an alias alone.
    async fn over_udp(&self, name: &Name, kind: RecordType) -> Result<CnameResolution, NetError> {
        let mut resolution = CnameResolution::new(name);
        while resolution.addresses.is_empty() {
            let answer = self.ask(&resolution.at, kind).await?;
            resolution.follow(no_failure(&answer)?)?;
        }
        Ok(resolution)
    }

    /// With a random identifier, and from a random port at each sending.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, NetError> {
        let mut udp = UdpClientStream::builder(self.address, self.runtime.clone())
            .with_timeout(Some(UDP))
            .with_max_retries(UDP_SENDS)
            .build();
        let query = Query::query(name.clone(), kind);
        let request = DnsRequest::from_query(query, DnsRequestOptions::default());
        let answer = DnsError::from_response(udp.send_message(request).first_answer().await?)?;
        if answer.truncation { Err(NetError::Truncated) } else { Ok(answer.into_message()) }
    }
}

fn no_failure(answer: &Message) -> Result<&Message, NetError> {
    match answer.response_code {
        ResponseCode::NoError => Ok(answer),
        code => Err(NetError::Dns(DnsError::ResponseCode(code))),
    }
}

/// Where a name leads: the names on the way, and the addresses at its end.
struct CnameResolution {
    chain: Vec<String>,
    at: Name,
    addresses: Vec<IpAddr>,
}

impl CnameResolution {
    fn new(name: &Name) -> Self {
        Self { chain: vec![label(name)], at: name.clone(), addresses: Vec::new() }
    }

    /// Follows the CNAMEs as far as the answer leads, and takes the addresses there. Other records, whoever
    /// put them there, are not about this name.
    fn follow(&mut self, answer: &Message) -> Result<(), NetError> {
        let before = self.chain.len();
        let here = |record: &&Record, at: &Name| record.name == *at && record.dns_class == DNSClass::IN;
        while let Some(next) = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if here(&record, &self.at) => Some(target.clone()),
            _ => None,
        }) {
            if self.chain.len() > CHAIN {
                return Err(NetError::Message("its aliases have no end"));
            }
            self.chain.push(label(&next));
            self.at = next;
        }
        let addresses = answer.answers.iter().filter(|record| here(record, &self.at));
        let addresses = addresses.filter(|record| matches!(record.data, RData::A(_) | RData::AAAA(_)));
        self.addresses = addresses.filter_map(|record| record.data.ip_addr()).collect();
        if self.addresses.is_empty() && self.chain.len() == before {
            return Err(NetError::Message("it holds no record of the name"));
        }
        Ok(())
    }
}

/// Takes the name servers from a `resolv.conf`, and nothing else: no search suffix and no options.
fn system(text: &[u8]) -> Result<Vec<SocketAddr>, Error> {
    let (system, _) = parse_resolv_conf(text).map_err(|error| unreadable(error.into()))?;
    Ok(system.name_servers().iter().map(|server| SocketAddr::new(server.ip, DNS_PORT)).collect())
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new(ErrorKind::Permanent, format!("read the system's name servers from {RESOLV_CONF}"))
        .with_source(error)
        .with_fix("set NAMESERVERS, such as NAMESERVERS=169.254.169.253 in a VPC")
}

fn over_tcp(server: SocketAddr, runtime: TokioRuntimeProvider) -> Result<TokioResolver, Error> {
    let mut connection = ConnectionConfig::tcp();
    connection.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, runtime);
    let ResolverOpts { timeout, attempts, cache_size, use_hosts_file, preserve_intermediates, .. } =
        builder.options_mut();
    *timeout = TCP;
    *attempts = 0;
    *cache_size = 0;
    *use_hosts_file = ResolveHosts::Never;
    // The CNAMEs say which cluster member the answer stands for.
    *preserve_intermediates = true;
    builder.build().map_err(|error| Error::new(ErrorKind::Permanent, "build the resolver").with_source(error))
}

impl Resolve for DnsClient {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error> {
        let kind = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        let failure = || Error::new(ErrorKind::NoAnswer, format!("resolve {endpoint} ({kind})"));
        let mut name = Name::from_ascii(endpoint).map_err(|error| failure().with_source(error))?;
        name.set_fqdn(true);
        let CnameResolution { chain, addresses, .. } =
            match timeout(LOOKUP, Box::pin(self.lookup(&name, kind))).await {
                Ok(Ok(resolution)) => resolution,
                Ok(Err(error)) => return Err(explained(failure(), error)),
                Err(_) => return Err(explained(failure(), NetError::Timeout)),
            };
        match Addresses::parse(addresses) {
            Ok(addresses) => Ok(Resolution { addresses, chain }),
            Err(not) => {
                let fix = match not {
                    InvalidAnswer::Empty | InvalidAnswer::Several(_) => NO_RECORDS,
                    InvalidAnswer::NotATarget(..) => {
                        "a publicly accessible database resolves to its private address only inside its VPC: run \
                         the function there (SubnetIds), or correct the record"
                    }
                };
                Err(failure().with_source(not).with_fix(fix))
            }
        }
    }
}

fn label(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

const NO_RECORDS: &str =
    "check the endpoint's name, and that its records are of the target group's address type";
const UNREACHED: &str =
    "check that the function's network reaches its name servers (NAMESERVERS, or the VPC's)";

/// Says in plain words what became of the lookup, and what cures it.
fn explained(failure: Error, error: NetError) -> Error {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            let reason = match response_code {
                ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)",
                _ => "the name has no such record (an empty answer)",
            };
            failure.with_source(reason).with_fix(NO_RECORDS)
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let reason = match code {
                ResponseCode::ServFail => "the name server failed (SERVFAIL)".to_owned(),
                ResponseCode::Refused => "the name server refused (REFUSED)".to_owned(),
                ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)".to_owned(),
                other => format!("the name server answered {other}"),
            };
            failure
                .with_source(reason)
                .with_fix("look into the name server; nothing changes until it answers")
        }
        NetError::Timeout => failure.with_source("no name server answered in time").with_fix(UNREACHED),
        NetError::Io(error) => {
            failure.with_source(format!("no name server was reached ({error})")).with_fix(UNREACHED)
        }
        NetError::Truncated => failure
            .with_source("the answer was truncated, and TCP brought no other")
            .with_fix("look into the name server, or allow DNS over TCP"),
        other => failure
            .with_source(format!("the answer is not usable ({other})"))
            .with_fix("look into the name server; nothing changes until it answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_resolv_conf_only_the_name_servers_count() {
        let text =
            b"search corp.example.com\noptions ndots:5 timeout:30\nnameserver 10.0.0.2\nnameserver fd00::2\n";
        let servers = ["10.0.0.2:53", "[fd00::2]:53"].map(|server| server.parse().unwrap());
        assert_eq!(system(text).unwrap(), servers);
    }

    #[test]
    fn a_resolv_conf_without_name_servers_names_the_cure() {
        assert!(system(b"search example.com\n").unwrap_err().explain().contains("set NAMESERVERS"));
    }
}
