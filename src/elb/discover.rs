//! The groups that carry a tag. The list is kept in the warm function.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::Elb;
use crate::aws;
use crate::discovery::{Discover, Tagged, Tags};
use crate::error::{Error, ErrorKind};
use crate::reconcile::{Call, Priority};

/// Groups on a page (ELBv2 API, `PageSize`).
const PAGE: i32 = 400;
/// Pages at most; an account holds 3,000 groups per region by default.
const PAGES: usize = 50;
/// Groups in one DescribeTags call (ELBv2 API, `ResourceArns`).
const TAGGED_AT_ONCE: usize = 20;

/// How many DescribeTags calls are under way at once.
const AT_ONCE: usize = 4;
/// For how many groups of the account a list's age is meant. Listing more of them costs more, and is done
/// as much less often.
const FEW: f64 = 300.0;

/// The groups that carry the tag, as last listed.
#[derive(Clone)]
pub(super) struct Listed {
    asked: Instant,
    /// How many groups the account has, with and without the tag.
    all: usize,
    tagged: Vec<Tagged>,
}

/// A listing that failed or ran out of time goes on where it stopped: an API that has just refused some calls
/// would refuse others if all were made again.
pub(super) struct TagScan {
    asked: Instant,
    arns: Vec<String>,
    /// The tags of each score of them.
    read: BTreeMap<usize, Vec<Tagged>>,
}

impl TagScan {
    fn unread(&self) -> Vec<(usize, Vec<String>)> {
        let scores = self.arns.chunks(TAGGED_AT_ONCE).map(<[String]>::to_vec).enumerate();
        scores.filter(|(score, _)| !self.read.contains_key(score)).collect()
    }
}

/// Whether a listing of an account with so many groups was begun no longer ago than this.
fn is_younger(asked: Instant, all: usize, age: Duration) -> bool {
    age == Duration::MAX || asked.elapsed() <= age.mul_f64((all as f64 / FEW).max(1.0))
}

impl Elb {
    async fn arns(&self, priority: Priority) -> Result<Vec<String>, Error> {
        let doing = "list the target groups";
        let mut arns = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES {
            self.rate_limiter.permit(priority, Call::Describe).await;
            let page = self.client.describe_target_groups().page_size(PAGE).set_marker(marker);
            let page = Box::pin(page.send()).await.map_err(|error| {
                aws::call_error(doing.to_owned(), "elasticloadbalancing:DescribeTargetGroups", error)
            })?;
            for group in page.target_groups() {
                let Some(arn) = group.target_group_arn() else { continue };
                arns.push(arn.to_owned());
                // What makes others unfit is told when they are used.
                if let Ok(group) = super::parse_group(group) {
                    self.groups().insert(arn.to_owned(), group);
                }
            }
            marker = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
            if marker.is_none() {
                return Ok(arns);
            }
        }
        Err(Error::new(ErrorKind::Permanent, doing)
            .with_source(format!("the API has more than {PAGES} pages of them")))
    }

    async fn with_tag(&self, key: &str, arns: &[String], priority: Priority) -> Result<Vec<Tagged>, Error> {
        self.rate_limiter.permit(priority, Call::Describe).await;
        let described = self.client.describe_tags().set_resource_arns(Some(arns.to_vec()));
        let described = Box::pin(described.send()).await.map_err(|error| {
            let doing = "read the target groups' tags".to_owned();
            aws::call_error(doing, "elasticloadbalancing:DescribeTags", error)
        })?;
        let tagged = described.tag_descriptions().iter().filter_map(|description| {
            let group = description.resource_arn()?.to_owned();
            let tags: BTreeMap<String, String> = description
                .tags()
                .iter()
                .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
                .collect();
            tags.contains_key(key).then_some(Tagged { group, tags })
        });
        Ok(tagged.collect())
    }

    /// Lists them all, but for what was read no longer ago than this.
    async fn list_tagged(&self, key: &str, age: Duration, priority: Priority) -> Result<Vec<Tagged>, Error> {
        let mut begun = self.scan.lock().await;
        let scan = match &mut *begun {
            Some(scan) if is_younger(scan.asked, scan.arns.len(), age) => scan,
            none => {
                let asked = Instant::now();
                none.insert(TagScan { asked, arns: self.arns(priority).await?, read: BTreeMap::new() })
            }
        };
        let calls = scan
            .unread()
            .into_iter()
            .map(async |(score, arns)| Ok((score, self.with_tag(key, &arns, priority).await?)));
        let mut calls = stream::iter(calls).buffer_unordered(AT_ONCE);
        while let Some((score, tagged)) = calls.try_next().await? {
            scan.read.insert(score, tagged);
        }
        let tagged: Vec<Tagged> = scan.read.values().flatten().cloned().collect();
        *self.listed() = Some(Listed { asked: scan.asked, all: scan.arns.len(), tagged: tagged.clone() });
        *begun = None;
        Ok(tagged)
    }

    fn listed(&self) -> MutexGuard<'_, Option<Listed>> {
        self.tagged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Discover for Elb {
    async fn tagged(&self, key: &str, age: Duration, priority: Priority) -> Result<Tags, Error> {
        let known = self.listed().clone();
        if let Some(Listed { tagged, .. }) =
            known.as_ref().filter(|listed| is_younger(listed.asked, listed.all, age))
        {
            return Ok(Tags { groups: tagged.clone(), are_new: false });
        }
        match (self.list_tagged(key, age, priority).await, known) {
            (Ok(groups), _) => Ok(Tags { groups, are_new: true }),
            // An old list serves the known databases better than none.
            (Err(error), Some(Listed { tagged, .. })) => {
                tracing::warn!(decision = "retry", reason = %error.explain(), "goes on with the known groups");
                Ok(Tags { groups: tagged, are_new: false })
            }
            (Err(error), None) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_more_groups_an_account_has_the_longer_their_list_serves() {
        let asked = Instant::now();
        let young = |seconds| {
            let age = Duration::from_secs(seconds);
            [20, 300, 3000].map(|all| is_younger(asked, all, age))
        };
        advance(Duration::from_secs(60)).await;
        assert_eq!(young(60), [true, true, true]);
        assert_eq!(young(59), [false, false, true]);
        assert_eq!(young(5), [false, false, false]);
        assert!([20, 3000].iter().all(|all| is_younger(asked, *all, Duration::MAX)));
    }
}
