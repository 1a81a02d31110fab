//! The certificate that every peer shows in the rows over TLS: one self-signed leaf of ECDSA P-256, made for the run.

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::fs;
use std::path::{Path, PathBuf};

/// PEM files.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// Chain and key in one file, as HAProxy wants them.
    pub(super) both: PathBuf,
}

impl Certificate {
    /// Makes one for 127.0.0.1 in `directory`.
    ///
    /// # Errors
    /// No randomness, or the files cannot be written.
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            chain: write("chain.pem", &chain)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &format!("{chain}{key}"))?,
        })
    }
}
