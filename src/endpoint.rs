//! What a DNS name of RDS says about the database behind it.

use std::fmt;

use crate::binding::Binding;

/// Why a cluster has no standby to keep.
pub const NO_STANDBY_IN_A_CLUSTER: &str = "\"keep\" is for Multi-AZ instances; a cluster's previous writer continues as a \
     reader, so clients would reach a database that they cannot write to";

/// The domains of RDS's endpoints, one for each partition of AWS (the AWS SDKs' `partitions.json`).
const DOMAINS: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdsKind {
    /// `ID.HASH.…`: a DB instance, which may be a member of a cluster.
    Instance,
    /// `ID.cluster-HASH.…`: the writer of an Aurora or Multi-AZ DB cluster.
    Cluster,
    /// `ID.cluster-ro-HASH.…`: one reader of a cluster at a time.
    ClusterReader,
    /// `NAME.cluster-custom-HASH.…`: some members of a cluster. Its first label is not the cluster's identifier.
    ClusterCustom,
    /// `ID.global-HASH.global.…`: the writer of a global cluster.
    Global,
    /// `ID.proxy-HASH.…` and `NAME.endpoint.proxy-HASH.…`: an RDS Proxy.
    Proxy,
    /// `ID.shardgrp-HASH.…`: an Aurora Limitless Database.
    ShardGroup,
}

impl RdsKind {
    /// The kind of a name, or `None` if it is not one that RDS gives.
    pub fn parse(name: &str) -> Option<Self> {
        RdsName::parse(name).map(|name| name.kind)
    }
}

/// A DNS name that RDS gives to a database, in its parts, all in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdsName {
    /// The first label: the identifier of the cluster or instance, or the endpoint's name.
    pub identifier: String,
    pub kind: RdsKind,
    pub zone: DnsZone,
}

/// One account in one Region. This is not an Availability Zone. RDS gives the same hash to all instances and clusters
/// in it, and an identifier names one database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsZone {
    pub hash: String,
    /// `global` for a global cluster.
    pub region: String,
}

impl fmt::Display for DnsZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.hash, self.region)
    }
}

impl RdsName {
    /// Parses a name, with or without its final dot. `None` if the name is not one that RDS gives.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let below = DOMAINS.iter().find_map(|domain| name.strip_suffix(domain))?;
        let labels: Vec<&str> = below.split('.').collect();
        // China and the isolated partitions have the Region after "rds".
        let (labels, region) = match labels.as_slice() {
            [labels @ .., region, "rds"] | [labels @ .., "rds", region] => (labels, *region),
            _ => return None,
        };
        let (identifier, label) = match labels {
            [identifier, label] => (*identifier, *label),
            [identifier, "endpoint", label] if label.starts_with("proxy-") => (*identifier, *label),
            _ => return None,
        };
        let kinds = [
            ("cluster-ro-", RdsKind::ClusterReader),
            ("cluster-custom-", RdsKind::ClusterCustom),
            ("cluster-", RdsKind::Cluster),
            ("global-", RdsKind::Global),
            ("proxy-", RdsKind::Proxy),
            ("shardgrp-", RdsKind::ShardGroup),
            ("", RdsKind::Instance),
        ];
        let (kind, hash) =
            kinds.iter().find_map(|(prefix, kind)| Some((*kind, label.strip_prefix(prefix)?)))?;
        let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_hash && !identifier.is_empty() && !region.is_empty()).then(|| Self {
            identifier: identifier.to_owned(),
            kind,
            zone: DnsZone { hash: hash.to_owned(), region: region.to_owned() },
        })
    }
}

/// True if the name is an Aurora or Multi-AZ cluster's, or a global cluster's.
pub fn is_of_a_cluster(name: &str) -> bool {
    !matches!(RdsKind::parse(name), None | Some(RdsKind::Instance | RdsKind::Proxy))
}

/// The cluster member that DNS names: the instance whose endpoint is the last RDS name that the CNAMEs lead to. Without
/// such a CNAME there is none. A publicly accessible instance's own name is a CNAME to a name of EC2.
pub fn member(chain: &[String]) -> Option<&str> {
    let (_, aliases) = chain.split_first()?;
    let (last, name) = last_of_rds(aliases)?;
    (name.kind == RdsKind::Instance).then(|| last.split('.').next())?
}

/// The last RDS name among these, as text and parsed.
pub fn last_of_rds(chain: &[String]) -> Option<(&str, RdsName)> {
    chain.iter().rev().find_map(|name| Some((name.as_str(), RdsName::parse(name)?)))
}

/// The account and Region of the database that DNS names: those in the last RDS name of the chain. `None` if the chain
/// has no RDS name.
pub fn zone(chain: &[String]) -> Option<DnsZone> {
    last_of_rds(chain).map(|(_, name)| name.zone)
}

/// The identifier of the cluster that the endpoint belongs to. DNS gives it: it is in the first cluster endpoint of the
/// chain, and otherwise it is the endpoint's first label. If the binding has `databases` and this identifier is not
/// among them, their first counts instead.
pub fn cluster_identifier(binding: &Binding, chain: &[String]) -> String {
    let names_a_cluster = |name: &RdsName| matches!(name.kind, RdsKind::Cluster | RdsKind::ClusterReader);
    let cluster = chain.iter().filter_map(|name| RdsName::parse(name)).find(names_a_cluster);
    let named = cluster.map_or_else(|| binding.first_label().to_owned(), |name| name.identifier);
    match binding.databases.first() {
        Some(first) if !binding.databases.iter().any(|database| database.eq_ignore_ascii_case(&named)) => {
            first.clone()
        }
        _ => named,
    }
}

/// The identifier of the database that DNS gives: of the binding's `databases`, the last one that the chain names, and
/// otherwise as [`cluster_identifier`].
pub fn database_identifier(binding: &Binding, chain: &[String]) -> String {
    let is_bound =
        |name: &RdsName| binding.databases.iter().any(|it| it.eq_ignore_ascii_case(&name.identifier));
    let named = chain.iter().rev().filter_map(|name| RdsName::parse(name)).find(is_bound);
    named.map_or_else(|| cluster_identifier(binding, chain), |name| name.identifier)
}

/// The cluster's reader endpoint among these names, if there is one. It gives one reader at a time, and never
/// the writer where there is a reader.
pub fn reader_endpoint(chain: &[String]) -> Option<&str> {
    let is_reader = |name: &&String| RdsKind::parse(name) == Some(RdsKind::ClusterReader);
    chain.iter().find(is_reader).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_is_that_of_the_last_name_of_rds() {
        let zone = |chain: &[&str]| {
            zone(&chain.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .map(|zone| zone.to_string())
        };
        let member = "orders-1.abc123.us-east-1.rds.amazonaws.com";
        assert_eq!(zone(&["db.example.com", member]).as_deref(), Some("abc123.us-east-1"));
        assert_eq!(zone(&[member]).as_deref(), Some("abc123.us-east-1"), "a Multi-AZ instance's own name");
        let moved =
            ["orders.cluster-xyz789.eu-west-1.rds.amazonaws.com", member, "host.internal.example.com"];
        assert_eq!(zone(&moved).as_deref(), Some("abc123.us-east-1"));
        assert_eq!(zone(&["db.example.com"]), None);
    }

    #[test]
    fn rds_name_says_identifier_kind_and_zone() {
        for (name, identifier, kind, hash, region) in [
            ("orders.abc123.us-east-1.rds.amazonaws.com", "orders", RdsKind::Instance, "abc123", "us-east-1"),
            (
                "Orders.ABC123.US-East-1.RDS.AmazonAWS.com.",
                "orders",
                RdsKind::Instance,
                "abc123",
                "us-east-1",
            ),
            (
                "orders.cluster-abc123.eu-west-1.rds.amazonaws.com",
                "orders",
                RdsKind::Cluster,
                "abc123",
                "eu-west-1",
            ),
            (
                "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com",
                "orders",
                RdsKind::ClusterReader,
                "abc123",
                "eu-west-1",
            ),
            (
                "reports.cluster-custom-abc123.eu-west-1.rds.amazonaws.com",
                "reports",
                RdsKind::ClusterCustom,
                "abc123",
                "eu-west-1",
            ),
            ("world.global-abc123.global.rds.amazonaws.com", "world", RdsKind::Global, "abc123", "global"),
            ("pool.proxy-abc123.eu-west-1.rds.amazonaws.com", "pool", RdsKind::Proxy, "abc123", "eu-west-1"),
            (
                "reader.endpoint.proxy-abc123.eu-west-1.rds.amazonaws.com",
                "reader",
                RdsKind::Proxy,
                "abc123",
                "eu-west-1",
            ),
            (
                "wide.shardgrp-abc123.us-east-1.rds.amazonaws.com",
                "wide",
                RdsKind::ShardGroup,
                "abc123",
                "us-east-1",
            ),
            (
                "orders.cluster-abc123.rds.cn-north-1.amazonaws.com.cn",
                "orders",
                RdsKind::Cluster,
                "abc123",
                "cn-north-1",
            ),
            (
                "orders.abc123.cn-north-1.rds.amazonaws.com.cn",
                "orders",
                RdsKind::Instance,
                "abc123",
                "cn-north-1",
            ),
            (
                "orders.cluster-ro-abc123.us-gov-west-1.rds.amazonaws.com",
                "orders",
                RdsKind::ClusterReader,
                "abc123",
                "us-gov-west-1",
            ),
            (
                "orders.abc123.eusc-de-east-1.rds.amazonaws.eu",
                "orders",
                RdsKind::Instance,
                "abc123",
                "eusc-de-east-1",
            ),
            (
                "orders.abc123.rds.us-iso-east-1.c2s.ic.gov",
                "orders",
                RdsKind::Instance,
                "abc123",
                "us-iso-east-1",
            ),
            (
                "orders.abc123.rds.us-isob-east-1.sc2s.sgov.gov",
                "orders",
                RdsKind::Instance,
                "abc123",
                "us-isob-east-1",
            ),
        ] {
            let zone = DnsZone { hash: hash.to_owned(), region: region.to_owned() };
            let expected = RdsName { identifier: identifier.to_owned(), kind, zone };
            assert_eq!(RdsName::parse(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_names_are_not_of_rds() {
        for name in [
            "",
            ".",
            "orders",
            "db.example.com",
            "orders.cluster-abc123.us-east-1.rds.example.com",
            "orders.cluster-abc123.us-east-1.rds.amazonaws.com.example.com",
            "rds.us-east-1.amazonaws.com",
            "rds.amazonaws.com",
            "orders.us-east-1.rds.amazonaws.com",
            "orders.cluster-.us-east-1.rds.amazonaws.com",
            ".abc123.us-east-1.rds.amazonaws.com",
            "a.orders.abc123.us-east-1.rds.amazonaws.com",
            "reader.endpoint.abc123.us-east-1.rds.amazonaws.com",
            "orders.abc-123.us-east-1.rds.amazonaws.com",
            "orders.abc123.us-east-1.redshift.amazonaws.com",
            "orders.abc123.us-east-1.rdsamazonaws.com",
            "orders-0123456789abcdef.elb.us-east-1.amazonaws.com",
        ] {
            assert_eq!(RdsName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn zones_differ_by_account_and_region() {
        let zone = |name: &str| RdsName::parse(name).unwrap().zone;
        let writer = zone("orders.cluster-abc123.us-east-1.rds.amazonaws.com");
        assert_eq!(writer, zone("orders-1.abc123.us-east-1.rds.amazonaws.com"));
        assert_eq!(writer, zone("orders.cluster-ro-ABC123.us-east-1.rds.amazonaws.com"));
        assert_ne!(writer, zone("orders.cluster-xyz789.us-east-1.rds.amazonaws.com"));
        assert_ne!(writer, zone("orders.cluster-abc123.eu-west-1.rds.amazonaws.com"));
        assert_eq!(writer.to_string(), "abc123.us-east-1");
    }

    fn chain(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const WRITER: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
    const READER: &str = "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com";
    const MEMBER: &str = "orders-1.abc123.us-east-1.rds.amazonaws.com";

    #[test]
    fn member_is_the_instance_that_the_aliases_end_in() {
        for (names, expected) in [
            (&[WRITER, MEMBER][..], Some("orders-1")),
            (&["db.example.com", WRITER, MEMBER], Some("orders-1")),
            // A publicly accessible instance.
            (&[WRITER, MEMBER, "ec2-54-1-2-3.compute-1.amazonaws.com"], Some("orders-1")),
            (&[MEMBER, "ec2-54-1-2-3.compute-1.amazonaws.com"], None),
            (&[MEMBER], None),
            (&["db.example.com", WRITER], None),
            (&["db.example.com", "db-1.example.com"], None),
        ] {
            assert_eq!(member(&chain(names)), expected, "{names:?}");
        }
    }

    #[test]
    fn cluster_is_the_databases_or_the_chains_or_the_first_labels() {
        let bound = |endpoint: &str| {
            let group =
                "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
            Binding::new(endpoint, group.parse().unwrap())
        };
        let custom = "reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com";
        for (names, expected) in [
            (&[WRITER, MEMBER][..], "orders"),
            (&[READER, MEMBER], "orders"),
            (&["db.example.com", WRITER, MEMBER], "orders"),
            (&["world.global-abc.global.rds.amazonaws.com", WRITER, MEMBER], "orders"),
            (&["db.example.com", custom, MEMBER], "db"),
            (&["orders.example.com", "orders-1.example.com"], "orders"),
        ] {
            assert_eq!(cluster_identifier(&bound(names[0]), &chain(names)), expected, "{names:?}");
        }
        let chain = chain(&["db.example.com", WRITER, MEMBER]);
        for (databases, expected) in [
            (&["sales"][..], "sales"),
            (&["sales", "orders"], "orders"),
            (&["orders-green", "Orders"], "orders"),
            (&["sales", "billing"], "sales"),
        ] {
            let databases = databases.iter().map(|name| (*name).to_owned()).collect();
            let named = Binding { databases, ..bound("db.example.com") };
            assert_eq!(cluster_identifier(&named, &chain), expected);
        }
    }

    #[test]
    fn database_is_the_one_of_the_bindings_that_dns_gives() {
        let group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
        let of = |databases: &[&str], names: &[&str]| {
            let databases = databases.iter().map(|name| (*name).to_owned()).collect();
            let binding = Binding { databases, ..Binding::new(names[0], group.parse().unwrap()) };
            database_identifier(&binding, &chain(names))
        };
        let green = ["billing.example.com", "Billing-Green.abc123.us-east-1.rds.amazonaws.com"];
        assert_eq!(of(&["billing-blue", "billing-green"], &green), "billing-green");
        assert_eq!(of(&["sales"], &green), "sales");
        assert_eq!(of(&[], &green), "billing", "events are compared with the endpoint's first label");
        assert_eq!(of(&[], &[WRITER, MEMBER]), "orders");
        assert_eq!(of(&["sales", "orders"], &["db.example.com", WRITER, MEMBER]), "orders");
    }

    #[test]
    fn reader_endpoint_is_found_anywhere_in_the_chain() {
        for (names, expected) in [
            (&[READER, MEMBER][..], Some(READER)),
            (&["db.example.com", READER, MEMBER], Some(READER)),
            (&[WRITER, MEMBER], None),
            (&["orders.cluster-ro-abc123.example.com", MEMBER], None),
            (&["reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com", MEMBER], None),
        ] {
            assert_eq!(reader_endpoint(&chain(names)), expected, "{names:?}");
        }
        let in_china = "Orders.Cluster-RO-abc123.rds.cn-north-1.amazonaws.com.cn.";
        assert_eq!(RdsKind::parse(in_china), Some(RdsKind::ClusterReader));
    }

    #[test]
    fn cluster_names_are_distinguished_from_instances() {
        for (name, expected) in [
            (WRITER, true),
            (READER, true),
            ("reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com", true),
            ("world.global-abc.global.rds.amazonaws.com", true),
            (MEMBER, false),
            ("pool.proxy-abc123.us-east-1.rds.amazonaws.com", false),
            ("db.cluster-prod.example.com", false),
        ] {
            assert_eq!(is_of_a_cluster(name), expected, "{name}");
        }
    }
}
