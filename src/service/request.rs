//! The bindings of an invocation, and what its event asks for: by the tags, and by the members of clusters that the RDS API
//! names.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Service;
use crate::binding::{Binding, Role};
use crate::discovery::{self, BindingSet, Discover, TAG_AGE, TAG_AGE_UNKNOWN_DB, TagAge, Unbound};
use crate::event::{
    ClusterByInstance, Event, Request, WatchedBinding, decide_request, is_about_unbound_database,
    unknown_instances,
};
use crate::fleet::BACKGROUND_INTERVAL;
use crate::rate_limit::Priority;
use crate::reconcile::{RdsApi, Resolve, TargetGroupApi, with_rds_timeout};

/// How long a check or a command may take to read the tags again if it knows an earlier list. The tags of a thousand groups take
/// some five seconds at the routine rate.
const TAG_REFRESH_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the RDS API may take to name an instance's cluster beside a watch. The background sync starts when this
/// question ends.
const RDS_TIMEOUT_BESIDE_WATCH: Duration = BACKGROUND_INTERVAL;

/// How many instances an invocation asks the RDS API about, to find the clusters that they are members of.
const MAX_INSTANCES: usize = 10;

impl<D: Resolve, T: TargetGroupApi + Discover, C: RdsApi> Service<'_, D, T, C> {
    /// The bindings that join a watch: those of clusters whose members the event names, if the RDS API had to be asked
    /// for these clusters.
    pub(super) async fn joining(
        &self,
        event: &Event,
        bindings: &[Binding],
        watched: &[WatchedBinding],
        watch_cutoff: SystemTime,
        deadline: Instant,
    ) -> Vec<WatchedBinding> {
        let mut members = self.members.borrow().clone();
        let end = deadline.min(Instant::now() + RDS_TIMEOUT_BESIDE_WATCH);
        self.find_clusters(event, bindings, &mut members, end).await;
        let Request::Watch(mut found) = decide_request(event, bindings, &members, watch_cutoff) else {
            return Vec::new();
        };
        found.retain(|found| watched.iter().all(|watched| watched.index != found.index));
        found
    }

    /// Finds the bindings, and decides what the event asks for. A watch must not wait, so it uses the known tags,
    /// however old they are. A command always reads the tags again; any other request does so if they are too old.
    pub(super) async fn load_bindings_and_request(
        &self,
        event: &Event,
        watch_cutoff: SystemTime,
        deadline: Instant,
    ) -> (Request, BindingSet) {
        let (request, mut set) = self.read_bindings_and_request(event, watch_cutoff, deadline).await;
        set.unbound.iter().for_each(Unbound::log);
        if matches!(request, Request::Watch(_)) {
            // A group that cannot be bound must not fail a watch.
            set.unbound.clear();
        }
        (request, set)
    }

    async fn read_bindings_and_request(
        &self,
        event: &Event,
        watch_cutoff: SystemTime,
        deadline: Instant,
    ) -> (Request, BindingSet) {
        // A cold function must read the tags before it can follow a failover.
        let priority = if event.is_of_rds() { Priority::Failover } else { Priority::Routine };
        let load = async |age, priority, members| {
            let groups = &self.clients.groups;
            let set = discovery::binding_set(groups, self.config, age, priority, deadline).await;
            let (request, members) =
                self.find_request(event, &set.bindings, members, watch_cutoff, deadline).await;
            (request, set, members)
        };
        let members = self.members.borrow().clone();
        let (request, known, members) = load(TagAge::Any, priority, members).await;
        let is_watch = matches!(request, Request::Watch(_));
        if is_watch || known.relisted || self.config.discovery.is_none() {
            return (request, known);
        }
        let routine_end = deadline.min(Instant::now() + TAG_REFRESH_TIMEOUT);
        let is_of_no_tag = known.bindings.len() == self.config.bindings.len();
        let (age, priority, end) = if matches!(event, Event::Command(_)) {
            // An operator asks about what is there now.
            (TagAge::New, Priority::Routine, routine_end)
        } else if is_about_unbound_database(event, &known.bindings, &members, watch_cutoff) {
            // A failover of a new database may wait for the tags.
            (TAG_AGE_UNKNOWN_DB, priority, deadline)
        } else {
            let age = if is_of_no_tag { TAG_AGE_UNKNOWN_DB } else { TAG_AGE };
            (age, Priority::Routine, routine_end)
        };
        match timeout_at(end, load(age, priority, members)).await {
            Ok((request, set, _)) => (request, set),
            // The next check continues to read the tags.
            Err(_) => {
                let reason = "the tags were not read in time";
                tracing::warn!(decision = "retry", reason, "using the known groups");
                let mut known = known;
                if let (Event::Command(_), Some(key)) = (event, &self.config.discovery) {
                    let fix = "raise ELB_CALLS_PER_SECOND (10 at most), which limits the calls that read the tags, or a --timeout below 30 s";
                    known.unbound.push(Unbound::tag(key, format!("{reason}. Fix: {fix}")));
                }
                (request, known)
            }
        }
    }

    /// Decides what the event asks for, given the known members. If no known binding starts a watch, the RDS API is asked
    /// for the clusters of the event's instances first. Returns its answers with the known members.
    async fn find_request(
        &self,
        event: &Event,
        bindings: &[Binding],
        mut members: ClusterByInstance,
        watch_cutoff: SystemTime,
        deadline: Instant,
    ) -> (Request, ClusterByInstance) {
        let request_now = decide_request(event, bindings, &members, watch_cutoff);
        if matches!(request_now, Request::Watch(_)) {
            return (request_now, members);
        }
        let are_all_known = self.find_clusters(event, bindings, &mut members, deadline).await;
        let request = match decide_request(event, bindings, &members, watch_cutoff) {
            // The event may be about any binding with the role `readers`.
            Request::Check(to_list) if !are_all_known => Request::Check(&to_list | &readers(bindings)),
            request => request,
        };
        (request, members)
    }

    /// Adds the clusters of the event's instances to the known members, by the RDS API's answers. Returns false if the
    /// cluster of an instance stays unknown.
    async fn find_clusters(
        &self,
        event: &Event,
        bindings: &[Binding],
        members: &mut ClusterByInstance,
        end: Instant,
    ) -> bool {
        let unknown = unknown_instances(event, bindings, members);
        let mut are_all_known = unknown.len() <= MAX_INSTANCES;
        let ask = async |instance: String| {
            let answer = with_rds_timeout(end, self.clients.rds.instance(&instance)).await;
            (instance, answer)
        };
        for (instance, answer) in join_all(unknown.into_iter().take(MAX_INSTANCES).map(ask)).await {
            match answer {
                Ok(Some(described)) => {
                    let cluster = described.cluster.map(|cluster| cluster.to_ascii_lowercase());
                    members.insert(instance, cluster);
                }
                Ok(None) => are_all_known = false,
                Err(error) => {
                    are_all_known = false;
                    let reason = error.explain();
                    tracing::warn!(
                        decision = "rds_unavailable",
                        instance,
                        reason,
                        "the instance's cluster is not known"
                    );
                }
            }
        }
        // Only the members of bound clusters are remembered: an account may have thousands of others.
        let of_bound = members.iter().filter(|(_, cluster)| {
            let is_about = |cluster: &String| bindings.iter().any(|binding| binding.is_about(cluster));
            cluster.as_ref().is_some_and(is_about)
        });
        self.members.borrow_mut().extend(of_bound.map(|(name, cluster)| (name.clone(), cluster.clone())));
        are_all_known
    }
}

fn readers(bindings: &[Binding]) -> BTreeSet<usize> {
    let readers = bindings.iter().enumerate().filter(|(_, binding)| binding.role == Role::Readers);
    readers.map(|(index, _)| index).collect()
}
