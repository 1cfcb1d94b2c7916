//! The fields of an event that decide what it is.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::command::Action;
use super::unsupported::{UnsupportedEvent, brief};

/// The largest event that is parsed. EventBridge, SNS and SQS carry at most 1 MiB (quotas of 2025).
pub(super) const MAX_EVENT_BYTES: usize = 1 << 20;

/// The fields that decide what an event is. The others cost nothing here, however large they are.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub command: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub source: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "detail-type")]
    pub detail_type: Option<&'a RawValue>,
    /// Of an SNS or SQS event.
    #[serde(borrow, default, deserialize_with = "present", rename = "Records")]
    pub records: Option<&'a RawValue>,
}

/// Reads the fields of a JSON object.
pub(super) fn fields(json: &str) -> Result<Fields<'_>, UnsupportedEvent> {
    // Serde would also accept an array, as the object's fields in their order.
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

/// Reads a field that is present. `null` counts as present.
pub(super) fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}
