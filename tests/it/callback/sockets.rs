//! WebSockets: asked about first, then relayed both ways until either side ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{KEY, MISSING, Place, REJECTED, assert_coded, open, says, yes};
use crate::support::{Connection, Proxy, Upstream, get, json_answer};

const UPGRADE: &str = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-request-id: theirs\r\n\r\n";

/// Both ends of a WebSocket through the proxy, its callback having said yes.
fn established(place: &Place, proxy: &Proxy) -> (Connection, Connection) {
    let mut caller = proxy.cross();
    caller.send(get("/ws", &format!("{KEY}{UPGRADE}")));
    let mut callback = place.callback.accept();
    assert_eq!(callback.request().field("upgrade"), None);
    callback.send(yes());
    let mut api = place.api.accept();
    api.request();
    api.send(SWITCHED);
    assert_eq!(caller.response().status(), 101);
    (caller, api)
}

#[test]
fn bytes_go_both_ways_until_one_side_ends() {
    let place = Place::new();
    let proxy = place.proxy();
    let mut caller = proxy.cross();
    caller.send(get("/ws?x=1", &format!("{KEY}{UPGRADE}")));
    let mut callback = place.callback.accept();
    let asked = callback.request();
    assert_eq!((asked.field("x-request-path"), asked.field("x-request-method")), (Some("/ws"), Some("GET")));
    callback.send(yes());
    let mut api = place.api.accept();
    let went = api.request();
    assert_eq!(went.start, "GET /ws?x=1 HTTP/1.1");
    for (name, value) in [
        ("connection", Some("upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
        ("x-api-key", None),
    ] {
        assert_eq!(went.field(name), value, "{name}");
    }
    // The first frame comes together with the head.
    api.send(format!("{SWITCHED}hello"));
    let answer = caller.response();
    assert_eq!(answer.status(), 101);
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    assert_ne!(answer.field("x-request-id"), Some("theirs"));
    caller.take_through(b"hello");
    for word in ["one", "two", "three"] {
        caller.send(word);
        api.take_through(word.as_bytes());
        api.send(word.to_uppercase());
        caller.take_through(word.to_uppercase().as_bytes());
    }
    api.send("last words");
    drop(api);
    let (rest, _) = caller.rest();
    assert_eq!(rest, b"last words");
    let record = proxy.record();
    for (key, value) in [
        ("status", json!(101)),
        ("ending", json!("complete")),
        ("path", json!("passthrough")),
        ("bytes_in", json!(11)),
        ("bytes_out", json!(5 + 11 + 10)),
    ] {
        assert_eq!(record[key], value, "{key}");
    }
}

#[test]
fn a_caller_that_ends_takes_the_other_side_along() {
    let place = Place::new();
    let proxy = place.proxy();
    let (mut caller, mut api) = established(&place, &proxy);
    caller.send("bye");
    drop(caller);
    assert_eq!(api.rest().0, b"bye");
    assert_eq!(proxy.record()["status"], 101);
}

/// A side that reads nothing stops the other one from sending, and nothing is lost.
#[test]
fn much_goes_both_ways_at_once_and_arrives() {
    let place = Place::new();
    let proxy = place.proxy();
    let (mut caller, mut api) = established(&place, &proxy);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::thread::scope(|scope| {
        for side in [&caller, &api] {
            let (stream, bytes) = (side.stream().try_clone().unwrap(), &bytes);
            scope.spawn(move || std::io::Write::write_all(&mut &stream, bytes).unwrap());
        }
        let took = scope.spawn(|| caller.take(bytes.len()));
        assert!(api.take(bytes.len()) == bytes);
        assert!(took.join().unwrap() == bytes);
    });
}

#[test]
fn whoever_may_not_pass_never_reaches_the_api() {
    let place = Place::new();
    let proxy = place.proxy();
    let mut caller = proxy.cross();
    for path in
        ["/ws", "/health", "/ws?api_key=", "/ws?api_key=%0d%0a", "/ws?access_token=a%20b", "/ws?api_key=%zz"]
    {
        caller.send(get(path, UPGRADE));
        assert_coded(&caller.response(), 401, MISSING);
    }
    assert!(place.callback.try_accept().is_none());
    place.callback.answer(|_| says(403));
    caller.send(get("/ws", &format!("{KEY}{UPGRADE}")));
    assert_coded(&caller.response(), 401, REJECTED);
    assert!(place.api.try_accept().is_none());
}

/// Browsers cannot set fields on a WebSocket.
#[test]
fn a_credential_in_the_url_becomes_a_field_and_goes_no_further() {
    let place = Place::new();
    let proxy = place.proxy();
    let asked = place.callback.answer(|_| yes());
    let went = place.api.answer(|_| says(426));
    let mut caller = proxy.cross();
    for (target, fields, bearer, key, goes_on) in [
        ("/ws?api_key=k-1&x=1", "", None, Some("k-1"), "/ws?x=1"),
        ("/ws?x=1&access_token=t%2D1", "", Some("Bearer t-1"), None, "/ws?x=1"),
        ("/ws?api_key=k&access_token=t", "", Some("Bearer t"), None, "/ws"),
        ("/ws?api%5fkey=k&y", "", None, Some("k"), "/ws?y"),
        ("/ws?api_key=k&y", "authorization: Bearer b\r\n", Some("Bearer b"), None, "/ws?y"),
        ("/ws?api_key=k&api_key=l", "x-api-key: m\r\n", None, Some("m"), "/ws"),
    ] {
        caller.send(get(target, &format!("{fields}{UPGRADE}")));
        assert_eq!(caller.response().status(), 426, "{target}");
        let asked = asked.recv().unwrap();
        assert_eq!((asked.field("authorization"), asked.field("x-api-key")), (bearer, key), "{target}");
        assert_eq!(asked.field("x-request-path"), Some("/ws"));
        let went = went.recv().unwrap();
        assert_eq!(went.target(), goes_on);
        assert!(!went.mentions("k-1") && !went.mentions("t-1"));
    }
    // Only there: what a parameter of another request means is the API's business.
    caller.send(get("/a?api_key=k", ""));
    assert_coded(&caller.response(), 401, MISSING);
    caller.send(get("/a?api_key=k", KEY));
    assert_eq!(caller.response().status(), 426);
    assert_eq!(went.recv().unwrap().target(), "/a?api_key=k");
    let log = proxy.access_log();
    assert!(!log.contains("k-1") && !log.contains("t-1"), "{log}");
}

/// In what other upgrades lead to are more requests, about which nobody would be asked.
#[test]
fn only_websockets_are_upgraded() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| yes());
    let went = place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for fields in [
        "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "connection: upgrade\r\nupgrade: TLS/1.0\r\n",
        "connection: keep-alive\r\nupgrade: websocket\r\n",
        "connection: upgrade\r\n",
    ] {
        caller.send(get("/a", &format!("{KEY}{fields}")));
        assert_eq!(caller.response().status(), 200, "{fields}");
        let went = went.recv().unwrap();
        assert_eq!((went.field("upgrade"), went.field("connection")), (None, None), "{fields}");
    }
    caller.send(get("/a", &format!("{KEY}{UPGRADE}content-length: 2\r\n")) + "{}");
    assert_eq!(caller.response().status(), 200);
    assert_eq!(went.recv().unwrap().field("upgrade"), None, "a WebSocket begins without a body");
}

#[test]
fn an_api_that_switches_to_something_else_or_unasked_is_502() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| yes());
    place.api.answer(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n".to_vec()
    });
    for fields in [UPGRADE, ""] {
        let mut caller = proxy.cross();
        caller.send(get("/ws", &format!("{KEY}{fields}")));
        assert_coded(&caller.response(), 502, "The server's answer is not valid.");
    }
}

#[test]
fn a_websocket_on_which_nothing_moves_ends() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.idle_timeout_s", 2.0);
    });
    let (mut caller, mut api) = established(&place, &proxy);
    // Longer than that, but never a whole second without a byte, unless the machine stands still.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        caller.send("x");
        api.take_through(b"x");
        std::thread::sleep(Duration::from_millis(50));
    }
    caller.wait_for_end();
    api.wait_for_end();
    assert_eq!(proxy.record()["ending"], "upstream_timeout");
}

#[test]
fn it_goes_on_while_the_process_drains() {
    let place = Place::new();
    let mut proxy = place.proxy_with(|settings| {
        settings.set("drain.min_s", 0).set("drain.deadline_s", 600);
    });
    let (mut caller, mut api) = established(&place, &proxy);
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait_for_log("draining: ");
    caller.send("still here");
    api.take_through(b"still here");
    drop(caller);
    api.wait_for_end();
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn the_end_of_the_process_ends_it_with_a_record() {
    let place = Place::new();
    let mut proxy = place.proxy_with(|settings| {
        settings.set("drain.min_s", 0).set("drain.deadline_s", 0.5);
    });
    let (mut caller, mut api) = established(&place, &proxy);
    proxy.signal(rustix::process::Signal::TERM);
    caller.wait_for_end();
    api.wait_for_end();
    assert!(proxy.wait_for_exit().success());
    assert_eq!(proxy.record()["ending"], "drained");
}

#[test]
fn an_open_listener_passes_them_with_their_urls_as_they_are() {
    let api = Upstream::bind();
    let proxy = open(&api).start();
    let mut caller = proxy.cross();
    caller.send(get("/ws?api_key=k", UPGRADE));
    let mut connection = api.accept();
    assert_eq!(connection.request().target(), "/ws?api_key=k");
    connection.send(SWITCHED);
    assert_eq!(caller.response().status(), 101);
    caller.send("x");
    connection.take_through(b"x");
}
