use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::binding::Role;
use crate::endpoint::NO_STANDBY_IN_A_CLUSTER;
use crate::plan::StandbyPolicy;

mod bindings;
mod properties;

const ENDPOINT: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
const OTHER_GROUP: &str =
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/billing/0123456789abcdef";

/// The least that is valid, with these variables on top.
fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let variables: BTreeMap<&str, &str> =
        [(BINDINGS, bindings.as_str())].into_iter().chain(variables.iter().copied()).collect();
    Config::parse(|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn problems(variables: &[(&str, &str)]) -> Vec<String> {
    match parse(variables) {
        Ok(_) => Vec::new(),
        Err(ConfigErrors(problems)) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// What is wrong with the bindings.
fn binding_problems(bindings: Value) -> Vec<String> {
    problems(&[(BINDINGS, &bindings.to_string())])
}

/// A valid binding, with one field set to this value.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut binding = json!({"endpoint": ENDPOINT, "target_group": GROUP});
    binding[field] = value.into();
    binding
}

fn only_binding(bindings: Value) -> Binding {
    let mut bindings = parse(&[(BINDINGS, &bindings.to_string())]).unwrap().bindings;
    assert_eq!(bindings.len(), 1);
    bindings.remove(0)
}

#[test]
fn bindings_alone_take_the_defaults() {
    let expected = Config {
        bindings: vec![Binding::new(ENDPOINT, GROUP.parse().unwrap())],
        timing: Timing {
            watch: Duration::from_secs(180),
            poll: Duration::from_millis(500),
            confirm: Duration::from_secs(6),
        },
        discovery: None,
        discovery_endpoints: AllowedEndpoints::RdsAnd([ENDPOINT.to_owned()].into()),
        nameservers: None,
        preregister: true,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: false,
    };
    assert_eq!(parse(&[]), Ok(expected));
}

#[test]
fn all_variables_are_read() {
    let bindings = json!([
        {"endpoint": ENDPOINT, "target_group": GROUP},
        {
            "endpoint": "db.example.com.",
            "target_group": OTHER_GROUP,
            "port": 5432,
            "database": "billing",
            "role": "writer",
            "standby": "keep",
        },
    ]);
    let config = parse(&[
        (BINDINGS, &bindings.to_string()),
        (WATCH_SECONDS, "240"),
        (POLL_MILLIS, "250"),
        (CONFIRM_SECONDS, "10"),
        (NAMESERVERS, "10.0.0.2"),
        (PREREGISTER, "false"),
        (DISCOVERY_TAG, "rds-endpoint"),
        (DISCOVERY_ENDPOINTS, "*.rds.amazonaws.com, DB.example.com."),
        (DRY_RUN, "true"),
    ]);
    let expected = Config {
        bindings: vec![
            Binding::new(ENDPOINT, GROUP.parse().unwrap()),
            Binding {
                port: Some(5432),
                databases: vec!["billing".to_owned()],
                standby: StandbyPolicy::Keep,
                ..Binding::new("db.example.com.", OTHER_GROUP.parse().unwrap())
            },
        ],
        timing: Timing {
            watch: Duration::from_secs(240),
            poll: Duration::from_millis(250),
            confirm: Duration::from_secs(10),
        },
        discovery: Some("rds-endpoint".to_owned()),
        discovery_endpoints: AllowedEndpoints::Matching(
            ["*.rds.amazonaws.com", "db.example.com"].map(str::to_owned).into(),
        ),
        nameservers: Some(vec!["10.0.0.2:53".parse().unwrap()]),
        preregister: false,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: true,
    };
    assert_eq!(config, Ok(expected));
}

#[test]
fn empty_variable_counts_as_unset() {
    for empty in ["", " ", "\n"] {
        let others = [
            DISCOVERY_TAG,
            DISCOVERY_ENDPOINTS,
            "HTTPS_PROXY",
            "AWS_ENDPOINT_URL",
            WATCH_SECONDS,
            POLL_MILLIS,
            CONFIRM_SECONDS,
            NAMESERVERS,
            PREREGISTER,
            DRY_RUN,
        ];
        let variables: Vec<_> = others.map(|name| (name, empty)).into();
        assert_eq!(parse(&variables), parse(&[]), "{empty:?}");
        assert_eq!(
            problems(&[(BINDINGS, empty)]),
            [format!("BINDINGS: is not set. Fix: give {BINDINGS_EXAMPLE}, or set DISCOVERY_TAG")],
            "{empty:?}"
        );
    }
}

#[test]
fn missing_bindings_are_refused_with_the_fix() {
    assert_eq!(
        Config::parse(|_| None).unwrap_err().to_string(),
        "the configuration is not valid: BINDINGS: is not set. Fix: give a JSON array such as [{\"endpoint\": \
         \"orders.cluster-….rds.amazonaws.com\", \"target_group\": \"arn:aws:elasticloadbalancing:…\"}], or set DISCOVERY_TAG"
    );
}

#[test]
fn discovery_tag_needs_no_bindings() {
    let config = Config::parse(|name| (name == DISCOVERY_TAG).then(|| "rds-endpoint".to_owned())).unwrap();
    assert_eq!((config.bindings, config.discovery), (Vec::new(), Some("rds-endpoint".to_owned())));
}

#[test]
fn invalid_discovery_endpoint_is_refused_by_its_index() {
    for wrong in ["*", "*.", "*example.com", "a.*.example.com", "localhost", "a b.example.com", "", "*..a.b"]
    {
        let text = format!("*.example.com,{wrong},db.example.com");
        let expected = format!(
            "DISCOVERY_ENDPOINTS[1]: {wrong:?} is neither a DNS name nor a suffix such as *.rds.amazonaws.com"
        );
        assert_eq!(problems(&[(DISCOVERY_ENDPOINTS, &text)]), [expected]);
    }
}

#[test]
fn invalid_tag_key_is_refused() {
    // A tag's key has 128 characters at most, and the longest option adds ":database".
    assert!(Config::parse(|name| (name == DISCOVERY_TAG).then(|| "x".repeat(119))).is_ok());
    for wrong in ["rds?endpoint", "aws:endpoint", &"x".repeat(120)] {
        let expected =
            format!("DISCOVERY_TAG: {wrong:?} is not a tag key. Fix: give one such as rds-nlb-sync");
        assert_eq!(problems(&[(DISCOVERY_TAG, wrong)]), [expected]);
    }
}

#[test]
fn invalid_discovery_endpoint_is_named_by_its_index() {
    let problem = |index: usize, entry: &str| {
        let reason = "is neither a DNS name nor a suffix such as *.rds.amazonaws.com";
        format!("DISCOVERY_ENDPOINTS[{index}]: {entry:?} {reason}")
    };
    for (text, expected) in [
        ("*", vec![problem(0, "*")]),
        ("*.rds.amazonaws.com,", vec![problem(1, "")]),
        ("a b,*.example.com,*x", vec![problem(0, "a b"), problem(2, "*x")]),
    ] {
        assert_eq!(problems(&[(DISCOVERY_ENDPOINTS, text)]), expected);
    }
}

#[test]
fn invalid_proxy_or_endpoint_url_is_refused_by_name() {
    for (name, value) in [
        ("HTTPS_PROXY", "http//proxy"),
        ("http_proxy", "socks5://proxy"),
        ("ALL_PROXY", "http://"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "elb.example.com"),
    ] {
        let problems = problems(&[(name, value)]);
        assert!(matches!(&*problems, [problem] if problem.starts_with(&format!("{name}: "))), "{problems:?}");
    }
}

#[test]
fn number_outside_its_range_is_refused() {
    for (name, least, most, default) in
        [(WATCH_SECONDS, 0, 5400, 180), (POLL_MILLIS, 1, 60_000, 500), (CONFIRM_SECONDS, 0, 600, 6)]
    {
        for valid in [least.to_string(), most.to_string(), format!(" {most} ")] {
            assert_eq!(problems(&[(name, &valid)]), [""; 0]);
        }
        let below = (least - 1).to_string();
        let above = (most + 1).to_string();
        for bad in [&below, &above, "1.5", "6s", "six", "18446744073709551616"] {
            assert_eq!(
                problems(&[(name, bad)]),
                [format!("{name}: {bad:?} is not a whole number from {least} to {most} (default {default})")]
            );
        }
    }
}

#[test]
fn zero_confirm_seconds_is_accepted() {
    assert_eq!(parse(&[(CONFIRM_SECONDS, "0")]).unwrap().timing.confirm, Duration::ZERO);
}

#[test]
fn dry_run_is_true_or_false() {
    for (text, expected) in
        [("true", true), ("TRUE", true), (" True ", true), ("false", false), ("False", false)]
    {
        assert_eq!(parse(&[(DRY_RUN, text)]).unwrap().dry_run, expected, "{text:?}");
    }
    for bad in ["1", "0", "yes", "no", "truee"] {
        assert_eq!(problems(&[(DRY_RUN, bad)]), [format!("DRY_RUN: {bad:?} is neither true nor false")]);
    }
}

#[test]
fn name_servers_may_have_a_port() {
    for (text, expected) in [
        ("10.0.0.2", "10.0.0.2:53"),
        ("10.0.0.2:5353", "10.0.0.2:5353"),
        ("fd00::2", "[fd00::2]:53"),
        ("[fd00::2]:5353", "[fd00::2]:5353"),
        (" 10.0.0.2 , 10.0.0.3:54,fd00::2 ", "10.0.0.2:53 10.0.0.3:54 [fd00::2]:53"),
    ] {
        let expected: Vec<SocketAddr> = expected.split(' ').map(|server| server.parse().unwrap()).collect();
        assert_eq!(parse(&[(NAMESERVERS, text)]).unwrap().nameservers, Some(expected), "{text:?}");
    }
}

#[test]
fn invalid_name_server_is_named_by_its_index() {
    let problem = |index: usize, entry: &str| {
        format!(
            "NAMESERVERS[{index}]: {entry:?} is not an address such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53"
        )
    };
    for (text, expected) in [
        ("dns.example.com", vec![problem(0, "dns.example.com")]),
        ("10.0.0.2:", vec![problem(0, "10.0.0.2:")]),
        ("10.0.0.2:0", vec![problem(0, "10.0.0.2:0")]),
        ("10.0.0.2:65536", vec![problem(0, "10.0.0.2:65536")]),
        ("10.0.0.256", vec![problem(0, "10.0.0.256")]),
        ("10.0.0.2,", vec![problem(1, "")]),
        ("x,10.0.0.2,y", vec![problem(0, "x"), problem(2, "y")]),
        ("10.0.0.2 10.0.0.3", vec![problem(0, "10.0.0.2 10.0.0.3")]),
    ] {
        assert_eq!(problems(&[(NAMESERVERS, text)]), expected);
    }
}

#[test]
fn all_problems_are_in_one_message() {
    let bindings = json!([
        {"endpoint": "orders", "target_group": "orders", "port": 0, "database": "", "role": "any", "region": ""},
        7,
        {"target_group": 7},
    ]);
    let message = parse(&[
        (BINDINGS, &bindings.to_string()),
        (DISCOVERY_TAG, "aws:x"),
        (DISCOVERY_ENDPOINTS, "*.example.com,*"),
        ("HTTP_PROXY", "http://"),
        ("AWS_ENDPOINT_URL_RDS", "rds.example.com"),
        (WATCH_SECONDS, "x"),
        (POLL_MILLIS, "x"),
        (CONFIRM_SECONDS, "x"),
        (NAMESERVERS, "x,y"),
        (DRY_RUN, "x"),
    ])
    .unwrap_err()
    .to_string();
    for name in [
        "BINDINGS[0].endpoint",
        "BINDINGS[0].target_group",
        "BINDINGS[0].port",
        "BINDINGS[0].database",
        "BINDINGS[0].role",
        "BINDINGS[0].region",
        "BINDINGS[1]",
        "BINDINGS[2].endpoint",
        "BINDINGS[2].target_group",
        "DISCOVERY_TAG",
        "DISCOVERY_ENDPOINTS[1]",
        "HTTP_PROXY",
        "AWS_ENDPOINT_URL_RDS",
        "WATCH_SECONDS",
        "POLL_MILLIS",
        "CONFIRM_SECONDS",
        "NAMESERVERS[0]",
        "NAMESERVERS[1]",
        "DRY_RUN",
    ] {
        assert_eq!(message.matches(&format!(" {name}: ")).count(), 1, "{name} in {message}");
    }
}

#[test]
fn preregister_defaults_to_true() {
    for (text, expected) in [("true", true), ("TRUE", true), ("false", false), (" False ", false)] {
        assert_eq!(parse(&[(PREREGISTER, text)]).unwrap().preregister, expected, "{text:?}");
    }
    assert_eq!(problems(&[(PREREGISTER, "off")]), ["PREREGISTER: \"off\" is neither true nor false"]);
}
