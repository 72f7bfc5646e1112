//! Mutations of inputs that are the same in every run.

/// Values at which programs change their minds.
const BORDERS: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, b'/'];
/// Changes made to one input, at most.
const MOST: usize = 6;

/// An endless row of mutated inputs.
#[derive(Debug)]
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    state: u64,
}

impl Mutations {
    /// Of these, which must not be empty.
    #[must_use]
    pub const fn of(seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { seeds, state: seed }
    }

    /// A number below `bound` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound.max(1) as u64).unwrap_or(0)
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds[at].clone()
    }

    /// From somewhere in `bytes` to somewhere behind it.
    fn part(&mut self, bytes: &[u8]) -> (usize, usize) {
        let from = self.below(bytes.len() + 1);
        let length = self.below((bytes.len() - from).min(32) + 1);
        (from, from + length)
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len());
        match self.below(7) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = BORDERS[self.below(BORDERS.len())],
            2 if !input.is_empty() => input[at] = input[at].wrapping_add(1),
            3 => {
                let (from, to) = self.part(input);
                input.drain(from..to);
            }
            4 => {
                let (from, to) = self.part(input);
                let again = input[from..to].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let other = self.seed();
                let (from, to) = self.part(&other);
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let other = self.seed();
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut input = self.seed();
        for _ in 0..=self.below(MOST) {
            self.change(&mut input);
        }
        Some(input)
    }
}
