//! When an endpoint is set aside: consecutive failures, with a back-off that doubles.
//!
//! Pure: outcomes and moments in, a verdict out. Only failures to connect, resets before an answer and silence count; an answer
//! of any status, and a caller that hangs up, say nothing against the endpoint.

use std::time::Duration;

use crate::clock::Moment;

/// Failures in a row that set an endpoint aside.
pub const FAILURES_MAX: u32 = 3;
/// First time aside; doubles with every further failure.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest time aside.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// One endpoint's standing on one core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    failures: u32,
    aside_until: Option<Moment>,
}

impl Standing {
    /// Whether the endpoint is set aside at `now`. When the time is over it is tried again; one more failure sets it aside for
    /// twice as long.
    #[must_use]
    pub fn is_aside(&self, now: Moment) -> bool {
        self.aside_until.is_some_and(|until| now < until)
    }

    /// It answered.
    #[must_use]
    pub const fn after_success(self) -> Self {
        Self { failures: 0, aside_until: None }
    }

    /// It failed at `now`.
    #[must_use]
    pub fn after_failure(self, now: Moment) -> Self {
        let failures = self.failures.saturating_add(1);
        if failures < FAILURES_MAX {
            return Self { failures, aside_until: self.aside_until };
        }
        let doublings = (failures - FAILURES_MAX).min(5);
        let aside = (BACKOFF_MIN * (1 << doublings)).min(BACKOFF_MAX);
        Self { failures, aside_until: Some(now.after(aside)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_failure_in_a_row_sets_aside_and_every_further_one_for_twice_as_long() {
        let start = Moment::default();
        let mut standing = Standing::default();
        for _ in 0..2 {
            standing = standing.after_failure(start);
            assert!(!standing.is_aside(start));
        }
        standing = standing.after_failure(start);
        assert!(standing.is_aside(start.after(Duration::from_millis(999))));
        let again = start.after(BACKOFF_MIN);
        assert!(!standing.is_aside(again));
        standing = standing.after_failure(again);
        assert!(standing.is_aside(again.after(Duration::from_millis(1_999))));
        for _ in 0..40 {
            standing = standing.after_failure(again);
        }
        assert!(!standing.is_aside(again.after(BACKOFF_MAX)), "never longer than the longest");
    }

    #[test]
    fn one_answer_clears_the_record() {
        let mut standing = Standing::default();
        for _ in 0..5 {
            standing = standing.after_failure(Moment::default());
        }
        standing = standing.after_success().after_failure(Moment::default());
        assert!(!standing.is_aside(Moment::default()));
    }
}
