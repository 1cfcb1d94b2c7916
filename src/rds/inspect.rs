//! The doctor's calls of the RDS API.

use aws_sdk_rds::types::{
    DbInstance, DbParameterGroupStatus, Endpoint, Parameter, VpcSecurityGroupMembership,
};

use super::Rds;
use crate::aws::all;
use crate::doctor::{Attributes, Database, DatabaseKind, Host, InspectDatabases};
use crate::endpoint::{DnsZone, RdsName};
use crate::error::Error;
use crate::reconcile::Cluster;

/// The source of the parameters that differ from the engine's defaults.
const USER: &str = "user";
/// The status of a parameter group, or of changes of it, that the server does not use yet (RDS user guide, "Parameter groups").
const PENDING_REBOOT: &str = "pending-reboot";

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

    async fn host(&self, identifier: &str) -> Result<Option<Host>, Error> {
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
        let described = self.describe_cluster(identifier).await?;
        Ok(described.map(|cluster| Database {
            kind: DatabaseKind::Cluster,
            identifier: cluster.db_cluster_identifier().unwrap_or(identifier).to_owned(),
            status: cluster.status().unwrap_or("of an unknown status").to_owned(),
            port: cluster.port().and_then(|port| u16::try_from(port).ok()),
            engine: cluster.engine().unwrap_or_default().to_owned(),
            is_multi_az: cluster.multi_az().unwrap_or(false),
            described: super::parse_cluster(&cluster),
            member_of: None,
            security_groups: security_groups(cluster.vpc_security_groups()),
            parameter_group: cluster.db_cluster_parameter_group().map(str::to_owned),
            needs_reboot: cluster.db_cluster_members().iter().any(|member| {
                member.db_cluster_parameter_group_status().is_some_and(|status| status == PENDING_REBOOT)
            }),
            engine_version: cluster.engine_version().map(str::to_owned),
            allows_iam_login: cluster.iam_database_authentication_enabled(),
            host: None,
        }))
    }

    async fn inspect_instance(&self, identifier: &str) -> Result<Option<Database>, Error> {
        let described = self.describe_instance(identifier).await?;
        let port = |endpoint: &Endpoint| endpoint.port().and_then(|port| u16::try_from(port).ok());
        Ok(described.map(|instance| Database {
            kind: DatabaseKind::Instance,
            identifier: instance.db_instance_identifier().unwrap_or(identifier).to_owned(),
            status: instance.db_instance_status().unwrap_or("of an unknown status").to_owned(),
            port: instance.endpoint().and_then(port),
            engine: instance.engine().unwrap_or_default().to_owned(),
            is_multi_az: instance.multi_az().unwrap_or(false),
            described: Cluster { zone: zone(instance.endpoint()), ..Cluster::default() },
            security_groups: security_groups(instance.vpc_security_groups()),
            parameter_group: None,
            needs_reboot: false,
            engine_version: instance.engine_version().map(str::to_owned),
            allows_iam_login: instance.iam_database_authentication_enabled(),
            host: Some(host(&instance)),
            member_of: instance.db_cluster_identifier().filter(|name| !name.is_empty()).map(str::to_owned),
        }))
    }
}

fn zone(endpoint: Option<&Endpoint>) -> Option<DnsZone> {
    RdsName::parse(endpoint?.address()?).map(|name| name.zone)
}

fn host(instance: &DbInstance) -> Host {
    let of_group = instance.db_subnet_group();
    let subnets = of_group.map(|group| group.subnets()).unwrap_or_default().iter();
    let subnets = subnets.filter_map(|subnet| {
        let zone = subnet.subnet_availability_zone().and_then(|zone| zone.name())?;
        Some((subnet.subnet_identifier()?.to_owned(), zone.to_owned()))
    });
    let parameters = instance.db_parameter_groups();
    let needs_reboot = |of: &DbParameterGroupStatus| of.parameter_apply_status() == Some(PENDING_REBOOT);
    Host {
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
