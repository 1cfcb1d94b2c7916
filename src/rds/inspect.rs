//! What the doctor asks of databases.

use aws_sdk_rds::types::Endpoint;

use super::Rds;
use crate::doctor::{Database, DatabaseKind, InspectDatabases};
use crate::error::Error;
use crate::reconcile::Cluster;

impl InspectDatabases for Rds {
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Error> {
        match self.inspect_cluster(identifier).await {
            Ok(Some(cluster)) => Ok(Some(cluster)),
            Ok(None) => self.inspect_instance(identifier).await,
            // A role that may describe this one instance alone is denied to ask for a cluster of its name.
            Err(error) => match self.inspect_instance(identifier).await {
                Ok(Some(instance)) => Ok(Some(instance)),
                _ => Err(error),
            },
        }
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
            members: super::members(&cluster),
            cluster: None,
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
            members: Cluster::default(),
            cluster: instance.db_cluster_identifier().filter(|name| !name.is_empty()).map(str::to_owned),
        }))
    }
}
