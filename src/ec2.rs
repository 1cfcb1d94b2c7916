//! The network, by `aws-sdk-ec2`. Only this module knows it.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self as aws_types, Filter, NetworkAcl, NetworkAclEntry, RouteState, RuleAction, SecurityGroupRule,
    ServiceConfiguration, VpcEndpointConnection,
};
use ipnet::IpNet;

use crate::aws::{Bounded, all, text};
use crate::doctor::network::{
    Acl, AclEntry, Connection, InspectNetwork, Peer, Ports, Route, RouteTable, Rule, Service, Subnet,
};
use crate::error::Error;

/// The numbers of TCP and of all protocols, as EC2 writes them.
const PROTOCOLS_WITH_TCP: [&str; 3] = ["tcp", "6", "-1"];
/// The entry that denies what no other entry allows has this number; it is in every ACL.
const DEFAULT_ENTRY: i32 = 32767;

pub struct Ec2 {
    client: Client,
}

impl Ec2 {
    pub fn new(client: &Client) -> Self {
        Self { client: Client::from_conf(client.config().to_builder().interceptor(Bounded).build()) }
    }
}

impl InspectNetwork for Ec2 {
    async fn services(&self, load_balancer: &str) -> Result<Vec<Service>, Error> {
        let call = self.client.describe_vpc_endpoint_service_configurations();
        let listed = all!(call, "list the endpoint services", "ec2:DescribeVpcEndpointServiceConfigurations");
        let is_on = |service: &ServiceConfiguration| {
            service.network_load_balancer_arns().iter().any(|arn| arn == load_balancer)
        };
        Ok(listed.into_iter().filter(is_on).map(service).collect())
    }

    async fn principals(&self, service: &str) -> Result<Vec<String>, Error> {
        let call = self.client.describe_vpc_endpoint_service_permissions().service_id(service);
        let listed = all!(call, "list the allowed principals", "ec2:DescribeVpcEndpointServicePermissions");
        Ok(listed.into_iter().filter_map(|allowed| allowed.principal).collect())
    }

    async fn connections(&self, service: &str) -> Result<Vec<Connection>, Error> {
        let call = self.client.describe_vpc_endpoint_connections().filters(filter("service-id", [service]));
        let listed = all!(call, "list the endpoint connections", "ec2:DescribeVpcEndpointConnections");
        let connection = |found: VpcEndpointConnection| Connection {
            state: text(found.vpc_endpoint_state()),
            endpoint: found.vpc_endpoint_id.unwrap_or_default(),
            owner: found.vpc_endpoint_owner.unwrap_or_default(),
        };
        Ok(listed.into_iter().map(connection).collect())
    }

    async fn rules(&self, groups: &[String]) -> Result<Vec<Rule>, Error> {
        let call = self.client.describe_security_group_rules().filters(filter("group-id", groups));
        let listed = all!(call, "read the rules of the security groups", "ec2:DescribeSecurityGroupRules");
        Ok(listed.into_iter().filter_map(rule).collect())
    }

    async fn subnets(&self, ids: &[String]) -> Result<Vec<Subnet>, Error> {
        // A subnet that is gone would fail the call if it were asked for by its id.
        let call = self.client.describe_subnets().filters(filter("subnet-id", ids));
        let listed = all!(call, "describe the subnets", "ec2:DescribeSubnets");
        Ok(listed.into_iter().map(subnet).collect())
    }

    async fn acls(&self, subnets: &[String]) -> Result<Vec<Acl>, Error> {
        let call = self.client.describe_network_acls().filters(filter("association.subnet-id", subnets));
        let listed = all!(call, "describe the network ACLs", "ec2:DescribeNetworkAcls");
        Ok(listed.into_iter().map(acl).collect())
    }

    async fn route_tables(&self, vpcs: &[String]) -> Result<Vec<RouteTable>, Error> {
        let call = self.client.describe_route_tables().filters(filter("vpc-id", vpcs));
        let listed = all!(call, "describe the route tables", "ec2:DescribeRouteTables");
        Ok(listed.into_iter().map(route_table).collect())
    }
}

fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    let values = values.into_iter().map(Into::into).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

fn service(found: ServiceConfiguration) -> Service {
    Service {
        state: text(found.service_state()),
        requires_acceptance: found.acceptance_required().unwrap_or(false),
        id: found.service_id.unwrap_or_default(),
        name: found.service_name.unwrap_or_default(),
        ..Service::default()
    }
}

fn rule(found: SecurityGroupRule) -> Option<Rule> {
    let cidr = found.cidr_ipv4().or(found.cidr_ipv6()).and_then(|cidr| cidr.parse().ok()).map(Peer::Cidr);
    let is_tcp = found.ip_protocol().is_some_and(|protocol| PROTOCOLS_WITH_TCP.contains(&protocol));
    Some(Rule {
        is_egress: found.is_egress().unwrap_or(false),
        ports: is_tcp.then(|| ports(found.from_port(), found.to_port())),
        peer: cidr
            .or(found.referenced_group_info.and_then(|info| info.group_id).map(Peer::Group))
            .or(found.prefix_list_id.map(Peer::PrefixList))?,
        group: found.group_id.unwrap_or_default(),
    })
}

/// -1, and no port at all, mean all of them.
fn ports(from: Option<i32>, to: Option<i32>) -> Ports {
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    match (port(from), port(to)) {
        (Some(from), Some(to)) => Ports { from, to },
        _ => Ports::ALL,
    }
}

fn subnet(found: aws_types::Subnet) -> Subnet {
    let v6 = found.ipv6_cidr_block_association_set().iter().filter_map(|set| set.ipv6_cidr_block());
    Subnet {
        cidrs: found.cidr_block().into_iter().chain(v6).filter_map(|cidr| cidr.parse().ok()).collect(),
        id: found.subnet_id.unwrap_or_default(),
        vpc: found.vpc_id.unwrap_or_default(),
        zone: found.availability_zone.unwrap_or_default(),
        zone_id: found.availability_zone_id.unwrap_or_default(),
    }
}

fn acl(found: NetworkAcl) -> Acl {
    let associations = found.associations.unwrap_or_default().into_iter();
    Acl {
        id: found.network_acl_id.unwrap_or_default(),
        subnets: associations.filter_map(|association| association.subnet_id).collect(),
        entries: found.entries.unwrap_or_default().iter().filter_map(entry).collect(),
    }
}

fn entry(found: &NetworkAclEntry) -> Option<AclEntry> {
    let number = found.rule_number().filter(|number| *number < DEFAULT_ENTRY)?;
    found.protocol().filter(|protocol| PROTOCOLS_WITH_TCP.contains(protocol))?;
    let range = found.port_range();
    Some(AclEntry {
        number: u16::try_from(number).ok()?,
        is_egress: found.egress().unwrap_or(false),
        allows: found.rule_action() == Some(&RuleAction::Allow),
        cidr: found.cidr_block().or(found.ipv6_cidr_block())?.parse().ok()?,
        ports: ports(range.and_then(|range| range.from()), range.and_then(|range| range.to())),
    })
}

fn route_table(found: aws_types::RouteTable) -> RouteTable {
    let associations = found.associations();
    RouteTable {
        is_main: associations.iter().any(|association| association.main() == Some(true)),
        subnets: associations.iter().filter_map(|it| it.subnet_id()).map(str::to_owned).collect(),
        routes: found.routes().iter().filter_map(route).collect(),
        has_prefix_lists: found.routes().iter().any(is_to_prefix_list),
        id: found.route_table_id.unwrap_or_default(),
        vpc: found.vpc_id.unwrap_or_default(),
    }
}

/// Whether it is a route to a prefix list. A gateway endpoint's leads to a service of AWS, S3 or DynamoDB.
fn is_to_prefix_list(route: &aws_types::Route) -> bool {
    let is_endpoint = route.gateway_id().is_some_and(|id| id.starts_with("vpce-"));
    route.destination_prefix_list_id().is_some() && !is_endpoint
}

/// `None` for a route to a prefix list.
fn route(found: &aws_types::Route) -> Option<Route> {
    let to = found.destination_cidr_block().or(found.destination_ipv6_cidr_block())?;
    let target = found
        .gateway_id()
        .or(found.vpc_peering_connection_id())
        .or(found.transit_gateway_id())
        .or(found.nat_gateway_id())
        .or(found.egress_only_internet_gateway_id())
        .or(found.network_interface_id())
        .or(found.instance_id())
        .or(found.local_gateway_id())
        .or(found.carrier_gateway_id())
        .or(found.core_network_arn());
    Some(Route {
        to: to.parse::<IpNet>().ok()?,
        target: target.unwrap_or("unknown").to_owned(),
        is_blackhole: found.state() == Some(&RouteState::Blackhole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_endpoint_is_no_route_to_a_prefix_list() {
        let has_prefix_lists = |gateway: &str| {
            let route = aws_types::Route::builder().destination_prefix_list_id("pl-1").gateway_id(gateway);
            route_table(aws_types::RouteTable::builder().routes(route.build()).build()).has_prefix_lists
        };
        assert!(!has_prefix_lists("vpce-1"));
        assert!(has_prefix_lists("vgw-1"));
    }

    #[test]
    fn route_has_the_id_of_its_target() {
        let to_v6 = || aws_types::Route::builder().destination_ipv6_cidr_block("::/0");
        for (built, expected) in [
            (to_v6().egress_only_internet_gateway_id("eigw-1"), "eigw-1"),
            (to_v6().gateway_id("igw-1"), "igw-1"),
            (to_v6().network_interface_id("eni-1").instance_id("i-1"), "eni-1"),
            (to_v6(), "unknown"),
        ] {
            let route = route(&built.build()).expect("it has a destination");
            assert_eq!((route.to.to_string().as_str(), route.target.as_str()), ("::/0", expected));
        }
    }
}
