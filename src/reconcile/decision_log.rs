//! The log lines of the loop. A plan, a veto or an error that repeats is logged once in a run.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::report::Status;
use crate::binding::{Binding, Role};
use crate::error::Error;
use crate::plan::{Plan, list};

pub(super) struct DecisionLog<'a> {
    binding: &'a Binding,
    logged: BTreeSet<String>,
}

impl<'a> DecisionLog<'a> {
    pub fn new(binding: &'a Binding) -> Self {
        Self { binding, logged: BTreeSet::new() }
    }

    /// Whether this was not logged before in this run.
    fn is_new(&mut self, message: &str) -> bool {
        self.logged.insert(message.to_owned())
    }

    pub fn plan(&mut self, plan: &Plan) {
        if self.is_new(&plan.to_string()) {
            log_decision!(info, self.binding, "plan", plan = %plan, reason = "the group differs from DNS", "plan computed");
        }
    }

    pub fn dry_run(&self, plan: &Plan) {
        log_decision!(info, self.binding, "plan", plan = %plan, reason = "a dry run", "plan computed, nothing changed");
    }

    pub fn disagreement(&mut self, dns: &str, rds: &str) {
        if self.is_new(&format!("veto {dns} {rds}")) {
            let reason = "the RDS API names another writer than DNS";
            log_decision!(info, self.binding, "veto", dns, rds, reason, "deregistration blocked by RDS");
        }
    }

    pub fn failover_in_progress(&mut self, dns: &str) {
        if self.is_new("veto failover in progress") {
            let reason = "the RDS API reports a failover in progress";
            log_decision!(info, self.binding, "veto", dns, reason, "deregistration blocked by RDS");
        }
    }

    pub fn rds_unavailable(&mut self, error: &Error) {
        let reason = error.explain();
        if self.is_new(&reason) {
            log_decision!(warn, self.binding, "rds_unavailable", reason = %reason, "continuing without the RDS API");
        }
    }

    pub fn registering(&self, targets: &BTreeSet<SocketAddr>) {
        let reason = match self.binding.role {
            Role::Writer => "DNS names it as the writer",
            Role::Readers => "it is a reader of the cluster, or the writer of a cluster without readers",
            Role::All => "DNS names it",
        };
        log_decision!(info, self.binding, "register", targets = %list(targets), reason, "registering targets");
    }

    pub fn registering_early(&self, targets: &BTreeSet<SocketAddr>) {
        let reason = "it is about to become the writer";
        log_decision!(info, self.binding, "register", targets = %list(targets), reason, "registering targets early");
    }

    pub fn candidate_failed(&self, error: &Error) {
        log_decision!(warn, self.binding, "preregister", reason = %error.explain(), "registering the candidate failed");
    }

    pub fn deregistering(&self, targets: &BTreeSet<SocketAddr>) {
        let reason = "DNS has confirmed the endpoint's addresses, which are registered";
        log_decision!(info, self.binding, "deregister", targets = %list(targets), reason, "deregistering targets");
    }

    pub fn retrying(&mut self, reason: &str) {
        if self.is_new(reason) {
            log_decision!(warn, self.binding, "retry", reason, "retrying after error");
        }
    }

    pub fn recovered(&self) {
        let reason = "what failed before works again";
        log_decision!(info, self.binding, "recovered", reason, "error cleared");
    }

    pub fn deadline(&self) {
        let reason = "the invocation's time is over; the next one continues";
        log_decision!(info, self.binding, "deadline", reason, "stopping early");
    }

    pub fn end(&self, status: Status, error: Option<&str>) {
        match error {
            Some(reason) => log_decision!(error, self.binding, "fail", reason, "binding failed"),
            None => log_decision!(debug, self.binding, "end", status = ?status, "binding done"),
        }
    }
}
