//! Everything a stranger may send that is not a request. Each row is one message and its one verdict.

use super::super::HeadError::{
    AmbiguousFraming, ExpectationFailed, InvalidContentLength, InvalidHost, Malformed, MissingHost,
    RepeatedField, TargetTooLong, TooLarge, TooManyFields, UnsupportedMethod, UnsupportedTransferCoding,
    UnsupportedVersion,
};
use super::super::{HeadError, HeadLimits, Parsed, RequestHead};
use super::request;

fn refused(rows: &[(&[u8], HeadError)]) {
    for (wire, wanted) in rows {
        let got = RequestHead::new().parse(wire, &HeadLimits::default());
        assert_eq!(got, Err(*wanted), "{:?}", String::from_utf8_lossy(wire));
    }
}

/// The same rows as fields of an otherwise good POST.
fn refused_fields(rows: &[(&[u8], HeadError)]) {
    for (fields, wanted) in rows {
        let wire = [b"POST / HTTP/1.1\r\nhost: a\r\n", *fields, b"\r\n\r\n"].concat();
        refused(&[(&wire, *wanted)]);
    }
}

#[test]
fn every_status_of_an_error_is_an_answer_to_the_caller() {
    let wanted = [
        (Malformed, 400),
        (AmbiguousFraming, 400),
        (InvalidContentLength, 400),
        (RepeatedField, 400),
        (MissingHost, 400),
        (InvalidHost, 400),
        (TargetTooLong, 414),
        (ExpectationFailed, 417),
        (TooLarge, 431),
        (TooManyFields, 431),
        (UnsupportedTransferCoding, 400),
        (UnsupportedMethod, 501),
        (UnsupportedVersion, 505),
    ];
    for (error, status) in wanted {
        assert_eq!(error.status(), status, "{error}");
    }
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    refused_fields(&[
        (b"content-length: 5\r\ntransfer-encoding: chunked", AmbiguousFraming),
        (b"transfer-encoding: chunked\r\ncontent-length: 5", AmbiguousFraming),
        (b"transfer-encoding: chunked\r\ncontent-length: 0", AmbiguousFraming),
        (b"content-length: 5\r\ncontent-length: 40", AmbiguousFraming),
        (b"content-length: 5\r\ncontent-length: 5", AmbiguousFraming),
        (b"content-length: 5\r\nContent-Length:", AmbiguousFraming),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", AmbiguousFraming),
        // The first of several faults is the one that is told.
        (
            b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 5",
            UnsupportedTransferCoding,
        ),
        (b"transfer-encoding: x\r\ncontent-length: 5", UnsupportedTransferCoding),
        (b"content-length: 5\r\ntransfer-encoding: x", AmbiguousFraming),
        (b"content_length: 5", RepeatedField),
        (b"content-length: 5\r\nContent_Length: 6", RepeatedField),
        (b"Transfer_Encoding: chunked", RepeatedField),
        (b"transfer___encoding: chunked", RepeatedField),
        (b"content_-length: 5", RepeatedField),
        (b"x_api_key: k", RepeatedField),
    ]);
}

#[test]
fn a_content_length_is_digits_only() {
    for value in
        ["5, 5", "5,5", "5, 6", "5;", "+5", "-1", "0x5", "5.0", "1e3", "", " ", "5 5", "5\t5", "٣", "5\u{a0}"]
    {
        let fields = format!("content-length: {value}");
        refused_fields(&[(fields.as_bytes(), InvalidContentLength)]);
    }
    for digits in ["18446744073709551616", "99999999999999999999", "00000000000000000005"] {
        let fields = format!("content-length: {digits}");
        refused_fields(&[(fields.as_bytes(), InvalidContentLength)]);
    }
}

#[test]
fn the_only_transfer_coding_is_chunked_alone() {
    for value in
        ["xchunked", "chunkedx", "chunked, identity", "gzip, chunked", "identity", "chunked,", ",chunked"]
    {
        let fields = format!("transfer-encoding: {value}");
        refused_fields(&[(fields.as_bytes(), UnsupportedTransferCoding)]);
    }
    for value in ["", "chunked;q=1", "\"chunked\"", "chunked, chunked", "cow", "chunked\u{a0}", "ch unked"] {
        let fields = format!("transfer-encoding: {value}");
        refused_fields(&[(fields.as_bytes(), UnsupportedTransferCoding)]);
    }
    refused_fields(&[
        (b"transfer-encoding: \x0bchunked", Malformed),
        (b"transfer-encoding: chunked\x0c", Malformed),
    ]);
    refused(&[
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", AmbiguousFraming),
        (
            b"POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n",
            AmbiguousFraming,
        ),
    ]);
}

#[test]
fn field_lines_outside_the_grammar_are_refused() {
    refused_fields(&[
        (b"Content-Length : 5", Malformed),
        (b"Content-Length\t: 5", Malformed),
        (b"x: a\r\n b", Malformed),
        (b"x: a\r\n\tb", Malformed),
        (b" x: a", Malformed),
        (b"\tx: a", Malformed),
        (b": a", Malformed),
        (b"no colon", Malformed),
        (b"nocolon", Malformed),
        (b"x(y): a", Malformed),
        (b"x\x00y: a", Malformed),
        (b"x\xe9: a", Malformed),
        (b"x\x7f: a", Malformed),
        (b"x: a\nb: c", Malformed),
        (b"x: a\n", Malformed),
        (b"x: a\rb: c", Malformed),
        (b"x: a\r\rb", Malformed),
        (b"x: a\x00b", Malformed),
        (b"x: a\x0bb", Malformed),
        (b"x: a\x1bb", Malformed),
        (b"x: a\x7fb", Malformed),
        (b"\rx: a", Malformed),
        (b"\nx: a", Malformed),
    ]);
    refused(&[
        (b"GET / HTTP/1.1\r\n host: a\r\n\r\n", Malformed),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\n", Malformed),
        (b"GET / HTTP/1.1\r\nhost: a\n\r\n", Malformed),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\rX", Malformed),
    ]);
}

#[test]
fn request_lines_outside_the_grammar_are_refused() {
    refused(&[
        (b"GET / HTTP/1.1\nhost: a\n\n", Malformed),
        (b"GET / HTTP/1.1\rhost: a\r\r", Malformed),
        (b"GET  / HTTP/1.1\r\n", Malformed),
        (b"GET /  HTTP/1.1\r\n", Malformed),
        (b"GET / HTTP/1.1 \r\n", Malformed),
        (b" GET / HTTP/1.1\r\n", Malformed),
        (b"GET\t/ HTTP/1.1\r\n", Malformed),
        (b"GET /\tHTTP/1.1\r\n", Malformed),
        (b"GET / \r\n", Malformed),
        (b"GET /\r\n", Malformed),
        (b"GET HTTP/1.1\r\n", Malformed),
        (b"/ HTTP/1.1\r\n", Malformed),
        (b"GET / http/1.1\r\n", Malformed),
        (b"GET / HTTP/11\r\n", Malformed),
        (b"GET / HTTP/1.10\r\n", Malformed),
        (b"GET / HTTPS/1.1\r\n", Malformed),
        (b"GET / FTP/1.1\r\n", Malformed),
        (b"GET / HTTP/1\r\n", Malformed),
        (b"GET / HTTP/1.\r\n", Malformed),
        (b"GET /a b HTTP/1.1\r\n", Malformed),
        (b"GET /\x00 HTTP/1.1\r\n", Malformed),
        (b"GET /\x7f HTTP/1.1\r\n", Malformed),
        (b"GET /caf\xe9 HTTP/1.1\r\n", Malformed),
        (b"GET /a#b HTTP/1.1\r\n", Malformed),
        (b"GET /a#b?c HTTP/1.1\r\n", Malformed),
        (b"GET http://a#b/c HTTP/1.1\r\n", Malformed),
        (b"GET a HTTP/1.1\r\n", Malformed),
        (b"GET * HTTP/1.1\r\n", Malformed),
        (b"GET ?a HTTP/1.1\r\n", Malformed),
        (b"GET a:80 HTTP/1.1\r\n", Malformed),
        (b"GET ftp://a/ HTTP/1.1\r\n", Malformed),
        (b"GET http:/a HTTP/1.1\r\n", Malformed),
        (b"G(T / HTTP/1.1\r\n", Malformed),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Malformed),
        (b"\x80\x2e\x01", Malformed),
        (b"\n", Malformed),
        (b"\rG", Malformed),
        (b"{}", Malformed),
    ]);
}

#[test]
fn other_protocols_versions_and_methods_are_named() {
    refused(&[
        (b"GET / HTTP/2.0\r\n", UnsupportedVersion),
        (b"GET / HTTP/1.2\r\n", UnsupportedVersion),
        (b"GET / HTTP/0.9\r\n", UnsupportedVersion),
        (b"GET / HTTP/3.0\r\n", UnsupportedVersion),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
        (b"get / HTTP/1.1\r\n", UnsupportedMethod),
        (b"Get / HTTP/1.1\r\n", UnsupportedMethod),
        (b"FETCH / HTTP/1.1\r\n", UnsupportedMethod),
        (b"CONNECT a:80 HTTP/1.1\r\n", UnsupportedMethod),
    ]);
    let long_method = [b"X".repeat(600), b" / HTTP/1.1\r\n".to_vec()].concat();
    refused(&[(&long_method, UnsupportedMethod)]);
}

#[test]
fn there_is_exactly_one_host_and_it_is_one() {
    refused(&[
        (b"GET / HTTP/1.1\r\n\r\n", MissingHost),
        (b"GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.0\r\nhost: a\r\nHost: b\r\n\r\n", InvalidHost),
        (b"GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", InvalidHost),
        (b"GET http://a@b/ HTTP/1.1\r\nhost: b\r\n\r\n", InvalidHost),
        (b"GET http:///x HTTP/1.1\r\nhost: b\r\n\r\n", InvalidHost),
        (b"GET http://a:80/ HTTP/1.1\r\nhost: a\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nho_st: a\r\n\r\n", MissingHost),
    ]);
    for host in [
        "", "a b", "a,b", "a/b", "a@b", "a?b", "a#b", "a:b", "a:80:80", ":80", "[::1", "[g]", "[::1]x",
        "a\u{e9}", "a:123456", "a%41",
    ] {
        let wire = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        refused(&[(wire.as_bytes(), InvalidHost)]);
    }
    for host in ["a", "a.b-c_d~e", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "[::ffff:1.2.3.4]:1"]
    {
        let wire = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert!(request(wire.as_bytes()).is_ok(), "{host}");
    }
}

#[test]
fn fields_that_decide_who_asks_for_what_come_once() {
    refused_fields(&[
        (b"authorization: Bearer a\r\nAuthorization: Bearer b", RepeatedField),
        (b"content-type: application/json\r\ncontent-type: multipart/form-data", RepeatedField),
        (b"expect: 200-ok", ExpectationFailed),
        (b"expect: 100-continue, x", ExpectationFailed),
        (b"expect: 100-continue\r\nexpect: 100-continue", ExpectationFailed),
    ]);
}

#[test]
fn a_connection_field_names_tokens_and_not_too_many() {
    refused_fields(&[(b"connection: a b", Malformed), (b"connection: \"close\"", Malformed)]);
    let names = |count: usize| (0..count).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
    refused_fields(&[(format!("connection: {}", names(17)).as_bytes(), TooManyFields)]);
    let wire = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {}\r\n\r\n", names(16));
    assert!(request(wire.as_bytes()).is_ok());
}

#[test]
fn oversized_heads_are_refused_by_what_is_too_large() {
    let long_target = format!("GET /{} HTTP/1.1\r\n", "a".repeat(70 * 1024));
    let fields = |count: usize| (0..count).map(|n| format!("x{n}: y\r\n")).collect::<String>();
    let good = "GET / HTTP/1.1\r\nhost: a\r\n";
    refused(&[
        (long_target.as_bytes(), TargetTooLong),
        (format!("{good}{}\r\n", fields(90)).as_bytes(), TooManyFields),
        (format!("{good}x: {}\r\n\r\n", "v".repeat(1024 * 1024)).as_bytes(), TooLarge),
        (format!("{good}{}: v\r\n\r\n", "n".repeat(65_535)).as_bytes(), TooLarge),
        (format!("{good}{}: v\r\n\r\n", "n".repeat(65_536)).as_bytes(), TooLarge),
        (format!("{good}{}", "n".repeat(65_536)).as_bytes(), TooLarge),
        (format!("{good}x: {}\r\n", "v".repeat(8 * 1024)).repeat(3).as_bytes(), TooLarge),
    ]);
    let wire = format!("{good}{}\r\n", fields(89));
    assert_eq!(request(wire.as_bytes()).unwrap().0.fields().len(), 90);
}

/// Goal: nobody waits for a head time-out to hear that this is not HTTP. Method: no blank line in any row.
#[test]
fn garbage_is_refused_as_soon_as_it_is_seen() {
    for wire in [
        &b"GET / HTTP/1.1\n"[..],
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx\x00",
        b"GET / HTTP/1.1\r\nhost: a\r\n\n",
    ] {
        let verdict = RequestHead::new().parse(wire, &HeadLimits::default());
        assert_eq!(verdict, Err(Malformed), "{:?}", String::from_utf8_lossy(wire));
    }
    assert_eq!(RequestHead::new().parse(b"", &HeadLimits::default()), Ok(Parsed::Partial));
}
