//! Which endpoint of a cluster takes the next request: power of two choices, weighted.
//!
//! Pure: counts and a random number in, an index out. Two candidates are drawn by weight; the one with fewer requests in flight
//! per weight gets the request. Counts are this core's own, which is enough: every core sees the same traffic mix.

/// One endpoint as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Relative share; 0 never gets a request.
    pub weight: u32,
    /// Requests that this core has in flight there.
    pub in_flight: u32,
    /// Set aside after failures, or tried already for this request.
    pub excluded: bool,
}

/// Picks an endpoint; `None` when every one is excluded or has no weight. `random` is any 64 random bits.
///
/// Cost: two passes over the candidates, no allocation.
#[must_use]
pub fn pick(candidates: impl Iterator<Item = Candidate> + Clone, random: u64) -> Option<usize> {
    let total: u64 = usable(candidates.clone()).map(|(_, c)| u64::from(c.weight)).sum();
    if total == 0 {
        return None;
    }
    let (high, low) = (random >> 32, random & 0xffff_ffff);
    let first = drawn(candidates.clone(), scale(high, total))?;
    let second = drawn(candidates, scale(low, total))?;
    // in_flight / weight, compared without division.
    let load = |a: &Candidate, b: &Candidate| u64::from(a.in_flight) * u64::from(b.weight);
    Some(if load(&second.1, &first.1) < load(&first.1, &second.1) { second.0 } else { first.0 })
}

fn usable(
    candidates: impl Iterator<Item = Candidate> + Clone,
) -> impl Iterator<Item = (usize, Candidate)> + Clone {
    candidates.enumerate().filter(|(_, c)| !c.excluded && c.weight > 0)
}

fn drawn(candidates: impl Iterator<Item = Candidate> + Clone, mut at: u64) -> Option<(usize, Candidate)> {
    for (index, candidate) in usable(candidates) {
        let weight = u64::from(candidate.weight);
        if at < weight {
            return Some((index, candidate));
        }
        at -= weight;
    }
    None
}

/// Maps 32 random bits onto `0..total` without a division (Lemire).
const fn scale(bits: u64, total: u64) -> u64 {
    ((bits as u128 * total as u128) >> 32) as u64
}

/// The next number of a xorshift64* sequence: good enough to spread load, of no use for secrets.
#[must_use]
pub const fn next_random(state: u64) -> u64 {
    let mut x = state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(weight: u32, in_flight: u32) -> Candidate {
        Candidate { weight, in_flight, excluded: false }
    }

    fn share(candidates: &[Candidate], index: usize) -> f64 {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let mut hits = 0_u32;
        for _ in 0..20_000 {
            state = next_random(state);
            let random = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
            hits += u32::from(pick(candidates.iter().copied(), random) == Some(index));
        }
        f64::from(hits) / 20_000.0
    }

    #[test]
    fn the_less_loaded_of_two_gets_every_request_in_which_both_are_drawn() {
        let share = share(&[candidate(1, 10), candidate(1, 0)], 1);
        assert!((0.72..0.78).contains(&share), "two draws miss endpoint 1 a quarter of the time: {share}");
    }

    #[test]
    fn an_equally_loaded_cluster_is_shared_by_weight() {
        let share = share(&[candidate(3, 0), candidate(1, 0)], 0);
        assert!(share > 0.7, "{share}");
    }

    #[test]
    fn an_excluded_or_weightless_endpoint_is_never_picked() {
        let excluded = Candidate { excluded: true, ..candidate(100, 0) };
        assert!((share(&[excluded, candidate(0, 0), candidate(1, 99)], 2) - 1.0).abs() < f64::EPSILON);
        assert_eq!(pick([excluded].into_iter(), 7), None);
        assert_eq!(pick([].into_iter(), 7), None);
    }
}
