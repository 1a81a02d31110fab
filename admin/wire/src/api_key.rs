//! The form of an API key: what scripts and identity providers show to cube-admin's management API. Proxies never see one.
//!
//! ```text
//! cak_ <22: base64url of the key's id> _ <43: base62, 256 random bits> <6: base62 CRC-32 of all before it>
//! ```
//!
//! 76 characters of the same alphabets, with the same checksum and for the same reasons as those of a [PAT](crate::pat). The prefix tells
//! the two apart for people and secret scanners (`cak_[A-Za-z0-9_-]{22}_[A-Za-z0-9]{49}`), and for us before anything is looked up.

use std::fmt;

use uuid::Uuid;

use crate::base64url;
use crate::pat::{CHECKSUM_LEN, PatSyntax, SECRET_LEN, check_secret, write_secret};

/// Length of an API key in bytes.
pub const API_KEY_LEN: usize = SECRET_AT + SECRET_LEN + CHECKSUM_LEN;
/// What every API key begins with.
pub const PREFIX: &str = "cak_";

const ID_AT: usize = PREFIX.len();
/// Characters of 16 bytes in base64 without padding.
const ID_LEN: usize = 22;
const SEPARATOR_AT: usize = ID_AT + ID_LEN;
const SECRET_AT: usize = SEPARATOR_AT + 1;

const _: () = assert!(API_KEY_LEN == 76);

/// Reads the identifier out of `credential`, which must be a whole API key and nothing else. Nothing is proven by it until the digest has
/// been compared.
///
/// # Errors
/// [`PatSyntax`], for every other input; nothing is ever hashed for it.
pub fn parse(credential: &[u8]) -> Result<Uuid, PatSyntax> {
    if credential.len() != API_KEY_LEN {
        return Err(PatSyntax::Length);
    }
    if !credential.starts_with(PREFIX.as_bytes()) || credential[SEPARATOR_AT] != b'_' {
        return Err(PatSyntax::Frame);
    }
    let id = base64url::decode(&credential[ID_AT..SEPARATOR_AT]).ok_or(PatSyntax::Alphabet)?;
    check_secret(credential, SECRET_AT)?;
    Uuid::from_slice(&id).map_err(|_| PatSyntax::Alphabet)
}

/// An API key in plain text: what its maker is shown once. `Debug` does not show it, and the bytes are overwritten when it is dropped (best
/// effort).
pub struct ApiKeySecret([u8; API_KEY_LEN]);

impl ApiKeySecret {
    /// The key as bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a minted key is ASCII")
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeySecret(hidden)")
    }
}

impl Drop for ApiKeySecret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader the compiler may drop the stores.
        std::hint::black_box(&self.0);
    }
}

/// Makes the key of this identifier whose secret is `random`: 256 bits from the operating system's generator.
#[must_use]
pub fn mint(id: Uuid, random: &[u8; 32]) -> ApiKeySecret {
    let mut text = [b'_'; API_KEY_LEN];
    text[..ID_AT].copy_from_slice(PREFIX.as_bytes());
    text[ID_AT..SEPARATOR_AT].copy_from_slice(base64url::encode(id.as_bytes()).as_bytes());
    write_secret(&mut text, SECRET_AT, random);
    ApiKeySecret(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pat;

    #[test]
    fn an_api_key_has_the_documented_form_and_a_known_checksum() {
        let key = mint(Uuid::from_bytes([7; 16]), &[0xff; 32]);
        let text = key.expose();
        assert_eq!(text.len(), 76);
        assert_eq!(&text[..27], "cak_BwcHBwcHBwcHBwcHBwcHBw_");
        assert!(text[27..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(!format!("{key:?}").contains(&text[30..]));
    }

    proptest! {
        #[test]
        fn what_is_minted_parses_and_no_changed_byte_does(id: [u8; 16], random: [u8; 32], at in 0..API_KEY_LEN, byte: u8) {
            let key = mint(Uuid::from_bytes(id), &random);
            prop_assert_eq!(parse(key.as_bytes()), Ok(Uuid::from_bytes(id)));
            prop_assert!(pat::parse(key.as_bytes()).is_err(), "a key is no PAT");
            let mut changed = key.as_bytes().to_vec();
            changed[at] = byte;
            prop_assert_eq!(parse(&changed).is_ok(), changed == key.as_bytes());
        }

        #[test]
        fn garbage_is_refused(garbage: Vec<u8>) {
            prop_assert!(parse(&garbage).is_err());
        }
    }
}
