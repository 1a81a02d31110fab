//! Generated messages through the properties that the fuzz targets check: good ones, then with a few bytes changed, because
//! that is where parsers disagree. A failure prints its input, shrunk; it belongs into `fuzz/corpus/`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[path = "../fuzz/properties/chunked.rs"]
mod chunked;
#[path = "../fuzz/properties/head.rs"]
mod head;

/// One small change to a message.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Insert(Index, u8),
    Replace(Index, u8),
    Remove(Index),
}

/// Bytes that decide something in HTTP/1.1, and a few that must not.
const DECIDING: &[u8] = b"\r\n\0 \t:;,=_-/?#%.\"\\\x0b\x7f\x80\xff0159afgxAZ";

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), select(DECIDING)).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        (any::<Index>(), select(DECIDING)).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        any::<Index>().prop_map(Edit::Remove),
    ];
    vec(edit, 0..4)
}

fn edited(mut wire: Vec<u8>, edits: Vec<Edit>) -> Vec<u8> {
    for edit in edits {
        match edit {
            Edit::Insert(at, byte) => wire.insert(at.index(wire.len() + 1), byte),
            Edit::Replace(at, byte) if !wire.is_empty() => {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
            Edit::Remove(at) if !wire.is_empty() => {
                wire.remove(at.index(wire.len()));
            }
            Edit::Replace(..) | Edit::Remove(_) => {}
        }
    }
    wire
}

const FIRST_LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "POST /proxy/demo/v1/chat/completions HTTP/1.1\r\n",
    "POST /proxy/d/v1/models/a%3Ab?x=%2f HTTP/1.1\r\n",
    "PUT http://host:1/a?b HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "DELETE /x HTTP/1.0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 304 \r\n",
    "HTTP/1.0 200 Tr\u{e8}s bien\r\n",
    "HTTP/1.1 100 Continue\r\n",
];

const FIELDS: &[&str] = &[
    "host: host:1\r\n",
    "host: host:1\r\n",
    "content-length: 12\r\n",
    "Content-Length:0\r\n",
    "transfer-encoding: chunked\r\n",
    "Connection: close\r\n",
    "connection: keep-alive, x-a\r\n",
    "x-a:\t b \t\r\n",
    "x-empty:\r\n",
    "x_a: c\r\n",
    "authorization: Bearer pat_x\r\n",
    "content-type: application/json\r\n",
    "expect: 100-continue\r\n",
    "upgrade: h2c\r\n",
    "x-long: 0123456789012345678901234567890123456789\r\n",
];

fn heads() -> impl Strategy<Value = Vec<u8>> {
    (
        select(FIRST_LINES),
        vec(select(FIELDS), 0..7),
        select(&["\r\n", "\r\n{}", "\r\nGET / HTTP/1.1\r\n", ""][..]),
        edits(),
    )
        .prop_map(|(line, fields, end, edits)| {
            edited([line, &fields.concat(), end].concat().into_bytes(), edits)
        })
}

const CHUNKS: &[&str] = &[
    "5\r\nhello\r\n",
    "0a\r\n0123456789\r\n",
    "1;a=b\r\n\r\r\n",
    "2;a=\"\\\"\" ; c\r\n\r\n\r\n",
    "1\r\n0\r\n",
    "C\r\n{\"choices\":[\r\n",
];

const ENDS: &[&str] =
    &["0\r\n\r\n", "000\r\n\r\nGET", "0\r\nx: y\r\n\r\n", "0;e\r\nx:y\r\nz:\t\r\n\r\nHTTP/1.1", "0\r\n", ""];

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    (vec(select(CHUNKS), 0..6), select(ENDS), edits())
        .prop_map(|(chunks, end, edits)| edited([&chunks.concat(), end].concat().into_bytes(), edits))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_head_means_one_thing_to_everyone_however_it_arrives(wire in heads()) {
        head::check(&wire);
    }

    #[test]
    fn a_chunked_body_means_one_thing_to_everyone_however_it_arrives(wire in bodies()) {
        chunked::check(&wire);
    }
}
