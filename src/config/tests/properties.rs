//! What holds for any text in any variable.

use proptest::prelude::*;

use super::*;

fn any_variable() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        BINDINGS,
        DISCOVERY_TAG,
        DISCOVERY_ENDPOINTS,
        "HTTPS_PROXY",
        "AWS_ENDPOINT_URL",
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
    fn any_text_is_accepted_or_refused_by_variable(name in any_variable(), text in any_text()) {
        for problem in problems(&[(name, &text)]) {
            let rest = problem.strip_prefix(name);
            prop_assert!(rest.is_some_and(|rest| rest.starts_with([':', '['])), "{problem}");
        }
    }

    #[test]
    fn accepted_bindings_have_distinct_target_groups(bindings in any_bindings()) {
        if let Ok(config) = parse(&[(BINDINGS, &bindings.to_string())]) {
            let groups: BTreeMap<_, _> =
                config.bindings.iter().map(|binding| (&binding.target_group, binding)).collect();
            prop_assert!(!groups.is_empty());
            prop_assert_eq!(groups.len(), config.bindings.len());
        }
    }
}
