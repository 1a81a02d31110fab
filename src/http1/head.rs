//! What request and response heads share: limits, errors, and the resumable walk over their lines.

use super::Known;
use super::field::{FIELDS_CAPACITY, Field, Fields, Span};
use super::framing::{self, BodyLength};
use super::grammar;

/// How large a head may be. Every limit is finite.
///
/// # Source
/// The proxy's own defaults: nginx, HAProxy and RFC 9112 §3 (request lines of 8,000 bytes) agree on the order
/// of magnitude; model traffic needs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The whole head with its blank line, bytes. At most 65,535, whatever is written here.
    pub head_bytes_max: usize,
    /// The first line with its CRLF, bytes.
    pub first_line_bytes_max: usize,
    /// One field line with its CRLF, bytes.
    pub field_bytes_max: usize,
    /// Field lines. At most [`FIELDS_CAPACITY`], whatever is written here.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            first_line_bytes_max: 8 * 1024,
            field_bytes_max: 8 * 1024,
            fields_max: FIELDS_CAPACITY,
        }
    }
}

/// Spans count in 16 bits.
const HEAD_BYTES_CEILING: usize = u16::MAX as usize;

impl HeadLimits {
    /// The part of `buf` that a head may lie in.
    fn window<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[..buf.len().min(self.head_bytes_ceiling())]
    }

    fn head_bytes_ceiling(&self) -> usize {
        self.head_bytes_max.min(HEAD_BYTES_CEILING)
    }
}

/// How far a parse came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The blank line is not there yet. Read more and call again with all bytes so far.
    Partial,
    /// The head is `buf[..len]`, leading empty lines included; `buf[len..]` is the start of the body or of
    /// the next message.
    Complete {
        /// Bytes that the head takes, from the start of the buffer.
        len: usize,
    },
}

/// Why a head is no head. A stranger can make these as fast as they can send, so they cost nothing: one
/// byte, `Copy`, no text.
///
/// After any of them the meaning of the next byte on the connection is unknown: answer, and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Outside the grammar of RFC 9112: bare CR or LF, NUL, obs-fold, space before a colon, ….
    #[error("malformed message head")]
    Malformed,
    /// Two readers could find different body ends: both Content-Length and Transfer-Encoding, either of
    /// them twice, or Transfer-Encoding in HTTP/1.0.
    #[error("ambiguous message framing")]
    AmbiguousFraming,
    /// Content-Length is not 1 to 19 digits. Lists of equal values count: we do not repair.
    #[error("invalid Content-Length")]
    InvalidContentLength,
    /// The one transfer coding we take is `chunked`, alone. RFC 9112 §6.1 suggests 501, but who sends another
    /// one today is probing, and probes get the answer that all of them get.
    #[error("unsupported transfer coding")]
    UnsupportedTransferCoding,
    /// A field that means one thing came twice (Authorization, Content-Type), or in disguise
    /// (`content_length`).
    #[error("repeated or disguised header field")]
    RepeatedField,
    /// HTTP/1.1 without Host.
    #[error("missing Host")]
    MissingHost,
    /// Host twice, not a host, or not that of an absolute request target.
    #[error("invalid Host")]
    InvalidHost,
    /// The first line is longer than the limit.
    #[error("request target too long")]
    TargetTooLong,
    /// A field line or the whole head is larger than its limit.
    #[error("message head too large")]
    TooLarge,
    /// More field lines than the limit.
    #[error("too many header fields")]
    TooManyFields,
    /// `Expect` asks for something other than `100-continue`.
    #[error("unsupported expectation")]
    ExpectationFailed,
    /// A method outside RFC 9110 §9 and RFC 5789, or CONNECT: we are no tunnel.
    #[error("unsupported method")]
    UnsupportedMethod,
    /// HTTP, but neither 1.0 nor 1.1.
    #[error("unsupported HTTP version")]
    UnsupportedVersion,
}

impl HeadError {
    /// The status of the answer to a caller whose request head this is. An upstream's head with any of these
    /// is a 502.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed
            | Self::AmbiguousFraming
            | Self::InvalidContentLength
            | Self::UnsupportedTransferCoding
            | Self::RepeatedField
            | Self::MissingHost
            | Self::InvalidHost => 400,
            Self::TargetTooLong => 414,
            Self::ExpectationFailed => 417,
            Self::TooLarge | Self::TooManyFields => 431,
            Self::UnsupportedMethod => 501,
            Self::UnsupportedVersion => 505,
        }
    }
}

const _: () = assert!(size_of::<HeadError>() == 1);

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Empty lines, then the first line.
    FirstLine,
    /// Field lines, then the blank line.
    Fields,
    /// Nothing: the head ended, well or badly. The next call starts another.
    Ended,
}

/// The fate of one line: its length with CRLF, or not all of it is here.
pub(super) type Line<T> = Result<Option<T>, HeadError>;

/// The walk over a head's lines: remembers across reads where the first unparsed line begins and how far
/// that line was looked at, so that a head sent byte by byte is not scanned anew for each byte.
///
/// The verdict is that of the first offending byte, whatever the reads were: a line is parsed left to
/// right, lines are judged in order, and the bytes of an unfinished line are only searched for a reason to parse it.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) stage: Stage,
    /// Start of the first line that is not parsed.
    pub(super) line: usize,
    /// How far that line was looked at, or `line`.
    seen: usize,
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self { stage: Stage::FirstLine, line: 0, seen: 0 }
    }

    /// Whether it is worth parsing at `line`: not if the new bytes hold neither a line end nor a fault.
    fn may_go_on(&mut self, window: &[u8], limit: usize) -> bool {
        if self.seen == self.line {
            return true; // nothing of this line was looked at: parse it straight away
        }
        if window.len() >= limit {
            return true; // too long or not, the parser says which error comes first
        }
        // A CR may have been the last byte seen.
        let mut from = self.line.max(self.seen - 1);
        loop {
            let at = grammar::find_control(window, from);
            match window.get(at..) {
                None | Some([] | [b'\r']) => break,
                Some([b'\t', ..]) => from = at + 1,
                // The line's end, or a fault: the parser says whether an earlier byte is a worse one.
                Some(_) => return true,
            }
        }
        self.seen = window.len();
        false
    }

    /// Parses one line at `self.line` with `parse`, which gets the bytes up to the line's limit and returns
    /// the line's length once its CRLF is there. Returns false if more bytes are needed.
    ///
    /// # Errors
    /// What `parse` says; `too_long` if the line does not end within `bytes_max`; [`HeadError::TooLarge`] if the
    /// head does not end within its limit.
    pub(super) fn line<T>(
        &mut self,
        window: &[u8],
        limits: &HeadLimits,
        (bytes_max, too_long): (usize, HeadError),
        parse: impl FnOnce(&[u8], usize) -> Line<(usize, T)>,
    ) -> Line<T> {
        let head_end = limits.head_bytes_ceiling();
        let line_end = self.line.saturating_add(bytes_max).min(head_end);
        if !self.may_go_on(window, line_end) {
            return Ok(None);
        }
        let bytes = &window[self.line..window.len().min(line_end)];
        if let Some((len, parsed)) = parse(bytes, self.line)? {
            self.line += len;
            self.seen = self.line;
            return Ok(Some(parsed));
        }
        if window.len() >= line_end {
            return Err(if line_end == head_end { HeadError::TooLarge } else { too_long });
        }
        self.seen = window.len();
        Ok(None)
    }
}

/// Parses field lines until the blank line, and judges the framing they say as each of them arrives: nobody
/// waits for the rest of a head that is already refused. Returns `None` if more bytes are needed.
pub(super) fn walk_fields(
    walk: &mut Walk,
    fields: &mut Fields,
    buf: &[u8],
    limits: &HeadLimits,
    http11: bool,
) -> Line<BodyLength> {
    let window = limits.window(buf);
    let fields_max = limits.fields_max.min(FIELDS_CAPACITY);
    loop {
        let room = fields.as_slice().len() < fields_max;
        let bound = (limits.field_bytes_max, HeadError::TooLarge);
        match walk.line(window, limits, bound, |bytes, at| field_line(bytes, at, room))? {
            None => return Ok(None),
            Some(None) => return framing::body_length(fields, buf, http11).map(Some),
            Some(Some(field)) => {
                fields.push(field);
                if framing::FRAMING & field.known.bit() != 0 {
                    framing::body_length(fields, buf, http11)?;
                }
            }
        }
    }
}

/// Parses the first line by `parse`. Returns `None` if more bytes are needed.
pub(super) fn walk_first_line<T>(
    walk: &mut Walk,
    buf: &[u8],
    limits: &HeadLimits,
    parse: impl FnOnce(&[u8], usize) -> Line<(usize, T)>,
) -> Line<T> {
    let bound = (limits.first_line_bytes_max, HeadError::TargetTooLong);
    walk.line(limits.window(buf), limits, bound, parse)
}

/// One field line, or the blank line (`None`), that begins at offset `at` of the head.
fn field_line(bytes: &[u8], at: usize, room: bool) -> Line<(usize, Option<Field>)> {
    match bytes {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => return Ok(Some((2, None))),
        [b'\r', ..] => return Err(HeadError::Malformed),
        _ if !room => return Err(HeadError::TooManyFields),
        _ => {}
    }
    // The name ends at the first byte that is none of its own. Anything but a colon there is an error, which
    // covers leading white space (obs-fold), white space before the colon and a line without a colon.
    let name_len = grammar::run(bytes, grammar::NAME);
    match bytes.get(name_len) {
        None => return Ok(None),
        Some(b':') if name_len > 0 => {}
        Some(_) => return Err(HeadError::Malformed),
    }
    let Some(end) = text_line_end(bytes, name_len + 1)? else { return Ok(None) };
    let name = &bytes[..name_len];
    let known = Known::classify(name);
    if known == Known::Underscored && Known::is_shadowed_by(name) {
        return Err(HeadError::RepeatedField);
    }
    let (value_start, value_end) = trimmed(bytes, name_len + 1, end);
    let field = Field {
        name: Span::new(at, at + name_len),
        value: Span::new(at + value_start, at + value_end),
        line: Span::new(at, at + end + 2),
        known,
        named_by_connection: false,
    };
    Ok(Some((end + 2, Some(field))))
}

/// Checks as much of `pattern` as `bytes` reach; a `0` in it stands for any digit.
pub(super) fn begins_like(bytes: &[u8], pattern: &[u8]) -> Result<(), HeadError> {
    let fits =
        |(&byte, &wanted): (&u8, &u8)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    if bytes.iter().zip(pattern).all(fits) { Ok(()) } else { Err(HeadError::Malformed) }
}

/// `HTTP/1.1`: its length.
pub(super) const VERSION: usize = 8;

/// Whether `bytes` begin with version 1.1 (else it is 1.0); `None` if not all of it is here.
pub(super) fn version(bytes: &[u8]) -> Line<bool> {
    begins_like(bytes, b"HTTP/0.0")?;
    match bytes.get(..VERSION) {
        None => Ok(None),
        Some(b"HTTP/1.1") => Ok(Some(true)),
        Some(b"HTTP/1.0") => Ok(Some(false)),
        Some(_) => Err(HeadError::UnsupportedVersion),
    }
}

/// Where the CRLF stands that ends the text beginning at `from`: HTAB, SP, visible ASCII and obs-text
/// (RFC 9110 §5.5). `None` if it is not there yet.
pub(super) fn text_line_end(bytes: &[u8], mut from: usize) -> Line<usize> {
    loop {
        let end = grammar::find_control(bytes, from);
        match bytes.get(end..) {
            None | Some([] | [b'\r']) => return Ok(None),
            Some([b'\r', b'\n', ..]) => return Ok(Some(end)),
            Some([b'\t', ..]) => from = end + 1,
            Some(_) => return Err(HeadError::Malformed),
        }
    }
}

/// `bytes[start..end]` without the white space around it.
fn trimmed(bytes: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    while start < end && matches!(bytes[start], b' ' | b'\t') {
        start += 1;
    }
    while end > start && matches!(bytes[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    (start, end)
}
