//! Derives the phase of an invocation from its events, without a look into the loop.

use std::net::SocketAddr;

use rds_nlb_sync::reconcile::RDS_TIMEOUT;

use super::hazard::Phase;
use super::history::{Change, Event, Targets, Time};
use crate::Action;

/// One invocation's progress.
#[derive(Debug)]
pub struct Progress {
    pub is_running: bool,
    /// The version of the group in its last listing.
    pub listed: Option<usize>,
    pub candidate: Option<&'static str>,
    resolved: Option<SocketAddr>,
    active: Targets,
    /// Whether a lookup, and a listing, was answered since the last change.
    is_resolved: bool,
    is_listed: bool,
    has_changed: bool,
    waits_for_permit: bool,
    asks_rds_since: Option<Time>,
    sent: Option<(usize, Change)>,
}

impl Progress {
    pub fn new(candidate: Option<&'static str>) -> Self {
        Self {
            is_running: true,
            listed: None,
            candidate,
            resolved: None,
            active: Targets::new(),
            is_resolved: false,
            is_listed: false,
            has_changed: false,
            waits_for_permit: false,
            asks_rds_since: None,
            sent: None,
        }
    }

    pub fn phase(&self, now: Time) -> Phase {
        match self.sent {
            Some((_, Change::Register)) => return Phase::Registering,
            Some((_, Change::Deregister)) => return Phase::Deregistering,
            None if self.waits_for_permit => return Phase::WaitingForPermit,
            // The loop gives up on an answer by then.
            None if self.asks_rds_since.is_some_and(|since| now < since + RDS_TIMEOUT) => {
                return Phase::AskingRds;
            }
            None => {}
        }
        match (self.is_resolved && self.is_listed, self.has_changed) {
            (false, false) => Phase::FirstObservation,
            (false, true) => Phase::ObservingAgain,
            (true, _) if self.active.iter().eq(self.resolved.iter()) => Phase::Reporting,
            (true, _) => Phase::Confirming,
        }
    }

    pub fn waits_for_permit(&mut self, waits: bool) {
        self.waits_for_permit = waits;
    }

    pub fn observe(&mut self, now: Time, port: u16, event: &Event) {
        match event {
            Event::Asked { action: Action::DescribeDBClusters, .. } => self.asks_rds_since = Some(now),
            Event::RdsAnswered { .. } | Event::Failed { action: Action::DescribeDBClusters, .. } => {
                self.asks_rds_since = None;
            }
            Event::Looked { named: Some(named), .. } => {
                self.resolved = Some(SocketAddr::new(named.address, port));
                self.is_resolved = true;
            }
            Event::Listed { version, active, .. } => {
                self.active.clone_from(active);
                (self.listed, self.is_listed) = (Some(*version), true);
            }
            Event::Sent { call, change, .. } => self.sent = Some((*call, *change)),
            Event::Answered { call, .. } if self.sent.is_some_and(|(sent, _)| sent == *call) => {
                self.sent = None;
                (self.has_changed, self.is_resolved, self.is_listed) = (true, false, false);
            }
            Event::Ended { .. } => self.is_running = false,
            _ => {}
        }
    }
}
