//! The public keys of cube-admin's access tokens, and who such a token belongs to.

use std::sync::atomic::{AtomicU64, Ordering};

use cube_wire::base64url;
use cube_wire::jwt::{self, JwtFault, PUBLIC_KEY_LEN, Use};
use cube_wire::record::KeyRecord;

use super::verify::{CredentialFault, Identity, Verified};
use super::{NEVER, Tables, user_flag};

/// Longest `kid`.
const ID_LEN_MAX: usize = 128;
/// Most keys: one signs, a few retire.
const KEYS_MAX: usize = 64;

/// Keys that are in force, in the order of their identifiers.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// Unlike every other set of keys of the process, but for the empty one: 0.
    stamp: u64,
    keys: Vec<(Box<str>, [u8; PUBLIC_KEY_LEN])>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Puts a key in the place of the one with its identifier.
    ///
    /// # Errors
    /// What is wrong with it, as half a sentence.
    pub(super) fn put(&mut self, record: &KeyRecord) -> Result<(), &'static str> {
        let visible = |byte: u8| byte.is_ascii_graphic();
        if record.id.is_empty() || record.id.len() > ID_LEN_MAX || !record.id.bytes().all(visible) {
            return Err("its id is not 1 to 128 visible ASCII characters");
        }
        let bytes = base64url::decode(record.public_key.as_bytes());
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        let key: [u8; PUBLIC_KEY_LEN] = key.ok_or("its public_key is not 32 bytes in base64url")?;
        match self.keys.binary_search_by(|(id, _)| (**id).cmp(&record.id)) {
            Ok(at) => self.keys[at].1 = key,
            Err(_) if self.keys.len() >= KEYS_MAX => return Err("there are 64 keys already"),
            Err(at) => self.keys.insert(at, (record.id.as_str().into(), key)),
        }
        self.restamp();
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Ok(at) = self.keys.binary_search_by(|(known, _)| (**known).cmp(id)) {
            self.keys.remove(at);
            self.restamp();
        }
    }

    fn restamp(&mut self) {
        static STAMPS: AtomicU64 = AtomicU64::new(1);
        self.stamp = STAMPS.fetch_add(1, Ordering::Relaxed);
    }

    fn find(&self, id: &str) -> Option<&[u8; PUBLIC_KEY_LEN]> {
        let at = self.keys.binary_search_by(|(known, _)| (**known).cmp(id)).ok()?;
        Some(&self.keys[at].1)
    }
}

impl Tables {
    /// Checks everything about an access token that time does not change.
    ///
    /// * `known`: what an earlier check of this same token found, by older tables perhaps. Its signature still holds if the keys
    ///   are the same; whose it is never changes.
    ///
    /// # Cost
    /// A look-up of the user if `known` helps, else one Ed25519 verification (some 40 µs) and a few allocations.
    pub(super) fn verify_jwt(
        &self,
        jwt: &[u8],
        now_unix_s: u64,
        known: Option<&Verified>,
    ) -> Result<Verified, CredentialFault> {
        let (user, expires_at) = match known.filter(|known| known.keys == self.keys.stamp) {
            Some(known) => (known.identity.user, known.expires_at),
            None => {
                let claims = jwt::verify(jwt, Use::Access, now_unix_s, |kid| self.keys.find(kid));
                let claims = claims.map_err(|fault| match fault {
                    JwtFault::Expired => CredentialFault::JwtExpired,
                    JwtFault::Malformed
                    | JwtFault::UnknownKey
                    | JwtFault::Signature
                    | JwtFault::NotForThis => CredentialFault::Jwt,
                })?;
                // Later than 2106 is later than any token of ours; it ends before the mark for "never".
                (claims.sub, u32::try_from(claims.exp).unwrap_or(NEVER).min(NEVER - 1))
            }
        };
        let user_place = self.users.find(user.as_bytes()).ok_or(CredentialFault::Jwt)?;
        if self.users.at(user_place).0.flags & user_flag::DISABLED != 0 {
            return Err(CredentialFault::UserDisabled);
        }
        let identity = Identity { pat: None, user, stamp: self.stamp, pat_place: None, user_place };
        Ok(Verified { identity, expires_at, not_before: 0, bound: false, keys: self.keys.stamp })
    }
}
