//! Numbers that a seed decides.

/// Numbers from a fixed seed: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of their own for each settlement.
    #[must_use]
    pub fn of(seed: u64, writer: u32, seq: u64) -> Self {
        let mut random = Self(seed);
        random.0 ^= random.step() ^ (u64::from(writer) << 48) ^ seq;
        random.step();
        random
    }

    /// The next number.
    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.step() % bound
    }
}
