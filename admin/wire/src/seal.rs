//! What only the fleet may read: endpoint credentials on their way and at rest, and the proof that a node belongs to it.
//!
//! cube-admin and its proxies share one [`FleetKey`]. Admin seals an endpoint's credential once, when it is set. What lies in its
//! database, in the change log, on the feed and in a proxy's file of last good tables is that sealed text; it is opened in a
//! proxy's memory when tables are compiled.
//!
//! Source: ChaCha20-Poly1305 of RFC 8439 with a random nonce; the cluster and the header's name are authenticated with it, so a
//! sealed value cannot be moved to another endpoint's header. Keys for the uses are derived by HKDF-SHA256 (RFC 5869).

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use crate::base64url;

/// Length of the key in bytes.
pub const FLEET_KEY_LEN: usize = 32;

/// The secret that admin and its proxies share.
#[derive(Clone)]
pub struct FleetKey {
    bytes: [u8; FLEET_KEY_LEN],
}

/// Why a text is no key, or a sealed value cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key's text is not 32 bytes in base64url.
    #[error("a fleet key is 43 characters of base64url (32 bytes)")]
    KeySyntax,
    /// Sealed with another key, for another place, or damaged.
    #[error("a sealed credential that this fleet key does not open")]
    NotOurs,
    /// The system has no randomness.
    #[error("no randomness from the system")]
    NoRandomness,
}

struct DerivedLen;

impl KeyType for DerivedLen {
    fn len(&self) -> usize {
        32
    }
}

impl FleetKey {
    /// A new key.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = [0; FLEET_KEY_LEN];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
        Ok(Self { bytes })
    }

    /// Reads a key as [`FleetKey::to_text`] writes it; blanks around it are ignored.
    ///
    /// # Errors
    /// [`SealError::KeySyntax`].
    pub fn from_text(text: &str) -> Result<Self, SealError> {
        let bytes = base64url::decode(text.trim().as_bytes()).ok_or(SealError::KeySyntax)?;
        Ok(Self { bytes: bytes.try_into().map_err(|_| SealError::KeySyntax)? })
    }

    /// The key as text, for a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> String {
        base64url::encode(&self.bytes)
    }

    fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        let pseudo_random = Salt::new(HKDF_SHA256, b"cube fleet key").extract(&self.bytes);
        let info = [purpose];
        let derived = pseudo_random.expand(&info, DerivedLen).expect("32 bytes are less than HKDF's limit");
        derived.fill(&mut out).expect("the length that was asked for");
        out
    }

    /// What a node shows to the feed to prove that it belongs to the fleet.
    #[must_use]
    pub fn node_token(&self) -> String {
        base64url::encode(&self.derive(b"node authentication v1"))
    }

    /// Seals a credential's value for one header of one cluster.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn seal(&self, cluster: &str, header: &str, value: &str) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = value.as_bytes().to_vec();
        self.cipher()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                place(cluster, header),
                &mut sealed,
            )
            .map_err(|_| SealError::NoRandomness)?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Ok(base64url::encode(&bytes))
    }

    /// Opens what [`FleetKey::seal`] made for the same place.
    ///
    /// # Errors
    /// [`SealError::NotOurs`].
    pub fn open(&self, cluster: &str, header: &str, sealed: &str) -> Result<String, SealError> {
        let bytes = base64url::decode(sealed.as_bytes()).ok_or(SealError::NotOurs)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(SealError::NotOurs)?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .cipher()
            .open_in_place(Nonce::assume_unique_for_key(*nonce), place(cluster, header), &mut sealed)
            .map_err(|_| SealError::NotOurs)?;
        String::from_utf8(opened.to_vec()).map_err(|_| SealError::NotOurs)
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.derive(b"endpoint credentials v1"));
        LessSafeKey::new(key.expect("32 bytes are a key"))
    }
}

/// What a sealed value is bound to. Neither part can contain the separator.
fn place(cluster: &str, header: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("{cluster}\0{}", header.to_ascii_lowercase()).into_bytes())
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_with_its_key_and_in_its_place() {
        let key = FleetKey::generate().unwrap();
        let sealed = key.seal("gpu", "Authorization", "Bearer hidden").unwrap();
        assert!(!sealed.contains("hidden"));
        assert_eq!(key.open("gpu", "authorization", &sealed).unwrap(), "Bearer hidden");
        assert_eq!(key.open("cpu", "authorization", &sealed), Err(SealError::NotOurs));
        assert_eq!(key.open("gpu", "x-api-key", &sealed), Err(SealError::NotOurs));
        assert_eq!(
            FleetKey::generate().unwrap().open("gpu", "authorization", &sealed),
            Err(SealError::NotOurs)
        );
    }

    #[test]
    fn a_value_is_sealed_differently_each_time_and_damage_is_found_at_every_byte() {
        let key = FleetKey::generate().unwrap();
        let sealed = key.seal("c", "h", "v").unwrap();
        assert_ne!(sealed, key.seal("c", "h", "v").unwrap());
        let bytes = base64url::decode(sealed.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(
                key.open("c", "h", &base64url::encode(&damaged)),
                Err(SealError::NotOurs),
                "byte {at}"
            );
        }
        for short in ["", "AA", "!"] {
            assert_eq!(key.open("c", "h", short), Err(SealError::NotOurs));
        }
    }

    #[test]
    fn a_key_is_read_as_it_is_written_and_shown_to_nobody() {
        let key = FleetKey::generate().unwrap();
        let read = FleetKey::from_text(&format!(" {}\n", key.to_text())).unwrap();
        assert_eq!(read.node_token(), key.node_token());
        assert_ne!(key.node_token(), key.to_text());
        assert_eq!(format!("{key:?}"), "FleetKey(…)");
        assert_eq!(FleetKey::from_text("short").unwrap_err(), SealError::KeySyntax);
    }
}
