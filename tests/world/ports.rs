//! The world in process: the loop's ports, straight on the model.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rds_nlb_sync::config::Binding;
use rds_nlb_sync::discovery::{Discover, Tagged, Tags};
use rds_nlb_sync::fault::{Fault, Kind};
use rds_nlb_sync::plan::{Family, State as TargetState, Targets, Writer};
use rds_nlb_sync::reconcile::{
    self, Answer, Call, Cluster, Clusters, Dns, Group, Instance, Mode, Nominations, Pace, Report,
    TargetGroups, Urgency, reconcile,
};
use tokio::time::{Instant, sleep};

use super::{Action, ApiError, ENDPOINT, GROUP, State, Trouble, World};

/// The defaults of the configuration.
pub const PACE: Pace = Pace {
    watch: Duration::from_secs(180),
    poll: Duration::from_millis(500),
    confirm: Duration::from_secs(6),
};

impl World {
    /// Reconciles the world's binding at the default pace, with this much time.
    pub async fn reconcile(&self, mode: Mode, time: Duration) -> Report {
        self.reconcile_at(PACE, mode, time).await
    }

    pub async fn reconcile_at(&self, pace: Pace, mode: Mode, time: Duration) -> Report {
        let nominations = Nominations::Open { event: None };
        self.reconcile_binding(&Binding::new(ENDPOINT, GROUP), pace, mode, &nominations, time).await
    }

    /// Watches as the event says that nominates this member.
    pub async fn watch_nominating(&self, member: &str) -> Report {
        let nominations = Nominations::Open { event: Some(member.to_owned()) };
        let (binding, time) = (Binding::new(ENDPOINT, GROUP), Duration::from_secs(600));
        self.reconcile_binding(&binding, PACE, Mode::Watch, &nominations, time).await
    }

    pub async fn reconcile_binding(
        &self,
        binding: &Binding,
        pace: Pace,
        mode: Mode,
        nominations: &Nominations,
        time: Duration,
    ) -> Report {
        let world = reconcile::World { dns: self.clone(), groups: self.clone(), clusters: self.clone() };
        let deadline = Instant::now() + time;
        let report =
            reconcile(&world, binding, pace, mode, nominations, Some(Urgency::Routine), deadline).await;
        assert!(Instant::now() <= deadline, "no reconciliation outlives its deadline");
        report
    }

    pub async fn check(&self) -> Report {
        self.reconcile(Mode::Check, Duration::from_secs(60)).await
    }

    pub async fn watch(&self) -> Report {
        self.reconcile(Mode::Watch, Duration::from_secs(600)).await
    }

    /// Makes a call: records it, waits as long as it takes, and lets the trouble happen.
    pub(super) async fn call<R>(
        &self,
        action: Action,
        detail: String,
        effect: impl FnOnce(&mut State) -> Result<R, ApiError>,
    ) -> Result<R, Fault> {
        let (trouble, latency) = {
            let mut state = self.state();
            (state.begin(action, detail), state.latency)
        };
        sleep(latency).await;
        let fault =
            |kind, reason: &str| Err(Fault::new(kind, format!("call {action:?}")).because(reason.to_owned()));
        match trouble {
            None => {}
            Some(Trouble::Slow(time)) => sleep(time).await,
            Some(Trouble::Hangs | Trouble::Stalls) => std::future::pending().await,
            Some(Trouble::Throttled) => return fault(Kind::Transient, "Rate exceeded"),
            Some(Trouble::ServerError) => return fault(Kind::Transient, "InternalError"),
            Some(Trouble::Denied) => return fault(Kind::Permanent, "AccessDenied"),
            Some(Trouble::AnswerLost) => {
                let _ = effect(&mut self.state());
                return fault(Kind::Transient, "the connection broke");
            }
            Some(_) => return fault(Kind::Transient, "the connection broke"),
        }
        effect(&mut self.state())
            .map_err(|error| Fault::new(Kind::Permanent, format!("call {action:?}")).because(error.message))
    }
}

impl Dns for World {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Answer, Fault> {
        let fault = |reason: &str| {
            Fault::new(Kind::NoAnswer, format!("resolve {endpoint}")).because(reason.to_owned())
        };
        let (trouble, latency) = {
            let mut state = self.state();
            (state.begin(Action::Lookup, endpoint), state.latency)
        };
        sleep(latency).await;
        match trouble {
            None => {}
            Some(Trouble::Slow(time)) => sleep(time).await,
            Some(Trouble::Hangs | Trouble::Stalls) => sleep(rds_nlb_sync::dns::LOOKUP).await,
            Some(_) => {}
        }
        match trouble {
            None | Some(Trouble::Slow(_) | Trouble::Truncated | Trouble::AliasAlone) => {}
            Some(other) => return Err(fault(&format!("{other:?}"))),
        }
        let found = self.state().find(endpoint, family == Family::V6);
        let addresses = found.addresses.ok_or_else(|| fault("NXDOMAIN"))?;
        let writer = Writer::parse(addresses).map_err(|not| fault(&not.to_string()))?;
        Ok(Answer { writer, chain: found.chain })
    }
}

impl TargetGroups for World {
    async fn turn(&self, urgency: Urgency, call: Call) {
        let budget = {
            let mut state = self.state();
            state.turns.push((urgency, call));
            state.budget.clone()
        };
        if let Some(budget) = budget {
            budget.turn(urgency, call).await;
        }
    }

    async fn describe(&self, group: &str) -> Result<Group, Fault> {
        let known = self.state().known.get(group).copied();
        if let Some(group) = known {
            return Ok(group);
        }
        let described =
            self.call(Action::DescribeTargetGroups, String::new(), |state| state.described(group)).await?;
        let family = if described.address_type == "ipv6" { Family::V6 } else { Family::V4 };
        let described = Group { family, port: described.port };
        self.state().known.insert(group.to_owned(), described);
        Ok(described)
    }

    async fn targets(&self, group: &str) -> Result<Targets, Fault> {
        let listed =
            self.call(Action::DescribeTargetHealth, String::new(), |state| state.health(group)).await?;
        let state = |state| match state {
            "draining" | "unhealthy.draining" => TargetState::Draining,
            "initial" => TargetState::Initial,
            "unhealthy" => TargetState::Unhealthy,
            _ => TargetState::Active,
        };
        Ok(listed.into_iter().map(|(target, health)| (target, state(health))).collect())
    }

    async fn register(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let detail = list(targets);
        let targets: Vec<_> = targets.iter().map(|target| (*target, None)).collect();
        self.call(Action::RegisterTargets, detail, |state| state.register(group, &targets)).await
    }

    async fn deregister(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Fault> {
        let detail = list(targets);
        let targets: Vec<_> = targets.iter().copied().collect();
        self.call(Action::DeregisterTargets, detail, |state| state.deregister(group, &targets)).await
    }
}

impl Discover for World {
    async fn tagged(&self, key: &str, age: Duration, urgency: Urgency) -> Result<Tags, Fault> {
        self.state().tag_ages.push((age, urgency));
        self.call(Action::DescribeTags, key.to_owned(), |state| {
            let tags = state.tags.iter().filter(|(_, tags)| tags.contains_key(key));
            let groups = tags.map(|(group, tags)| Tagged { group: group.clone(), tags: tags.clone() });
            Ok(Tags { groups: groups.collect(), are_new: !state.tags_are_known })
        })
        .await
    }
}

impl Clusters for World {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Fault> {
        let found = |state: &mut State| Ok((state.clusters.get(identifier).cloned(), state.failing_over));
        let (found, is_failing_over) =
            self.call(Action::DescribeDBClusters, identifier.to_owned(), found).await?;
        Ok(found.map(|members| Cluster { members, is_failing_over }))
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Fault> {
        let found = |state: &mut State| Ok(state.instances.get(identifier).cloned());
        let found = self.call(Action::DescribeDBInstances, identifier.to_owned(), found).await?;
        Ok(found.map(|found| Instance {
            endpoint: found.endpoint,
            status: found.status.to_owned(),
            is_multi_az: found.multi_az,
            cluster: found.cluster.map(str::to_owned),
        }))
    }
}

pub fn list(targets: &BTreeSet<SocketAddr>) -> String {
    targets.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
}
