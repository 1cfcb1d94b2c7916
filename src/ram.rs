//! Resource shares, by `aws-sdk-ram`. Only this module knows it.

use std::collections::BTreeMap;

use aws_sdk_ram::Client;
use aws_sdk_ram::types::{ResourceShareAssociation, ResourceShareAssociationType};

use crate::aws::{Bounded, all};
use crate::doctor::network::{InspectShares, Principal, Share};
use crate::error::Error;

pub struct Ram {
    client: Client,
}

impl Ram {
    pub fn new(client: &Client) -> Self {
        Self { client: Client::from_conf(client.config().to_builder().interceptor(Bounded).build()) }
    }

    /// Of a resource of this ARN, or of the principals of these shares. One call takes one of the two.
    async fn associations(
        &self,
        resource: Option<&str>,
        shares: Option<Vec<String>>,
    ) -> Result<Vec<ResourceShareAssociation>, Error> {
        let kind = match resource {
            Some(_) => ResourceShareAssociationType::Resource,
            None => ResourceShareAssociationType::Principal,
        };
        let call = self.client.get_resource_share_associations().association_type(kind);
        let call = call.set_resource_arn(resource.map(str::to_owned)).set_resource_share_arns(shares);
        let pages =
            all!(of call.into_paginator(), "list the resource shares", "ram:GetResourceShareAssociations");
        Ok(pages.into_iter().flat_map(|page| page.resource_share_associations.unwrap_or_default()).collect())
    }
}

impl InspectShares for Ram {
    async fn shares(&self, resource: &str) -> Result<Vec<Share>, Error> {
        let shares = self.associations(Some(resource), None).await?;
        let mut shares: BTreeMap<String, Share> =
            shares.into_iter().map(share).map(|share| (share.arn.clone(), share)).collect();
        // Without a share's ARN the call would list the principals of all shares.
        if shares.is_empty() {
            return Ok(Vec::new());
        }
        let arns = shares.keys().cloned().collect();
        for found in self.associations(None, Some(arns)).await? {
            let share = found.resource_share_arn().and_then(|arn| shares.get_mut(arn));
            let status = status(&found);
            if let Some(share) = share {
                let id = found.associated_entity.unwrap_or_default();
                share.principals.push(Principal { id, status });
            }
        }
        Ok(shares.into_values().collect())
    }
}

fn share(found: ResourceShareAssociation) -> Share {
    Share {
        status: status(&found),
        arn: found.resource_share_arn.unwrap_or_default(),
        name: found.resource_share_name.unwrap_or_default(),
        principals: Vec::new(),
    }
}

fn status(found: &ResourceShareAssociation) -> String {
    found.status().map(|status| status.as_str().to_owned()).unwrap_or_default()
}
