//! What does it cost to learn the model of a request? A short chat, long prompts by what fills them, a
//! form with a file, and the splice that renames the model.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cube_proxy::peek::{JsonPeek, MultipartPeek, splice};

const SHORT: &str = r#"{"model":"llama3","messages":[{"role":"user","content":"Why is the sky blue?"}],"stream":true,"max_tokens":256,"temperature":0.7,"user":"someone-12345"}"#;

fn peek(body: &[u8], segment_bytes: usize) -> JsonPeek {
    let mut peek = JsonPeek::new();
    for segment in body.chunks(segment_bytes) {
        peek.feed(black_box(segment)).expect("a JSON object");
    }
    peek.finish().expect("a whole JSON object");
    peek
}

fn bodies() -> Vec<(&'static str, String)> {
    let chat = |content: &str| {
        format!(r#"{{"messages":[{{"role":"user","content":"{content}"}}],"stream":true,"model":"llama3"}}"#)
    };
    let code = r#"    if (x == \"y\") {\n\t\treturn \"z\\n\";\n    }\n"#;
    let prose = "The quick brown fox jumps over the lazy dog, and then does it again and again. ";
    let turn =
        r#"{"role":"user","content":"Why is the sky blue?"},{"role":"assistant","content":"It is not."},"#;
    vec![
        ("short", SHORT.to_owned()),
        ("one line of text", chat(&prose.repeat(200 * 1024 / prose.len()))),
        ("paragraphs", chat(&format!("{prose}\\n").repeat(200 * 1024 / prose.len()))),
        ("code", chat(&code.repeat(200 * 1024 / code.len()))),
        (
            "short turns",
            format!(r#"{{"messages":[{}0],"model":"llama3"}}"#, turn.repeat(200 * 1024 / turn.len())),
        ),
        ("token numbers", format!(r#"{{"prompt":[{}0],"model":"llama3"}}"#, "12345,".repeat(200 * 1024 / 6))),
    ]
}

fn json(c: &mut Criterion) {
    let mut group = c.benchmark_group("peek_json");
    for (name, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let peek = peek(body.as_bytes(), 65_536);
                assert_eq!(peek.model(), Some(&b"llama3"[..]));
            });
        });
    }
    group.finish();
}

fn form(c: &mut Criterion) {
    let mut group = c.benchmark_group("peek_form");
    let mut form =
        b"--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".to_vec();
    form.extend((0..1024 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    form.extend_from_slice(
        b"\r\n--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--X--\r\n",
    );
    let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let form = String::from_utf8_lossy(&form).replace("--X", &format!("--{boundary}")).into_bytes();
    let content_type = format!("multipart/form-data; boundary={boundary}");
    group.throughput(Throughput::Bytes(form.len() as u64));
    for segment_bytes in [16_384, 65_536] {
        group.bench_function(BenchmarkId::new("1 MiB file in segments of", segment_bytes), |b| {
            b.iter(|| {
                let mut peek = MultipartPeek::new(content_type.as_bytes()).expect("a boundary");
                for segment in form.chunks(segment_bytes) {
                    peek.feed(black_box(segment)).expect("a form");
                }
                assert_eq!(peek.model(), Some(&b"whisper"[..]));
            });
        });
    }
    group.finish();
}

fn splices(c: &mut Criterion) {
    let mut group = c.benchmark_group("splice");
    for (name, body) in bodies().into_iter().take(2) {
        let peek = peek(body.as_bytes(), usize::MAX);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                splice(black_box(body.as_bytes()), &peek, Some("other"), true, &mut out);
                assert_eq!(out.len(), body.len() - 1 + r#","stream_options":{"include_usage":true}"#.len());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, json, form, splices);
criterion_main!(benches);
