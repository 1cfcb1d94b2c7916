//! Properties of any event.

use proptest::prelude::*;

use super::*;

/// Any JSON, and often what looks like an event.
fn any_json() -> impl Strategy<Value = Value> {
    let name = || {
        prop::sample::select(vec![
            "source",
            "detail-type",
            "detail",
            "resources",
            "command",
            "EventCategories",
            "SourceArn",
            "Records",
            "Sns",
            "body",
            "TopicArn",
            "Event Source",
        ])
    };
    let text = prop::sample::select(vec![
        "aws.rds",
        "aws.events",
        "Scheduled Event",
        "failover",
        "check",
        "arn:aws:rds:us-east-1:123456789012:cluster:orders",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let field = (prop_oneof![4 => name().prop_map(str::to_owned), 1 => any::<String>()], inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            prop::collection::vec(field, 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An event from RDS, with any JSON for what it says.
fn any_rds_event() -> impl Strategy<Value = Value> {
    (any_json(), any_json(), any_json()).prop_map(|(arn, categories, resources)| {
        json!({
            "source": "aws.rds",
            "detail-type": "RDS DB Cluster Event",
            "resources": resources,
            "detail": {"SourceArn": arn, "EventCategories": [categories]},
        })
    })
}

proptest! {
    #[test]
    fn any_json_is_parsed_or_refused_in_full(event in any_json()) {
        match Event::parse(&event.to_string()) {
            Ok(_) => {}
            Err(unsupported) => {
                let message = unsupported.to_string();
                prop_assert!(message.ends_with(ACCEPTED));
                // Each character quoted may be escaped.
                prop_assert!(message.len() < ACCEPTED.len() + 2500, "{} bytes", message.len());
            }
        }
    }

    #[test]
    fn any_event_of_rds_is_watched_or_checked(event in any_rds_event()) {
        let event = Event::parse(&event.to_string()).expect("an event of RDS");
        match decide_request(&event, &bindings(), &ClusterByInstance::new(), SystemTime::UNIX_EPOCH) {
            Request::Watch(about) => {
                prop_assert_eq!(about.iter().map(|watched| watched.index).collect::<Vec<_>>(), [0]);
            }
            other => prop_assert_eq!(other, Request::Check(Default::default())),
        }
    }

    #[test]
    fn any_text_is_quoted_briefly(text in any::<String>()) {
        let quoted = brief(&text);
        prop_assert!(quoted == text || quoted.chars().count() == 101);
        prop_assert!(text.starts_with(quoted.trim_end_matches('…')));
    }
}
