//! What the doctor asks of target groups and load balancers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use aws_sdk_elasticloadbalancingv2::types::{self as aws_types, Action, TargetHealthDescription};

use super::Elb;
use crate::aws;
use crate::doctor::{Attributes, Group, Health, HealthCheck, InspectGroups, Listener, LoadBalancer};
use crate::error::{Error, ErrorKind};
use crate::reconcile::{Call, Priority, TargetGroupApi};

/// What every network load balancer does unless told otherwise.
const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

impl InspectGroups for Elb {
    async fn group(&self, group: &str) -> Result<Group, Error> {
        let doing = || format!("describe the target group {group}");
        self.permit(Priority::Routine, Call::Describe).await;
        let described = self.client.describe_target_groups().target_group_arns(group).send().await;
        let described = described
            .map_err(|error| aws::call_error(doing(), "elasticloadbalancing:DescribeTargetGroups", error))?;
        let found = described.target_groups().iter().find(|found| found.target_group_arn() == Some(group));
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::Permanent, doing()).with_source("the API does not list it")
        })?;
        Ok(Group {
            target_type: text(found.target_type().map(|kind| kind.as_str())),
            protocol: text(found.protocol().map(|protocol| protocol.as_str())),
            port: found.port().and_then(port),
            address_type: text(found.ip_address_type().map(|kind| kind.as_str()).or(Some("ipv4"))),
            load_balancers: found.load_balancer_arns().to_vec(),
            health_check: HealthCheck {
                enabled: found.health_check_enabled().unwrap_or(true),
                protocol: text(found.health_check_protocol().map(|protocol| protocol.as_str())),
                port: text(found.health_check_port()),
                interval: number(found.health_check_interval_seconds()),
                unhealthy_threshold: number(found.unhealthy_threshold_count()),
            },
        })
    }

    async fn attributes(&self, group: &str) -> Result<Attributes, Error> {
        self.permit(Priority::Routine, Call::Describe).await;
        let read = self.client.describe_target_group_attributes().target_group_arn(group).send().await;
        let read = read.map_err(|error| {
            let action = "elasticloadbalancing:DescribeTargetGroupAttributes";
            aws::call_error(format!("read the attributes of {group}"), action, error)
        })?;
        let pair = |attribute: &aws_types::TargetGroupAttribute| {
            Some((attribute.key()?.to_owned(), attribute.value()?.to_owned()))
        };
        Ok(read.attributes().iter().filter_map(pair).collect())
    }

    async fn health(&self, group: &str) -> Result<BTreeMap<String, Health>, Error> {
        self.permit(Priority::Routine, Call::Describe).await;
        let health = self.client.describe_target_health().target_group_arn(group).send().await;
        let health = health.map_err(|error| {
            let action = "elasticloadbalancing:DescribeTargetHealth";
            aws::call_error(format!("list the targets of {group}"), action, error)
        })?;
        Ok(health.target_health_descriptions().iter().map(health_of).collect())
    }

    async fn load_balancers(&self, load_balancers: &[String]) -> Result<Vec<LoadBalancer>, Error> {
        let arns = Some(load_balancers.to_vec());
        self.permit(Priority::Routine, Call::Describe).await;
        let described = self.client.describe_load_balancers().set_load_balancer_arns(arns).send().await;
        let described = described.map_err(|error| {
            let action = "elasticloadbalancing:DescribeLoadBalancers";
            aws::call_error(format!("describe {}", load_balancers.join(", ")), action, error)
        })?;
        Ok(described.load_balancers().iter().map(load_balancer).collect())
    }

    async fn cross_zone(&self, load_balancer: &str) -> Result<bool, Error> {
        self.permit(Priority::Routine, Call::Describe).await;
        let read =
            self.client.describe_load_balancer_attributes().load_balancer_arn(load_balancer).send().await;
        let read = read.map_err(|error| {
            let action = "elasticloadbalancing:DescribeLoadBalancerAttributes";
            aws::call_error(format!("read the attributes of {load_balancer}"), action, error)
        })?;
        let set = read.attributes().iter().find(|attribute| attribute.key() == Some(CROSS_ZONE));
        Ok(set.and_then(|attribute| attribute.value()) == Some("true"))
    }

    async fn listeners(&self, load_balancer: &str) -> Result<Vec<Listener>, Error> {
        self.permit(Priority::Routine, Call::Describe).await;
        let pages =
            self.client.describe_listeners().load_balancer_arn(load_balancer).into_paginator().items().send();
        let listeners: Result<Vec<_>, _> = pages.collect().await;
        let listeners = listeners.map_err(|error| {
            let action = "elasticloadbalancing:DescribeListeners";
            aws::call_error(format!("list the listeners of {load_balancer}"), action, error)
        })?;
        let listener = |found: &aws_types::Listener| {
            let mut groups: Vec<String> = found.default_actions().iter().flat_map(groups).collect();
            // A single group stands both in the action and in its configuration.
            groups.sort();
            groups.dedup();
            let protocol = text(found.protocol().map(|protocol| protocol.as_str()));
            Some(Listener { port: found.port().and_then(port)?, protocol, groups })
        };
        Ok(listeners.iter().filter_map(listener).collect())
    }
}

fn load_balancer(found: &aws_types::LoadBalancer) -> LoadBalancer {
    let zone = |zone: &aws_types::AvailabilityZone| zone.zone_name().map(str::to_owned);
    let enforces = found.enforce_security_group_inbound_rules_on_private_link_traffic();
    LoadBalancer {
        arn: text(found.load_balancer_arn()),
        name: text(found.load_balancer_name()),
        kind: text(found.r#type().map(|kind| kind.as_str())),
        scheme: text(found.scheme().map(|scheme| scheme.as_str())),
        state: text(found.state().and_then(|state| state.code()).map(|code| code.as_str())),
        zones: found.availability_zones().iter().filter_map(zone).collect(),
        address_type: text(found.ip_address_type().map(|kind| kind.as_str())),
        security_groups: found.security_groups().to_vec(),
        // The API's default is on.
        enforces_on_private_link: enforces != Some("off"),
    }
}

fn groups(action: &Action) -> Vec<String> {
    let weighted = action.forward_config().map(|forward| forward.target_groups()).unwrap_or_default();
    let weighted = weighted.iter().filter_map(|group| group.target_group_arn());
    action.target_group_arn().into_iter().chain(weighted).map(str::to_owned).collect()
}

fn health_of(description: &TargetHealthDescription) -> (String, Health) {
    let target = description.target();
    let id = target.and_then(|target| target.id()).unwrap_or_default();
    let at = target.and_then(|target| target.port()).and_then(port);
    // Addresses in one spelling, so that they compare; anything else as it is.
    let name = match (id.parse::<IpAddr>(), at) {
        (Ok(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Err(_), Some(port)) => format!("{id}:{port}"),
        (_, None) => id.to_owned(),
    };
    let health = description.target_health();
    let state = text(health.and_then(|health| health.state()).map(|state| state.as_str()));
    let reason = health.and_then(|health| health.reason()).map(|reason| reason.as_str().to_owned());
    (name, Health { state, reason })
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("unknown").to_owned()
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn number(value: Option<i32>) -> u32 {
    value.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}
