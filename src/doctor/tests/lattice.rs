//! One fault of a path by VPC Lattice at a time, and its absence.

use std::collections::BTreeMap;

use super::super::network::*;
use super::network::{cidr, rule, subnet};
use super::*;

const CONFIGURATION: &str = "rcfg-0123456789abcdef0";
const GATEWAY: &str = "rgw-0123456789abcdef0";
const ARN: &str = "arn:aws:vpc-lattice:us-east-1:123456789012:resourceconfiguration/rcfg-0123456789abcdef0";
const SHARE: &str = "arn:aws:ram:us-east-1:123456789012:resource-share/12345678-1234-1234-1234-123456789012";
const VENDOR: &str = "210987654321";
const UNIT: &str = "arn:aws:organizations::123456789012:ou/o-1234567890/ou-1234-12345678";
const MEMBER: &str = "orders-1.abc123.us-east-1.rds.amazonaws.com";
const READER: &str = "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com";
const GLOBAL: &str = "world.global-abc123.global.rds.amazonaws.com";

/// A cluster, and a path to it that a vendor has accepted.
struct World {
    endpoint: &'static str,
    facts: Facts,
    paths: Fact<Vec<LatticePath>>,
    principal: Option<&'static str>,
}

fn share(principals: &[(&str, &str)]) -> Share {
    let principal = |(id, status): &(&str, &str)| Principal { id: (*id).into(), status: (*status).into() };
    Share {
        arn: SHARE.into(),
        name: "orders".into(),
        status: "ASSOCIATED".into(),
        principals: principals.iter().map(principal).collect(),
    }
}

fn world() -> World {
    let path = LatticePath {
        configuration: ResourceConfiguration {
            id: CONFIGURATION.into(),
            name: "orders".into(),
            shared_arn: ARN.into(),
            status: "ACTIVE".into(),
            failure: None,
            gateway: Some(GATEWAY.into()),
            resource: Resource::Name(ENDPOINT.into()),
            ports: vec![Ports::one(5432)],
            is_for_shared_networks: false,
        },
        gateway: Some(Ok(ResourceGateway {
            id: GATEWAY.into(),
            status: "ACTIVE".into(),
            security_groups: vec!["sg-gateway".into()],
            subnets: vec!["subnet-a".into(), "subnet-b".into()],
        })),
        rules: Ok(vec![
            rule("sg-gateway", true, 5432, 5432, Peer::Group("sg-database".into())),
            rule("sg-database", false, 5432, 5432, Peer::Group("sg-gateway".into())),
        ]),
        subnets: Ok(
            [subnet("subnet-a", 'a', "10.0.101.0/24"), subnet("subnet-b", 'b', "10.0.102.0/24")].into()
        ),
        shares: Ok(vec![share(&[(VENDOR, "ASSOCIATED")])]),
    };
    World { endpoint: ENDPOINT, facts: healthy_facts(), paths: Ok(vec![path]), principal: None }
}

fn path(world: &mut World) -> &mut LatticePath {
    &mut world.paths.as_mut().unwrap()[0]
}

fn configuration(world: &mut World) -> &mut ResourceConfiguration {
    &mut path(world).configuration
}

fn gateway(world: &mut World) -> &mut ResourceGateway {
    path(world).gateway.as_mut().unwrap().as_mut().unwrap()
}

fn rules(world: &mut World) -> &mut Vec<Rule> {
    path(world).rules.as_mut().unwrap()
}

fn shared_with(world: &mut World, principals: &[(&str, &str)]) {
    path(world).shares = Ok(vec![share(principals)]);
}

fn ranges(texts: &[&str]) -> Resource {
    Resource::Ranges(texts.iter().map(|range| range.parse().unwrap()).collect())
}

/// The endpoint is the one of an instance of a cluster.
fn is_bound_to_a_member(world: &mut World) {
    world.endpoint = MEMBER;
    world.facts.identifier = "orders-1".into();
    world.facts.resolution = Ok(resolution(&[MEMBER]));
    let database = database(&mut world.facts);
    database.kind = DatabaseKind::Instance;
    database.identifier = "orders-1".into();
    database.member_of = Some("orders".into());
    database.described = Cluster::default();
}

/// The endpoint is an alias of a global cluster's.
fn is_global(world: &mut World) {
    world.endpoint = "db.example.com";
    world.facts.resolution = Ok(resolution(&["db.example.com", GLOBAL, ENDPOINT, MEMBER]));
}

fn set_address(facts: &mut Facts, address: &str) {
    facts.resolution.as_mut().unwrap().addresses = Addresses::parse([address.parse().unwrap()]).unwrap();
}

/// What the doctor reads of a path is only what belongs to this database.
fn judge(world: &World) -> Vec<Finding> {
    let binding = Binding { endpoint: world.endpoint.into(), ..binding() };
    let context = CheckContext { binding: &binding, facts: &world.facts, principal: world.principal };
    lattice_findings(context, &world.paths)
}

type Case = (&'static str, Severity, &'static str, &'static str, fn(&mut World));

use Severity::{NotExamined, Ok as Fine, Problem, Warning};

const CASES: &[Case] = &[
    (
        "lattice_configuration",
        NotExamined,
        "paths by VPC Lattice: could not ask: AccessDenied",
        "allow vpc-lattice:ListResourceConfigurations in",
        |world| world.paths = Err(denied("vpc-lattice:ListResourceConfigurations")),
    ),
    (
        "lattice_configuration",
        Problem,
        "orders (rcfg-0123456789abcdef0), CREATE_FAILED: no such name",
        "get-resource-configuration --resource-configuration-identifier rcfg-0123456789abcdef0",
        |world| {
            configuration(world).status = "CREATE_FAILED".into();
            configuration(world).failure = Some("no such name".into());
        },
    ),
    ("lattice_configuration", Warning, "UPDATE_IN_PROGRESS", "in some minutes", |world| {
        configuration(world).status = "UPDATE_IN_PROGRESS".into();
    }),
    (
        "lattice_resource",
        Problem,
        "the resource configuration rcfg-0123456789abcdef0 leads to 10.0.1.10, an address",
        "update-resource-configuration --resource-configuration-identifier rcfg-0123456789abcdef0 \
         --resource-configuration-definition \
         'dnsResource={domainName=orders.cluster-abc123.us-east-1.rds.amazonaws.com,ipAddressType=IPV4}'",
        |world| configuration(world).resource = Resource::Address("10.0.1.10".parse().unwrap()),
    ),
    // The address of the previous writer, which the group still holds.
    ("lattice_resource", Problem, "10.0.2.20, an address", "ipAddressType=IPV4", |world| {
        configuration(world).resource = Resource::Address("10.0.2.20".parse().unwrap());
        set_targets(&mut world.facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "draining")]);
    }),
    (
        "lattice_resource",
        Problem,
        "the name of one instance of the cluster",
        "domainName=orders.cluster-abc123.us-east-1.rds.amazonaws.com",
        |world| configuration(world).resource = Resource::Name(MEMBER.into()),
    ),
    ("lattice_resource", Problem, "the name of a host", "domainName=orders.cluster-abc123", |world| {
        let host = "ec2-192-0-2-10.compute-1.amazonaws.com";
        world.facts.resolution = Ok(resolution(&[ENDPOINT, MEMBER, host]));
        configuration(world).resource = Resource::Name(host.into());
    }),
    // After a failover DNS names the other instance, and the name of this one is in no chain.
    (
        "lattice_resource",
        Problem,
        "orders-2.abc123.us-east-1.rds.amazonaws.com, the name of one instance of the cluster",
        "domainName=orders.cluster-abc123.us-east-1.rds.amazonaws.com",
        |world| {
            configuration(world).resource =
                Resource::Name("orders-2.abc123.us-east-1.rds.amazonaws.com".into());
        },
    ),
    (
        "lattice_resource",
        Problem,
        "db:Orders-2, the ARN of one instance of the cluster",
        "domainName=orders.cluster-abc123.us-east-1.rds.amazonaws.com",
        |world| {
            let arn = "arn:aws:rds:us-east-1:123456789012:db:Orders-2";
            configuration(world).resource = Resource::Arn(arn.into());
        },
    ),
    (
        "lattice_resource",
        Warning,
        "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com, the reader endpoint",
        "if clients write by this path, give it the name that always leads to the writer: `aws vpc-lattice update-",
        |world| configuration(world).resource = Resource::Name(READER.into()),
    ),
    // The binding's endpoint follows no failover either.
    ("lattice_resource", Problem, "the name of one instance", "see the finding endpoint_kind", |world| {
        is_bound_to_a_member(world);
        configuration(world).resource = Resource::Name(MEMBER.into());
    }),
    ("lattice_resource", Problem, "the ARN of one instance", "see the finding endpoint_kind", |world| {
        is_bound_to_a_member(world);
        let arn = "arn:aws:rds:us-east-1:123456789012:db:orders-1";
        configuration(world).resource = Resource::Arn(arn.into());
    }),
    // The endpoint is an alias of a global cluster's.
    (
        "lattice_resource",
        Problem,
        "the name of one Region's cluster",
        "domainName=world.global-abc123.global.rds.amazonaws.com",
        |world| {
            is_global(world);
            configuration(world).resource = Resource::Name(ENDPOINT.into());
        },
    ),
    (
        "lattice_resource",
        Problem,
        "the ARN of one Region's cluster",
        "domainName=world.global-abc123.global.rds.amazonaws.com",
        |world| {
            is_global(world);
            let arn = "arn:aws:rds:us-east-1:123456789012:cluster:orders";
            configuration(world).resource = Resource::Arn(arn.into());
        },
    ),
    // The group has IPv6, and so has the endpoint beside its IPv4.
    ("lattice_resource", Problem, "10.0.1.10, an address", "ipAddressType=IPV4}", |world| {
        group(&mut world.facts).address_type = "ipv6".into();
        configuration(world).resource = Resource::Address("10.0.1.10".parse().unwrap());
    }),
    ("lattice_resource", Problem, "one instance of the cluster", "ipAddressType=IPV6}", |world| {
        group(&mut world.facts).address_type = "ipv6".into();
        configuration(world).resource = Resource::Name(MEMBER.into());
    }),
    (
        "lattice_resource",
        NotExamined,
        "whether rcfg-0123456789abcdef0 is for the database: it has a range of addresses",
        "see its configuration: `aws vpc-lattice get-resource-configuration",
        |world| configuration(world).resource = ranges(&["192.168.0.0/16", "10.0.0.0/16"]),
    ),
    ("lattice_resource", NotExamined, "it has a range of addresses", "see its configuration", |world| {
        configuration(world).resource = ranges(&["192.168.0.0/16"]);
        world.facts.resolution = Err(denied("everything"));
    }),
    ("lattice_resource", NotExamined, "a kind that the doctor does not know", "see its conf", |world| {
        configuration(world).resource = Resource::Other;
    }),
    (
        "lattice_port",
        Problem,
        "has port 3306, 8000-9000, and not 5432",
        "--port-ranges 3306 8000-9000 5432",
        |world| configuration(world).ports = vec![Ports::one(3306), Ports { from: 8000, to: 9000 }],
    ),
    (
        "lattice_gateway",
        Problem,
        "rgw-0123456789abcdef0, CREATE_FAILED",
        "get-resource-gateway --resource-gateway-identifier rgw-0123456789abcdef0",
        |world| gateway(world).status = "CREATE_FAILED".into(),
    ),
    (
        "lattice_gateway",
        NotExamined,
        "security groups between it and the database: could not ask: AccessDenied",
        "allow vpc-lattice:GetResourceGateway in",
        |world| {
            path(world).gateway = Some(Err(denied("vpc-lattice:GetResourceGateway")));
            path(world).rules = Ok(Vec::new());
            path(world).subnets = Ok(BTreeMap::new());
        },
    ),
    ("lattice_gateway", NotExamined, "names no gateway", "get-resource-configuration", |world| {
        path(world).gateway = None;
        path(world).rules = Ok(Vec::new());
        path(world).subnets = Ok(BTreeMap::new());
    }),
    (
        "lattice_egress",
        Problem,
        "sg-gateway does not allow the resource gateway outbound connections to 10.0.1.10 port 5432",
        "authorize-security-group-egress --group-id sg-gateway --ip-permissions \
         'IpProtocol=tcp,FromPort=5432,ToPort=5432,UserIdGroupPairs=[{GroupId=sg-database}]'",
        |world| {
            rules(world).remove(0);
        },
    ),
    (
        "lattice_egress",
        NotExamined,
        "whether sg-gateway allows the resource gateway outbound connections to 10.0.1.10 port 5432: the rule for pl-1 may do so",
        "see the prefix list's addresses: `aws ec2 get-managed-prefix-list-entries --prefix-list-id pl-1",
        |world| rules(world)[0].peer = Peer::PrefixList("pl-1".into()),
    ),
    (
        "lattice_ingress",
        NotExamined,
        "whether sg-database admits the resource gateway to port 5432: the rule for pl-1 may do so",
        "see the prefix list's addresses: `aws ec2 get-managed-prefix-list-entries --prefix-list-id pl-1",
        |world| rules(world)[1].peer = Peer::PrefixList("pl-1".into()),
    ),
    // Only a part of one subnet is admitted.
    (
        "lattice_ingress",
        NotExamined,
        "the rule for 10.0.102.7/32 may do so",
        "see the addresses of the resource gateway: `aws ec2 describe-network-interfaces --filters \
         Name=group-id,Values=sg-gateway ",
        |world| {
            rules(world)[1].peer = cidr("10.0.101.0/24");
            let second = rule("sg-database", false, 5432, 5432, cidr("10.0.102.7/32"));
            rules(world).push(second);
        },
    ),
    ("lattice_ingress", NotExamined, "10.0.101.7/32, 10.0.102.7/32", "Values=subnet-a,subnet-b ", |world| {
        gateway(world).security_groups.clear();
        rules(world)[1].peer = cidr("10.0.101.7/32");
        let second = rule("sg-database", false, 5432, 5432, cidr("10.0.102.7/32"));
        rules(world).push(second);
    }),
    (
        "lattice_ingress",
        Problem,
        "sg-database admits only sg-balancer to port 5432, and not the resource gateway (10.0.101.0/24, 10.0.102.0/24)",
        "authorize-security-group-ingress --group-id sg-database --ip-permissions \
         'IpProtocol=tcp,FromPort=5432,ToPort=5432,UserIdGroupPairs=[{GroupId=sg-gateway}]'",
        |world| rules(world)[1].peer = Peer::Group("sg-balancer".into()),
    ),
    (
        "lattice_ingress",
        Problem,
        "only 10.0.101.0/24 to port 5432, and not the resource gateway (10.0.102.0/24)",
        "IpRanges=[{CidrIp=10.0.102.0/24}]",
        |world| {
            gateway(world).security_groups.clear();
            rules(world)[1].peer = cidr("10.0.101.0/24");
        },
    ),
    ("lattice_ingress", NotExamined, "AccessDenied", "allow ec2:DescribeSecurityGroupRules in", |world| {
        path(world).rules = Err(denied("ec2:DescribeSecurityGroupRules"));
    }),
    (
        "lattice_ingress",
        NotExamined,
        "admits the resource gateway: could not",
        "allow ec2:DescribeSubnets in",
        |world| {
            path(world).subnets = Err(denied("ec2:DescribeSubnets"));
            rules(world)[1].peer = cidr("10.0.0.0/16");
        },
    ),
    (
        "lattice_share",
        NotExamined,
        "whether they accepted",
        "allow ram:GetResourceShareAssociations in",
        |world| {
            path(world).shares = Err(denied("ram:GetResourceShareAssociations"));
        },
    ),
    (
        "lattice_share",
        Warning,
        "rcfg-0123456789abcdef0 is shared with nobody",
        "run the doctor with --principal",
        |world| path(world).shares = Ok(Vec::new()),
    ),
    (
        "lattice_share",
        Warning,
        "shared with nobody",
        "create-resource-share --name orders --resource-arns \
         arn:aws:vpc-lattice:us-east-1:123456789012:resourceconfiguration/rcfg-0123456789abcdef0 --principals 210987654321",
        |world| {
            path(world).shares = Ok(Vec::new());
            world.principal = Some("arn:aws:iam::210987654321:role/vendor");
        },
    ),
    // The configuration was taken out of the share.
    ("lattice_share", Warning, "rcfg-0123456789abcdef0 is shared with nobody", "--principal", |world| {
        path(world).shares.as_mut().unwrap()[0].status = "DISASSOCIATED".into();
    }),
    (
        "lattice_share",
        Warning,
        "nobody by the share orders",
        "associate-resource-share --resource-share-arn \
         arn:aws:ram:us-east-1:123456789012:resource-share/12345678-1234-1234-1234-123456789012 --principals 210987654321",
        |world| {
            shared_with(world, &[]);
            world.principal = Some("arn:aws:iam::210987654321:root");
        },
    ),
    (
        "lattice_share",
        Warning,
        "210987654321 (invited, not accepted) by the share orders",
        "(no output means that no invitation waits): `aws ram get-resource-share-invitations",
        |world| shared_with(world, &[(VENDOR, "ASSOCIATING")]),
    ),
    (
        "lattice_share",
        Warning,
        "210987654321 (invited, not accepted) by the share orders",
        "| xargs -r -n 1 aws ram accept-resource-share-invitation --region us-east-1 --resource-share-invitation-arn`",
        |world| shared_with(world, &[(VENDOR, "ASSOCIATING")]),
    ),
    // An organization has no invitation.
    ("lattice_share", Warning, "ou-1234-12345678 (invited", "wait some minutes, then run", |world| {
        shared_with(world, &[(UNIT, "ASSOCIATING")]);
    }),
    // Another vendor has accepted.
    ("lattice_share", Warning, "111111111111 (accepted), 210987654321 (invited", "?status==", |world| {
        shared_with(world, &[("111111111111", "ASSOCIATED"), (VENDOR, "ASSOCIATING")]);
    }),
    (
        "lattice_share",
        Warning,
        "210987654321 (removed, or its invitation declined or expired)",
        "associate-resource-share --resource-share-arn \
         arn:aws:ram:us-east-1:123456789012:resource-share/12345678-1234-1234-1234-123456789012 --principals 210987654321",
        |world| shared_with(world, &[(VENDOR, "DISASSOCIATED")]),
    ),
    ("lattice_share", Warning, "210987654321 (FAILED)", "disassociate-resource-share", |world| {
        shared_with(world, &[("111111111111", "ASSOCIATED"), (VENDOR, "FAILED")]);
    }),
    (
        "lattice_share",
        Warning,
        "the share orders, where it is FAILED",
        "--resource-arns arn:aws:vpc-",
        |world| {
            path(world).shares.as_mut().unwrap()[0].status = "FAILED".into();
        },
    ),
    ("lattice_share", NotExamined, "may be shared", "list-service-network-resource-associations", |world| {
        path(world).shares = Ok(Vec::new());
        configuration(world).is_for_shared_networks = true;
    }),
];

#[test]
fn path_without_a_fault_is_ok() {
    let findings = judge(&world());
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    let expected = [
        "lattice_configuration",
        "lattice_resource",
        "lattice_port",
        "lattice_gateway",
        "lattice_egress",
        "lattice_ingress",
        "lattice_share",
    ];
    assert_eq!(checks, expected);
    assert!(findings.iter().all(|finding| finding.level == Fine), "{findings:#?}");
    let observed = |check: &str| findings.iter().find(|it| it.check == check).unwrap().observed.clone();
    assert_eq!(
        observed("lattice_resource"),
        format!("the resource configuration {CONFIGURATION} leads to {ENDPOINT}")
    );
    assert_eq!(
        observed("lattice_egress"),
        "sg-gateway allows the resource gateway outbound connections to port 5432"
    );
    assert_eq!(observed("lattice_ingress"), "sg-database admits the resource gateway to port 5432");
    let shared = format!("{CONFIGURATION} is shared with 210987654321 (accepted) by the share orders");
    assert_eq!(observed("lattice_share"), shared);
}

#[test]
fn every_fault_of_a_path_has_its_finding_and_fix() {
    for (check, level, observed, fix, fault) in CASES {
        let mut world = world();
        fault(&mut world);
        let findings = judge(&world);
        let found = findings.iter().find(|finding| finding.check == *check && finding.level == *level);
        let found = found.unwrap_or_else(|| panic!("{check}, {observed}: not among {findings:#?}"));
        assert!(found.observed.contains(observed), "{observed:?} is not in {found:?}");
        assert!(found.fix.as_ref().is_some_and(|text| text.contains(fix)), "{fix:?} is not in {found:?}");
        let others = findings.iter().filter(|it| it.level != Fine && it.check != *check);
        assert_eq!(others.count(), 0, "{check}: {findings:#?}");
    }
}

#[test]
fn every_check_of_a_path_has_a_fault() {
    let with_faults: BTreeSet<&str> = CASES.iter().map(|(check, ..)| *check).collect();
    let findings = judge(&world());
    let checks: BTreeSet<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    assert_eq!(checks, with_faults);
}

#[test]
fn unusual_but_healthy_paths_have_no_fault() {
    let worlds: [fn(&mut World); 16] = [
        |world| world.paths = Ok(Vec::new()),
        |world| configuration(world).resource = Resource::Name(format!("{}.", ENDPOINT.to_uppercase())),
        |world| {
            let arn = "arn:aws:rds:us-east-1:123456789012:cluster:orders";
            configuration(world).resource = Resource::Arn(arn.into());
            configuration(world).ports.clear();
        },
        // The binding has an alias, and the configuration the cluster's own name or another alias.
        |world| world.facts.resolution = Ok(resolution(&["db.example.com", ENDPOINT, MEMBER])),
        |world| {
            world.facts.resolution =
                Ok(resolution(&["db.example.com", "alias.example.com", ENDPOINT, MEMBER]));
            configuration(world).resource = Resource::Name("alias.example.com".into());
        },
        |world| configuration(world).ports = vec![Ports { from: 1, to: 65535 }],
        // The gateway has no security group, and the database admits its subnets.
        |world| {
            gateway(world).security_groups.clear();
            rules(world)[1].peer = cidr("10.0.0.0/16");
        },
        |world| rules(world)[0].peer = cidr("10.0.0.0/16"),
        // Two rules together admit a subnet.
        |world| {
            rules(world)[1].peer = cidr("10.0.101.0/24");
            rules(world).push(rule("sg-database", false, 0, 65535, cidr("10.0.102.0/25")));
            rules(world).push(rule("sg-database", false, 0, 65535, cidr("10.0.102.128/25")));
        },
        |world| {
            is_global(world);
            configuration(world).resource = Resource::Name(GLOBAL.into());
        },
        // The binding has the name of an instance, and the configuration the cluster's.
        |world| {
            is_bound_to_a_member(world);
            configuration(world).resource = Resource::Name(ENDPOINT.into());
        },
        |world| {
            is_bound_to_a_member(world);
            let arn = "arn:aws:rds:us-east-1:123456789012:cluster:orders";
            configuration(world).resource = Resource::Arn(arn.into());
        },
        // The subnets are not needed where the group is admitted.
        |world| path(world).subnets = Err(denied("ec2:DescribeSubnets")),
        // One vendor has left.
        |world| shared_with(world, &[(VENDOR, "ASSOCIATED"), ("111111111111", "DISASSOCIATED")]),
        |world| {
            let organization = "arn:aws:organizations::123456789012:organization/o-1234567890";
            shared_with(world, &[(organization, "ASSOCIATED")]);
        },
        // The principal of the endpoint service is another vendor.
        |world| world.principal = Some("arn:aws:iam::111111111111:root"),
    ];
    for (index, change) in worlds.into_iter().enumerate() {
        let mut world = world();
        change(&mut world);
        let findings = judge(&world);
        assert!(findings.iter().all(|it| it.level == Fine), "world {index}: {findings:#?}");
        let is_designated = findings.iter().any(|it| it.check == "lattice_resource");
        assert_eq!(is_designated, world.paths != Ok(Vec::new()), "world {index}: {findings:#?}");
    }
}

#[test]
fn unknown_addresses_and_groups_are_not_judged() {
    let faults: [fn(&mut World); 3] = [
        |world| world.facts.resolution = Err(denied("everything")),
        |world| {
            rules(world).pop();
            world.facts.database = Ok(None);
            world.facts.hosts = Ok(Vec::new());
        },
        // The subnets have IPv4 alone.
        |world| {
            set_address(&mut world.facts, "fd00::10");
            rules(world)[1].peer = cidr("::/0");
        },
    ];
    for fault in faults {
        let mut world = world();
        fault(&mut world);
        let findings = judge(&world);
        let ingress = findings.iter().find(|finding| finding.check == "lattice_ingress").unwrap();
        assert_eq!(ingress.level, NotExamined, "{findings:#?}");
        assert!(ingress.observed.contains("addresses or security groups are not known"), "{ingress:?}");
        assert!(findings.iter().all(|finding| finding.level <= Fine), "{findings:#?}");
    }
    // Without an address nothing is let out to it.
    let mut world = world();
    world.facts.resolution = Err(denied("everything"));
    assert!(!judge(&world).iter().any(|finding| finding.check == "lattice_egress"));
}

/// Without a path, whatever a configuration could be compared with must have been read.
#[test]
fn account_without_a_path_is_ok_only_where_the_facts_were_read() {
    let faults: [fn(&mut Facts); 3] = [
        |facts| facts.resolution = Err(denied("everything")),
        |facts| facts.targets = Err(denied("everything")),
        |facts| facts.database = Err(denied("everything")),
    ];
    for fault in faults {
        let mut world = World { paths: Ok(Vec::new()), ..world() };
        fault(&mut world.facts);
        let [finding] = judge(&world).try_into().expect("one finding");
        assert_eq!((finding.level, finding.check.as_ref()), (NotExamined, "lattice_configuration"));
        let expected = "whether a resource configuration is for the database: could not ask: AccessDenied";
        assert_eq!(finding.observed, expected);
    }
}

/// Only an account is invited.
#[test]
fn only_accounts_accept_an_invitation() {
    let mut world = world();
    shared_with(&mut world, &[(UNIT, "ASSOCIATING")]);
    let share = |world: &World| judge(world).pop().and_then(|finding| finding.fix).unwrap_or_default();
    assert!(!share(&world).contains("accept-resource-share-invitation"), "{}", share(&world));
    shared_with(&mut world, &[(UNIT, "ASSOCIATING"), (VENDOR, "ASSOCIATING")]);
    assert_eq!(share(&world).matches("accept-resource-share-invitation").count(), 1, "{}", share(&world));
}

/// Names and ARNs that are like the database's.
#[test]
fn other_databases_are_not_designated() {
    let resources = [
        Resource::Name("orders-3.abc123.us-east-1.rds.amazonaws.com".into()),
        Resource::Name("orders-2.xyz789.us-east-1.rds.amazonaws.com".into()),
        Resource::Name("orders.cluster-ro-xyz789.us-east-1.rds.amazonaws.com".into()),
        Resource::Name("other.cluster-ro-abc123.us-east-1.rds.amazonaws.com".into()),
        Resource::Name("orders.cluster-custom-abc123.us-east-1.rds.amazonaws.com".into()),
        Resource::Arn("arn:aws:rds:us-east-1:123456789012:db:orders".into()),
        Resource::Arn("arn:aws:rds:us-east-1:123456789012:cluster:orders-2".into()),
        ranges(&["10.0.2.0/24", "fd00::/8"]),
    ];
    for resource in resources {
        let mut world = world();
        configuration(&mut world).resource = resource.clone();
        let findings = judge(&world);
        let is_designated = findings.iter().any(|it| it.check == "lattice_resource");
        assert!(!is_designated, "{resource:?}: {findings:#?}");
    }
    // The RDS API is not asked for the database behind a proxy, which has the cluster's name here.
    let mut world = world();
    rename_endpoint(&mut world.facts, "orders.proxy-abc123.us-east-1.rds.amazonaws.com");
    (world.facts.database, world.facts.hosts) = (Ok(None), Ok(Vec::new()));
    configuration(&mut world).resource =
        Resource::Arn("arn:aws:rds:us-east-1:123456789012:cluster:orders".into());
    let findings = judge(&world);
    assert!(!findings.iter().any(|it| it.check == "lattice_resource"), "{findings:#?}");
}

#[test]
fn region_without_vpc_lattice_is_not_examined() {
    let mut world = world();
    let unread = Unread { kind: ErrorKind::Transient, ..denied("nothing") };
    world.paths = Err(unread);
    let [finding] = judge(&world).try_into().expect("one finding");
    assert_eq!(finding.level, NotExamined);
    assert!(
        finding.observed.starts_with("paths by VPC Lattice, which not every Region has: "),
        "{finding:?}"
    );
}

/// Only what designates the database is read further.
#[tokio::test]
async fn only_paths_to_the_database_are_read() {
    struct Apis;

    impl InspectLattice for Apis {
        async fn configurations(
            &self,
            account: &str,
        ) -> Result<Vec<ResourceConfiguration>, crate::error::Error> {
            assert_eq!(account, "123456789012");
            let resources = [
                Resource::Name("other.cluster-abc123.us-east-1.rds.amazonaws.com".into()),
                Resource::Address("10.0.9.9".parse().unwrap()),
                Resource::Arn("arn:aws:rds:us-east-1:123456789012:cluster:other".into()),
                Resource::Name(ENDPOINT.into()),
            ];
            let configuration = configuration(&mut world()).clone();
            Ok(resources.map(|resource| ResourceConfiguration { resource, ..configuration.clone() }).into())
        }

        async fn gateway(&self, id: &str) -> Result<ResourceGateway, crate::error::Error> {
            assert_eq!(id, GATEWAY);
            Ok(gateway(&mut world()).clone())
        }
    }

    impl InspectShares for Apis {
        async fn shares(&self, resource: &str) -> Result<Vec<Share>, crate::error::Error> {
            assert_eq!(resource, ARN);
            Ok(path(&mut world()).shares.clone().unwrap())
        }
    }

    impl InspectNetwork for Apis {
        async fn rules(&self, groups: &[String]) -> Result<Vec<Rule>, crate::error::Error> {
            assert_eq!(groups, ["sg-database", "sg-gateway"]);
            Ok(rules(&mut world()).clone())
        }

        async fn subnets(&self, ids: &[String]) -> Result<Vec<Subnet>, crate::error::Error> {
            assert_eq!(ids, ["subnet-a", "subnet-b"]);
            Ok(path(&mut world()).subnets.clone().unwrap().into_values().collect())
        }

        async fn services(&self, _: &str) -> Result<Vec<Service>, crate::error::Error> {
            unreachable!("of a load balancer")
        }

        async fn principals(&self, _: &str) -> Result<Vec<String>, crate::error::Error> {
            unreachable!("of a load balancer")
        }

        async fn connections(&self, _: &str) -> Result<Vec<Connection>, crate::error::Error> {
            unreachable!("of a load balancer")
        }

        async fn acls(&self, _: &[String]) -> Result<Vec<Acl>, crate::error::Error> {
            unreachable!("of a load balancer")
        }

        async fn route_tables(&self, _: &[String]) -> Result<Vec<RouteTable>, crate::error::Error> {
            unreachable!("of a load balancer")
        }
    }

    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let reader = LatticeReader { lattice: &Apis, shares: &Apis, network: &Apis, deadline };
    let configurations = reader.configurations(binding().target_group.account()).await.unwrap();
    assert_eq!(configurations.len(), 4);
    let paths = reader.paths(CheckContext::new(&binding(), &healthy_facts()), &configurations).await;
    assert_eq!(Ok(paths), world().paths);
}

/// Every command of every fix, for the test of them.
pub fn commands() -> BTreeSet<String> {
    let worlds = CASES.iter().map(|(.., fault)| {
        let mut world = world();
        fault(&mut world);
        world
    });
    let fixes = worlds.flat_map(|world| judge(&world)).filter_map(|finding| finding.fix);
    fixes.flat_map(|fix| super::faults::quoted(&fix)).collect()
}
