//! Events pass when they are produced, not when more have gathered.

use std::thread;
use std::time::Duration;

use crate::support::requests::{chat_body, chat_path, chat_stream};
use crate::support::{Connection, STREAM_HEAD, chunk, post, start};

const EVENTS: usize = 40;

fn event(n: usize) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{n}\"}}}}]}}\n\n")
}

/// The strongest form, and no clock in it: an event is produced only after the caller has seen the one before.
#[test]
fn an_event_reaches_the_caller_before_the_next_is_produced() {
    let until_close: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let length: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n";
    for head in [STREAM_HEAD, until_close, length] {
        for (version, asked) in [("1.1", "true"), ("1.0", "true"), ("1.1", USAGE_ASKED)] {
            let (upstream, tenant, proxy) = start();
            let mut caller = proxy.connect();
            let request = post(&chat_path(), &tenant.pat.line(), &chat_body(asked));
            caller.send(request.replacen("1.1", version, 1));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(head);
            for n in 0..EVENTS {
                let event = event(n);
                connection.send(if head == STREAM_HEAD { chunk(&event) } else { event.clone().into_bytes() });
                caller.take_through(event.as_bytes());
            }
        }
    }
}

const USAGE_ASKED: &str = "true,\"stream_options\":{\"include_usage\":true}";

/// The same for Ollama's lines of JSON.
#[test]
fn a_line_of_json_reaches_the_caller_before_the_next_is_produced() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(post("/proxy/acme/api/chat", &tenant.pat.line(), r#"{"model":"tiny","messages":[]}"#));
    let mut connection = upstream.accept();
    connection.request();
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n");
    for n in 0..EVENTS {
        let line = format!("{{\"message\":{{\"content\":\"{n}\"}},\"done\":false}}\n");
        connection.send(chunk(&line));
        caller.take_through(line.as_bytes());
    }
    connection.send(chunk("{\"done\":true,\"prompt_eval_count\":1,\"eval_count\":40}\n"));
    connection.send("0\r\n\r\n");
    caller.take_through(b"0\r\n\r\n");
}

/// The head does not wait for the first event.
#[test]
fn the_head_reaches_the_caller_before_the_first_event_is_produced() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    assert_eq!(caller.head().status(), 200);
    connection.send(chunk(event(0)));
    caller.take_through(b"\n\n");
}

/// D3, X7: 40 events 25 ms apart arrive as at least 40 reads, each in its own. An event is produced when its time has come
/// *and* the one before was read, so a caller that a busy machine does not let run cannot make two of them one.
#[test]
fn forty_events_25_ms_apart_arrive_as_forty_reads() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    caller.head();
    let before = caller.arrivals.len();
    for n in 0..EVENTS {
        connection.send(chunk(event(n)));
        caller.take_through(&chunk(event(n)));
        thread::sleep(Duration::from_millis(25));
    }
    connection.send("0\r\n\r\n");
    caller.take_through(b"0\r\n\r\n");
    let arrivals = &caller.arrivals[before..];
    assert!(arrivals.len() > EVENTS, "{} reads", arrivals.len());
    assert!(arrivals.iter().all(|arrival| arrival.len <= chunk(event(EVENTS)).len()), "{arrivals:?}");
    assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
}

/// One stream that stands still does not hold up another on the same core.
#[test]
fn streams_on_one_core_do_not_wait_for_each_other() {
    let (upstream, tenant, proxy) = start();
    let mut pairs: Vec<(Connection, Connection)> = (0..10)
        .map(|_| {
            let mut caller = proxy.connect();
            caller.send(chat_stream(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(STREAM_HEAD);
            (caller, connection)
        })
        .collect();
    for round in 0..5 {
        for (caller, connection) in pairs.iter_mut().rev() {
            connection.send(chunk(event(round)));
            caller.take_through(event(round).as_bytes());
        }
    }
}
