//! The doctor's calls of the RDS API.

use aws_sdk_rds::types::{
    DbClusterMember, DbInstance, DbParameterGroupStatus, Endpoint, Parameter, VpcSecurityGroupMembership,
};

use super::Rds;
use crate::aws::all;
use crate::doctor::{Attributes, Database, DatabaseKind, InspectDatabases, InstanceFacts};
use crate::endpoint::{DnsZone, RdsName};
use crate::error::Error;
use crate::reconcile::Cluster;

/// The source of the parameters that differ from the engine's defaults.
const USER: &str = "user";
/// The status of a parameter group, or of changes of it, that the server does not use yet (RDS user guide, "Parameter groups").
const PENDING_REBOOT: &str = "pending-reboot";
const UNKNOWN_STATUS: &str = "of an unknown status";

impl InspectDatabases for Rds {
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Error> {
        match self.inspect_cluster(identifier).await {
            Ok(Some(cluster)) => Ok(Some(cluster)),
            Ok(None) => self.inspect_instance(identifier).await,
            // A role that allows only this instance denies the call for a cluster of its name.
            Err(error) => match self.inspect_instance(identifier).await {
                Ok(Some(instance)) => Ok(Some(instance)),
                _ => Err(error),
            },
        }
    }

    async fn host(&self, identifier: &str) -> Result<Option<InstanceFacts>, Error> {
        Ok(self.describe_instance(identifier).await?.as_ref().map(host))
    }

    async fn parameters(&self, kind: DatabaseKind, group: &str) -> Result<Attributes, Error> {
        let doing = || format!("read the parameter group {group}");
        let parameters = match kind {
            DatabaseKind::Cluster => {
                let call = self.client.describe_db_cluster_parameters();
                let call = call.db_cluster_parameter_group_name(group).source(USER);
                all!(call, doing(), "rds:DescribeDBClusterParameters")
            }
            DatabaseKind::Instance => {
                let call = self.client.describe_db_parameters().db_parameter_group_name(group).source(USER);
                all!(call, doing(), "rds:DescribeDBParameters")
            }
        };
        let pair = |parameter: Parameter| Some((parameter.parameter_name?, parameter.parameter_value?));
        Ok(parameters.into_iter().filter_map(pair).collect())
    }
}

impl Rds {
    async fn inspect_cluster(&self, identifier: &str) -> Result<Option<Database>, Error> {
        let Some(found) = self.describe_cluster(identifier).await? else { return Ok(None) };
        let is_pending =
            |member: &DbClusterMember| member.db_cluster_parameter_group_status() == Some(PENDING_REBOOT);
        Ok(Some(Database {
            kind: DatabaseKind::Cluster,
            identifier: found.db_cluster_identifier().unwrap_or(identifier).to_owned(),
            status: found.status().unwrap_or(UNKNOWN_STATUS).to_owned(),
            port: found.port().and_then(|port| u16::try_from(port).ok()),
            is_multi_az: found.multi_az().unwrap_or(false),
            described: super::parse_cluster(&found),
            member_of: None,
            security_groups: security_groups(found.vpc_security_groups()),
            needs_reboot: found.db_cluster_members().iter().any(is_pending),
            allows_iam_login: found.iam_database_authentication_enabled(),
            host: None,
            engine: found.engine.unwrap_or_default(),
            engine_version: found.engine_version,
            parameter_group: found.db_cluster_parameter_group,
        }))
    }

    async fn inspect_instance(&self, identifier: &str) -> Result<Option<Database>, Error> {
        let Some(found) = self.describe_instance(identifier).await? else { return Ok(None) };
        let port = found.endpoint().and_then(Endpoint::port);
        Ok(Some(Database {
            kind: DatabaseKind::Instance,
            identifier: found.db_instance_identifier().unwrap_or(identifier).to_owned(),
            status: found.db_instance_status().unwrap_or(UNKNOWN_STATUS).to_owned(),
            port: port.and_then(|port| u16::try_from(port).ok()),
            is_multi_az: found.multi_az().unwrap_or(false),
            described: Cluster { zone: zone(found.endpoint()), ..Cluster::default() },
            security_groups: security_groups(found.vpc_security_groups()),
            parameter_group: None,
            needs_reboot: false,
            allows_iam_login: found.iam_database_authentication_enabled(),
            host: Some(host(&found)),
            engine: found.engine.unwrap_or_default(),
            engine_version: found.engine_version,
            member_of: found.db_cluster_identifier.filter(|name| !name.is_empty()),
        }))
    }
}

fn zone(endpoint: Option<&Endpoint>) -> Option<DnsZone> {
    RdsName::parse(endpoint?.address()?).map(|name| name.zone)
}

fn host(instance: &DbInstance) -> InstanceFacts {
    let of_group = instance.db_subnet_group();
    let subnets = of_group.map(|group| group.subnets()).unwrap_or_default().iter();
    let subnets = subnets.filter_map(|subnet| {
        let zone = subnet.subnet_availability_zone().and_then(|zone| zone.name())?;
        Some((subnet.subnet_identifier()?.to_owned(), zone.to_owned()))
    });
    let parameters = instance.db_parameter_groups();
    let needs_reboot = |of: &DbParameterGroupStatus| of.parameter_apply_status() == Some(PENDING_REBOOT);
    InstanceFacts {
        identifier: instance.db_instance_identifier().unwrap_or_default().to_ascii_lowercase(),
        zone: instance.availability_zone().map(str::to_owned),
        standby_zone: instance.secondary_availability_zone().map(str::to_owned),
        vpc: of_group.and_then(|group| group.vpc_id()).map(str::to_owned),
        subnets: subnets.collect(),
        security_groups: security_groups(instance.vpc_security_groups()),
        parameter_group: parameters.iter().find_map(|of| of.db_parameter_group_name()).map(str::to_owned),
        needs_reboot: parameters.iter().any(needs_reboot),
    }
}

fn security_groups(memberships: &[VpcSecurityGroupMembership]) -> Vec<String> {
    let ids = memberships.iter().filter_map(|membership| membership.vpc_security_group_id());
    ids.map(str::to_owned).collect()
}
