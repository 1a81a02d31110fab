//! The reader beside the tree that was written: on random streams it must say what the tree says.

use proptest::prelude::*;
use serde_json::Value;

use crate::peek::tests::generate::{Json, Writer, pieces, text, value, without_files};
use crate::sse::{Usage, UsageDialect, UsageReader, last_event_end, usage_only_event};

/// The counts that a reader should have found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Wanted {
    prompt: Option<u64>,
    completion: Option<u64>,
}

impl Wanted {
    /// Takes over the counts of the members called so.
    fn update(&mut self, object: &Json, prompt: &[&str], completion: &[&str]) {
        for (key, value) in members(object) {
            let Json::Bare(written) = value else { continue };
            let Ok(count) = written.parse() else { continue };
            if prompt.contains(&key.as_str()) {
                self.prompt = Some(count);
            } else if completion.contains(&key.as_str()) {
                self.completion = Some(count);
            }
        }
    }

    /// Takes over what `usage` of this object says, and of its `response`, if that counts.
    fn update_openai(&mut self, object: &Json, response: bool) {
        for (key, value) in members(object) {
            match key.as_str() {
                "usage" => {
                    self.update(
                        value,
                        &["prompt_tokens", "input_tokens"],
                        &["completion_tokens", "output_tokens"],
                    );
                }
                "response" if response => self.update_openai(value, false),
                _ => {}
            }
        }
    }

    fn usage(self, deltas: u64) -> Usage {
        let estimated = self.completion.is_none() && deltas > 0;
        let completion_tokens = if estimated { Some(deltas) } else { self.completion };
        Usage { prompt_tokens: self.prompt, completion_tokens, estimated }
    }
}

fn members(object: &Json) -> &[(String, Json)] {
    match object {
        Json::Object(members) => members,
        Json::Bare(_) | Json::Text(_) | Json::Array(_) => &[],
    }
}

fn usage_object() -> impl Strategy<Value = Json> {
    let count = || prop_oneof![0..100_000_u64, any::<u64>()].prop_map(|count| Json::bare(count / 2));
    let names = prop_oneof![
        Just(["prompt_tokens", "completion_tokens", "completion_tokens_details"]),
        Just(["input_tokens", "output_tokens", "input_tokens_details"]),
    ];
    (names, count(), prop::option::of(count()), value()).prop_map(|(names, prompt, completion, details)| {
        let completion = completion.map(|completion| (names[1], completion));
        Json::object([(names[0], prompt)].into_iter().chain(completion).chain([(names[2], details)]))
    })
}

/// The data of one event of a chat or of `/v1/responses`.
fn chunk() -> impl Strategy<Value = Json> {
    let null = || Json::bare("null");
    let choices = |content: Json| {
        let delta = Json::object([("content", content)]);
        Json::Array(vec![Json::object([
            ("index", Json::bare(0)),
            ("delta", delta),
            ("logprobs", Json::bare("null")),
        ])])
    };
    prop_oneof![
        4 => text().prop_map(move |said| Json::object([("id", null()), ("choices", choices(Json::Text(said)))])),
        2 => text().prop_map(move |said| Json::object([("choices", choices(Json::Text(said))), ("usage", null())])),
        1 => usage_object().prop_map(|usage| {
            Json::object([("choices", Json::Array(vec![])), ("usage", usage), ("timings", Json::object([]))])
        }),
        1 => (usage_object(), value()).prop_map(|(usage, decoy)| {
            Json::object([("choices", Json::object([("usage", usage)])), ("x", decoy)])
        }),
        1 => (prop::option::of(usage_object()), value(), value()).prop_map(|(usage, decoy, metadata)| {
            let usage = usage.unwrap_or(Json::bare("null"));
            let response = [("output", decoy), ("usage", usage), ("metadata", metadata)];
            Json::object([("response", Json::object(response)), ("type", Json::Text("response.done".into()))])
        }),
        1 => value().prop_map(|value| match value {
            object @ Json::Object(_) => object,
            other @ (Json::Bare(_) | Json::Text(_) | Json::Array(_)) => Json::object([("response", other)]),
        }),
    ]
}

/// One block of a stream, up to its blank line.
#[derive(Clone, Debug)]
enum Event {
    Data(Json),
    Done,
    /// Lines that are not data.
    Comment(String),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => chunk().prop_map(Event::Data),
        1 => Just(Event::Done),
        1 => prop_oneof![
            Just(": keep-alive"), Just("event: x"), Just("id: 7"), Just("data"), Just("dataset: 1"),
            Just(": {\"usage\":{\"prompt_tokens\":1}}"), Just("event: {\"usage\":{\"prompt_tokens\":1}}"),
        ].prop_map(|line| Event::Comment(line.to_owned())),
    ]
}

/// Writes a stream and says what a reader should find in it: counts, events, and whether it is done.
fn stream(events: &[Event], seed: u64) -> (Vec<u8>, (Usage, u64, bool)) {
    let mut writer = Writer::new(seed);
    writer.odd_keys = false;
    let line_ends = [["\n", "\n"], ["\r\n", "\r\n"], ["\r", "\r"], ["\n", "\r\n"]][(seed % 4) as usize];
    let (mut wanted, mut count, mut done) = (Wanted::default(), 0, false);
    let mut stream = Vec::new();
    for event in events {
        let mut lines = Vec::new();
        match event {
            Event::Data(json) => {
                writer.write(json);
                let written = String::from_utf8(std::mem::take(&mut writer.out)).unwrap();
                serde_json::from_str::<Value>(&written).expect("the writer writes JSON");
                let space = if writer.draw(3) == 0 { "" } else { " " };
                lines.extend(written.split(['\n', '\r']).map(|line| format!("data:{space}{line}")));
                wanted.update_openai(json, true);
                count += 1;
            }
            Event::Done => {
                lines.push("data: [DONE]".to_owned());
                count += 1;
                done = true;
            }
            Event::Comment(line) => {
                count += u64::from(line == "data");
                lines.push(line.clone());
            }
        }
        lines.push(String::new());
        for line in lines {
            stream.extend_from_slice(line.as_bytes());
            stream.extend_from_slice(line_ends[writer.draw(2) as usize].as_bytes());
        }
    }
    (stream, (wanted.usage(count - u64::from(done)), count, done))
}

fn read(dialect: UsageDialect, pieces: &[&[u8]]) -> (Usage, u64, bool) {
    let mut reader = UsageReader::new(dialect);
    for piece in pieces {
        reader.feed(piece);
    }
    (reader.usage(), reader.events(), reader.done())
}

fn is_usage_only(event: &Event) -> bool {
    let Event::Data(json) = event else { return false };
    let find = |name| members(json).iter().find(|(key, _)| key == name).map(|(_, value)| value);
    matches!(find("choices"), Some(Json::Array(choices)) if choices.is_empty())
        && matches!(find("usage"), Some(Json::Object(_)))
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn a_random_stream_says_what_was_written(
        events in prop::collection::vec(event(), 0..8),
        seed: u64,
        cuts: u64,
    ) {
        let (bytes, wanted) = stream(&events, seed);
        prop_assert_eq!(read(UsageDialect::OpenAiSse, &pieces(&bytes, cuts)), wanted, "{}", bytes.escape_ascii());
        prop_assert_eq!(read(UsageDialect::OpenAiSse, &[&bytes]), wanted, "{}", bytes.escape_ascii());
        prop_assert_eq!(last_event_end(&bytes), (!bytes.is_empty()).then_some(bytes.len()));
    }

    #[test]
    fn the_usage_event_of_a_random_stream_is_found(
        events in prop::collection::vec(event(), 0..6),
        seed: u64,
    ) {
        let written: Vec<Vec<u8>> = events.iter().map(|event| stream(std::slice::from_ref(event), seed).0).collect();
        let is_one_line = |bytes: &[u8]| {
            bytes.split(|byte| b"\r\n".contains(byte)).filter(|line| line.starts_with(b"data:")).count() == 1
        };
        let at = events.iter().zip(&written).position(|(event, bytes)| is_usage_only(event) && is_one_line(bytes));
        let wanted = at.map(|at| {
            let start: usize = written[..at].iter().map(Vec::len).sum();
            start..start + written[at].len()
        });
        prop_assert_eq!(usage_only_event(&written.concat()), wanted);
    }

    #[test]
    fn a_random_answer_says_what_was_written(
        mut answer in prop::collection::btree_map("[a-z]{1,5}", value(), 0..4),
        usage in prop::option::of(prop_oneof![usage_object(), value()]),
        seed: u64,
        cuts: u64,
    ) {
        if let Some(usage) = usage {
            answer.insert("usage".to_owned(), usage);
        }
        let answer = Json::Object(answer.into_iter().collect());
        let mut writer = Writer::new(seed);
        writer.odd_keys = false;
        writer.space();
        writer.write(&answer);
        writer.space();
        let mut wanted = Wanted::default();
        wanted.update_openai(&answer, false);
        let said = read(UsageDialect::OpenAiJson, &pieces(&writer.out, cuts));
        prop_assert_eq!(said, (wanted.usage(0), 0, false), "{}", writer.out.escape_ascii());

        let mut wanted = Wanted::default();
        wanted.update(&answer, &["prompt_eval_count"], &["eval_count"]);
        let said = read(UsageDialect::OllamaJson, &pieces(&writer.out, cuts));
        prop_assert_eq!(said.0, wanted.usage(0), "{}", writer.out.escape_ascii());
    }

    #[test]
    fn random_ollama_lines_say_what_was_written(
        lines in prop::collection::vec((value(), any::<bool>(), any::<u32>(), value()), 0..6),
        seed: u64,
        cuts: u64,
    ) {
        let mut writer = Writer::new(seed);
        writer.odd_keys = false;
        let (mut wanted, mut done, mut bytes) = (Wanted::default(), false, Vec::new());
        for (message, last, count, decoy) in &lines {
            let line = Json::object([
                ("message", message.clone()),
                ("prompt_eval_count", Json::bare(count / 2)),
                ("done", Json::bare(last)),
                ("eval_count", Json::bare(count)),
                ("x", decoy.clone()),
            ]);
            writer.write(&line);
            if *last {
                wanted.update(&line, &["prompt_eval_count"], &["eval_count"]);
                done = true;
            }
            bytes.extend(writer.out.drain(..).map(|byte| if byte == b'\n' { b' ' } else { byte }));
            bytes.extend_from_slice(if writer.draw(3) == 0 { b"\r\n\n" } else { b"\n" });
        }
        let count = lines.len() as u64;
        let said = read(UsageDialect::OllamaNdjson, &pieces(&bytes, cuts));
        prop_assert_eq!(said, (wanted.usage(count), count, done), "{}", bytes.escape_ascii());
    }

    /// Goal: whatever an upstream sends, cutting it changes nothing and nothing panics.
    #[test]
    fn random_bytes_are_read_the_same_however_they_are_cut(
        words in prop::collection::vec(prop::sample::select(&[
            "data", ":", " ", "\n", "\r", "{", "}", "[", "]", ",", "\"", "\\", "\"usage\"", "\"response\"", "t",
            "\"prompt_tokens\"", "\"completion_tokens\"", "\"done\"", "true", "\"eval_count\"", "1", "2", "-", ".",
            "[DONE]", "data: ", "\n\n", "\"usage\":{", "u", "\u{e9}",
        ][..]), 0..30),
        cuts: u64,
    ) {
        let bytes = words.concat();
        for dialect in [
            UsageDialect::OpenAiSse,
            UsageDialect::OpenAiJson,
            UsageDialect::OllamaJson,
            UsageDialect::OllamaNdjson,
        ] {
            let whole = read(dialect, &[bytes.as_bytes()]);
            prop_assert_eq!(read(dialect, &pieces(bytes.as_bytes(), cuts)), whole, "{:?} {:?}", dialect, bytes);
        }
        let _ = usage_only_event(bytes.as_bytes());
    }
}
