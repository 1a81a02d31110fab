//! Slows guessing down: failed attempts are counted per name and per address, and forgotten after a while. Replicas tell each other.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// Names and addresses that are remembered. When it is full, the oldest are forgotten first.
const REMEMBERED_MAX: usize = 100_000;

/// A name or an address, in any case: its digest, for people write passwords where names belong, and this is told to other replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Who(u128);

impl Who {
    /// Whose name or address this is.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.to_ascii_lowercase());
        let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        Self(u128::from_be_bytes(*first))
    }

    /// Reads what another replica wrote.
    #[must_use]
    pub fn of_digest(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

/// The digest.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Counts failures. Cloned handles share their counts.
#[derive(Clone, Debug)]
pub struct Throttle {
    failures: Arc<Mutex<HashMap<Who, Failures>>>,
    attempts_max: u32,
    window: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Throttle {
    /// After `attempts_max` failures within `window`, nothing more is tried until the window is over.
    #[must_use]
    pub fn new(attempts_max: u32, window: Duration) -> Self {
        Self { failures: Arc::default(), attempts_max, window }
    }

    /// Whether `who` may try; else how long not, in whole seconds.
    ///
    /// # Errors
    /// Seconds until the window is over.
    pub fn may_try(&self, who: Who, now: Instant) -> Result<(), u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = failures.get(&who) else { return Ok(()) };
        let past = now.saturating_duration_since(found.since);
        if found.count < self.attempts_max || past >= self.window {
            return Ok(());
        }
        Err((self.window - past).as_secs() + 1)
    }

    /// Notes a failure.
    pub fn failed(&self, who: Who, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.window;
        if failures.len() >= REMEMBERED_MAX {
            failures.retain(|_, found| now.saturating_duration_since(found.since) < window);
            if failures.len() >= REMEMBERED_MAX {
                failures.clear();
            }
        }
        let found = failures.entry(who).or_insert(Failures { count: 0, since: now });
        if now.saturating_duration_since(found.since) >= window {
            *found = Failures { count: 0, since: now };
        }
        found.count += 1;
    }

    /// Forgets the failures of somebody who has shown the right password.
    pub fn succeeded(&self, who: Who) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_too_many_failures_nothing_is_tried_until_the_window_is_over() {
        let throttle = Throttle::new(3, Duration::from_secs(60));
        let start = Instant::now();
        for _ in 0..3 {
            assert!(throttle.may_try(Who::of("Ada"), start).is_ok());
            throttle.failed(Who::of("ada"), start);
        }
        assert_eq!(throttle.may_try(Who::of("ADA"), start + Duration::from_secs(20)), Err(41));
        assert!(throttle.may_try(Who::of("bob"), start).is_ok());
        assert!(throttle.may_try(Who::of("ada"), start + Duration::from_secs(60)).is_ok());
        throttle.failed(Who::of("ada"), start + Duration::from_secs(60));
        assert!(throttle.may_try(Who::of("ada"), start + Duration::from_secs(61)).is_ok());
    }

    #[test]
    fn a_name_is_one_in_any_case_and_travels_as_a_digest() {
        let ada = Who::of("Ada");
        assert_eq!(ada, Who::of("aDA"));
        assert_ne!(ada, Who::of("ada "));
        assert_eq!(Who::of_digest(&ada.to_string()), Some(ada));
        assert!(!ada.to_string().contains("ada"));
        assert_eq!(Who::of_digest("ada!"), None);
    }

    #[test]
    fn a_right_password_clears_the_count() {
        let throttle = Throttle::new(1, Duration::from_secs(60));
        let now = Instant::now();
        throttle.failed(Who::of("ada"), now);
        assert!(throttle.may_try(Who::of("ada"), now).is_err());
        throttle.succeeded(Who::of("ada"));
        assert!(throttle.may_try(Who::of("ada"), now).is_ok());
    }
}
