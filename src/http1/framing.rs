//! How long the body is and whether the connection may carry another message (RFC 9112 §6, §9.3).

use super::Known;
use super::field::{Field, Fields};
use super::grammar::{self, NameKind};
use super::head::HeadError;

/// The body that follows a request head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    #[default]
    None,
    /// Exactly so many bytes; 0 was said, not implied.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// The body that follows a response head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseBody {
    /// None, whatever the fields say: answer to HEAD, 1xx, 204, 304.
    #[default]
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Everything until upstream closes. The connection cannot be used again, and a cut cannot be told from
    /// the end.
    UntilClose,
}

/// Fields that must not come twice in a request. Framing apart, these are the ones by which two readers
/// that pick a different one would authenticate, authorize or peek at different things.
pub(super) const SINGLE_IN_REQUEST: u64 = Known::Authorization.bit() | Known::ContentType.bit();

/// The fields that say where the body ends.
pub(super) const FRAMING: u64 = Known::ContentLength.bit() | Known::TransferEncoding.bit();

/// What Content-Length and Transfer-Encoding say together; `None` if both are absent.
///
/// # Errors
/// [`HeadError::AmbiguousFraming`], [`HeadError::InvalidContentLength`],
/// [`HeadError::UnsupportedTransferCoding`]. RFC 9112 §6.3 lets a recipient choose in some of these cases; we
/// never do, because the next reader might choose otherwise.
pub(super) fn body_length(fields: &Fields, buf: &[u8], http11: bool) -> Result<BodyLength, HeadError> {
    let length = fields.first(Known::ContentLength);
    let coding = fields.first(Known::TransferEncoding);
    if length.is_none() && coding.is_none() {
        return Ok(BodyLength::None);
    }
    if fields.repeats_any(FRAMING) {
        return Err(HeadError::AmbiguousFraming);
    }
    match (length, coding) {
        (None, None) => Ok(BodyLength::None),
        (Some(_), Some(_)) => Err(HeadError::AmbiguousFraming),
        (Some(length), None) => content_length(length.value.of(buf))
            .map(BodyLength::Length)
            .ok_or(HeadError::InvalidContentLength),
        // HTTP/1.0 readers do not know the field (RFC 9112 §6.1: treat the framing as faulty).
        (None, Some(_)) if !http11 => Err(HeadError::AmbiguousFraming),
        (None, Some(coding)) if coding.value.of(buf).eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyLength::Chunked)
        }
        (None, Some(_)) => Err(HeadError::UnsupportedTransferCoding),
    }
}

/// The number in a Content-Length value: 1 to 19 digits and nothing else, so it always fits.
#[must_use]
pub fn content_length(value: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 19;
    if value.is_empty() || value.len() > DIGITS_MAX {
        return None;
    }
    value.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// What the Connection fields ask for.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    close: bool,
    keep_alive: bool,
}

/// Members of Connection that name other fields: more than this is no client that we know, and each costs a
/// walk over the fields.
const NAMED_FIELDS_MAX: usize = 16;

/// Reads Connection: whether the connection may be kept (RFC 9112 §9.3), and marks the fields it names, which
/// then end at this proxy (RFC 9110 §7.6.1).
///
/// # Errors
/// [`HeadError::TooManyFields`] if it names more than 16 fields; [`HeadError::Malformed`] if a member is not a
/// token.
pub(super) fn keep_alive(fields: &mut Fields, buf: &[u8], http11: bool) -> Result<bool, HeadError> {
    if !fields.has(Known::Connection) {
        return Ok(http11);
    }
    let mut options = Options::default();
    let mut named = 0;
    // Nearly all there are.
    if !fields.repeats_any(Known::Connection.bit()) {
        let value = fields.first(Known::Connection).map_or(&b""[..], |field| field.value.of(buf));
        if value.eq_ignore_ascii_case(b"keep-alive") {
            return Ok(true);
        }
        if value.eq_ignore_ascii_case(b"close") {
            return Ok(false);
        }
    }
    for at in 0..fields.as_slice().len() {
        let Field { known: Known::Connection, value, .. } = fields.as_slice()[at] else { continue };
        for member in grammar::members(value.of(buf)) {
            if member.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if member.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if grammar::name_kind(member) == NameKind::Invalid {
                return Err(HeadError::Malformed);
            } else {
                named += 1;
                if named > NAMED_FIELDS_MAX {
                    return Err(HeadError::TooManyFields);
                }
                mark(fields.as_mut_slice(), buf, member);
            }
        }
    }
    Ok(!options.close && (http11 || options.keep_alive))
}

fn mark(fields: &mut [Field], buf: &[u8], name: &[u8]) {
    let known = Known::classify(name);
    if known.is_protected() || known.is_hop_by_hop() {
        return;
    }
    for field in fields.iter_mut().filter(|field| field.known == known) {
        if field.name.of(buf).eq_ignore_ascii_case(name) {
            field.named_by_connection = true;
        }
    }
}
