//! Multipart forms: the field `model`, wherever it stands among the files.

mod head;
mod params;

use std::ops::Range;

use memchr::memmem;

use self::head::{PartHead, is_charset, is_utf8};
use self::params::Params;
use super::{NAME_BYTES_MAX, PeekError};

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// `--` and the boundary.
const DELIMITER_BYTES_MAX: usize = 2 + BOUNDARY_BYTES_MAX;
/// Bytes of a part that are kept, because the delimiter and the CRLF before it may be cut.
const TAIL_BYTES_MAX: usize = DELIMITER_BYTES_MAX + 1;
/// Longest header line of a part, and how many lines there may be.
const LINE_BYTES_MAX: usize = 1024;
const LINES_MAX: u8 = 16;
/// The model's name with the delimiter that ends it.
const VALUE_BYTES_MAX: usize = NAME_BYTES_MAX + 2 + DELIMITER_BYTES_MAX;

/// Reads one multipart/form-data request body, segment after segment, and finds the field `model`.
///
/// Files are skipped with SIMD search and never kept. Stricter than RFC 7578 wherever form parsers
/// differ: no preamble but one line end, no epilogue but line ends, CRLF only, no padding behind the
/// boundary, no boundary inside a part, even without a line end before it.
#[derive(Clone, Debug)]
pub struct MultipartPeek {
    /// Offset in the body of the next segment's first byte.
    at: u64,
    state: State,
    fault: Option<PeekError>,
    head: PartHead,
    lines: u8,
    delimiter_length: u8,
    /// How much of `delimiter` has come, before the first part.
    matched: u8,
    tail_length: u8,
    line_length: u16,
    value_length: u16,
    /// Offset of the first byte behind the head of the part being read.
    part_start: u64,
    model_span: Option<Range<u64>>,
    delimiter: [u8; DELIMITER_BYTES_MAX],
    /// The last bytes of the part being skipped.
    tail: [u8; TAIL_BYTES_MAX],
    value: [u8; VALUE_BYTES_MAX],
    line: [u8; LINE_BYTES_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Behind a CR that the body began with.
    StartLf,
    /// Inside the first delimiter.
    FirstDelimiter,
    AfterDelimiter,
    AfterDelimiterLf,
    /// Behind one dash after a delimiter.
    LastDash,
    Line,
    LineLf,
    /// In a part that is not the model.
    Skipped,
    Model,
    /// Behind the last delimiter.
    Epilogue,
}

impl MultipartPeek {
    /// A peek at a form of which nothing was read yet.
    ///
    /// * `content_type`: the request's `Content-Type` value.
    ///
    /// # Errors
    /// [`PeekError::BadContentType`]: not multipart/form-data, no boundary or two, one outside RFC 2046
    /// §5.1.1, or a charset other than UTF-8 (some parsers decode every field with it).
    pub fn new(content_type: &[u8]) -> Result<Self, PeekError> {
        let boundary = boundary(content_type).ok_or(PeekError::BadContentType)?;
        let mut delimiter = [b'-'; DELIMITER_BYTES_MAX];
        let delimiter_length = 2 + boundary.len();
        delimiter[2..delimiter_length].copy_from_slice(boundary);
        Ok(Self {
            at: 0,
            state: State::Start,
            fault: None,
            head: PartHead::default(),
            lines: 0,
            delimiter_length: delimiter_length as u8,
            matched: 0,
            tail_length: 0,
            line_length: 0,
            value_length: 0,
            part_start: 0,
            model_span: None,
            delimiter,
            tail: [0; TAIL_BYTES_MAX],
            value: [0; VALUE_BYTES_MAX],
            line: [0; LINE_BYTES_MAX],
        })
    }

    /// Reads the body's next segment.
    ///
    /// # Errors
    /// `Malformed`, `DuplicateKey`, `AmbiguousKey`, `ModelNotText` or `ModelTooLong`, as soon as the
    /// byte that proves it is here. It stays: later calls say the same.
    ///
    /// # Cost
    /// One pass, no allocation. `benches/peek.rs`.
    pub fn feed(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let verdict = self.read(segment);
        self.at += segment.len() as u64;
        self.fault = verdict.err();
        verdict
    }

    /// Says that the body ended.
    ///
    /// # Errors
    /// [`PeekError::Truncated`] if the last delimiter did not come, or what [`MultipartPeek::feed`] said.
    pub fn finish(&mut self) -> Result<(), PeekError> {
        if self.fault.is_none() && self.state != State::Epilogue {
            self.fault = Some(PeekError::Truncated);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Whether the last delimiter came and nothing was wrong before it.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.state == State::Epilogue && self.fault.is_none()
    }

    /// The model's name: the value of the field `model`, UTF-8, at most [`NAME_BYTES_MAX`] bytes.
    #[must_use]
    pub fn model(&self) -> Option<&[u8]> {
        self.model_span.as_ref().map(|_| &self.value[..usize::from(self.value_length)])
    }

    /// Where in the body the model's name stands. Another name can be written there as it is, if it
    /// has no line ends in it.
    #[must_use]
    pub fn model_span(&self) -> Option<Range<u64>> {
        self.model_span.clone()
    }

    /// `--` and the boundary: what no part may have in it.
    pub(super) fn delimiter(&self) -> &[u8] {
        &self.delimiter[..usize::from(self.delimiter_length)]
    }

    fn read(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        let mut at = 0;
        while at < segment.len() {
            at = match self.state {
                State::Line => self.read_line(segment, at)?,
                State::Skipped => self.skip_part(segment, at)?,
                State::Model => self.read_model(segment, at)?,
                State::Start
                | State::StartLf
                | State::FirstDelimiter
                | State::AfterDelimiter
                | State::AfterDelimiterLf
                | State::LastDash
                | State::LineLf
                | State::Epilogue => {
                    self.read_byte(segment[at], self.at + at as u64)?;
                    at + 1
                }
            };
        }
        Ok(())
    }

    fn read_byte(&mut self, byte: u8, offset: u64) -> Result<(), PeekError> {
        self.state = match (self.state, byte) {
            (State::Start, b'\r') => State::StartLf,
            (State::StartLf, b'\n') => State::FirstDelimiter,
            (State::Start | State::FirstDelimiter, _)
                if byte == self.delimiter[usize::from(self.matched)] =>
            {
                self.matched += 1;
                let whole = self.matched == self.delimiter_length;
                if whole { State::AfterDelimiter } else { State::FirstDelimiter }
            }
            (State::AfterDelimiter, b'\r') => State::AfterDelimiterLf,
            (State::AfterDelimiterLf, b'\n') => {
                self.head = PartHead::default();
                self.lines = 0;
                self.line_length = 0;
                State::Line
            }
            (State::AfterDelimiter, b'-') => State::LastDash,
            (State::LastDash, b'-') | (State::Epilogue, b'\r' | b'\n') => State::Epilogue,
            (State::LineLf, b'\n') => self.end_line(offset + 1)?,
            _ => return Err(PeekError::Malformed),
        };
        Ok(())
    }

    /// Collects a header line up to its CR.
    fn read_line(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let rest = &segment[at..];
        let length = rest.iter().position(|&byte| byte < b' ' && byte != b'\t').unwrap_or(rest.len());
        let kept = usize::from(self.line_length);
        let room = self.line.get_mut(kept..kept + length).ok_or(PeekError::Malformed)?;
        room.copy_from_slice(&rest[..length]);
        self.line_length += length as u16;
        match rest.get(length) {
            None => return Ok(segment.len()),
            Some(b'\r') => self.state = State::LineLf,
            Some(_) => return Err(PeekError::Malformed),
        }
        Ok(at + length + 1)
    }

    /// * `next`: offset behind the line.
    fn end_line(&mut self, next: u64) -> Result<State, PeekError> {
        let line = &self.line[..usize::from(self.line_length)];
        self.line_length = 0;
        if !line.is_empty() {
            self.lines += 1;
            if self.lines > LINES_MAX {
                return Err(PeekError::Malformed);
            }
            self.head.read_line(line)?;
            return Ok(State::Line);
        }
        self.part_start = next;
        self.tail_length = 0;
        if !self.head.end()? {
            return Ok(State::Skipped);
        }
        if self.model_span.is_some() {
            return Err(PeekError::DuplicateKey);
        }
        self.value_length = 0;
        Ok(State::Model)
    }

    /// Looks for the delimiter that ends a part which is not kept.
    fn skip_part(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let delimiter = &self.delimiter[..usize::from(self.delimiter_length)];
        let rest = &segment[at..];
        // First where the delimiter could have been cut: what was kept, and as much of the new bytes.
        let kept = usize::from(self.tail_length);
        let mut seam = [0; 2 * TAIL_BYTES_MAX];
        let new = rest.len().min(delimiter.len() + 1);
        seam[..kept].copy_from_slice(&self.tail[..kept]);
        seam[kept..kept + new].copy_from_slice(&rest[..new]);
        let seam = &seam[..kept + new];
        if let Some(found) = memmem::find(seam, delimiter) {
            if !seam[..found].ends_with(b"\r\n") {
                return Err(PeekError::Malformed);
            }
            self.state = State::AfterDelimiter;
            return Ok(at + found + delimiter.len() - kept);
        }
        if new < rest.len()
            && let Some(found) = memmem::find(rest, delimiter)
        {
            if !rest[..found].ends_with(b"\r\n") {
                return Err(PeekError::Malformed);
            }
            self.state = State::AfterDelimiter;
            return Ok(at + found + delimiter.len());
        }
        let tail = if new < rest.len() { rest } else { seam };
        let tail = &tail[tail.len().saturating_sub(delimiter.len() + 1)..];
        self.tail[..tail.len()].copy_from_slice(tail);
        self.tail_length = tail.len() as u8;
        Ok(segment.len())
    }

    /// Collects the model's name and the delimiter that ends it.
    fn read_model(&mut self, segment: &[u8], at: usize) -> Result<usize, PeekError> {
        let delimiter = &self.delimiter[..usize::from(self.delimiter_length)];
        let rest = &segment[at..];
        let kept = usize::from(self.value_length);
        let limit = NAME_BYTES_MAX + 2 + delimiter.len();
        let new = rest.len().min(limit - kept);
        self.value[kept..kept + new].copy_from_slice(&rest[..new]);
        let value = &self.value[..kept + new];
        let Some(found) = memmem::find(value, delimiter) else {
            if value.len() == limit {
                return Err(PeekError::ModelTooLong);
            }
            self.value_length = value.len() as u16;
            return Ok(segment.len());
        };
        let name = value[..found].strip_suffix(b"\r\n").ok_or(PeekError::Malformed)?;
        std::str::from_utf8(name).map_err(|_| PeekError::Malformed)?;
        self.value_length = name.len() as u16;
        self.model_span = Some(self.part_start..self.part_start + name.len() as u64);
        self.state = State::AfterDelimiter;
        Ok(at + found + delimiter.len() - kept)
    }
}

/// The boundary that a `Content-Type` value names.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let (kind, mut params) = Params::split(content_type);
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let mut boundary = None;
    while let Some(param) = params.next().ok()? {
        if param.name.eq_ignore_ascii_case(b"boundary") {
            if boundary.replace(param.value).is_some() {
                return None;
            }
        } else if param.name.len() > 8 && param.name[..8].eq_ignore_ascii_case(b"boundary")
            || is_charset(param.name) && !is_utf8(param.value)
        {
            return None;
        }
    }
    let usable = |boundary: &&[u8]| {
        (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
            && boundary.last() != Some(&b' ')
            && boundary.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte))
    };
    boundary.filter(usable)
}
