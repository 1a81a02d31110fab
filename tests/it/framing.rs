//! Bodies whose framing breaks RFC 9112 §7.1: refused, and never followed by another request.

use crate::support::requests::{chat_body, chat_path};
use crate::support::{Pat, chunk, chunked, json_answer, start};

/// What follows every bad body on the same connection: it must never be answered. It closes, so that a proxy that does
/// answer it is found out at once.
const TAIL: &str = "GET /health HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n";

fn head(pat: &Pat) -> String {
    let auth = pat.line();
    format!("POST {} HTTP/1.1\r\nhost: proxy\r\n{auth}transfer-encoding: chunked\r\n\r\n", chat_path())
}

/// Goal: a chunk the scanner does not know is an error at once, in whatever chunk it is, and the bytes after it
/// are nobody's request. Method: each bad chunk alone, and after a good one.
#[test]
fn malformed_chunks_are_refused_and_the_connection_is_closed() {
    let rows: [(&str, &str, &[u16]); 21] = [
        ("space before the size", " 2\r\n{}\r\n0\r\n\r\n", &[400]),
        ("space after the size", "2 \r\n{}\r\n0\r\n\r\n", &[400]),
        ("tab after the size", "2\t\r\n{}\r\n0\r\n\r\n", &[400]),
        ("0x", "0x2\r\n{}\r\n0\r\n\r\n", &[400]),
        ("sign", "+2\r\n{}\r\n0\r\n\r\n", &[400]),
        ("minus", "-2\r\n{}\r\n0\r\n\r\n", &[400]),
        ("not hexadecimal", "zz\r\n{}\r\n0\r\n\r\n", &[400]),
        ("LF after the size", "2\n{}\r\n0\r\n\r\n", &[400]),
        ("LF after the data", "2\r\n{}\n0\r\n\r\n", &[400]),
        ("CR alone after the size", "2\r{}\r\n0\r\n\r\n", &[400]),
        ("no CRLF after the data", "2\r\n{}0\r\n\r\n", &[400]),
        ("data longer than the size", "2\r\n{}}\r\n0\r\n\r\n", &[400]),
        ("empty size line", "\r\n\r\n", &[400]),
        ("only an extension", ";a=b\r\n\r\n", &[400]),
        ("17 digits", "10000000000000002\r\n{}\r\n0\r\n\r\n", &[400]),
        ("17 zeros", "000000000000000002\r\n{}\r\n0\r\n\r\n", &[400]),
        ("16 f", "ffffffffffffffff\r\n{}", &[400]),
        ("fffffffffffffffd", "fffffffffffffffd\r\n{}", &[400, 413]),
        ("15 f", "fffffffffffffff\r\n{}", &[400, 413]),
        ("CR in an extension", "2;a\rb\r\n{}\r\n0\r\n\r\n", &[400]),
        ("NUL in an extension", "2;a\0b\r\n{}\r\n0\r\n\r\n", &[400]),
    ];
    let (upstream, tenant, proxy) = start();
    let mut faults = Vec::new();
    for (name, bad, statuses) in rows {
        for before in ["", "4\r\n{\"a\"\r\n"] {
            let mut caller = proxy.connect();
            caller.offer(format!("{}{before}{bad}{TAIL}", head(&tenant.pat)));
            let (bytes, _) = caller.rest();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let status = text.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
            let right = status.is_some_and(|status| statuses.contains(&status));
            if !right || text.matches("HTTP/1.1 ").count() != 1 {
                faults.push(format!("{name} after {before:?}: {text:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(upstream.try_accept().is_none(), "the upstream heard of a refused request");
}

#[test]
fn a_thousand_leading_zeros_and_a_long_extension_are_refused() {
    let (_upstream, tenant, proxy) = start();
    let zeros = "0".repeat(1000);
    let extension = "x".repeat(100_000);
    for size in [format!("{zeros}2"), format!("2;{extension}")] {
        let mut caller = proxy.connect();
        caller.offer(format!("{}{size}\r\n{{}}\r\n0\r\n\r\n{TAIL}", head(&tenant.pat)));
        let (bytes, _) = caller.rest();
        assert!(bytes.starts_with(b"HTTP/1.1 400 "), "{}", bytes.escape_ascii());
    }
}

/// Extensions and trailers are legal. They are accepted and go no further (a recipient may drop both, RFC 9112
/// §7.1.1 and §7.1.2); what would be a smuggled field in a trailer is dropped with the rest.
#[test]
fn extensions_and_trailers_are_accepted_and_dropped() {
    let (upstream, tenant, proxy) = start();
    let requests = upstream.answer(|_| json_answer("{}"));
    let body = chat_body("false");
    let (front, back) = body.split_at(20);
    let wire = format!(
        "{}{:x};name=value;other=\"quoted\"\r\n{front}\r\n{:X}\r\n{back}\r\n0;last\r\nx-trailer: 1\r\n\
         content-length: 9\r\n\r\n",
        head(&tenant.pat),
        front.len(),
        back.len()
    );
    let mut caller = proxy.connect();
    for _ in 0..2 {
        caller.send(&wire);
        assert_eq!(caller.response().status(), 200);
        let request = requests.recv().unwrap();
        assert_eq!(request.text(), body);
        assert!(!request.mentions("x-trailer") && !request.mentions("name=value"), "{request:?}");
    }
}

/// The same for a body that is too large to be held and travels on as it comes.
#[test]
fn extensions_and_trailers_of_a_streamed_upload_are_dropped() {
    let (upstream, tenant, proxy) = start();
    let requests = upstream.answer(|_| json_answer("{}"));
    let body = chat_body("false").replace("hi", &"x".repeat(3 << 20));
    let mut wire = head(&tenant.pat).into_bytes();
    for piece in body.as_bytes().chunks(50_000) {
        wire.extend(format!("{:x};name=value\r\n", piece.len()).as_bytes());
        wire.extend(piece);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0;last\r\nx-trailer: 1\r\ncontent-length: 9\r\n\r\n");
    let mut caller = proxy.connect();
    caller.send(&wire);
    assert_eq!(caller.response().status(), 200);
    let request = requests.recv().unwrap();
    assert!(request.body == body.as_bytes(), "the body changed on the way");
    assert!(request.framed.ends_with(b"\r\n0\r\n\r\n"), "sent on in chunks, without trailers");
    assert!(!crate::support::message::holds(&request.framed, b";name"));
}

/// Goal: a body that breaks after the upstream was asked never looks whole to the upstream.
#[test]
fn a_body_that_breaks_half_way_is_never_whole_upstream() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let start = r#"{"model":"tiny","messages":[{"role":"user","content":""#;
    caller.send(head(&tenant.pat));
    caller.send(chunk(start));
    for _ in 0..16 {
        caller.offer(chunk("x".repeat(64 * 1024)));
    }
    caller.offer("0x5\r\n");
    // A proxy that holds the whole body back never connects: there is nothing to end then.
    let (bytes, _) = caller.rest();
    assert!(!bytes.starts_with(b"HTTP/1.1 2"), "{}", bytes.escape_ascii());
    if let Some(mut connection) = upstream.try_accept() {
        let (bytes, _) = connection.rest();
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "the upstream saw a clean end");
    }
}

#[test]
fn a_body_shorter_than_its_length_is_never_served() {
    let (upstream, tenant, proxy) = start();
    let body = chat_body("false");
    let auth = tenant.pat.line();
    let length = body.len() + 1;
    let with_length = format!(
        "POST {} HTTP/1.1\r\nhost: proxy\r\n{auth}content-length: {length}\r\n\r\n{body}",
        chat_path()
    );
    let mut cut_chunk = head(&tenant.pat).into_bytes();
    cut_chunk.extend(chunk(&body));
    let mut whole = head(&tenant.pat).into_bytes();
    whole.extend(chunked(&[&body]));
    for wire in [with_length.into_bytes(), cut_chunk, whole[..whole.len() - 1].to_vec()] {
        let mut caller = proxy.connect();
        caller.send(wire);
        caller.finish_sending();
        let (bytes, _) = caller.rest();
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400 "), "{}", bytes.escape_ascii());
        if let Some(mut connection) = upstream.try_accept() {
            let (bytes, _) = connection.rest();
            assert!(!bytes.ends_with(b"0\r\n\r\n"), "the upstream saw a clean end");
        }
    }
}
