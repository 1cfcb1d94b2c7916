//! Lets calls finish before the process ends.
//!
//! A reconciliation may be cut short between any two calls, but a call that is cut short may or may not
//! have taken effect. Every call passes the gate as a reader; closing it is writing: it waits for the
//! calls under way and lets no other begin.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::error::Error;
use crate::plan::{Family, Targets};
use crate::reconcile::{
    Call, Clients, Cluster, Instance, Priority, RdsApi, Resolution, Resolve, TargetGroupApi, TargetGroupInfo,
};

/// What every call passes.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<RwLock<()>>);

impl Shutdown {
    /// Waits for the calls under way, and stays closed for as long as the guard lives.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        self.0.clone().write_owned().await
    }

    /// The world, behind this gate.
    pub fn wrap<D, T, C>(&self, clients: Clients<D, T, C>) -> Clients<Guarded<D>, Guarded<T>, Guarded<C>> {
        let Clients { dns, groups, rds } = clients;
        Clients {
            dns: Guarded { inner: dns, shutdown: self.clone() },
            groups: Guarded { inner: groups, shutdown: self.clone() },
            rds: Guarded { inner: rds, shutdown: self.clone() },
        }
    }
}

/// A part of the world, behind a gate.
pub struct Guarded<P> {
    inner: P,
    shutdown: Shutdown,
}

impl<P> Guarded<P> {
    async fn guarded<R>(&self, call: impl Future<Output = R>) -> R {
        let _open = self.shutdown.0.read().await;
        call.await
    }
}

impl<P: Resolve> Resolve for Guarded<P> {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error> {
        self.guarded(self.inner.resolve(endpoint, family)).await
    }
}

impl<P: TargetGroupApi> TargetGroupApi for Guarded<P> {
    async fn permit(&self, priority: Priority, call: Call) {
        self.inner.permit(priority, call).await;
    }

    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error> {
        self.guarded(self.inner.describe(group)).await
    }

    async fn targets(&self, group: &str) -> Result<Targets, Error> {
        self.guarded(self.inner.targets(group)).await
    }

    async fn register(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        self.guarded(self.inner.register(group, targets)).await
    }

    async fn deregister(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        self.guarded(self.inner.deregister(group, targets)).await
    }
}

impl<P: RdsApi> RdsApi for Guarded<P> {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error> {
        self.guarded(self.inner.cluster(identifier)).await
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Error> {
        self.guarded(self.inner.instance(identifier)).await
    }
}
