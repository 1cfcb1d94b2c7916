//! The API's limits: buckets with a burst and a refill, shared with everyone else in the account.

use super::history::Time;
use crate::testkit::Action;

/// Calls at once and calls per second (ELB API throttling): of all ELB actions together, of the
/// describing ones, and of registering and deregistering.
const ALL: (f64, f64) = (40.0, 10.0);
const DESCRIBE: (f64, f64) = (40.0, 10.0);
const CHANGE: (f64, f64) = (20.0, 4.0);

struct Bucket {
    burst: f64,
    refill: f64,
    tokens: f64,
    since: Time,
}

impl Bucket {
    fn new((burst, refill): (f64, f64), spare: f64) -> Self {
        // The others' calls leave us this part of the limit; without one, calls are free.
        let burst = (burst * spare).max(1.0);
        Self { burst, refill: refill * spare, tokens: burst, since: Time::ZERO }
    }

    fn take(&mut self, now: Time) -> bool {
        let passed = now.saturating_sub(self.since).as_secs_f64();
        self.tokens = self.refill.mul_add(passed, self.tokens).min(self.burst);
        self.since = now;
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

pub struct Limits {
    all: Bucket,
    describe: Bucket,
    change: Bucket,
}

impl Limits {
    pub fn new(spare: f64) -> Self {
        let bucket = |limit| Bucket::new(limit, spare);
        Self { all: bucket(ALL), describe: bucket(DESCRIBE), change: bucket(CHANGE) }
    }

    /// Takes a call's share, or says that there is none left.
    pub fn take(&mut self, action: Action, now: Time) -> bool {
        let own = match action {
            Action::Lookup | Action::DescribeDBClusters | Action::DescribeDBInstances => return true,
            Action::RegisterTargets | Action::DeregisterTargets => &mut self.change,
            _ => &mut self.describe,
        };
        own.take(now) && self.all.take(now)
    }
}
