//! Chunked bodies: payload, ends, limits, faults, at every split.

use super::super::{ChunkError, ChunkLimits, ChunkScanner, ChunkStep};

/// Payload, bytes forwarded and bytes used of a body that arrives in `read_bytes` pieces.
fn scanned(wire: &[u8], read_bytes: usize) -> Result<(Vec<u8>, Vec<u8>, usize, ChunkScanner), ChunkError> {
    let mut scanner = ChunkScanner::new(ChunkLimits::default());
    let mut copier = scanner.clone();
    let (mut payload, mut forwarded, mut used) = (Vec::new(), Vec::new(), 0);
    for read in wire.chunks(read_bytes) {
        let scanned = scanner.scan(read, |bytes| payload.extend_from_slice(bytes))?;
        assert_eq!(copier.copy_plain(read, &mut forwarded), Ok(scanned.used));
        used += scanned.used;
        assert_eq!(scanned.done, scanner.is_done());
        if scanned.done {
            break;
        }
        assert_eq!(scanned.used, read.len(), "an unfinished body uses the whole read");
    }
    Ok((payload, forwarded, used, scanner))
}

fn fault(wire: &[u8]) -> ChunkError {
    let whole = scanned(wire, wire.len()).map(|found| found.0);
    for read_bytes in 1..wire.len().min(64) {
        assert_eq!(scanned(wire, read_bytes).map(|found| found.0), whole, "reads of {read_bytes} bytes");
    }
    match whole {
        Err(error) => error,
        Ok(payload) => panic!("accepted {:?} as {payload:?}", String::from_utf8_lossy(wire)),
    }
}

#[test]
fn payload_and_end_are_found_wherever_reads_cut() {
    let body = b"5\r\nhello\r\n00A;name=value\r\n0123456789\r\n1;a ; b=\"\\\"\" \r\n \r\n0;c\r\n\r\n";
    let plain = b"5\r\nhello\r\n00A\r\n0123456789\r\n1\r\n \r\n0\r\n\r\n";
    let wire = [&body[..], b"GET / HTTP/1.1\r\n"].concat();
    for read_bytes in 1..=wire.len() {
        let (payload, forwarded, used, scanner) = scanned(&wire, read_bytes).unwrap();
        assert_eq!(payload, b"hello0123456789 ");
        assert_eq!(forwarded, plain, "untouched but for the extensions");
        assert_eq!(used, body.len(), "the next request is not touched");
        assert!(scanner.is_done() && scanner.had_extensions() && !scanner.had_trailers());
    }
}

#[test]
fn trailers_are_checked_and_left_out() {
    let wire = b"1\r\nx\r\n0\r\ndigest: abc\r\nx-y:\t\xff\r\n\r\nGET";
    for read_bytes in 1..=wire.len() {
        let (payload, forwarded, used, scanner) = scanned(wire, read_bytes).unwrap();
        assert_eq!(payload, b"x");
        assert_eq!(forwarded, b"1\r\nx\r\n0\r\n\r\n", "reads of {read_bytes}");
        assert_eq!(used, wire.len() - 3);
        assert!(scanner.is_done() && scanner.had_trailers());
    }
}

#[test]
fn steps_tell_payload_framing_and_end_apart() {
    let mut scanner = ChunkScanner::new(ChunkLimits::default());
    assert_eq!(scanner.next(b""), Ok(ChunkStep::NeedMore));
    assert!(scanner.at_chunk_boundary());
    assert_eq!(scanner.next(b"3\r"), Ok(ChunkStep::Framing { taken: 2 }));
    assert!(!scanner.at_chunk_boundary());
    assert_eq!(scanner.next(b"\nab"), Ok(ChunkStep::Payload { taken: 3, payload: b"ab" }));
    assert_eq!(scanner.next(b"c\r\n0\r"), Ok(ChunkStep::Payload { taken: 1, payload: b"c" }));
    assert!(!scanner.at_chunk_boundary(), "the CRLF belongs to the chunk");
    assert_eq!(scanner.next(b"\r\n"), Ok(ChunkStep::Framing { taken: 2 }));
    assert!(scanner.at_chunk_boundary() && !scanner.is_done());
    assert_eq!(scanner.next(b"0\r\n\r\nHTTP"), Ok(ChunkStep::End { taken: 5 }));
    assert!(scanner.is_done());
    assert_eq!(scanner.next(b"HTTP"), Ok(ChunkStep::End { taken: 0 }), "and it stays ended");
}

#[test]
fn a_size_is_bare_hexadecimal_digits() {
    for size in ["", " 5", "5 ", "\t5", "5\t", "0x5", "+5", "-5", "g", "5,", "5.", "\x005", "５"] {
        let wire = format!("{size}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(fault(wire.as_bytes()), ChunkError::Size, "{size:?}");
    }
    assert_eq!(fault(b"\r\n\r\nGET /smug HTTP/1.1\r\n\r\n"), ChunkError::Size, "an empty line ends nothing");
    for size in ["11111111111111111", "ffffffffffffffff", "fffffffffffffffd", "1000000000000000"] {
        assert_eq!(fault(format!("{size}\r\n").as_bytes()), ChunkError::Size, "{size}");
    }
    assert_eq!(fault(format!("{}5\r\nhello\r\n", "0".repeat(1000)).as_bytes()), ChunkError::Size);
    assert_eq!(fault(format!("{}\r\n\r\n", "0".repeat(17)).as_bytes()), ChunkError::Size);
    let (_, _, used, scanner) = scanned(format!("{}\r\n\r\n", "0".repeat(16)).as_bytes(), 64).unwrap();
    assert!(scanner.is_done() && used == 20);
    let mut scanner = ChunkScanner::new(ChunkLimits::default());
    let largest = b"0fffffffffffffff\r\nx";
    assert_eq!(scanner.next(largest), Ok(ChunkStep::Payload { taken: 19, payload: b"x" }));
}

#[test]
fn every_line_of_the_framing_ends_in_crlf() {
    assert_eq!(fault(b"5\nhello\r\n0\r\n\r\n"), ChunkError::LineEnding);
    assert_eq!(fault(b"5\rhello\r\n0\r\n\r\n"), ChunkError::LineEnding);
    assert_eq!(fault(b"5\r\rhello"), ChunkError::LineEnding);
    assert_eq!(fault(b"5\r\nhello\n0\r\n\r\n"), ChunkError::LineEnding);
    assert_eq!(fault(b"5\r\nhello\r0\r\n\r\n"), ChunkError::LineEnding);
    assert_eq!(fault(b"5\r\nhello0\r\n\r\n"), ChunkError::LineEnding);
    assert_eq!(fault(b"5\r\nhelloo\r\n0\r\n\r\n"), ChunkError::LineEnding);
    assert_eq!(fault(b"0\r\n\rX"), ChunkError::LineEnding);
    assert_eq!(fault(b"0\r\n\n"), ChunkError::Trailer);
    assert_eq!(fault(b"0\r\nx: y\n\r\n"), ChunkError::Trailer);
    assert_eq!(fault(b"0\r\nx: y\rz"), ChunkError::LineEnding);
    assert_eq!(fault(b"0;a\n\r\n"), ChunkError::Extension);
}

#[test]
fn extensions_follow_the_grammar_and_are_bounded() {
    for extension in [";a", ";a=b", ";a=\"b; \\\" c\"", ";a ; b = c\t", "; a=\"\"", ";a=b;c=d", ";a;b"] {
        let wire = format!("1{extension}\r\nx\r\n0{extension}\r\n\r\n");
        let (payload, forwarded, ..) = scanned(wire.as_bytes(), 3).unwrap();
        assert_eq!((&*payload, &*forwarded), (&b"x"[..], &b"1\r\nx\r\n0\r\n\r\n"[..]), "{extension}");
    }
    for extension in [
        ";",
        ";;",
        "; ",
        ";=b",
        ";a=",
        ";a b",
        ";a=b c",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=b\"",
        ";a\0",
        ";a=\"\n\"",
        ";é",
    ] {
        let wire = format!("1{extension}\r\nx\r\n0\r\n\r\n");
        assert_eq!(fault(wire.as_bytes()), ChunkError::Extension, "{extension:?}");
    }
    let longest = format!("1;{}\r\nx\r\n0;{0}\r\n\r\n", "a".repeat(255));
    assert!(scanned(longest.as_bytes(), 100).unwrap().3.is_done());
    assert_eq!(fault(format!("1;{}\r\nx", "a".repeat(256)).as_bytes()), ChunkError::Extension);
}

#[test]
fn trailers_follow_the_grammar_and_are_bounded() {
    for trailer in [" x: y", "x y: z", ": y", "x", "x : y", "x: \0", "x: y\x7f", "é: y", "x: y\r\n z"] {
        let wire = format!("0\r\n{trailer}\r\n\r\n");
        assert_eq!(fault(wire.as_bytes()), ChunkError::Trailer, "{trailer:?}");
    }
    let line = |bytes: usize| format!("x:{}\r\n", "v".repeat(bytes - 4));
    let longest = format!("0\r\n{}{}\r\n", line(4000), line(95));
    assert!(scanned(longest.as_bytes(), 1000).unwrap().3.is_done());
    let over = format!("0\r\n{}{}\r\n", line(4000), line(96));
    assert_eq!(fault(over.as_bytes()), ChunkError::TrailersTooLarge);
}

#[test]
fn a_fault_is_final() {
    let mut scanner = ChunkScanner::new(ChunkLimits::default());
    assert_eq!(scanner.next(b"x"), Err(ChunkError::Size));
    assert_eq!(scanner.next(b"0\r\n\r\n"), Err(ChunkError::Size));
    assert!(!scanner.is_done());
}

#[test]
fn a_body_cut_short_is_never_done() {
    let wire = b"5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    for cut in 0..wire.len() {
        let mut scanner = ChunkScanner::new(ChunkLimits::default());
        let found = scanner.scan(&wire[..cut], |_| ()).unwrap();
        assert!(!found.done && !scanner.is_done(), "cut at {cut}");
    }
}
