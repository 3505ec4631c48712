//! Inputs for decoders: valid samples that were damaged, and noise. The same seed gives the same inputs, everywhere.

/// The most bytes of an input.
const INPUT_MAX: usize = 128 * 1024;

/// The most bytes of noise.
const NOISE_MAX: usize = 512;

/// Values beside which, or at which, counts and lengths go wrong.
const EDGES: [u64; 9] = [
    0,
    0x80,
    0x100,
    0x4000,
    0x8000,
    0x1_0000,
    0x0100_0000,
    0x8000_0000,
    0x1_0000_0000,
];

/// What means something in one of the texts that are read here.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"..",
    b"-1",
    b"+1",
    b"0",
    b"0x",
    b"65536",
    b"18446744073709551616",
    b"*",
    b",",
    b"=",
    b"[",
    b"]",
    b"/",
    b"%00",
    b"\xc3\xa9",
    b"\xff",
    b"chunked",
];

/// Makes inputs. No cryptography: SplitMix64, which is small and quick.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A source of inputs of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The remainder is below `limit`, and so within usize again.
        usize::try_from(self.number() % limit as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    /// Puts the next input into `out`: every second one a damaged sample, the others noise.
    pub fn fill(&mut self, samples: &[Vec<u8>], out: &mut Vec<u8>) {
        out.clear();
        if samples.is_empty() || self.number().is_multiple_of(2) {
            self.noise(samples, out);
        } else {
            self.damaged(samples, out);
        }
        out.truncate(INPUT_MAX);
    }

    /// Bytes by chance; of any value, or of those that a sample is made of, so that text stays text.
    fn noise(&mut self, samples: &[Vec<u8>], out: &mut Vec<u8>) {
        let most = 1 << self.below(NOISE_MAX.ilog2() as usize + 1);
        let length = self.below(most + 1);
        let alphabet = match samples.len() {
            0 => &[][..],
            count => &samples[self.below(count)][..],
        };
        if alphabet.is_empty() || self.number().is_multiple_of(2) {
            while out.len() < length {
                out.extend_from_slice(&self.number().to_le_bytes());
            }
            out.truncate(length);
        } else {
            out.extend((0..length).map(|_| alphabet[self.below(alphabet.len())]));
        }
    }

    /// A sample with some damage; now and then with none.
    fn damaged(&mut self, samples: &[Vec<u8>], out: &mut Vec<u8>) {
        out.extend_from_slice(&samples[self.below(samples.len())]);
        for _ in 0..self.below(5) {
            let other = &samples[self.below(samples.len())];
            self.damage(other, out);
        }
    }

    fn damage(&mut self, other: &[u8], out: &mut Vec<u8>) {
        let at = self.place(out);
        match self.below(11) {
            0 if at < out.len() => out[at] ^= 1 << self.below(8),
            1 if at < out.len() => out[at] = self.byte(),
            2 | 3 => self.nudge(at, out),
            4 => out.truncate(at),
            5 => {
                let copy = self.range(out);
                let copy = out[copy].to_vec();
                out.splice(at..at, copy);
            }
            6 => {
                let from = self.place(other);
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            7 => {
                let gone = self.range(out);
                out.drain(gone);
            }
            8 => {
                let bytes = self.number().to_le_bytes();
                let some = self.below(bytes.len());
                out.splice(at..at, bytes[..=some].iter().copied());
            }
            9 => {
                let word = WORDS[self.below(WORDS.len())];
                out.splice(at..at, word.iter().copied());
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                let end = (at + word.len()).min(out.len());
                out.splice(at..end, word.iter().copied());
            }
        }
    }

    /// Changes the number of one to four bytes, big-endian, at a place: by a little, or to one about [`EDGES`].
    fn nudge(&mut self, at: usize, out: &mut [u8]) {
        let width = (1 + self.below(4)).min(out.len() - at);
        let field = &mut out[at..at + width];
        let number = field.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let number = match self.below(8) {
            0 | 1 => {
                let edge = EDGES[self.below(EDGES.len())];
                edge.wrapping_add(self.below(3) as u64).wrapping_sub(1)
            }
            little @ 2..=4 => number.wrapping_add(little as u64 - 1),
            little => number.wrapping_sub(little as u64 - 4),
        };
        let bytes = number.to_be_bytes();
        field.copy_from_slice(&bytes[bytes.len() - width..]);
    }

    /// A place in `bytes`, or behind them; every second time near the front, where headers are.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let limit = if self.number().is_multiple_of(2) {
            bytes.len().min(64)
        } else {
            bytes.len()
        };
        self.below(limit + 1)
    }

    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(bytes);
        let length = self.below((bytes.len() - start).min(256) + 1);
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_and_another_seed_others() {
        let samples = [b"one sample".to_vec(), vec![0; 300]];
        let inputs = |seed| {
            let (mut source, mut out) = (Mutator::new(seed), Vec::new());
            let mut all = Vec::new();
            for _ in 0..10_000 {
                source.fill(&samples, &mut out);
                assert!(out.len() <= INPUT_MAX);
                all.push(out.clone());
            }
            all
        };
        let one = inputs(1);
        assert_eq!(one, inputs(1));
        assert_ne!(one, inputs(2));
        // Whole samples are among them, and what is near to them, and what is not.
        assert!(one.iter().any(|input| *input == samples[0]));
        assert!(
            one.iter()
                .any(|input| input.len() == 9 && samples[0].starts_with(input))
        );
        assert!(one.iter().any(Vec::is_empty));
    }

    #[test]
    fn every_bit_of_a_sample_is_turned_by_itself_at_some_time() {
        let sample = [0; 40];
        let (mut source, mut out) = (Mutator::new(7), Vec::new());
        let mut turned = std::collections::HashSet::new();
        for _ in 0..300_000 {
            source.fill(&[sample.to_vec()], &mut out);
            let set: Vec<_> = (0..out.len() * 8)
                .filter(|bit| out[bit / 8] & 1 << (bit % 8) != 0)
                .collect();
            if let ([bit], 40) = (&set[..], out.len()) {
                turned.insert(*bit);
            }
        }
        assert_eq!(turned.len(), 40 * 8);
    }
}
