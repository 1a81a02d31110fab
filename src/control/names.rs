//! Names of endpoints → addresses, on threads that serve nobody.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::tables::Resolve;

/// How often the names in the tables are looked up again.
pub(super) const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// How long new names of a change may hold up the change.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);
/// How long names may hold up the first tables, without which nothing can be served anyway.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_secs(5);

type Name = (String, u16);
/// The names that were asked for, and what was found.
type LookedUp = (BTreeSet<Name>, HashMap<Name, Vec<SocketAddr>>);

/// The system's resolver, and what it said before: a name that cannot be resolved now keeps its last good addresses.
#[derive(Debug, Default)]
pub(super) struct SystemResolver {
    last_good: HashMap<Name, Vec<SocketAddr>>,
    /// A name of the tables has not been looked up to the end.
    is_owed: bool,
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

/// Answers with what is known already and asks the system only for names that are new, and for those only so long: a revocation must
/// not wait for a name server because a cluster changed with it. A name that took too long has no addresses until it has been looked up
/// beside this, and requests to its endpoint are answered 502 until then.
pub(super) struct KnownNames<'a> {
    resolver: &'a mut SystemResolver,
    /// What is left of the time for new names; `None`: they are not asked for at all.
    patience: Option<Duration>,
}

impl<'a> KnownNames<'a> {
    /// * `patience`: how long all new names together may take.
    pub(super) const fn new(resolver: &'a mut SystemResolver, patience: Duration) -> Self {
        Self { resolver, patience: Some(patience) }
    }

    /// Asks for nothing: after a look-up, what it did not find stays without addresses until the next one.
    pub(super) const fn no_others(resolver: &'a mut SystemResolver) -> Self {
        Self { resolver, patience: None }
    }
}

impl Resolve for KnownNames<'_> {
    fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(addresses) = self.resolver.known(host, port) {
            return Ok(addresses.to_vec());
        }
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let patience = self.patience.ok_or_else(late)?;
        let asked = Instant::now();
        let found = if patience.is_zero() { None } else { in_time(host, port, patience) };
        self.patience = Some(patience.saturating_sub(asked.elapsed()));
        let Some(addresses) = found else {
            self.resolver.is_owed = true;
            return Err(late());
        };
        if !addresses.is_empty() {
            self.resolver.last_good.insert((host.to_owned(), port), addresses.clone());
        }
        Ok(addresses)
    }
}

/// The system's answer, if it comes in time; the system cannot be told to give up, so the question goes on beside.
fn in_time(host: &str, port: u16, patience: Duration) -> Option<Vec<SocketAddr>> {
    let (sender, answer) = channel();
    let name = BTreeSet::from([(host.to_owned(), port)]);
    let asking = move || {
        let found = look_up(&name).into_values().next();
        let _ = sender.send(found.unwrap_or_default());
    };
    std::thread::Builder::new().name("name".to_owned()).spawn(asking).ok()?;
    answer.recv_timeout(patience).ok()
}

/// Looks the names in the tables up again from time to time, on a thread of its own.
#[derive(Debug)]
pub(super) struct LookUps {
    running: Option<Receiver<LookedUp>>,
    due: Instant,
}

impl LookUps {
    pub(super) fn new() -> Self {
        Self { running: None, due: Instant::now() + LOOK_UP_EVERY }
    }

    /// Takes over what was found, and begins anew when it is time: after [`LOOK_UP_EVERY`], or at once when [`KnownNames`] owes a name.
    /// Returns whether the resolver has news for the tables. Call it once a second or so; it does not wait.
    pub(super) fn turn(
        &mut self,
        resolver: &mut SystemResolver,
        names: impl FnOnce() -> BTreeSet<Name>,
    ) -> bool {
        match self.running.as_ref().map(Receiver::try_recv) {
            Some(Ok((asked, found))) => {
                self.running = None;
                resolver.learn(&asked, found);
                return true;
            }
            Some(Err(TryRecvError::Empty)) => return false,
            Some(Err(TryRecvError::Disconnected)) => self.running = None,
            None => {}
        }
        let now = Instant::now();
        if !std::mem::take(&mut resolver.is_owed) && now < self.due {
            return false;
        }
        self.due = now + LOOK_UP_EVERY;
        let names = names();
        if !names.is_empty() {
            let (sender, receiver) = channel();
            let looking = move || {
                let found = look_up(&names);
                let _ = sender.send((names, found));
            };
            let thread = std::thread::Builder::new().name("names".to_owned()).spawn(looking);
            self.running = thread.is_ok().then_some(receiver);
        }
        false
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
    fn a_new_name_is_known_in_time_or_owed() {
        let mut resolver = SystemResolver::default();
        let mut names = KnownNames::new(&mut resolver, Duration::from_secs(30));
        assert!(!names.resolve("localhost", 80).expect("every machine has it").is_empty());
        assert!(!resolver.is_owed);

        let mut impatient = KnownNames::new(&mut resolver, Duration::ZERO);
        assert!(impatient.resolve("localhost", 80).is_ok(), "it is known by now");
        assert!(impatient.resolve("localhost", 81).is_err());
        assert!(resolver.is_owed);

        let (mut look_ups, asked) = (LookUps::new(), BTreeSet::from([("localhost".to_owned(), 81)]));
        assert!(!look_ups.turn(&mut resolver, || asked.clone()), "it has only begun");
        while !look_ups.turn(&mut resolver, || panic!("nothing is due")) {
            std::thread::yield_now();
        }
        assert!(resolver.known("localhost", 81).is_some());
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
