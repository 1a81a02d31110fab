//! Slows guessing down: failed attempts are counted per name and per address, and forgotten after a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names and addresses that are remembered. When it is full, the oldest are forgotten first.
const REMEMBERED_MAX: usize = 100_000;

/// Counts failures. Cloned handles share their counts.
#[derive(Clone, Debug)]
pub struct Throttle {
    failures: Arc<Mutex<HashMap<String, Failures>>>,
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
    pub fn may_try(&self, who: &str, now: Instant) -> Result<(), u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = failures.get(&who.to_ascii_lowercase()) else { return Ok(()) };
        let past = now.saturating_duration_since(found.since);
        if found.count < self.attempts_max || past >= self.window {
            return Ok(());
        }
        Err((self.window - past).as_secs() + 1)
    }

    /// Notes a failure.
    pub fn failed(&self, who: &str, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.window;
        if failures.len() >= REMEMBERED_MAX {
            failures.retain(|_, found| now.saturating_duration_since(found.since) < window);
            if failures.len() >= REMEMBERED_MAX {
                failures.clear();
            }
        }
        let found = failures.entry(who.to_ascii_lowercase()).or_insert(Failures { count: 0, since: now });
        if now.saturating_duration_since(found.since) >= window {
            *found = Failures { count: 0, since: now };
        }
        found.count += 1;
    }

    /// Forgets the failures of somebody who has shown the right password.
    pub fn succeeded(&self, who: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&who.to_ascii_lowercase());
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
            assert!(throttle.may_try("Ada", start).is_ok());
            throttle.failed("ada", start);
        }
        assert_eq!(throttle.may_try("ADA", start + Duration::from_secs(20)), Err(41));
        assert!(throttle.may_try("bob", start).is_ok());
        assert!(throttle.may_try("ada", start + Duration::from_secs(60)).is_ok());
        throttle.failed("ada", start + Duration::from_secs(60));
        assert!(throttle.may_try("ada", start + Duration::from_secs(61)).is_ok());
    }

    #[test]
    fn a_right_password_clears_the_count() {
        let throttle = Throttle::new(1, Duration::from_secs(60));
        let now = Instant::now();
        throttle.failed("ada", now);
        assert!(throttle.may_try("ada", now).is_err());
        throttle.succeeded("ada");
        assert!(throttle.may_try("ada", now).is_ok());
    }
}
