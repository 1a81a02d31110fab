//! Whom a server must prove to be.

use std::fmt;

use ring::digest::{SHA256, digest};
use rustls::pki_types::ServerName;

/// The name, or the address, that a server's certificate must be of.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    name: ServerName<'static>,
    /// Half of the name's SHA-256: connections are kept under it, so that one which was made to one name is never used for
    /// another at the same address.
    digest: u128,
}

impl Identity {
    /// # Errors
    /// No certificate can be of `host`, as half a sentence.
    pub fn of(host: &str) -> Result<Self, &'static str> {
        let name = ServerName::try_from(host.to_ascii_lowercase())
            .map_err(|_| "no certificate can be of such a host")?;
        let hash = digest(&SHA256, name.to_str().as_bytes());
        let half = hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Ok(Self { name, digest: u128::from_ne_bytes(*half) })
    }

    /// What is asked for (SNI) and verified.
    #[must_use]
    pub const fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// What tells it from all others.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.digest
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.to_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_in_any_case_and_no_two_hosts_are() {
        let of = |host: &str| Identity::of(host).expect(host);
        assert_eq!(of("A.Example"), of("a.example"));
        let all = ["a.example", "b.example", "127.0.0.1", "::1", "a_b.example"].map(|host| of(host).digest());
        for (index, one) in all.iter().enumerate() {
            assert!(*one != 0 && !all[..index].contains(one));
        }
        for wrong in ["", "a b", "a..b", "-"] {
            assert!(Identity::of(wrong).is_err(), "{wrong:?}");
        }
    }
}
