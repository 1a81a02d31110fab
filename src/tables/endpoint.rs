//! From what an operator writes about an endpoint to what a connection needs.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use cube_wire::record::{CredentialRecord, Dialect, EndpointRecord};

use super::problem::Fault;
use super::topology::{ClusterEntry, Credential, EndpointEntry};

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

/// An endpoint's URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    authority: &'a str,
    host: &'a str,
    port: u16,
    base_path: &'a str,
}

const HTTP_PORT: u16 = 80;

/// Takes `http://host[:port][/base]` apart.
///
/// # Errors
/// What is wrong with it, as half a sentence.
fn parse_url(url: &str) -> Result<Url<'_>, &'static str> {
    if url.starts_with("https://") {
        return Err("https to endpoints is not supported yet; use http on a trusted network");
    }
    let rest = url.strip_prefix("http://").ok_or("it must begin with http://")?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if authority.contains('@') {
        return Err("a user or password in the URL; use `credential`");
    }
    let (host, port) = split_port(authority)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(host) = bracketed {
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "the address in brackets is not an IPv6 address")?;
    } else if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host_byte) {
        return Err("the host is neither a name nor an address");
    }
    let base_path = path.trim_end_matches('/');
    let harmless = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'%');
    if !base_path.bytes().all(harmless) {
        return Err("the base path has a character that a base path cannot have");
    }
    if base_path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("the base path has an empty or dot segment");
    }
    Ok(Url { authority, host: bracketed.unwrap_or(host), port, base_path })
}

const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

pub(super) fn split_port(authority: &str) -> Result<(&str, u16), &'static str> {
    let host_end = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority[host_end..].find(':') else {
        return Ok((authority, HTTP_PORT));
    };
    let (host, port) = authority.split_at(host_end + colon);
    let digits = &port[1..];
    let port =
        digits.parse::<u16>().ok().filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()));
    Ok((host, port.ok_or("the port is not a number from 1 to 65535")?))
}

/// Field names that would change what the message means or where it ends.
const NOT_CREDENTIALS: [&str; 10] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

fn compile_credential(record: &CredentialRecord) -> Result<Credential, &'static str> {
    let name = record.header.to_ascii_lowercase();
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err("the credential's `header` is not the name of a header field");
    }
    if NOT_CREDENTIALS.contains(&&*name) {
        return Err("the credential's `header` is a field that the proxy writes itself");
    }
    if !record.sealed.is_empty() {
        return Err("its credential is still sealed; it has to be opened with the fleet key first");
    }
    let value = record.value.trim_matches([' ', '\t']);
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'))
    {
        return Err("the credential's `value` is empty or has characters that a header field cannot have");
    }
    let line = format!("{name}: {value}\r\n").into_bytes().into_boxed_slice();
    Ok(Credential { name: name.into(), line })
}

/// A cluster that stands in no table: one server that the settings name.
///
/// * `name`: how records and metrics call it.
/// * `url`: `http://host:port`.
///
/// # Errors
/// What is wrong with the URL, as half a sentence. A name that is not resolved gives a server that cannot be reached.
pub fn lone_cluster(name: &str, url: &str, resolve: &mut dyn Resolve) -> Result<ClusterEntry, &'static str> {
    let Url { authority, host, port, base_path } = parse_url(url)?;
    let addrs = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolve.resolve(host, port).unwrap_or_default(),
    };
    let endpoint = EndpointEntry {
        addrs: addrs.into(),
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

/// Compiles one endpoint; faults are added to `faults` and give `None`.
pub(super) fn compile_endpoint(
    record: &EndpointRecord,
    resolve: &mut dyn Resolve,
    faults: &mut Vec<Fault>,
) -> Option<EndpointEntry> {
    let before = faults.len();
    let url = parse_url(&record.url)
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

    #[test]
    fn a_url_is_taken_apart() {
        for (url, authority, host, port, base_path) in [
            ("http://h:8000", "h:8000", "h", 8000, ""),
            ("http://h", "h", "h", 80, ""),
            ("http://10.0.0.1:1/", "10.0.0.1:1", "10.0.0.1", 1, ""),
            ("http://[::1]:11434/a/b/", "[::1]:11434", "::1", 11434, "/a/b"),
            ("http://[::1]", "[::1]", "::1", 80, ""),
            ("http://a_b.c-d.example:65535/v", "a_b.c-d.example:65535", "a_b.c-d.example", 65535, "/v"),
        ] {
            assert_eq!(parse_url(url), Ok(Url { authority, host, port, base_path }), "{url}");
        }
    }

    #[test]
    fn a_url_that_could_mean_something_else_is_refused() {
        for url in [
            "",
            "h:1",
            "ftp://h",
            "https://h",
            "http://",
            "http:///x",
            "http://h:",
            "http://h:0",
            "http://h:65536",
            "http://h:+1",
            "http://h:1x",
            "http://u:p@h",
            "http://h:1:2",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
            "http://h/?q",
            "http://h/#f",
            "http://h/a b",
            "http://h/../x",
            "http://h/./x",
            "http://h//x",
            "http://h/%2e",
            "http://h\r\nx: y",
            "http://hé",
            "http://h/\u{7f}",
            "http://h?x",
        ] {
            assert!(parse_url(url).is_err(), "{url:?}");
        }
    }

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
