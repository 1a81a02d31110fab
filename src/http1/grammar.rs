//! Which byte may stand where (RFC 9110 §5.5 and §5.6.2, RFC 9112 §3), and searches for the first that
//! may not.

/// A byte of a field name or method: `tchar` of RFC 9110 §5.6.2.
pub(super) const NAME: u8 = 1;
/// A byte of a registered name or IPv4 address (RFC 3986 §3.2.2), without percent-encoding and the sub-delimiters,
/// which only confuse: letters, digits, `-._~`.
pub(super) const HOST: u8 = 2;
/// A byte of a path segment that means itself: RFC 3986 `pchar` without `%` and `;`.
pub(super) const SEGMENT: u8 = 4;

/// Any byte but `_`.
const PLAIN: u8 = 8;

/// The classes of every byte.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0_u8; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let b = byte as u8;
        let alphanumeric = b.is_ascii_alphanumeric();
        let mut class = 0;
        if alphanumeric || in_set(b, b"!#$%&'*+-.^_`|~") {
            class |= NAME;
        }
        if alphanumeric || in_set(b, b"-._~") {
            class |= HOST;
        }
        if alphanumeric || in_set(b, b"-._~!$&'()*+,=:@") {
            class |= SEGMENT;
        }
        if b != b'_' {
            class |= PLAIN;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

const fn in_set(byte: u8, set: &[u8]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether `byte` is of `class`.
#[must_use]
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// How many leading bytes of `bytes` are of `class`.
#[must_use]
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&b| !is(b, class)).unwrap_or(bytes.len())
}

/// What kind of name some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// None (RFC 9110 §5.1).
    Invalid,
    /// A name without `_`.
    Plain,
    /// A name with `_`.
    Underscored,
}

/// # Cost
/// No early exit: names are short and nearly always valid, and so the loop has no branch but its end
/// (`benches/head_parse.rs`).
#[must_use]
pub(super) fn name_kind(name: &[u8]) -> NameKind {
    let every = name.iter().fold(NAME | PLAIN, |every, &byte| every & CLASS[usize::from(byte)]);
    if every & NAME == 0 || name.is_empty() {
        NameKind::Invalid
    } else if every & PLAIN == 0 {
        NameKind::Underscored
    } else {
        NameKind::Plain
    }
}

/// Eight equal bytes.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Marks (by the high bit) the bytes of `word` that are control bytes: below 0x20, or 0x7f.
const fn controls(word: u64) -> u64 {
    // One more, modulo 128: controls become 0 to 0x20. No sum carries into the next byte, so every mark is exact.
    let next = ((word & eight(0x7f)) + eight(1)) & eight(0x7f);
    !((next + eight(0x5f)) | word) & eight(0x80)
}

/// Marks the bytes that are not visible ASCII: below 0x21, or above 0x7e.
const fn invisibles(word: u64) -> u64 {
    let next = ((word & eight(0x7f)) + eight(1)) & eight(0x7f);
    (!(next + eight(0x5e)) | word) & eight(0x80)
}

/// Marks the bytes that are `byte`.
const fn equals(word: u64, byte: u8) -> u64 {
    let difference = word ^ eight(byte);
    !(((difference & eight(0x7f)) + eight(0x7f)) | difference) & eight(0x80)
}

/// Where the first byte at or after `from` stands that `marks` marks; `bytes.len()` if none.
///
/// # Cost
/// Eight bytes a step. That is a third of a head's time less than byte by byte, and no more than with vectors of sixteen
/// bytes: those are fewer instructions, but their answers take longer to arrive (`benches/head_parse.rs`).
#[inline]
fn find(bytes: &[u8], from: usize, marks: impl Fn(u64) -> u64) -> usize {
    let (words, rest) = bytes.get(from..).unwrap_or_default().as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return from + at * word.len() + (marked.trailing_zeros() / 8) as usize;
        }
    }
    bytes.len() - rest.len() + rest.iter().position(|&byte| marks(eight(byte)) != 0).unwrap_or(rest.len())
}

/// Where the first control byte (below 0x20, or 0x7f) at or after `from` stands; `bytes.len()` if none.
/// HTAB counts: callers that allow it look again behind it.
#[must_use]
#[inline] // benches/head_parse.rs
pub(super) fn find_control(bytes: &[u8], from: usize) -> usize {
    find(bytes, from, controls)
}

/// Where the first byte at or after `from` stands that is not visible ASCII; `bytes.len()` if none.
#[must_use]
#[inline] // benches/head_parse.rs
pub(super) fn find_invisible(bytes: &[u8], from: usize) -> usize {
    find(bytes, from, invisibles)
}

/// The same from the start, or where the first colon stands, if that is earlier.
#[must_use]
#[inline] // benches/head_parse.rs
pub(super) fn find_colon_or_invisible(bytes: &[u8]) -> usize {
    find(bytes, 0, |word| invisibles(word) | equals(word, b':'))
}

/// Where the first `?` or `#` stands; `bytes.len()` if none.
#[must_use]
#[inline] // benches/head_parse.rs
pub(super) fn find_path_end(bytes: &[u8]) -> usize {
    find(bytes, 0, |word| equals(word, b'?') | equals(word, b'#'))
}

/// `bytes` without the spaces and tabs around them (OWS, RFC 9110 §5.6.3).
#[must_use]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), trimmed, empty ones left out.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: blocks find what bytes would. Method: every byte value at every place of a block and a tail, with hits and near
    /// misses behind it.
    #[test]
    fn the_first_byte_that_may_not_stand_is_found_at_every_place() {
        type Find = fn(&[u8]) -> usize;
        type Hit = fn(u8) -> bool;
        let searches: [(Find, Hit); 4] = [
            (|bytes| find_control(bytes, 0), |byte| byte.is_ascii_control()),
            (|bytes| find_invisible(bytes, 0), |byte| !byte.is_ascii_graphic()),
            (find_path_end, |byte| matches!(byte, b'?' | b'#')),
            (find_colon_or_invisible, |byte| byte == b':' || !byte.is_ascii_graphic()),
        ];
        for (find, hit) in searches {
            for byte in 0..=255_u8 {
                for at in 0..36 {
                    for behind in *b"a\0\x1f!~\x7f;9?" {
                        let mut bytes = [behind; 37];
                        bytes[..at].fill(b'a');
                        bytes[at] = byte;
                        let wanted = bytes.iter().position(|&byte| hit(byte)).unwrap_or(37);
                        assert_eq!(find(&bytes), wanted, "byte {byte:#x} at {at} before {behind:#x}");
                    }
                }
            }
            assert_eq!(find(b""), 0);
        }
        assert_eq!(find_control(b"\0abc", 1), 4);
        assert_eq!(find_control(b"abc", 3), 3);
    }

    #[test]
    fn name_bytes_are_exactly_the_tchars_of_rfc_9110() {
        for byte in 0..=255_u8 {
            let wanted = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is(byte, NAME), wanted, "byte {byte:#x}");
        }
    }

    #[test]
    fn list_members_are_trimmed_and_empty_ones_skipped() {
        let found: Vec<&[u8]> = members(b" a ,,\tb c\t, ").collect();
        assert_eq!(found, [&b"a"[..], b"b c"]);
    }
}
