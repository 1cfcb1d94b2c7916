//! How long a reconciliation goes on: pauses, retries, and when enough is enough.

use std::time::Duration;

use tokio::time::Instant;

use super::{FRESH, Mode, Pace};
use crate::fault::{Fault, Kind};

/// How many rounds a check adds when the API fails. The SDK has made three attempts by then; with
/// these it is nine, spread over some ten seconds, and the next check comes within the minute.
const ROUNDS: u32 = 2;
/// How often the loop may go round without a pause: register, look, ask, look, evict, look, and some.
const HURRIES: u32 = 8;

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
    Patience,
    /// The invocation's time is over.
    Time,
}

pub(super) struct Patience {
    mode: Mode,
    pace: Pace,
    started: Instant,
    deadline: Instant,
    waiting_since: Option<Instant>,
    hurries: u32,
    rounds: u32,
    /// Until when a watch leaves the API alone.
    rests_until: Option<Instant>,
    trouble: Option<Trouble>,
}

/// What a step was about when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Look,
    Change,
}

/// The failure that is being tried again.
struct Trouble {
    stage: Stage,
    fault: Fault,
}

impl Patience {
    pub fn new(mode: Mode, pace: Pace, deadline: Instant) -> Self {
        let started = Instant::now();
        Self {
            mode,
            pace,
            started,
            deadline,
            waiting_since: None,
            hurries: 0,
            rounds: 0,
            rests_until: None,
            trouble: None,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Leaves time out of what a check may wait: others had their turns in it.
    pub fn forgive(&mut self, time: Duration) {
        if let Some(since) = &mut self.waiting_since {
            *since += time;
        }
    }

    /// What comes after a step that went well. A check waits at most twice the confirmation time; a
    /// watch has a patience of its own.
    pub fn after(&mut self, next: Next) -> Pause {
        let is_check = self.mode == Mode::Check;
        let mut waited = || self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        let bound = 2 * self.pace.confirm;
        // A pause longer than the confirmation would outlast the bound for nothing.
        let poll = if is_check { self.pace.poll.min(self.pace.confirm) } else { self.pace.poll };
        let is_enough = match next {
            Next::Changed | Next::Behind | Next::End => false,
            // Looking once more is no waiting, unless it goes on and on.
            Next::Again => is_check && waited() > bound.max(FRESH),
            Next::Poll => is_check && (bound.is_zero() || waited() + poll > bound),
        };
        if is_enough {
            return Pause::Enough;
        }
        if next != Next::Poll && self.hurries < HURRIES {
            self.hurries += 1;
            return Pause::None;
        }
        self.hurries = 0;
        Pause::For(poll)
    }

    /// How long to wait before the next step after one that failed, or `None` where it would not help.
    pub fn after_failure(&mut self, kind: Kind) -> Option<Duration> {
        match (self.mode, kind) {
            (Mode::DryRun, _) | (_, Kind::Permanent | Kind::OutOfTime) => return None,
            (Mode::Check, Kind::NoAnswer) => return None,
            (Mode::Watch, Kind::NoAnswer) => return Some(self.pace.poll),
            (Mode::Check, Kind::Transient) if self.rounds >= ROUNDS => return None,
            (Mode::Check | Mode::Watch, Kind::Transient) => {}
        }
        self.hurries = 0;
        let ceiling = Duration::from_secs(1 << self.rounds.min(3));
        self.rounds += 1;
        // Half of it is jitter, so that watches that failed together do not return together.
        let rest = ceiling.mul_f64(0.5 + 0.5 * fastrand::f64());
        if self.mode == Mode::Check {
            return Some(rest);
        }
        // A watch leaves the API alone meanwhile, but goes on watching DNS.
        self.rests_until = Some(Instant::now() + rest);
        Some(self.pace.poll)
    }

    /// Whether the API is to be left alone for now.
    pub fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Keeps the failure that will be tried again.
    pub fn suffer(&mut self, stage: Stage, fault: Fault) {
        self.trouble = Some(Trouble { stage, fault });
    }

    /// Forgets a failure of this stage, which has gone well, and says whether there was one.
    pub fn recovered(&mut self, stage: Stage) -> bool {
        let is_over = self.trouble.take_if(|trouble| trouble.stage == stage).is_some();
        if is_over && self.mode == Mode::Watch {
            // A check's rounds are all that it gets; a watch's backoff starts anew.
            (self.rounds, self.rests_until) = (0, None);
        }
        is_over
    }

    /// The failure that was being tried again to the end.
    pub fn trouble(&mut self) -> Option<Fault> {
        self.trouble.take().map(|trouble| trouble.fault)
    }

    pub fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// Why the run would end before or amid this pause, if it would.
    pub fn ends_within(&self, pause: Duration) -> Option<Ending> {
        let then = Instant::now() + pause;
        if self.mode == Mode::Watch && then >= self.started + self.pace.watch {
            return Some(Ending::Patience);
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

    fn patience(mode: Mode) -> Patience {
        let pace = Pace { watch: seconds(180), poll: Duration::from_millis(500), confirm: seconds(6) };
        Patience::new(mode, pace, Instant::now() + seconds(60))
    }

    #[tokio::test(start_paused = true)]
    async fn after_eight_rounds_without_a_pause_comes_one() {
        for next in [Next::Changed, Next::Again] {
            let mut patience = patience(Mode::Watch);
            for _ in 0..2 {
                for _ in 0..8 {
                    assert_eq!(patience.after(next), Pause::None);
                }
                assert_eq!(patience.after(next), Pause::For(Duration::from_millis(500)));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_or_a_failure_makes_room_for_eight_more() {
        for pause in [
            |patience: &mut Patience| assert_ne!(patience.after(Next::Poll), Pause::None),
            |patience: &mut Patience| assert_ne!(patience.after_failure(Kind::Transient), None),
        ] {
            let mut patience = patience(Mode::Watch);
            for _ in 0..8 {
                assert_eq!(patience.after(Next::Changed), Pause::None);
            }
            pause(&mut patience);
            assert_eq!(patience.after(Next::Changed), Pause::None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_waits_to_the_bound_and_not_beyond() {
        let mut patience = patience(Mode::Check);
        assert_eq!(patience.after(Next::Poll), Pause::For(Duration::from_millis(500)));
        advance(Duration::from_millis(11_500)).await;
        assert_eq!(patience.after(Next::Poll), Pause::For(Duration::from_millis(500)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(patience.after(Next::Poll), Pause::Enough);
        advance(Duration::from_millis(499)).await;
        assert_eq!(patience.after(Next::Again), Pause::None, "12 s");
        advance(Duration::from_millis(1)).await;
        assert_eq!(patience.after(Next::Again), Pause::Enough);
        assert_eq!(patience.after(Next::Changed), Pause::None, "a change is always looked at");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_api_is_tried_twice_more_by_a_check_and_ever_more_seldom_by_a_watch() {
        let within = |rest: Duration, ceiling| (seconds(ceiling) / 2..=seconds(ceiling)).contains(&rest);
        let mut check = patience(Mode::Check);
        assert!(within(check.after_failure(Kind::Transient).unwrap(), 1));
        assert!(within(check.after_failure(Kind::Transient).unwrap(), 2));
        assert_eq!(check.after_failure(Kind::Transient), None);
        assert!(!check.rests(), "it sleeps instead");

        let mut watch = patience(Mode::Watch);
        for ceiling in [1, 2, 4, 8, 8, 8] {
            assert_eq!(watch.after_failure(Kind::Transient), Some(Duration::from_millis(500)));
            assert!(within(watch.rests_until.unwrap() - Instant::now(), ceiling), "{ceiling}");
            assert!(watch.rests());
            advance(watch.rests_until.unwrap() - Instant::now()).await;
            assert!(!watch.rests());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_recovery_starts_the_backoff_of_a_watch_anew_and_gives_a_check_no_more_rounds() {
        let mut of_both = [patience(Mode::Check), patience(Mode::Watch)];
        for patience in &mut of_both {
            for _ in 0..2 {
                assert_ne!(patience.after_failure(Kind::Transient), None);
            }
            patience.suffer(Stage::Change, Fault::new(Kind::Transient, "register"));
            assert!(!patience.recovered(Stage::Look) && patience.recovered(Stage::Change));
        }
        let [mut check, mut watch] = of_both;
        assert_eq!(check.after_failure(Kind::Transient), None);
        assert!(!watch.rests());
        watch.after_failure(Kind::Transient);
        assert!(watch.rests_until.unwrap() - Instant::now() <= seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_reaches_the_end_is_not_begun() {
        let just_before = |time: Duration| time - Duration::from_millis(1);
        let check = patience(Mode::Check);
        assert_eq!(check.ends_within(just_before(seconds(60))), None);
        assert_eq!(check.ends_within(seconds(60)), Some(Ending::Time));
        let mut watch = patience(Mode::Watch);
        assert_eq!(watch.ends_within(seconds(60)), Some(Ending::Time));
        watch.deadline += seconds(600);
        assert_eq!(watch.ends_within(just_before(seconds(180))), None);
        assert_eq!(watch.ends_within(seconds(180)), Some(Ending::Patience));
        advance(seconds(100)).await;
        assert_eq!(watch.ends_within(seconds(80)), Some(Ending::Patience), "counted from the start");
    }
}
