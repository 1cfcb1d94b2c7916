//! How sure DNS's answer is, and the RDS API's objections to it.

use tokio::time::{Instant, timeout};

use super::observe::Observation;
use super::run::Run;
use super::{RDS_RECHECK_INTERVAL, RDS_TIMEOUT, RdsApi, Resolution, Resolve, TargetGroupApi};
use crate::binding::Role;
use crate::endpoint::{cluster_identifier, member};
use crate::error::{Error, ErrorKind};
use crate::plan::Confirmation;

/// What the RDS API said of an answer.
pub(super) struct RdsVerdict {
    of: Resolution,
    veto: Option<Confirmation>,
    at: Instant,
}

impl<D: Resolve, T: TargetGroupApi, C: RdsApi> Run<'_, D, T, C> {
    /// How sure DNS's answer is. A deregistration acts only on a look that is fresh when all else is settled.
    pub(super) async fn confirmation(&mut self, observation: &Observation) -> Confirmation {
        if !self.observer.is_confirmed() {
            return Confirmation::Unconfirmed;
        }
        if self.plan(observation, Confirmation::Unconfirmed)
            == self.plan(observation, Confirmation::Confirmed)
        {
            // Nothing hangs on it, so the RDS API need not be asked.
            return Confirmation::Confirmed;
        }
        if self.loop_control.is_backing_off() {
            return Confirmation::StaleObservation;
        }
        if self.background.take_veto() {
            // What the API said before is older.
            self.rds_verdict = None;
        }
        let veto = match &self.rds_verdict {
            Some(RdsVerdict { of, veto, at })
                if *of == observation.resolution && at.elapsed() < RDS_RECHECK_INTERVAL =>
            {
                *veto
            }
            _ => {
                let veto = self.ask_rds(observation).await;
                self.rds_verdict =
                    Some(RdsVerdict { of: observation.resolution.clone(), veto, at: Instant::now() });
                if veto.is_none() {
                    // What may now be done needs a look that is younger than the question.
                    self.observer.require_new_listing();
                }
                veto
            }
        };
        if let Some(veto) = veto {
            return veto;
        }
        if !self.observer.is_fresh() {
            self.observer.require_new_listing();
            return Confirmation::StaleObservation;
        }
        Confirmation::Confirmed
    }

    /// What the RDS API has against DNS's answer. It can veto, never command: where it does not know the
    /// cluster, may not be asked or does not answer in time, it does not object.
    pub(super) async fn ask_rds(&mut self, observation: &Observation) -> Option<Confirmation> {
        let resolution = &observation.resolution;
        let member = member(&resolution.chain).filter(|_| self.binding.role == Role::Writer)?;
        let identifier = cluster_identifier(self.binding, &resolution.chain);
        let clients = self.observer.clients;
        let asking = async {
            timeout(RDS_TIMEOUT, clients.rds.cluster(&identifier)).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Transient, "ask the RDS API").with_source("no answer in time"))
            })
        };
        let described = self.observer.bounded("ask the RDS API", asking).await;
        if let Ok(cluster) = &described {
            self.background.record_cluster(cluster.as_ref());
        }
        match described {
            Ok(None) => None,
            Ok(Some(cluster)) => {
                if let Some(other) = cluster.contradicts(member) {
                    if self.is_news(format!("veto {member} {other}")) {
                        let reason = "the RDS API names another writer than DNS";
                        log_decision!(
                            info,
                            self.binding,
                            "veto",
                            dns = member,
                            rds = other,
                            reason,
                            "deregisters nobody"
                        );
                    }
                    return Some(Confirmation::RdsDisagrees);
                }
                // What looks stale may be the next writer, which another invocation has registered early.
                // Once DNS has moved, there is nothing left to wait for.
                if !cluster.is_failing_over || self.has_followed(observation) {
                    return None;
                }
                if self.is_news("veto failing-over".to_owned()) {
                    let reason = "the RDS API reports a failover under way";
                    log_decision!(info, self.binding, "veto", dns = member, reason, "deregisters nobody");
                }
                Some(Confirmation::FailoverInProgress)
            }
            Err(error) => {
                let reason = error.explain();
                if self.is_news(reason.clone()) {
                    log_decision!(warn, self.binding, "rds_unavailable", reason = %reason, "goes on without the RDS API");
                }
                None
            }
        }
    }
}
