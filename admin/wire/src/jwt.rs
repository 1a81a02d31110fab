//! cube-admin's access and refresh tokens: JWTs (RFC 7519) signed with Ed25519 (`EdDSA`, RFC 8037), and nothing else. There is no
//! algorithm to negotiate: a header that says anything but `EdDSA` is refused before a signature is looked at.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::{UserId, base64url};

/// Longest token that is looked at, in bytes.
pub const JWT_LEN_MAX: usize = 4096;
/// Who issues them.
pub const ISSUER: &str = "cube-admin";
/// Length of a public key in bytes.
pub const PUBLIC_KEY_LEN: usize = 32;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Requests.
    Access,
    /// New tokens, and nothing else.
    Refresh,
    /// A browser's session with cube-admin's pages, and nothing else: proxies refuse it.
    Session,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Always [`ISSUER`].
    pub iss: String,
    /// The user.
    pub sub: UserId,
    /// What it is for.
    #[serde(rename = "use")]
    pub usage: Use,
    /// Issued, Unix seconds.
    pub iat: u64,
    /// Refused from then on, Unix seconds.
    pub exp: u64,
    /// The login that it belongs to; a refresh token is revoked by it.
    pub jti: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    kid: String,
    /// Extensions that must be understood; we understand none (RFC 7515 §4.1.11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtFault {
    /// Not three parts of base64url with the JSON that we write, or another algorithm.
    #[error("not a token of ours")]
    Malformed,
    /// No key has its `kid`.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature does not hold.
    #[error("a signature that does not hold")]
    Signature,
    /// Past its end.
    #[error("expired")]
    Expired,
    /// For something else, or from somebody else.
    #[error("not meant for this")]
    NotForThis,
}

/// A key that signs.
pub struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key, and its PKCS#8 form for storage.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate(id: String) -> Result<(Self, Vec<u8>), ring::error::Unspecified> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
        let bytes = document.as_ref().to_vec();
        let key = Self::from_pkcs8(id, &bytes).map_err(|_| ring::error::Unspecified)?;
        Ok((key, bytes))
    }

    /// A stored key.
    ///
    /// # Errors
    /// The bytes are no Ed25519 key.
    pub fn from_pkcs8(id: String, bytes: &[u8]) -> Result<Self, ring::error::KeyRejected> {
        Ok(Self { id, pair: Ed25519KeyPair::from_pkcs8(bytes)? })
    }

    /// Its `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs a token.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let header =
            Header { alg: "EdDSA".to_owned(), typ: Some("JWT".to_owned()), kid: self.id.clone(), crit: None };
        let part = |json: serde_json::Result<Vec<u8>>| base64url::encode(&json.expect("strings and numbers"));
        let signed = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(claims)));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", base64url::encode(signature.as_ref()))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether a credential has the form of a token: three parts between two dots.
#[must_use]
pub fn looks_like_jwt(credential: &[u8]) -> bool {
    credential.len() <= JWT_LEN_MAX
        && credential.starts_with(b"eyJ")
        && memchr::memchr_iter(b'.', credential).count() == 2
}

/// Verifies a token.
///
/// * `key_of`: the public key with a `kid`.
/// * `now`: Unix seconds.
///
/// # Errors
/// [`JwtFault`]; to the caller all of them are one 401.
///
/// # Cost
/// One Ed25519 verification, some 40 µs, and a few allocations: remember what was verified.
pub fn verify<'k>(
    token: &[u8],
    usage: Use,
    now: u64,
    key_of: impl FnOnce(&str) -> Option<&'k [u8; PUBLIC_KEY_LEN]>,
) -> Result<Claims, JwtFault> {
    if token.len() > JWT_LEN_MAX {
        return Err(JwtFault::Malformed);
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(JwtFault::Malformed);
    };
    let signed = &token[..header.len() + 1 + claims.len()];
    let header: Header = json_of(header)?;
    if header.alg != "EdDSA" || header.crit.is_some() {
        return Err(JwtFault::Malformed);
    }
    let key = key_of(&header.kid).ok_or(JwtFault::UnknownKey)?;
    let signature = base64url::decode(signature).ok_or(JwtFault::Malformed)?;
    UnparsedPublicKey::new(&ED25519, key).verify(signed, &signature).map_err(|_| JwtFault::Signature)?;
    let claims: Claims = json_of(claims)?;
    if claims.iss != ISSUER || claims.usage != usage {
        return Err(JwtFault::NotForThis);
    }
    if claims.exp <= now {
        return Err(JwtFault::Expired);
    }
    Ok(claims)
}

fn json_of<T: serde::de::DeserializeOwned>(part: &[u8]) -> Result<T, JwtFault> {
    let bytes = base64url::decode(part).ok_or(JwtFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtFault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            iss: ISSUER.to_owned(),
            sub: UserId::from_bytes([1; 16]),
            usage: Use::Access,
            iat: 1_000,
            exp: 2_000,
            jti: "j".to_owned(),
        }
    }

    fn check(key: &SigningKey, token: &str, usage: Use, now: u64) -> Result<Claims, JwtFault> {
        let public: [u8; PUBLIC_KEY_LEN] = key.public_key().try_into().unwrap();
        verify(token.as_bytes(), usage, now, |kid| (kid == key.id()).then_some(&public))
    }

    #[test]
    fn a_token_is_good_for_its_use_until_its_end() {
        let (key, pkcs8) = SigningKey::generate("k1".to_owned()).unwrap();
        let token = key.sign(&claims());
        assert!(looks_like_jwt(token.as_bytes()));
        assert_eq!(check(&key, &token, Use::Access, 1_999), Ok(claims()));
        assert_eq!(check(&key, &token, Use::Access, 2_000), Err(JwtFault::Expired));
        assert_eq!(check(&key, &token, Use::Refresh, 1_999), Err(JwtFault::NotForThis));
        let stored = SigningKey::from_pkcs8("k1".to_owned(), &pkcs8).unwrap();
        assert_eq!(stored.public_key(), key.public_key());
    }

    #[test]
    fn no_changed_token_passes() {
        let (key, _) = SigningKey::generate("k1".to_owned()).unwrap();
        let token = key.sign(&claims());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(check(&key, &changed, Use::Access, 1_500).is_err(), "byte {at}");
        }
        for cut in 0..token.len() {
            assert!(check(&key, &token[..cut], Use::Access, 1_500).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn other_algorithms_and_unknown_keys_are_refused() {
        let (key, _) = SigningKey::generate("k1".to_owned()).unwrap();
        let token = key.sign(&claims());
        let rest = token.split_once('.').unwrap().1;
        for header in [
            r#"{"alg":"none","kid":"k1"}"#,
            r#"{"alg":"HS256","kid":"k1"}"#,
            r#"{"alg":"EdDSA","kid":"k1","crit":["x"]}"#,
            r#"{"alg":"EdDSA"}"#,
        ] {
            let forged = format!("{}.{rest}", base64url::encode(header.as_bytes()));
            assert_eq!(check(&key, &forged, Use::Access, 1_500), Err(JwtFault::Malformed), "{header}");
        }
        assert_eq!(verify(token.as_bytes(), Use::Access, 1_500, |_| None), Err(JwtFault::UnknownKey));
    }
}
