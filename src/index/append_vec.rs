//! An append-only vector that is read without locks.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use alloc::boxed::Box;

/// An append-only vector: cells never move and are never freed, so readers borrow them while one
/// writer appends.
///
/// A cell's number holds the chunk and, in the last `PLACE_BITS` bits, the place in the chunk. With
/// consecutive numbers a reader would have to find the highest set bit, which would take most of
/// the time of a look-up.
pub(super) struct AppendVec<T, const PLACE_BITS: u32> {
    /// Chunk `n` has `FIRST << n` cells, at most `1 << PLACE_BITS`.
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
    /// The number of the next cell to append.
    next: AtomicU32,
}

impl<T, const PLACE_BITS: u32> AppendVec<T, PLACE_BITS> {
    pub(super) fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            next: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, place) = Self::locate(number);
        self.chunks.get(chunk)?.get()?.get(place)
    }

    /// The number of cells in use.
    pub(super) fn len(&self) -> usize {
        Self::rank(self.next.load(Ordering::Relaxed))
    }

    /// The numbers of all cells in use, in their order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + use<T, PLACE_BITS> {
        let next = self.next.load(Ordering::Relaxed);
        let first_of = |chunk: usize| {
            let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
            chunk.wrapping_shl(PLACE_BITS)
        };
        (0..CHUNKS)
            .flat_map(move |chunk| (first_of(chunk)..).take(Self::room(chunk)))
            .take_while(move |number| *number < next)
    }

    /// The number of cells before the one with this number.
    pub(super) fn rank(number: u32) -> usize {
        let (chunk, place) = Self::locate(number);
        let before = (0..chunk).map(Self::room);
        before.fold(place, usize::saturating_add)
    }

    /// The number of cells of a chunk.
    fn room(chunk: usize) -> usize {
        let doublings = u32::try_from(chunk).map_or(PLACE_BITS, |chunk| chunk.min(PLACE_BITS));
        FIRST.wrapping_shl(doublings).min(1 << PLACE_BITS)
    }

    /// Splits a number into chunk and place.
    #[inline]
    fn locate(number: u32) -> (usize, usize) {
        let place = number & 1_u32.wrapping_shl(PLACE_BITS).wrapping_sub(1);
        ((number >> PLACE_BITS) as usize, place as usize)
    }
}

impl<T: Default, const PLACE_BITS: u32> AppendVec<T, PLACE_BITS> {
    /// Appends a cell; `None` if there is no room. For one writer at a time.
    pub(super) fn extend(&self) -> Option<(u32, &T)> {
        let number = self.next.load(Ordering::Relaxed);
        let (chunk, place) = Self::locate(number);
        let cells = self
            .chunks
            .get(chunk)?
            .get_or_init(|| (0..Self::room(chunk)).map(|_| T::default()).collect());
        let cell = cells.get(place)?;
        let is_last = place.checked_add(1)? == cells.len();
        let next = if is_last {
            (number >> PLACE_BITS).checked_add(1)? << PLACE_BITS
        } else {
            number.checked_add(1)?
        };
        self.next.store(next, Ordering::Relaxed);
        Some((number, cell))
    }
}

impl<T, const PLACE_BITS: u32> AppendVec<OnceLock<T>, PLACE_BITS> {
    /// Appends a value and returns its number; `None` if there is no room. For one writer at a
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

const CHUNKS: usize = 32;
const FIRST: usize = 16;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn values_are_found_by_their_index() {
        let append_vec = AppendVec::<_, 9>::new();
        assert_eq!(append_vec.value(0), None);
        let numbers: Vec<_> = (0..10_000)
            .map(|value| append_vec.push(value).unwrap())
            .collect();
        for (value, number) in numbers.iter().enumerate() {
            assert_eq!(append_vec.value(*number), Some(&value));
            assert_eq!(AppendVec::<(), 9>::rank(*number), value);
        }
        assert!(numbers.is_sorted());
        assert!(append_vec.numbers().eq(numbers));
        assert_eq!(append_vec.value(u32::MAX), None);
        assert_eq!(append_vec.len(), 10_000);
    }

    #[test]
    fn pushing_to_a_full_append_vec_fails() {
        let append_vec = AppendVec::<OnceLock<u32>, 5>::new();
        // Sixteen cells, then 31 times as many as have an index.
        let pushed = (0..).map_while(|value| append_vec.push(value)).count();
        assert_eq!(pushed, 16 + 31 * 32);
        assert_eq!(append_vec.len(), pushed);
    }
}
