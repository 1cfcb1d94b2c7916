//! Checks without end, for those who run a service and no Lambda function.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use indicatif::ProgressBar;
use tokio::time::{Instant, MissedTickBehavior};

use super::shutdown::Shutdown;
use super::{Output, print, render};
use crate::lambda::{InvocationResult, Trigger};
use crate::reconcile::{Mode, Preregistration, Priority, Report, reconcile};
use crate::startup::{App, BoxError};

/// Where the checks are shown.
pub struct Screen {
    /// Turns on a terminal.
    pub spinner: ProgressBar,
    pub output: Output,
    /// The wall clock.
    pub now: fn() -> SystemTime,
}

/// Checks every binding at this interval, each by itself, until a signal comes; then the calls under way
/// are waited for. A second signal does not wait.
pub async fn watch(app: App, interval: Duration, time: Duration, screen: &Screen) -> Result<(), BoxError> {
    let App { config, clients } = app;
    let shutdown = Shutdown::default();
    let clients = shutdown.wrap(clients);
    let mode = if config.dry_run { Mode::DryRun } else { Mode::Check };
    let shown = Mutex::new(BTreeMap::new());
    let mut signals = Signals::new()?;
    // Each binding has a loop of its own: one that fails or waits delays no other.
    let loops = join_all(config.bindings.iter().map(async |binding| -> Result<(), BoxError> {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let deadline = Instant::now() + time;
            let closed = Preregistration::Off;
            let report =
                reconcile(&clients, binding, config.timing, mode, &closed, Some(Priority::Routine), deadline)
                    .await;
            screen.show(report, &shown)?;
        }
    }));
    let stopped = async {
        signals.next().await;
        screen.spinner.set_message("ends after the call under way");
        tokio::select! {
            _closed = shutdown.close() => {}
            () = signals.next() => {}
        }
    };
    // The calls under way go on while the gate closes.
    tokio::select! {
        ended = loops => ended.into_iter().collect(),
        () = stopped => Ok(()),
    }
}

impl Screen {
    /// Shows a check: to programs each one, to people what differs from the one before.
    fn show(&self, report: Report, shown: &Mutex<BTreeMap<String, String>>) -> Result<(), BoxError> {
        let line = match self.output {
            Output::Json => {
                let outcome = InvocationResult { trigger: Trigger::Check, bindings: vec![report] };
                format!("{}\n", serde_json::to_string(&outcome)?)
            }
            Output::Table => {
                let line = render::line(&report);
                let mut shown = shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if shown.insert(report.target_group, line.clone()).as_ref() == Some(&line) {
                    return Ok(());
                }
                format!("{} {line}\n", self.time())
            }
        };
        self.spinner.suspend(|| print(&line))
    }

    /// The time of day, in UTC.
    fn time(&self) -> String {
        let seconds = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{:02}:{:02}:{:02}Z", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
    }
}

/// What tells the process to stop: SIGTERM from a supervisor, SIGINT from a keyboard.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, BoxError> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What tells the process to stop: Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, BoxError> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come; only the end of the process ends it.
            std::future::pending::<()>().await;
        }
    }
}
