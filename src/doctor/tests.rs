use std::collections::{BTreeMap, BTreeSet};

use super::checks::findings_with;
use super::*;
use crate::binding::{Binding, Role};
use crate::error::ErrorKind;
use crate::plan::{Addresses, StandbyPolicy};
use crate::reconcile::{Cluster, Resolution};

pub mod commands;
mod faults;
#[cfg(feature = "cli")]
mod handshake;
#[cfg(feature = "cli")]
mod lattice;
#[cfg(feature = "cli")]
mod network;
mod settings;

const ENDPOINT: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
const BALANCER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/orders/0123456789abcdef";
const LISTENER: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/net/orders/0123456789abcdef/fedcba9876543210";
const OTHER: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/other/1123456789abcdef";
const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";

fn findings(binding: &Binding, facts: &Facts) -> Vec<Finding> {
    findings_with(CheckContext::new(binding, facts), PathFindings::default())
}

fn binding() -> Binding {
    Binding::new(ENDPOINT, GROUP.parse().unwrap())
}

fn resolution(chain: &[&str]) -> Resolution {
    let addresses = Addresses::parse(["10.0.1.10".parse().unwrap()]).unwrap();
    Resolution { addresses, chain: chain.iter().map(|name| (*name).to_owned()).collect() }
}

/// A binding without any fault.
fn healthy_facts() -> Facts {
    let members = [("orders-1".to_owned(), true), ("orders-2".to_owned(), false)].into();
    let load_balancer = LoadBalancer {
        arn: BALANCER.into(),
        name: "orders".into(),
        dns_name: Some("orders-0123456789abcdef.elb.us-east-1.amazonaws.com".into()),
        kind: "network".into(),
        scheme: "internal".into(),
        state: "active".into(),
        vpc: Some("vpc-1".into()),
        zones: strings([("us-east-1a", "subnet-a"), ("us-east-1b", "subnet-b")]).into(),
        address_type: "ipv4".into(),
        security_groups: Vec::new(),
        enforces_on_private_link: true,
    };
    let listener = Listener {
        arn: LISTENER.into(),
        port: 5432,
        protocol: "TCP".into(),
        forwards: vec![(GROUP.into(), 1)],
    };
    Facts {
        resolution: Ok(resolution(&[ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"])),
        identifier: "orders".into(),
        database: Ok(Some(Database {
            kind: DatabaseKind::Cluster,
            identifier: "orders".into(),
            status: "available".into(),
            port: Some(5432),
            engine: "aurora-postgresql".into(),
            engine_version: Some("16.4".into()),
            allows_iam_login: Some(true),
            needs_reboot: false,
            is_multi_az: false,
            described: Cluster { members, is_failing_over: false, zone: None },
            member_of: None,
            security_groups: vec!["sg-database".into()],
            parameter_group: Some("orders-cluster".into()),
            host: None,
        })),
        hosts: Ok(vec![host("orders-1", "us-east-1a"), host("orders-2", "us-east-1b")]),
        parameters: BTreeMap::new(),
        tls_parameters: Some(Ok(Attributes::new())),
        group: Ok(Group {
            target_type: "ip".into(),
            protocol: "TCP".into(),
            port: Some(5432),
            address_type: "ipv4".into(),
            vpc: Some("vpc-1".into()),
            load_balancers: vec![BALANCER.into()],
            health_check: HealthCheck {
                enabled: true,
                protocol: "TCP".into(),
                port: "traffic-port".into(),
                interval: Some(10),
                unhealthy_threshold: Some(2),
            },
        }),
        attributes: Ok([
            ("deregistration_delay.timeout_seconds", "60"),
            ("deregistration_delay.connection_termination.enabled", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()),
        load_balancers: Ok(vec![LoadBalancerFacts {
            load_balancer,
            cross_zone: Ok(true),
            listeners: Ok(vec![listener]),
            listener_attributes: Some(Ok(Attributes::new())),
        }]),
        load_balancers_of_vpc: Ok(Vec::new()),
        targets: Ok([("10.0.1.10:5432".to_owned(), health("healthy"))].into()),
    }
}

fn strings<const N: usize>(pairs: [(&str, &str); N]) -> [(String, String); N] {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))
}

fn host(identifier: &str, zone: &str) -> InstanceFacts {
    let subnets = [("subnet-a", "us-east-1a"), ("subnet-b", "us-east-1b"), ("subnet-c", "us-east-1c")];
    InstanceFacts {
        identifier: identifier.into(),
        zone: Some(zone.into()),
        standby_zone: None,
        vpc: Some("vpc-1".into()),
        subnets: strings(subnets).into(),
        security_groups: vec!["sg-database".into()],
        parameter_group: Some("default.aurora-postgresql16".into()),
        needs_reboot: false,
    }
}

/// The first target is an address in `us-east-1a`.
fn health(state: &str) -> Health {
    Health { state: state.into(), reason: None, zone: Some("us-east-1a".into()) }
}

/// The findings that are neither ok nor a consequence, as a report has them: `level check`.
fn faults(binding: &Binding, facts: &Facts) -> Vec<String> {
    let report = BindingFindings::new(ENDPOINT, GROUP, findings(binding, facts));
    let faults = report.findings.iter().filter(|it| it.level > Severity::Ok && it.cause.is_none());
    faults.map(|it| format!("{:?} {}", it.level, it.check).to_lowercase()).collect()
}

fn host_of(facts: &mut Facts, index: usize) -> &mut InstanceFacts {
    &mut facts.hosts.as_mut().unwrap()[index]
}

/// A MySQL cluster with this parameter group.
fn mysql(facts: &mut Facts, parameter_group: &str) {
    database(facts).engine = "aurora-mysql".into();
    (0..2).for_each(|index| host_of(facts, index).parameter_group = Some(parameter_group.into()));
    set_parameters(facts, parameter_group, &[]);
}

/// The parameters that this parameter group changes.
fn set_parameters(facts: &mut Facts, parameter_group: &str, parameters: &[(&str, &str)]) {
    let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    facts.parameters.insert(parameter_group.into(), Ok(parameters));
}

fn denied(action: &str) -> Unread {
    Unread {
        kind: ErrorKind::Permanent,
        reason: "could not ask: AccessDenied".into(),
        fix: Some(format!("allow {action} in the function's role")),
    }
}

fn database(facts: &mut Facts) -> &mut Database {
    facts.database.as_mut().unwrap().as_mut().unwrap()
}

fn group(facts: &mut Facts) -> &mut Group {
    facts.group.as_mut().unwrap()
}

fn attached(facts: &mut Facts) -> &mut LoadBalancerFacts {
    &mut facts.load_balancers.as_mut().unwrap()[0]
}

fn load_balancer(facts: &mut Facts) -> &mut LoadBalancer {
    &mut attached(facts).load_balancer
}

fn listener(facts: &mut Facts) -> &mut Listener {
    &mut attached(facts).listeners.as_mut().unwrap()[0]
}

fn set_attribute(facts: &mut Facts, key: &str, value: &str) {
    facts.attributes.as_mut().unwrap().insert(key.into(), value.into());
}

fn set_targets(facts: &mut Facts, targets: &[(&str, &str)]) {
    facts.targets = Ok(targets.iter().map(|(target, state)| ((*target).to_owned(), health(state))).collect());
}

fn set_health(facts: &mut Facts, state: &str, reason: &str) {
    let health = Health { reason: Some(reason.into()), ..health(state) };
    facts.targets = Ok([("10.0.1.10:5432".to_owned(), health)].into());
}

fn set_zone(facts: &mut Facts, target: &str, zone: &str) {
    facts.targets.as_mut().unwrap().get_mut(target).unwrap().zone = Some(zone.into());
}

/// The endpoint has this name and no CNAME.
fn rename_endpoint(facts: &mut Facts, endpoint: &str) {
    facts.resolution = Ok(resolution(&[endpoint]));
}

fn instance_of(facts: &mut Facts, cluster: Option<&str>) {
    let database = database(facts);
    database.kind = DatabaseKind::Instance;
    database.member_of = cluster.map(str::to_owned);
    database.described = Cluster::default();
    facts.hosts = Ok(vec![host("orders", "us-east-1a")]);
}

#[test]
fn healthy_binding_has_only_ok_findings() {
    let findings = findings(&binding(), &healthy_facts());
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    assert_eq!(
        checks,
        [
            "endpoint",
            "endpoint_kind",
            "database",
            "database_port",
            "writer",
            "require_tls",
            "engine",
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
            "failover_zones",
            "cross_zone",
            "listener",
            "idle_timeout",
            "security_groups",
            "targets",
            "stale_targets",
        ]
    );
    for finding in findings {
        assert_eq!(finding.level, Severity::Ok, "{finding:?}");
        assert!(
            !finding.observed.is_empty() && finding.impact.is_none() && finding.fix.is_none(),
            "{finding:?}"
        );
    }
}

#[test]
fn unreadable_facts_are_one_finding_each() {
    let nothing = || denied("everything");
    let facts = Facts {
        resolution: Err(nothing()),
        identifier: "orders".into(),
        database: Err(nothing()),
        hosts: Ok(Vec::new()),
        parameters: BTreeMap::new(),
        tls_parameters: None,
        group: Err(nothing()),
        attributes: Err(nothing()),
        load_balancers: Ok(Vec::new()),
        load_balancers_of_vpc: Ok(Vec::new()),
        targets: Err(nothing()),
    };
    let findings = findings(&binding(), &facts);
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    assert_eq!(checks, ["endpoint", "database", "target_group", "attributes", "targets"]);
    for finding in findings {
        let is_required = ["endpoint", "target_group", "targets"].contains(&finding.check.as_ref());
        let level = if is_required { Severity::Problem } else { Severity::Warning };
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.impact.unwrap().contains("not checked: "));
    }
}

#[test]
fn missing_attributes_are_judged_by_api_defaults() {
    let facts = Facts { attributes: Ok(Attributes::new()), ..healthy_facts() };
    let not_ok = findings(&binding(), &facts).into_iter().filter(|finding| finding.level != Severity::Ok);
    let not_ok: Vec<(String, String)> =
        not_ok.map(|finding| (finding.check.to_string(), finding.observed)).collect();
    let observed = "a removed target keeps its connections (delay 300 s, no termination)";
    assert_eq!(not_ok, [("deregistration".to_owned(), observed.to_owned())]);
}

#[test]
fn binding_that_no_event_names_is_a_warning() {
    let named = |endpoint: &str, databases: &[&str]| {
        let databases = databases.iter().map(|it| (*it).to_owned()).collect();
        let binding = Binding { endpoint: endpoint.to_owned(), databases, ..binding() };
        let mut facts = healthy_facts();
        facts.resolution = Ok(resolution(&[endpoint, ENDPOINT]));
        findings(&binding, &facts).into_iter().find(|finding| finding.check == "events")
    };
    let alias = named("db.example.com", &[]).expect("a warning");
    assert_eq!(alias.level, Severity::Warning);
    assert_eq!(alias.observed, "the events of RDS name orders, and the binding stands for db");
    assert!(alias.fix.is_some_and(|fix| fix.contains("`database` to orders")));
    let other = named("db.example.com", &["billing"]).expect("a warning");
    assert!(other.observed.ends_with("db and billing"), "{other:?}");
    assert!(other.fix.is_some_and(|fix| fix.contains("add orders")));
    let global = named("shop.global-abc123.global.rds.amazonaws.com", &[]).expect("a warning");
    assert!(
        global.impact.is_some_and(|impact| impact.starts_with("no event about a failover inside one Region"))
    );
    for (endpoint, databases) in [("db.example.com", &["Orders"][..]), ("orders.example.com", &[])] {
        assert_eq!(named(endpoint, databases), None, "{endpoint}");
    }
}

#[test]
fn binding_port_overrides_group_port() {
    let mut facts = healthy_facts();
    group(&mut facts).port = Some(80);
    let binding = Binding { port: Some(5432), ..binding() };
    assert!(findings(&binding, &facts).iter().all(|finding| finding.level == Severity::Ok));
}

#[test]
fn health_check_on_the_numeric_port_is_ok() {
    let mut facts = healthy_facts();
    group(&mut facts).health_check.port = "5432".into();
    assert!(findings(&binding(), &facts).iter().all(|finding| finding.level == Severity::Ok));
}

#[test]
fn instance_and_unenforced_security_group_are_ok() {
    let mut facts = healthy_facts();
    instance_of(&mut facts, None);
    load_balancer(&mut facts).security_groups = vec!["sg-1".into()];
    load_balancer(&mut facts).enforces_on_private_link = false;
    set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "draining")]);
    let findings = findings(&binding(), &facts);
    assert!(findings.iter().all(|finding| finding.level == Severity::Ok), "{findings:#?}");
    assert!(!findings.iter().any(|finding| finding.check == "writer"), "an instance has no members");
    let stale = findings.iter().find(|finding| finding.check == "stale_targets").unwrap();
    assert_eq!(stale.observed, "draining: 10.0.2.20:5432 (draining)");
}

#[test]
fn kept_standby_is_ok_and_its_impact_is_named() {
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let mut facts = healthy_facts();
    instance_of(&mut facts, None);
    database(&mut facts).is_multi_az = true;
    host_of(&mut facts, 0).standby_zone = Some("us-east-1b".into());
    set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy")]);
    set_zone(&mut facts, "10.0.2.20:5432", "us-east-1b");
    let about = |binding: &Binding, facts: &Facts, check: &str| {
        findings(binding, facts).into_iter().find(|finding| finding.check == check)
    };
    let standby = about(&kept, &facts, "standby").unwrap();
    assert_eq!(standby.level, Severity::Ok);
    set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy.draining")]);
    set_zone(&mut facts, "10.0.2.20:5432", "us-east-1b");
    assert_eq!(
        about(&kept, &facts, "standby").as_ref(),
        Some(&standby),
        "its connections are kept for a while"
    );
    assert!(standby.impact.unwrap().contains("UnHealthyHostCount is one in normal times"));
    assert_eq!(about(&kept, &facts, "stale_targets").unwrap().level, Severity::Ok);
    assert_eq!(about(&kept, &facts, "standby_policy").unwrap().level, Severity::Ok);
    let deregistered = about(&binding(), &facts, "stale_targets").unwrap();
    assert_eq!(deregistered.level, Severity::Problem, "unless it is kept");

    set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "healthy")]);
    let healthy = about(&kept, &facts, "stale_targets").unwrap();
    assert_eq!(healthy.level, Severity::Problem, "a standby is not healthy");
    assert!(about(&kept, &facts, "standby").unwrap().observed.contains("no standby yet"));
}

#[test]
fn only_the_known_standby_is_as_expected() {
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let world = |change: fn(&mut Facts)| {
        let mut facts = healthy_facts();
        instance_of(&mut facts, None);
        database(&mut facts).is_multi_az = true;
        host_of(&mut facts, 0).standby_zone = Some("us-east-1b".into());
        set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy")]);
        set_zone(&mut facts, "10.0.2.20:5432", "us-east-1b");
        change(&mut facts);
        let about = |check: &str| findings(&kept, &facts).into_iter().find(|finding| finding.check == check);
        (about("standby").unwrap().level, about("stale_targets").unwrap().level)
    };
    assert_eq!(world(|_| {}), (Severity::Ok, Severity::Ok));
    assert_eq!(world(|facts| host_of(facts, 0).standby_zone = None), (Severity::Ok, Severity::Ok));
    let unknown = (Severity::NotExamined, Severity::Ok);
    let elsewhere = (Severity::Warning, Severity::Ok);
    assert_eq!(world(|facts| database(facts).is_multi_az = false), unknown, "it has none");
    assert_eq!(world(|facts| facts.database = Err(denied("rds:DescribeDBInstances"))), unknown);
    assert_eq!(world(|facts| set_zone(facts, "10.0.2.20:5432", "us-east-1c")), elsewhere);
    let in_a_failover = world(|facts| {
        set_zone(facts, "10.0.2.20:5432", "us-east-1c");
        facts.targets.as_mut().unwrap().get_mut("10.0.1.10:5432").unwrap().state = "initial".into();
    });
    assert_eq!(in_a_failover, unknown, "the zones differ for a while");
    let two = world(|facts| {
        set_targets(
            facts,
            &[("10.0.1.10:5432", "healthy"), ("10.0.2.9:5432", "unhealthy"), ("10.0.2.20:5432", "unhealthy")],
        );
        set_zone(facts, "10.0.2.20:5432", "us-east-1b");
    });
    assert_eq!(
        two,
        (Severity::Warning, Severity::Problem),
        "the function keeps the first by address, in whatever zone"
    );
}

/// The doctor names the target that the plan keeps, and calls stale what the plan deregisters.
#[test]
fn kept_standby_is_that_of_the_plan() {
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let about = |targets: &[(&str, &str)]| {
        let mut facts = healthy_facts();
        instance_of(&mut facts, None);
        database(&mut facts).is_multi_az = true;
        set_targets(&mut facts, targets);
        let about = |check: &str| findings(&kept, &facts).into_iter().find(|finding| finding.check == check);
        (about("standby").unwrap().observed, about("stale_targets").unwrap().observed)
    };
    let (standby, stale) = about(&[
        ("10.0.1.10:5432", "healthy"),
        ("10.0.2.9:5432", "unhealthy"),
        ("10.0.2.20:5432", "unhealthy"),
    ]);
    assert!(standby.starts_with("10.0.2.9:5432 is kept"), "{standby}");
    assert_eq!(stale, "10.0.2.20:5432 (unhealthy)");
    let (standby, stale) = about(&[
        ("10.0.1.10:5432", "initial"),
        ("10.0.2.9:5432", "unhealthy"),
        ("10.0.2.20:5432", "healthy"),
    ]);
    assert!(standby.contains("no standby yet"), "{standby}");
    assert_eq!(stale, "10.0.2.20:5432 (healthy), 10.0.2.9:5432 (unhealthy)");
}

#[test]
fn target_that_may_be_no_standby_is_not_left_out_of_the_stale_ones() {
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let mut facts = healthy_facts();
    instance_of(&mut facts, None);
    set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy")]);
    let stale = |facts: &Facts| {
        findings(&kept, facts).into_iter().find(|finding| finding.check == "stale_targets").unwrap().observed
    };
    assert_eq!(stale(&facts), "none besides 10.0.2.20:5432, see the finding standby");
    database(&mut facts).is_multi_az = true;
    assert_eq!(stale(&facts), "none");
}

/// The function registers the next writer early, and nothing else.
#[test]
fn early_target_is_one_of_a_writer_whose_addresses_are_registered() {
    let level = |binding: &Binding, targets: &[(&str, &str)]| {
        let mut facts = healthy_facts();
        set_targets(&mut facts, targets);
        let findings = findings(binding, &facts);
        findings.into_iter().find(|finding| finding.check == "stale_targets").unwrap().level
    };
    let (registered, early) = (("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "initial"));
    assert_eq!(level(&binding(), &[registered, early]), Severity::Warning);
    assert_eq!(level(&binding(), &[early]), Severity::Problem, "the writer is not registered");
    assert_eq!(level(&binding(), &[("10.0.1.10:5432", "draining"), early]), Severity::Problem);
    let readers = Binding { role: Role::Readers, ..binding() };
    assert_eq!(level(&readers, &[registered, early]), Severity::Problem);
}

#[test]
fn standby_without_multi_az_is_a_problem() {
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let mut facts = healthy_facts();
    assert_eq!(faults(&kept, &facts), ["problem standby_policy"], "a cluster has none");
    instance_of(&mut facts, None);
    assert_eq!(faults(&kept, &facts), ["problem standby_policy"]);
    set_targets(&mut facts, &[("10.0.9.9:5432", "healthy")]);
    assert_eq!(faults(&kept, &facts), ["problem standby_policy"], "a check would fail as well");
}

#[test]
fn commands_have_group_and_region() {
    let mut facts = healthy_facts();
    set_attribute(&mut facts, "proxy_protocol_v2.enabled", "true");
    let findings = findings(&binding(), &facts);
    let proxy = findings.iter().find(|finding| finding.check == "proxy_protocol").unwrap();
    assert_eq!(
        proxy.fix.as_deref().unwrap(),
        format!(
            "`aws elbv2 modify-target-group-attributes --target-group-arn {GROUP} --attributes \
             Key=proxy_protocol_v2.enabled,Value=false --region us-east-1`"
        )
    );
}
