//! The bindings, from the JSON of `BINDINGS` and from the tags of target groups.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::problems::{BINDINGS, FieldProblem, Problem};
use crate::binding::{Binding, Role, TargetGroupArn};
use crate::endpoint::{NO_STANDBY_IN_A_CLUSTER, RdsKind, is_of_a_cluster};
use crate::plan::StandbyPolicy;

const READER_FOR_WRITER: &str = "is a cluster's reader endpoint, which gives one reader at a time and not the writer. Fix: \
                                 give the writer endpoint (ID.cluster-….rds.amazonaws.com), or set role to \"readers\"";

const FIELDS: &str = "endpoint, target_group, port, database, role and standby";

/// A binding from a target group's tags, or all its problems. The field of a problem is `endpoint` for the tag itself, and
/// otherwise the option's name.
pub fn from_tags(
    endpoint: &str,
    group: &str,
    options: BTreeMap<String, String>,
) -> Result<Binding, Vec<FieldProblem>> {
    let mut fields: Map<String, Value> =
        options.into_iter().map(|(option, value)| (option, Value::String(value))).collect();
    // A tag's value is text; JSON has the port as a number.
    if let Some(port) = fields.get_mut("port")
        && let Some(number) = port.as_str().and_then(|text| text.parse::<u16>().ok())
    {
        *port = number.into();
    }
    if let Some(databases) = fields.get_mut("database")
        && let Some(list) = databases.as_str()
    {
        // On AWS a tag's value may hold spaces and no commas (ELBv2 API, `TagValue`).
        *databases = match list.contains(',') {
            true => list.split(',').map(|name| name.trim().to_owned()).collect(),
            false => list.split_whitespace().map(str::to_owned).collect(),
        };
    }
    fields.insert("endpoint".to_owned(), endpoint.into());
    fields.insert("target_group".to_owned(), group.into());
    Fields::new(fields).binding()
}

pub(super) fn bindings(problems: &mut Vec<Problem>, text: &str) -> Vec<Binding> {
    let entries = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(entries)) if !entries.is_empty() => Ok(entries),
        Ok(Value::Array(_)) => Err("the array is empty. Fix: give at least one binding".to_owned()),
        Ok(other) => Err(format!(
            "is {}, not an array of bindings. Fix: put the bindings between [ and ]",
            kind(&other)
        )),
        Err(error) => Err(format!("is not JSON: {error}")),
    };
    let entries = entries.unwrap_or_else(|problem| {
        problems.push(Problem::new(BINDINGS, problem));
        Vec::new()
    });
    let mut index_of_group = BTreeMap::new();
    let mut bindings = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let Value::Object(fields) = entry else {
            let message = format!("is {}, not an object with endpoint and target_group", kind(&entry));
            problems.push(Problem::new(BINDINGS, message).at(index));
            continue;
        };
        // The target group is compared even if the binding has other problems, so that all problems are reported.
        let group = fields.get("target_group").and_then(Value::as_str).and_then(|text| text.parse().ok());
        match Fields::new(fields).binding() {
            Ok(binding) => bindings.push(binding),
            Err(wrong) => problems.extend(wrong.into_iter().map(|wrong| wrong.at(index))),
        }
        let Some(group): Option<TargetGroupArn> = group else { continue };
        if let Some(other) = index_of_group.insert(group.clone(), index) {
            let message = format!(
                "{group} is bound by {BINDINGS}[{other}] already. Fix: bind each target group to one endpoint"
            );
            problems.push(FieldProblem { field: "target_group".to_owned(), message }.at(index));
        }
    }
    bindings
}

/// The fields of one binding that are left to read, and the problems of those that were read.
struct Fields {
    left: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    fn new(left: Map<String, Value>) -> Self {
        Self { left, problems: Vec::new() }
    }

    fn binding(mut self) -> Result<Binding, Vec<FieldProblem>> {
        let endpoint = self.required("endpoint", endpoint);
        let target_group = self.required("target_group", str::parse);
        let databases = self.optional("database", databases);
        let role = self.optional("role", role);
        if let Some(endpoint) = &endpoint
            && RdsKind::parse(endpoint) == Some(RdsKind::ClusterReader)
            && role.unwrap_or_default() == Role::Writer
            && !self.problems.iter().any(|problem| problem.field == "role")
        {
            self.add("endpoint", format!("{endpoint:?} {READER_FOR_WRITER}"));
        }
        let standby = self.optional("standby", |value| standby(value, endpoint.as_deref(), role));
        let port = self.optional("port", port);
        for (unknown, _) in std::mem::take(&mut self.left) {
            self.add(&unknown, format!("is not a field of a binding. Fix: use only {FIELDS}"));
        }
        match (endpoint, target_group) {
            (Some(endpoint), Some(target_group)) if self.problems.is_empty() => Ok(Binding {
                endpoint,
                target_group,
                port,
                databases: databases.unwrap_or_default(),
                role: role.unwrap_or_default(),
                standby: standby.unwrap_or_default(),
            }),
            _ => Err(self.problems),
        }
    }

    /// Takes a field that must be there and must be text.
    fn required<R>(&mut self, field: &str, parse: impl FnOnce(&str) -> Result<R, String>) -> Option<R> {
        let parsed = match self.take(field) {
            None => Err("is missing".to_owned()),
            Some(value) => text(&value).and_then(parse),
        };
        parsed.map_err(|message| self.add(field, message)).ok()
    }

    /// Takes a field that may be missing or null.
    fn optional<R>(&mut self, field: &str, parse: impl FnOnce(&Value) -> Result<R, String>) -> Option<R> {
        let value = self.take(field)?;
        parse(&value).map_err(|message| self.add(field, message)).ok()
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|value| !value.is_null())
    }

    fn add(&mut self, field: &str, message: String) {
        self.problems.push(FieldProblem { field: field.to_owned(), message });
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("is {}, not a string", kind(value)))
}

/// True for a DNS name without a final dot (RFC 1035, with the underscore that private zones use).
pub(super) fn is_dns_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_allowed);
    name.len() <= 253 && name.split('.').all(is_label)
}

fn endpoint(name: &str) -> Result<String, String> {
    let fix = "Fix: give the DNS name alone, such as orders.cluster-….rds.amazonaws.com";
    let bare = name.strip_suffix('.').unwrap_or(name);
    if IpAddr::from_str(bare).is_ok() {
        return Err(format!("{name:?} is an address, which never follows a failover. {fix}"));
    }
    if bare.contains('.') && is_dns_name(bare) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is not a fully qualified DNS name. {fix}"))
}

/// Checks the identifiers of clusters or instances: one, or a list.
fn databases(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(list) if list.is_empty() => Err("the list is empty. Fix: leave it out".to_owned()),
        Value::Array(list) => list.iter().map(database).collect(),
        Value::String(_) => Ok(vec![database(value)?]),
        other => Err(format!("is {}, not a string or a list of strings", kind(other))),
    }
}

fn database(value: &Value) -> Result<String, String> {
    let identifier = text(value)?;
    // RDS API, `DBInstanceIdentifier` and `DBClusterIdentifier`.
    let is_valid = identifier.starts_with(|c: char| c.is_ascii_alphabetic())
        && identifier.len() <= 63
        && !identifier.ends_with('-')
        && !identifier.contains("--")
        && identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_valid {
        return Ok(identifier.to_owned());
    }
    Err(format!(
        "{identifier:?} is not the identifier of a cluster or instance. Fix: give one such as orders, or leave it out"
    ))
}

fn role(value: &Value) -> Result<Role, String> {
    match text(value)? {
        "writer" => Ok(Role::Writer),
        "readers" => Ok(Role::Readers),
        "all" => Ok(Role::All),
        other => Err(format!("{other:?} is not a role. Fix: give \"writer\", \"readers\" or \"all\"")),
    }
}

fn standby(value: &Value, endpoint: Option<&str>, role: Option<Role>) -> Result<StandbyPolicy, String> {
    match text(value)? {
        "keep" if endpoint.is_some_and(is_of_a_cluster) => Err(NO_STANDBY_IN_A_CLUSTER.to_owned()),
        "keep" if role.is_some_and(|role| role != Role::Writer) => {
            Err("\"keep\" goes with the role \"writer\" alone. Fix: leave \"standby\" or \"role\" out"
                .to_owned())
        }
        "keep" => Ok(StandbyPolicy::Keep),
        other => {
            Err(format!("{other:?} is not \"keep\". Fix: leave it out to deregister the previous writer"))
        }
    }
}

fn port(value: &Value) -> Result<u16, String> {
    let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| format!("{value} is not a port from 1 to 65535"))
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
