//! Many databases in one world, and the limits of an account.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{Action, FakeAws, Group, State, Target, addresses};

/// The endpoint of the database with this number.
pub fn endpoint(number: usize) -> String {
    format!("db-{number}.abc123.us-east-1.rds.amazonaws.com")
}

/// Its target group.
pub fn group(number: usize) -> String {
    super::GROUP.replace("/orders/", &format!("/db-{number}/"))
}

/// The address of one of its hosts.
pub fn address(number: usize, host: usize) -> String {
    let [.., high, low] = (number * 16 + host).to_be_bytes();
    format!("10.0.{high}.{low}")
}

impl FakeAws {
    /// The databases `db-0`, `db-1` and so on, each with a group in sync, and nothing else.
    pub fn of_databases(count: usize) -> Self {
        let aws = Self::default();
        let mut state = aws.state();
        for number in 0..count {
            let first = address(number, 1);
            state.zone.insert(endpoint(number), addresses(&[&first]));
            let registered = Instant::now();
            let target = Target { registered, drained: None, all_zones: false, state: Some("healthy") };
            let targets = BTreeMap::from([(format!("{first}:5432").parse().expect("a target"), target)]);
            state.groups.insert(group(number), Group { targets, ..Group::default() });
        }
        drop(state);
        aws
    }

    /// DNS gives the database's second host from now on.
    pub fn fails_over(&self, number: usize) {
        self.state().zone.insert(endpoint(number), addresses(&[&address(number, 2)]));
    }
}

/// What an account may call (ELB API throttling): this many at once, and this many per second.
pub struct Limits {
    all: Tokens,
    writes: Tokens,
    /// How many calls were refused.
    pub refused: usize,
}

struct Tokens {
    left: f64,
    most: f64,
    per_second: f64,
    at: Instant,
}

impl Limits {
    /// As AWS sets them.
    pub fn of_aws() -> Self {
        let tokens = |most, per_second| Tokens { left: most, most, per_second, at: Instant::now() };
        Self { all: tokens(40.0, 10.0), writes: tokens(20.0, 4.0), refused: 0 }
    }
}

impl Tokens {
    fn has_one(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + (now - self.at).as_secs_f64() * self.per_second).min(self.most);
        self.at = now;
        self.left >= 1.0
    }
}

impl State {
    /// Whether the account's limits refuse this call.
    pub(super) fn refuses(&mut self, action: Action) -> bool {
        let Some(limits) = &mut self.limits else { return false };
        let is_write = matches!(action, Action::RegisterTargets | Action::DeregisterTargets);
        if matches!(action, Action::DescribeDBClusters | Action::DescribeDBInstances | Action::Lookup) {
            return false;
        }
        if !limits.all.has_one() || (is_write && !limits.writes.has_one()) {
            limits.refused += 1;
            return true;
        }
        limits.all.left -= 1.0;
        if is_write {
            limits.writes.left -= 1.0;
        }
        false
    }
}
