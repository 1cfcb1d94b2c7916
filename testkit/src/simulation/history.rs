//! The events of a simulated schedule, in order. The checker sees nothing else.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, Status};

use crate::Action;

/// Time since the schedule began.
pub type Time = Duration;
pub type Targets = BTreeSet<SocketAddr>;

/// The answer to a lookup: the address, and the cluster member that its CNAME names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub address: IpAddr,
    pub member: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Register,
    Deregister,
}

/// How an invocation ended.
#[derive(Clone, Debug)]
pub struct Result {
    pub status: Status,
    pub addresses: Vec<String>,
    pub waiting: usize,
    pub error: Option<String>,
    /// Whether the report names the binding.
    pub names_the_binding: bool,
}

impl Result {
    pub fn is_out_of_time(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.contains("time ran out"))
    }
}

#[derive(Clone, Debug)]
pub enum Event {
    /// From now on a name server gives this address, or nothing that can be used.
    Serves { server: usize, address: Option<IpAddr> },
    /// An invocation begins.
    Began { run: usize, mode: Mode, deadline: Time, candidate: Option<&'static str> },
    /// It sends a call or a lookup.
    Asked { run: usize, action: Action },
    /// Its lookup is answered; `None` where it brought nothing usable.
    Looked { run: usize, asked: Time, named: Option<Named> },
    /// Its listing is answered with the group as it was after its `version`th change.
    /// The unhealthy ones are active as well.
    Listed { run: usize, asked: Time, version: usize, active: Targets, draining: Targets, unhealthy: Targets },
    /// The RDS API answers with the member that it calls the writer.
    RdsAnswered { run: usize, writer: Option<&'static str> },
    /// It resolves the own name of an instance.
    CandidateLookup { run: usize },
    /// It has resolved this instance's name.
    CandidateFound { run: usize, name: String, address: IpAddr },
    /// It sends a change. Calls are counted through all invocations.
    Sent { run: usize, call: usize, change: Change, targets: Targets },
    /// A change takes effect: the active targets after it.
    Landed { call: usize, active: Targets },
    /// The answer to a change arrives.
    Answered { call: usize, succeeded: bool },
    /// A call of the invocation fails. Each failure's number is part of its reason.
    Failed { run: usize, action: Action, failure: usize },
    /// Another process changes the group: the active targets after it.
    ExternalChange { active: Targets },
    /// The invocation ends, or is killed if there is no result.
    Ended { run: usize, result: Option<Result> },
    /// All faults but a silence stop. One invocation runs at a time, and after this many the group must equal the
    /// writer.
    Calm { writer: SocketAddr, within: usize },
}

/// The text in a failure's reason by which the checker finds it in an error.
pub fn mark(failure: usize) -> String {
    format!("(failure {failure})")
}
