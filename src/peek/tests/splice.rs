use crate::peek::{Edits, JsonPeek, splice};

fn spliced(body: &str, upstream_model: Option<&str>, inject_usage: bool) -> String {
    let mut peek = JsonPeek::new();
    peek.feed(body.as_bytes()).unwrap();
    peek.finish().unwrap();
    let mut out = Vec::new();
    splice(body.as_bytes(), &peek, upstream_model, inject_usage, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_model_is_renamed_and_nothing_else_moves() {
    assert_eq!(
        spliced(r#"{"t":1e3, "mod\u0065l" : "a\u0062" ,"z":[ 1.0 ]}"#, Some("b\"\\\n/é"), false),
        r#"{"t":1e3, "mod\u0065l" : "b\"\\\u000a/é" ,"z":[ 1.0 ]}"#
    );
}

#[test]
fn the_usage_event_is_asked_for_wherever_the_options_stand() {
    let cases = [
        ("{}", r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{ "a":1 }"#, r#"{ "a":1 ,"stream_options":{"include_usage":true}}"#),
        (r#"{"stream_options": null}"#, r#"{"stream_options": {"include_usage":true}}"#),
        (r#"{"stream_options":{ }}"#, r#"{"stream_options":{"include_usage":true }}"#),
        (r#"{"stream_options":{"x":{}}}"#, r#"{"stream_options":{"include_usage":true,"x":{}}}"#),
        (r#"{"stream_options":{"include_usage": false }}"#, r#"{"stream_options":{"include_usage": true }}"#),
        (r#"{"stream_options":{"include_usage":null}}"#, r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{"stream_options":{"include_usage":true}}"#, r#"{"stream_options":{"include_usage":true}}"#),
    ];
    for (body, wanted) in cases {
        assert_eq!(spliced(body, None, true), wanted, "{body}");
        assert_eq!(spliced(body, None, false), body);
    }
}

#[test]
fn both_edits_are_made_in_either_order() {
    assert_eq!(
        spliced(r#"{"stream_options":{},"model":"a"}"#, Some("b"), true),
        r#"{"stream_options":{"include_usage":true},"model":"b"}"#
    );
    assert_eq!(
        spliced(r#"{"model":"a","stream_options":{}}"#, Some("longer"), true),
        r#"{"model":"longer","stream_options":{"include_usage":true}}"#
    );
}

#[test]
fn a_body_that_says_it_already_needs_no_edit() {
    let mut peek = JsonPeek::new();
    peek.feed(br#"{"model":"a","stream_options":{"include_usage":true}}"#).unwrap();
    assert!(Edits::of(&peek, Some("a"), true).is_empty());
    assert!(!Edits::of(&peek, Some("b"), true).is_empty());
    assert!(Edits::of(&JsonPeek::new(), Some("b"), true).is_empty(), "an unread body");
}

#[test]
fn the_model_can_be_renamed_before_the_body_is_whole_and_the_options_cannot() {
    let front = br#"{"model":"a","messages":["#;
    let mut peek = JsonPeek::new();
    peek.feed(front).unwrap();
    let mut out = Vec::new();
    splice(front, &peek, Some("bc"), true, &mut out);
    assert_eq!(out, br#"{"model":"bc","messages":["#);

    assert!(peek.feed(b"}").is_err());
    assert!(Edits::of(&peek, Some("bc"), true).is_empty(), "a refused body goes nowhere");
}
