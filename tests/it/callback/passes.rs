//! What the callback is shown, and what goes on to the API.

use serde_json::json;

use super::{KEY, MISSING, Place, REJECTED, assert_coded, open, says, yes};
use crate::support::{Upstream, chunk, get, json_answer, post};

/// C3: a POST with exactly the documented fields, whatever the caller sent besides.
#[test]
fn the_callback_gets_a_post_with_the_documented_fields_and_nothing_else() {
    let place = Place::new();
    let proxy = place.proxy();
    let mut caller = proxy.cross();
    caller.send(
        "DELETE /templates/my-tmpl?force=1 HTTP/1.1\r\nhost: api.example\r\nauthorization: Bearer  secret-1 \r\n\
         x-request-path: /free\r\nx-request-method: GET\r\nx-auth-user: root\r\nx-user-id: 1\r\ncookie: a=b\r\n\
         x-forwarded-for: 9.9.9.9\r\nx-request-id: r-1\r\nuser-agent: t\r\n\r\n",
    );
    let mut callback = place.callback.accept();
    let saw = callback.request();
    assert_eq!(saw.start, "POST /verify HTTP/1.1");
    let expected = [
        ("host", place.callback.address().to_string()),
        ("authorization", "Bearer secret-1".to_owned()),
        ("x-request-path", "/templates/my-tmpl".to_owned()),
        ("x-request-method", "DELETE".to_owned()),
        ("content-length", "0".to_owned()),
    ];
    assert_eq!(saw.fields, expected.map(|(name, value)| (name.to_owned(), value)));
    callback.send(yes());
    let mut api = place.api.accept();
    let went = api.request();
    assert_eq!(went.start, "DELETE /templates/my-tmpl?force=1 HTTP/1.1");
    for gone in ["authorization", "x-request-path", "x-request-method", "x-auth-user", "x-user-id"] {
        assert_eq!(went.field(gone), None, "{gone}");
    }
    for (name, value) in [
        ("cookie", "a=b"),
        ("user-agent", "t"),
        ("x-request-id", "r-1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "api.example"),
    ] {
        assert_eq!(went.field(name), Some(value), "{name}");
    }
    api.send(says(204));
    assert_eq!(caller.response_to("DELETE").status(), 204);
}

/// C2: the two credentials exclude each other.
#[test]
fn bearer_wins_over_the_api_key_and_only_one_of_them_is_shown() {
    let place = Place::new();
    let proxy = place.proxy();
    let seen = place.callback.answer(|_| yes());
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for (fields, bearer, key) in [
        ("authorization: Bearer b\r\nx-api-key: k\r\n", Some("Bearer b"), None),
        ("x-api-key: k\r\nauthorization: Bearer b\r\n", Some("Bearer b"), None),
        ("x-api-key: k\r\n", None, Some("k")),
        // Not exactly `Bearer ` and something: the key counts.
        ("authorization: bearer b\r\nx-api-key: k\r\n", None, Some("k")),
        ("authorization: Basic b\r\nx-api-key: k\r\n", None, Some("k")),
        ("authorization: Bearer   \r\nx-api-key: k\r\n", None, Some("k")),
        ("authorization: Bearerb\r\nx-api-key: k\r\n", None, Some("k")),
        ("authorization: Bearer a b\r\n", Some("Bearer a b"), None),
    ] {
        caller.send(get("/sandboxes", fields));
        assert_eq!(caller.response().status(), 200, "{fields}");
        let saw = seen.recv().unwrap();
        assert_eq!((saw.field("authorization"), saw.field("x-api-key")), (bearer, key), "{fields}");
    }
}

/// C6: nobody is asked.
#[test]
fn without_a_credential_it_is_401_and_the_callback_hears_nothing() {
    let place = Place::new();
    let proxy = place.proxy();
    let mut caller = proxy.cross();
    for fields in [
        "",
        "x-api-key:\r\n",
        "authorization: Bearer\r\n",
        "authorization: bearer b\r\n",
        "authorization: Basic b\r\n",
        "x_api_key_: k\r\n",
    ] {
        caller.send(get("/sandboxes", fields));
        assert_coded(&caller.response(), 401, MISSING);
    }
    assert!(place.callback.try_accept().is_none() && place.api.try_accept().is_none());
    proxy.wait_for_metrics("six refusals", |metrics| {
        metrics.sum("cube_proxy_refusals_total", &["code=\"missing_credential\""]) == 6.0
    });
}

/// C4: 200 and nothing else.
#[test]
fn exactly_200_lets_a_request_pass() {
    let place = Place::new();
    let proxy = place.proxy();
    let seen = place.api.answer(|_| json_answer("{\"sandboxes\":[]}"));
    place.callback.answer(|request| {
        let status = request.field("x-api-key").unwrap().parse().unwrap();
        if status == 200 { yes() } else { says(status) }
    });
    let mut caller = proxy.cross();
    for status in [201, 202, 203, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 429, 500, 502, 503] {
        caller.send(get("/sandboxes", &format!("x-api-key: {status}\r\n")));
        assert_coded(&caller.response(), 401, REJECTED);
    }
    assert!(seen.try_recv().is_err(), "nothing reached the API");
    caller.send(get("/sandboxes", "x-api-key: 200\r\n"));
    let answer = caller.response();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "{\"sandboxes\":[]}"));
}

/// C7: for load balancers; the API itself answers, because it is what they ask about.
#[test]
fn health_is_exempt_for_get_and_for_these_two_paths_only() {
    let place = Place::new();
    let proxy = place.proxy();
    let seen = place.api.answer(|_| json_answer("{\"status\":\"ok\"}"));
    let mut caller = proxy.cross();
    for path in ["/health", "/cubeapi/v1/health", "/health?verbose"] {
        caller.send(get(path, KEY));
        assert_eq!(caller.response().text(), "{\"status\":\"ok\"}", "{path}");
        let saw = seen.recv().unwrap();
        assert_eq!(
            (saw.target(), saw.field("x-api-key")),
            (path, None),
            "what nobody looked at does not go on"
        );
    }
    for path in ["/health/", "/Health", "/healthz", "/%68ealth", "/v1/health", "/cubeapi/health"] {
        caller.send(get(path, ""));
        assert_coded(&caller.response(), 401, MISSING);
    }
    for method in ["HEAD", "DELETE", "OPTIONS"] {
        caller.send(get("/health", "").replace("GET", method));
        assert_eq!(caller.response_to(method).status(), 401, "{method}");
    }
    assert!(place.callback.try_accept().is_none());
}

/// C1: as documented, but see `startup`.
#[test]
fn without_a_callback_everything_passes_as_it_is() {
    let api = Upstream::bind();
    let proxy = open(&api).start();
    let seen = api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    caller.send(post(
        "/any/path%20x?a=%26",
        "authorization: Basic b\r\nx-api-key: k\r\nx-auth-user: u\r\n",
        "{}",
    ));
    assert_eq!(caller.response().status(), 200);
    let saw = seen.recv().unwrap();
    assert_eq!(saw.start, "POST /any/path%20x?a=%26 HTTP/1.1");
    assert_eq!((saw.field("authorization"), saw.field("x-api-key")), (Some("Basic b"), Some("k")));
    assert_eq!(saw.field("x-auth-user"), None);
}

#[test]
fn the_credential_goes_on_where_the_settings_say_so_and_no_other_does() {
    let place = Place::new();
    let proxy = place.proxy_with(|settings| {
        settings.set("passthrough.forward_credential", true);
    });
    place.callback.answer(|_| yes());
    let seen = place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for (fields, bearer, key) in [
        ("authorization: Bearer  b\r\nx-api-key: k\r\n", Some("Bearer b"), None),
        ("authorization: Basic b\r\nx-api-key: k\r\nx-api-key: other\r\n", None, Some("k")),
    ] {
        caller.send(get("/a", fields));
        assert_eq!(caller.response().status(), 200);
        let saw = seen.recv().unwrap();
        assert_eq!((saw.field("authorization"), saw.field("x-api-key")), (bearer, key), "{fields}");
    }
}

/// The callback decides about the path that the API will read.
#[test]
fn a_path_that_two_servers_could_read_differently_is_400_before_anybody_is_asked() {
    let place = Place::new();
    let proxy = place.proxy();
    for path in ["/templates/../sandboxes", "/a/%2e%2e/b", "//a", "/a//b", "/a%00", "/a%5cb", "/a%2", "/./a"]
    {
        let mut caller = proxy.cross();
        caller.send(get(path, KEY));
        assert_coded(&caller.response(), 400, "The request path is ambiguous.");
    }
    let mut caller = proxy.cross();
    caller.send(format!("OPTIONS * HTTP/1.1\r\nhost: a\r\n{KEY}\r\n"));
    assert_eq!(caller.response().status(), 400);
    assert!(place.callback.try_accept().is_none());
}

#[test]
fn a_path_is_shown_as_it_was_sent_and_an_absolute_target_has_one_too() {
    let place = Place::new();
    let proxy = place.proxy();
    let seen = place.callback.answer(|_| yes());
    place.api.answer(|_| json_answer("{}"));
    let mut caller = proxy.cross();
    for (target, path) in
        [("/a%20b/c%2Fd;x=1?q", "/a%20b/c%2Fd;x=1"), ("http://proxy?x", "/"), ("http://proxy/z?x=/y", "/z")]
    {
        caller.send(get(target, KEY));
        let status = caller.response().status();
        if path.contains(';') {
            assert_eq!(status, 400, "some servers cut a segment there");
            continue;
        }
        assert_eq!(status, 200, "{target}");
        assert_eq!(seen.recv().unwrap().field("x-request-path"), Some(path));
    }
}

#[test]
fn bodies_and_streams_travel_in_both_directions_at_once() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| yes());
    let mut caller = proxy.cross();
    caller.send(format!(
        "POST /sandboxes HTTP/1.1\r\nhost: a\r\n{KEY}transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(caller.response().status(), 100);
    caller.send(chunk("first"));
    let mut api = place.api.accept();
    assert_eq!(api.head().field("transfer-encoding"), Some("chunked"));
    api.take_through(b"first\r\n");
    api.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    api.send(chunk("data: 1\n\n"));
    caller.take_through(b"data: 1\n\n\r\n");
    caller.send(chunk("second"));
    api.take_through(b"second\r\n");
    caller.send("0\r\n\r\n");
    api.take_through(b"0\r\n\r\n");
    api.send("0\r\n\r\n");
    caller.take_through(b"0\r\n\r\n");
    let record = proxy.record();
    assert_eq!(
        (&record["path"], &record["status"], &record["cluster"], &record["ending"]),
        (&json!("passthrough"), &json!(200), &json!("passthrough"), &json!("complete"))
    );
}

/// Whoever may not pass is not told to send its body.
#[test]
fn a_caller_that_waits_for_100_continue_hears_the_refusal_instead() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|_| says(403));
    let mut caller = proxy.cross();
    caller.send(format!(
        "POST /sandboxes HTTP/1.1\r\nhost: a\r\n{KEY}content-length: 5\r\nexpect: 100-continue\r\n\r\n"
    ));
    assert_coded(&caller.last_response(), 401, REJECTED);
}

/// What came of a body while the callback was asked is not lost, however much that was.
#[test]
fn a_body_that_comes_while_the_callback_thinks_arrives_whole() {
    let place = Place::new();
    let proxy = place.proxy();
    let body = "0123456789abcdef".repeat(20_000);
    let mut caller = proxy.cross();
    let sender = caller.stream().try_clone().unwrap();
    let text =
        format!("POST /files HTTP/1.1\r\nhost: a\r\n{KEY}content-length: {}\r\n\r\n{body}", body.len());
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut &sender, text.as_bytes()));
    let mut callback = place.callback.accept();
    callback.request();
    // Long enough for the proxy's buffer to fill up.
    std::thread::sleep(std::time::Duration::from_millis(100));
    callback.send(yes());
    let mut api = place.api.accept();
    assert_eq!(api.request().text(), body);
    sending.join().unwrap().unwrap();
    api.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
}

/// C8, the other half: what it decides depends on path and method; each request of a connection is asked about anew.
#[test]
fn every_request_of_a_connection_is_asked_about() {
    let place = Place::new();
    let proxy = place.proxy();
    place.callback.answer(|request| {
        let reads = matches!(request.field("x-request-method"), Some("GET" | "HEAD"));
        if reads { yes() } else { says(403) }
    });
    place.api.answer(|request| if request.start.starts_with("HEAD") { says(200) } else { json_answer("{}") });
    let mut caller = proxy.cross();
    for (method, status) in [("GET", 200), ("DELETE", 401), ("HEAD", 200), ("GET", 200), ("PATCH", 401)] {
        caller.send(get("/templates/a", KEY).replace("GET", method));
        assert_eq!(caller.response_to(method).status(), status, "{method}");
    }
}
