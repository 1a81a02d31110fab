//! What does one head cost a core: parsing it, and writing the one that goes upstream? Heads are what real clients
//! and model servers send. Beside ours: httparse alone (spans, no checks of framing) and the request decoder of
//! monoio-http (httparse, then a `HeaderMap` and a `Uri`), which the operators' listener uses.
//! Read beside the whole-proxy run (`loadtest/`).

#![allow(clippy::unwrap_used, reason = "a bench that fails should stop")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cube_proxy::http1::{
    Framing, HeadLimits, HeadWriter, Known, Parsed, RequestHead, ResponseHead, split_proxy_path,
};
use cube_proxy::operations::{Lookup, NAMES_BELOW, lookup};
use monoio_codec::{Decoded, Decoder as _};
use monoio_http::h1::codec::decoder::RequestHeadDecoder;

const CURL: &[u8] = b"POST /proxy/demo/v1/chat/completions HTTP/1.1\r\n\
    Host: llm.example:8080\r\n\
    User-Agent: curl/8.14.1\r\n\
    Accept: */*\r\n\
    Authorization: Bearer pat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBCCCCCC\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 88\r\n\r\n";

const HTTPX: &[u8] = b"POST /proxy/demo/v1/chat/completions HTTP/1.1\r\n\
    Host: llm.example:8080\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    User-Agent: python-httpx/0.28.1\r\n\
    Authorization: Bearer pat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBCCCCCC\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 4096\r\n\r\n";

const OPENAI_PYTHON: &[u8] = b"POST /proxy/demo/v1/chat/completions HTTP/1.1\r\n\
    Host: llm.example:8080\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Accept: application/json\r\n\
    Content-Type: application/json\r\n\
    User-Agent: OpenAI/Python 1.99.1\r\n\
    X-Stainless-Lang: python\r\n\
    X-Stainless-Package-Version: 1.99.1\r\n\
    X-Stainless-OS: Linux\r\n\
    X-Stainless-Arch: x64\r\n\
    X-Stainless-Runtime: CPython\r\n\
    X-Stainless-Runtime-Version: 3.13.5\r\n\
    Authorization: Bearer pat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBCCCCCC\r\n\
    X-Stainless-Async: false\r\n\
    x-stainless-retry-count: 0\r\n\
    x-stainless-read-timeout: 600\r\n\
    Content-Length: 187\r\n\r\n";

const VLLM: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Sat, 01 Aug 2026 12:00:00 GMT\r\n\
    server: uvicorn\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    x-request-id: 4b8a9f0c7d0d4b9f8f0e7c1f2a3b4c5d\r\n\
    transfer-encoding: chunked\r\n\r\n";

const REQUESTS: [(&str, &[u8]); 3] =
    [("6_fields_curl", CURL), ("8_fields_httpx", HTTPX), ("17_fields_openai_python", OPENAI_PYTHON)];

fn parse_request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head_parse/request");
    let limits = HeadLimits::default();
    for (name, wire) in REQUESTS {
        group.throughput(Throughput::Bytes(wire.len() as u64));
        let mut head = RequestHead::new();
        group.bench_with_input(BenchmarkId::new("ours", name), wire, |b, wire| {
            b.iter(|| {
                let parsed = head.parse(black_box(wire), &limits);
                assert_eq!(parsed, Ok(Parsed::Complete { len: wire.len() }));
                black_box(head.body)
            });
        });
        group.bench_with_input(BenchmarkId::new("httparse", name), wire, |b, wire| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 90];
                let mut request = httparse::Request::new(&mut fields);
                let parsed = request.parse(black_box(wire)).unwrap();
                assert_eq!(parsed, httparse::Status::Complete(wire.len()));
                black_box(request.headers.len())
            });
        });
        let mut decoder = RequestHeadDecoder;
        group.bench_with_input(BenchmarkId::new("monoio_http", name), wire, |b, wire| {
            // The copy into the buffer is what a read would do; it is not part of the question.
            let fill = || BytesMut::from(wire);
            let decode = |mut buf: BytesMut| {
                let Ok(Decoded::Some(head)) = decoder.decode(&mut buf) else { panic!("a whole head") };
                (buf, head)
            };
            b.iter_batched(fill, decode, criterion::BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// From bytes to bytes: all of http1 that one request meets on its way upstream.
fn forward_request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head_parse/forward");
    let limits = HeadLimits::default();
    for (name, wire) in REQUESTS {
        let (mut head, mut out) = (RequestHead::new(), Vec::with_capacity(4096));
        group.bench_with_input(BenchmarkId::new("parse_lookup_write", name), wire, |b, wire| {
            b.iter(|| {
                let Ok(Parsed::Complete { .. }) = head.parse(black_box(wire), &limits) else {
                    panic!("a whole head")
                };
                let path = split_proxy_path(head.path.of(wire), NAMES_BELOW).unwrap();
                let Lookup::Found(_) = lookup(&head.method, path.rest) else { panic!("an endpoint") };
                out.clear();
                HeadWriter::request(&mut out, &head.method, &[path.rest], b"127.0.0.1:8000")
                    .copy(wire, head.fields(), |field| {
                        !matches!(field.known, Known::Host | Known::Authorization)
                    })
                    .line(b"authorization: Bearer upstream\r\n")
                    .end(Framing::Length(88));
                black_box(out.len())
            });
        });
    }
    group.finish();
}

fn parse_response(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head_parse/response");
    let limits = HeadLimits::default();
    let (mut head, mut out) = (ResponseHead::new(), Vec::with_capacity(4096));
    group.throughput(Throughput::Bytes(VLLM.len() as u64));
    group.bench_function("ours/5_fields_vllm", |b| {
        b.iter(|| {
            let parsed = head.parse(black_box(VLLM), &limits, false);
            assert_eq!(parsed, Ok(Parsed::Complete { len: VLLM.len() }));
            black_box(head.body)
        });
    });
    group.bench_function("ours_and_write/5_fields_vllm", |b| {
        b.iter(|| {
            let Ok(Parsed::Complete { .. }) = head.parse(black_box(VLLM), &limits, false) else {
                panic!("a head")
            };
            out.clear();
            HeadWriter::response(&mut out, head.status)
                .copy(VLLM, head.fields(), |field| field.known != Known::Server)
                .end(Framing::Chunked);
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, parse_request, forward_request, parse_response);
criterion_main!(benches);
