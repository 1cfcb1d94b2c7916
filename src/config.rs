//! The environment, parsed once.
//!
//! All problems are reported in one message, each with its variable and field, so that one deployment fixes
//! them. What a [`Config`] holds needs no further checking.

mod allowed_endpoints;
mod bindings;
mod problems;
mod sdk;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::binding::Binding;
use crate::reconcile::Timing;
pub use allowed_endpoints::AllowedEndpoints;
pub use bindings::from_tags;
pub use problems::{BINDINGS, ConfigErrors, FieldProblem, Problem};

/// The key of the tag whose value names a target group's endpoint.
pub const DISCOVERY_TAG: &str = "DISCOVERY_TAG";
/// The endpoints that a tag may bind, with commas: names, or `*.` and a suffix.
pub const DISCOVERY_ENDPOINTS: &str = "DISCOVERY_ENDPOINTS";
pub const WATCH_SECONDS: &str = "WATCH_SECONDS";
pub const POLL_MILLIS: &str = "POLL_MILLIS";
pub const CONFIRM_SECONDS: &str = "CONFIRM_SECONDS";
pub const NAMESERVERS: &str = "NAMESERVERS";
/// True registers the next writer of a cluster before DNS names it.
pub const PREREGISTER: &str = "PREREGISTER";
/// The period within which every target group is listed, if there are many.
pub const VERIFY_SECONDS: &str = "VERIFY_SECONDS";
/// How many calls per second of the load balancing API may serve other work than failovers.
pub const ELB_CALLS_PER_SECOND: &str = "ELB_CALLS_PER_SECOND";
pub const DRY_RUN: &str = "DRY_RUN";

/// A value of `BINDINGS`, for messages.
pub const BINDINGS_EXAMPLE: &str = r#"a JSON array such as [{"endpoint": "orders.cluster-….rds.amazonaws.com", "target_group": "arn:aws:elasticloadbalancing:…"}]"#;

const DNS_PORT: u16 = 53;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// No two bindings share a target group. Without `discovery`, there is at least one.
    pub bindings: Vec<Binding>,
    pub discovery: Option<String>,
    pub discovery_endpoints: AllowedEndpoints,
    pub timing: Timing,
    /// `None` for the system's name servers.
    pub nameservers: Option<Vec<SocketAddr>>,
    pub preregister: bool,
    pub verify: Duration,
    pub elb_calls: u32,
    pub dry_run: bool,
}

impl Config {
    /// Parses the environment as `variable` gives it. An empty variable counts as unset, because a
    /// template cannot leave one out.
    pub fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut environment = Environment { variable, problems: Vec::new() };
        let discovery = environment.tag_key(DISCOVERY_TAG);
        let bindings = environment.bindings(discovery.is_some());
        let config = Self {
            discovery_endpoints: environment.discovery_endpoints(&bindings),
            bindings,
            discovery,
            timing: Timing {
                // A Lambda function runs for at most 90 minutes (Lambda API, `Timeout`).
                watch: environment.seconds(WATCH_SECONDS, 180, 0..=5400),
                poll: Duration::from_millis(environment.number(POLL_MILLIS, 500, 1..=60_000)),
                // RDS's zones have a TTL of 5 s: within 6 s every cached answer has expired once.
                confirm: environment.seconds(CONFIRM_SECONDS, 6, 0..=600),
            },
            nameservers: environment.nameservers(),
            preregister: environment.flag(PREREGISTER, true),
            verify: environment.seconds(VERIFY_SECONDS, 900, 60..=86_400),
            // An account may make ten Describe calls per second. Deployments in the account need some of them.
            elb_calls: environment.number(ELB_CALLS_PER_SECOND, 5, 1..=10),
            dry_run: environment.flag(DRY_RUN, false),
        };
        environment.check_variables_of_the_sdk();
        match environment.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigErrors(problems)),
        }
    }
}

/// The variables, and the problems of those that were read. A wrong variable counts as its default, so that the
/// others are checked as well.
struct Environment<F> {
    variable: F,
    problems: Vec<Problem>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    fn number<N>(&mut self, name: &'static str, default: N, range: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return default };
        match text.trim().parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                let expected = format_args!("a whole number from {least} to {most} (default {default})");
                self.problems.push(Problem::new(name, format_args!("{text:?} is not {expected}")));
                default
            }
        }
    }

    fn seconds(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, range))
    }

    fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.text(name) else { return default };
        let text = text.trim().to_ascii_lowercase();
        text.parse().unwrap_or_else(|_| {
            self.problems.push(Problem::new(name, format_args!("{text:?} is neither true nor false")));
            default
        })
    }

    fn tag_key(&mut self, name: &'static str) -> Option<String> {
        let key = self.text(name)?;
        if !is_tag_key(&key) {
            let message = format_args!("{key:?} is not a tag key. Fix: give one such as rds-nlb-sync");
            self.problems.push(Problem::new(name, message));
        }
        Some(key)
    }

    fn bindings(&mut self, are_optional: bool) -> Vec<Binding> {
        if let Some(text) = self.text(BINDINGS) {
            return bindings::bindings(&mut self.problems, &text);
        }
        if !are_optional {
            let message = format!("is not set. Fix: give {BINDINGS_EXAMPLE}, or set {DISCOVERY_TAG}");
            self.problems.push(Problem { is_missing: true, ..Problem::new(BINDINGS, message) });
        }
        Vec::new()
    }

    fn discovery_endpoints(&mut self, bindings: &[Binding]) -> AllowedEndpoints {
        let Some(text) = self.text(DISCOVERY_ENDPOINTS) else {
            let bound = bindings.iter().map(|binding| allowed_endpoints::normal(&binding.endpoint));
            return AllowedEndpoints::RdsAnd(bound.collect());
        };
        let otherwise = "is neither a DNS name nor a suffix such as *.rds.amazonaws.com";
        AllowedEndpoints::Matching(self.list(DISCOVERY_ENDPOINTS, &text, allowed_endpoints::parse, otherwise))
    }

    /// The entries of a list with commas. `otherwise` says what is wrong with one that cannot be parsed.
    fn list<R>(
        &mut self,
        name: &'static str,
        text: &str,
        parse: impl Fn(&str) -> Option<R>,
        otherwise: &str,
    ) -> Vec<R> {
        let mut list = Vec::new();
        for (index, entry) in text.split(',').map(str::trim).enumerate() {
            match parse(entry) {
                Some(parsed) => list.push(parsed),
                None => {
                    self.problems.push(Problem::new(name, format_args!("{entry:?} {otherwise}")).at(index));
                }
            }
        }
        list
    }

    /// Checks the variables that the SDK reads by itself. It ignores an invalid value without a message.
    fn check_variables_of_the_sdk(&mut self) {
        for (name, check) in sdk::VARIABLES {
            if let Some(problem) = self.text(name).and_then(|text| check(text.trim())) {
                self.problems.push(Problem::new(name, problem));
            }
        }
    }

    fn nameservers(&mut self) -> Option<Vec<SocketAddr>> {
        let text = self.text(NAMESERVERS)?;
        let parse = |entry: &str| {
            let server = SocketAddr::from_str(entry)
                .or_else(|_| IpAddr::from_str(entry).map(|address| SocketAddr::new(address, DNS_PORT)));
            server.ok().filter(|server| server.port() > 0)
        };
        let otherwise = "is not an address such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53";
        Some(self.list(NAMESERVERS, &text, parse, otherwise))
    }
}

/// Checks a tag key (ELBv2 API, `Tag.Key`). The key with an option's suffix must be a valid key as well.
fn is_tag_key(key: &str) -> bool {
    const OPTION: usize = ":database".len();
    let is_allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    key.chars().count() + OPTION <= 128 && key.chars().all(is_allowed) && !key.starts_with("aws:")
}

#[cfg(test)]
mod tests;
