//! One fault of the network at a time, and its absence.

use std::collections::BTreeMap;

use super::super::network::*;
use super::*;

const SERVICE: &str = "vpce-svc-0123456789abcdef0";
const VENDOR: &str = "arn:aws:iam::210987654321:root";

/// A load balancer in two subnets, and a database in two others of the same VPC, without a fault.
struct World {
    facts: Facts,
    network: Network,
    principal: Option<&'static str>,
}

pub fn subnet(id: &str, zone: char, cidr: &str) -> (String, Subnet) {
    let subnet = Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        zone: format!("us-east-1{zone}"),
        zone_id: format!("use1-az{}", u32::from(zone) - 96),
        cidrs: vec![cidr.parse().unwrap()],
    };
    (id.into(), subnet)
}

pub fn rule(group: &str, is_egress: bool, from: u16, to: u16, peer: Peer) -> Rule {
    Rule { group: group.into(), is_egress, ports: Some(Ports { from, to }), peer }
}

pub fn cidr(text: &str) -> Peer {
    Peer::Cidr(text.parse().unwrap())
}

fn everything(is_egress: bool, allows: bool, number: u16) -> AclEntry {
    AclEntry { number, is_egress, allows, cidr: "0.0.0.0/0".parse().unwrap(), ports: Ports::ALL }
}

fn world() -> World {
    let mut facts = healthy_facts();
    load_balancer(&mut facts).security_groups = vec!["sg-balancer".into()];
    for host in facts.hosts.as_mut().unwrap() {
        host.subnets = strings([("subnet-db-a", "us-east-1a"), ("subnet-db-b", "us-east-1b")]).into();
    }
    let subnets = [
        subnet("subnet-a", 'a', "10.0.101.0/24"),
        subnet("subnet-b", 'b', "10.0.102.0/24"),
        // It holds the writer, 10.0.1.10.
        subnet("subnet-db-a", 'a', "10.0.1.0/24"),
        subnet("subnet-db-b", 'b', "10.0.2.0/24"),
    ];
    let acl = |id: &str, subnets: [&str; 2]| Acl {
        id: id.into(),
        subnets: subnets.map(str::to_owned).into(),
        entries: vec![everything(true, true, 100), everything(false, true, 100)],
    };
    let table = RouteTable {
        id: "rtb-main".into(),
        vpc: "vpc-1".into(),
        subnets: Vec::new(),
        is_main: true,
        routes: vec![route("10.0.0.0/16", "local"), route("0.0.0.0/0", "nat-1")],
        has_prefix_lists: false,
    };
    let network = Network {
        services: Ok(vec![Service {
            id: SERVICE.into(),
            name: format!("com.amazonaws.vpce.us-east-1.{SERVICE}"),
            state: "Available".into(),
            requires_acceptance: true,
            principals: Some(Ok(vec![VENDOR.into()])),
            connections: Some(Ok(vec![connection("available")])),
        }]),
        rules: Ok(vec![
            rule("sg-balancer", false, 5432, 5432, cidr("172.16.0.0/12")),
            rule("sg-balancer", true, 0, 65535, cidr("0.0.0.0/0")),
            rule("sg-database", false, 5432, 5432, Peer::Group("sg-balancer".into())),
        ]),
        subnets: Ok(subnets.into()),
        acls: Ok(vec![
            acl("acl-balancer", ["subnet-a", "subnet-b"]),
            acl("acl-db", ["subnet-db-a", "subnet-db-b"]),
        ]),
        route_tables: Ok(vec![table]),
        metrics: Ok(BTreeMap::from([(Measured::NEW_FLOWS, 120), (Measured::NEW_CONNECTIONS, 100)])),
    };
    World { facts, network, principal: None }
}

fn route(to: &str, target: &str) -> Route {
    Route { to: to.parse().unwrap(), target: target.into(), is_blackhole: false }
}

fn connection(state: &str) -> Connection {
    Connection { endpoint: "vpce-1".into(), owner: "210987654321".into(), state: state.into() }
}

fn service(world: &mut World) -> &mut Service {
    &mut world.network.services.as_mut().unwrap()[0]
}

fn rules(world: &mut World) -> &mut Vec<Rule> {
    world.network.rules.as_mut().unwrap()
}

fn acl(world: &mut World, index: usize) -> &mut Acl {
    &mut world.network.acls.as_mut().unwrap()[index]
}

fn metric(world: &mut World, measured: Measured, sum: u64) {
    world.network.metrics.as_mut().unwrap().insert(measured, sum);
}

/// Nothing gets to the database, so its target is unhealthy.
fn is_cut_off(world: &mut World) {
    set_health(&mut world.facts, "unhealthy", "Target.FailedHealthChecks");
}

/// The database is in a VPC of its own, by a peering connection.
fn peer(world: &mut World) {
    world.facts.hosts.as_mut().unwrap().iter_mut().for_each(|host| host.vpc = Some("vpc-2".into()));
    let subnets = world.network.subnets.as_mut().unwrap();
    subnets.values_mut().filter(|it| it.id.contains("db")).for_each(|it| it.vpc = "vpc-2".into());
    for subnet in subnets.values_mut().filter(|it| !it.id.contains("db")) {
        subnet.cidrs = vec![subnet.cidrs[0].to_string().replace("10.0.", "10.9.").parse().unwrap()];
    }
    let tables = world.network.route_tables.as_mut().unwrap();
    tables[0].routes = vec![route("10.9.0.0/16", "local"), route("10.0.0.0/16", "pcx-1")];
    let of_database = RouteTable {
        id: "rtb-db".into(),
        vpc: "vpc-2".into(),
        routes: vec![route("10.0.0.0/16", "local"), route("10.9.0.0/16", "pcx-1")],
        ..tables[0].clone()
    };
    tables.push(of_database);
}

fn tables(world: &mut World) -> &mut Vec<RouteTable> {
    world.network.route_tables.as_mut().unwrap()
}

/// The same over IPv6: the subnets `subnet-a`, `subnet-b`, `subnet-db-a` and `subnet-db-b` are a1, a2, b1 and b2.
fn over_v6(world: &mut World) {
    group(&mut world.facts).address_type = "ipv6".into();
    load_balancer(&mut world.facts).address_type = "dualstack".into();
    let address = "2600:1f14:0:b1::10";
    world.facts.resolution.as_mut().unwrap().addresses =
        Addresses::parse([address.parse().unwrap()]).unwrap();
    let targets = world.facts.targets.as_mut().unwrap();
    let health = targets.pop_first().unwrap().1;
    targets.insert(format!("[{address}]:5432"), health);
    let subnets = world.network.subnets.as_mut().unwrap();
    for (id, block) in [("subnet-a", "a1"), ("subnet-b", "a2"), ("subnet-db-a", "b1"), ("subnet-db-b", "b2")]
    {
        let range = format!("2600:1f14:0:{block}::/64").parse().unwrap();
        subnets.get_mut(id).unwrap().cidrs.push(range);
    }
    let everywhere =
        |is_egress| AclEntry { cidr: "::/0".parse().unwrap(), ..everything(is_egress, true, 101) };
    for acl in world.network.acls.as_mut().unwrap() {
        acl.entries.extend([everywhere(true), everywhere(false)]);
    }
    rules(world)[1].peer = cidr("::/0");
    if tables(world).len() == 1 {
        tables(world)[0].routes.push(route("2600:1f14::/56", "local"));
    }
}

fn judge(world: &World) -> Vec<Finding> {
    let World { facts, network, principal } = world;
    let attached = &facts.load_balancers.as_ref().unwrap()[0];
    network_findings(CheckContext { binding: &binding(), facts, principal: *principal }, attached, network)
}

struct Case {
    check: &'static str,
    level: Severity,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut World),
}

const fn case(
    check: &'static str,
    level: Severity,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut World),
) -> Case {
    Case { check, level, observed, fix, fault }
}

use Severity::{NotExamined, Problem, Warning};

const CASES: &[Case] = &[
    case(
        "endpoint_service",
        Warning,
        "no endpoint service",
        "create-vpc-endpoint-service-configuration",
        |world| {
            world.network.services = Ok(Vec::new());
        },
    ),
    case("endpoint_service", Problem, "Failed", "--service-ids vpce-svc-", |world| {
        service(world).state = "Failed".into();
    }),
    case(
        "endpoint_service",
        NotExamined,
        "AccessDenied",
        "allow ec2:DescribeVpcEndpointServiceConf",
        |world| {
            world.network.services = Err(denied("ec2:DescribeVpcEndpointServiceConfigurations"));
        },
    ),
    case("allowed_principals", Warning, "nobody", "--principal", |world| {
        service(world).principals = Some(Ok(Vec::new()));
    }),
    case(
        "allowed_principals",
        Problem,
        VENDOR,
        "--add-allowed-principals arn:aws:iam::111111111111:role/vendor",
        |world| world.principal = Some("arn:aws:iam::111111111111:role/vendor"),
    ),
    case("allowed_principals", Warning, "* may connect", "--acceptance-required", |world| {
        service(world).principals = Some(Ok(vec!["*".into()]));
        service(world).requires_acceptance = false;
    }),
    case(
        "allowed_principals",
        NotExamined,
        "AccessDenied",
        "allow ec2:DescribeVpcEndpointServicePerm",
        |world| {
            service(world).principals = Some(Err(denied("ec2:DescribeVpcEndpointServicePermissions")));
        },
    ),
    case(
        "endpoint_connections",
        Warning,
        "vpce-1 of 210987654321 (pending",
        "--vpc-endpoint-ids vpce-1",
        |world| {
            service(world).connections =
                Some(Ok(vec![connection("available"), connection("pendingAcceptance")]));
        },
    ),
    case("endpoint_connections", Warning, "(rejected)", "create its endpoint again", |world| {
        service(world).connections = Some(Ok(vec![connection("rejected")]));
    }),
    // A request that nobody accepts expires.
    case("endpoint_connections", Warning, "(expired)", "create its endpoint again", |world| {
        service(world).connections = Some(Ok(vec![connection("expired")]));
    }),
    case("endpoint_connections", Warning, "(failed)", "delete its endpoint", |world| {
        service(world).connections = Some(Ok(vec![connection("failed")]));
    }),
    case("endpoint_connections", NotExamined, "AccessDenied", "allow ec2:DescribeVpcEndpointConn", |world| {
        service(world).connections = Some(Err(denied("ec2:DescribeVpcEndpointConnections")));
    }),
    case("zone_ids", NotExamined, "AccessDenied", "allow ec2:DescribeSubnets", |world| {
        world.network.subnets = Err(denied("ec2:DescribeSubnets"));
    }),
    // A vendor's client is in no group of this account.
    case(
        "security_groups",
        Problem,
        "sg-balancer admits sg-app to port 5432, and no range",
        "traffic off",
        |world| {
            rules(world)[0].peer = Peer::Group("sg-app".into());
        },
    ),
    case("security_groups", Warning, "no range of addresses", "traffic off", |world| {
        rules(world)[0].peer = Peer::Group("sg-app".into());
        service(world).connections = Some(Ok(Vec::new()));
    }),
    case(
        "security_groups",
        Problem,
        "sg-balancer has no inbound rule for port 5432",
        "traffic off",
        |world| {
            rules(world).remove(0);
        },
    ),
    case(
        "load_balancer_egress",
        Problem,
        "to 10.0.1.10 port 5432",
        "UserIdGroupPairs=[{GroupId=sg-database}]",
        |world| {
            is_cut_off(world);
            rules(world).remove(1);
        },
    ),
    case(
        "load_balancer_egress",
        Problem,
        "does not allow",
        "{CidrIp=10.0.1.0/24},{CidrIp=10.0.2.0/24}",
        |world| {
            is_cut_off(world);
            rules(world).remove(1);
            database(&mut world.facts).security_groups.clear();
            world.facts.hosts.as_mut().unwrap().iter_mut().for_each(|host| host.security_groups.clear());
        },
    ),
    case(
        "database_ingress",
        Problem,
        "sg-database has no inbound rule for port 5432",
        "UserIdGroupPairs=[{GroupId=sg-balancer}]",
        |world| {
            is_cut_off(world);
            rules(world).pop();
        },
    ),
    case(
        "database_ingress",
        Problem,
        "only 10.0.7.0/24",
        "{CidrIp=10.0.101.0/24},{CidrIp=10.0.102.0/24}",
        |world| {
            is_cut_off(world);
            rules(world)[2].peer = cidr("10.0.7.0/24");
            load_balancer(&mut world.facts).security_groups.clear();
        },
    ),
    // A rule may not name a group of another VPC everywhere.
    case(
        "database_ingress",
        Problem,
        "has no inbound rule",
        "{CidrIp=10.9.101.0/24},{CidrIp=10.9.102.0/24}",
        |world| {
            is_cut_off(world);
            peer(world);
            rules(world).pop();
        },
    ),
    case(
        "load_balancer_egress",
        Problem,
        "does not allow",
        "{CidrIp=10.0.1.0/24},{CidrIp=10.0.2.0/24}",
        |world| {
            is_cut_off(world);
            peer(world);
            rules(world).remove(1);
        },
    ),
    // Of the other port, or of UDP.
    case("database_ingress", Problem, "has no inbound rule", "--group-id sg-database", |world| {
        is_cut_off(world);
        rules(world)[2].ports = Some(Ports::one(3306));
        let of_udp = Rule { ports: None, ..rules(world)[2].clone() };
        rules(world).push(of_udp);
    }),
    // A healthy target shows that one zone gets through.
    case(
        "database_ingress",
        Warning,
        "not the load balancer (10.0.102.0/24)",
        "[{CidrIp=10.0.102.0/24}]",
        |world| {
            rules(world)[2].peer = cidr("10.0.101.0/24");
            load_balancer(&mut world.facts).security_groups.clear();
        },
    ),
    case("database_ingress", NotExamined, "AccessDenied", "allow ec2:DescribeSecurityGroupRules", |world| {
        world.network.rules = Err(denied("ec2:DescribeSecurityGroupRules"));
    }),
    case(
        "database_ingress",
        NotExamined,
        "security groups are not known",
        "the findings endpoint, database",
        |world| {
            world.facts.database = Ok(None);
            world.facts.hosts = Ok(Vec::new());
        },
    ),
    case("database_ingress", NotExamined, "AccessDenied", "allow ec2:DescribeSubnets", |world| {
        load_balancer(&mut world.facts).security_groups.clear();
        rules(world)[2].peer = cidr("10.0.7.0/24");
        world.network.subnets = Err(denied("ec2:DescribeSubnets"));
    }),
    case(
        "database_ingress",
        Problem,
        "has no inbound rule",
        "Ipv6Ranges=[{CidrIpv6=2600:1f14:0:a1::/64}",
        |world| {
            is_cut_off(world);
            over_v6(world);
            load_balancer(&mut world.facts).security_groups.clear();
            rules(world).pop();
        },
    ),
    case(
        "load_balancer_egress",
        Problem,
        "to 2600:1f14:0:b1::10 port",
        "Ipv6Ranges=[{CidrIpv6=2600:1f14:0:b1::/64}",
        |world| {
            is_cut_off(world);
            over_v6(world);
            rules(world).remove(1);
            database(&mut world.facts).security_groups.clear();
            world.facts.hosts.as_mut().unwrap().iter_mut().for_each(|host| host.security_groups.clear());
        },
    ),
    case(
        "network_acls",
        Problem,
        "acl-db: no entry allows port 5432 from 2600:1f14:0:a1::/64",
        "--ipv6-cidr-block",
        |world| {
            is_cut_off(world);
            over_v6(world);
            acl(world, 1).entries.retain(|entry| entry.cidr.addr().is_ipv4());
        },
    ),
    // A failover would move the writer into the other subnet.
    case(
        "network_acls",
        Warning,
        "acl-other: no entry allows port 5432 from 10.0.101.0/24",
        "acl-other",
        |world| {
            acl(world, 1).subnets.pop();
            let other =
                Acl { id: "acl-other".into(), subnets: vec!["subnet-db-b".into()], entries: Vec::new() };
            world.network.acls.as_mut().unwrap().push(other);
        },
    ),
    // Without an address there is none to look for.
    case("network_acls", NotExamined, "the subnets of one side", "see the finding endpoint", |world| {
        world.facts.resolution = Err(denied("nothing"));
    }),
    // The writer's own address.
    case("network_acls", Problem, "entry 90 denies port 5432 to 10.0.1.0/24", "--rule-number 89", |world| {
        is_cut_off(world);
        let cidr = "10.0.1.10/32".parse().unwrap();
        acl(world, 0).entries.push(AclEntry { cidr, ..everything(true, false, 90) });
    }),
    case("network_acls", NotExamined, "does not list", "the account of the subnets", |world| {
        world.network.acls = Ok(Vec::new());
    }),
    case(
        "network_acls",
        Problem,
        "acl-db: entry 90 denies port 5432 from 10.0.101.0/24",
        "--rule-number 89",
        |world| {
            is_cut_off(world);
            acl(world, 1).entries.push(everything(false, false, 90));
        },
    ),
    case(
        "network_acls",
        Problem,
        "acl-balancer: no entry allows port 1024-32767 from 10.0.1.0/24",
        "--ingress",
        |world| {
            is_cut_off(world);
            acl(world, 0).entries[1].ports.from = 32768;
        },
    ),
    case("network_acls", NotExamined, "AccessDenied", "allow ec2:DescribeNetworkAcls", |world| {
        world.network.acls = Err(denied("ec2:DescribeNetworkAcls"));
    }),
    case(
        "routes",
        Problem,
        "rtb-db of subnet-db-a has no route to 10.9.101.0/24",
        "create-route --route-table-id rtb-db --destination-cidr-block 10.9.102.0/24 --vpc-peering-connection-id pcx-1",
        |world| {
            is_cut_off(world);
            peer(world);
            world.network.route_tables.as_mut().unwrap()[1].routes.pop();
        },
    ),
    // A default route leads elsewhere, as that of most private subnets.
    case(
        "routes",
        Problem,
        "has no route to 10.9.101.0/24 but the one to 0.0.0.0/0 through igw-1",
        "create-route --route-table-id rtb-db --destination-cidr-block 10.9.101.0/24 --vpc-peering-connection-id pcx-1",
        |world| {
            is_cut_off(world);
            peer(world);
            tables(world)[1].routes[1] = route("0.0.0.0/0", "igw-1");
        },
    ),
    case(
        "routes",
        NotExamined,
        "rtb-main of subnet-a may lead to 10.0.1.0/24 through nat-1",
        "--route-table-ids rtb-main",
        |world| {
            is_cut_off(world);
            peer(world);
            tables(world)[0].routes[1] = route("0.0.0.0/0", "nat-1");
            // Where the replies go is the NAT gateway's own address.
            tables(world)[1].routes.pop();
        },
    ),
    // A NAT gateway carries no reply to a connection that another opened.
    case(
        "routes",
        Problem,
        "rtb-db of subnet-db-a has no route to 10.9.101.0/24 but the one to 0.0.0.0/0 through nat-1",
        "--route-table-id rtb-db --destination-cidr-block 10.9.101.0/24 --vpc-peering-connection-id pcx-1",
        |world| {
            is_cut_off(world);
            peer(world);
            tables(world)[1].routes[1] = route("0.0.0.0/0", "nat-1");
        },
    ),
    case(
        "routes",
        NotExamined,
        "rtb-db of subnet-db-a may lead to 10.9.101.0/24 through a prefix list",
        "--route-table-ids rtb-db",
        |world| {
            is_cut_off(world);
            peer(world);
            let table = &mut tables(world)[1];
            table.routes[1] = Route { is_blackhole: true, ..route("10.9.0.0/16", "pcx-2") };
            table.has_prefix_lists = true;
        },
    ),
    // The route there is known, and the way back is not.
    case("routes", NotExamined, "in both directions", "Values=10.0.1.10 --query", |world| {
        peer(world);
        world.facts.hosts = Ok(Vec::new());
    }),
    case("routes", NotExamined, "in both directions", "in the account", |world| {
        peer(world);
        tables(world).pop();
    }),
    case("routes", NotExamined, "AccessDenied", "allow rds:DescribeDBInstances", |world| {
        peer(world);
        world.facts.hosts = Err(denied("rds:DescribeDBInstances"));
    }),
    case("network_acls", NotExamined, "between the load balancer", "describe-network-interfaces", |world| {
        world.facts.hosts = Ok(Vec::new());
    }),
    case("network_acls", NotExamined, "AccessDenied", "allow rds:DescribeDBInstances", |world| {
        world.facts.hosts = Err(denied("rds:DescribeDBInstances"));
    }),
    // The ACL of one side alone is listed.
    case("network_acls", NotExamined, "does not list", "the account of the subnets", |world| {
        world.network.acls.as_mut().unwrap().pop();
    }),
    case(
        "security_groups",
        NotExamined,
        "AccessDenied",
        "allow ec2:DescribeVpcEndpointServiceConf",
        |world| {
            rules(world)[0].peer = Peer::Group("sg-app".into());
            world.network.services = Err(denied("ec2:DescribeVpcEndpointServiceConfigurations"));
        },
    ),
    case("routes", NotExamined, "through a prefix list", "--route-table-ids rtb-db", |world| {
        is_cut_off(world);
        peer(world);
        tables(world)[1].routes.pop();
        tables(world)[1].has_prefix_lists = true;
    }),
    case(
        "routes",
        Problem,
        "the route to 0.0.0.0/0 through tgw-2 is a blackhole",
        "create-route --route-table-id rtb-db --destination-cidr-block 10.9.101.0/24 --vpc-peering-connection-id pcx-1",
        |world| {
            is_cut_off(world);
            peer(world);
            tables(world)[1].routes[1] = Route { is_blackhole: true, ..route("0.0.0.0/0", "tgw-2") };
        },
    ),
    case(
        "routes",
        Problem,
        "rtb-db of subnet-db-a has no route to 2600:1f14:0:a1::/64 but the one to ::/0 through eigw-1",
        "--destination-ipv6-cidr-block 2600:1f14:0:a1::/64 --vpc-peering-connection-id pcx-1",
        |world| {
            is_cut_off(world);
            peer(world);
            over_v6(world);
            tables(world)[0].routes.push(route("2600:1f14:0:b0::/60", "pcx-1"));
            tables(world)[1].routes.push(route("::/0", "eigw-1"));
        },
    ),
    // Only the subnet that a failover may lead to has no route back.
    case(
        "routes",
        Warning,
        "rtb-db-b of subnet-db-b has no route to 10.9.101.0/24",
        "--route-table-id rtb-db-b",
        |world| {
            peer(world);
            let of_second = RouteTable {
                id: "rtb-db-b".into(),
                subnets: vec!["subnet-db-b".into()],
                is_main: false,
                routes: vec![route("10.0.0.0/16", "local")],
                ..tables(world)[1].clone()
            };
            tables(world).push(of_second);
        },
    ),
    case(
        "routes",
        Problem,
        "subnet-a and subnet-b: the route to 10.0.0.0/16 through pcx-2 is a blackhole",
        "--vpc-peering-connection-id pcx-1",
        |world| {
            is_cut_off(world);
            peer(world);
            let route = &mut world.network.route_tables.as_mut().unwrap()[0].routes[1];
            (route.target, route.is_blackhole) = ("pcx-2".into(), true);
        },
    ),
    // The other direction would lead to the same peering, which is gone.
    case("routes", Problem, "through pcx-1 is a blackhole", "deleted or not active", |world| {
        is_cut_off(world);
        peer(world);
        world.network.route_tables.as_mut().unwrap()[0].routes[1].is_blackhole = true;
    }),
    case("routes", NotExamined, "AccessDenied", "allow ec2:DescribeRouteTables", |world| {
        world.network.route_tables = Err(denied("ec2:DescribeRouteTables"));
    }),
    case("blocked_flows", Warning, "70 connections blocked from clients", "security_groups", |world| {
        metric(world, Measured::BLOCKED_INBOUND, 70);
    }),
    case("blocked_flows", Warning, "70 towards targets", "load_balancer_egress", |world| {
        metric(world, Measured::BLOCKED_OUTBOUND, 70);
    }),
    case("resets", Warning, "80 by targets", "--through", |world| {
        metric(world, Measured::TARGET_RESETS, 80);
    }),
    case("resets", Warning, "90 by the load balancer", "idle_timeout", |world| {
        metric(world, Measured::LOAD_BALANCER_RESETS, 90);
    }),
    case("traffic", Warning, "0 new connections in the last hour, 100 through", "blocked_flows", |world| {
        metric(world, Measured::NEW_FLOWS, 0);
    }),
    case("traffic", NotExamined, "AccessDenied", "allow cloudwatch:GetMetricData", |world| {
        world.network.metrics = Err(denied("cloudwatch:GetMetricData"));
    }),
];

#[test]
fn network_without_a_fault_is_ok() {
    let findings = judge(&world());
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    let expected = [
        "endpoint_service",
        "allowed_principals",
        "endpoint_connections",
        "zone_ids",
        "security_groups",
        "load_balancer_egress",
        "database_ingress",
        "network_acls",
        "routes",
        "traffic",
        "blocked_flows",
        "resets",
    ];
    assert_eq!(checks, expected);
    assert!(findings.iter().all(|finding| finding.level == Severity::Ok), "{findings:#?}");
    let observed = |check: &str| findings.iter().find(|it| it.check == check).unwrap().observed.clone();
    assert_eq!(observed("zone_ids"), "use1-az1 (us-east-1a), use1-az2 (us-east-1b)");
    assert_eq!(observed("traffic"), "120 new connections in the last hour, 100 through the endpoint service");
    assert!(observed("endpoint_service").ends_with("Available, acceptance required"));
}

#[test]
fn every_fault_of_the_network_has_its_finding_and_fix() {
    for Case { check, level, observed, fix, fault } in CASES {
        let mut world = world();
        fault(&mut world);
        let findings = judge(&world);
        let found = findings.iter().find(|finding| finding.check == *check && finding.level == *level);
        let found = found.unwrap_or_else(|| panic!("{check}, {observed}: not among {findings:#?}"));
        assert!(found.observed.contains(observed), "{observed:?} is not in {found:?}");
        assert!(found.fix.as_ref().is_some_and(|text| text.contains(fix)), "{fix:?} is not in {found:?}");
        let others = findings.iter().filter(|it| it.level > Severity::Ok && it.check != *check);
        assert_eq!(others.count(), 0, "{check}: {findings:#?}");
    }
}

#[test]
fn every_check_of_the_network_has_a_fault() {
    let with_faults: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    let findings = judge(&world());
    let checks: BTreeSet<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    assert_eq!(checks, with_faults);
}

#[test]
fn unusual_but_healthy_networks_have_no_fault() {
    let worlds: [fn(&mut World); 19] = [
        peer,
        |world| over_v6(world),
        |world| {
            peer(world);
            over_v6(world);
            tables(world)[0].routes.push(route("2600:1f14:0:b0::/60", "pcx-1"));
            tables(world)[1].routes.push(route("2600:1f14:0:a0::/60", "pcx-1"));
        },
        // A private NAT gateway or a prefix list leads there, as the health check shows.
        |world| {
            peer(world);
            tables(world)[0].routes[1] = route("0.0.0.0/0", "nat-1");
            tables(world)[1].routes.pop();
            tables(world)[1].has_prefix_lists = true;
        },
        // The second subnet in the writer's own zone, which no failover leads to.
        |world| {
            peer(world);
            let other = Subnet { vpc: "vpc-2".into(), ..subnet("subnet-db-a2", 'a', "10.0.3.0/24").1 };
            world.network.subnets.as_mut().unwrap().insert(other.id.clone(), other);
            for host in world.facts.hosts.as_mut().unwrap() {
                host.subnets.push(("subnet-db-a2".into(), "us-east-1a".into()));
            }
            acl(world, 1).subnets.push("subnet-db-a2".into());
            let without_route = RouteTable {
                id: "rtb-db-a2".into(),
                subnets: vec!["subnet-db-a2".into()],
                is_main: false,
                routes: vec![route("10.0.0.0/16", "local")],
                ..tables(world)[1].clone()
            };
            tables(world).push(without_route);
        },
        // A route for each of the load balancer's addresses.
        |world| {
            peer(world);
            tables(world)[1].routes[1] = route("10.9.101.7/32", "pcx-1");
            tables(world)[1].routes.push(route("10.9.102.7/32", "pcx-1"));
        },
        |world| {
            rules(world)[0].peer = Peer::Group("sg-app".into());
            rules(world).push(rule("sg-balancer", false, 0, 65535, cidr("0.0.0.0/0")));
        },
        |world| service(world).connections = Some(Ok(vec![connection("available"), connection("rejected")])),
        |world| service(world).connections = Some(Ok(vec![connection("available"), connection("expired")])),
        |world| service(world).connections = Some(Ok(Vec::new())),
        // Everybody may ask, and each is accepted by hand.
        |world| service(world).principals = Some(Ok(vec!["*".into()])),
        // A role of an account that is allowed.
        |world| world.principal = Some("arn:aws:iam::210987654321:role/vendor"),
        // The load balancer has no security group, and the database admits its addresses or its subnets.
        |world| {
            load_balancer(&mut world.facts).security_groups.clear();
            rules(world)[2].peer = cidr("10.0.0.0/16");
        },
        |world| {
            load_balancer(&mut world.facts).security_groups.clear();
            rules(world)[2].peer = cidr("10.0.101.7/32");
            let second = rule("sg-database", false, 0, 65535, cidr("10.0.102.7/32"));
            rules(world).push(second);
        },
        |world| rules(world)[2].peer = Peer::PrefixList("pl-1".into()),
        |world| rules(world)[1].peer = Peer::Group("sg-database".into()),
        // The rules do not count for PrivateLink.
        |world| {
            load_balancer(&mut world.facts).enforces_on_private_link = false;
            rules(world).remove(0);
        },
        // A few blocked connections are part of every day.
        |world| {
            metric(world, Measured::BLOCKED_INBOUND, 10);
            metric(world, Measured::BLOCKED_OUTBOUND, 10);
        },
        // Database and load balancer are in the same subnets, where no ACL applies.
        |world| {
            load_balancer(&mut world.facts).zones = strings([("us-east-1a", "subnet-db-a")]).into();
            host_of(&mut world.facts, 1).zone = Some("us-east-1a".into());
            acl(world, 1).entries.clear();
        },
    ];
    for (index, change) in worlds.into_iter().enumerate() {
        let mut world = world();
        change(&mut world);
        let faults: Vec<Finding> = judge(&world).into_iter().filter(|it| it.level > Severity::Ok).collect();
        assert!(faults.is_empty(), "world {index}: {faults:#?}");
    }
}

/// Inside one VPC the way back is local, as the way there is.
#[test]
fn local_route_is_ok_where_the_databases_subnets_are_not_known() {
    let mut world = world();
    world.facts.hosts = Ok(Vec::new());
    let routes = judge(&world).into_iter().find(|it| it.check == "routes").unwrap();
    assert_eq!((routes.level, routes.observed.as_str()), (Severity::Ok, "local"));
}

#[test]
fn next_failover_is_not_the_cause_of_todays_fault() {
    let mut world = world();
    peer(&mut world);
    let of_second = RouteTable {
        id: "rtb-db-b".into(),
        subnets: vec!["subnet-db-b".into()],
        is_main: false,
        routes: vec![route("10.0.0.0/16", "local")],
        ..tables(&mut world)[1].clone()
    };
    tables(&mut world).push(of_second);
    set_health(&mut world.facts, "unavailable", "Target.HealthCheckDisabled");
    let path = PathFindings { network: judge(&world), ..PathFindings::default() };
    let report = BindingFindings::new(
        ENDPOINT,
        GROUP,
        findings_with(CheckContext::new(&binding(), &world.facts), path),
    );
    let of = |check: &str| report.findings.iter().find(|it| it.check == check).unwrap();
    assert_eq!((of("routes").level, of("targets").level), (Severity::Warning, Severity::Warning));
    assert_eq!(of("targets").cause, None);
}

#[test]
fn missing_rule_is_the_cause_of_an_unhealthy_target() {
    let mut world = world();
    is_cut_off(&mut world);
    rules(&mut world).pop();
    let path = PathFindings { network: judge(&world), ..PathFindings::default() };
    let report = BindingFindings::new(
        ENDPOINT,
        GROUP,
        findings_with(CheckContext::new(&binding(), &world.facts), path),
    );
    let causes = report.findings.iter().filter(|it| it.level == Severity::Problem && it.cause.is_none());
    assert_eq!(causes.map(|it| it.check.as_ref()).collect::<Vec<_>>(), ["database_ingress"]);
    let not_examined = report.not_examined.iter().filter(|it| it.check == "security_groups");
    assert_eq!(not_examined.count(), 0, "the network's check has examined them");
}

/// A target that is unhealthy for another reason gets no rule that it has already.
#[test]
fn unhealthy_target_behind_open_security_groups_has_another_fix() {
    let mut world = world();
    is_cut_off(&mut world);
    let path = PathFindings { network: judge(&world), ..PathFindings::default() };
    let findings = findings_with(CheckContext::new(&binding(), &world.facts), path);
    let fix = findings.into_iter().find(|it| it.check == "targets").unwrap().fix.unwrap();
    assert!(fix.contains("network_acls") && !fix.contains("authorize-security-group-ingress"), "{fix}");
    rules(&mut world)[1].peer = Peer::PrefixList("pl-1".into());
    let path = PathFindings { network: judge(&world), ..PathFindings::default() };
    let unknown = findings_with(CheckContext::new(&binding(), &world.facts), path);
    let fix = unknown.into_iter().find(|it| it.check == "targets").unwrap().fix.unwrap();
    assert!(!fix.contains("the security groups admit"), "its own group may not let it out: {fix}");
    let alone = super::findings(&binding(), &world.facts);
    let fix = alone.into_iter().find(|it| it.check == "targets").unwrap().fix.unwrap();
    assert!(fix.contains("authorize-security-group-ingress"), "{fix}");
}

/// Every command of every fix, for the test of them.
pub fn commands() -> BTreeSet<String> {
    let worlds = CASES.iter().map(|case| {
        let mut world = world();
        (case.fault)(&mut world);
        world
    });
    let fixes = worlds.flat_map(|world| judge(&world)).filter_map(|finding| finding.fix);
    fixes.flat_map(|fix| super::faults::quoted(&fix)).collect()
}
