//! What an event asks for: to watch the bindings that it is about, or to check all.
//!
//! The event says when to look and where, never what to find; at most it nominates a cluster member,
//! which is registered early and deregisters nobody. Its fields may be absent, unknown or
//! of another type than documented; only its `source` decides whether it is for us at all.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;

use crate::binding::Binding;
use crate::error;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Watch these bindings: a failover may be under way.
    Watch(Vec<WatchedBinding>),
    /// Check every binding.
    Check,
    /// Check every binding, and list every group: somebody wants to know.
    CheckAll,
    /// Report what a check would do.
    Plan,
    /// Examine every binding, and change nothing.
    Doctor,
}

/// A binding to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedBinding {
    /// The binding, by index.
    pub binding: usize,
    /// The cluster member that the event nominates as the next writer, in lower case.
    pub promoted_instance: Option<String>,
}

/// An event that is not for this function. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; this function accepts EventBridge events from aws.rds, the scheduled events of EventBridge rules and \
     EventBridge Scheduler, and {{\"command\": \"check\"}}, {{\"command\": \"plan\"}} or \
     {{\"command\": \"doctor\"}}; nothing was changed"
)]
pub struct UnsupportedEvent(String);

impl UnsupportedEvent {
    /// An event that is not even JSON.
    pub fn not_json(error: &str) -> Self {
        Self(format!("the event is not JSON ({})", brief(error)))
    }
}

/// The categories of events that come with a failover, or with what may move the address as well:
/// patches, resizes, host replacements, restarts (RDS user guide, "Event categories and messages").
const WATCHED: [&str; 8] = [
    "availability",
    "configuration change",
    "failover",
    "failure",
    "global failover",
    "maintenance",
    "notification",
    "recovery",
];

/// Reads an event.
pub fn request(event: &Value, bindings: &[Binding]) -> Result<Request, UnsupportedEvent> {
    let Value::Object(fields) = event else {
        return Err(UnsupportedEvent(format!(
            "the event is not a JSON object ({})",
            brief(&event.to_string())
        )));
    };
    if let Some(command) = fields.get("command") {
        return match command.as_str() {
            Some("check") => Ok(Request::CheckAll),
            Some("plan") => Ok(Request::Plan),
            Some("doctor") => Ok(Request::Doctor),
            _ => Err(UnsupportedEvent(format!("the command {} is unknown", brief(&command.to_string())))),
        };
    }
    let text = |name| fields.get(name).and_then(Value::as_str);
    match (text("source"), text("detail-type")) {
        (Some("aws.rds"), _) => Ok(rds(event, bindings)),
        (Some("aws.events" | "aws.scheduler"), Some("Scheduled Event")) => Ok(Request::Check),
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
            brief(&event.to_string())
        ))),
    }
}

fn rds(event: &Value, bindings: &[Binding]) -> Request {
    let about =
        |identifier| bindings.iter().enumerate().filter(move |(_, binding)| binding.is_about(identifier));
    let promoted_instance = promoted_instance(event);
    let watched = watched(event).into_iter().flat_map(about);
    let about: Vec<WatchedBinding> = watched
        .map(|(binding, _)| WatchedBinding { binding, promoted_instance: promoted_instance.clone() })
        .collect();
    if about.is_empty() { Request::Check } else { Request::Watch(about) }
}

/// Whether the event comes from RDS.
pub fn is_of_rds(event: &Value) -> bool {
    event.get("source").and_then(Value::as_str) == Some("aws.rds")
}

/// Whether the event would have its database watched, if only a binding were for it.
pub fn is_about_unbound_database(event: &Value, bindings: &[Binding]) -> bool {
    is_of_rds(event)
        && watched(event)
            .is_some_and(|identifier| !bindings.iter().any(|binding| binding.is_about(identifier)))
}

/// The identifier of the cluster or instance that the event is about, if its category is a watched one.
fn watched(event: &Value) -> Option<&str> {
    let categories = event.get("detail")?.get("EventCategories")?.as_array()?;
    let is_watched = |category: &Value| {
        let names = category.as_str().unwrap_or_default().split(',').map(str::trim);
        names.into_iter().any(|name| WATCHED.iter().any(|watched| watched.eq_ignore_ascii_case(name)))
    };
    database(event).filter(|_| categories.iter().any(is_watched))
}

/// How long ago the event was made, if it says when.
pub fn age(event: &Value, now: SystemTime) -> Option<Duration> {
    let time = event.get("time").and_then(Value::as_str)?;
    let made = DateTime::from_str(time, Format::DateTimeWithOffset).ok()?;
    now.duration_since(SystemTime::try_from(made).ok()?).ok()
}

/// The instance that an event of RDS is about, if it is about one.
pub fn instance(event: &Value) -> Option<&str> {
    source(event).filter(|(kind, _)| is_of_rds(event) && *kind == "db").map(|(_, name)| name)
}

/// The identifier of the cluster or instance that the event is about.
fn database(event: &Value) -> Option<&str> {
    source(event).map(|(_, name)| name)
}

/// What the event is about: `cluster` or `db`, and its identifier.
fn source(event: &Value) -> Option<(&str, &str)> {
    let named = event.get("detail").and_then(|detail| detail.get("SourceArn"));
    let listed = || event.get("resources")?.get(0)?.as_str();
    let arn = named.and_then(Value::as_str).or_else(listed)?;
    // arn:PARTITION:rds:REGION:ACCOUNT:cluster:NAME, or …:db:NAME
    match arn.splitn(7, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "rds", _, _, kind @ ("cluster" | "db"), name] => Some((*kind, *name)),
        _ => None,
    }
}

/// The member that a cluster's event names as the one being promoted, in the very words of events 0071,
/// 0072 and 0073 (RDS user guide, "Event categories and messages"). Other texts nominate nobody.
fn promoted_instance(event: &Value) -> Option<String> {
    const WORDS: [&str; 3] = [
        "Started same AZ failover to DB instance: ",
        "Started cross AZ failover to DB instance: ",
        "Completed failover to DB instance: ",
    ];
    // The longest identifier of an instance (RDS API, `DBInstanceIdentifier`).
    const LENGTH: usize = 63;
    let ("cluster", _) = source(event)? else { return None };
    let message = event.get("detail")?.get("Message")?.as_str()?;
    let name = WORDS.iter().find_map(|words| message.strip_prefix(words))?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_name && (1..=LENGTH).contains(&name.len())).then(|| name.to_ascii_lowercase())
}

/// Enough of a text to recognise it by in a message.
fn brief(text: &str) -> String {
    error::brief(text, 100)
}

#[cfg(test)]
mod tests;
