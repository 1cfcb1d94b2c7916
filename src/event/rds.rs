//! An event of RDS: which database it is about, when it was made, and which member is being promoted.

use std::time::{Duration, SystemTime};

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

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

/// What an event of RDS says, as far as this function acts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdsEvent {
    /// When it was made.
    pub time: Option<SystemTime>,
    /// The database that it is about.
    pub database: Option<Database>,
    /// Whether one of its categories may come with another address.
    pub may_move_address: bool,
    /// The cluster member that it names as the one being promoted, in lower case.
    pub promoted_instance: Option<String>,
}

/// A cluster or an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub kind: DatabaseKind,
    pub identifier: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    Cluster,
    Instance,
}

/// The part of an event that RDS writes. A field of an unexpected type counts as absent.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    #[serde(default, deserialize_with = "lenient")]
    event_categories: Vec<Category>,
    #[serde(default, deserialize_with = "lenient")]
    source_arn: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
}

/// An entry of `EventCategories`. One that is no text is no category.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Category(#[serde(deserialize_with = "lenient")] Option<String>);

impl RdsEvent {
    /// Parses the JSON of an event whose source is `aws.rds`. One that does not parse is about no database.
    pub(super) fn parse(json: &str) -> Self {
        match serde_json::from_str::<EventBridgeEvent<Detail>>(json) {
            Ok(event) => Self::new(event),
            Err(error) => {
                tracing::warn!(decision = "check", reason = %error, "unreadable event from RDS, checking all bindings");
                Self::default()
            }
        }
    }

    fn new(event: EventBridgeEvent<Detail>) -> Self {
        let EventBridgeEvent { time, resources, detail, .. } = event;
        let Detail { event_categories, source_arn, message } = detail;
        let arn = source_arn.or_else(|| resources.unwrap_or_default().into_iter().next());
        let database = arn.and_then(|arn| Database::from_arn(&arn));
        let is_of_cluster = database.as_ref().is_some_and(|database| database.kind == DatabaseKind::Cluster);
        Self {
            time: time.map(SystemTime::from),
            may_move_address: event_categories.iter().any(Category::is_watched),
            promoted_instance: message
                .filter(|_| is_of_cluster)
                .and_then(|message| promoted_instance(&message)),
            database,
        }
    }

    /// How long ago the event was made, if it says when.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.time?).ok()
    }

    /// The instance that the event is about, if it is about one.
    pub fn instance(&self) -> Option<&str> {
        let database = self.database.as_ref().filter(|database| database.kind == DatabaseKind::Instance);
        database.map(|database| database.identifier.as_str())
    }

    /// The database to watch, if the event is a reason to watch one.
    pub(super) fn watched(&self) -> Option<&str> {
        self.database.as_ref().filter(|_| self.may_move_address).map(|database| database.identifier.as_str())
    }
}

impl Database {
    /// From `arn:PARTITION:rds:REGION:ACCOUNT:cluster:NAME`, or `…:db:NAME`.
    fn from_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(7, ':').collect();
        let ["arn", _, "rds", _, _, kind, identifier] = parts.as_slice() else { return None };
        let kind = match *kind {
            "cluster" => DatabaseKind::Cluster,
            "db" => DatabaseKind::Instance,
            _ => return None,
        };
        Some(Self { kind, identifier: (*identifier).to_owned() })
    }
}

impl Category {
    /// One text may list several categories.
    fn is_watched(&self) -> bool {
        let mut names = self.0.iter().flat_map(|names| names.split(',').map(str::trim));
        names.any(|name| WATCHED.iter().any(|watched| watched.eq_ignore_ascii_case(name)))
    }
}

/// The member that a cluster's event names as the one being promoted, in the exact words of events 0071,
/// 0072 and 0073 (RDS user guide, "Event categories and messages").
fn promoted_instance(message: &str) -> Option<String> {
    const WORDS: [&str; 3] = [
        "Started same AZ failover to DB instance: ",
        "Started cross AZ failover to DB instance: ",
        "Completed failover to DB instance: ",
    ];
    // The longest identifier of an instance (RDS API, `DBInstanceIdentifier`).
    const LENGTH: usize = 63;
    let name = WORDS.iter().find_map(|words| message.strip_prefix(words))?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_name && (1..=LENGTH).contains(&name.len())).then(|| name.to_ascii_lowercase())
}

/// Reads a field, or its default where it is of another type. The raw text between costs no memory,
/// unlike a tree of values.
fn lenient<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(field: D) -> Result<T, D::Error> {
    let json = <&RawValue>::deserialize(field)?;
    Ok(serde_json::from_str(json.get()).unwrap_or_default())
}
