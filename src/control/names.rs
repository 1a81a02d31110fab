//! Names of endpoints → addresses, on threads that serve nobody.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::tables::Resolve;

/// How often the names in the tables are looked up again.
pub(super) const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

type Name = (String, u16);

/// The system's resolver, and what it said before: a name that cannot be resolved now keeps its last good addresses.
#[derive(Debug, Default)]
pub(super) struct SystemResolver {
    last_good: HashMap<Name, Vec<SocketAddr>>,
}

impl SystemResolver {
    /// What was said of a name the last time.
    pub(super) fn known(&self, host: &str, port: u16) -> Option<&[SocketAddr]> {
        // A key of owned parts: names are few, and looked at once per change of their cluster.
        self.last_good.get(&(host.to_owned(), port)).map(Vec::as_slice)
    }

    /// Takes over what [`look_up`] found, and forgets names that nobody asks for any more.
    ///
    /// * `asked`: the names that were looked up, found or not.
    pub(super) fn learn(&mut self, asked: &BTreeSet<Name>, found: HashMap<Name, Vec<SocketAddr>>) {
        self.last_good.retain(|name, _| asked.contains(name));
        self.last_good.extend(found);
    }
}

impl Resolve for SystemResolver {
    fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let key = (host.to_owned(), port);
        let resolved = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        match resolved {
            Ok(addresses) if !addresses.is_empty() => {
                self.last_good.insert(key, addresses.clone());
                Ok(addresses)
            }
            failed => self.last_good.get(&key).cloned().map_or(failed, Ok),
        }
    }
}

/// Answers with what is known already and asks the system only for names that are new: a revocation must not wait for a name server
/// because a cluster changed with it. What is known is looked up again beside this.
pub(super) struct KnownNames<'a>(pub(super) &'a mut SystemResolver);

impl Resolve for KnownNames<'_> {
    fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.0.known(host, port) {
            Some(addresses) => Ok(addresses.to_vec()),
            None => self.0.resolve(host, port),
        }
    }
}

/// Asks the system for every name; those that it does not know are left out. May take seconds for each.
pub(super) fn look_up(names: &BTreeSet<Name>) -> HashMap<Name, Vec<SocketAddr>> {
    let found = |(host, port): &Name| {
        let addresses: Vec<_> = (host.as_str(), *port).to_socket_addrs().ok()?.collect();
        (!addresses.is_empty()).then(|| ((host.clone(), *port), addresses))
    };
    names.iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_resolved_any_more_keeps_its_last_addresses() {
        let mut resolver = SystemResolver::default();
        let addresses = resolver.resolve("localhost", 80).expect("every machine has it");
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));

        let last = vec!["192.0.2.1:80".parse().expect("an address")];
        resolver.last_good.insert(("no-such-host.invalid".to_owned(), 80), last.clone());
        assert_eq!(resolver.resolve("no-such-host.invalid", 80).expect("the last good ones"), last);
        assert!(resolver.resolve("other-host.invalid", 80).is_err());
    }

    #[test]
    fn names_that_were_looked_up_are_known_and_others_are_forgotten() {
        let mut resolver = SystemResolver::default();
        let gone = ("gone".to_owned(), 1);
        resolver.last_good.insert(gone, vec!["192.0.2.1:1".parse().expect("an address")]);
        let asked = BTreeSet::from([("localhost".to_owned(), 7), ("no-such-host.invalid".to_owned(), 7)]);
        let found = look_up(&asked);
        assert_eq!(found.len(), 1);
        resolver.learn(&asked, found);
        assert!(resolver.known("localhost", 7).is_some());
        assert!(resolver.known("gone", 1).is_none() && resolver.known("no-such-host.invalid", 7).is_none());
    }
}
