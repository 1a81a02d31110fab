//! Somebody leaves. A caller that is gone ends its upstream at once; an upstream that is gone is visible to its
//! caller, as a status while there is one to give, as a cut after that.

use crate::support::requests::chat_stream;
use crate::support::upstream::json_answer;
use crate::support::{
    Connection, DELTA, End, Nobody, Proxy, STREAM_HEAD, Upstream, World, chat, chunk, start,
};

/// How a caller goes away.
type Leave = fn(Connection);
const LEAVES: [(&str, Leave); 2] = [("FIN", drop), ("RST", Connection::reset)];

#[test]
fn a_caller_that_leaves_before_the_first_byte_ends_its_upstream() {
    for (how, leave) in LEAVES {
        for request in [chat, chat_stream] {
            let (upstream, tenant, proxy) = start();
            let mut caller = proxy.connect();
            caller.send(request(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            leave(caller);
            connection.wait_for_end();
            let record = proxy.record();
            assert_eq!((&record["ending"], &record["status"]), (&"caller_gone".into(), &499.into()), "{how}");
        }
    }
}

#[test]
fn a_caller_that_leaves_mid_stream_ends_its_upstream() {
    for (how, leave) in LEAVES {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        caller.send(chat_stream(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(STREAM_HEAD);
        connection.send(chunk(DELTA));
        caller.take_through(b"\n\n");
        leave(caller);
        // Nothing more is sent: the proxy has to notice by itself.
        connection.wait_for_end();
        assert_eq!(proxy.record()["ending"], "caller_gone", "{how}");
    }
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_a_long_answer_ends_its_upstream() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n");
    connection.send_until_stuck(64 << 20);
    caller.take(1000);
    caller.reset();
    connection.wait_for_end();
    assert_eq!(proxy.record()["ending"], "caller_gone");
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_its_body_never_looks_whole_upstream() {
    let (upstream, tenant, proxy) = start();
    let request = chat(&tenant.pat);
    let mut caller = proxy.connect();
    caller.send(&request[..request.len() - 3]);
    drop(caller);
    assert_eq!(proxy.record()["ending"], "caller_gone");
    if let Some(mut connection) = upstream.try_accept() {
        assert_ne!(connection.wait_for_end(), End::Closed, "the upstream may not see a clean end");
    }
}

#[test]
fn an_upstream_cut_mid_body_cuts_the_caller() {
    let length = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\n";
    let stream = String::from_utf8_lossy(STREAM_HEAD).into_owned();
    let until_close = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let framed = String::from_utf8(chunk(DELTA)).unwrap();
    let rows = [
        ("between chunks", format!("{stream}{framed}"), DELTA),
        ("in a chunk", format!("{stream}{}", &framed[..framed.len() - 10]), &DELTA[..DELTA.len() - 8]),
        ("in a size", format!("{stream}{framed}1"), DELTA),
        ("before a chunk's CRLF", format!("{stream}{}", &framed[..framed.len() - 2]), DELTA),
        ("in the last chunk", format!("{stream}{framed}0\r\n"), DELTA),
        ("in a length", format!("{length}{DELTA}"), DELTA),
    ];
    for (name, sent, payload) in rows {
        for reset in [false, true] {
            let (upstream, tenant, proxy) = start();
            let mut caller = proxy.connect();
            caller.send(chat_stream(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(&sent);
            connection.wait_until_taken();
            if reset {
                connection.reset();
            } else {
                drop(connection);
            }
            let cut = caller.cut_response();
            assert_eq!(cut.status(), 200, "{name}");
            let text = cut.text();
            let came = text.split_once("event: error").map_or(&*text, |(before, _)| before);
            assert!(payload.starts_with(came), "{name}: {text}");
            assert!(!cut.mentions("[DONE]"), "{name}");
            let record = proxy.record();
            assert_eq!(record["ending"], "upstream_cut", "{name}: {record}");
        }
    }
    // With no framing, only a RST tells that it was cut.
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(format!("{until_close}{DELTA}"));
    connection.wait_until_taken();
    connection.reset();
    caller.cut_response();
    assert_eq!(proxy.record()["ending"], "upstream_cut");
}

#[test]
fn an_upstream_that_goes_before_its_head_is_whole_is_502() {
    for sent in ["", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r"] {
        for reset in [false, true] {
            let (upstream, tenant, proxy) = start();
            let mut caller = proxy.connect();
            caller.send(chat(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(sent);
            if reset {
                connection.reset();
            } else {
                drop(connection);
            }
            let answer = caller.response();
            assert_eq!(answer.status(), 502, "{sent:?}");
            assert!(answer.json()["error"]["code"].is_string());
            assert!(upstream.try_accept().is_none(), "{sent:?}: a POST was sent twice");
            let record = proxy.record();
            assert_eq!(record["ending"], "upstream_failed", "{record}");
        }
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_502() {
    let nobody = Nobody::bind();
    let gone = nobody.url();
    let (world, tenant) = World::serving(&gone);
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    for _ in 0..2 {
        caller.send(chat(&tenant.pat));
        let answer = caller.response();
        assert_eq!(answer.status(), 502, "{}", answer.text());
        assert!(
            !answer.mentions(gone.trim_start_matches("http://")),
            "addresses are not the caller's business"
        );
    }
}

/// Many callers leave at random moments; everything that was open is closed again.
#[test]
fn nothing_stays_open_after_many_departures() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.play(|_, mut connection| {
        while connection.read_some() {
            let request = connection.request();
            if request.json()["stream"] == true {
                let events = [STREAM_HEAD.to_vec(), chunk(DELTA)].concat();
                if !connection.offer(events) || !connection.offer(chunk(DELTA)) {
                    return;
                }
                connection.wait_for_end();
                return;
            }
            if !connection.offer(json_answer("{}")) {
                return;
            }
        }
    });
    let proxy = Proxy::of(&world);
    for n in 0..60 {
        let mut caller = proxy.connect();
        let request = if n % 2 == 0 { chat_stream(&tenant.pat) } else { chat(&tenant.pat) };
        match n % 6 {
            0 | 1 => caller.send(&request[..request.len() / 2]),
            2 | 3 => caller.send(request),
            _ => {
                caller.send(request);
                caller.take(10);
            }
        }
        if n % 4 < 2 { caller.reset() } else { drop(caller) }
    }
    proxy.wait_for_metrics("every gauge at zero", |metrics| {
        metrics.sum("cube_proxy_open_connections", &[]) == 0.0
            && metrics.sum("cube_proxy_inflight_requests", &[]) == 0.0
            && metrics.sum("cube_proxy_active_streams", &[]) == 0.0
    });
    assert_eq!(proxy.ask(chat(&tenant.pat)).status(), 200);
}
