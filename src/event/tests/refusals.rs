//! Refused events, and their messages.

use super::*;

#[test]
fn event_without_a_type_is_refused() {
    assert_eq!(
        asks(&json!({"source": "aws.events"})),
        format!(
            "the event from \"aws.events\" (\"without a detail-type\") is not for this function{ACCEPTED}"
        )
    );
}

#[test]
fn unknown_command_is_refused_by_name() {
    for command in [json!("apply"), json!("Check"), json!(""), json!(null), json!(7), json!(["check"])] {
        assert_eq!(asks(&json!({"command": command})), format!("the command {command} is unknown{ACCEPTED}"));
    }
}

#[test]
fn unknown_command_with_a_known_source_is_refused() {
    assert_eq!(
        asks(&json!({"command": "apply", "source": "aws.rds"})),
        format!("the command \"apply\" is unknown{ACCEPTED}")
    );
}

#[test]
fn event_that_is_no_object_is_quoted() {
    for event in
        [json!([]), json!([{"command": "check"}]), json!("check"), json!(7), json!(null), json!(true)]
    {
        assert_eq!(asks(&event), format!("the event is not a JSON object ({event}){ACCEPTED}"));
    }
}

#[test]
fn event_without_source_and_command_is_quoted() {
    for event in [json!({}), json!({"Records": []}), json!({"source": 7}), json!({"source": null})] {
        assert_eq!(asks(&event), format!("the event names no source and no command ({event}){ACCEPTED}"));
    }
}

#[test]
fn text_that_is_not_json_is_refused_with_the_reason() {
    for (body, reason) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{\"command\": \"chec", "EOF while parsing a string at line 1 column 17"),
        ("{} and more", "trailing characters at line 1 column 4"),
    ] {
        let refused = Event::parse(body).unwrap_err().to_string();
        assert_eq!(refused, format!("the event is not JSON ({reason}){ACCEPTED}"));
    }
}

#[test]
fn refusal_quotes_briefly() {
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
}
