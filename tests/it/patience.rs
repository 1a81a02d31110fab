//! How long an upstream may take, by its cluster's record: to connect, to begin, between two reads, in all.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::requests::chat_stream;
use crate::support::{DELTA, Proxy, STREAM_HEAD, Upstream, World, chat, chunk};

/// A connect that is never answered: the backlog is full, so the kernel drops the SYN.
#[test]
fn an_upstream_that_does_not_accept_is_504_after_the_connect_timeout() {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket};
    let any = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &any).unwrap();
    listen(&listener, 0).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
    let fill = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    connect(&fill, &address).unwrap();

    let (mut world, tenant) = World::serving(&format!("http://{address}"));
    world.record("cluster", "main")["connect_timeout_ms"] = 300.into();
    let proxy = Proxy::of(&world);
    let status = proxy.ask(chat(&tenant.pat)).status();
    assert!([502, 504].contains(&status), "{status}");
}

#[test]
fn a_silent_upstream_is_504_and_its_connection_is_closed() {
    for sent in ["", "HTTP/1.1 20", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let upstream = Upstream::bind();
        let (mut world, tenant) = World::serving(&upstream.url());
        world.record("cluster", "main")["head_timeout_ms"] = 300.into();
        let proxy = Proxy::of(&world);
        let mut caller = proxy.connect();
        caller.send(chat(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        // The proxy may have given up by now.
        connection.offer(sent);
        let answer = caller.response();
        assert_eq!(answer.status(), 504, "{sent:?}");
        connection.wait_for_end();
        let record = proxy.record();
        assert_eq!(
            (&record["ending"], &record["status"]),
            (&"upstream_failed".into(), &504.into()),
            "{record}"
        );
    }
}

#[test]
fn an_upstream_that_stalls_mid_stream_cuts_the_caller() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["idle_timeout_ms"] = 300.into();
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    // In one piece: from here on the proxy's clock runs.
    connection.send([STREAM_HEAD, &chunk(DELTA)].concat());
    let cut = caller.cut_response();
    assert!(cut.text().starts_with(DELTA), "{}", cut.text());
    connection.wait_for_end();
    assert_eq!(proxy.record()["ending"], "upstream_timeout");
}

/// The idle time-out counts from the last byte: a stream longer than it goes on.
#[test]
fn a_slow_stream_outlives_the_idle_timeout() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["idle_timeout_ms"] = 2000.into();
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        connection.send(chunk(DELTA));
        caller.take_through(b"\n\n");
        sleep(Duration::from_millis(50));
    }
    connection.send("0\r\n\r\n");
    caller.take_through(b"0\r\n\r\n");
    assert_eq!(proxy.record()["ending"], "complete");
}

/// A whole answer may take only so long, however steadily it drips. Streams are never limited by it.
#[test]
fn an_answer_beyond_the_total_timeout_is_cut_and_a_stream_is_not() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["total_timeout_ms"] = 400.into();
    let proxy = Proxy::of(&world);
    let pause = Duration::from_millis(20);
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n");
    while connection.offer("{") {
        sleep(pause);
    }
    caller.cut_response();
    assert_eq!(proxy.record()["ending"], "upstream_timeout");

    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    // Twice the total.
    for _ in 0..40 {
        connection.send(chunk(DELTA));
        sleep(pause);
    }
    connection.send("0\r\n\r\n");
    assert_eq!(caller.response().text(), DELTA.repeat(40));
}
