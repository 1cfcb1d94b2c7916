//! Which endpoints the tag of a target group may name.

use std::collections::BTreeSet;

use super::bindings::is_dns_name;
use crate::endpoint::RdsName;

/// The endpoints that a tag may name. Without this limit, the right to set tags would be the right to bind any name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedEndpoints {
    /// RDS's own names, and the endpoints of `BINDINGS`. These are in lower case, without a final dot.
    RdsAnd(BTreeSet<String>),
    /// Names that match one of these: a whole name, or `*.` and a suffix. In lower case, without a final dot.
    Matching(Vec<String>),
}

impl AllowedEndpoints {
    pub fn allows(&self, endpoint: &str) -> bool {
        let endpoint = normal(endpoint);
        match self {
            Self::RdsAnd(bound) => RdsName::parse(&endpoint).is_some() || bound.contains(&endpoint),
            Self::Matching(patterns) => patterns.iter().any(|pattern| match pattern.strip_prefix('*') {
                // The suffix begins with its dot.
                Some(suffix) => endpoint.len() > suffix.len() && endpoint.ends_with(suffix),
                None => endpoint == *pattern,
            }),
        }
    }
}

pub(super) fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

pub(super) fn parse(pattern: &str) -> Option<String> {
    let pattern = normal(pattern);
    let name = pattern.strip_prefix("*.").unwrap_or(&pattern);
    (pattern.contains('.') && is_dns_name(name)).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_rds_names_and_bound_endpoints_are_allowed() {
        let allowed = AllowedEndpoints::RdsAnd(["db.example.com".to_owned()].into());
        for (endpoint, expected) in [
            ("orders.cluster-abc123.us-east-1.rds.amazonaws.com", true),
            ("orders.abc123.rds.cn-north-1.amazonaws.com.cn", true),
            ("DB.example.com.", true),
            ("other.example.com", false),
            ("orders.cluster-abc123.us-east-1.rds.amazonaws.com.example.com", false),
            ("evil.us-east-1.rds.amazonaws.com", false),
        ] {
            assert_eq!(allowed.allows(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn patterns_match_whole_names_or_suffixes() {
        let patterns = ["*.rds.amazonaws.com", "db.example.com", "*.Corp.example.com."];
        let allowed = AllowedEndpoints::Matching(patterns.iter().map(|text| parse(text).unwrap()).collect());
        for (endpoint, expected) in [
            ("orders.cluster-abc123.us-east-1.rds.amazonaws.com", true),
            ("Orders.ABC123.us-east-1.RDS.amazonaws.com.", true),
            ("evilrds.amazonaws.com", false),
            ("rds.amazonaws.com", false),
            (".rds.amazonaws.com", false),
            ("db.example.com", true),
            ("a.db.example.com", false),
            ("a.b.corp.example.com", true),
            ("corp.example.com", false),
            ("corp.example.com.evil.org", false),
        ] {
            assert_eq!(allowed.allows(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn pattern_is_a_name_or_a_suffix_after_a_star() {
        for valid in ["db.example.com", "*.internal", "*.a_b.example", "DB.example.com."] {
            assert!(parse(valid).is_some(), "{valid}");
        }
        for wrong in
            ["", "*", "*.", "*example.com", "a.*.example.com", "**.example.com", ".example.com", "a b.com"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
