//! Bindings by tag: every target group that carries the tag is bound to the endpoint in its value.
//!
//! Further tags with the same key and a suffix hold the options: `KEY:port`, `KEY:database`. A group
//! that has lost its tag is let go, untouched; one whose tags are wrong fails alone, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::binding::Binding;
use crate::config::{self, Config, FieldProblem};
use crate::error::{Error, ErrorKind};
use crate::rate_limit::Priority;
use crate::reconcile::{Report, Status};

/// How old the list of tagged groups may be for a check, in an account of some hundred groups: a listing
/// makes a call for each twenty of them, and tags change by deployments.
pub const TAG_MAX_AGE: Duration = Duration::from_secs(300);
/// How old it may be when an event tells of a database that no binding is for: it may be a new one, but
/// in most accounts it is one that nobody has bound.
pub const TAG_MAX_AGE_UNKNOWN_DB: Duration = Duration::from_secs(60);

/// How often the tags are read where the API refuses it. From the second time on, failovers elsewhere in the
/// account come first.
const TRIES: usize = 10;

/// A target group that carries the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The group's ARN.
    pub group: String,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
}

/// The groups that carry the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Each with all its tags.
    pub groups: Vec<Tagged>,
    /// Whether they were listed for this very answer.
    pub are_new: bool,
}

/// The tags of the account's target groups.
#[allow(async_fn_in_trait, reason = "one thread, and no caller needs the futures to be Send")]
pub trait Discover {
    /// The groups that carry the tag, as of this long ago or less; in accounts of many groups, as of
    /// longer ago. They are listed with this urgency.
    async fn tagged(&self, key: &str, age: Duration, priority: Priority) -> Result<Tags, Error>;
}

/// What there is to keep in sync.
#[derive(Clone, Debug, Default)]
pub struct BindingSet {
    /// The configured bindings, and the discovered ones after them.
    pub bindings: Vec<Binding>,
    /// What is wrong with the others.
    pub failed: Vec<Report>,
    /// Whether the groups were listed just now, which takes its share of the API's limits.
    pub are_new: bool,
}

/// The configured bindings and, where a tag is configured, those of the groups that carry it. A group that
/// is configured as well is bound as configured.
pub async fn binding_set<T: Discover>(
    groups: &T,
    config: &Config,
    age: Duration,
    priority: Priority,
    deadline: Instant,
) -> BindingSet {
    let mut bound = BindingSet { bindings: config.bindings.clone(), ..BindingSet::default() };
    let Some(key) = &config.discovery else { return bound };
    // Where there is nothing else to do, it is worth some waiting: what was read is not read again.
    let tries = if config.bindings.is_empty() { TRIES } else { 1 };
    let mut listing = Err(Error::new(
        ErrorKind::DeadlineExceeded,
        "discover target groups by tag before the invocation's time ran out",
    ));
    for priority in iter::once(priority).chain(iter::repeat_n(priority.max(Priority::Tidy), tries - 1)) {
        let Ok(listed) = timeout_at(deadline, groups.tagged(key, age, priority)).await else { break };
        let is_over = !matches!(&listed, Err(error) if error.kind() == ErrorKind::Transient);
        listing = listed;
        if is_over {
            break;
        }
    }
    let tagged = match listing {
        Ok(Tags { groups, are_new }) => {
            bound.are_new = are_new;
            groups
        }
        Err(error) => {
            bound.failed.push(failed(
                String::new(),
                format!("every target group tagged {key}"),
                error.explain(),
            ));
            return bound;
        }
    };
    let configured: BTreeSet<&str> =
        config.bindings.iter().map(|binding| binding.target_group.as_str()).collect();
    for Tagged { group, mut tags } in tagged.into_iter().filter(|tagged| !configured.contains(&*tagged.group))
    {
        let endpoint = tags.remove(key).unwrap_or_default();
        let options = tags.into_iter().filter_map(|(tag, value)| {
            Some((tag.strip_prefix(key.as_str())?.strip_prefix(':')?.to_owned(), value))
        });
        match config::from_tags(&endpoint, &group, options.collect()) {
            Ok(binding) => bound.bindings.push(binding),
            Err(problems) => {
                let problems = problems.iter().map(|FieldProblem { field, message }| match field.as_str() {
                    "endpoint" => format!("{key}: {message}"),
                    option => format!("{key}:{option}: {message}"),
                });
                let reason = format!("its tags are not valid: {}", problems.collect::<Vec<_>>().join("; "));
                bound.failed.push(failed(endpoint, group, reason));
            }
        }
    }
    bound
}

fn failed(endpoint: String, target_group: String, reason: String) -> Report {
    tracing::error!(decision = "fail", endpoint, target_group, reason, "the group is not bound");
    Report { error: Some(reason), ..Report::new(&endpoint, &target_group, Status::Failed) }
}
