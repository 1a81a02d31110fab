use crate::sse::{Tail, last_event_end, usage_only_event};

#[test]
fn an_event_ends_behind_its_blank_line_whatever_ends_its_lines() {
    let cases: [(&[u8], Option<usize>); 12] = [
        (b"", None),
        (b"data: a", None),
        (b"data: a\n", None),
        (b"data: a\n\n", Some(9)),
        (b"data: a\r\r", Some(9)),
        (b"data: a\r\n\r\n", Some(11)),
        (b"data: a\n\r\n", Some(10)),
        (b"data: a\r\n\r", Some(10)),
        (b"data: a\n\ndata: b\n", Some(9)),
        (b"data: a\n\ndata: b", Some(9)),
        (b"data: a\r\n\r\ndata: b\r\n", Some(11)),
        (b"\ndata: a", Some(1)),
    ];
    for (payload, end) in cases {
        assert_eq!(last_event_end(payload), end, "{}", payload.escape_ascii());
    }
}

/// Goal: whether something may be put in does not depend on reads. Method: each stream in one piece and in two, cut everywhere.
#[test]
fn a_tail_knows_where_no_event_and_no_line_is_open() {
    let cases: [(&[u8], bool, bool); 12] = [
        (b"", true, true),
        (b"d", false, false),
        (b"data: a", false, false),
        (b"data: a\n", false, true),
        (b"data: a\r\n", false, true),
        (b"data: a\r", false, true),
        (b"data: a\n\n", true, true),
        (b"data: a\r\n\r\n", true, true),
        (b"data: a\r\r", true, true),
        (b"data: a\n\r\n", true, true),
        (b"data: a\n\ndata: b\n", false, true),
        (b"\n", true, true),
    ];
    for (stream, events, lines) in cases {
        for cut in 0..=stream.len() {
            let mut tail = Tail::default();
            tail.feed(&stream[..cut]);
            tail.feed(&stream[cut..]);
            let found = (tail.is_between_events(), tail.is_between_lines());
            assert_eq!(found, (events, lines), "{} cut at {cut}", stream.escape_ascii());
        }
    }
}

const USAGE: &str = r#"data: {"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

#[test]
fn the_event_that_only_carries_usage_is_found_among_others() {
    let delta = r#"data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}"#;
    for end in ["\n", "\r\n", "\r"] {
        let before = format!(": keep-alive{end}{end}{delta}{end}{end}");
        let event = format!("{USAGE}{end}{end}");
        let payload = format!("{before}{event}data: [DONE]{end}{end}");
        assert_eq!(usage_only_event(payload.as_bytes()), Some(before.len()..before.len() + event.len()));
    }
}

#[test]
fn events_that_say_more_than_usage_are_left_alone() {
    for event in [
        r#"data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#,
        r#"data: {"choices":[],"usage":null}"#,
        r#"data: {"choices":[],"x":{"usage":{}}}"#,
        r#"data: {"x":{"choices":[]},"usage":{}}"#,
        r#"data: {"usage":{"choices":[]}}"#,
        r#"data: {"choices":[],"prompt_filter_results":["\"usage\":{}"]}"#,
        r#"event: {"choices":[],"usage":{}}"#,
        r#": {"choices":[],"usage":{}}"#,
        "data: {\"choices\":[],\ndata: \"usage\":{}}",
        r#"data: {"choices":[],"usage":{},"x":"#,
        "data: [DONE]",
    ] {
        let payload = format!("{event}\n\n");
        let found = usage_only_event(payload.as_bytes());
        assert_eq!(found, None, "{event}");
    }
    assert_eq!(usage_only_event(format!("{USAGE}\n").as_bytes()), None, "not whole yet");
}
