//! An event of RDS: which databases it is about, when it was made, and which member is being promoted.

use std::time::SystemTime;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::fields::for_each_element;

/// The categories of events that come with a failover, or with other work that may move the address: patches, resizes,
/// host replacements, restarts (RDS user guide, "Event categories and messages").
const WATCHED_CATEGORIES: [&str; 8] = [
    "availability",
    "configuration change",
    "failover",
    "failure",
    "global failover",
    "maintenance",
    "notification",
    "recovery",
];

/// The events of the category backup about instances, which come every day (RDS user guide, "DB instance events").
const BACKUPS: [&str; 2] = ["RDS-EVENT-0001", "RDS-EVENT-0002"];

/// The longest identifier of a cluster or an instance (RDS API, `DBInstanceIdentifier`).
const MAX_IDENTIFIER: usize = 63;
/// The longest name of a Region. The longest today, `us-isob-east-1`, has 14 characters.
const MAX_REGION: usize = 32;
/// The most words of a blue/green deployment's message that may be identifiers. RDS's own messages have some twenty.
const MAX_WORDS: usize = 64;

/// The parts of an RDS event that this function acts on. The default event names nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdsEvent {
    pub time: Option<SystemTime>,
    pub account: Option<String>,
    /// The databases that it may be about: one, or those that a blue/green deployment's message may name.
    pub databases: Vec<Database>,
    /// Whether one of its categories may come with another address.
    pub may_move_address: bool,
    /// Whether the writer of a global cluster may move.
    pub is_global_failover: bool,
    /// The cluster member that it names as the one being promoted, in lower case.
    pub promoted_instance: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub kind: SourceKind,
    /// In lower case.
    pub identifier: String,
    pub region: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Cluster,
    Instance,
    Global,
    /// A cluster or an instance: the event does not say which.
    Unknown,
}

/// The part of an event that RDS writes. A field of an unexpected type counts as absent.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Detail {
    #[serde(deserialize_with = "lenient")]
    event_categories: Categories,
    #[serde(deserialize_with = "lenient")]
    source_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    source_arn: Option<String>,
    #[serde(deserialize_with = "lenient")]
    source_identifier: Option<String>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
}

/// The message of an RDS event subscription (RDS user guide, "Working with Amazon RDS event notification"). Older
/// ones have no ARN and no categories.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SubscriptionMessage {
    #[serde(rename = "Event Source", deserialize_with = "lenient")]
    source_type: Option<String>,
    /// Such as `2026-11-26 10:00:02.114`, in UTC.
    #[serde(rename = "Event Time", deserialize_with = "lenient")]
    time: Option<String>,
    #[serde(rename = "Source ID", deserialize_with = "lenient")]
    source_identifier: Option<String>,
    #[serde(rename = "Source ARN", deserialize_with = "lenient")]
    source_arn: Option<String>,
    /// A web address with the event's Region.
    #[serde(rename = "Identifier Link", deserialize_with = "lenient")]
    link: Option<String>,
    /// A web address that ends with the event's id.
    #[serde(rename = "Event ID", deserialize_with = "lenient")]
    event_id: Option<String>,
    #[serde(rename = "Event Categories", deserialize_with = "lenient")]
    event_categories: Option<Categories>,
    #[serde(rename = "Event Message", deserialize_with = "lenient")]
    message: Option<String>,
}

/// The facts that the function needs of a list of categories. An entry that is not text is ignored.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Categories {
    has_watched: bool,
    has_global_failover: bool,
}

impl RdsEvent {
    /// Parses the JSON of an event whose source is `aws.rds`. An event that does not parse counts as the default.
    pub(super) fn parse(json: &str) -> Self {
        let Some(event) = read::<EventBridgeEvent<Detail>>(json) else { return Self::default() };
        let EventBridgeEvent { time, account, region, resources, detail, .. } = event;
        let time = time.map(SystemTime::from);
        Self::new(time, account, region, &resources.unwrap_or_default(), detail)
    }

    pub(super) fn parse_message(json: &str) -> Self {
        let Some(message) = read(json) else { return Self::default() };
        let SubscriptionMessage {
            source_type,
            time,
            source_identifier,
            source_arn,
            link,
            event_id,
            event_categories,
            message,
        } = message;
        let time = time.and_then(|time| {
            let time =
                DateTime::from_str(&format!("{}Z", time.trim().replacen(' ', "T", 1)), Format::DateTime);
            SystemTime::try_from(time.ok()?).ok()
        });
        // Without categories: the subscription sends only the events that its owner chose, and the message names a global
        // failover, as in "Global switchover to DB cluster NAME in Region NAME finished."
        let event_categories = event_categories.unwrap_or_else(|| Categories {
            has_watched: !event_id
                .is_some_and(|id| BACKUPS.iter().any(|backup| id.trim_end().ends_with(backup))),
            has_global_failover: message
                .as_deref()
                .is_some_and(|text| words(text).any(|word| word.eq_ignore_ascii_case("global"))),
        });
        let detail = Detail { event_categories, source_type, source_arn, source_identifier, message };
        let region = link.as_deref().and_then(|link| link.split_once("region=")?.1.split(['#', '&']).next());
        Self::new(time, None, region.map(str::to_owned), &[], detail)
    }

    fn new(
        time: Option<SystemTime>,
        account: Option<String>,
        region: Option<String>,
        resources: &[String],
        detail: Detail,
    ) -> Self {
        let Detail { event_categories, source_type, source_arn, source_identifier, message } = detail;
        let arn = source_arn.as_deref().and_then(Arn::parse);
        let is_database = arn.as_ref().is_some_and(|arn| arn.database().is_some());
        let of_arn = arn.as_ref().map(|arn| arn.account.to_owned()).filter(|account| !account.is_empty());
        // An ARN of another kind, such as a shared snapshot's, may be of another account than the event.
        let account = if is_database { of_arn.or(account) } else { account.or(of_arn) };
        // Every database gets a copy of the Region.
        let region = region.as_deref().or(arn.as_ref().map(|arn| arn.region)).and_then(valid_region);
        let message = message.unwrap_or_default();
        let databases = match arn.as_ref().and_then(Arn::database) {
            Some(database) => vec![database],
            // An ARN of another kind, such as a snapshot's, must not hide the database.
            None => {
                let listed = resources.iter().filter_map(|arn| Arn::parse(arn)?.database());
                let named = source_identifier.and_then(|identifier| {
                    let identifier = identifier.strip_prefix("rds:").unwrap_or(&identifier);
                    let kind = SourceKind::of_source_type(source_type.as_deref().unwrap_or_default());
                    Database::new(kind, identifier, region.clone())
                });
                let is_deployment = arn.as_ref().is_some_and(|arn| arn.kind == "deployment")
                    || source_type.as_deref().is_some_and(|kind| letters(kind) == "bluegreendeployment");
                let switched = words(&message).filter(|_| is_deployment);
                let switched =
                    switched.filter_map(|word| Database::new(SourceKind::Unknown, word, region.clone()));
                listed.chain(named).chain(switched).collect()
            }
        };
        let is_of_cluster = databases.iter().any(|database| database.kind == SourceKind::Cluster);
        Self {
            time,
            account,
            may_move_address: event_categories.has_watched,
            is_global_failover: event_categories.has_global_failover,
            promoted_instance: promoted_instance(&message).filter(|_| is_of_cluster),
            databases,
        }
    }
}

impl Database {
    fn new(kind: SourceKind, identifier: &str, region: Option<String>) -> Option<Self> {
        is_identifier(identifier).then(|| Self { kind, identifier: identifier.to_ascii_lowercase(), region })
    }
}

impl SourceKind {
    /// From EventBridge's `DB_INSTANCE`, or an event subscription's `db-instance`.
    fn of_source_type(source_type: &str) -> Self {
        match letters(source_type).as_str() {
            "dbinstance" => Self::Instance,
            "cluster" | "dbcluster" => Self::Cluster,
            _ => Self::Unknown,
        }
    }
}

/// `arn:PARTITION:rds:REGION:ACCOUNT:KIND:NAME`.
struct Arn<'a> {
    region: &'a str,
    account: &'a str,
    kind: &'a str,
    name: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(arn: &'a str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(7, ':').collect();
        let ["arn", _, "rds", region, account, kind, name] = parts.as_slice() else { return None };
        Some(Self { region, account, kind, name })
    }

    fn database(&self) -> Option<Database> {
        let kind = match self.kind {
            "cluster" => SourceKind::Cluster,
            "db" => SourceKind::Instance,
            "global-cluster" => SourceKind::Global,
            _ => return None,
        };
        Database::new(kind, self.name, valid_region(self.region))
    }
}

impl Categories {
    fn add(&mut self, text: &str) {
        // One text may list several categories.
        for name in text.split([',', ';', '|', '/']) {
            let name = letters(name);
            self.has_watched |= WATCHED_CATEGORIES.iter().any(|watched| letters(watched) == name);
            self.has_global_failover |= name == "globalfailover";
        }
    }
}

impl<'de> Deserialize<'de> for Categories {
    fn deserialize<D: Deserializer<'de>>(array: D) -> Result<Self, D::Error> {
        let mut categories = Self::default();
        for_each_element(array, |entry| {
            if let Ok(text) = serde_json::from_str::<String>(entry) {
                categories.add(&text);
            }
        })?;
        Ok(categories)
    }
}

/// The member that a cluster's event names as the one being promoted. The beginning of the message differs between
/// events, engines and years. Its end is always "failover to DB instance: NAME", with or without a full stop.
fn promoted_instance(message: &str) -> Option<String> {
    const MARKER: &str = "failover to db instance:";
    let message = message.to_ascii_lowercase();
    let (_, name) = message.rsplit_once(MARKER)?;
    let name = name.trim_matches(|c: char| c.is_whitespace() || c == '.');
    is_identifier(name).then(|| name.to_owned())
}

/// The words of a blue/green deployment's message. A word that is the identifier of a bound database shows that the
/// switchover is about it, as in "Renamed blue to blue-old and green to blue."
fn words(message: &str) -> impl Iterator<Item = &str> {
    message
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| !word.is_empty())
        .take(MAX_WORDS)
}

fn is_identifier(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_IDENTIFIER).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn valid_region(name: &str) -> Option<String> {
    (1..=MAX_REGION).contains(&name.len()).then(|| name.to_owned())
}

/// A name without punctuation, spaces and case: RDS writes the same name in several ways.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

fn read<'a, T: Deserialize<'a>>(event: &'a str) -> Option<T> {
    let read = serde_json::from_str(event);
    read.inspect_err(|error| {
        tracing::warn!(decision = "check", reason = %error, "unreadable event from RDS, checking all bindings");
    })
    .ok()
}

/// Reads a field, or its default if the field is of another type. The raw text takes no memory of its own; a tree of
/// values would.
fn lenient<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(field: D) -> Result<T, D::Error> {
    let json = <&RawValue>::deserialize(field)?;
    Ok(serde_json::from_str(json.get()).unwrap_or_default())
}
