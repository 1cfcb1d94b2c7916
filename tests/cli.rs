//! The command line, as a process, against the fake AWS on loopback sockets.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use testkit::lambda::SLOWLY;
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP, TWO};

mod watch_and_checks;

const LIMIT: Duration = Duration::from_secs(30);

/// The result of a command.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn table(&self) -> &str {
        for line in self.stdout.lines() {
            let is_command = line.trim_start().starts_with("aws ");
            assert!(is_command || line.chars().count() <= 80, "wider than 80 columns: {line}");
        }
        &self.stdout
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The command, with the fake AWS's binding in the environment.
pub async fn command(aws: &FakeAws, arguments: &[&str]) -> Command {
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rds-nlb-sync"));
    command
        .args(arguments)
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_ENDPOINT_URL", format!("http://{}", aws.serve_aws().await))
        .env("NAMESERVERS", aws.serve_dns().await.to_string())
        .env("BINDINGS", bindings)
        .env("CONFIRM_SECONDS", "1")
        .env("POLL_MILLIS", "50")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub async fn finish(mut command: Command) -> Done {
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("it ends").expect("it starts");
    Done {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

pub async fn run(aws: &FakeAws, arguments: &[&str]) -> Done {
    finish(command(aws, arguments).await).await
}

/// The same for a check that has to deregister something.
async fn deregister(aws: &FakeAws, arguments: &[&str]) -> Done {
    let mut command = command(aws, arguments).await;
    command.envs([SLOWLY]);
    finish(command).await
}

mod help {
    use super::*;

    #[tokio::test]
    async fn help_names_commands_examples_and_exit_codes() {
        let done = run(&FakeAws::new(), &["--help"]).await;
        assert_eq!(done.code, 0);
        for message_text in [
            "check",
            "plan",
            "doctor",
            "watch",
            "completions",
            "Examples:",
            "handover found no path",
            "NO_COLOR",
        ] {
            assert!(done.stdout.contains(message_text), "{message_text}: {done:?}");
        }
        let examples = done.stdout.split_once("Examples:").expect("examples").1;
        assert!(examples.lines().all(|line| line.chars().count() <= 80), "{examples}");
        let of_watch = run(&FakeAws::new(), &["watch", "--help"]).await;
        for message_text in [
            "--interval",
            "--endpoint",
            "--target-group",
            "--port",
            "--database",
            "--role",
            "--standby",
            "--output",
        ] {
            assert!(of_watch.stdout.contains(message_text), "{message_text}: {of_watch:?}");
        }
    }

    #[tokio::test]
    async fn version_is_that_of_the_package() {
        let done = run(&FakeAws::new(), &["--version"]).await;
        assert_eq!(
            (done.code, &*done.stdout),
            (0, concat!("rds-nlb-sync ", env!("CARGO_PKG_VERSION"), "\n"))
        );
    }

    #[tokio::test]
    async fn wrong_arguments_fail_with_code_1() {
        for (arguments, message_text) in [
            (&["destroy"][..], "destroy"),
            (&[], "Usage"),
            (&["check", "--endpoint", ENDPOINT], "--target-group"),
            (&["check", "--port", "5432"], "--endpoint"),
            (&["check", "--port", "0"], "--port"),
            (&["check", "--output", "yaml"], "yaml"),
            (&["watch", "--interval", "0"], "--interval"),
        ] {
            let done = run(&FakeAws::new(), arguments).await;
            assert_eq!(done.code, 1, "{done:?}");
            assert!(done.stderr.contains(message_text), "{message_text}: {done:?}");
        }
    }

    #[tokio::test]
    async fn every_shell_has_completions() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let done = run(&FakeAws::new(), &["completions", shell]).await;
            assert_eq!(done.code, 0);
            assert!(done.stdout.contains("rds-nlb-sync") && done.stdout.contains("doctor"), "{done:?}");
        }
    }
}

mod codes {
    use super::*;

    #[tokio::test]
    async fn in_sync_or_updated_is_code_0() {
        let aws = FakeAws::new();
        assert_eq!(run(&aws, &["check"]).await.code, 0);
        aws.resolves_to(&[TWO]);
        let done = deregister(&aws, &["check", "--output", "json"]).await;
        assert_eq!(done.code, 0);
        assert_eq!(done.json()["bindings"][0]["status"], "updated");
        assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    }

    #[tokio::test]
    async fn plan_with_changes_is_code_2_and_changes_nothing() {
        let aws = FakeAws::new();
        assert_eq!(run(&aws, &["plan"]).await.code, 0);
        aws.resolves_to(&[TWO]);
        let done = run(&aws, &["plan", "--output", "json"]).await;
        assert_eq!(done.code, 2);
        let result = done.json();
        assert_eq!(result["trigger"], "plan");
        assert_eq!(result["bindings"][0]["registered"], json!(["10.0.2.20:5432"]));
        assert_eq!(result["bindings"][0]["deregistered"], json!(["10.0.1.10:5432"]));
        assert_eq!(aws.writes(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn pending_is_code_2() {
        let aws = FakeAws::new();
        aws.promote("orders-2");
        let done = run(&aws, &["check", "--output", "json"]).await;
        assert_eq!((done.code, &done.json()["bindings"][0]["status"]), (2, &json!("pending")));
    }

    #[tokio::test]
    async fn failure_is_code_1_with_the_reason() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeTargetHealth, Some(ApiFault::Denied));
        let done = run(&aws, &["check", "--output", "json"]).await;
        assert_eq!(done.code, 1);
        let result = done.json();
        let error = result["bindings"][0]["error"].as_str().unwrap();
        assert!(error.contains("allow elasticloadbalancing:DescribeTargetHealth"), "{error}");
    }

    #[tokio::test]
    async fn doctor_is_code_1_for_problems_and_0_for_warnings() {
        let aws = FakeAws::new();
        let done = run(&aws, &["doctor", "--output", "json"]).await;
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(done.json()["trigger"], "doctor");
        assert_eq!(done.json()["general"][0]["level"], "warning");
        assert!(done.stdout.find("counts") < done.stdout.find("general"), "{done:?}");
        aws.state().estate.load_balancers[0].2.clear();
        let done = run(&aws, &["doctor", "--output", "json"]).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

/// The doctor of a deployed function.
mod function {
    use super::*;

    const ANSWER: &str = r#"{"trigger": "doctor",
        "counts": {"problems": 1, "warnings": 0, "ok": 0, "not_examined": 0},
        "general": [], "not_examined": [], "bindings": [{"endpoint": "orders.example.com",
        "target_group": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0", "not_examined": [],
        "findings": [{"level": "problem", "check": "listener", "observed": "none", "impact": "cut off",
            "fix": "add one: `aws elbv2 create-listener`", "cause": null}]}]}"#;

    /// The doctor of this function through the real AWS CLI, or `None` where it is not installed.
    async fn invoke(aws: &FakeAws, arguments: &[&str]) -> Option<Done> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/awscli/bin");
        if !folder.join("aws").is_file() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no AWS CLI; run tests/install");
            // Not by eprintln!, which the test harness keeps to itself where a test passes.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: the doctor of a function, without the AWS CLI; run tests/install"
            );
            return None;
        }
        let mut command = command(aws, &[&["doctor", "--function"], arguments].concat()).await;
        // Version 1 of the AWS CLI, which does not read AWS_REGION.
        command.env("PATH", folder);
        Some(finish(command).await)
    }

    #[tokio::test]
    async fn answer_of_the_function_is_shown_as_a_table() {
        let aws = FakeAws::new();
        aws.state().functions.insert("sync".into(), (ANSWER.into(), false));
        let Some(done) = invoke(&aws, &["sync"]).await else { return };
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.table().contains("PROBLEM listener: none"), "{done:?}");
        assert!(done.stdout.ends_with("1 problem: orders: listener\n"), "{done:?}");
        assert!(aws.state().calls.is_empty(), "the function examines, not the command line");
        let Some(done) = invoke(&aws, &["sync", "--output", "json"]).await else { return };
        assert_eq!(done.json()["counts"]["problems"], 1);
    }

    #[tokio::test]
    async fn error_of_the_function_is_shown() {
        let aws = FakeAws::new();
        let error = r#"{"errorType": "Unhandled", "errorMessage": "NAMESERVERS: not valid"}"#;
        aws.state().functions.insert("sync".into(), (error.into(), true));
        for (name, message) in [("sync", "NAMESERVERS: not valid"), ("none", "Function not found: none")] {
            let Some(done) = invoke(&aws, &[name]).await else { return };
            assert_eq!(done.code, 1, "{done:?}");
            assert!(done.stderr.contains(message), "{done:?}");
        }
    }

    #[tokio::test]
    async fn without_the_aws_cli_the_error_names_the_other_way() {
        let mut command = command(&FakeAws::new(), &["doctor", "--function", "sync"]).await;
        command.env("PATH", "/nowhere");
        let done = finish(command).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains("--answer"), "{done:?}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn time_out_of_the_aws_cli_has_a_fix() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("aws-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = folder.join("aws");
        let reason_file = folder.join("reason");
        std::fs::write(&script, format!("#!/bin/sh\n/bin/cat {} >&2\nexit 255\n", reason_file.display()))
            .unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (reason, fix) in [
            ("Read timeout on endpoint URL: \"https://lambda.example.com\"", ". Fix: raise --timeout\n"),
            ("Unable to locate credentials", "Unable to locate credentials\n"),
        ] {
            std::fs::write(&reason_file, reason).unwrap();
            let mut command = command(&FakeAws::new(), &["doctor", "--function", "sync"]).await;
            command.env("PATH", &folder);
            let done = finish(command).await;
            assert_eq!(done.code, 1, "{done:?}");
            assert!(done.stderr.contains(reason) && done.stderr.ends_with(fix), "{done:?}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn kept_answer_is_shown_from_a_file() {
        let file = std::env::temp_dir().join(format!("answer-{}.json", std::process::id()));
        std::fs::write(&file, ANSWER).unwrap();
        let done = run(&FakeAws::new(), &["doctor", "--answer", file.to_str().unwrap()]).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stdout.contains("    aws elbv2 create-listener\n"), "{done:?}");
        std::fs::remove_file(file).unwrap();
    }
}

mod handover {
    use super::*;

    #[tokio::test]
    async fn text_has_what_is_known_and_the_commands_for_the_rest() {
        let done = run(&FakeAws::new(), &["handover"]).await;
        assert_eq!(done.code, 0, "{done:?}");
        for part in [
            ENDPOINT,
            "  Region              us-east-1\n",
            "  Port                5432\n",
            "  Database engine     aurora-postgresql\n",
            "  Engine version      16.4\n",
            "  IAM login           allowed\n",
            "  Availability Zones  us-east-1a, us-east-1b\n",
            "aws ec2 describe-vpc-endpoint-service-configurations --region us-east-1",
            "aws ec2 describe-availability-zones --region us-east-1 --zone-names us-east-1a us-east-1b",
            "loadbalancer/net/orders/0123456789abcdef",
        ] {
            assert!(done.stdout.contains(part), "{part}: {done:?}");
        }
    }

    #[tokio::test]
    async fn bad_tag_fails_and_silences_no_other_group() {
        let aws = FakeAws::new();
        let bad = aws.tagged("bad", &[("rds-endpoint", "10.0.1.10")]);
        let mut command = command(&aws, &["handover"]).await;
        command.env("DISCOVERY_TAG", "rds-endpoint");
        let done = finish(command).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains(&*bad) && done.stderr.contains("10.0.1.10"), "{done:?}");
        assert!(done.stdout.contains(&format!("Private connection to {ENDPOINT}")), "{done:?}");
    }

    #[tokio::test]
    async fn tag_that_no_group_carries_is_a_failure() {
        let mut command = command(&FakeAws::new(), &["handover"]).await;
        command.env_remove("BINDINGS").env("DISCOVERY_TAG", "rds-endpoint");
        let done = finish(command).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains("rds-endpoint"), "{done:?}");
    }

    #[cfg(feature = "network")]
    #[tokio::test]
    async fn only_services_and_subnets_are_read_of_the_network() {
        let aws = FakeAws::new();
        aws.state().network = testkit::network::NetworkApis::without_faults();
        let done = run(&aws, &["handover"]).await;
        assert_eq!(done.code, 0, "{done:?}");
        let needed = [
            "DescribeVpcEndpointServiceConfigurations",
            "DescribeVpcEndpointServicePermissions",
            "DescribeSubnets",
        ];
        let asked = aws.state().network.asked.clone();
        let is_needed = |call: &String| needed.iter().any(|action| call.contains(action));
        assert!(asked.len() == needed.len() && asked.iter().all(is_needed), "{asked:#?}");
    }

    #[tokio::test]
    async fn unread_field_has_its_reason() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied));
        aws.always(Action::DescribeLoadBalancers, Some(ApiFault::Denied));
        let done = run(&aws, &["handover"]).await;
        assert_eq!(done.code, 1, "{done:?}");
        for action in ["rds:DescribeDBClusters", "elasticloadbalancing:DescribeLoadBalancers"] {
            assert!(done.stdout.contains(&format!("allow {action} in")), "{action}: {done:?}");
        }
        assert!(!done.stdout.contains("has no load balancer"), "it is not known: {done:?}");
    }

    #[tokio::test]
    async fn unread_listeners_are_the_reason_of_an_unknown_port() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeListeners, Some(ApiFault::Denied));
        let done = run(&aws, &["handover"]).await;
        assert!(done.stdout.contains("Port                not known"), "{done:?}");
        assert!(done.stdout.contains("allow elasticloadbalancing:DescribeListeners in"), "{done:?}");
    }

    #[tokio::test]
    async fn binding_without_a_load_balancer_fails() {
        let aws = FakeAws::new();
        aws.state().estate.load_balancers.clear();
        let done = run(&aws, &["handover", "--output", "json"]).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert_eq!(done.json()[0]["load_balancer"], Value::Null);
    }
}

mod arguments {
    use super::*;

    #[tokio::test]
    async fn binding_of_the_arguments_replaces_the_environment() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        let endpoint = ["plan", "--endpoint", ENDPOINT, "--target-group", GROUP];
        let others = ["--port", "6432", "--database", "sales,sales-green", "--output", "json"];
        let mut command = command(&aws, &[&endpoint[..], &others[..]].concat()).await;
        command.env("BINDINGS", "not even JSON").env("DISCOVERY_TAG", "rds-endpoint");
        let result = finish(command).await.json();
        assert_eq!(result["bindings"][0]["registered"], json!(["10.0.2.20:6432"]));
    }

    #[tokio::test]
    async fn role_readers_registers_the_readers() {
        let aws = FakeAws::new();
        let binding = ["--endpoint", ENDPOINT, "--target-group", GROUP, "--role", "readers"];
        let done = run(&aws, &[&["plan", "--output", "json"], &binding[..]].concat()).await;
        assert_eq!(done.json()["bindings"][0]["registered"], json!(["10.0.2.20:5432"]), "{done:?}");
    }

    #[tokio::test]
    async fn wrong_role_and_standby_are_named() {
        let binding = ["check", "--endpoint", ENDPOINT, "--target-group", GROUP];
        for (option, value) in [("--role", "reader"), ("--standby", "keep")] {
            let done = run(&FakeAws::new(), &[&binding[..], &[option, value]].concat()).await;
            assert_eq!(done.code, 1, "{done:?}");
            assert!(done.stderr.contains(&format!("{option}: ")), "{done:?}");
        }
    }

    #[tokio::test]
    async fn wrong_binding_is_reported_by_its_options() {
        let arguments = ["check", "--endpoint", "10.0.1.10", "--target-group", "orders"];
        let done = run(&FakeAws::new(), &arguments).await;
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains("--endpoint: \"10.0.1.10\" is an address"), "{done:?}");
        assert!(done.stderr.contains("--target-group: \"orders\" is not a target group's ARN"), "{done:?}");
        assert!(!done.stderr.contains("BINDINGS"), "{done:?}");
    }

    #[tokio::test]
    async fn missing_binding_error_names_both_ways_to_give_one() {
        let mut command = command(&FakeAws::new(), &["check"]).await;
        command.env_remove("BINDINGS");
        let done = finish(command).await;
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains("--endpoint") && done.stderr.contains("BINDINGS"), "{done:?}");
    }

    #[tokio::test]
    async fn timeout_is_kept() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeTargetHealth, Some(ApiFault::Hangs));
        let started = tokio::time::Instant::now();
        let done = run(&aws, &["plan", "--timeout", "2"]).await;
        assert_eq!(done.code, 1);
        // The attempts of one call may take nine seconds.
        assert!(started.elapsed() < Duration::from_secs(8));
        assert!(done.stdout.contains("time"), "{done:?}");
    }
}

mod output {
    use super::*;

    #[tokio::test]
    async fn table_shows_changes_in_80_columns_without_colours() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        let done = run(&aws, &["plan"]).await;
        let table = done.table();
        for message_text in
            ["would change", "→ orders", "+ 10.0.2.20:5432", "- 10.0.1.10:5432", "1 would change"]
        {
            assert!(table.contains(message_text), "{message_text}:\n{table}");
        }
        assert!(!table.contains('\u{1b}'), "{table}");
        assert_eq!(done.stderr, "", "no spinner where there is no terminal");
    }

    #[tokio::test]
    async fn doctor_reports_problems_before_warnings() {
        let aws = FakeAws::new();
        aws.state().network = testkit::network::NetworkApis::without_faults();
        {
            let estate = &mut aws.state().estate;
            estate.load_balancers[0].2.clear();
            estate.attributes.clear();
            estate.health_check.interval = Some(30);
        }
        let done = run(&aws, &["doctor"]).await;
        let table = done.table();
        for message_text in [
            "PROBLEM cross_zone: cross-zone balancing is off",
            "    aws elbv2 modify-target-group-attributes",
            "WARNING health_check: ",
            "Not examined: delivery, settings, write_access",
            "\n1 problem: orders: cross_zone\n",
        ] {
            assert!(table.contains(message_text), "{message_text}:\n{table}");
        }
        assert!(table.find("PROBLEM") < table.find("WARNING"), "{table}");
        assert!(!table.contains("resolves to"), "ok findings need -v: {table}");
        let verbose = run(&aws, &["doctor", "-v"]).await;
        assert!(verbose.stdout.contains("OK endpoint: resolves to 10.0.1.10"), "{verbose:?}");
    }

    #[tokio::test]
    async fn doctor_of_a_silent_api_never_finds_no_problem() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeTargetHealth, Some(ApiFault::Hangs));
        let done = run(&aws, &["doctor", "--timeout", "2"]).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stdout.ends_with("1 problem: orders: targets\n"), "{done:?}");
    }

    #[tokio::test]
    async fn bad_tag_fails_the_doctor_and_silences_no_other_group() {
        let aws = FakeAws::new();
        aws.tagged("bad", &[("rds-endpoint", "10.0.1.10")]);
        let mut command = command(&aws, &["doctor", "-v"]).await;
        command.env("DISCOVERY_TAG", "rds-endpoint");
        let done = finish(command).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stdout.contains("OK endpoint"), "{done:?}");
        let problem = done.stdout.split_once("PROBLEM binding: ").expect("a problem").1;
        let problem = problem.split("\n\n").next().unwrap_or_default();
        assert_eq!(problem.matches("Fix: ").count(), 1, "{problem}");
    }

    #[tokio::test]
    async fn tag_that_no_group_carries_is_a_failure() {
        for command_name in ["check", "plan", "doctor"] {
            let mut command = command(&FakeAws::new(), &[command_name]).await;
            command.env_remove("BINDINGS").env("DISCOVERY_TAG", "rds-endpoint");
            let done = finish(command).await;
            assert_eq!(done.code, 1, "{command_name}: {done:?}");
            assert!(done.stdout.contains("rds-endpoint"), "{command_name}: {done:?}");
        }
    }

    #[tokio::test]
    async fn colours_follow_the_environment() {
        let aws = FakeAws::new();
        for (variable, coloured) in [("CLICOLOR_FORCE", true), ("NO_COLOR", false)] {
            let mut command = command(&aws, &["plan", "-v"]).await;
            command.env(variable, "1");
            let done = finish(command).await;
            assert_eq!(done.code, 0, "{done:?}");
            assert_eq!(done.stdout.contains('\u{1b}'), coloured, "{variable}: {done:?}");
            assert_eq!(done.stderr.contains('\u{1b}'), coloured, "{variable}: {done:?}");
        }
    }

    #[tokio::test]
    async fn table_shows_failures() {
        let aws = FakeAws::new();
        aws.always(Action::Lookup, Some(ApiFault::NxDomain));
        let done = run(&aws, &["check"]).await;
        let table = done.table();
        assert!(table.contains("failed") && table.contains("NXDOMAIN"), "{table}");
    }

    #[tokio::test]
    async fn verbose_logs_decisions_to_standard_error() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        let done = deregister(&aws, &["check", "-v", "--output", "json"]).await;
        assert!(done.stderr.contains("deregistering targets"), "{done:?}");
        assert_eq!(done.json()["bindings"][0]["status"], "updated");
    }
}

mod credentials {
    use super::*;

    /// Runs a check with a profile of this configuration file instead of keys in the environment.
    async fn check_as(profile: &str, config: &str) -> Done {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{profile}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("config");
        std::fs::write(&file, config).expect("a file");
        let mut command = command(&FakeAws::new(), &["check", "--output", "json"]).await;
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_PROFILE", profile).env("AWS_CONFIG_FILE", file).env("HOME", folder);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        finish(command).await
    }

    /// Without `AWS_REGION`, as in most shells, the Region comes from the profile.
    #[tokio::test]
    async fn unknown_profile_without_a_region_names_the_variable_and_the_fix_beside_what_else_is_wrong() {
        for (poll, wrong) in [("500", "no Region is set"), ("soon", "POLL_MILLIS")] {
            let mut command = command(&FakeAws::new(), &["check"]).await;
            command.env_remove("AWS_REGION").env("AWS_PROFILE", "no-such-profile").env("POLL_MILLIS", poll);
            command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_EC2_METADATA_DISABLED", "true");
            let done = finish(command).await;
            assert_eq!(done.code, 1, "{done:?}");
            for part in ["AWS_REGION", "AWS_PROFILE", "aws configure list-profiles", wrong] {
                assert!(done.stderr.contains(part), "{part}: {done:?}");
            }
        }
    }

    #[tokio::test]
    async fn unknown_profile_names_the_variable_and_the_fix() {
        let done = check_as("no-such-profile", "[profile other]\nregion = us-east-1\n").await;
        assert_eq!(done.code, 1, "{done:?}");
        for part in ["no-such-profile", "AWS_PROFILE", "aws configure list-profiles"] {
            assert!(done.stdout.contains(part), "{part}: {done:?}");
        }
    }

    #[tokio::test]
    async fn profile_that_is_not_signed_in_names_the_command() {
        let config = "[profile signed-out]\nsso_session = work\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\n\
                      [sso-session work]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n";
        let done = check_as("signed-out", config).await;
        assert_eq!(done.code, 1, "{done:?}");
        for part in ["aws sso login", "AWS_PROFILE"] {
            assert!(done.stdout.contains(part), "{part}: {done:?}");
        }
    }
}

#[cfg(unix)]
mod watch {
    use super::*;

    struct Watch {
        process: Child,
        lines: Lines<BufReader<ChildStdout>>,
    }

    async fn start(aws: &FakeAws, arguments: &[&str]) -> Watch {
        let arguments = [&["watch", "--interval", "1"], arguments].concat();
        Watch::spawn(command(aws, &arguments).await)
    }

    impl Watch {
        fn spawn(mut command: Command) -> Self {
            let mut process = command.spawn().expect("it starts");
            let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
            Self { process, lines }
        }

        async fn line(&mut self) -> String {
            let line = tokio::time::timeout(LIMIT, self.lines.next_line()).await.expect("a line in time");
            line.expect("UTF-8").expect("it still runs")
        }

        /// The next line with this text. Those of checks that began too early, or took too long, may come before it.
        async fn line_with(&mut self, text: &str) -> String {
            let mut lines = Vec::new();
            while lines.len() < 20 {
                let line = self.line().await;
                if line.contains(text) {
                    return line;
                }
                lines.push(line);
            }
            panic!("no{text}: {lines:#?}");
        }

        fn signal(&self, name: &str) {
            let id = self.process.id().expect("it still runs").to_string();
            let sent = std::process::Command::new("kill").args(["-s", name, &id]).status();
            assert!(sent.expect("kill runs").success());
        }

        async fn ended(&mut self) -> Option<i32> {
            let waiting = tokio::time::timeout(LIMIT, self.process.wait());
            waiting.await.expect("it ends").expect("a status").code()
        }
    }

    #[tokio::test]
    async fn watch_repairs_every_change_until_sigterm() {
        let aws = FakeAws::new();
        let mut watch = start(&aws, &[]).await;
        assert!(watch.line().await.ends_with(&format!("in sync {ENDPOINT} → orders: = 10.0.1.10")));
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
        let line = watch.line_with(" updated ").await;
        assert!(line.ends_with("- 10.0.1.10:5432"), "{line}");
        assert!(watch.line().await.ends_with("= 10.0.2.20"));
        aws.always(Action::Lookup, Some(ApiFault::NxDomain));
        watch.line_with(" failed ").await;
        aws.always(Action::Lookup, None);
        // A failure ends no watch.
        watch.line_with(" in sync ").await;
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
        assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    }

    #[tokio::test]
    async fn candidate_of_the_rds_api_is_registered_before_dns_names_it() {
        let aws = FakeAws::new();
        aws.writer_per_rds("orders-2");
        let mut watch = start(&aws, &["--output", "json"]).await;
        while aws.writes().is_empty() {
            watch.line().await;
        }
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432");
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
    }

    #[tokio::test]
    async fn failover_is_watched_without_preregistration_too() {
        let aws = FakeAws::new();
        aws.writer_per_rds("orders-2");
        let mut command = command(&aws, &["watch", "--interval", "600", "--output", "json"]).await;
        command.envs([("PREREGISTER", "false"), ("WATCH_SECONDS", "1")]);
        let mut watch = Watch::spawn(command);
        let mut triggers = Vec::new();
        while !triggers.contains(&json!("watch")) {
            let line: Value = serde_json::from_str(&watch.line().await).expect("JSON");
            triggers.push(line["trigger"].clone());
        }
        assert_eq!(aws.writes(), Vec::<String>::new(), "nobody is registered early");
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
    }

    #[tokio::test]
    async fn candidate_is_not_watched_again_after_a_question_without_an_answer() {
        let aws = FakeAws::new();
        aws.writer_per_rds("orders-2");
        let mut command = command(&aws, &["watch", "--interval", "1", "--output", "json"]).await;
        command.envs([("PREREGISTER", "false"), ("WATCH_SECONDS", "1")]);
        let mut watch = Watch::spawn(command);
        while !watch.line().await.contains(r#""trigger":"watch""#) {}
        aws.next(Action::DescribeDBClusters, &[ApiFault::Denied]);
        let failed = aws.count(Action::DescribeDBClusters) + 1;
        // A watch of one second after the next answer would be over by then.
        while aws.count(Action::DescribeDBClusters) < failed + 4 {
            let line = watch.line().await;
            assert!(line.contains(r#""trigger":"check""#), "{line}");
        }
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
    }

    #[tokio::test]
    async fn watch_says_if_the_rds_api_does_not_answer_it() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeDBClusters, Some(ApiFault::Denied));
        let mut command = command(&aws, &["watch", "--interval", "1", "-v"]).await;
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("a line about it");
            if line.contains("rds_unavailable") {
                assert!(line.contains("allow rds:DescribeDBClusters"), "{line}");
                break;
            }
        }
        process.kill().await.unwrap();
    }

    #[tokio::test]
    async fn group_with_bad_tags_fails_alone() {
        let aws = FakeAws::new();
        let bad = aws.tagged("bad", &[("rds-endpoint", "10.0.0.1")]);
        let mut command = command(&aws, &["watch", "--interval", "1", "--output", "json"]).await;
        command.env("DISCOVERY_TAG", "rds-endpoint");
        let mut watch = Watch::spawn(command);
        let line: Value = serde_json::from_str(&watch.line().await).expect("JSON");
        assert_eq!(line["bindings"][0]["status"], "in_sync", "{line}");
        assert_eq!(line["bindings"][1]["target_group"], json!(bad), "{line}");
        assert_eq!(line["bindings"][1]["status"], "failed", "{line}");
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
    }

    #[tokio::test]
    async fn json_output_is_a_line_per_check() {
        let aws = FakeAws::new();
        let mut watch = start(&aws, &["--output", "json"]).await;
        for _ in 0..2 {
            let check: Value = serde_json::from_str(&watch.line().await).expect("JSON");
            assert_eq!(check["trigger"], "check");
            assert_eq!(check["bindings"][0]["status"], "in_sync");
        }
        watch.signal("INT");
        assert_eq!(watch.ended().await, Some(0));
    }

    #[tokio::test]
    async fn signal_waits_for_the_call_under_way() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.next(Action::RegisterTargets, &[ApiFault::Slow(Duration::from_millis(1500))]);
        let mut watch = start(&aws, &[]).await;
        while aws.count(Action::RegisterTargets) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
        assert_eq!(aws.targets(), "10.0.1.10:5432 10.0.2.20:5432", "registered, and nothing after that");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
    }

    #[tokio::test]
    async fn second_signal_ends_at_once() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO]);
        aws.always(Action::RegisterTargets, Some(ApiFault::Hangs));
        let mut watch = start(&aws, &[]).await;
        while aws.count(Action::RegisterTargets) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let started = tokio::time::Instant::now();
        watch.signal("TERM");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(
            watch.process.try_wait().expect("a status"),
            None,
            "the first signal waits for the change"
        );
        // Two signals may count as one where the process does not run between them.
        let status = loop {
            watch.signal("TERM");
            if let Ok(status) = timeout(Duration::from_millis(200), watch.process.wait()).await {
                break status.unwrap();
            }
        };
        assert_eq!(status.code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn signal_does_not_wait_for_a_call_that_reads() {
        let aws = FakeAws::new();
        aws.always(Action::DescribeTargetHealth, Some(ApiFault::Hangs));
        let mut watch = start(&aws, &[]).await;
        while aws.count(Action::DescribeTargetHealth) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let started = tokio::time::Instant::now();
        watch.signal("TERM");
        assert_eq!(watch.ended().await, Some(0));
        // The call would take three attempts of 3 s each.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn hanging_binding_delays_no_other() {
        let aws = FakeAws::new();
        let other = GROUP.replace("/orders/", "/billing/");
        aws.state().groups.insert(other.clone(), testkit::Group::default());
        let billing = "billing.abc123.us-east-1.rds.amazonaws.com";
        aws.state().names.insert(format!("{billing}."), ApiFault::Hangs);
        let bindings = json!([
            {"endpoint": billing, "target_group": other},
            {"endpoint": ENDPOINT, "target_group": GROUP},
        ]);
        let mut command = command(&aws, &["watch", "--interval", "1", "--output", "json"]).await;
        command.env("BINDINGS", bindings.to_string());
        let mut watch = Watch::spawn(command);
        for _ in 0..3 {
            assert!(watch.line().await.contains(ENDPOINT));
        }
        watch.signal("KILL");
    }
}
