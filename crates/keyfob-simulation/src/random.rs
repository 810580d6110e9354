//! Randomness that only depends on the seed.

use std::sync::Mutex;

use keyfob::key::{Random, RandomError};
use oorandom::Rand64;

/// The source of all choices of a run.
#[derive(Debug)]
pub(crate) struct Rng(Rand64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rand64::new(u128::from(seed) ^ 0x6b65_7966_6f62_0000_0000_0000_0000_0000);
        // Neighbouring seeds begin with similar numbers.
        for _ in 0..8 {
            rng.rand_u64();
        }
        Self(rng)
    }

    /// A number less than `n`, which must not be zero.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.rand_range(0..n)
    }

    pub(crate) fn within(&mut self, from: u64, to: u64) -> u64 {
        self.0.rand_range(from..to + 1)
    }

    /// Between `-most` and `most`.
    pub(crate) fn around(&mut self, most: i64) -> i64 {
        let width = u64::try_from(most).unwrap_or(0) * 2 + 1;
        i64::try_from(self.below(width)).unwrap_or(0) - most
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(length)).unwrap_or(0)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.index(of.len())])
    }

    pub(crate) fn bits(&mut self) -> u128 {
        u128::from(self.0.rand_u64()) << 64 | u128::from(self.0.rand_u64())
    }
}

/// Identifiers and secrets that only depend on the seed. They protect nothing.
#[derive(Debug)]
pub(crate) struct Predictable(Mutex<Rand64>);

impl Predictable {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self(Mutex::new(Rand64::new(rng.bits())))
    }
}

impl Random for Predictable {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let mut rng = self.0.lock().map_err(|_| RandomError)?;
        for chunk in bytes.chunks_mut(8) {
            let word = rng.rand_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}
