//! Lets calls finish before the process ends.
//!
//! A reconciliation may end between any two calls. But if a call is interrupted, nothing shows whether it took
//! effect.
//! So every call of a reconciliation holds a read lock. [`Shutdown::close`] takes the write lock: it waits for the
//! calls under way, and no other call can begin. A call that reads tags may be interrupted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::discovery::{Discover, TagAge, Tags};
use crate::error::Error;
use crate::plan::{Family, Targets};
use crate::rate_limit::{Call, Permit, Priority};
use crate::reconcile::{
    Attempts, Clients, Cluster, Instance, RdsApi, Resolution, Resolve, TargetGroupApi, TargetGroupInfo,
};

#[derive(Clone, Default)]
pub struct Shutdown(Arc<RwLock<()>>);

impl Shutdown {
    /// Waits for the calls under way, and stays closed while the guard lives.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        self.0.clone().write_owned().await
    }

    pub fn wrap<D, T, C>(&self, clients: Clients<D, T, C>) -> Clients<Guarded<D>, Guarded<T>, Guarded<C>> {
        let Clients { dns, groups, rds } = clients;
        Clients {
            dns: Guarded { inner: dns, shutdown: self.clone() },
            groups: Guarded { inner: groups, shutdown: self.clone() },
            rds: Guarded { inner: rds, shutdown: self.clone() },
        }
    }
}

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
    async fn permit(&self, priority: Priority, call: Call) -> Permit {
        self.inner.permit(priority, call).await
    }

    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error> {
        self.guarded(self.inner.describe(group)).await
    }

    async fn targets(&self, permit: Permit, group: &str) -> Result<Targets, Error> {
        self.guarded(self.inner.targets(permit, group)).await
    }

    async fn register(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<Attempts, Error> {
        self.guarded(self.inner.register(permit, group, targets)).await
    }

    async fn deregister(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<(), Error> {
        self.guarded(self.inner.deregister(permit, group, targets)).await
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

impl<P: Discover> Discover for Guarded<P> {
    async fn tagged(&self, key: &str, age: TagAge, priority: Priority) -> Result<Tags, Error> {
        self.inner.tagged(key, age, priority).await
    }
}
