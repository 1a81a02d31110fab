//! What is sent at most once, on which connections it travels all the same, and what its caller hears when one closes under it
//! (`docs/decisions/0013-sent-once-on-a-warm-connection.md`).

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

use super::open;
use crate::support::tls::{Authority, Pair, server};
use crate::support::{Connection, Message, PATIENCE, Proxy, Upstream, chunked, get, json_answer, post};

/// Longer than a kept connection stays warm.
const COOLED: Duration = Duration::from_millis(1100);

/// How many connections a test's requests may take: one, and one more for each pause in which a kept one may have cooled. A busy
/// machine makes such pauses.
struct Allowed {
    connections: usize,
    before_last: Instant,
}

impl Allowed {
    fn new() -> Self {
        Self { connections: 1, before_last: Instant::now() }
    }

    /// A request, sent at `sent`, came on the connection of this number.
    fn check(&mut self, number: usize, sent: Instant) {
        self.connections += usize::from(self.before_last.elapsed() >= Duration::from_secs(1));
        self.before_last = sent;
        assert!(number < self.connections, "connection {number}; {} are allowed", self.connections);
    }
}

/// Answers every request, and passes on what was asked, with the number of its connection.
fn answer(api: Upstream, tls: Option<Arc<ServerConfig>>) -> Receiver<(usize, Message)> {
    let (seen, requests) = channel();
    api.play(move |number, connection| {
        let mut connection = match &tls {
            Some(config) => connection.over(server(config).into()),
            None => connection,
        };
        while connection.read_some() {
            let request = connection.request();
            seen.send((number, request)).unwrap();
            if !connection.offer(json_answer("{}")) {
                return;
            }
        }
    });
    requests
}

/// A request whose body has no length.
fn apart(method: &str, body: &str) -> Vec<u8> {
    let head = format!("{method} /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    [head.as_bytes(), &chunked(&[body])].concat()
}

/// Whatever its body is: none, held in a buffer, larger than one, of no length.
#[test]
fn requests_that_are_sent_once_share_a_connection() {
    let api = Upstream::bind();
    let proxy = open(&api).start();
    let seen = answer(api, None);
    let large = "0123456789abcdef".repeat(20_000);
    let mut caller = proxy.cross();
    let mut allowed = Allowed::new();
    for _ in 0..10 {
        for (request, body) in [
            (post("/a", "", "").into_bytes(), ""),
            (post("/a", "", "{}").into_bytes(), "{}"),
            (get("/a", "").replace("GET", "PATCH").into_bytes(), ""),
            (post("/a", "", &large).into_bytes(), &large),
            (apart("POST", "12345"), "12345"),
        ] {
            let sent = Instant::now();
            caller.send(request);
            assert_eq!(caller.response().status(), 200);
            let (number, saw) = seen.recv().unwrap();
            assert_eq!(saw.text(), body);
            allowed.check(number, sent);
        }
        // Each caller on a connection of its own: the pool is the core's, not the caller's.
        caller = proxy.cross();
    }
    assert!(seen.try_recv().is_err());
}

/// How a server is done with a connection on which it has answered.
const PARTINGS: [fn(Connection); 3] = [drop, Connection::reset, |mut connection| {
    connection.offer(REQUEST_TIMEOUT);
}];
const REQUEST_TIMEOUT: &str =
    "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// By the time the next request is sent, the kernel has the end (or what was said out of turn).
#[test]
fn a_connection_that_its_server_closed_is_not_taken_for_what_is_sent_once() {
    let api = Upstream::bind();
    let proxy = open(&api).start();
    let mut caller = proxy.cross();
    for round in 0..30 {
        let (parting, at_once) = (PARTINGS[round % 3], round < 15);
        caller.send(post("/a", "", "{}"));
        let mut connection = api.accept();
        assert_eq!(connection.request().text(), "{}");
        connection.send(json_answer("{}"));
        if at_once {
            connection.part(parting);
            assert_eq!(caller.response().status(), 200, "round {round}");
        } else {
            assert_eq!(caller.response().status(), 200, "round {round}");
            thread::sleep(Duration::from_millis(5 * (round as u64 % 4)));
            connection.part(parting);
        }
    }
    assert_eq!(proxy.records(30).iter().filter(|record| record["status"] == 200).count(), 30);
}

/// The connection that the next request comes on, read as far as to its head: one of `kept`, or a new one.
fn asked(api: &Upstream, kept: &mut Vec<Connection>) -> Connection {
    let patience = Instant::now() + PATIENCE;
    loop {
        let heard = kept.iter().position(|connection| {
            let stream = connection.stream();
            stream.set_nonblocking(true).unwrap();
            let came = stream.peek(&mut [0]);
            stream.set_nonblocking(false).unwrap();
            came.is_ok()
        });
        if let Some(connection) = heard.map(|at| kept.remove(at)).or_else(|| api.try_accept()) {
            return connection;
        }
        assert!(Instant::now() < patience, "nothing was asked");
        thread::sleep(Duration::from_micros(200));
    }
}

/// What no look can prevent: the server closes while the request is on its way, and nobody knows whether it has taken it. It is not
/// the server's failure: three of them would set an endpoint aside.
#[test]
fn a_server_that_closes_just_when_a_request_comes_has_it_at_most_once_and_its_caller_gets_502() {
    let unheard: fn(Connection) -> Option<String> = |_connection| None;
    let heard: fn(Connection) -> Option<String> = |mut connection| Some(connection.head().start);
    let reset: fn(Connection) -> Option<String> = |mut connection| {
        let start = connection.head().start;
        connection.reset();
        Some(start)
    };
    let large = "0123456789abcdef".repeat(60_000);
    for parting in [unheard, heard, reset] {
        let api = Upstream::bind();
        let proxy = open(&api).start();
        let mut callers = [(); 4].map(|()| proxy.cross());
        let mut kept: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                caller.send(post("/a", "", "{}"));
                let mut connection = api.accept();
                connection.request();
                connection
            })
            .collect();
        for (caller, connection) in callers.iter_mut().zip(&mut kept) {
            connection.send(json_answer("{}"));
            assert_eq!(caller.response().status(), 200);
        }
        let mut starts = Vec::new();
        for (n, body) in ["{}", &large, "", "{}"].into_iter().enumerate() {
            let mut caller = proxy.cross();
            let request = post(&format!("/{n}"), "", body);
            let writer = caller.stream().try_clone().unwrap();
            // It may be told off before it has said all.
            let writing = thread::spawn(move || drop((&writer).write_all(request.as_bytes())));
            starts.extend(parting(asked(&api, &mut kept)));
            assert_eq!(caller.response().status(), 502, "request {n}");
            writing.join().unwrap();
        }
        assert!(api.try_accept().is_none(), "tried again");
        starts.dedup();
        assert!(matches!(starts.len(), 0 | 4), "{starts:?}");
        // A fresh connection that closes is its server's failure: a machine so busy that kept ones cool shows nothing here.
        if kept.is_empty() {
            assert_eq!(proxy.metrics().sum("cube_proxy_endpoint_ejections_total", &[]), 0.0);
        }
    }
}

#[test]
fn a_kept_connection_that_has_cooled_serves_only_what_may_be_sent_again() {
    let api = Upstream::bind();
    let proxy = open(&api).start();
    let mut caller = proxy.cross();
    let mut connections = Vec::new();
    for _ in 0..3 {
        caller.send(post("/a", "", "{}"));
        let mut connection = api.accept();
        connection.request();
        connection.send(json_answer("{}"));
        assert_eq!(caller.response().status(), 200);
        connections.push(connection);
        thread::sleep(COOLED);
    }
    for request in [get("/a", ""), get("/a", "").replace("GET", "DELETE")] {
        caller.send(request);
        let newest = connections.last_mut().unwrap();
        newest.request();
        newest.send(json_answer("{}"));
        assert_eq!(caller.response().status(), 200);
    }
    // A PUT may be sent again, but for its body, which is not held.
    thread::sleep(COOLED);
    caller.send(apart("PUT", "12345"));
    let mut new = api.accept();
    assert_eq!(new.request().text(), "12345");
    new.send(json_answer("{}"));
    assert_eq!(caller.response().status(), 200);
}

/// Its server counts from when its answer ended, so we do not count from when a slow caller has taken it.
///
/// Method: the caller takes nothing until the proxy, which cannot be rid of what it has, reads no more; then the answer's end is sent, and
/// the caller takes little by little, until the proxy has read that end and still cannot be rid of it.
#[test]
fn a_connection_cools_while_its_answer_waits_for_a_slow_caller() {
    const PIECE: usize = 128 * 1024;
    // Longer than an acknowledgement is delayed.
    const GLANCE: Duration = Duration::from_millis(60);
    let api = Upstream::bind();
    let proxy = open(&api).start();
    let is_in_use = || proxy.metrics().sum("cube_proxy_upstream_connections", &["state=\"active\""]) > 0.0;
    let chunk = |len: usize| format!("{len:x}\r\n{}\r\n", "x".repeat(len));
    for attempt in 1..100 {
        let mut caller = proxy.cross();
        caller.send(post("/a", "", "{}"));
        let mut connection = api.accept();
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while connection.is_read_within(GLANCE) {
            connection.send(chunk(PIECE));
        }
        // By a different amount each time: the kernel takes more of it in steps of its own, and the last one must not take all.
        for _ in 0..8 {
            connection.send(chunk(PIECE));
        }
        connection.send(chunk(attempt % 16 * 97 * 1024 + 1) + "0\r\n\r\n");
        while connection.unread() > 0 || !connection.is_read_within(GLANCE) {
            caller.read_some();
            let next = Instant::now() + Duration::from_millis(3);
            while connection.unread() > 0 && Instant::now() < next {
                thread::yield_now();
            }
        }
        // The caller may have taken so much that nothing waits for it any more.
        if is_in_use() {
            thread::sleep(COOLED);
        }
        let has_waited = is_in_use();
        assert_eq!(caller.response().status(), 200);
        if has_waited {
            let mut next = proxy.cross();
            next.send(post("/b", "", "{}"));
            assert_eq!(api.accept().request().target(), "/b");
            return;
        }
    }
    panic!("nothing waited for its caller");
}

/// A proxy before an API behind TLS, and what that serves with.
fn sealed(api: &Upstream) -> (Proxy, Pair) {
    let mut launch = open(api);
    let authority = Authority::new();
    let pair = authority.issue(&launch.dir, "server", &["localhost"]);
    let ca = authority.write(&launch.dir, "ca.pem");
    let url = api.url().replace("http://127.0.0.1", "https://localhost");
    launch
        .settings
        .set("passthrough.origins", vec![url])
        .set("upstream.system_roots", false)
        .set("upstream.ca_files", vec![ca.display().to_string()]);
    (launch.start(), pair)
}

/// Tickets, which come after the handshake, are nothing that a server said out of turn.
#[test]
fn requests_that_are_sent_once_share_a_connection_inside_tls() {
    for versions in [&[&TLS13], &[&TLS12]] {
        let api = Upstream::bind();
        let (proxy, pair) = sealed(&api);
        let seen = answer(api, Some(pair.server(versions)));
        let mut caller = proxy.cross();
        let mut allowed = Allowed::new();
        for _ in 0..20 {
            let sent = Instant::now();
            caller.send(post("/a", "", "{}"));
            assert_eq!(caller.response().status(), 200);
            let (number, _) = seen.recv().unwrap();
            allowed.check(number, sent);
        }
    }
}

#[test]
fn a_connection_inside_tls_that_its_server_closed_is_not_taken_for_what_is_sent_once() {
    for versions in [&[&TLS13], &[&TLS12]] {
        let api = Upstream::bind();
        let (proxy, pair) = sealed(&api);
        let config = pair.server(versions);
        let mut caller = proxy.cross();
        let mut open = Vec::new();
        for round in 0..12 {
            caller.send(post("/a", "", "{}"));
            let mut connection = api.accept().over(server(&config).into());
            assert_eq!(connection.request().text(), "{}");
            connection.send(json_answer("{}"));
            assert_eq!(caller.response().status(), 200, "round {round}");
            open.extend(connection.part(|mut connection| {
                match round % 3 {
                    0 => return None,
                    1 => connection.finish_sending(),
                    _ => assert!(connection.offer(REQUEST_TIMEOUT)),
                }
                Some(connection)
            }));
        }
    }
}
