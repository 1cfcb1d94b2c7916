//! Which answers name a writer.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

/// The answer's addresses, as the one writer or as the reason why they are not.
fn parsed(answer: &str) -> String {
    let addresses = answer.split_whitespace().map(|address| address.parse().unwrap());
    match Addresses::parse(addresses).and_then(Addresses::single) {
        Ok(addresses) => addresses.to_string(),
        Err(reason) => reason.to_string(),
    }
}

#[test]
fn addresses_of_a_vpc_are_accepted() {
    for address in [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "fd00::1",
        "fc00::1",
        "2600:1f18::1",
        // Just outside the ranges below.
        "2000::1",
        "2001:1f::1",
        "2001:30::1",
        "2001:db7::1",
        "2001:db9::1",
        "2001:3::1",
        "2003::1",
        "3fff:1000::1",
        "3fff:ffff::1",
        "fdff::1",
    ] {
        assert_eq!(parsed(address), address);
    }
}

#[test]
fn repeated_address_counts_once() {
    assert_eq!(parsed("10.0.1.10 10.0.1.10"), "10.0.1.10");
}

#[test]
fn impossible_address_is_refused_with_its_kind() {
    for (address, kind) in [
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.255", "a loopback address"),
        ("::1", "a loopback address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.255", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("169.254.0.1", "a link-local address"),
        ("169.254.169.253", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("febf::1", "a link-local address"),
        ("::ffff:10.0.1.10", "an IPv4-mapped address"),
        ("::ffff:54.1.2.3", "an IPv4-mapped address"),
        ("54.1.2.3", "a public address"),
        ("0.0.0.1", "a public address"),
        ("9.255.255.255", "a public address"),
        ("11.0.0.0", "a public address"),
        ("100.63.255.255", "a public address"),
        ("100.128.0.0", "a public address"),
        ("101.64.0.0", "a public address"),
        ("172.15.255.255", "a public address"),
        ("172.32.0.0", "a public address"),
        ("192.167.255.255", "a public address"),
        ("192.169.0.0", "a public address"),
        ("192.0.2.1", "a documentation address"),
        ("192.0.3.0", "a public address"),
        ("198.51.100.255", "a documentation address"),
        ("203.0.113.7", "a documentation address"),
        ("198.18.0.1", "a benchmarking address"),
        ("198.20.0.0", "a public address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("::a00:10a", "an IPv4-compatible address"),
        ("::2", "an IPv4-compatible address"),
        ("::ffff:0:a00:10a", "an IPv4-translated address"),
        ("64:ff9b::a00:10a", "a NAT64 address"),
        ("64:ff9b::", "a NAT64 address"),
        ("64:ff9b:1::1", "a NAT64 address"),
        ("64:ff9b:1:ffff::1", "a NAT64 address"),
        ("100::1", "a discard address"),
        ("100::ffff:ffff:ffff:ffff", "a discard address"),
        ("2001:20::1", "an ORCHID address"),
        ("2001:2f:ffff::1", "an ORCHID address"),
        // Neither a global nor a unique local address.
        ("64:ff9b:0:1::1", "a reserved address"),
        ("64:ff9b:2::1", "a reserved address"),
        ("100:0:0:1::1", "a reserved address"),
        ("::1:0:0:1", "a reserved address"),
        ("1fff::1", "a reserved address"),
        ("4000::1", "a reserved address"),
        ("fbff::1", "a reserved address"),
        ("fe00::1", "a reserved address"),
        ("2001:db8::1", "a documentation address"),
        ("2001:db8:ffff::1", "a documentation address"),
        ("3fff::1", "a documentation address"),
        ("3fff:fff:ffff::1", "a documentation address"),
        ("2001::1", "a Teredo address"),
        ("2001:2::1", "a benchmarking address"),
        ("2002:a00:10a::1", "a 6to4 address"),
        ("5f00::1", "a segment routing address"),
        ("fec0::1", "a site-local address"),
        ("feff::1", "a site-local address"),
    ] {
        assert_eq!(
            parsed(address),
            format!("the answer holds {address}, {kind}, which no target group can hold")
        );
    }
}

#[test]
fn impossible_address_names_the_fix() {
    for (address, fix) in [
        ("54.1.2.3", "run the function there (SubnetIds)"),
        ("192.0.2.1", "correct the record"),
        ("64:ff9b::10.0.1.10", "bind a target group of type ipv4, or enable IPv6"),
        ("64:ff9b:1::1", "bind a target group of type ipv4, or enable IPv6"),
        ("::10.0.1.10", "give the database's IPv4 address in an A record"),
        ("::ffff:10.0.1.10", "give the database's IPv4 address in an A record"),
        ("2001:db8::1", "correct the record"),
        ("100::1", "correct the record"),
        ("fec0::1", "correct the record"),
    ] {
        match Addresses::parse([address.parse().unwrap()]) {
            Err(InvalidAnswer::NotATarget(_, form)) => assert!(form.fix.contains(fix), "{address}: {form:?}"),
            other => panic!("{address}: {other:?}"),
        }
    }
}

#[test]
fn empty_answer_is_refused() {
    assert_eq!(parsed(""), "the answer holds no address");
}

#[test]
fn several_addresses_are_refused_for_a_writer() {
    assert_eq!(
        parsed("10.0.2.20 10.0.1.10"),
        "the answer holds 2 addresses (10.0.1.10, 10.0.2.20), and a writer has one"
    );
    assert_eq!(
        parsed("10.0.1.10 fd00::1"),
        "the answer holds 2 addresses (10.0.1.10, fd00::1), and a writer has one"
    );
}

#[test]
fn several_addresses_are_planned_together() {
    let several =
        |text: &str| Addresses::parse(text.split(' ').map(|address| address.parse().unwrap())).unwrap();
    let plan = |group, confirmation| {
        plan(&several("10.0.2.20 10.0.3.30"), PORT, &targets(group), confirmation).to_string()
    };
    let (two, three) = ("+ 10.0.2.20:5432", "+ 10.0.3.30:5432");
    assert_eq!(plan("", Unconfirmed), format!("{two}, {three}"));
    assert_eq!(
        plan("10.0.1.10 10.0.2.20", Confirmed),
        format!("{three}, ? 10.0.1.10:5432 is deregistered once the endpoint's addresses are registered")
    );
    assert_eq!(plan("10.0.1.10 10.0.2.20 10.0.3.30", Confirmed), "- 10.0.1.10:5432");
    assert_eq!(plan("10.0.2.20 10.0.3.30", Confirmed), "nothing to do");
}

#[test]
fn one_impossible_address_invalidates_the_answer() {
    let expected = "the answer holds 54.1.2.3, a public address, which no target group can hold";
    assert_eq!(parsed("10.0.1.10 54.1.2.3"), expected);
}

/// Any IPv4 address, and often one beside a border of the ranges that a group takes.
fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let borders = ["10.0.0.0", "11.0.0.0", "100.64.0.0", "100.128.0.0", "172.16.0.0", "172.32.0.0"]
        .into_iter()
        .chain(["192.168.0.0", "192.169.0.0"])
        .map(|text| u32::from(text.parse::<Ipv4Addr>().unwrap()))
        .collect::<Vec<_>>();
    let near_a_border =
        (prop::sample::select(borders), -3_i32..3).prop_map(|(border, by)| border.wrapping_add_signed(by));
    prop_oneof![any::<u32>(), near_a_border].prop_map(Ipv4Addr::from)
}

proptest! {
    #[test]
    fn accepted_ipv4_address_is_in_one_of_four_ranges(address in any_v4()) {
        let in_range = |(base, bits): (&str, u32)| {
            let base: Ipv4Addr = base.parse().unwrap();
            u32::from(base) >> (32 - bits) == u32::from(address) >> (32 - bits)
        };
        let ranges = [("10.0.0.0", 8), ("100.64.0.0", 10), ("172.16.0.0", 12), ("192.168.0.0", 16)];
        prop_assert_eq!(Addresses::parse([address.into()]).is_ok(), ranges.into_iter().any(in_range));
    }

    #[test]
    fn any_answer_is_accepted_or_refused(answer in prop::collection::vec(any::<IpAddr>(), 0..4)) {
        match Addresses::parse(answer.clone()).and_then(Addresses::single) {
            Ok(addresses) => {
                let addresses: Vec<IpAddr> = addresses.iter().collect();
                prop_assert_eq!(addresses.len(), 1);
                prop_assert!(answer.iter().all(|address| *address == addresses[0]));
            }
            Err(reason) => prop_assert!(reason.to_string().starts_with("the answer holds ")),
        }
    }
}
