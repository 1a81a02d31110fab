//! Heads going out.

use super::super::write::{CHUNK_HEADROOM, write_decimal};
use super::super::{Framing, HeadWriter, Known, copy_fields, status_line, write_chunk_head};
use super::{request, response};

fn copied(fields: &str, keep: impl Fn(Known) -> bool) -> String {
    let wire = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let (head, _) = request(wire.as_bytes()).unwrap();
    let mut out = Vec::new();
    copy_fields(&mut out, wire.as_bytes(), head.fields(), |field| keep(field.known));
    String::from_utf8(out).unwrap()
}

#[test]
fn kept_lines_are_copied_as_they_came() {
    let fields = "X-A:  1 \r\nAccept:*/*\r\nauthorization: Bearer x\r\nx-b:\r\n";
    assert_eq!(copied(fields, |_| true), format!("host: a\r\n{fields}"));
    let kept = copied(fields, |known| !matches!(known, Known::Host | Known::Authorization));
    assert_eq!(kept, "X-A:  1 \r\nAccept:*/*\r\nx-b:\r\n");
    assert_eq!(copied(fields, |_| false), "");
}

#[test]
fn connection_level_fields_end_here_and_so_do_those_that_connection_names() {
    let fields = "Connection: close, X-Secret, keep-alive, te\r\nx-keep: 1\r\nX-SECRET: 2\r\nKeep-Alive: 5\r\n\
        te: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Connection: keep-alive\r\n\
        Proxy-Authorization: x\r\nProxy-Authenticate: x\r\nx_secret: 3\r\nconnection: x-late\r\nx-late: 4\r\nx-secrets: 5\r\n";
    assert_eq!(copied(fields, |known| known != Known::Host), "x-keep: 1\r\nx-secrets: 5\r\n");
    assert_eq!(copied("transfer-encoding: chunked\r\n", |known| known != Known::Host), "");
    assert_eq!(copied("content-length: 5\r\n", |known| known != Known::Host), "");
}

#[test]
fn naming_them_in_connection_does_not_strip_what_decides() {
    let fields = "connection: host, authorization, content-type, content-length, x-request-id, content-encoding\r\n\
        authorization: a\r\ncontent-type: b\r\nx-request-id: c\r\ncontent-encoding: d\r\n";
    let kept = copied(fields, |_| true);
    assert_eq!(
        kept,
        "host: a\r\nauthorization: a\r\ncontent-type: b\r\nx-request-id: c\r\ncontent-encoding: d\r\n"
    );
}

#[test]
fn a_request_head_reads_back_as_what_was_written() {
    let wire =
        b"POST /proxy/d/v1/chat?x=1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer pat\r\naccept: */*\r\n\r\n";
    let (head, _) = request(wire).unwrap();
    let mut out = Vec::new();
    HeadWriter::request(
        &mut out,
        &head.method,
        &[b"/base", b"/v1/chat", b"?", head.query.of(wire)],
        b"up:80",
    )
    .copy(wire, head.fields(), |field| !matches!(field.known, Known::Host | Known::Authorization))
    .line(b"authorization: Bearer key\r\n")
    .field("x-request-id", b"r1")
    .end(Framing::Length(1234));
    let wanted = "POST /base/v1/chat?x=1 HTTP/1.1\r\nhost: up:80\r\naccept: */*\r\nauthorization: Bearer key\r\n\
        x-request-id: r1\r\ncontent-length: 1234\r\n\r\n";
    assert_eq!(String::from_utf8(out.clone()).unwrap(), wanted);
    assert_eq!(request(&out).unwrap().1, out.len());
}

#[test]
fn a_response_head_reads_back_as_what_was_written() {
    let wire = b"HTTP/1.0 200 Fine\r\nserver: up\r\ncontent-length: 3\r\ncontent-type: text/plain\r\n\r\n";
    let (head, _) = response(wire).unwrap();
    for (framing, line) in [
        (Framing::None, ""),
        (Framing::Length(0), "content-length: 0\r\n"),
        (Framing::Chunked, "transfer-encoding: chunked\r\n"),
    ] {
        let mut out = Vec::new();
        HeadWriter::response(&mut out, head.status)
            .copy(wire, head.fields(), |field| field.known != Known::Server)
            .end(framing);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{line}\r\n")
        );
    }
}

#[test]
fn every_status_has_a_status_line() {
    for status in 100..600 {
        let line = std::str::from_utf8(status_line(status)).unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")) && line.ends_with("\r\n"), "{line:?}");
        let wire = format!("{line}\r\n");
        assert_eq!(response(wire.as_bytes()).unwrap().0.status, status);
    }
    assert_eq!(status_line(99), status_line(500));
    assert_eq!(status_line(600), status_line(500));
    assert_eq!(status_line(529), b"HTTP/1.1 529 \r\n");
}

#[test]
fn a_chunk_size_ends_where_the_payload_begins() {
    for size in [1_u32, 9, 10, 15, 16, 255, 4096, 65_535, 1 << 20, u32::MAX] {
        let mut headroom = [b'?'; CHUNK_HEADROOM];
        let start = write_chunk_head(&mut headroom, size);
        assert_eq!(headroom[start..], *format!("{size:x}\r\n").as_bytes());
    }
}

#[test]
fn decimals_are_written_without_leading_zeros() {
    for number in [0, 1, 9, 10, 99, 100, 1_234_567_890, u64::MAX] {
        let mut out = b"n=".to_vec();
        write_decimal(&mut out, number);
        assert_eq!(out, format!("n={number}").as_bytes());
    }
}
