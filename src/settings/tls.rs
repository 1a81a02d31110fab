//! `[tls]`, and what connections to servers are sealed with: names of files. What is in them is [`crate::tls`]'s.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// `[tls]`: the listener that speaks TLS. There is one as soon as it has a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Every core binds it (`SO_REUSEPORT`). Port 0 takes a free one.
    pub address: SocketAddr,
    /// The first is shown to whoever asks for no name, or for one that no certificate has.
    pub certificates: Vec<KeyPair>,
    /// Callers must show a certificate that one of these authorities has signed. `None`: they are not asked.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its key, each a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate, then those that lead to a root.
    pub chain: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Whom we believe when we connect, and who we say that we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The authorities that the system trusts.
    pub system_roots: bool,
    /// More of them: PEM files.
    pub ca_files: Vec<PathBuf>,
    /// What is shown to a server that asks.
    pub client: Option<KeyPair>,
}

impl Tls {
    /// Whether there is a listener.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty()
    }
}

impl Default for Tls {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8443));
        Self { address, certificates: Vec::new(), client_ca: None }
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self { system_roots: true, ca_files: Vec::new(), client: None }
    }
}
