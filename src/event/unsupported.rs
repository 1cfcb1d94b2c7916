//! The error about an event that is not for this function.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error;

/// An event that is not for this function. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; this function accepts EventBridge events from aws.rds, the messages of RDS event subscriptions, both also \
     through SNS, SQS or EventBridge Pipes, the scheduled events of EventBridge rules and EventBridge Scheduler, and \
     {{\"command\": \"check\"}}, {{\"command\": \"plan\"}} or {{\"command\": \"doctor\"}}, with \"binding\": \"GROUP \
     NAME\" for one target group; nothing was changed"
)]
pub struct UnsupportedEvent(pub(super) String);

/// Parses a part of the event, which the error calls `part`.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a str, part: impl Display) -> Result<T, UnsupportedEvent> {
    serde_json::from_str(json).map_err(|error| unreadable(part, &error))
}

pub(super) fn unreadable(part: impl Display, error: &serde_json::Error) -> UnsupportedEvent {
    UnsupportedEvent(format!("the {part} cannot be read ({})", brief(&error.to_string())))
}

pub(super) fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

pub(super) fn too_large(bytes: usize, most: usize) -> UnsupportedEvent {
    UnsupportedEvent(format!("the event has {bytes} bytes, and the maximum is {most}"))
}

/// Enough of a text to recognise it by in a message.
pub(super) fn brief(text: &str) -> String {
    error::brief(text, 100)
}
