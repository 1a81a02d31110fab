//! Any bytes are judged the same however they are cut, and as `serde_json` judges them; a splice changes what it should.

use cube_proxy::peek::{JsonPeek, PeekError, splice};
use serde_json::Value;

/// Fails if a body could crash the peek, or mean something else to it than to another parser.
pub(crate) fn check(input: &[u8]) {
    let (verdict, peek) = read(std::iter::once(input));
    for size in [1, 7] {
        let (cut_verdict, cut) = read(input.chunks(size));
        assert_eq!(cut_verdict, verdict, "in pieces of {size}");
        if verdict.is_ok() {
            assert_eq!(said(&cut), said(&peek), "in pieces of {size}");
        }
    }
    let parsed = serde_json::from_slice::<Value>(input);
    match (verdict, parsed) {
        (Ok(()), Ok(value)) => {
            assert_eq!(peek.model(), value.get("model").and_then(Value::as_str).map(str::as_bytes));
            assert_eq!(peek.stream(), value.get("stream").and_then(Value::as_bool));
            let options = value.get("stream_options");
            assert_eq!(peek.stream_options_span().is_some(), options.is_some());
            let include = options.and_then(|options| options.get("include_usage"));
            assert_eq!(peek.include_usage(), include.and_then(Value::as_bool));
            check_splice(input, &peek, value);
        }
        (Ok(()), Err(fault)) => {
            // What stands inside strings that nobody here reads, and numbers that do not fit a float.
            let fault = fault.to_string();
            let inside = ["control character", "escape", "surrogate", "unicode", "out of range", "recursion"];
            let named = inside.iter().any(|inside| fault.contains(inside));
            // An escape without its four digits is called an early end.
            let digits =
                fault.contains("EOF while parsing a string") && input.windows(2).any(|two| two == b"\\u");
            assert!(named || digits, "accepted what is not JSON: {fault}");
        }
        (Err(PeekError::Malformed | PeekError::Truncated), Ok(_)) => panic!("refused JSON"),
        (Err(PeekError::NotAnObject), Ok(value)) => assert!(!value.is_object()),
        (Err(_), _) => {}
    }
}

fn check_splice(input: &[u8], peek: &JsonPeek, mut wanted: Value) {
    let mut out = Vec::new();
    splice(input, peek, Some("an \"other\" model"), true, &mut out);
    let members = wanted.as_object_mut().expect("the peek accepts objects only");
    if let Some(model) = members.get_mut("model") {
        *model = Value::from("an \"other\" model");
    }
    let options = members.entry("stream_options").or_insert(Value::Null);
    if options.is_null() {
        *options = Value::Object(serde_json::Map::new());
    }
    options["include_usage"] = Value::Bool(true);
    assert_eq!(serde_json::from_slice::<Value>(&out).expect("still JSON"), wanted);
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Result<(), PeekError>, JsonPeek) {
    let mut peek = JsonPeek::new();
    for piece in pieces {
        let _ = peek.feed(piece);
    }
    (peek.finish(), peek)
}

fn said(peek: &JsonPeek) -> impl PartialEq + std::fmt::Debug {
    (
        (peek.model(), peek.model_span(), peek.stream(), peek.include_usage(), peek.max_tokens()),
        (peek.stream_options_span(), peek.insert_at(), peek.is_empty_object(), peek.complete()),
    )
}
