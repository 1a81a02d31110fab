//! Request heads that are fine, and what is read from them.

use http::Method;

use super::super::{BodyLength, HeadError, HeadLimits, Known, Parsed, RequestHead};
use super::request;

const CHAT: &[u8] = b"POST /proxy/demo/v1/chat/completions?a=b HTTP/1.1\r\n\
    Host: llm.example:8080\r\n\
    Authorization:  Bearer pat_x \t\r\n\
    content-type:application/json\r\n\
    Content-Length: 2\r\n\
    X-Empty:\r\n\
    \r\n{}GET";

#[test]
fn a_whole_head_is_read_into_spans() {
    let (head, len) = request(CHAT).unwrap();
    assert_eq!(&CHAT[len..], b"{}GET");
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.target.of(CHAT), b"/proxy/demo/v1/chat/completions?a=b");
    assert_eq!(head.path.of(CHAT), b"/proxy/demo/v1/chat/completions");
    assert_eq!(head.query.of(CHAT), b"a=b");
    assert!(head.http11 && head.keep_alive && !head.expect_continue);
    assert_eq!(head.body, BodyLength::Length(2));
    assert_eq!(head.fields().len(), 5);
    let value = |known| head.field(known).map(|field| field.value.of(CHAT));
    assert_eq!(value(Known::Host), Some(&b"llm.example:8080"[..]));
    assert_eq!(value(Known::Authorization), Some(&b"Bearer pat_x"[..]));
    assert_eq!(value(Known::ContentType), Some(&b"application/json"[..]));
    assert_eq!(value(Known::Connection), None);
    let empty = head.fields()[4];
    assert_eq!((empty.name.of(CHAT), empty.value.of(CHAT)), (&b"X-Empty"[..], &b""[..]));
    assert_eq!(empty.line.of(CHAT), b"X-Empty:\r\n");
}

#[test]
fn up_to_two_empty_lines_before_the_request_line_are_skipped_and_counted() {
    for empty in 0..=2 {
        let wire = [b"\r\n".repeat(empty), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()].concat();
        let (head, len) = request(&wire).unwrap();
        assert_eq!(len, wire.len());
        assert_eq!(head.path.of(&wire), b"/");
    }
    let wire = [b"\r\n".repeat(3), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()].concat();
    assert_eq!(request(&wire).unwrap_err(), HeadError::Malformed);
}

#[test]
fn the_body_follows_from_the_framing_fields() {
    let body = |fields: &str| {
        let wire = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        request(wire.as_bytes()).unwrap().0.body
    };
    assert_eq!(body(""), BodyLength::None);
    assert_eq!(body("content-length: 0\r\n"), BodyLength::Length(0));
    assert_eq!(body("Content-Length: 00042\r\n"), BodyLength::Length(42));
    assert_eq!(body("Content-Length: 9223372036854775807\r\n"), BodyLength::Length(i64::MAX as u64));
    assert_eq!(body("Transfer-Encoding: chunked\r\n"), BodyLength::Chunked);
    assert_eq!(body("TRANSFER-ENCODING:\tChunKed \r\n"), BodyLength::Chunked);
}

#[test]
fn the_connection_is_kept_as_version_and_connection_fields_say() {
    let kept = |version: &str, fields: &str| {
        let wire = format!("GET / HTTP/{version}\r\nhost: a\r\n{fields}\r\n");
        request(wire.as_bytes()).unwrap().0.keep_alive
    };
    assert!(kept("1.1", ""));
    assert!(!kept("1.1", "connection: close\r\n"));
    assert!(!kept("1.1", "connection: keep-alive\r\nConnection: x , CLOSE\r\n"));
    assert!(kept("1.1", "connection: upgrade\r\n"));
    assert!(!kept("1.0", ""));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!kept("1.0", "connection: keep-alive, close\r\n"));
}

/// A GET with a body is read, because its framing is clear, but what is behind us may not have read it.
#[test]
fn a_body_where_none_belongs_ends_the_connection() {
    let kept = |method: &str, fields: &str| {
        let wire = format!("{method} / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        request(wire.as_bytes()).unwrap().0.keep_alive
    };
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(!kept(method, "content-length: 1\r\n"), "{method}");
        assert!(!kept(method, "transfer-encoding: chunked\r\n"), "{method}");
        assert!(kept(method, "content-length: 0\r\n"), "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert!(kept(method, "content-length: 1\r\n"), "{method}");
    }
}

#[test]
fn http_1_0_needs_no_host_and_takes_a_length() {
    let (head, _) = request(b"POST /x HTTP/1.0\r\ncontent-length: 3\r\n\r\n").unwrap();
    assert!(!head.http11);
    assert_eq!(head.body, BodyLength::Length(3));
}

#[test]
fn a_continue_is_owed_only_to_http_1_1_with_a_body() {
    let expects = |version: &str, fields: &str| {
        let wire = format!("POST / HTTP/{version}\r\nhost: a\r\nExpect: 100-Continue\r\n{fields}\r\n");
        request(wire.as_bytes()).unwrap().0.expect_continue
    };
    assert!(expects("1.1", "content-length: 1\r\n"));
    assert!(expects("1.1", "transfer-encoding: chunked\r\n"));
    assert!(!expects("1.1", ""));
    assert!(!expects("1.1", "content-length: 0\r\n"));
    assert!(!expects("1.0", "content-length: 1\r\n"));
}

#[test]
fn the_target_forms_of_rfc_9112_give_one_path() {
    let parts = |line: &str| {
        let wire = format!("{line} HTTP/1.1\r\nHost: H.example:81\r\n\r\n");
        let (head, _) = request(wire.as_bytes()).unwrap();
        let text = |span: super::super::Span| String::from_utf8(span.of(wire.as_bytes()).to_vec()).unwrap();
        (text(head.path), text(head.query))
    };
    let wanted = |path: &str, query: &str| (path.to_owned(), query.to_owned());
    assert_eq!(parts("GET /a/b"), wanted("/a/b", ""));
    assert_eq!(parts("GET /a?"), wanted("/a", ""));
    assert_eq!(parts("GET /a?b?c=/d"), wanted("/a", "b?c=/d"));
    assert_eq!(parts("GET http://h.example:81/a?b"), wanted("/a", "b"));
    assert_eq!(parts("GET HTTPS://h.example:81/a:b"), wanted("/a:b", ""));
    assert_eq!(parts("GET http://h.example:81?b"), wanted("", "b"));
    assert_eq!(parts("GET http://h.example:81"), wanted("", ""));
    assert_eq!(parts("GET /a?b#c\\\"{}|^`"), wanted("/a", "b#c\\\"{}|^`"));
    assert_eq!(parts("GET /http://x/y"), wanted("/http://x/y", ""));
    assert_eq!(parts("OPTIONS *"), wanted("*", ""));
}

#[test]
fn obs_text_in_values_passes() {
    let wire = b"GET / HTTP/1.1\r\nhost: a\r\nx-name: caf\xe9 \xff\r\n\r\n";
    let (head, _) = request(wire).unwrap();
    assert_eq!(head.fields()[1].value.of(wire), b"caf\xe9 \xff");
}

#[test]
fn limits_are_exact() {
    let limits =
        HeadLimits { head_bytes_max: 64, first_line_bytes_max: 24, field_bytes_max: 24, fields_max: 3 };
    let verdict = |wire: &str| RequestHead::new().parse(wire.as_bytes(), &limits);
    let complete = |wire: &str| Ok(Parsed::Complete { len: wire.len() });

    let line_at_limit = "GET /123456789 HTTP/1.1\r\nhost: a\r\n\r\n".replace("89", "8");
    assert_eq!(verdict(&line_at_limit), complete(&line_at_limit));
    let line_over = line_at_limit.replace("/12", "/012");
    assert_eq!(verdict(&line_over), Err(HeadError::TargetTooLong));

    let field_at_limit = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "v".repeat(19));
    assert_eq!(verdict(&field_at_limit), complete(&field_at_limit));
    let field_over = field_at_limit.replace("x: v", "x: vv");
    assert_eq!(verdict(&field_over), Err(HeadError::TooLarge));

    let head_at_limit =
        format!("GET / HTTP/1.1\r\nhost: a\r\na: {}\r\nb: {}\r\n\r\n", "v".repeat(15), "v".repeat(12));
    assert_eq!(head_at_limit.len(), 64);
    assert_eq!(verdict(&head_at_limit), complete(&head_at_limit));
    assert_eq!(verdict(&head_at_limit.replace("b: v", "b: vv")), Err(HeadError::TooLarge));

    let fields_at_limit = "GET / HTTP/1.1\r\nhost: a\r\na: b\r\nc: d\r\n\r\n";
    assert_eq!(verdict(fields_at_limit), complete(fields_at_limit));
    assert_eq!(verdict(&fields_at_limit.replace("a: b", "a: b\r\ne: f")), Err(HeadError::TooManyFields));
}

#[test]
fn a_head_that_never_ends_is_refused_at_the_limit_and_not_a_byte_later() {
    let limits = HeadLimits::default();
    let mut wire = b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec();
    while wire.len() < limits.head_bytes_max {
        assert_eq!(RequestHead::new().parse(&wire, &limits), Ok(Parsed::Partial), "{} bytes", wire.len());
        wire.extend_from_slice(b"x-filler: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n");
    }
    assert_eq!(RequestHead::new().parse(&wire, &limits), Err(HeadError::TooLarge));
}

#[test]
fn a_scratch_serves_one_head_after_another() {
    let mut head = RequestHead::new();
    let limits = HeadLimits::default();
    let first = b"\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(head.parse(first, &limits), Ok(Parsed::Complete { len: first.len() }));
    assert_eq!(head.parse(b"\x16\x03\x01", &limits), Err(HeadError::Malformed));
    let second = b"GET /b HTTP/1.0\r\n\r\n";
    assert_eq!(head.parse(second, &limits), Ok(Parsed::Complete { len: second.len() }));
    assert_eq!((head.body, head.keep_alive, head.expect_continue), (BodyLength::None, false, false));
    assert!(head.fields().is_empty() && head.field(Known::Host).is_none());
    assert_eq!(head.parse(&second[..9], &limits), Ok(Parsed::Partial));
    head.reset();
    assert_eq!(head.parse(first, &limits), Ok(Parsed::Complete { len: first.len() }));
}

#[test]
fn every_known_field_is_recognised_in_any_case() {
    let names = [
        ("accept", Known::Accept),
        ("accept-encoding", Known::AcceptEncoding),
        ("authorization", Known::Authorization),
        ("connection", Known::Connection),
        ("content-encoding", Known::ContentEncoding),
        ("content-length", Known::ContentLength),
        ("content-type", Known::ContentType),
        ("cookie", Known::Cookie),
        ("date", Known::Date),
        ("expect", Known::Expect),
        ("forwarded", Known::Forwarded),
        ("host", Known::Host),
        ("http2-settings", Known::Http2Settings),
        ("keep-alive", Known::KeepAlive),
        ("proxy-authenticate", Known::ProxyAuthenticate),
        ("proxy-authorization", Known::ProxyAuthorization),
        ("proxy-connection", Known::ProxyConnection),
        ("retry-after", Known::RetryAfter),
        ("server", Known::Server),
        ("set-cookie", Known::SetCookie),
        ("te", Known::Te),
        ("trailer", Known::Trailer),
        ("transfer-encoding", Known::TransferEncoding),
        ("upgrade", Known::Upgrade),
        ("user-agent", Known::UserAgent),
        ("via", Known::Via),
        ("x-api-key", Known::XApiKey),
        ("x-domain-id", Known::XDomainId),
        ("x-forwarded-for", Known::XForwardedFor),
        ("x-forwarded-host", Known::XForwardedHost),
        ("x-forwarded-port", Known::XForwardedPort),
        ("x-forwarded-proto", Known::XForwardedProto),
        ("x-forwarded-client-cert", Known::XForwardedOther),
        ("x-forwarded-by", Known::XForwardedOther),
        ("x-forwarded-scheme-", Known::XForwardedOther),
        ("x-guardrails-request", Known::XGuardrailsRequest),
        ("x-real-ip", Known::XRealIp),
        ("x-request-id", Known::XRequestId),
        ("x-user-id", Known::XUserId),
        ("x-forwarded", Known::Other),
        ("content-lengt~", Known::Other),
        ("\x0dost", Known::Other),
        ("x_custom", Known::Underscored),
        ("content_length", Known::Underscored),
    ];
    for (name, known) in names {
        assert_eq!(Known::classify(name.as_bytes()), known, "{name}");
        assert_eq!(Known::classify(name.to_ascii_uppercase().as_bytes()), known, "{name}");
        if known != Known::Other && known != Known::XForwardedOther {
            let longer = format!("{name}x");
            let same_kind = Known::classify(longer.as_bytes()) == known && known != Known::Underscored;
            assert!(!same_kind, "{longer}");
        }
    }
}
