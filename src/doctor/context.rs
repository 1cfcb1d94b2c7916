//! The input of every check, and what several checks derive from it.

use std::collections::BTreeSet;

use super::facts::{Database, DatabaseKind, Facts, InstanceFacts, LoadBalancer, Unread};
use super::shell::line;
use crate::binding::{Binding, Role};
use crate::endpoint::{RdsKind, member};

#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    pub binding: &'a Binding,
    pub facts: &'a Facts,
    /// The ARN of a vendor's principal, which should be allowed to connect.
    pub principal: Option<&'a str>,
}

impl<'a> CheckContext<'a> {
    pub fn new(binding: &'a Binding, facts: &'a Facts) -> Self {
        Self { binding, facts, principal: None }
    }

    pub(super) fn port(self) -> Option<u16> {
        self.facts.port(self.binding)
    }

    /// The cluster member that DNS names as the writer.
    pub(super) fn member(self) -> Option<&'a str> {
        if self.binding.role != Role::Writer {
            return None;
        }
        self.facts.resolution.as_ref().ok().and_then(|resolution| member(&resolution.chain))
    }

    /// What the findings call a target that belongs in the group.
    pub(super) fn target_noun(self) -> &'static str {
        match self.binding.role {
            Role::Writer => "writer",
            Role::Readers => "reader",
            Role::All => "address",
        }
    }

    /// The endpoint and the names of its CNAME chain.
    pub(super) fn names(self) -> Vec<&'a str> {
        let chain = self.facts.resolution.iter().flat_map(|resolution| &resolution.chain);
        [&self.binding.endpoint].into_iter().chain(chain).map(String::as_str).collect()
    }

    pub(super) fn name_of_kind(self, kind: RdsKind) -> Option<&'a str> {
        self.names().into_iter().find(|name| RdsKind::parse(name) == Some(kind))
    }

    pub(super) fn is_named(self, kind: RdsKind) -> bool {
        self.name_of_kind(kind).is_some()
    }

    pub(super) fn vpc(self) -> Option<&'a str> {
        self.facts.group.as_ref().ok()?.vpc.as_deref()
    }

    pub(super) fn is_v6(self) -> bool {
        self.facts.group.as_ref().is_ok_and(|group| group.address_type == "ipv6")
    }

    pub(super) fn group_arn(self) -> &'a str {
        self.binding.target_group.as_str()
    }

    /// The group's Region, where the commands run.
    pub(super) fn region(self) -> &'a str {
        self.binding.target_group.region()
    }

    pub(super) fn database(self) -> Option<&'a Database> {
        self.facts.database()
    }

    pub(super) fn unread_database(self) -> Option<&'a Unread> {
        (self.facts.database.as_ref().err()).or(self.facts.hosts.as_ref().err())
    }

    pub(super) fn hosts(self) -> &'a [InstanceFacts] {
        self.facts.hosts.as_deref().unwrap_or_default()
    }

    /// The security groups of the writer, or of the whole database.
    pub(super) fn security_groups(self) -> &'a [String] {
        let of_host = self.writer_host().map(|host| host.security_groups.as_slice());
        let of_database = self.database().map(|database| database.security_groups.as_slice());
        of_host.filter(|groups| !groups.is_empty()).or(of_database).unwrap_or_default()
    }

    /// The host of the writer: of a cluster the member that DNS names, otherwise the member that the RDS API names as
    /// the writer; of an instance its only host.
    pub(super) fn writer_host(self) -> Option<&'a InstanceFacts> {
        let database = self.database()?;
        if database.kind == DatabaseKind::Instance {
            return self.hosts().first();
        }
        let writer = || database.described.members.iter().find(|(_, is_writer)| **is_writer);
        let name = self.member().or_else(|| Some(writer()?.0.as_str()))?;
        self.hosts().iter().find(|host| host.identifier == name)
    }

    /// The targets that belong in the group, as `address:port`, if the addresses and the port are known.
    pub(super) fn wanted(self) -> Option<BTreeSet<String>> {
        let (resolution, port) = (self.facts.resolution.as_ref().ok()?, self.port()?);
        Some(resolution.addresses.targets(port).map(|target| target.to_string()).collect())
    }

    /// An AWS CLI command in the group's Region, in backquotes. The template begins with the service; [`line`] fills it.
    pub(super) fn aws(self, template: &str, values: &[&str]) -> String {
        format!("`{}`", self.aws_line(template, values))
    }

    /// The same without backquotes.
    pub(super) fn aws_line(self, template: &str, values: &[&str]) -> String {
        line(&format!("aws {template}"), &[values, &["--region", self.region()]].concat())
    }

    pub(super) fn set_attributes(self, attributes: &[(&str, &str)]) -> String {
        let list: Vec<String> =
            attributes.iter().map(|(key, value)| format!("Key={key},Value={value}")).collect();
        let mut values = vec![self.group_arn()];
        values.extend(list.iter().map(String::as_str));
        self.aws("elbv2 modify-target-group-attributes --target-group-arn {} --attributes", &values)
    }

    /// The command with which the load balancer's security groups no longer apply to PrivateLink traffic. It must name
    /// them all.
    pub(super) fn set_not_enforced(self, load_balancer: &LoadBalancer) -> String {
        let mut values = vec![load_balancer.arn.as_str()];
        values.extend(load_balancer.security_groups.iter().map(String::as_str));
        values.extend(["--enforce-security-group-inbound-rules-on-private-link-traffic", "off"]);
        self.aws("elbv2 set-security-groups --load-balancer-arn {} --security-groups", &values)
    }

    pub(super) fn create_group(self) -> String {
        let name: String = self.binding.name().chars().take(28).collect();
        let name = format!("{}-tcp", name.trim_end_matches('-'));
        let port = self.port().unwrap_or(5432).to_string();
        let mut values = vec![name.as_str(), &port];
        values.extend(self.is_v6().then_some(["--ip-address-type", "ipv6"]).into_iter().flatten());
        values.extend(self.vpc().into_iter().flat_map(|vpc| ["--vpc-id", vpc]));
        self.aws("elbv2 create-target-group --name {} --protocol TCP --port {} --target-type ip", &values)
    }
}
