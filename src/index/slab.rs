//! A list that only grows, read without a lock.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use alloc::boxed::Box;

/// Values that never move and never go, found by number: readers borrow them for as long as the
/// slab lives, while one writer adds more.
pub(super) struct Slab<T> {
    /// Chunk `n` has room for `FIRST << n` values.
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    len: AtomicU32,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            len: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, place) = Self::locate(number)?;
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// Adds a value and gives its number; none if there is no room left. For one writer at a
    /// time.
    pub(super) fn push(&self, value: T) -> Option<u32> {
        let number = self.len.load(Ordering::Relaxed);
        let (chunk, place) = Self::locate(number)?;
        let room = FIRST.checked_shl(u32::try_from(chunk).ok()?)?;
        let chunk = self
            .chunks
            .get(chunk)?
            .get_or_init(|| (0..room).map(|_| OnceLock::new()).collect());
        chunk.get(place)?.set(value).ok()?;
        self.len.store(number.checked_add(1)?, Ordering::Relaxed);
        Some(number)
    }

    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    #[inline]
    fn locate(number: u32) -> Option<(usize, usize)> {
        let shifted = number.checked_add(FIRST)?;
        let chunk = shifted.ilog2().wrapping_sub(FIRST.ilog2());
        let start = FIRST << chunk;
        Some((chunk as usize, shifted.wrapping_sub(start) as usize))
    }
}

/// Room for 2^31 values.
const CHUNKS: usize = 27;
const FIRST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_find_their_values() {
        let slab = Slab::new();
        assert_eq!(slab.get(0), None);
        for value in 0..10_000u32 {
            assert_eq!(slab.push(value), Some(value));
        }
        assert!((0..10_000).all(|number| slab.get(number) == Some(&number)));
        assert_eq!(slab.get(10_000), None);
        assert_eq!(slab.get(u32::MAX), None);
        assert_eq!(slab.len(), 10_000);
    }
}
