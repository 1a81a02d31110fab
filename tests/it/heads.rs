//! Heads that two parsers could read differently are answered 400 and the connection closed, before the
//! upstream hears of them. RFC 9112 §2.2, §3, §5, §6.

use crate::support::requests::chat_path;
use crate::support::{Connection, Pat, Proxy, World, get, start};

/// What follows every bad request on the same connection: it must never be answered. It closes, so that a proxy that
/// does answer it is found out at once.
const TAIL: &str = "GET /health HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n";

/// A chat request with `fields` instead of a framing of its own, then `body`.
fn framed(pat: &Pat, fields: &str, body: &str) -> String {
    let auth = pat.line();
    format!("POST {} HTTP/1.1\r\nhost: proxy\r\n{auth}{fields}\r\n{body}{TAIL}", chat_path())
}

/// A GET that would be answered 200, with `fields` added.
fn decorated(pat: &Pat, fields: &str) -> String {
    get("/proxy/acme/v1/models", &format!("{}{fields}", pat.line())) + TAIL
}

/// Sends each row on a connection of its own. Each must be answered once, with one of the statuses, and the
/// connection closed. Rows that are not are listed together.
fn expect_refused(rows: impl Fn(&Pat) -> Vec<(String, Vec<u8>, &'static [u16])>) {
    let (upstream, tenant, proxy) = start();
    let mut faults = Vec::new();
    for (name, request, statuses) in rows(&tenant.pat) {
        let mut caller = proxy.connect();
        // The proxy may answer and close before it has taken a long head.
        caller.offer(&request);
        match answer_and_close(&mut caller) {
            Ok(status) if statuses.contains(&status) => {}
            other => faults.push(format!("{name}: {other:?}, wanted {statuses:?}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(upstream.try_accept().is_none(), "the upstream heard of a refused request");
    assert_eq!(proxy.ask(get("/proxy/acme/v1/models", &tenant.pat.line())).status(), 200, "it still serves");
}

/// The status of the only answer before the connection ends; how many bytes came otherwise.
fn answer_and_close(caller: &mut Connection) -> Result<u16, String> {
    let (bytes, end) = caller.rest();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let answers = text.matches("HTTP/1.1 ").count();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    match (answers, status) {
        (1, Some(status)) => Ok(status),
        _ => Err(format!("{answers} answers, then {end:?}: {text:?}")),
    }
}

#[test]
fn ambiguous_body_lengths_are_refused() {
    expect_refused(|pat| {
        let length = |value: &str| framed(pat, &format!("content-length: {value}\r\n"), "{\"a\":1}");
        let coding = |value: &str| framed(pat, &format!("transfer-encoding: {value}\r\n"), "0\r\n\r\n");
        let mut rows: Vec<(String, Vec<u8>, &'static [u16])> = Vec::new();
        let mut row = |name: &str, request: String, statuses| {
            rows.push((name.to_owned(), request.into_bytes(), statuses));
        };
        let both = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
        row("length and chunked", framed(pat, both, "0\r\n\r\n"), &[400]);
        let both = "transfer-encoding: chunked\r\ncontent-length: 5\r\n";
        row("chunked and length", framed(pat, both, "0\r\n\r\n"), &[400]);
        let two = "content-length: 5\r\ncontent-length: 40\r\n";
        row("two lengths", framed(pat, two, "{\"a\":1}"), &[400]);
        for value in ["5, 5", "5,40", "+5", "-1", "0x5", "", "5 5", "5;", "18446744073709551616", "1e2", "٥"]
        {
            row(&format!("length {value:?}"), length(value), &[400]);
        }
        row("length 2^63-1", length("9223372036854775807"), &[413]);
        for value in ["xchunked", "chunked, identity", "gzip, chunked", "gzip", "identity", "", "chunked;q=1"]
        {
            row(&format!("coding {value:?}"), coding(value), &[400, 501]);
        }
        for value in ["\"chunked\"", "chunked\x0b", "\x0bchunked", "chunked, chunked", ",chunked", "chunked,"]
        {
            row(&format!("coding {value:?}"), coding(value), &[400, 501]);
        }
        let three = "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n";
        row("identity, chunked, length", framed(pat, three, "0\r\n\r\n"), &[400]);
        let twice = "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n";
        row("chunked twice", framed(pat, twice, "0\r\n\r\n"), &[400]);
        row("chunked on 1.0", coding("chunked").replacen("HTTP/1.1", "HTTP/1.0", 1), &[400]);
        rows
    });
}

#[test]
fn lines_that_break_the_grammar_are_refused() {
    expect_refused(|pat| {
        let rows = [
            ("space before colon", "content-length : 5\r\n"),
            ("tab before colon", "content-length\t: 5\r\n"),
            ("folded with a space", "x-a: 1\r\n 2\r\n"),
            ("folded with a tab", "x-a: 1\r\n\t2\r\n"),
            ("bare LF at the end of a line", "x-a: 1\n"),
            ("bare LF in a value", "x-a: 1\nx-b: 2\r\n"),
            ("bare CR in a value", "x-a: 1\r2\r\n"),
            ("bare CR before CRLF", "x-a: 1\r\r\n"),
            ("NUL in a value", "x-a: 1\x002\r\n"),
            ("DEL in a value", "x-a: 1\x7f2\r\n"),
            ("control in a value", "x-a: 1\x012\r\n"),
            ("control in a name", "x\x01a: 1\r\n"),
            ("space in a name", "x a: 1\r\n"),
            ("NUL in a name", "x\0a: 1\r\n"),
            ("non-ASCII name", "x-ä: 1\r\n"),
            ("slash in a name", "x/a: 1\r\n"),
            ("empty name", ": 1\r\n"),
            ("no colon", "x-a\r\n"),
            ("second host", "host: other\r\n"),
            ("second host, same", "host: proxy\r\n"),
        ];
        rows.iter()
            .map(|(name, line)| ((*name).to_owned(), decorated(pat, line).into(), &[400][..]))
            .collect()
    });
}

#[test]
fn heads_that_are_not_http_1_are_refused() {
    expect_refused(|pat| {
        let auth = pat.line();
        let head = |line: &str, rest: &str| format!("{line}\r\n{rest}{auth}\r\n{TAIL}").into_bytes();
        let models = "/proxy/acme/v1/models";
        let host = "host: proxy\r\n";
        let start = |line: String, statuses: &'static [u16]| (line.clone(), head(&line, host), statuses);
        vec![
            ("leading space".into(), head(&format!("GET {models} HTTP/1.1"), " host: proxy\r\n"), &[400]),
            ("no host".into(), head(&format!("GET {models} HTTP/1.1"), ""), &[400]),
            ("empty host list".into(), head(&format!("GET {models} HTTP/1.1"), "host: a, b\r\n"), &[400]),
            ("host with a path".into(), head(&format!("GET {models} HTTP/1.1"), "host: a/b\r\n"), &[400]),
            ("LF only".into(), format!("GET {models} HTTP/1.1\nhost: a\n\n{TAIL}").into_bytes(), &[400]),
            start(format!("GET  {models} HTTP/1.1"), &[400]),
            start(format!("GET {models}  HTTP/1.1"), &[400]),
            start(format!("GET {models} HTTP/1.1 "), &[400]),
            start(format!("GET\t{models} HTTP/1.1"), &[400]),
            start(format!(" GET {models} HTTP/1.1"), &[400]),
            start(format!("GET {models} extra HTTP/1.1"), &[400]),
            start(format!("GET {models}\x01 HTTP/1.1"), &[400]),
            start(format!("GET {models}\0 HTTP/1.1"), &[400]),
            start(format!("GET {models}"), &[400]),
            start(format!("GET {models} HTTP/2.0"), &[400, 505]),
            start(format!("GET {models} HTTP/3"), &[400, 505]),
            start(format!("GET {models} HTTP/1.2"), &[400, 505]),
            start(format!("GET {models} HTTP/0.9"), &[400, 505]),
            start(format!("GET {models} HTTP/1.11"), &[400, 505]),
            start(format!("GET {models} http/1.1"), &[400, 505]),
            start(format!("GET {models} HTTP/1.1x"), &[400, 505]),
            start(format!("GET {models} ICE/1.0"), &[400, 505]),
            start(format!("GET proxy{models} HTTP/1.1"), &[400, 404]),
            start(format!("G=T {models} HTTP/1.1"), &[400]),
            start(format!("{} {models} HTTP/1.1", "X".repeat(600)), &[400, 405, 501]),
            ("http/2 preface".into(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 405, 501, 505]),
            ("garbage".into(), b"\x05\x01\x00 what is this\r\n\r\n".to_vec(), &[400]),
            ("reply".into(), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), &[400, 501, 505]),
        ]
    });
}

/// A client that speaks TLS to the plain port sends no line end for a long time; it is told off by the first
/// byte that cannot start a request, not by a time-out.
#[test]
fn a_tls_hello_on_the_plain_port_is_closed_at_once() {
    let (world, _) = World::serving("http://127.0.0.1:9");
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.head_s", 600);
    });
    let mut caller = proxy.connect();
    caller.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let (bytes, _) = caller.rest();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400 "), "{}", bytes.escape_ascii());
}

#[test]
fn unusual_targets_never_reach_an_upstream() {
    expect_refused_or_kept(&[
        ("CONNECT proxy:443 HTTP/1.1", &[400, 404, 405, 501]),
        ("OPTIONS * HTTP/1.1", &[400, 404, 405, 501]),
        ("GET * HTTP/1.1", &[400, 404, 405]),
        ("GET http://other/metrics HTTP/1.1", &[400, 404]),
        ("TRACE / HTTP/1.1", &[400, 404, 405, 501]),
    ]);
}

fn expect_refused_or_kept(rows: &[(&str, &[u16])]) {
    let (upstream, tenant, proxy) = start();
    for (line, statuses) in rows {
        let answer = proxy.ask(format!("{line}\r\nhost: proxy\r\n{}\r\n", tenant.pat.line()));
        assert!(statuses.contains(&answer.status()), "{line}: {} {}", answer.start, answer.text());
    }
    assert!(upstream.try_accept().is_none());
}

#[test]
fn bytes_above_127_in_a_value_are_passed_or_refused_and_never_break_the_connection() {
    let (_upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let mut request = get("/proxy/acme/v1/models", &tenant.pat.line()).into_bytes();
    request.truncate(request.len() - 2);
    request.extend_from_slice(b"x-a: \xff\xfe\r\n\r\n");
    caller.send(request);
    let status = caller.response().status();
    assert!([200, 400].contains(&status), "{status}");
}

/// Up to two empty lines before a request line are ignored (RFC 9112 §2.2).
#[test]
fn an_empty_line_before_a_request_is_ignored() {
    let (_upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(format!("\r\n{}", get("/proxy/acme/v1/models", &tenant.pat.line())));
    assert_eq!(caller.response().status(), 200);
    caller.send(format!("\r\n{}", get("/proxy/acme/v1/models", &tenant.pat.line())));
    assert_eq!(caller.response().status(), 200);
}

#[test]
fn a_head_that_ends_early_is_never_served() {
    let (_upstream, tenant, proxy) = start();
    let request = get("/proxy/acme/v1/models", &tenant.pat.line());
    for cut in [1, 4, 20, 40, request.len() - 2, request.len() - 1] {
        let mut caller = proxy.connect();
        caller.send(&request[..cut]);
        caller.finish_sending();
        let (bytes, _) = caller.rest();
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400 "), "{cut}: {}", bytes.escape_ascii());
    }
}
