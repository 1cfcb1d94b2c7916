//! Health checks of a MySQL or MariaDB server: bare TCP connections that the server counts as errors.
//!
//! A server blocks an address after `max_connect_errors` connections in a row without a handshake (error 1129;
//! 100 by default), and a network load balancer's health check is such a connection. To the server, all clients have
//! the load balancer's addresses, so the block cuts off every client. The health check needs only TCP, so the target
//! stays healthy.

use std::collections::BTreeSet;

use super::context::CheckContext;
use super::facts::{
    Attributes, DEFAULT_PARAMETER_GROUP, Database, DatabaseKind, ParameterGroup, Unread, parameter_groups,
};
use super::finding::{Checked, FactOr as _, Finding};
use crate::endpoint::RdsKind;
use crate::text::Joined as _;

const CHECK: &str = "connect_errors";
/// The value that the fix sets. Health checks do not reach it in a hundred years.
const RAISED_LIMIT: u64 = 1_000_000_000;
/// The doctor accepts this value or more. Without any login, a block then takes eleven days of health checks at 10 s.
const MIN_SAFE_LIMIT: u64 = 100_000;
const OF_DATABASE: &str = "max_connect_errors of the database";

type NamedGroup<'g> = (&'g str, &'g ParameterGroup<'g>);

pub fn check_connect_errors(context: CheckContext<'_>) -> Checked<Option<Finding>> {
    if !checks_reach_the_server(context) {
        return Ok(None);
    }
    let not_checked = format!("{OF_DATABASE}, if it is MySQL or MariaDB");
    let database = context.facts.database.or_not_examined(CHECK, &not_checked)?.as_ref();
    let Some(database) = database.filter(|database| database.is_mysql()) else { return Ok(None) };
    let groups = parameter_groups(database, context.hosts());
    if groups.is_empty() {
        context.facts.hosts.or_not_examined(CHECK, OF_DATABASE)?;
        let observed = format!("{OF_DATABASE}: its parameter group is not known");
        let fix = "run the doctor again when the database is available";
        return Ok(Some(Finding::not_examined(CHECK, observed, fix)));
    }
    // The worst first: a failover may make any of the instances the writer.
    let all = || groups.iter().map(|(name, group)| (*name, group));
    let low: Vec<_> =
        all().filter(|(name, _)| protecting_parameter(context, name) == Some(Ok(None))).collect();
    if !low.is_empty() {
        return Ok(Some(limit_is_low(context, database, &low)));
    }
    if let Some(unread) = groups.keys().find_map(|name| protecting_parameter(context, name)?.err()) {
        return Err(Finding::not_examined_because(CHECK, unread, OF_DATABASE));
    }
    let pending: Vec<_> = all().filter(|(_, group)| !group.pending.is_empty()).collect();
    if !pending.is_empty() {
        return Ok(Some(reboot_is_pending(context, &pending)));
    }
    let list = groups.keys().joined(", ");
    Ok(Some(Finding::ok(CHECK, format!("{list} protects the load balancer from error 1129"))))
}

/// Whether the health checks are on, and connect to the port that the targets are registered with.
fn checks_reach_the_server(context: CheckContext<'_>) -> bool {
    let group = context.facts.group.as_ref();
    group.is_ok_and(|group| group.health_check.enabled && group.health_check.is_of_port(context.port()))
}

/// Whether the server can block the load balancer. More frequent health checks would then block it sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    Protected,
    Unprotected,
    /// It may be a server of MySQL or MariaDB, or its parameters are not known, or may wait for a reboot, or the health
    /// checks do not connect to it.
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
    let parameter = |name: &str| protecting_parameter(context, name);
    if groups.keys().any(|name| parameter(name) == Some(Ok(None))) {
        // Otherwise the check of connect_errors has no finding.
        let is_blocked_by_checks = checks_reach_the_server(context);
        return if is_blocked_by_checks { Protection::Unprotected } else { Protection::Unknown };
    }
    let is_safe = |(name, group): (&&str, &ParameterGroup<'_>)| {
        group.pending.is_empty() && matches!(parameter(name), Some(Ok(Some(_))))
    };
    let is_protected = !groups.is_empty() && groups.iter().all(is_safe);
    if is_protected { Protection::Protected } else { Protection::Unknown }
}

/// The parameter of this group that keeps the server from blocking the load balancer, if the group was asked for.
fn protecting_parameter<'a>(
    context: CheckContext<'a>,
    group: &str,
) -> Option<Result<Option<&'static str>, &'a Unread>> {
    let protecting = |parameters: &Attributes| {
        let value = |name: &str| parameters.get(name).map(String::as_str);
        let errors = value("max_connect_errors").and_then(|errors| errors.parse::<u64>().ok());
        let protecting = [
            ("max_connect_errors", errors.is_some_and(|errors| errors >= MIN_SAFE_LIMIT)),
            ("skip_name_resolve", matches!(value("skip_name_resolve"), Some("1" | "ON" | "on"))),
            ("host_cache_size", value("host_cache_size") == Some("0")),
        ];
        protecting.into_iter().find_map(|(name, protects)| protects.then_some(name))
    };
    Some(context.facts.parameters.get(group)?.as_ref().map(protecting))
}

fn limit_is_low(context: CheckContext<'_>, database: &Database, low: &[NamedGroup<'_>]) -> Finding {
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
    let observed = format!("max_connect_errors is too low in the parameter group {}", users.joined("; "));
    let impact = "health checks are connections without a login, and a login sets their count back: after max_connect_errors of \
         them in a row (100 by default, some 17 minutes of checks every 10 s) the server refuses the load balancer with \
         error 1129";
    let fix = fixes.join("; ");
    Finding::warning(CHECK, observed, impact, fix)
}

/// The group's values protect. Some change of the group waits for a reboot, and the RDS API does not say whether it is
/// this one.
fn reboot_is_pending(context: CheckContext<'_>, pending: &[NamedGroup<'_>]) -> Finding {
    let reboots = pending.iter().flat_map(|(_, group)| {
        let reboot = format!("rds reboot-db-{0} --db-{0}-identifier", group.kind);
        group.pending.iter().map(move |name| context.aws(&reboot, &[name]))
    });
    let names = pending.iter().flat_map(|(_, group)| &group.pending).joined(", ");
    let groups = pending.iter().map(|(name, _)| name).joined(", ");
    let parameters = pending.iter().filter_map(|(name, _)| protecting_parameter(context, name)?.ok()?);
    let parameters: BTreeSet<&str> = parameters.collect();
    let look = parameters.iter().map(|name| format!("SHOW GLOBAL VARIABLES LIKE '{name}'")).joined("; ");
    let parameters = parameters.iter().joined(", ");
    let observed = format!(
        "{names} may wait for a reboot before it uses {parameters} of the parameter group {groups}, of which some \
             change is pending"
    );
    let impact = "until then the server may refuse the load balancer's addresses with error 1129, because of health checks without \
         a login";
    let fix = format!(
        "log in and look at the server's own value first: {look}. Only if it is not the group's, reboot at a quiet \
             time, since this ends the connections: {}",
        reboots.joined(" ")
    );
    Finding::warning(CHECK, observed, impact, fix)
}

/// What the AWS CLI calls a parameter group of a cluster or of instances.
fn cli_name(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::Cluster => "db-cluster-parameter-group",
        DatabaseKind::Instance => "db-parameter-group",
    }
}

fn set_parameter(context: CheckContext<'_>, kind: DatabaseKind, group: &str) -> String {
    let parameter =
        format!("ParameterName=max_connect_errors,ParameterValue={RAISED_LIMIT},ApplyMethod=immediate");
    let modify = format!("rds modify-{0} --{0}-name", cli_name(kind));
    context.aws(&modify, &[group, "--parameters", &parameter])
}

/// The fix for a default parameter group, which cannot be changed: a new group of the same family replaces it.
fn replace_group(
    context: CheckContext<'_>,
    database: &Database,
    group: &ParameterGroup<'_>,
    family: &str,
) -> String {
    let (kind, cli_name) = (group.kind, cli_name(group.kind));
    // A name may have no dot. One group is of one family.
    let name = format!("{}-nlb-{}", database.identifier, family.replace('.', "-"));
    let create = format!("rds create-{cli_name} --{cli_name}-name");
    let description = "max_connect_errors for the load balancer";
    let options = [&*name, "--db-parameter-group-family", family, "--description", description];
    let modify = format!("rds modify-db-{kind} --db-{kind}-identifier {{}} --{cli_name}-name");
    let attach = |user: &&str| context.aws(&modify, &[user, &name, "--apply-immediately"]);
    format!(
        "give the database a parameter group of its own, which takes effect with a reboot: {} {} {}",
        context.aws(&create, &options),
        set_parameter(context, kind, &name),
        group.users.iter().map(attach).joined(" ")
    )
}
