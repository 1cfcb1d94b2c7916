//! A fact that is read until the deadline.

use tokio::time::{Instant, timeout_at};

use super::facts::Fact;
use crate::error::{Error, ErrorKind};

/// The call's result, or `Unread` at the deadline. `doing` is the action, such as "list the targets".
pub async fn read_until<R>(
    deadline: Instant,
    doing: &str,
    call: impl Future<Output = Result<R, Error>>,
) -> Fact<R> {
    let result = timeout_at(deadline, call).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::DeadlineExceeded, format!("{doing} before the time ran out"))
            .with_fix("raise the time-out, or find out why the call takes so long"))
    });
    Ok(result?)
}
