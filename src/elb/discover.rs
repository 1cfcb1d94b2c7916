//! The groups that carry a tag. The list is kept in the warm function.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::LoadBalancing;
use crate::aws;
use crate::discovery::{Discover, Tagged};
use crate::fault::{Fault, Kind};

/// Groups on a page (ELBv2 API, `PageSize`).
const PAGE: i32 = 400;
/// Pages at most; an account holds 3,000 groups per region by default.
const PAGES: usize = 50;
/// Groups in one DescribeTags call (ELBv2 API, `ResourceArns`).
const TAGGED_AT_ONCE: usize = 20;

/// The list, and when it was asked for.
pub(super) type Known = Option<(Instant, Vec<Tagged>)>;

impl LoadBalancing {
    async fn arns(&self) -> Result<Vec<String>, Fault> {
        let doing = "list the target groups";
        let mut arns = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES {
            let page = self.client.describe_target_groups().page_size(PAGE).set_marker(marker).send().await;
            let page = page.map_err(|error| {
                aws::fault(doing.to_owned(), "elasticloadbalancing:DescribeTargetGroups", error)
            })?;
            arns.extend(
                page.target_groups().iter().filter_map(|group| group.target_group_arn().map(str::to_owned)),
            );
            marker = page.next_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
            if marker.is_none() {
                return Ok(arns);
            }
        }
        Err(Fault::new(Kind::Permanent, doing)
            .because(format!("the API has more than {PAGES} pages of them")))
    }

    async fn with_tag(&self, key: &str, arns: &[String]) -> Result<Vec<Tagged>, Fault> {
        let described = self.client.describe_tags().set_resource_arns(Some(arns.to_vec())).send().await;
        let described = described.map_err(|error| {
            let doing = "read the target groups' tags".to_owned();
            aws::fault(doing, "elasticloadbalancing:DescribeTags", error)
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

    fn known_tagged(&self) -> std::sync::MutexGuard<'_, Known> {
        self.tagged.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Discover for LoadBalancing {
    async fn tagged(&self, key: &str, age: Duration) -> Result<Vec<Tagged>, Fault> {
        let known = self.known_tagged().clone();
        if let Some((at, tagged)) = &known
            && at.elapsed() <= age
        {
            return Ok(tagged.clone());
        }
        let asked = Instant::now();
        let listing = async {
            let mut tagged = Vec::new();
            for arns in self.arns().await?.chunks(TAGGED_AT_ONCE) {
                tagged.extend(self.with_tag(key, arns).await?);
            }
            Ok(tagged)
        };
        match (listing.await, known) {
            (Ok(tagged), _) => {
                *self.known_tagged() = Some((asked, tagged.clone()));
                Ok(tagged)
            }
            // An old list serves the known databases better than none.
            (Err(fault), Some((_, tagged))) => {
                let fault: Fault = fault;
                tracing::warn!(decision = "retry", reason = %fault.explain(), "goes on with the known groups");
                Ok(tagged)
            }
            (Err(fault), None) => Err(fault),
        }
    }
}
