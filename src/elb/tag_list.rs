//! The lists of tagged groups: a finished one, and one that is still being made.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::discovery::{TagAge, Tagged};

/// Groups in one DescribeTags call (ELBv2 API, `ResourceArns`).
const ARNS_PER_CALL: usize = 20;

/// The number of target groups up to which a list may be as old as the caller says. An account with more groups takes
/// more calls to list, so its list may be older in proportion.
const GROUPS_AT_BASE_AGE: f64 = 300.0;

#[derive(Clone)]
pub(super) struct TagList {
    pub started: Instant,
    /// How many groups the account has, with and without the tag.
    pub all: usize,
    pub tagged: Vec<Tagged>,
    /// Set when one of the groups has been deleted.
    pub is_outdated: bool,
}

impl TagList {
    /// Whether the caller accepts the list. One that accepts any age must not wait: it takes any list.
    pub fn is_accepted(&self, age: TagAge) -> bool {
        is_accepted(self.started, self.all, age) && (!self.is_outdated || age == TagAge::Any)
    }
}

/// A listing that is not finished. A listing that failed or ran out of time continues where it stopped: if the API has
/// just refused calls, a new listing from the start would bring more refusals.
pub(super) struct TagScan {
    pub started: Instant,
    pub arns: Vec<String>,
    /// The tagged groups of each batch of ARNs that was read.
    pub read: BTreeMap<usize, Vec<Tagged>>,
}

impl TagScan {
    pub fn unread(&self) -> Vec<(usize, Vec<String>)> {
        let batches = self.arns.chunks(ARNS_PER_CALL).map(<[String]>::to_vec).enumerate();
        batches.filter(|(batch, _)| !self.read.contains_key(batch)).collect()
    }
}

/// Whether a list of an account with this many groups is young enough for a caller that accepts this age.
pub(super) fn is_accepted(started: Instant, all: usize, age: TagAge) -> bool {
    match age {
        TagAge::Any => true,
        TagAge::UpTo(age) => started.elapsed() <= age.mul_f64((all as f64 / GROUPS_AT_BASE_AGE).max(1.0)),
        TagAge::New => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tag_list_of_many_groups_may_be_older() {
        let started = Instant::now();
        let young = |seconds| {
            let age = TagAge::UpTo(Duration::from_secs(seconds));
            [20, 300, 3000].map(|all| is_accepted(started, all, age))
        };
        advance(Duration::from_secs(60)).await;
        assert_eq!(young(60), [true, true, true]);
        assert_eq!(young(59), [false, false, true]);
        assert_eq!(young(5), [false, false, false]);
        assert!([20, 3000].iter().all(|all| is_accepted(started, *all, TagAge::Any)));
    }
}
