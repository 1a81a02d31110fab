//! The form of a Personal Access Token (PAT).
//!
//! ```text
//! pat_ <43: base64url of user id ‖ PAT id> _ <43: base62, 256 random bits> <6: base62 CRC-32 of all before it>
//! ```
//!
//! 97 characters, all of them safe in a header, a URL and a shell. The checksum lets a secret scanner, and the
//! proxy, tell a typing error from a PAT without asking anyone; it is public and proves nothing. The identifiers
//! let the proxy find the stored digest without an index of digests.
//!
//! The 149-character form that Cube handed out before (padded standard base64, 100 characters of secret, no
//! checksum) parses as well, so that imported PATs keep working.
//!
//! What is stored and distributed is the SHA-256 of the whole string ([`PatDigest`]). 256 random bits need no slow
//! hash: a stolen table is useless at any hash rate.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{PatId, UserId};

/// Length of a PAT in bytes.
pub const PAT_LEN: usize = 97;
/// Length of a PAT of the older form, in bytes.
pub const LEGACY_PAT_LEN: usize = 149;

const PREFIX: &[u8; 4] = b"pat_";
/// Where the identifiers start, in both forms.
const IDS_AT: usize = PREFIX.len();
/// Characters of 32 bytes in base64 without padding.
const IDS_LEN: usize = 43;
const SEPARATOR_AT: usize = IDS_AT + IDS_LEN;
const SECRET_AT: usize = SEPARATOR_AT + 1;
pub(crate) const SECRET_LEN: usize = 43;
/// Where the checksum starts: it covers everything before.
const CHECKSUM_AT: usize = SECRET_AT + SECRET_LEN;
pub(crate) const CHECKSUM_LEN: usize = PAT_LEN - CHECKSUM_AT;
const LEGACY_SEPARATOR_AT: usize = SEPARATOR_AT + 1;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64_STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LEGACY_SECRET: &[u8; 74] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890!@#$%^&*|+-=";

/// What stands in a value table for a byte outside the alphabet. No alphabet has this many characters.
const NOT_IN_ALPHABET: u8 = 0x80;

const BASE62_VALUES: [u8; 256] = values_of(BASE62);
const BASE64_URL_VALUES: [u8; 256] = values_of(BASE64_URL);
const BASE64_STANDARD_VALUES: [u8; 256] = values_of(BASE64_STANDARD);
const LEGACY_SECRET_VALUES: [u8; 256] = values_of(LEGACY_SECRET);

const fn values_of(alphabet: &[u8]) -> [u8; 256] {
    let mut values = [NOT_IN_ALPHABET; 256];
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
}

/// Whom a PAT names. Nothing is proven by it until the digest has been compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatIds {
    /// The owner.
    pub user: UserId,
    /// The PAT.
    pub pat: PatId,
}

/// Why some bytes are not a PAT. Callers hear one answer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatSyntax {
    /// Neither 97 nor 149 bytes.
    #[error("not the length of a PAT")]
    Length,
    /// No `pat_` in front, or no `_` between identifiers and secret.
    #[error("not the frame of a PAT")]
    Frame,
    /// A character outside the alphabet of its part, or identifiers with stray low bits.
    #[error("a character that a PAT cannot have there")]
    Alphabet,
    /// The checksum is another one: a typing error, or a guess.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Reads the identifiers out of `credential`, which must be a whole PAT and nothing else.
///
/// # Errors
/// [`PatSyntax`], for every other input. Length, frame, alphabet and checksum are checked in that order, so garbage
/// costs a comparison of lengths, and nothing is ever hashed for it.
///
/// # Cost
/// One pass over 97 bytes and a CRC-32, no allocation (`benches/pat_check.rs`).
pub fn parse(credential: &[u8]) -> Result<PatIds, PatSyntax> {
    match credential.len() {
        PAT_LEN => parse_current(credential),
        LEGACY_PAT_LEN => parse_legacy(credential),
        _ => Err(PatSyntax::Length),
    }
}

fn parse_current(credential: &[u8]) -> Result<PatIds, PatSyntax> {
    if !credential.starts_with(PREFIX) || credential[SEPARATOR_AT] != b'_' {
        return Err(PatSyntax::Frame);
    }
    let ids = decode_ids(ids_of(credential), &BASE64_URL_VALUES)?;
    check_secret(credential, SECRET_AT)?;
    Ok(ids)
}

/// Checks the secret and the checksum, with which every credential of ours ends.
///
/// * `secret_at`: where the secret begins; what follows has the right length.
#[inline]
pub(crate) fn check_secret(credential: &[u8], secret_at: usize) -> Result<(), PatSyntax> {
    // Without a branch per byte.
    let alphanumeric = |all: bool, byte: &u8| all & byte.is_ascii_alphanumeric();
    if !credential[secret_at..].iter().fold(true, alphanumeric) {
        return Err(PatSyntax::Alphabet);
    }
    let (covered, checksum) = credential.split_at(secret_at + SECRET_LEN);
    let digit = |number: u64, byte: &u8| number * 62 + u64::from(BASE62_VALUES[usize::from(*byte)]);
    if checksum.iter().fold(0, digit) != u64::from(crc32fast::hash(covered)) {
        return Err(PatSyntax::Checksum);
    }
    Ok(())
}

fn parse_legacy(credential: &[u8]) -> Result<PatIds, PatSyntax> {
    let padding = credential[SEPARATOR_AT];
    if !credential.starts_with(PREFIX) || padding != b'=' || credential[LEGACY_SEPARATOR_AT] != b'_' {
        return Err(PatSyntax::Frame);
    }
    let ids = decode_ids(ids_of(credential), &BASE64_STANDARD_VALUES)?;
    let value = |seen: u8, byte: &u8| seen | LEGACY_SECRET_VALUES[usize::from(*byte)];
    if credential[LEGACY_SEPARATOR_AT + 1..].iter().fold(0, value) >= NOT_IN_ALPHABET {
        return Err(PatSyntax::Alphabet);
    }
    Ok(ids)
}

fn ids_of(credential: &[u8]) -> &[u8; IDS_LEN] {
    credential[IDS_AT..].first_chunk().expect("both forms are longer")
}

/// Decodes 43 base64 characters to the two identifiers. Only one spelling is accepted: the two bits that are left
/// over at the end must be zero.
fn decode_ids(text: &[u8; IDS_LEN], values: &[u8; 256]) -> Result<PatIds, PatSyntax> {
    let mut bytes = [0_u8; 32];
    let mut seen = 0;
    let (fours, last) = text.as_chunks::<4>();
    let (threes, _) = bytes.as_chunks_mut::<3>();
    for (four, three) in fours.iter().zip(threes) {
        let value = four.map(|byte| values[usize::from(byte)]);
        seen |= value[0] | value[1] | value[2] | value[3];
        *three = [value[0] << 2 | value[1] >> 4, value[1] << 4 | value[2] >> 2, value[2] << 6 | value[3]];
    }
    let value = [last[0], last[1], last[2]].map(|byte| values[usize::from(byte)]);
    seen |= value[0] | value[1] | value[2];
    bytes[30..].copy_from_slice(&[value[0] << 2 | value[1] >> 4, value[1] << 4 | value[2] >> 2]);
    if seen >= NOT_IN_ALPHABET || value[2] & 3 != 0 {
        return Err(PatSyntax::Alphabet);
    }
    let (user, pat) = bytes.split_at(16);
    let id = |half: &[u8]| *half.first_chunk().expect("16 of 32 bytes");
    Ok(PatIds { user: UserId::from_bytes(id(user)), pat: PatId::from_bytes(id(pat)) })
}

/// A PAT in plain text: what its owner is shown once.
///
/// `Debug` does not show it, and the bytes are overwritten when it is dropped (best effort: safe Rust cannot promise
/// that the compiler made no copy).
pub struct PatSecret([u8; PAT_LEN]);

impl PatSecret {
    /// The PAT as bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The PAT as text, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a minted PAT is ASCII")
    }
}

impl fmt::Debug for PatSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatSecret(hidden)")
    }
}

impl Drop for PatSecret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader the compiler may drop the stores.
        std::hint::black_box(&self.0);
    }
}

/// Makes the PAT of these identifiers whose secret is `random`.
///
/// * `random`: 256 bits from the operating system's generator; anything less makes a guessable PAT.
///
/// Minting twice from the same input gives the same PAT.
#[must_use]
pub fn mint(ids: PatIds, random: &[u8; 32]) -> PatSecret {
    let mut text = [b'_'; PAT_LEN];
    text[..IDS_AT].copy_from_slice(PREFIX);
    let mut bytes = [0_u8; 33];
    bytes[..16].copy_from_slice(ids.user.as_bytes());
    bytes[16..32].copy_from_slice(ids.pat.as_bytes());
    for (three, four) in bytes.chunks_exact(3).zip(text[IDS_AT..SEPARATOR_AT].chunks_mut(4)) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for (at, character) in four.iter_mut().enumerate() {
            *character = BASE64_URL[(bits >> (18 - 6 * at)) as usize & 63];
        }
    }
    write_secret(&mut text, SECRET_AT, random);
    PatSecret(text)
}

/// Writes the secret and the checksum, with which every credential of ours ends.
pub(crate) fn write_secret(text: &mut [u8], secret_at: usize, random: &[u8; 32]) {
    // 62^43 is a little more than 2^256, so 43 digits hold every secret.
    let mut number = *random;
    let checksum_at = secret_at + SECRET_LEN;
    for digit in text[secret_at..checksum_at].iter_mut().rev() {
        *digit = BASE62[divide(&mut number, 62)];
    }
    number.fill(0);
    let mut checksum = u64::from(crc32fast::hash(&text[..checksum_at]));
    for digit in text[checksum_at..].iter_mut().rev() {
        *digit = BASE62[(checksum % 62) as usize];
        checksum /= 62;
    }
    const { assert!(62_u64.pow(CHECKSUM_LEN as u32) > u32::MAX as u64) }
}

/// Divides a big-endian number in place and returns the remainder.
fn divide(number: &mut [u8; 32], by: u32) -> usize {
    let mut rest = 0_u32;
    for byte in number {
        let part = rest << 8 | u32::from(*byte);
        *byte = (part / by) as u8;
        rest = part % by;
    }
    rest as usize
}

/// SHA-256 of a whole PAT, `pat_` included: all that is ever stored of it.
///
/// Written as `sha256:` and 64 hexadecimal digits. `==` is for tests and tools; where a caller's guess is compared,
/// compare in constant time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatDigest(pub [u8; 32]);

const DIGEST_SCHEME: &str = "sha256:";

impl PatDigest {
    /// Reads `sha256:<64 hexadecimal digits>`, digits in either case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(DIGEST_SCHEME)?.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0_u8; 32];
        let mut seen = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | low;
        }
        (seen < NOT_IN_ALPHABET).then_some(Self(bytes))
    }
}

const HEX_VALUES: [u8; 256] = {
    let mut values = values_of(b"0123456789abcdef");
    let mut digit = b'A';
    while digit <= b'F' {
        values[digit as usize] = digit - b'A' + 10;
        digit += 1;
    }
    values
};

impl fmt::Display for PatDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DIGEST_SCHEME)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PatDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PatDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PatDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = PatDigest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`sha256:` and 64 hexadecimal digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PatDigest, E> {
                // The text is not repeated: someone may have pasted the PAT itself here.
                PatDigest::from_text(text)
                    .ok_or_else(|| E::custom("a digest is `sha256:` and 64 hexadecimal digits"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests;
