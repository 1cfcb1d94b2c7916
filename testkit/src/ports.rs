//! The loop's ports in process, on the model.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::discovery::{Discover, TagAge, Tagged, Tags};
use rds_nlb_sync::error::{Error, ErrorKind};
use rds_nlb_sync::plan::{Addresses, Family, TargetState, Targets};
use rds_nlb_sync::rate_limit::{ApiRateLimiter, Call, Permit, Priority};
use rds_nlb_sync::reconcile::{
    self, Attempts, Cluster, Instance, ListPermit, Mode, Options, Preregistration, RdsApi, Report,
    Resolution, Resolve, TargetGroupApi, TargetGroupInfo, Timing, reconcile,
};
use tokio::time::{Instant, sleep};

use super::{Action, ApiError, ENDPOINT, FakeAws, Fault, GROUP, State};

/// The defaults of the configuration.
pub const TIMING: Timing = Timing {
    watch: Duration::from_secs(180),
    poll: Duration::from_millis(500),
    confirm: Duration::from_secs(6),
};

impl FakeAws {
    /// Reconciles the usual binding with the default timing; the deadline is this far away.
    pub async fn reconcile(&self, mode: Mode, time: Duration) -> Report {
        self.reconcile_at(TIMING, mode, time).await
    }

    pub async fn reconcile_at(&self, timing: Timing, mode: Mode, time: Duration) -> Report {
        let preregistration = Preregistration::On { promoted_instance: None };
        self.reconcile_binding(
            &Binding::new(ENDPOINT, GROUP.parse().unwrap()),
            timing,
            mode,
            &preregistration,
            time,
        )
        .await
    }

    /// Watches as for an event that names this member as the next writer.
    pub async fn watch_preregistering(&self, member: &str) -> Report {
        let preregistration = Preregistration::On { promoted_instance: Some(member.to_owned()) };
        let (binding, time) = (Binding::new(ENDPOINT, GROUP.parse().unwrap()), Duration::from_secs(600));
        self.reconcile_binding(&binding, TIMING, Mode::Watch, &preregistration, time).await
    }

    pub async fn reconcile_binding(
        &self,
        binding: &Binding,
        timing: Timing,
        mode: Mode,
        preregistration: &Preregistration,
        time: Duration,
    ) -> Report {
        let clients = reconcile::Clients { dns: self.clone(), groups: self.clone(), rds: self.clone() };
        let deadline = Instant::now() + time;
        // Runs at the same time are two processes: the second knows nothing of the first.
        let known_members = std::mem::take(&mut self.state().known_members);
        let report = reconcile(
            &clients,
            binding,
            Options {
                timing,
                mode,
                preregistration,
                known_members: &known_members,
                list_permit: ListPermit::At(Priority::Routine),
                deadline,
            },
        )
        .await;
        self.state().known_members = known_members;
        assert!(Instant::now() <= deadline, "no reconciliation outlives its deadline");
        report
    }

    pub async fn check(&self) -> Report {
        self.reconcile(Mode::Check, Duration::from_secs(60)).await
    }

    pub async fn watch(&self) -> Report {
        self.reconcile(Mode::Watch, Duration::from_secs(600)).await
    }

    /// Makes a call: records it, waits for its latency, and applies its fault.
    pub(super) async fn call<R>(
        &self,
        action: Action,
        detail: String,
        effect: impl FnOnce(&mut State) -> Result<R, ApiError>,
    ) -> Result<R, Error> {
        let (fault, latency) = {
            let mut state = self.state();
            (state.begin(action, detail), state.latency)
        };
        sleep(latency).await;
        let error =
            |kind, reason: &str| Error::new(kind, format!("call {action:?}")).with_source(reason.to_owned());
        let unknown = |reason| Err(error(ErrorKind::Transient, reason).with_unknown_outcome());
        match fault {
            None => {}
            Some(Fault::Slow(time)) => sleep(time).await,
            Some(Fault::Hangs | Fault::Stalls | Fault::TimesOut) => std::future::pending().await,
            Some(Fault::Throttled) => return Err(error(ErrorKind::Transient, "Rate exceeded")),
            Some(Fault::ServerError) => return unknown("InternalError"),
            Some(Fault::Denied) => return Err(error(ErrorKind::Permanent, "AccessDenied")),
            Some(Fault::AnswerLost) => {
                let _ = effect(&mut self.state());
                return unknown("the connection broke");
            }
            Some(_) => return unknown("the connection broke"),
        }
        effect(&mut self.state()).map_err(|error| {
            Error::new(ErrorKind::Permanent, format!("call {action:?}")).with_source(error.message)
        })
    }
}

impl Resolve for FakeAws {
    async fn resolve(&self, endpoint: &str, family: Family) -> Result<Resolution, Error> {
        let error = |reason: &str| {
            Error::new(ErrorKind::NoAnswer, format!("resolve {endpoint}")).with_source(reason.to_owned())
        };
        let (fault, latency) = {
            let mut state = self.state();
            (state.begin(Action::Lookup, endpoint), state.latency)
        };
        sleep(latency).await;
        match fault {
            None => {}
            Some(Fault::Slow(time)) => sleep(time).await,
            Some(Fault::Hangs | Fault::Stalls | Fault::TimesOut) => {
                sleep(rds_nlb_sync::dns::LOOKUP_TIMEOUT).await
            }
            Some(_) => {}
        }
        match fault {
            None | Some(Fault::Slow(_) | Fault::Truncated | Fault::CnameOnly) => {}
            Some(other) => return Err(error(&format!("{other:?}"))),
        }
        let found = self.state().find(endpoint, family == Family::V6);
        let addresses = found.addresses.ok_or_else(|| error("NXDOMAIN"))?;
        let addresses = Addresses::parse(addresses).map_err(|not| error(&not.to_string()))?;
        Ok(Resolution { addresses, chain: found.chain })
    }
}

impl TargetGroupApi for FakeAws {
    async fn permit(&self, priority: Priority, call: Call) -> Permit {
        let rate_limiter = {
            let mut state = self.state();
            state.permits.push((priority, call));
            state.rate_limiter.clone()
        };
        match rate_limiter {
            Some(rate_limiter) => rate_limiter.permit(priority, call).await,
            None => permit().await,
        }
    }

    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error> {
        let known = self.state().known.get(group).copied();
        if let Some(group) = known {
            return Ok(group);
        }
        let described =
            self.call(Action::DescribeTargetGroups, String::new(), |state| state.described(group)).await?;
        let family = if described.address_type == "ipv6" { Family::V6 } else { Family::V4 };
        let described = TargetGroupInfo { family, port: described.port };
        self.state().known.insert(group.to_owned(), described);
        Ok(described)
    }

    async fn targets(&self, _: Permit, group: &str) -> Result<Targets, Error> {
        let listed =
            self.call(Action::DescribeTargetHealth, String::new(), |state| state.health(group)).await?;
        let state = |state| match state {
            "draining" => TargetState::Draining,
            "unhealthy.draining" => TargetState::Unhealthy,
            "initial" => TargetState::Initial,
            "unhealthy" => TargetState::Unhealthy,
            "healthy" => TargetState::Healthy,
            "unused" => TargetState::Unused,
            "unavailable" => TargetState::Unavailable,
            _ => TargetState::Unknown,
        };
        Ok(listed.into_iter().map(|(target, health)| (target, state(health))).collect())
    }

    async fn register(
        &self,
        _: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<Attempts, Error> {
        let detail = list(targets);
        let targets: Vec<_> = targets.iter().map(|target| (*target, None)).collect();
        self.call(Action::RegisterTargets, detail, |state| state.register(group, &targets)).await?;
        Ok(if self.state().first_attempt_is_unclear { Attempts::SomeUnknown } else { Attempts::AllKnown })
    }

    async fn deregister(&self, _: Permit, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        let detail = list(targets);
        let targets: Vec<_> = targets.iter().copied().collect();
        self.call(Action::DeregisterTargets, detail, |state| state.deregister(group, &targets)).await
    }
}

impl Discover for FakeAws {
    async fn tagged(&self, key: &str, age: TagAge, priority: Priority) -> Result<Tags, Error> {
        self.state().tag_ages.push((age, priority));
        self.call(Action::DescribeTags, key.to_owned(), |state| {
            let tags = state.tags.iter().filter(|(_, tags)| tags.contains_key(key));
            let groups = tags.map(|(group, tags)| Tagged { group: group.clone(), tags: tags.clone() });
            Ok(Tags { groups: groups.collect(), relisted: !state.tags_are_known, failure: None })
        })
        .await
    }
}

impl RdsApi for FakeAws {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error> {
        let found = |state: &mut State| {
            let cluster =
                |members| Cluster { members, is_failing_over: state.failing_over, zone: state.rds_zone() };
            Ok(state.clusters.get(identifier).cloned().map(cluster))
        };
        self.call(Action::DescribeDBClusters, identifier.to_owned(), found).await
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Error> {
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

/// A permit without any limit.
pub async fn permit() -> Permit {
    ApiRateLimiter::unlimited().permit(Priority::Routine, Call::Describe).await
}

/// What DNS gave last, as text.
pub fn addresses(report: &Report) -> Vec<String> {
    report.addresses.iter().flat_map(Addresses::iter).map(|address| address.to_string()).collect()
}

pub fn list(targets: &BTreeSet<SocketAddr>) -> String {
    targets.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
}
