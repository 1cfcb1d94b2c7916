//! The command `watch`: it invokes the function's service again and again, without Lambda.
//!
//! A check at every interval replaces the schedule. RDS events do not arrive here, so the RDS API is asked as well: if
//! it names another writer than DNS does, the binding is watched as after an event.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::ProgressBar;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use super::common::{Output, print};
use super::render;
use super::shutdown::Shutdown;
use crate::binding::{Binding, TargetGroupArn};
use crate::discovery::Discover;
use crate::error::Error;
use crate::event::WatchedBinding;
use crate::fleet::Fleet;
use crate::reconcile::{RdsApi, Resolve, TargetGroupApi};
use crate::service::{InvocationResult, Program, Service, Trigger};
use crate::startup::{App, BoxError};

/// The pause between two questions to the RDS API, whose limits are unpublished.
const RDS_PAUSE: Duration = Duration::from_millis(500);

pub struct Screen {
    /// Shown only on a terminal.
    pub spinner: ProgressBar,
    pub output: Output,
    pub now: fn() -> SystemTime,
}

/// Checks at this interval, and watches a binding if the RDS API shows a failover. After a signal it waits for the
/// changes under way and returns; after a second signal it returns at once.
pub async fn watch(app: App, interval: Duration, time: Duration, screen: &Screen) -> Result<(), BoxError> {
    let App { config, clients, .. } = app;
    let shutdown = Shutdown::default();
    let clients = shutdown.wrap(clients);
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &clients, &fleet, Program::CommandLine);
    let stopped = async {
        signal().await?;
        screen.spinner.set_message("ends after the change under way");
        tokio::select! {
            _closed = shutdown.close() => Ok(()),
            again = signal() => again,
        }
    };
    tokio::select! {
        ended = run(&service, interval, time, screen) => ended,
        // The changes under way go on meanwhile.
        stopped = stopped => Ok(stopped?),
    }
}

type Invocation<'a> = Pin<Box<dyn Future<Output = (Option<TargetGroupArn>, InvocationResult)> + 'a>>;

async fn run<D: Resolve, T: TargetGroupApi + Discover, C: RdsApi>(
    service: &Service<'_, D, T, C>,
    interval: Duration,
    time: Duration,
    screen: &Screen,
) -> Result<(), BoxError> {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = BTreeMap::new();
    let mut watched = BTreeSet::new();
    // Invocations overlap: a binding that hangs delays the result of its own check, and no other check.
    let mut invocations = FuturesUnordered::<Invocation<'_>>::new();
    let (found, mut failovers) = tokio::sync::mpsc::unbounded_channel();
    let polling = poll_rds(service, interval, time, found);
    tokio::pin!(polling);
    loop {
        tokio::select! {
            _ = ticks.tick() => invocations.push(Box::pin(async {
                (None, service.check((screen.now)(), time).await)
            })),
            Some((index, binding, bindings)) = failovers.recv() => {
                if watched.insert(binding.target_group.clone()) {
                    invocations.push(Box::pin(async move {
                        let deadline = Instant::now() + service.config().timing.watch + time;
                        let watched = [WatchedBinding { index, promoted_instance: None }];
                        let reports = service.watch(&bindings, &watched, ready(Vec::new()), deadline).await;
                        let result = InvocationResult::new(Trigger::Watch, bindings.len(), reports, &[]);
                        (Some(binding.target_group), result)
                    }));
                }
            }
            Some((group, result)) = invocations.next(), if !invocations.is_empty() => {
                group.iter().for_each(|group| { watched.remove(group); });
                screen.show(result, &mut shown)?;
            }
            () = &mut polling => {}
        }
    }
}

/// Asks the RDS API about every binding, again and again, and sends each binding that fails over. The binding is sent
/// again only after the answer has changed.
async fn poll_rds<D: Resolve, T: TargetGroupApi + Discover, C: RdsApi>(
    service: &Service<'_, D, T, C>,
    interval: Duration,
    time: Duration,
    found: tokio::sync::mpsc::UnboundedSender<(usize, Binding, Vec<Binding>)>,
) {
    let (mut candidates, mut failures) = (BTreeMap::new(), BTreeMap::new());
    loop {
        let started = Instant::now();
        let bindings = service.known_bindings(started + time).await;
        for (index, binding) in bindings.iter().enumerate() {
            let found_writer = service.candidate(binding, Instant::now() + time).await;
            let reason = found_writer.as_ref().err().map(Error::explain);
            // Best effort: the checks follow a failover as well.
            if failures.insert(binding.target_group.clone(), reason.clone()).flatten() != reason
                && let Some(reason) = reason
            {
                log_decision!(
                    warn,
                    binding,
                    "rds_unavailable",
                    reason,
                    "failovers are noticed by the checks alone"
                );
            }
            // A question without an answer shows no change.
            if let Ok(candidate) = found_writer {
                let before = candidates.insert(binding.target_group.clone(), candidate.clone()).flatten();
                if candidate.is_some() && candidate != before {
                    // The receiver lives as long as this future.
                    let _ = found.send((index, binding.clone(), bindings.clone()));
                }
            }
            sleep(RDS_PAUSE).await;
        }
        sleep((started + interval).saturating_duration_since(Instant::now()).max(RDS_PAUSE)).await;
    }
}

impl Screen {
    /// Prints an invocation's result: the whole result as JSON, or as text the bindings whose line has changed.
    fn show(&self, result: InvocationResult, shown: &mut BTreeMap<String, String>) -> Result<(), BoxError> {
        let text = match self.output {
            Output::Json => format!("{}\n", serde_json::to_string(&result)?),
            Output::Table => {
                let time = self.time();
                let lines = result.bindings.into_iter().filter_map(|report| {
                    let line = render::line(&report);
                    let before = shown.insert(report.target_group, line.clone());
                    (before.as_ref() != Some(&line)).then(|| format!("{time} {line}\n"))
                });
                lines.collect()
            }
        };
        if text.is_empty() { Ok(()) } else { self.spinner.suspend(|| print(&text)) }
    }

    fn time(&self) -> String {
        let seconds = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{:02}:{:02}:{:02}Z", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
    }
}

/// A signal that ends the process: SIGTERM from a supervisor, SIGINT from a keyboard.
async fn signal() -> io::Result<()> {
    #[cfg(unix)]
    let mut supervisor = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let terminated = supervisor.recv();
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        _ = terminated => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
