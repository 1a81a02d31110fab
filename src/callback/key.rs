//! What a decision is about: a credential, a method and a path. Kept as digests, so that no credential lies in memory longer than
//! its request, and an entry has one size whatever a caller sends.

use sha2::{Digest as _, Sha256};

/// A credential with its kind: the same text as a bearer credential and as an API key is two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CredentialDigest([u8; 32]);

impl CredentialDigest {
    /// * `name`: the field that it came in, lower case.
    #[must_use]
    pub fn of(name: &str, value: &[u8]) -> Self {
        Self(Sha256::new().chain_update(name).chain_update([0]).chain_update(value).finalize().into())
    }

    /// The digest.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A credential, a method and a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionKey([u8; 32]);

impl DecisionKey {
    /// * `method`, `path`: as the callback is shown them. A method holds no NUL, so no two of these read alike.
    #[must_use]
    pub fn of(credential: &CredentialDigest, method: &str, path: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(credential.0).chain_update(method).chain_update([0]);
        Self(digest.chain_update(path).finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_another_key() {
        let key = |name, value: &str, method, path: &str| {
            DecisionKey::of(&CredentialDigest::of(name, value.as_bytes()), method, path.as_bytes())
        };
        let keys = [
            key("x-api-key", "k", "GET", "/a"),
            key("authorization", "k", "GET", "/a"),
            key("x-api-key", "k2", "GET", "/a"),
            key("x-api-key", "k", "DELETE", "/a"),
            key("x-api-key", "k", "GET", "/a/"),
            key("x-api-key", "k", "GET/", "a"),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys[..index].iter().all(|other| one != other), "{index}");
        }
        assert!(keys[0] == key("x-api-key", "k", "GET", "/a"));
    }
}
