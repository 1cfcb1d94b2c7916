//! What happens in a simulated schedule, in order: the only thing that the checker sees.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rds_nlb_sync::reconcile::{Mode, Status};

use crate::Action;

/// Time since the schedule began.
pub type Time = Duration;
pub type Targets = BTreeSet<SocketAddr>;

/// What a lookup brought: the address, and the cluster member that its CNAME names.
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
    Opined { run: usize, writer: Option<&'static str> },
    /// It looks for the address of a name that is an instance's own.
    Sought { run: usize },
    /// It finds this instance's address.
    Found { run: usize, name: String, address: IpAddr },
    /// It sends a change. Calls are counted through all invocations.
    Sent { run: usize, call: usize, change: Change, targets: Targets },
    /// A change takes effect: the active targets after it.
    Landed { call: usize, active: Targets },
    /// The answer to a change arrives.
    Answered { call: usize, succeeded: bool },
    /// A failure is told to the invocation. Failures are counted, and each is named in its reason.
    Failed { run: usize, action: Action, failure: usize },
    /// Somebody else changes the group: the active targets after it.
    Meddled { active: Targets },
    /// The invocation ends by itself, or is killed where there is no result.
    Ended { run: usize, result: Option<Result> },
    /// All faults stop; from now on there are checks only, one at a time.
    Calm { writer: SocketAddr },
}

/// What a failure's reason says, so that an error can be traced to it.
pub fn mark(failure: usize) -> String {
    format!("(failure {failure})")
}
