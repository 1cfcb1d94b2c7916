//! The doctor, over loopback sockets and through the binary, in worlds that have one fault or none.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use testkit::estate::Estate;
use testkit::lambda::Function;
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP, TWO};

const TIME: Duration = Duration::from_secs(190);

/// Asks the binary, as an operator does.
async fn ask(aws: &FakeAws, variables: &[(&str, &str)]) -> Value {
    let function = Function::start(aws, Path::new(env!("CARGO_BIN_EXE_bootstrap")), variables).await;
    let result = function.invoke(json!({"command": "doctor"}), TIME).await.expect("problems fail nothing");
    assert_eq!(aws.writes(), Vec::<String>::new(), "the doctor changes nothing");
    result
}

/// What is not `ok` about the binding, as `level check`.
fn not_ok(result: &Value) -> Vec<String> {
    let findings = result["bindings"][0]["findings"].as_array().expect("findings");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let not_ok = findings.iter().filter(|finding| finding["level"] != "ok");
    not_ok.map(|finding| format!("{} {}", text(&finding["level"]), text(&finding["check"]))).collect()
}

fn finding<'a>(result: &'a Value, check: &str) -> &'a Value {
    let all = [&result["general"], &result["bindings"][0]["findings"]];
    let mut all = all.into_iter().flat_map(|findings| findings.as_array().expect("findings"));
    all.find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {result:#}"))
}

#[tokio::test]
async fn doctor_finds_nothing_where_all_is_well() {
    let aws = FakeAws::new();
    let result = ask(&aws, &[]).await;
    assert_eq!(not_ok(&result), Vec::<String>::new(), "{result:#}");
    assert_eq!(result["trigger"], "doctor");
    assert_eq!(result["bindings"][0]["endpoint"], ENDPOINT);
    assert_eq!(result["bindings"][0]["target_group"], GROUP);
    let seen = "resolves to 10.0.1.10, by orders-1.abc123.us-east-1.rds.amazonaws.com";
    let endpoint = json!({"level": "ok", "check": "endpoint", "observed": seen, "impact": null, "fix": null});
    assert_eq!(finding(&result, "endpoint"), &endpoint);
    assert_eq!(finding(&result, "database")["observed"], "the cluster orders is storage-optimization");
    assert_eq!(finding(&result, "listener")["observed"], "TCP 5432 forwards to the group");
    assert_eq!(finding(&result, "zones")["observed"], "us-east-1a, us-east-1b");
}

#[tokio::test]
async fn doctor_lists_what_it_cannot_check_from_inside() {
    let result = ask(&FakeAws::new(), &[("WATCH_SECONDS", "180")]).await;
    let delivery = finding(&result, "delivery");
    assert_eq!(delivery["level"], "warning");
    let fix = delivery["fix"].as_str().unwrap();
    assert!(fix.contains("SilenceAlarm") && fix.contains("DeadLettersAlarm"), "{fix}");
    assert_eq!(finding(&result, "timeout")["level"], "ok");
    assert_eq!(finding(&result, "confirmation")["level"], "warning", "these tests confirm within a second");
}

#[tokio::test]
async fn doctor_finds_every_fault_through_the_apis() {
    type Case = (&'static str, fn(&mut Estate));
    let cases: [Case; 12] = [
        ("problem database", |estate| estate.status = "stopped"),
        ("problem database_port", |estate| estate.database_port = 3306),
        ("warning health_check", |estate| estate.health_check.interval = 30),
        ("warning deregistration", |estate| estate.attributes.clear()),
        ("problem proxy_protocol", |estate| {
            estate.attributes.insert("proxy_protocol_v2.enabled".into(), "true".into());
        }),
        ("problem load_balancer", |estate| estate.load_balancers.clear()),
        ("warning scheme", |estate| estate.load_balancers[0].0.scheme = "internet-facing".into()),
        ("warning zones", |estate| estate.load_balancers[0].0.zones.truncate(1)),
        ("problem cross_zone", |estate| estate.load_balancers[0].2.clear()),
        ("problem listener", |estate| estate.load_balancers[0].1.clear()),
        ("warning listener", |estate| estate.load_balancers[0].1[0].groups.push(format!("{GROUP}1"))),
        ("warning security_groups", |estate| {
            estate.load_balancers[0].0.security_groups = vec!["sg-1".into()]
        }),
    ];
    for (expected, fault) in cases {
        let aws = FakeAws::new();
        fault(&mut aws.state().estate);
        assert_eq!(not_ok(&ask(&aws, &[]).await), [expected]);
    }
}

#[tokio::test]
async fn doctor_finds_a_missed_failover_in_the_targets() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let result = ask(&aws, &[]).await;
    assert_eq!(not_ok(&result), ["problem targets", "problem stale_targets"]);
    let seen = "the writer 10.0.2.20:5432 is not in the group, which holds 10.0.1.10:5432 (healthy)";
    assert_eq!(finding(&result, "targets")["observed"], seen);
}

#[tokio::test]
async fn doctor_shows_why_the_writer_is_unhealthy() {
    let aws = FakeAws::new();
    aws.group(|group| group.targets.values_mut().for_each(|target| target.state = Some("unhealthy")));
    aws.state().estate.reason = Some("Target.FailedHealthChecks");
    let result = ask(&aws, &[]).await;
    assert_eq!(not_ok(&result), ["problem targets"]);
    let seen = "the writer 10.0.1.10:5432 is unhealthy (Target.FailedHealthChecks)";
    assert_eq!(finding(&result, "targets")["observed"], seen);
}

#[tokio::test]
async fn doctor_warns_about_a_cluster_members_own_endpoint() {
    let endpoint = "orders-1.abc123.us-east-1.rds.amazonaws.com";
    let bindings = json!([{"endpoint": endpoint, "target_group": GROUP}]).to_string();
    let result = ask(&FakeAws::new(), &[("BINDINGS", &bindings)]).await;
    assert_eq!(not_ok(&result), ["problem endpoint_kind"]);
    assert_eq!(finding(&result, "database")["observed"], "the instance orders-1 is storage-optimization");
}

#[tokio::test]
async fn doctor_names_every_missing_permission() {
    for (action, check, level, permission) in [
        (
            Action::DescribeTargetGroups,
            "target_group",
            "problem",
            "elasticloadbalancing:DescribeTargetGroups",
        ),
        (
            Action::DescribeTargetGroupAttributes,
            "attributes",
            "warning",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
        ),
        (Action::DescribeTargetHealth, "targets", "problem", "elasticloadbalancing:DescribeTargetHealth"),
        (
            Action::DescribeLoadBalancers,
            "load_balancer",
            "warning",
            "elasticloadbalancing:DescribeLoadBalancers",
        ),
        (
            Action::DescribeLoadBalancerAttributes,
            "cross_zone",
            "warning",
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
        ),
        (Action::DescribeListeners, "listener", "warning", "elasticloadbalancing:DescribeListeners"),
        (Action::DescribeDBClusters, "database", "warning", "rds:DescribeDBClusters"),
    ] {
        let aws = FakeAws::new();
        aws.always(action, Some(ApiFault::Denied));
        let result = ask(&aws, &[]).await;
        let found = finding(&result, check);
        assert_eq!(found["level"], level, "{found}");
        assert!(found["fix"].as_str().unwrap().contains(&format!("allow {permission} in")), "{found}");
        assert!(found["impact"].as_str().unwrap().contains("not checked: "), "{found}");
    }
}

#[tokio::test]
async fn doctor_needs_permission_for_its_instance_only() {
    let aws = FakeAws::new();
    aws.state().instances.insert("billing".into(), testkit::Instance::default());
    let endpoint = "billing.abc123.us-east-1.rds.amazonaws.com";
    aws.state().zone.insert(endpoint.into(), testkit::addresses(&["10.0.1.10"]));
    let bindings = json!([{"endpoint": endpoint, "target_group": GROUP}]).to_string();
    aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied));
    assert_eq!(not_ok(&ask(&aws, &[("BINDINGS", &bindings)]).await), Vec::<String>::new());
    aws.always(Action::DescribeDBClusters, None);
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Denied));
    let result = ask(&aws, &[("BINDINGS", &bindings)]).await;
    assert!(finding(&result, "database")["fix"].as_str().unwrap().contains("rds:DescribeDBInstances"));
}

mod in_time {
    use rds_nlb_sync::binding::Binding;
    use rds_nlb_sync::doctor::{Severity, examine};
    use rds_nlb_sync::reconcile;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn doctor_reports_a_hanging_call_and_all_other_findings() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeListeners, Some(ApiFault::Hangs));
        let ports = reconcile::Clients { dns: aws.clone(), groups: aws.clone(), rds: aws.clone() };
        let bindings: Vec<Binding> = (0..9).map(|_| Binding::new(ENDPOINT, GROUP.parse().unwrap())).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        let all_findings = examine(&ports, &bindings, deadline).await;
        assert_eq!(Instant::now(), deadline);
        assert_eq!(all_findings.len(), 9);
        for binding_findings in all_findings.iter().take(4) {
            let not_ok: Vec<_> =
                binding_findings.findings.iter().filter(|finding| finding.level != Severity::Ok).collect();
            assert_eq!(not_ok.len(), 1, "{not_ok:#?}");
            assert!(not_ok[0].observed.contains("before the time ran out"), "{not_ok:#?}");
        }
    }
}
