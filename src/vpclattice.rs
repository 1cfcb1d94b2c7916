//! VPC Lattice, by `aws-sdk-vpclattice`. Only this module knows it.

use aws_sdk_vpclattice::Client;
use aws_sdk_vpclattice::operation::get_resource_configuration::{
    GetResourceConfigurationError, GetResourceConfigurationOutput,
};
use aws_sdk_vpclattice::types::{
    ResourceConfigurationDefinition, ResourceConfigurationSummary, ResourceConfigurationType,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::arn;
use crate::aws::{self, Bounded, all, text};
use crate::doctor::network::{InspectLattice, Ports, Resource, ResourceConfiguration, ResourceGateway};
use crate::error::Error;

/// How many configurations are read at once. AWS documents no limit of calls for VPC Lattice.
const CONCURRENT_CALLS: usize = 4;

pub struct Lattice {
    client: Client,
}

impl Lattice {
    pub fn new(client: &Client) -> Self {
        Self { client: Client::from_conf(client.config().to_builder().interceptor(Bounded).build()) }
    }

    /// The configuration of this id, or `None` if it was deleted since it was listed.
    async fn configuration(&self, id: &str) -> Result<Option<GetResourceConfigurationOutput>, Error> {
        let call = self.client.get_resource_configuration().resource_configuration_identifier(id);
        let doing = "describe the resource configuration".to_owned();
        let is_gone = GetResourceConfigurationError::is_resource_not_found_exception;
        aws::find(doing, "vpc-lattice:GetResourceConfiguration", is_gone, call.send()).await
    }

    /// The configuration with what it has from its group, if it is a child.
    async fn complete(
        &self,
        summary: &ResourceConfigurationSummary,
    ) -> Result<Option<ResourceConfiguration>, Error> {
        let id = summary.id().unwrap_or_default();
        let Some(found) = self.configuration(id).await? else { return Ok(None) };
        let group = match found.resource_configuration_group_id() {
            Some(group) => self.configuration(group).await?,
            None => None,
        };
        Ok(configuration(&found, group.as_ref()))
    }
}

impl InspectLattice for Lattice {
    async fn configurations(&self, account: &str) -> Result<Vec<ResourceConfiguration>, Error> {
        let mut listed = all!(
            self.client.list_resource_configurations(),
            "list the resource configurations",
            "vpc-lattice:ListResourceConfigurations"
        );
        listed.retain(|summary| may_be_a_path(summary, account));
        let complete = listed.iter().map(|summary| self.complete(summary));
        let found = stream::iter(complete).buffered(CONCURRENT_CALLS).try_collect::<Vec<_>>().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn gateway(&self, id: &str) -> Result<ResourceGateway, Error> {
        let call = self.client.get_resource_gateway().resource_gateway_identifier(id);
        let doing = "describe the resource gateway".to_owned();
        let found = aws::call(doing, "vpc-lattice:GetResourceGateway", call.send()).await?;
        Ok(ResourceGateway {
            id: id.to_owned(),
            status: text(found.status()),
            security_groups: found.security_group_ids().to_vec(),
            subnets: found.subnet_ids().to_vec(),
        })
    }
}

/// Whether it is this account's own, made by a person, and of one resource. The list has those that other accounts
/// share, and those that AWS manages.
fn may_be_a_path(summary: &ResourceConfigurationSummary, account: &str) -> bool {
    let is_own = summary.arn().and_then(arn::account) == Some(account);
    let is_managed = summary.amazon_managed().unwrap_or(false);
    let is_group = summary.r#type() == Some(&ResourceConfigurationType::Group);
    is_own && !is_managed && !is_group
}

/// `None` for a group, which has no resource of its own.
fn configuration(
    found: &GetResourceConfigurationOutput,
    group: Option<&GetResourceConfigurationOutput>,
) -> Option<ResourceConfiguration> {
    let resource = match found.resource_configuration_definition()? {
        ResourceConfigurationDefinition::DnsResource(dns) => Resource::Name(text(dns.domain_name())),
        ResourceConfigurationDefinition::IpResource(ip) => {
            ip.ip_address().and_then(|ip| ip.parse().ok()).map_or(Resource::Other, Resource::Address)
        }
        ResourceConfigurationDefinition::ArnResource(resource) => Resource::Arn(text(resource.arn())),
        ResourceConfigurationDefinition::CidrResource(cidr) => ranges(cidr.cidr_ranges()),
        _ => Resource::Other,
    };
    let of_both = [Some(found), group].into_iter().flatten();
    let ranges = of_both.map(GetResourceConfigurationOutput::port_ranges).find(|ranges| !ranges.is_empty());
    let shared = group.unwrap_or(found);
    let gateway = found.resource_gateway_id().or(group.and_then(|group| group.resource_gateway_id()));
    Some(ResourceConfiguration {
        id: text(found.id()),
        name: text(found.name()),
        shared_arn: text(shared.arn()),
        status: text(found.status()),
        failure: found.failure_reason().map(str::to_owned),
        gateway: gateway.map(str::to_owned),
        resource,
        ports: ranges.unwrap_or_default().iter().filter_map(|range| ports(range)).collect(),
        is_for_shared_networks: shared.allow_association_to_shareable_service_network().unwrap_or(false),
    })
}

/// If one of the ranges cannot be parsed, the addresses are unknown.
fn ranges(texts: &[String]) -> Resource {
    let ranges: Result<Vec<_>, _> = texts.iter().map(|range| range.parse()).collect();
    ranges.map_or(Resource::Other, Resource::Ranges)
}

/// `5432`, or `1-65535`.
fn ports(range: &str) -> Option<Ports> {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    Some(Ports { from: from.parse().ok()?, to: to.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use aws_sdk_vpclattice::types::{CidrResource, IpResource};

    use super::*;

    #[test]
    fn resource_that_cannot_be_judged_is_kept() {
        let ip = |ip: &str| {
            ResourceConfigurationDefinition::IpResource(IpResource::builder().ip_address(ip).build())
        };
        let cidr = |range: &str| {
            ResourceConfigurationDefinition::CidrResource(CidrResource::builder().cidr_ranges(range).build())
        };
        for (definition, expected) in [
            (ip("10.0.1.10"), Resource::Address("10.0.1.10".parse().unwrap())),
            (ip("10.0.0.0/16"), Resource::Other),
            (cidr("10.0.0.0/16"), Resource::Ranges(vec!["10.0.0.0/16".parse().unwrap()])),
            (cidr("all"), Resource::Other),
        ] {
            let found =
                GetResourceConfigurationOutput::builder().resource_configuration_definition(definition);
            let found = configuration(&found.build(), None).expect("it is kept");
            assert_eq!(found.resource, expected);
        }
        assert_eq!(configuration(&GetResourceConfigurationOutput::builder().build(), None), None);
    }
}
