//! How long does metering hold up what passes? One SSE event as a core reads it, a relay buffer full of
//! them, and whole JSON answers. Read beside the whole-proxy run (`loadtest/`).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cube_proxy::sse::{Usage, UsageDialect, UsageReader, last_event_end, usage_only_event};

const DELTA: &str = r#"data: {"id":"chatcmpl-BqK2vXyZ0123456789","object":"chat.completion.chunk","created":1719000000,"model":"llama3","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#;
const DELTA_NULL: &str = r#"data: {"id":"chatcmpl-BqK2vXyZ0123456789","object":"chat.completion.chunk","created":1719000000,"model":"llama3","choices":[{"index":0,"delta":{"content":" w"}}],"usage":null}"#;
const USAGE: &str = r#"data: {"id":"chatcmpl-BqK2vXyZ0123456789","object":"chat.completion.chunk","created":1719000000,"model":"llama3","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}}"#;
const OLLAMA: &str = r#"{"model":"llama3.2","created_at":"2026-01-01T12:00:00.000000000Z","message":{"role":"assistant","content":" word"},"done":false}"#;

const SAID: Usage = Usage { prompt_tokens: Some(12), completion_tokens: Some(34), estimated: false };

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("sse_event");
    let cases = [("delta", DELTA), ("delta with usage null", DELTA_NULL), ("usage", USAGE)];
    for (name, event) in cases {
        let event = format!("{event}\n\n");
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_function(BenchmarkId::new("alone", name), |b| {
            let mut reader = UsageReader::new(UsageDialect::OpenAiSse);
            let mut fed = 0;
            b.iter(|| {
                reader.feed(black_box(event.as_bytes()));
                fed += 1;
            });
            assert_eq!(reader.events(), fed);
        });
        group.bench_function(BenchmarkId::new("cut in two", name), |b| {
            let (front, back) = event.as_bytes().split_at(event.len() / 2);
            let mut reader = UsageReader::new(UsageDialect::OpenAiSse);
            let mut fed = 0;
            b.iter(|| {
                reader.feed(black_box(front));
                reader.feed(black_box(back));
                fed += 1;
            });
            assert_eq!(reader.events(), fed);
        });
    }
    group.bench_function("find the usage event in a delta", |b| {
        let event = format!("{DELTA}\n\n");
        b.iter(|| {
            let payload = black_box(event.as_bytes());
            assert_eq!(last_event_end(payload), Some(payload.len()));
            assert_eq!(usage_only_event(payload), None);
        });
    });
    group.bench_function("find the usage event", |b| {
        let event = format!("{USAGE}\n\n");
        b.iter(|| assert!(usage_only_event(black_box(event.as_bytes())).is_some()));
    });
    group.bench_function("ollama line", |b| {
        let line = format!("{OLLAMA}\n");
        let mut reader = UsageReader::new(UsageDialect::OllamaNdjson);
        let mut fed = 0;
        b.iter(|| {
            reader.feed(black_box(line.as_bytes()));
            fed += 1;
        });
        assert_eq!(reader.events(), fed);
    });
    group.finish();
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("sse_stream");
    let stream = format!("{}{USAGE}\n\ndata: [DONE]\n\n", format!("{DELTA}\n\n").repeat(1_000));
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for chunk_bytes in [1_448, 16_384, 65_536] {
        group.bench_function(BenchmarkId::new("1000 events in chunks of", chunk_bytes), |b| {
            b.iter(|| {
                let mut reader = UsageReader::new(UsageDialect::OpenAiSse);
                for chunk in stream.as_bytes().chunks(chunk_bytes) {
                    reader.feed(black_box(chunk));
                }
                assert_eq!((reader.events(), reader.usage()), (1_002, SAID));
            });
        });
    }
    group.finish();
}

/// Answers of about 200 KiB, by what fills them.
fn answers() -> [(&'static str, String); 4] {
    let around = |inside: String| {
        format!(r#"{{"id":"a",{inside},"usage":{{"prompt_tokens":12,"completion_tokens":34}}}}"#)
    };
    let sentence = r#"The quick brown fox jumps over the lazy dog, and says \u201cwell\u201d to \"it\".\n"#;
    let text = sentence.repeat(200 * 1024 / sentence.len());
    let text = format!(r#""choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}}}}]"#);
    let plain = format!(r#""choices":[{{"message":{{"content":"{}"}}}}]"#, "lorem ipsum ".repeat(17_000));
    let floats = "-0.012345679,".repeat(200 * 1024 / 13);
    let floats = format!(r#""data":[{{"embedding":[{floats}0]}}]"#);
    let logprob = r#"{"token":" w","logprob":-0.1234,"bytes":[32,119],"top_logprobs":[]},"#;
    let logprobs = format!(r#""logprobs":[{}0]"#, logprob.repeat(200 * 1024 / logprob.len()));
    [
        ("text", around(text)),
        ("plain text", around(plain)),
        ("embedding", around(floats)),
        ("logprobs", around(logprobs)),
    ]
}

fn json(c: &mut Criterion) {
    let mut group = c.benchmark_group("json_answer_200_kib");
    for (name, answer) in answers() {
        group.throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut reader = UsageReader::new(UsageDialect::OpenAiJson);
                for chunk in answer.as_bytes().chunks(65_536) {
                    reader.feed(black_box(chunk));
                }
                assert_eq!(reader.usage(), SAID);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, events, streams, json);
criterion_main!(benches);
