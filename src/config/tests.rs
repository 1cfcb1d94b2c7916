use proptest::prelude::*;
use serde_json::json;

use super::*;

const ENDPOINT: &str = "orders.cluster-abc123.us-east-1.rds.amazonaws.com";
const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef";
const OTHER_GROUP: &str =
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/billing/0123456789abcdef";

/// The least that is valid, with these variables on top.
fn parse(variables: &[(&str, &str)]) -> Result<Config, Invalid> {
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    let variables: BTreeMap<&str, &str> =
        [(BINDINGS, bindings.as_str())].into_iter().chain(variables.iter().copied()).collect();
    Config::parse(|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn problems(variables: &[(&str, &str)]) -> Vec<String> {
    match parse(variables) {
        Ok(_) => Vec::new(),
        Err(Invalid(problems)) => problems,
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
fn a_binding_is_all_that_must_be_set() {
    let expected = Config {
        bindings: vec![Binding::new(ENDPOINT, GROUP)],
        pace: Pace {
            watch: Duration::from_secs(180),
            poll: Duration::from_millis(500),
            confirm: Duration::from_secs(6),
        },
        discovery: None,
        nameservers: None,
        preregister: true,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: false,
    };
    assert_eq!(parse(&[]), Ok(expected));
}

#[test]
fn every_variable_is_read() {
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
        (DRY_RUN, "true"),
    ]);
    let expected = Config {
        bindings: vec![
            Binding::new(ENDPOINT, GROUP),
            Binding {
                port: Some(5432),
                database: Some("billing".to_owned()),
                standby: Standby::Keep,
                ..Binding::new("db.example.com.", OTHER_GROUP)
            },
        ],
        pace: Pace {
            watch: Duration::from_secs(240),
            poll: Duration::from_millis(250),
            confirm: Duration::from_secs(10),
        },
        discovery: Some("rds-endpoint".to_owned()),
        nameservers: Some(vec!["10.0.0.2:53".parse().unwrap()]),
        preregister: false,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: true,
    };
    assert_eq!(config, Ok(expected));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    for empty in ["", " ", "\n"] {
        let others =
            [DISCOVERY_TAG, WATCH_SECONDS, POLL_MILLIS, CONFIRM_SECONDS, NAMESERVERS, PREREGISTER, DRY_RUN];
        let variables: Vec<_> = others.map(|name| (name, empty)).into();
        assert_eq!(parse(&variables), parse(&[]), "{empty:?}");
        assert_eq!(problems(&[(BINDINGS, empty)]), Config::parse(|_| None).unwrap_err().0, "{empty:?}");
    }
}

#[test]
fn without_bindings_there_is_nothing_to_do() {
    assert_eq!(
        Config::parse(|_| None).unwrap_err().to_string(),
        "the configuration is not valid: BINDINGS: is not set; give a JSON array such as [{\"endpoint\": \
         \"orders.cluster-….rds.amazonaws.com\", \"target_group\": \"arn:aws:elasticloadbalancing:…\"}]"
    );
}

#[test]
fn discovery_by_tag_needs_no_bindings() {
    let config = Config::parse(|name| (name == DISCOVERY_TAG).then(|| "rds-endpoint".to_owned())).unwrap();
    assert_eq!((config.bindings, config.discovery), (Vec::new(), Some("rds-endpoint".to_owned())));
}

#[test]
fn what_is_no_tag_key_is_refused_by_name() {
    // A tag's key has 128 characters at most, and the longest option adds ":database".
    assert!(Config::parse(|name| (name == DISCOVERY_TAG).then(|| "x".repeat(119))).is_ok());
    for wrong in ["rds?endpoint", "aws:endpoint", &"x".repeat(120)] {
        let expected = format!("DISCOVERY_TAG: {wrong:?} is not a tag key, such as rds-nlb-sync");
        assert_eq!(problems(&[(DISCOVERY_TAG, wrong)]), [expected]);
    }
}

#[test]
fn numbers_have_limits() {
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
fn no_confirmation_time_confirms_at_once() {
    assert_eq!(parse(&[(CONFIRM_SECONDS, "0")]).unwrap().pace.confirm, Duration::ZERO);
}

#[test]
fn a_dry_run_is_true_or_false() {
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
fn name_servers_are_addresses_with_or_without_a_port() {
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
fn what_is_no_name_server_is_named_by_its_place() {
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
fn bindings_are_an_array_of_objects() {
    let not_an_object = "not an object with endpoint and target_group";
    for (bindings, expected) in [
        (json!([]), "BINDINGS: the array is empty; give at least one binding".to_owned()),
        (json!({"endpoint": ENDPOINT}), "BINDINGS: is an object, not an array of bindings".to_owned()),
        (json!("orders"), "BINDINGS: is a string, not an array of bindings".to_owned()),
        (json!(7), "BINDINGS: is a number, not an array of bindings".to_owned()),
        (json!(true), "BINDINGS: is a boolean, not an array of bindings".to_owned()),
        (json!(null), "BINDINGS: is null, not an array of bindings".to_owned()),
        (json!([ENDPOINT]), format!("BINDINGS[0]: is a string, {not_an_object}")),
        (json!([[]]), format!("BINDINGS[0]: is an array, {not_an_object}")),
        (json!([with("port", 5432), null]), format!("BINDINGS[1]: is null, {not_an_object}")),
    ] {
        assert_eq!(binding_problems(bindings), [expected]);
    }
}

#[test]
fn bindings_that_are_not_json_are_refused_with_the_place() {
    assert_eq!(
        problems(&[(BINDINGS, "[{]")]),
        ["BINDINGS: is not JSON: key must be a string at line 1 column 3"]
    );
}

#[test]
fn required_fields_are_named() {
    assert_eq!(
        binding_problems(json!([{}])),
        ["BINDINGS[0].endpoint: is missing", "BINDINGS[0].target_group: is missing"]
    );
    assert_eq!(
        binding_problems(json!([with("endpoint", Value::Null)])),
        ["BINDINGS[0].endpoint: is missing"]
    );
}

#[test]
fn optional_fields_may_be_null() {
    for field in ["port", "database", "role"] {
        assert_eq!(only_binding(json!([with(field, Value::Null)])), Binding::new(ENDPOINT, GROUP));
    }
}

#[test]
fn fields_of_text_hold_nothing_else() {
    for field in ["endpoint", "target_group", "database", "role"] {
        for (value, kind) in [(json!(7), "a number"), (json!(["x"]), "an array"), (json!({}), "an object")] {
            assert_eq!(
                binding_problems(json!([with(field, value)])),
                [format!("BINDINGS[0].{field}: is {kind}, not a string")]
            );
        }
    }
}

#[test]
fn an_endpoint_is_a_fully_qualified_name() {
    let longest_label = format!("{}.example.com", "a".repeat(63));
    let longest_name = vec!["a".repeat(49); 5].join(".") + ".com";
    assert_eq!(longest_name.len(), 253);
    let with_dot = format!("{longest_name}.");
    for valid in
        ["db.internal", "Orders.Example.COM", "_db.example.com.", &longest_label, &longest_name, &with_dot]
    {
        assert_eq!(only_binding(json!([with("endpoint", valid)])).endpoint, valid);
    }
    let long_label = format!("{}.example.com", "a".repeat(64));
    let long_name = format!("a{longest_name}");
    for bad in [
        "",
        ".",
        "orders",
        "orders.",
        "db..internal",
        ".db.internal",
        "db.internal..",
        " db.internal",
        "db.internal:5432",
        "postgres://db.internal/orders",
        "*.internal",
        "datenbänke.example.com",
        &long_label,
        &long_name,
    ] {
        assert_eq!(
            binding_problems(json!([with("endpoint", bad)])),
            [format!(
                "BINDINGS[0].endpoint: {bad:?} is not a fully qualified DNS name; give the DNS name alone, such \
                 as orders.cluster-….rds.amazonaws.com"
            )]
        );
    }
}

#[test]
fn an_endpoint_is_no_address() {
    for address in ["10.0.1.10", "fd00::1"] {
        assert_eq!(
            binding_problems(json!([with("endpoint", address)])),
            [format!(
                "BINDINGS[0].endpoint: {address:?} is an address, which never follows a failover; give the DNS \
                 name alone, such as orders.cluster-….rds.amazonaws.com"
            )]
        );
    }
}

#[test]
fn a_target_group_is_an_arn() {
    for valid in [
        GROUP,
        "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/orders/0123456789abcdef",
        "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:targetgroup/orders/0123456789abcdef",
    ] {
        assert_eq!(only_binding(json!([with("target_group", valid)])).target_group, valid);
    }
    for bad in [
        "",
        "orders",
        "targetgroup/orders/0123456789abcdef",
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/orders/0123456789abcdef",
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders",
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/",
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup//0123456789abcdef",
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef/more",
        "arn:aws:elasticloadbalancing:us-east-1::targetgroup/orders/0123456789abcdef",
        "arn:aws:elasticloadbalancing::123456789012:targetgroup/orders/0123456789abcdef",
        "arn::elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef",
        "arn:aws:rds:us-east-1:123456789012:cluster:orders",
        " arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef",
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef\n",
    ] {
        assert_eq!(
            binding_problems(json!([with("target_group", bad)])),
            [format!(
                "BINDINGS[0].target_group: {bad:?} is not a target group's ARN, \
                 arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
            )]
        );
    }
}

#[test]
fn a_port_is_a_number_from_1_to_65535() {
    for valid in [1, 5432, 65535] {
        assert_eq!(only_binding(json!([with("port", valid)])).port, Some(valid));
    }
    for bad in [json!(0), json!(65536), json!(-1), json!(54.5), json!("5432"), json!(true), json!([5432])] {
        assert_eq!(
            binding_problems(json!([with("port", bad.clone())])),
            [format!("BINDINGS[0].port: {bad} is not a port from 1 to 65535")]
        );
    }
}

#[test]
fn a_database_that_no_event_can_name_is_refused() {
    for wrong in ["", " ", " orders", "arn:aws:rds:us-east-1:123456789012:db:orders"] {
        assert_eq!(
            binding_problems(json!([with("database", wrong)])),
            [format!(
                "BINDINGS[0].database: {wrong:?} is not the identifier of a cluster or instance, such as orders; or leave it out"
            )]
        );
    }
}

#[test]
fn an_address_is_refused_with_its_final_dot_as_well() {
    for wrong in ["10.0.0.1", "10.0.0.1."] {
        let problems = binding_problems(json!([with("endpoint", wrong)]));
        assert!(problems[0].contains("never follows a failover"), "{problems:?}");
    }
}

#[test]
fn a_role_is_one_of_three() {
    for (name, role) in [("writer", Role::Writer), ("readers", Role::Readers), ("all", Role::All)] {
        let expected = Binding { role, ..Binding::new(ENDPOINT, GROUP) };
        assert_eq!(only_binding(json!([with("role", name)])), expected);
    }
    for role in ["reader", "Writer", ""] {
        let cure = "is not a role; give \"writer\", \"readers\" or \"all\"";
        assert_eq!(
            binding_problems(json!([with("role", role)])),
            [format!("BINDINGS[0].role: {role:?} {cure}")]
        );
    }
}

#[test]
fn only_a_writer_has_a_standby_to_keep() {
    for role in ["readers", "all"] {
        let binding = json!({"endpoint": "orders.abc123.us-east-1.rds.amazonaws.com", "target_group": GROUP, "role": role, "standby": "keep"});
        assert_eq!(
            binding_problems(json!([binding])),
            ["BINDINGS[0].standby: \"keep\" goes with the role \"writer\" alone"]
        );
    }
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let problem = |field: &str| {
        format!(
            "BINDINGS[0].{field}: is not a field of a binding, which has endpoint, target_group, port, database, \
             standby and role"
        )
    };
    for field in ["targetgroup", "Endpoint", "region"] {
        assert_eq!(binding_problems(json!([with(field, "x")])), [problem(field)]);
    }
}

#[test]
fn no_two_bindings_share_a_group() {
    let problem = |index: usize, other: usize| {
        format!(
            "BINDINGS[{index}].target_group: {GROUP} is bound by BINDINGS[{other}] already; two endpoints would \
             fight over it"
        )
    };
    let other = json!({"endpoint": ENDPOINT, "target_group": OTHER_GROUP});
    assert_eq!(binding_problems(json!([with("port", 5432), other, with("port", 6432)])), [problem(2, 0)]);
    assert_eq!(
        binding_problems(json!([with("port", 1), with("port", 2), with("port", 3)])),
        [problem(1, 0), problem(2, 1)]
    );
}

#[test]
fn a_group_that_two_bindings_share_is_reported_beside_their_other_problems() {
    let names: Vec<String> = binding_problems(json!([with("endpoint", "orders"), with("port", 0)]))
        .iter()
        .map(|problem| problem.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["BINDINGS[0].endpoint", "BINDINGS[1].port", "BINDINGS[1].target_group"]);
}

#[test]
fn what_is_no_group_is_not_shared() {
    let binding = with("target_group", "orders");
    let problems = binding_problems(json!([binding, binding]));
    assert!(problems.iter().all(|problem| problem.contains("is not a target group's ARN")), "{problems:?}");
}

#[test]
fn one_endpoint_may_have_several_groups() {
    let other = json!({"endpoint": ENDPOINT, "target_group": OTHER_GROUP});
    assert_eq!(binding_problems(json!([with("port", 5432), other])), [""; 0]);
}

#[test]
fn everything_wrong_comes_in_one_message() {
    let bindings = json!([
        {"endpoint": "orders", "target_group": "orders", "port": 0, "database": "", "role": "any", "region": ""},
        7,
        {"target_group": 7},
    ]);
    let message = parse(&[
        (BINDINGS, &bindings.to_string()),
        (DISCOVERY_TAG, "aws:x"),
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
fn an_identifier_is_about_the_first_label_or_the_database_without_case() {
    let binding = Binding {
        database: Some("Billing".to_owned()),
        ..Binding::new("Orders.cluster-abc123.us-east-1.rds.amazonaws.com", GROUP)
    };
    for identifier in ["orders", "ORDERS", "billing", "BILLING"] {
        assert!(binding.is_about(identifier), "{identifier}");
    }
    for identifier in ["", "orders-1", "order", "cluster-abc123", "rds"] {
        assert!(!binding.is_about(identifier), "{identifier}");
    }
}

fn any_variable() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        BINDINGS,
        DISCOVERY_TAG,
        WATCH_SECONDS,
        POLL_MILLIS,
        CONFIRM_SECONDS,
        NAMESERVERS,
        DRY_RUN,
    ])
}

/// Any text, and often one that is nearly right.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        any::<i128>().prop_map(|number| number.to_string()),
        r#"[0-9a-f.:\[\], ]{0,30}"#,
        r#"[\[\]{}",:a-z0-9 ]{0,30}"#,
        any_bindings().prop_map(|bindings| bindings.to_string()),
    ]
}

fn any_bindings() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec!["endpoint", "target_group", "port", "database", "role", "", "x"]);
    let value = prop_oneof![
        prop::sample::select(vec![json!(null), json!(true), json!([]), json!({}), json!(5432)]),
        prop::sample::select(vec![json!(ENDPOINT), json!(GROUP), json!("writer"), json!("")]),
        any::<String>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let binding = prop::collection::btree_map(field, value, 0..6)
        .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    prop::collection::vec(binding.prop_map(Value::Object), 0..4).prop_map(Value::Array)
}

proptest! {
    #[test]
    fn any_text_in_any_variable_is_taken_or_refused_by_name(name in any_variable(), text in any_text()) {
        for problem in problems(&[(name, &text)]) {
            let rest = problem.strip_prefix(name);
            prop_assert!(rest.is_some_and(|rest| rest.starts_with([':', '['])), "{problem}");
        }
    }

    #[test]
    fn a_config_holds_at_least_one_binding_and_no_group_twice(bindings in any_bindings()) {
        if let Ok(config) = parse(&[(BINDINGS, &bindings.to_string())]) {
            let groups: BTreeMap<_, _> =
                config.bindings.iter().map(|binding| (&binding.target_group, binding)).collect();
            prop_assert!(!groups.is_empty());
            prop_assert_eq!(groups.len(), config.bindings.len());
        }
    }
}

#[test]
fn a_standby_is_kept_for_instances_alone() {
    let of = |endpoint: &str, standby: &str| json!([{"endpoint": endpoint, "target_group": GROUP, "standby": standby}]);
    let instance = "billing.abc123.us-east-1.rds.amazonaws.com";
    assert_eq!(only_binding(of(instance, "keep")).standby, Standby::Keep);
    assert_eq!(only_binding(json!([with("standby", Value::Null)])).standby, Standby::Evict);
    for endpoint in [
        ENDPOINT,
        "Orders.Cluster-RO-abc123.us-east-1.rds.amazonaws.com",
        "world.global-abc.global.rds.amazonaws.com",
    ] {
        let problems = binding_problems(of(endpoint, "keep"));
        assert_eq!(problems, [format!("BINDINGS[0].standby: {KEPT_OF_A_CLUSTER}")], "{endpoint}");
    }
    for other in ["evict", "Keep", "", "warm"] {
        let expected = format!(
            "BINDINGS[0].standby: {other:?} is not \"keep\"; leave it out to evict the writer before"
        );
        assert_eq!(binding_problems(of(instance, other)), [expected]);
    }
    assert_eq!(
        binding_problems(json!([with("standby", true)])),
        ["BINDINGS[0].standby: is a boolean, not a string"]
    );
}

#[test]
fn pre_registration_is_on_unless_it_is_turned_off() {
    for (text, expected) in [("true", true), ("TRUE", true), ("false", false), (" False ", false)] {
        assert_eq!(parse(&[(PREREGISTER, text)]).unwrap().preregister, expected, "{text:?}");
    }
    assert_eq!(problems(&[(PREREGISTER, "off")]), ["PREREGISTER: \"off\" is neither true nor false"]);
}
