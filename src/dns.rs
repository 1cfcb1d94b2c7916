//! The endpoint's address, by `hickory-resolver`. The only module that knows it.
//!
//! Names are looked up as given, fully qualified: no search suffix, no hosts file, no cache of our
//! own. Every lookup is bounded by [`LOOKUP`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::timeout;

use crate::fault::{Fault, Kind};
use crate::plan::{Family, NotAWriter, Writer};
use crate::reconcile::{Answer, Dns};

/// One attempt, sent again by the resolver some times while it lasts. A name server inside a VPC
/// answers within milliseconds.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Attempts after the first over UDP.
const RETRIES: usize = 1;
/// A whole lookup: two attempts over UDP and one over TCP, with some room.
pub const LOOKUP: Duration = Duration::from_secs(4);
/// How many CNAMEs an answer may chain; RDS uses one, a global cluster behind an own name three.
const CHAIN: usize = 8;

/// The name servers. One resolver asks over UDP, and over TCP where an answer is truncated; the other
/// over TCP alone, where UDP brings nothing usable.
pub struct NameServers {
    resolver: TokioResolver,
    tcp: TokioResolver,
}

impl NameServers {
    /// Asks these servers, or the system's (`/etc/resolv.conf`) where none are given.
    pub fn new(servers: Option<&[SocketAddr]>) -> Result<Self, Fault> {
        let servers: Vec<(IpAddr, u16)> = match servers {
            Some(servers) => servers.iter().map(|server| (server.ip(), server.port())).collect(),
            None => system()?,
        };
        Ok(Self { resolver: resolver(&servers, true)?, tcp: resolver(&servers, false)? })
    }

    async fn lookup(&self, name: Name, kind: RecordType) -> Result<Lookup, NetError> {
        let error = match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => return Ok(lookup),
            // The server was reached and has answered; another transport brings no other answer.
            Err(error @ (NetError::Dns(_) | NetError::Truncated)) => return Err(error),
            Err(error) => error,
        };
        // A malformed answer or none at all: the second opinion counts, the first one explains.
        match self.tcp.lookup(name, kind).await {
            Err(NetError::Io(_) | NetError::NoConnections | NetError::Timeout) => Err(error),
            other => other,
        }
    }
}

fn system() -> Result<Vec<(IpAddr, u16)>, Fault> {
    let (system, _) = hickory_resolver::system_conf::read_system_conf().map_err(|error| {
        Fault::new(Kind::Permanent, "read the system's name servers from /etc/resolv.conf")
            .because(error)
            .cure("set NAMESERVERS, such as NAMESERVERS=169.254.169.253 in a VPC")
    })?;
    let default = ConnectionConfig::udp().port;
    Ok(system.name_servers().iter().map(|server| (server.ip, default)).collect())
}

fn resolver(servers: &[(IpAddr, u16)], udp: bool) -> Result<TokioResolver, Fault> {
    let server = |(ip, port): &(IpAddr, u16)| {
        let mut connections = vec![ConnectionConfig::tcp()];
        if udp {
            connections.insert(0, ConnectionConfig::udp());
        }
        connections.iter_mut().for_each(|connection| connection.port = *port);
        NameServerConfig::new(*ip, true, connections)
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let ResolverOpts { timeout, attempts, cache_size, use_hosts_file, preserve_intermediates, .. } =
        builder.options_mut();
    *timeout = ATTEMPT;
    *attempts = if udp { RETRIES } else { 0 };
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
        let lookup = match timeout(LOOKUP, self.lookup(name.clone(), kind)).await {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) => return Err(explained(fault(), error)),
            Err(_) => return Err(explained(fault(), NetError::Timeout)),
        };
        let code = lookup.message().response_code;
        if code != ResponseCode::NoError {
            return Err(explained(fault(), NetError::Dns(DnsError::ResponseCode(code))));
        }
        let (chain, addresses) = follow(&name, &lookup);
        match Writer::parse(addresses) {
            Ok(writer) => Ok(Answer { writer, chain }),
            Err(not) => {
                let cure = match not {
                    NotAWriter::Empty => no_records_cure(),
                    NotAWriter::Several(_) => {
                        "bind the cluster's writer endpoint or an instance's endpoint, which have one address each"
                    }
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

/// Follows the CNAMEs from the name through the answer, and takes the addresses at their end. Other
/// records, whoever put them there, are not about this name.
fn follow(name: &Name, lookup: &Lookup) -> (Vec<String>, Vec<IpAddr>) {
    let mut at = name.clone();
    let mut chain = vec![label(&at)];
    while chain.len() <= CHAIN {
        let next = lookup.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if record.name == at => Some(target.clone()),
            _ => None,
        });
        let Some(next) = next else { break };
        chain.push(label(&next));
        at = next;
    }
    let addresses = lookup.answers().iter().filter(|record| record.name == at).filter_map(|record| {
        record.data.ip_addr().filter(|_| matches!(record.data, RData::A(_) | RData::AAAA(_)))
    });
    (chain, addresses.collect())
}

fn label(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn no_records_cure() -> &'static str {
    "check the endpoint's name, and that its records are of the target group's address type"
}

/// Says in plain words what became of the lookup, and what cures it.
fn explained(fault: Fault, error: NetError) -> Fault {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            let reason = match response_code {
                ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)",
                _ => "the name has no such record (an empty answer)",
            };
            fault.because(reason).cure(no_records_cure())
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
        NetError::Timeout => fault
            .because("no name server answered in time")
            .cure("check that the function's network reaches its name servers (NAMESERVERS, or the VPC's)"),
        NetError::Io(error) => fault
            .because(format!("no name server was reached ({error})"))
            .cure("check that the function's network reaches its name servers (NAMESERVERS, or the VPC's)"),
        NetError::Truncated => fault
            .because("the answer was truncated, over TCP as well")
            .cure("look into the name server, or allow DNS over TCP"),
        other => fault
            .because(format!("the answer is not usable ({other})"))
            .cure("look into the name server; nothing changes until it answers"),
    }
}
