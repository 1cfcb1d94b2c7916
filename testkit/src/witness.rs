//! What a witness of the fake AWS sees over sockets: every call and lookup, its effect and its answer, in the order in
//! which they happen to the model.

use std::net::{IpAddr, SocketAddr};

use super::{Action, Fault, State};

/// Where a call or lookup came in. Each process has sockets of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub process: usize,
    /// The number of the name server.
    pub server: usize,
    pub via: Via,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    #[default]
    Http,
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub origin: Origin,
    /// The number of the call. A retry is a call of its own.
    pub call: u64,
    pub action: Action,
    pub what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// It came in. The detail is a lookup's name, a change's targets or an identifier; the id is a lookup's.
    Asked { detail: &'a str, id: u16 },
    /// A change took effect, and these targets are active now.
    Effect { targets: &'a [SocketAddr], active: &'a [SocketAddr] },
    /// The answer to a lookup was made; it may be sent later.
    Found(&'a [IpAddr]),
    /// A list of the group was made, of these targets and states; it may be sent later.
    Listed(&'a [(SocketAddr, &'static str)]),
    /// The RDS API's list of the members of the cluster with this endpoint was made; it may be sent later.
    Members { endpoint: &'a str, members: &'a [String], writer: Option<&'a str> },
    /// The answer is sent now. The outcome is `ok`, or the fault or error code.
    Answered { outcome: &'a str },
}

/// May return a fault for a call that came in.
pub type Witness = Box<dyn FnMut(&Moment<'_>) -> Option<Fault> + Send>;

impl State {
    /// Records a call over sockets, and chooses its fault.
    pub fn begin_at(
        &mut self,
        origin: Origin,
        action: Action,
        detail: &str,
        id: u16,
    ) -> (u64, Option<Fault>) {
        self.served += 1;
        let call = self.served;
        let chosen = self.notify(origin, call, action, What::Asked { detail, id });
        let fault = match origin.via {
            Via::Http => self.begin(action, detail),
            Via::Udp => self.begin(action, format!("{detail} udp")),
            Via::Tcp => self.begin(action, format!("{detail} tcp")),
        };
        (call, fault.or(chosen))
    }

    pub fn notify(&mut self, origin: Origin, call: u64, action: Action, what: What<'_>) -> Option<Fault> {
        self.witness.as_mut().and_then(|witness| witness(&Moment { origin, call, action, what }))
    }
}
