//! Request paths: `/proxy/{domain}/rest`, and what a path may not hold.
//!
//! One reading of the path serves authorization and forwarding alike: the rest goes upstream byte for byte, so
//! every spelling that an upstream might read differently than we do (dot segments, empty segments,
//! encoded separators, double encoding) is refused instead of repaired. One place is not for routing: below a prefix that the
//! table of operations names, the tail is a model's name, whose `/` clients may encode.

use super::grammar::{self, SEGMENT};

/// The two parts of a proxied path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyPath<'a> {
    /// The domain's id or route alias: letters, digits, `-`, `_`, `.`, `~` only.
    pub domain: &'a [u8],
    /// What follows it, with its leading `/`; empty if the path ends with the domain.
    pub rest: &'a [u8],
}

/// Why a path is not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not below `/proxy/`: somebody else's path, else 404.
    #[error("not a proxy path")]
    NotProxy,
    /// A path that two servers could read differently (400).
    #[error("unacceptable path")]
    BadPath,
}

/// Splits `/proxy/{domain}/rest`.
///
/// * `path`: the path of a request target, undecoded, without the query ([`super::RequestHead::path`]).
/// * `names_below`: if the rest begins so, what follows is a name, and `%2F` in it is the `/` that it stands for: the same
///   rules hold for the segments that it parts. (`b"/v1/models/"`; empty for nowhere would be everywhere, so it may not be.)
///
/// # Errors
/// * [`TargetError::BadPath`]: a `.` or `..` segment, `//`, `;` (some servers cut a segment there), a backslash or
///   another byte that no path holds, an invalid `%` sequence, or one that stands for `/` (but in a name), `\`, `.`, `%` or a
///   control byte. Checked in every path, also those not below `/proxy/`, so that no other reader of the path meets them either.
/// * [`TargetError::NotProxy`]: any other path, `*` and the empty path of an absolute target.
///
/// # Source
/// RFC 3986 §3.3 and §6.2.2; the promise is that no request reaches an upstream path that was not authorized.
pub fn split_proxy_path<'a>(path: &'a [u8], names_below: &[u8]) -> Result<ProxyPath<'a>, TargetError> {
    debug_assert!(!names_below.is_empty(), "an encoded slash everywhere");
    if matches!(path, b"" | b"*") {
        return Err(TargetError::NotProxy);
    }
    let parts = path.strip_prefix(b"/proxy/").map(|after| {
        let end = memchr::memchr(b'/', after).unwrap_or(after.len());
        after.split_at(end)
    });
    let name = parts.and_then(|(_, rest)| rest.strip_prefix(names_below)).unwrap_or_default();
    check_path(path, path.len() - name.len())?;
    let (domain, rest) = parts.ok_or(TargetError::NotProxy)?;
    if domain.is_empty() {
        return Err(TargetError::NotProxy);
    }
    let is_plain = |&b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    if !domain.iter().all(is_plain) {
        return Err(TargetError::BadPath);
    }
    Ok(ProxyPath { domain, rest })
}

/// Checks a path for everything that two servers could read differently.
///
/// * `name_start`: from here on `%2F` is accepted, and parts segments as `/` does.
///
/// # Errors
/// [`TargetError::BadPath`].
pub fn check_path(path: &[u8], name_start: usize) -> Result<(), TargetError> {
    let [b'/', ..] = path else { return Err(TargetError::BadPath) };
    let mut segment_start = 1;
    let mut at = 1;
    loop {
        at += grammar::run(&path[at..], SEGMENT);
        match path.get(at) {
            None => break,
            Some(b'/') => {
                if !is_segment(&path[segment_start..at]) {
                    return Err(TargetError::BadPath);
                }
                segment_start = at + 1;
            }
            Some(b'%') => {
                let byte = decoded(path.get(at + 1..at + 3)).ok_or(TargetError::BadPath)?;
                if byte == b'/' {
                    if at < name_start || !is_segment(&path[segment_start..at]) {
                        return Err(TargetError::BadPath);
                    }
                    segment_start = at + 3;
                }
                at += 2;
            }
            Some(_) => return Err(TargetError::BadPath),
        }
        at += 1;
    }
    // The last segment may be empty: `/v1/` is a path, though no operation has it.
    let last = &path[segment_start..];
    if last.is_empty() || is_segment(last) { Ok(()) } else { Err(TargetError::BadPath) }
}

/// Decodes percent sequences, once, into `out`, and returns what was written.
///
/// * `raw`: a stretch of a path that [`check_path`] accepted.
/// * `None`: it does not fit, or holds a sequence that is invalid or stands for `\`, `.`, `%` or a control byte.
#[must_use]
pub fn decode_segment<'a>(raw: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let (mut at, mut len) = (0, 0);
    while let Some(&byte) = raw.get(at) {
        let byte = if byte == b'%' {
            at += 2;
            decoded(raw.get(at - 1..=at))?
        } else {
            byte
        };
        *out.get_mut(len)? = byte;
        len += 1;
        at += 1;
    }
    Some(&out[..len])
}

fn is_segment(segment: &[u8]) -> bool {
    !matches!(segment, [] | [b'.'] | [b'.', b'.'])
}

/// The byte that two hexadecimal digits stand for, unless it must not be encoded.
fn decoded(digits: Option<&[u8]>) -> Option<u8> {
    let &[high, low] = digits? else { return None };
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let byte = nibble(high)? << 4 | nibble(low)?;
    let changes_meaning = byte.is_ascii_control() || matches!(byte, b'\\' | b'.' | b'%');
    (!changes_meaning).then_some(byte)
}
