//! The API limits of an account, which all its callers share.

use tokio::time::Instant;

use crate::Action;

/// Calls at once and calls per second, of all ELBv2 actions, and of registering and deregistering
/// (ELB API throttling).
const ALL: (f64, f64) = (40.0, 10.0);
const WRITES: (f64, f64) = (20.0, 4.0);

pub struct AccountLimits {
    all: TokenBucket,
    writes: TokenBucket,
    /// How many calls were refused.
    pub refused: usize,
}

struct TokenBucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl AccountLimits {
    pub fn of_aws() -> Self {
        Self::shared(1.0)
    }

    /// The part of the limits that the account's other callers leave.
    pub fn shared(part: f64) -> Self {
        let bucket = |(burst, per_second)| TokenBucket::new((burst * part, per_second * part));
        Self { all: bucket(ALL), writes: bucket(WRITES), refused: 0 }
    }

    /// Takes the call's tokens, or refuses it.
    pub fn take(&mut self, action: Action) -> bool {
        let is_write = matches!(action, Action::RegisterTargets | Action::DeregisterTargets);
        let is_of_rds = action.permission().is_some_and(|action| action.starts_with("rds:"));
        if is_of_rds || action == Action::Lookup {
            return true;
        }
        if !self.all.has_one() || (is_write && !self.writes.has_one()) {
            self.refused += 1;
            return false;
        }
        self.all.tokens -= 1.0;
        if is_write {
            self.writes.tokens -= 1.0;
        }
        true
    }
}

impl TokenBucket {
    fn new((burst, per_second): (f64, f64)) -> Self {
        let burst = burst.max(1.0);
        Self { tokens: burst, burst, per_second, at: Instant::now() }
    }

    fn has_one(&mut self) -> bool {
        let now = Instant::now();
        let refill = (now - self.at).as_secs_f64() * self.per_second;
        (self.tokens, self.at) = ((self.tokens + refill).min(self.burst), now);
        self.tokens >= 1.0
    }
}
