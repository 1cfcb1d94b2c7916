//! Questions to the RDS API. A run goes on without an answer, unless the binding's role is `readers`.
//!
//! A database of the same name in another account or Region is another database. So an answer counts only if its
//! endpoints lie in the zone of the database that DNS names.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ports::{Cluster, Instance, RdsApi};
use crate::endpoint::DnsZone;
use crate::error::{Error, ErrorKind};

/// How long the RDS API may take to answer: some round trips. No answer is no veto, because a failover that
/// breaks the API as well must be followed all the same.
pub const RDS_TIMEOUT: Duration = Duration::from_secs(3);

/// Ends a question after [`RDS_TIMEOUT`], or at the deadline.
pub(crate) async fn with_rds_timeout<R>(
    deadline: Instant,
    question: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    let end = deadline.min(Instant::now() + RDS_TIMEOUT);
    timeout_at(end, question).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Transient, "ask the RDS API").with_source("no answer in time").with_fix(
            "check that the function's network reaches the RDS API, by a NAT gateway or an interface endpoint",
        ))
    })
}

/// The cluster of this name in this zone, if there is one.
pub(crate) async fn ask_cluster<C: RdsApi>(
    rds: &C,
    deadline: Instant,
    identifier: &str,
    zone: &DnsZone,
) -> Result<Option<Cluster>, Error> {
    let cluster = with_rds_timeout(deadline, rds.cluster(identifier)).await?;
    Ok(cluster.filter(|cluster| cluster.zone.as_ref() == Some(zone)))
}

/// The instance of this name in this zone, if there is one.
pub(super) async fn ask_instance<C: RdsApi>(
    rds: &C,
    deadline: Instant,
    identifier: &str,
    zone: &DnsZone,
) -> Result<Option<Instance>, Error> {
    let instance = with_rds_timeout(deadline, rds.instance(identifier)).await?;
    Ok(instance.filter(|instance| instance.zone().as_ref() == Some(zone)))
}
