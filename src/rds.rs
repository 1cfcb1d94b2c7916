//! Reads clusters and instances with `aws-sdk-rds`. Only this module and its child make calls with that library.

mod inspect;

use aws_sdk_rds::Client;
use aws_sdk_rds::operation::describe_db_clusters::DescribeDBClustersError;
use aws_sdk_rds::operation::describe_db_instances::DescribeDBInstancesError;
use aws_sdk_rds::types::{DbCluster, DbInstance};

use crate::aws::{self, Bounded};
use crate::endpoint::RdsName;
use crate::error::Error;
use crate::reconcile::{Cluster, Instance, RdsApi};

/// The status of a cluster during a failover (Aurora user guide, "Failing over an Amazon Aurora DB cluster").
/// Afterwards it is `available` again.
const FAILING_OVER: &str = "failing-over";

pub struct Rds {
    client: Client,
}

impl Rds {
    pub fn new(client: Client) -> Self {
        Self { client: Client::from_conf(client.config().to_builder().interceptor(Bounded).build()) }
    }

    async fn describe_cluster(&self, identifier: &str) -> Result<Option<DbCluster>, Error> {
        let call = self.client.describe_db_clusters().db_cluster_identifier(identifier).send();
        let doing = format!("describe the cluster {identifier}");
        let is_unknown = DescribeDBClustersError::is_db_cluster_not_found_fault;
        let described = aws::find(doing, "rds:DescribeDBClusters", is_unknown, call).await?;
        Ok(described.and_then(|described| described.db_clusters?.into_iter().next()))
    }

    async fn describe_instance(&self, identifier: &str) -> Result<Option<DbInstance>, Error> {
        let call = self.client.describe_db_instances().db_instance_identifier(identifier).send();
        let doing = format!("describe the instance {identifier}");
        let is_unknown = DescribeDBInstancesError::is_db_instance_not_found_fault;
        let described = aws::find(doing, "rds:DescribeDBInstances", is_unknown, call).await?;
        Ok(described.and_then(|described| described.db_instances?.into_iter().next()))
    }
}

impl RdsApi for Rds {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Error> {
        let described = self.describe_cluster(identifier).await?;
        Ok(described.as_ref().map(parse_cluster))
    }

    async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Error> {
        let described = self.describe_instance(identifier).await?;
        Ok(described.map(|instance| Instance {
            endpoint: instance.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned),
            status: instance.db_instance_status().unwrap_or_default().to_owned(),
            is_multi_az: instance.multi_az().unwrap_or(false),
            cluster: instance.db_cluster_identifier().map(str::to_owned),
        }))
    }
}

fn parse_cluster(cluster: &DbCluster) -> Cluster {
    let members = cluster.db_cluster_members().iter().filter_map(|member| {
        let identifier = member.db_instance_identifier()?.to_ascii_lowercase();
        Some((identifier, member.is_cluster_writer().unwrap_or(false)))
    });
    let is_failing_over = cluster.status().is_some_and(|status| status.eq_ignore_ascii_case(FAILING_OVER));
    let endpoints = [cluster.endpoint(), cluster.reader_endpoint()];
    let zone = endpoints.into_iter().flatten().find_map(RdsName::parse).map(|name| name.zone);
    Cluster { members: members.collect(), is_failing_over, zone }
}
