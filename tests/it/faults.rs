//! An upstream that does not speak HTTP properly is a 502, never something for the caller to make sense of.

use crate::support::requests::chat_stream;
use crate::support::{STREAM_HEAD, chat, chunk, get, start};

/// Goal: none of these heads reaches a caller. Method: each as the answer of a fresh upstream connection, which
/// must then be closed, on one caller connection, which must stay usable.
#[test]
fn malformed_upstream_heads_are_502() {
    let many = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = format!("x-long: {}\r\n", "v".repeat(70_000));
    let rows = [
        "HTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/01.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/11.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.01 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1\t200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "http/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        " HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 -20 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 2x0 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 O\0K\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 O\rK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\n{}}",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a : 1\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx a: 1\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\n x-a: 1\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-a: 1\x002\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-a: 1\r2\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-a: 1\n2\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\n: 1\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{many}content-length: 2\r\n\r\n{{}}"),
        &format!("HTTP/1.1 200 OK\r\n{long}content-length: 2\r\n\r\n{{}}"),
        &"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100),
        "{\"this\":\"is not HTTP\"}\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ];
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let mut faults = Vec::new();
    for row in rows {
        caller.send(chat(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.offer(row);
        let mut answer = caller.response();
        while answer.status() < 200 {
            answer = caller.response();
        }
        if answer.status() != 502 {
            faults.push(format!("{:?}: {}", &row[..row.len().min(100)], answer.start));
        }
        connection.wait_for_end();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    caller.send(get("/proxy/acme/v1/models", &tenant.pat.line()));
    assert_eq!(caller.response().status(), 200);
    let metrics = proxy.metrics();
    assert!(metrics.has("gen_ai_server_request_duration_seconds_count"), "{metrics}");
}

/// After the head it is too late for a status: the caller is cut.
#[test]
fn malformed_upstream_chunks_cut_the_caller() {
    let event = "data: {\"a\":1}\n\n";
    let good = String::from_utf8(chunk(event)).unwrap();
    let rows = [
        "zz\r\nab\r\n0\r\n\r\n",
        "0x2\r\nab\r\n0\r\n\r\n",
        "2\nab\r\n0\r\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "2\r\nab0\r\n\r\n",
        "\r\n0\r\n\r\n",
        " 2\r\nab\r\n0\r\n\r\n",
        "-1\r\nab\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nab\r\n0\r\n\r\n",
        "data: not a chunk\r\n\r\n",
    ];
    for bad in rows {
        let (upstream, tenant, proxy) = start();
        let mut caller = proxy.connect();
        caller.send(chat_stream(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(STREAM_HEAD);
        connection.send(&good);
        caller.take_through(b"\r\n\r\n");
        caller.take_through(event.as_bytes());
        connection.offer(bad);
        let (rest, _) = caller.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{bad:?}: a clean end: {}", rest.escape_ascii());
        connection.wait_for_end();
        let record = proxy.record();
        assert_eq!(record["ending"], "upstream_cut", "{bad:?}: {record}");
    }
}

/// An answer to HEAD has no body, whatever length it states; and a body on 204 is not read as the next answer.
#[test]
fn a_body_where_none_may_be_never_reaches_the_next_caller() {
    let (upstream, tenant, proxy) = start();
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary",
        "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n",
    ] {
        let mut caller = proxy.connect();
        caller.send(chat(&tenant.pat));
        let mut connection = upstream.accept();
        connection.request();
        connection.send(answer);
        let got = caller.response();
        assert!(!got.mentions("canary") && [204, 304, 502].contains(&got.status()), "{}", got.start);
        connection.wait_for_end();
        caller.expect_silence();
    }
}
