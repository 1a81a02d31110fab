//! How many connections each address has, all cores together: counted when one is accepted and when it ends. Nothing on a
//! request's path touches it.
//!
//! The counters are two rows of a fixed number of cells, and an address has one cell in each, by a keyed hash; what it has open
//! is at most the smaller of its two counts (a count-min sketch). So memory does not grow with the number of strangers, there is
//! no lock, and an address is never counted too low. Too high it is counted only when it shares both cells with busy ones,
//! which nobody can arrange without the key.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;

/// Cells of one row; both rows together are 128 KiB.
const CELLS: usize = 1 << 14;

/// The counters of a process.
#[derive(Clone, Debug)]
pub struct Addresses {
    rows: Arc<[[AtomicU32; CELLS]; 2]>,
    keys: RandomState,
    connections_max: u32,
}

impl Addresses {
    /// Nobody is here yet. `connections_max`: how many one address may have.
    #[must_use]
    pub fn new(connections_max: u32) -> Self {
        let rows = Arc::new([const { [const { AtomicU32::new(0) }; CELLS] }; 2]);
        Self { rows, keys: RandomState::new(), connections_max }
    }

    /// Counts one more connection of `address` until the result is dropped; `None` if it has its share.
    ///
    /// # Cost
    /// One hash, two atomic additions; two more at the end.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<Presence> {
        let hash = self.keys.hash_one(holder(address));
        // Truncated on purpose: two stretches of the hash that do not overlap.
        let cells = [hash as usize % CELLS, (hash >> 32) as usize % CELLS];
        let presence = Presence { rows: Arc::clone(&self.rows), cells };
        let before = presence.counters().map(|counter| counter.fetch_add(1, Ordering::Relaxed));
        (before.into_iter().min() < Some(self.connections_max)).then_some(presence)
    }
}

/// Whom an address stands for: of IPv6 a site has a whole /64, and an IPv4 address in IPv6's clothes is one.
fn holder(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

/// One counted connection.
#[derive(Debug)]
pub struct Presence {
    rows: Arc<[[AtomicU32; CELLS]; 2]>,
    cells: [usize; 2],
}

impl Presence {
    fn counters(&self) -> [&AtomicU32; 2] {
        let [first, second] = &*self.rows;
        [&first[self.cells[0]], &second[self.cells[1]]]
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        for counter in self.counters() {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_its_share_and_no_more_and_gets_it_back() {
        let addresses = Addresses::new(3);
        let mut open: Vec<_> = (0..3).map(|_| addresses.enter(address("192.0.2.1")).expect("room")).collect();
        for _ in 0..10 {
            assert!(addresses.enter(address("192.0.2.1")).is_none(), "a refusal is not counted");
        }
        assert!(addresses.clone().enter(address("192.0.2.1")).is_none(), "all cores count together");
        assert!(addresses.enter(address("192.0.2.2")).is_some());
        open.pop();
        assert!(addresses.enter(address("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_of_one_holder_are_one_address() {
        let addresses = Addresses::new(1);
        let _one = addresses.enter(address("2001:db8::1"));
        assert!(addresses.enter(address("2001:db8::ffff:1")).is_none());
        assert!(addresses.enter(address("2001:db8:0:1::1")).is_some());
        let _other = addresses.enter(address("::ffff:192.0.2.1"));
        assert!(addresses.enter(address("192.0.2.1")).is_none());
    }

    /// Goal: a crowd does not use up the share of somebody who is not in it.
    #[test]
    fn a_crowd_of_strangers_does_not_shut_anybody_out() {
        let addresses = Addresses::new(200);
        let crowd = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n));
        let open: Vec<_> = (0..50_000).map(|n| addresses.enter(crowd(n))).collect();
        assert!(open.iter().all(Option::is_some));
        assert!(addresses.enter(address("192.0.2.1")).is_some());
    }
}
