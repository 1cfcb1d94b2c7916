//! Resolves names with `hickory-resolver`. No other module uses that library.
//!
//! Names are looked up as given, fully qualified: no search suffix, no hosts file, no cache. Every lookup ends
//! within [`LOOKUP_TIMEOUT`].

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::{Instant, timeout};

use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, Family, InvalidAnswer};
use crate::reconcile::{Resolution, Resolve};

/// The time limit of a lookup over UDP. Within it, the resolver sends the query up to three times: a third of a second
/// apart, and farther apart after lookups that timed out. A name server inside a VPC answers within milliseconds.
const UDP_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of a connection over TCP, and of each query on it.
const TCP_TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit of a whole lookup, over UDP and then over TCP.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
const DNS_PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many CNAMEs an answer may chain. RDS uses one; a global cluster behind a name of the user's own has three.
const MAX_CNAMES: usize = 8;

/// How long the first name server may take before the next is asked as well.
const HEDGE_DELAY: Duration = Duration::from_millis(300);

/// How long a server is asked over TCP alone after UDP failed and TCP succeeded. The next lookup tries UDP again.
const UDP_PAUSE: Duration = Duration::from_secs(30);
/// How long that lookup waits for UDP.
const UDP_TRIAL: Duration = Duration::from_millis(300);

/// The name servers, in the order in which they are asked.
pub struct DnsClient(Vec<NameServer>);

/// A name server, asked over UDP, and over TCP where UDP gives no usable or no complete answer.
struct NameServer {
    udp: TokioResolver,
    tcp: TokioResolver,
    /// When UDP last failed while TCP worked. Otherwise each lookup would first wait for UDP.
    udp_failed: Cell<Option<Instant>>,
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

    /// Asks one server after the other, the next as soon as one fails or is slow. The first usable answer
    /// counts. So does the answer of any server that the name or the record does not exist.
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<CnameResolution, NetError> {
        let mut left = self.0.iter();
        let mut asked = FuturesUnordered::new();
        let mut failure = NetError::NoConnections;
        loop {
            asked.extend(left.next().map(|server| server.lookup(name, kind)));
            let wait = if left.len() > 0 { HEDGE_DELAY } else { LOOKUP_TIMEOUT };
            match timeout(wait, asked.next()).await {
                Ok(Some(Ok(resolution))) => return Ok(resolution),
                Ok(Some(Err(error))) if is_final(&error, name) => return Err(error),
                // What a server answers explains more than that another gives no answer.
                Ok(Some(Err(error))) if is_unreached(&failure) => failure = error,
                Ok(Some(Err(_))) => {}
                Ok(None) if left.len() == 0 => return Err(failure),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

/// True if the server says that the name or its record does not exist. In two cases the next server is asked: an empty
/// answer without a SOA record may be a referral or a chain of aliases without an end; and where a chain of aliases ends
/// in a missing name, another server may have newer aliases (RFC 2308, sections 2.1 and 2.2).
fn is_final(error: &NetError, name: &Name) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(NoRecords { query, soa, response_code, .. })) = error else {
        return false;
    };
    query.name() == name && (*response_code == ResponseCode::NXDomain || soa.is_some())
}

impl NameServer {
    fn new(address: SocketAddr) -> Result<Self, Error> {
        let runtime = TokioRuntimeProvider::default();
        let udp = resolver(address, ConnectionConfig::udp(), UDP_TIMEOUT, runtime.clone())?;
        let tcp = resolver(address, ConnectionConfig::tcp(), TCP_TIMEOUT, runtime)?;
        Ok(Self { udp, tcp, udp_failed: Cell::default() })
    }

    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<CnameResolution, NetError> {
        let limit = udp_time_limit(self.udp_failed.get());
        if limit.is_none() {
            match ask(&self.tcp, name, kind, LOOKUP_TIMEOUT).await {
                Err(error) if is_unreached(&error) => self.udp_failed.set(None),
                answer => return answer,
            }
        }
        let error = match ask(&self.udp, name, kind, limit.unwrap_or(UDP_TIMEOUT)).await {
            Err(error) if !matches!(error, NetError::Dns(_)) => error,
            // UDP has its full time again. A server that has answered would give the same answer over TCP.
            answer => {
                self.udp_failed.set(None);
                return answer;
            }
        };
        // The answer was truncated, malformed or missing.
        let answer = ask(&self.tcp, name, kind, LOOKUP_TIMEOUT).await;
        match &answer {
            Ok(_) if is_unreached(&error) => self.udp_failed.set(Some(Instant::now())),
            // UDP's error explains more.
            Err(tcp) if is_unreached(tcp) => {
                self.udp_failed.set(None);
                return Err(error);
            }
            _ => {}
        }
        answer
    }
}

fn is_unreached(error: &NetError) -> bool {
    matches!(error, NetError::Io(_) | NetError::NoConnections | NetError::Timeout)
}

/// How long a lookup may wait for UDP. `None` if it uses TCP alone.
fn udp_time_limit(failed: Option<Instant>) -> Option<Duration> {
    match failed {
        None => Some(UDP_TIMEOUT),
        Some(failed) if failed.elapsed() < UDP_PAUSE => None,
        Some(_) => Some(UDP_TRIAL),
    }
}

/// Asks over one transport, and once more if the server fails or refuses: it may answer the next time.
async fn ask(
    resolver: &TokioResolver,
    name: &Name,
    kind: RecordType,
    limit: Duration,
) -> Result<CnameResolution, NetError> {
    let once = async || {
        let lookup = timeout(limit, resolver.lookup(name.clone(), kind)).await;
        let lookup = lookup.unwrap_or(Err(NetError::Timeout))?;
        match lookup.message().response_code {
            ResponseCode::NoError => CnameResolution::follow(name, kind, lookup.message()),
            code => Err(NetError::Dns(DnsError::ResponseCode(code))),
        }
    };
    match once().await {
        Err(NetError::Dns(DnsError::ResponseCode(_))) => once().await,
        answer => answer,
    }
}

/// Where a name leads: the names on the way, and the addresses at its end.
struct CnameResolution {
    chain: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl CnameResolution {
    /// Follows the CNAMEs, and takes the addresses of this kind at their end. Other records in the answer are not
    /// about this name.
    fn follow(name: &Name, kind: RecordType, answer: &Message) -> Result<Self, NetError> {
        let (mut at, mut chain) = (name, vec![text_of(name)]);
        let here = |record: &&Record, at: &Name| record.name == *at && record.dns_class == DNSClass::IN;
        while let Some(next) = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if here(&record, at) => Some(target),
            _ => None,
        }) {
            if chain.len() > MAX_CNAMES {
                return Err(NetError::Message("it has too many aliases (CNAME)"));
            }
            chain.push(text_of(next));
            at = next;
        }
        let at_end = answer.answers.iter().filter(|record| here(record, at) && record.record_type() == kind);
        let addresses: Vec<IpAddr> = at_end.filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() {
            return Err(NetError::Message("it holds no address of the name"));
        }
        Ok(Self { chain, addresses })
    }
}

/// Takes the name servers from a `resolv.conf`. The other lines are left out before parsing, because a search list
/// that does not parse would be an error.
fn system(text: &[u8]) -> Result<Vec<SocketAddr>, Error> {
    let lines = text.split(|byte| *byte == b'\n');
    let name_servers = lines.filter(|line| line.trim_ascii_start().starts_with(b"nameserver"));
    let text = name_servers.collect::<Vec<_>>().join(&b'\n');
    let (system, _) = parse_resolv_conf(text).map_err(|error| unreadable(error.into()))?;
    Ok(system.name_servers().iter().map(|server| SocketAddr::new(server.ip, DNS_PORT)).collect())
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new(ErrorKind::Permanent, format!("read the system's name servers from {RESOLV_CONF}"))
        .with_source(error)
        .with_fix("set NAMESERVERS, such as NAMESERVERS=169.254.169.253 in a VPC")
}

fn resolver(
    server: SocketAddr,
    mut connection: ConnectionConfig,
    time: Duration,
    runtime: TokioRuntimeProvider,
) -> Result<TokioResolver, Error> {
    connection.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, runtime);
    let ResolverOpts { timeout, attempts, edns0, cache_size, use_hosts_file, preserve_intermediates, .. } =
        builder.options_mut();
    *timeout = time;
    *attempts = 0;
    // Some name servers and firewalls reject or drop queries with EDNS. The answers are short, and TCP brings
    // those above 512 bytes.
    *edns0 = false;
    *cache_size = 0;
    *use_hosts_file = ResolveHosts::Never;
    // The CNAMEs show which cluster member the answer is about.
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
        let lookup = timeout(LOOKUP_TIMEOUT, Box::pin(self.lookup(&name, kind))).await;
        let CnameResolution { chain, addresses } =
            lookup.unwrap_or(Err(NetError::Timeout)).map_err(|error| explain(failure(), &name, error))?;
        let addresses = Addresses::parse(addresses).map_err(|invalid| {
            let fix = match &invalid {
                InvalidAnswer::Empty | InvalidAnswer::Several(_) => NO_RECORDS,
                InvalidAnswer::NotATarget(_, form) => form.fix,
            };
            failure().with_source(invalid).with_fix(fix)
        })?;
        Ok(Resolution { addresses, chain })
    }
}

fn text_of(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

const NO_RECORDS: &str =
    "check the endpoint's name, and that its records are of the target group's address type";
const CHECK_SERVER: &str = "check the name server; the target group stays as it is until it answers";
const UNREACHED: &str =
    "check that the function's network reaches its name servers (NAMESERVERS, or the VPC's)";

/// Adds the reason in plain words, and the fix.
fn explain(failure: Error, name: &Name, error: NetError) -> Error {
    let (reason, fix) = match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { query, response_code, .. })) => {
            let subject = match query.name() {
                end if end == name => "the name".to_owned(),
                end => format!("{}, where its aliases lead,", text_of(end)),
            };
            let reason = match response_code {
                ResponseCode::NXDomain => "does not exist (NXDOMAIN)",
                _ => "has no such record (an empty answer)",
            };
            (format!("{subject} {reason}"), NO_RECORDS)
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let reason = match code {
                ResponseCode::ServFail => "the name server failed (SERVFAIL)".to_owned(),
                ResponseCode::Refused => "the name server refused (REFUSED)".to_owned(),
                ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)".to_owned(),
                other => format!("the name server answered {other}"),
            };
            (reason, CHECK_SERVER)
        }
        NetError::Timeout => ("no name server answered in time".to_owned(), UNREACHED),
        NetError::Io(error) => (format!("no name server was reached ({error})"), UNREACHED),
        NetError::Truncated => {
            let reason = "the answer was truncated, and TCP brought no other";
            (reason.to_owned(), "allow DNS over TCP, or check the name server")
        }
        other => (format!("the answer is not usable ({other})"), CHECK_SERVER),
    };
    failure.with_source(reason).with_fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_counts_for_its_name_servers_alone() {
        let text =
            b"search corp.example.com\noptions ndots:5 timeout:30\nnameserver 10.0.0.2\nnameserver fd00::2\n";
        let servers = ["10.0.0.2:53", "[fd00::2]:53"].map(|server| server.parse().unwrap());
        assert_eq!(system(text).unwrap(), servers);
    }

    #[test]
    fn other_lines_of_resolv_conf_need_not_parse() {
        let long = "a".repeat(64);
        for line in [
            "search a..b",
            &format!("search {long}.example.com"),
            "domain ..",
            "options ndots:x",
            "sortlist \u{1}",
        ] {
            let text = format!("{line}\n nameserver 10.0.0.2\n{line}\nnameserver 10.0.0.3\n");
            let servers = ["10.0.0.2:53", "10.0.0.3:53"].map(|server| server.parse().unwrap());
            assert_eq!(system(text.as_bytes()).unwrap(), servers, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failed_udp_is_left_out_for_a_while_and_then_tried_briefly() {
        assert_eq!(udp_time_limit(None), Some(UDP_TIMEOUT));
        let failed = Some(Instant::now());
        assert_eq!(udp_time_limit(failed), None);
        tokio::time::advance(UDP_PAUSE - Duration::from_millis(1)).await;
        assert_eq!(udp_time_limit(failed), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(udp_time_limit(failed), Some(UDP_TRIAL));
    }

    #[test]
    fn resolv_conf_without_name_servers_names_the_fix() {
        assert!(system(b"search example.com\n").unwrap_err().explain().contains("set NAMESERVERS"));
    }
}
