//! How long to wait after a failure: exponential, with full jitter, so that a fleet that lost its admin at one moment does not come
//! back at one moment.

use std::time::Duration;

/// The waits of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// Something went well: the next failure is the first one.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure, drawn from nothing to `min` doubled with each failure before.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let most = self.min.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % nanoseconds.saturating_add(1).max(1))
    }

    /// The same, slept through.
    pub(super) fn sleep(&mut self) {
        std::thread::sleep(self.next(random()));
    }
}

/// 64 random bits. Without the system's randomness the waits are merely alike.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew_after_a_success() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 5 * second);
        // The largest number that stays below each bound.
        let most = |backoff: &mut Backoff| {
            let failures = backoff.failures;
            let bound = second * 2_u32.pow(failures).min(5);
            let drawn = backoff.next(u64::try_from(bound.as_nanos()).expect("seconds"));
            assert_eq!(drawn, bound, "after {failures} failures");
        };
        for _ in 0..6 {
            most(&mut backoff);
        }
        backoff.reset();
        most(&mut backoff);
        assert_eq!(backoff.next(0), Duration::ZERO, "full jitter");
        backoff.failures = u32::MAX;
        assert!(backoff.next(u64::MAX) <= 5 * second);
    }
}
