//! What the feed's threads count and the ops listener reads.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts that the feed's threads keep and the ops listener reads.
#[derive(Debug)]
pub(in crate::control) struct Figures {
    pub(in crate::control) connected: AtomicBool,
    pub(in crate::control) connections: AtomicU64,
    pub(in crate::control) snapshots: AtomicU64,
    pub(in crate::control) snapshots_refused: AtomicU64,
    pub(in crate::control) deltas: AtomicU64,
    pub(in crate::control) deltas_refused: AtomicU64,
    pub(in crate::control) usage_spooled: AtomicU64,
    pub(in crate::control) usage_sent: AtomicU64,
    /// For want of room in the spool, or because the disk refused them.
    pub(in crate::control) usage_not_spooled: AtomicU64,
    /// Refused by admin, one by one.
    pub(in crate::control) usage_refused: AtomicU64,
    pub(in crate::control) spool_bytes: AtomicU64,
    base: Instant,
    /// When the tables were last confirmed, in milliseconds from `base`; [`NEVER`]: not yet.
    heard_ms: AtomicI64,
}

const NEVER: i64 = i64::MIN;

impl Default for Figures {
    fn default() -> Self {
        Self {
            connected: AtomicBool::default(),
            connections: AtomicU64::default(),
            snapshots: AtomicU64::default(),
            snapshots_refused: AtomicU64::default(),
            deltas: AtomicU64::default(),
            deltas_refused: AtomicU64::default(),
            usage_spooled: AtomicU64::default(),
            usage_sent: AtomicU64::default(),
            usage_not_spooled: AtomicU64::default(),
            usage_refused: AtomicU64::default(),
            spool_bytes: AtomicU64::default(),
            base: Instant::now(),
            heard_ms: AtomicI64::new(NEVER),
        }
    }
}

impl Figures {
    /// The tables that are held were confirmed so long ago.
    pub(in crate::control) fn heard_before(&self, age: Duration) {
        let since_base = i64::try_from(self.base.elapsed().as_millis()).unwrap_or(i64::MAX);
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.heard_ms.store(since_base.saturating_sub(age).max(NEVER + 1), Ordering::Relaxed);
    }

    /// Time since the tables were confirmed; `None`: never.
    pub(in crate::control) fn age(&self) -> Option<Duration> {
        let heard = self.heard_ms.load(Ordering::Relaxed);
        let since_base = i64::try_from(self.base.elapsed().as_millis()).unwrap_or(i64::MAX);
        let age = since_base.saturating_sub(heard);
        (heard != NEVER).then(|| Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_tables_counts_from_when_they_were_confirmed() {
        let figures = Figures::default();
        assert_eq!(figures.age(), None);
        figures.heard_before(Duration::from_secs(100));
        let age = figures.age().expect("heard");
        assert!((100..200).contains(&age.as_secs()), "{age:?}");
        figures.heard_before(Duration::MAX);
        assert!(figures.age().expect("heard") > Duration::from_secs(1 << 40));
    }
}
