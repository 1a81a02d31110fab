//! Public keys of an issuer (RFC 7517, RFC 7518 §6, RFC 8037), and the signatures that are taken.
//!
//! `none` and the symmetric algorithms do not exist here, so no setting and no token can ask for them.

use cube_wire::base64url;
use ring::digest;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;

/// Most keys of a set that are looked at.
const KEYS_MAX: usize = 64;

/// How a token may be signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-256; keys of 2048 to 8192 bits, here as for all RSA.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// How `ring` is asked.
enum Scheme {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];
    /// What is taken where the settings say nothing.
    pub const USUAL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// As it is written in a token's head.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name; case matters.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Kind::Rsa,
            Self::Es256 => Kind::P256,
            Self::Es384 => Kind::P384,
            Self::EdDsa => Kind::Ed25519,
        }
    }

    fn scheme(self) -> Scheme {
        match self {
            Self::Rs256 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Scheme::Curve(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Scheme::Curve(&signature::ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Scheme::Curve(&signature::ED25519),
        }
    }

    /// What an ID token that is signed like this says of the access token beside it: the left half of its hash, in base64url
    /// (OpenID Connect Core §3.1.3.6).
    #[must_use]
    pub fn half_hash(self, text: &str) -> String {
        let hash = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            Self::Rs384 | Self::Ps384 | Self::Es384 => &digest::SHA384,
            // Ed25519 hashes with SHA-512 itself.
            Self::Rs512 | Self::Ps512 | Self::EdDsa => &digest::SHA512,
        };
        let whole = digest::digest(hash, text.as_bytes());
        let (left, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
        base64url::encode(left)
    }
}

/// A key that verifies.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// What tokens call it.
    pub id: Option<String>,
    kind: Kind,
    /// RSA: the modulus; a curve: the point as `ring` takes it.
    bytes: Vec<u8>,
    /// RSA: the exponent.
    exponent: Vec<u8>,
    /// The only algorithm that it is for, if it says one.
    only: Option<Algorithm>,
}

impl PublicKey {
    /// Whether it is for this algorithm. A key is never used in another way than the one it is made for, whatever a token says.
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.kind == algorithm.kind() && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is this key's.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match algorithm.scheme() {
            Scheme::Rsa(parameters) => {
                let key = RsaPublicKeyComponents { n: &self.bytes, e: &self.exponent };
                key.verify(parameters, signed, signature).is_ok()
            }
            Scheme::Curve(curve) => {
                UnparsedPublicKey::new(curve, &self.bytes).verify(signed, signature).is_ok()
            }
        }
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a set that can verify; others (for encryption, of other kinds) are left out. `None`: it is no set.
#[must_use]
pub fn parse_set(bytes: &[u8]) -> Option<Vec<PublicKey>> {
    let set: Set = serde_json::from_slice(bytes).ok()?;
    let keys = set.keys.into_iter().take(KEYS_MAX);
    Some(keys.filter_map(|key| of_jwk(serde_json::from_value(key).ok()?)).collect())
}

fn of_jwk(jwk: Jwk) -> Option<PublicKey> {
    let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
    if !for_signatures || !verifies {
        return None;
    }
    // A key for an algorithm that is not taken is no key.
    let only = match &jwk.alg {
        Some(name) => Some(Algorithm::from_name(name)?),
        None => None,
    };
    let decoded = |text: &Option<String>| base64url::decode(text.as_ref()?.as_bytes());
    let coordinate = |text: &Option<String>, len: usize| decoded(text).filter(|bytes| bytes.len() == len);
    // An uncompressed point (SEC 1 §2.3.3).
    let point = |len: usize| Some([&[4], &*coordinate(&jwk.x, len)?, &*coordinate(&jwk.y, len)?].concat());
    let (kind, bytes, exponent) = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("RSA", _) => (Kind::Rsa, decoded(&jwk.n)?, decoded(&jwk.e)?),
        ("EC", Some("P-256")) => (Kind::P256, point(32)?, Vec::new()),
        ("EC", Some("P-384")) => (Kind::P384, point(48)?, Vec::new()),
        ("OKP", Some("Ed25519")) => (Kind::Ed25519, coordinate(&jwk.x, 32)?, Vec::new()),
        _ => return None,
    };
    if only.is_some_and(|only| only.kind() != kind) {
        return None;
    }
    Some(PublicKey { id: jwk.kid, kind, bytes, exponent, only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_verify_what_is_taken_are_kept() {
        let set = br#"{"keys":[
            {"kty":"oct","k":"AAAA","kid":"hmac"},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"ed"},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"enc"},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","key_ops":["sign"]},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"RS256"},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"HS256"},
            {"kty":"OKP","crv":"Ed25519","x":"AAAA"},
            {"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"EC","crv":"P-521","x":"AA","y":"AA"},
            {"kty":"EC","crv":"P-256","x":"AA","y":"AA"},
            {"kty":"RSA","n":"AQAB","kid":"no exponent"},
            {"kid":"nothing"}, 7
        ]}"#;
        let keys = parse_set(set).unwrap();
        let ids: Vec<_> = keys.iter().map(|key| key.id.as_deref()).collect();
        assert_eq!(ids, [Some("ed")]);
        assert!(parse_set(b"{}").is_none() && parse_set(b"<html>").is_none());
        // RFC 8037 appendix A.4: the key and the signature of its example.
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let signature = base64url::decode(signature).unwrap();
        assert!(keys[0].verifies(Algorithm::EdDsa, signed, &signature));
        assert!(!keys[0].verifies(Algorithm::EdDsa, b"x", &signature));
        assert!(!keys[0].verifies(Algorithm::Es256, signed, &signature), "another algorithm's key");
    }

    /// The example of OpenID Connect Core, appendix A.3 (RS256), whose access token is given in A.6.
    #[test]
    fn the_half_hash_is_that_of_the_specification_s_example() {
        let access = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(Algorithm::Rs256.half_hash(access), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
