//! The endpoint and the database behind it.

use super::{CheckContext, Database, DatabaseKind, Finding};
use crate::binding::Role;

/// A database in one of these states, or in one that starts so, serves nobody (RDS and Aurora user
/// guides, "Viewing DB instance status").
const DOWN: [&str; 10] = [
    "creating",
    "deleting",
    "failed",
    "inaccessible-encryption-credentials",
    "incompatible-",
    "insufficient-capacity",
    "restore-error",
    "stopped",
    "stopping",
    "storage-full",
];
/// In one of these it serves as ever. Of all others only RDS knows.
const UP: [&str; 6] = [
    "available",
    "backing-up",
    "configuring-",
    "storage-config-upgrade",
    "storage-initialization",
    "storage-optimization",
];

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    let mut findings = vec![check_endpoint(context)];
    findings.extend(check_endpoint_kind(context));
    if context.is_named("proxy-") {
        findings.push(proxy());
        return findings;
    }
    match &context.facts.database {
        Err(unread) => {
            let could_not =
                "whether the database is available, its port, and whether RDS names the same writer";
            findings.push(Finding::unread("database", unread, could_not));
        }
        Ok(None) => findings.push(unknown(context)),
        Ok(Some(database)) => {
            findings.push(check_status(database));
            findings.extend(check_port(context, database));
            findings.extend(check_writer(context, database));
        }
    }
    findings
}

/// The endpoint resolves, from here, to what a group can hold.
fn check_endpoint(context: CheckContext<'_>) -> Finding {
    match &context.facts.resolution {
        Err(unread) => Finding::unread_vital("endpoint", unread, "whether the group holds the writer"),
        Ok(resolution) => {
            let by = resolution.chain.iter().skip(1).map(|name| format!(", by {name}")).collect::<String>();
            Finding::ok("endpoint", format!("resolves to {}{by}", resolution.addresses))
        }
    }
}

/// The endpoint is of a kind that follows the writer.
fn check_endpoint_kind(context: CheckContext<'_>) -> Option<Finding> {
    let problem = |what: &str, impact: &str, cluster: &str| {
        let fix = format!(
            "bind the cluster's writer endpoint: `aws rds describe-db-clusters --db-cluster-identifier \
             {cluster} --query DBClusters[0].Endpoint`"
        );
        Finding::problem("endpoint_kind", format!("{} is {what}", context.binding.endpoint), impact, fix)
    };
    let identifier = &context.facts.identifier;
    if context.binding.role != Role::Writer {
        return None;
    }
    if context.is_named("cluster-ro-") {
        return Some(problem("a reader endpoint", "it never names the writer", identifier));
    }
    if context.is_named("cluster-custom-") {
        let impact = "it can name readers, and several members at once";
        return Some(problem("a custom cluster endpoint", impact, "CLUSTER"));
    }
    if context.is_named("proxy-") {
        return Some(Finding::ok("endpoint_kind", "an RDS Proxy's endpoint"));
    }
    let database = context.facts.database.as_ref().ok()?.as_ref()?;
    match (database.kind, &database.cluster) {
        (DatabaseKind::Instance, Some(cluster)) => Some(problem(
            &format!("the endpoint of an instance of the cluster {cluster}"),
            "after a failover it is a reader, and the name still means the same instance",
            cluster,
        )),
        (DatabaseKind::Instance, None) => Some(Finding::ok("endpoint_kind", "an instance's endpoint")),
        (DatabaseKind::Cluster, _) => Some(Finding::ok("endpoint_kind", "a cluster's writer endpoint")),
    }
}

fn proxy() -> Finding {
    Finding::warning(
        "database",
        "not looked at: the endpoint is an RDS Proxy's",
        "the doctor knows clusters and instances; a proxy keeps its address when its database fails over",
        "see whether its targets are available: `aws rds describe-db-proxy-targets --db-proxy-name NAME`",
    )
}

fn unknown(context: CheckContext<'_>) -> Finding {
    let identifier = &context.facts.identifier;
    Finding::warning(
        "database",
        format!("RDS knows neither a cluster nor an instance called {identifier} in this account and region"),
        "the database's events are not recognised as the binding's: a failover is seen by the next check",
        "set the binding's `database` to the identifier of the cluster or instance, and run the function in \
         the database's account and region",
    )
}

/// The database is available.
fn check_status(database: &Database) -> Finding {
    let Database { kind, identifier, status, .. } = database;
    let kind = match kind {
        DatabaseKind::Cluster => "cluster",
        DatabaseKind::Instance => "instance",
    };
    let observed = format!("the {kind} {identifier} is {status}");
    let events =
        format!("`aws rds describe-events --source-type db-{kind} --source-identifier {identifier}`");
    let is_among = |states: &[&str]| states.iter().any(|state| status.starts_with(state));
    if is_among(&DOWN) {
        return Finding::problem(
            "database",
            observed,
            "clients cannot be served by it, whatever the load balancer does",
            format!("look at its events: {events}"),
        );
    }
    if is_among(&UP) {
        return Finding::ok("database", observed);
    }
    Finding::warning(
        "database",
        observed,
        "connections may break, and its address may change, while that lasts",
        format!("wait for it to be available: {events}"),
    )
}

/// The targets are registered with the port that the database listens on.
fn check_port(context: CheckContext<'_>, database: &Database) -> Option<Finding> {
    let (registered, listens) = (context.port()?, database.port?);
    if registered == listens {
        return Some(Finding::ok("database_port", format!("{listens}, as the targets'")));
    }
    Some(Finding::problem(
        "database_port",
        format!("the database listens on {listens}, and targets are registered with {registered}"),
        "nothing answers at the targets' port",
        format!("set the binding's `port` to {listens}, or bind a group with the port {listens}"),
    ))
}

/// The RDS API and DNS name the same member as the writer.
fn check_writer(context: CheckContext<'_>, database: &Database) -> Option<Finding> {
    let member = context.member().filter(|_| database.kind == DatabaseKind::Cluster)?;
    match database.members.contradicts(member) {
        None => Some(Finding::ok("writer", format!("{member}, by DNS; RDS names no other"))),
        Some(other) => Some(Finding::warning(
            "writer",
            format!("DNS names {member}, and RDS names {other}"),
            "while they differ no address is removed; for some seconds of a failover that is normal",
            "ask the doctor again in a minute; if it stays, look at the cluster's events, and at whose \
             answers NAMESERVERS gives",
        )),
    }
}
