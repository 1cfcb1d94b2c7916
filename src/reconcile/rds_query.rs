//! Questions to the RDS API, which nothing may depend on.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind};

/// How long the RDS API may take to answer: some round trips. No answer is no veto, because a failover that
/// breaks the API as well must be followed all the same.
pub const RDS_TIMEOUT: Duration = Duration::from_secs(3);

/// Ends a question after [`RDS_TIMEOUT`], or at the deadline.
pub(crate) async fn ask<R>(
    deadline: Instant,
    question: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    let end = deadline.min(Instant::now() + RDS_TIMEOUT);
    timeout_at(end, question).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Transient, "ask the RDS API").with_source("no answer in time"))
    })
}
