//! The endpoint and the database behind it.

use std::iter;

use super::context::CheckContext;
use super::facts::{Attributes, Database, DatabaseKind, tls_parameter_group};
use super::finding::{Checked, FactOr as _, Finding, FindingKind, all};
use super::shell::line;
use crate::binding::Role;
use crate::endpoint::{NO_STANDBY_IN_A_CLUSTER, RdsKind, RdsName};
use crate::plan::StandbyPolicy;
use crate::text::Joined as _;

/// A database in one of these states serves no clients (RDS and Aurora user guides, "Viewing DB instance
/// status"). `incompatible-` is a prefix of several states.
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
/// A database in one of these states serves its clients. The guides do not say whether it does in any other state.
/// `configuring-` is a prefix of several states.
const UP: [&str; 6] = [
    "available",
    "backing-up",
    "configuring-",
    "storage-config-upgrade",
    "storage-initialization",
    "storage-optimization",
];

pub fn findings(context: CheckContext<'_>) -> Vec<Finding> {
    let (Ok(endpoint) | Err(endpoint)) = check_endpoint(context);
    let database = match context.name_of_kind(RdsKind::Proxy) {
        Some(name) => vec![proxy(context, name)],
        None => all(check_database(context)),
    };
    let before = [endpoint].into_iter().chain(check_endpoint_kind(context));
    before.chain(check_events(context)).chain(database).collect()
}

fn check_endpoint(context: CheckContext<'_>) -> Checked<Finding> {
    let not_checked = "whether the group holds the endpoint's addresses";
    let resolution = context.facts.resolution.or_problem("endpoint", not_checked)?;
    let by: String = resolution.chain.iter().skip(1).map(|name| format!(", through {name}")).collect();
    Ok(Finding::ok("endpoint", format!("resolves to {}{by}", resolution.addresses)))
}

fn check_database(context: CheckContext<'_>) -> Checked<Vec<Finding>> {
    let not_checked =
        "whether the database is available, its port, and whether RDS names the same writer as DNS";
    let Some(database) = context.facts.database.or_warning("database", not_checked)? else {
        return Ok(vec![unknown(context)]);
    };
    let mut findings = vec![check_status(context, database)];
    findings.extend(check_port(context, database));
    findings.extend(check_writer(context, database));
    findings.extend(check_standby_policy(context, database));
    Ok(findings)
}

/// The endpoint is of a kind that follows the writer.
fn check_endpoint_kind(context: CheckContext<'_>) -> Option<Finding> {
    if context.binding.role != Role::Writer {
        return None;
    }
    let problem = |what: &str, impact: &str, cluster: Option<&str>| {
        let command = writer_endpoint(context, cluster);
        let fix = format!("bind the cluster's writer endpoint, which this prints: {command}");
        Finding::problem("endpoint_kind", format!("{} is {what}", context.binding.endpoint), impact, fix)
    };
    if context.is_named(RdsKind::ClusterReader) {
        let impact =
            "it resolves to readers: the function does not sync the group, and writes through it fail";
        return Some(problem("a reader endpoint", impact, Some(&context.facts.identifier)));
    }
    if context.is_named(RdsKind::ClusterCustom) {
        let impact = "it can resolve to readers, and to several members at once";
        return Some(problem("a custom cluster endpoint", impact, None));
    }
    if context.is_named(RdsKind::Proxy) {
        return Some(Finding::ok("endpoint_kind", "an RDS Proxy's endpoint"));
    }
    let database = context.database()?;
    Some(match (database.kind, &database.member_of) {
        (DatabaseKind::Instance, Some(cluster)) => {
            let what = format!("the endpoint of an instance of the cluster {cluster}");
            let impact = "after a failover this instance is a reader, and the name still resolves to it";
            problem(&what, impact, Some(cluster))
        }
        (DatabaseKind::Instance, None) => Finding::ok("endpoint_kind", "an instance's endpoint"),
        (DatabaseKind::Cluster, _) => Finding::ok("endpoint_kind", "a cluster's writer endpoint"),
    })
}

/// The events of the database start a watch of this binding.
fn check_events(context: CheckContext<'_>) -> Option<Finding> {
    let identifier = context.database()?.identifier.as_str();
    if context.binding.is_about(identifier) {
        return None;
    }
    let names = iter::once(context.binding.first_label());
    let names = names.chain(context.binding.databases.iter().map(String::as_str)).joined(" and ");
    let observed = format!("the events of RDS name {identifier}, and the binding stands for {names}");
    // An event of the global cluster watches a global endpoint.
    let which = match RdsKind::parse(&context.binding.endpoint) {
        Some(RdsKind::Global) => "no event about a failover inside one Region",
        _ => "no event",
    };
    let impact = format!(
        "{which} starts a watch: after a failover, clients stay on the old address until the next scheduled check"
    );
    let fix = match context.binding.databases.is_empty() {
        true => format!("set the binding's `database` to {identifier}"),
        false => format!("add {identifier} to the binding's `database`"),
    };
    Some(Finding::warning("events", observed, impact, fix))
}

fn writer_endpoint(context: CheckContext<'_>, cluster: Option<&str>) -> String {
    let of_cluster = "rds describe-db-clusters --db-cluster-identifier {} --query {} --output text";
    let of_all = "rds describe-db-clusters --query {} --output text";
    match cluster {
        Some(cluster) => context.aws(of_cluster, &[cluster, "DBClusters[0].Endpoint"]),
        None => context.aws(of_all, &["DBClusters[].[DBClusterIdentifier,Endpoint]"]),
    }
}

fn proxy(context: CheckContext<'_>, name: &str) -> Finding {
    let mut labels = name.split('.');
    let (first, second) = (labels.next().unwrap_or_default(), labels.next());
    let targets = match second {
        // One of the proxy's further endpoints, whose name does not have the proxy's.
        Some(label) if label.eq_ignore_ascii_case("endpoint") => {
            let names = context.aws_line(
                "rds describe-db-proxy-endpoints --db-proxy-endpoint-name {} --query {} --output text",
                &[first, "DBProxyEndpoints[].DBProxyName"],
            );
            let targets = "aws rds describe-db-proxy-targets --region {} --db-proxy-name";
            format!("`{names} | xargs -n 1 {}`", line(targets, &[context.region()]))
        }
        _ => context.aws("rds describe-db-proxy-targets --db-proxy-name", &[first]),
    };
    let observed = "the database behind an RDS Proxy, which keeps its addresses in a failover";
    Finding::not_examined("database", observed, format!("check that its targets are available: {targets}"))
}

fn unknown(context: CheckContext<'_>) -> Finding {
    let identifier = context.facts.identifier.as_str();
    let observed =
        format!("this account and Region have no cluster or instance called {identifier} with this endpoint");
    // An RDS name that resolves belongs to a database that exists, so it is in another account or Region.
    let is_its_name = |name: RdsName| name.identifier.eq_ignore_ascii_case(identifier);
    let is_elsewhere = context.facts.resolution.is_ok()
        && context.names().into_iter().filter_map(RdsName::parse).any(is_its_name);
    if is_elsewhere {
        let fix = "run the doctor in the account and Region of the database to examine it";
        return Finding::not_examined("database", observed, fix);
    }
    let impact = "the database's events do not match the binding: after a failover, clients stay on the old address until the next \
                  scheduled check";
    let fix = "if the identifier is wrong, set the binding's `database`; if the database is elsewhere, run the function in its \
               account and Region";
    Finding::warning("database", observed, impact, fix).of_kind(FindingKind::NoSuchDatabase)
}

fn check_status(context: CheckContext<'_>, database: &Database) -> Finding {
    let Database { kind, identifier, status, .. } = database;
    let observed = format!("the {kind} {identifier} is {status}");
    let events = "rds describe-events --source-type {} --source-identifier {} --duration 1440";
    let events = context.aws(events, &[&format!("db-{kind}"), identifier]);
    let is_among = |states: &[&str]| states.iter().any(|state| status.starts_with(state));
    if is_among(&DOWN) {
        let impact = "the database serves no clients, whatever the load balancer does";
        let fix = match status.as_str() {
            "stopped" => format!("start it: {}", start(context, database)),
            _ => format!("read the database's events: {events}"),
        };
        return Finding::problem("database", observed, impact, fix);
    }
    if is_among(&UP) {
        return Finding::ok("database", observed);
    }
    let impact = "connections may break and the address may change while the database is in this state";
    Finding::warning("database", observed, impact, format!("wait until the database is available: {events}"))
}

/// An instance of a cluster stops and starts with the cluster.
fn start(context: CheckContext<'_>, database: &Database) -> String {
    let (kind, identifier) = match &database.member_of {
        Some(cluster) => (DatabaseKind::Cluster, cluster),
        None => (database.kind, &database.identifier),
    };
    context.aws(&format!("rds start-db-{kind} --db-{kind}-identifier"), &[identifier])
}

fn check_port(context: CheckContext<'_>, database: &Database) -> Option<Finding> {
    let (registered, listens) = (context.port()?, database.port?);
    if registered == listens {
        return Some(Finding::ok("database_port", format!("{listens}, the targets' port")));
    }
    let observed = format!("the database listens on {listens}, and targets are registered with {registered}");
    let impact = "every connection through the load balancer fails";
    let fix = format!("set the binding's `port` to {listens}, then run a check");
    Some(Finding::problem("database_port", observed, impact, fix))
}

fn check_writer(context: CheckContext<'_>, database: &Database) -> Option<Finding> {
    let member = context.member().filter(|_| database.kind == DatabaseKind::Cluster)?;
    let Some(other) = database.described.other_writer(member) else {
        return Some(Finding::ok("writer", format!("{member} by DNS, and RDS names no other")));
    };
    let observed = format!("DNS names {member}, and RDS names {other}");
    let impact = "no address is deregistered while they differ; some seconds of it are normal in a failover";
    let fix = "run the doctor again in a minute; if the difference stays, read the cluster's events and check the \
         name servers in NAMESERVERS";
    Some(Finding::warning("writer", observed, impact, fix))
}

fn check_standby_policy(context: CheckContext<'_>, database: &Database) -> Option<Finding> {
    const CHECK: &str = "standby_policy";
    if context.binding.standby != StandbyPolicy::Keep {
        return None;
    }
    let identifier = database.identifier.as_str();
    let take_out = "take \"standby\" out of the binding";
    let cluster = match (&database.member_of, database.kind) {
        (Some(cluster), _) => Some(format!("belongs to the cluster {cluster}")),
        (None, DatabaseKind::Cluster) => Some("is a cluster".to_owned()),
        (None, DatabaseKind::Instance) => None,
    };
    if let Some(is_of_cluster) = cluster {
        let observed = format!("standby is \"keep\", and {identifier} {is_of_cluster}");
        let finding = Finding::problem(CHECK, observed, NO_STANDBY_IN_A_CLUSTER, take_out);
        return Some(finding.of_kind(FindingKind::Refused));
    }
    if database.is_multi_az {
        return Some(Finding::ok(CHECK, format!("{identifier} is Multi-AZ and has a standby")));
    }
    let convert = "rds modify-db-instance --db-instance-identifier {} --multi-az --apply-immediately";
    let convert = context.aws(convert, &[identifier]);
    let observed =
        format!("standby is \"keep\", and the instance {identifier} is not Multi-AZ: it has no standby");
    let impact = "every run of this binding fails, and an address that is kept belongs to no standby";
    let fix = format!("{take_out}, or convert the instance: {convert}");
    let finding = Finding::problem(CHECK, observed, impact, fix);
    Some(finding.of_kind(FindingKind::Refused))
}

/// Whether the database refuses clients without TLS, which their connection settings must know.
pub fn check_require_tls(context: CheckContext<'_>) -> Checked<Option<Finding>> {
    const CHECK: &str = "require_tls";
    let database = context.database().filter(|database| database.begins_in_plain_text());
    let group = database.and_then(|database| tls_parameter_group(database, context.hosts()));
    let (Some(database), Some((_, group)), Some(read)) = (database, group, &context.facts.tls_parameters)
    else {
        return Ok(None);
    };
    let parameters = read.or_not_examined(CHECK, "whether clients must use TLS")?;
    let parameter = tls_parameter(database);
    let observed = match is_tls_required(database, parameters) {
        Some(true) => format!("clients must use TLS: {parameter} is on in {group}"),
        Some(false) => format!("clients may use TLS and need not: {parameter} is off in {group}"),
        None => {
            format!(
                "the engine's default decides whether clients must use TLS: {group} leaves {parameter} alone"
            )
        }
    };
    Ok(Some(Finding::ok(CHECK, observed)))
}

fn tls_parameter(database: &Database) -> &'static str {
    if database.is_mysql() { "require_secure_transport" } else { "rds.force_ssl" }
}

/// Whether clients must use TLS. `None` where the version of the engine decides.
pub fn is_tls_required(database: &Database, parameters: &Attributes) -> Option<bool> {
    let value = parameters.get(tls_parameter(database))?;
    Some(["1", "ON", "on"].contains(&value.as_str()))
}

/// The engine, its version and the login by IAM, which a vendor's form asks for.
pub fn check_engine(context: CheckContext<'_>) -> Option<Finding> {
    let Database { engine, engine_version, allows_iam_login, .. } = context.database()?;
    let version = engine_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let login = match allows_iam_login {
        Some(true) => "users may log in with a token of IAM",
        Some(false) => "users cannot log in with a token of IAM",
        None => "the RDS API does not say whether users may log in with a token of IAM",
    };
    (!engine.is_empty()).then(|| Finding::ok("engine", format!("{engine}{version}; {login}")))
}
