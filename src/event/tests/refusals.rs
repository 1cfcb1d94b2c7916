//! What is refused, and how it is told.

use super::*;

#[test]
fn a_foreign_source_without_a_type_is_refused() {
    assert_eq!(
        asks(&json!({"source": "aws.events"})),
        format!(
            "the event from \"aws.events\" (\"without a detail-type\") is not for this function{ACCEPTED}"
        )
    );
}

#[test]
fn an_unknown_command_is_refused_by_name() {
    for command in [json!("apply"), json!("Check"), json!(""), json!(null), json!(7), json!(["check"])] {
        assert_eq!(asks(&json!({"command": command})), format!("the command {command} is unknown{ACCEPTED}"));
    }
}

#[test]
fn an_unknown_command_is_refused_even_beside_a_known_source() {
    assert_eq!(
        asks(&json!({"command": "apply", "source": "aws.rds"})),
        format!("the command \"apply\" is unknown{ACCEPTED}")
    );
}

#[test]
fn an_event_that_is_no_object_is_refused_by_its_text() {
    for event in
        [json!([]), json!([{"command": "check"}]), json!("check"), json!(7), json!(null), json!(true)]
    {
        assert_eq!(asks(&event), format!("the event is not a JSON object ({event}){ACCEPTED}"));
    }
}

#[test]
fn an_event_without_source_and_command_is_refused_by_its_text() {
    for event in [json!({}), json!({"Records": []}), json!({"source": 7}), json!({"source": null})] {
        assert_eq!(asks(&event), format!("the event names no source and no command ({event}){ACCEPTED}"));
    }
}

#[test]
fn an_event_that_is_no_json_is_refused_with_the_reason() {
    assert_eq!(
        UnsupportedEvent::not_json("expected value at line 1 column 1").to_string(),
        format!("the event is not JSON (expected value at line 1 column 1){ACCEPTED}")
    );
}

#[test]
fn a_refusal_quotes_no_more_than_it_needs() {
    let long = "ä".repeat(101);
    let start = "ä".repeat(100);
    let quote = |event: Value| asks(&event).replace(ACCEPTED, "");
    assert_eq!(
        quote(json!({"source": long, "detail-type": long})),
        format!("the event from \"{start}…\" (\"{start}…\") is not for this function")
    );
    assert_eq!(
        quote(json!({"source": start, "detail-type": ""})),
        format!("the event from \"{start}\" (\"\") is not for this function")
    );
    for event in [json!({"command": long}), json!([long]), json!({"x": long})] {
        assert!(quote(event.clone()).len() < 300, "{event}");
    }
    assert!(UnsupportedEvent::not_json(&long).to_string().contains(&format!("({start}…)")));
}
