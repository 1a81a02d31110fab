//! How full each core is: one counter per core, written by its owner when a connection opens or closes, read by all when one is
//! accepted. Nothing on a request's path touches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Connections that a core may have beyond the emptiest one before it hands new ones over.
const SKEW_MIN: u64 = 4;

#[derive(Debug, Default)]
#[repr(align(64))] // a core's counter shares its cache line with nobody's
struct Entry(AtomicU64);

/// The counters of all cores.
#[derive(Clone, Debug)]
pub struct Load(Arc<[Entry]>);

impl Load {
    /// Counters for `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Entry::default()).collect())
    }

    /// Tells the others how many connections `core` has.
    pub fn set(&self, core: usize, connections: u64) {
        self.0[core].0.store(connections, Ordering::Relaxed);
    }

    /// Connections of all cores together; exact only when nothing moves.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|entry| entry.0.load(Ordering::Relaxed)).sum()
    }

    /// The emptiest core, if `core` is clearly fuller: by [`SKEW_MIN`] connections and an eighth.
    #[must_use]
    pub fn emptier_than(&self, core: usize) -> Option<usize> {
        let mine = self.0[core].0.load(Ordering::Relaxed);
        let (emptiest, least) = self
            .0
            .iter()
            .map(|entry| entry.0.load(Ordering::Relaxed))
            .enumerate()
            .min_by_key(|&(_, connections)| connections)?;
        (mine >= least + SKEW_MIN + least / 8).then_some(emptiest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_hands_over_only_when_it_is_clearly_fuller_than_the_emptiest() {
        let load = Load::new(3);
        assert_eq!(load.emptier_than(0), None);
        load.set(0, 3);
        assert_eq!(load.emptier_than(0), None);
        load.set(0, 4);
        load.set(1, 2);
        assert_eq!(load.emptier_than(0), Some(2));
        assert_eq!(load.emptier_than(1), None);
        for (core, connections) in [(0, 110), (1, 100), (2, 100)] {
            load.set(core, connections);
        }
        assert_eq!(load.emptier_than(0), None, "a tenth more is even enough");
        assert_eq!(load.total(), 310);
    }
}
