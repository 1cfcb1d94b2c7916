//! Health checks of a MySQL or MariaDB server: bare TCP connections that the server counts as errors.
//!
//! A server blocks an address after `max_connect_errors` connections in a row without a handshake (error 1129;
//! 100 by default), and a network load balancer's health check is such a connection. To the server, all clients have
//! the load balancer's addresses, so the block cuts off every client. The health check needs only TCP, so the target
//! stays healthy.

use super::context::CheckContext;
use super::facts::{Attributes, DEFAULT_PARAMETER_GROUP, Database, DatabaseKind, Read, parameter_group};
use super::finding::Finding;

const CHECK: &str = "connect_errors";
/// The value that the fix sets. Health checks do not reach it in a hundred years.
const MANY: u64 = 1_000_000_000;
/// The doctor accepts this value or more. Without any login, a block then takes eleven days of health checks at 10 s.
const ENOUGH: u64 = 100_000;

pub fn findings(context: CheckContext<'_>) -> Option<Finding> {
    let database = context.database().filter(|database| database.is_mysql())?;
    let is_checked = context.facts.group.as_ref().is_ok_and(|group| group.health_check.enabled);
    if !is_checked {
        return None;
    }
    let Some((kind, group)) = parameter_group(database, context.hosts()) else {
        return Some(not_examined("its parameter group is not known", "rds:DescribeDBInstances"));
    };
    Some(match &context.facts.parameters {
        Some(Ok(parameters)) if is_protected(parameters) => {
            Finding::ok(CHECK, format!("{group} protects the load balancer from error 1129"))
        }
        Some(Ok(_)) => blocks(context, database, kind, group),
        Some(Err(unread)) => Finding::unread_optional(CHECK, unread, "max_connect_errors"),
        None => not_examined("no parameters were read", "rds:DescribeDBParameters"),
    })
}

/// Whether the server may block the load balancer. More frequent health checks would then block it sooner.
pub fn is_unprotected(context: CheckContext<'_>) -> bool {
    let parameters: Option<&Read<Attributes>> = context.facts.parameters.as_ref();
    let is_mysql = context.database().is_some_and(Database::is_mysql);
    is_mysql && !parameters.is_some_and(|read| read.as_ref().is_ok_and(is_protected))
}

fn not_examined(why: &str, action: &str) -> Finding {
    let observed = format!("max_connect_errors of the database: {why}");
    Finding::not_examined(CHECK, observed, format!("allow {action} in the role that runs the doctor"))
}

fn is_protected(parameters: &Attributes) -> bool {
    let value = |name: &str| parameters.get(name).map(String::as_str);
    let is_on = |name: &str| matches!(value(name), Some("1" | "ON" | "on"));
    let errors = value("max_connect_errors").and_then(|errors| errors.parse::<u64>().ok());
    is_on("skip_name_resolve") || value("host_cache_size") == Some("0") || errors.is_some_and(|n| n >= ENOUGH)
}

fn blocks(context: CheckContext<'_>, database: &Database, kind: DatabaseKind, group: &str) -> Finding {
    let identifier = database.identifier.as_str();
    Finding::warning(
        CHECK,
        format!("the parameter group {group} of {identifier} leaves max_connect_errors low"),
        "health checks are connections without a login: after max_connect_errors of them in a row (100 by \
         default, about 17 minutes of a check every 10 s) the server refuses the load balancer's addresses with error 1129",
        match group.strip_prefix(DEFAULT_PARAMETER_GROUP) {
            Some(family) => replace_group(context, database, kind, family),
            None => format!("raise it: {}", set_parameter(context, kind, group)),
        },
    )
}

fn set_parameter(context: CheckContext<'_>, kind: DatabaseKind, group: &str) -> String {
    let parameter = format!("ParameterName=max_connect_errors,ParameterValue={MANY},ApplyMethod=immediate");
    let (command, name) = match kind {
        DatabaseKind::Cluster => ("modify-db-cluster-parameter-group", "--db-cluster-parameter-group-name"),
        DatabaseKind::Instance => ("modify-db-parameter-group", "--db-parameter-group-name"),
    };
    context.aws(["rds", command, name, group, "--parameters", &parameter])
}

/// The fix for a default parameter group, which cannot be changed: a new group of the same family replaces it.
fn replace_group(context: CheckContext<'_>, database: &Database, kind: DatabaseKind, family: &str) -> String {
    let name = format!("{}-nlb", database.identifier);
    let (create, modify_each) = match kind {
        DatabaseKind::Cluster => {
            let create = ["create-db-cluster-parameter-group", "--db-cluster-parameter-group-name", &name];
            let modify = ["modify-db-cluster", "--db-cluster-identifier", database.identifier.as_str()];
            (create, vec![(modify, "--db-cluster-parameter-group-name")])
        }
        DatabaseKind::Instance => {
            let create = ["create-db-parameter-group", "--db-parameter-group-name", &name];
            let hosts = context.hosts().iter().map(|host| {
                let modify = ["modify-db-instance", "--db-instance-identifier", host.identifier.as_str()];
                (modify, "--db-parameter-group-name")
            });
            (create, hosts.collect())
        }
    };
    let create = ["rds"].into_iter().chain(create).chain(["--db-parameter-group-family", family]);
    let create = context.aws(create.chain(["--description", "max_connect_errors for the load balancer"]));
    let attach = modify_each.into_iter().map(|(modify, option)| {
        context.aws(["rds"].into_iter().chain(modify).chain([option, &name, "--apply-immediately"]))
    });
    let attach: Vec<String> = attach.collect();
    format!(
        "give the database a parameter group of its own, which takes effect with a reboot: {create} {} {}",
        set_parameter(context, kind, &name),
        attach.join(" ")
    )
}
