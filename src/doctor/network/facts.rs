//! The facts about the network, in the words of the EC2, CloudWatch, VPC Lattice and RAM APIs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::doctor::facts::Fact;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub services: Fact<Vec<Service>>,
    /// The rules of the load balancer's and the database's security groups.
    pub rules: Fact<Vec<Rule>>,
    /// The load balancer's and the database's subnets, by id.
    pub subnets: Fact<BTreeMap<String, Subnet>>,
    pub acls: Fact<Vec<Acl>>,
    /// The route tables of these subnets, and the main ones of their VPCs.
    pub route_tables: Fact<Vec<RouteTable>>,
    pub metrics: Fact<Sums>,
}

/// What a vendor asks about: the services with their principals, and the load balancer's subnets by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicesAndSubnets {
    pub services: Fact<Vec<Service>>,
    pub subnets: Fact<BTreeMap<String, Subnet>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub id: String,
    /// Such as `com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0`.
    pub name: String,
    /// `Available`, `Pending`, `Deleting`, `Deleted` or `Failed`.
    pub state: String,
    pub requires_acceptance: bool,
    /// The ARNs that may connect, or `*`.
    pub principals: Option<Fact<Vec<String>>>,
    pub connections: Option<Fact<Vec<Connection>>>,
}

/// A vendor's endpoint, connected to the service or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub endpoint: String,
    /// The account.
    pub owner: String,
    /// `pendingAcceptance`, `pending`, `available`, `deleting`, `deleted`, `rejected`, `failed` or `expired`.
    pub state: String,
}

/// A rule of a security group, which allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub group: String,
    pub is_egress: bool,
    /// `None` for protocols without TCP.
    pub ports: Option<Ports>,
    pub peer: Peer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Cidr(IpNet),
    Group(String),
    /// Its addresses are not read.
    PrefixList(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(cidr) => write!(f, "{cidr}"),
            Self::Group(id) | Self::PrefixList(id) => f.write_str(id),
        }
    }
}

/// Ports from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    pub from: u16,
    pub to: u16,
}

impl Ports {
    pub const ALL: Self = Self { from: 0, to: u16::MAX };
    /// The ports of clients. A load balancer uses all of them (NLB guide, "Network ACLs").
    pub const OF_CLIENTS: Self = Self { from: 1024, to: u16::MAX };

    pub fn one(port: u16) -> Self {
        Self { from: port, to: port }
    }

    pub fn contains(self, port: u16) -> bool {
        (self.from..=self.to).contains(&port)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub id: String,
    pub vpc: String,
    pub zone: String,
    /// Such as `use1-az1`, which means the same zone in every account.
    pub zone_id: String,
    pub cidrs: Vec<IpNet>,
}

impl Subnet {
    pub fn holds(&self, address: IpAddr) -> bool {
        self.cidrs.iter().any(|cidr| cidr.contains(&address))
    }

    pub fn range(&self, is_v4: bool) -> Option<IpNet> {
        self.cidrs.iter().find(|cidr| cidr.addr().is_ipv4() == is_v4).copied()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub id: String,
    pub subnets: Vec<String>,
    pub entries: Vec<AclEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// The entry with the lowest number decides.
    pub number: u16,
    pub is_egress: bool,
    pub allows: bool,
    pub cidr: IpNet,
    pub ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    pub id: String,
    pub vpc: String,
    pub subnets: Vec<String>,
    /// Whether it is the one of subnets without a route table of their own.
    pub is_main: bool,
    pub routes: Vec<Route>,
    /// Whether it has routes to prefix lists as well, whose addresses are not read. Those of gateway endpoints do not
    /// count.
    pub has_prefix_lists: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: IpNet,
    /// Such as `local`, `pcx-…` or `tgw-…`, or `unknown`.
    pub target: String,
    pub is_blackhole: bool,
}

/// A metric, by CloudWatch's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measured(pub &'static str);

impl Measured {
    /// Connections through the load balancer.
    pub const NEW_FLOWS: Self = Self("NewFlowCount");
    /// Resets that the load balancer sent, of idle connections for the most part.
    pub const LOAD_BALANCER_RESETS: Self = Self("TCP_ELB_Reset_Count");
    pub const TARGET_RESETS: Self = Self("TCP_Target_Reset_Count");
    pub const CLIENT_RESETS: Self = Self("TCP_Client_Reset_Count");
    /// Connections that the load balancer's security groups refused from clients.
    pub const BLOCKED_INBOUND: Self = Self("SecurityGroupBlockedFlowCount_Inbound_TCP");
    /// Connections that they refused towards targets.
    pub const BLOCKED_OUTBOUND: Self = Self("SecurityGroupBlockedFlowCount_Outbound_TCP");
    /// Connections through the endpoint services.
    pub const NEW_CONNECTIONS: Self = Self("NewConnections");

    pub const OF_LOAD_BALANCER: [Self; 6] = [
        Self::NEW_FLOWS,
        Self::LOAD_BALANCER_RESETS,
        Self::TARGET_RESETS,
        Self::CLIENT_RESETS,
        Self::BLOCKED_INBOUND,
        Self::BLOCKED_OUTBOUND,
    ];
}

/// The sums of the last hour, by metric. A metric without a data point is not there.
pub type Sums = BTreeMap<Measured, u64>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatticePath {
    pub configuration: ResourceConfiguration,
    /// `None` where the configuration names none.
    pub gateway: Option<Fact<ResourceGateway>>,
    /// The rules of the gateway's and the database's security groups. Empty where the gateway could not be read.
    pub rules: Fact<Vec<Rule>>,
    /// The gateway's subnets, by id. Empty where the gateway could not be read.
    pub subnets: Fact<BTreeMap<String, Subnet>>,
    pub shares: Fact<Vec<Share>>,
}

/// A resource configuration of VPC Lattice: what a vendor's endpoint of type *resource* connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceConfiguration {
    /// Such as `rcfg-0123456789abcdef0`.
    pub id: String,
    pub name: String,
    /// Its own ARN; for a child its group's, because a child can be shared only with its group.
    pub shared_arn: String,
    /// `ACTIVE`, or `CREATE_`, `UPDATE_` or `DELETE_` with `IN_PROGRESS` or `FAILED`.
    pub status: String,
    pub failure: Option<String>,
    pub gateway: Option<String>,
    pub resource: Resource,
    /// The ports that it carries. Empty if it names no ports, such as one of type ARN.
    pub ports: Vec<Ports>,
    /// Whether it may be in service networks that are shared with other accounts.
    pub is_for_shared_networks: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Name(String),
    Address(IpAddr),
    Arn(String),
    Ranges(Vec<IpNet>),
    /// What the library does not know.
    Other,
}

/// A resource gateway of VPC Lattice, from which the connections come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceGateway {
    /// Such as `rgw-0123456789abcdef0`.
    pub id: String,
    /// As that of a resource configuration.
    pub status: String,
    /// Only their outbound rules apply (VPC Lattice guide, "Resource gateways").
    pub security_groups: Vec<String>,
    pub subnets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub arn: String,
    pub name: String,
    /// Whether the configuration is in it, in the words of [`Principal::status`].
    pub status: String,
    pub principals: Vec<Principal>,
}

/// An account, organization, role or user that a resource is shared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// An account's id, or the ARN of an organization, a unit of it, a role or a user.
    pub id: String,
    /// `ASSOCIATED`; `ASSOCIATING`, until the account accepts the invitation; `DISASSOCIATING` or `DISASSOCIATED`, after
    /// the invitation expired as well; `FAILED`, `SUSPENDING`, `SUSPENDED` or `RESTORING`.
    pub status: String,
}
