//! Which addresses a group must hold, by the binding's role.
//!
//! The invariant kept here: an answer is complete, or there is none. A reader whose name does not resolve, or an RDS
//! API that does not answer, leaves the group as it is.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::ports::{Clients, Cluster, RdsApi, Resolution, Resolve};
use super::rds_query::{RDS_TIMEOUT, with_rds_timeout};
use super::veto::RDS_RECHECK_INTERVAL;
use crate::binding::{Binding, Role};
use crate::endpoint::{DnsZone, RdsKind, cluster_identifier, reader_endpoint, zone};
use crate::error::{Error, ErrorKind};
use crate::plan::{Addresses, Family};

/// The states of an instance that does not serve readers yet, or no longer (RDS user guide, "Viewing DB
/// instance status").
const NOT_SERVING: [&str; 2] = ["creating", "deleting"];

/// What the RDS API last said about a cluster's readers.
#[derive(Default)]
pub(crate) struct ReaderCache(RefCell<Option<Answer>>);

struct Answer {
    answered: Instant,
    /// The endpoint's addresses at that time.
    addresses: Addresses,
    /// The readers' DNS names.
    names: Result<Vec<String>, Error>,
}

pub(crate) async fn resolve<D: Resolve, T, C: RdsApi>(
    clients: &Clients<D, T, C>,
    binding: &Binding,
    family: Family,
) -> Result<Resolution, Error> {
    ReaderCache::default().resolve(&clients.dns, &clients.rds, binding, family, Duration::ZERO).await
}

impl ReaderCache {
    /// Resolves the addresses that the binding's group must hold. The RDS API is not asked about the readers if its last
    /// answer is younger than `age`. An error counts as an answer, for [`RDS_RECHECK_INTERVAL`] at most: a watch must not
    /// ask at every lookup.
    pub async fn resolve<D: Resolve, C: RdsApi>(
        &self,
        dns: &D,
        rds: &C,
        binding: &Binding,
        family: Family,
        age: Duration,
    ) -> Result<Resolution, Error> {
        let mut resolution = dns.resolve(&binding.endpoint, family).await?;
        match binding.role {
            Role::Writer => single_address(refuse_reader_endpoint(resolution)?),
            Role::All => Ok(resolution),
            Role::Readers => {
                let names = match self.cached_names(age, &resolution) {
                    Some(names) => names,
                    None => {
                        let identifier = cluster_identifier(binding, &resolution.chain);
                        let names = readers(rds, &identifier, zone(&resolution.chain)).await;
                        let addresses = resolution.addresses.clone();
                        let answer = Answer { answered: Instant::now(), addresses, names: names.clone() };
                        self.0.replace(Some(answer));
                        names
                    }
                }?;
                let lookups = names.iter().map(async |name| single_address(dns.resolve(name, family).await?));
                // A name that is missing may be that of a reader which was deleted since.
                let addresses = try_join_all(lookups).await.inspect_err(|_| self.forget_old_names())?;
                let addresses = addresses.iter().flat_map(|resolution| resolution.addresses.iter());
                let readers = Addresses::parse(addresses).map_err(|invalid| {
                    Error::new(ErrorKind::NoAnswer, format!("resolve the readers of {}", binding.endpoint))
                        .with_source(invalid)
                })?;
                // The last name is left out: a reader endpoint gives another reader at every lookup, and that is no
                // change.
                resolution.chain.truncate(resolution.chain.len().saturating_sub(1).max(1));
                Ok(Resolution { addresses: readers, chain: resolution.chain })
            }
        }
    }

    /// The cached names, if they are younger than `age` and the endpoint still gives the same writer. A reader or custom
    /// endpoint gives one instance after the other, so its answer is not compared.
    fn cached_names(&self, age: Duration, resolution: &Resolution) -> Option<Result<Vec<String>, Error>> {
        let known = self.0.borrow();
        let Answer { answered, addresses, names } = known.as_ref()?;
        let alternates = |name: &String| {
            matches!(RdsKind::parse(name), Some(RdsKind::ClusterReader | RdsKind::ClusterCustom))
        };
        let is_same = *addresses == resolution.addresses || resolution.chain.iter().any(alternates);
        let age = if names.is_err() { age.min(RDS_RECHECK_INTERVAL) } else { age };
        (is_same && answered.elapsed() < age).then(|| names.clone())
    }

    /// Asks the RDS API at the next lookup if its last answer is old.
    fn forget_old_names(&self) {
        self.0.borrow_mut().take_if(|answer| answer.answered.elapsed() >= RDS_RECHECK_INTERVAL);
    }

    /// Asks the RDS API at the next lookup if its last answer was an error.
    pub fn forget_error(&self) {
        self.0.borrow_mut().take_if(|answer| answer.names.is_err());
    }
}

/// Refuses an answer that goes through a reader endpoint: its reader would replace the writer in the group.
fn refuse_reader_endpoint(resolution: Resolution) -> Result<Resolution, Error> {
    let Some(reader) = reader_endpoint(&resolution.chain) else { return Ok(resolution) };
    let name = resolution.chain.first().map(String::as_str).unwrap_or_default();
    Err(Error::new(ErrorKind::NoAnswer, format!("resolve {name} to a writer"))
        .with_source(format!(
            "it leads to {reader}, a cluster's reader endpoint, which gives one reader at a time"
        ))
        .with_fix(
            "point the name to the cluster's writer endpoint, or give the binding the role \"readers\"",
        ))
}

/// Refuses an answer of several addresses: a writer has one.
pub(super) fn single_address(resolution: Resolution) -> Result<Resolution, Error> {
    let Resolution { addresses, chain } = resolution;
    let addresses = addresses.single().map_err(|invalid| {
        let name = chain.first().map(String::as_str).unwrap_or_default();
        Error::new(ErrorKind::NoAnswer, format!("resolve {name}")).with_source(invalid).with_fix(
            "bind the cluster's writer endpoint or an instance's endpoint, which have one address each, or give the \
             binding the role \"all\"",
        )
    })?;
    Ok(Resolution { addresses, chain })
}

/// The endpoints of a cluster's readers, or of its writer if it has no reader: RDS's own reader endpoint does the same.
/// That endpoint gives one reader at a time, so it cannot replace this list.
///
/// A cluster that RDS describes in another account or Region is another database, and an error.
async fn readers<C: RdsApi>(rds: &C, identifier: &str, zone: Option<DnsZone>) -> Result<Vec<String>, Error> {
    let doing = || format!("list the readers of the cluster {identifier}");
    let Some(named) = &zone else {
        return Err(Error::new(ErrorKind::Permanent, doing())
            .with_source(
                "neither the endpoint nor the answer of DNS has a name of RDS, so this cluster may be another one",
            )
            .with_fix("bind the cluster's own endpoint, or make the alias a CNAME to it"));
    };
    let ends = || Instant::now() + RDS_TIMEOUT;
    let cluster = with_rds_timeout(ends(), rds.cluster(identifier)).await?.ok_or_else(|| {
        // In a blue/green switchover the name belongs to no cluster for a moment, so a watch asks again.
        Error::new(ErrorKind::NoAnswer, doing())
            .with_source("the RDS API knows no cluster of this name")
            .with_fix("bind an endpoint of the cluster, or give the binding its identifier as \"database\"")
    })?;
    let Cluster { members, zone: described, .. } = cluster;
    if let Some(described) = &described
        && named != described
    {
        return Err(Error::new(ErrorKind::Permanent, doing())
            .with_source(format!(
                "DNS names a cluster in {named}, and the RDS API describes one in {described}"
            ))
            .with_fix("run the function in the account and Region of the cluster"));
    }
    let (writers, readers): (Vec<_>, Vec<_>) = members.iter().partition(|(_, is_writer)| **is_writer);
    for members in [readers, writers] {
        let instances = members.iter().map(|(name, _)| with_rds_timeout(ends(), rds.instance(name)));
        let serving = try_join_all(instances).await?.into_iter().flatten().filter(|instance| {
            !NOT_SERVING.iter().any(|status| instance.status.eq_ignore_ascii_case(status))
        });
        let names: Vec<String> = serving.filter_map(|instance| instance.endpoint).collect();
        if !names.is_empty() {
            return Ok(names);
        }
    }
    Err(Error::new(ErrorKind::NoAnswer, doing())
        .with_source("the RDS API names neither a reader nor a writer"))
}
