//! The path from a client to the database, as this computer sees it.

#[cfg(feature = "network")]
use std::time::SystemTime;

#[cfg(feature = "network")]
use aws_config::SdkConfig;
#[cfg(feature = "network")]
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::probe::{LIMITS, shake};
use crate::binding::Binding;
#[cfg(feature = "network")]
use crate::cloudwatch::CloudWatch;
#[cfg(feature = "network")]
use crate::doctor::{Fact, LoadBalancer, network};
use crate::doctor::{
    Facts, Finding, InspectPath, PathFindings, Protocol, handshake_findings, handshake_unknown,
};
#[cfg(feature = "network")]
use crate::ec2::Ec2;
#[cfg(feature = "network")]
use crate::ram::Ram;
#[cfg(feature = "network")]
use crate::vpclattice::Lattice;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Through {
    /// To each load balancer of the binding, by its own name.
    LoadBalancers,
    /// To this name and port instead.
    Other(String, u16),
}

impl Through {
    /// Reads `HOST:PORT`, with an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?;
        if host.is_empty() { Err(invalid()) } else { Ok(Self::Other(host.to_owned(), port)) }
    }
}

/// What the command line examines besides the facts that the function reads as well.
pub struct ClientPath {
    pub through: Option<Through>,
    #[cfg(feature = "network")]
    pub network: NetworkApis,
}

impl InspectPath for ClientPath {
    async fn inspect_path(&self, binding: &Binding, facts: &Facts, deadline: Instant) -> PathFindings {
        let (network, handshake) = tokio::join!(
            async {
                #[cfg(feature = "network")]
                return self.network.findings(binding, facts, deadline).await;
                #[cfg(not(feature = "network"))]
                Vec::new()
            },
            self.handshake(binding, facts, deadline)
        );
        PathFindings { network, handshake }
    }
}

#[cfg(feature = "network")]
pub struct NetworkApis {
    ec2: Ec2,
    cloudwatch: CloudWatch,
    lattice: Lattice,
    ram: Ram,
    /// The account's resource configurations, read once for all bindings.
    configurations: OnceCell<Fact<Vec<network::ResourceConfiguration>>>,
    principal: Option<String>,
}

#[cfg(feature = "network")]
impl NetworkApis {
    pub fn new(sdk: &SdkConfig, now: SystemTime, principal: Option<String>) -> Self {
        let cloudwatch = CloudWatch::new(&aws_sdk_cloudwatch::Client::new(sdk), now);
        Self {
            ec2: Ec2::new(&aws_sdk_ec2::Client::new(sdk)),
            cloudwatch,
            lattice: Lattice::new(&aws_sdk_vpclattice::Client::new(sdk)),
            ram: Ram::new(&aws_sdk_ram::Client::new(sdk)),
            configurations: OnceCell::new(),
            principal,
        }
    }

    pub async fn read(
        &self,
        facts: &Facts,
        load_balancer: &LoadBalancer,
        deadline: Instant,
    ) -> network::Network {
        network::read_network(&self.ec2, &self.cloudwatch, facts, load_balancer, deadline).await
    }

    async fn findings(&self, binding: &Binding, facts: &Facts, deadline: Instant) -> Vec<Finding> {
        let (mut findings, of_lattice) = tokio::join!(
            self.around_load_balancers(binding, facts, deadline),
            self.by_lattice(binding, facts, deadline)
        );
        findings.extend(of_lattice);
        findings
    }

    async fn by_lattice(&self, binding: &Binding, facts: &Facts, deadline: Instant) -> Vec<Finding> {
        let (lattice, shares, network) = (&self.lattice, &self.ram, &self.ec2);
        let reader = network::LatticeReader { lattice, shares, network, deadline };
        let account = binding.target_group.account();
        let configurations = self.configurations.get_or_init(|| reader.configurations(account)).await;
        let paths = match configurations {
            Ok(configurations) => Ok(reader.paths(binding, facts, configurations).await),
            Err(unread) => Err(unread.clone()),
        };
        network::lattice_findings(binding, facts, &paths, self.principal.as_deref())
    }

    async fn around_load_balancers(
        &self,
        binding: &Binding,
        facts: &Facts,
        deadline: Instant,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for attached in facts.load_balancers.as_deref().unwrap_or_default() {
            if attached.load_balancer.kind == "network" {
                let network = self.read(facts, &attached.load_balancer, deadline).await;
                let principal = self.principal.as_deref();
                findings.extend(network::network_findings(binding, facts, attached, &network, principal));
            }
        }
        findings
    }
}

impl ClientPath {
    async fn handshake(&self, binding: &Binding, facts: &Facts, deadline: Instant) -> Vec<Finding> {
        let Some(through) = &self.through else { return Vec::new() };
        let expected = Protocol::of(facts.database());
        let places = match through {
            Through::Other(host, port) => vec![(host.clone(), *port)],
            Through::LoadBalancers => load_balancers(binding, facts),
        };
        let mut handshake = Vec::new();
        for (host, port) in &places {
            let shaken = shake(host, *port, expected, LIMITS, deadline).await;
            handshake.extend(handshake_findings(binding, facts, &shaken));
        }
        if places.is_empty() {
            handshake.push(handshake_unknown());
        }
        handshake
    }
}

/// The names of the binding's load balancers, each with the port of the listener that clients use.
fn load_balancers(binding: &Binding, facts: &Facts) -> Vec<(String, u16)> {
    let attached = facts.load_balancers.as_deref().unwrap_or_default().iter();
    let places = attached.filter_map(|attached| {
        let listener = attached.serving(binding.target_group.as_str(), facts.port(binding))?;
        Some((attached.load_balancer.dns_name.clone()?, listener.port))
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read() {
        let other = |host: &str, port| Ok(Through::Other(host.into(), port));
        assert_eq!(Through::parse("db.example.com:5432"), other("db.example.com", 5432));
        assert_eq!(Through::parse("[fd00::1]:3306"), other("fd00::1", 3306));
        for wrong in ["db.example.com", ":5432", "db:0", "db:x", "db:65536", ""] {
            assert!(Through::parse(wrong).unwrap_err().contains("is not HOST:PORT"), "{wrong}");
        }
    }
}
