//! The doctor examines every binding: each finding says what was observed, why it matters and how to fix it.
//!
//! [`examine`] reads [`Facts`] from DNS and the APIs and changes nothing. The checks judge them and call
//! nothing. A fact that could not be read is a finding as well: it names the reason, the missing permission if there is
//! one, and the checks that could not be made.
#![expect(
    clippy::result_large_err,
    reason = "a check's error is a finding, as large and as likely as its result"
)]

mod checks;
mod collect;
mod connect_errors;
mod context;
mod database;
mod facts;
mod finding;
mod group;
#[cfg(feature = "cli")]
mod handshake;
mod listeners;
mod load_balancer;
#[cfg(feature = "cli")]
pub mod network;
mod report;
mod settings;
mod shell;
mod targets;
mod zones;

pub use checks::{InspectPath, PathFindings};
pub use collect::{InspectDatabases, InspectGroups, examine, read_facts};
pub use context::CheckContext;
pub use database::is_tls_required;
pub use facts::{
    ALL_ZONES, Attributes, CROSS_ZONE, Database, DatabaseKind, Fact, Facts, Group, Health, HealthCheck,
    InstanceFacts, Listener, LoadBalancer, LoadBalancerFacts, Unread,
};
pub use finding::{Finding, Severity};
#[cfg(feature = "cli")]
pub use handshake::{
    Handshake, Outcome, Protocol, Reply, SSL_REQUEST, handshake_findings, handshake_unknown, is_complete,
    parse_answer,
};
pub use report::{BindingFindings, Counts, DoctorReport};
pub use settings::check_settings;
pub use shell::line;

#[cfg(test)]
pub(crate) mod tests;
