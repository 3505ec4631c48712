//! Bytes that can be told apart: any length, made of a seed, known by their digest.

use std::fmt;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// `length` bytes of the seed.
#[must_use]
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// What became of bytes on their way: how many they are, and which.
#[derive(Clone, Default)]
pub struct Tally {
    count: u64,
    digest: Sha256,
}

impl Tally {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut tally = Self::default();
        tally.add(bytes);
        tally
    }

    /// Of more.
    pub fn add(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.count)?;
        self.digest
            .clone()
            .finalize()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_tell_bytes_apart() {
        let whole = bytes(1, 100_000);
        let mut pieces = Tally::default();
        whole.chunks(333).for_each(|piece| pieces.add(piece));
        assert_eq!(pieces, Tally::of(&whole));
        assert_ne!(pieces, Tally::of(&whole[1..]));
        assert_ne!(pieces, Tally::of(&bytes(2, 100_000)));
    }
}
