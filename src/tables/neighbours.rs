//! The servers that the settings name and no table holds: cube-admin, a passthrough listener's cluster, and its callback.
//!
//! They are in the settings with the addresses that their names had when those were read. Names move while a process runs for months, so
//! cores go by these, which the control thread looks up again as it does the names in tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::addresses::{Addressed, host_names, resolved_anew};
use super::{ClusterEntry, Resolve};

/// Each with the addresses of now. Which of them there are is the same for the process's whole life.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// cube-admin, if what is not inference is passed on to it.
    pub admin: Option<Arc<ClusterEntry>>,
    /// The cluster of the passthrough listener.
    pub passthrough: Option<Arc<ClusterEntry>>,
    /// Its authentication callback.
    pub callback: Option<Arc<ClusterEntry>>,
}

impl Addressed for Neighbours {
    fn host_names(&self) -> BTreeSet<(String, u16)> {
        let all = [&self.admin, &self.passthrough, &self.callback];
        all.into_iter().flatten().flat_map(|cluster| host_names(cluster)).collect()
    }

    fn with_addresses(&self, resolve: &mut dyn Resolve) -> Option<Self> {
        let mut next = self.clone();
        let mut is_other = false;
        for place in [&mut next.admin, &mut next.passthrough, &mut next.callback] {
            if let Some(cluster) = place
                && let Some(moved) = resolved_anew(cluster, resolve)
            {
                *cluster = Arc::new(moved);
                is_other = true;
            }
        }
        is_other.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use super::*;
    use crate::tables::{NoResolver, lone_cluster};

    struct Answers(Vec<SocketAddr>);

    impl Resolve for Answers {
        fn resolve(&mut self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            assert_eq!(host, "verifier", "addresses are never asked for");
            if self.0.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(self.0.clone()) }
        }
    }

    #[test]
    fn a_server_that_moves_is_found_and_one_that_nobody_knows_stays_where_it_was() {
        let of = |url| Some(Arc::new(lone_cluster("x", url, &mut NoResolver).unwrap()));
        let first = Neighbours {
            admin: of("http://127.0.0.1:1"),
            callback: of("http://verifier:2"),
            passthrough: None,
        };
        assert_eq!(first.host_names().into_iter().collect::<Vec<_>>(), [("verifier".to_owned(), 2)]);
        let address: SocketAddr = "10.0.0.1:2".parse().unwrap();
        let moved = first.with_addresses(&mut Answers(vec![address])).expect("other addresses");
        assert_eq!(*moved.callback.as_ref().unwrap().endpoints[0].addrs, [address]);
        assert!(Arc::ptr_eq(moved.admin.as_ref().unwrap(), first.admin.as_ref().unwrap()), "untouched");
        assert!(moved.with_addresses(&mut Answers(vec![address])).is_none());
        assert!(moved.with_addresses(&mut Answers(Vec::new())).is_none());
    }
}
