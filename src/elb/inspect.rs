//! The calls that only the doctor makes, at the priority of routine calls.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{
    self as aws_types, Action, TargetGroupTuple, TargetHealthDescription,
};

use super::Elb;
use crate::aws;
use crate::doctor::{
    Attributes, CROSS_ZONE, Group, Health, HealthCheck, InspectGroups, Listener, LoadBalancer,
};
use crate::error::Error;
use crate::rate_limit::{Call, Permit, Priority};
use crate::reconcile::TargetGroupApi;

/// Pages of a list at most. By default a load balancer has 50 listeners, and an account 50 network load balancers in a
/// Region (NLB quotas): one page each.
const MAX_PAGES: usize = 10;

impl Elb {
    async fn routine_permit(&self) -> Permit {
        self.permit(Priority::Routine, Call::Describe).await
    }

    async fn routine_client(&self) -> &Client {
        self.client.with(self.routine_permit().await)
    }
}

impl InspectGroups for Elb {
    async fn group(&self, group: &str) -> Result<Group, Error> {
        let found = self.describe_group(self.routine_permit().await, group).await?;
        Ok(Group {
            target_type: text(found.target_type()),
            protocol: text(found.protocol()),
            port: found.port().and_then(port),
            address_type: found.ip_address_type().map_or("ipv4", |kind| kind.as_str()).to_owned(),
            vpc: found.vpc_id().map(str::to_owned),
            load_balancers: found.load_balancer_arns().to_vec(),
            health_check: HealthCheck {
                enabled: found.health_check_enabled().unwrap_or(true),
                protocol: text(found.health_check_protocol()),
                port: text(found.health_check_port()),
                interval: number(found.health_check_interval_seconds()),
                unhealthy_threshold: number(found.unhealthy_threshold_count()),
            },
        })
    }

    async fn attributes(&self, group: &str) -> Result<Attributes, Error> {
        let request = self.routine_client().await.describe_target_group_attributes().target_group_arn(group);
        let doing = format!("read the attributes of {group}");
        let action = "elasticloadbalancing:DescribeTargetGroupAttributes";
        let read = aws::call(doing.clone(), action, request.send()).await;
        let read = read.map_err(|error| self.explain_region(group, doing, error))?;
        let attributes = read.attributes.unwrap_or_default().into_iter();
        Ok(attributes.filter_map(|attribute| Some((attribute.key?, attribute.value?))).collect())
    }

    async fn health(&self, group: &str) -> Result<BTreeMap<String, Health>, Error> {
        let health = self.target_health(self.routine_permit().await, group).await?;
        Ok(health.iter().map(health_of).collect())
    }

    async fn load_balancers(&self, load_balancers: &[String]) -> Result<Vec<LoadBalancer>, Error> {
        let arns = Some(load_balancers.to_vec()).filter(|arns| !arns.is_empty());
        let doing = match &arns {
            Some(arns) => format!("describe {}", arns.join(", ")),
            None => "list the load balancers of this account and Region".to_owned(),
        };
        let (mut found, mut marker) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = self.routine_client().await.describe_load_balancers();
            let call = request.set_load_balancer_arns(arns.clone()).set_marker(marker).send();
            let page = aws::call(doing.clone(), "elasticloadbalancing:DescribeLoadBalancers", call).await?;
            found.extend(page.load_balancers().iter().map(load_balancer));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        Ok(found)
    }

    async fn cross_zone(&self, load_balancer: &str) -> Result<bool, Error> {
        let request =
            self.routine_client().await.describe_load_balancer_attributes().load_balancer_arn(load_balancer);
        let doing = format!("read the attributes of {load_balancer}");
        let action = "elasticloadbalancing:DescribeLoadBalancerAttributes";
        let read = aws::call(doing, action, request.send()).await?;
        let set = read.attributes().iter().find(|attribute| attribute.key() == Some(CROSS_ZONE));
        Ok(set.and_then(|attribute| attribute.value()) == Some("true"))
    }

    async fn listeners(&self, load_balancer: &str) -> Result<Vec<Listener>, Error> {
        let (mut listeners, mut marker) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = self.routine_client().await.describe_listeners().load_balancer_arn(load_balancer);
            let doing = format!("list the listeners of {load_balancer}");
            let call = request.set_marker(marker).send();
            let page = aws::call(doing, "elasticloadbalancing:DescribeListeners", call).await?;
            listeners.extend(page.listeners().iter().filter_map(listener));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        Ok(listeners)
    }

    async fn listener_attributes(&self, listener: &str) -> Result<Attributes, Error> {
        let request = self.routine_client().await.describe_listener_attributes().listener_arn(listener);
        let doing = format!("read the attributes of {listener}");
        let action = "elasticloadbalancing:DescribeListenerAttributes";
        let read = aws::call(doing, action, request.send()).await?;
        let attributes = read.attributes.unwrap_or_default().into_iter();
        Ok(attributes.filter_map(|attribute| Some((attribute.key?, attribute.value?))).collect())
    }
}

fn listener(found: &aws_types::Listener) -> Option<Listener> {
    let forwards: BTreeMap<String, u32> = found.default_actions().iter().flat_map(forwards).collect();
    Some(Listener {
        arn: text(found.listener_arn()),
        port: found.port().and_then(port)?,
        protocol: text(found.protocol()),
        forwards: forwards.into_iter().collect(),
    })
}

fn load_balancer(found: &aws_types::LoadBalancer) -> LoadBalancer {
    let zone = |zone: &aws_types::AvailabilityZone| {
        Some((zone.zone_name()?.to_owned(), zone.subnet_id().unwrap_or_default().to_owned()))
    };
    let enforces = found.enforce_security_group_inbound_rules_on_private_link_traffic();
    LoadBalancer {
        arn: text(found.load_balancer_arn()),
        name: text(found.load_balancer_name()),
        dns_name: found.dns_name().map(str::to_owned),
        kind: text(found.r#type()),
        scheme: text(found.scheme()),
        state: text(found.state().and_then(|state| state.code())),
        vpc: found.vpc_id().map(str::to_owned),
        zones: found.availability_zones().iter().filter_map(zone).collect(),
        address_type: text(found.ip_address_type()),
        security_groups: found.security_groups().to_vec(),
        // The API's default is on.
        enforces_on_private_link: enforces != Some("off"),
    }
}

/// The groups of an action with their weights. The API returns a single group both in the action and, with its
/// weight, in the configuration, and may leave out a weight of 1.
fn forwards(action: &Action) -> Vec<(String, u32)> {
    let weighted = action.forward_config().map(|forward| forward.target_groups()).unwrap_or_default();
    let weight = |group: &TargetGroupTuple| group.weight().and_then(|weight| weight.try_into().ok());
    let pair =
        |group| Some((TargetGroupTuple::target_group_arn(group)?.to_owned(), weight(group).unwrap_or(1)));
    let weighted: Vec<_> = weighted.iter().filter_map(pair).collect();
    let single = action.target_group_arn().filter(|_| weighted.is_empty()).map(|arn| (arn.to_owned(), 1));
    weighted.into_iter().chain(single).collect()
}

fn health_of(description: &TargetHealthDescription) -> (String, Health) {
    let target = description.target();
    let id = target.and_then(|target| target.id()).unwrap_or_default();
    let at = target.and_then(|target| target.port()).and_then(port);
    // Addresses are written in one form, so that they can be compared. Any other target keeps its text.
    let name = match (id.parse::<IpAddr>(), at) {
        (Ok(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Err(_), Some(port)) => format!("{id}:{port}"),
        (_, None) => id.to_owned(),
    };
    let health = description.target_health();
    let state = text(health.and_then(|health| health.state()));
    let reason = health.and_then(|health| health.reason()).map(|reason| reason.as_str().to_owned());
    let zone = target.and_then(|target| target.availability_zone()).map(str::to_owned);
    (name, Health { state, reason, zone })
}

fn text(value: Option<impl AsRef<str>>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.as_ref().to_owned())
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn number(value: Option<i32>) -> Option<u32> {
    value.and_then(|number| u32::try_from(number).ok())
}
