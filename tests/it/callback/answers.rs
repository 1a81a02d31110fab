//! Every answer that the listener makes itself is `{"code", "message"}`.

use super::{KEY, Place, assert_coded, says, yes};
use crate::support::{PATIENCE, get, post};

#[test]
fn heads_that_are_not_taken() {
    let place = Place::new();
    let proxy = place.proxy();
    let ask = |text: String| {
        let mut caller = proxy.cross();
        caller.send(text);
        caller.response()
    };
    assert_coded(&ask("GET /a HTTP/1.1\r\n\r\n".into()), 400, "The request has no Host.");
    assert_coded(&ask(get("/a", &"x-y: z\r\n".repeat(100))), 431, "The request has too many header fields.");
    assert_coded(
        &ask(get("/a", &format!("x: {}\r\n", "y".repeat(20_000)))),
        431,
        "The request head is too large.",
    );
    assert_coded(&ask(get(&format!("/{}", "a".repeat(9000)), "")), 414, "The request target is too long.");
    assert_coded(&ask("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n".into()), 501, "The method is not supported.");
    assert_coded(
        &ask(get("/a", "authorization: Bearer a\r\nauthorization: Bearer b\r\n")),
        400,
        "A header field came twice or in disguise.",
    );
    assert_coded(&ask(get("/a", "x-api_key: a\r\n")), 400, "A header field came twice or in disguise.");
    assert_eq!(proxy.records(7)[0]["path"], "passthrough");
    assert!(place.callback.try_accept().is_none());
}

#[test]
fn bodies_that_are_not_taken() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("limits.body_bytes_max", 1024).set("timeouts.body_idle_s", 0.2);
    });
    place.callback.answer(|_| yes());
    let mut caller = proxy.cross();
    caller.send(post("/a", KEY, &"x".repeat(1025)));
    assert_coded(&caller.response(), 413, "The request body is larger than the limit.");
    let mut caller = proxy.cross();
    caller.send(format!("POST /a HTTP/1.1\r\nhost: a\r\n{KEY}content-length: 10\r\n\r\nhalf"));
    assert_coded(&caller.response(), 408, "The request body did not arrive in time.");
}

#[test]
fn servers_that_fail() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.head_timeout_s", 0.3);
    });
    place.callback.answer(|_| yes());
    let mut caller = proxy.cross();
    caller.send(get("/a", KEY));
    let mut api = place.api.accept();
    api.request();
    assert_coded(&caller.response(), 504, "The server did not answer in time.");
    caller.send(get("/a", KEY));
    let mut api = place.api.accept();
    api.request();
    api.send("nonsense\r\n\r\n");
    assert_coded(&caller.response(), 502, "The server's answer is not valid.");
    drop((api, place.api));
    caller.send(get("/a", KEY));
    assert_coded(&caller.response(), 502, "The server cannot be reached.");
    let records = proxy.records(3);
    let codes: Vec<_> = records.iter().map(|record| record["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["upstream_timeout", "upstream_invalid", "upstream_unreachable"]);
}

#[test]
fn connections_for_which_there_is_no_room() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("limits.connections_max", 1);
    });
    let mut first = proxy.cross();
    first.send(get("/a", ""));
    assert_eq!(first.response().status(), 401);
    let mut second = proxy.cross();
    let answer = second.response();
    assert_eq!(answer.text(), r#"{"code":503,"message":"Too many connections"}"#);
    assert_eq!(second.wait_for_end(), crate::support::End::Closed);
}

/// The other listener has its own form still.
#[test]
fn the_two_listeners_keep_their_own_forms_and_their_own_paths() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| says(200));
    let seen = place.api.answer(|_| says(200));
    let answer = proxy.ask(get("/sandboxes", KEY));
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (404, Some("not_found")));
    let mut caller = proxy.cross();
    caller.send(get("/proxy/acme/v1/models", KEY));
    assert_eq!(caller.response().status(), 200);
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap().target(), "/proxy/acme/v1/models");
}
