//! How long a reconciliation goes on: pauses, retries, and when enough is enough.

use std::time::Duration;

use tokio::time::Instant;

use super::{MAX_OBSERVATION_AGE, Mode, Timing};
use crate::error::{Error, ErrorKind};

/// How many rounds a check adds when the API fails. The SDK has made three attempts by then; with
/// these it is nine, spread over some ten seconds, and the next check comes within the minute.
const ROUNDS: u32 = 2;
/// How often the loop may go round without a pause: register, look, ask, look, deregister, look, and some.
const MAX_IMMEDIATE_STEPS: u32 = 8;

/// What the loop does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Looks at once: the group was changed.
    Changed,
    /// Looks at once: the last look is not fresh enough to act on.
    Again,
    /// Looks at once: the last look grew old while others had their turns at the API.
    Behind,
    /// Looks after the poll interval.
    Poll,
    /// Stops.
    End,
}

/// What comes before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing.
    None,
    /// This time.
    For(Duration),
    /// There is no next step: a check has waited as long as it may.
    Enough,
}

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The watch's patience is over.
    WatchTime,
    /// The invocation's time is over.
    Time,
}

pub(super) struct LoopControl {
    mode: Mode,
    timing: Timing,
    started: Instant,
    deadline: Instant,
    waiting_since: Option<Instant>,
    immediate_steps: u32,
    rounds: u32,
    /// Until when a watch leaves the API alone.
    backoff_until: Option<Instant>,
    pending_error: Option<PendingError>,
}

/// What a step was about when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Observation,
    Change,
}

/// The failure that is being tried again.
struct PendingError {
    stage: Stage,
    error: Error,
}

impl LoopControl {
    pub fn new(mode: Mode, timing: Timing, deadline: Instant) -> Self {
        let started = Instant::now();
        Self {
            mode,
            timing,
            started,
            deadline,
            waiting_since: None,
            immediate_steps: 0,
            rounds: 0,
            backoff_until: None,
            pending_error: None,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Leaves time out of what a check may wait: others had their turns in it.
    pub fn exclude(&mut self, time: Duration) {
        if let Some(since) = &mut self.waiting_since {
            *since += time;
        }
    }

    /// What comes after a step that went well. A check waits at most twice the confirmation time; a
    /// watch has a patience of its own.
    pub fn after(&mut self, next: Next) -> Pause {
        let is_check = self.mode == Mode::Check;
        let mut waited = || self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        let bound = 2 * self.timing.confirm;
        // A pause longer than the confirmation would outlast the bound for nothing.
        let poll = if is_check { self.timing.poll.min(self.timing.confirm) } else { self.timing.poll };
        let is_enough = match next {
            Next::Changed | Next::Behind | Next::End => false,
            // Looking once more is no waiting, unless it goes on and on.
            Next::Again => is_check && waited() > bound.max(MAX_OBSERVATION_AGE),
            Next::Poll => is_check && (bound.is_zero() || waited() + poll > bound),
        };
        if is_enough {
            return Pause::Enough;
        }
        if next != Next::Poll && self.immediate_steps < MAX_IMMEDIATE_STEPS {
            self.immediate_steps += 1;
            return Pause::None;
        }
        self.immediate_steps = 0;
        Pause::For(poll)
    }

    /// How long to wait before the next step after one that failed, or `None` where it would not help.
    pub fn after_failure(&mut self, kind: ErrorKind) -> Option<Duration> {
        match (self.mode, kind) {
            (Mode::DryRun, _) | (_, ErrorKind::Permanent | ErrorKind::DeadlineExceeded) => return None,
            (Mode::Check, ErrorKind::NoAnswer) => return None,
            (Mode::Watch, ErrorKind::NoAnswer) => return Some(self.timing.poll),
            (Mode::Check, ErrorKind::Transient) if self.rounds >= ROUNDS => return None,
            (Mode::Check | Mode::Watch, ErrorKind::Transient) => {}
        }
        self.immediate_steps = 0;
        let ceiling = Duration::from_secs(1 << self.rounds.min(3));
        self.rounds += 1;
        // Half of it is jitter, so that watches that failed together do not return together.
        let rest = ceiling.mul_f64(0.5 + 0.5 * fastrand::f64());
        if self.mode == Mode::Check {
            return Some(rest);
        }
        // A watch leaves the API alone meanwhile, but goes on watching DNS.
        self.backoff_until = Some(Instant::now() + rest);
        Some(self.timing.poll)
    }

    /// Whether the API is to be left alone for now.
    pub fn is_backing_off(&self) -> bool {
        self.backoff_until.is_some_and(|until| Instant::now() < until)
    }

    /// Keeps the failure that will be tried again.
    pub fn keep_error(&mut self, stage: Stage, error: Error) {
        self.pending_error = Some(PendingError { stage, error });
    }

    /// Forgets a failure of this stage, which has gone well, and says whether there was one.
    pub fn recovered(&mut self, stage: Stage) -> bool {
        let is_over = self.pending_error.take_if(|pending_error| pending_error.stage == stage).is_some();
        if is_over && self.mode == Mode::Watch {
            // A check's rounds are all that it gets; a watch's backoff starts anew.
            (self.rounds, self.backoff_until) = (0, None);
        }
        is_over
    }

    /// The failure that was being tried again to the end.
    pub fn pending_error(&mut self) -> Option<Error> {
        self.pending_error.take().map(|pending_error| pending_error.error)
    }

    pub fn has_pending_error(&self) -> bool {
        self.pending_error.is_some()
    }

    /// Why the run would end before or amid this pause, if it would.
    pub fn ends_within(&self, pause: Duration) -> Option<Ending> {
        let then = Instant::now() + pause;
        if self.mode == Mode::Watch && then >= self.started + self.timing.watch {
            return Some(Ending::WatchTime);
        }
        (then >= self.deadline).then_some(Ending::Time)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn loop_control(mode: Mode) -> LoopControl {
        let timing = Timing { watch: seconds(180), poll: Duration::from_millis(500), confirm: seconds(6) };
        LoopControl::new(mode, timing, Instant::now() + seconds(60))
    }

    #[tokio::test(start_paused = true)]
    async fn after_eight_rounds_without_a_pause_comes_one() {
        for next in [Next::Changed, Next::Again] {
            let mut loop_control = loop_control(Mode::Watch);
            for _ in 0..2 {
                for _ in 0..8 {
                    assert_eq!(loop_control.after(next), Pause::None);
                }
                assert_eq!(loop_control.after(next), Pause::For(Duration::from_millis(500)));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_or_a_failure_makes_room_for_eight_more() {
        for pause in [
            |loop_control: &mut LoopControl| assert_ne!(loop_control.after(Next::Poll), Pause::None),
            |loop_control: &mut LoopControl| {
                assert_ne!(loop_control.after_failure(ErrorKind::Transient), None)
            },
        ] {
            let mut loop_control = loop_control(Mode::Watch);
            for _ in 0..8 {
                assert_eq!(loop_control.after(Next::Changed), Pause::None);
            }
            pause(&mut loop_control);
            assert_eq!(loop_control.after(Next::Changed), Pause::None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_waits_to_the_bound_and_not_beyond() {
        let mut loop_control = loop_control(Mode::Check);
        assert_eq!(loop_control.after(Next::Poll), Pause::For(Duration::from_millis(500)));
        advance(Duration::from_millis(11_500)).await;
        assert_eq!(loop_control.after(Next::Poll), Pause::For(Duration::from_millis(500)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(loop_control.after(Next::Poll), Pause::Enough);
        advance(Duration::from_millis(499)).await;
        assert_eq!(loop_control.after(Next::Again), Pause::None, "12 s");
        advance(Duration::from_millis(1)).await;
        assert_eq!(loop_control.after(Next::Again), Pause::Enough);
        assert_eq!(loop_control.after(Next::Changed), Pause::None, "a change is always looked at");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_api_is_tried_twice_more_by_a_check_and_ever_more_seldom_by_a_watch() {
        let within = |rest: Duration, ceiling| (seconds(ceiling) / 2..=seconds(ceiling)).contains(&rest);
        let mut check = loop_control(Mode::Check);
        assert!(within(check.after_failure(ErrorKind::Transient).unwrap(), 1));
        assert!(within(check.after_failure(ErrorKind::Transient).unwrap(), 2));
        assert_eq!(check.after_failure(ErrorKind::Transient), None);
        assert!(!check.is_backing_off(), "it sleeps instead");

        let mut watch = loop_control(Mode::Watch);
        for ceiling in [1, 2, 4, 8, 8, 8] {
            assert_eq!(watch.after_failure(ErrorKind::Transient), Some(Duration::from_millis(500)));
            assert!(within(watch.backoff_until.unwrap() - Instant::now(), ceiling), "{ceiling}");
            assert!(watch.is_backing_off());
            advance(watch.backoff_until.unwrap() - Instant::now()).await;
            assert!(!watch.is_backing_off());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_recovery_starts_the_backoff_of_a_watch_anew_and_gives_a_check_no_more_rounds() {
        let mut of_both = [loop_control(Mode::Check), loop_control(Mode::Watch)];
        for loop_control in &mut of_both {
            for _ in 0..2 {
                assert_ne!(loop_control.after_failure(ErrorKind::Transient), None);
            }
            loop_control.keep_error(Stage::Change, Error::new(ErrorKind::Transient, "register"));
            assert!(!loop_control.recovered(Stage::Observation) && loop_control.recovered(Stage::Change));
        }
        let [mut check, mut watch] = of_both;
        assert_eq!(check.after_failure(ErrorKind::Transient), None);
        assert!(!watch.is_backing_off());
        watch.after_failure(ErrorKind::Transient);
        assert!(watch.backoff_until.unwrap() - Instant::now() <= seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_reaches_the_end_is_not_begun() {
        let just_before = |time: Duration| time - Duration::from_millis(1);
        let check = loop_control(Mode::Check);
        assert_eq!(check.ends_within(just_before(seconds(60))), None);
        assert_eq!(check.ends_within(seconds(60)), Some(Ending::Time));
        let mut watch = loop_control(Mode::Watch);
        assert_eq!(watch.ends_within(seconds(60)), Some(Ending::Time));
        watch.deadline += seconds(600);
        assert_eq!(watch.ends_within(just_before(seconds(180))), None);
        assert_eq!(watch.ends_within(seconds(180)), Some(Ending::WatchTime));
        advance(seconds(100)).await;
        assert_eq!(watch.ends_within(seconds(80)), Some(Ending::WatchTime), "counted from the start");
    }
}
