//! PEM files → what handshakes run on, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cube_wire::validity::Validity;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often files are looked at; besides, on SIGHUP.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate and those between it and its root, PEM.
    pub chain: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authorities of which callers must have a certificate, PEM; `None`: they need none.
    pub client_ca: Option<PathBuf>,
}

/// Why there is nothing to shake hands with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsProblem {
    path: PathBuf,
    problem: String,
}

/// What handshakes run on.
#[derive(Debug)]
pub struct Terms {
    /// As rustls wants it.
    pub(super) config: Arc<ServerConfig>,
    /// When the certificate that is shown expires, in Unix seconds; `None`: it does not say.
    pub expires: Option<u64>,
    /// Times that changed files could not be used since these were read.
    pub refused: u64,
}

/// The only cryptography in the tree (`docs/decisions/`).
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be, or key and certificate do not belong together.
    pub fn load(&self) -> Result<Terms, TlsProblem> {
        let of = |path: &Path, problem: String| TlsProblem { path: path.to_owned(), problem };
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| of(&self.key, error.to_string()))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| of(path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| of(path, error.to_string()))?)
            }
        };
        let chain = certificates(&self.chain)?;
        let expires = chain.first().and_then(|own| Validity::of(own)).map(|validity| validity.not_after);
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| of(&self.chain, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Terms { config: Arc::new(config), expires, refused: 0 })
    }

    /// Reads them, and again whenever they have changed or SIGHUP comes. What cannot be used then is told, and the old stays.
    ///
    /// # Errors
    /// They cannot be used the first time.
    pub fn follow(&self) -> Result<watch::Receiver<Terms>, TlsProblem> {
        let mut seen = self.stamps();
        let (sender, receiver) = watch::channel(self.load()?);
        let files = self.clone();
        tokio::spawn(async move {
            let mut told = signal(SignalKind::hangup()).ok();
            while !sender.is_closed() {
                let hangup = async {
                    match &mut told {
                        Some(told) => told.recv().await,
                        None => std::future::pending().await,
                    }
                };
                let demanded = tokio::time::timeout(LOOK_EVERY, hangup).await.is_ok();
                let now = files.stamps();
                if !demanded && now == seen {
                    continue;
                }
                seen = now;
                match files.load() {
                    Ok(terms) => {
                        sender.send_replace(terms);
                        tracing::info!(chain = %files.chain.display(), "certificates were read again");
                    }
                    Err(error) => {
                        sender.send_modify(|terms| terms.refused += 1);
                        tracing::error!(%error, "new certificates cannot be used, the old stay");
                    }
                }
            }
        });
        Ok(receiver)
    }

    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let paths = [Some(&self.chain), Some(&self.key), self.client_ca.as_ref()];
        let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        paths.into_iter().flatten().map(modified).collect()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let of = |problem: String| TlsProblem { path: path.to_owned(), problem };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| of(error.to_string()))?;
    if certificates.is_empty() {
        return Err(of("no certificate in it".to_owned()));
    }
    Ok(certificates)
}
