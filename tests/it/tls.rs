//! TLS on the caller's side: what is relayed is the same as without it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion};

use crate::support::requests::{chat_path, chat_stream};
use crate::support::tls::{BOTH, serving_tls, serving_tls_with};
use crate::support::{
    Connection, DELTA, DONE, End, PATIENCE, Proxy, STREAM_HEAD, Tenant, Upstream, World, chat, chunk,
    json_answer,
};

/// An upstream, a proxy with TLS over it, and what callers connect with.
fn start() -> (Upstream, Tenant, Proxy, Arc<ClientConfig>) {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls(&world);
    (upstream, tenant, proxy, authority.client(BOTH))
}

#[test]
fn a_request_over_tls_is_answered_like_any_other() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls(&world);
    let seen = upstream.answer(|_| json_answer(r#"{"ok":true}"#));
    for (versions, expected) in [(&[&TLS13], ProtocolVersion::TLSv1_3), (&[&TLS12], ProtocolVersion::TLSv1_2)]
    {
        let mut caller = proxy.connect_tls(&authority.client(versions));
        // Kept alive: several on one connection.
        for _ in 0..3 {
            caller.send(chat(&tenant.pat));
            let answer = caller.response();
            assert_eq!((answer.status(), answer.text().as_str()), (200, r#"{"ok":true}"#));
            let asked = seen.recv_timeout(PATIENCE).expect("the upstream was asked");
            assert_eq!(asked.field("x-forwarded-proto"), Some("https"));
        }
        assert_eq!(caller.tls().protocol_version(), Some(expected));
    }
    let metrics = proxy.wait_for_metrics("both versions are counted", |metrics| {
        ["1.2", "1.3"].iter().all(|version| {
            let label = format!("version=\"{version}\"");
            metrics.sum("cube_proxy_tls_connections_total", &[&label]) >= 1.0
        })
    });
    let full = ["side=\"downstream\"", "outcome=\"full\""];
    assert!(metrics.sum("cube_proxy_tls_handshakes_total", &full) >= 2.0, "{metrics}");
}

#[test]
fn every_event_of_a_stream_passes_through_tls_before_the_next_is_there() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls(&world);
    for versions in [&[&TLS13], &[&TLS12]] {
        let mut caller = proxy.connect_tls(&authority.client(versions));
        caller.send(chat_stream(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(STREAM_HEAD);
        caller.head();
        for _ in 0..20 {
            connection.send(chunk(DELTA));
            let event = caller.take_through(b"\n\n\r\n");
            assert!(event.ends_with(format!("{DELTA}\r\n").as_bytes()), "{}", event.escape_ascii());
        }
        connection.send(chunk(DONE));
        connection.send(b"0\r\n\r\n");
        caller.take_through(b"0\r\n\r\n");
    }
}

/// Goal: where the network cuts records does not matter. Method: the sealed bytes of a request, cut at every place, each half read
/// by the proxy before the other is sent; then a request in writes of one byte.
#[test]
fn a_request_may_arrive_in_any_pieces() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls(&world);
    let _seen = upstream.answer(|_| json_answer("{}"));
    for versions in [&[&TLS13], &[&TLS12]] {
        let mut caller = proxy.connect_tls(&authority.client(versions));
        caller.shake_hands().unwrap();
        let mut len = 1;
        let mut cut = 1;
        while cut < len {
            let sealed = caller.seal(chat(&tenant.pat));
            len = sealed.len();
            cut = cut.min(len - 1);
            caller.send_sealed(&sealed[..cut]);
            caller.wait_until_taken();
            caller.send_sealed(&sealed[cut..]);
            assert_eq!(caller.response().status(), 200, "cut at {cut} of {len}");
            cut += 1;
        }
        for byte in caller.seal(chat(&tenant.pat)) {
            caller.send_sealed(&[byte]);
        }
        assert_eq!(caller.response().status(), 200);
    }
}

#[test]
fn large_bodies_pass_unchanged_both_ways_and_to_a_slow_reader() {
    let (upstream, tenant, proxy, config) = start();
    let body: Vec<u8> = (0..6_000_000_u32).flat_map(|n| n.to_le_bytes()).take(6 << 20).collect();
    let json = format!(r#"{{"model":"tiny","input":"{}"}}"#, "y".repeat(5 << 20));
    let mut caller = proxy.connect_tls(&config);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\n{}content-length: {}\r\n\r\n",
        chat_path(),
        tenant.pat.line(),
        json.len()
    );
    let answer = body.clone();
    let upstream = thread::spawn(move || {
        let mut connection = upstream.accept();
        let seen = connection.request();
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len()));
        connection.send(&answer);
        seen
    });
    caller.send(head + &json);
    let mut received = caller.head();
    assert_eq!(received.status(), 200);
    // The sender has to wait for the reader in the middle of a record, again and again.
    thread::sleep(Duration::from_millis(100));
    received.body = caller.take(body.len());
    assert!(received.body == body, "the answer is another one");
    assert!(upstream.join().unwrap().body == json.as_bytes(), "the body is another one");
}

#[test]
fn requests_sent_ahead_inside_one_record_are_all_answered_in_order() {
    let (upstream, tenant, proxy, config) = start();
    let count = std::sync::atomic::AtomicU32::new(0);
    let _seen = upstream
        .answer(move |_| json_answer(&count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()));
    let mut caller = proxy.connect_tls(&config);
    caller.send(chat(&tenant.pat).repeat(5));
    for number in 0..5 {
        assert_eq!(caller.response().text(), number.to_string());
    }
}

#[test]
fn a_caller_that_leaves_ends_its_upstream_however_it_leaves() {
    type Leave = fn(Connection);
    let says_so: Leave = |mut caller| caller.finish_sending();
    for (how, leave) in
        [("close_notify and FIN", says_so), ("FIN", drop as Leave), ("RST", Connection::reset as Leave)]
    {
        let (upstream, tenant, proxy, config) = start();
        let mut caller = proxy.connect_tls(&config);
        caller.send(chat_stream(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(STREAM_HEAD);
        connection.send(chunk(DELTA));
        caller.take_through(b"\n\n");
        leave(caller);
        connection.wait_for_end();
        assert_eq!(proxy.record()["ending"], "caller_gone", "{how}");
    }
}

#[test]
fn an_early_413_reaches_a_caller_that_is_still_uploading_through_tls() {
    let (upstream, tenant, proxy, config) = start();
    let mut caller = proxy.connect_tls(&config);
    let auth = tenant.pat.line();
    caller
        .send(format!("POST {} HTTP/1.1\r\nhost: a\r\n{auth}content-length: 50331648\r\n\r\n", chat_path()));
    caller.send(r#"{"model":"tiny","messages":[{"role":"user","content":""#);
    caller.send("x".repeat(1 << 20));
    let mut connection = upstream.accept();
    connection.head();
    connection.send("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    assert_eq!(caller.response().status(), 413);
}

#[test]
fn an_answer_that_is_cut_never_ends_with_a_last_word_and_one_that_is_whole_does() {
    let until_close = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}";
    let (upstream, tenant, proxy, config) = start();
    let as_1_0 = chat(&tenant.pat).replacen("HTTP/1.1", "HTTP/1.0", 1);
    for (cut, expected) in [(false, End::Closed), (true, End::Reset)] {
        let mut caller = proxy.connect_tls(&config);
        caller.send(&as_1_0);
        let mut connection = upstream.accept();
        connection.request();
        connection.send(until_close);
        connection.wait_until_taken();
        if cut {
            connection.reset();
        } else {
            drop(connection);
        }
        caller.head();
        let (body, end) = caller.rest();
        assert_eq!((body.as_slice(), end), (&b"{}"[..], expected), "cut: {cut}");
    }
    let mut caller = proxy.connect_tls(&config);
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send([STREAM_HEAD, &chunk(DELTA)].concat());
    connection.wait_until_taken();
    drop(connection);
    caller.cut_response();
}

#[test]
fn a_connection_that_is_kept_alive_holds_no_buffer() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls_with(&world, |launch, _| {
        // The last of them may have to wait long for its turn.
        launch.settings.set("timeouts.handshake_s", 300).set("timeouts.keep_alive_s", 300);
    });
    let config = authority.client(BOTH);
    let _seen = upstream.answer(|_| json_answer("{}"));
    let mut callers: Vec<_> = (0..150).map(|_| proxy.connect_tls(&config)).collect();
    let ask = |callers: &mut Vec<Connection>| {
        for caller in callers {
            caller.send(chat(&tenant.pat));
            assert_eq!(caller.response().status(), 200);
        }
    };
    ask(&mut callers);
    let before = proxy.resident_kib();
    let more: Vec<_> = (0..150).map(|_| proxy.connect_tls(&config)).collect();
    callers.extend(more);
    ask(&mut callers);
    let each = (proxy.resident_kib().saturating_sub(before)) / 150;
    assert!(each <= 16, "{each} KiB for each idle connection");
}
