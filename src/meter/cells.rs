//! Numbers that one thread counts in: `Cell`s, not atomics, because nobody else may touch them.

use std::cell::Cell;

use super::Label;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    /// Adds one.
    pub fn bump(&self) {
        self.add(1);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A number that grows and shrinks: how many there are now.
#[derive(Debug, Default)]
pub struct Gauge(Cell<u64>);

impl Gauge {
    /// One more.
    pub fn up(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// One less. Below zero is a bug in the caller; it shows as zero rather than as 18 quintillion.
    pub fn down(&self) {
        debug_assert!(self.0.get() > 0, "a gauge counts down only what it counted up");
        self.0.set(self.0.get().saturating_sub(1));
    }

    /// Exactly `n`.
    pub fn set(&self, n: u64) {
        self.0.set(n);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// One counter per value of a closed label.
#[derive(Debug)]
pub struct Tally<L, const N: usize> {
    counters: [Counter; N],
    label: std::marker::PhantomData<L>,
}

impl<L: Label, const N: usize> Tally<L, N> {
    /// Adds one to the counter of `label`.
    pub fn bump(&self, label: L) {
        self.counters[label.index()].bump();
    }

    /// Each value with its count.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().map(|label| (*label, self.counters[label.index()].get()))
    }
}

impl<L: Label, const N: usize> Default for Tally<L, N> {
    fn default() -> Self {
        const { assert!(L::ALL.len() == N, "one counter per value") };
        Self { counters: std::array::from_fn(|_| Counter::default()), label: std::marker::PhantomData }
    }
}

/// How often values fell between fixed bounds.
///
/// # Cost
/// An observation is a search among the bounds (at most 25) and two additions, in memory that is already there.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    /// Upper bounds, ascending, each part of its bucket.
    bounds: &'static [u64; N],
    buckets: [Cell<u64>; N],
    above: Cell<u64>,
    /// In the unit of the bounds. A float: sums of nanoseconds leave 64 bits within weeks of busy streams.
    sum: Cell<f64>,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram.
    #[must_use]
    pub const fn new(bounds: &'static [u64; N]) -> Self {
        Self { bounds, buckets: [const { Cell::new(0) }; N], above: Cell::new(0), sum: Cell::new(0.0) }
    }

    /// Counts one value, in the unit of the bounds.
    pub fn observe(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        let bucket = self.buckets.get(index).unwrap_or(&self.above);
        bucket.set(bucket.get() + 1);
        #[allow(clippy::cast_precision_loss, reason = "a sum of 53 bits is exact enough")]
        self.sum.set(self.sum.get() + value as f64);
    }

    /// A copy that may travel.
    #[must_use]
    pub fn report(&self) -> HistogramReport {
        HistogramReport {
            bounds: self.bounds,
            counts: self.buckets.iter().chain([&self.above]).map(Cell::get).collect(),
            sum: self.sum.get(),
        }
    }
}

/// A histogram's figures at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramReport {
    /// Upper bounds, ascending.
    pub bounds: &'static [u64],
    /// Observations per bucket, not accumulated; the last one is above all bounds.
    pub counts: Vec<u64>,
    /// Sum of all observations, in the unit of the bounds.
    pub sum: f64,
}

impl HistogramReport {
    /// Adds what another core saw.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// How many observations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::CancelPhase;

    static BOUNDS: [u64; 3] = [10, 20, 40];

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bound() {
        let histogram = Histogram::new(&BOUNDS);
        for value in [0, 10, 11, 20, 40, 41, u64::MAX] {
            histogram.observe(value);
        }
        let report = histogram.report();
        assert_eq!(report.counts, [2, 2, 1, 2]);
        assert_eq!(report.count(), 7);
    }

    #[test]
    fn reports_of_two_cores_add_up() {
        let (one, other) = (Histogram::new(&BOUNDS), Histogram::new(&BOUNDS));
        one.observe(5);
        other.observe(5);
        other.observe(100);
        let mut merged = one.report();
        merged.merge(&other.report());
        assert_eq!(merged.counts, [2, 0, 0, 1]);
        assert!((merged.sum - 110.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_tally_counts_each_value_by_itself() {
        let tally = Tally::<CancelPhase, 2>::default();
        tally.bump(CancelPhase::Streaming);
        tally.bump(CancelPhase::Streaming);
        let seen: Vec<_> = tally.iter().collect();
        assert_eq!(seen, [(CancelPhase::BeforeHeaders, 0), (CancelPhase::Streaming, 2)]);
    }
}
