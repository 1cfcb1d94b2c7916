//! The fields of an event that decide what it is.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::command::Action;
use super::unsupported::{UnsupportedEvent, brief, read};

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
    /// Of an SNS record in a Lambda event.
    #[serde(borrow, default, deserialize_with = "present", rename = "Sns")]
    pub sns: Option<&'a RawValue>,
    /// Of an SQS message.
    #[serde(borrow, default, deserialize_with = "present")]
    pub body: Option<&'a RawValue>,
    /// Of an SNS notification, as SQS carries it.
    #[serde(borrow, default, deserialize_with = "present", rename = "TopicArn")]
    pub topic_arn: Option<&'a RawValue>,
    /// Of an RDS event subscription's message.
    #[serde(borrow, default, deserialize_with = "present", rename = "Event Source")]
    pub event_source: Option<&'a RawValue>,
}

/// Reads the fields of a JSON object.
pub(super) fn fields(json: &str) -> Result<Fields<'_>, UnsupportedEvent> {
    // Serde would also accept an array, as the object's fields in their order.
    if json.starts_with('{') {
        return read(json, "event");
    }
    let name = serde_json::from_str::<String>(json).ok().filter(|name| Action::named(name).is_some());
    Err(UnsupportedEvent(match name {
        Some(name) => format!("the event is the text {name:?}; a command is {{\"command\": {name:?}}}"),
        None => format!("the event is not a JSON object ({})", brief(json)),
    }))
}

/// Reads a field that is present. `null` counts as present.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

/// Passes on each element of an array as it is read: a million elements need no more memory than one.
pub(super) fn for_each_element<'de, D: Deserializer<'de>>(
    array: D,
    add: impl FnMut(&'de str),
) -> Result<(), D::Error> {
    array.deserialize_seq(Elements(add))
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            (self.0)(element.get());
        }
        Ok(())
    }
}
