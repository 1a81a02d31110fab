//! The one record of every request, and the numbers in it.

use serde_json::{Value, json};

use crate::support::requests::{chat_body, chat_path, chat_stream};
use crate::support::world::OPERATIONS;
use crate::support::{
    Message, Proxy, STREAM_HEAD, Tenant, Upstream, World, chat, chunk, chunked, domain_scopes, get,
    json_answer, post,
};

const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ASKED: &str = "true,\"stream_options\":{\"include_usage\":true}";

fn start() -> (Upstream, Tenant, Proxy) {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let proxy = Proxy::of(&world);
    (upstream, tenant, proxy)
}

/// One exchange: what the upstream was asked, and what the caller got.
fn exchange(upstream: &Upstream, proxy: &Proxy, request: &str, answer: &[u8]) -> (Message, Message) {
    let mut caller = proxy.connect();
    caller.send(request);
    let mut connection = upstream.accept();
    let saw = connection.request();
    connection.send(answer);
    let got = caller.response();
    drop(connection);
    (saw, got)
}

fn tokens(record: &Value) -> (Value, Value, Value) {
    (
        record["prompt_tokens"].clone(),
        record["completion_tokens"].clone(),
        (record["estimated"] == true).into(),
    )
}

#[test]
fn a_record_says_who_asked_for_what_and_how_it_ended() {
    let (upstream, tenant, proxy) = start();
    let body = r#"{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":5}}"#;
    let request =
        post(&chat_path(), &format!("{}x-request-id: r-1\r\n", tenant.pat.line()), &chat_body("false"));
    exchange(&upstream, &proxy, &request, &json_answer(body));
    let record = proxy.record();
    assert_eq!(record["request_id"], "r-1");
    assert_eq!(record["domain"], json!(tenant.domain));
    assert_eq!(record["user"], json!(tenant.user));
    assert_eq!(record["pat"], json!(tenant.pat.id));
    assert_eq!(record["operation"], "llm_chat_completions");
    assert_eq!(record["model"], "tiny");
    assert_eq!(record["cluster"], "main");
    assert_eq!(record["status"], 200);
    assert_eq!(record["ending"], "complete");
    assert_eq!(tokens(&record), (json!(11), json!(5), json!(false)));
    assert_eq!(record["bytes_in"], chat_body("false").len());
    assert_eq!(record["bytes_out"], body.len());
    assert!(record["first_byte_ms"].as_f64() <= record["duration_ms"].as_f64(), "{record}");
    assert_eq!(record["attempts"], 1);
}

#[test]
fn refusals_leave_a_record_too() {
    let (upstream, tenant, proxy) = start();
    let unknown = chat_body("false").replace("tiny", "nonsense");
    let rows = [
        (chat(&tenant.pat).replace("pat_", "pot_"), 401),
        (chat(&tenant.pat).replace("/acme/", "/nowhere/"), 404),
        (post(&chat_path(), &tenant.pat.line(), &unknown), 404),
        (post(&chat_path(), &tenant.pat.line(), "nonsense"), 400),
        (get("/proxy/acme/v1/chat/completions", &tenant.pat.line()), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in &rows {
        assert_eq!(proxy.ask(request).status(), *status);
    }
    for (record, (_, status)) in proxy.records(rows.len()).iter().zip(&rows) {
        assert_eq!((&record["status"], &record["ending"]), (&json!(status), &json!("refused")), "{record}");
        assert!(record["code"].is_string(), "{record}");
    }
    assert!(upstream.try_accept().is_none());
}

/// A caller's own names never become labels.
#[test]
fn an_unknown_model_is_not_a_label() {
    let (_, tenant, proxy) = start();
    let unknown = chat_body("false").replace("tiny", "never-heard-of");
    assert_eq!(proxy.ask(post(&chat_path(), &tenant.pat.line(), &unknown)).status(), 404);
    proxy.record();
    let metrics = proxy.metrics();
    assert!(!metrics.text().contains("never-heard-of"), "{metrics}");
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

/// Goal: exactly one record each, whatever happened. Method: a hundred requests that end in every way there is.
#[test]
fn every_request_is_recorded_exactly_once() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    let reader = world.scoped_pat(tenant.user, &domain_scopes(tenant.domain, &OPERATIONS[..1]));
    upstream.play(|_, mut connection| {
        while connection.read_some() {
            let request = connection.request();
            let events = [DELTA, DELTA, USAGE, DONE];
            let answer = match request.json()["how"].as_str() {
                Some("json") => json_answer("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"),
                Some("stream") => [STREAM_HEAD, &chunked(&events)].concat(),
                Some("cut") => [STREAM_HEAD, &chunk(DELTA)].concat(),
                _ => b"nonsense\r\n\r\n".to_vec(),
            };
            if !connection.offer(answer) || request.json()["how"] == "cut" {
                return;
            }
        }
    });
    let proxy = Proxy::with(&world, |settings| {
        settings.set("cores.count", 2);
    });
    let mut asked = 0;
    for n in 0..20 {
        for (how, pat, status) in [
            ("json", &tenant.pat, Some(200)),
            ("stream", &tenant.pat, Some(200)),
            ("cut", &tenant.pat, None),
            ("broken", &tenant.pat, Some(502)),
            ("json", &reader, Some(403)),
        ] {
            let body = chat_body("true").replacen('{', &format!("{{\"how\":\"{how}\",\"n\":{n},"), 1);
            let mut caller = proxy.connect();
            caller.send(post(&chat_path(), &pat.line(), &body));
            match status {
                Some(status) => assert_eq!(caller.response().status(), status, "{how}"),
                None => drop(caller.cut_response()),
            }
            asked += 1;
        }
    }
    let records = proxy.records(asked);
    let count = |ending: &str| records.iter().filter(|record| record["ending"] == ending).count();
    let counts = ["complete", "upstream_cut", "upstream_failed", "refused"].map(count);
    assert_eq!(counts, [40, 20, 20, 20]);
    let mut ids: Vec<_> = records.iter().map(|record| record["request_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), asked, "every request has an id of its own");
    let metrics = proxy.wait_for_metrics("gauges at zero", |metrics| {
        metrics.sum("cube_proxy_inflight_requests", &[]) == 0.0
            && metrics.sum("cube_proxy_active_streams", &[]) == 0.0
    });
    let completed = ["model=\"tiny\"", "status_class=\"2xx\""];
    // 20 of json, 20 of stream, 20 that were cut after their head.
    assert_eq!(metrics.sum("gen_ai_server_request_duration_seconds_count", &completed), 60.0, "{metrics}");
    assert_eq!(metrics.sum("gen_ai_server_request_duration_seconds_count", &[]), asked as f64, "{metrics}");
}

/// An access log that cannot be written holds up nobody.
#[test]
fn requests_are_served_when_the_access_log_cannot_be_written() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::with(&world, |settings| {
        settings.set("access_log.path", "/dev/full");
    });
    let mut caller = proxy.connect();
    for _ in 0..200 {
        caller.send(chat(&tenant.pat));
        assert_eq!(caller.response().status(), 200);
    }
}
