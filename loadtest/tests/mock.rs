//! The mock, seen through raw sockets: what it says and how it misbehaves, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use cube_loadtest::http1::{ChunkDecoder, ChunkStep, head_end};
use cube_loadtest::mock::{Mock, Options, Stats};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const CHAT: &str = r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;

fn mock() -> Mock {
    Mock::start(&Options::default()).unwrap()
}

fn connect(mock: &Mock) -> TcpStream {
    let stream = TcpStream::connect(mock.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len())
}

/// All bytes until the mock ends the connection, and whether it was reset.
fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (all, false),
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (all, true),
            Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&all)),
        }
    }
}

/// The bytes of one exchange on a connection that the mock closes.
fn exchange(mock: &Mock, fields: &str, body: &str) -> (String, bool) {
    let mut stream = connect(mock);
    stream.write_all(post("/v1/chat/completions", fields, body).as_bytes()).unwrap();
    let (bytes, reset) = read_to_end(&mut stream);
    (String::from_utf8(bytes).unwrap(), reset)
}

/// Decodes the chunked body after the head; the flag tells whether its end was there.
fn body_of(answer: &str) -> (String, bool) {
    let mut rest = &answer.as_bytes()[head_end(answer.as_bytes()).unwrap()..];
    let (mut decoder, mut body) = (ChunkDecoder::default(), Vec::new());
    loop {
        match decoder.step(rest).unwrap() {
            ChunkStep::Payload { payload } => {
                body.extend_from_slice(payload);
                rest = &rest[payload.len()..];
            }
            ChunkStep::Framing { taken } => rest = &rest[taken..],
            ChunkStep::End { .. } => return (String::from_utf8(body).unwrap(), true),
            ChunkStep::NeedMore => return (String::from_utf8(body).unwrap(), false),
        }
    }
}

fn wait_for(mock: &Mock, what: impl Fn(&Stats) -> bool) -> Stats {
    let start = Instant::now();
    loop {
        let stats = mock.stats();
        if what(&stats) {
            return stats;
        }
        assert!(start.elapsed() < PATIENCE, "{stats:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stream_holds_every_number_once_and_in_order_then_usage_then_done() {
    let (answer, _) = exchange(&mock(), "x-mock-events: 50\r\nconnection: close\r\n", CHAT);
    let (body, ended) = body_of(&answer);
    assert!(ended);
    let mut at = 0;
    for number in 0..50 {
        let stamp = format!("#{number:08}@");
        at += body[at..].find(&stamp).unwrap_or_else(|| panic!("{stamp} after byte {at} of {body}"));
    }
    assert_eq!(body.matches('#').count(), 50);
    assert!(body.contains(r#""usage":{"prompt_tokens":9,"completion_tokens":50,"total_tokens":59}"#));
    assert!(body.ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_cut_stream_ends_without_its_last_chunk_after_the_asked_events() {
    let mock = mock();
    for (fault, events, half) in [("cut-after-events=3", 3, false), ("cut-mid-chunk=2", 2, true)] {
        let fields = format!("x-mock-events: 9\r\nx-mock-fault: {fault}\r\n");
        let (answer, reset) = exchange(&mock, &fields, CHAT);
        let (body, ended) = body_of(&answer);
        assert_eq!((body.matches('#').count(), ended, reset), (events, false, false), "{fault}");
        assert_eq!(body.ends_with("\n\n"), !half, "{fault}");
    }
    let (answer, reset) = exchange(&mock, "x-mock-events: 9\r\nx-mock-fault: reset-after-events=2\r\n", CHAT);
    assert!(reset && !answer.contains("[DONE]"));
}

#[test]
fn events_leave_when_they_are_due_and_not_before() {
    let mock = mock();
    let mut stream = connect(&mock);
    let fields = "x-mock-events: 4\r\nx-mock-pace-us: 50000\r\nx-mock-first-delay-ms: 60\r\n";
    let start = Instant::now();
    stream.write_all(post("/v1/chat/completions", fields, CHAT).as_bytes()).unwrap();
    let (mut seen, mut buffer, mut times) = (Vec::new(), [0; 8192], Vec::new());
    while !seen.ends_with(b"0\r\n\r\n") {
        let bytes = stream.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..bytes]);
        times.push(start.elapsed());
    }
    // Only the lower bounds hold on a busy machine.
    assert!(times.len() > 1, "the events came apart");
    assert!(times[0] >= Duration::from_millis(60), "{times:?}");
    assert!(times[times.len() - 1] >= Duration::from_millis(60 + 3 * 50), "{times:?}");
}

#[test]
fn a_kept_alive_connection_answers_requests_that_were_sent_ahead_in_order() {
    let mock = mock();
    let mut stream = connect(&mock);
    let first = post("/v1/chat/completions", "x-mock-events: 2\r\n", CHAT);
    let second = post("/tokenize", "", r#"{"model":"m"}"#);
    let third = post("/v1/models/x", "connection: close\r\n", "");
    stream.write_all(format!("{first}{second}{third}").as_bytes()).unwrap();
    let text = String::from_utf8(read_to_end(&mut stream).0).unwrap();
    let (done, tokens, missing) =
        (text.find("[DONE]").unwrap(), text.find("\"tokens\"").unwrap(), text.find(" 404 ").unwrap());
    assert!(done < tokens && tokens < missing, "{text}");
    assert_eq!(mock.stats().requests, 3);
}

#[test]
fn a_caller_that_leaves_is_counted_before_the_head_and_within_a_stream() {
    let mock = mock();
    let mut stream = connect(&mock);
    stream
        .write_all(post("/v1/chat/completions", "x-mock-first-delay-ms: 60000\r\n", CHAT).as_bytes())
        .unwrap();
    wait_for(&mock, |stats| stats.requests == 1);
    drop(stream);
    wait_for(&mock, |stats| stats.cancelled_before_head + stats.streams_cancelled == 1);

    let mut stream = connect(&mock);
    let fields = "x-mock-events: 1000\r\nx-mock-pace-us: 10000\r\n";
    stream.write_all(post("/v1/chat/completions", fields, CHAT).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 16]).unwrap();
    drop(stream);
    let stats = wait_for(&mock, |stats| stats.streams_cancelled == 2);
    assert!(stats.events < 1000);
    let stats = wait_for(&mock, |stats| stats.connections_open == 0);
    assert_eq!(stats.streams_open, 0);
}

#[test]
fn an_early_answer_comes_before_the_body_and_reads_the_rest_away() {
    let mock = mock();
    let mut stream = connect(&mock);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\
        x-mock-fault: early\r\nx-mock-status: 413\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut buffer = [0; 4096];
    let bytes = stream.read(&mut buffer).unwrap();
    assert!(buffer[..bytes].starts_with(b"HTTP/1.1 413 "));
    stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
}

#[test]
fn an_echo_tells_head_and_body_as_they_arrived() {
    let fields = "authorization: Bearer a\r\nx-mock-echo: 1\r\nconnection: close\r\n";
    let (answer, _) = exchange(&mock(), fields, r#"{"model":"m"}"#);
    let json: serde_json::Value =
        serde_json::from_str(&answer[head_end(answer.as_bytes()).unwrap()..]).unwrap();
    let echo = &json["echo"];
    assert_eq!(echo["target"], "/v1/chat/completions");
    assert_eq!(echo["body"], r#"{"model":"m"}"#);
    assert_eq!(echo["body_crc32"], crc32fast::hash(br#"{"model":"m"}"#));
    let fields = echo["fields"].as_array().unwrap();
    assert!(fields.contains(&serde_json::json!(["authorization", "Bearer a"])));
}

#[test]
fn framings_carry_the_same_stream_and_a_wrong_knob_is_told() {
    let mock = mock();
    let fields =
        |framing: &str| format!("x-mock-events: 5\r\nx-mock-framing: {framing}\r\nconnection: close\r\n");
    let length = exchange(&mock, &fields("length"), CHAT).0;
    let close = exchange(&mock, &fields("close"), CHAT).0;
    let strip = |answer: &str| {
        let body = answer[head_end(answer.as_bytes()).unwrap()..].to_owned();
        body.split('#').map(|part| part.get(26..).unwrap_or("").to_owned()).collect::<String>()
    };
    assert_eq!(strip(&length), strip(&close));
    assert!(length.contains("content-length: "));
    let (answer, _) = exchange(&mock, "x-mock-evnts: 5\r\nconnection: close\r\n", CHAT);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("x-mock-evnts"), "{answer}");
}

#[test]
fn a_reset_a_silent_and_a_stale_connection_are_what_they_say() {
    let mock = mock();
    let (answer, reset) = exchange(&mock, "x-mock-fault: reset\r\n", CHAT);
    assert!(answer.is_empty() && reset);
    let (answer, reset) = exchange(&mock, "x-mock-fault: close\r\n", CHAT);
    assert!(answer.is_empty() && !reset);
    let (answer, _) = exchange(&mock, "x-mock-fault: close-after\r\nx-mock-events: 1\r\n", CHAT);
    assert!(answer.ends_with("0\r\n\r\n") && !answer.contains("connection: close"));
    let mut stream = connect(&mock);
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.write_all(post("/v1/chat/completions", "x-mock-fault: silent\r\n", CHAT).as_bytes()).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
