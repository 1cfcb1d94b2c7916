//! Plays a schedule through the real loop.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use rds_nlb_sync::binding::Binding;
use rds_nlb_sync::plan::StandbyPolicy;
use rds_nlb_sync::rate_limit::Priority;
use rds_nlb_sync::reconcile::{
    Clients, KnownMembers, ListPermit, Mode, Options, Preregistration, Report, Timing, reconcile,
};
use tokio::task::LocalSet;
use tokio::time::{advance, sleep, sleep_until, timeout};

use super::checker::{Excused, Violation};
use super::hazard::{Coverage, Hazard};
use super::history::{Event, Result as Ending};
use super::outside::Outside;
use super::ports::{Defect, Ports};
use super::schedule::{INSTANCE, Invocation, Kill, Schedule};
use crate::{ENDPOINT, GROUP};

/// The result of a schedule.
pub struct Played {
    pub schedule: Schedule,
    pub violations: Vec<Violation>,
    pub excused: Excused,
    /// How often the group lost its last active target.
    pub emptied: u64,
    pub coverage: Coverage,
    pub invocations: u64,
    pub trace: Vec<String>,
}

/// A schedule that broke an invariant, or the loop.
pub struct Broken {
    pub schedule: Schedule,
    pub violations: Vec<Violation>,
    pub panic: Option<String>,
    pub trace: Vec<String>,
}

impl Broken {
    /// The first violation, in one line.
    pub fn summary(&self) -> String {
        let Self { violations, panic, schedule, .. } = self;
        let settings = schedule.settings();
        match (panic, violations.first()) {
            (Some(panic), _) => format!("{settings}: panicked: {panic}"),
            (None, Some(Violation { invariant, at, what })) => {
                format!(
                    "{settings}: {} violations; invariant {invariant} at {at:?}: {what}",
                    violations.len()
                )
            }
            (None, None) => "nothing broke".to_owned(),
        }
    }
}

/// The schedule, every event, and the violations where they happened.
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#?}", self.schedule)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "{}: {}", self.schedule.seed, self.summary())
    }
}

/// Plays the schedule of this seed; an error describes the violations.
pub fn play_caught(seed: u64, traced: bool) -> Result<Played, Box<Broken>> {
    play_schedule_caught(&Schedule::draw(seed), traced)
}

/// Plays a schedule; an error describes the violations.
pub fn play_schedule_caught(schedule: &Schedule, traced: bool) -> Result<Played, Box<Broken>> {
    let broken =
        |violations, panic, trace| Box::new(Broken { schedule: schedule.clone(), violations, panic, trace });
    match std::panic::catch_unwind(|| play_schedule(schedule.clone(), Sabotage::default(), traced)) {
        Ok(played) if played.violations.is_empty() => Ok(played),
        Ok(played) => Err(broken(played.violations, None, played.trace)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(broken(Vec::new(), Some(text.unwrap_or_default()), Vec::new()))
        }
    }
}

/// How the loop is broken on purpose; the checker must find it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sabotage {
    pub defect: Option<Defect>,
    /// The loop gets another timing than the checker.
    pub timing: Option<Timing>,
    /// The loop gets a deadline that is this much too late.
    pub overtime: Duration,
}

/// Plays the schedule of this seed, always in the same way.
pub fn play(seed: u64, traced: bool) -> Played {
    play_schedule(Schedule::draw(seed), Sabotage::default(), traced)
}

pub fn play_schedule(schedule: Schedule, sabotage: Sabotage, traced: bool) -> Played {
    // The loop's own dice.
    fastrand::seed(schedule.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output");
    let outside = LocalSet::new().block_on(&runtime, async {
        let outside = Outside::new(schedule.clone(), traced);
        run(&outside, &schedule, sabotage).await;
        outside
    });
    let mut state = outside.state();
    Played {
        schedule,
        violations: std::mem::take(&mut state.checker.violations),
        excused: state.checker.excused,
        emptied: state.checker.emptied,
        coverage: std::mem::take(&mut state.coverage),
        invocations: state.checker.invocations(),
        trace: state.trace.take().unwrap_or_default(),
    }
}

async fn run(outside: &Outside, schedule: &Schedule, sabotage: Sabotage) {
    let acts = schedule.acts.clone();
    let acting = tokio::task::spawn_local({
        let outside = outside.clone();
        async move {
            for (at, act) in acts {
                sleep_until(outside.at(at)).await;
                outside.act(act);
            }
        }
    });
    let stalling = tokio::task::spawn_local({
        let outside = outside.clone();
        async move {
            loop {
                let next = outside.state().stall();
                let Some((pause, stall)) = next else { return };
                sleep(pause).await;
                advance(stall).await;
            }
        }
    });
    // The first answers are there before the first question.
    tokio::task::yield_now().await;
    let timing = sabotage.timing.unwrap_or(schedule.timing);
    let runs = std::rc::Rc::new(std::cell::Cell::new(0_usize));
    let tasks: Vec<_> = schedule
        .invocations
        .iter()
        .copied()
        .map(|invocation| {
            let (outside, runs) = (outside.clone(), runs.clone());
            tokio::task::spawn_local(async move {
                sleep_until(outside.at(invocation.at)).await;
                let run = runs.replace(runs.get() + 1);
                invoke(&outside, run, invocation, timing, sabotage).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no invocation panics");
    }
    acting.await.expect("acts");
    calm_down(outside, schedule, sabotage, runs.get()).await;
    stalling.abort();
}

/// Ends all faults but a silence, waits until every call has arrived, and runs the invocations that bring the group
/// into sync.
async fn calm_down(outside: &Outside, schedule: &Schedule, sabotage: Sabotage, runs: usize) {
    outside.calm(schedule.settles_on);
    sleep(Duration::from_secs(30)).await;
    let address = outside.state().address(schedule.settles_on);
    let writer = std::net::SocketAddr::new(address, schedule.port());
    let timing = sabotage.timing.unwrap_or(schedule.timing);
    let time = Duration::from_secs(60) + 3 * (schedule.timing.confirm + schedule.timing.poll);
    let invocation = |mode| {
        let time = if mode == Mode::Watch { time + timing.watch } else { time };
        Invocation { at: outside.now(), mode, time, kill: None, server: None, candidate: None }
    };
    let mut runs = runs..;
    let mut invoke_next = async |mode| {
        let run = runs.next().unwrap_or_default();
        invoke(outside, run, invocation(mode), timing, sabotage).await;
        sleep(Duration::from_secs(60)).await;
    };
    if schedule.keep {
        // The loop decides about a standby once the writer's own target is healthy.
        invoke_next(Mode::Check).await;
    }
    let within = outside.state().schedule.settles_within();
    outside.record(Event::Calm { writer, within });
    outside.state().stop_permit_waits();
    for _ in 0..within {
        invoke_next(schedule.settles_by).await;
    }
    invoke_next(Mode::Check).await;
}

async fn invoke(outside: &Outside, run: usize, invocation: Invocation, timing: Timing, sabotage: Sabotage) {
    let Invocation { mode, time, kill, server, candidate, .. } = invocation;
    let deadline = outside.now() + time;
    outside.record(Event::Began { run, mode, deadline, candidate });
    let memory = std::rc::Rc::default();
    let ports = Ports { outside: outside.clone(), run, server, defect: sabotage.defect, memory };
    let clients = Clients { dns: ports.clone(), groups: ports.clone(), rds: ports };
    let own_port = outside.state().schedule.own_port;
    let keep = outside.state().schedule.keep;
    let standby = if keep { StandbyPolicy::Keep } else { StandbyPolicy::Deregister };
    // A cluster's endpoint has no standby to keep; its name is that of an instance then.
    let endpoint = if keep { INSTANCE } else { ENDPOINT };
    let binding = Binding { port: own_port, standby, ..Binding::new(endpoint, GROUP.parse().unwrap()) };
    let preregistration = Preregistration::On { promoted_instance: candidate.map(str::to_owned) };
    let until = outside.at(deadline) + sabotage.overtime;
    let known_members = KnownMembers::default();
    let running = reconcile(
        &clients,
        &binding,
        Options {
            timing,
            mode,
            preregistration: &preregistration,
            known_members: &known_members,
            list_permit: ListPermit::At(Priority::Routine),
            deadline: until,
        },
    );
    let report = match kill {
        None => Some(running.await),
        Some(Kill::After(time)) => timeout(time, running).await.ok(),
        Some(Kill::AtWait(waits)) => until_wait(running, waits).await,
    };
    let now = outside.now();
    if report.is_none() {
        outside.state().count(now, run, Hazard::Killed);
    }
    let result = report.map(ending);
    if result.as_ref().is_some_and(Ending::is_out_of_time) {
        outside.state().count(now, run, Hazard::DeadlineExceeded);
    }
    outside.record(Event::Ended { run, result });
}

fn ending(report: Report) -> Ending {
    Ending {
        status: report.status,
        names_the_binding: [ENDPOINT, INSTANCE].contains(&report.endpoint.as_str())
            && report.target_group == GROUP,
        addresses: report
            .addresses
            .iter()
            .flat_map(|found| found.iter())
            .map(|address| address.to_string())
            .collect(),
        waiting: report.waiting.len(),
        error: report.error,
    }
}

/// Runs a future until it waits for the nth time, counted from zero, and drops it there.
pub async fn until_wait<F: Future>(future: F, waits: u32) -> Option<F::Output> {
    struct UntilWait<'a, F>(Pin<&'a mut F>, u32);

    impl<F: Future> Future for UntilWait<'_, F> {
        type Output = Option<F::Output>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            let polled = self.0.as_mut().poll(context);
            match polled {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if self.1 == 0 => Poll::Ready(None),
                Poll::Pending => {
                    self.1 -= 1;
                    Poll::Pending
                }
            }
        }
    }
    UntilWait(pin!(future), waits).await
}
