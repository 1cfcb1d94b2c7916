//! What is kept in sync: one endpoint name with one target group.

use crate::plan::StandbyPolicy;

/// Which addresses an endpoint stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The one address that DNS gives.
    #[default]
    Writer,
    /// Those of every reader of the endpoint's cluster, and of its writer where it has none.
    Readers,
    /// Every address that DNS gives.
    All,
}

/// One endpoint name, kept in sync with one target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The DNS name that follows the writer, as the user wrote it.
    pub endpoint: String,
    /// The target group's ARN.
    pub target_group: String,
    /// The port to register; the group's where there is none.
    pub port: Option<u16>,
    /// The cluster or instance that events name, where the endpoint's first label does not.
    pub database: Option<String>,
    /// Which addresses the group holds.
    pub role: Role,
    /// What becomes of the writer before.
    pub standby: StandbyPolicy,
}

impl Binding {
    /// A binding with the defaults: the group's port, and the database that the endpoint names.
    pub fn new(endpoint: &str, target_group: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            target_group: target_group.to_owned(),
            port: None,
            database: None,
            role: Role::Writer,
            standby: StandbyPolicy::Deregister,
        }
    }

    /// A short name for people: the target group's, which no two bindings share.
    pub fn name(&self) -> &str {
        self.target_group.split('/').nth(1).unwrap_or(&self.target_group)
    }

    /// The endpoint's first label: the cluster or instance, in an endpoint of RDS's own.
    pub fn first_label(&self) -> &str {
        self.endpoint.split('.').next().unwrap_or_default()
    }

    /// Whether an event about this cluster or instance is about this binding.
    pub fn is_about(&self, identifier: &str) -> bool {
        identifier.eq_ignore_ascii_case(self.first_label())
            || self.database.as_deref().is_some_and(|database| identifier.eq_ignore_ascii_case(database))
    }
}
