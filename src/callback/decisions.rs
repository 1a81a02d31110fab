//! Decisions that are remembered for a while: bounded in number and in time, by the core's monotonic clock.
//!
//! A decision that is remembered outlives its revocation by as long as that: this is what an operator opts in to.

use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

use super::DecisionKey;
use crate::clock::Moment;

#[derive(Clone, Copy)]
struct Entry {
    allows: bool,
    until: Moment,
}

/// One core's decisions.
pub struct Decisions {
    cache: Cache<DecisionKey, Entry, UnitWeighter, ahash::RandomState, DefaultLifecycle<DecisionKey, Entry>>,
    allowed: Duration,
    refused: Duration,
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").field("entries", &self.cache.len()).finish_non_exhaustive()
    }
}

impl Decisions {
    /// Nothing is remembered yet.
    ///
    /// * `allowed`, `refused`: for how long such a decision holds. Zero: it is not remembered.
    /// * `entries_max`: more push out the least used.
    #[must_use]
    pub fn new(allowed: Duration, refused: Duration, entries_max: usize) -> Self {
        let cache = Cache::with(
            entries_max,
            entries_max as u64,
            UnitWeighter,
            ahash::RandomState::new(),
            DefaultLifecycle::default(),
        );
        Self { cache, allowed, refused }
    }

    /// Whether anything is ever remembered.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.allowed.is_zero() || !self.refused.is_zero()
    }

    /// What was decided, if that still holds.
    #[must_use]
    pub fn find(&self, key: &DecisionKey, now: Moment) -> Option<bool> {
        self.cache.get(key).filter(|entry| now < entry.until).map(|entry| entry.allows)
    }

    /// Remembers a decision, if its kind is.
    pub fn remember(&mut self, key: DecisionKey, allows: bool, now: Moment) {
        let holds = if allows { self.allowed } else { self.refused };
        if holds.is_zero() {
            // A decision that is not remembered ends one of the other kind that was.
            self.cache.remove(&key);
        } else {
            self.cache.insert(key, Entry { allows, until: now.after(holds) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::CredentialDigest;

    fn key(number: usize) -> DecisionKey {
        DecisionKey::of(&CredentialDigest::of("x-api-key", b"k"), "GET", number.to_string().as_bytes())
    }

    #[test]
    fn a_decision_holds_for_its_time_and_not_longer() {
        let start = Moment::default();
        let mut decisions = Decisions::new(Duration::from_secs(2), Duration::from_secs(1), 10);
        decisions.remember(key(1), true, start);
        decisions.remember(key(2), false, start);
        let at = |ms| start.after(Duration::from_millis(ms));
        assert_eq!(
            (decisions.find(&key(1), at(999)), decisions.find(&key(2), at(999))),
            (Some(true), Some(false))
        );
        assert_eq!(
            (decisions.find(&key(1), at(1000)), decisions.find(&key(2), at(1000))),
            (Some(true), None)
        );
        assert_eq!(decisions.find(&key(1), at(2000)), None);
        // Looking does not make it hold longer; deciding anew does.
        decisions.remember(key(1), true, at(1900));
        assert_eq!(decisions.find(&key(1), at(3000)), Some(true));
    }

    #[test]
    fn a_kind_that_is_not_remembered_ends_what_was() {
        let now = Moment::default();
        let mut decisions = Decisions::new(Duration::from_secs(60), Duration::ZERO, 10);
        assert!(decisions.is_on() && !Decisions::new(Duration::ZERO, Duration::ZERO, 10).is_on());
        decisions.remember(key(1), true, now);
        decisions.remember(key(1), false, now);
        assert_eq!(decisions.find(&key(1), now), None);
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let now = Moment::default();
        let mut decisions = Decisions::new(Duration::from_secs(60), Duration::ZERO, 100);
        (0..10_000).for_each(|number| decisions.remember(key(number), true, now));
        assert!(decisions.cache.len() <= 100, "{}", decisions.cache.len());
        let found = (0..10_000).filter(|&number| decisions.find(&key(number), now).is_some()).count();
        assert!((1..=100).contains(&found), "{found}");
    }
}
