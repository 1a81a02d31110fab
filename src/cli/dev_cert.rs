//! `dev-cert`: an authority and a server's certificate for development, signed by nobody else.
//!
//! The authority's key is written too, so that a second run issues a new certificate under the authority that clients already
//! know. It is worth nothing to anybody who was not told to believe it, and that should be one machine only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::CliError;

/// What browsers accept at most of a server's certificate is 398 days; a year is below that.
const VALID_YEARS: i32 = 1;
const AUTHORITY_VALID_YEARS: i32 = 10;

/// Arguments of `dev-cert`.
#[derive(Clone, Debug, clap::Args)]
pub struct DevCert {
    /// Where the files go; made if it is not there. An authority that is already there is used again.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Names and addresses of the server besides localhost, 127.0.0.1 and ::1.
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}

impl DevCert {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), CliError> {
        let at = |name: &str| self.dir.join(name);
        let failed = |error| CliError::File { path: self.dir.clone(), error };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
        let authority = if ca.exists() && ca_key.exists() {
            known_authority(&ca_key)?
        } else {
            new_authority(&ca, &ca_key)?
        };
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new([&own[..], &self.names].concat())?;
        params.distinguished_name.push(DnType::CommonName, "cube-proxy, development");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lasting(&mut params, VALID_YEARS);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &authority)?;
        let (chain, chain_key) = (at("proxy.pem"), at("proxy.key"));
        write(&chain, &certificate.pem(), 0o644)?;
        write(&chain_key, &key.serialize_pem(), 0o600)?;
        let (ca, chain, chain_key) = (ca.display(), chain.display(), chain_key.display());
        writeln!(out, "# An authority for development, and a certificate of localhost, 127.0.0.1 and ::1.")?;
        writeln!(out, "# The proxy's settings:\n[tls]")?;
        writeln!(out, "certificates = [{{ chain = \"{chain}\", key = \"{chain_key}\" }}]")?;
        writeln!(out, "# Clients: curl --cacert {ca} https://localhost:8443/health")?;
        writeln!(out, "#          SSL_CERT_FILE={ca} for the openai SDK; curl -k believes anybody")?;
        Ok(())
    }
}

fn authority_params() -> Result<CertificateParams, CliError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "cube-proxy, authority for development");
    lasting(&mut params, AUTHORITY_VALID_YEARS);
    Ok(params)
}

fn new_authority(path: &Path, key_path: &Path) -> Result<Issuer<'static, KeyPair>, CliError> {
    let params = authority_params()?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    write(path, &params.self_signed(&key)?.pem(), 0o644)?;
    write(key_path, &key.serialize_pem(), 0o600)?;
    Ok(Issuer::new(params, key))
}

/// An authority is its name, which is always the same, and its key.
fn known_authority(key_path: &Path) -> Result<Issuer<'static, KeyPair>, CliError> {
    let key =
        fs::read_to_string(key_path).map_err(|error| CliError::File { path: key_path.to_owned(), error })?;
    Ok(Issuer::new(authority_params()?, KeyPair::from_pem(&key)?))
}

/// From yesterday, so that no clock that is a little slow refuses it.
fn lasting(params: &mut CertificateParams, years: i32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let today = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(now);
    params.not_before = today - std::time::Duration::from_secs(86_400);
    params.not_after = today + std::time::Duration::from_secs(86_400 * 365 * u64::from(years.unsigned_abs()));
}

/// Writes a file anew; a key is never readable by others, not even for a moment.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let written = || -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())
    };
    written().map_err(|error| CliError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::settings::Settings;
    use crate::tls::{TermsMaker, certificates, provider};

    /// A client that believes the authority believes the certificate, too.
    fn believed(dir: &Path) {
        use rustls::client::danger::ServerCertVerifier as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificates(&dir.join("ca.pem")).unwrap().remove(0)).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
        let verifier = verifier.build().unwrap();
        let chain = certificates(&dir.join("proxy.pem")).unwrap();
        for name in ["localhost", "127.0.0.1", "::1", "proxy.test"] {
            let now = rustls::pki_types::UnixTime::now();
            verifier.verify_server_cert(&chain[0], &[], &name.try_into().unwrap(), &[], now).expect(name);
        }
    }

    #[test]
    fn what_is_made_can_be_served_with_and_a_second_run_keeps_the_authority() {
        let dir = std::env::temp_dir().join(format!("cube-proxy-dev-cert-{}", std::process::id()));
        let dev_cert = DevCert { dir: dir.clone(), names: vec!["proxy.test".to_owned()] };
        let mut out = Vec::new();
        dev_cert.run(&mut out).unwrap();
        let authority = fs::read(dir.join("ca.pem")).unwrap();
        for key in ["ca.key", "proxy.key"] {
            let mode = fs::metadata(dir.join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        // What is printed is a piece of settings.
        let settings = Settings::parse(&String::from_utf8(out).unwrap()).unwrap();
        let loaded = TermsMaker::new(&settings).load(true).unwrap();
        assert_eq!((loaded.shown.len(), loaded.warnings.len()), (1, 0), "{:?}", loaded.warnings);
        let days = loaded.shown[0].validity.not_after - loaded.shown[0].validity.not_before;
        assert!(days <= 398 * 86_400, "{days} s");
        let first = fs::read(dir.join("proxy.pem")).unwrap();
        dev_cert.run(&mut Vec::new()).unwrap();
        assert_eq!(fs::read(dir.join("ca.pem")).unwrap(), authority);
        assert_ne!(fs::read(dir.join("proxy.pem")).unwrap(), first);
        TermsMaker::new(&settings).load(true).unwrap();
        believed(&dir);
        fs::remove_dir_all(&dir).unwrap();
    }
}
