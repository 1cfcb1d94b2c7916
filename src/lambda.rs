//! The function's side of an invocation: from the body to an event, and from the result to Lambda's words.

use std::time::{Duration, SystemTime};

use lambda_runtime::Diagnostic;

use crate::discovery::Discover;
use crate::doctor::{InspectDatabases, InspectGroups};
use crate::event::Event;
use crate::reconcile::{RdsApi, Resolve, TargetGroupApi};
use crate::service::{Answer, InvocationError, Service};

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

impl From<InvocationError> for Diagnostic {
    fn from(failed: InvocationError) -> Self {
        let error_type = match failed {
            InvocationError::UnsupportedEvent(_) => "EventRefused",
            InvocationError::Bindings(_) => "BindingsFailed",
        };
        Self { error_type: error_type.to_owned(), error_message: failed.to_string() }
    }
}
