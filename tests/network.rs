//! The doctor's look at the network through the binary: against fake APIs of EC2, CloudWatch, VPC Lattice and RAM, and
//! against moto.

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
    // In CBOR, 60 is 0x18 0x3c: minutes, because a period of an hour would begin at a full hour.
    assert!(asked.contains("Period\u{18}\u{3c}"), "{asked:?}");
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
        ("lattice_configuration", "vpc-lattice:ListResourceConfigurations"),
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
        state.network.metrics.as_mut().unwrap().insert("SecurityGroupBlockedFlowCount_Inbound_TCP", 90.0);
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
    says(&done, "security_groups", "observed", "sg-balancer has no inbound rule for port 5432");
    says(&done, "blocked_flows", "observed", "90 connections blocked from clients");
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
    aws.state()
        .network
        .ec2
        .insert("DescribeVpcEndpointServiceConfigurations", "<serviceConfigurationSet/>".into());
    let none = run(&aws, &["handover"]).await;
    assert_eq!(none.code, 1, "{none:?}");
    assert!(none.stdout.contains("  Endpoint service    none yet\n"), "{none:?}");
    assert!(!none.stdout.contains("describe-vpc-endpoint-service"), "the list was read: {none:?}");
    let denied = run(&FakeAws::new(), &["handover"]).await;
    assert!(denied.stdout.contains("allow ec2:DescribeVpcEndpointServiceConfigurations in"), "{denied:?}");
    assert!(denied.stdout.contains("aws ec2 describe-vpc-endpoint-service-permissions"), "{denied:?}");
}

/// Runs the commands of a finding's fix, as pasted into a shell, against the APIs at this URL.
async fn paste(url: &str, finding: &Value) {
    let fix = finding["fix"].as_str().expect("a fix");
    let commands: Vec<&str> = fix.split('`').filter(|part| part.starts_with("aws ")).collect();
    assert!(!commands.is_empty(), "{fix}");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/awscli/bin");
    let done = tokio::process::Command::new("/bin/sh")
        .args(["-e", "-c", &commands.join("\n")])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_ENDPOINT_URL", url)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("sh runs");
    assert!(done.status.success(), "{commands:#?}: {}", String::from_utf8_lossy(&done.stderr));
}

mod of_lattice {
    use testkit::ENDPOINT;
    use testkit::lattice::{CONFIGURATION, GATEWAY, Lattice, configuration};
    use testkit::network::rule;

    use super::*;
    use crate::interop::installed;

    const VENDOR: &str = "210987654321";
    const CHECKS: [&str; 7] = [
        "lattice_configuration",
        "lattice_resource",
        "lattice_port",
        "lattice_gateway",
        "lattice_egress",
        "lattice_ingress",
        "lattice_share",
    ];

    /// A database with a path by VPC Lattice, without a fault.
    fn aws() -> FakeAws {
        let aws = super::aws();
        let mut state = aws.state();
        state.network.lattice = Some(Lattice::without_faults(ENDPOINT, VENDOR));
        state
            .network
            .rules(&[rule("sg-database", false, "10.0.0.0/16"), rule("sg-gateway", true, "sg-database")]);
        drop(state);
        aws
    }

    fn change(aws: &FakeAws, change: impl FnOnce(&mut Lattice)) {
        change(aws.state().network.lattice.as_mut().expect("a path"));
    }

    #[tokio::test]
    async fn path_without_a_fault_is_ok_through_the_apis() {
        let aws = aws();
        change(&aws, |lattice| {
            // Those of another database, of another account and of AWS, a group, and one that is deleted meanwhile.
            let other = "other.cluster-abc123.us-east-1.rds.amazonaws.com";
            lattice.configurations.insert(0, configuration("rcfg-00000000000000001", other));
            let mut foreign = configuration("rcfg-00000000000000002", ENDPOINT);
            foreign["arn"] = json!(foreign["arn"].as_str().unwrap().replace("123456789012", "111111111111"));
            let mut managed = configuration("rcfg-00000000000000003", ENDPOINT);
            managed["amazonManaged"] = json!(true);
            let mut group = configuration("rcfg-00000000000000004", ENDPOINT);
            group["type"] = json!("GROUP");
            lattice.configurations.extend([foreign, managed, group]);
        });
        let done = doctor(&aws).await;
        assert_eq!(done.code, 0, "{done:?}");
        for check in CHECKS {
            assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
        }
        says(&done, "lattice_resource", "observed", ENDPOINT);
        says(&done, "lattice_share", "observed", "shared with 210987654321 (accepted) by the share orders");
        says(&done, "lattice_ingress", "observed", "sg-database admits the resource gateway to port 5432");
        let calls = aws.state().network.lattice.clone().expect("a path").calls;
        let read: Vec<&str> =
            calls.iter().filter_map(|call| call.strip_prefix("GetResourceConfiguration ")).collect();
        assert_eq!(read, ["rcfg-00000000000000001", CONFIGURATION], "{calls:#?}");
        assert_eq!(
            calls.iter().filter(|call| call.starts_with("List")).count(),
            5,
            "a page each: {calls:#?}"
        );
        let done = run(&aws, &["doctor"]).await;
        assert!(!done.stdout.contains("attice"), "{done:?}");
    }

    /// Without a path there is one line, with `-v`.
    #[tokio::test]
    async fn account_without_a_path_sees_nothing_of_vpc_lattice() {
        let aws = super::aws();
        let done = doctor(&aws).await;
        says(&done, "lattice_configuration", "observed", "no resource configuration for the database");
        let findings = done.stdout.matches("lattice_").count();
        assert_eq!(findings, 1, "{done:?}");
        let done = run(&aws, &["doctor"]).await;
        assert!(!done.stdout.contains("attice"), "{done:?}");
    }

    #[tokio::test]
    async fn configurations_are_listed_once_for_all_bindings() {
        let aws = aws();
        let second = aws.tagged("second", &[]);
        let mut command = command(&aws, &["doctor", "--output", "json"]).await;
        let of = |group: &str| json!({"endpoint": ENDPOINT, "target_group": group});
        command.env("BINDINGS", json!([of(testkit::GROUP), of(&second)]).to_string());
        let done = finish(command).await;
        assert_eq!(done.json()["bindings"].as_array().map(Vec::len), Some(2), "{done:?}");
        assert_eq!(done.stdout.matches("\"lattice_share\"").count(), 2, "{done:?}");
        let calls = aws.state().network.lattice.clone().expect("a path").calls;
        assert_eq!(calls.iter().filter(|call| call.starts_with("List")).count(), 1, "{calls:#?}");
    }

    #[tokio::test]
    async fn child_has_the_gateway_ports_and_share_of_its_group() {
        let aws = aws();
        change(&aws, |lattice| {
            lattice.configurations[0]["type"] = json!("GROUP");
            let group = lattice.configurations[0].as_object_mut().unwrap();
            group.remove("resourceConfigurationDefinition");
            let mut child = configuration("rcfg-00000000000000001", ENDPOINT);
            child["type"] = json!("CHILD");
            child["resourceConfigurationGroupId"] = json!(CONFIGURATION);
            for key in ["resourceGatewayId", "portRanges"] {
                child.as_object_mut().unwrap().remove(key);
            }
            lattice.configurations.push(child);
        });
        let done = doctor(&aws).await;
        for check in CHECKS {
            assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
        }
        says(&done, "lattice_port", "observed", "rcfg-00000000000000001 has port 5432");
        says(&done, "lattice_gateway", "observed", GATEWAY);
    }

    #[tokio::test]
    async fn every_missing_permission_of_a_path_is_named_and_no_problem() {
        let aws = aws();
        for (call, check, action) in [
            ("ListResourceConfigurations", "lattice_configuration", "vpc-lattice:ListResourceConfigurations"),
            ("GetResourceConfiguration", "lattice_configuration", "vpc-lattice:GetResourceConfiguration"),
            ("GetResourceGateway", "lattice_gateway", "vpc-lattice:GetResourceGateway"),
            ("GetResourceShareAssociations", "lattice_share", "ram:GetResourceShareAssociations"),
        ] {
            change(&aws, |lattice| lattice.denied = [call].into());
            let done = doctor(&aws).await;
            assert_eq!(done.code, 0, "{done:?}");
            assert_eq!(level(&done, check), "not_examined", "{check}: {done:?}");
            says(&done, check, "fix", &format!("allow {action} in"));
        }
    }

    /// Without a share's ARN, RAM would list the principals of all shares.
    #[tokio::test]
    async fn configuration_without_a_share_is_one_call_and_a_warning() {
        let aws = aws();
        change(&aws, |lattice| lattice.shares.clear());
        let done = doctor(&aws).await;
        assert_eq!((done.code, level(&done, "lattice_share").as_str()), (0, "warning"), "{done:?}");
        let calls = aws.state().network.lattice.clone().expect("a path").calls;
        let of_ram = calls.iter().filter(|call| *call == "GetResourceShareAssociations").count();
        assert_eq!(of_ram, 1, "{calls:#?}");
    }

    /// In such a Region nothing answers for the API.
    #[tokio::test]
    async fn region_without_vpc_lattice_is_not_examined() {
        let mut command = command(&aws(), &["doctor", "--output", "json"]).await;
        command.env("AWS_ENDPOINT_URL_VPC_LATTICE", "http://127.0.0.1:1");
        let done = finish(command).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(level(&done, "lattice_configuration"), "not_examined", "{done:?}");
        says(&done, "lattice_configuration", "observed", "paths by VPC Lattice, which not every Region has");
    }

    /// The doctor's commands, pasted, and those that the vendor pastes, bring the path in order.
    #[tokio::test]
    async fn pasted_commands_bring_the_path_in_order() {
        if installed("../awscli/bin/aws").is_none() {
            return;
        }
        let aws = aws();
        let url = format!("http://{}", aws.serve_aws().await);
        let vendor = ["doctor", "--output", "json", "--principal", "arn:aws:iam::210987654321:role/vendor"];
        change(&aws, |lattice| {
            let configuration = &mut lattice.configurations[0];
            configuration["resourceConfigurationDefinition"] =
                json!({"ipResource": {"ipAddress": "10.0.1.10"}});
            configuration["portRanges"] = json!(["3306"]);
            lattice.shares.clear();
        });
        let done = run(&aws, &vendor).await;
        assert_eq!(done.code, 1, "{done:?}");
        for check in ["lattice_resource", "lattice_port", "lattice_share"] {
            assert_ne!(level(&done, check), "ok", "{check}: {done:?}");
            paste(&url, &finding(&done, check)).await;
        }
        let done = run(&aws, &vendor).await;
        assert_eq!(level(&done, "lattice_resource"), "ok", "{done:?}");
        says(&done, "lattice_port", "observed", "3306, 5432");
        says(&done, "lattice_share", "observed", "210987654321 (invited, not accepted) by the share orders");
        paste(&url, &finding(&done, "lattice_share")).await;

        for state in ["FAILED", "DISASSOCIATED"] {
            let done = run(&aws, &vendor).await;
            for check in CHECKS {
                assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
            }
            change(&aws, |lattice| lattice.shares[0].principals[0].1 = state.to_owned());
            for _ in 0..2 {
                let done = run(&aws, &vendor).await;
                assert_eq!(level(&done, "lattice_share"), "warning", "{done:?}");
                paste(&url, &finding(&done, "lattice_share")).await;
            }
        }
        assert_eq!(level(&doctor(&aws).await, "lattice_share"), "ok");
    }
}

mod of_moto {
    use testkit::{ONE, Record, addresses};

    use super::*;
    use crate::interop::installed;
    use crate::interop::moto::{Database, Moto};

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
        examine_with(moto, database, arguments, &[]).await
    }

    /// With these variables, for APIs that are elsewhere.
    async fn examine_with(
        moto: &Moto,
        database: &Database,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Done {
        let aws = FakeAws::new();
        let (endpoint, member) = (&database.endpoint, &database.members[0].endpoint);
        aws.state().zone.insert(member.clone(), addresses(&[ONE]));
        aws.state().zone.insert(endpoint.clone(), Record::Cname(member.clone()));
        let mut command = command(&aws, &[&["doctor", "--output", "json"], arguments].concat()).await;
        let bindings = json!([{"endpoint": endpoint, "target_group": database.group}]).to_string();
        command.env("AWS_ENDPOINT_URL", &moto.url).env("BINDINGS", bindings);
        command.envs(variables.iter().copied());
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
        paste(&moto.url, &finding(&done, "endpoint_service")).await;
        // moto keeps every target healthy.
        assert_eq!(level(&done, "database_ingress"), "warning", "{done:?}");
        says(&done, "database_ingress", "observed", &database.security_group);
        paste(&moto.url, &finding(&done, "database_ingress")).await;

        let vendor = "arn:aws:iam::210987654321:root";
        let done = examine(&moto, &database, &["--principal", vendor]).await;
        assert_eq!(level(&done, "endpoint_service"), "ok", "{done:?}");
        assert_eq!(level(&done, "database_ingress"), "ok", "{done:?}");
        assert_eq!(level(&done, "allowed_principals"), "problem", "{done:?}");
        paste(&moto.url, &finding(&done, "allowed_principals")).await;
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
        paste(&moto.url, &finding(&done, "network_acls")).await;

        let done = examine(&moto, &database, &[]).await;
        for check in ["network_acls", "routes", "zone_ids", "endpoint_service", "database_ingress"] {
            assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
        }
        says(&done, "routes", "observed", "local");
        // moto has none of these calls.
        for check in ["endpoint_connections", "traffic", "lattice_configuration"] {
            assert_eq!(level(&done, check), "not_examined", "{check}: {done:?}");
        }
    }

    /// A path by VPC Lattice, which moto does not have, with moto's security groups around its gateway.
    #[tokio::test]
    async fn pasted_commands_open_the_security_groups_of_a_gateway() {
        use testkit::lattice::Lattice;

        let Some(moto) = Moto::shared() else { return };
        if installed("../awscli/bin/aws").is_none() {
            return;
        }
        let (database, _) = network(&moto, "gateway").await;
        let create = "Action=CreateSecurityGroup&GroupName=of-gateway&GroupDescription=gateway";
        let gateway = moto.ec2(create, "groupId").await;
        let revoke = "Action=RevokeSecurityGroupEgress&IpPermissions.1.IpProtocol=-1\
                      &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0%2F0";
        moto.ec2(&format!("{revoke}&GroupId={gateway}"), "requestId").await;
        let aws = FakeAws::new();
        let mut lattice = Lattice::without_faults(&database.endpoint, "210987654321");
        lattice.gateways[0]["securityGroupIds"] = json!([gateway]);
        lattice.gateways[0]["subnetIds"] = json!(database.subnets);
        aws.state().network.lattice = Some(lattice);
        let url = format!("http://{}", aws.serve_aws().await);
        let apis = [("AWS_ENDPOINT_URL_VPC_LATTICE", url.as_str()), ("AWS_ENDPOINT_URL_RAM", url.as_str())];

        let done = examine_with(&moto, &database, &[], &apis).await;
        for (check, observed) in [
            ("lattice_egress", format!("{gateway} does not allow the resource gateway outbound")),
            ("lattice_ingress", format!("{} has no inbound rule for port 5432", database.security_group)),
        ] {
            assert_eq!(level(&done, check), "problem", "{check}: {done:?}");
            says(&done, check, "observed", &observed);
            paste(&moto.url, &finding(&done, check)).await;
        }
        let done = examine_with(&moto, &database, &[], &apis).await;
        for check in ["lattice_egress", "lattice_ingress", "lattice_share"] {
            assert_eq!(level(&done, check), "ok", "{check}: {done:?}");
        }
    }

    /// moto shares no resource configuration, but other resources in the same way.
    #[tokio::test]
    async fn shares_of_moto_are_read() {
        use rds_nlb_sync::doctor::network::{InspectShares as _, Principal};
        use rds_nlb_sync::ram::Ram;

        let Some(moto) = Moto::shared() else { return };
        let client = moto.ram();
        let (first, second) = (
            "arn:aws:rds:us-east-1:123456789012:cluster:shared",
            "arn:aws:rds:us-east-1:123456789012:cluster:other",
        );
        let ram = Ram::new(&client);
        assert_eq!(ram.shares(first).await.unwrap(), []);
        for (resource, account) in [(first, "210987654321"), (second, "111111111111")] {
            let create = client.create_resource_share().name("orders").resource_arns(resource);
            create.principals(account).send().await.unwrap();
        }
        let shares = ram.shares(first).await.unwrap();
        let [share] = shares.as_slice() else { panic!("one share: {shares:?}") };
        assert!(share.arn.starts_with("arn:aws:ram:us-east-1:123456789012:resource-share/"), "{share:?}");
        assert_eq!((share.name.as_str(), share.status.as_str()), ("orders", "ASSOCIATED"));
        let vendor = Principal { id: "210987654321".into(), status: "ASSOCIATED".into() };
        assert_eq!(share.principals, [vendor]);
    }
}
