//! Names of endpoints, looked up again: tables whose records have not changed and whose addresses have.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cube_wire::endpoint::split_port;

use super::{ClusterEntry, EndpointEntry, Resolve, Tables};

/// The host of an endpoint if it is a name, and its port.
fn host_name(endpoint: &EndpointEntry) -> Option<(&str, u16)> {
    let (host, port) = split_port(&endpoint.authority, endpoint.identity.is_some()).ok()?;
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    (!is_address).then_some((host, port))
}

/// Every host of a cluster that is a name, with its port.
pub(super) fn host_names(cluster: &ClusterEntry) -> impl Iterator<Item = (String, u16)> {
    cluster.endpoints.iter().filter_map(host_name).map(|(host, port)| (host.to_owned(), port))
}

/// Whether both are the same addresses; resolvers shuffle them.
fn same(one: &[SocketAddr], other: &[SocketAddr]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

/// What has servers in it, some of them by name.
pub trait Addressed: Sized {
    /// Every host that is a name, with its port.
    fn host_names(&self) -> BTreeSet<(String, u16)>;

    /// The same with the addresses that `resolve` has now, or `None` if nothing has changed. A name that cannot be resolved keeps
    /// the addresses that it has.
    ///
    /// # Cost
    /// That of `resolve`, once for each endpoint whose host is a name; everything that has not changed is shared.
    fn with_addresses(&self, resolve: &mut dyn Resolve) -> Option<Self>;
}

impl Addressed for Tables {
    fn host_names(&self) -> BTreeSet<(String, u16)> {
        self.clusters().flat_map(host_names).collect()
    }

    fn with_addresses(&self, resolve: &mut dyn Resolve) -> Option<Self> {
        let mut changed = Vec::new();
        for (slot, cluster) in self.clusters.iter().enumerate() {
            let Some(entry) = &cluster.entry else { continue };
            if let Some(entry) = resolved_anew(entry, resolve) {
                changed.push((u32::try_from(slot).expect("slots are numbered in 32 bits"), entry));
            }
        }
        if changed.is_empty() {
            return None;
        }
        let mut tables = self.clone();
        for (slot, entry) in changed {
            tables.clusters.get_mut(slot).expect("a slot of these tables").entry = Some(Arc::new(entry));
        }
        let generation = tables.generation;
        Some(tables.stamped(generation))
    }
}

/// The cluster with other addresses, if `resolve` has any.
pub(super) fn resolved_anew(cluster: &ClusterEntry, resolve: &mut dyn Resolve) -> Option<ClusterEntry> {
    let mut changed: Option<ClusterEntry> = None;
    for (at, endpoint) in cluster.endpoints.iter().enumerate() {
        let Some((host, port)) = host_name(endpoint) else { continue };
        let Ok(addresses) = resolve.resolve(host, port) else { continue };
        if !addresses.is_empty() && !same(&addresses, &endpoint.addrs) {
            changed.get_or_insert_with(|| cluster.clone()).endpoints[at].addrs = addresses.into();
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::tables::NoResolver;

    /// Answers with what it is given, for every name.
    struct Answers(io::Result<Vec<SocketAddr>>);

    impl Resolve for Answers {
        fn resolve(&mut self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            assert_eq!(host, "gpu", "addresses are never asked for");
            match &self.0 {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(error.kind().into()),
            }
        }
    }

    #[test]
    fn names_get_the_addresses_of_now_and_keep_them_when_nobody_knows_any() {
        let lines = br#"{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{"url":"http://gpu:1"},{"url":"http://127.0.0.1:2"},{"url":"http://[::1]:3"}]}"#;
        let records = cube_wire::read_records(&lines[..]).map(|(line, record)| (line, record.unwrap()));
        let tables = Tables::compile(records, 7, &mut NoResolver).unwrap();
        assert_eq!(tables.host_names().into_iter().collect::<Vec<_>>(), [("gpu".to_owned(), 1)]);
        let [one, other]: [SocketAddr; 2] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse().unwrap());
        let first = tables.with_addresses(&mut Answers(Ok(vec![one, other]))).expect("new addresses");
        let addrs = |tables: &Tables| tables.clusters().next().unwrap().endpoints[0].addrs.to_vec();
        assert_eq!((addrs(&first), first.generation()), (vec![one, other], 7));
        assert!(addrs(&tables).is_empty(), "the tables before are as they were");
        assert!(first.with_addresses(&mut Answers(Ok(vec![other, one]))).is_none(), "only shuffled");
        assert!(first.with_addresses(&mut Answers(Ok(Vec::new()))).is_none());
        assert!(first.with_addresses(&mut Answers(Err(io::ErrorKind::Other.into()))).is_none());
        assert_eq!(addrs(&first.with_addresses(&mut Answers(Ok(vec![other]))).unwrap()), [other]);
    }
}
