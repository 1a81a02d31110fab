//! Reads may cut anywhere: no verdict may depend on it.

use super::super::{HeadError, HeadLimits, Parsed, RequestHead, ResponseHead};

/// Small enough that a short message meets every limit.
const TIGHT: HeadLimits =
    HeadLimits { head_bytes_max: 120, first_line_bytes_max: 40, field_bytes_max: 48, fields_max: 4 };

fn request_in_reads(
    wire: &[u8],
    cuts: &[usize],
    limits: &HeadLimits,
) -> (Result<Parsed, HeadError>, RequestHead) {
    let mut head = RequestHead::new();
    for &cut in cuts {
        let verdict = head.parse(&wire[..cut], limits);
        if verdict != Ok(Parsed::Partial) {
            return (verdict, head);
        }
    }
    (head.parse(wire, limits), head)
}

fn same_whatever_the_reads(wire: &[u8], limits: &HeadLimits) {
    let (whole, whole_head) = request_in_reads(wire, &[], limits);
    let bytewise: Vec<usize> = (0..wire.len()).collect();
    let (by_byte, by_byte_head) = request_in_reads(wire, &bytewise, limits);
    assert_eq!(by_byte, whole, "byte by byte: {:?}", String::from_utf8_lossy(wire));
    if whole.is_ok() {
        assert_eq!(by_byte_head.fields().len(), whole_head.fields().len());
        assert_eq!(by_byte_head.path, whole_head.path);
    }
    for first in 0..wire.len() {
        let (got, _) = request_in_reads(wire, &[first], limits);
        assert_eq!(got, whole, "cut at {first}: {:?}", String::from_utf8_lossy(wire));
    }
}

#[test]
fn a_good_head_is_complete_exactly_at_its_blank_line() {
    let wire = b"\r\nPOST /v1/chat HTTP/1.1\r\nhost: a\r\nx:\t y\t\r\ncontent-length: 2\r\n\r\n{}";
    let end = wire.len() - 2;
    let mut bytewise = RequestHead::new();
    for cut in 0..end {
        assert_eq!(
            RequestHead::new().parse(&wire[..cut], &HeadLimits::default()),
            Ok(Parsed::Partial),
            "at {cut}"
        );
        assert_eq!(
            bytewise.parse(&wire[..cut], &HeadLimits::default()),
            Ok(Parsed::Partial),
            "by byte, at {cut}"
        );
    }
    assert_eq!(bytewise.parse(wire, &HeadLimits::default()), Ok(Parsed::Complete { len: end }));
    let host = bytewise.fields()[0];
    assert_eq!((host.name.of(wire), host.value.of(wire)), (&b"host"[..], &b"a"[..]));
    assert_eq!(bytewise.fields()[1].value.of(wire), b"y");
}

#[test]
fn a_response_head_is_complete_exactly_at_its_blank_line() {
    let wire = b"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 2\r\n\r\n{}";
    let end = wire.len() - 2;
    let mut bytewise = ResponseHead::new();
    for cut in 0..end {
        let once = ResponseHead::new().parse(&wire[..cut], &HeadLimits::default(), false);
        assert_eq!(once, Ok(Parsed::Partial), "at {cut}");
        assert_eq!(
            bytewise.parse(&wire[..cut], &HeadLimits::default(), false),
            Ok(Parsed::Partial),
            "by byte"
        );
    }
    let whole = bytewise.parse(wire, &HeadLimits::default(), false);
    assert_eq!(whole, Ok(Parsed::Complete { len: end }));
}

#[test]
fn the_verdict_on_a_faulty_head_does_not_depend_on_reads() {
    let long = "v".repeat(60);
    let messages = [
        "GET / HTTP/1.1\r\nhost: a\r\nx: y\nz: 1\r\n\r\n".to_owned(),
        "GET / HTTP/3.0\r\n\r\n".to_owned(),
        "GET / HTTP/3.0\rX".to_owned(),
        "GET / HTTP/3.0\0".to_owned(),
        "FOO / HTTP/3.0\rX".to_owned(),
        "GET / HTTP/1.1\r\ncontent-length: x\r\nb\0: c\r\n\r\n".to_owned(),
        "FOO / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET /{long}\0"),
        format!("GET /\0{long}"),
        format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nx y{long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{long}"),
        "GET / HTTP/1.1\r\na: b\r\na: b\r\na: b\r\na: b\r\n\rX".to_owned(),
        "GET / HTTP/1.1\r\na: b\r\na: b\r\na: b\r\na: b\r\n X".to_owned(),
        "GET / HTTP/1.1\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\n\r\n".to_owned(),
        "\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
        "\r\n\rGET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\na: {0}\r\na: {0}\r\na: {0}\r\n\r\n", &long[..30]),
        "GET / HTTP/1.1\r\ncontent-length: x\r\ntransfer-encoding: y\r\n\r\n".to_owned(),
    ];
    for wire in &messages {
        same_whatever_the_reads(wire.as_bytes(), &TIGHT);
        same_whatever_the_reads(wire.as_bytes(), &HeadLimits::default());
    }
}

#[test]
fn a_fault_is_told_before_the_blank_line() {
    for wire in [
        "GET / HTTP/5.6",
        "PUT / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        "PUT / HTTP/1.1\r\ncontent-length: 1000000000000000000000\r\n",
        "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "PUT / HTTP/1.1\r\ntransfer-encoding: gzip\r\n",
    ] {
        let verdict = RequestHead::new().parse(wire.as_bytes(), &HeadLimits::default());
        assert!(verdict.is_err(), "{wire}: {verdict:?}");
    }
}
