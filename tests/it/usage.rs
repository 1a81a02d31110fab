//! Prompt and completion tokens, from whatever the upstream says of them, and what the proxy asks it to say.

use serde_json::{Value, json};

use crate::support::requests::{chat_body, chat_path, chat_stream};
use crate::support::{
    DELTA, DONE, Proxy, STREAM_HEAD, USAGE, Upstream, World, chat, chunk, chunked, exchange, json_answer,
    post, start,
};

const ASKED: &str = "true,\"stream_options\":{\"include_usage\":true}";

fn tokens(record: &Value) -> (Value, Value, Value) {
    (
        record["prompt_tokens"].clone(),
        record["completion_tokens"].clone(),
        (record["estimated"] == true).into(),
    )
}

#[test]
fn the_usage_event_that_only_the_proxy_asked_for_is_stripped() {
    let (upstream, tenant, proxy) = start();
    let answer = [STREAM_HEAD, &chunked(&[DELTA, DELTA, USAGE, DONE])].concat();
    let (saw, got) = exchange(&upstream, &proxy, &chat_stream(&tenant.pat), &answer);
    assert_eq!(saw.json()["stream_options"]["include_usage"], true);
    assert_eq!(got.text(), [DELTA, DELTA, DONE].concat());
    assert_eq!(tokens(&proxy.record()), (json!(7), json!(2), json!(false)));
}

#[test]
fn the_usage_event_that_the_caller_asked_for_passes() {
    let (upstream, tenant, proxy) = start();
    let answer = [STREAM_HEAD, &chunked(&[DELTA, USAGE, DONE])].concat();
    let body = chat_body(ASKED);
    let request = post(&chat_path(), &tenant.pat.line(), &body);
    let (saw, got) = exchange(&upstream, &proxy, &request, &answer);
    assert_eq!(saw.text(), body, "nothing to add");
    assert_eq!(got.text(), [DELTA, USAGE, DONE].concat());
    assert_eq!(tokens(&proxy.record()), (json!(7), json!(2), json!(false)));
}

/// A caller that said no, or gave other options, gets what it asked for.
#[test]
fn stream_options_of_the_caller_are_edited_not_replaced() {
    let (upstream, tenant, proxy) = start();
    let answer = [STREAM_HEAD, &chunked(&[DELTA, USAGE, DONE])].concat();
    let rows = [
        ("true,\"stream_options\":{\"include_usage\":false}", json!({"include_usage": true})),
        ("true,\"stream_options\":{}", json!({"include_usage": true})),
        ("true,\"stream_options\":{\"x\":[1,{}]}", json!({"x": [1, {}], "include_usage": true})),
        ("true,\"stream_options\":null", json!({"include_usage": true})),
        (
            "true,\"stream_options\": { \"include_usage\" : false , \"y\":1e3}",
            json!({"include_usage": true, "y": 1e3}),
        ),
    ];
    for (asked, expected) in rows {
        let request = post(&chat_path(), &tenant.pat.line(), &chat_body(asked));
        let (saw, got) = exchange(&upstream, &proxy, &request, &answer);
        assert_eq!(saw.json()["stream_options"], expected, "{asked}");
        assert_eq!(got.text(), [DELTA, DONE].concat(), "{asked}");
    }
}

#[test]
fn without_a_stream_nothing_is_added() {
    let (upstream, tenant, proxy) = start();
    for stream in ["false", "null"] {
        let body = chat_body(stream);
        let request = post(&chat_path(), &tenant.pat.line(), &body);
        let (saw, _) = exchange(&upstream, &proxy, &request, &json_answer("{}"));
        assert_eq!(saw.text(), body);
    }
}

#[test]
fn asking_for_usage_can_be_switched_off() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::with(&world, |settings| {
        settings.set("metering.include_usage", false);
    });
    let answer = [STREAM_HEAD, &chunked(&[DELTA, USAGE, DONE])].concat();
    let (saw, got) = exchange(&upstream, &proxy, &chat_stream(&tenant.pat), &answer);
    assert_eq!(saw.text(), chat_body("true"));
    // The upstream sent it unasked: it is the caller's.
    assert_eq!(got.text(), [DELTA, USAGE, DONE].concat());
}

/// Every way of framing the stripped stream leaves a well-formed one.
#[test]
fn stripping_works_in_every_framing() {
    let text = [DELTA, DELTA, USAGE, DONE].concat();
    let kept = [DELTA, DELTA, DONE].concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n";
    let length = text.len();
    let answers = [
        [STREAM_HEAD, &chunked(&[&text])].concat(),
        [STREAM_HEAD, &chunked(&text.as_bytes().chunks(7).collect::<Vec<_>>())].concat(),
        [STREAM_HEAD, &chunked(&[&text[..DELTA.len() + 5], &text[DELTA.len() + 5..]])].concat(),
        format!("{head}\r\n{text}").into_bytes(),
        format!("{head}content-length: {length}\r\n\r\n{text}").into_bytes(),
        [STREAM_HEAD, &chunked(&[text.replace('\n', "\r\n")])].concat(),
    ];
    for (n, answer) in answers.iter().enumerate() {
        let (upstream, tenant, proxy) = start();
        for version in ["1.1", "1.0"] {
            let mut caller = proxy.connect();
            caller.send(chat_stream(&tenant.pat).replacen("HTTP/1.1", &format!("HTTP/{version}"), 1));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(answer);
            drop(connection);
            let got = caller.response();
            assert_eq!(got.text().replace("\r\n", "\n"), kept, "answer {n} to a {version} caller");
        }
    }
}

/// Only the event that carries nothing else is stripped: usage beside a delta is the caller's.
#[test]
fn usage_beside_a_delta_is_read_and_passed() {
    let (upstream, tenant, proxy) = start();
    let both = "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
    let answer = [STREAM_HEAD, &chunked(&[DELTA, both, DONE])].concat();
    let (_, got) = exchange(&upstream, &proxy, &chat_stream(&tenant.pat), &answer);
    assert_eq!(got.text(), [DELTA, both, DONE].concat());
    assert_eq!(tokens(&proxy.record()), (json!(3), json!(4), json!(false)));
}

#[test]
fn a_stream_without_usage_is_estimated_from_its_deltas() {
    let (upstream, tenant, proxy) = start();
    let answer = [STREAM_HEAD, &chunked(&[DELTA, DELTA, DELTA, DONE])].concat();
    exchange(&upstream, &proxy, &chat_stream(&tenant.pat), &answer);
    let record = proxy.record();
    assert_eq!((&record["completion_tokens"], &record["estimated"]), (&json!(3), &json!(true)), "{record}");
}

/// gateways §4.1: usage of a cancelled stream is what was delivered, marked as an estimate.
#[test]
fn a_caller_that_vanishes_mid_stream_leaves_exactly_one_usage_record() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    for _ in 0..3 {
        connection.send(chunk(DELTA));
        caller.take_through(b"\n\n");
    }
    caller.reset();
    connection.wait_for_end();
    let record = proxy.record();
    assert_eq!((&record["ending"], &record["status"]), (&json!("caller_gone"), &json!(200)));
    assert_eq!((&record["completion_tokens"], &record["estimated"]), (&json!(3), &json!(true)), "{record}");
}

#[test]
fn words_in_the_text_do_not_count_as_usage() {
    let (upstream, tenant, proxy) = start();
    let body = r#"{"choices":[{"message":{"content":"{\"usage\":{\"prompt_tokens\":99,\"completion_tokens\":99}}"}}],
        "usage" : { "prompt_tokens" : 7, "prompt_tokens_details":{"cached_tokens":3}, "completion_tokens":2 } }"#;
    exchange(&upstream, &proxy, &chat(&tenant.pat), &json_answer(body));
    assert_eq!(tokens(&proxy.record()), (json!(7), json!(2), json!(false)));
}

#[test]
fn the_responses_form_of_usage_is_read() {
    let (upstream, tenant, proxy) = start();
    let body = r#"{"output":[],"usage":{"input_tokens":13,"output_tokens":4,"total_tokens":17}}"#;
    let request = chat(&tenant.pat).replace("/v1/chat/completions", "/v1/responses");
    exchange(&upstream, &proxy, &request, &json_answer(body));
    assert_eq!(tokens(&proxy.record()), (json!(13), json!(4), json!(false)));
}

#[test]
fn embeddings_count_their_prompt() {
    let (upstream, tenant, proxy) = start();
    let vector = (0..2000).map(|n| format!("0.{n}")).collect::<Vec<_>>().join(",");
    let body =
        format!(r#"{{"data":[{{"embedding":[{vector}]}}],"usage":{{"prompt_tokens":6,"total_tokens":6}}}}"#);
    let request = post("/proxy/acme/v1/embeddings", &tenant.pat.line(), r#"{"model":"tiny","input":"a"}"#);
    exchange(&upstream, &proxy, &request, &json_answer(&body));
    let record = proxy.record();
    assert_eq!((&record["operation"], &record["prompt_tokens"]), (&json!("llm_embeddings"), &json!(6)));
}

/// Ollama: NDJSON whose last object has the counts; every cut of it gives the same.
#[test]
fn ollamas_final_object_is_read_at_any_split() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["dialect"] = json!("ollama");
    let proxy = Proxy::of(&world);
    let lines = "{\"message\":{\"content\":\"a\"},\"done\":false}\n\
                 {\"message\":{\"content\":\"\\\"eval_count\\\":99\"},\"done\":false}\n\
                 {\"done\":true,\"prompt_eval_count\":26,\"eval_count\":298,\"eval_duration\":4799921000}\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let request = post("/proxy/acme/api/chat", &tenant.pat.line(), r#"{"model":"tiny","messages":[]}"#);
    let mut caller = proxy.connect();
    let mut kept = None;
    for cut in 1..lines.len() {
        caller.send(&request);
        let connection = kept.get_or_insert_with(|| upstream.accept());
        assert_eq!(
            connection.request().text(),
            r#"{"model":"tiny","messages":[]}"#,
            "no stream_options for Ollama"
        );
        connection.send(head);
        connection.send(chunk(&lines[..cut]));
        connection.wait_until_taken();
        connection.send(chunk(&lines[cut..]));
        connection.send("0\r\n\r\n");
        assert_eq!(caller.response().text(), lines);
    }
    for record in proxy.records(lines.len() - 1) {
        assert_eq!(tokens(&record), (json!(26), json!(298), json!(false)));
    }
}

#[test]
fn ollama_without_streaming_is_read_too() {
    let (upstream, tenant, proxy) = start();
    let body = r#"{"response":"a","done":true,"prompt_eval_count":5,"eval_count":8}"#;
    let request = post("/proxy/acme/api/generate", &tenant.pat.line(), r#"{"model":"tiny","stream":false}"#);
    exchange(&upstream, &proxy, &request, &json_answer(body));
    assert_eq!(tokens(&proxy.record()), (json!(5), json!(8), json!(false)));
}
