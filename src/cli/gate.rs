//! Lets calls finish before the process ends.
//!
//! A reconciliation may be cut short between any two calls, but a call that is cut short may or may not
//! have taken effect. Every call passes the gate as a reader; closing it is writing: it waits for the
//! calls under way and lets no other begin.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::fault::Fault;
use crate::plan::{Family, Targets};
use crate::reconcile::{Answer, Call, Cluster, Clusters, Dns, Group, Instance, TargetGroups, Urgency, World};

/// What every call passes.
#[derive(Clone, Default)]
pub struct Gate(Arc<RwLock<()>>);

impl Gate {
    /// Waits for the calls under way, and stays closed for as long as the guard lives.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        self.0.clone().write_owned().await
    }

    /// The world, behind this gate.
    pub fn around<D, T, C>(&self, world: World<D, T, C>) -> World<Gated<D>, Gated<T>, Gated<C>> {
        let World { dns, groups, clusters } = world;
        World {
            dns: Gated { inner: dns, gate: self.clone() },
            groups: Gated { inner: groups, gate: self.clone() },
            clusters: Gated { inner: clusters, gate: self.clone() },
        }
    }
}

/// A part of the world, behind a gate.
pub struct Gated<P> {
    inner: P,
    gate: Gate,
}

impl<P> Gated<P> {
    async fn pass<R>(&self, call: impl Future<Output = R>) -> R {
        let _open = self.gate.0.read().await;
        call.await
    }
}

impl<P: Dns> Dns for Gated<P> {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Answer, Fault> {
        self.pass(self.inner.resolve(endpoint, family)).await
    }
}

impl<P: TargetGroups> TargetGroups for Gated<P> {
    async fn turn(&self, urgency: Urgency, call: Call) {
        self.inner.turn(urgency, call).await;
    }

    async fn describe(&self, group: &str) -> Result<Group, Fault> {
        self.pass(self.inner.describe(group)).await
    }

    async fn targets(&self, group: &str) -> Result<Targets, Fault> {
        self.pass(self.inner.targets(group)).await
    }

    async fn register(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Fault> {
        self.pass(self.inner.register(group, targets)).await
    }

    async fn deregister(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Fault> {
        self.pass(self.inner.deregister(group, targets)).await
    }
}

impl<P: Clusters> Clusters for Gated<P> {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Fault> {
        self.pass(self.inner.cluster(identifier)).await
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Fault> {
        self.pass(self.inner.instance(identifier)).await
    }
}
