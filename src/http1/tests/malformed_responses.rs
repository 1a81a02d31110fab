//! What an upstream may send that is not a response. The caller of the parser answers 502 to each.

use super::super::HeadError::{
    AmbiguousFraming, InvalidContentLength, Malformed, TargetTooLong, TooLarge, TooManyFields,
    UnsupportedTransferCoding, UnsupportedVersion,
};
use super::super::{HeadError, HeadLimits, ResponseHead};

fn refused(rows: &[(&[u8], HeadError)]) {
    for (wire, wanted) in rows {
        let got = ResponseHead::new().parse(wire, &HeadLimits::default(), false);
        assert_eq!(got, Err(*wanted), "{:?}", String::from_utf8_lossy(wire));
    }
}

#[test]
fn status_lines_outside_the_grammar_are_refused() {
    refused(&[
        (b"HTTP/1.1 200 OK\n", Malformed),
        (b"HTTP/1.1 200 O\rK\r\n", Malformed),
        (b"HTTP/1.1 200 O\x00K\r\n", Malformed),
        (b"HTTP/1.1 200OK\r\n", Malformed),
        (b"HTTP/1.1  200 OK\r\n", Malformed),
        (b"HTTP/1.1 20 OK\r\n", Malformed),
        (b"HTTP/1.1 2000 OK\r\n", Malformed),
        (b"HTTP/1.1 +20 OK\r\n", Malformed),
        (b"HTTP/1.1 099 OK\r\n", Malformed),
        (b"HTTP/1.1 600 OK\r\n", Malformed),
        (b"HTTP/1.1 000 OK\r\n", Malformed),
        (b"http/1.1 200 OK\r\n", Malformed),
        (b"HTTP/11 200 OK\r\n", Malformed),
        (b"ICY 200 OK\r\n", Malformed),
        (b"\r\nHTTP/1.1 200 OK\r\n", Malformed),
        (b"0\r\n\r\n", Malformed),
        (b"HTTP/2.0 200 OK\r\n", UnsupportedVersion),
        (b"HTTP/1.2 200 OK\r\n", UnsupportedVersion),
    ]);
}

#[test]
fn fields_and_framing_are_held_to_the_rules_for_requests() {
    let rows: &[(&[u8], HeadError)] = &[
        (b"content-length: 5\r\ntransfer-encoding: chunked", AmbiguousFraming),
        (b"content-length: 5\r\ncontent-length: 5", AmbiguousFraming),
        (b"content-length: 5\r\ncontent-length: 6", AmbiguousFraming),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", AmbiguousFraming),
        (b"content-length: 5, 5", InvalidContentLength),
        (b"content-length: -5", InvalidContentLength),
        (b"transfer-encoding: gzip, chunked", UnsupportedTransferCoding),
        (b"transfer-encoding: identity", UnsupportedTransferCoding),
        (b"x : a", Malformed),
        (b"x: a\r\n b", Malformed),
        (b"x: a\nb: c", Malformed),
        (b"x: a\x00", Malformed),
        (b"x: a\rb", Malformed),
        (b"x y: a", Malformed),
    ];
    for status in ["200", "204", "304", "100"] {
        for (fields, wanted) in rows {
            let wire = [b"HTTP/1.1 ", status.as_bytes(), b" OK\r\n", *fields, b"\r\n\r\n"].concat();
            refused(&[(&wire, *wanted)]);
        }
    }
    refused(&[(b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", AmbiguousFraming)]);
}

#[test]
fn a_head_has_the_same_limits_as_a_request_head() {
    let good = "HTTP/1.1 200 OK\r\n";
    let fields = (0..91).map(|n| format!("x{n}: y\r\n")).collect::<String>();
    refused(&[
        (format!("{good}{fields}\r\n").as_bytes(), TooManyFields),
        (format!("{good}x: {}", "v".repeat(9000)).as_bytes(), TooLarge),
        (format!("HTTP/1.1 200 {}", "v".repeat(9000)).as_bytes(), TargetTooLong),
    ]);
}
