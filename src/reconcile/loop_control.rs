//! When the loop observes again, how long it pauses before that, and when it stops.

use std::time::Duration;

use tokio::time::Instant;

use super::observe::{MAX_OBSERVATION_AGE, RELIST_INTERVAL_AFTER_CHANGE};
use super::options::{Mode, Timing};
use crate::error::{Error, ErrorKind};

/// How often a check tries again when the API fails. The SDK has made three attempts by then; with these
/// two rounds it is nine, spread over some ten seconds, and the next check comes within the minute.
const CHECK_RETRIES: u32 = 2;
/// How often the loop may go round without a pause. A failover takes three rounds: it registers, deregisters and
/// observes. The others are for answers that change meanwhile.
const ROUNDS_WITHOUT_PAUSE: u32 = 8;

/// After its limit, a check whose answer is confirmed goes on for this long to make a new observation. Two slow lookups
/// of 4 s each fit in it.
const RECHECK_TIME: Duration = Duration::from_secs(8);

/// A watch with a long poll interval makes its last observation this long before its end: some round trips to look up and
/// to register.
const LAST_OBSERVATION_TIME: Duration = Duration::from_secs(1);

/// The longest pause of a watch after an error. A failover does not wait for a poll interval of up to a minute.
const MAX_PAUSE_AFTER_ERROR: Duration = RELIST_INTERVAL_AFTER_CHANGE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Again,
    /// Pause between two lookups.
    Sleep(Duration),
    /// Make no calls of the load balancing API for this time. Lookups go on.
    BackOff(Duration),
    Stop(Stop),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Done,
    /// A check has waited as long as it may for a confirmation.
    CheckLimit,
    WatchTime,
    /// The invocation's deadline is near.
    Deadline,
    /// The run gives up with the pending error.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Observation,
    Change,
}

pub(super) struct LoopControl {
    mode: Mode,
    timing: Timing,
    started: Instant,
    deadline: Instant,
    /// When a check began to wait for a confirmation.
    waiting_since: Option<Instant>,
    /// Until when a check has no limit.
    prolonged_until: Option<Instant>,
    rounds_without_pause: u32,
    retries: u32,
    /// Until when a watch makes no API calls.
    backing_off_until: Option<Instant>,
    /// The failure that the next step tries to clear. If the run ends first, it is the result.
    pending_error: Option<(Stage, Error)>,
}

impl LoopControl {
    pub fn new(mode: Mode, timing: Timing, deadline: Instant) -> Self {
        Self {
            mode,
            timing,
            started: Instant::now(),
            deadline,
            waiting_since: None,
            prolonged_until: None,
            rounds_without_pause: 0,
            retries: 0,
            backing_off_until: None,
            pending_error: None,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Excludes a wait from the check's limit: the time passed for another reason than the confirmation.
    pub fn exclude_from_limit(&mut self, wait: Duration) {
        if let Some(since) = &mut self.waiting_since {
            *since += wait;
        }
    }

    /// A check does not stop at its limit before this time: an earlier call may still change the group.
    pub fn prolong_until(&mut self, end: Instant) {
        self.prolonged_until = Some(end);
    }

    /// Observes again without a pause: after a change, or when an observation became outdated during a wait. After
    /// [`ROUNDS_WITHOUT_PAUSE`] rounds it pauses once.
    pub fn observe_now(&mut self) -> Then {
        if self.rounds_without_pause < ROUNDS_WITHOUT_PAUSE {
            self.rounds_without_pause += 1;
            return Then::Again;
        }
        self.pause(self.poll_interval())
    }

    /// Observes again without a pause, as [`Self::observe_now`], but a check stops at its limit.
    pub fn observe_now_within_limit(&mut self) -> Then {
        let limit = self.check_limit().max(MAX_OBSERVATION_AGE) + RECHECK_TIME;
        self.start_waiting();
        if self.has_limit() && self.waited() > limit {
            return Then::Stop(Stop::CheckLimit);
        }
        self.observe_now()
    }

    pub fn observe_after_poll(&mut self) -> Then {
        self.observe_after(self.poll_interval())
    }

    /// Pauses during a backoff. A long poll interval must not delay its end.
    pub fn observe_while_backing_off(&mut self) -> Then {
        self.pause(self.pause_after_error())
    }

    /// Pauses while an earlier call may still change the group. A long poll interval must not delay the lists.
    pub fn observe_soon_to_relist(&mut self) -> Then {
        self.observe_after(self.poll_interval().min(RELIST_INTERVAL_AFTER_CHANGE))
    }

    /// Pauses while a change waits for the confirmation. A long poll interval must not delay the confirmation.
    pub fn observe_soon_to_confirm(&mut self) -> Then {
        self.observe_after(self.poll_interval().min(self.timing.confirm / 3))
    }

    fn observe_after(&mut self, interval: Duration) -> Then {
        let limit = self.check_limit();
        self.start_waiting();
        if self.has_limit() && (limit.is_zero() || self.waited() + interval > limit) {
            return Then::Stop(Stop::CheckLimit);
        }
        self.pause(interval)
    }

    /// Decides whether a failed step is tried again. Keeps the error until the stage succeeds. Once the run has
    /// observed the group, a watch goes on without the API.
    pub fn retry(&mut self, stage: Stage, error: Error, has_observed: bool) -> Then {
        let then = self.after_error(error.kind(), has_observed);
        self.pending_error = Some((stage, error));
        then
    }

    fn after_error(&mut self, kind: ErrorKind, has_observed: bool) -> Then {
        match (self.mode, kind) {
            (Mode::DryRun, _) | (_, ErrorKind::Permanent | ErrorKind::DeadlineExceeded) => {
                return Then::Stop(Stop::Failed);
            }
            (Mode::Check, ErrorKind::NoAnswer) => return Then::Stop(Stop::Failed),
            (Mode::Watch, ErrorKind::NoAnswer) => return self.pause(self.pause_after_error()),
            (Mode::Check, ErrorKind::Transient) if self.retries >= CHECK_RETRIES => {
                return Then::Stop(Stop::Failed);
            }
            // Nothing was tried again since the last error.
            (Mode::Watch, ErrorKind::Transient) if self.is_backing_off() => {
                return self.observe_while_backing_off();
            }
            (Mode::Check | Mode::Watch, ErrorKind::Transient) => {}
        }
        let ceiling = Duration::from_secs(1 << self.retries.min(3));
        self.retries += 1;
        // Half of it is jitter, so that watches that failed together do not retry together.
        let backoff = ceiling.mul_f64(0.5 + 0.5 * fastrand::f64());
        if self.mode == Mode::Check || !has_observed {
            return match self.pause(backoff) {
                Then::Sleep(pause) => Then::BackOff(pause),
                then => then,
            };
        }
        // A watch does not call the load balancing API meanwhile, but goes on resolving the endpoint.
        self.backing_off_until = Some(Instant::now() + backoff);
        self.pause(self.pause_after_error())
    }

    /// A long poll interval must not delay the next attempt of a watch.
    fn pause_after_error(&self) -> Duration {
        self.timing.poll.min(MAX_PAUSE_AFTER_ERROR)
    }

    pub fn end_reason(&self) -> Stop {
        let is_end_of_watch = self.mode == Mode::Watch && self.started + self.timing.watch < self.deadline;
        if is_end_of_watch { Stop::WatchTime } else { Stop::Deadline }
    }

    /// Whether a backoff has ended since the last call of this function.
    pub fn take_end_of_backoff(&mut self) -> bool {
        self.backing_off_until.take_if(|until| Instant::now() >= *until).is_some()
    }

    /// Whether the API gets no calls for now.
    pub fn is_backing_off(&self) -> bool {
        self.backing_off_until.is_some_and(|until| Instant::now() < until)
    }

    /// Clears the pending error of this stage, which has succeeded. Returns whether there was one.
    pub fn clear_error(&mut self, stage: Stage) -> bool {
        let cleared = self.pending_error.take_if(|(pending, _)| *pending == stage).is_some();
        if cleared && self.mode == Mode::Watch {
            // A check counts its retries over the whole run; a watch begins with short pauses again.
            (self.retries, self.backing_off_until) = (0, None);
        }
        cleared
    }

    pub fn take_pending_error(&mut self) -> Option<Error> {
        self.pending_error.take().map(|(_, error)| error)
    }

    pub fn has_pending_error(&self) -> bool {
        self.pending_error.is_some()
    }

    /// A check pauses for the confirmation time at most: a longer pause could reach its limit without a confirmation.
    fn poll_interval(&self) -> Duration {
        match self.mode {
            Mode::Check if self.has_limit() => self.timing.poll.min(self.timing.confirm),
            Mode::Check | Mode::Watch | Mode::DryRun => self.timing.poll,
        }
    }

    fn has_limit(&self) -> bool {
        self.mode == Mode::Check && self.prolonged_until.is_none_or(|end| Instant::now() >= end)
    }

    /// How long a check may wait for a confirmation.
    fn check_limit(&self) -> Duration {
        2 * self.timing.confirm
    }

    fn start_waiting(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    fn waited(&self) -> Duration {
        self.waiting_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn pause(&mut self, time: Duration) -> Then {
        self.rounds_without_pause = 0;
        self.sleep_or_stop(time)
    }

    /// A pause that would reach the end of the run is not begun. A watch cuts it instead, for a last observation.
    fn sleep_or_stop(&self, pause: Duration) -> Then {
        let end = match self.mode {
            Mode::Watch => self.deadline.min(self.started + self.timing.watch),
            Mode::Check | Mode::DryRun => self.deadline,
        };
        let left = end.saturating_duration_since(Instant::now());
        if pause < left {
            return Then::Sleep(pause);
        }
        match left.checked_sub(LAST_OBSERVATION_TIME) {
            Some(cut) if self.mode == Mode::Watch && !cut.is_zero() => Then::Sleep(cut),
            _ => Then::Stop(self.end_reason()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const POLL: Then = Then::Sleep(Duration::from_millis(500));

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn control(mode: Mode) -> LoopControl {
        let timing = Timing { watch: seconds(180), poll: Duration::from_millis(500), confirm: seconds(6) };
        LoopControl::new(mode, timing, Instant::now() + seconds(60))
    }

    fn fail(control: &mut LoopControl, kind: ErrorKind) -> Then {
        control.retry(Stage::Change, Error::new(kind, "register"), true)
    }

    fn is_within(pause: Duration, ceiling: u64) -> bool {
        (seconds(ceiling) / 2..=seconds(ceiling)).contains(&pause)
    }

    #[tokio::test(start_paused = true)]
    async fn eight_rounds_without_pause_are_followed_by_a_pause() {
        for next in [LoopControl::observe_now, LoopControl::observe_now_within_limit] {
            let mut control = control(Mode::Watch);
            for _ in 0..2 {
                for _ in 0..8 {
                    assert_eq!(next(&mut control), Then::Again);
                }
                assert_eq!(next(&mut control), POLL);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pause_or_failure_allows_eight_more_rounds() {
        let fails = [ErrorKind::Transient, ErrorKind::NoAnswer];
        let fails = fails.map(|kind| move |control: &mut LoopControl| fail(control, kind));
        let pauses: [&dyn Fn(&mut LoopControl) -> Then; 3] =
            [&LoopControl::observe_after_poll, &fails[0], &fails[1]];
        for pause in pauses {
            let mut control = control(Mode::Watch);
            for _ in 0..8 {
                assert_eq!(control.observe_now(), Then::Again);
            }
            assert_eq!(pause(&mut control), POLL);
            assert_eq!(control.observe_now(), Then::Again);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn check_waits_up_to_its_limit() {
        let mut control = control(Mode::Check);
        assert_eq!(control.observe_after_poll(), POLL);
        advance(Duration::from_millis(11_500)).await;
        assert_eq!(control.observe_after_poll(), POLL);
        advance(Duration::from_millis(1)).await;
        assert_eq!(control.observe_after_poll(), Then::Stop(Stop::CheckLimit));
        advance(Duration::from_millis(499) + RECHECK_TIME).await;
        assert_eq!(
            control.observe_now_within_limit(),
            Then::Again,
            "12 s, and the time for a new observation"
        );
        advance(Duration::from_millis(1)).await;
        assert_eq!(control.observe_now_within_limit(), Then::Stop(Stop::CheckLimit));
        assert_eq!(control.observe_now(), Then::Again, "a change is always observed");
    }

    #[tokio::test(start_paused = true)]
    async fn prolonged_check_has_no_limit_until_then() {
        for confirm in [0, 6] {
            let mut control = control(Mode::Check);
            control.timing.confirm = seconds(confirm);
            control.prolong_until(Instant::now() + seconds(20));
            assert_eq!(
                [control.observe_after_poll(), control.observe_soon_to_relist()],
                [POLL, POLL],
                "{confirm} s"
            );
            advance(seconds(20) - Duration::from_millis(1)).await;
            assert_eq!(
                [control.observe_after_poll(), control.observe_now_within_limit()],
                [POLL, Then::Again]
            );
            advance(Duration::from_millis(1)).await;
            assert_eq!(control.observe_after_poll(), Then::Stop(Stop::CheckLimit));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn excluded_waits_do_not_count_against_the_limit() {
        let mut control = control(Mode::Check);
        control.observe_after_poll();
        advance(seconds(20)).await;
        control.exclude_from_limit(seconds(10));
        assert_eq!(control.observe_after_poll(), POLL);
        advance(seconds(3)).await;
        assert_eq!(control.observe_after_poll(), Then::Stop(Stop::CheckLimit));
    }

    #[tokio::test(start_paused = true)]
    async fn check_retries_a_transient_error_twice() {
        let mut check = control(Mode::Check);
        for ceiling in [1, 2] {
            let then = fail(&mut check, ErrorKind::Transient);
            assert!(matches!(then, Then::BackOff(pause) if is_within(pause, ceiling)), "{then:?}");
        }
        assert_eq!(fail(&mut check, ErrorKind::Transient), Then::Stop(Stop::Failed));
        assert!(!check.is_backing_off(), "it sleeps instead");
        assert!(check.take_pending_error().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn watch_backs_off_from_the_api_and_keeps_polling() {
        let mut watch = control(Mode::Watch);
        for ceiling in [1, 2, 4, 8, 8, 8] {
            assert_eq!(fail(&mut watch, ErrorKind::Transient), POLL);
            let backoff = watch.backing_off_until.unwrap() - Instant::now();
            assert!(is_within(backoff, ceiling) && watch.is_backing_off(), "{ceiling}: {backoff:?}");
            advance(backoff).await;
            assert!(!watch.is_backing_off());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn error_ends_no_watch_with_a_long_poll_interval() {
        for kind in [ErrorKind::NoAnswer, ErrorKind::Transient] {
            let mut watch = control(Mode::Watch);
            (watch.timing.watch, watch.timing.poll) = (seconds(60), seconds(60));
            watch.deadline += seconds(60);
            assert_eq!(fail(&mut watch, kind), Then::Sleep(seconds(3)), "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn errors_that_do_not_pass_end_the_run() {
        for mode in [Mode::Check, Mode::Watch, Mode::DryRun] {
            for kind in [ErrorKind::Permanent, ErrorKind::DeadlineExceeded] {
                assert_eq!(fail(&mut control(mode), kind), Then::Stop(Stop::Failed));
            }
        }
        assert_eq!(fail(&mut control(Mode::DryRun), ErrorKind::Transient), Then::Stop(Stop::Failed));
        assert_eq!(fail(&mut control(Mode::Check), ErrorKind::NoAnswer), Then::Stop(Stop::Failed));
        assert_eq!(fail(&mut control(Mode::Watch), ErrorKind::NoAnswer), POLL);
    }

    #[tokio::test(start_paused = true)]
    async fn cleared_error_restarts_only_the_backoff_of_a_watch() {
        let [mut check, mut watch] = [control(Mode::Check), control(Mode::Watch)];
        for control in [&mut check, &mut watch] {
            for _ in 0..2 {
                assert_ne!(fail(control, ErrorKind::Transient), Then::Stop(Stop::Failed));
            }
            assert!(!control.clear_error(Stage::Observation) && control.clear_error(Stage::Change));
            assert!(!control.has_pending_error());
        }
        assert_eq!(fail(&mut check, ErrorKind::Transient), Then::Stop(Stop::Failed));
        assert!(!watch.is_backing_off());
        fail(&mut watch, ErrorKind::Transient);
        assert!(watch.backing_off_until.unwrap() - Instant::now() <= seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn time_of_a_watch_ends_with_it_or_at_an_earlier_deadline() {
        let mut watch = control(Mode::Watch);
        assert_eq!(watch.end_reason(), Stop::Deadline);
        watch.deadline += seconds(120);
        assert_eq!(watch.end_reason(), Stop::Deadline, "both end at the same moment");
        watch.deadline += seconds(1);
        assert_eq!(watch.end_reason(), Stop::WatchTime);
        assert_eq!(control(Mode::Check).end_reason(), Stop::Deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_that_reaches_the_end_is_cut_in_a_watch_and_not_begun_in_a_check() {
        let just_before = |time: Duration| time - Duration::from_millis(1);
        let check = control(Mode::Check);
        assert_eq!(check.sleep_or_stop(just_before(seconds(60))), Then::Sleep(just_before(seconds(60))));
        assert_eq!(check.sleep_or_stop(seconds(60)), Then::Stop(Stop::Deadline));
        let mut watch = control(Mode::Watch);
        assert_eq!(watch.sleep_or_stop(just_before(seconds(60))), Then::Sleep(just_before(seconds(60))));
        assert_eq!(watch.sleep_or_stop(seconds(60)), Then::Sleep(seconds(59)), "the deadline is earlier");
        watch.deadline += seconds(600);
        assert_eq!(watch.sleep_or_stop(just_before(seconds(180))), Then::Sleep(just_before(seconds(180))));
        assert_eq!(watch.sleep_or_stop(seconds(180)), Then::Sleep(seconds(179)));
        advance(seconds(179)).await;
        assert_eq!(
            watch.sleep_or_stop(seconds(1)),
            Then::Stop(Stop::WatchTime),
            "after the last observation"
        );
        assert_eq!(watch.sleep_or_stop(just_before(seconds(1))), Then::Sleep(just_before(seconds(1))));
    }
}
