//! The limits of the load balancing API, and which call comes first.
//!
//! The limits are the account's: all deployments in it share them. Calls about a failover come first and may use the
//! limits up. Routine calls get a small share, which failovers may use as well, and pause after the API has refused a
//! call. The invariant kept here: a call never waits for one of lower priority. Every call takes a [`Permit`] as an argument
//! (`elb`); a retry by the SDK takes none.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::guard::OnDrop;

/// All actions together: 40 at once and 10 per second (ELB API throttling). One less at once, because calls may
/// arrive closer together than they were sent.
const ALL: (f64, f64) = (39.0, 10.0);
/// RegisterTargets and DeregisterTargets: 20 at once and 4 per second, less one.
const WRITES: (f64, f64) = (19.0, 4.0);
/// As many routine calls may come at once as their rate allows in this many seconds.
const ROUTINE_BURST: f64 = 6.0;

/// Which calls come first when the API's limits are near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The writer may be missing in its group.
    Failover,
    /// The writer is registered. Stale targets may be left to deregister.
    Cleanup,
    /// Nothing is known to be wrong.
    Routine,
}

impl Priority {
    fn is_above(self, other: Self) -> bool {
        self < other
    }

    /// How long calls of this priority pause after the API refused or failed a call. Failovers do not pause here: the
    /// loop has its own backoff.
    fn pause_after_failure(self) -> Duration {
        match self {
            Self::Failover => Duration::ZERO,
            // A watch lists the group this often after a change whose outcome is not known.
            Self::Cleanup => Duration::from_secs(3),
            Self::Routine => Duration::from_secs(10),
        }
    }
}

/// The kinds of calls. Writes have a limit of their own, besides the limit of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Describe,
    /// RegisterTargets or DeregisterTargets.
    Write,
}

/// Permission for one call. Every call takes a permit as an argument, so no call is made without one. Only
/// [`ApiRateLimiter`] makes permits.
#[derive(Debug)]
#[must_use = "another call could have used this permit"]
pub struct Permit {
    priority: Priority,
}

impl Permit {
    /// The priority at which it was granted. Further calls of the same change ask for their permits at this priority.
    pub fn priority(&self) -> Priority {
        self.priority
    }
}

/// A token bucket: tokens come back at `rate` per second, up to `burst`.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    /// How many there were at that time.
    tokens: f64,
    at: Instant,
    burst: f64,
    rate: f64,
}

impl TokenBucket {
    fn new(burst: f64, rate: f64) -> Self {
        Self { tokens: burst, burst, rate, at: Instant::now() }
    }

    fn tokens(&self) -> f64 {
        (self.tokens + self.at.elapsed().as_secs_f64() * self.rate).min(self.burst)
    }

    /// How long until the bucket holds this many tokens.
    fn time_until(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64((tokens - self.tokens()).max(0.0) / self.rate)
    }

    fn take(&mut self) {
        (self.tokens, self.at) = (self.tokens() - 1.0, Instant::now());
    }

    /// Removes all tokens: another process has used them up.
    fn empty(&mut self) {
        (self.tokens, self.at) = (self.tokens().min(0.0), Instant::now());
    }
}

/// One token bucket whose callers wait in order.
pub(crate) struct RateLimiter(tokio::sync::Mutex<TokenBucket>);

impl RateLimiter {
    /// Allows `burst` calls at once, and `rate` calls per second.
    pub fn new(burst: f64, rate: f64) -> Self {
        Self(tokio::sync::Mutex::new(TokenBucket::new(burst, rate)))
    }

    pub async fn wait(&self) {
        let mut bucket = self.0.lock().await;
        let wait = bucket.time_until(1.0);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        bucket.take();
    }
}

#[derive(Debug)]
pub struct ApiRateLimiter {
    state: Mutex<State>,
    /// One for each priority and kind of call. The first call in a queue waits for tokens; the others wait for it, in
    /// order.
    queues: [[tokio::sync::Mutex<()>; 2]; 3],
}

#[derive(Debug)]
struct State {
    all: TokenBucket,
    writes: TokenBucket,
    routine: TokenBucket,
    last_failed_attempt: Option<Instant>,
    /// The queues whose first call waits for tokens.
    waiting: BTreeSet<(Priority, Call)>,
}

impl ApiRateLimiter {
    /// The account's limits. Routine calls get `routine_per_second` of them.
    pub fn new(routine_per_second: u32) -> Self {
        let rate = f64::from(routine_per_second);
        Self::with_buckets(
            TokenBucket::new(ALL.0, ALL.1),
            TokenBucket::new(WRITES.0, WRITES.1),
            TokenBucket::new(ROUTINE_BURST * rate, rate),
        )
    }

    /// No limits, for an API that has none.
    pub fn unlimited() -> Self {
        let unlimited = TokenBucket::new(1e9, 1e9);
        Self::with_buckets(unlimited, unlimited, unlimited)
    }

    fn with_buckets(all: TokenBucket, writes: TokenBucket, routine: TokenBucket) -> Self {
        let state = State { all, writes, routine, last_failed_attempt: None, waiting: BTreeSet::new() };
        Self { state: Mutex::new(state), queues: Default::default() }
    }

    pub async fn permit(&self, priority: Priority, call: Call) -> Permit {
        let _first = self.queue(priority, call).lock().await;
        let queue = (priority, call);
        self.state().waiting.insert(queue);
        let _waiting = OnDrop(|| {
            self.state().waiting.remove(&queue);
        });
        loop {
            let taken = self.state().take_tokens(priority, call);
            match taken {
                Ok(()) => return Permit { priority },
                Err(wait) => sleep(wait).await,
            }
        }
    }

    /// Records that the API refused or failed a call, or that the SDK repeats one. Another process, such as another
    /// run of this function, may be using up the account's limits. A failover there must not wait for routine calls
    /// here. The bucket is emptied, because the tokens in it are used up.
    pub fn record_failed_attempt(&self) {
        let mut state = self.state();
        state.last_failed_attempt = Some(Instant::now());
        state.all.empty();
    }

    fn queue(&self, priority: Priority, call: Call) -> &tokio::sync::Mutex<()> {
        let [failover, cleanup, routine] = &self.queues;
        let [describe, write] = match priority {
            Priority::Failover => failover,
            Priority::Cleanup => cleanup,
            Priority::Routine => routine,
        };
        match call {
            Call::Describe => describe,
            Call::Write => write,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the tokens that the call needs, or returns how long to wait before the next attempt.
    fn take_tokens(&mut self, priority: Priority, call: Call) -> Result<(), Duration> {
        // Reserve one token for each queue of higher priority in which a call waits.
        let higher = || self.waiting.iter().filter(|(waiting, _)| waiting.is_above(priority));
        let reserved = higher().count() as f64;
        let reserved_writes = higher().filter(|(_, call)| *call == Call::Write).count() as f64;
        let mut wait = self.all.time_until(1.0 + reserved);
        if call == Call::Write {
            wait = wait.max(self.writes.time_until(1.0 + reserved_writes));
        }
        let wait_for_routine = self.routine.time_until(1.0);
        if priority == Priority::Routine {
            wait = wait.max(wait_for_routine);
        }
        if let Some(last_failed_attempt) = self.last_failed_attempt {
            wait = wait.max(priority.pause_after_failure().saturating_sub(last_failed_attempt.elapsed()));
        }
        if !wait.is_zero() {
            // A timer ticks every millisecond: after a shorter pause the call would wake too early, again and again.
            return Err(wait.max(Duration::from_millis(1)));
        }
        self.all.take();
        if call == Call::Write {
            self.writes.take();
        }
        if wait_for_routine.is_zero() {
            self.routine.take();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::future::join_all;

    use super::*;
    use Priority::{Cleanup, Failover, Routine};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Takes this many permits at the same time, and returns how long that took.
    async fn take(rate_limiter: &ApiRateLimiter, count: usize, priority: Priority, call: Call) -> Duration {
        let started = Instant::now();
        let _permits = join_all((0..count).map(|_| rate_limiter.permit(priority, call))).await;
        started.elapsed()
    }

    fn is_about(duration: Duration, expected: Duration) -> bool {
        duration.abs_diff(expected) < Duration::from_millis(50)
    }

    #[tokio::test(start_paused = true)]
    async fn failover_calls_use_all_of_the_accounts_limits() {
        let took = take(&ApiRateLimiter::new(5), 100, Failover, Call::Write).await;
        assert!(is_about(took, Duration::from_millis(20_250)), "19 at once and 4 per second: {took:?}");
        let took = take(&ApiRateLimiter::new(5), 100, Failover, Call::Describe).await;
        assert!(is_about(took, Duration::from_millis(6_100)), "39 at once and 10 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn routine_calls_get_their_share() {
        let took = take(&ApiRateLimiter::new(5), 80, Routine, Call::Describe).await;
        assert!(is_about(took, seconds(10)), "30 at once and 5 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_higher_priority_go_first_even_if_later() {
        for (kind, burst) in [(Call::Describe, ALL.0), (Call::Write, WRITES.0)] {
            let rate_limiter = ApiRateLimiter::new(10);
            take(&rate_limiter, burst as usize, Failover, kind).await;
            let order = RefCell::new(Vec::new());
            let call = async |priority, after| {
                sleep(Duration::from_millis(after)).await;
                let _permit = rate_limiter.permit(priority, kind).await;
                order.borrow_mut().push(priority);
            };
            let calls =
                [(Routine, 0), (Routine, 1), (Cleanup, 2), (Cleanup, 3), (Failover, 4), (Failover, 5)];
            join_all(calls.map(|(priority, after)| call(priority, after))).await;
            assert_eq!(
                order.into_inner(),
                [Failover, Failover, Cleanup, Cleanup, Routine, Routine],
                "{kind:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_one_priority_go_in_order() {
        let rate_limiter = ApiRateLimiter::new(5);
        let order = RefCell::new(Vec::new());
        join_all((0..60).map(async |number| {
            let _permit = rate_limiter.permit(Failover, Call::Write).await;
            order.borrow_mut().push(number);
        }))
        .await;
        assert!(order.into_inner().is_sorted());
    }

    #[tokio::test(start_paused = true)]
    async fn failover_that_waits_to_write_delays_no_listing() {
        let rate_limiter = ApiRateLimiter::new(5);
        take(&rate_limiter, 20, Failover, Call::Write).await;
        let writes = take(&rate_limiter, 40, Failover, Call::Write);
        let (_, lists) = futures_util::join!(writes, take(&rate_limiter, 20, Cleanup, Call::Describe));
        assert!(lists < seconds(4), "a write reserves one token: {lists:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn throttle_pauses_all_calls_but_those_of_failovers() {
        for (priority, pause) in [(Failover, 0), (Cleanup, 3), (Routine, 10)] {
            let rate_limiter = ApiRateLimiter::new(5);
            (0..100).for_each(|_| rate_limiter.record_failed_attempt());
            let took = take(&rate_limiter, 1, priority, Call::Describe).await;
            assert!(is_about(took, seconds(pause) + Duration::from_millis(if pause == 0 { 100 } else { 0 })));
            sleep(seconds(10)).await;
            assert_eq!(
                take(&rate_limiter, 19, priority, Call::Write).await,
                Duration::ZERO,
                "after the pause"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn throttle_empties_the_bucket() {
        let rate_limiter = ApiRateLimiter::new(5);
        take(&rate_limiter, 5, Failover, Call::Describe).await;
        rate_limiter.record_failed_attempt();
        let took = take(&rate_limiter, 20, Failover, Call::Describe).await;
        assert!(is_about(took, seconds(2)), "10 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn failover_calls_use_up_the_routine_share() {
        let rate_limiter = ApiRateLimiter::new(5);
        take(&rate_limiter, 35, Failover, Call::Describe).await;
        sleep(seconds(2)).await;
        let took = take(&rate_limiter, 20, Routine, Call::Describe).await;
        assert!(is_about(took, seconds(2)), "10 came back, and 5 per second: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_stops_waiting_delays_no_other() {
        let rate_limiter = ApiRateLimiter::new(5);
        take(&rate_limiter, 19, Failover, Call::Write).await;
        let stops_waiting =
            tokio::time::timeout(Duration::from_millis(1), rate_limiter.permit(Failover, Call::Write));
        assert!(stops_waiting.await.is_err());
        let took = take(&rate_limiter, 1, Cleanup, Call::Write).await;
        assert!(took <= Duration::from_millis(251), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn rate_limiter_keeps_its_rate() {
        let limiter = RateLimiter::new(2.0, 4.0);
        let started = Instant::now();
        join_all((0..10).map(|_| limiter.wait())).await;
        assert!(is_about(started.elapsed(), seconds(2)), "{:?}", started.elapsed());
    }
}
