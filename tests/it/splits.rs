//! Where reads cut the bytes changes nothing. Every cut of a request, and every cut of an answer, is tried.

use crate::support::requests::{chat_body, chat_path};
use crate::support::{Connection, Proxy, STREAM_HEAD, Upstream, World, chat, chunked, json_answer, start};

const EVENTS: [&str; 4] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
];

#[test]
fn a_request_with_a_length_may_be_cut_anywhere() {
    let (upstream, tenant, proxy) = start();
    cut_everywhere(&upstream, &proxy, chat(&tenant.pat).as_bytes(), &chat_body("false"));
}

#[test]
fn a_chunked_request_may_be_cut_anywhere() {
    let (upstream, tenant, proxy) = start();
    let body = chat_body("false");
    let (front, back) = body.split_at(13);
    let mut wire = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\n{}transfer-encoding: chunked\r\n\r\n",
        chat_path(),
        tenant.pat.line()
    )
    .into_bytes();
    wire.extend(chunked(&[front, back]));
    cut_everywhere(&upstream, &proxy, &wire, &body);
}

/// For every cut: `request` in two reads on a kept-alive connection arrives upstream with `body`, and is answered.
fn cut_everywhere(upstream: &Upstream, proxy: &Proxy, request: &[u8], body: &str) {
    let mut caller = proxy.connect();
    let mut connection: Option<Connection> = None;
    for cut in 1..request.len() {
        caller.send_cut(request, cut);
        let connection = connection.get_or_insert_with(|| upstream.accept());
        assert_eq!(connection.request().text(), body, "cut at byte {cut}");
        connection.send(json_answer("{}"));
        assert_eq!(caller.response().status(), 200, "cut at byte {cut}");
    }
}

/// For every cut: `answer` in two reads arrives at the caller with `payload`.
fn answer_cut_everywhere(answer: &[u8], include_usage: bool, payload: &str) {
    let (upstream, tenant, proxy) = start();
    let stream = if include_usage { "true,\"stream_options\":{\"include_usage\":true}" } else { "true" };
    let body = chat_body(stream);
    let request = crate::support::post(&chat_path(), &tenant.pat.line(), &body);
    let mut caller = proxy.connect();
    let mut connection: Option<Connection> = None;
    for cut in 1..answer.len() {
        caller.send(&request);
        let connection = connection.get_or_insert_with(|| upstream.accept());
        connection.request();
        connection.send_cut(answer, cut);
        let got = caller.response();
        assert_eq!((got.status(), got.text().as_str()), (200, payload), "cut at byte {cut}");
    }
    // Whatever the cut, the numbers are the same.
    for record in proxy.records(answer.len() - 1) {
        let numbers = (&record["prompt_tokens"], &record["completion_tokens"]);
        assert_eq!(numbers, (&7.into(), &2.into()), "{record}");
    }
}

#[test]
fn a_chunked_stream_may_be_cut_anywhere() {
    let answer = [STREAM_HEAD, &chunked(&EVENTS)].concat();
    answer_cut_everywhere(&answer, true, &EVENTS.concat());
}

/// The usage event that only the proxy asked for is taken out wherever it is cut.
#[test]
fn the_usage_event_is_stripped_wherever_it_is_cut() {
    let answer = [STREAM_HEAD, &chunked(&EVENTS)].concat();
    let kept = [EVENTS[0], EVENTS[1], EVENTS[3]].concat();
    answer_cut_everywhere(&answer, false, &kept);
}

#[test]
fn a_stream_whose_chunks_are_not_events_may_be_cut_anywhere() {
    let text = EVENTS.concat();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(17).collect();
    let answer = [STREAM_HEAD, &chunked(&pieces)].concat();
    let kept = [EVENTS[0], EVENTS[1], EVENTS[3]].concat();
    answer_cut_everywhere(&answer, false, &kept);
}

#[test]
fn an_answer_with_a_length_may_be_cut_anywhere() {
    let body = r#"{"choices":[{"message":{"content":"a \"usage\":{ b"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
    answer_cut_everywhere(&json_answer(body), true, body);
}

/// The cruellest cut: one byte a read, both ways.
#[test]
fn everything_may_come_byte_by_byte() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::with(&world, |settings| {
        // Three hundred reads, each when a busy machine gets round to it.
        settings.set("timeouts.head_s", 300).set("timeouts.body_idle_s", 300);
    });
    let mut caller = proxy.connect();
    let request = chat(&tenant.pat);
    for byte in request.as_bytes() {
        caller.send([*byte]);
        caller.wait_until_taken();
    }
    let mut connection = upstream.accept();
    assert_eq!(connection.request().text(), chat_body("false"));
    for byte in [STREAM_HEAD, &chunked(&EVENTS)].concat() {
        connection.send([byte]);
        connection.wait_until_taken();
    }
    assert_eq!(caller.response().text(), EVENTS.concat());
}
