//! Durations, counted in buckets of at most 1.6 % width, so that percentiles of millions of them cost 20 KiB and no sorting.

use serde::Serialize;

/// Buckets per doubling.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values are told apart up to 2^42 ns, 73 minutes; longer ones count as that.
const DOUBLINGS: usize = 42 - STEP_BITS as usize;
const BUCKETS: usize = STEPS * (DOUBLINGS + 2);

/// Counts of durations in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// Percentiles in microseconds, and how many durations they are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Half are at most this.
    pub p50: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// All but one in a hundred are at most this.
    pub p99: f64,
    /// All but one in a thousand are at most this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, ns: u64) {
        self.record_many(ns, 1);
    }

    /// Counts `times` equal durations.
    pub fn record_many(&mut self, ns: u64, times: u64) {
        self.counts[bucket(ns)] += times;
        self.total += times;
        self.max = self.max.max(ns);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max = 0;
    }

    /// How many durations were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The duration in nanoseconds that `share` of all are at most, 1.6 % too long at worst; 0 if there is none.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(index).min(self.max);
            }
        }
        0
    }

    /// The usual percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |share| self.quantile_ns(share) as f64 / 1e3;
        Percentiles {
            count: self.total,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max as f64 / 1e3,
        }
    }
}

/// The highest `STEP_BITS + 1` bits of a duration choose its bucket; durations below `2 * STEPS` have one each.
fn bucket(ns: u64) -> usize {
    let doubling = (63 - (ns | 1).leading_zeros()).saturating_sub(STEP_BITS) as usize;
    if doubling > DOUBLINGS {
        return BUCKETS - 1;
    }
    STEPS * doubling + (ns >> doubling) as usize
}

fn upper(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let doubling = index / STEPS - 1;
    let step = (index - STEPS * doubling) as u64;
    ((step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_told_within_two_percent() {
        for ns in [0, 1, 63, 64, 127, 128, 129, 1_000, 65_535, 65_536, 12_345_678, 3_600_000_000_000] {
            let mut histogram = Histogram::default();
            histogram.record(ns);
            histogram.record(u64::MAX);
            let told = histogram.quantile_ns(0.5);
            assert!(told >= ns && told as f64 <= ns as f64 * 1.017 + 1.0, "{ns} is told as {told}");
        }
    }

    #[test]
    fn percentiles_are_of_all_that_was_counted() {
        let mut histogram = Histogram::default();
        for ms in 1..=1000_u64 {
            histogram.record(ms * 1_000_000);
        }
        let percentiles = histogram.percentiles();
        assert!((percentiles.p50 / 500_000.0 - 1.0).abs() < 0.02, "{percentiles:?}");
        assert!((percentiles.p99 / 990_000.0 - 1.0).abs() < 0.02, "{percentiles:?}");
        assert_eq!((percentiles.count, percentiles.max), (1000, 1_000_000.0));
    }
}
