//! `[passthrough]`: a second listener, on which any path goes to one cluster as it is (the form of the Cube API Server).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::tables::{ClusterEntry, SystemResolver, lone_cluster};

/// Which paths a listener serves, and by which authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// `/proxy/{domain}/…`, with PATs: `[listener]`.
    Domain,
    /// Any path, with an authentication callback or none: `[passthrough]`.
    Passthrough,
}

/// `[passthrough]`, where it has an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Passthrough {
    /// Every core binds it, as it does the listener's.
    pub address: SocketAddr,
    /// Where everything goes, with the addresses of when the settings were read; requests go by [`crate::tables::Neighbours`].
    pub cluster: Arc<ClusterEntry>,
    /// Who decides. `None`: nobody, the listener is open.
    pub callback: Option<Callback>,
    /// It speaks TLS, with the certificates of `[tls]`.
    pub tls: bool,
    /// Without TLS it may be on an address that others can reach: something before it speaks TLS.
    pub plain_beyond_loopback: bool,
    /// The listener may be open on an address that others can reach.
    pub open_beyond_loopback: bool,
    /// The credential that the callback took goes upstream.
    pub forward_credential: bool,
}

/// The authentication callback: a server that says with its status whether a request may pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Callback {
    /// Its one server; a cluster, so that it is connected to as any other. For its addresses see [`Passthrough::cluster`].
    pub cluster: Arc<ClusterEntry>,
    /// What is asked of it: path and query, as the operator wrote them.
    pub target: Box<str>,
    /// The URL as the operator wrote it. Not for logs: its query may hold a secret.
    pub url: Box<str>,
    /// From the first attempt at a connection to the last byte of the answer's head.
    pub timeout: Duration,
    /// How long a core remembers that a request was allowed. Zero: not at all.
    pub cache_ttl: Duration,
    /// The same for refusals.
    pub refusal_cache_ttl: Duration,
    /// Decisions that one core remembers.
    pub cache_entries_max: usize,
    /// Requests of a core that would ask the same at the same time share one call.
    pub single_flight: bool,
    /// Requests per second that a credential may make, all cores together. 0: any number.
    pub rate_per_s: u32,
}

/// What `[passthrough]` means where it says nothing.
pub(super) mod default {
    use std::time::Duration;

    /// As the Cube API Server has it.
    pub(in crate::settings) const CALLBACK_TIMEOUT: Duration = Duration::from_secs(10);
    /// Taking a snapshot of a sandbox takes minutes.
    pub(in crate::settings) const HEAD_TIMEOUT: Duration = Duration::from_secs(240);
    pub(in crate::settings) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
    pub(in crate::settings) const CACHE_ENTRIES_MAX: usize = 65_536;
    /// As the Cube API Server has it.
    pub(in crate::settings) const RATE_PER_S: u32 = 100;
}

/// One cluster of several servers.
///
/// # Errors
/// Which URL is wrong (by its place), and how.
pub(super) fn cluster_of(
    urls: &[String],
    head_timeout: Duration,
    idle_timeout: Duration,
) -> Result<ClusterEntry, (usize, &'static str)> {
    let mut whole: Option<ClusterEntry> = None;
    for (index, url) in urls.iter().enumerate() {
        let one = lone_cluster("passthrough", url, &mut SystemResolver).map_err(|why| (index, why))?;
        whole = Some(match whole {
            None => one,
            Some(mut all) => {
                let endpoints = Vec::from(all.endpoints);
                all.endpoints = endpoints.into_iter().chain(one.endpoints).collect();
                all
            }
        });
    }
    let mut cluster = whole.ok_or((0, "at least one URL is needed"))?;
    (cluster.head_timeout, cluster.idle_timeout) = (head_timeout, idle_timeout);
    Ok(cluster)
}

impl Callback {
    /// Takes the callback's URL apart: `http://host:port/path?query`.
    ///
    /// # Errors
    /// What is wrong with it, as half a sentence that does not repeat it.
    pub(super) fn at(url: &str, timeout: Duration) -> Result<Self, &'static str> {
        // An endpoint's base path loses its last `/`; a callback's path is what its operator wrote.
        let authority = url.find("://").map_or(0, |at| at + 3);
        let path = url[authority..].find(['/', '?']).map_or(url.len(), |at| authority + at);
        let (origin, target) = url.split_at(path);
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"')) {
            return Err("the path has a character that a URL cannot have");
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        let mut cluster = lone_cluster("callback", origin, &mut SystemResolver)?;
        (cluster.connect_timeout, cluster.head_timeout) = (timeout, timeout);
        Ok(Self {
            cluster: Arc::new(cluster),
            target: format!("{slash}{target}").into(),
            url: url.into(),
            timeout,
            cache_ttl: Duration::ZERO,
            refusal_cache_ttl: Duration::ZERO,
            cache_entries_max: default::CACHE_ENTRIES_MAX,
            single_flight: false,
            rate_per_s: default::RATE_PER_S,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_s_path_and_query_stay_as_they_are_written() {
        for (url, authority, target) in [
            ("http://127.0.0.1:1/verify", "127.0.0.1:1", "/verify"),
            ("http://127.0.0.1:1/verify/", "127.0.0.1:1", "/verify/"),
            ("http://127.0.0.1:1", "127.0.0.1:1", "/"),
            ("http://127.0.0.1:1?a=b", "127.0.0.1:1", "/?a=b"),
            ("https://127.0.0.1/verify", "127.0.0.1", "/verify"),
            ("http://[::1]:1/a/b?key=%20&x", "[::1]:1", "/a/b?key=%20&x"),
        ] {
            let callback = Callback::at(url, Duration::from_secs(1)).expect(url);
            assert_eq!((&*callback.cluster.endpoints[0].authority, &*callback.target), (authority, target));
        }
    }

    #[test]
    fn a_callback_is_asked_over_http_at_an_address_of_its_own() {
        for url in [
            "",
            "127.0.0.1:1/verify",
            "ftp://127.0.0.1/verify",
            "http:///verify",
            "http://user:secret@127.0.0.1:1/verify",
            "http://127.0.0.1:1/a b",
            "http://127.0.0.1:1/a\r\nx: y",
            "http://127.0.0.1:1/a#b",
            "http://127.0.0.1:99999/",
        ] {
            let why = Callback::at(url, Duration::from_secs(1)).expect_err(url);
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
