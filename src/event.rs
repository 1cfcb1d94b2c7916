//! An event, parsed once into a typed value, and the request that it makes.
//!
//! The event says when to look and where, never what to find; at most it names a cluster member that is
//! registered early. Its fields may be absent, unknown or of another type than documented; only its
//! `source` decides whether it is for this function at all.

mod rds;
mod request;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error;
pub use rds::RdsEvent;
pub use request::{Request, WatchedBinding, is_about_unbound_database, request};

/// What invoked the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator.
    Command(Command),
    /// An EventBridge rule or EventBridge Scheduler.
    Schedule,
    /// RDS, through EventBridge.
    Rds(RdsEvent),
}

/// An operator's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Check,
    Plan,
    Doctor,
}

/// An event that is not for this function. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; this function accepts EventBridge events from aws.rds, the scheduled events of EventBridge rules and \
     EventBridge Scheduler, and {{\"command\": \"check\"}}, {{\"command\": \"plan\"}} or \
     {{\"command\": \"doctor\"}}; nothing was changed"
)]
pub struct UnsupportedEvent(String);

/// The fields that decide what an event is. The others cost nothing here, however large they are.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    command: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    source: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    detail_type: Option<&'a RawValue>,
}

impl Event {
    /// Parses the body of an invocation.
    pub fn parse(body: &str) -> Result<Self, UnsupportedEvent> {
        let json: &RawValue = serde_json::from_str(body).map_err(|error| {
            UnsupportedEvent(format!("the event is not JSON ({})", brief(&error.to_string())))
        })?;
        let not_an_object =
            || UnsupportedEvent(format!("the event is not a JSON object ({})", brief(json.get())));
        // Serde takes an array for an object's fields in their order.
        if !json.get().starts_with('{') {
            return Err(not_an_object());
        }
        let Fields { command, source, detail_type } =
            serde_json::from_str(json.get()).map_err(|_| not_an_object())?;
        if let Some(command) = command {
            return Ok(Self::Command(Command::parse(command)?));
        }
        match (source.and_then(text).as_deref(), detail_type.and_then(text).as_deref()) {
            (Some("aws.rds"), _) => Ok(Self::Rds(RdsEvent::parse(json.get()))),
            (Some("aws.events" | "aws.scheduler"), Some("Scheduled Event")) => Ok(Self::Schedule),
            (Some(source), kind) => {
                let kind = kind.unwrap_or("without a detail-type");
                Err(UnsupportedEvent(format!(
                    "the event from {:?} ({:?}) is not for this function",
                    brief(source),
                    brief(kind)
                )))
            }
            (None, _) => Err(UnsupportedEvent(format!(
                "the event names no source and no command ({})",
                brief(json.get())
            ))),
        }
    }

    /// Whether RDS sent the event.
    pub fn is_of_rds(&self) -> bool {
        matches!(self, Self::Rds(_))
    }
}

impl Command {
    fn parse(command: &RawValue) -> Result<Self, UnsupportedEvent> {
        match text(command).as_deref() {
            Some("check") => Ok(Self::Check),
            Some("plan") => Ok(Self::Plan),
            Some("doctor") => Ok(Self::Doctor),
            _ => Err(UnsupportedEvent(format!("the command {} is unknown", brief(command.get())))),
        }
    }
}

/// A field that is there, even as `null`.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// Enough of a text to recognise it by in a message.
fn brief(text: &str) -> String {
    error::brief(text, 100)
}

#[cfg(test)]
mod tests;
