use std::collections::BTreeSet;

use super::*;
use crate::plan::{Addresses, StandbyPolicy};
use crate::reconcile::{Cluster, Resolution};

mod faults;
mod settings;

const ENDPOINT: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";

fn binding() -> Binding {
    Binding::new(ENDPOINT, GROUP.parse().unwrap())
}

fn resolution(chain: &[&str]) -> Resolution {
    let addresses = Addresses::parse(["10.0.1.10".parse().unwrap()]).unwrap();
    Resolution { addresses, chain: chain.iter().map(|name| (*name).to_owned()).collect() }
}

/// A binding with which all is well.
fn well() -> Facts {
    let members = [("orders-1".to_owned(), true), ("orders-2".to_owned(), false)].into();
    let load_balancer = LoadBalancer {
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
        resolution: Ok(resolution(&[ENDPOINT, "orders-1.abc123.us-east-1.rds.amazonaws.com"])),
        identifier: "orders".into(),
        database: Ok(Some(Database {
            kind: DatabaseKind::Cluster,
            identifier: "orders".into(),
            status: "available".into(),
            port: Some(5432),
            members: Cluster { members, is_failing_over: false, zone: None },
            cluster: None,
        })),
        group: Ok(Group {
            target_type: "ip".into(),
            protocol: "TCP".into(),
            port: Some(5432),
            address_type: "ipv4".into(),
            load_balancers: vec!["arn:balancer".into()],
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
        load_balancers: Ok(vec![Attached {
            load_balancer,
            cross_zone: Ok(true),
            listeners: Ok(vec![listener]),
        }]),
        targets: Ok([("10.0.1.10:5432".to_owned(), health("healthy"))].into()),
    }
}

fn health(state: &str) -> Health {
    Health { state: state.into(), reason: None }
}

fn denied(action: &str) -> Unread {
    Unread {
        kind: ErrorKind::Permanent,
        story: "could not ask: AccessDenied".into(),
        fix: Some(format!("allow {action} in the function's role")),
    }
}

fn database(facts: &mut Facts) -> &mut Database {
    facts.database.as_mut().unwrap().as_mut().unwrap()
}

fn group(facts: &mut Facts) -> &mut Group {
    facts.group.as_mut().unwrap()
}

fn attached(facts: &mut Facts) -> &mut Attached {
    &mut facts.load_balancers.as_mut().unwrap()[0]
}

fn load_balancer(facts: &mut Facts) -> &mut LoadBalancer {
    &mut attached(facts).load_balancer
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
    facts.resolution = Ok(resolution(&[endpoint]));
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
        assert_eq!(finding.level, Severity::Ok, "{finding:?}");
        assert!(
            !finding.observed.is_empty() && finding.impact.is_none() && finding.fix.is_none(),
            "{finding:?}"
        );
    }
}

#[test]
fn whatever_cannot_be_read_is_told_once_and_nothing_is_guessed() {
    let nothing = || denied("everything");
    let facts = Facts {
        resolution: Err(nothing()),
        identifier: "orders".into(),
        database: Err(nothing()),
        group: Err(nothing()),
        attributes: Err(nothing()),
        load_balancers: Ok(Vec::new()),
        targets: Err(nothing()),
    };
    let findings = findings(&binding(), &facts);
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["endpoint", "database", "target_group", "attributes", "targets"]);
    for finding in findings {
        assert_ne!(finding.level, Severity::Ok);
        assert!(finding.impact.unwrap().contains("not checked: "));
    }
}

#[test]
fn a_group_without_its_attributes_has_the_defaults_of_the_api() {
    let facts = Facts { attributes: Ok(Attributes::new()), ..well() };
    let not_ok = findings(&binding(), &facts).into_iter().filter(|finding| finding.level != Severity::Ok);
    let not_ok: Vec<(&str, String)> = not_ok.map(|finding| (finding.check, finding.observed)).collect();
    let observed = "a removed target keeps its connections (delay 300 s, no termination)";
    assert_eq!(not_ok, [("deregistration", observed.to_owned())]);
}

#[test]
fn the_bindings_port_counts_before_the_groups() {
    let mut facts = well();
    group(&mut facts).port = Some(80);
    let binding = Binding { port: Some(5432), ..binding() };
    assert!(findings(&binding, &facts).iter().all(|finding| finding.level == Severity::Ok));
}

#[test]
fn a_health_check_of_the_databases_port_by_number_is_as_good() {
    let mut facts = well();
    group(&mut facts).health_check.port = "5432".into();
    assert!(findings(&binding(), &facts).iter().all(|finding| finding.level == Severity::Ok));
}

#[test]
fn instances_and_security_groups_off_duty_are_fine() {
    let mut facts = well();
    instance_of(&mut facts, None);
    load_balancer(&mut facts).security_groups = vec!["sg-1".into()];
    load_balancer(&mut facts).enforces_on_private_link = false;
    hold(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "draining")]);
    let findings = findings(&binding(), &facts);
    assert!(findings.iter().all(|finding| finding.level == Severity::Ok), "{findings:#?}");
    assert!(!findings.iter().any(|finding| finding.check == "writer"), "an instance has no members");
    let stale = findings.iter().find(|finding| finding.check == "stale_targets").unwrap();
    assert_eq!(stale.observed, "on their way out: 10.0.2.20:5432 (draining)");
}

#[test]
fn a_kept_standby_is_no_fault_and_its_cost_is_told() {
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let mut facts = well();
    hold(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy")]);
    let about = |binding: &Binding, facts: &Facts, check: &str| {
        findings(binding, facts).into_iter().find(|finding| finding.check == check)
    };
    let standby = about(&kept, &facts, "standby").unwrap();
    assert_eq!(standby.level, Severity::Ok);
    assert!(standby.impact.unwrap().contains("UnHealthyHostCount is one in normal times"));
    assert_eq!(about(&kept, &facts, "stale_targets").unwrap().level, Severity::Ok);
    assert_eq!(
        about(&binding(), &facts, "stale_targets").unwrap().level,
        Severity::Problem,
        "unless it is kept"
    );

    hold(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "healthy")]);
    assert_eq!(
        about(&kept, &facts, "stale_targets").unwrap().level,
        Severity::Problem,
        "one that answers is none"
    );
    assert!(about(&kept, &facts, "standby").unwrap().observed.contains("no standby yet"));
}

#[test]
fn commands_name_the_group_and_its_region() {
    let mut facts = well();
    set(&mut facts, "proxy_protocol_v2.enabled", "true");
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
