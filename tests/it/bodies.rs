//! What the proxy reads of a request body, and the shape of its own answers.

use crate::support::requests::{chat_body, chat_path};
use crate::support::{MODEL, Proxy, Upstream, World, get, json_answer, post, start};

#[test]
fn a_body_that_is_not_json_is_400_where_a_model_is_needed() {
    let (upstream, tenant, proxy) = start();
    let rows = [
        "",
        " ",
        "nonsense",
        "[]",
        "null",
        "\"tiny\"",
        "{",
        "{\"model\":\"tiny\"",
        "{\"model\":\"tiny\"}}",
        "{\"model\":\"tiny\"} x",
        "{\"model\":\"tiny\",}",
        "{\"model\":\"tiny\" \"a\":1}",
        "{\"model\":\"ti\nny\"}",
        "{\"model\":tiny}",
        "{'model':'tiny'}",
        "\u{feff}{\"model\":\"tiny\"}",
        "{}",
        "{\"a\":{\"model\":\"tiny\"}}",
        "{\"model\":1}",
        "{\"model\":null}",
        "{\"model\":[\"tiny\"]}",
        "{\"model\":\"tiny\",\"model\":\"tiny\"}",
        "{\"model\":\"tiny\",\"mod\\u0065l\":\"other\"}",
        "{\"model\":\"tiny\",\"stream\":true,\"stream\":false}",
    ];
    let mut caller = proxy.connect();
    let mut faults = Vec::new();
    for body in rows {
        caller.send(post(&chat_path(), &tenant.pat.line(), body));
        let answer = caller.response();
        if answer.status() != 400 {
            faults.push(format!("{body:?}: {} {}", answer.start, answer.text()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Deep nesting is refused, whatever is inside.
    let deep = format!("{{\"a\":{}1{},\"model\":\"tiny\"}}", "[".repeat(100_000), "]".repeat(100_000));
    caller.send(post(&chat_path(), &tenant.pat.line(), &deep));
    assert_eq!(caller.response().status(), 400);
    assert!(upstream.try_accept().is_none());
}

/// Only keys at the top are the request's own; escapes are read before they are compared.
#[test]
fn the_model_is_read_as_any_json_reader_would() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    for body in [
        r#"{"model":"tiny"}"#,
        r#"  { "model" : "tiny" }  "#,
        r#"{"mod\u0065l":"tiny"}"#,
        r#"{"model":"t\u0069ny"}"#,
        r#"{"messages":[{"model":"other"}],"model":"tiny"}"#,
        r#"{"x":"\"model\":\"other\"","model":"tiny"}"#,
        r#"{"x":"\\","model":"tiny"}"#,
        r#"{"a":1e3,"b":-0.5E-2,"c":true,"d":null,"model":"tiny"}"#,
    ] {
        let answer = proxy.ask(post(&chat_path(), &tenant.pat.line(), body));
        assert_eq!(answer.status(), 200, "{body}: {}", answer.text());
        assert_eq!(requests.recv().unwrap().text(), body);
    }
}

#[test]
fn own_answers_have_the_shape_of_their_path_family() {
    let (_upstream, tenant, proxy) = start();
    let unknown = chat_body("false").replace(MODEL, "nonsense");
    let asked = [
        ("/proxy/acme/v1/chat/completions", tenant.pat.line(), 404),
        ("/proxy/acme/v1/chat/completions", String::new(), 401),
        ("/proxy/nowhere/v1/chat/completions", tenant.pat.line(), 404),
        ("/proxy/acme/v1/unknown", tenant.pat.line(), 404),
        ("/proxy/acme/api/chat", tenant.pat.line(), 404),
        ("/proxy/acme/api/generate", String::new(), 401),
        ("/proxy/nowhere/api/chat", tenant.pat.line(), 404),
    ];
    for (path, fields, status) in asked {
        let answer = proxy.ask(post(path, &fields, &unknown));
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.field("content-type"), Some("application/json"), "{path}");
        let body = answer.json();
        if path.contains("/api/") {
            assert!(body["error"].is_string(), "{path}: {body}");
        } else {
            let error = &body["error"];
            assert!(error["message"].is_string() && error["type"].is_string(), "{path}: {body}");
            assert!(error["code"].is_string(), "{path}: {body}");
            assert_eq!(body["message"], error["message"], "{path}");
        }
    }
}

/// What a caller wrote comes back only as a JSON string.
#[test]
fn a_hostile_model_name_stays_inside_its_json_string() {
    let (_upstream, tenant, proxy) = start();
    for name in [r#"a\"b"#, r"a\u0000b", r"a\r\nx-evil: 1", r"<script>", "\u{2028}", &"m".repeat(5000)] {
        let body = chat_body("false").replace(MODEL, name);
        let answer = proxy.ask(post(&chat_path(), &tenant.pat.line(), &body));
        assert!([400, 404].contains(&answer.status()), "{name}: {}", answer.start);
        assert_eq!(answer.field("x-evil"), None);
        assert!(answer.json()["error"]["message"].is_string());
    }
}

#[test]
fn health_needs_no_credential() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::of(&world);
    let answer = proxy.ask(get("/health", ""));
    assert_eq!(answer.status(), 200);
    assert!(answer.json()["status"].is_string(), "{}", answer.text());
    let mut caller = proxy.connect();
    caller.send("HEAD /health HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = caller.response_to("HEAD");
    assert!([200, 405].contains(&head.status()), "{}", head.start);
    // Nothing of a body came: the next answer is in step.
    caller.send(get("/health", ""));
    assert_eq!(caller.response().status(), 200);
}
