//! Which certificate is shown to whom.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates in the order of the settings.
#[derive(Debug)]
pub(super) struct ByName {
    certificates: Box<[Arc<CertifiedKey>]>,
}

impl ByName {
    pub(super) fn new(certificates: Vec<Arc<CertifiedKey>>) -> Self {
        debug_assert!(!certificates.is_empty(), "a listener has a certificate");
        Self { certificates: certificates.into() }
    }

    fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let first = self.certificates.first();
        let (Some(name), [_, _, ..]) = (name, &*self.certificates) else { return first };
        let Ok(name) = ServerName::try_from(name) else { return first };
        self.certificates.iter().find(|certificate| is_of(certificate, &name)).or(first)
    }
}

impl ResolvesServerCert for ByName {
    /// # Cost
    /// One certificate: nothing. Several: some microseconds for each that is looked at, beside the 100 of a handshake.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).map(Arc::clone)
    }
}

/// Whether `certificate` is of `name`, as a client would judge (RFC 6125: wildcards for one label).
fn is_of(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certificate.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let key = crate::tls::provider().key_provider.load_private_key(key).unwrap();
        Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], key))
    }

    #[test]
    fn the_certificate_that_has_the_name_is_shown_and_else_the_first() {
        let all =
            [certified(&["a.example"]), certified(&["*.b.example", "b.example"]), certified(&["a.example"])];
        let by_name = ByName::new(all.to_vec());
        for (name, index) in [
            (Some("a.example"), 0),
            (Some("A.example"), 0),
            (Some("b.example"), 1),
            (Some("x.b.example"), 1),
            (Some("x.y.b.example"), 0),
            (Some("c.example"), 0),
            (Some("not a name"), 0),
            (None, 0),
        ] {
            let found = by_name.find(name).expect("there is always one");
            assert!(Arc::ptr_eq(found, &all[index]), "{name:?}");
        }
    }
}
