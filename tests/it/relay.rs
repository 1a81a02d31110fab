//! Answers pass as they are, whatever framing the upstream and the caller speak.

use crate::support::requests::{chat_body, chat_path, chat_stream};
use crate::support::{
    Proxy, STREAM_HEAD, Upstream, World, chat, chunk, chunked, get, json_answer, post, start,
};

const EVENTS: [&str; 3] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
    "data: [DONE]\n\n",
];

/// The same stream in each framing an upstream may use, and whether its connection ends with it.
fn framings() -> [(&'static str, Vec<u8>, bool); 4] {
    let events = EVENTS.concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let length = events.len();
    [
        ("chunked", [STREAM_HEAD, &chunked(&EVENTS)].concat(), false),
        ("length", format!("{head}content-length: {length}\r\n\r\n{events}").into_bytes(), false),
        ("until close", format!("{head}\r\n{events}").into_bytes(), true),
        ("1.0", format!("{}\r\n{events}", head.replacen("1.1", "1.0", 1)).into_bytes(), true),
    ]
}

#[test]
fn every_upstream_framing_reaches_a_1_1_caller_whole_and_keeps_its_connection() {
    for (name, answer, closes) in framings() {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        for _ in 0..2 {
            caller.send(chat_stream(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(&answer);
            if closes {
                drop(connection);
            }
            let got = caller.response();
            assert_eq!((got.status(), got.text()), (200, EVENTS.concat()), "{name}");
            assert_eq!(got.field("content-type"), Some("text/event-stream"), "{name}");
            assert_eq!(got.field("connection"), None, "{name}: the caller may go on");
        }
    }
}

#[test]
fn every_upstream_framing_reaches_a_1_0_caller_until_close() {
    for (name, answer, closes) in framings() {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        caller.send(chat_stream(&tenant.pat).replacen("HTTP/1.1", "HTTP/1.0", 1));
        let mut connection = upstream.accept();
        let request = connection.request();
        assert!(request.start.ends_with("HTTP/1.1"), "our own version goes upstream: {}", request.start);
        connection.send(&answer);
        if closes {
            drop(connection);
        }
        let got = caller.response();
        assert_eq!((got.status(), got.text()), (200, EVENTS.concat()), "{name}");
        assert_eq!(got.field("transfer-encoding"), None, "{name}: a 1.0 caller knows no chunks");
        caller.wait_for_end();
    }
}

#[test]
fn a_1_0_caller_and_one_that_asks_to_close_are_let_go_after_the_answer() {
    let (_upstream, tenant, proxy) = start();
    let models = get("/proxy/acme/v1/models", &tenant.pat.line());
    let requests = [
        models.replacen("HTTP/1.1", "HTTP/1.0", 1),
        models.replacen("HTTP/1.1\r\nhost: proxy", "HTTP/1.0", 1),
        models.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1),
        models.replacen("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n", 1),
    ];
    for request in requests {
        let mut caller = proxy.connect();
        caller.send(&request);
        let answer = caller.last_response();
        assert_eq!(answer.status(), 200, "{request}");
        assert_eq!(answer.field("connection"), Some("close"), "{request}");
    }
}

/// A caller that has said its last word is not waited for; what it has not read yet still arrives. One that talks on after its
/// last word (an old habit: CRLF behind the body) gets its answer all the same, not a reset.
#[test]
fn the_last_answer_arrives_whole_however_late_it_is_read() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let body = format!("\"{}\"", "x".repeat(40_000));
    let answer = json_answer(&body);
    upstream.answer(move |_| answer.clone());
    let proxy = Proxy::of(&world);
    let request = chat(&tenant.pat).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    for (n, behind) in ["", "\r\n", "GET / HTTP/1.1\r\n"].into_iter().enumerate() {
        let mut caller = proxy.connect();
        caller.send(format!("{request}{behind}"));
        // The proxy is done with the connection, or waits only for the caller to go.
        proxy.records(n + 1);
        let got = caller.response();
        assert!(got.text() == body, "{behind:?}: {} of {} bytes", got.body.len(), body.len());
        assert_eq!(got.field("connection"), Some("close"));
        caller.finish_sending();
        assert_eq!(caller.wait_for_end(), crate::support::End::Closed, "{behind:?}");
    }
    proxy.wait_for_metrics("no connection", |metrics| metrics.sum("cube_proxy_open_connections", &[]) == 0.0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|request| json_answer(&request.json()["n"].to_string()));
    let proxy = Proxy::of(&world);
    let numbered = |n: usize| {
        let body = chat_body("false").replacen('{', &format!("{{\"n\":{n},"), 1);
        post(&chat_path(), &tenant.pat.line(), &body)
    };
    let mut caller = proxy.connect();
    let mut wire: String = (0..5).map(numbered).collect();
    wire += &get("/proxy/acme/v1/models", &tenant.pat.line());
    wire += &numbered(5);
    caller.send(wire);
    for n in 0..5 {
        assert_eq!(caller.response().text(), n.to_string());
    }
    assert_eq!(caller.response().json()["object"], "list");
    assert_eq!(caller.response().text(), "5");
    assert_eq!(requests.iter().take(6).count(), 6);
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let answers = [
        "HTTP/1.1 204 No Content\r\nx-n: 204\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let mut connection = None;
    for answer in answers {
        caller.send(chat(&tenant.pat));
        let connection = connection.get_or_insert_with(|| upstream.accept());
        connection.request();
        connection.send(answer);
        let got = caller.response();
        assert!(answer.contains(&got.start), "{answer:?}: {}", got.start);
        assert_eq!(got.text(), "");
        if got.status() == 204 {
            assert_eq!(got.field("content-length"), None, "RFC 9110 §8.6");
            assert_eq!(got.field("transfer-encoding"), None);
        }
    }
    caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn interim_answers_of_the_upstream_do_not_end_the_exchange() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    connection.send("HTTP/1.1 102 Processing\r\n\r\n");
    connection.send(json_answer("{\"done\":1}"));
    let answer = loop {
        let answer = caller.response();
        if answer.status() >= 200 {
            break answer;
        }
        assert_ne!(answer.status(), 100, "the caller did not expect it");
    };
    assert_eq!(answer.text(), "{\"done\":1}");
    caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn upstream_errors_pass_as_they_are() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let mut connection = None;
    for status in ["400 Bad Request", "404 Not Found", "422 Unprocessable Entity", "500 Oh No", "418 Teapot"]
    {
        caller.send(chat(&tenant.pat));
        let connection = connection.get_or_insert_with(|| upstream.accept());
        connection.request();
        let body = r#"{"error":{"message":"theirs"}}"#;
        let length = body.len();
        connection
            .send(format!("HTTP/1.1 {status}\r\nretry-after: 7\r\ncontent-length: {length}\r\n\r\n{body}"));
        let got = caller.response();
        assert_eq!(got.status().to_string(), status[..3]);
        assert_eq!((got.text().as_str(), got.field("retry-after")), (body, Some("7")));
    }
}

#[test]
fn a_large_answer_passes_whole() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let answer: Vec<u8> = (0..8_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let (by_length, by_chunks) = (answer.clone(), answer.clone());
    upstream.answer(move |request| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        if request.json()["n"] == 0 {
            let length = by_length.len();
            [format!("{head}content-length: {length}\r\n\r\n").as_bytes(), &by_length].concat()
        } else {
            let chunks: Vec<&[u8]> = by_chunks.chunks(70_001).collect();
            [format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes(), &chunked(&chunks)].concat()
        }
    });
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    for n in [0, 1, 0, 1] {
        let body = chat_body("false").replacen('{', &format!("{{\"n\":{n},"), 1);
        caller.send(post(&chat_path(), &tenant.pat.line(), &body));
        let got = caller.response();
        assert_eq!(got.body.len(), answer.len());
        assert!(got.body == answer, "bytes changed on the way");
    }
}

/// Goal: a slow reader pauses its upstream instead of filling memory. Method: an answer far larger than all
/// buffers on the way, a caller that reads nothing; the upstream must get stuck, and the proxy stay small.
#[test]
fn a_slow_reader_pauses_its_upstream() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    let before = proxy.resident_kib();
    let total = 64 << 20;
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {total}\r\n\r\n");
    connection.send(head);
    let stuck = connection.send_until_stuck(total);
    assert!(stuck < total / 2, "{stuck} bytes were taken from the upstream");
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 4 << 10, "{grown} KiB for one stream");
    // Once the caller reads, everything comes.
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| connection.send(vec![b'x'; total - stuck]));
        caller.response()
    });
    assert_eq!(answer.body.len(), total);
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB for one stream");
}

/// Chunks that come together may go together; none may be lost, split events are no matter.
#[test]
fn chunk_sizes_of_all_kinds_pass() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(STREAM_HEAD);
    let mut sent = Vec::new();
    for size in [1_usize, 2, 15, 16, 17, 255, 256, 4095, 4096, 16_383, 16_384, 16_385, 65_536, 200_000, 1] {
        let payload = format!("data: {}\n\n", "y".repeat(size));
        connection.send(chunk(&payload));
        sent.extend_from_slice(payload.as_bytes());
    }
    connection.send("0;ext=1\r\nx-trailer: a\r\n\r\n");
    let got = caller.response();
    assert!(got.body == sent, "bytes changed on the way");
    assert!(!got.mentions("x-trailer"), "trailers are dropped");
}

/// Goal: chunk extensions and trailers are between the proxy and its upstream (RFC 9112 §7.1.1, §7.1.2). Method: one stream that
/// passes as it is and one with an event to leave out, both cut in every place; the bytes after it are another answer.
#[test]
fn extensions_and_trailers_of_an_answer_do_not_reach_the_caller() {
    let (upstream, tenant, proxy) = start();
    let first = format!("{:x} ;a=b; c=\"\\\"x\"\r\n{}\r\n", EVENTS[0].len(), EVENTS[0]).replacen(' ', "", 1);
    let second = format!("{:X}\r\n{}\r\n", EVENTS[1].len(), EVENTS[1]);
    let end = "0;last\r\nx-trailer: 1\r\ncontent-length: 9\r\n\r\n";
    let wire = [STREAM_HEAD, first.as_bytes(), second.as_bytes(), end.as_bytes()].concat();
    let asked = chat_body("true").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    let mut caller = proxy.connect();
    let mut connection: Option<crate::support::Connection> = None;
    for request in [post(&chat_path(), &tenant.pat.line(), &asked), chat_stream(&tenant.pat)] {
        for cut in STREAM_HEAD.len()..wire.len() {
            caller.send(&request);
            let connection = connection.get_or_insert_with(|| upstream.accept());
            connection.request();
            connection.send_cut(&wire, cut);
            let got = caller.response();
            assert_eq!(got.text(), EVENTS[..2].concat(), "cut at {cut}");
            let framed = got.framed.escape_ascii().to_string();
            let extra = [";", "trailer", "content-length"].iter().find(|extra| framed.contains(**extra));
            assert_eq!(extra, None, "cut at {cut}: {framed}");
            assert!(framed.ends_with(r"\r\n0\r\n\r\n"), "cut at {cut}: {framed}");
        }
    }
}

/// A GET with a body is unusual and legal: its body is nobody's next request.
#[test]
fn a_body_where_none_is_expected_is_never_parsed() {
    let (_upstream, tenant, proxy) = start();
    let smuggled = get("/health", "x-request-id: smuggled\r\n");
    let length = format!("{}content-length: {}\r\n", tenant.pat.line(), smuggled.len());
    let chunks = format!("{}transfer-encoding: chunked\r\n", tenant.pat.line());
    let models = "/proxy/acme/v1/models";
    for request in [
        [get(models, &length).as_bytes(), smuggled.as_bytes()].concat(),
        [get(models, &chunks).as_bytes(), &chunked(&[&smuggled])].concat(),
    ] {
        let mut caller = proxy.connect();
        caller.send(request);
        assert_eq!(caller.response().status(), 200);
        // In step, or closed.
        caller.offer(get("/health", "x-request-id: honest\r\nconnection: close\r\n"));
        let (rest, _) = caller.rest();
        assert!(!String::from_utf8_lossy(&rest).contains("smuggled"), "{}", rest.escape_ascii());
    }
}
