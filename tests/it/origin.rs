//! One origin: what is not inference is passed on to cube-admin, as it is.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Connection, Launch, Proxy, Tenant, Upstream, World, chat, chunk, get, json_answer, post,
};

/// A proxy that passes on to `admin`, over a world whose model server nobody asks.
fn before(admin: &str) -> (Tenant, Proxy) {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("listener.admin_origin", admin);
    });
    (tenant, proxy)
}

#[test]
fn everything_that_is_not_inference_goes_to_admin_as_it_is() {
    let admin = Upstream::bind();
    let (tenant, proxy) = before(&admin.url());
    let seen = admin.answer(|_| {
        b"HTTP/1.1 201 Created\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nlocation: /x\r\nconnection: x-hop\r\nx-hop: 1\r\n\
          content-length: 2\r\n\r\nok"
            .to_vec()
    });
    let fields = format!(
        "{}cookie: session=1\r\nx-api-key: k\r\naccept-encoding: gzip\r\nx-domain-id: forged\r\nx-forwarded-for: 9.9.9.9\r\n\
         x-forwarded-host: forged\r\nforwarded: for=9.9.9.9\r\nconnection: x-mine\r\nx-mine: 1\r\nx-request-id: r-7\r\n",
        tenant.pat.line()
    );
    let answer = proxy.ask(post("/pats/a%20b%2Fc?q=%26&x", &fields, "{\"name\":\"n\"}"));
    assert_eq!((answer.status(), answer.text().as_str()), (201, "ok"));
    let cookies: Vec<_> = answer.fields.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!((cookies.len(), answer.field("location"), answer.field("x-hop")), (2, Some("/x"), None));

    let saw = seen.recv().unwrap();
    assert_eq!(saw.start, "POST /pats/a%20b%2Fc?q=%26&x HTTP/1.1");
    assert_eq!(saw.text(), "{\"name\":\"n\"}");
    for (name, value) in [
        ("authorization", tenant.pat.line()["authorization: ".len()..].trim_end()),
        ("cookie", "session=1"),
        ("x-api-key", "k"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "proxy"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "r-7"),
    ] {
        assert_eq!(saw.field(name), Some(value), "{name}");
    }
    assert!(
        !saw.mentions("forged") && !saw.mentions("9.9.9.9") && !saw.mentions("x-mine"),
        "{:?}",
        saw.fields
    );
    let record = proxy.record();
    assert_eq!(
        (&record["path"], &record["status"], &record["cluster"]),
        (&json!("admin"), &json!(201), &json!("admin"))
    );
    assert!(record.get("user").is_none() && record.get("operation").is_none(), "{record}");
}

#[test]
fn the_methods_that_admin_has_pass_and_head_has_no_body() {
    let admin = Upstream::bind();
    let (_, proxy) = before(&admin.url());
    let seen = admin.answer(|request| {
        let body = if request.start.starts_with("HEAD") { "" } else { "hello" };
        format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{body}").into_bytes()
    });
    let mut caller = proxy.connect();
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        caller.send(get("/", "").replace("GET", method));
        let answer = caller.response_to(method);
        assert_eq!((answer.status(), answer.field("content-length")), (200, Some("5")), "{method}");
        assert_eq!(seen.recv().unwrap().start, format!("{method} / HTTP/1.1"));
    }
    caller.send("GET http://proxy HTTP/1.1\r\nhost: proxy\r\n\r\n");
    assert_eq!(caller.response().status(), 200);
    assert_eq!(seen.recv().unwrap().start, "GET / HTTP/1.1");
}

/// The proxy's own paths stay its own, and the feed is nobody's.
#[test]
fn what_is_the_proxys_or_the_feeds_never_reaches_admin() {
    let admin = Upstream::bind();
    let (tenant, proxy) = before(&admin.url());
    let ask = |path: &str| proxy.ask(get(path, &tenant.pat.line())).status();
    assert_eq!(ask("/health"), 200);
    assert_eq!(ask("/proxy/acme/v1/models"), 200);
    assert_eq!(ask("/proxy/acme/nonsense"), 404);
    for path in [
        "/feed",
        "/feed/",
        "/feed/v1/tables",
        "/FEED/v1/tables",
        "/%66eed/v1/tables",
        "/feed%2fv1/tables",
        "/proxy",
        "/proxy?",
        "/Proxy/acme/v1/models",
        "/%70roxy/acme/v1/models",
        "/auth/verify",
        "/auth/verify/sandboxes",
        "/Auth/%76erify",
        "/auth%2fverify",
    ] {
        assert_eq!(ask(path), 404, "{path}");
    }
    for path in [
        "/x/../feed/v1/tables",
        "/./feed/v1",
        "//feed/v1",
        "/%2e%2e/feed",
        "/a%00",
        "/a%0d%0a",
        "/a%5c..",
        "/a\\b",
        "/a%2",
    ] {
        assert_eq!(ask(path), 400, "{path}");
    }
    assert_eq!(proxy.ask("OPTIONS * HTTP/1.1\r\nhost: proxy\r\n\r\n").status(), 404);
    assert!(admin.try_accept().is_none());
}

#[test]
fn without_the_setting_there_is_nothing_but_inference() {
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::of(&world);
    assert_eq!(proxy.ask(get("/pats", &tenant.pat.line())).status(), 404);
}

/// Admin down is no reason to wait, nor to stop serving models; and it is back as soon as it is.
#[test]
fn admin_down_is_502_at_once() {
    let admin = Upstream::bind();
    let address = admin.address();
    let (tenant, proxy) = before(&admin.url());
    drop(admin);
    let begun = Instant::now();
    let answer = proxy.ask(get("/users", ""));
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (502, Some("admin_unreachable")));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).status(), 200);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let mut caller = proxy.connect();
    caller.send(get("/users", ""));
    let mut connection = Connection::from(listener.accept().unwrap().0);
    connection.request();
    connection.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn admin_is_there_before_any_tables_are() {
    let admin = Upstream::bind();
    let (world, tenant) = World::serving("http://127.0.0.1:9");
    let mut launch = Launch::of(&world);
    launch.settings.set("listener.admin_origin", admin.url());
    admin.answer(|_| json_answer("{}"));
    launch.write_tables("{broken\n");
    let proxy = launch.start();
    assert_eq!(proxy.ask(get("/login", "")).status(), 200);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 503);
}

/// Both directions stream: admin hears the beginning of a body before its end is there, and answers before it has ended.
#[test]
fn bodies_stream_in_both_directions() {
    let admin = Upstream::bind();
    let (_, proxy) = before(&admin.url());
    let mut caller = proxy.connect();
    caller.send(
        "POST /import HTTP/1.1\r\nhost: proxy\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(caller.response().status(), 100);
    caller.send(chunk("first"));
    let mut connection = admin.accept();
    let head = connection.head();
    assert_eq!((head.field("transfer-encoding"), head.field("expect")), (Some("chunked"), None));
    connection.take_through(b"first\r\n");
    connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.send(chunk("one"));
    caller.take_through(b"one\r\n");
    caller.send(chunk("second"));
    connection.take_through(b"second\r\n");
    caller.send("0\r\n\r\n");
    connection.take_through(b"0\r\n\r\n");
    connection.send("0\r\n\r\n");
    caller.take_through(b"0\r\n\r\n");
}

#[test]
fn a_body_above_the_limit_is_413_and_admin_hears_nothing_of_it() {
    let admin = Upstream::bind();
    let (world, _) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("listener.admin_origin", admin.url()).set("limits.body_bytes_max", 1024);
    });
    assert_eq!(proxy.ask(post("/import", "", &"x".repeat(1025))).status(), 413);
    assert!(admin.try_accept().is_none());
}

#[test]
fn a_caller_that_leaves_takes_its_request_along() {
    let admin = Upstream::bind();
    let (_, proxy) = before(&admin.url());
    let mut caller = proxy.connect();
    caller.send(get("/slow", ""));
    let mut connection = admin.accept();
    connection.request();
    drop(caller);
    connection.wait_for_end();
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_one_that_is_no_http_is_502() {
    let admin = Upstream::bind();
    let (_, proxy) = before(&admin.url());
    let mut caller = proxy.connect();
    caller.send(get("/a", ""));
    let mut connection = admin.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    drop(connection);
    assert_eq!(caller.cut_response().body, b"half");
    let mut caller = proxy.connect();
    caller.send(get("/b", ""));
    let mut connection = admin.accept();
    connection.request();
    connection.send("nonsense\r\n\r\n");
    assert_eq!(caller.response().status(), 502);
}

/// What changes something is sent once, also on a connection that was kept: see `callback::once`, where the same rule is tried out.
#[test]
fn a_request_that_changes_something_is_never_sent_twice() {
    let admin = Upstream::bind();
    let (_, proxy) = before(&admin.url());
    let (seen, requests) = channel();
    // Closes on the second request of a connection, and on what is asked to.
    admin.play(move |_, mut connection| {
        for count in 0..2 {
            if !connection.read_some() {
                return;
            }
            let target = connection.request().target().to_owned();
            seen.send(target.clone()).unwrap();
            if count == 1 || target == "/close" {
                return;
            }
            connection.offer(json_answer("{}"));
        }
    });
    let mut caller = proxy.connect();
    let mut sent = vec!["/close".to_owned()];
    caller.send(post("/close", "", "{}"));
    assert_eq!(caller.response().status(), 502, "on a new connection");
    // (A machine that stands still for a second lets the kept one cool, and then this takes longer.)
    loop {
        sent.push(format!("/{}", sent.len()));
        caller.send(post(sent.last().unwrap(), "", "{}"));
        if caller.response().status() == 502 {
            break;
        }
        assert!(sent.len() < 10, "never on the kept connection");
    }
    // What may be sent twice is.
    sent.extend(["/read".to_owned(), "/read".to_owned(), "/read".to_owned()]);
    for _ in 0..2 {
        caller.send(get("/read", ""));
        assert_eq!(caller.response().status(), 200);
    }
    assert_eq!(requests.try_iter().collect::<Vec<_>>(), sent);
}

#[test]
fn a_trusted_peer_says_who_called() {
    let admin = Upstream::bind();
    let (world, _) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings
            .set("listener.admin_origin", admin.url())
            .set("trusted_proxies.cidrs", toml::Value::Array(vec!["127.0.0.0/8".into()]));
    });
    let seen = admin.answer(|_| json_answer("{}"));
    proxy.ask(get("/a", "x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n"));
    let saw = seen.recv().unwrap();
    for (name, value) in
        [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "proxy")]
    {
        assert_eq!(saw.field(name), Some(value), "{name}");
    }
}
