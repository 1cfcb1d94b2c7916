//! The clusters, by `aws-sdk-rds`. The only module that knows it.

mod inspect;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbCluster;

use crate::aws::{self, Bounded};
use crate::fault::Fault;
use crate::reconcile::{Cluster, Clusters};

/// The account's clusters.
pub struct Rds {
    client: Client,
}

impl Rds {
    /// Calls the API through this client.
    pub fn new(client: Client) -> Self {
        let client = Client::from_conf(client.config().to_builder().interceptor(Bounded).build());
        Self { client }
    }
}

impl Clusters for Rds {
    async fn cluster(&self, identifier: &str) -> Result<Option<Cluster>, Fault> {
        let described = self.client.describe_db_clusters().db_cluster_identifier(identifier).send().await;
        let described = match described {
            Ok(described) => described,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_db_cluster_not_found_fault()) => {
                return Ok(None);
            }
            Err(error) => {
                let doing = format!("describe the cluster {identifier}");
                return Err(aws::fault(doing, "rds:DescribeDBClusters", error));
            }
        };
        let members = described.db_clusters().iter().flat_map(|cluster| members(cluster).members);
        Ok(Some(Cluster { members: members.collect() }))
    }
}

fn members(cluster: &DbCluster) -> Cluster {
    let members = cluster.db_cluster_members().iter().filter_map(|member| {
        let identifier = member.db_instance_identifier()?.to_ascii_lowercase();
        Some((identifier, member.is_cluster_writer().unwrap_or(false)))
    });
    Cluster { members: members.collect() }
}
