//! Health checks of a MySQL or MariaDB server: bare TCP connections that the server counts as errors.
//!
//! A server blocks an address after `max_connect_errors` connections in a row without a handshake (error 1129;
//! 100 by default), and a network load balancer's health check is such a connection. To the server, all clients have
//! the load balancer's addresses, so the block cuts off every client. The health check needs only TCP, so the target
//! stays healthy.

use std::collections::BTreeSet;

use super::context::CheckContext;
use super::facts::{
    Attributes, DEFAULT_PARAMETER_GROUP, Database, DatabaseKind, ParameterGroup, parameter_groups,
};
use super::finding::Finding;
use crate::endpoint::RdsKind;
use crate::text::Joined as _;

const CHECK: &str = "connect_errors";
/// The value that the fix sets. Health checks do not reach it in a hundred years.
const MANY: u64 = 1_000_000_000;
/// The doctor accepts this value or more. Without any login, a block then takes eleven days of health checks at 10 s.
const ENOUGH: u64 = 100_000;

pub fn findings(context: CheckContext<'_>) -> Option<Finding> {
    let is_checked = context.facts.group.as_ref().is_ok_and(|group| group.health_check.enabled);
    if !is_checked {
        return None;
    }
    let of_database = "max_connect_errors of the database";
    if let Err(unread) = &context.facts.database {
        let could_not = format!("{of_database}, if it is MySQL or MariaDB");
        return Some(Finding::unread_optional(CHECK, unread, &could_not));
    }
    let database = context.database().filter(|database| database.is_mysql())?;
    let groups = parameter_groups(database, context.hosts());
    if groups.is_empty() {
        if let Err(unread) = &context.facts.hosts {
            return Some(Finding::unread_optional(CHECK, unread, of_database));
        }
        let observed = format!("{of_database}: its parameter group is not known");
        return Some(Finding::not_examined(
            CHECK,
            observed,
            "run the doctor again when the database is available",
        ));
    }
    // The worst first: a failover may make any of the instances the writer.
    let all = || groups.iter().map(|(name, group)| (*name, group));
    let low: Vec<_> = all().filter(|(name, _)| is_low(context, name)).collect();
    if !low.is_empty() {
        return Some(blocks(context, database, &low));
    }
    let read = |name: &&str| context.facts.parameters.get(*name);
    if let Some(unread) = groups.keys().filter_map(read).find_map(|read| read.as_ref().err()) {
        return Some(Finding::unread_optional(CHECK, unread, of_database));
    }
    let pending: Vec<_> = all().filter(|(_, group)| !group.pending.is_empty()).collect();
    if !pending.is_empty() {
        return Some(waits(context, &pending));
    }
    let list = groups.keys().joined(", ");
    Some(Finding::ok(CHECK, format!("{list} protects the load balancer from error 1129")))
}

/// Whether the parameter group was read, and lets the server block the load balancer.
fn is_low(context: CheckContext<'_>, group: &str) -> bool {
    let read = context.facts.parameters.get(group);
    read.is_some_and(|read| read.as_ref().is_ok_and(|parameters| protecting(parameters).is_none()))
}

/// Whether the server can block the load balancer. More frequent health checks would then block it sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    Protected,
    Unprotected,
    /// It may be a server of MySQL or MariaDB, or its parameters are not known, or may wait for a reboot.
    Unknown,
}

pub fn protection(context: CheckContext<'_>) -> Protection {
    let Some(database) = context.database() else {
        // A proxy blocks no address.
        let is_proxy = context.is_named(RdsKind::Proxy);
        return if is_proxy { Protection::Protected } else { Protection::Unknown };
    };
    if !database.is_mysql() {
        return Protection::Protected;
    }
    let groups = parameter_groups(database, context.hosts());
    if groups.keys().any(|name| is_low(context, name)) {
        return Protection::Unprotected;
    }
    let is_safe = |(name, group): (&&str, &ParameterGroup<'_>)| {
        let read = context.facts.parameters.get(*name);
        let protects = |parameters: &Attributes| protecting(parameters).is_some();
        group.pending.is_empty() && read.is_some_and(|read| read.as_ref().is_ok_and(protects))
    };
    match !groups.is_empty() && groups.iter().all(is_safe) {
        true => Protection::Protected,
        false => Protection::Unknown,
    }
}

/// The parameter that keeps the server from blocking the load balancer.
fn protecting(parameters: &Attributes) -> Option<&'static str> {
    let value = |name: &str| parameters.get(name).map(String::as_str);
    let errors = value("max_connect_errors").and_then(|errors| errors.parse::<u64>().ok());
    if errors.is_some_and(|n| n >= ENOUGH) {
        return Some("max_connect_errors");
    }
    if matches!(value("skip_name_resolve"), Some("1" | "ON" | "on")) {
        return Some("skip_name_resolve");
    }
    (value("host_cache_size") == Some("0")).then_some("host_cache_size")
}

fn blocks(context: CheckContext<'_>, database: &Database, low: &[(&str, &ParameterGroup<'_>)]) -> Finding {
    let (default, own): (Vec<_>, Vec<_>) =
        low.iter().partition(|(name, _)| name.starts_with(DEFAULT_PARAMETER_GROUP));
    let mut fixes = Vec::new();
    if !own.is_empty() {
        let raise = own.iter().map(|(name, group)| set_parameter(context, group.kind, name));
        fixes.push(format!("raise it: {}", raise.joined(" ")));
    }
    fixes.extend(default.iter().map(|(name, group)| {
        replace_group(context, database, group, name.trim_start_matches(DEFAULT_PARAMETER_GROUP))
    }));
    let users = low.iter().map(|(name, group)| format!("{name} of {}", group.users.join(", ")));
    Finding::warning(
        CHECK,
        format!("max_connect_errors is too low in the parameter group {}", users.joined("; ")),
        "health checks are connections without a login, and a login sets their count back: after max_connect_errors of \
         them in a row (100 by default, some 17 minutes of checks every 10 s) the server refuses the load balancer with \
         error 1129",
        fixes.join("; "),
    )
}

/// The group protects. The server uses it, or another change of it, only after a reboot: the RDS API does not say which.
fn waits(context: CheckContext<'_>, pending: &[(&str, &ParameterGroup<'_>)]) -> Finding {
    let reboots = pending.iter().flat_map(|(_, group)| {
        let reboot = match group.kind {
            DatabaseKind::Cluster => "rds reboot-db-cluster --db-cluster-identifier",
            DatabaseKind::Instance => "rds reboot-db-instance --db-instance-identifier",
        };
        group.pending.iter().map(move |name| context.aws(reboot, &[name]))
    });
    let names = pending.iter().flat_map(|(_, group)| &group.pending).joined(", ");
    let groups = pending.iter().map(|(name, _)| name).joined(", ");
    let read = |name: &str| context.facts.parameters.get(name)?.as_ref().ok();
    let protecting: BTreeSet<&str> = pending.iter().filter_map(|(name, _)| protecting(read(name)?)).collect();
    let look = protecting.iter().map(|name| format!("SHOW GLOBAL VARIABLES LIKE '{name}'")).joined("; ");
    let protecting = protecting.iter().joined(", ");
    Finding::warning(
        CHECK,
        format!(
            "{names} may wait for a reboot before it uses {protecting} of the parameter group {groups}, of which some \
             change is pending"
        ),
        "until then the server may refuse the load balancer's addresses with error 1129, because of health checks without \
         a login",
        format!(
            "log in and look at the server's own value first: {look}. Only if it is not the group's, reboot at a quiet \
             time, since this ends the connections: {}",
            reboots.joined(" ")
        ),
    )
}

fn set_parameter(context: CheckContext<'_>, kind: DatabaseKind, group: &str) -> String {
    let parameter = format!("ParameterName=max_connect_errors,ParameterValue={MANY},ApplyMethod=immediate");
    let modify = match kind {
        DatabaseKind::Cluster => "rds modify-db-cluster-parameter-group --db-cluster-parameter-group-name",
        DatabaseKind::Instance => "rds modify-db-parameter-group --db-parameter-group-name",
    };
    context.aws(modify, &[group, "--parameters", &parameter])
}

/// The fix for a default parameter group, which cannot be changed: a new group of the same family replaces it.
fn replace_group(
    context: CheckContext<'_>,
    database: &Database,
    group: &ParameterGroup<'_>,
    family: &str,
) -> String {
    // A name may have no dot. One group is of one family.
    let name = format!("{}-nlb-{}", database.identifier, family.replace('.', "-"));
    let (create, modify) = match group.kind {
        DatabaseKind::Cluster => (
            "rds create-db-cluster-parameter-group --db-cluster-parameter-group-name",
            "rds modify-db-cluster --db-cluster-identifier {} --db-cluster-parameter-group-name",
        ),
        DatabaseKind::Instance => (
            "rds create-db-parameter-group --db-parameter-group-name",
            "rds modify-db-instance --db-instance-identifier {} --db-parameter-group-name",
        ),
    };
    let description = "max_connect_errors for the load balancer";
    let options = [&*name, "--db-parameter-group-family", family, "--description", description];
    let attach = |user: &&str| context.aws(modify, &[user, &name, "--apply-immediately"]);
    format!(
        "give the database a parameter group of its own, which takes effect with a reboot: {} {} {}",
        context.aws(create, &options),
        set_parameter(context, group.kind, &name),
        group.users.iter().map(attach).joined(" ")
    )
}
