//! Paths that are passed on whole, to a server that reads them itself.
//!
//! Percent sequences pass as they are: what they stand for is the other side's business. Refused is only what servers are known to
//! disagree about in ways that end up in another place: dot segments and empty segments, in any spelling, backslashes and
//! control bytes.

use super::TargetError;
use super::grammar::{self, SEGMENT};

/// Checks a path that is passed on whole.
///
/// # Errors
/// [`TargetError::BadPath`]: it does not begin with `/`; a byte that no path holds, also when it is encoded (`\`, NUL and other control
/// bytes); an escape that is none; an empty, `.` or `..` segment, where `%2F` ends a segment too. The last segment may be empty.
pub fn check_foreign_path(path: &[u8]) -> Result<(), TargetError> {
    let [b'/', rest @ ..] = path else { return Err(TargetError::BadPath) };
    // What the segment is so far: its length, and whether it is dots only.
    let (mut len, mut dots) = (0_usize, true);
    let is_bad = |len: usize, dots: bool| dots && (1..=2).contains(&len);
    for decoded in decoded(rest) {
        match decoded.ok_or(TargetError::BadPath)? {
            (b'/', encoded) => {
                // `a%2F%2Fb` is one odd name; `a//b` is two readings of one path.
                if is_bad(len, dots) || (len == 0 && !encoded) {
                    return Err(TargetError::BadPath);
                }
                (len, dots) = (0, true);
            }
            (byte, encoded) => {
                let allowed =
                    !byte.is_ascii_control() && byte != b'\\' && (encoded || grammar::is(byte, SEGMENT));
                if !allowed {
                    return Err(TargetError::BadPath);
                }
                len += 1;
                dots &= byte == b'.';
            }
        }
    }
    if is_bad(len, dots) { Err(TargetError::BadPath) } else { Ok(()) }
}

/// Whether a path's first segments are these to any server: decoded, in any case. More may follow.
#[must_use]
pub fn begins_with_segments(path: &[u8], segments: &[&str]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    let mut bytes = decoded(rest).map(|decoded| decoded.map(|(byte, _)| byte.to_ascii_lowercase()));
    segments.iter().enumerate().all(|(index, segment)| {
        segment.bytes().all(|byte| bytes.next() == Some(Some(byte)))
            && match bytes.next() {
                None => index + 1 == segments.len(),
                Some(byte) => byte == Some(b'/'),
            }
    })
}

/// Each byte as it reads decoded once, and whether it was encoded; `None` for an escape that is none.
fn decoded(raw: &[u8]) -> impl Iterator<Item = Option<(u8, bool)>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &byte = raw.get(at)?;
        at += 1;
        if byte != b'%' {
            return Some(Some((byte, false)));
        }
        let nibble = |at: usize| char::from(*raw.get(at)?).to_digit(16).map(|digit| digit as u8);
        let pair = nibble(at).zip(nibble(at + 1));
        at += 2;
        Some(pair.map(|(high, low)| (high << 4 | low, true)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass_and_ambiguous_ones_do_not() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/a%20b",
            "/models/org%2Fname",
            "/100%25",
            "/...",
            "/a/..b",
            "/%C3%A9",
            "/~a:b@c",
            "/x%2F%2Fy",
            "/%2520",
        ] {
            assert_eq!(check_foreign_path(path.as_bytes()), Ok(()), "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/..",
            "/a/../b",
            "/%2e%2e/b",
            "/.%2E",
            "/a%2F..%2Fb",
            "/a%2f%2e",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a%5cb",
            "/a\\b",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a b",
            "/a\u{1}",
            "/é",
        ] {
            assert_eq!(check_foreign_path(path.as_bytes()), Err(TargetError::BadPath), "{path}");
        }
    }

    #[test]
    fn first_segments_are_known_in_any_spelling() {
        for path in ["/feed", "/feed/", "/feed/v1", "/FEED/x", "/%66eed/x", "/f%65%45d", "/feed%2Fv1"] {
            assert!(begins_with_segments(path.as_bytes(), &["feed"]), "{path}");
        }
        for path in ["/", "/fee", "/feeds/x", "/x/feed", "/%2Ffeed", "feed", ""] {
            assert!(!begins_with_segments(path.as_bytes(), &["feed"]), "{path}");
        }
        for path in ["/auth/verify", "/auth/verify/x", "/AUTH%2Fver%69fy", "/auth/verify/"] {
            assert!(begins_with_segments(path.as_bytes(), &["auth", "verify"]), "{path}");
        }
        for path in ["/auth", "/auth/", "/auth/verifyx", "/auth/x/verify", "/authverify", "/a/uth/verify"] {
            assert!(!begins_with_segments(path.as_bytes(), &["auth", "verify"]), "{path}");
        }
    }
}
