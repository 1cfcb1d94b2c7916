//! Bindings by tag: a target group that carries the tag is bound to the endpoint in the tag's value.
//!
//! Further tags with the same key and a suffix hold the options: `KEY:port`, `KEY:database`. If the tag is removed, the
//! group is no longer synced, and its targets stay. A group with invalid tags fails by itself, with its name.
//!
//! The right to tag a target group is the right to choose the database that it leads to. So a tag binds only the
//! endpoints that DISCOVERY_ENDPOINTS allows. If no group carries the tag, discovery fails: the key is probably
//! misspelt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::binding::Binding;
use crate::config::{self, Config, FieldProblem};
use crate::error::{Error, ErrorKind};
use crate::rate_limit::Priority;
use crate::reconcile::{Report, Status};
use crate::text::Joined as _;

/// The greatest age of a list that a check accepts. A listing makes a call for each twenty groups of the account, and tags change by
/// deployments.
pub const TAG_AGE: TagAge = TagAge::UpTo(Duration::from_secs(300));
/// The greatest age of a list if no tag binds a group, or if an event is about a database without a binding. The database
/// may be new, but in most accounts it has no binding.
pub const TAG_AGE_UNKNOWN_DB: TagAge = TagAge::UpTo(Duration::from_secs(60));
/// How many attempts to list the tagged groups are made if there are no other bindings. From the second attempt on,
/// the calls pause after a refusal, so that failovers elsewhere in the account come first.
const ATTEMPTS: usize = 10;

/// Which list of the tagged groups a caller accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagAge {
    /// The known list, however old it is: a watch must not wait.
    Any,
    /// The known list up to this age, in an account of up to 300 groups.
    UpTo(Duration),
    /// A new list: an operator asks about what is there now.
    New,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The group's ARN.
    pub group: String,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    pub groups: Vec<Tagged>,
    /// Whether this call listed them. Otherwise they were known.
    pub relisted: bool,
    /// Why a new list could not be made. Set only if the error is permanent, or if the caller asked for a new list.
    pub failure: Option<String>,
}

pub trait Discover {
    /// The groups that carry the tag: the known list if the caller accepts its age, otherwise a new list, made at this
    /// priority.
    async fn tagged(&self, key: &str, age: TagAge, priority: Priority) -> Result<Tags, Error>;
}

#[derive(Clone, Debug, Default)]
pub struct BindingSet {
    /// The configured bindings, followed by the discovered ones.
    pub bindings: Vec<Binding>,
    pub unbound: Vec<Unbound>,
    /// Whether this invocation has listed the tagged groups.
    pub relisted: bool,
}

/// A group, or all groups of a tag, that could not be bound. The error ends with its fix, as in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unbound {
    /// A group whose tags are not valid.
    Group { target_group: String, endpoint: String, error: String },
    /// The groups that carry the tag with this key: they are not known, or there are none.
    Tag { key: String, error: String },
}

impl Unbound {
    pub fn tag(key: &str, error: String) -> Self {
        Self::Tag { key: key.to_owned(), error }
    }

    pub fn log(&self) {
        let Report { endpoint, target_group, error: reason, .. } = self.report();
        tracing::error!(decision = "fail", endpoint, target_group, reason, "target group not bound");
    }

    pub fn error(&self) -> &str {
        let (Self::Group { error, .. } | Self::Tag { error, .. }) = self;
        error
    }

    pub fn report(&self) -> Report {
        let endpoint = match self {
            Self::Group { endpoint, .. } => endpoint,
            Self::Tag { .. } => "",
        };
        let error = Some(self.error().to_owned());
        Report { error, ..Report::for_group(endpoint, &self.to_string(), Status::Failed) }
    }
}

/// The group, or in words all groups of the tag.
impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { target_group, .. } => f.write_str(target_group),
            Self::Tag { key, .. } => write!(f, "every target group tagged {key}"),
        }
    }
}

/// The configured bindings and, if a tag is configured, those of the groups that carry it. A group in BINDINGS ignores
/// its tags.
pub async fn binding_set<T: Discover>(
    groups: &T,
    config: &Config,
    age: TagAge,
    priority: Priority,
    deadline: Instant,
) -> BindingSet {
    let mut set = BindingSet { bindings: config.bindings.clone(), ..BindingSet::default() };
    let Some(key) = &config.discovery else { return set };
    let tags = list_tagged(groups, config, key, age, priority, deadline).await;
    let Tags { groups, relisted, failure } = match tags {
        Ok(tags) => tags,
        Err(error) => {
            set.unbound.push(Unbound::tag(key, error.explain()));
            return set;
        }
    };
    set.relisted = relisted;
    // The groups of the known list are bound all the same.
    set.unbound.extend(failure.map(|error| Unbound::tag(key, error)));
    if groups.is_empty() {
        let error = format!(
            "no target group carries the tag {key}. Fix: tag a target group with {key}=ENDPOINT, or unset DISCOVERY_TAG"
        );
        set.unbound.push(Unbound::tag(key, error));
    }
    let configured: BTreeSet<&str> =
        config.bindings.iter().map(|binding| binding.target_group.as_str()).collect();
    for Tagged { group, tags } in groups.iter().filter(|tagged| !configured.contains(&*tagged.group)) {
        let endpoint = tags.get(key).map(String::as_str).unwrap_or_default();
        match bind(config, key, endpoint, group, tags) {
            Ok(binding) => set.bindings.push(binding),
            Err(error) => {
                let (target_group, endpoint) = (group.clone(), endpoint.to_owned());
                set.unbound.push(Unbound::Group { target_group, endpoint, error });
            }
        }
    }
    set
}

/// Lists the tagged groups, with further attempts after transient errors if there are no other bindings: then there is
/// nothing else to do. A new attempt continues where the last one stopped.
async fn list_tagged<T: Discover>(
    groups: &T,
    config: &Config,
    key: &str,
    age: TagAge,
    mut priority: Priority,
    deadline: Instant,
) -> Result<Tags, Error> {
    let mut listed = Err(Error::deadline_exceeded("discover target groups by tag"));
    for _ in 0..if config.bindings.is_empty() { ATTEMPTS } else { 1 } {
        let Ok(result) = timeout_at(deadline, groups.tagged(key, age, priority)).await else { break };
        listed = result;
        match &listed {
            Err(error) if error.kind() == ErrorKind::Transient => priority = priority.max(Priority::Cleanup),
            _ => break,
        }
    }
    listed
}

fn bind(
    config: &Config,
    key: &str,
    endpoint: &str,
    group: &str,
    tags: &BTreeMap<String, String>,
) -> Result<Binding, String> {
    let options = tags.iter().filter_map(|(tag, value)| {
        Some((tag.strip_prefix(key)?.strip_prefix(':')?.to_owned(), value.clone()))
    });
    let binding = config::from_tags(endpoint, group, options.collect()).map_err(|problems| {
        let problems = problems.iter().map(|FieldProblem { field, message }| match field.as_str() {
            "endpoint" => format!("{key}: {message}"),
            option => format!("{key}:{option}: {message}"),
        });
        format!("its tags are not valid: {}", problems.joined("; "))
    })?;
    if !config.discovery_endpoints.allows(endpoint) {
        return Err(format!(
            "its tag {key} names {endpoint}, which no tag may bind. Fix: name an endpoint of RDS, or add the name or a \
             suffix such as *.example.com to DISCOVERY_ENDPOINTS"
        ));
    }
    Ok(binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "rds-endpoint";
    const ORDERS: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";

    /// Tagged groups that are listed at once.
    struct Listed(Vec<Tagged>);

    impl Discover for Listed {
        async fn tagged(&self, _: &str, _: TagAge, _: Priority) -> Result<Tags, Error> {
            Ok(Tags { groups: self.0.clone(), relisted: true, failure: None })
        }
    }

    /// A list of earlier, which can no longer be made.
    struct Known(Tagged);

    impl Discover for Known {
        async fn tagged(&self, _: &str, _: TagAge, _: Priority) -> Result<Tags, Error> {
            Ok(Tags {
                groups: vec![self.0.clone()],
                relisted: false,
                failure: Some("AccessDenied".to_owned()),
            })
        }
    }

    #[tokio::test]
    async fn list_that_cannot_be_made_anew_binds_and_is_a_failure() {
        let tags = BTreeMap::from([(KEY.to_owned(), ORDERS.to_owned())]);
        let groups = Known(Tagged { group: group("orders"), tags });
        let deadline = Instant::now() + Duration::from_secs(1);
        let config = config("", None);
        let set = binding_set(&groups, &config, TagAge::New, Priority::Routine, deadline).await;
        assert_eq!(set.bindings.iter().map(Binding::name).collect::<Vec<_>>(), ["orders"]);
        assert_eq!(set.unbound, [Unbound::Tag { key: KEY.to_owned(), error: "AccessDenied".to_owned() }]);
    }

    fn group(name: &str) -> String {
        format!("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/{name}/0123456789abcdef")
    }

    fn config(bindings: &str, endpoints: Option<&str>) -> Config {
        let config = Config::parse(|name| match name {
            "BINDINGS" => Some(bindings.to_owned()),
            "DISCOVERY_TAG" => Some(KEY.to_owned()),
            "DISCOVERY_ENDPOINTS" => endpoints.map(str::to_owned),
            _ => None,
        });
        config.unwrap()
    }

    /// The groups that are bound, and the reasons why others are not.
    async fn bind_all(config: &Config, tagged: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let groups = tagged.iter().map(|(name, endpoint)| {
            let tags = BTreeMap::from([(KEY.to_owned(), (*endpoint).to_owned())]);
            Tagged { group: group(name), tags }
        });
        let deadline = Instant::now() + Duration::from_secs(1);
        let groups = Listed(groups.collect());
        let set = binding_set(&groups, config, TagAge::New, Priority::Routine, deadline).await;
        let bound = set.bindings.iter().map(|binding| binding.name().to_owned());
        let failed = set.unbound.iter().map(|unbound| format!("{unbound}: {}", unbound.error()));
        (bound.collect(), failed.collect())
    }

    #[tokio::test]
    async fn tag_that_no_group_carries_is_a_failure() {
        let configured =
            format!("[{{\"endpoint\": \"{ORDERS}\", \"target_group\": \"{}\"}}]", group("orders"));
        for (bindings, expected) in [("", &[][..]), (&configured, &["orders"])] {
            let (bound, failed) = bind_all(&config(bindings, None), &[]).await;
            assert_eq!(bound, expected);
            let message =
                "every target group tagged rds-endpoint: no target group carries the tag rds-endpoint. Fix: ";
            assert!(matches!(&failed[..], [failure] if failure.starts_with(message)), "{failed:?}");
        }
        let (bound, failed) = bind_all(&config(&configured, None), &[("orders", ORDERS)]).await;
        assert_eq!((bound.len(), failed.len()), (1, 0), "it is carried by a configured group");
    }

    #[tokio::test]
    async fn tag_binds_only_allowed_endpoints() {
        let custom = format!(
            "[{{\"endpoint\": \"DB.corp.example.com.\", \"target_group\": \"{}\"}}]",
            group("custom")
        );
        let china = "sales.abc123.rds.cn-north-1.amazonaws.com.cn";
        let patterns = "*.corp.example.com, Sales.Example.com";
        for (endpoint, bindings, endpoints, expected) in [
            (ORDERS, "", None, true),
            (china, "", None, true),
            ("db.corp.example.com", "", None, false),
            ("db.corp.example.com", &*custom, None, true),
            ("other.corp.example.com", &*custom, None, false),
            ("orders.rds.amazonaws.com.example.com", "", None, false),
            ("internal-orders.us-east-1.elb.amazonaws.com", "", None, false),
            (ORDERS, "", Some(patterns), false),
            ("DB.corp.example.com.", "", Some(patterns), true),
            ("a.db.corp.example.com", "", Some(patterns), true),
            ("corp.example.com", "", Some(patterns), false),
            ("evilcorp.example.com", "", Some(patterns), false),
            ("sales.example.com", "", Some(patterns), true),
            ("a.sales.example.com", "", Some(patterns), false),
            (ORDERS, "", Some("*.rds.amazonaws.com"), true),
        ] {
            let config = config(bindings, endpoints);
            let (bound, failed) = bind_all(&config, &[("new", endpoint), ("good", ORDERS)]).await;
            assert_eq!(bound.contains(&"new".to_owned()), expected, "{endpoint} {endpoints:?}: {failed:?}");
            if !expected {
                assert!(failed.iter().any(|failure| failure.contains(endpoint)), "{failed:?}");
            }
            let is_good_allowed = endpoints.is_none_or(|endpoints| endpoints.contains("rds.amazonaws.com"));
            assert_eq!(
                bound.contains(&"good".to_owned()),
                is_good_allowed,
                "one bad tag fails its group alone"
            );
        }
    }
}
