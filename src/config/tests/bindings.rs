//! What a binding may say.

use super::*;

#[test]
fn bindings_must_be_an_array_of_objects() {
    let not_an_object = "not an object with endpoint and target_group";
    for (bindings, expected) in [
        (json!([]), "BINDINGS: the array is empty. Fix: give at least one binding".to_owned()),
        (
            json!({"endpoint": ENDPOINT}),
            "BINDINGS: is an object, not an array of bindings. Fix: put the bindings between [ and ]"
                .to_owned(),
        ),
        (
            json!("orders"),
            "BINDINGS: is a string, not an array of bindings. Fix: put the bindings between [ and ]"
                .to_owned(),
        ),
        (
            json!(7),
            "BINDINGS: is a number, not an array of bindings. Fix: put the bindings between [ and ]"
                .to_owned(),
        ),
        (
            json!(true),
            "BINDINGS: is a boolean, not an array of bindings. Fix: put the bindings between [ and ]"
                .to_owned(),
        ),
        (
            json!(null),
            "BINDINGS: is null, not an array of bindings. Fix: put the bindings between [ and ]".to_owned(),
        ),
        (json!([ENDPOINT]), format!("BINDINGS[0]: is a string, {not_an_object}")),
        (json!([[]]), format!("BINDINGS[0]: is an array, {not_an_object}")),
        (json!([with("port", 5432), null]), format!("BINDINGS[1]: is null, {not_an_object}")),
    ] {
        assert_eq!(binding_problems(bindings), [expected]);
    }
}

#[test]
fn invalid_json_is_refused_with_its_place() {
    assert_eq!(
        problems(&[(BINDINGS, "[{]")]),
        ["BINDINGS: is not JSON: key must be a string at line 1 column 3"]
    );
}

#[test]
fn missing_fields_are_named() {
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
        assert_eq!(
            only_binding(json!([with(field, Value::Null)])),
            Binding::new(ENDPOINT, GROUP.parse().unwrap())
        );
    }
}

#[test]
fn text_field_refuses_other_types() {
    for field in ["endpoint", "target_group", "role"] {
        for (value, kind) in [(json!(7), "a number"), (json!(["x"]), "an array"), (json!({}), "an object")] {
            assert_eq!(
                binding_problems(json!([with(field, value)])),
                [format!("BINDINGS[0].{field}: is {kind}, not a string")]
            );
        }
    }
}

#[test]
fn endpoint_must_be_fully_qualified() {
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
                "BINDINGS[0].endpoint: {bad:?} is not a fully qualified DNS name. Fix: give the DNS name alone, such \
                 as orders.cluster-….rds.amazonaws.com"
            )]
        );
    }
}

#[test]
fn address_as_endpoint_is_refused() {
    for address in ["10.0.1.10", "fd00::1"] {
        assert_eq!(
            binding_problems(json!([with("endpoint", address)])),
            [format!(
                "BINDINGS[0].endpoint: {address:?} is an address, which never follows a failover. Fix: give the DNS \
                 name alone, such as orders.cluster-….rds.amazonaws.com"
            )]
        );
    }
}

#[test]
fn target_group_must_be_an_arn() {
    for valid in [
        GROUP,
        "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/orders/0123456789abcdef",
        "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:targetgroup/orders/0123456789abcdef",
    ] {
        assert_eq!(only_binding(json!([with("target_group", valid)])).target_group.as_str(), valid);
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
                "BINDINGS[0].target_group: {bad:?} is not a target group's ARN. Fix: give \
                 arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
            )]
        );
    }
}

#[test]
fn port_is_a_number_from_1_to_65535() {
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
fn database_is_one_identifier_or_a_list() {
    for (value, expected) in [
        (json!("orders"), &["orders"][..]),
        (json!(["orders"]), &["orders"]),
        (json!(["orders", "orders-green"]), &["orders", "orders-green"]),
    ] {
        assert_eq!(only_binding(json!([with("database", value)])).databases, expected);
    }
    let identifier = |name: &str| {
        format!(
            "{name:?} is not the identifier of a cluster or instance. Fix: give one such as orders, or leave it out"
        )
    };
    for (value, problem) in [
        (json!([]), "the list is empty. Fix: leave it out".to_owned()),
        (json!(["orders", "a b"]), identifier("a b")),
        (json!("-orders"), identifier("-orders")),
        (json!("orders-"), identifier("orders-")),
        (json!("or--ders"), identifier("or--ders")),
        (json!("o".repeat(64)), identifier(&"o".repeat(64))),
        (json!("orders,billing"), identifier("orders,billing")),
        (json!(["orders", 7]), "is a number, not a string".to_owned()),
        (json!(7), "is a number, not a string or a list of strings".to_owned()),
        (json!({}), "is an object, not a string or a list of strings".to_owned()),
    ] {
        assert_eq!(
            binding_problems(json!([with("database", value)])),
            [format!("BINDINGS[0].database: {problem}")]
        );
    }
}

#[test]
fn database_tag_is_a_list_with_spaces_or_commas() {
    let tagged = |value: &str| {
        from_tags(ENDPOINT, GROUP, [("database".to_owned(), value.to_owned())].into())
            .map(|binding| binding.databases)
            .map_err(|problems| problems.iter().map(|problem| problem.field.clone()).collect::<Vec<_>>())
    };
    assert_eq!(tagged("orders"), Ok(vec!["orders".to_owned()]));
    assert_eq!(tagged("orders, orders-green"), Ok(vec!["orders".to_owned(), "orders-green".to_owned()]));
    assert_eq!(tagged("orders orders-green"), tagged("orders, orders-green"));
    for wrong in ["", "orders,", "a_b"] {
        assert_eq!(tagged(wrong), Err(vec!["database".to_owned()]), "{wrong:?}");
    }
}

#[test]
fn reader_endpoint_is_refused_for_the_role_writer() {
    let reader = "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com";
    let binding = |role: Value| json!([{"endpoint": reader, "target_group": GROUP, "role": role}]);
    for role in [json!(null), json!("writer")] {
        assert_eq!(
            binding_problems(binding(role)),
            [format!(
                "BINDINGS[0].endpoint: {reader:?} is a cluster's reader endpoint, which gives one reader at a time and \
                 not the writer. Fix: give the writer endpoint (ID.cluster-….rds.amazonaws.com), or set role to \
                 \"readers\""
            )]
        );
    }
    for (role, expected) in [("readers", Role::Readers), ("all", Role::All)] {
        assert_eq!(only_binding(binding(json!(role))).role, expected);
    }
    assert_eq!(binding_problems(binding(json!("reader"))).len(), 1, "the role alone is wrong");
    let problems = from_tags(reader, GROUP, BTreeMap::new()).unwrap_err();
    assert_eq!(problems[0].field, "endpoint");
}

#[test]
fn invalid_database_identifier_is_refused() {
    for wrong in ["", " ", " orders", "arn:aws:rds:us-east-1:123456789012:db:orders"] {
        assert_eq!(
            binding_problems(json!([with("database", wrong)])),
            [format!(
                "BINDINGS[0].database: {wrong:?} is not the identifier of a cluster or instance. Fix: give one \
                 such as orders, or leave it out"
            )]
        );
    }
}

#[test]
fn address_with_a_final_dot_is_refused() {
    for wrong in ["10.0.0.1", "10.0.0.1."] {
        let problems = binding_problems(json!([with("endpoint", wrong)]));
        assert!(problems[0].contains("never follows a failover"), "{problems:?}");
    }
}

#[test]
fn role_is_writer_readers_or_all() {
    for (name, role) in [("writer", Role::Writer), ("readers", Role::Readers), ("all", Role::All)] {
        let expected = Binding { role, ..Binding::new(ENDPOINT, GROUP.parse().unwrap()) };
        assert_eq!(only_binding(json!([with("role", name)])), expected);
    }
    for role in ["reader", "Writer", ""] {
        let fix = "is not a role. Fix: give \"writer\", \"readers\" or \"all\"";
        assert_eq!(
            binding_problems(json!([with("role", role)])),
            [format!("BINDINGS[0].role: {role:?} {fix}")]
        );
    }
}

#[test]
fn standby_goes_with_the_role_writer_alone() {
    for role in ["readers", "all"] {
        let binding = json!({"endpoint": "orders.abc123.us-east-1.rds.amazonaws.com", "target_group": GROUP, "role": role, "standby": "keep"});
        assert_eq!(
            binding_problems(json!([binding])),
            [
                "BINDINGS[0].standby: \"keep\" goes with the role \"writer\" alone. Fix: leave \"standby\" or \"role\" out"
            ]
        );
    }
}

#[test]
fn unknown_field_is_refused_by_name() {
    let problem = |field: &str| {
        format!(
            "BINDINGS[0].{field}: is not a field of a binding. Fix: use only endpoint, target_group, port, \
             database, role and standby"
        )
    };
    for field in ["targetgroup", "Endpoint", "region"] {
        assert_eq!(binding_problems(json!([with(field, "x")])), [problem(field)]);
    }
}

#[test]
fn target_group_of_two_bindings_is_refused() {
    let problem = |index: usize, other: usize| {
        format!(
            "BINDINGS[{index}].target_group: {GROUP} is bound by BINDINGS[{other}] already. Fix: bind each target \
             group to one endpoint"
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
fn shared_target_group_is_reported_with_other_problems() {
    let names: Vec<String> = binding_problems(json!([with("endpoint", "orders"), with("port", 0)]))
        .iter()
        .map(|problem| problem.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["BINDINGS[0].endpoint", "BINDINGS[1].port", "BINDINGS[1].target_group"]);
}

#[test]
fn invalid_target_group_is_not_reported_as_shared() {
    let binding = with("target_group", "orders");
    let problems = binding_problems(json!([binding, binding]));
    assert!(problems.iter().all(|problem| problem.contains("is not a target group's ARN")), "{problems:?}");
}

#[test]
fn endpoint_may_have_several_target_groups() {
    let other = json!({"endpoint": ENDPOINT, "target_group": OTHER_GROUP});
    assert_eq!(binding_problems(json!([with("port", 5432), other])), [""; 0]);
}

#[test]
fn identifier_matches_first_label_or_database_without_case() {
    let binding = Binding {
        databases: vec!["Billing".to_owned(), "sales".to_owned()],
        ..Binding::new("Orders.cluster-abc123.us-east-1.rds.amazonaws.com", GROUP.parse().unwrap())
    };
    for identifier in ["orders", "ORDERS", "billing", "BILLING", "Sales"] {
        assert!(binding.is_about(identifier), "{identifier}");
    }
    for identifier in ["", "orders-1", "order", "cluster-abc123", "rds"] {
        assert!(!binding.is_about(identifier), "{identifier}");
    }
}

#[test]
fn standby_is_refused_for_clusters() {
    let of = |endpoint: &str, standby: &str| json!([{"endpoint": endpoint, "target_group": GROUP, "standby": standby}]);
    let instance = "billing.abc123.us-east-1.rds.amazonaws.com";
    assert_eq!(only_binding(of(instance, "keep")).standby, StandbyPolicy::Keep);
    assert_eq!(only_binding(json!([with("standby", Value::Null)])).standby, StandbyPolicy::Deregister);
    for endpoint in [
        ENDPOINT,
        "Orders.Cluster-RO-abc123.us-east-1.rds.amazonaws.com",
        "world.global-abc.global.rds.amazonaws.com",
    ] {
        let problem = format!("BINDINGS[0].standby: {NO_STANDBY_IN_A_CLUSTER}");
        assert!(binding_problems(of(endpoint, "keep")).contains(&problem), "{endpoint}");
    }
    for other in ["deregister", "Keep", "", "warm"] {
        let expected = format!(
            "BINDINGS[0].standby: {other:?} is not \"keep\". Fix: leave it out to deregister the previous writer"
        );
        assert_eq!(binding_problems(of(instance, other)), [expected]);
    }
    assert_eq!(
        binding_problems(json!([with("standby", true)])),
        ["BINDINGS[0].standby: is a boolean, not a string"]
    );
}
