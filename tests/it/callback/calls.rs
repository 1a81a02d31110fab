//! What can go wrong with a call: C5, and the connection that it takes.

use std::time::{Duration, Instant};

use super::{KEY, Place, REJECTED, assert_coded, says, yes};
use crate::support::{Nobody, Upstream, get, json_answer};

fn unreachable(why: &str) -> String {
    format!("Auth callback unreachable: {why}")
}

#[test]
fn a_callback_that_is_not_there_is_500_at_once_and_back_as_soon_as_it_is() {
    let (place, nobody) = (Place::new(), Nobody::bind());
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.auth_callback_url", format!("{}/auth", nobody.url()));
    });
    let mut caller = proxy.cross();
    caller.send(get("/a", KEY));
    let answer = caller.response();
    // At once: it says so, and not that time was up.
    assert_coded(&answer, 500, &unreachable("no connection"));
    assert!(!answer.text().contains("127.0.0.1"));
    let listener = nobody.listen();
    place.api.answer(|_| json_answer("{}"));
    caller.send(get("/a", KEY));
    let mut callback = crate::support::Connection::from(listener.accept().unwrap().0);
    callback.request();
    callback.send(yes());
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn a_callback_that_says_nothing_is_500_in_time() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.auth_callback_timeout_s", 0.3);
    });
    for beginning in ["", "HTTP/1.1 200 OK\r\nx: "] {
        let mut caller = proxy.cross();
        let begun = Instant::now();
        caller.send(get("/a", KEY));
        let mut callback = place.callback.accept();
        callback.request();
        callback.send(beginning);
        assert_coded(&caller.response(), 500, "Auth callback timed out after 0.3s");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        callback.wait_for_end();
    }
    assert!(place.api.try_accept().is_none());
}

#[test]
fn garbage_and_half_answers_are_500_and_let_nothing_pass() {
    let place = Place::new();
    let proxy = place.proxy();
    let fields = "x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(1800);
    for (answer, why) in [
        ("200 OK\r\n\r\n".to_owned(), "invalid answer"),
        ("\0\u{1}\u{2}\u{3}".to_owned(), "invalid answer"),
        ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), "invalid answer"),
        ("HTTP/1.1 200 OK\nx: y\n\n".to_owned(), "invalid answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), "invalid answer"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned(), "invalid answer"),
        (format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), "invalid answer"),
        ("HTTP/1.1 200 OK\r\ncontent-le".to_owned(), "invalid answer"),
        (String::new(), "connection closed"),
    ] {
        let mut caller = proxy.cross();
        caller.send(get("/a", KEY));
        let mut callback = place.callback.accept();
        callback.request();
        // It may be told off before it has said all.
        callback.offer(&answer);
        drop(callback);
        assert_coded(&caller.response(), 500, &unreachable(why));
    }
    assert!(place.api.try_accept().is_none());
    proxy.wait_for_metrics("nine refusals", |metrics| {
        metrics.sum("cube_proxy_refusals_total", &["code=\"callback_unreachable\""]) == 9.0
    });
}

/// The decision is the status; what is wrong with the body costs the connection and nothing else.
#[test]
fn a_body_that_never_ends_or_breaks_off_changes_nothing() {
    let place = Place::new();
    let proxy = place.proxy();
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil it closes",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nmore than that",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    ] {
        caller.send(get("/a", KEY));
        let mut callback = place.callback.accept();
        callback.request();
        callback.send(answer);
        assert_eq!(caller.response().status(), 200, "{answer}");
        callback.wait_for_end();
    }
}

/// However the answer is cut into reads.
#[test]
fn an_answer_in_pieces_counts_as_one() {
    let place = Place::new();
    let proxy = place.proxy();
    place.api.answer(|_| json_answer("{}"));
    let head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n";
    let body = b"2\r\n{}\r\n0\r\n\r\n";
    let mut caller = proxy.cross();
    for step in [1, 7, 40] {
        // An answer that was taken to its end leaves its connection to the next call. For the end of a body the proxy waits a
        // moment only, which a busy machine may take from us, though hardly twenty times.
        let is_kept = (0..20).any(|_| {
            caller.send(get("/a", KEY));
            let mut callback = place.callback.accept();
            callback.request();
            for piece in head.chunks(step) {
                callback.send(piece);
                std::thread::sleep(Duration::from_micros(200));
            }
            // Without pauses, and to a proxy that may have given up the connection.
            let _ = body.chunks(step).all(|piece| callback.offer(piece));
            assert_eq!(caller.response().status(), 200, "{step}");
            caller.send(get("/b", KEY));
            let is_kept = callback.read_some();
            let mut next = if is_kept { callback } else { place.callback.accept() };
            next.request();
            next.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            assert_eq!(caller.response().status(), 200, "{step}");
            is_kept
        });
        assert!(is_kept, "{step}");
    }
    assert!(place.callback.try_accept().is_none());
}

#[test]
fn calls_share_kept_connections_and_one_that_went_stale_costs_nothing() {
    let place = Place::new();
    let proxy = place.proxy();
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    caller.send(get("/a", KEY));
    let mut first = place.callback.accept();
    first.request();
    first.send(yes());
    assert_eq!(caller.response().status(), 200);
    // It takes the next call, and closes instead of answering it: the call is sent once more.
    caller.send(get("/b", KEY));
    assert_eq!(first.request().field("x-request-path"), Some("/b"));
    drop(first);
    let mut second = place.callback.accept();
    assert_eq!(second.request().field("x-request-path"), Some("/b"));
    second.send(yes());
    assert_eq!(caller.response().status(), 200);
    // Closed between two calls, it is not even tried.
    drop(second);
    proxy.wait_for_metrics("the close is seen", |metrics| {
        metrics.sum("cube_proxy_upstream_connections", &["state=\"idle\""]) < 2.0
    });
    caller.send(get("/c", KEY));
    let mut third = place.callback.accept();
    third.request();
    // A fresh connection that is closed is not tried again.
    drop(third);
    assert_coded(&caller.response(), 500, &unreachable("connection closed"));
    assert!(place.callback.try_accept().is_none());
}

/// Nobody waits for the answer any more: the call ends with its caller, and the record says who left.
#[test]
fn a_caller_that_leaves_takes_the_call_along() {
    for request in [
        get("/a", KEY),
        format!("POST /a HTTP/1.1\r\nhost: a\r\n{KEY}content-length: 10\r\n\r\nhalf"),
        format!("POST /a HTTP/1.1\r\nhost: a\r\n{KEY}content-length: 10\r\nexpect: 100-continue\r\n\r\n"),
    ] {
        let place = Place::new();
        let proxy = place.proxy();
        let mut caller = proxy.cross();
        caller.send(&request);
        let mut callback = place.callback.accept();
        callback.request();
        drop(caller);
        callback.wait_for_end();
        let record = proxy.record();
        assert_eq!((record["status"].as_u64(), record["ending"].as_str()), (Some(499), Some("caller_gone")));
        assert!(place.api.try_accept().is_none());
    }
}

#[test]
fn a_caller_that_sends_ahead_is_served_in_order() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(
        |request| {
            if request.field("x-request-path") == Some("/no") { says(403) } else { yes() }
        },
    );
    place.api.answer(|request| json_answer(&format!("\"{}\"", request.target())));
    let mut caller = proxy.cross();
    caller.send([get("/1", KEY), get("/no", KEY), get("/2", KEY)].concat());
    assert_eq!(caller.response().text(), "\"/1\"");
    assert_coded(&caller.response(), 401, REJECTED);
    assert_eq!(caller.response().text(), "\"/2\"");
}

/// A request that changes something reaches the API at most once, though the callback may be asked twice. On kept connections: `once`.
#[test]
fn the_api_is_sent_what_changes_something_once() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| yes());
    let mut caller = proxy.cross();
    caller.send(get("/sandboxes", &format!("{KEY}content-length: 0\r\n")).replace("GET", "POST"));
    let mut fresh = place.api.accept();
    fresh.request();
    drop(fresh);
    assert_coded(&caller.response(), 502, "The server cannot be reached.");
    assert!(place.api.try_accept().is_none());
}

#[test]
fn several_servers_behind_the_listener_share_the_work() {
    let (place, other) = (Place::new(), Upstream::bind());
    let urls = vec![place.api.url().into(), other.url().into()];
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.origins", toml::Value::Array(urls));
    });
    place.callback.answer(|_| yes());
    let (one, two) = (place.api.answer(|_| json_answer("1")), other.answer(|_| json_answer("2")));
    let mut caller = proxy.cross();
    for _ in 0..40 {
        caller.send(get("/a", KEY));
        assert_eq!(caller.response().status(), 200);
    }
    assert!(one.try_iter().count() > 0 && two.try_iter().count() > 0);
}
