//! The loop's ports, on the outside of a schedule, for one invocation.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rds_nlb_sync::dns::LOOKUP_TIMEOUT;
use rds_nlb_sync::endpoint::RdsName;
use rds_nlb_sync::error::{Error, ErrorKind};
use rds_nlb_sync::plan::{Addresses, Family, TargetState, Targets};
use rds_nlb_sync::rate_limit::{Call, Permit, Priority};
use rds_nlb_sync::reconcile::{
    Attempts, Cluster, Instance, RdsApi, Resolution, Resolve, TargetGroupApi, TargetGroupInfo,
};
use tokio::time::sleep;

use super::history::{Change, Event, Named, mark};
use super::outside::{CallOutcome, Outside, Shown};
use super::schedule::{INSTANCE, MEMBERS, ServerAnswer};
use crate::ports::permit;
use crate::{Action, ENDPOINT, Fault};

/// A defect between the loop and the outside, which the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Lookups are answered from a cache that never expires.
    CachesDns,
    /// Every listing shows the writer as registered, and everything that drains as active.
    ListsTheWriter,
    /// Registers the address after the one that DNS named.
    RegistersAnother,
    /// Changes succeed without an effect.
    DropsChanges,
    /// Failures lack their reason.
    HidesReasons,
    /// The RDS API never contradicts.
    SilencesRds,
}

/// One invocation's way to the outside.
#[derive(Clone)]
pub struct Ports {
    pub outside: Outside,
    pub run: usize,
    pub server: Option<usize>,
    pub defect: Option<Defect>,
    /// What this invocation has described or cached.
    pub memory: std::rc::Rc<std::cell::RefCell<Memory>>,
}

#[derive(Default)]
pub struct Memory {
    described: bool,
    answer: Option<Resolution>,
    last: Option<SocketAddr>,
}

/// How long a lookup takes until it falls back to TCP: `dns::UDP`.
const UDP_TIMEOUT: Duration = Duration::from_secs(2);

impl Ports {
    async fn pause(&self, time: Duration) {
        self.outside.pause(time).await;
    }

    /// Waits for an answer over UDP in vain, where nothing answers over UDP.
    async fn fall_back_to_tcp(&self) {
        if self.outside.state().schedule.silence.udp {
            self.pause(UDP_TIMEOUT).await;
        }
    }

    /// Waits for an answer that may never come.
    async fn answer_after(&self, time: Option<Duration>) {
        match time {
            Some(time) => self.pause(time).await,
            None => std::future::pending().await,
        }
    }

    fn ask(&self, action: Action) {
        self.outside.record(Event::Asked { run: self.run, action });
    }

    /// A failure as an adapter reports it.
    fn error(&self, action: Action, fault: Fault) -> Error {
        let now = self.outside.now();
        let failure = self.outside.state().fails(now, self.run, action);
        let kind = match fault {
            _ if action == Action::Lookup => ErrorKind::NoAnswer,
            Fault::Denied => ErrorKind::Permanent,
            _ => ErrorKind::Transient,
        };
        let mark = if self.defect == Some(Defect::HidesReasons) { String::new() } else { mark(failure) };
        let error = Error::new(kind, format!("{action:?}")).with_source(format!("{fault:?} {mark}"));
        if matches!(fault, Fault::Throttled | Fault::Denied) { error } else { error.with_unknown_outcome() }
    }

    /// Makes a call that changes nothing; `read` sees the outside as the call does when it arrives.
    async fn call<R>(&self, action: Action, read: impl FnOnce(&Self) -> R) -> Result<R, Error> {
        self.ask(action);
        let now = self.outside.now();
        let CallOutcome { effect, answer, failure } = self.outside.state().outcome(now, self.run, action);
        let Some(effect) = effect.filter(|_| failure.is_none()) else {
            self.answer_after(answer).await;
            return Err(self.error(action, failure.unwrap_or(Fault::Hangs)));
        };
        self.pause(effect).await;
        let result = read(self);
        self.answer_after(answer.map(|answer| answer - effect)).await;
        Ok(result)
    }

    async fn change(&self, change: Change, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        let action = match change {
            Change::Register => Action::RegisterTargets,
            Change::Deregister => Action::DeregisterTargets,
        };
        self.ask(action);
        let now = self.outside.now();
        let (call, outcome) = {
            let mut state = self.outside.state();
            (state.send(now, self.run, change, targets), state.outcome(now, self.run, action))
        };
        let CallOutcome { effect, answer, failure } = outcome;
        if let Some(effect) = effect.filter(|_| self.defect != Some(Defect::DropsChanges)) {
            // A sent call arrives even if its sender is killed.
            if effect.is_zero() {
                self.outside.land(call);
            } else {
                let outside = self.outside.clone();
                tokio::task::spawn_local(async move {
                    sleep(effect).await;
                    outside.land(call);
                });
            }
            if failure.is_none() && answer.is_some() {
                self.pause(effect).await;
                self.outside.land(call);
                self.answer_after(answer.map(|answer| answer.saturating_sub(effect))).await;
            } else {
                self.answer_after(answer).await;
            }
        } else {
            self.answer_after(answer).await;
        }
        self.outside.record(Event::Answered { call, succeeded: failure.is_none() });
        match failure {
            Some(fault) => Err(self.error(action, fault)),
            None => Ok(()),
        }
    }

    /// Looks for the address of an instance, by its own name, which every name server knows.
    async fn seek(&self, name: &str) -> Result<Resolution, Error> {
        self.outside.record(Event::CandidateLookup { run: self.run });
        let fault = self.outside.state().fault(self.outside.now(), self.run, Action::Lookup);
        let back = self.outside.state().latency() / 2;
        self.fall_back_to_tcp().await;
        self.pause(back).await;
        if let Some(fault) = fault {
            return Err(Error::new(ErrorKind::NoAnswer, "seek a candidate").with_source(format!("{fault:?}")));
        }
        let label = name.split('.').next().unwrap_or_default();
        let address = match MEMBERS.iter().position(|member| *member == label) {
            Some(member) => self.outside.state().address(member),
            None => self.outside.state().schedule.address(MEMBERS.len()),
        };
        self.outside.record(Event::CandidateFound { run: self.run, name: label.to_owned(), address });
        let addresses = Addresses::parse([address]).expect("an instance's address");
        Ok(Resolution { addresses, chain: vec![name.to_owned()] })
    }

    /// Parses the name server's answer as the adapter would.
    fn understand(&self, says: ServerAnswer, endpoint: &str) -> Result<(Resolution, Named), Fault> {
        let state = self.outside.state();
        let member = match says {
            ServerAnswer::Member(member) => member,
            ServerAnswer::Unusable(fault) => {
                let public = Ipv4Addr::new(52, 1, 2, 3);
                let addresses: Vec<IpAddr> = match fault {
                    Fault::NoRecords => Vec::new(),
                    Fault::Several => vec![state.address(0), state.address(1)],
                    Fault::Public if state.schedule.ipv6 => vec![public.to_ipv6_mapped().into()],
                    Fault::Public => vec![public.into()],
                    Fault::Loopback => vec![Ipv4Addr::LOCALHOST.into()],
                    Fault::LinkLocal => vec![Ipv4Addr::new(169, 254, 169, 254).into()],
                    _ => return Err(fault),
                };
                let parsed =
                    Addresses::parse(addresses.clone()).and_then(Addresses::single).map_err(|_| fault)?;
                let named = Named { address: addresses[0], member: None };
                return Ok((Resolution { addresses: parsed, chain: vec![endpoint.to_owned()] }, named));
            }
        };
        let address = state.address(member);
        let mut chain = vec![endpoint.to_owned()];
        if state.schedule.cname {
            chain.push(format!("{}.abc123.us-east-1.rds.amazonaws.com", MEMBERS[member]));
        }
        let addresses = Addresses::parse([address]).expect("a member's address");
        let named = Named { address, member: state.schedule.cname.then_some(MEMBERS[member]) };
        Ok((Resolution { addresses, chain }, named))
    }
}

impl Resolve for Ports {
    async fn resolve(&self, endpoint: &str, _: Family) -> Result<Resolution, Error> {
        if ![ENDPOINT, INSTANCE].contains(&endpoint) {
            return self.seek(endpoint).await;
        }
        self.ask(Action::Lookup);
        let asked = self.outside.now();
        let (there, back, fault, wait) = {
            let mut state = self.outside.state();
            let fault = state.fault(asked, self.run, Action::Lookup);
            (state.latency() / 4, state.latency() / 4, fault, state.up_to(Duration::from_secs(3)))
        };
        self.fall_back_to_tcp().await;
        self.pause(there).await;
        let says = self.outside.state().asks_server(self.outside.now(), self.run, self.server);
        self.pause(back).await;
        match fault {
            None => {}
            Some(Fault::Slow(_)) => self.pause(wait).await,
            Some(Fault::Hangs) => self.pause(LOOKUP_TIMEOUT).await,
            Some(_) => {}
        }
        let understood = match fault {
            None | Some(Fault::Slow(_)) => self.understand(says, endpoint),
            Some(fault) => Err(fault),
        };
        let named = understood.as_ref().ok().map(|(_, named)| *named);
        self.outside.record(Event::Looked { run: self.run, asked, named });
        let (answer, named) = understood.map_err(|fault| self.error(Action::Lookup, fault))?;
        let mut memory = self.memory.borrow_mut();
        memory.last = Some(SocketAddr::new(named.address, self.outside.state().schedule.port()));
        let cached = memory.answer.get_or_insert_with(|| answer.clone());
        Ok(if self.defect == Some(Defect::CachesDns) { cached.clone() } else { answer })
    }
}

impl TargetGroupApi for Ports {
    async fn permit(&self, _: Priority, _: Call) -> Permit {
        let (now, run) = (self.outside.now(), self.run);
        let wait = self.outside.state().permit();
        if let Some(wait) = wait {
            self.outside.state().waits_for_permit(now, run, true);
            self.pause(wait).await;
            self.outside.state().waits_for_permit(now, run, false);
        }
        permit().await
    }

    async fn describe(&self, _: &str) -> Result<TargetGroupInfo, Error> {
        let (cold, family) = {
            let state = self.outside.state();
            (state.schedule.cold, if state.schedule.ipv6 { Family::V6 } else { Family::V4 })
        };
        if cold && !self.memory.borrow().described {
            self.call(Action::DescribeTargetGroups, |_| ()).await?;
            self.memory.borrow_mut().described = true;
        }
        Ok(TargetGroupInfo { family, port: crate::Group::default().port })
    }

    async fn targets(&self, _: Permit, _: &str) -> Result<Targets, Error> {
        let asked = self.outside.now();
        let read = |ports: &Self| {
            let now = ports.outside.now();
            ports.outside.state().listing(&ports.outside, now)
        };
        let Shown { version, active, draining, unhealthy, initial } =
            self.call(Action::DescribeTargetHealth, read).await?;
        let mut targets = Targets::new();
        targets.extend(draining.iter().map(|target| (*target, TargetState::Draining)));
        targets.extend(active.iter().map(|target| (*target, TargetState::Healthy)));
        targets.extend(unhealthy.iter().map(|target| (*target, TargetState::Unhealthy)));
        targets.extend(initial.iter().map(|target| (*target, TargetState::Initial)));
        self.outside.record(Event::Listed { run: self.run, asked, version, active, draining, unhealthy });
        if self.defect == Some(Defect::ListsTheWriter) {
            targets.values_mut().for_each(|state| *state = TargetState::Healthy);
            targets.extend(self.memory.borrow().last.map(|target| (target, TargetState::Healthy)));
        }
        Ok(targets)
    }

    async fn register(&self, _: Permit, _: &str, targets: &BTreeSet<SocketAddr>) -> Result<Attempts, Error> {
        if self.defect == Some(Defect::RegistersAnother) {
            let other = |target: &SocketAddr| SocketAddr::new([10, 0, 99, 99].into(), target.port());
            self.change(Change::Register, &targets.iter().map(other).collect()).await?;
            return Ok(Attempts::AllKnown);
        }
        self.change(Change::Register, targets).await?;
        Ok(Attempts::AllKnown)
    }

    async fn deregister(&self, _: Permit, _: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        self.change(Change::Deregister, targets).await
    }
}

impl RdsApi for Ports {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error> {
        assert_eq!(identifier, "orders", "asks for the cluster that the endpoint names");
        let read = |ports: &Self| {
            let state = ports.outside.state();
            (state.rds_verdict(), state.failing_over)
        };
        let (name, is_failing_over) = self.call(Action::DescribeDBClusters, read).await?;
        self.outside.record(Event::RdsAnswered { run: self.run, writer: name });
        if self.defect == Some(Defect::SilencesRds) {
            return Ok(None);
        }
        let cluster = || Cluster {
            members: MEMBERS.iter().map(|member| ((*member).to_owned(), Some(*member) == name)).collect(),
            is_failing_over,
            zone: RdsName::parse(ENDPOINT).map(|name| name.zone),
        };
        Ok(name.map(|_| cluster()))
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Error> {
        self.call(Action::DescribeDBInstances, |_| ()).await?;
        let of = |cluster: Option<&str>| {
            let endpoint = format!("{identifier}.abc123.us-east-1.rds.amazonaws.com");
            let cluster = cluster.map(str::to_owned);
            Some(Instance {
                endpoint: Some(endpoint),
                status: String::new(),
                is_multi_az: cluster.is_none(),
                cluster,
            })
        };
        Ok(match identifier {
            "orders" => of(None),
            "billing-1" => of(Some("billing")),
            member if MEMBERS.contains(&member) => of(Some("orders")),
            _ => None,
        })
    }
}
