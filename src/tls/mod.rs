//! Certificates, keys and authorities: from files to what handshakes are made with.
//!
//! | file | does |
//! |---|---|
//! | `files` | PEM files → certificates and keys, with what is wrong with them |
//! | `identity` | whom a server must prove to be |
//! | `names` | which certificate is shown to whom |
//! | `terms` | settings → [`Terms`], again and again |
//!
//! Everything here is cold: it runs on the control thread, and the result travels to the cores as a whole, as tables do. The
//! only cryptography in the program is ring's ([`provider`]).

mod files;
mod identity;
mod names;
mod terms;

use std::sync::Arc;

pub use cube_wire::validity::Validity;
use rustls::crypto::CryptoProvider;

pub use files::{FileProblem, KeyFile, TlsError, certificates, key_pair};
pub use identity::Identity;
pub use terms::{Loaded, Shown, Terms, TermsMaker, Warning, client_terms};

/// The one provider of cryptography: ring, with rustls's choice of suites (TLS 1.3, and ECDHE with an AEAD for TLS 1.2).
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The one protocol that is spoken inside (ALPN).
pub const HTTP_1_1: &[u8] = b"http/1.1";
