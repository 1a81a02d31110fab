//! The fleet's own certificate authority: certificates for the feed and for the nodes that may use it.
//!
//! Its key lies in the state directory, beside the fleet key, and is made when the first certificate is asked for. Certificates hold for
//! 397 days; asking again replaces one. Keys are ECDSA P-256.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// How long a certificate holds.
const DAYS: i64 = 397;
/// How long the authority's own does.
const AUTHORITY_DAYS: i64 = 10 * 366;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A name that no certificate can hold, or a damaged key.
    #[error("{0}")]
    Certificate(#[from] rcgen::Error),
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Proxies check it: the feed's.
    Server,
    /// The feed checks it: a node's.
    Node,
}

/// Where the files of a certificate are.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key, which only its owner can read.
    pub key: PathBuf,
    /// The authority's certificate, by which the other side checks it.
    pub ca: PathBuf,
}

/// Issues a certificate.
///
/// * `state_dir`: where the authority's key is, or will be.
/// * `names`: host names and addresses of a server, the name of a node; the first one names the files.
/// * `into`: the directory for `NAME.pem`, `NAME.key` and `fleet-ca.pem`.
///
/// # Errors
/// See [`IssueError`].
pub fn issue(
    state_dir: &Path,
    purpose: Purpose,
    names: &[String],
    into: &Path,
) -> Result<Issued, IssueError> {
    let authority = authority(state_dir)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    let first = names.first().map_or("unnamed", String::as_str);
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, first);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match purpose {
        Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Purpose::Node => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    hold_for(&mut params, DAYS);
    let certificate = params.signed_by(&key, &authority.issuer)?;
    let issued = Issued {
        chain: into.join(format!("{first}.pem")),
        key: into.join(format!("{first}.key")),
        ca: into.join("fleet-ca.pem"),
    };
    std::fs::create_dir_all(into).map_err(|error| IssueError::File { path: into.to_owned(), error })?;
    write(&issued.key, &key.serialize_pem(), 0o600)?;
    write(&issued.chain, &certificate.pem(), 0o644)?;
    write(&issued.ca, &authority.certificate, 0o644)?;
    Ok(issued)
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// As PEM.
    certificate: String,
}

/// The authority of the state directory, made if it is not there.
fn authority(state_dir: &Path) -> Result<Authority, IssueError> {
    let (key_file, file) = (state_dir.join("fleet-ca.key"), state_dir.join("fleet-ca.pem"));
    let read = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IssueError::File { path: path.to_owned(), error }),
    };
    let kept = read(&key_file)?.zip(read(&file)?);
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "cube fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    hold_for(&mut params, AUTHORITY_DAYS);
    if let Some((key, certificate)) = kept {
        // An issuer is its name and its key; both are as they were.
        return Ok(Authority { issuer: Issuer::new(params, KeyPair::from_pem(&key)?), certificate });
    }
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    std::fs::create_dir_all(state_dir)
        .map_err(|error| IssueError::File { path: state_dir.to_owned(), error })?;
    write(&key_file, &key.serialize_pem(), 0o600)?;
    write(&file, &certificate, 0o644)?;
    Ok(Authority { issuer: Issuer::new(params, key), certificate })
}

/// From yesterday on, because clocks differ.
fn hold_for(params: &mut CertificateParams, days: i64) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |days: i64| {
        let date = today.checked_add(Span::new().days(days)).expect("a day of this century");
        let part = |part: i8| u8::try_from(part).expect("not negative");
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    (params.not_before, params.not_after) = (day(-1), day(days));
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), IssueError> {
    let of = |error| IssueError::File { path: path.to_owned(), error };
    // A file of another name first: nobody reads half a key, and an older file's permissions are not inherited.
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(of)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(of)?;
    std::fs::rename(&fresh, path).map_err(of)
}
