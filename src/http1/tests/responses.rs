//! Response heads that are fine, and what is read from them.

use super::super::{HeadLimits, Known, Parsed, ResponseBody, ResponseHead};
use super::response;

#[test]
fn a_whole_head_is_read_into_spans() {
    let wire =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    let (head, len) = response(wire).unwrap();
    assert_eq!(&wire[len..], b"5\r\n");
    assert_eq!((head.status, head.http11, head.keep_alive), (200, true, true));
    assert_eq!(head.body, ResponseBody::Chunked);
    assert_eq!(head.field(Known::ContentType).unwrap().value.of(wire), b"text/event-stream");
    assert_eq!(head.fields().len(), 2);
}

#[test]
fn a_reason_phrase_may_be_empty_missing_or_obs_text() {
    for line in [
        &b"HTTP/1.1 200 "[..],
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 Tr\xe8s bien",
        b"HTTP/1.1 200 \tOK",
        b"HTTP/1.0 200 OK",
    ] {
        let (head, _) = response(&[line, b"\r\ncontent-length: 0\r\n\r\n"].concat()).unwrap();
        assert_eq!(head.status, 200);
    }
}

#[test]
fn the_body_follows_from_method_status_and_framing_fields() {
    let body = |status: u16, fields: &str, request_was_head: bool| {
        let wire = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        let mut head = ResponseHead::new();
        let parsed = head.parse(wire.as_bytes(), &HeadLimits::default(), request_was_head);
        assert_eq!(parsed, Ok(Parsed::Complete { len: wire.len() }));
        head.body
    };
    let (length, chunked) = ("content-length: 7\r\n", "transfer-encoding: chunked\r\n");
    assert_eq!(body(200, length, false), ResponseBody::Length(7));
    assert_eq!(body(200, chunked, false), ResponseBody::Chunked);
    assert_eq!(body(200, "", false), ResponseBody::UntilClose);
    assert_eq!(body(502, "", false), ResponseBody::UntilClose);
    for fields in [length, chunked, ""] {
        assert_eq!(body(200, fields, true), ResponseBody::None, "HEAD, {fields}");
        for status in [100, 101, 103, 199, 204, 304] {
            assert_eq!(body(status, fields, false), ResponseBody::None, "{status}, {fields}");
        }
    }
}

#[test]
fn the_connection_is_kept_only_if_version_fields_and_framing_allow_it() {
    let kept = |version: &str, fields: &str| {
        let wire = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
        response(wire.as_bytes()).unwrap().0.keep_alive
    };
    assert!(kept("1.1", "content-length: 0\r\n"));
    assert!(!kept("1.1", "content-length: 0\r\nconnection: close\r\n"));
    assert!(!kept("1.1", "connection: keep-alive\r\n"), "the body ends by closing");
    assert!(!kept("1.0", "content-length: 0\r\n"));
    assert!(kept("1.0", "content-length: 0\r\nconnection: keep-alive\r\n"));
    assert!(!kept("1.0", "connection: keep-alive\r\n"), "the body ends by closing");
}

#[test]
fn a_final_head_follows_an_interim_one_in_the_same_scratch() {
    let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let mut head = ResponseHead::new();
    let Ok(Parsed::Complete { len }) = head.parse(wire, &HeadLimits::default(), false) else {
        panic!("interim")
    };
    assert_eq!((head.status, head.body), (100, ResponseBody::None));
    let rest = &wire[len..];
    let Ok(Parsed::Complete { len }) = head.parse(rest, &HeadLimits::default(), false) else {
        panic!("final")
    };
    assert_eq!((head.status, head.body), (200, ResponseBody::Length(2)));
    assert_eq!(&rest[len..], b"{}");
}
