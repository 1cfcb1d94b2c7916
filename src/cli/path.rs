//! The path from a client to the database, as this computer sees it.

use tokio::time::Instant;

#[cfg(feature = "network")]
use super::network::NetworkApis;
use super::probe::{LIMITS, shake};
use crate::binding::Binding;
use crate::doctor::{
    Facts, Finding, InspectPath, PathFindings, Protocol, handshake_findings, handshake_unknown,
};

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

impl ClientPath {
    async fn handshake(&self, binding: &Binding, facts: &Facts, deadline: Instant) -> Vec<Finding> {
        let Some(through) = &self.through else { return Vec::new() };
        let expected = Protocol::of_database(facts.database());
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
