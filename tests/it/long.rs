//! Prompts too long to be held: looked at as they pass, sent once, and never in the way of anything.

use std::thread;

use crate::support::requests::{chat_body, chat_path};
use crate::support::{
    Connection, DELTA, DONE, MODEL, Pat, STREAM_HEAD, chat, chunk, chunked, json_answer, post, start,
};

/// Far more than a body that the proxy holds whole, and than the buffers on the way.
const LONG: usize = 3 << 20;

fn head(pat: &Pat, framing: &str) -> String {
    format!("POST {} HTTP/1.1\r\nhost: a\r\n{}{framing}\r\n\r\n", chat_path(), pat.line())
}

/// A long prompt around its model, in both framings.
fn framed(pat: &Pat, body: &str) -> [Vec<u8>; 2] {
    let length = [head(pat, &format!("content-length: {}", body.len())).as_bytes(), body.as_bytes()].concat();
    let pieces: Vec<&[u8]> = body.as_bytes().chunks(100_000).collect();
    [length, [head(pat, "transfer-encoding: chunked").as_bytes(), &chunked(&pieces)].concat()]
}

/// Goal: what is authorized is what the upstream reads, however late the second name comes. Method: a model that is
/// granted, a long prompt, then a model that is not; the upstream must never see the whole of it.
#[test]
fn a_second_model_behind_a_long_prompt_never_reaches_the_upstream_whole() {
    let text = "x".repeat(LONG);
    for (first, second) in [("model", "model"), ("model", "mod\\u0065l")] {
        let (upstream, tenant, proxy) = start();
        let body =
            format!(r#"{{"{first}":"{MODEL}","messages":[{{"content":"{text}"}}],"{second}":"other"}}"#);
        for wire in framed(&tenant.pat, &body) {
            let mut caller = proxy.connect();
            let writer = caller.stream().try_clone().unwrap();
            let sending = thread::spawn(move || Connection::from(writer).offer(wire));
            thread::scope(|scope| {
                let asking = scope.spawn(|| caller.status_or_end());
                // A proxy that holds everything back never connects.
                while !asking.is_finished() {
                    if let Some(mut connection) = upstream.try_accept() {
                        let (bytes, _) = connection.rest();
                        assert!(!bytes.ends_with(b"0\r\n\r\n") && !bytes.ends_with(b"}"), "whole upstream");
                    }
                    thread::yield_now();
                }
                let outcome = asking.join().unwrap();
                assert!(!matches!(outcome, Ok(200..=299)), "{outcome:?}");
            });
            sending.join().unwrap();
        }
    }
}

/// The same for what switches the stream on: the proxy has decided by then what it asks the upstream for.
#[test]
fn a_stream_that_is_asked_for_behind_a_long_prompt_is_served() {
    let (upstream, tenant, proxy) = start();
    let text = "x".repeat(LONG);
    let body = format!(r#"{{"model":"{MODEL}","messages":[{{"content":"{text}"}}],"stream":true}}"#);
    let mut caller = proxy.connect();
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            caller.send(post(&chat_path(), &tenant.pat.line(), &body));
            caller.response()
        });
        let mut connection = upstream.accept();
        assert!(connection.request().body.len() >= body.len());
        connection.send([STREAM_HEAD, &chunked(&[DELTA, DONE])].concat());
        assert_eq!(asking.join().unwrap().text(), [DELTA, DONE].concat());
    });
}

/// An answer before the end of the upload, from an upstream that closes without reading the rest. The reset that this
/// causes must not eat the answer.
#[test]
fn an_early_answer_survives_the_reset_that_follows_it() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(head(&tenant.pat, &format!("content-length: {}", 40 << 20)));
    caller.send(format!(r#"{{"model":"{MODEL}","messages":[{{"content":""#));
    let writer = caller.stream().try_clone().unwrap();
    let pushing = thread::spawn(move || {
        let mut writer = Connection::from(writer);
        while writer.offer("x".repeat(64 * 1024)) {}
    });
    let mut connection = upstream.accept();
    connection.head();
    connection.take(1 << 20);
    connection.send("HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
    drop(connection);
    assert_eq!(caller.response().status(), 413);
    drop(caller);
    pushing.join().unwrap();
}

/// An upstream that answers early and says nothing of closing: half a request is still on its way to it.
#[test]
fn an_upstream_connection_with_half_a_request_on_it_is_not_used_again() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(head(&tenant.pat, &format!("content-length: {}", 40 << 20)));
    caller.send(format!(r#"{{"model":"{MODEL}","messages":[{{"content":"{}"#, "x".repeat(2 << 20)));
    let mut early = upstream.accept();
    early.head();
    early.send(json_answer("{\"early\":1}"));
    assert_eq!(caller.response().text(), "{\"early\":1}");
    // Nor is the caller's: the rest of its body would be its next request.
    caller.wait_for_end();
    early.wait_for_end();
    let mut next = proxy.connect();
    next.send(chat(&tenant.pat));
    let mut fresh = upstream.accept();
    assert_eq!(fresh.request().text(), chat_body("false"));
    fresh.send(json_answer("{}"));
    assert_eq!(next.response().status(), 200);
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_a_long_upload_ends_its_upstream() {
    for leave in [drop, Connection::reset] {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        caller.send(head(&tenant.pat, "transfer-encoding: chunked"));
        caller
            .send(chunk(format!(r#"{{"model":"{MODEL}","messages":[{{"content":"{}"#, "x".repeat(2 << 20))));
        let mut connection = upstream.accept();
        connection.head();
        connection.take(1 << 20);
        leave(caller);
        let (bytes, _) = connection.rest();
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "a clean end");
        assert_eq!(proxy.record()["ending"], "caller_gone");
    }
}

#[test]
fn an_upstream_that_leaves_in_the_middle_of_a_long_upload_is_502() {
    for leave in [drop, Connection::reset] {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        caller.send(head(&tenant.pat, "transfer-encoding: chunked"));
        caller
            .send(chunk(format!(r#"{{"model":"{MODEL}","messages":[{{"content":"{}"#, "x".repeat(2 << 20))));
        let mut connection = upstream.accept();
        connection.head();
        connection.take(1 << 20);
        leave(connection);
        assert_eq!(caller.response().status(), 502);
        assert!(upstream.try_accept().is_none(), "it cannot be sent again");
        assert_eq!(proxy.record()["ending"], "upstream_failed");
    }
}
