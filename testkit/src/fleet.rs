//! Many databases in one account.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{FakeAws, Group, Target, addresses};

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
