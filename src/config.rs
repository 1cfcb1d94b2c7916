//! The environment, parsed once.
//!
//! Everything wrong is reported in one message, each entry by its variable and field, so that one
//! deployment is enough to mend it. What a [`Config`] holds needs no further checking.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::binding::{Binding, Role};
use crate::endpoint::{NO_STANDBY_IN_A_CLUSTER, is_of_a_cluster};
use crate::plan::StandbyPolicy;
use crate::reconcile::Timing;

/// The bindings, in JSON.
pub const BINDINGS: &str = "BINDINGS";
/// The tag whose value names a group's endpoint.
pub const DISCOVERY_TAG: &str = "DISCOVERY_TAG";
/// The patience of a watch, in seconds.
pub const WATCH_SECONDS: &str = "WATCH_SECONDS";
/// The pause between lookups, in milliseconds.
pub const POLL_MILLIS: &str = "POLL_MILLIS";
/// How long DNS must be steady, in seconds.
pub const CONFIRM_SECONDS: &str = "CONFIRM_SECONDS";
/// The name servers to ask.
pub const NAMESERVERS: &str = "NAMESERVERS";
/// Whether a cluster member that is about to become the writer is registered before DNS names it.
pub const PREREGISTER: &str = "PREREGISTER";
/// Within how many seconds every group is listed, if there are many.
pub const VERIFY_SECONDS: &str = "VERIFY_SECONDS";
/// Calls per second of the load balancing API that are not about a failover.
pub const ELB_CALLS_PER_SECOND: &str = "ELB_CALLS_PER_SECOND";
/// Whether to change nothing.
pub const DRY_RUN: &str = "DRY_RUN";

const DNS_PORT: u16 = 53;

impl Binding {
    /// A binding from a group's tags, or what is wrong with which of them.
    pub fn from_tags(
        endpoint: &str,
        group: &str,
        options: BTreeMap<String, String>,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut fields: Map<String, Value> =
            options.into_iter().map(|(option, value)| (option, Value::String(value))).collect();
        // Tags are text; a number in one is a number.
        if let Some(port) = fields.get_mut("port")
            && let Some(number) = port.as_str().and_then(|text| text.parse::<u16>().ok())
        {
            *port = number.into();
        }
        fields.insert("endpoint".to_owned(), endpoint.into());
        fields.insert("target_group".to_owned(), group.into());
        let mut problems = Problems::default();
        let binding = binding(&mut problems, "", fields);
        let named = problems.0.into_iter().map(|problem| {
            let (name, problem) = problem.split_once(": ").unwrap_or(("", &problem));
            (name.trim_start_matches('.').to_owned(), problem.to_owned())
        });
        let problems: Vec<_> = named.collect();
        binding.filter(|_| problems.is_empty()).ok_or(problems)
    }
}

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bindings, no two of them with the same group; at least one where nothing is discovered.
    pub bindings: Vec<Binding>,
    /// The key of the tag by which further groups are bound.
    pub discovery: Option<String>,
    /// How patient the loop is.
    pub timing: Timing,
    /// The name servers, or `None` for the system's.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Whether the next writer of a cluster is registered before DNS names it.
    pub preregister: bool,
    /// Within what time every group is listed, if there are many.
    pub verify: Duration,
    /// Routine calls of the load balancing API per second.
    pub elb_calls: u32,
    /// Whether to report instead of to change.
    pub dry_run: bool,
}

/// Everything that is wrong with the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not valid: {}", self.0.join("; "))
    }
}

/// Collects what is wrong, each with the name of its variable and field.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, name: impl fmt::Display, problem: impl fmt::Display) {
        self.0.push(format!("{name}: {problem}"));
    }
}

impl Config {
    /// Parses the environment as `variable` gives it. An empty variable counts as unset, because a
    /// template cannot leave one out.
    pub fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut problems = Problems::default();
        let seconds = |problems: &mut Problems, name, default, range: (u64, u64)| {
            Duration::from_secs(number(problems, name, set(name), default, range))
        };

        let discovery = set(DISCOVERY_TAG);
        if let Some(key) = discovery.as_ref().filter(|key| !is_tag_key(key)) {
            problems.add(DISCOVERY_TAG, format_args!("{key:?} is not a tag key, such as rds-nlb-sync"));
        }
        let bindings = match set(BINDINGS) {
            Some(text) => bindings(&mut problems, &text),
            None if discovery.is_some() => Vec::new(),
            None => {
                problems.add(
                    BINDINGS,
                    r#"is not set; give a JSON array such as [{"endpoint": "orders.cluster-….rds.amazonaws.com", "target_group": "arn:aws:elasticloadbalancing:…"}]"#,
                );
                Vec::new()
            }
        };
        let timing = Timing {
            // A Lambda function runs for at most 90 minutes (Lambda API, `Timeout`).
            watch: seconds(&mut problems, WATCH_SECONDS, 180, (0, 5400)),
            poll: Duration::from_millis(number(
                &mut problems,
                POLL_MILLIS,
                set(POLL_MILLIS),
                500,
                (1, 60_000),
            )),
            // RDS's zones have a TTL of 5 s: within 6 s every cached answer has expired once.
            confirm: seconds(&mut problems, CONFIRM_SECONDS, 6, (0, 600)),
        };
        let nameservers = set(NAMESERVERS).map(|text| nameservers(&mut problems, &text));
        let preregister = flag(&mut problems, PREREGISTER, set(PREREGISTER), true);
        let verify = seconds(&mut problems, VERIFY_SECONDS, 900, (60, 86_400));
        // An account may make ten Describe calls per second, of which deployments need their share.
        let elb_calls =
            number(&mut problems, ELB_CALLS_PER_SECOND, set(ELB_CALLS_PER_SECOND), 5, (1, 10)) as u32;
        let dry_run = flag(&mut problems, DRY_RUN, set(DRY_RUN), false);
        if !problems.0.is_empty() {
            return Err(ConfigErrors(problems.0));
        }
        Ok(Self { bindings, discovery, timing, nameservers, preregister, verify, elb_calls, dry_run })
    }
}

fn number(problems: &mut Problems, name: &str, text: Option<String>, default: u64, range: (u64, u64)) -> u64 {
    let Some(text) = text else { return default };
    match text.trim().parse() {
        Ok(number) if (range.0..=range.1).contains(&number) => number,
        _ => {
            problems.add(
                name,
                format_args!(
                    "{text:?} is not a whole number from {} to {} (default {default})",
                    range.0, range.1
                ),
            );
            default
        }
    }
}

fn flag(problems: &mut Problems, name: &str, text: Option<String>, default: bool) -> bool {
    let Some(text) = text else { return default };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => true,
        "false" => false,
        other => {
            problems.add(name, format_args!("{other:?} is neither true nor false"));
            default
        }
    }
}

fn nameservers(problems: &mut Problems, text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate() {
        let server = SocketAddr::from_str(entry)
            .or_else(|_| IpAddr::from_str(entry).map(|address| SocketAddr::new(address, DNS_PORT)));
        match server {
            Ok(server) if server.port() > 0 => servers.push(server),
            _ => problems.add(
                format_args!("{NAMESERVERS}[{index}]"),
                format_args!("{entry:?} is not an address such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53"),
            ),
        }
    }
    servers
}

fn bindings(problems: &mut Problems, text: &str) -> Vec<Binding> {
    let entries = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(entries)) if !entries.is_empty() => entries,
        Ok(Value::Array(_)) => {
            problems.add(BINDINGS, "the array is empty; give at least one binding");
            return Vec::new();
        }
        Ok(other) => {
            problems.add(BINDINGS, format_args!("is {}, not an array of bindings", kind(&other)));
            return Vec::new();
        }
        Err(error) => {
            problems.add(BINDINGS, format_args!("is not JSON: {error}"));
            return Vec::new();
        }
    };
    let mut groups = BTreeMap::new();
    let mut bindings = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let name = format!("{BINDINGS}[{index}]");
        let Value::Object(fields) = entry else {
            problems
                .add(name, format_args!("is {}, not an object with endpoint and target_group", kind(&entry)));
            continue;
        };
        // A group is compared even where its binding has other problems, so that all are told at once.
        let group = fields.get("target_group").and_then(Value::as_str).map(str::to_owned);
        bindings.extend(binding(problems, &name, fields));
        if let Some(group) = group.filter(|group| target_group(group).is_ok())
            && let Some(other) = groups.insert(group.clone(), name.clone())
        {
            problems.add(
                format_args!("{name}.target_group"),
                format_args!("{group} is bound by {other} already; two endpoints would fight over it"),
            );
        }
    }
    bindings
}

fn binding(problems: &mut Problems, name: &str, mut fields: Map<String, Value>) -> Option<Binding> {
    let mut add = |field: &str, problem: String| problems.add(format_args!("{name}.{field}"), problem);
    let mut text = |field: &str| match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("is {}, not a string", kind(&other))),
    };
    let mut required = |field: &str, check: fn(&str) -> Result<(), String>| {
        let value = text(field).and_then(|value| value.ok_or_else(|| "is missing".to_owned()));
        value.and_then(|value| check(&value).map(|()| value)).map_err(|problem| add(field, problem)).ok()
    };
    let endpoint = required("endpoint", endpoint);
    let target_group = required("target_group", target_group);
    let database = text("database")
        .and_then(|value| value.map(database).transpose())
        .map_err(|problem| add("database", problem))
        .ok();
    let role = text("role").and_then(|value| match value.as_deref() {
        None | Some("writer") => Ok(Role::Writer),
        Some("readers") => Ok(Role::Readers),
        Some("all") => Ok(Role::All),
        Some(other) => Err(format!("{other:?} is not a role; give \"writer\", \"readers\" or \"all\"")),
    });
    let role = role.map_err(|problem| add("role", problem)).ok();
    let standby = text("standby").and_then(|value| match value.as_deref() {
        None => Ok(StandbyPolicy::Deregister),
        Some("keep") if endpoint.as_deref().is_some_and(is_of_a_cluster) => {
            Err(NO_STANDBY_IN_A_CLUSTER.to_owned())
        }
        Some("keep") if role.is_some_and(|role| role != Role::Writer) => {
            Err("\"keep\" goes with the role \"writer\" alone".to_owned())
        }
        Some("keep") => Ok(StandbyPolicy::Keep),
        Some(other) => {
            Err(format!("{other:?} is not \"keep\"; leave it out to deregister the writer before"))
        }
    });
    let standby = standby.map_err(|problem| add("standby", problem)).ok();
    let port = match fields.remove("port") {
        None | Some(Value::Null) => Some(None),
        Some(value) => {
            match value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
                Some(port) => Some(Some(port)),
                None => {
                    add("port", format!("{value} is not a port from 1 to 65535"));
                    None
                }
            }
        }
    };
    for (unknown, _) in &fields {
        add(
            unknown,
            "is not a field of a binding, which has endpoint, target_group, port, database, standby and role"
                .to_owned(),
        );
    }
    Some(Binding {
        endpoint: endpoint?,
        target_group: target_group?,
        port: port?,
        database: database?,
        role: role?,
        standby: standby?,
    })
}

/// Checks a tag key, less the room that the options need (ELBv2 API, `Tag.Key`).
fn is_tag_key(key: &str) -> bool {
    const OPTION: usize = ":database".len();
    let is_allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    key.chars().count() + OPTION <= 128 && key.chars().all(is_allowed) && !key.starts_with("aws:")
}

/// Checks a fully qualified DNS name (RFC 1035, with the underscore that private zones use).
fn endpoint(name: &str) -> Result<(), String> {
    let fix = "give the DNS name alone, such as orders.cluster-….rds.amazonaws.com";
    let bare = name.strip_suffix('.').unwrap_or(name);
    if IpAddr::from_str(bare).is_ok() {
        return Err(format!("{name:?} is an address, which never follows a failover; {fix}"));
    }
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_valid = bare.len() <= 253 && bare.contains('.') && bare.split('.').all(label_is_valid);
    if is_valid { Ok(()) } else { Err(format!("{name:?} is not a fully qualified DNS name; {fix}")) }
}

/// Checks for the identifier of a cluster or instance.
fn database(identifier: String) -> Result<String, String> {
    let is_valid = identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_valid && !identifier.is_empty() {
        return Ok(identifier);
    }
    Err(format!(
        "{identifier:?} is not the identifier of a cluster or instance, such as orders; or leave it out"
    ))
}

/// Checks for `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
fn target_group(arn: &str) -> Result<(), String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let is_valid = match parts.as_slice() {
        ["arn", partition, "elasticloadbalancing", region, account, resource] => {
            let mut resource = resource.split('/');
            let names = [resource.next() == Some("targetgroup")]
                .into_iter()
                .chain([partition, region, account].map(|part| !part.is_empty()))
                .chain(
                    [resource.next(), resource.next()].map(|part| part.is_some_and(|part| !part.is_empty())),
                );
            names.into_iter().all(|valid| valid) && resource.next().is_none()
        }
        _ => false,
    };
    if is_valid && !arn.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(format!(
        "{arn:?} is not a target group's ARN, arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
    ))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
