//! From what an operator writes about an endpoint to what a connection needs.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use cube_wire::endpoint::{EndpointUrl, check_credential};
use cube_wire::record::{CredentialRecord, Dialect, EndpointRecord};

use super::problem::Fault;
use super::topology::{ClusterEntry, Credential, EndpointEntry};
use crate::tls::Identity;

/// Turns host names into addresses.
///
/// The control thread gives the real one; nothing on a core ever resolves a name. Addresses that are written as
/// numbers are never asked for.
pub trait Resolve {
    /// All addresses of `host` at `port`.
    ///
    /// # Errors
    /// Whatever the resolver says. The endpoint is then kept without addresses: one dead name must not keep a
    /// revocation, or the whole snapshot, out of force.
    fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Asks the system, which may take seconds: only for threads that serve nobody.
#[derive(Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// Resolves nothing: for tables whose endpoints are numbers, for tests and for `check --offline`.
#[derive(Debug, Default)]
pub struct NoResolver;

impl Resolve for NoResolver {
    fn resolve(&mut self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(Vec::new())
    }
}

fn compile_credential(record: &CredentialRecord) -> Result<Credential, &'static str> {
    if !record.sealed.is_empty() {
        return Err("its credential is still sealed; it has to be opened with the fleet key first");
    }
    let (name, value) = check_credential(&record.header, &record.value)?;
    let line = format!("{name}: {value}\r\n").into_bytes().into_boxed_slice();
    Ok(Credential { name: name.into(), line })
}

/// A cluster that stands in no table: one server that the settings name.
///
/// * `name`: how records and metrics call it.
/// * `url`: `http://host:port`, or `https`.
///
/// # Errors
/// What is wrong with the URL, as half a sentence. A name that is not resolved gives a server that cannot be reached.
pub fn lone_cluster(name: &str, url: &str, resolve: &mut dyn Resolve) -> Result<ClusterEntry, &'static str> {
    let parsed = EndpointUrl::parse(url)?;
    let identity = identity_of(&parsed)?;
    let EndpointUrl { authority, host, port, base_path, .. } = parsed;
    let addrs = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolve.resolve(host, port).unwrap_or_default(),
    };
    let endpoint = EndpointEntry {
        addrs: addrs.into(),
        identity,
        authority: authority.into(),
        base_path: base_path.into(),
        credential: None,
        weight: 1,
        url: url.into(),
    };
    Ok(ClusterEntry {
        id: name.into(),
        label: name.into(),
        dialect: Dialect::Openai,
        connect_timeout: Duration::from_secs(1),
        head_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(300),
        total_timeout: None,
        endpoints: Box::new([endpoint]),
    })
}

/// Whom the server must prove to be, if the URL says that it must.
fn identity_of(url: &EndpointUrl<'_>) -> Result<Option<Identity>, &'static str> {
    url.tls.then(|| Identity::of(url.host)).transpose()
}

/// Compiles one endpoint; faults are added to `faults` and give `None`.
pub(super) fn compile_endpoint(
    record: &EndpointRecord,
    resolve: &mut dyn Resolve,
    faults: &mut Vec<Fault>,
) -> Option<EndpointEntry> {
    let before = faults.len();
    let (url, identity) = EndpointUrl::parse(&record.url)
        .and_then(|url| Ok((url, identity_of(&url)?)))
        .map_err(|why| {
            // Whatever is in front of an `@` may be a password.
            let shown = record
                .url
                .rsplit_once('@')
                .map_or_else(|| record.url.clone(), |(_, host)| format!("…@{host}"));
            faults.push(Fault::BadUrl { url: shown, why });
        })
        .ok()?;
    if record.weight == 0 {
        faults.push(Fault::NoWeight(record.url.clone()));
    }
    let credential = record.credential.as_ref().and_then(|record_of_it| {
        compile_credential(record_of_it)
            .map_err(|why| faults.push(Fault::BadCredential { url: record.url.clone(), why }))
            .ok()
    });
    if faults.len() > before {
        return None;
    }
    let addrs = match url.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, url.port)],
        Err(_) => resolve.resolve(url.host, url.port).unwrap_or_default(),
    };
    Some(EndpointEntry {
        addrs: addrs.into(),
        identity,
        authority: url.authority.into(),
        base_path: url.base_path.into(),
        credential,
        weight: record.weight,
        url: record.url.as_str().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(header: &str, value: &str) -> Result<Credential, &'static str> {
        compile_credential(&CredentialRecord {
            header: header.into(),
            value: value.into(),
            sealed: String::new(),
        })
    }

    #[test]
    fn a_credential_is_one_whole_header_line() {
        let credential = compiled("Authorization", " Bearer x ").unwrap();
        assert_eq!(
            (&*credential.name, &*credential.line),
            ("authorization", &b"authorization: Bearer x\r\n"[..])
        );
        for (header, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("host", "x"),
            ("Content-Length", "0"),
            ("transfer-encoding", "chunked"),
            ("x", ""),
            ("x", "a\r\nb: c"),
            ("x", "a\nb"),
            ("x", "\0"),
            ("x", "é"),
        ] {
            assert!(compiled(header, value).is_err(), "{header:?}: {value:?}");
        }
    }

    #[test]
    fn a_credential_that_is_still_sealed_is_refused_and_not_repeated() {
        for value in ["", "Bearer x"] {
            let record = EndpointRecord {
                url: "http://h:1".into(),
                weight: 1,
                credential: Some(CredentialRecord {
                    header: "authorization".into(),
                    value: value.into(),
                    sealed: "c2VhbGVk".into(),
                }),
            };
            let mut faults = Vec::new();
            assert!(compile_endpoint(&record, &mut NoResolver, &mut faults).is_none());
            let said = faults[0].to_string();
            assert!(said.contains("still sealed") && !said.contains("c2VhbGVk"), "{said}");
        }
    }

    #[test]
    fn numbers_are_never_resolved_and_a_name_that_fails_leaves_an_endpoint_without_addresses() {
        struct Failing(usize);
        impl Resolve for Failing {
            fn resolve(&mut self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
                self.0 += 1;
                Err(io::Error::other("no such host"))
            }
        }
        let mut resolver = Failing(0);
        let mut compile = |url: &str| {
            let record = EndpointRecord { url: url.into(), weight: 1, credential: None };
            compile_endpoint(&record, &mut resolver, &mut Vec::new()).unwrap().addrs.len()
        };
        assert_eq!(
            (compile("http://127.0.0.1:1"), compile("http://[::1]:1"), compile("http://gone:1")),
            (1, 1, 0)
        );
        assert_eq!(resolver.0, 1);
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let mut faults = Vec::new();
        let record = EndpointRecord { url: "http://user:hidden@h:1".into(), weight: 1, credential: None };
        assert!(compile_endpoint(&record, &mut NoResolver, &mut faults).is_none());
        assert!(!faults[0].to_string().contains("hidden"), "{}", faults[0]);
    }
}
