//! The resources around a target group that the doctor examines: the load balancer, the attributes and the
//! database's state. Each begins without a problem.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rds_nlb_sync::doctor::{
    Attributes, Database, DatabaseKind, Group, Health, HealthCheck, InspectDatabases, InspectGroups,
    Listener, LoadBalancer,
};
use rds_nlb_sync::error::Error;
use rds_nlb_sync::reconcile::Cluster;

use super::{Action, ApiError, FakeAws, GROUP, State};

pub const LOAD_BALANCER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/orders/0123456789abcdef";

/// The resources around every target group.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The load balancers that the group is attached to, each with its listeners and attributes.
    pub load_balancers: Vec<(LoadBalancer, Vec<Listener>, Attributes)>,
    pub attributes: Attributes,
    pub health_check: HealthCheck,
    /// The reason for the targets' state.
    pub reason: Option<&'static str>,
    /// The status of every database.
    pub status: &'static str,
    pub database_port: u16,
}

pub fn attributes(list: &[(&str, &str)]) -> Attributes {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Default for Estate {
    fn default() -> Self {
        let load_balancer = LoadBalancer {
            arn: LOAD_BALANCER.into(),
            name: "orders".into(),
            kind: "network".into(),
            scheme: "internal".into(),
            state: "active".into(),
            zones: vec!["us-east-1a".into(), "us-east-1b".into()],
            address_type: "ipv4".into(),
            security_groups: Vec::new(),
            enforces_on_private_link: true,
        };
        let listener = Listener { port: 5432, protocol: "TCP".into(), groups: vec![GROUP.into()] };
        let of_balancer = attributes(&[("load_balancing.cross_zone.enabled", "true")]);
        Self {
            load_balancers: vec![(load_balancer, vec![listener], of_balancer)],
            attributes: attributes(&[
                ("deregistration_delay.timeout_seconds", "60"),
                ("deregistration_delay.connection_termination.enabled", "true"),
                ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
                ("preserve_client_ip.enabled", "false"),
                ("proxy_protocol_v2.enabled", "false"),
                ("target_health_state.unhealthy.connection_termination.enabled", "true"),
            ]),
            health_check: HealthCheck {
                enabled: true,
                protocol: "TCP".into(),
                port: "traffic-port".into(),
                interval: 10,
                unhealthy_threshold: 2,
            },
            reason: None,
            // As good as `available`, but missing from most lists of good states.
            status: "storage-optimization",
            database_port: 5432,
        }
    }
}

impl State {
    fn groups_facts(&mut self, group: &str) -> Result<Group, ApiError> {
        let described = self.described(group)?;
        Ok(Group {
            target_type: described.target_type.into(),
            protocol: described.protocol.into(),
            port: Some(described.port),
            address_type: described.address_type.into(),
            load_balancers: self
                .estate
                .load_balancers
                .iter()
                .map(|(load_balancer, ..)| load_balancer.arn.clone())
                .collect(),
            health_check: self.estate.health_check.clone(),
        })
    }

    fn database(&self, identifier: &str) -> Option<Database> {
        let database = |kind, members, cluster| Database {
            kind,
            identifier: identifier.to_owned(),
            status: self.estate.status.into(),
            port: Some(self.estate.database_port),
            members: Cluster { members, is_failing_over: self.failing_over, zone: self.rds_zone() },
            cluster,
        };
        if let Some(members) = self.clusters.get(identifier) {
            return Some(database(DatabaseKind::Cluster, members.clone(), None));
        }
        let instance = self.instances.get(identifier)?;
        Some(database(DatabaseKind::Instance, BTreeMap::new(), instance.cluster.map(str::to_owned)))
    }

    fn load_balancer(&self, arn: &str) -> Result<&(LoadBalancer, Vec<Listener>, Attributes), ApiError> {
        self.estate.load_balancers.iter().find(|(load_balancer, ..)| load_balancer.arn == arn).ok_or_else(
            || ApiError {
                status: 400,
                code: "LoadBalancerNotFound",
                message: format!("Load balancer '{arn}' not found"),
            },
        )
    }

    /// The rest of a target group's description, in the API's XML.
    pub fn group_xml(&self) -> String {
        let HealthCheck { enabled, protocol, port, interval, unhealthy_threshold } =
            &self.estate.health_check;
        let mut load_balancers = String::new();
        for (load_balancer, ..) in &self.estate.load_balancers {
            let _ = write!(load_balancers, "<member>{}</member>", load_balancer.arn);
        }
        format!(
            "<LoadBalancerArns>{load_balancers}</LoadBalancerArns><HealthCheckEnabled>{enabled}</HealthCheckEnabled>\
             <HealthCheckProtocol>{protocol}</HealthCheckProtocol><HealthCheckPort>{port}</HealthCheckPort>\
             <HealthCheckIntervalSeconds>{interval}</HealthCheckIntervalSeconds>\
             <UnhealthyThresholdCount>{unhealthy_threshold}</UnhealthyThresholdCount>"
        )
    }

    /// Answers the calls that only the doctor makes.
    pub fn inspect(&self, action: Action, form: &BTreeMap<String, String>) -> Result<String, ApiError> {
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        match action {
            Action::DescribeTargetGroupAttributes => Ok(attributes_xml(&self.estate.attributes)),
            Action::DescribeLoadBalancerAttributes => {
                Ok(attributes_xml(&self.load_balancer(&field("LoadBalancerArn"))?.2))
            }
            Action::DescribeLoadBalancers => {
                let arns = (1..).map_while(|index| form.get(&format!("LoadBalancerArns.member.{index}")));
                let mut members = String::new();
                for arn in arns {
                    members.push_str(&balancer_xml(&self.load_balancer(arn)?.0));
                }
                Ok(format!("<LoadBalancers>{members}</LoadBalancers>"))
            }
            Action::DescribeListeners => {
                let mut members = String::new();
                for Listener { port, protocol, groups } in &self.load_balancer(&field("LoadBalancerArn"))?.1 {
                    let _ = write!(
                        members,
                        "<member><Port>{port}</Port><Protocol>{protocol}</Protocol>{}</member>",
                        forward_xml(groups)
                    );
                }
                Ok(format!("<Listeners>{members}</Listeners>"))
            }
            other => unreachable!("{other:?} is not the doctor's alone"),
        }
    }
}

fn attributes_xml(attributes: &Attributes) -> String {
    let mut members = String::new();
    for (key, value) in attributes {
        let _ = write!(members, "<member><Key>{key}</Key><Value>{value}</Value></member>");
    }
    format!("<Attributes>{members}</Attributes>")
}

fn balancer_xml(load_balancer: &LoadBalancer) -> String {
    let LoadBalancer {
        arn,
        name,
        kind,
        scheme,
        state,
        zones,
        address_type,
        security_groups,
        enforces_on_private_link,
    } = load_balancer;
    let zones: String =
        zones.iter().map(|zone| format!("<member><ZoneName>{zone}</ZoneName></member>")).collect();
    let groups: String = security_groups.iter().map(|group| format!("<member>{group}</member>")).collect();
    let enforces = if *enforces_on_private_link { "on" } else { "off" };
    format!(
        "<member><LoadBalancerArn>{arn}</LoadBalancerArn><LoadBalancerName>{name}</LoadBalancerName>\
         <Type>{kind}</Type><Scheme>{scheme}</Scheme><State><Code>{state}</Code></State>\
         <AvailabilityZones>{zones}</AvailabilityZones><IpAddressType>{address_type}</IpAddressType>\
         <SecurityGroups>{groups}</SecurityGroups>\
         <EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic>{enforces}\
         </EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic></member>"
    )
}

/// One group stands in the action and in its configuration, several in the configuration alone.
fn forward_xml(groups: &[String]) -> String {
    let only = match groups {
        [group] => format!("<TargetGroupArn>{group}</TargetGroupArn>"),
        _ => String::new(),
    };
    let tuples: String = groups
        .iter()
        .map(|group| format!("<member><TargetGroupArn>{group}</TargetGroupArn><Weight>1</Weight></member>"))
        .collect();
    format!(
        "<DefaultActions><member><Type>forward</Type>{only}<ForwardConfig><TargetGroups>{tuples}</TargetGroups>\
         </ForwardConfig></member></DefaultActions>"
    )
}

impl InspectGroups for FakeAws {
    async fn group(&self, group: &str) -> Result<Group, Error> {
        self.call(Action::DescribeTargetGroups, String::new(), |state| state.groups_facts(group)).await
    }

    async fn attributes(&self, _: &str) -> Result<Attributes, Error> {
        let read = |state: &mut State| Ok(state.estate.attributes.clone());
        self.call(Action::DescribeTargetGroupAttributes, String::new(), read).await
    }

    async fn health(&self, group: &str) -> Result<BTreeMap<String, Health>, Error> {
        let health = |state: &mut State| {
            let reason = state.estate.reason.map(str::to_owned);
            let health = |state: &str| Health { state: state.to_owned(), reason: reason.clone() };
            Ok(state.health(group)?.into_iter().map(|(at, state)| (at.to_string(), health(state))).collect())
        };
        self.call(Action::DescribeTargetHealth, String::new(), health).await
    }

    async fn load_balancers(&self, arns: &[String]) -> Result<Vec<LoadBalancer>, Error> {
        let described =
            |state: &mut State| arns.iter().map(|arn| Ok(state.load_balancer(arn)?.0.clone())).collect();
        self.call(Action::DescribeLoadBalancers, String::new(), described).await
    }

    async fn cross_zone(&self, arn: &str) -> Result<bool, Error> {
        let read = |state: &mut State| {
            Ok(state
                .load_balancer(arn)?
                .2
                .get("load_balancing.cross_zone.enabled")
                .is_some_and(|on| on == "true"))
        };
        self.call(Action::DescribeLoadBalancerAttributes, String::new(), read).await
    }

    async fn listeners(&self, arn: &str) -> Result<Vec<Listener>, Error> {
        self.call(Action::DescribeListeners, String::new(), |state| Ok(state.load_balancer(arn)?.1.clone()))
            .await
    }
}

impl InspectDatabases for FakeAws {
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Error> {
        let found = |state: &mut State| Ok(state.database(identifier));
        self.call(Action::DescribeDBClusters, identifier.to_owned(), found).await
    }
}
