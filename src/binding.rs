//! What is kept in sync: one endpoint name with one target group.

use std::fmt;
use std::iter;
use std::str::FromStr;

use crate::arn;
use crate::plan::StandbyPolicy;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The one address that DNS gives for the endpoint.
    #[default]
    Writer,
    /// Every reader of the endpoint's cluster, or its writer where the cluster has no reader.
    Readers,
    /// Every address that DNS gives for the endpoint.
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The DNS name, as the user wrote it.
    pub endpoint: String,
    pub target_group: TargetGroupArn,
    /// The port to register; without one, the target group's own.
    pub port: Option<u16>,
    /// The identifiers of the clusters and instances, if the endpoint's first label is not the identifier.
    pub databases: Vec<String>,
    pub role: Role,
    pub standby: StandbyPolicy,
}

impl Binding {
    pub fn new(endpoint: &str, target_group: TargetGroupArn) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            target_group,
            port: None,
            databases: Vec::new(),
            role: Role::Writer,
            standby: StandbyPolicy::Deregister,
        }
    }

    /// A short name for people: the target group's name. No two bindings share a target group.
    pub fn name(&self) -> &str {
        self.target_group.name()
    }

    /// The endpoint's first label: the cluster or instance, in an endpoint of RDS's own.
    pub fn first_label(&self) -> &str {
        self.endpoint.split('.').next().unwrap_or_default()
    }

    /// True if an event about this cluster or instance concerns this binding.
    pub fn is_about(&self, identifier: &str) -> bool {
        let databases = self.databases.iter().map(String::as_str);
        iter::once(self.first_label()).chain(databases).any(|name| identifier.eq_ignore_ascii_case(name))
    }
}

/// A target group's ARN: `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetGroupArn(String);

impl TargetGroupArn {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn region(&self) -> &str {
        arn::region(&self.0).unwrap_or_default()
    }

    pub fn account(&self) -> &str {
        arn::account(&self.0).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        arn::name(&self.0)
    }
}

impl FromStr for TargetGroupArn {
    type Err = String;

    /// The error says what an ARN looks like.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let resource: Vec<&str> = parts.last().copied().unwrap_or_default().split('/').collect();
        let is_valid = match (parts.as_slice(), resource.as_slice()) {
            (["arn", partition, "elasticloadbalancing", region, account, _], ["targetgroup", name, id]) => {
                ![*partition, *region, *account, *name, *id].contains(&"")
            }
            _ => false,
        };
        if is_valid && !text.contains(char::is_whitespace) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not a target group's ARN. Fix: give \
                 arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
            ))
        }
    }
}

impl fmt::Display for TargetGroupArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_group_arn_is_split_into_its_parts() {
        let text = "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:targetgroup/orders/0123456789abcdef";
        let arn: TargetGroupArn = text.parse().unwrap();
        assert_eq!(arn.as_str(), text);
        assert_eq!(arn.to_string(), text);
        assert_eq!([arn.region(), arn.account(), arn.name()], ["us-gov-west-1", "123456789012", "orders"]);
    }
}
