//! The binary, as Lambda runs it: through the Runtime API, against the fake AWS on loopback sockets.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use testkit::lambda::{Function, SLOWLY, sent_now};
use testkit::{Action, ApiFault, ENDPOINT, FakeAws, GROUP, Group, ONE, TWO, undisturbed};

/// The function's time-out, far longer than any of these tests.
const TIME: Duration = Duration::from_secs(30);

async fn start(aws: &FakeAws, variables: &[(&str, &str)]) -> Function {
    Function::start(aws, Path::new(env!("CARGO_BIN_EXE_bootstrap")), variables).await
}

fn event(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(file);
    let sample = std::fs::read_to_string(&path);
    sent_now(&sample.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn check() -> String {
    json!({"command": "check"}).to_string()
}

fn message(error: &Value) -> &str {
    error["errorMessage"].as_str().unwrap_or("no message")
}

#[tokio::test]
async fn failover_event_is_followed() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    let moving = aws.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        moving.promote("orders-2");
        moving.writer_per_rds("orders-2");
    });
    let result = function.invoke(event("cluster-failover-started.json"), TIME).await.unwrap();
    let binding = &result["bindings"][0];
    assert_eq!(result["trigger"], "watch");
    assert!(binding["elapsed_ms"].as_u64().unwrap() >= 1000, "confirmed for a second first");
    let mut shape = binding.clone();
    shape["elapsed_ms"] = json!(0);
    assert_eq!(
        shape,
        json!({
            "endpoint": ENDPOINT, "target_group": GROUP, "status": "updated", "addresses": [TWO],
            "registered": ["10.0.2.20:5432"], "deregistered": ["10.0.1.10:5432"],
            "waiting": [], "health": {"10.0.2.20:5432": "initial"}, "error": null, "elapsed_ms": 0,
        })
    );
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
}

/// The template's tests compare the same list with the role, so that it allows this and no more.
#[tokio::test]
async fn calls_are_those_that_the_role_allows() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    for member in ["orders-2", "orders-1"] {
        aws.promote(member);
        aws.writer_per_rds(member);
        function.invoke(event("cluster-failover-completed.json"), TIME).await.unwrap();
    }
    for event in ["schedule.json", "plan.json", "doctor.json"] {
        function.invoke(self::event(event), TIME).await.unwrap();
    }
    // The doctor looks at instances as well as at clusters, and at parameter groups that can be changed.
    {
        let mut state = aws.state();
        state.estate.engine = "aurora-mysql";
        (state.estate.parameter_group, state.estate.cluster_parameter_group) = ("orders", "orders-cluster");
    }
    function.invoke(self::event("doctor.json"), TIME).await.unwrap();
    let instance =
        json!([{"endpoint": "orders-1.abc123.us-east-1.rds.amazonaws.com", "target_group": GROUP}]);
    let variables = [("BINDINGS", &*instance.to_string()), ("DISCOVERY_TAG", "rds-nlb-sync")];
    let of_instance = start(&aws, &variables).await;
    of_instance.invoke(event("doctor.json"), TIME).await.unwrap();
    let made: BTreeSet<String> =
        aws.state().calls.iter().filter_map(|call| call.action.permission()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/template/recorded-actions.json");
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(json!(made), recorded["actions"]);
}

#[tokio::test]
async fn failover_event_registers_the_next_writer_early() {
    let aws = FakeAws::new();
    let function = start(&aws, &[("WATCH_SECONDS", "6")]).await;
    let result = function.invoke(event("cluster-failover-started.json"), TIME).await.unwrap();
    let binding = &result["bindings"][0];
    assert_eq!(binding["status"], "pending");
    assert_eq!(binding["addresses"], json!([ONE]));
    assert_eq!(binding["registered"], json!(["10.0.2.20:5432"]));
    assert!(binding["waiting"][0].as_str().unwrap().contains("is about to become the writer"));
    let lines = function.lines();
    let preregistered =
        lines.iter().find(|line| line["decision"] == "preregister").expect("a line that says so");
    assert_eq!(preregistered["member"], "orders-2");
    assert!(preregistered["reason"].as_str().unwrap().contains("an event names it"));
    assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432"]);
}

#[tokio::test]
async fn event_registers_nothing_without_preregistration() {
    let aws = FakeAws::new();
    let function = start(&aws, &[("WATCH_SECONDS", "2"), ("PREREGISTER", "false")]).await;
    let result = function.invoke(event("cluster-failover-started.json"), TIME).await.unwrap();
    assert_eq!(result["bindings"][0]["status"], "in_sync");
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn every_sample_event_is_handled() {
    let aws = FakeAws::new();
    let function = start(&aws, &[("WATCH_SECONDS", "0")]).await;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("events")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        // A time in the future counts as now. A sample of the present would be older than this watch.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(&file);
        let sample = std::fs::read_to_string(path).unwrap().replace("2026-11-20", "2999-11-20");
        let result = function.invoke(sample, TIME).await;
        match file.as_str() {
            "not-ours.json" => assert!(message(&result.unwrap_err()).contains("aws.s3")),
            "plan.json" => assert_eq!(result.unwrap()["trigger"], "plan"),
            "doctor.json" => assert_eq!(result.unwrap()["trigger"], "doctor"),
            file if ["cluster-", "sns-", "sqs-", "pipe-", "global-", "blue-green-cluster-"]
                .iter()
                .any(|prefix| file.starts_with(prefix)) =>
            {
                assert_eq!(result.unwrap()["trigger"], "watch", "{file}");
            }
            file => assert_eq!(result.unwrap()["trigger"], "check", "{file}"),
        }
    }
}

#[tokio::test]
async fn warm_check_in_sync_costs_one_call_and_one_lookup() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    function.invoke(check(), TIME).await.unwrap();
    let calls = undisturbed(async || {
        aws.forget_calls();
        let result = function.invoke(event("schedule.json"), TIME).await.unwrap();
        assert_eq!(result["bindings"][0]["status"], "in_sync");
        let mut calls: Vec<Action> = aws.state().calls.iter().map(|call| call.action).collect();
        calls.sort();
        calls
    });
    assert_eq!(calls.await, [Action::Lookup, Action::DescribeTargetHealth]);
}

#[tokio::test]
async fn unsupported_event_is_refused_and_the_process_lives_on() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    for (payload, message_text) in [
        ("7", "(7)"),
        ("[1, 2]", "none of 2 records is an event"),
        ("\"check\"", "check"),
        ("{}", "no source and no command"),
        ("{\"command\": \"destroy\"}", "destroy"),
        ("{\"source\": \"aws.s3\", \"detail-type\": \"Object Created\"}", "aws.s3"),
    ] {
        let error = function.invoke(payload, TIME).await.unwrap_err();
        assert_eq!(error["errorType"], "EventRefused", "{payload}");
        let message = message(&error);
        assert!(message.contains(message_text) && message.contains("accepts"), "{payload}: {message}");
    }
    for payload in ["{\"command\": \"chec", "", "{\"command\": \"check\"} and more"] {
        let error = function.invoke(payload, TIME).await.unwrap_err();
        assert_eq!(error["errorType"], "EventRefused", "{payload}");
        assert!(message(&error).starts_with("the event is not JSON ("), "{payload}: {error}");
    }
    assert_eq!(aws.state().calls, []);
    function.invoke(check(), TIME).await.unwrap();
}

#[tokio::test]
async fn failed_binding_fails_no_other_binding() {
    let aws = FakeAws::new();
    let other = GROUP.replace("/orders/", "/billing/");
    aws.state().groups.insert(other.clone(), Group::default());
    aws.resolves_to(&[TWO]);
    let bindings = json!([
        {"endpoint": "billing.abc123.us-east-1.rds.amazonaws.com", "target_group": other},
        {"endpoint": ENDPOINT, "target_group": GROUP},
    ]);
    let function = start(&aws, &[("BINDINGS", &bindings.to_string()), SLOWLY]).await;
    let error = function.invoke(check(), TIME).await.unwrap_err();
    assert_eq!(error["errorType"], "BindingsFailed");
    let message_text = message(&error);
    assert!(
        message_text.starts_with("1 of 2 bindings failed") && message_text.contains("NXDOMAIN"),
        "{message_text}"
    );
    assert!(
        message_text.contains("billing.abc123")
            && message_text.contains(&other)
            && !message_text.contains(ENDPOINT),
        "{message_text}"
    );
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432", "the other was followed");
}

#[tokio::test]
async fn denied_call_names_the_permission() {
    let aws = FakeAws::new();
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Denied));
    let function = start(&aws, &[]).await;
    let error = function.invoke(check(), TIME).await.unwrap_err();
    assert!(message(&error).contains("allow elasticloadbalancing:DescribeTargetHealth"), "{error}");
}

#[tokio::test]
async fn watch_cut_short_by_the_timeout_is_logged() {
    let aws = FakeAws::new();
    let function = start(&aws, &[("PREREGISTER", "false")]).await;
    let time = Duration::from_secs(3);
    let result = function.invoke(event("cluster-failover-started.json"), time).await.unwrap();
    assert_eq!(result["bindings"][0]["status"], "in_sync");
    let lines = function.lines();
    let deadline = lines.iter().find(|line| line["decision"] == "deadline").expect("a line that says so");
    assert!(deadline["reason"].as_str().unwrap().contains("the invocation's time is over"), "{deadline}");
}

#[tokio::test]
async fn hanging_api_is_an_error_before_the_timeout() {
    let aws = FakeAws::new();
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::Hangs));
    let function = start(&aws, &[]).await;
    let error = function.invoke(check(), Duration::from_secs(4)).await.unwrap_err();
    let message_text = message(&error);
    assert!(
        message_text.contains("could not list the group's targets before the time ran out"),
        "{message_text}"
    );
}

#[tokio::test]
async fn hanging_attempt_is_retried() {
    for fault in [ApiFault::Hangs, ApiFault::Stalls] {
        let aws = FakeAws::new();
        let function = start(&aws, &[]).await;
        aws.next(Action::DescribeTargetHealth, &[fault]);
        // Less time than all attempts of a call may take together: the first must end long before.
        function.invoke(check(), Duration::from_secs(8)).await.unwrap();
        assert_eq!(aws.count(Action::DescribeTargetHealth), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn watch_cut_short_during_a_lookup_is_logged() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    let slow = aws.clone();
    tokio::spawn(async move {
        while slow.count(Action::Lookup) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slow.always(Action::Lookup, Some(ApiFault::Slow(Duration::from_secs(10))));
    });
    let time = Duration::from_secs(3);
    function.invoke(event("cluster-failover-started.json"), time).await.unwrap();
    assert!(function.lines().iter().any(|line| line["decision"] == "deadline"));
}

#[tokio::test]
async fn flickering_dns_does_not_fill_the_log() {
    let aws = FakeAws::new();
    aws.members_flicker();
    let function = start(&aws, &[("WATCH_SECONDS", "6"), ("PREREGISTER", "false")]).await;
    function.invoke(event("cluster-failover-started.json"), TIME).await.unwrap();
    assert!(aws.count(Action::Lookup) > 10);
    let lines = function.lines();
    assert!(lines.len() <= 9, "{lines:#?}");
}

#[tokio::test]
async fn missing_credentials_error_names_the_fix() {
    let aws = FakeAws::new();
    let none =
        [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_EC2_METADATA_DISABLED", "true")];
    let function = start(&aws, &none).await;
    let error = function.invoke(check(), TIME).await.unwrap_err();
    assert!(message(&error).contains("give the function a role"), "{error}");
}

#[tokio::test]
async fn plan_command_and_dry_run_change_nothing() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let function = start(&aws, &[]).await;
    let planned = function.invoke(json!({"command": "plan"}), TIME).await.unwrap();
    assert_eq!(planned["trigger"], "plan");
    assert_eq!(planned["bindings"][0]["status"], "planned");
    assert_eq!(planned["bindings"][0]["registered"], json!(["10.0.2.20:5432"]));
    let dry = start(&aws, &[("DRY_RUN", "true")]).await;
    for event in [check(), event("cluster-failover-completed.json")] {
        assert_eq!(dry.invoke(event, TIME).await.unwrap()["bindings"][0]["status"], "planned");
    }
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn failover_log_is_json_lines_with_the_bindings_fields() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let function = start(&aws, &[SLOWLY]).await;
    function.invoke(check(), TIME).await.unwrap();
    let lines = function.lines();
    assert_eq!(lines.len(), function.log.lock().unwrap().len(), "every line is JSON");
    let of_binding: Vec<&Value> = lines.iter().filter(|line| line["endpoint"] == ENDPOINT).collect();
    let decisions: Vec<&str> = of_binding.iter().filter_map(|line| line["decision"].as_str()).collect();
    assert_eq!(decisions, ["plan", "register", "plan", "plan", "deregister"]);
    assert!(of_binding.iter().all(|line| line["target_group"] == GROUP));
    let decided: Vec<&&Value> = of_binding.iter().filter(|line| line["decision"].is_string()).collect();
    assert!(
        decided.iter().all(|line| line["binding"] == "orders" && line["reason"].is_string()),
        "{decided:#?}"
    );
    let done: Vec<&Value> = lines.iter().filter(|line| line["decision"] == "done").collect();
    assert_eq!(done.len(), 1, "and one line for the invocation");
    assert!(done[0]["span"]["requestId"].is_string(), "with its request: {}", done[0]);
    let metrics: Vec<&Value> = lines.iter().filter(|line| line["_aws"].is_object()).collect();
    assert_eq!(metrics[0]["FunctionName"], "rds-nlb-sync");
    assert_eq!((&metrics[0]["Checks"], &metrics[1]["Registered"]), (&json!(1), &json!(1)));
    assert!(
        metrics[1]["RegistrationLatencyMillis"].as_u64().unwrap() < 3000,
        "from the first lookup to registration"
    );
}

#[tokio::test]
async fn watch_logs_no_line_per_poll() {
    let aws = FakeAws::new();
    let function = start(&aws, &[("WATCH_SECONDS", "6"), ("PREREGISTER", "false")]).await;
    function.invoke(event("cluster-failover-started.json"), TIME).await.unwrap();
    assert!(aws.count(Action::Lookup) > 10);
    assert_eq!(function.lines().len(), 3, "the start, the invocation and its metrics");
}

#[tokio::test]
async fn first_log_line_says_the_version() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    function.invoke(check(), TIME).await.unwrap();
    function.invoke(check(), TIME).await.unwrap();
    let lines = function.lines();
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["version"]),
        (&json!("init"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(lines.iter().filter(|line| line["decision"] == "init").count(), 1, "once per process");
}

#[tokio::test]
async fn log_follows_lambdas_controls() {
    let aws = FakeAws::new();
    aws.resolves_to(&[TWO]);
    let text = start(&aws, &[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;
    text.invoke(check(), TIME).await.unwrap();
    let is_metric = |line: &Value| line["_aws"].is_object();
    let all = text.log.lock().unwrap().len();
    assert!(text.lines().iter().all(is_metric) && all > text.lines().len());
    let quiet = start(&aws, &[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]).await;
    quiet.invoke(check(), TIME).await.unwrap();
    assert!(quiet.lines().iter().all(is_metric), "metrics are not a matter of the log level");
}

#[tokio::test]
async fn wrong_configuration_stops_the_start() {
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}, {"endpoint": "10.0.1.10"}]);
    let variables = [
        ("BINDINGS", bindings.to_string()),
        ("POLL_MILLIS", "fast".to_owned()),
        ("AWS_MAX_ATTEMPTS", "0".to_owned()),
        ("AWS_RETRY_MODE", "fast".to_owned()),
    ];
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut function = start(&FakeAws::new(), &variables).await;
    let (code, error) = function.ended().await;
    assert_ne!(code, Some(0));
    let error = error.expect("reported to the Runtime API");
    for name in [
        "BINDINGS[1].endpoint",
        "BINDINGS[1].target_group",
        "POLL_MILLIS",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
    ] {
        assert!(message(&error).contains(name), "{error}");
    }
}

#[tokio::test]
async fn empty_variable_of_the_sdk_counts_as_unset() {
    let empty = ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_ENDPOINT_URL_STS"].map(|name| (name, ""));
    let function = start(&FakeAws::new(), &empty).await;
    function.invoke(check(), TIME).await.unwrap();
    let aws = FakeAws::new();
    aws.always(Action::DescribeTargetHealth, Some(ApiFault::ServerError));
    let function = start(&aws, &[("AWS_MAX_ATTEMPTS", "1"), ("AWS_RETRY_MODE", "Adaptive")]).await;
    function.invoke(json!({"command": "plan"}), TIME).await.unwrap_err();
    assert_eq!(aws.count(Action::DescribeTargetHealth), 1);
}

#[tokio::test]
async fn panic_is_logged_and_ends_the_process() {
    // The client of the Runtime API panics where its address is none.
    let mut function = start(&FakeAws::new(), &[("AWS_LAMBDA_RUNTIME_API", "no address")]).await;
    assert_ne!(function.ended().await.0, Some(0));
    let lines = function.lines();
    let panic = lines.iter().find(|line| line["decision"] == "panic").expect("a line that says so");
    assert!(panic["reason"].as_str().unwrap().contains("Unable to convert to URL"), "{panic}");
}

#[tokio::test]
async fn client_context_of_any_shape_is_ignored() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    for context in [
        "{\"custom\": {\"nested\": {\"a\": [1, 2]}}, \"env\": {\"b\": 7}}",
        "{\"client\": null}",
        "[]",
        "not JSON",
        "",
    ] {
        for header in ["lambda-runtime-client-context", "lambda-runtime-cognito-identity"] {
            let result = function.invoke_with(check(), TIME, &[(header, Some(context))]).await;
            assert_eq!(result.unwrap()["bindings"][0]["status"], "in_sync", "{header}: {context}");
        }
    }
}

#[tokio::test]
async fn deadline_of_long_ago_counts_as_unknown() {
    let function = start(&FakeAws::new(), &[("WATCH_SECONDS", "1")]).await;
    for deadline in [Some("600"), Some("600000"), Some("soon"), None] {
        let headers = [("lambda-runtime-deadline-ms", deadline)];
        let result = function.invoke_with(check(), TIME, &headers).await.unwrap();
        assert_eq!(result["bindings"][0]["status"], "in_sync", "{deadline:?}");
    }
    let assumed = function.lines().into_iter().filter(|line| line["assumed_seconds"] == 61);
    assert_eq!(assumed.count(), 4, "a minute more than the watch");
}

#[tokio::test]
async fn deadline_that_has_just_passed_is_over() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let past = (now - 5000).to_string();
    let headers = [("lambda-runtime-deadline-ms", Some(past.as_str()))];
    let error = function.invoke_with(check(), TIME, &headers).await.unwrap_err();
    assert!(message(&error).contains("the time ran out"), "{error}");
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn text_log_holds_foreign_text_on_its_line() {
    let function = start(&FakeAws::new(), &[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;
    let forged = "{\"source\": \"aws.s3\\nERROR forged\", \"x\":\n7}";
    function.invoke(forged, TIME).await.unwrap_err();
    function.invoke("[7,\n{\"Records\":\n\"ERROR forged\"},\n\"a\\nERROR forged\"]", TIME).await.unwrap_err();
    let lines = function.log.lock().unwrap().clone();
    assert!(lines.len() >= 2, "{lines:#?}");
    for line in &lines {
        let is_ours = line.starts_with("20") || serde_json::from_str::<Value>(line).is_ok();
        assert!(is_ours && !line.starts_with("ERROR"), "{lines:#?}");
    }
}

#[tokio::test]
async fn command_for_one_binding_leaves_the_others() {
    let aws = FakeAws::new();
    let other = GROUP.replace("/orders/", "/billing/");
    aws.state().groups.insert(other.clone(), Group::default());
    aws.resolves_to(&[TWO]);
    let bindings = json!([
        {"endpoint": "billing.abc123.us-east-1.rds.amazonaws.com", "target_group": other},
        {"endpoint": ENDPOINT, "target_group": GROUP},
    ]);
    let function = start(&aws, &[("BINDINGS", &bindings.to_string()), SLOWLY]).await;
    for command in ["plan", "doctor", "check"] {
        let event = json!({"command": command, "binding": "orders"});
        let result = function.invoke(event, TIME).await.unwrap();
        let endpoints: Vec<&Value> =
            result["bindings"].as_array().unwrap().iter().map(|binding| &binding["endpoint"]).collect();
        assert_eq!(endpoints, [ENDPOINT], "{command}");
    }
    assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
    let error = function.invoke(json!({"command": "check", "binding": "Orders"}), TIME).await.unwrap_err();
    let expected = "no binding has a target group named \"Orders\"; the command accepts the target groups billing, orders";
    assert_eq!((message(&error), &error["errorType"]), (expected, &json!("EventRefused")));
}

#[tokio::test]
async fn binary_outside_lambda_explains_itself() {
    let binary = env!("CARGO_BIN_EXE_bootstrap");
    let output = tokio::process::Command::new(binary).env_clear().output().await.unwrap();
    assert!(!output.status.success());
    let message_text = String::from_utf8_lossy(&output.stderr);
    assert!(
        message_text.contains("AWS_LAMBDA_RUNTIME_API") && message_text.contains("make demo"),
        "{message_text}"
    );
}

#[tokio::test]
async fn broken_connection_is_retried_without_a_warning() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    function.invoke(check(), TIME).await.unwrap();
    aws.next(Action::DescribeTargetHealth, &[ApiFault::Reset]);
    let result = function.invoke(check(), TIME).await.unwrap();
    assert_eq!(result["bindings"][0]["addresses"], json!([ONE]));
    assert!(is_quiet(&function));
}

#[tokio::test]
async fn one_connection_serves_every_check() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    for _ in 0..5 {
        function.invoke(check(), TIME).await.unwrap();
    }
    assert_eq!(aws.state().connections.len(), 1);
}

#[tokio::test]
async fn connection_closed_during_a_freeze_costs_no_call() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    for round in 1..=5 {
        function.invoke(check(), TIME).await.unwrap();
        function.polled(round * 2).await;
        signal(&function, "-STOP").await;
        assert_eq!(aws.hang_up(), 1, "the connection was kept");
        aws.forget_calls();
        let (result, ()) = tokio::join!(function.invoke(check(), TIME), async {
            // The event is there before the function thaws, as with Lambda.
            tokio::task::yield_now().await;
            signal(&function, "-CONT").await;
        });
        assert_eq!(result.unwrap()["bindings"][0]["status"], "in_sync");
        assert_eq!(aws.count(Action::DescribeTargetHealth), 1);
    }
    assert!(is_quiet(&function));
}

fn address_of(text: &str) -> [u8; 4] {
    text.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

/// A name server whose true answer arrives after twenty forged ones, with another address and a guessed id.
async fn forger(name_server: std::net::SocketAddr) -> std::net::SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        loop {
            let (length, client) = socket.recv_from(&mut query).await.unwrap();
            let upstream = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            upstream.send_to(&query[..length], name_server).await.unwrap();
            let mut answer = [0; 1500];
            let length = upstream.recv(&mut answer).await.unwrap();
            let at = answer.windows(4).position(|bytes| bytes == address_of(ONE)).unwrap();
            for guess in 1..=20 {
                let mut forged = answer;
                forged[0] ^= guess;
                forged[at..at + 4].copy_from_slice(&address_of(TWO));
                socket.send_to(&forged[..length], client).await.unwrap();
            }
            socket.send_to(&answer[..length], client).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn forged_packets_cost_neither_a_warning_nor_an_answer() {
    let aws = FakeAws::new();
    let name_servers = forger(aws.serve_dns().await).await.to_string();
    let function = start(&aws, &[("NAMESERVERS", &name_servers)]).await;
    let result = function.invoke(check(), TIME).await.unwrap();
    assert_eq!(result["bindings"][0]["addresses"], json!([ONE]));
    assert!(is_quiet(&function));
}

fn is_quiet(function: &Function) -> bool {
    function.lines().iter().all(|line| line["level"] != "WARN" && line["level"] != "ERROR")
}

/// Freezes or thaws the process, as Lambda does between invocations.
async fn signal(function: &Function, signal: &str) {
    let process = function.process_id().unwrap().to_string();
    let sent = tokio::process::Command::new("kill").args([signal, &process]).status().await.unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn endless_answer_is_refused_at_its_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let aws = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
                while stream.write_all(&bytes).await.is_ok() {
                    bytes = vec![b'<'; 1 << 16];
                }
            });
        }
    });
    let function = start(&FakeAws::new(), &[("AWS_ENDPOINT_URL", &aws)]).await;
    let error = function.invoke(json!({"command": "plan"}), TIME).await.unwrap_err();
    assert!(message(&error).contains("length limit exceeded"), "{error}");
    let status = format!("/proc/{}/status", function.process_id().unwrap());
    let Ok(status) = std::fs::read_to_string(status) else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} kB at most, of the 128 MB that the function has");
}

#[tokio::test]
async fn huge_or_deep_event_is_refused() {
    let aws = FakeAws::new();
    let function = start(&aws, &[]).await;
    let long = "x".repeat(6 << 20);
    for payload in [
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)),
        format!("{{\"command\": \"{long}\"}}"),
        format!("{{\"source\": \"{long}\", \"detail-type\": \"{long}\"}}"),
        "{\"command\": \"\\ud800\"}".to_owned(),
    ] {
        let start: String = payload.chars().take(30).collect();
        let error = function.invoke(payload, TIME).await.unwrap_err();
        let message_text = message(&error);
        assert!(message_text.len() < 1000, "{start}: {} bytes", message_text.len());
        assert!(message_text.contains("accepts"), "{start}: {error}");
    }
    assert_eq!(aws.state().calls, []);
    function.invoke(check(), TIME).await.unwrap();
}
