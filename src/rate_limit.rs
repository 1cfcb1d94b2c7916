//! How many calls the load balancing API gets, and whose come first.
//!
//! Its limits are the account's: everybody's deployments share them with us. Failovers may use all of
//! them, and come first; routine calls get what failovers leave of a small share, and less of an API in trouble.
//! The invariant kept here: a call waits for no other that is less urgent than itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::reconcile::{Call, Priority};

/// All actions of the account, at once and per second: 40 and 10 (ELB API throttling), less one at once,
/// because calls may arrive closer together than they were sent.
const ALL: (f64, f64) = (39.0, 10.0);
/// RegisterTargets and DeregisterTargets: 20 and 4, less one.
const WRITES: (f64, f64) = (19.0, 4.0);
/// How many seconds' worth of routine calls may come at once.
const ROUTINE_BURST: f64 = 6.0;
/// For how long an API is left alone that has just refused or failed a call: by failovers, which try again at
/// their own pace, by what tidies up after them, and by routine calls.
const REST: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(10)];

/// Tokens that come back at a rate, up to a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    burst: f64,
    rate: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: f64, rate: f64) -> Self {
        Self { tokens: burst, burst, rate, at: Instant::now() }
    }

    /// How long until this many tokens are there.
    fn until(&mut self, tokens: f64) -> Duration {
        let now = Instant::now();
        let refill = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        (self.tokens, self.at) = ((self.tokens + refill).min(self.burst), now);
        Duration::from_secs_f64((tokens - self.tokens).max(0.0) / self.rate)
    }

    fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// Somebody else has used up what was there.
    fn empty(&mut self) {
        self.until(0.0);
        self.tokens = self.tokens.min(0.0);
    }
}

/// A bucket that is waited for in order.
pub(crate) struct RateLimiter(tokio::sync::Mutex<Bucket>);

impl RateLimiter {
    /// This many at once, and this many per second.
    pub fn new(burst: f64, rate: f64) -> Self {
        Self(tokio::sync::Mutex::new(Bucket::new(burst, rate)))
    }

    /// Waits for a token.
    pub async fn permit(&self) {
        let mut bucket = self.0.lock().await;
        let wait = bucket.until(1.0);
        if !wait.is_zero() {
            sleep(wait).await;
            bucket.until(1.0);
        }
        bucket.take();
    }
}

/// The calls that this process may make.
pub struct ApiRateLimiter {
    state: Mutex<State>,
    /// One at a time waits for a token of each kind; the others wait for it, in order.
    queues: [[tokio::sync::Mutex<()>; 2]; 3],
}

struct State {
    all: Bucket,
    writes: Bucket,
    routine: Bucket,
    /// When the API last refused or failed a call.
    throttled_at: Option<Instant>,
    /// Who waits for a token, by urgency and call.
    waiting: [[bool; 2]; 3],
}

impl ApiRateLimiter {
    /// A full budget, of which routine calls get this many per second.
    pub fn new(routine_per_second: u32) -> Self {
        let rate = f64::from(routine_per_second);
        Self::of(
            Bucket::new(ALL.0, ALL.1),
            Bucket::new(WRITES.0, WRITES.1),
            Bucket::new(ROUTINE_BURST * rate, rate),
        )
    }

    /// A budget that nobody exhausts, for an API without limits.
    pub fn unlimited() -> Self {
        let plenty = Bucket::new(1e9, 1e9);
        Self::of(plenty, plenty, plenty)
    }

    fn of(all: Bucket, writes: Bucket, routine: Bucket) -> Self {
        let state = State { all, writes, routine, throttled_at: None, waiting: [[false; 2]; 3] };
        Self { state: Mutex::new(state), queues: Default::default() }
    }

    /// Waits until the call may be made.
    pub async fn permit(&self, priority: Priority, call: Call) {
        let (row, column) = (priority as usize, call as usize);
        let Some(queue) = self.queues.get(row).and_then(|row| row.get(column)) else { return };
        let _first = queue.lock().await;
        let _waiting = Waiting::new(self, row, column);
        loop {
            let wait = self.state().take(priority, call);
            match wait {
                Some(wait) => sleep(wait).await,
                None => return,
            }
        }
    }

    /// Heeds that the API refused or failed a call. Others may use up what the account has, another run of
    /// this function among them, and a failover there must not wait for what is less urgent here. Of what is
    /// thought to be left for many calls at once, nothing is.
    pub fn record_throttle(&self) {
        let mut state = self.state();
        state.throttled_at = Some(Instant::now());
        state.all.empty();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the tokens that the call needs, or says how long to wait before trying again.
    fn take(&mut self, priority: Priority, call: Call) -> Option<Duration> {
        // Everyone more urgent who waits keeps a token that this call must not take.
        let ahead = self.waiting.iter().take(priority as usize);
        let (describes, writes): (usize, usize) =
            ahead.fold((0, 0), |(describes, writes), [describe, write]| {
                (describes + usize::from(*describe), writes + usize::from(*write))
            });
        let mut wait = self.all.until(1.0 + (describes + writes) as f64);
        if call == Call::Write {
            wait = wait.max(self.writes.until(1.0 + writes as f64));
        }
        let left_of_routine = self.routine.until(1.0);
        if priority == Priority::Routine {
            wait = wait.max(left_of_routine);
        }
        if let (Some(throttled_at), Some(rest)) = (self.throttled_at, REST.get(priority as usize)) {
            wait = wait.max(rest.saturating_sub(throttled_at.elapsed()));
        }
        if !wait.is_zero() {
            // A token's worth of rounding would wake it for nothing.
            return Some(wait.max(Duration::from_millis(1)));
        }
        self.all.take();
        if call == Call::Write {
            self.writes.take();
        }
        if left_of_routine.is_zero() {
            self.routine.take();
        }
        None
    }
}

/// Marks who waits, for as long as that waits.
struct Waiting<'a> {
    rate_limiter: &'a ApiRateLimiter,
    row: usize,
    column: usize,
}

impl<'a> Waiting<'a> {
    fn new(rate_limiter: &'a ApiRateLimiter, row: usize, column: usize) -> Self {
        let waiting = Self { rate_limiter, row, column };
        waiting.set(true);
        waiting
    }

    fn set(&self, waits: bool) {
        let mut state = self.rate_limiter.state();
        if let Some(waiting) = state.waiting.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *waiting = waits;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::future::join_all;

    use super::*;
    use Priority::{Failover, Routine, Tidy};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Makes this many calls side by side, and says how long that takes.
    async fn make(rate_limiter: &ApiRateLimiter, count: usize, priority: Priority, call: Call) -> Duration {
        let started = Instant::now();
        join_all((0..count).map(|_| rate_limiter.permit(priority, call))).await;
        started.elapsed()
    }

    fn is_about(duration: Duration, expected: Duration) -> bool {
        duration.abs_diff(expected) < Duration::from_millis(50)
    }

    #[tokio::test(start_paused = true)]
    async fn failovers_may_use_all_that_the_account_has() {
        let took = make(&ApiRateLimiter::new(5), 100, Failover, Call::Write).await;
        assert!(is_about(took, Duration::from_millis(20_250)), "19 at once and 4 per second: {took:?}");
        let took = make(&ApiRateLimiter::new(5), 100, Failover, Call::Describe).await;
        assert!(is_about(took, Duration::from_millis(6_100)), "39 at once and 10 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn routine_calls_get_their_share_alone() {
        let took = make(&ApiRateLimiter::new(5), 80, Routine, Call::Describe).await;
        assert!(is_about(took, seconds(10)), "30 at once and 5 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_urgent_go_first_however_late_they_come() {
        for (kind, burst) in [(Call::Describe, ALL.0), (Call::Write, WRITES.0)] {
            let rate_limiter = ApiRateLimiter::new(10);
            make(&rate_limiter, burst as usize, Failover, kind).await;
            let order = RefCell::new(Vec::new());
            let call = async |priority, after| {
                sleep(Duration::from_millis(after)).await;
                rate_limiter.permit(priority, kind).await;
                order.borrow_mut().push(priority);
            };
            let calls = [(Routine, 0), (Routine, 1), (Tidy, 2), (Tidy, 3), (Failover, 4), (Failover, 5)];
            join_all(calls.map(|(priority, after)| call(priority, after))).await;
            assert_eq!(order.into_inner(), [Failover, Failover, Tidy, Tidy, Routine, Routine], "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn equals_go_in_order() {
        let rate_limiter = ApiRateLimiter::new(5);
        let order = RefCell::new(Vec::new());
        join_all((0..60).map(async |number| {
            rate_limiter.permit(Failover, Call::Write).await;
            order.borrow_mut().push(number);
        }))
        .await;
        assert!(order.into_inner().is_sorted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failover_that_waits_to_write_stops_no_listing() {
        let rate_limiter = ApiRateLimiter::new(5);
        make(&rate_limiter, 20, Failover, Call::Write).await;
        let writes = make(&rate_limiter, 40, Failover, Call::Write);
        let (_, lists) = futures_util::join!(writes, make(&rate_limiter, 20, Tidy, Call::Describe));
        assert!(lists < seconds(4), "the other tokens are theirs: {lists:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_in_trouble_is_left_alone_by_all_but_failovers() {
        for (priority, rest) in [(Failover, 0), (Tidy, 5), (Routine, 10)] {
            let rate_limiter = ApiRateLimiter::new(5);
            (0..100).for_each(|_| rate_limiter.record_throttle());
            let took = make(&rate_limiter, 1, priority, Call::Describe).await;
            assert!(is_about(took, seconds(rest) + Duration::from_millis(if rest == 0 { 100 } else { 0 })));
            sleep(seconds(10)).await;
            assert_eq!(
                make(&rate_limiter, 19, priority, Call::Write).await,
                Duration::ZERO,
                "and then as before"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_call_shows_that_nothing_is_left_for_many_at_once() {
        let rate_limiter = ApiRateLimiter::new(5);
        make(&rate_limiter, 5, Failover, Call::Describe).await;
        rate_limiter.record_throttle();
        let took = make(&rate_limiter, 20, Failover, Call::Describe).await;
        assert!(is_about(took, seconds(2)), "10 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_uses_up_what_routine_calls_may_take() {
        let rate_limiter = ApiRateLimiter::new(5);
        make(&rate_limiter, 35, Failover, Call::Describe).await;
        sleep(seconds(2)).await;
        let took = make(&rate_limiter, 20, Routine, Call::Describe).await;
        assert!(is_about(took, seconds(2)), "10 came back, and 5 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gives_up_waiting_holds_up_nobody() {
        let rate_limiter = ApiRateLimiter::new(5);
        make(&rate_limiter, 19, Failover, Call::Write).await;
        let gives_up =
            tokio::time::timeout(Duration::from_millis(1), rate_limiter.permit(Failover, Call::Write));
        assert!(gives_up.await.is_err());
        let took = make(&rate_limiter, 1, Tidy, Call::Write).await;
        assert!(took <= Duration::from_millis(251), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept_in_order() {
        let limiter = RateLimiter::new(2.0, 4.0);
        let started = Instant::now();
        join_all((0..10).map(|_| limiter.permit())).await;
        assert!(is_about(started.elapsed(), seconds(2)), "{:?}", started.elapsed());
    }
}
