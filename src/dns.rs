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

use crate::fault::{Fault, Kind};
use crate::plan::{Family, NotAWriter, Writer};
use crate::reconcile::{Answer, Dns};

/// What UDP may take; meanwhile the query is sent again every third of a second, [`SENDINGS`] times in all. A
/// name server inside a VPC answers within milliseconds.
const UDP: Duration = Duration::from_secs(2);
const SENDINGS: u8 = 5;
/// What a connection over TCP may take, and then the query.
const TCP: Duration = Duration::from_secs(1);
/// A whole lookup, over UDP and then over TCP.
pub const LOOKUP: Duration = Duration::from_secs(4);
const DNS_PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many CNAMEs an answer may chain; RDS uses one, a global cluster behind an own name three.
const CHAIN: usize = 8;

/// How long the first name server may take before the next is asked beside it.
const HEAD_START: Duration = Duration::from_millis(300);

/// The name servers, in the order in which they are asked.
pub struct NameServers(Vec<NameServer>);

/// A name server. It is asked over UDP, without the resolver: caches, hosts files, search lists and
/// statistics of servers, which are not wanted here, would be half of the work.
struct NameServer {
    address: SocketAddr,
    runtime: TokioRuntimeProvider,
    /// Asks over TCP, where UDP brings nothing usable or not the whole answer.
    tcp: TokioResolver,
}

impl NameServers {
    /// Asks these servers, or the system's (`/etc/resolv.conf`) where none are given.
    pub fn new(servers: Option<&[SocketAddr]>) -> Result<Self, Fault> {
        let servers = match servers {
            Some(servers) => servers.to_vec(),
            None => std::fs::read(RESOLV_CONF)
                .map_err(|error| unreadable(error.into()))
                .and_then(|text| system(&text))?,
        };
        Ok(Self(servers.into_iter().map(NameServer::new).collect::<Result<_, Fault>>()?))
    }

    /// Asks one server after the other, the next as soon as one fails or is slow. The first usable
    /// answer counts, and so does word from any of them that there is no such name or record.
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Trail, NetError> {
        let mut left = self.0.iter();
        let mut asked = FuturesUnordered::new();
        let mut failure = NetError::NoConnections;
        loop {
            asked.extend(left.next().map(|server| server.lookup(name, kind)));
            let patience = if left.len() > 0 { HEAD_START } else { LOOKUP };
            match timeout(patience, asked.next()).await {
                Ok(Some(Ok(trail))) => return Ok(trail),
                Ok(Some(Err(none @ NetError::Dns(DnsError::NoRecordsFound(_))))) => return Err(none),
                Ok(Some(Err(error))) => failure = error,
                Ok(None) if left.len() == 0 => return Err(failure),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

impl NameServer {
    fn new(address: SocketAddr) -> Result<Self, Fault> {
        let runtime = TokioRuntimeProvider::default();
        Ok(Self { address, tcp: over_tcp(address, runtime.clone())?, runtime })
    }

    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Trail, NetError> {
        let over_udp =
            async || timeout(UDP, self.over_udp(name, kind)).await.unwrap_or(Err(NetError::Timeout));
        let mut brought = over_udp().await;
        if let Err(NetError::Dns(DnsError::ResponseCode(_))) = brought {
            // A server that fails or refuses once may answer the next time.
            brought = over_udp().await;
        }
        let error = match brought {
            Ok(trail) => return Ok(trail),
            // The server was reached and has answered; another transport brings no other answer.
            Err(error @ NetError::Dns(_)) => return Err(error),
            Err(error) => error,
        };
        // Truncated, malformed, or no answer: what TCP brings counts, but where that fails, UDP explains.
        match self.tcp.lookup(name.clone(), kind).await {
            Ok(lookup) => {
                let mut trail = Trail::new(name);
                trail.follow(no_failure(lookup.message())?)?;
                Ok(trail)
            }
            Err(NetError::Io(_) | NetError::NoConnections | NetError::Timeout) => Err(error),
            Err(error) => Err(error),
        }
    }

    /// Asks for the name, and on for what it stands for where the server gives an alias alone.
    async fn over_udp(&self, name: &Name, kind: RecordType) -> Result<Trail, NetError> {
        let mut trail = Trail::new(name);
        while trail.addresses.is_empty() {
            let answer = self.ask(&trail.at, kind).await?;
            trail.follow(no_failure(&answer)?)?;
        }
        Ok(trail)
    }

    /// With a random identifier, and from a random port at each sending.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, NetError> {
        let mut udp = UdpClientStream::builder(self.address, self.runtime.clone())
            .with_timeout(Some(UDP))
            .with_max_retries(SENDINGS)
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
struct Trail {
    chain: Vec<String>,
    at: Name,
    addresses: Vec<IpAddr>,
}

impl Trail {
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
fn system(text: &[u8]) -> Result<Vec<SocketAddr>, Fault> {
    let (system, _) = parse_resolv_conf(text).map_err(|error| unreadable(error.into()))?;
    Ok(system.name_servers().iter().map(|server| SocketAddr::new(server.ip, DNS_PORT)).collect())
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    Fault::new(Kind::Permanent, format!("read the system's name servers from {RESOLV_CONF}"))
        .because(error)
        .cure("set NAMESERVERS, such as NAMESERVERS=169.254.169.253 in a VPC")
}

fn over_tcp(server: SocketAddr, runtime: TokioRuntimeProvider) -> Result<TokioResolver, Fault> {
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
    builder.build().map_err(|error| Fault::new(Kind::Permanent, "build the resolver").because(error))
}

impl Dns for NameServers {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Answer, Fault> {
        let kind = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        let fault = || Fault::new(Kind::NoAnswer, format!("resolve {endpoint} ({kind})"));
        let mut name = Name::from_ascii(endpoint).map_err(|error| fault().because(error))?;
        name.set_fqdn(true);
        let Trail { chain, addresses, .. } = match timeout(LOOKUP, Box::pin(self.lookup(&name, kind))).await {
            Ok(Ok(trail)) => trail,
            Ok(Err(error)) => return Err(explained(fault(), error)),
            Err(_) => return Err(explained(fault(), NetError::Timeout)),
        };
        match Writer::parse(addresses) {
            Ok(writer) => Ok(Answer { writer, chain }),
            Err(not) => {
                let cure = match not {
                    NotAWriter::Empty | NotAWriter::Several(_) => NO_RECORDS,
                    NotAWriter::NotATarget(..) => {
                        "a publicly accessible database resolves to its private address only inside its VPC: run \
                         the function there (SubnetIds), or correct the record"
                    }
                };
                Err(fault().because(not).cure(cure))
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
fn explained(fault: Fault, error: NetError) -> Fault {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            let reason = match response_code {
                ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)",
                _ => "the name has no such record (an empty answer)",
            };
            fault.because(reason).cure(NO_RECORDS)
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let reason = match code {
                ResponseCode::ServFail => "the name server failed (SERVFAIL)".to_owned(),
                ResponseCode::Refused => "the name server refused (REFUSED)".to_owned(),
                ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)".to_owned(),
                other => format!("the name server answered {other}"),
            };
            fault.because(reason).cure("look into the name server; nothing changes until it answers")
        }
        NetError::Timeout => fault.because("no name server answered in time").cure(UNREACHED),
        NetError::Io(error) => fault.because(format!("no name server was reached ({error})")).cure(UNREACHED),
        NetError::Truncated => fault
            .because("the answer was truncated, and TCP brought no other")
            .cure("look into the name server, or allow DNS over TCP"),
        other => fault
            .because(format!("the answer is not usable ({other})"))
            .cure("look into the name server; nothing changes until it answers"),
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
