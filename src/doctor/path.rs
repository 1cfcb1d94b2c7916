//! What only the command line examines: the network around the load balancer, and a handshake through it.

use tokio::time::Instant;

use super::facts::Facts;
use super::finding::Finding;
use crate::binding::Binding;

#[derive(Debug, Default)]
pub struct PathFindings {
    pub network: Vec<Finding>,
    /// The result of a handshake, as a client makes it.
    pub handshake: Vec<Finding>,
}

/// The path from a client to the database, as the command line examines it.
pub trait InspectPath {
    async fn inspect_path(&self, binding: &Binding, facts: &Facts, deadline: Instant) -> PathFindings;
}

/// The function examines none of it.
impl InspectPath for () {
    async fn inspect_path(&self, _: &Binding, _: &Facts, _: Instant) -> PathFindings {
        PathFindings::default()
    }
}
