use std::collections::BTreeSet;

use super::*;
use crate::plan::{Standby, Writer};
use crate::reconcile::{Answer, Cluster};

const ENDPOINT: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";

fn binding() -> Binding {
    Binding::new(ENDPOINT, GROUP)
}

fn answer(chain: &[&str]) -> Answer {
    let writer = Writer::parse(["10.0.1.10".parse().unwrap()]).unwrap();
    Answer { writer, chain: chain.iter().map(|name| (*name).to_owned()).collect() }
}

/// A binding with which all is well.
fn well() -> Facts {
    let members = [("orders-1".to_owned(), true), ("orders-2".to_owned(), false)].into();
    let balancer = Balancer {
        arn: "arn:balancer".into(),
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
    Facts {
        answer: Ok(answer(&[ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"])),
        identifier: "orders".into(),
        database: Ok(Some(Database {
            kind: DatabaseKind::Cluster,
            identifier: "orders".into(),
            status: "available".into(),
            port: Some(5432),
            members: Cluster { members, is_failing_over: false },
            cluster: None,
        })),
        group: Ok(Group {
            target_type: "ip".into(),
            protocol: "TCP".into(),
            port: Some(5432),
            address_type: "ipv4".into(),
            balancers: vec!["arn:balancer".into()],
            health_check: HealthCheck {
                enabled: true,
                protocol: "TCP".into(),
                port: "traffic-port".into(),
                interval: 10,
                unhealthy_threshold: 2,
            },
        }),
        attributes: Ok([
            ("deregistration_delay.timeout_seconds", "60"),
            ("deregistration_delay.connection_termination.enabled", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()),
        balancers: Ok(vec![Attached { balancer, cross_zone: Ok(true), listeners: Ok(vec![listener]) }]),
        targets: Ok([("10.0.1.10:5432".to_owned(), health("healthy"))].into()),
    }
}

fn health(state: &str) -> Health {
    Health { state: state.into(), reason: None }
}

fn denied(action: &str) -> Unread {
    Unread {
        kind: Kind::Permanent,
        story: "could not ask: AccessDenied".into(),
        cure: Some(format!("allow {action} in the function's role")),
    }
}

fn database(facts: &mut Facts) -> &mut Database {
    facts.database.as_mut().unwrap().as_mut().unwrap()
}

fn group(facts: &mut Facts) -> &mut Group {
    facts.group.as_mut().unwrap()
}

fn attached(facts: &mut Facts) -> &mut Attached {
    &mut facts.balancers.as_mut().unwrap()[0]
}

fn balancer(facts: &mut Facts) -> &mut Balancer {
    &mut attached(facts).balancer
}

fn listener(facts: &mut Facts) -> &mut Listener {
    &mut attached(facts).listeners.as_mut().unwrap()[0]
}

fn set(facts: &mut Facts, key: &str, value: &str) {
    facts.attributes.as_mut().unwrap().insert(key.into(), value.into());
}

fn hold(facts: &mut Facts, targets: &[(&str, &str)]) {
    facts.targets = Ok(targets.iter().map(|(target, state)| ((*target).to_owned(), health(state))).collect());
}

fn unhealthy(facts: &mut Facts, state: &str, reason: &str) {
    let health = Health { state: state.into(), reason: Some(reason.into()) };
    facts.targets = Ok([("10.0.1.10:5432".to_owned(), health)].into());
}

/// The endpoint is called this, and leads to the address without a CNAME.
fn call(facts: &mut Facts, endpoint: &str) {
    facts.answer = Ok(answer(&[endpoint]));
}

fn instance_of(facts: &mut Facts, cluster: Option<&str>) {
    let database = database(facts);
    database.kind = DatabaseKind::Instance;
    database.cluster = cluster.map(str::to_owned);
    database.members = Cluster::default();
}

#[test]
fn with_all_well_every_check_is_ok() {
    let findings = findings(&binding(), &well());
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(
        checks,
        [
            "endpoint",
            "endpoint_kind",
            "database",
            "database_port",
            "writer",
            "target_type",
            "protocol",
            "address_type",
            "health_check",
            "deregistration",
            "unhealthy_targets",
            "client_addresses",
            "proxy_protocol",
            "load_balancer",
            "scheme",
            "zones",
            "cross_zone",
            "listener",
            "security_groups",
            "targets",
            "stale_targets",
        ]
    );
    for finding in findings {
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
        assert!(!finding.seen.is_empty() && finding.why.is_none() && finding.cure.is_none(), "{finding:?}");
    }
}

/// A fault: what is wrong with the world, and what one check says of it.
struct Case {
    check: &'static str,
    level: Level,
    /// A part of what was seen.
    seen: &'static str,
    /// A part of the cure.
    cure: &'static str,
    fault: fn(&mut Facts),
}

const fn warns(check: &'static str, seen: &'static str, cure: &'static str, fault: fn(&mut Facts)) -> Case {
    Case { check, level: Level::Warning, seen, cure, fault }
}

const fn fails(check: &'static str, seen: &'static str, cure: &'static str, fault: fn(&mut Facts)) -> Case {
    Case { check, level: Level::Problem, seen, cure, fault }
}

const CASES: &[Case] = &[
    fails("endpoint", "NXDOMAIN", "check the endpoint's name", |facts| {
        let story = "could not resolve it: the name does not exist (NXDOMAIN)".into();
        let cure = Some("check the endpoint's name".into());
        facts.answer = Err(Unread { kind: Kind::NoAnswer, story, cure });
    }),
    warns("endpoint", "ran out", "ask the doctor again", |facts| {
        let story = "could not resolve it before the time ran out".into();
        facts.answer = Err(Unread { kind: Kind::OutOfTime, story, cure: None });
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
        group(facts).balancers.clear();
        facts.balancers = Ok(Vec::new());
    }),
    warns("load_balancer", "AccessDenied", "allow elasticloadbalancing:DescribeLoadBalancers", |facts| {
        facts.balancers = Err(denied("elasticloadbalancing:DescribeLoadBalancers"));
    }),
    fails("load_balancer", "application", "network load balancer", |facts| {
        balancer(facts).kind = "application".into();
    }),
    fails("load_balancer", "failed", "create it anew", |facts| balancer(facts).state = "failed".into()),
    warns("load_balancer", "provisioning", "in some minutes", |facts| {
        balancer(facts).state = "provisioning".into();
    }),
    warns("scheme", "internet-facing", "internal", |facts| balancer(facts).scheme = "internet-facing".into()),
    warns("zones", "us-east-1a", "set-subnets --load-balancer-arn arn:balancer", |facts| {
        balancer(facts).zones.truncate(1);
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
        balancer(facts).security_groups = vec!["sg-1".into()];
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
            facts.answer = Err(denied("nothing"));
        },
    ),
    fails("stale_targets", "10.0.9.9:5432 (healthy)", "check", |facts| {
        hold(facts, &[("10.0.1.10:5432", "healthy"), ("10.0.9.9:5432", "healthy")]);
    }),
];

#[test]
fn every_fault_is_found_and_explained() {
    for Case { check, level, seen, cure, fault } in CASES {
        let mut facts = well();
        fault(&mut facts);
        let findings = findings(&binding(), &facts);
        let found = findings.iter().find(|finding| finding.check == *check);
        let found = found.unwrap_or_else(|| panic!("{check}, {seen}: not among {findings:#?}"));
        assert_eq!(found.level, *level, "{found:?}");
        assert!(found.seen.contains(seen), "{seen:?} is not in {found:?}");
        assert!(found.why.as_ref().is_some_and(|why| !why.is_empty()), "{found:?}");
        assert!(found.cure.as_ref().is_some_and(|told| told.contains(cure)), "{cure:?} is not in {found:?}");
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
    balancer(&mut facts).zones.truncate(1);
    let others: Vec<Level> = findings(&binding(), &facts)
        .into_iter()
        .filter(|finding| finding.check != "zones")
        .map(|finding| finding.level)
        .collect();
    assert!(others.iter().all(|level| *level == Level::Ok));
}

#[test]
fn whatever_cannot_be_read_is_told_once_and_nothing_is_guessed() {
    let nothing = || denied("everything");
    let facts = Facts {
        answer: Err(nothing()),
        identifier: "orders".into(),
        database: Err(nothing()),
        group: Err(nothing()),
        attributes: Err(nothing()),
        balancers: Ok(Vec::new()),
        targets: Err(nothing()),
    };
    let findings = findings(&binding(), &facts);
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["endpoint", "database", "target_group", "attributes", "targets"]);
    for finding in findings {
        assert_ne!(finding.level, Level::Ok);
        assert!(finding.why.unwrap().contains("not checked: "));
    }
}

#[test]
fn a_group_without_its_attributes_has_the_defaults_of_the_api() {
    let facts = Facts { attributes: Ok(Attributes::new()), ..well() };
    let not_ok = findings(&binding(), &facts).into_iter().filter(|finding| finding.level != Level::Ok);
    let not_ok: Vec<(&str, String)> = not_ok.map(|finding| (finding.check, finding.seen)).collect();
    let seen = "a removed target keeps its connections (delay 300 s, no termination)";
    assert_eq!(not_ok, [("deregistration", seen.to_owned())]);
}

#[test]
fn the_bindings_port_counts_before_the_groups() {
    let mut facts = well();
    group(&mut facts).port = Some(80);
    let binding = Binding { port: Some(5432), ..binding() };
    assert!(findings(&binding, &facts).iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn a_health_check_of_the_databases_port_by_number_is_as_good() {
    let mut facts = well();
    group(&mut facts).health_check.port = "5432".into();
    assert!(findings(&binding(), &facts).iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn instances_and_security_groups_off_duty_are_fine() {
    let mut facts = well();
    instance_of(&mut facts, None);
    balancer(&mut facts).security_groups = vec!["sg-1".into()];
    balancer(&mut facts).enforces_on_private_link = false;
    hold(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "draining")]);
    let findings = findings(&binding(), &facts);
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    assert!(!findings.iter().any(|finding| finding.check == "writer"), "an instance has no members");
    let stale = findings.iter().find(|finding| finding.check == "stale_targets").unwrap();
    assert_eq!(stale.seen, "on their way out: 10.0.2.20:5432 (draining)");
}

#[test]
fn a_kept_standby_is_no_fault_and_its_cost_is_told() {
    let kept = Binding { standby: Standby::Keep, ..binding() };
    let mut facts = well();
    hold(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy")]);
    let about = |binding: &Binding, facts: &Facts, check: &str| {
        findings(binding, facts).into_iter().find(|finding| finding.check == check)
    };
    let standby = about(&kept, &facts, "standby").unwrap();
    assert_eq!(standby.level, Level::Ok);
    assert!(standby.why.unwrap().contains("UnHealthyHostCount is one in normal times"));
    assert_eq!(about(&kept, &facts, "stale_targets").unwrap().level, Level::Ok);
    assert_eq!(
        about(&binding(), &facts, "stale_targets").unwrap().level,
        Level::Problem,
        "unless it is kept"
    );

    hold(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "healthy")]);
    assert_eq!(
        about(&kept, &facts, "stale_targets").unwrap().level,
        Level::Problem,
        "one that answers is none"
    );
    assert!(about(&kept, &facts, "standby").unwrap().seen.contains("no standby yet"));
}

#[test]
fn commands_name_the_group_and_its_region() {
    let mut facts = well();
    set(&mut facts, "proxy_protocol_v2.enabled", "true");
    let findings = findings(&binding(), &facts);
    let proxy = findings.iter().find(|finding| finding.check == "proxy_protocol").unwrap();
    assert_eq!(
        proxy.cure.as_deref().unwrap(),
        format!(
            "`aws elbv2 modify-target-group-attributes --target-group-arn {GROUP} --attributes \
             Key=proxy_protocol_v2.enabled,Value=false --region us-east-1`"
        )
    );
}

mod general {
    use std::time::Duration;

    use super::super::general;
    use super::*;
    use crate::config::Config;
    use crate::reconcile::Pace;

    fn config() -> Config {
        let pace = Pace {
            watch: Duration::from_secs(180),
            poll: Duration::from_millis(500),
            confirm: Duration::from_secs(6),
        };
        Config {
            bindings: vec![binding()],
            discovery: None,
            pace,
            nameservers: None,
            preregister: true,
            verify: Duration::from_secs(900),
            elb_calls: 5,
            dry_run: false,
        }
    }

    fn levels(config: &Config, seconds: u64) -> Vec<(&'static str, Level)> {
        let findings = general(config, Some(Duration::from_secs(seconds)));
        findings.into_iter().map(|finding| (finding.check, finding.level)).collect()
    }

    #[test]
    fn the_settings_are_judged_and_what_cannot_be_told_is_said() {
        let mut expected = vec![
            ("dry_run", Level::Ok),
            ("confirmation", Level::Ok),
            ("patience", Level::Ok),
            ("delivery", Level::Warning),
            ("write_access", Level::Warning),
        ];
        assert_eq!(levels(&config(), 240), expected);

        let mut bad = Config { dry_run: true, ..config() };
        bad.pace.confirm = Duration::from_secs(5);
        expected[0].1 = Level::Problem;
        expected[1].1 = Level::Warning;
        expected[2].1 = Level::Warning;
        assert_eq!(levels(&bad, 60), expected);
    }

    #[test]
    fn at_a_command_line_there_is_no_function_to_judge() {
        let findings = general(&config(), None);
        let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(checks, ["dry_run", "confirmation", "write_access"]);
    }
}
