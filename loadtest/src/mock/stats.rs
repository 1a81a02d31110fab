//! What a mock has seen, for `GET /mock/stats` and for tests that hold the mock in their own process.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One thread's counters: written by that thread, read by anyone.
        #[derive(Debug, Default)]
        #[repr(align(128))] // threads never share a cache line (nor the pair that is prefetched together)
        pub(super) struct Counters { $($(#[$doc])* pub(super) $name: AtomicU64,)+ }

        /// Sums over all threads of a mock.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)+ }

        impl Stats {
            pub(super) fn sum(threads: &[Counters]) -> Self {
                let mut sum = Self::default();
                for counters in threads {
                    // Wrapping: an open count may be read while its increment is still in another thread's cache.
                    $(sum.$name = sum.$name.wrapping_add(counters.$name.load(Relaxed));)+
                }
                sum
            }
        }
    };
}

counters! {
    /// Connections accepted so far.
    connections,
    /// Connections open now.
    connections_open,
    /// Requests whose head was read; `/mock/…` not counted.
    requests,
    /// Requests that had no answer begun when their connection ended.
    cancelled_before_head,
    /// Streams begun.
    streams,
    /// Streams running now.
    streams_open,
    /// Streams that reached their intended end, faults included.
    streams_completed,
    /// Streams whose caller went away first.
    streams_cancelled,
    /// Content events written.
    events,
    /// Request body bytes read.
    bytes_in,
    /// Bytes written.
    bytes_out,
}

/// Adds to a counter that only the calling thread writes: a plain load and store, no locked instruction.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// Takes one from an open count.
pub(super) fn sub_one(counter: &AtomicU64) {
    add(counter, u64::MAX);
}
