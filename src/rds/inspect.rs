//! What the doctor asks of databases.

use super::Rds;
use crate::aws;
use crate::doctor::{Database, DatabaseKind, InspectDatabases};
use crate::fault::Fault;
use crate::reconcile::Cluster;

impl InspectDatabases for Rds {
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Fault> {
        match self.inspect_cluster(identifier).await {
            Ok(Some(cluster)) => Ok(Some(cluster)),
            Ok(None) => self.inspect_instance(identifier).await,
            // A role that may describe this one instance alone is denied to ask for a cluster of its name.
            Err(fault) => match self.inspect_instance(identifier).await {
                Ok(Some(instance)) => Ok(Some(instance)),
                _ => Err(fault),
            },
        }
    }
}

impl Rds {
    async fn inspect_cluster(&self, identifier: &str) -> Result<Option<Database>, Fault> {
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
        Ok(described.db_clusters().first().map(|cluster| Database {
            kind: DatabaseKind::Cluster,
            identifier: cluster.db_cluster_identifier().unwrap_or(identifier).to_owned(),
            status: cluster.status().unwrap_or("of an unknown status").to_owned(),
            port: cluster.port().and_then(|port| u16::try_from(port).ok()),
            members: super::members(cluster),
            cluster: None,
        }))
    }

    async fn inspect_instance(&self, identifier: &str) -> Result<Option<Database>, Fault> {
        let described = self.client.describe_db_instances().db_instance_identifier(identifier).send().await;
        let described = match described {
            Ok(described) => described,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_db_instance_not_found_fault()) => {
                return Ok(None);
            }
            Err(error) => {
                let doing = format!("describe the instance {identifier}");
                return Err(aws::fault(doing, "rds:DescribeDBInstances", error));
            }
        };
        Ok(described.db_instances().first().map(|instance| Database {
            kind: DatabaseKind::Instance,
            identifier: instance.db_instance_identifier().unwrap_or(identifier).to_owned(),
            status: instance.db_instance_status().unwrap_or("of an unknown status").to_owned(),
            port: instance
                .endpoint()
                .and_then(|endpoint| endpoint.port())
                .and_then(|port| u16::try_from(port).ok()),
            members: Cluster::default(),
            cluster: instance.db_cluster_identifier().filter(|name| !name.is_empty()).map(str::to_owned),
        }))
    }
}
