//! Which byte may stand where (RFC 9110 §5.5 and §5.6.2, RFC 9112 §3), and searches for the first that
//! may not.

/// A byte of a field name or method: `tchar` of RFC 9110 §5.6.2.
pub(super) const NAME: u8 = 1;
/// A byte of a request target: visible ASCII. Browsers leave characters in queries that RFC 3986 would encode;
/// what a path may hold is up to [`super::target`].
pub(super) const TARGET: u8 = 2;
/// A byte of `uri-host [ ":" port ]` (RFC 3986 §3.2) without the sub-delimiters that only confuse:
/// letters, digits, `-._~:[]`. Percent-encoding in hosts is not accepted.
pub(super) const HOST: u8 = 4;
/// A byte of a path segment that means itself: RFC 3986 `pchar` without `%` and `;`.
pub(super) const SEGMENT: u8 = 8;

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
        if b.is_ascii_graphic() {
            class |= TARGET;
        }
        if alphanumeric || in_set(b, b"-._~:[]") {
            class |= HOST;
        }
        if alphanumeric || in_set(b, b"-._~!$&'()*+,=:@") {
            class |= SEGMENT;
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

/// Where the first control byte (below 0x20, or 0x7f) at or after `from` stands; `bytes.len()` if none.
/// HTAB counts: callers that allow it look again behind it.
///
/// # Cost
/// Eight bytes a step (`benches/head_parse.rs`).
#[must_use]
pub(super) fn find_control(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*block);
        // Exact for the lowest flagged byte; a borrow can only spoil bytes above a true hit.
        let below_space = word.wrapping_sub(0x20 * ONES) & !word;
        let del = word ^ (0x7f * ONES);
        let is_del = del.wrapping_sub(ONES) & !del;
        let hits = (below_space | is_del) & HIGH;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    bytes
        .get(at..)
        .and_then(|tail| tail.iter().position(u8::is_ascii_control))
        .map_or(bytes.len(), |n| at + n)
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

    #[test]
    fn the_first_control_byte_is_found_at_every_position_and_value() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut bytes = [b'a'; 21];
                bytes[at] = byte;
                bytes[20] = 0x7f; // a later hit must not hide the first
                let wanted = if byte.is_ascii_control() { at } else { 20 };
                assert_eq!(find_control(&bytes, 0), wanted, "byte {byte:#x} at {at}");
            }
        }
        assert_eq!(find_control(b"", 0), 0);
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
