//! Which addresses an endpoint stands for, by the binding's role.
//!
//! The invariant kept here: an answer is whole or none. One reader whose name does not resolve, or an
//! RDS API that does not answer, leaves the group as it is.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{Answer, Cluster, Clusters, Dns, World, cluster_identifier};
use crate::config::{Binding, Role};
use crate::fault::{Fault, Kind};
use crate::plan::{Family, Writer};

/// The states of an instance that is no reader yet, or no more (RDS user guide, "Viewing DB instance
/// status").
const COMING_OR_GOING: [&str; 2] = ["creating", "deleting"];

/// The names of a cluster's readers, as the RDS API last gave them, and what DNS gave for the endpoint then.
#[derive(Default)]
pub(crate) struct Roster(RefCell<Option<(Instant, Writer, Vec<String>)>>);

/// Looks up the addresses that the binding's group must hold.
pub(crate) async fn resolve<D: Dns, T, C: Clusters>(
    world: &World<D, T, C>,
    binding: &Binding,
    family: Family,
) -> Result<Answer, Fault> {
    Roster::default().resolve(&world.dns, &world.clusters, binding, family, Duration::ZERO).await
}

impl Roster {
    /// As [`resolve`], but the names of readers may be known for this long.
    pub async fn resolve<D: Dns, C: Clusters>(
        &self,
        dns: &D,
        clusters: &C,
        binding: &Binding,
        family: Family,
        age: Duration,
    ) -> Result<Answer, Fault> {
        let mut answer = dns.resolve(&binding.endpoint, family).await?;
        match binding.role {
            Role::Writer => only(answer),
            Role::All => Ok(answer),
            Role::Readers => {
                let names = match self.younger_than(age, &answer) {
                    Some(names) => names,
                    None => {
                        self.keep(&answer, readers(clusters, &cluster_identifier(binding, &answer)).await?)
                    }
                };
                let lookups = names.iter().map(async |name| only(dns.resolve(name, family).await?));
                let addresses = try_join_all(lookups).await?;
                let addresses = addresses.iter().flat_map(|answer| answer.writer.addresses());
                let readers = Writer::parse(addresses).map_err(|not| {
                    Fault::new(Kind::NoAnswer, format!("resolve the readers of {}", binding.endpoint))
                        .because(not)
                })?;
                // A reader endpoint ends in another reader at every lookup, which is no news.
                answer.chain.truncate(answer.chain.len().saturating_sub(1).max(1));
                Ok(Answer { writer: readers, chain: answer.chain })
            }
        }
    }

    /// The names, if they are known for no longer than this, and the writer is still the one that it was then.
    /// A reader endpoint says nothing of that: it gives one reader after the other.
    fn younger_than(&self, age: Duration, answer: &Answer) -> Option<Vec<String>> {
        let known = self.0.borrow();
        let (at, writer, names) = known.as_ref()?;
        let is_of_kind =
            |name: &String| name.split_once('.').is_some_and(|(_, rest)| rest.starts_with("cluster-ro-"));
        let is_same = *writer == answer.writer || answer.chain.iter().any(is_of_kind);
        (is_same && at.elapsed() < age).then(|| names.clone())
    }

    fn keep(&self, answer: &Answer, names: Vec<String>) -> Vec<String> {
        self.0.replace(Some((Instant::now(), answer.writer.clone(), names.clone())));
        names
    }
}

/// Refuses an answer of several addresses: no writer has them.
pub(super) fn only(answer: Answer) -> Result<Answer, Fault> {
    let Answer { writer, chain } = answer;
    let writer = writer.only().map_err(|not| {
        let name = chain.first().map(String::as_str).unwrap_or_default();
        Fault::new(Kind::NoAnswer, format!("resolve {name}")).because(not).cure(
            "bind the cluster's writer endpoint or an instance's endpoint, which have one address each, or give the \
             binding the role \"all\"",
        )
    })?;
    Ok(Answer { writer, chain })
}

/// The endpoints of a cluster's readers, or of its writer where it has none: so does the cluster's own
/// reader endpoint, which gives one of them at a time and is no list.
async fn readers<C: Clusters>(clusters: &C, identifier: &str) -> Result<Vec<String>, Fault> {
    let doing = || format!("list the readers of the cluster {identifier}");
    let cluster = clusters.cluster(identifier).await?.ok_or_else(|| {
        Fault::new(Kind::Permanent, doing())
            .because("the RDS API knows no cluster of this name")
            .cure("bind an endpoint of the cluster, or give the binding its identifier as \"database\"")
    })?;
    let Cluster { members, .. } = cluster;
    let (writers, readers): (Vec<_>, Vec<_>) = members.iter().partition(|(_, is_writer)| **is_writer);
    for candidates in [readers, writers] {
        let instances = candidates.iter().map(|(name, _)| clusters.instance(name));
        let serving = try_join_all(instances).await?.into_iter().flatten().filter(|instance| {
            !COMING_OR_GOING.iter().any(|status| instance.status.eq_ignore_ascii_case(status))
        });
        let names: Vec<String> = serving.filter_map(|instance| instance.endpoint).collect();
        if !names.is_empty() {
            return Ok(names);
        }
    }
    Err(Fault::new(Kind::NoAnswer, doing()).because("the RDS API names neither a reader nor a writer"))
}
