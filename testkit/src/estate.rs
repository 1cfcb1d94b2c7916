//! The surroundings of a target group that the doctor reads: the load balancers, the attributes and the
//! database's state. The default has no fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use rds_nlb_sync::doctor::{
    Attributes, Database, DatabaseKind, Group, Health, HealthCheck, InspectDatabases, InspectGroups,
    InstanceFacts, Listener, LoadBalancer,
};
use rds_nlb_sync::error::Error;
use rds_nlb_sync::reconcile::Cluster;

use super::{Action, ApiError, FakeAws, GROUP, State};

pub const LOAD_BALANCER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/orders/0123456789abcdef";

/// The surroundings of every group.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The load balancers that the group is attached to, each with its listeners and attributes.
    pub load_balancers: Vec<(LoadBalancer, Vec<Listener>, Attributes)>,
    pub attributes: Attributes,
    pub health_check: HealthCheck,
    /// The reason code of every target's state.
    pub reason: Option<&'static str>,
    /// The status of every database.
    pub status: &'static str,
    pub database_port: u16,
    pub engine: &'static str,
    pub engine_version: &'static str,
    pub allows_iam_login: bool,
    /// Whether every instance uses its parameter group only after a reboot.
    pub needs_reboot: bool,
    /// The zone of every instance that is not in `us-east-1a`.
    pub zones: BTreeMap<String, String>,
    /// The zone of a Multi-AZ instance's standby.
    pub standby_zone: Option<&'static str>,
    /// The DB subnet group: subnet and zone.
    pub subnets: Vec<(String, String)>,
    /// The security groups of every database.
    pub security_groups: Vec<String>,
    pub parameter_group: &'static str,
    /// The parameter group of every cluster itself.
    pub cluster_parameter_group: &'static str,
    /// The parameters that the parameter groups change.
    pub parameters: Attributes,
    /// The attributes of every listener.
    pub listener_attributes: Attributes,
    /// The zone of every target, by its address.
    pub target_zones: BTreeMap<IpAddr, &'static str>,
    /// Whether the group is attached to the load balancers.
    pub is_attached: bool,
}

pub fn attributes(list: &[(&str, &str)]) -> Attributes {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A TCP listener that forwards to these groups by weight.
pub fn listener(port: u16, forwards: &[(&str, u32)]) -> Listener {
    Listener {
        arn: format!("{}/{port:016}", LOAD_BALANCER.replace(":loadbalancer/", ":listener/")),
        port,
        protocol: "TCP".into(),
        forwards: forwards.iter().map(|(group, weight)| ((*group).to_owned(), *weight)).collect(),
    }
}

impl Default for Estate {
    fn default() -> Self {
        let load_balancer = LoadBalancer {
            arn: LOAD_BALANCER.into(),
            name: "orders".into(),
            dns_name: Some("orders-0123456789abcdef.elb.us-east-1.amazonaws.com".into()),
            kind: "network".into(),
            scheme: "internal".into(),
            state: "active".into(),
            vpc: Some("vpc-1".into()),
            zones: attributes(&[("us-east-1a", "subnet-a"), ("us-east-1b", "subnet-b")]),
            address_type: "ipv4".into(),
            security_groups: Vec::new(),
            enforces_on_private_link: true,
        };
        let listener = listener(5432, &[(GROUP, 1)]);
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
                interval: Some(10),
                unhealthy_threshold: Some(2),
            },
            reason: None,
            // A state in which the database serves clients, but not `available`.
            status: "storage-optimization",
            database_port: 5432,
            engine: "aurora-postgresql",
            engine_version: "16.4",
            allows_iam_login: true,
            needs_reboot: false,
            zones: attributes(&[("orders-2", "us-east-1b")]),
            standby_zone: None,
            subnets: [
                ("subnet-db-a", "us-east-1a"),
                ("subnet-db-b", "us-east-1b"),
                ("subnet-db-c", "us-east-1c"),
            ]
            .map(|(subnet, zone)| (subnet.to_owned(), zone.to_owned()))
            .into(),
            security_groups: vec!["sg-database".into()],
            parameter_group: "default.aurora-postgresql16",
            cluster_parameter_group: "default.aurora-postgresql16",
            parameters: Attributes::new(),
            listener_attributes: attributes(&[("tcp.idle_timeout.seconds", "350")]),
            target_zones: [([10, 0, 1, 10], "us-east-1a"), ([10, 0, 2, 20], "us-east-1b")]
                .map(|(address, zone)| (IpAddr::from(address), zone))
                .into(),
            is_attached: true,
        }
    }
}

impl Estate {
    /// The load balancers that the group is attached to.
    fn attached(&self) -> impl Iterator<Item = &LoadBalancer> {
        self.load_balancers.iter().map(|(load_balancer, ..)| load_balancer).filter(|_| self.is_attached)
    }

    fn zone(&self, instance: &str) -> String {
        self.zones.get(instance).cloned().unwrap_or_else(|| "us-east-1a".into())
    }

    /// What the API adds to the description of every instance.
    pub fn instance_xml(&self, instance: &str) -> String {
        let standby = self
            .standby_zone
            .map(|zone| format!("<SecondaryAvailabilityZone>{zone}</SecondaryAvailabilityZone>"));
        let subnets: String = self
            .subnets
            .iter()
            .map(|(subnet, zone)| {
                format!(
                    "<Subnet><SubnetIdentifier>{subnet}</SubnetIdentifier><SubnetAvailabilityZone>\
                     <Name>{zone}</Name></SubnetAvailabilityZone></Subnet>"
                )
            })
            .collect();
        format!(
            "<Engine>{}</Engine><AvailabilityZone>{}</AvailabilityZone>{}<DBSubnetGroup><VpcId>vpc-1</VpcId>\
             <Subnets>{subnets}</Subnets></DBSubnetGroup><DBParameterGroups><DBParameterGroup>\
             <DBParameterGroupName>{}</DBParameterGroupName><ParameterApplyStatus>{}</ParameterApplyStatus>\
             </DBParameterGroup></DBParameterGroups>{}{}",
            self.engine,
            self.zone(instance),
            standby.unwrap_or_default(),
            self.parameter_group,
            if self.needs_reboot { "pending-reboot" } else { "in-sync" },
            self.engine_xml(),
            self.security_groups_xml()
        )
    }

    /// What the API adds to the description of every cluster.
    pub fn cluster_xml(&self) -> String {
        let (engine, group) = (self.engine, self.cluster_parameter_group);
        format!(
            "<Engine>{engine}</Engine><DBClusterParameterGroup>{group}</DBClusterParameterGroup>{}{}",
            self.engine_xml(),
            self.security_groups_xml()
        )
    }

    fn engine_xml(&self) -> String {
        let Self { engine_version, allows_iam_login, .. } = self;
        format!(
            "<EngineVersion>{engine_version}</EngineVersion>\
             <IAMDatabaseAuthenticationEnabled>{allows_iam_login}</IAMDatabaseAuthenticationEnabled>"
        )
    }

    fn security_groups_xml(&self) -> String {
        let member = |group: &String| {
            format!(
                "<VpcSecurityGroupMembership><VpcSecurityGroupId>{group}</VpcSecurityGroupId>\
                 </VpcSecurityGroupMembership>"
            )
        };
        let members: String = self.security_groups.iter().map(member).collect();
        format!("<VpcSecurityGroups>{members}</VpcSecurityGroups>")
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
            vpc: Some("vpc-1".into()),
            load_balancers: self.estate.attached().map(|load_balancer| load_balancer.arn.clone()).collect(),
            health_check: self.estate.health_check.clone(),
        })
    }

    fn database(&self, identifier: &str) -> Option<Database> {
        let multi_az = self.instances.get(identifier).is_some_and(|instance| instance.multi_az);
        let database = |kind, members, member_of| Database {
            engine: self.estate.engine.into(),
            engine_version: Some(self.estate.engine_version.into()),
            allows_iam_login: Some(self.estate.allows_iam_login),
            needs_reboot: false,
            is_multi_az: multi_az,
            security_groups: self.estate.security_groups.clone(),
            parameter_group: (kind == DatabaseKind::Cluster)
                .then(|| self.estate.cluster_parameter_group.into()),
            host: self.host(identifier).filter(|_| kind == DatabaseKind::Instance),
            kind,
            identifier: identifier.to_owned(),
            status: self.estate.status.into(),
            port: Some(self.estate.database_port),
            described: Cluster { members, is_failing_over: self.failing_over, zone: self.rds_zone() },
            member_of,
        };
        if let Some(members) = self.clusters.get(identifier) {
            return Some(database(DatabaseKind::Cluster, members.clone(), None));
        }
        let instance = self.instances.get(identifier)?;
        Some(database(DatabaseKind::Instance, BTreeMap::new(), instance.cluster.map(str::to_owned)))
    }

    fn host(&self, identifier: &str) -> Option<InstanceFacts> {
        let estate = &self.estate;
        self.instances.get(identifier).map(|_| InstanceFacts {
            identifier: identifier.to_owned(),
            zone: Some(estate.zone(identifier)),
            standby_zone: estate.standby_zone.map(str::to_owned),
            vpc: Some("vpc-1".into()),
            subnets: estate.subnets.clone(),
            security_groups: estate.security_groups.clone(),
            parameter_group: Some(estate.parameter_group.into()),
            needs_reboot: estate.needs_reboot,
        })
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
        let number = |name: &str, number: Option<u32>| {
            number.map(|number| format!("<{name}>{number}</{name}>")).unwrap_or_default()
        };
        let mut load_balancers = String::new();
        for load_balancer in self.estate.attached() {
            let _ = write!(load_balancers, "<member>{}</member>", load_balancer.arn);
        }
        format!(
            "<LoadBalancerArns>{load_balancers}</LoadBalancerArns><HealthCheckEnabled>{enabled}</HealthCheckEnabled>\
             <HealthCheckProtocol>{protocol}</HealthCheckProtocol><HealthCheckPort>{port}</HealthCheckPort>\
             {}{}",
            number("HealthCheckIntervalSeconds", *interval),
            number("UnhealthyThresholdCount", *unhealthy_threshold)
        )
    }

    /// The API's answers to the calls that only the doctor makes.
    pub fn inspect(&self, action: Action, form: &BTreeMap<String, String>) -> Result<String, ApiError> {
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        match action {
            Action::DescribeTargetGroupAttributes => Ok(attributes_xml(&self.estate.attributes)),
            Action::DescribeLoadBalancerAttributes => {
                Ok(attributes_xml(&self.load_balancer(&field("LoadBalancerArn"))?.2))
            }
            Action::DescribeLoadBalancers => {
                let arns = (1..).map_while(|index| form.get(&format!("LoadBalancerArns.member.{index}")));
                let mut arns: Vec<String> = arns.cloned().collect();
                let mut next = String::new();
                if arns.is_empty() {
                    // All of them, page by page; a marker is the index of its page's first.
                    let size = if self.page > 0 { self.page } else { 400 };
                    let from: usize = field("Marker").parse().unwrap_or_default();
                    let all = self.estate.load_balancers.iter().map(|(one, ..)| one.arn.clone());
                    arns = all.skip(from).take(size).collect();
                    if from + size < self.estate.load_balancers.len() {
                        next = format!("<NextMarker>{}</NextMarker>", from + size);
                    }
                }
                let mut members = String::new();
                for arn in &arns {
                    members.push_str(&balancer_xml(&self.load_balancer(arn)?.0));
                }
                Ok(format!("<LoadBalancers>{members}</LoadBalancers>{next}"))
            }
            Action::DescribeListeners => {
                let mut members = String::new();
                let listeners = &self.load_balancer(&field("LoadBalancerArn"))?.1;
                for Listener { arn, port, protocol, forwards } in listeners {
                    let _ = write!(
                        members,
                        "<member><ListenerArn>{arn}</ListenerArn><Port>{port}</Port>\
                         <Protocol>{protocol}</Protocol>{}</member>",
                        forward_xml(forwards)
                    );
                }
                Ok(format!("<Listeners>{members}</Listeners>"))
            }
            Action::DescribeListenerAttributes => Ok(attributes_xml(&self.estate.listener_attributes)),
            Action::DescribeDBParameters | Action::DescribeDBClusterParameters => {
                let mut members = String::new();
                for (name, value) in &self.estate.parameters {
                    let _ = write!(
                        members,
                        "<Parameter><ParameterName>{name}</ParameterName>\
                         <ParameterValue>{value}</ParameterValue></Parameter>"
                    );
                }
                Ok(format!("<Parameters>{members}</Parameters>"))
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
        dns_name,
        kind,
        scheme,
        state,
        vpc,
        zones,
        address_type,
        security_groups,
        enforces_on_private_link,
    } = load_balancer;
    let zone = |(zone, subnet): (&String, &String)| {
        format!("<member><ZoneName>{zone}</ZoneName><SubnetId>{subnet}</SubnetId></member>")
    };
    let zones: String = zones.iter().map(zone).collect();
    let vpc = vpc.as_deref().unwrap_or_default();
    let groups: String = security_groups.iter().map(|group| format!("<member>{group}</member>")).collect();
    let enforces = if *enforces_on_private_link { "on" } else { "off" };
    format!(
        "<member><LoadBalancerArn>{arn}</LoadBalancerArn><LoadBalancerName>{name}</LoadBalancerName>\
         <DNSName>{}</DNSName><Type>{kind}</Type><VpcId>{vpc}</VpcId><Scheme>{scheme}</Scheme><State><Code>{state}</Code></State>\
         <AvailabilityZones>{zones}</AvailabilityZones><IpAddressType>{address_type}</IpAddressType>\
         <SecurityGroups>{groups}</SecurityGroups>\
         <EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic>{enforces}\
         </EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic></member>",
        dns_name.as_deref().unwrap_or_default()
    )
}

/// The API returns one group in the action and in its configuration, several in the configuration alone.
fn forward_xml(forwards: &[(String, u32)]) -> String {
    let only = match forwards {
        [(group, _)] => format!("<TargetGroupArn>{group}</TargetGroupArn>"),
        _ => String::new(),
    };
    let tuple = |(group, weight): &(String, u32)| {
        format!("<member><TargetGroupArn>{group}</TargetGroupArn><Weight>{weight}</Weight></member>")
    };
    let tuples: String = forwards.iter().map(tuple).collect();
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
            let zones = state.estate.target_zones.clone();
            let health = |at: SocketAddr, state: &str| {
                let zone = zones.get(&at.ip()).map(|zone| (*zone).to_owned());
                (at.to_string(), Health { state: state.to_owned(), reason: reason.clone(), zone })
            };
            Ok(state.health(group)?.into_iter().map(|(at, state)| health(at, state)).collect())
        };
        self.call(Action::DescribeTargetHealth, String::new(), health).await
    }

    async fn load_balancers(&self, arns: &[String]) -> Result<Vec<LoadBalancer>, Error> {
        let described = |state: &mut State| {
            if arns.is_empty() {
                return Ok(state.estate.load_balancers.iter().map(|(one, ..)| one.clone()).collect());
            }
            arns.iter().map(|arn| Ok(state.load_balancer(arn)?.0.clone())).collect()
        };
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

    async fn listener_attributes(&self, _: &str) -> Result<Attributes, Error> {
        let read = |state: &mut State| Ok(state.estate.listener_attributes.clone());
        self.call(Action::DescribeListenerAttributes, String::new(), read).await
    }
}

impl InspectDatabases for FakeAws {
    async fn database(&self, identifier: &str) -> Result<Option<Database>, Error> {
        let found = |state: &mut State| Ok(state.database(identifier));
        self.call(Action::DescribeDBClusters, identifier.to_owned(), found).await
    }

    async fn host(&self, identifier: &str) -> Result<Option<InstanceFacts>, Error> {
        let found = |state: &mut State| Ok(state.host(identifier));
        self.call(Action::DescribeDBInstances, identifier.to_owned(), found).await
    }

    async fn parameters(&self, kind: DatabaseKind, group: &str) -> Result<Attributes, Error> {
        let read = |state: &mut State| Ok(state.estate.parameters.clone());
        let action = match kind {
            DatabaseKind::Cluster => Action::DescribeDBClusterParameters,
            DatabaseKind::Instance => Action::DescribeDBParameters,
        };
        self.call(action, group.to_owned(), read).await
    }
}
