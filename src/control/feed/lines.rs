//! Bytes → lines: the body of an HTTP/1.1 answer without its framing, and lines of bounded length.

use std::io::{self, BufRead, Read};

use cube_wire::read::LINE_BYTES_MAX;

use crate::http1::{ChunkScanner, ChunkStep, ResponseBody};

/// Bytes asked for per read. A snapshot has hundreds of megabytes, a heartbeat a hundred bytes.
const READ_BYTES: usize = 128 << 10;

/// The payload of an answer's body. Ends when the body does; a body that is cut is an error.
pub(super) struct Body<R> {
    reader: R,
    framing: Framing,
    /// `buffer[start..end]` was read and not looked at.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

enum Framing {
    Length(u64),
    Chunked(ChunkScanner),
    UntilClose,
}

impl<R: Read> Body<R> {
    /// * `begun`: what was read behind the head.
    pub(super) fn new(reader: R, framing: ResponseBody, begun: &[u8]) -> Self {
        let framing = match framing {
            ResponseBody::None => Framing::Length(0),
            ResponseBody::Length(length) => Framing::Length(length),
            ResponseBody::Chunked => Framing::Chunked(ChunkScanner::default()),
            ResponseBody::UntilClose => Framing::UntilClose,
        };
        let mut buffer = begun.to_vec();
        buffer.resize(READ_BYTES.max(begun.len()), 0);
        Self { reader, framing, buffer, start: 0, end: begun.len() }
    }

    pub(super) fn into_reader(self) -> R {
        self.reader
    }

    fn is_over(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(scanner) => scanner.is_done(),
            Framing::UntilClose => false,
        }
    }

    /// Moves payload that is in the buffer to `out`; 0 if only framing was there.
    fn take(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let unread = &self.buffer[self.start..self.end];
        let offered = &unread[..unread.len().min(out.len())];
        let (taken, payload) = match &mut self.framing {
            Framing::UntilClose => (offered.len(), offered),
            Framing::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(offered.len());
                *left -= len as u64;
                (len, &offered[..len])
            }
            Framing::Chunked(scanner) => match scanner.next(offered).map_err(io::Error::other)? {
                ChunkStep::Payload { taken, payload } => (taken, payload),
                ChunkStep::Framing { taken } | ChunkStep::End { taken } => (taken, &offered[..0]),
                ChunkStep::NeedMore => (0, &offered[..0]),
            },
        };
        out[..payload.len()].copy_from_slice(payload);
        self.start += taken;
        Ok(payload.len())
    }
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !out.is_empty() {
            if self.start < self.end && !self.is_over() {
                match self.take(out)? {
                    0 => continue,
                    taken => return Ok(taken),
                }
            }
            if self.is_over() {
                return Ok(0);
            }
            (self.start, self.end) = (0, self.reader.read(&mut self.buffer)?);
            if self.end == 0 {
                return match self.framing {
                    Framing::UntilClose => Ok(0),
                    Framing::Length(_) | Framing::Chunked(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        Ok(0)
    }
}

/// How reading a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// There is a line.
    Whole,
    /// There is the beginning of one; its end, and everything behind it, is missing.
    Torn,
    /// There is nothing any more.
    Nothing,
}

/// Reads the next line into `line`, without its end.
///
/// # Errors
/// The reader's, and a line that is longer than any line may be.
pub(super) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<LineEnd> {
    line.clear();
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(if line.is_empty() { LineEnd::Nothing } else { LineEnd::Torn });
        }
        let end = memchr::memchr(b'\n', available);
        let part = &available[..end.unwrap_or(available.len())];
        if line.len() + part.len() > LINE_BYTES_MAX {
            return Err(io::Error::other(format!("a line of more than {LINE_BYTES_MAX} bytes")));
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(LineEnd::Whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines_of(framing: ResponseBody, wire: &[u8], step: usize) -> (Vec<String>, Result<LineEnd, String>) {
        struct Slowly<'a>(&'a [u8], usize);
        impl Read for Slowly<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let len = self.1.min(out.len()).min(self.0.len());
                out[..len].copy_from_slice(&self.0[..len]);
                self.0 = &self.0[len..];
                Ok(len)
            }
        }
        let mut reader = BufReader::with_capacity(16, Body::new(Slowly(wire, step), framing, b""));
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        loop {
            match read_line(&mut reader, &mut line) {
                Ok(LineEnd::Whole) => lines.push(String::from_utf8(line.clone()).expect("text")),
                other => return (lines, other.map_err(|error| error.kind().to_string())),
            }
        }
    }

    /// Goal: neither chunks nor reads decide where a line ends, and a cut is never taken for an end. Method: every size of read,
    /// every cut.
    #[test]
    fn lines_do_not_depend_on_chunks_or_reads_and_a_cut_is_seen() {
        let wire = b"5\r\nab\ncd\r\n12;x=y\r\nefghijklmnopqrst\n\n\r\n0\r\n\r\n";
        let expected = ["ab", "cdefghijklmnopqrst", ""];
        for step in 1..wire.len() {
            let (lines, end) = lines_of(ResponseBody::Chunked, wire, step);
            assert_eq!((lines, end), (expected.map(str::to_owned).to_vec(), Ok(LineEnd::Nothing)));
        }
        for cut in 0..wire.len() {
            let (_, end) = lines_of(ResponseBody::Chunked, &wire[..cut], 7);
            assert_eq!(end, Err(io::ErrorKind::UnexpectedEof.to_string()), "cut at {cut}");
        }
        assert_eq!(lines_of(ResponseBody::UntilClose, b"a\nb", 2).1, Ok(LineEnd::Torn));
        assert_eq!(lines_of(ResponseBody::Length(2), b"a\nb\n", 9).0, ["a"]);
        assert!(lines_of(ResponseBody::Length(9), b"a\n", 9).1.is_err());
        assert!(lines_of(ResponseBody::Chunked, b"nonsense", 9).1.is_err());
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let endless = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(lines_of(ResponseBody::UntilClose, &endless, 1 << 20).1.is_err());
    }
}
