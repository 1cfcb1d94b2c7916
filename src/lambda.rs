//! Turns the body of an invocation into an event, and the result into Lambda's answer.

mod runtime_api;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::discovery::Discover;
use crate::doctor::{InspectDatabases, InspectGroups};
use crate::event::Event;
use crate::reconcile::{RdsApi, Resolve, TargetGroupApi};
use crate::service::{Answer, InvocationError, Service};
pub use runtime_api::{Failure, Invocation, RuntimeApi};

/// A deadline that passed longer ago than this is ignored: some emulators send a constant. Lambda freezes no function
/// for a day.
const MAX_DEADLINE_AGE: Duration = Duration::from_secs(86_400);
/// The time that is assumed beyond a watch's own time if the deadline is unknown.
const ASSUMED_MARGIN: Duration = Duration::from_secs(60);

/// Does what the body of an invocation asks for, within `remaining`, the time until Lambda ends the function.
pub async fn handle<D, T, C>(
    service: &Service<'_, D, T, C>,
    body: &str,
    now: SystemTime,
    remaining: Duration,
) -> Result<Answer, InvocationError>
where
    D: Resolve,
    T: TargetGroupApi + InspectGroups + Discover,
    C: RdsApi + InspectDatabases,
{
    let event = Event::parse(body).map_err(InvocationError::UnsupportedEvent)?;
    service.invoke(&event, now, remaining).await
}

/// The time until the deadline, which is in milliseconds since 1970. A function that was frozen past its deadline
/// has none left.
pub fn remaining(deadline: Option<u64>, now: SystemTime, watch: Duration) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match deadline.map(Duration::from_millis) {
        Some(deadline) if deadline + MAX_DEADLINE_AGE >= now => deadline.saturating_sub(now),
        unknown => {
            let assumed = watch + ASSUMED_MARGIN;
            tracing::warn!(
                decision = "deadline",
                reason = "the Runtime API gives no deadline, or one of long ago",
                deadline_ms = unknown.map(|deadline| deadline.as_millis() as u64),
                assumed_seconds = assumed.as_secs(),
                "assuming a deadline"
            );
            assumed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_ends_at_the_deadline() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_176_000);
        let (watch, seconds) = (Duration::from_secs(180), Duration::from_secs);
        let at = |seconds: u64| Some(1000 * seconds);
        assert_eq!(remaining(at(1_795_176_060), now, watch), seconds(60));
        assert_eq!(remaining(at(1_795_175_999), now, watch), Duration::ZERO, "frozen past its deadline");
        assert_eq!(remaining(at(1_795_176_000 - 86_400), now, watch), Duration::ZERO, "a day ago");
        assert_eq!(remaining(at(1_795_176_000 - 86_401), now, watch), seconds(240), "more than a day ago");
        assert_eq!(remaining(at(600), now, watch), seconds(240), "a constant");
        assert_eq!(remaining(None, now, watch), seconds(240));
        assert!(remaining(Some(u64::MAX), now, watch) > seconds(240));
    }
}
