//! Monotonic time in nanoseconds. It is the same clock in every process of one machine, so a send time that the mock
//! stamps into an event and a receive time that a client reads can be subtracted.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds per millisecond.
pub const MS: u64 = 1_000_000;

/// Now, in nanoseconds of `CLOCK_MONOTONIC`. Cost: about 25 ns (vDSO, no system call).
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Since boot: positive, and below 2^64 ns for 584 years.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// `ns` as the kernel wants a timeout.
#[must_use]
pub fn timespec(ns: u64) -> Timespec {
    let split = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec { tv_sec: split(ns / 1_000_000_000), tv_nsec: split(ns % 1_000_000_000) }
}
