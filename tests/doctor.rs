//! The doctor through the binary, over loopback sockets, against an AWS with one fault or none.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use testkit::estate::{Estate, attributes, listener};
use testkit::lambda::Function;
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP, TWO};

const OTHER: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/other/1123456789abcdef";
const TIME: Duration = Duration::from_secs(190);

/// Invokes the function as an operator does.
async fn run_doctor(aws: &FakeAws, variables: &[(&str, &str)]) -> Value {
    let function = Function::start(aws, Path::new(env!("CARGO_BIN_EXE_bootstrap")), variables).await;
    let result = function
        .invoke(json!({"command": "doctor"}), TIME)
        .await
        .expect("problems do not fail the invocation");
    assert_eq!(aws.writes(), Vec::<String>::new(), "the doctor changes nothing");
    result
}

/// The binding's findings that are neither ok nor a consequence of another, as `level check`.
fn not_ok(result: &Value) -> Vec<String> {
    let findings = result["bindings"][0]["findings"].as_array().expect("findings");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_fault = |finding: &&Value| finding["level"] != "ok" && finding["cause"].is_null();
    let not_ok = findings.iter().filter(is_fault);
    not_ok.map(|finding| format!("{} {}", text(&finding["level"]), text(&finding["check"]))).collect()
}

fn finding<'a>(result: &'a Value, check: &str) -> &'a Value {
    let binding = &result["bindings"][0];
    let all = [&result["general"], &result["not_examined"], &binding["findings"], &binding["not_examined"]];
    let mut all = all.into_iter().flat_map(|findings| findings.as_array().expect("findings"));
    all.find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {result:#}"))
}

#[tokio::test]
async fn missing_target_group_is_one_problem() {
    let aws = FakeAws::new();
    aws.state().groups.clear();
    let result = run_doctor(&aws, &[]).await;
    assert_eq!(not_ok(&result), ["problem target_group"]);
    let fix = finding(&result, "target_group")["fix"].as_str().unwrap();
    assert!(fix.starts_with("no target group of this account and Region has that ARN"), "{fix}");
}

#[tokio::test]
async fn healthy_binding_has_only_ok_findings() {
    let aws = FakeAws::new();
    let result = run_doctor(&aws, &[]).await;
    assert_eq!(not_ok(&result), Vec::<String>::new(), "{result:#}");
    assert_eq!(result["trigger"], "doctor");
    assert_eq!(result["bindings"][0]["endpoint"], ENDPOINT);
    assert_eq!(result["bindings"][0]["target_group"], GROUP);
    let observed = "resolves to 10.0.1.10, through orders-1.abc123.us-east-1.rds.amazonaws.com";
    let endpoint = json!({"level": "ok", "check": "endpoint", "observed": observed, "impact": null, "fix": null,
            "cause": null});
    assert_eq!(finding(&result, "endpoint"), &endpoint);
    assert_eq!(finding(&result, "database")["observed"], "the cluster orders is storage-optimization");
    assert_eq!(finding(&result, "listener")["observed"], "TCP 5432 forwards to the group");
    assert_eq!(finding(&result, "zones")["observed"], "us-east-1a, us-east-1b");
    let engine = "aurora-postgresql 16.4; users may log in with a token of IAM";
    assert_eq!(finding(&result, "engine")["observed"], engine);
}

#[tokio::test]
async fn unexamined_parts_name_where_to_look() {
    let result = run_doctor(&FakeAws::new(), &[("WATCH_SECONDS", "180")]).await;
    let delivery = finding(&result, "delivery");
    assert_eq!(delivery["level"], "not_examined");
    assert_eq!(result["not_examined"].as_array().unwrap().len(), 2, "delivery and write_access");
    let fix = delivery["fix"].as_str().unwrap();
    assert!(fix.contains("SilenceAlarm") && fix.contains("DeadLettersAlarm"), "{fix}");
    assert_eq!(finding(&result, "timeout")["level"], "ok");
    assert_eq!(finding(&result, "confirmation")["level"], "warning", "these tests confirm within a second");
}

#[tokio::test]
async fn every_estate_fault_is_found_through_the_apis() {
    type Case = (&'static str, fn(&mut Estate));
    let cases: &[Case] = &[
        ("problem database", |estate| estate.status = "stopped"),
        ("problem database_port", |estate| estate.database_port = 3306),
        ("warning health_check", |estate| estate.health_check.interval = Some(30)),
        ("warning deregistration", |estate| estate.attributes.clear()),
        ("problem proxy_protocol", |estate| {
            estate.attributes.insert("proxy_protocol_v2.enabled".into(), "true".into());
        }),
        ("problem load_balancer", |estate| estate.load_balancers.clear()),
        ("warning idle_timeout", |estate| {
            estate.listener_attributes.insert("tcp.idle_timeout.seconds".into(), "60".into());
        }),
        ("warning scheme", |estate| estate.load_balancers[0].0.scheme = "internet-facing".into()),
        ("warning failover_zones", |estate| {
            estate.load_balancers[0].0.zones.remove("us-east-1b");
        }),
        ("problem zones", |estate| {
            estate.zones.insert("orders-1".into(), "us-east-1c".into());
            estate.target_zones.clear();
        }),
        ("warning connect_errors", |estate| {
            estate.engine = "aurora-mysql";
            estate.parameter_group = "orders";
        }),
        ("warning connect_errors", |estate| {
            estate.engine = "aurora-mysql";
            estate.parameter_group = "orders";
            estate.parameters = attributes(&[("max_connect_errors", "1000000000")]);
            estate.needs_reboot = true;
        }),
        ("problem listener", |estate| {
            estate.load_balancers[0].1 = vec![listener(5432, &[(GROUP, 0), (OTHER, 1)])];
        }),
        ("problem listener", |estate| estate.load_balancers[0].1[0].protocol = "TLS".into()),
        ("problem load_balancer", |estate| {
            estate.is_attached = false;
            estate.load_balancers[0].1 = vec![listener(5432, &[(OTHER, 1)])];
        }),
        ("warning failover_zones", |estate| {
            estate.zones.insert("orders-2".into(), "us-east-1d".into());
        }),
        ("problem cross_zone", |estate| estate.load_balancers[0].2.clear()),
        ("problem listener", |estate| estate.load_balancers[0].1.clear()),
        ("warning listener", |estate| {
            estate.load_balancers[0].1[0].forwards.push((OTHER.into(), 1));
        }),
        ("warning listener", |estate| estate.load_balancers[0].1 = vec![listener(15432, &[(GROUP, 1)])]),
    ];
    for (expected, fault) in cases {
        let aws = FakeAws::new();
        fault(&mut aws.state().estate);
        assert_eq!(not_ok(&run_doctor(&aws, &[]).await), [*expected]);
    }
}

/// An internet-facing load balancer would make the database public, also where its port is free.
#[tokio::test]
async fn group_is_attached_to_an_internal_load_balancer_alone() {
    let aws = FakeAws::new();
    {
        let mut state = aws.state();
        let estate = &mut state.estate;
        estate.is_attached = false;
        estate.load_balancers[0].1 = vec![listener(5432, &[(OTHER, 1)])];
        let mut public = estate.load_balancers[0].clone();
        (public.0.name, public.0.scheme) = ("public-ingress".into(), "internet-facing".into());
        public.0.arn = public.0.arn.replace("/orders/", "/public-ingress/");
        public.1 = vec![listener(443, &[(OTHER, 1)])];
        estate.load_balancers.insert(0, public);
    }
    let fix = |result: &Value| finding(result, "load_balancer")["fix"].as_str().unwrap().to_owned();
    let taken = fix(&run_doctor(&aws, &[]).await);
    assert!(taken.starts_with("the listener on 5432 of orders forwards to the group other"), "{taken}");
    aws.state().estate.load_balancers.pop();
    let none = fix(&run_doctor(&aws, &[]).await);
    assert!(none.contains("Scheme==") && !none.contains("public-ingress"), "{none}");
}

/// What is unusual and well, through the APIs.
#[tokio::test]
async fn unusual_but_healthy_estate_has_no_fault() {
    let changes: [fn(&mut Estate); 6] = [
        |estate| {
            estate.load_balancers[0].0.zones.remove("us-east-1b");
            estate.load_balancers[0].2.clear();
            estate.zones.clear();
        },
        |estate| estate.health_check.protocol = "HTTP".into(),
        |estate| estate.load_balancers[0].1.insert(0, listener(15432, &[(GROUP, 1)])),
        |estate| estate.load_balancers[0].1 = vec![listener(5432, &[(GROUP, 1), (OTHER, 0)])],
        |estate| estate.load_balancers[0].0.security_groups = vec!["sg-1".into()],
        |estate| {
            estate.engine = "aurora-mysql";
            estate.parameter_group = "orders";
            estate.parameters = attributes(&[("max_connect_errors", "1000000000")]);
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let aws = FakeAws::new();
        change(&mut aws.state().estate);
        assert_eq!(not_ok(&run_doctor(&aws, &[]).await), Vec::<String>::new(), "estate {index}");
    }
}

/// The API refuses or does not answer: nothing is known to be well.
#[tokio::test]
async fn silent_elb_api_is_a_problem() {
    for fault in [ApiFault::Throttled, ApiFault::Denied, ApiFault::ServerError] {
        let aws = FakeAws::new();
        for action in [
            Action::DescribeTargetGroups,
            Action::DescribeTargetHealth,
            Action::DescribeTargetGroupAttributes,
            Action::DescribeLoadBalancers,
            Action::DescribeListeners,
        ] {
            aws.always(action, Some(fault));
        }
        let result = run_doctor(&aws, &[]).await;
        assert!(result["counts"]["problems"].as_u64() > Some(0), "{fault:?}: {result:#}");
        assert_eq!(finding(&result, "target_group")["level"], "problem");
        assert_eq!(finding(&result, "targets")["level"], "problem");
    }
}

#[tokio::test]
async fn unhealthy_target_names_both_security_groups() {
    let aws = FakeAws::new();
    aws.group(|group| group.targets.values_mut().for_each(|target| target.state = Some("unhealthy")));
    aws.state().estate.reason = Some("Target.FailedHealthChecks");
    aws.state().estate.load_balancers[0].0.security_groups = vec!["sg-balancer".into()];
    let result = run_doctor(&aws, &[]).await;
    let command = "`aws ec2 authorize-security-group-ingress --group-id sg-database --protocol tcp --port 5432 \
                   --source-group sg-balancer --region us-east-1`";
    let fix = finding(&result, "targets")["fix"].as_str().unwrap();
    assert!(fix.contains(command), "{fix}");
}

mod by_tag {
    use super::*;

    const TAG: (&str, &str) = ("DISCOVERY_TAG", "rds-endpoint");

    #[tokio::test]
    async fn bad_tag_is_a_problem_and_silences_no_other_group() {
        let aws = FakeAws::new();
        let bad = aws.tagged("bad", &[("rds-endpoint", "10.0.1.10")]);
        let result = run_doctor(&aws, &[TAG]).await;
        assert_eq!(result["bindings"][0]["endpoint"], ENDPOINT);
        assert_eq!(result["bindings"][1]["target_group"], *bad);
        assert_eq!(result["bindings"][1]["findings"][0]["check"], "binding");
        assert_eq!(result["counts"]["problems"], 1);
    }

    #[tokio::test]
    async fn denied_discovery_is_a_problem() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeTags, Some(ApiFault::Denied));
        let result = run_doctor(&aws, &[TAG]).await;
        assert_eq!(finding(&result, "discovery")["level"], "problem", "{result:#}");
        assert_eq!(not_ok(&result), Vec::<String>::new(), "BINDINGS are examined all the same");
    }

    #[tokio::test]
    async fn nothing_bound_is_a_problem() {
        let result = run_doctor(&FakeAws::new(), &[TAG, ("BINDINGS", "")]).await;
        assert_eq!(result["counts"]["problems"], 1, "{result:#}");
        assert_eq!(result["general"][0]["check"], "discovery");
        let observed = result["general"][0]["observed"].as_str().unwrap();
        assert!(observed.contains("no target group carries the tag"), "{observed}");
    }
}

#[tokio::test]
async fn missed_failover_is_a_targets_problem() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let result = run_doctor(&aws, &[]).await;
    assert_eq!(not_ok(&result), ["problem targets"]);
    assert_eq!(finding(&result, "stale_targets")["cause"], "targets");
    let observed = "the writer 10.0.2.20:5432 is not in the group, which holds 10.0.1.10:5432 (healthy)";
    assert_eq!(finding(&result, "targets")["observed"], observed);
}

#[tokio::test]
async fn unhealthy_writer_is_reported_with_its_reason() {
    let aws = FakeAws::new();
    aws.group(|group| group.targets.values_mut().for_each(|target| target.state = Some("unhealthy")));
    aws.state().estate.reason = Some("Target.FailedHealthChecks");
    let result = run_doctor(&aws, &[]).await;
    assert_eq!(not_ok(&result), ["problem targets"]);
    let observed = "the writer 10.0.1.10:5432 is unhealthy (Target.FailedHealthChecks)";
    assert_eq!(finding(&result, "targets")["observed"], observed);
}

#[tokio::test]
async fn cluster_instance_endpoint_is_a_problem() {
    let endpoint = "orders-1.abc123.us-east-1.rds.amazonaws.com";
    let bindings = json!([{"endpoint": endpoint, "target_group": GROUP}]).to_string();
    let result = run_doctor(&FakeAws::new(), &[("BINDINGS", &bindings)]).await;
    assert_eq!(not_ok(&result), ["problem endpoint_kind"]);
    assert_eq!(finding(&result, "database")["observed"], "the instance orders-1 is storage-optimization");
}

/// The RDS API knows a cluster of the proxy's name, and one of the binding's `database`. Neither is the proxy.
#[tokio::test]
async fn database_behind_an_rds_proxy_is_not_judged_for_it() {
    let aws = FakeAws::new();
    let proxy = "orders.proxy-abc123.us-east-1.rds.amazonaws.com";
    let alias = "db.example.com";
    {
        let mut state = aws.state();
        state.zone.insert(proxy.into(), testkit::addresses(&["10.0.1.10"]));
        state.zone.insert(alias.into(), testkit::Record::Cname(proxy.into()));
        state.estate.status = "stopped";
        state.estate.engine = "aurora-mysql";
        state.estate.reason = Some("Target.FailedHealthChecks");
        state.estate.zones.insert("orders-2".into(), "us-east-1d".into());
        state.estate.load_balancers[0].0.security_groups = vec!["sg-balancer".into()];
    }
    aws.group(|group| group.targets.values_mut().for_each(|target| target.state = Some("unhealthy")));
    for binding in [
        json!([{"endpoint": proxy, "target_group": GROUP}]),
        json!([{"endpoint": alias, "target_group": GROUP, "database": "orders"}]),
    ] {
        let result = run_doctor(&aws, &[("BINDINGS", &binding.to_string())]).await;
        assert_eq!(not_ok(&result), ["problem targets"], "{result:#}");
        assert_eq!(finding(&result, "database")["level"], "not_examined");
        assert_eq!(finding(&result, "endpoint_kind")["observed"], "an RDS Proxy's endpoint");
        let fix = finding(&result, "targets")["fix"].as_str().unwrap();
        assert!(!fix.contains("sg-database"), "the cluster's group is not the proxy's: {fix}");
    }
}

#[tokio::test]
async fn namesake_in_another_account_is_not_examined() {
    let aws = FakeAws::new();
    {
        let mut state = aws.state();
        (state.is_namesake, state.estate.status) = (true, "stopped");
    }
    let result = run_doctor(&aws, &[]).await;
    assert_eq!(not_ok(&result), Vec::<String>::new());
    let observed = finding(&result, "database")["observed"].as_str().expect("a text");
    assert!(observed.contains("no cluster or instance called orders with this endpoint"), "{observed}");
}

#[tokio::test]
async fn missing_permission_is_named() {
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
        let result = run_doctor(&aws, &[]).await;
        let found = finding(&result, check);
        assert_eq!(found["level"], level, "{found}");
        assert!(found["fix"].as_str().unwrap().contains(&format!("allow {permission} in")), "{found}");
        assert!(found["impact"].as_str().unwrap().contains("not checked: "), "{found}");
    }
}

#[tokio::test]
async fn role_for_one_instance_is_enough() {
    let aws = FakeAws::new();
    aws.state().instances.insert("billing".into(), testkit::Instance::default());
    let endpoint = "billing.abc123.us-east-1.rds.amazonaws.com";
    aws.state().zone.insert(endpoint.into(), testkit::addresses(&["10.0.1.10"]));
    let bindings = json!([{"endpoint": endpoint, "target_group": GROUP}]).to_string();
    aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied));
    assert_eq!(not_ok(&run_doctor(&aws, &[("BINDINGS", &bindings)]).await), Vec::<String>::new());
    aws.always(Action::DescribeDBClusters, None);
    aws.always(Action::DescribeDBInstances, Some(ApiFault::Denied));
    let result = run_doctor(&aws, &[("BINDINGS", &bindings)]).await;
    assert!(finding(&result, "database")["fix"].as_str().unwrap().contains("rds:DescribeDBInstances"));
}

mod deadline {
    use rds_nlb_sync::binding::Binding;
    use rds_nlb_sync::doctor::{Severity, examine};
    use rds_nlb_sync::reconcile;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hanging_call_is_one_finding_at_the_deadline() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeListeners, Some(ApiFault::Hangs));
        let ports = reconcile::Clients { dns: aws.clone(), groups: aws.clone(), rds: aws.clone() };
        let bindings: Vec<Binding> = (0..9).map(|_| Binding::new(ENDPOINT, GROUP.parse().unwrap())).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        let all_findings = examine(&ports, &(), &bindings, deadline).await;
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
