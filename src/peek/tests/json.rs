use crate::peek::{DEPTH_MAX, JsonPeek, NAME_BYTES_MAX, PeekError};

/// Everything a peek says, to compare two of them.
type Said = (
    Result<(), PeekError>,
    Option<Vec<u8>>,
    Option<std::ops::Range<u64>>,
    (Option<bool>, Option<bool>, Option<u64>),
    Option<std::ops::Range<u64>>,
    (Option<u64>, bool, bool),
);

fn said(segments: &[&[u8]]) -> Said {
    said_by(&mut JsonPeek::new(), segments)
}

fn said_by(peek: &mut JsonPeek, segments: &[&[u8]]) -> Said {
    for segment in segments {
        let _ = peek.feed(segment);
    }
    let verdict = peek.finish();
    if verdict.is_err() {
        // What was read before the fault is nobody's business.
        return (verdict, None, None, (None, None, None), None, (None, false, false));
    }
    (
        verdict,
        peek.model().map(<[u8]>::to_vec),
        peek.model_span(),
        (peek.stream(), peek.include_usage(), peek.max_tokens()),
        peek.stream_options_span(),
        (peek.insert_at(), peek.is_empty_object(), peek.complete()),
    )
}

fn fault(body: impl AsRef<[u8]>) -> PeekError {
    said(&[body.as_ref()]).0.expect_err("a refused body")
}

fn read(body: &str) -> JsonPeek {
    let mut peek = JsonPeek::new();
    peek.feed(body.as_bytes()).unwrap();
    peek.finish().unwrap();
    peek
}

const CHAT: &str = r#"{"model":"llama3","messages":[{"role":"user","content":"say \"model\": \"x\" {["}],
    "stream" : true, "stream_options":{"include_usage":false,"x":[]},"max_tokens":12,"temperature":-0.5e-3,"n":null}"#;

/// Bodies of every shape, right and wrong, for the split tests.
const BODIES: &[&str] = &[
    CHAT,
    "{}",
    " \t\r\n{ } \n",
    r#"{"model":""}"#,
    r#"{"model":"m\u006fdel\ud83d\ude00\n","mod\u0065ls":1}"#,
    r#"{"m\u006fdel":"é"}"#,
    r#"{"model":"a","mod\u0065l":"b"}"#,
    r#"{"model":"a","Model":"b"}"#,
    r#"{"model":"\ud83d"}"#,
    r#"{"model":"a\\"}"#,
    r#"{"x":"\\\\\\\"","model":"a\\\"b"}"#,
    r#"{"stream_options":null,"stream":null,"max_completion_tokens":5,"max_tokens":1e3}"#,
    r#"{"stream_options":{},"max_tokens":99999999999999999999}"#,
    r#"{"stream_options":{"include_usage":true},"max_tokens":0}"#,
    r#"{"a":{"stream_options":{"include_usage":true},"model":1},"stream":false}"#,
    r#"{"a":[true,false,null,0,-1,1.5,2e+7,[],{},""]}"#,
    r#"{"model":7}"#,
    r#"{"stream":"true"}"#,
    r#"{"a":tru}"#,
    r#"{"a":01}"#,
    r#"{"a":1.}"#,
    r#"{"a":1,}"#,
    r#"{"a":[1,]}"#,
    r#"{"a":[1}"#,
    r#"{"a" 1}"#,
    r#"{"a":1}}"#,
    r#"{"a":1"#,
    r#"{"a":"\"#,
    "[]",
    "",
];

#[test]
fn members_of_the_outermost_object_are_read_and_text_that_looks_like_them_is_not() {
    let peek = read(CHAT);
    assert_eq!(peek.model(), Some(&b"llama3"[..]));
    assert_eq!(peek.model_span(), Some(9..17));
    assert_eq!(peek.stream(), Some(true));
    assert_eq!(peek.include_usage(), Some(false));
    assert_eq!(peek.max_tokens(), Some(12));
    let options = peek.stream_options_span().unwrap();
    assert_eq!(&CHAT[options.start as usize..options.end as usize], r#"{"include_usage":false,"x":[]}"#);
    assert_eq!(peek.insert_at(), Some(CHAT.len() as u64 - 1));
    assert!(peek.complete() && !peek.is_empty_object());
}

/// Goal: segments may cut the body anywhere. Method: every body cut in two at every byte, cut into
/// single bytes, and fed with empty segments says what the whole says.
#[test]
fn the_verdict_does_not_depend_on_where_segments_cut_the_body() {
    for body in BODIES.iter().map(|body| body.as_bytes()) {
        let whole = said(&[body]);
        for cut in 0..=body.len() {
            assert_eq!(
                said(&[&body[..cut], b"", &body[cut..]]),
                whole,
                "{} cut at {cut}",
                body.escape_ascii()
            );
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(said(&bytes), whole, "{} byte by byte", body.escape_ascii());
    }
}

#[test]
fn escaped_keys_and_names_count_as_what_they_say() {
    let peek = read(r#"{"mod\u0065l":"\u0067pt\/4 \u00e9\ud83d\ude00","\u0073tream":true}"#);
    assert_eq!(peek.model(), Some("gpt/4 é😀".as_bytes()));
    assert_eq!(peek.stream(), Some(true));
}

#[test]
fn a_member_given_twice_is_refused_however_it_is_spelled() {
    for twice in [
        r#"{"model":"a","model":"a"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"stream":true,"stream":true}"#,
        r#"{"stream_options":{},"stream_options":{}}"#,
        r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#,
        r#"{"max_tokens":1,"max_tokens":2}"#,
    ] {
        assert_eq!(fault(twice), PeekError::DuplicateKey, "{twice}");
    }
    read(r#"{"model":"a","x":{"model":"b","stream":1},"y":1,"y":2,"include_usage":1,"include_usage":2}"#);
}

#[test]
fn a_member_in_another_case_is_refused_because_some_upstreams_would_take_it() {
    for odd in [
        r#"{"Model":"a"}"#,
        r#"{"model":"a","MODEL":"b"}"#,
        r#"{"\u004dodel":"a"}"#,
        "{\"\u{17f}tream\":true}",
        "{\"max_to\u{212a}ens\":1}",
        r#"{"max_to\u212aens":1}"#,
        r#"{"stream_options":{"Include_Usage":true}}"#,
    ] {
        assert_eq!(fault(odd), PeekError::AmbiguousKey, "{odd}");
    }
    read(r#"{"Models":"a","x":{"Model":"a"},"Messages":[]}"#);
}

#[test]
fn values_of_another_type_are_refused() {
    for value in ["1", "null", "true", "[]", "{}", "[\"a\"]"] {
        assert_eq!(fault(format!(r#"{{"model":{value}}}"#)), PeekError::ModelNotText, "{value}");
    }
    for member in ["stream", "stream_options"] {
        for value in ["1", "\"true\"", "[]"] {
            assert_eq!(fault(format!(r#"{{"{member}":{value}}}"#)), PeekError::WrongType, "{member} {value}");
        }
    }
    assert_eq!(fault(r#"{"stream_options":{"include_usage":1}}"#), PeekError::WrongType);
}

#[test]
fn a_name_may_have_256_bytes_and_no_more() {
    let longest = "n".repeat(NAME_BYTES_MAX);
    assert_eq!(read(&format!(r#"{{"model":"{longest}"}}"#)).model(), Some(longest.as_bytes()));
    assert_eq!(fault(format!(r#"{{"model":"{longest}n"}}"#)), PeekError::ModelTooLong);
    assert_eq!(fault(format!(r#"{{"model":"{longest}{longest}{longest}"#)), PeekError::ModelTooLong);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: u32| {
        let inner = depth as usize - 1;
        format!(r#"{{"a":{}{}}}"#, "[".repeat(inner), "]".repeat(inner))
    };
    read(&nested(DEPTH_MAX));
    assert_eq!(fault(nested(DEPTH_MAX + 1)), PeekError::TooDeep);
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    for other in ["[]", "\"model\"", "1", "-1", "true", "null"] {
        assert_eq!(fault(other), PeekError::NotAnObject, "{other}");
    }
    for broken in [
        "\u{feff}{}",
        "model=a",
        "<x>",
        "}",
        r#"{"a":1 "b":2}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{a:1}"#,
        "{'a':1}",
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":-}"#,
        r#"{"a":1e}"#,
        r#"{"a":0x1}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[,]}"#,
        r#"{"a":[1}]"#,
        r#"{"a":{]}"#,
        r#"{"a":[}}"#,
        r#"{"a":nul}"#,
        r#"{"a":/*x*/1}"#,
        "{}{}",
        "{} x",
        "{}\0",
        "{\"mo\u{0}del\":1}",
        r#"{"mod\xel":1}"#,
        r#"{"mod\u00gel":1}"#,
        r#"{"model":"\ud800"}"#,
        r#"{"model":"\ude00\ud83d"}"#,
        "{\"model\":\"a\nb\"}",
    ] {
        assert_eq!(fault(broken), PeekError::Malformed, "{broken:?}");
    }
    assert_eq!(fault(b"{\"model\":\"\xff\"}"), PeekError::Malformed);
    assert_eq!(fault(b"{\"mod\xffel\":1}"), PeekError::Malformed);
}

#[test]
fn a_body_that_ends_early_is_refused_at_every_byte() {
    let body = CHAT.as_bytes();
    for cut in 0..body.len() {
        assert_eq!(fault(&body[..cut]), PeekError::Truncated, "cut at {cut}");
    }
}

#[test]
fn a_fault_stays() {
    let mut peek = JsonPeek::new();
    assert_eq!(peek.feed(b"["), Err(PeekError::NotAnObject));
    assert_eq!(peek.feed(b"{}"), Err(PeekError::NotAnObject));
    assert_eq!(peek.finish(), Err(PeekError::NotAnObject));
    assert!(!peek.complete());
}

/// Goal: nothing of one caller's body is left for the next. Method: one that was cut anywhere, then another, also without members.
#[test]
fn a_restarted_peek_says_what_a_new_one_says() {
    let before = r#"{"max_tokens":7,"stream_options":{"include_usage":true},"stream":true,"max_completion_tokens":9,"model":"a\u0062c"}"#;
    let mut peek = JsonPeek::new();
    for cut in 0..=before.len() {
        for body in ["{}", CHAT, r#"{"model":"z"}"#, "[", r#"{"mod"#] {
            peek.restart();
            let _ = peek.feed(&before.as_bytes()[..cut]);
            peek.restart();
            assert_eq!(
                said_by(&mut peek, &[body.as_bytes()]),
                said(&[body.as_bytes()]),
                "{body} behind {cut} bytes"
            );
        }
    }
}
