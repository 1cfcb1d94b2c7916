//! The target groups that carry a tag. A warm function keeps the list.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::operation::describe_tags::DescribeTagsError;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use tokio::time::Instant;

use super::Elb;
use super::tag_list::{TagList, TagScan, is_accepted};
use crate::aws;
use crate::discovery::{Discover, TagAge, Tagged, Tags};
use crate::error::{Error, ErrorKind};
use crate::rate_limit::{Call, Permit, Priority};
use crate::reconcile::TargetGroupApi;

/// Groups on a page (ELBv2 API, `PageSize`).
const PAGE: i32 = 400;
/// Pages at most; an account holds 3,000 groups per region by default.
const PAGES: usize = 50;

const CONCURRENT_CALLS: usize = 4;
const READ_TAGS: &str = "read the target groups' tags";

impl Elb {
    async fn list_groups(&self, priority: Priority) -> Result<Vec<String>, Error> {
        let doing = "list the target groups";
        let mut arns = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES {
            let permit = self.permit(priority, Call::Describe).await;
            let client = self.client.with(permit);
            let request = client.describe_target_groups().page_size(PAGE).set_marker(marker);
            let action = "elasticloadbalancing:DescribeTargetGroups";
            let page = aws::call(doing.to_owned(), action, request.send()).await?;
            for group in page.target_groups() {
                let Some(arn) = group.target_group_arn() else { continue };
                arns.push(arn.to_owned());
                // A group that cannot serve a database is an error only if it is bound.
                if let Ok(group) = super::parse_group(group) {
                    self.groups.borrow_mut().insert(arn.to_owned(), group);
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

    /// Those of the groups that carry the tag. `None` if one of the groups was deleted since they were listed.
    async fn with_tag(
        &self,
        permit: Permit,
        key: &str,
        arns: &[String],
    ) -> Result<Option<Vec<Tagged>>, Error> {
        let request = self.client.with(permit).describe_tags().set_resource_arns(Some(arns.to_vec()));
        let (doing, action) = (READ_TAGS.to_owned(), "elasticloadbalancing:DescribeTags");
        let is_deleted = DescribeTagsError::is_target_group_not_found_exception;
        let Some(described) = aws::find(doing, action, is_deleted, request.send()).await? else {
            return Ok(None);
        };
        let tagged = described.tag_descriptions().iter().filter_map(|description| {
            let group = description.resource_arn()?.to_owned();
            let tags: BTreeMap<String, String> = description
                .tags()
                .iter()
                .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
                .collect();
            tags.contains_key(key).then_some(Tagged { group, tags })
        });
        Ok(Some(tagged.collect()))
    }

    /// Lists the tagged groups, and keeps the list. Continues an unfinished listing that is young enough.
    async fn list_tagged(&self, key: &str, age: TagAge, priority: Priority) -> Result<Vec<Tagged>, Error> {
        let mut unfinished = self.scan.lock().await;
        if let Some(list) = &*self.tagged.borrow()
            && list.is_accepted(age)
        {
            // Another caller has listed them meanwhile.
            return Ok(list.tagged.clone());
        }
        let scan = match &mut *unfinished {
            Some(scan) if is_accepted(scan.started, scan.arns.len(), age) => scan,
            none => {
                let started = Instant::now();
                let arns = self.list_groups(priority).await?;
                none.insert(TagScan { started, arns, read: BTreeMap::new() })
            }
        };
        let calls = scan.unread().into_iter().map(async |(batch, arns)| {
            let permit = self.permit(priority, Call::Describe).await;
            Ok((batch, self.with_tag(permit, key, &arns).await?))
        });
        let calls = stream::iter(calls).buffer_unordered(CONCURRENT_CALLS);
        let mut is_outdated = false;
        let reading = calls.try_for_each(|(batch, tagged)| {
            match tagged {
                Some(tagged) => drop(scan.read.insert(batch, tagged)),
                None => is_outdated = true,
            }
            future::ok::<_, Error>(())
        });
        let result = reading.await;
        if is_outdated {
            // The API refuses a batch with a group that was deleted. A new listing leaves the group out.
            *unfinished = None;
            return Err(Error::new(ErrorKind::Transient, READ_TAGS)
                .with_source("a target group was deleted meanwhile; the next attempt lists them again"));
        }
        if let Err(error) = result {
            if error.kind() == ErrorKind::Permanent {
                *unfinished = None;
            }
            return Err(error);
        }
        let tagged: Vec<Tagged> = scan.read.values().flatten().cloned().collect();
        let (started, all) = (scan.started, scan.arns.len());
        *self.tagged.borrow_mut() =
            Some(TagList { started, all, tagged: tagged.clone(), is_outdated: false });
        *unfinished = None;
        Ok(tagged)
    }

    /// This group does not exist. If it is in the list of tagged groups, the next check lists them again.
    pub(super) fn mark_tag_list_outdated(&self, group: &str) {
        if let Some(list) = &mut *self.tagged.borrow_mut() {
            list.is_outdated |= list.tagged.iter().any(|tagged| tagged.group == group);
        }
    }
}

impl Discover for Elb {
    async fn tagged(&self, key: &str, age: TagAge, priority: Priority) -> Result<Tags, Error> {
        let known = self.tagged.borrow().clone();
        if let Some(TagList { tagged, .. }) = known.as_ref().filter(|list| list.is_accepted(age)) {
            return Ok(Tags { groups: tagged.clone(), relisted: false, failure: None });
        }
        match (self.list_tagged(key, age, priority).await, known) {
            (Ok(groups), _) => Ok(Tags { groups, relisted: true, failure: None }),
            // The function continues to sync the bindings of an old list.
            (Err(error), Some(TagList { tagged, .. })) => {
                let reason = error.explain();
                tracing::warn!(decision = "retry", reason, "using the last list of tagged groups");
                let matters = error.kind() == ErrorKind::Permanent || age == TagAge::New;
                let failure = matters.then_some(reason);
                Ok(Tags { groups: tagged, relisted: false, failure })
            }
            (Err(error), None) => Err(error),
        }
    }
}
