//! An event, parsed once into a typed value, and the request that it makes.
//!
//! The event says when to look and where, never what to find; at most it names a cluster member that is
//! registered early. Its fields may be absent, unknown or of another type than documented; only its
//! `source` decides whether it is for this function at all.

mod batch;
mod rds;
mod request;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error;
use batch::Batch;
pub use rds::{DatabaseKind, RdsEvent};
pub use request::{Members, Request, WatchedBinding, is_about_unbound_database, request, unknown_instances};

/// The largest event that is parsed. EventBridge, SNS and SQS carry at most 1 MiB (quotas of 2025).
const MAX_EVENT_BYTES: usize = 1 << 20;
/// The largest batch: Lambda accepts 6 MB of JSON (Lambda quotas, "Invocation payload").
const MAX_BATCH_BYTES: usize = 6 << 20;

/// What invoked the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator.
    Command(Command),
    /// An EventBridge rule or EventBridge Scheduler.
    Schedule,
    /// RDS: one event, or those of a batch.
    Rds(Vec<RdsEvent>),
}

/// An operator's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub action: Action,
    /// The name of the only target group that it is for.
    pub binding: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Check,
    Plan,
    Doctor,
}

/// An event that is not for this function. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; this function accepts EventBridge events from aws.rds, the messages of RDS event subscriptions, both also \
     through SNS, SQS or EventBridge Pipes, the scheduled events of EventBridge rules and EventBridge Scheduler, and \
     {{\"command\": \"check\"}}, {{\"command\": \"plan\"}} or {{\"command\": \"doctor\"}}, with \"binding\": \"GROUP \
     NAME\" for one target group; nothing was changed"
)]
pub struct UnsupportedEvent(String);

/// The fields that decide what an event is. The others cost nothing here, however large they are.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    command: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    source: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "detail-type")]
    detail_type: Option<&'a RawValue>,
    /// Of an SNS or SQS event.
    #[serde(borrow, default, deserialize_with = "present", rename = "Records")]
    records: Option<&'a RawValue>,
}

impl Event {
    /// Parses the body of an invocation.
    pub fn parse(body: &str) -> Result<Self, UnsupportedEvent> {
        if body.len() > MAX_BATCH_BYTES {
            return Err(too_large(body.len(), MAX_BATCH_BYTES));
        }
        let json: &RawValue = serde_json::from_str(body).map_err(|error| {
            UnsupportedEvent(format!("the event is not JSON ({})", brief(&error.to_string())))
        })?;
        let json = json.get();
        if json.starts_with('[') {
            return Batch::parse(json);
        }
        let fields = fields(json)?;
        if let Some(records) = fields.records.filter(|_| fields.command.is_none() && fields.source.is_none())
        {
            return Batch::parse(records.get());
        }
        if json.len() > MAX_EVENT_BYTES {
            return Err(too_large(json.len(), MAX_EVENT_BYTES));
        }
        match fields.command {
            Some(command) => Command::parse(command, json).map(Self::Command),
            None => Batch::parse_one(json, &fields),
        }
    }

    /// Whether RDS sent the event.
    pub fn is_of_rds(&self) -> bool {
        matches!(self, Self::Rds(_))
    }
}

impl Command {
    /// A command for all bindings.
    pub fn new(action: Action) -> Self {
        Self { action, binding: None }
    }

    fn parse(command: &RawValue, json: &str) -> Result<Self, UnsupportedEvent> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Arguments {
            #[serde(rename = "command")]
            _command: serde::de::IgnoredAny,
            binding: Option<String>,
        }
        let action = text(command).as_deref().and_then(Action::named);
        let Some(action) = action else {
            return Err(UnsupportedEvent(format!("the command {} is unknown", brief(command.get()))));
        };
        let Arguments { _command, binding } = serde_json::from_str(json).map_err(|error| {
            let name = command.get();
            UnsupportedEvent(format!("the command {name} cannot be read ({})", brief(&error.to_string())))
        })?;
        Ok(Self { action, binding })
    }
}

impl Action {
    fn named(name: &str) -> Option<Self> {
        match name {
            "check" => Some(Self::Check),
            "plan" => Some(Self::Plan),
            "doctor" => Some(Self::Doctor),
            _ => None,
        }
    }
}

/// Reads the fields of a JSON object.
fn fields(json: &str) -> Result<Fields<'_>, UnsupportedEvent> {
    // Serde takes an array for an object's fields in their order.
    if json.starts_with('{') {
        return serde_json::from_str(json).map_err(|error| {
            UnsupportedEvent(format!("the event cannot be read ({})", brief(&error.to_string())))
        });
    }
    let name = serde_json::from_str::<String>(json).ok().filter(|name| Action::named(name).is_some());
    Err(UnsupportedEvent(match name {
        Some(name) => format!("the event is the text {name:?}; a command is {{\"command\": {name:?}}}"),
        None => format!("the event is not a JSON object ({})", brief(json)),
    }))
}

/// A field that is there, even as `null`.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

fn too_large(bytes: usize, most: usize) -> UnsupportedEvent {
    UnsupportedEvent(format!("the event has {bytes} bytes, more than the {most} that one may have"))
}

/// Enough of a text to recognise it by in a message.
fn brief(text: &str) -> String {
    error::brief(text, 100)
}

#[cfg(test)]
mod tests;
