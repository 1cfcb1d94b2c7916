//! How sure DNS's answer is, and the RDS API's objections to it.

use tokio::time::{Instant, timeout};

use super::evidence;
use super::run::Run;
use super::sight::Look;
use super::{Answer, Clusters, Dns, OBJECTION, OPINION, TargetGroups};
use crate::config::Role;
use crate::fault::{Fault, Kind};
use crate::plan::Evidence;

/// What the RDS API said of an answer.
pub(super) struct Opinion {
    of: Answer,
    objection: Option<Evidence>,
    at: Instant,
}

impl<D: Dns, T: TargetGroups, C: Clusters> Run<'_, D, T, C> {
    /// How sure DNS's answer is. An eviction acts only on a look that is fresh when all else is settled.
    pub(super) async fn evidence(&mut self, look: &Look) -> Evidence {
        if !self.sight.is_steady() {
            return Evidence::Unconfirmed;
        }
        if self.plan(look, Evidence::Unconfirmed) == self.plan(look, Evidence::Confirmed) {
            // Nothing hangs on it, so the RDS API need not be asked.
            return Evidence::Confirmed;
        }
        if self.patience.rests() {
            return Evidence::Outdated;
        }
        if self.scout.take_objection() {
            // What the API said before is older.
            self.opinion = None;
        }
        let objection = match &self.opinion {
            Some(Opinion { of, objection, at }) if *of == look.answer && at.elapsed() < OPINION => *objection,
            _ => {
                let objection = self.ask_rds(look).await;
                self.opinion = Some(Opinion { of: look.answer.clone(), objection, at: Instant::now() });
                if objection.is_none() {
                    // What may now be done needs a look that is younger than the question.
                    self.sight.look_afresh();
                }
                objection
            }
        };
        if let Some(objection) = objection {
            return objection;
        }
        if !self.sight.is_fresh() {
            self.sight.look_afresh();
            return Evidence::Outdated;
        }
        Evidence::Confirmed
    }

    /// What the RDS API has against DNS's answer. It can veto, never command: where it does not know the
    /// cluster, may not be asked or does not answer in time, it does not object.
    pub(super) async fn ask_rds(&mut self, look: &Look) -> Option<Evidence> {
        let answer = &look.answer;
        let member = evidence::member(answer).filter(|_| self.binding.role == Role::Writer)?;
        let identifier = evidence::cluster_identifier(self.binding, answer);
        let world = self.sight.world;
        let asking = async {
            timeout(OBJECTION, world.clusters.cluster(&identifier)).await.unwrap_or_else(|_| {
                Err(Fault::new(Kind::Transient, "ask the RDS API").because("no answer in time"))
            })
        };
        let answer = self.sight.bounded("ask the RDS API", asking).await;
        if let Ok(cluster) = &answer {
            self.scout.hear(cluster.as_ref());
        }
        match answer {
            Ok(None) => None,
            Ok(Some(cluster)) => {
                if let Some(other) = cluster.contradicts(member) {
                    if self.is_news(format!("veto {member} {other}")) {
                        let reason = "the RDS API names another writer than DNS";
                        say!(info, self.binding, "veto", dns = member, rds = other, reason, "evicts nobody");
                    }
                    return Some(Evidence::Contradicted);
                }
                // What looks stale may be the next writer, which another invocation has registered early.
                // Once DNS has moved, there is nothing left to wait for.
                if !cluster.is_failing_over || self.has_followed(look) {
                    return None;
                }
                if self.is_news("veto failing-over".to_owned()) {
                    let reason = "the RDS API reports a failover under way";
                    say!(info, self.binding, "veto", dns = member, reason, "evicts nobody");
                }
                Some(Evidence::FailingOver)
            }
            Err(fault) => {
                let reason = fault.explain();
                if self.is_news(reason.clone()) {
                    say!(warn, self.binding, "no_veto", reason = %reason, "goes on without the RDS API");
                }
                None
            }
        }
    }
}
