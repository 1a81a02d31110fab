//! Settings → [`Terms`]: what this process shakes hands with, made anew whenever a file has changed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::files::{FileProblem, Only, TlsError, add_roots, holds_now, key_pair};
use super::names::ByName;
use super::{HTTP_1_1, Validity, certificates, provider};
use crate::settings::{KeyPair, Settings, Tls, Trust};

/// Sessions that one core remembers of the servers it connects to.
const SESSIONS_KEPT_MAX: usize = 256;

/// What handshakes are made with; published to every core as a whole.
#[derive(Clone, Debug)]
pub struct Terms {
    /// For callers. `None`: nobody listens for TLS.
    pub downstream: Option<Arc<ServerConfig>>,
    /// For servers that we connect to.
    pub upstream: Arc<ClientConfig>,
}

impl Terms {
    /// A core's own copy: sessions with servers are remembered by each core for itself, without a lock between them.
    #[must_use]
    pub fn of_one_core(&self) -> Self {
        let mut upstream = ClientConfig::clone(&self.upstream);
        upstream.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT_MAX);
        Self { downstream: self.downstream.clone(), upstream: Arc::new(upstream) }
    }
}

/// A certificate that callers are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its file.
    pub chain: PathBuf,
    /// When it holds.
    pub validity: Validity,
}

/// Something that works and that an operator should know.
#[derive(Debug)]
pub enum Warning {
    /// Everybody on the machine can read a key.
    OpenKey(PathBuf),
    /// A certificate does not hold now.
    Validity(TlsError),
    /// The system's authorities could not be read, or some of them.
    SystemRoots(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenKey(path) => {
                write!(f, "{}: everybody on this machine can read the key", path.display())
            }
            Self::Validity(error) => error.fmt(f),
            Self::SystemRoots(error) => write!(f, "the system's authorities: {error}"),
        }
    }
}

/// What was made of the files.
#[derive(Debug)]
pub struct Loaded {
    /// For the cores.
    pub terms: Arc<Terms>,
    /// In the order of the settings.
    pub shown: Vec<Shown>,
    /// For the log.
    pub warnings: Vec<Warning>,
}

/// Makes [`Terms`] again and again. Keys of tickets live here, so that a session goes on after a certificate was replaced.
pub struct TermsMaker {
    tls: Tls,
    trust: Trust,
    /// Read once: some 150 certificates.
    system_roots: RootCertStore,
    system_roots_fault: Option<String>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// Of whom callers must be certified when those tickets are given out.
    tickets_for: Option<Vec<u8>>,
}

impl TermsMaker {
    /// Reads the system's authorities and nothing else yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let (system_roots, system_roots_fault) = system_roots(&settings.upstream.trust);
        Self {
            tls: settings.tls.clone(),
            trust: settings.upstream.trust.clone(),
            system_roots,
            system_roots_fault,
            tickets: None,
            tickets_for: None,
        }
    }

    /// Every file that is read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.tls.certificates.iter().chain(&self.trust.client);
        let pairs = pairs.flat_map(|pair| [&*pair.chain, &*pair.key]);
        pairs.chain(self.tls.client_ca.as_deref()).chain(self.trust.ca_files.iter().map(|path| &**path))
    }

    /// Reads the files.
    ///
    /// * `strict`: a certificate that does not hold now is an error, not a warning. A process that starts takes what there is; one
    ///   that runs does not exchange something for the worse.
    ///
    /// # Errors
    /// The first file that is wrong.
    pub fn load(&mut self, strict: bool) -> Result<Loaded, TlsError> {
        let mut loaded = Gathered { strict, shown: Vec::new(), warnings: Vec::new() };
        if let Some(fault) = &self.system_roots_fault {
            loaded.warnings.push(Warning::SystemRoots(fault.clone()));
        }
        let downstream = if self.tls.is_on() { Some(self.downstream(&mut loaded)?) } else { None };
        let upstream = Arc::new(upstream(&self.trust, self.system_roots.clone(), &mut loaded)?);
        let terms = Arc::new(Terms { downstream, upstream });
        Ok(Loaded { terms, shown: loaded.shown, warnings: loaded.warnings })
    }

    fn downstream(&mut self, loaded: &mut Gathered) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has suites of both versions");
        let mut authorities = None;
        let builder = match &self.tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                add_roots(path, &mut roots)?;
                authorities = Some(fingerprint(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                    .build()
                    .map_err(|error| TlsError {
                        path: path.clone(),
                        problem: FileProblem::BadCertificate(error.to_string()),
                    })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut certified = Vec::with_capacity(self.tls.certificates.len());
        for pair in &self.tls.certificates {
            let (key, validity) = loaded.take(pair)?;
            loaded.shown.push(Shown { chain: pair.chain.clone(), validity });
            certified.push(Arc::new(key));
        }
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certified)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Tickets are what a session goes on by, on whichever core: nothing is remembered here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = self.tickets(authorities);
        // After the handshake the records are ours; see `socket::tls`.
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }

    /// One ticketer for the process, whose keys change every six hours. A caller's certificate is not looked at again when its session
    /// goes on, so other authorities mean other keys.
    fn tickets(&mut self, authorities: Option<Vec<u8>>) -> Arc<dyn ProducesTickets> {
        if let Some(tickets) = &self.tickets
            && self.tickets_for == authorities
        {
            return Arc::clone(tickets);
        }
        self.tickets_for = authorities;
        let tickets = rustls::crypto::ring::Ticketer::new().expect("the system has randomness to give");
        self.tickets = Some(Arc::clone(&tickets));
        tickets
    }
}

/// Terms for connecting only: what `trust` says, and nobody listens.
///
/// # Errors
/// The first file that is wrong.
pub fn client_terms(trust: &Trust) -> Result<ClientConfig, TlsError> {
    let mut loaded = Gathered { strict: false, shown: Vec::new(), warnings: Vec::new() };
    upstream(trust, system_roots(trust).0, &mut loaded)
}

fn system_roots(trust: &Trust) -> (RootCertStore, Option<String>) {
    let mut roots = RootCertStore::empty();
    if !trust.system_roots {
        return (roots, None);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    (roots, found.errors.first().map(ToString::to_string))
}

fn upstream(
    trust: &Trust,
    mut roots: RootCertStore,
    loaded: &mut Gathered,
) -> Result<ClientConfig, TlsError> {
    for path in &trust.ca_files {
        add_roots(path, &mut roots)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites of both versions")
        .with_root_certificates(roots);
    let mut config = match &trust.client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (key, _) = loaded.take(pair)?;
            builder.with_client_cert_resolver(Arc::new(Only(Arc::new(key))))
        }
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.enable_secret_extraction = true;
    Ok(config)
}

fn fingerprint(path: &Path) -> Result<Vec<u8>, TlsError> {
    let all: Vec<u8> = certificates(path)?.iter().flat_map(|certificate| certificate.to_vec()).collect();
    Ok(digest(&SHA256, &all).as_ref().to_vec())
}

/// What is learnt while files are read.
struct Gathered {
    strict: bool,
    shown: Vec<Shown>,
    warnings: Vec<Warning>,
}

impl Gathered {
    fn take(&mut self, pair: &KeyPair) -> Result<(rustls::sign::CertifiedKey, Validity), TlsError> {
        let (certified, validity, key_file) = key_pair(&pair.chain, &pair.key)?;
        if key_file.open_to_all {
            self.warnings.push(Warning::OpenKey(key_file.path));
        }
        if let Err(error) = holds_now(&pair.chain, validity) {
            if self.strict {
                return Err(error);
            }
            self.warnings.push(Warning::Validity(error));
        }
        Ok((certified, validity))
    }
}

impl fmt::Debug for TermsMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TermsMaker").field("tls", &self.tls).finish_non_exhaustive()
    }
}
