//! The path from a client to the database, as this computer sees it.

use tokio::time::Instant;

#[cfg(feature = "network")]
use super::network::NetworkApis;
use super::probe::{LIMITS, shake};
use crate::doctor::{
    CheckContext, Finding, InspectPath, LoadBalancerFacts, PathFindings, Protocol, handshake_findings,
    handshake_unknown,
};

pub type HostAndPort = (String, u16);

/// Reads `HOST:PORT`, with an IPv6 address in brackets.
pub fn parse_host_and_port(text: &str) -> Result<HostAndPort, String> {
    let invalid = || format!("{text:?} is not HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?;
    if host.is_empty() { Err(invalid()) } else { Ok((host.to_owned(), port)) }
}

/// What the command line examines besides the facts that the function reads as well.
pub struct ClientPath {
    /// `Some(None)`: to each load balancer of the binding, by its own name.
    pub through: Option<Option<HostAndPort>>,
    #[cfg(feature = "network")]
    pub network: NetworkApis,
}

impl InspectPath for ClientPath {
    async fn inspect_path(&self, context: CheckContext<'_>, deadline: Instant) -> PathFindings {
        let (network, handshake) = tokio::join!(
            async {
                #[cfg(feature = "network")]
                return self.network.findings(context, deadline).await;
                #[cfg(not(feature = "network"))]
                Vec::new()
            },
            self.handshake(context, deadline)
        );
        PathFindings { network, handshake }
    }
}

impl ClientPath {
    async fn handshake(&self, context: CheckContext<'_>, deadline: Instant) -> Vec<Finding> {
        let Some(through) = &self.through else { return Vec::new() };
        let expected = Protocol::of_database(context.facts.database());
        let places = through.clone().map_or_else(|| load_balancers(context), |place| vec![place]);
        if places.is_empty() {
            return vec![handshake_unknown()];
        }
        let mut handshake = Vec::new();
        for (host, port) in &places {
            let shaken = shake(host, *port, expected, LIMITS, deadline).await;
            handshake.extend(handshake_findings(context, &shaken));
        }
        handshake
    }
}

/// The names of the binding's load balancers, each with the port of the listener that clients use.
fn load_balancers(context: CheckContext<'_>) -> Vec<HostAndPort> {
    let CheckContext { binding, facts, .. } = context;
    let place = |attached: &LoadBalancerFacts| {
        let listener = attached.serving(binding.target_group.as_str(), facts.port(binding))?;
        Some((attached.load_balancer.dns_name.clone()?, listener.port))
    };
    facts.load_balancers.iter().flatten().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read() {
        let place = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(parse_host_and_port("db.example.com:5432"), place("db.example.com", 5432));
        assert_eq!(parse_host_and_port("[fd00::1]:3306"), place("fd00::1", 3306));
        for wrong in ["db.example.com", ":5432", "db:0", "db:x", "db:65536", ""] {
            assert!(parse_host_and_port(wrong).unwrap_err().contains("is not HOST:PORT"), "{wrong}");
        }
    }
}
