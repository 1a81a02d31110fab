//! Numbers that follow from a seed (xorshift64*): good enough to choose who leaves or what is killed, and the same again for the same seed.

/// A sequence of numbers.
pub(crate) struct Random(u64);

impl Random {
    /// `seed`: any; neighbours begin far from each other.
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits; the upper ones are the better ones.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.bits() >> 33).unwrap_or(0) % bound.max(1)
    }

    /// From 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_its_neighbour_gives_others() {
        let of = |seed| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.below(1 << 20))
        };
        assert_eq!(of(7), of(7));
        assert!(of(7) != of(8) && of(0) != of(2));
        let mut random = Random::new(1);
        assert!((0..1000).map(|_| random.share()).all(|share| (0.0..1.0).contains(&share)));
        assert!((0..1000).map(|_| random.below(3)).all(|number| number < 3));
        assert_eq!(random.below(0), 0);
    }
}
