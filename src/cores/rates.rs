//! How often each credential may ask on a passthrough listener, all cores together.
//!
//! A token bucket per credential, kept as the time at which it would be full again (GCRA): one number each. The numbers are two
//! rows of a fixed number of cells, and a credential has one cell in each, by its digest. A cell that two credentials share is
//! the emptier of their buckets, so a credential's own is the fuller one of its two cells: memory does not grow with the number of
//! credentials, and a credential is held back for another's sake only when it shares both cells with busy ones. Only credentials
//! that a callback has taken get here, so strangers cannot fill cells.
//!
//! Cores share these cells because callers share cores: a limit per core would depend on how many connections a caller has. Without
//! a limit nothing here is touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Cells of one row; both rows together are 128 KiB.
const CELLS: usize = 1 << 13;

/// The buckets of a process.
#[derive(Clone, Debug)]
pub struct Rates {
    rows: Arc<[[AtomicU64; CELLS]; 2]>,
    interval_ns: u64,
}

/// What a bucket holds: requests of so much time.
const BURST: Duration = Duration::from_secs(1);

impl Rates {
    /// Full buckets. `per_s`: requests per second, and as many at once after a pause. `None` if it is 0: no limit.
    #[must_use]
    pub fn new(per_s: u32) -> Option<Self> {
        let interval_ns = 1_000_000_000_u64.checked_div(u64::from(per_s))?.max(1);
        Some(Self { rows: Arc::new([const { [const { AtomicU64::new(0) }; CELLS] }; 2]), interval_ns })
    }

    /// Whether one more request is allowed now; takes it out of the bucket if so.
    ///
    /// * `digest`: of the credential; evenly spread.
    /// * `now`: since any moment that is the same for all cores.
    ///
    /// # Cost
    /// Two atomic reads and two atomic writes; one more of each for every core that asks at the very same moment.
    #[must_use]
    pub fn admits(&self, digest: &[u8; 32], now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        let [one, other] = [0, 1].map(|row| {
            let place = u16::from_le_bytes([digest[2 * row], digest[2 * row + 1]]);
            &self.rows[row][usize::from(place) % CELLS]
        });
        loop {
            let (of_one, of_other) = (one.load(Ordering::Acquire), other.load(Ordering::Acquire));
            let (own, own_value, second) =
                if of_one <= of_other { (one, of_one, other) } else { (other, of_other, one) };
            let full_again = own_value.max(now).saturating_add(self.interval_ns);
            if full_again > now.saturating_add(burst) {
                return false;
            }
            // The second cell first: in the other order somebody who looks in between takes it for the fuller one, and what is taken
            // from it is counted nowhere. If the exchange fails, whoever was faster has taken from the same bucket: look again.
            second.fetch_max(full_again, Ordering::AcqRel);
            if own.compare_exchange_weak(own_value, full_again, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(number.to_le_bytes()).into()
    }

    #[test]
    fn a_credential_gets_its_rate_and_once_as_many_at_a_time() {
        let rates = Rates::new(10).expect("a limit");
        let at = |ms: u64| Duration::from_millis(5_000 + ms);
        let admitted = |ms| (0..20).filter(|_| rates.admits(&digest(1), at(ms))).count();
        assert_eq!(admitted(0), 10);
        assert_eq!(admitted(99), 0);
        assert_eq!(admitted(100), 1);
        assert_eq!(admitted(450), 3);
        assert_eq!(admitted(60_000), 10, "what is not used is not saved up");
        assert!(Rates::new(0).is_none());
    }

    #[test]
    fn one_credential_does_not_use_up_another_s_bucket() {
        let rates = Rates::new(5).expect("a limit");
        let now = Duration::from_secs(9);
        // A few hundred busy ones: two of them share both cells once in a hundred thousand.
        let all = (0..200).all(|number| (0..5).all(|_| rates.admits(&digest(number), now)));
        assert!(all, "each has its own");
        assert!((0..200).all(|number| !rates.admits(&digest(number), now)), "and no more than that");
    }

    #[test]
    fn cores_that_ask_at_once_get_no_more_between_them() {
        // Again and again, because it takes two that ask at the same moment.
        (0..50).for_each(|_| asked_by_four_at_once());
    }

    fn asked_by_four_at_once() {
        let rates = Rates::new(1000).expect("a limit");
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let rates = rates.clone();
                    let now = Duration::from_secs(9);
                    scope.spawn(move || (0..1000).filter(|_| rates.admits(&digest(7), now)).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1000);
    }
}
