//! The addresses that DNS gives, and which of them a target group can hold.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The target group's address type is `ipv4`. The endpoint's A records count.
    V4,
    /// The target group's address type is `ipv6`. The endpoint's AAAA records count.
    V6,
}

/// The addresses that DNS gives for the endpoint now. There is at least one, and a target group can hold each of
/// them. With the role `writer` there is exactly one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addresses(BTreeSet<IpAddr>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// The name exists, but has no address of the target group's family.
    #[error("the answer holds no address")]
    Empty,
    /// A writer endpoint has one address. Several addresses mean that the name is of another kind, or that DNS is
    /// changing.
    #[error("the answer holds {} addresses ({}), and a writer has one", .0.len(), list(.0))]
    Several(BTreeSet<IpAddr>),
    #[error("the answer holds {0}, {form}, which no target group can hold", form = .1.name)]
    NotATarget(IpAddr, Form),
}

impl Addresses {
    /// Checks that there is an address, and that a target group can hold all of them.
    ///
    /// ```
    /// # use rds_nlb_sync::plan::*;
    /// assert!(Addresses::parse(["10.0.2.20".parse().unwrap()]).is_ok());
    /// assert_eq!(Addresses::parse([]), Err(InvalidAnswer::Empty));
    /// ```
    pub fn parse(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, InvalidAnswer> {
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        if let Some((address, form)) = addresses.iter().find_map(|a| Some((*a, never_a_target(*a)?))) {
            return Err(InvalidAnswer::NotATarget(address, form));
        }
        if addresses.is_empty() { Err(InvalidAnswer::Empty) } else { Ok(Self(addresses)) }
    }

    /// Checks that there is only one address: a writer has one.
    pub fn single(self) -> Result<Self, InvalidAnswer> {
        if self.0.len() == 1 { Ok(self) } else { Err(InvalidAnswer::Several(self.0)) }
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied()
    }

    pub fn targets(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        self.iter().map(move |address| SocketAddr::new(address, port))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// With its article, such as `a loopback address`.
    pub name: &'static str,
    pub fix: &'static str,
}

const CORRECT_IT: &str = "correct the record: it must hold the database's address in its VPC";
const USE_A_RECORD: &str =
    "give the database's IPv4 address in an A record, and bind a target group of type ipv4";

const PUBLIC: Form = Form {
    name: "a public address",
    fix: "a publicly accessible database resolves to its private address only inside its VPC: run the function there \
          (SubnetIds), or correct the record",
};
const NAT64: Form = Form {
    name: "a NAT64 address",
    fix: "the name server makes it up from an IPv4 address (DNS64): bind a target group of type ipv4, or enable IPv6 for \
          the database",
};

const RESERVED: Form = form("a reserved address");

const fn form(name: &'static str) -> Form {
    Form { name, fix: CORRECT_IT }
}

const fn embedded(name: &'static str) -> Form {
    Form { name, fix: USE_A_RECORD }
}

/// The ranges of targets. IPv4 targets come from the VPC's subnets, never from the public internet (NLB guide, "Target
/// groups"). IPv6 addresses of a VPC are global or unique local ones.
const TARGETS: [(IpAddr, u32); 6] = [
    (v4([10, 0, 0, 0]), 8),
    (v4([100, 64, 0, 0]), 10),
    (v4([172, 16, 0, 0]), 12),
    (v4([192, 168, 0, 0]), 16),
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7),
];

/// Ranges that are in no VPC, inside and outside [`TARGETS`], and that deserve a better name than "public" or "reserved"
/// (IANA IPv4 and IPv6 Special-Purpose Address Registries).
const FORMS: [(IpAddr, u32, Form); 27] = [
    (v4([0, 0, 0, 0]), 32, form("an unspecified address")),
    (v4([127, 0, 0, 0]), 8, form("a loopback address")),
    (v4([169, 254, 0, 0]), 16, form("a link-local address")),
    (v4([192, 0, 2, 0]), 24, form("a documentation address")),
    (v4([198, 51, 100, 0]), 24, form("a documentation address")),
    (v4([203, 0, 113, 0]), 24, form("a documentation address")),
    (v4([198, 18, 0, 0]), 15, form("a benchmarking address")),
    (v4([224, 0, 0, 0]), 4, form("a multicast address")),
    (v4([240, 0, 0, 0]), 4, RESERVED),
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 128, form("an unspecified address")),
    (v6([0, 0, 0, 0, 0, 0, 0, 1]), 128, form("a loopback address")),
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 96, embedded("an IPv4-compatible address")),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0]), 96, embedded("an IPv4-mapped address")),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0]), 96, embedded("an IPv4-translated address")),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0]), 96, NAT64),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0]), 48, NAT64),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0]), 64, form("a discard address")),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 32, form("a Teredo address")),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0]), 48, form("a benchmarking address")),
    (v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0]), 28, form("an ORCHID address")),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, form("a documentation address")),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, form("a documentation address")),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0]), 16, form("a 6to4 address")),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0]), 16, form("a segment routing address")),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10, form("a link-local address")),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0]), 10, form("a site-local address")),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8, form("a multicast address")),
];

const fn v4(octets: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_octets(octets))
}

const fn v6(segments: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_segments(segments))
}

/// Why a target group of type `ip` cannot hold the address; `None` if it can. The first form that fits counts.
fn never_a_target(address: IpAddr) -> Option<Form> {
    let is_in = |base: IpAddr, bits: u32| match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits
        }
        _ => false,
    };
    if let Some((.., form)) = FORMS.iter().find(|(base, bits, _)| is_in(*base, *bits)) {
        return Some(*form);
    }
    let is_of_vpc = TARGETS.iter().any(|(base, bits)| is_in(*base, *bits));
    (!is_of_vpc).then_some(if address.is_ipv4() { PUBLIC } else { RESERVED })
}

pub(crate) fn list<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
