//! JSON strings as bytes: where they end, what they say, and how to write one.

use memchr::memchr;

/// The index of the quote that ends a string.
///
/// * `bytes[from..]`: inside the string, the opening quote left out.
/// * `escaped`: in, whether the first byte stands behind a backslash of the segment before; out, when
///   the string goes on in the next segment, the same for that one.
///
/// # Cost
/// One search per quote, escaped ones included; backslashes that are not before a quote (`\n` in a
/// prompt) cost nothing. Linear: no backslash is looked at twice.
#[inline]
pub(crate) fn closing_quote(bytes: &[u8], from: usize, escaped: &mut bool) -> Option<usize> {
    // Half of a request's strings end within eight bytes: calling the SIMD search takes longer than
    // looking at them as one number (`benches/peek.rs`, short and short turns).
    if !*escaped && let Some(block) = bytes.get(from..).and_then(<[u8]>::first_chunk) {
        let block = u64::from_le_bytes(*block);
        let found = marks(block, b'"');
        // A backslash anywhere in the block is rare enough to leave to the long way.
        if found != 0 && marks(block, b'\\') & (found - 1) & !found == 0 {
            return Some(from + found.trailing_zeros() as usize / 8);
        }
    }
    search_quote(bytes, from, escaped)
}

/// [`closing_quote`] for strings of any length. Kept apart so that the short way is inlined alone.
#[inline(never)]
fn search_quote(bytes: &[u8], from: usize, escaped: &mut bool) -> Option<usize> {
    let mut at = from;
    if *escaped && at < bytes.len() {
        *escaped = false;
        at += 1;
    }
    while at < bytes.len() {
        let Some(found) = memchr(b'"', &bytes[at..]) else {
            *escaped = ends_escaped(&bytes[at..]);
            return None;
        };
        let quote = at + found;
        if !ends_escaped(&bytes[at..quote]) {
            return Some(quote);
        }
        at = quote + 1;
    }
    None
}

/// Marks the bytes of `block` that are `byte` by their highest bits. Only the lowest mark is exact: those
/// above it may be false.
#[inline]
fn marks(block: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zeroed = block ^ (ONES * byte as u64);
    zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7)
}

/// Whether the byte after `bytes` is escaped: an odd number of backslashes stands before it.
#[inline]
fn ends_escaped(bytes: &[u8]) -> bool {
    bytes.last() == Some(&b'\\') && bytes.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// The text between two quotes cannot be read: bad escape, half a surrogate pair, a raw control
/// character, or not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Unescapes a string's bytes in place and returns how long they are now.
///
/// * `raw`: all bytes between the quotes.
///
/// # Errors
/// [`Unreadable`]; `raw` is then half rewritten.
///
/// # Source
/// RFC 8259 §7; §8.2 lets parsers differ about half surrogate pairs, so they are refused.
pub(crate) fn unescape_in_place(raw: &mut [u8]) -> Result<usize, Unreadable> {
    // Names are plain as a rule.
    let plain = raw.iter().take_while(|&&byte| (0x20..0x80).contains(&byte) && byte != b'\\').count();
    if plain == raw.len() {
        return Ok(plain);
    }
    let mut read = plain;
    let mut write = plain;
    while let Some(&byte) = raw.get(read) {
        if byte < 0x20 {
            return Err(Unreadable);
        }
        if byte != b'\\' {
            raw[write] = byte;
            write += 1;
            read += 1;
            continue;
        }
        let (said, length) = escape(&raw[read..])?;
        // An escape is never shorter than the UTF-8 it stands for, so writing cannot pass reading.
        write += said.encode_utf8(&mut raw[write..]).len();
        read += length;
    }
    std::str::from_utf8(&raw[..write]).map_err(|_| Unreadable)?;
    Ok(write)
}

/// One escape at the front of `raw`: the character and how many bytes spelled it.
fn escape(raw: &[u8]) -> Result<(char, usize), Unreadable> {
    let said = match raw.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let first = hex4(&raw[2..])?;
            if !(0xd800..0xe000).contains(&first) {
                return char::from_u32(first).map(|said| (said, 6)).ok_or(Unreadable);
            }
            let second = raw.get(6..).and_then(|rest| rest.strip_prefix(b"\\u")).ok_or(Unreadable)?;
            let second = hex4(second)?;
            if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
                return Err(Unreadable);
            }
            let joined = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(joined).map(|said| (said, 12)).ok_or(Unreadable);
        }
        Some(_) | None => return Err(Unreadable),
    };
    Ok((said, 2))
}

fn hex4(digits: &[u8]) -> Result<u32, Unreadable> {
    let digits = digits.get(..4).ok_or(Unreadable)?;
    digits.iter().try_fold(0, |value, &digit| {
        char::from(digit).to_digit(16).map(|digit| value << 4 | digit).ok_or(Unreadable)
    })
}

/// Appends `said` to `out` as a JSON string, quotes included.
pub(crate) fn write_quoted(said: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in said.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
