//! Any bytes are a head or are not, however they arrive; and what is one means the same to a second parser and to whoever
//! reads what we write from it.

use cube_proxy::http1::{
    BodyLength, Field, Framing, HeadError, HeadLimits, HeadWriter, Known, Parsed, RequestHead, ResponseBody,
    ResponseHead, decode_segment, split_proxy_path,
};
use cube_proxy::operations::{NAMES_BELOW, lookup};

/// Small enough that short inputs meet every limit.
const TIGHT: HeadLimits =
    HeadLimits { head_bytes_max: 160, first_line_bytes_max: 48, field_bytes_max: 40, fields_max: 5 };

/// Fails if these bytes could crash a parser, mean another thing when they arrive in pieces, or mean one thing to
/// us and another to the next reader.
pub(crate) fn check(input: &[u8]) {
    for limits in [HeadLimits::default(), TIGHT] {
        let (verdict, head) = parse_request(input, &limits, &[]);
        for cuts in cuts(input.len()) {
            let (split_verdict, split) = parse_request(input, &limits, &cuts);
            assert_eq!(split_verdict, verdict, "request, cuts {cuts:?}");
            if let Ok(Parsed::Complete { .. }) = verdict {
                assert_eq!(facts(&split), facts(&head), "request, cuts {cuts:?}");
            }
        }
        if let Ok(Parsed::Complete { len }) = verdict {
            check_request(&input[..len], &head);
        }
        for was_head in [false, true] {
            let (verdict, head) = parse_response(input, &limits, was_head, &[]);
            for cuts in cuts(input.len()) {
                let (split_verdict, split) = parse_response(input, &limits, was_head, &cuts);
                assert_eq!(split_verdict, verdict, "response, cuts {cuts:?}");
                if let Ok(Parsed::Complete { .. }) = verdict {
                    let facts =
                        |head: &ResponseHead| (head.status, head.body, head.keep_alive, spans(head.fields()));
                    assert_eq!(facts(&split), facts(&head), "response, cuts {cuts:?}");
                }
            }
            if let Ok(Parsed::Complete { len }) = verdict {
                check_response(&input[..len], &head);
            }
        }
    }
}

/// Where reads end: byte by byte; in two, at every place or, in long inputs, at a few.
fn cuts(len: usize) -> impl Iterator<Item = Vec<usize>> {
    let step = (len / 64).max(1);
    let bytewise = (0..len).collect();
    std::iter::once(bytewise).chain((0..len).step_by(step).map(|cut| vec![cut]))
}

fn parse_request(
    wire: &[u8],
    limits: &HeadLimits,
    cuts: &[usize],
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

fn parse_response(
    wire: &[u8],
    limits: &HeadLimits,
    was_head: bool,
    cuts: &[usize],
) -> (Result<Parsed, HeadError>, ResponseHead) {
    let mut head = ResponseHead::new();
    for &cut in cuts {
        let verdict = head.parse(&wire[..cut], limits, was_head);
        if verdict != Ok(Parsed::Partial) {
            return (verdict, head);
        }
    }
    (head.parse(wire, limits, was_head), head)
}

fn facts(head: &RequestHead) -> impl PartialEq + std::fmt::Debug {
    let line = (head.method.clone(), head.target, head.path, head.query, head.http11);
    (line, head.body, head.keep_alive, head.expect_continue, spans(head.fields()))
}

fn spans(fields: &[Field]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    fields
        .iter()
        .map(|field| (field.name, field.value, field.line, field.known, field.is_hop_by_hop()))
        .collect()
}

fn check_request(wire: &[u8], head: &RequestHead) {
    // httparse skips any number of empty lines before the head.
    let mut fields = [httparse::EMPTY_HEADER; 90];
    let mut theirs = httparse::Request::new(&mut fields);
    assert_eq!(
        theirs.parse(wire),
        Ok(httparse::Status::Complete(wire.len())),
        "a second parser sees the same end"
    );
    assert_eq!(theirs.method, Some(head.method.as_str()));
    assert_eq!(theirs.path.map(str::as_bytes), Some(head.target.of(wire)));
    assert_eq!(theirs.version, Some(u8::from(head.http11)));
    check_fields(wire, head.fields(), theirs.headers);
    check_path(wire, head);

    let framing = match head.body {
        BodyLength::None => Framing::None,
        BodyLength::Length(bytes) => Framing::Length(bytes),
        BodyLength::Chunked => Framing::Chunked,
    };
    let mut out = Vec::new();
    let path = if head.path.is_empty() { b"/" } else { head.path.of(wire) };
    HeadWriter::request(&mut out, &head.method, &[path], b"upstream:1")
        .copy(wire, head.fields(), |field| !matches!(field.known, Known::Host | Known::Expect))
        .end(framing);
    let mut again = RequestHead::new();
    let wide = HeadLimits { head_bytes_max: 65_535, field_bytes_max: 65_535, ..HeadLimits::default() };
    assert_eq!(again.parse(&out, &wide), Ok(Parsed::Complete { len: out.len() }), "what we write we read");
    assert_eq!(again.path.of(&out), path);
    assert_eq!((again.body, &again.method), (head.body, &head.method), "and it is framed alike");
    let connection_level = again.fields().iter().filter(|field| field.is_hop_by_hop()).count();
    assert_eq!(
        connection_level,
        usize::from(head.body == BodyLength::Chunked),
        "but ours, none is passed on"
    );
}

fn check_path(wire: &[u8], head: &RequestHead) {
    let path = head.path.of(wire);
    let Ok(parts) = split_proxy_path(path, NAMES_BELOW) else { return };
    assert_eq!([b"/proxy/", parts.domain, parts.rest].concat(), path, "nothing is lost");
    let mut decoded = [0; 16 * 1024];
    let decoded = decode_segment(path, &mut decoded).expect("what is split can be decoded");
    let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
    let holds_name = parts.rest.starts_with(NAMES_BELOW);
    assert!(holds_name || slashes(decoded) == slashes(path), "decoding makes no segments but in a name");
    for segment in decoded.split(|&byte| byte == b'/').skip(1) {
        assert!(segment != b"." && segment != b"..", "no segment climbs");
    }
    let _ = lookup(&head.method, parts.rest);
}

fn check_response(wire: &[u8], head: &ResponseHead) {
    let mut fields = [httparse::EMPTY_HEADER; 90];
    let mut theirs = httparse::Response::new(&mut fields);
    assert_eq!(
        theirs.parse(wire),
        Ok(httparse::Status::Complete(wire.len())),
        "a second parser sees the same end"
    );
    assert_eq!(theirs.code, Some(head.status));
    assert_eq!(theirs.version, Some(u8::from(head.http11)));
    check_fields(wire, head.fields(), theirs.headers);

    let framing = match head.body {
        ResponseBody::Length(bytes) => Framing::Length(bytes),
        ResponseBody::Chunked => Framing::Chunked,
        ResponseBody::None | ResponseBody::UntilClose => Framing::None,
    };
    let mut out = Vec::new();
    HeadWriter::response(&mut out, head.status).copy(wire, head.fields(), |_| true).end(framing);
    let mut again = ResponseHead::new();
    let wide = HeadLimits { head_bytes_max: 65_535, field_bytes_max: 65_535, ..HeadLimits::default() };
    let verdict = again.parse(&out, &wide, head.body == ResponseBody::None);
    assert_eq!(verdict, Ok(Parsed::Complete { len: out.len() }), "what we write we read");
    assert_eq!((again.status, again.body), (head.status, head.body), "and it is framed alike");
}

fn check_fields(wire: &[u8], ours: &[Field], theirs: &[httparse::Header<'_>]) {
    assert_eq!(ours.len(), theirs.len());
    for (field, theirs) in ours.iter().zip(theirs) {
        assert_eq!(field.name.of(wire), theirs.name.as_bytes());
        assert_eq!(field.value.of(wire), theirs.value);
        assert_eq!(Known::classify(theirs.name.to_ascii_uppercase().as_bytes()), field.known, "in any case");
    }
}
