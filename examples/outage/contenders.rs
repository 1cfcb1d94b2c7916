//! The contenders: small models of the two usual, published ways to keep a group in sync, and this function.

use std::time::Duration;

use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::plan::StandbyPolicy;
use rds_nlb_sync::reconcile::{Mode, Preregistration};
use tokio::time::{Instant, interval_at, sleep_until};

use crate::model::{Database, Failover, INSTANCE, look_up};
use testkit::ports::TIMING;
use testkit::{ENDPOINT, FakeAws, GROUP};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Once a minute: resolves once, deregisters all other targets, then registers the answer.
    Poller,
    /// At each event: resolves once, registers the answer, then deregisters all other targets.
    Handler,
    /// This function, with neither of the two.
    Plain,
    /// This function, with pre-registration of the candidate that the event or the RDS API names.
    Preregistering,
    /// This function, with the standby kept in the group since the failover before.
    WithStandby,
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::Poller => "one-minute poller, deregisters first",
            Self::Handler => "event handler, looks once",
            Self::Plain => "this function, with neither",
            Self::Preregistering => "this function, pre-registration",
            Self::WithStandby => "this function, kept standby",
        }
    }
}

/// Pre-registration is for clusters, the kept standby for instances.
pub fn of(database: Database) -> [Contender; 4] {
    let last = match database {
        Database::Aurora => Contender::Preregistering,
        Database::MultiAz => Contender::WithStandby,
    };
    [Contender::Poller, Contender::Handler, Contender::Plain, last]
}

pub async fn act(contender: Contender, failover: Failover, aws: FakeAws) {
    let start = Instant::now();
    match contender {
        Contender::Poller => {
            let mut minutes = interval_at(start + failover.phase, Duration::from_secs(60));
            loop {
                minutes.tick().await;
                change(&aws, failover.database, true);
            }
        }
        Contender::Handler => {
            for event in [failover.started, failover.completed] {
                sleep_until(start + event).await;
                change(&aws, failover.database, false);
            }
        }
        Contender::Plain | Contender::Preregistering | Contender::WithStandby => {
            let watches = [failover.started, failover.completed].map(|event| {
                let aws = aws.clone();
                async move {
                    sleep_until(start + event).await;
                    reconcile(&aws, contender, failover.database, Mode::Watch).await;
                }
            });
            let checks = async {
                let mut minutes = interval_at(start + failover.phase, Duration::from_secs(60));
                loop {
                    minutes.tick().await;
                    reconcile(&aws, contender, failover.database, Mode::Check).await;
                }
            };
            let [started, completed] = watches;
            tokio::join!(started, completed, checks);
        }
    }
}

/// The two usual ways, as if API calls took no time.
fn change(aws: &FakeAws, database: Database, deregisters_first: bool) {
    let Some(writer) = look_up(aws, database) else { return };
    let mut state = aws.state();
    let held = |(target, of): (&_, &testkit::Target)| of.drained.is_none().then_some(*target);
    let active: Vec<_> = state.groups[GROUP].targets.iter().filter_map(held).collect();
    let stale: Vec<_> = active.iter().copied().filter(|target| *target != writer).collect();
    let lacks = !active.contains(&writer);
    let register = |state: &mut testkit::State| {
        if lacks {
            state.register(GROUP, &[(writer, None)]).expect("the world has the group");
        }
    };
    if !deregisters_first {
        register(&mut state);
    }
    state.deregister(GROUP, &stale).expect("the world has the group");
    if deregisters_first {
        register(&mut state);
    }
}

async fn reconcile(aws: &FakeAws, contender: Contender, database: Database, mode: Mode) {
    let endpoint = if database == Database::Aurora { ENDPOINT } else { INSTANCE };
    let standby =
        if contender == Contender::WithStandby { StandbyPolicy::Keep } else { StandbyPolicy::Deregister };
    let preregistration = match contender {
        // Both of the cluster's events name the member.
        Contender::Preregistering => Preregistration::On { promoted_instance: Some("orders-2".to_owned()) },
        _ => Preregistration::Off,
    };
    let binding = Binding { standby, ..Binding::new(endpoint, GROUP.parse().unwrap()) };
    let time = Duration::from_secs(if mode == Mode::Watch { 240 } else { 59 });
    aws.reconcile_binding(&binding, TIMING, mode, &preregistration, time).await;
}
