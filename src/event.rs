//! An event, parsed once into a typed value, and the request that it makes.
//!
//! The event says when to look and where, never what to find; at most it names a cluster member that is
//! registered early. Its fields may be absent, unknown or of another type than documented; only its
//! `source` decides whether it is for this function at all.

mod batch;
mod command;
mod fields;
mod kind;
mod rds;
mod request;
mod unsupported;

use serde_json::value::RawValue;

use batch::Batch;
pub use command::{Action, Command};
use fields::{MAX_EVENT_BYTES, fields};
pub use kind::Event;
pub use rds::{RdsEvent, SourceKind};
pub use request::{
    ClusterByInstance, Request, WatchedBinding, decide_request, is_about_unbound_database, unknown_instances,
};
pub use unsupported::UnsupportedEvent;
use unsupported::{brief, too_large};

/// The largest batch: Lambda accepts 6 MB of JSON (Lambda quotas, "Invocation payload").
const MAX_BATCH_BYTES: usize = 6 << 20;

impl Event {
    pub fn parse(body: &str) -> Result<Self, UnsupportedEvent> {
        if body.len() > MAX_BATCH_BYTES {
            return Err(too_large(body.len(), MAX_BATCH_BYTES));
        }
        let json: &RawValue = serde_json::from_str(body).map_err(|error| {
            UnsupportedEvent(format!("the event is not JSON ({})", brief(&error.to_string())))
        })?;
        let json = json.get();
        let mut batch = Batch::default();
        if json.starts_with('[') {
            batch.add_all(json, 0)?;
            return batch.finish();
        }
        let fields = fields(json)?;
        match (fields.command, fields.records) {
            (None, Some(records)) if fields.source.is_none() => batch.add_all(records.get(), 0)?,
            _ if json.len() > MAX_EVENT_BYTES => return Err(too_large(json.len(), MAX_EVENT_BYTES)),
            (Some(command), _) => return Command::parse(command, json).map(Self::Command),
            (None, _) => batch.add_object(json, &fields, 0)?,
        }
        batch.finish()
    }
}

#[cfg(test)]
mod tests;
