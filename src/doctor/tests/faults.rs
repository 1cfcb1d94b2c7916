//! What can be wrong, one fault at a time, and what is said of it.

use super::*;

/// A fault: what is wrong with the world, and what one check says of it.
struct Case {
    check: &'static str,
    level: Severity,
    /// A part of what was seen.
    observed: &'static str,
    /// A part of the cure.
    fix: &'static str,
    fault: fn(&mut Facts),
}

const fn warns(
    check: &'static str,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut Facts),
) -> Case {
    Case { check, level: Severity::Warning, observed, fix, fault }
}

const fn fails(
    check: &'static str,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut Facts),
) -> Case {
    Case { check, level: Severity::Problem, observed, fix, fault }
}

const CASES: &[Case] = &[
    fails("endpoint", "NXDOMAIN", "check the endpoint's name", |facts| {
        let story = "could not resolve it: the name does not exist (NXDOMAIN)".into();
        let fix = Some("check the endpoint's name".into());
        facts.resolution = Err(Unread { kind: ErrorKind::NoAnswer, story, fix });
    }),
    warns("endpoint", "ran out", "ask the doctor again", |facts| {
        let story = "could not resolve it before the time ran out".into();
        facts.resolution = Err(Unread { kind: ErrorKind::DeadlineExceeded, story, fix: None });
    }),
    fails("endpoint_kind", "a reader endpoint", "--db-cluster-identifier orders", |facts| {
        call(facts, "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com");
    }),
    fails("endpoint_kind", "a custom cluster endpoint", "writer endpoint", |facts| {
        call(facts, "reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com");
    }),
    fails("endpoint_kind", "an instance of the cluster orders", "--db-cluster-identifier orders", |facts| {
        instance_of(facts, Some("orders"));
    }),
    warns("database", "AccessDenied", "allow rds:DescribeDBClusters", |facts| {
        facts.database = Err(denied("rds:DescribeDBClusters"));
    }),
    warns("database", "neither a cluster nor an instance called orders", "`database`", |facts| {
        facts.database = Ok(None);
    }),
    warns("database", "an RDS Proxy's", "describe-db-proxy-targets", |facts| {
        call(facts, "orders.proxy-abc123.us-east-1.rds.amazonaws.com");
        facts.database = Ok(None);
    }),
    fails("database", "the cluster orders is stopped", "describe-events --source-type db-cluster", |facts| {
        database(facts).status = "stopped".into();
    }),
    fails("database", "incompatible-network", "describe-events", |facts| {
        database(facts).status = "incompatible-network".into();
    }),
    warns("database", "failing-over", "wait", |facts| database(facts).status = "failing-over".into()),
    fails("database_port", "listens on 3306", "set the binding's `port` to 3306", |facts| {
        database(facts).port = Some(3306);
    }),
    warns("writer", "DNS names orders-1, and RDS names orders-2", "NAMESERVERS", |facts| {
        database(facts).members.members = [("orders-1".into(), false), ("orders-2".into(), true)].into();
    }),
    fails("target_group", "AccessDenied", "allow elasticloadbalancing:DescribeTargetGroups", |facts| {
        facts.group = Err(denied("elasticloadbalancing:DescribeTargetGroups"));
    }),
    fails("target_type", "instance", "type ip", |facts| group(facts).target_type = "instance".into()),
    fails("protocol", "UDP", "with TCP", |facts| group(facts).protocol = "UDP".into()),
    warns("protocol", "TLS", "with TCP", |facts| group(facts).protocol = "TLS".into()),
    warns("health_check", "disabled", "--health-check-enabled", |facts| {
        group(facts).health_check.enabled = false;
    }),
    fails("health_check", "by HTTP", "--health-check-protocol TCP", |facts| {
        group(facts).health_check.protocol = "HTTP".into();
    }),
    warns("health_check", "of port 80", "--health-check-port traffic-port", |facts| {
        group(facts).health_check.port = "80".into();
    }),
    warns("health_check", "60 s until a death shows", "--health-check-interval-seconds 10", |facts| {
        group(facts).health_check.interval = 30;
    }),
    warns("attributes", "AccessDenied", "DescribeTargetGroupAttributes", |facts| {
        facts.attributes = Err(denied("elasticloadbalancing:DescribeTargetGroupAttributes"));
    }),
    warns("deregistration", "keeps its connections", "connection_termination.enabled,Value=true", |facts| {
        set(facts, "deregistration_delay.connection_termination.enabled", "false");
    }),
    warns("deregistration", "after 300 s", "timeout_seconds,Value=60", |facts| {
        set(facts, "deregistration_delay.timeout_seconds", "300");
    }),
    warns("deregistration", "after 0 s", "timeout_seconds,Value=60", |facts| {
        set(facts, "deregistration_delay.timeout_seconds", "0");
    }),
    warns("unhealthy_targets", "keeps its connections", "Value=true", |facts| {
        set(facts, "target_health_state.unhealthy.connection_termination.enabled", "false");
    }),
    warns("client_addresses", "preserved", "preserve_client_ip.enabled,Value=false", |facts| {
        set(facts, "preserve_client_ip.enabled", "true");
    }),
    fails("proxy_protocol", "on", "proxy_protocol_v2.enabled,Value=false", |facts| {
        set(facts, "proxy_protocol_v2.enabled", "true");
    }),
    fails("load_balancer", "attached to none", "create-listener", |facts| {
        group(facts).load_balancers.clear();
        facts.load_balancers = Ok(Vec::new());
    }),
    warns("load_balancer", "AccessDenied", "allow elasticloadbalancing:DescribeLoadBalancers", |facts| {
        facts.load_balancers = Err(denied("elasticloadbalancing:DescribeLoadBalancers"));
    }),
    fails("load_balancer", "application", "network load balancer", |facts| {
        load_balancer(facts).kind = "application".into();
    }),
    fails("load_balancer", "failed", "create it anew", |facts| load_balancer(facts).state = "failed".into()),
    warns("load_balancer", "provisioning", "in some minutes", |facts| {
        load_balancer(facts).state = "provisioning".into();
    }),
    warns("scheme", "internet-facing", "internal", |facts| {
        load_balancer(facts).scheme = "internet-facing".into()
    }),
    warns("zones", "us-east-1a", "set-subnets --load-balancer-arn arn:balancer", |facts| {
        load_balancer(facts).zones.truncate(1);
    }),
    fails("cross_zone", "off, by the load balancer's attribute", "cross_zone.enabled,Value=true", |facts| {
        attached(facts).cross_zone = Ok(false);
    }),
    fails("cross_zone", "off, by the group's attribute", "cross_zone.enabled,Value=true", |facts| {
        set(facts, "load_balancing.cross_zone.enabled", "false");
    }),
    warns("cross_zone", "AccessDenied", "DescribeLoadBalancerAttributes", |facts| {
        attached(facts).cross_zone = Err(denied("elasticloadbalancing:DescribeLoadBalancerAttributes"));
    }),
    fails("listener", "none of orders forwards", "--protocol TCP --port 5432", |facts| {
        listener(facts).groups = vec!["arn:other".into()];
    }),
    warns("listener", "and to 1 more", "this group alone", |facts| {
        listener(facts).groups.push("arn:other".into());
    }),
    warns("listener", "TLS 5432", "TCP listener", |facts| listener(facts).protocol = "TLS".into()),
    warns("listener", "TCP 15432", "the port 15432", |facts| listener(facts).port = 15432),
    warns("listener", "AccessDenied", "allow elasticloadbalancing:DescribeListeners", |facts| {
        attached(facts).listeners = Err(denied("elasticloadbalancing:DescribeListeners"));
    }),
    warns("security_groups", "sg-1, enforced", "private-link-traffic off", |facts| {
        load_balancer(facts).security_groups = vec!["sg-1".into()];
    }),
    fails("dualstack", "ipv4 alone", "--ip-address-type dualstack", |facts| {
        group(facts).address_type = "ipv6".into();
    }),
    fails("targets", "AccessDenied", "allow elasticloadbalancing:DescribeTargetHealth", |facts| {
        facts.targets = Err(denied("elasticloadbalancing:DescribeTargetHealth"));
    }),
    fails("targets", "10.0.1.10:5432 is not in the group, which holds no target", "check", |facts| {
        hold(facts, &[]);
    }),
    fails("targets", "which holds 10.0.1.10:5432 (draining)", "check", |facts| {
        hold(facts, &[("10.0.1.10:5432", "draining")]);
    }),
    warns("targets", "is initial", "wait", |facts| hold(facts, &[("10.0.1.10:5432", "initial")])),
    fails("targets", "(Target.FailedHealthChecks)", "the database's security group", |facts| {
        unhealthy(facts, "unhealthy", "Target.FailedHealthChecks");
    }),
    fails("targets", "(Target.NotInUse)", "see to the listener", |facts| {
        unhealthy(facts, "unused", "Target.NotInUse");
    }),
    fails("targets", "(Target.IpUnusable)", "the endpoint's name", |facts| {
        unhealthy(facts, "unused", "Target.IpUnusable");
    }),
    warns("targets", "(Target.HealthCheckDisabled)", "its health check", |facts| {
        unhealthy(facts, "unavailable", "Target.HealthCheckDisabled");
    }),
    warns(
        "targets",
        "the group holds 10.0.1.10:5432 (healthy)",
        "about the endpoint and the group",
        |facts| {
            facts.resolution = Err(denied("nothing"));
        },
    ),
    fails("stale_targets", "10.0.9.9:5432 (healthy)", "check", |facts| {
        hold(facts, &[("10.0.1.10:5432", "healthy"), ("10.0.9.9:5432", "healthy")]);
    }),
];

#[test]
fn every_fault_is_found_and_explained() {
    for Case { check, level, observed, fix, fault } in CASES {
        let mut facts = well();
        fault(&mut facts);
        let findings = findings(&binding(), &facts);
        let found = findings.iter().find(|finding| finding.check == *check);
        let found = found.unwrap_or_else(|| panic!("{check}, {observed}: not among {findings:#?}"));
        assert_eq!(found.level, *level, "{found:?}");
        assert!(found.observed.contains(observed), "{observed:?} is not in {found:?}");
        assert!(found.impact.as_ref().is_some_and(|impact| !impact.is_empty()), "{found:?}");
        assert!(
            found.fix.as_ref().is_some_and(|message| message.contains(fix)),
            "{fix:?} is not in {found:?}"
        );
    }
}

#[test]
fn every_check_has_a_fault_in_the_table() {
    let checks = findings(&binding(), &well()).into_iter().map(|finding| finding.check);
    let with_faults: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    // A group of either address type is as good; what is wrong shows as the endpoint or as dualstack.
    let without: Vec<&str> = checks.filter(|check| !with_faults.contains(check)).collect();
    assert_eq!(without, ["address_type"]);
}

#[test]
fn a_fault_leaves_unrelated_checks_alone() {
    let mut facts = well();
    load_balancer(&mut facts).zones.truncate(1);
    let others: Vec<Severity> = findings(&binding(), &facts)
        .into_iter()
        .filter(|finding| finding.check != "zones")
        .map(|finding| finding.level)
        .collect();
    assert!(others.iter().all(|level| *level == Severity::Ok));
}
