//! Many lines: the records of a snapshot, each with its line number.

use std::io::{self, BufRead};

use crate::{Record, RecordError};

/// Longest line that is read, in bytes without its end. A PAT with a hundred scopes has some 20 KiB.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Reads records from `reader`, one a line.
///
/// Yields the number of the line (from 1) and the record, or why the line is none. Blank lines, lines that begin with
/// `#`, and optional lines of unknown kinds are passed over. A bad line does not end the iteration, so that all
/// faults of a file can be reported together; a reader that fails does.
///
/// # Cost
/// One line in memory, never more than [`LINE_BYTES_MAX`] of it however long it is.
pub fn read_records<R: BufRead>(reader: R) -> Records<R> {
    Records { reader, line: Vec::new(), line_number: 0, failed: false }
}

/// See [`read_records`].
#[derive(Debug)]
pub struct Records<R> {
    reader: R,
    line: Vec<u8>,
    line_number: usize,
    failed: bool,
}

/// How reading one line ended.
enum LineEnd {
    Line,
    TooLong,
    EndOfInput,
}

impl<R: BufRead> Records<R> {
    /// Reads the next line into `self.line`; of a line that is too long, nothing is kept.
    fn read_line(&mut self) -> io::Result<LineEnd> {
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (part, used, ended) = match memchr::memchr(b'\n', available) {
                Some(at) => (&available[..at], at + 1, true),
                None => (available, available.len(), available.is_empty()),
            };
            any |= used > 0;
            too_long |= self.line.len() + part.len() > LINE_BYTES_MAX;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            self.reader.consume(used);
            if ended {
                return Ok(match (any, too_long) {
                    (false, _) => LineEnd::EndOfInput,
                    (true, true) => LineEnd::TooLong,
                    (true, false) => LineEnd::Line,
                });
            }
        }
    }
}

/// Whether a line carries no record by its form alone.
#[must_use]
pub fn is_blank_or_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line[0] == b'#'
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = (usize, Result<Record, RecordError>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            self.line_number += 1;
            let read = match self.read_line() {
                Ok(LineEnd::EndOfInput) => return None,
                Ok(LineEnd::TooLong) => Err(RecordError::TooLong),
                Ok(LineEnd::Line) if is_blank_or_comment(&self.line) => continue,
                Ok(LineEnd::Line) => match Record::from_line(&self.line) {
                    Ok(None) => continue,
                    Ok(Some(record)) => Ok(record),
                    Err(error) => Err(error),
                },
                Err(error) => {
                    self.failed = true;
                    Err(RecordError::Read(error))
                }
            };
            return Some((self.line_number, read));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &[u8]) -> Vec<(usize, bool)> {
        read_records(text).map(|(line, read)| (line, read.is_ok())).collect()
    }

    #[test]
    fn line_numbers_count_the_lines_that_are_passed_over() {
        let text = b"# head\n\n{\"kind\":\"snapshot\"}\r\n  \n{\"kind\":\"later\",\"optional\":true}\nnonsense\n  # x\n{\"kind\":\"snapshot\"}";
        assert_eq!(lines_of(text), [(3, true), (6, false), (8, true)]);
        assert_eq!(lines_of(b""), []);
        assert_eq!(lines_of(b"\n"), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_fault_and_reading_goes_on() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 1];
        text.extend_from_slice(b"\n{\"kind\":\"snapshot\"}\n");
        let read: Vec<_> = read_records(&text[..]).collect();
        assert!(matches!(read[0], (1, Err(RecordError::TooLong))));
        assert!(matches!(read[1], (2, Ok(Record::Snapshot(_)))));
    }

    /// Goal: a reader may cut lines anywhere. Method: every buffer size from 1 byte on gives the same records.
    #[test]
    fn records_do_not_depend_on_how_the_reader_cuts_lines() {
        let text =
            b"{\"kind\":\"snapshot\",\"generation\":1}\n\nbad\n{\"kind\":\"snapshot\",\"generation\":2}";
        let whole = lines_of(text);
        for capacity in 1..text.len() {
            let read: Vec<_> = read_records(io::BufReader::with_capacity(capacity, &text[..]))
                .map(|(line, read)| (line, read.is_ok()))
                .collect();
            assert_eq!(read, whole, "buffer of {capacity} bytes");
        }
    }

    #[test]
    fn a_reader_that_fails_ends_the_iteration_with_its_error() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut records = read_records(io::BufReader::new(Broken));
        assert!(matches!(records.next(), Some((1, Err(RecordError::Read(_))))));
        assert!(records.next().is_none());
    }
}
