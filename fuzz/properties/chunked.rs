//! Any bytes are a chunked body or are not, however they arrive; and what is passed on is the same body.

use cube_proxy::http1::{ChunkError, ChunkLimits, ChunkScanner, write::CHUNK_HEADROOM, write_chunk_head};

/// What a body came to.
#[derive(Debug, PartialEq)]
struct Body {
    payload: Vec<u8>,
    forwarded: Vec<u8>,
    used: usize,
    done: bool,
    had_trailers: bool,
    had_extensions: bool,
}

/// Fails if these bytes could crash the scanner, mean another thing when they arrive in pieces, or are passed on as
/// another body.
pub(crate) fn check(input: &[u8]) {
    for limits in [ChunkLimits::default(), ChunkLimits { extension_bytes_max: 8, trailer_bytes_max: 12 }] {
        let whole = scanned(input, limits, input.len());
        for read_bytes in 1..input.len().min(24) {
            assert_eq!(scanned(input, limits, read_bytes), whole, "reads of {read_bytes} bytes");
        }
        if let Ok(body) = whole {
            check_body(&body, limits);
        }
    }
}

fn scanned(wire: &[u8], limits: ChunkLimits, read_bytes: usize) -> Result<Body, ChunkError> {
    let (mut scanner, mut copier) = (ChunkScanner::new(limits), ChunkScanner::new(limits));
    let (mut payload, mut forwarded, mut used) = (Vec::new(), Vec::new(), 0);
    for read in wire.chunks(read_bytes.max(1)) {
        let found = scanner.scan(read, |bytes| payload.extend_from_slice(bytes))?;
        assert!(found.used <= read.len());
        assert!(found.done || found.used == read.len(), "an unfinished body uses all");
        let before = forwarded.len();
        let copied = copier.copy_plain(read, &mut forwarded).expect("two readings of one body agree");
        assert_eq!((copied, copier.is_done()), (found.used, found.done));
        let same = forwarded[before..] == read[..found.used];
        assert!(same || scanner.had_extras(), "nothing else is left out");
        used += found.used;
        if found.done {
            break;
        }
    }
    let (had_trailers, had_extensions) = (scanner.had_trailers(), scanner.had_extensions());
    Ok(Body { payload, forwarded, used, done: scanner.is_done(), had_trailers, had_extensions })
}

fn check_body(body: &Body, limits: ChunkLimits) {
    if !body.done {
        return;
    }
    let forwarded = &body.forwarded;
    let passed = scanned(forwarded, limits, forwarded.len()).expect("what is passed on is a body");
    assert!(passed.done && !passed.had_trailers && !passed.had_extensions && passed.used == forwarded.len());
    assert_eq!(passed.payload, body.payload, "and the same one");

    // The same payload in chunks of our own.
    let mut framed = Vec::new();
    for piece in body.payload.chunks(7) {
        let mut headroom = [0; CHUNK_HEADROOM];
        let start = write_chunk_head(&mut headroom, piece.len() as u32);
        framed.extend_from_slice(&headroom[start..]);
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    let ours = scanned(&framed, limits, 3).expect("what we frame is a body");
    assert!(ours.done && !ours.had_extensions);
    assert_eq!(ours.payload, body.payload);
}
