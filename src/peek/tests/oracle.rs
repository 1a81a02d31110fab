//! The peek beside `serde_json`: on random bodies both must say the same.

use proptest::prelude::*;
use serde_json::Value;

use super::generate::{Json, Writer, number, pieces, text, value, without_files};
use crate::peek::{Edits, JsonPeek, PeekError, splice};

fn peek(segments: &[&[u8]]) -> (Result<(), PeekError>, JsonPeek) {
    let mut peek = JsonPeek::new();
    for segment in segments {
        let _ = peek.feed(segment);
    }
    (peek.finish(), peek)
}

/// A body with the members that we read, in any order among others.
fn body() -> impl Strategy<Value = Json> {
    let flag = || prop_oneof!["null", "true", "false"].prop_map(Json::Bare);
    let options = prop_oneof![
        Just(Json::bare("null")),
        Just(Json::object([])),
        flag().prop_map(|flag| Json::object([("include_usage", flag)])),
        (flag(), value()).prop_map(|(flag, value)| Json::object([("x", value), ("include_usage", flag)])),
        value().prop_map(|value| Json::object([("include_obfuscation", value)])),
    ];
    let members = (
        prop::option::of(text().prop_map(Json::Text)),
        prop::option::of(flag()),
        prop::option::of(options),
        prop::option::of(prop_oneof![number(), value()]),
        prop::option::of(number()),
        prop::collection::btree_map("[a-z]{0,9}", value(), 0..4),
    );
    members.prop_flat_map(|(model, stream, options, max, max_completion, others)| {
        let ours = [
            ("model", model),
            ("stream", stream),
            ("stream_options", options),
            ("max_tokens", max),
            ("max_completion_tokens", max_completion),
        ];
        let mut all: Vec<(String, Json)> = others.into_iter().collect();
        all.retain(|(key, _)| key != "model" && key != "stream");
        all.extend(ours.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        Just(all).prop_shuffle().prop_map(Json::Object)
    })
}

fn written(body: &Json, seed: u64) -> Vec<u8> {
    let mut writer = Writer::new(seed);
    writer.space();
    writer.write(body);
    writer.space();
    writer.out
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn a_random_body_says_what_serde_json_says(body in body(), seed: u64, cuts: u64) {
        let bytes = written(&body, seed);
        let said: Value = serde_json::from_slice(&bytes).unwrap();
        let (verdict, peek) = peek(&pieces(&bytes, cuts));
        prop_assert_eq!(verdict, Ok(()));
        prop_assert_eq!(peek.model(), said.get("model").map(|name| name.as_str().unwrap().as_bytes()));
        prop_assert_eq!(peek.stream(), said.get("stream").and_then(Value::as_bool));
        let options = said.get("stream_options");
        prop_assert_eq!(peek.stream_options_span().is_some(), options.is_some());
        let include = options.and_then(|options| options.get("include_usage")).and_then(Value::as_bool);
        prop_assert_eq!(peek.include_usage(), include);
        // `-0` is an integer to serde_json, and no count.
        let count = |key| said.get(key).and_then(Value::as_u64);
        prop_assert_eq!(peek.max_tokens(), count("max_completion_tokens").or(count("max_tokens")));
        prop_assert_eq!(peek.is_empty_object(), said.as_object().unwrap().is_empty());
        let close = peek.insert_at().unwrap() as usize;
        prop_assert_eq!((bytes[close], bytes[close + 1..].trim_ascii().len()), (b'}', 0));
        for (span, key) in [(peek.model_span(), "model"), (peek.stream_options_span(), "stream_options")] {
            let there = span.map(|span| &bytes[span.start as usize..span.end as usize]);
            let there = there.map(|written| serde_json::from_slice::<Value>(written).unwrap());
            prop_assert_eq!(there.as_ref(), said.get(key));
        }
    }

    #[test]
    fn a_spliced_body_says_the_same_but_for_what_was_asked(
        body in body(),
        seed: u64,
        name in prop::option::of(text()),
        inject: bool,
    ) {
        let bytes = written(&body, seed);
        let (_, peek) = peek(&[&bytes]);
        let mut out = Vec::new();
        splice(&bytes, &peek, name.as_deref(), inject, &mut out);

        let mut wanted: Value = serde_json::from_slice(&bytes).unwrap();
        let members = wanted.as_object_mut().unwrap();
        if let (Some(name), Some(model)) = (&name, members.get_mut("model")) {
            *model = Value::from(name.as_str());
        }
        if inject {
            let options = members.entry("stream_options").or_insert(Value::Null);
            if options.is_null() {
                *options = Value::Object(serde_json::Map::new());
            }
            options["include_usage"] = Value::Bool(true);
        }
        prop_assert_eq!(&serde_json::from_slice::<Value>(&out).unwrap(), &wanted);

        // Every byte that no edit names is still there, in its order.
        let (mut from, mut to) = (0, 0);
        for edit in Edits::of(&peek, name.as_deref(), inject).iter() {
            let kept = &bytes[from..edit.span.start as usize];
            prop_assert_eq!(kept, &out[to..to + kept.len()]);
            let mut new = Vec::new();
            edit.write(&mut new);
            to += kept.len() + new.len();
            from = edit.span.end as usize;
        }
        prop_assert_eq!(&bytes[from..], &out[to..]);
    }

    /// Goal: nothing that is not JSON passes, and nothing that is JSON is called malformed. Method: a
    /// few bytes of a body are changed, moved or lost, and `serde_json` judges too.
    #[test]
    fn a_damaged_body_is_judged_as_serde_json_judges_it(
        body in body(),
        seed: u64,
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(
            prop::sample::select(&br#"{}[]":,\ 0-.eE+tfnu1x"#[..]))), 1..4),
        cuts: u64,
    ) {
        let mut bytes = written(&body, seed);
        for (place, new) in damage {
            let place = place.index(bytes.len().max(1));
            match (new, place < bytes.len()) {
                (Some(new), true) => bytes[place] = new,
                (None, true) => _ = bytes.remove(place),
                (_, false) => {}
            }
        }
        let (verdict, _) = peek(&pieces(&bytes, cuts));
        prop_assert_eq!(verdict, peek(&[&bytes]).0, "cutting changes nothing");
        agree(&bytes, verdict)?;
    }

    #[test]
    fn random_bytes_are_judged_as_serde_json_judges_them(
        bytes in prop::collection::vec(prop::sample::select(&b"{}[]\":,\\ 0-.e1tnul\x00\xc3"[..]), 0..12),
        cuts: u64,
    ) {
        let (verdict, _) = peek(&pieces(&bytes, cuts));
        agree(&bytes, verdict)?;
    }
}

/// Fails if the verdict cannot stand beside what `serde_json` says of the same bytes.
fn agree(bytes: &[u8], verdict: Result<(), PeekError>) -> Result<(), TestCaseError> {
    match (verdict, serde_json::from_slice::<Value>(bytes)) {
        (Ok(()), Ok(said)) => prop_assert!(said.is_object()),
        (Ok(()), Err(fault)) => {
            // What stands inside strings that we do not read, and numbers that do not fit a float.
            let fault = fault.to_string();
            let inside = ["control character", "escape", "surrogate", "unicode", "out of range", "recursion"];
            prop_assert!(inside.iter().any(|inside| fault.contains(inside)), "{}", fault);
        }
        (Err(PeekError::Malformed | PeekError::Truncated), Ok(_)) => {
            prop_assert!(false, "refused JSON: {}", bytes.escape_ascii());
        }
        (Err(PeekError::NotAnObject), Ok(said)) => prop_assert!(!said.is_object()),
        (Err(_), _) => {}
    }
    Ok(())
}
