//! The one record of every request, however it ended, and the figures that are kept of it.

use std::io::{BufRead, BufReader};

use serde_json::json;

use crate::support::requests::{chat_body, chat_path};
use crate::support::world::OPERATIONS;
use crate::support::{
    Connection, DELTA, DONE, Launch, Proxy, STREAM_HEAD, USAGE, Upstream, World, chat, chunk, chunked,
    domain_scopes, exchange, get, json_answer, post, start,
};

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
    assert_eq!((&record["prompt_tokens"], &record["completion_tokens"]), (&json!(11), &json!(5)));
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
        (get("/health", "x-request-id: forged\r\nx bad: 1\r\n"), 400),
    ];
    let mut ids = Vec::new();
    for (request, status) in &rows {
        let answer = proxy.ask(request);
        assert_eq!(answer.status(), *status);
        ids.push(answer.field("x-request-id").expect("every answer has a name").to_owned());
    }
    for ((record, (_, status)), id) in proxy.records(rows.len()).iter().zip(&rows).zip(&ids) {
        assert!(record["request_id"] == *id && id != "forged", "{record}: {id}");
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

/// Both share standard output, and both are lines of JSON.
#[test]
fn the_access_log_may_go_to_standard_output() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let mut launch = Launch::of(&world);
    launch.settings.set("access_log.path", "stdout").set("drain.min_s", 0.1);
    let mut child = launch.command().spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    let ready = out.next().unwrap();
    let mut caller = Connection::to(ready["data"].as_str().unwrap().parse().unwrap());
    caller.send(get("/proxy/acme/v1/models", &format!("{}x-request-id: out-1\r\n", tenant.pat.line())));
    assert_eq!(caller.response().status(), 200);
    assert_eq!(out.next().unwrap()["request_id"], "out-1");
    child.kill().unwrap();
    child.wait().unwrap();
}
