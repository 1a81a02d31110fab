//! TLS towards endpoints and towards cube-admin: who is believed, and that nothing goes out to who is not.

use std::sync::Arc;
use std::thread;

use rcgen::date_time_ymd;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConfig};

use crate::support::feed::{Feed, snapshot, spawn};
use crate::support::requests::chat_stream;
use crate::support::tls::{Authority, BOTH, Pair, server};
use crate::support::{
    Connection, DELTA, End, Launch, Proxy, STREAM_HEAD, Tenant, Upstream, World, chat, chunk, json_answer,
};

/// A model server behind TLS, a proxy that believes the authority of its certificate, and that authority.
struct Sealed {
    upstream: Upstream,
    tenant: Tenant,
    proxy: Proxy,
    authority: Authority,
    pair: Pair,
}

impl Sealed {
    fn start() -> Self {
        Self::with(|launch, authority| authority.issue(&launch.dir, "server", &["localhost"]))
    }

    /// `issue`: makes the server's certificate, and changes the settings if it likes.
    fn with(issue: impl FnOnce(&mut Launch, &Authority) -> Pair) -> Self {
        let upstream = Upstream::bind();
        let url = upstream.url().replace("http://127.0.0.1", "https://localhost");
        let (world, tenant) = World::serving(&url);
        let mut launch = Launch::of(&world);
        let authority = Authority::new();
        let ca = authority.write(&launch.dir, "ca.pem");
        launch
            .settings
            .set("upstream.system_roots", false)
            .set("upstream.ca_files", vec![ca.display().to_string()]);
        let pair = issue(&mut launch, &authority);
        Self { upstream, tenant, proxy: launch.start(), authority, pair }
    }

    fn accept(&self, config: &Arc<ServerConfig>) -> Connection {
        self.upstream.accept().over(server(config).into())
    }
}

#[test]
fn an_endpoint_behind_tls_serves_requests_streams_and_large_bodies_on_one_connection() {
    for versions in [&[&TLS13], &[&TLS12]] {
        let sealed = Sealed::start();
        let config = sealed.pair.server(versions);
        let mut caller = sealed.proxy.connect();
        caller.send(chat(&sealed.tenant.pat));
        let mut connection = sealed.accept(&config);
        let seen = connection.request();
        assert!(seen.field("host").unwrap().starts_with("localhost:"));
        assert_eq!(connection.tls().alpn_protocol(), None, "the test's server does not choose");
        connection.send(json_answer(r#"{"ok":1}"#));
        assert_eq!(caller.response().text(), r#"{"ok":1}"#);
        // Kept, although tickets came behind the handshake.
        caller.send(chat_stream(&sealed.tenant.pat));
        connection.request();
        connection.send(STREAM_HEAD);
        caller.head();
        for _ in 0..5 {
            connection.send(chunk(DELTA));
            caller.take_through(b"\n\n\r\n");
        }
        connection.send(b"0\r\n\r\n");
        caller.take_through(b"0\r\n\r\n");
        caller.send(chat(&sealed.tenant.pat));
        connection.request();
        let body: Vec<u8> = (0..1_500_000_u32).flat_map(u32::to_le_bytes).collect();
        let answer =
            [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes(), body.clone()]
                .concat();
        let sending = thread::spawn(move || {
            connection.send(answer);
            connection
        });
        assert!(caller.response().body == body, "the answer is another one");
        drop(sending.join().unwrap());
        let metrics = sealed.proxy.metrics();
        let up = ["side=\"upstream\"", "outcome=\"full\""];
        assert_eq!(metrics.sum("cube_proxy_tls_handshakes_total", &up), 1.0);
    }
}

#[test]
fn another_connection_to_the_same_endpoint_goes_on_with_its_session() {
    for versions in [&[&TLS13], &[&TLS12]] {
        let sealed = Sealed::start();
        let config = sealed.pair.server(versions);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut caller = sealed.proxy.connect();
            caller.send(chat(&sealed.tenant.pat));
            let mut connection = sealed.accept(&config);
            connection.request();
            kinds.push(connection.tls().handshake_kind().unwrap());
            connection.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
            assert_eq!(caller.response().status(), 200);
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
}

/// Goal: no byte of a request goes to a server that has not proved who it is, and the caller is not told why. Method: certificates
/// that are wrong in one way each.
#[test]
fn a_server_that_does_not_prove_who_it_is_gets_nothing_and_the_caller_a_502() {
    type Issue = fn(&mut Launch, &Authority) -> Pair;
    let rows: [(&str, Issue, &str); 4] = [
        (
            "wrong name",
            |launch, ours| ours.issue(&launch.dir, "server", &["other.example"]),
            "not valid for name",
        ),
        (
            "wrong authority",
            |launch, _| Authority::new().issue(&launch.dir, "server", &["localhost"]),
            "UnknownIssuer",
        ),
        (
            "expired",
            |launch, ours| {
                ours.issue_with(&launch.dir, "server", &["localhost"], |params| {
                    params.not_before = date_time_ymd(2020, 1, 1);
                    params.not_after = date_time_ymd(2021, 1, 1);
                })
            },
            "certificate expired",
        ),
        (
            "not for servers",
            |launch, ours| {
                ours.issue_with(&launch.dir, "server", &["localhost"], |params| {
                    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
                })
            },
            "key usage",
        ),
    ];
    for (name, issue, reason) in rows {
        let sealed = Sealed::with(issue);
        let config = sealed.pair.server(BOTH);
        let mut caller = sealed.proxy.connect();
        caller.send(chat(&sealed.tenant.pat));
        let mut connection = sealed.accept(&config);
        let alert = connection.shake_hands().map(drop).and_then(|()| connection.read_or_error());
        let alert = alert.expect_err("no handshake").to_string();
        assert!(alert.contains("alert"), "{name}: {alert}");
        assert!(connection.is_empty(), "{name}: something was sent");
        let answer = caller.response();
        assert_eq!(answer.status(), 502, "{name}");
        assert!(!answer.mentions("certificate") && !answer.mentions("localhost"), "{}", answer.text());
        let record = sealed.proxy.record();
        let fault = record["upstream_fault"].as_str().unwrap_or_default();
        assert!(fault.to_lowercase().contains(&reason.to_lowercase()), "{name}: {record}");
        sealed.proxy.wait_for_metrics("it is counted", |metrics| {
            metrics.sum("cube_proxy_tls_handshakes_total", &["side=\"upstream\"", "outcome=\"certificate\""])
                == 1.0
                && metrics.sum("cube_proxy_upstream_attempts_total", &["outcome=\"handshake_failed\""]) == 1.0
        });
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_never_spoken_to_without() {
    let sealed = Sealed::start();
    let mut caller = sealed.proxy.connect();
    caller.send(chat(&sealed.tenant.pat));
    let mut connection = sealed.upstream.accept();
    let hello = connection.take(5);
    assert_eq!(hello[0], 22, "a handshake");
    connection.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(caller.response().status(), 502);
    let (rest, _) = connection.rest();
    assert!(!rest.windows(4).any(|window| window == b"POST" || window == b"tiny"), "a request in the clear");
}

#[test]
fn a_server_that_never_answers_a_handshake_is_given_up_with_the_connection_s_time() {
    let sealed = Sealed::start();
    let mut caller = sealed.proxy.connect();
    caller.send(chat(&sealed.tenant.pat));
    let _silent = sealed.upstream.accept();
    assert_eq!(caller.response().status(), 504);
}

#[test]
fn a_body_that_ends_without_a_last_word_was_cut() {
    let sealed = Sealed::start();
    let config = sealed.pair.server(BOTH);
    for (says_so, expected) in [(true, End::Closed), (false, End::Reset)] {
        let mut caller = sealed.proxy.connect();
        caller.send(chat(&sealed.tenant.pat).replacen("HTTP/1.1", "HTTP/1.0", 1));
        let mut connection = sealed.accept(&config);
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}");
        connection.wait_until_taken();
        if says_so {
            connection.finish_sending();
        }
        drop(connection);
        caller.head();
        let (body, end) = caller.rest();
        assert_eq!((&*body, end), (&b"{}"[..], expected), "close_notify: {says_so}");
    }
}

#[test]
fn a_server_that_asks_is_shown_our_certificate() {
    let mut asking = None;
    let sealed = Sealed::with(|launch, authority| {
        let of_callers = Authority::new();
        let ours = of_callers.issue(&launch.dir, "we", &["proxy"]);
        launch
            .settings
            .set("upstream.client_chain", ours.chain.display().to_string())
            .set("upstream.client_key", ours.key.display().to_string());
        let pair = authority.issue(&launch.dir, "server", &["localhost"]);
        asking = Some(pair.server_asking(&of_callers));
        pair
    });
    let mut caller = sealed.proxy.connect();
    caller.send(chat(&sealed.tenant.pat));
    let mut connection = sealed.accept(&asking.unwrap());
    connection.request();
    assert!(connection.tls().peer_certificates().is_some_and(|chain| !chain.is_empty()));
    connection.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
    let _ = sealed.authority;
}

#[test]
fn the_feed_comes_over_tls_from_who_is_believed_and_from_nobody_else() {
    let authority = Authority::new();
    let dir = std::env::temp_dir().join(format!("cube-proxy-feed-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let of_nodes = Authority::new();
    let pair = authority.issue(&dir, "admin", &["localhost"]);
    let node = of_nodes.issue(&dir, "node", &["node-1"]);
    let feed = Feed::bind_over(Some(pair.server_asking(&of_nodes)));
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let launch_believing = |ca: std::path::PathBuf| {
        let mut launch = feed.launch();
        launch
            .settings
            .set("admin.feed", format!("https://localhost:{}", feed.address.port()))
            .set("admin.ca_file", ca.display().to_string())
            .set("admin.client_chain", node.chain.display().to_string())
            .set("admin.client_key", node.key.display().to_string());
        launch
    };
    let launch = launch_believing(Authority::new().write(&dir, "wrong.pem"));
    let child = spawn(&launch);
    let mut stranger = Proxy::adopt(launch, child);
    stranger.wait_for_log("UnknownIssuer");
    assert_eq!(stranger.ask(chat(&tenant.pat)).status(), 503);
    drop(stranger);
    let launch = launch_believing(authority.write(&dir, "ca.pem"));
    let child = spawn(&launch);
    let mut answering = feed.asked().answer();
    answering.send(&snapshot(7, &world));
    let proxy = Proxy::adopt(launch, child);
    feed.adopted(7);
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
    std::fs::remove_dir_all(&dir).unwrap();
}
