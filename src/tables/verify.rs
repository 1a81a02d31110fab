//! Credential → who it is. One [`Verifier`] per core, nothing shared, nothing written back to the tables.
//!
//! # Promises
//! * An access token of admin's (a JWT) is verified once and then remembered like a PAT, by its digest. It goes out of use with
//!   its time, its key or its user.
//! * Garbage costs a checksum: length, alphabet and CRC are checked before anything is hashed.
//! * What was cached is worth nothing by itself. An entry holds for the tables that it was made from; with any others
//!   the row is read again, so a revocation is in force on the next request after a core adopted it. Times are compared
//!   on every request, and never moved. So is
//!   the caller's address, with the ranges in the row.
//! * There is no negative cache: the tables are complete, so absence is the answer, and guessing evicts nothing.
//! * Digests are compared in constant time, and nothing of a credential outlives the call.
//!
//! # Cost
//! `benches/pat_check.rs`; no allocation, cached or not.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;

use cube_wire::jwt;
use cube_wire::pat::{self, PatIds};
use cube_wire::{PatDigest, PatId, UserId};
use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::shards::Place;
use super::{NEVER, Tables, notes, pat_flag, user_flag};

/// A caller who has shown a valid PAT, or a valid access token of admin's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The PAT. `None`: an access token, which acts with all of its owner's rights.
    pub pat: Option<PatId>,
    /// Its owner.
    pub user: UserId,
    /// The tables in which the places below are.
    pub(super) stamp: u64,
    pub(super) pat_place: Option<Place>,
    pub(super) user_place: Place,
}

/// Why a credential is refused. For the caller all of them are the same 401; the difference is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialFault {
    /// Not a PAT at all.
    #[error("not a PAT")]
    Malformed,
    /// No such PAT, or not this secret, or another owner than it says.
    #[error("unknown PAT")]
    Unknown,
    /// Revoked by its owner or an administrator.
    #[error("revoked PAT")]
    Revoked,
    /// Past its end.
    #[error("expired PAT")]
    Expired,
    /// Before its beginning.
    #[error("PAT that is not valid yet")]
    NotYetValid,
    /// Its owner is disabled.
    #[error("PAT of a disabled user")]
    UserDisabled,
    /// An access token that is not ours: its form, its key or signature, its use, or a user that does not exist.
    #[error("not a valid access token")]
    Jwt,
    /// An access token past its end.
    #[error("expired access token")]
    JwtExpired,
    /// The request comes from an address that is in none of its ranges.
    #[error("PAT used from an address that it is not for")]
    Address,
}

const _: () = assert!(size_of::<CredentialFault>() == 1);

impl CredentialFault {
    /// A stable word for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "pat_malformed",
            Self::Unknown => "pat_unknown",
            Self::Revoked => "pat_revoked",
            Self::Expired => "pat_expired",
            Self::NotYetValid => "pat_not_yet_valid",
            Self::UserDisabled => "user_disabled",
            Self::Jwt => "jwt_invalid",
            Self::JwtExpired => "jwt_expired",
            Self::Address => "pat_address",
        }
    }
}

/// SHA-256 of a credential: what is stored of it.
#[must_use]
pub fn digest_of(credential: &[u8]) -> PatDigest {
    PatDigest(Sha256::digest(credential).into())
}

/// Compares in constant time, a word at a time: byte by byte it would cost as much as the hash.
fn same_digest(one: &[u8; 32], other: &[u8; 32]) -> Choice {
    let (one, other) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let pairs = one.iter().zip(other);
    pairs.fold(Choice::from(1), |same, (one, other)| {
        same & u64::from_ne_bytes(*one).ct_eq(&u64::from_ne_bytes(*other))
    })
}

/// A digest as the key of the cache.
#[derive(Clone, Copy)]
struct DigestKey([u8; 32]);

impl PartialEq for DigestKey {
    fn eq(&self, other: &Self) -> bool {
        same_digest(&self.0, &other.0).into()
    }
}

impl Eq for DigestKey {}

impl Hash for DigestKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (front, _) = self.0.split_first_chunk().expect("32 bytes");
        state.write_u64(u64::from_ne_bytes(*front));
    }
}

/// Passes the front of a digest through: it is as even as any hash of it, and only digests of valid PATs get in, so
/// nobody can aim at a slot.
#[derive(Default)]
struct FrontOfDigest(u64);

impl Hasher for FrontOfDigest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// What is remembered of a good credential.
#[derive(Clone, Copy)]
pub(super) struct Verified {
    pub(super) identity: Identity,
    pub(super) expires_at: u32,
    pub(super) not_before: u32,
    /// The PAT names the addresses that it may be used from. They are looked up on every request: what is remembered is who the
    /// credential belongs to, never that somebody came from the right place.
    pub(super) bound: bool,
    /// The keys that an access token was verified with, see [`super::keys`].
    pub(super) keys: u64,
}

impl Verified {
    /// Whether the PAT is valid now and from there. [`NEVER`] is later than any clock.
    ///
    /// * `tables`: those that it was verified against.
    fn at(&self, tables: &Tables, now_unix_s: u64, from: IpAddr) -> Result<Identity, CredentialFault> {
        if self.expires_at != NEVER && now_unix_s >= u64::from(self.expires_at) {
            Err(if self.identity.pat.is_some() {
                CredentialFault::Expired
            } else {
                CredentialFault::JwtExpired
            })
        } else if now_unix_s < u64::from(self.not_before) {
            Err(CredentialFault::NotYetValid)
        } else if self.bound && !tables.admits(&self.identity, from) {
            Err(CredentialFault::Address)
        } else {
            Ok(self.identity)
        }
    }
}

type VerifiedCache = Cache<
    DigestKey,
    Verified,
    UnitWeighter,
    BuildHasherDefault<FrontOfDigest>,
    DefaultLifecycle<DigestKey, Verified>,
>;

/// Verifies credentials for one core.
pub struct Verifier {
    cache: VerifiedCache,
    hits: u64,
    misses: u64,
}

impl Verifier {
    /// * `capacity`: PATs that are remembered, about 100 bytes each. All memory is set aside here, and touched as it
    ///   fills.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let mut cache = Cache::with(
            capacity,
            capacity as u64,
            UnitWeighter,
            BuildHasherDefault::default(),
            DefaultLifecycle::default(),
        );
        // Twice as much, so that the index below stays half empty: then a full cache that turns over leaves no tombstones
        // to clear, and the index never grows. Only what is used is ever touched.
        cache.reserve(2 * capacity + 16);
        Self { cache, hits: 0, misses: 0 }
    }

    /// Who `credential` is, by these tables, at this time.
    ///
    /// * `credential`: a PAT or an access token, the whole of what follows `Bearer `.
    /// * `now_unix_s`: the core's clock.
    /// * `from`: the caller's address.
    ///
    /// # Errors
    /// [`CredentialFault`]; 401 for all of them.
    ///
    /// # Cost
    /// Two blocks of SHA-256 and one lookup, if the cache has it; besides that two rows of the tables. An access token that is
    /// not remembered costs a verification of its signature, see [`Tables::verify_jwt`].
    pub fn verify(
        &mut self,
        tables: &Tables,
        credential: &[u8],
        now_unix_s: u64,
        from: IpAddr,
    ) -> Result<Identity, CredentialFault> {
        let ids = if jwt::looks_like_jwt(credential) {
            None
        } else {
            Some(pat::parse(credential).map_err(|_| CredentialFault::Malformed)?)
        };
        let key = DigestKey(Sha256::digest(credential).into());
        if let Some(verified) = self.cache.get(&key)
            && verified.identity.stamp == tables.stamp
        {
            self.hits += 1;
            return verified.at(tables, now_unix_s, from);
        }
        self.misses += 1;
        let verified = match ids {
            Some(ids) => tables.verify(ids, &key.0),
            None => tables.verify_jwt(credential, now_unix_s, self.cache.get(&key)),
        };
        match verified {
            Ok(verified) => {
                self.cache.insert(key, verified);
                verified.at(tables, now_unix_s, from)
            }
            Err(fault) => {
                self.cache.remove(&key);
                Err(fault)
            }
        }
    }

    /// PATs that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Verifications that the cache answered.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.hits
    }

    /// Verifications that read the tables.
    #[must_use]
    pub const fn misses(&self) -> u64 {
        self.misses
    }
}

impl Tables {
    /// Checks everything about a credential that time does not change.
    fn verify(&self, ids: PatIds, digest: &[u8; 32]) -> Result<Verified, CredentialFault> {
        // Both rows are asked for before either is looked at, so that memory is waited for once.
        let (pat_place, user_place) =
            (self.pats.find(ids.pat.as_bytes()), self.users.find(ids.user.as_bytes()));
        let pat_place = pat_place.ok_or(CredentialFault::Unknown)?;
        let (pat, words) = self.pats.at(pat_place);
        let (_, notes) = notes::split(words);
        let mut expires_at = pat.fixed.expires_at;
        let mut same = same_digest(&pat.fixed.digest, digest);
        if let Some(former) = notes::former(notes) {
            let same_as_former = same_digest(&former.digest, digest);
            if bool::from(same_as_former & !same) {
                expires_at = expires_at.min(former.until);
            }
            same |= same_as_former;
        }
        if !bool::from(same) || pat.fixed.user != *ids.user.as_bytes() {
            return Err(CredentialFault::Unknown);
        }
        if pat.flags & pat_flag::REVOKED != 0 {
            return Err(CredentialFault::Revoked);
        }
        let user_place = user_place.ok_or(CredentialFault::Unknown)?;
        if self.users.at(user_place).0.flags & user_flag::DISABLED != 0 {
            return Err(CredentialFault::UserDisabled);
        }
        let identity = Identity {
            pat: Some(ids.pat),
            user: ids.user,
            stamp: self.stamp,
            pat_place: Some(pat_place),
            user_place,
        };
        let bound = notes::has_ranges(notes);
        Ok(Verified { identity, expires_at, not_before: pat.fixed.not_before, bound, keys: 0 })
    }

    /// Whether the PAT of `who`, verified against these tables, may be used from `address`.
    fn admits(&self, who: &Identity, address: IpAddr) -> bool {
        who.pat_place.is_some_and(|place| notes::admit(notes::split(self.pats.at(place).1).1, address))
    }
}
