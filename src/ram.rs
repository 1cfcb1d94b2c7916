//! Resource shares, by `aws-sdk-ram`. Only this module knows it.

use std::collections::BTreeMap;

use aws_sdk_ram::Client;
use aws_sdk_ram::operation::get_resource_share_associations::builders::GetResourceShareAssociationsFluentBuilder;
use aws_sdk_ram::types::{ResourceShareAssociation, ResourceShareAssociationType};

use crate::aws::{Bounded, all, text};
use crate::doctor::network::{InspectShares, Principal, Share};
use crate::error::Error;

pub struct Ram {
    client: Client,
}

impl Ram {
    pub fn new(client: &Client) -> Self {
        Self { client: Client::from_conf(client.config().to_builder().interceptor(Bounded).build()) }
    }
}

async fn associations(
    call: GetResourceShareAssociationsFluentBuilder,
) -> Result<Vec<ResourceShareAssociation>, Error> {
    let pages =
        all!(of call.into_paginator(), "list the resource shares", "ram:GetResourceShareAssociations");
    Ok(pages.into_iter().flat_map(|page| page.resource_share_associations.unwrap_or_default()).collect())
}

impl InspectShares for Ram {
    async fn shares(&self, resource: &str) -> Result<Vec<Share>, Error> {
        let call = || self.client.get_resource_share_associations();
        let of_resource = call().association_type(ResourceShareAssociationType::Resource);
        let shares = associations(of_resource.resource_arn(resource)).await?;
        let mut shares: BTreeMap<String, Share> =
            shares.into_iter().map(share).map(|share| (share.arn.clone(), share)).collect();
        // Without a share's ARN the call would list the principals of all shares.
        if shares.is_empty() {
            return Ok(Vec::new());
        }
        let of_principals = call().association_type(ResourceShareAssociationType::Principal);
        let arns = shares.keys().cloned().collect();
        for found in associations(of_principals.set_resource_share_arns(Some(arns))).await? {
            if let Some(share) = found.resource_share_arn().and_then(|arn| shares.get_mut(arn)) {
                let principal =
                    Principal { status: text(found.status()), id: text(found.associated_entity()) };
                share.principals.push(principal);
            }
        }
        Ok(shares.into_values().collect())
    }
}

fn share(found: ResourceShareAssociation) -> Share {
    Share {
        status: text(found.status()),
        arn: found.resource_share_arn.unwrap_or_default(),
        name: found.resource_share_name.unwrap_or_default(),
        principals: Vec::new(),
    }
}
