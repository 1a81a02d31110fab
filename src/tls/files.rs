//! PEM files → certificates and keys. Every problem names its file; no message repeats a byte of a key.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cube_wire::validity::Validity;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::provider;

/// Why there is nothing to shake hands with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsError {
    /// The file at fault.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: FileProblem,
}

/// What can be wrong with one of the files.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[source] std::io::Error),
    /// It is not PEM.
    #[error("not a PEM file: {0}")]
    NotPem(String),
    /// It holds no certificate.
    #[error("no certificate in it")]
    NoCertificate,
    /// It holds no private key.
    #[error("no private key in it (PKCS#8, PKCS#1 or SEC1; not one with a passphrase)")]
    NoKey,
    /// The key is of a kind that cannot sign here.
    #[error("the key cannot be used: {0}")]
    BadKey(String),
    /// The certificate is of another key.
    #[error("not the key of the certificate in {}", .0.display())]
    OtherKey(PathBuf),
    /// It is no certificate that anybody can check.
    #[error("a certificate that cannot be used: {0}")]
    BadCertificate(String),
    /// It holds no more.
    #[error("the certificate expired {0}")]
    Expired(Ago),
    /// It does not hold yet.
    #[error("the certificate is not valid before Unix time {0}")]
    NotYet(u64),
}

/// How long something is past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ago(pub u64);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..=7199 => write!(f, "{} minutes ago", self.0 / 60),
            7200..=172_799 => write!(f, "{} hours ago", self.0 / 3600),
            _ => write!(f, "{} days ago", self.0 / 86_400),
        }
    }
}

/// A key file that more people can read than need to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The file.
    pub path: PathBuf,
    /// Everybody on the machine can read it.
    pub open_to_all: bool,
}

fn of_file(path: &Path) -> impl Fn(PemError) -> TlsError + '_ {
    |error| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others are the parser's")]
        let problem = match error {
            PemError::Io(error) => FileProblem::Unreadable(error),
            PemError::NoItemsFound => FileProblem::NotPem("nothing in it that we look for".to_owned()),
            other => FileProblem::NotPem(other.to_string()),
        };
        TlsError { path: path.to_owned(), problem }
    }
}

/// All certificates of a PEM file, in its order.
///
/// # Errors
/// It cannot be read, is not PEM, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(of_file(path))?.collect();
    let certificates = certificates.map_err(of_file(path))?;
    if certificates.is_empty() {
        return Err(TlsError { path: path.to_owned(), problem: FileProblem::NoCertificate });
    }
    Ok(certificates)
}

/// A certificate with its key, which belong together.
///
/// # Errors
/// Either file is wrong, or they do not match. Whether the certificate holds today is another question: see the [`Validity`].
pub fn key_pair(chain: &Path, key: &Path) -> Result<(CertifiedKey, Validity, KeyFile), TlsError> {
    let certificates = certificates(chain)?;
    let bad = |path: &Path, problem| TlsError { path: path.to_owned(), problem };
    let der = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let nothing = matches!(error, PemError::NoItemsFound);
        if nothing { bad(key, FileProblem::NoKey) } else { of_file(key)(error) }
    })?;
    let signing = provider()
        .key_provider
        .load_private_key(der)
        .map_err(|error| bad(key, FileProblem::BadKey(error.to_string())))?;
    let validity = Validity::of(&certificates[0])
        .ok_or_else(|| bad(chain, FileProblem::BadCertificate("its dates cannot be read".to_owned())))?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(bad(key, FileProblem::OtherKey(chain.to_owned())));
        }
        Err(error) => return Err(bad(chain, FileProblem::BadCertificate(error.to_string()))),
    }
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    let key_file = KeyFile { path: key.to_owned(), open_to_all: mode & 0o004 != 0 };
    Ok((certified, validity, key_file))
}

/// Whether a certificate holds now.
///
/// # Errors
/// It does not.
pub(super) fn holds_now(chain: &Path, validity: Validity) -> Result<(), TlsError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let problem = if now > validity.not_after {
        FileProblem::Expired(Ago(now - validity.not_after))
    } else if now < validity.not_before {
        FileProblem::NotYet(validity.not_before)
    } else {
        return Ok(());
    };
    Err(TlsError { path: chain.to_owned(), problem })
}

/// Authorities of a PEM file, added to `roots`.
///
/// # Errors
/// The file is wrong, or one of its certificates is none that can be an authority.
pub(super) fn add_roots(path: &Path, roots: &mut rustls::RootCertStore) -> Result<(), TlsError> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError {
            path: path.to_owned(),
            problem: FileProblem::BadCertificate(error.to_string()),
        })?;
    }
    Ok(())
}

/// The certificate and key that are shown to a peer, in the form that both of rustls's sides take.
#[derive(Debug)]
pub(super) struct Only(pub(super) Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).is_some().then(|| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
