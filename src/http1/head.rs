//! What request and response heads share: limits, errors, and the resumable walk over their lines.

use super::Known;
use super::field::{FIELDS_CAPACITY, Field, Fields, Span};
use super::framing::{self, BodyLength};
use super::grammar::{self, NameKind};

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

/// The walk over a head's lines: remembers across reads where the first unfinished line begins, and parses it again from
/// there when there is more of it.
///
/// The verdict is that of the first offending byte, whatever the reads were: lines are judged in order, and each is
/// parsed left to right. A head sent byte by byte costs at most one look at one line per read, which is less
/// than the read.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) stage: Stage,
    /// Start of the first line that is not parsed.
    pub(super) line: usize,
    /// What the framing fields have said so far.
    body: BodyLength,
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self { stage: Stage::FirstLine, line: 0, body: BodyLength::None }
    }

    /// The line at `self.line`, or as much as there is of it.
    fn rest<'a>(&self, window: &'a [u8], bytes_max: usize) -> &'a [u8] {
        let rest = &window[self.line..];
        rest.get(..bytes_max).unwrap_or(rest)
    }

    /// The line is not whole in its `bytes_max` bytes of `window`: too long, or not all here.
    fn unfinished<T>(
        &self,
        window: &[u8],
        limits: &HeadLimits,
        (bytes_max, too_long): (usize, HeadError),
    ) -> Line<T> {
        let left = window.len() - self.line;
        let room = limits.head_bytes_ceiling() - self.line;
        match (left >= bytes_max.min(room), bytes_max < room) {
            (false, _) => Ok(None),
            (true, true) => Err(too_long),
            (true, false) => Err(HeadError::TooLarge),
        }
    }
}

/// Parses the first line with `parse`, which gets the bytes from its start up to its limit, and returns its length and
/// what it says. `None` if more bytes are needed.
pub(super) fn walk_first_line<T>(
    walk: &mut Walk,
    buf: &[u8],
    limits: &HeadLimits,
    parse: impl FnOnce(&[u8], usize) -> Line<(usize, T)>,
) -> Line<T> {
    let window = limits.window(buf);
    let bytes_max = limits.first_line_bytes_max;
    match parse(walk.rest(window, bytes_max), walk.line)? {
        None => walk.unfinished(window, limits, (bytes_max, HeadError::TargetTooLong)),
        Some((len, line)) => {
            walk.line += len;
            Ok(Some(line))
        }
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
    let bound = (limits.field_bytes_max, HeadError::TooLarge);
    loop {
        let bytes = walk.rest(window, bound.0);
        match bytes {
            [b'\r', b'\n', ..] => {
                walk.line += 2;
                return Ok(Some(walk.body));
            }
            [] | [b'\r'] => return walk.unfinished(window, limits, bound),
            [b'\r', ..] => return Err(HeadError::Malformed),
            _ if fields.as_slice().len() >= fields_max => return Err(HeadError::TooManyFields),
            _ => {}
        }
        let Some(field) = field_line(bytes, walk.line)? else {
            return walk.unfinished(window, limits, bound);
        };
        walk.line = field.line.end();
        fields.push(field);
        if framing::FRAMING & field.known.bit() != 0 {
            walk.body = framing::body_length(fields, buf, http11)?;
        }
    }
}

/// The field line that begins at offset `at` of the head; `None` if its end is not there yet.
#[inline] // benches/head_parse.rs
fn field_line(bytes: &[u8], at: usize) -> Line<Field> {
    // Anything but a colon behind the name is an error, which covers leading white space (obs-fold), white space before
    // the colon and a line without a colon.
    let name_len = grammar::find_colon_or_invisible(bytes);
    let name = &bytes[..name_len];
    let known = match bytes.get(name_len) {
        Some(b':') => known_name(name)?,
        None => return known_name(name).map(|_| None),
        Some(_) => return Err(HeadError::Malformed),
    };
    let Some(end) = text_line_end(bytes, name_len + 1)? else { return Ok(None) };
    if known == Known::Underscored && Known::is_shadowed_by(name) {
        return Err(HeadError::RepeatedField);
    }
    let (value_start, value_end) = trimmed(bytes, name_len + 1, end);
    Ok(Some(Field {
        name: Span::new(at, at + name_len),
        value: Span::new(at + value_start, at + value_end),
        line: Span::new(at, at + end + 2),
        known,
        named_by_connection: false,
    }))
}

/// Which field a name of visible bytes names. Known names are valid as they are; others are checked byte by byte.
#[inline] // benches/head_parse.rs
fn known_name(name: &[u8]) -> Result<Known, HeadError> {
    let known = Known::by_name(name);
    if known > Known::XForwardedOther {
        return Ok(known);
    }
    match grammar::name_kind(name) {
        NameKind::Invalid => Err(HeadError::Malformed),
        NameKind::Plain => Ok(known),
        NameKind::Underscored => Ok(Known::Underscored),
    }
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
#[inline] // benches/head_parse.rs
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

/// `bytes[start..end]` without the white space around it. There are no control bytes in it but HTAB, so white space is
/// whatever is not above SP.
#[inline] // benches/head_parse.rs
fn trimmed(bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    let mut text = &bytes[start..end];
    while let [..=b' ', rest @ ..] = text {
        text = rest;
    }
    let start = end - text.len();
    while let [rest @ .., ..=b' '] = text {
        text = rest;
    }
    (start, start + text.len())
}
