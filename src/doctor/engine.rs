//! The engine, its version and the login by IAM, which a vendor's form asks for.

use super::context::CheckContext;
use super::facts::Database;
use super::finding::Finding;

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
