//! Whether the database refuses clients without TLS, which their connection settings must know.

use super::context::CheckContext;
use super::facts::{Attributes, Database, tls_parameter_group};
use super::finding::Finding;

const CHECK: &str = "require_tls";

pub fn check_require_tls(context: CheckContext<'_>) -> Option<Finding> {
    let database = context.database().filter(|database| database.begins_in_plain_text())?;
    let (_, group) = tls_parameter_group(database, context.hosts())?;
    let parameter = parameter(database);
    Some(match context.facts.tls_parameters.as_ref()? {
        Err(unread) => Finding::unread_optional(CHECK, unread, "whether clients must use TLS"),
        Ok(parameters) => Finding::ok(
            CHECK,
            match is_required(database, parameters) {
                Some(true) => format!("clients must use TLS: {parameter} is on in {group}"),
                Some(false) => format!("clients may use TLS and need not: {parameter} is off in {group}"),
                None => format!(
                    "the engine's default decides whether clients must use TLS: {group} leaves {parameter} alone"
                ),
            },
        ),
    })
}

fn parameter(database: &Database) -> &'static str {
    if database.is_mysql() { "require_secure_transport" } else { "rds.force_ssl" }
}

/// Whether clients must use TLS. `None` where the version of the engine decides.
pub fn is_required(database: &Database, parameters: &Attributes) -> Option<bool> {
    let value = parameters.get(parameter(database))?;
    Some(["1", "ON", "on"].contains(&value.as_str()))
}
