//! Lets changes finish before the process ends.
//!
//! A reconciliation may end between any two calls. But if a change is interrupted, nothing shows whether it took
//! effect.
//! So every change holds a read lock. [`Shutdown::close`] takes the write lock: it waits for the changes under way, and
//! no other can begin. A call that only reads may be interrupted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::discovery::{Discover, TagAge, Tags};
use crate::error::Error;
use crate::plan::Targets;
use crate::rate_limit::{Call, Permit, Priority};
use crate::reconcile::{Attempts, Clients, TargetGroupApi, TargetGroupInfo};

#[derive(Clone, Default)]
pub struct Shutdown(Arc<RwLock<()>>);

impl Shutdown {
    /// Waits for the changes under way, and stays closed while the guard lives.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        self.0.clone().write_owned().await
    }

    pub fn wrap<D, T, C>(&self, clients: Clients<D, T, C>) -> Clients<D, Guarded<T>, C> {
        let Clients { dns, groups, rds } = clients;
        Clients { dns, groups: Guarded { inner: groups, shutdown: self.clone() }, rds }
    }
}

/// The target groups, whose changes hold the lock.
pub struct Guarded<T> {
    inner: T,
    shutdown: Shutdown,
}

impl<T: TargetGroupApi> TargetGroupApi for Guarded<T> {
    async fn permit(&self, priority: Priority, call: Call) -> Permit {
        self.inner.permit(priority, call).await
    }

    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error> {
        self.inner.describe(group).await
    }

    async fn targets(&self, permit: Permit, group: &str) -> Result<Targets, Error> {
        self.inner.targets(permit, group).await
    }

    async fn register(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<Attempts, Error> {
        let _open = self.shutdown.0.read().await;
        self.inner.register(permit, group, targets).await
    }

    async fn deregister(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<(), Error> {
        let _open = self.shutdown.0.read().await;
        self.inner.deregister(permit, group, targets).await
    }
}

impl<T: Discover> Discover for Guarded<T> {
    async fn tagged(&self, key: &str, age: TagAge, priority: Priority) -> Result<Tags, Error> {
        self.inner.tagged(key, age, priority).await
    }
}
