//! Whether a Multi-AZ instance's standby may stay in the group.
//!
//! The RDS API is asked once, beside the loop. If it does not answer, the binding's setting applies. That is safe:
//! only an unhealthy target stays. The load balancer sends nothing to it while another target is healthy. If all targets
//! are unhealthy, it sends to all of them ("fail open").

use std::cell::RefCell;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::ports::{Clients, Instance, RdsApi};
use super::preregister::Snapshot;
use super::rds_query::{ask_cluster, ask_instance};
use crate::binding::Binding;
use crate::endpoint::{NO_STANDBY_IN_A_CLUSTER, RdsName, database_identifier, is_of_a_cluster, last_of_rds};
use crate::error::{Error, ErrorKind};
use crate::plan::StandbyPolicy;

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The RDS API has not been asked, or has not answered yet.
    Unknown,
    /// The binding's setting applies.
    PolicyApplies,
    /// There is no standby to keep, and why.
    Refused(String),
}

pub(super) struct StandbyCheck<'a, D, T, C> {
    clients: &'a Clients<D, T, C>,
    binding: &'a Binding,
    deadline: Instant,
    state: RefCell<State>,
    known: Notify,
}

impl<'a, D, T, C: RdsApi> StandbyCheck<'a, D, T, C> {
    pub fn new(clients: &'a Clients<D, T, C>, binding: &'a Binding, deadline: Instant) -> Self {
        let state = match binding.standby {
            StandbyPolicy::Deregister => State::PolicyApplies,
            StandbyPolicy::Keep => State::Unknown,
        };
        Self { clients, binding, deadline, state: RefCell::new(state), known: Notify::new() }
    }

    pub fn policy(&self) -> StandbyPolicy {
        match *self.state.borrow() {
            State::Refused(_) => StandbyPolicy::Deregister,
            State::Unknown | State::PolicyApplies => self.binding.standby,
        }
    }

    pub fn is_unknown(&self) -> bool {
        *self.state.borrow() == State::Unknown
    }

    pub async fn wait_until_known(&self) {
        while self.is_unknown() {
            self.known.notified().await;
        }
    }

    pub fn error(&self) -> Option<Error> {
        let State::Refused(reason) = &*self.state.borrow() else { return None };
        let doing = format!("keep a standby for {}", self.binding.endpoint);
        let fix = "remove \"standby\" from the binding, which is kept in sync without a standby";
        Some(Error::new(ErrorKind::Permanent, doing).with_source(reason.clone()).with_fix(fix))
    }

    /// Asks the RDS API as soon as the loop has seen the endpoint.
    pub async fn run(&self, snapshot: &watch::Sender<Option<Snapshot>>) {
        if !self.is_unknown() {
            return;
        }
        let mut snapshot = snapshot.subscribe();
        // The sender lives as long as the run.
        let Ok(seen) = snapshot.wait_for(Option::is_some).await.map(|seen| seen.clone()) else { return };
        if let Some(seen) = seen {
            self.check(&seen.resolution.chain).await;
        }
    }

    /// Asks whether there is a standby behind the names that DNS gave.
    pub async fn check(&self, chain: &[String]) {
        if !self.is_unknown() {
            return;
        }
        let state = match self.refusal(chain).await {
            Ok(None) => State::PolicyApplies,
            Ok(Some(reason)) => State::Refused(reason),
            Err(error) => {
                let reason = error.explain();
                log_decision!(warn, self.binding, "rds_unavailable", reason = %reason, "keeping the standby without the RDS API");
                State::PolicyApplies
            }
        };
        self.state.replace(state);
        self.known.notify_waiters();
    }

    async fn refusal(&self, chain: &[String]) -> Result<Option<String>, Error> {
        if chain.iter().any(|name| is_of_a_cluster(name)) {
            return Ok(Some(NO_STANDBY_IN_A_CLUSTER.to_owned()));
        }
        // Without an RDS name in the chain nothing shows the account: a database of that name here may be another one.
        let Some((_, RdsName { identifier, zone, .. })) = last_of_rds(chain) else { return Ok(None) };
        let identifier = match self.binding.databases.is_empty() {
            true => identifier,
            false => database_identifier(self.binding, chain),
        };
        let identifier = identifier.as_str();
        let rds = &self.clients.rds;
        let instance = ask_instance(rds, self.deadline, identifier, &zone).await?;
        // If no instance has the name, a cluster may have it. If neither has it, the name is an alias.
        let is_cluster = match instance {
            None => ask_cluster(rds, self.deadline, identifier, &zone).await?.is_some(),
            Some(_) => false,
        };
        Ok(why_not(identifier, instance.as_ref(), is_cluster))
    }
}

/// Why there is no standby to keep. `None` if there is one, or if the RDS API's answers do not show it.
fn why_not(identifier: &str, instance: Option<&Instance>, is_cluster: bool) -> Option<String> {
    match instance {
        Some(Instance { cluster: Some(_), .. }) => Some(NO_STANDBY_IN_A_CLUSTER.to_owned()),
        Some(Instance { is_multi_az: false, .. }) => Some(format!(
            "the RDS API says that the instance {identifier} is not Multi-AZ: it has no standby"
        )),
        None if is_cluster => Some(NO_STANDBY_IN_A_CLUSTER.to_owned()),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standby_is_allowed_for_multi_az_instances_and_unknown_names() {
        let multi_az = Instance { is_multi_az: true, ..Instance::default() };
        assert_eq!(why_not("orders", Some(&multi_az), false), None);
        assert_eq!(why_not("orders", None, false), None);
    }

    #[test]
    fn standby_is_refused_for_clusters_members_and_single_az_instances() {
        let member = Instance { is_multi_az: true, cluster: Some("orders".into()), ..Instance::default() };
        assert_eq!(why_not("orders-1", Some(&member), false).as_deref(), Some(NO_STANDBY_IN_A_CLUSTER));
        assert_eq!(why_not("orders", None, true).as_deref(), Some(NO_STANDBY_IN_A_CLUSTER));
        let single_az = why_not("orders", Some(&Instance::default()), false).unwrap();
        assert!(single_az.contains("orders is not Multi-AZ"), "{single_az}");
    }
}
