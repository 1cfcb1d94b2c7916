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
fn unknown_key_of_a_command_is_refused_by_name() {
    for (event, reason) in [
        (
            json!({"command": "plan", "note": "before the resize"}),
            "unknown field `note`, expected `command` or `binding`",
        ),
        (json!({"command": "check", "Binding": "orders"}), "unknown field `Binding`"),
        (json!({"command": "check", "source": "aws.rds"}), "unknown field `source`"),
        (json!({"command": "check", "binding": 7}), "invalid type: integer `7`, expected a string"),
    ] {
        let refused = asks(&event);
        let name = &event["command"];
        assert!(refused.starts_with(&format!("the command {name} cannot be read (")), "{refused}");
        assert!(refused.contains(reason) && refused.ends_with(ACCEPTED), "{refused}");
    }
}

#[test]
fn event_that_is_no_object_is_quoted() {
    for event in [json!("yesterday"), json!(7), json!(null), json!(true)] {
        assert_eq!(asks(&event), format!("the event is not a JSON object ({event}){ACCEPTED}"));
    }
}

#[test]
fn command_as_a_text_is_refused_with_the_right_form() {
    for name in ["check", "plan", "doctor"] {
        let expected =
            format!("the event is the text {name:?}; a command is {{\"command\": {name:?}}}{ACCEPTED}");
        assert_eq!(asks(&json!(name)), expected);
    }
}

#[test]
fn event_without_source_and_command_is_quoted() {
    for event in [json!({}), json!({"source": 7}), json!({"source": null}), json!({"detail-type": "x"})] {
        assert_eq!(asks(&event), format!("the event names no source and no command ({event}){ACCEPTED}"));
    }
}

#[test]
fn batch_without_any_event_is_refused() {
    for event in [json!([]), json!({"Records": []})] {
        assert_eq!(asks(&event), format!("the event holds no records{ACCEPTED}"));
    }
    assert_eq!(asks(&json!([{"command": "check"}])), format!("a record cannot be a command{ACCEPTED}"));
    let none = asks(&json!([7, {"source": "aws.s3"}, {}]));
    assert_eq!(
        none,
        format!("none of 3 records is an event; the first: the event is not a JSON object (7){ACCEPTED}")
    );
    for odd in [json!({"Records": 7}), json!({"Records": null}), json!({"Records": {"a": 1}})] {
        assert!(asks(&odd).starts_with("the records cannot be read ("), "{odd}");
    }
}

#[test]
fn oversized_event_is_refused() {
    let padded = |bytes: usize| json!({"source": "aws.rds", "detail-type": "x".repeat(bytes)});
    assert_eq!(asks(&padded(1000 * 1000)), "check");
    let refused = asks(&padded(1 << 20));
    assert!(refused.contains("and the maximum is 1048576"), "{refused}");
    let batch =
        |records: usize| json!({"Records": vec![json!({"body": padded(1 << 19).to_string()}); records]});
    assert_eq!(asks(&batch(10)), "check");
    let refused = asks(&batch(13));
    assert!(refused.contains("and the maximum is 6291456"), "{refused}");
    let one_too_large = json!([samples()["cluster-failover-completed.json"], padded(1 << 20)]);
    assert_eq!(asks(&one_too_large), "watch orders");
}

#[test]
fn event_and_batch_of_the_largest_size_are_accepted() {
    let padded = |bytes: usize| {
        let empty = json!({"source": "aws.rds", "note": ""}).to_string().len();
        json!({"source": "aws.rds", "note": "x".repeat(bytes - empty)})
    };
    assert_eq!(asks(&padded(1 << 20)), "check");
    assert!(asks(&padded((1 << 20) + 1)).starts_with("the event has 1048577 bytes"));
    assert_eq!(asks(&json!([padded(1 << 20)])), "check");
    assert!(asks(&json!([padded((1 << 20) + 1)])).starts_with("the event has 1048577 bytes"));
    let batch = |bytes: usize| {
        let mut records = vec![padded(1 << 19); 12];
        let length = json!(records).to_string().len();
        records[11] = padded((1 << 19) + bytes - length);
        json!(records)
    };
    assert_eq!(asks(&batch(6 << 20)), "check");
    assert!(asks(&batch((6 << 20) + 1)).starts_with("the event has 6291457 bytes"));
}

#[test]
fn records_beside_a_source_or_a_command_are_no_batch() {
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event", "Records": []});
    assert_eq!(asks(&schedule), "check");
    assert!(asks(&json!({"command": "check", "Records": []})).contains("unknown field `Records`"));
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
    for event in [
        json!({"command": long}),
        json!([long]),
        json!([[long]]),
        json!({"x": long}),
        json!([{"body": long}]),
    ] {
        assert!(quote(event.clone()).len() < 400, "{event}");
    }
}
