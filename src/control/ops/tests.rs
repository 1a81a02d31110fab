//! The listener over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use http::StatusCode;
use monoio::{LegacyDriver, RuntimeBuilder};

use super::{Answers, CONNECTIONS_MAX, Reply, bind, serve};

struct Echo;

impl Answers for Echo {
    async fn answer(&self, path: &str) -> Reply {
        match path {
            "/large" => Reply::text(StatusCode::OK, "x".repeat(5_000_000)),
            "/panic" => panic!("on purpose"),
            path => Reply::text(StatusCode::OK, format!("you asked for {path}")),
        }
    }
}

/// A listener on a thread that lives as long as the test program.
fn start() -> SocketAddr {
    let (told, address) = mpsc::channel();
    std::thread::spawn(move || {
        let listener = bind("127.0.0.1:0".parse().expect("an address"), false).expect("a free port");
        told.send(listener.local_addr().expect("bound")).expect("the test waits");
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().expect("epoll");
        runtime.block_on(async {
            let listener = monoio::net::TcpListener::from_std(listener).expect("a listener");
            serve(listener, Rc::new(Echo)).await;
        });
    });
    address.recv().expect("the listener starts")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    stream
}

/// Sends `request` and reads until the peer closes.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and then the end");
    answer
}

#[test]
fn a_request_is_answered_and_the_connection_serves_the_next() {
    let address = start();
    let answer = exchange(
        address,
        b"\r\nGET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /b?query HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    let (first, second) = answer.split_once("you asked for /a").expect("the first answer");
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && !first.contains("connection: close"), "{first}");
    assert!(first.contains("content-length: 16\r\n"), "{first}");
    assert!(second.ends_with("connection: close\r\n\r\nyou asked for /b"), "{second}");
}

/// Goal: reads may cut a head anywhere. Method: one byte at a time.
#[test]
fn a_request_may_arrive_byte_by_byte() {
    let address = start();
    let mut stream = connect(address);
    stream.set_nodelay(true).expect("an option");
    for byte in b"GET /slow HTTP/1.0\r\nhost: x\r\n\r\n" {
        stream.write_all(&[*byte]).expect("sent");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and then the end");
    assert!(answer.ends_with("you asked for /slow"), "{answer}");
}

#[test]
fn head_gives_the_length_of_get_and_no_body() {
    let answer = exchange(start(), b"HEAD /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.contains("content-length: 5000000\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_large_answer_arrives_whole() {
    let answer = exchange(start(), b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body.len(), 5_000_000);
}

#[test]
fn what_breaks_the_rules_is_refused_and_the_connection_closed() {
    let address = start();
    let long_field = [&b"GET / HTTP/1.1\r\nhost: x\r\na: "[..], &[b'a'; 70_000]].concat();
    let long_name = [&b"GET / HTTP/1.1\r\nhost: x\r\n"[..], &[b'a'; 70_000], b": 1\r\n\r\n"].concat();
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "400"),
        (b"GET / HTTP/1.1\nhost: x\n\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\n\r\n", "405"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", "413"),
        (&long_field, "431"),
        (&long_name, "431"),
    ] {
        let mut stream = connect(address);
        stream.write_all(request).expect("all of it is taken, even if it is not looked at");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        let line = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(line, format!("HTTP/1.1 {status}"), "{:?}", String::from_utf8_lossy(request));
        if status == "405" {
            continue;
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(String::from_utf8_lossy(&rest).contains("connection: close"));
    }
}

#[test]
fn a_panic_ends_its_connection_and_no_other() {
    let address = start();
    let mut stream = connect(address);
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    assert_eq!(stream.read(&mut [0; 16]).expect("the end"), 0);
    assert!(exchange(address, b"GET /a HTTP/1.0\r\nhost: x\r\n\r\n").ends_with("/a"));
}

#[test]
fn connections_above_the_limit_are_closed_and_leave_room_again() {
    let address = start();
    let mut open: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(address)).collect();
    // The last one has been accepted when it is answered, and so have all before it.
    let last = open.last_mut().expect("there are some");
    last.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    assert!(last.read(&mut [0; 16]).expect("an answer") > 0);
    assert_eq!(connect(address).read(&mut [0; 16]).unwrap_or(0), 0, "closed at once");
    drop(open);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut stream = connect(address);
        let _ = stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
        if matches!(stream.read(&mut [0; 16]), Ok(1..)) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "no room again");
    }
}
