//! A list that only grows, read without a lock.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use alloc::boxed::Box;

/// Cells that never move and never go, found by number: readers borrow them for as long as the
/// slab lives, while one writer takes more of them into use.
pub(super) struct Slab<T> {
    /// Chunk `n` has room for `FIRST << n` cells.
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
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
        let (chunk, place) = locate(number);
        self.chunks.get(chunk)?.get()?.get(place)
    }

    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }
}

impl<T: Default> Slab<T> {
    /// Takes the next cell into use; none if there is no room left. For one writer at a time.
    pub(super) fn extend(&self) -> Option<(u32, &T)> {
        let number = self.len.load(Ordering::Relaxed);
        let (chunk, place) = locate(number);
        let room = FIRST.checked_shl(u32::try_from(chunk).ok()?)?;
        let cells = self
            .chunks
            .get(chunk)?
            .get_or_init(|| (0..room).map(|_| T::default()).collect());
        let cell = cells.get(place)?;
        self.len.store(number.checked_add(1)?, Ordering::Relaxed);
        Some((number, cell))
    }
}

impl<T> Slab<OnceLock<T>> {
    /// Adds a value and gives its number; none if there is no room left. For one writer at a
    /// time.
    pub(super) fn push(&self, value: T) -> Option<u32> {
        let (number, cell) = self.extend()?;
        cell.set(value).ok()?;
        Some(number)
    }

    #[inline]
    pub(super) fn value(&self, number: u32) -> Option<&T> {
        self.get(number)?.get()
    }
}

/// The chunk of a number, and its place there.
#[inline]
fn locate(number: u32) -> (usize, usize) {
    let shifted = number.saturating_add(FIRST);
    let top = shifted.ilog2();
    let chunk = top.wrapping_sub(FIRST.ilog2());
    (chunk as usize, (shifted ^ (1 << top)) as usize)
}

/// Room for 2^31 cells.
const CHUNKS: usize = 27;
const FIRST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_find_their_values() {
        let slab = Slab::new();
        assert_eq!(slab.value(0), None);
        for value in 0..10_000u32 {
            assert_eq!(slab.push(value), Some(value));
        }
        assert!((0..10_000).all(|number| slab.value(number) == Some(&number)));
        assert_eq!(slab.value(10_000), None);
        assert_eq!(slab.value(u32::MAX), None);
        assert_eq!(slab.len(), 10_000);
    }

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for number in 0..100_000 {
            assert_eq!(locate(number), next);
            next.1 += 1;
            if next.1 == (FIRST as usize) << next.0 {
                next = (next.0 + 1, 0);
            }
        }
    }
}
