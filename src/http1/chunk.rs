//! Chunked bodies: where the payload lies and where the body ends, so that the bytes themselves can pass
//! through untouched (RFC 9112 §7.1).
//!
//! # Promises
//! * Resumable at any byte; the verdict and the payload do not depend on how reads split the bytes.
//! * Payload is skipped by length: the cost is per chunk, not per byte.
//! * Whatever is outside the grammar, or longer than its limit, is an error, and after an error there is no next
//!   message on the connection.
//!
//! # Not here, on purpose
//! No decoding into a buffer of our own, and neither extensions nor trailers handed out: they are checked and counted, and
//! [`ChunkScanner::copy_plain`] leaves them out of what is passed on.

/// How large the parts of the framing may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// All chunk extensions of one chunk, with their semicolons, bytes.
    pub extension_bytes_max: u16,
    /// The trailer section, bytes.
    pub trailer_bytes_max: u16,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self { extension_bytes_max: 256, trailer_bytes_max: 4 * 1024 }
    }
}

/// Why a chunked body is none. The connection has no next message: close both sides, and never end the
/// relayed body cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not a chunk size: empty, other than hexadecimal digits, more than 15 digits or 16 leading zeros.
    #[error("invalid chunk size")]
    Size,
    /// A chunk extension outside the grammar or longer than its limit.
    #[error("invalid or oversized chunk extension")]
    Extension,
    /// A line or a chunk does not end in CRLF where it must.
    #[error("invalid line ending in chunked body")]
    LineEnding,
    /// A trailer field outside the grammar.
    #[error("invalid trailer field")]
    Trailer,
    /// The trailer section is longer than its limit.
    #[error("trailer section too large")]
    TrailersTooLarge,
}

const _: () = assert!(size_of::<ChunkError>() == 1);

/// What [`ChunkScanner::next`] found at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkStep<'a> {
    /// Payload, perhaps only a part of its chunk.
    Payload {
        /// Bytes used, the framing before the payload included.
        taken: usize,
        /// The payload, at the end of what was used.
        payload: &'a [u8],
    },
    /// Only framing so far: use `taken` bytes and read more.
    Framing {
        /// Bytes used: all.
        taken: usize,
    },
    /// The body ends after `taken` bytes. What follows belongs to the next message.
    End {
        /// Bytes used.
        taken: usize,
    },
    /// There were no bytes.
    NeedMore,
}

/// What [`ChunkScanner::scan`] found in one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes of the read that belong to this body. Less than the read only if the body is done: the rest
    /// belongs to the next message.
    pub used: usize,
    /// The body has ended, cleanly.
    pub done: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A byte of framing.
    Framing(At),
    /// Payload.
    Payload,
    /// None of this body: it is over.
    Done,
    /// Nothing: the body is broken, and every further call says so again.
    Failed(ChunkError),
}

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    SizeStart,
    Size,
    Extension(Extension),
    SizeLf,
    PayloadCr,
    PayloadLf,
    /// First byte of a trailer line or of the final empty line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// LF of the final empty line.
    EndLf,
}

/// Where in `;name=value` the next byte stands (RFC 9112 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    NameStart,
    Name,
    /// White space after a name: `=`, `;` or the end may follow.
    NameEnd,
    ValueStart,
    Value,
    Quoted,
    Escaped,
    /// After a value: `;` or the end may follow.
    ValueEnd,
}

/// Finds the payload and the end of one chunked body.
#[derive(Clone, Debug)]
pub struct ChunkScanner {
    /// Size so far while in the size; payload bytes left while in the payload.
    left: u64,
    limits: ChunkLimits,
    /// Bytes of the current chunk's extensions, or of the trailers.
    counted: u16,
    digits: u8,
    zeros: u8,
    phase: Phase,
    had_extensions: bool,
    had_trailers: bool,
}

const _: () = assert!(size_of::<ChunkScanner>() <= 32);

impl Default for ChunkScanner {
    /// With the limits that a proxy wants.
    fn default() -> Self {
        Self::new(ChunkLimits::default())
    }
}

/// 15 digits: sizes stay below 2^60 and never overflow.
const DIGITS_MAX: u8 = 15;
const ZEROS_MAX: u8 = 16;

impl ChunkScanner {
    /// At the start of a body.
    #[must_use]
    pub const fn new(limits: ChunkLimits) -> Self {
        Self {
            left: 0,
            limits,
            counted: 0,
            digits: 0,
            zeros: 0,
            phase: Phase::Framing(At::SizeStart),
            had_extensions: false,
            had_trailers: false,
        }
    }

    /// Finds the next payload at the front of `bytes`, which continue where the last call's `taken` ended.
    ///
    /// # Errors
    /// See [`ChunkError`]. Every further call repeats it.
    ///
    /// # Cost
    /// A few steps per chunk, none per byte of payload (`benches/chunk_scan.rs`).
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<ChunkStep<'a>, ChunkError> {
        let mut taken = 0;
        loop {
            match self.phase {
                Phase::Done => return Ok(ChunkStep::End { taken }),
                Phase::Failed(error) => return Err(error),
                Phase::Payload => {
                    let rest = &bytes[taken..];
                    if rest.is_empty() {
                        break;
                    }
                    let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                    self.left -= len as u64;
                    if self.left == 0 {
                        self.phase = Phase::Framing(At::PayloadCr);
                    }
                    return Ok(ChunkStep::Payload { taken: taken + len, payload: &rest[..len] });
                }
                Phase::Framing(At::SizeStart) if let Some((size, len)) = plain_size_line(&bytes[taken..]) => {
                    self.left = size;
                    self.phase = Phase::Payload;
                    taken += len;
                }
                Phase::Framing(At::PayloadCr) if bytes[taken..].starts_with(b"\r\n") => {
                    self.phase = Phase::Framing(At::SizeStart);
                    taken += 2;
                }
                Phase::Framing(at) => {
                    let Some(&byte) = bytes.get(taken) else { break };
                    match self.step(at, byte) {
                        Ok(next) => self.phase = next,
                        Err(error) => {
                            self.phase = Phase::Failed(error);
                            return Err(error);
                        }
                    }
                    taken += 1;
                }
            }
        }
        Ok(if taken == 0 { ChunkStep::NeedMore } else { ChunkStep::Framing { taken } })
    }

    /// Scans one whole read and shows every piece of payload to `on_payload`, in order.
    ///
    /// # Errors
    /// See [`ChunkError`]. Payload before the fault has been shown; none of the read should be passed on.
    ///
    /// # Cost
    /// That of [`Self::next`], once per chunk.
    pub fn scan(&mut self, bytes: &[u8], mut on_payload: impl FnMut(&[u8])) -> Result<Scanned, ChunkError> {
        let mut used = 0;
        loop {
            match self.next(&bytes[used..])? {
                ChunkStep::Payload { taken, payload } => {
                    used += taken;
                    on_payload(payload);
                }
                ChunkStep::Framing { taken } | ChunkStep::End { taken } => {
                    used += taken;
                    break;
                }
                ChunkStep::NeedMore => break,
            }
        }
        Ok(Scanned { used, done: self.is_done() })
    }

    /// Scans one whole read and appends to `out` what of it may be passed on: everything but chunk extensions and trailers. Both
    /// are for this hop only (RFC 9112 §7.1.1, §7.1.2), and every recipient reads them a little differently. Returns how many
    /// bytes of the read belong to this body.
    ///
    /// Only worth it when [`Self::had_extras`]; without them the copy is the read itself.
    ///
    /// # Errors
    /// As [`Self::scan`].
    ///
    /// # Cost
    /// A few steps per byte of framing, one copy per chunk.
    pub fn copy_plain(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        let mut used = 0;
        while used < bytes.len() && !self.is_done() {
            // Framing goes byte by byte, because whether a byte passes shows only in the phase that it leads to.
            let end = if self.phase == Phase::Payload { bytes.len() } else { used + 1 };
            match self.next(&bytes[used..end])? {
                ChunkStep::Payload { taken, payload } => {
                    out.extend_from_slice(payload);
                    used += taken;
                }
                ChunkStep::Framing { .. } | ChunkStep::End { .. } | ChunkStep::NeedMore => {
                    if !self.is_inside_extra() {
                        out.push(bytes[used]);
                    }
                    used += 1;
                }
            }
        }
        Ok(used)
    }

    fn is_inside_extra(&self) -> bool {
        match self.phase {
            Phase::Framing(At::Extension(_) | At::TrailerName | At::TrailerValue | At::TrailerLf) => true,
            // After a trailer's line; the same place before the first is the end of the last chunk's line.
            Phase::Framing(At::TrailerStart) => self.had_trailers,
            Phase::Framing(_) | Phase::Payload | Phase::Done | Phase::Failed(_) => false,
        }
    }

    /// Whether everything so far is whole chunks: a cut here loses no part of an event.
    #[must_use]
    pub fn at_chunk_boundary(&self) -> bool {
        self.phase == Phase::Framing(At::SizeStart)
    }

    /// Whether the body has ended, cleanly.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether any chunk so far carried an extension.
    #[must_use]
    pub const fn had_extensions(&self) -> bool {
        self.had_extensions
    }

    /// Whether a trailer field was seen.
    #[must_use]
    pub const fn had_trailers(&self) -> bool {
        self.had_trailers
    }

    /// Whether there was anything so far that must not be passed on.
    #[must_use]
    pub const fn had_extras(&self) -> bool {
        self.had_extensions || self.had_trailers
    }

    /// One byte of framing.
    fn step(&mut self, at: At, byte: u8) -> Result<Phase, ChunkError> {
        let next = match at {
            At::SizeStart | At::Size => self.size(at, byte)?,
            At::Extension(at) => self.extension(at, byte)?,
            At::SizeLf if byte == b'\n' && self.left > 0 => return Ok(Phase::Payload),
            At::SizeLf if byte == b'\n' => {
                self.counted = 0;
                At::TrailerStart
            }
            At::PayloadCr if byte == b'\r' => At::PayloadLf,
            At::PayloadLf if byte == b'\n' => At::SizeStart,
            At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf => {
                self.trailer(at, byte)?
            }
            At::EndLf if byte == b'\n' => return Ok(Phase::Done),
            At::SizeLf | At::PayloadCr | At::PayloadLf | At::EndLf => return Err(ChunkError::LineEnding),
        };
        Ok(Phase::Framing(next))
    }

    fn size(&mut self, at: At, byte: u8) -> Result<At, ChunkError> {
        if at == At::SizeStart {
            (self.left, self.digits, self.zeros, self.counted) = (0, 0, 0, 0);
        }
        let digit = match byte {
            _ if let Some(digit) = digit(byte) => digit,
            b'\r' if at == At::Size => return Ok(At::SizeLf),
            b';' if at == At::Size => {
                self.had_extensions = true;
                return self.extension(Extension::ValueEnd, byte);
            }
            b'\n' if at == At::Size => return Err(ChunkError::LineEnding),
            _ => return Err(ChunkError::Size),
        };
        if digit == 0 && self.digits == 0 {
            self.zeros += 1;
        } else {
            self.digits += 1;
        }
        if self.digits > DIGITS_MAX || self.zeros > ZEROS_MAX {
            return Err(ChunkError::Size);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(At::Size)
    }

    /// One byte of chunk extensions: `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, the first without BWS.
    fn extension(&mut self, at: Extension, byte: u8) -> Result<At, ChunkError> {
        use super::grammar::{NAME, is};
        use Extension as E;
        let next = match (at, byte) {
            (E::Name | E::NameEnd | E::Value | E::ValueEnd, b'\r') => return Ok(At::SizeLf),
            (E::Name | E::NameEnd | E::Value | E::ValueEnd, b';') => E::NameStart,
            (E::Name | E::NameEnd, b'=') => E::ValueStart,
            (E::Name | E::NameEnd, b' ' | b'\t') => E::NameEnd,
            (E::Value | E::ValueEnd, b' ' | b'\t') => E::ValueEnd,
            (E::NameStart | E::ValueStart, b' ' | b'\t') => at,
            (E::NameStart | E::Name, _) if is(byte, NAME) => E::Name,
            (E::ValueStart | E::Value, _) if is(byte, NAME) => E::Value,
            (E::ValueStart, b'"') => E::Quoted,
            (E::Quoted, b'"') => E::ValueEnd,
            (E::Quoted, b'\\') => E::Escaped,
            (E::Quoted | E::Escaped, b'\t' | b' '..=b'~' | 0x80..) => E::Quoted,
            _ => return Err(ChunkError::Extension),
        };
        if self.counted >= self.limits.extension_bytes_max {
            return Err(ChunkError::Extension);
        }
        self.counted += 1;
        Ok(At::Extension(next))
    }

    fn trailer(&mut self, at: At, byte: u8) -> Result<At, ChunkError> {
        use super::grammar::{NAME, is};
        let next = match (at, byte) {
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::TrailerStart | At::TrailerName, _) if is(byte, NAME) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => At::TrailerValue,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::TrailerLf, _) => return Err(ChunkError::LineEnding),
            _ => return Err(ChunkError::Trailer),
        };
        self.had_trailers |= next == At::TrailerName;
        if self.had_trailers {
            if self.counted >= self.limits.trailer_bytes_max {
                return Err(ChunkError::TrailersTooLarge);
            }
            self.counted += 1;
        }
        Ok(next)
    }
}

/// The size and the length of a size line as nearly all of them are: whole, 1 to 15 digits without leading zeros, no
/// extension. All others go byte by byte.
#[inline] // benches/chunk_scan.rs
fn plain_size_line(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    for (at, &byte) in bytes.iter().take(usize::from(DIGITS_MAX) + 1).enumerate() {
        size = match byte {
            b'\r' if size > 0 && bytes.get(at + 1) == Some(&b'\n') => return Some((size, at + 2)),
            _ => size << 4 | u64::from(digit(byte)?),
        };
        if size == 0 {
            return None;
        }
    }
    None
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
