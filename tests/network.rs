//! The doctor's look at the network through the binary: against a fake EC2 and CloudWatch, and against moto.

use std::process::Stdio;

use serde_json::{Value, json};
use testkit::FakeAws;
use testkit::network::{NetworkApis, connections, rule};

use crate::cli::{Done, command, finish, run};

/// The first finding of a check, wherever it stands.
fn finding(done: &Done, check: &str) -> Value {
    let result = done.json();
    let binding = &result["bindings"][0];
    let all = [&binding["findings"], &binding["not_examined"]];
    let mut all = all.into_iter().flat_map(|findings| findings.as_array().expect("findings"));
    all.find(|finding| finding["check"] == check).cloned().unwrap_or_else(|| panic!("no {check}: {done:?}"))
}

fn level(done: &Done, check: &str) -> String {
    finding(done, check)["level"].as_str().unwrap_or_default().to_owned()
}

/// What of a finding the test looks for.
fn says(done: &Done, check: &str, key: &str, part: &str) {
    let finding = finding(done, check);
    let text = finding[key].as_str().unwrap_or_default();
    assert!(text.contains(part), "{part} is not in {finding:#}");
}

fn aws() -> FakeAws {
    let aws = FakeAws::new();
    aws.state().network = NetworkApis::without_faults();
    aws
}

async fn doctor(aws: &FakeAws) -> Done {
    run(aws, &["doctor", "--output", "json"]).await
}

const CHECKS: [&str; 9] = [
    "endpoint_service",
    "allowed_principals",
    "endpoint_connections",
    "zone_ids",
    "database_ingress",
    "network_acls",
    "routes",
    "traffic",
    "blocked_flows",
];

#[tokio::test]
async fn network_without_a_fault_is_ok_through_the_apis() {
    let aws = aws();
    let done = doctor(&aws).await;
    assert_eq!(done.code, 0, "{done:?}");
    for check in CHECKS {
        assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
    }
    says(
        &done,
        "endpoint_service",
        "observed",
        "(vpce-svc-0123456789abcdef0), Available, acceptance required",
    );
    says(&done, "endpoint_connections", "observed", "vpce-1 of 210987654321 (available)");
    says(&done, "zone_ids", "observed", "use1-az4 (us-east-1a), use1-az6 (us-east-1b)");
    says(
        &done,
        "traffic",
        "observed",
        "120 new connections in the last hour, 100 through the endpoint service",
    );
    let asked = aws.state().network.asked.join("\n");
    for part in [
        "group-id",
        "sg-database",
        "subnet-db-c",
        "net/orders/0123456789abcdef",
        "vpce-svc-0123456789abcdef0",
    ] {
        assert!(asked.contains(part), "{part} was not asked for: {asked}");
    }
    assert!(!asked.contains("vpce-svc-other"), "the service of another load balancer");
}

#[tokio::test]
async fn every_missing_permission_is_named_and_no_problem() {
    let done = run(&FakeAws::new(), &["doctor", "--output", "json"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    for (check, action) in [
        ("endpoint_service", "ec2:DescribeVpcEndpointServiceConfigurations"),
        ("database_ingress", "ec2:DescribeSecurityGroupRules"),
        ("network_acls", "ec2:DescribeNetworkAcls"),
        ("routes", "ec2:DescribeRouteTables"),
        ("traffic", "cloudwatch:GetMetricData"),
    ] {
        assert_eq!(level(&done, check), "not_examined", "{check}: {done:?}");
        says(&done, check, "fix", &format!("allow {action} in"));
    }
    let aws = aws();
    for (answer, check, action) in [
        ("DescribeSubnets", "zone_ids", "ec2:DescribeSubnets"),
        (
            "DescribeVpcEndpointServicePermissions",
            "allowed_principals",
            "ec2:DescribeVpcEndpointServicePermissions",
        ),
        ("DescribeVpcEndpointConnections", "endpoint_connections", "ec2:DescribeVpcEndpointConnections"),
    ] {
        aws.state().network.ec2.remove(answer);
        says(&doctor(&aws).await, check, "fix", &format!("allow {action} in"));
    }
}

#[tokio::test]
async fn faults_are_found_through_the_apis() {
    let aws = aws();
    {
        let mut state = aws.state();
        state.network.ec2.insert("DescribeVpcEndpointConnections", connections("pendingAcceptance"));
        state.network.metrics.as_mut().unwrap().insert("SecurityGroupBlockedFlowCount_Inbound_TCP", 9.0);
        state
            .network
            .rules(&[rule("sg-balancer", true, "sg-database"), rule("sg-database", true, "0.0.0.0/0")]);
        state.estate.load_balancers[0].0.security_groups = vec!["sg-balancer".into()];
        state.estate.reason = Some("Target.FailedHealthChecks");
    }
    aws.group(|group| group.targets.values_mut().for_each(|target| target.state = Some("unhealthy")));
    let done =
        run(&aws, &["doctor", "--output", "json", "--principal", "arn:aws:iam::111111111111:root"]).await;
    assert_eq!(done.code, 1, "{done:?}");
    says(&done, "endpoint_connections", "fix", "accept-vpc-endpoint-connections");
    says(&done, "allowed_principals", "fix", "--add-allowed-principals arn:aws:iam::111111111111:root");
    says(&done, "security_groups", "observed", "sg-balancer admits nobody to port 5432");
    says(&done, "blocked_flows", "observed", "9 connections blocked from clients");
    says(&done, "database_ingress", "fix", "UserIdGroupPairs=[{GroupId=sg-balancer}]");
    assert_eq!(finding(&done, "targets")["cause"], "database_ingress");
    assert_eq!(level(&done, "load_balancer_egress"), "ok");
}

#[tokio::test]
async fn handover_names_the_service_and_who_is_allowed() {
    let aws = aws();
    aws.state().estate.cluster_parameter_group = "orders-cluster";
    aws.state().estate.parameters = testkit::estate::attributes(&[("rds.force_ssl", "1")]);
    let done = run(&aws, &["handover"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    for part in [
        "  Service name        com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0\n",
        "  Service id          vpce-svc-0123456789abcdef0\n",
        "  Acceptance          required: we accept your request\n",
        "  Allowed             arn:aws:iam::210987654321:root\n",
        "  Zone ids            use1-az4, use1-az6\n",
        "  TLS                 required\n",
        "  Port                5432\n",
    ] {
        assert!(done.stdout.contains(part), "{part}: {done:?}");
    }
    assert!(!done.stdout.contains("aws ec2"), "nothing is left to look up: {done:?}");
    let denied = run(&FakeAws::new(), &["handover"]).await;
    assert!(denied.stdout.contains("aws ec2 describe-vpc-endpoint-service-permissions"), "{denied:?}");
}

mod of_moto {
    use rds_nlb_sync::doctor::quote;
    use testkit::{ONE, Record, addresses};

    use super::*;
    use crate::interop::installed;
    use crate::interop::moto::{Database, Moto};

    /// Runs the commands of a finding's fix, as pasted into a shell.
    fn paste(moto: &Moto, finding: &Value) {
        let fix = finding["fix"].as_str().expect("a fix");
        let commands = fix.split('`').filter(|part| part.starts_with("aws "));
        let commands: Vec<String> =
            commands.map(|command| format!("{command} --endpoint-url {}", quote(&moto.url))).collect();
        assert!(!commands.is_empty(), "{fix}");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/awscli/bin");
        let done = std::process::Command::new("/bin/sh")
            .args(["-e", "-c", &commands.join("\n")])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        assert!(done.status.success(), "{commands:#?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// A cluster behind a network load balancer, with nothing allowed yet.
    async fn network(moto: &Moto, name: &str) -> (Database, String) {
        use aws_sdk_elasticloadbalancingv2::types::{
            Action, ActionTypeEnum, LoadBalancerSchemeEnum, LoadBalancerTypeEnum, ProtocolEnum,
        };
        let database = moto.database(name, &[ONE]).await;
        let elb = moto.load_balancing();
        let create = elb.create_load_balancer().name(name).set_subnets(Some(database.subnets.clone()));
        let create = create.r#type(LoadBalancerTypeEnum::Network).scheme(LoadBalancerSchemeEnum::Internal);
        let created = create.send().await.unwrap();
        let load_balancer = created.load_balancers()[0].load_balancer_arn().expect("an ARN").to_owned();
        let forward =
            Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&database.group).build();
        let listener = elb.create_listener().load_balancer_arn(&load_balancer).port(5432);
        listener.protocol(ProtocolEnum::Tcp).default_actions(forward).send().await.unwrap();
        (database, load_balancer)
    }

    async fn examine(moto: &Moto, database: &Database, arguments: &[&str]) -> Done {
        let aws = FakeAws::new();
        let (endpoint, member) = (&database.endpoint, &database.members[0].endpoint);
        aws.state().zone.insert(member.clone(), addresses(&[ONE]));
        aws.state().zone.insert(endpoint.clone(), Record::Cname(member.clone()));
        let mut command = command(&aws, &[&["doctor", "--output", "json"], arguments].concat()).await;
        let bindings = json!([{"endpoint": endpoint, "target_group": database.group}]).to_string();
        command.env("AWS_ENDPOINT_URL", &moto.url).env("BINDINGS", bindings);
        finish(command).await
    }

    /// The doctor's commands, pasted, bring moto's network in order, one after the other.
    #[tokio::test]
    async fn pasted_commands_bring_the_network_in_order() {
        let Some(moto) = Moto::shared() else { return };
        if installed("../awscli/bin/aws").is_none() {
            return;
        }
        let (database, _) = network(&moto, "network").await;
        let done = examine(&moto, &database, &[]).await;
        assert_eq!(level(&done, "endpoint_service"), "warning", "{done:?}");
        paste(&moto, &finding(&done, "endpoint_service"));
        // moto keeps every target healthy.
        assert_eq!(level(&done, "database_ingress"), "warning", "{done:?}");
        says(&done, "database_ingress", "observed", &database.security_group);
        paste(&moto, &finding(&done, "database_ingress"));

        let vendor = "arn:aws:iam::210987654321:root";
        let done = examine(&moto, &database, &["--principal", vendor]).await;
        assert_eq!(level(&done, "endpoint_service"), "ok", "{done:?}");
        assert_eq!(level(&done, "database_ingress"), "ok", "{done:?}");
        assert_eq!(level(&done, "allowed_principals"), "problem", "{done:?}");
        paste(&moto, &finding(&done, "allowed_principals"));
        let acl = moto
            .ec2(
                &format!(
                    "Action=DescribeNetworkAcls&Filter.1.Name=association.subnet-id&Filter.1.Value.1={}",
                    database.subnets[0]
                ),
                "networkAclId",
            )
            .await;
        let deny = "Action=CreateNetworkAclEntry&RuleNumber=50&Protocol=6&RuleAction=deny&Egress=false\
                    &CidrBlock=10.0.0.0%2F16&PortRange.From=5432&PortRange.To=5432";
        moto.ec2(&format!("{deny}&NetworkAclId={acl}"), "requestId").await;

        let done = examine(&moto, &database, &["--principal", vendor]).await;
        assert_eq!(level(&done, "allowed_principals"), "ok", "{done:?}");
        says(&done, "network_acls", "observed", "entry 50 denies port 5432");
        paste(&moto, &finding(&done, "network_acls"));

        let done = examine(&moto, &database, &[]).await;
        for check in ["network_acls", "routes", "zone_ids", "endpoint_service", "database_ingress"] {
            assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
        }
        says(&done, "routes", "observed", "local");
        // moto has neither of these calls.
        assert_eq!(level(&done, "endpoint_connections"), "not_examined", "{done:?}");
        assert_eq!(level(&done, "traffic"), "not_examined", "{done:?}");
    }
}
