//! The table that is read once per call: fixed-size lines, any number of readers that never
//! wait, one writer.
//!
//! # How it works
//!
//! An entry is a [`Line`] of 64 bytes, one cache line: identifier, digest and the two words that
//! a decision needs. Lines stand in segments of [`SLOTS`] slots, open addressing, linear. A
//! directory, indexed by the first bits of the identifier's hash, names the segment (extendible
//! hashing): a segment that fills up is split in two, and nothing else moves.
//!
//! All words are atomics, so there is no `unsafe` and no torn word. What keeps a reader from
//! mixing two entries, or from missing one that is moved, is this:
//!
//! - A line's *tail* word says whether the slot is vacant, gone or live. A slot becomes live by
//!   one store, after all its other words are written, and is taken out by one store. A change
//!   of status or expiry is one store too.
//! - A slot that is used again gets a new version number in its *head* word first, after it was
//!   taken out. A reader reads head, then tail, then the rest; if it found its identifier, it reads
//!   head and tail again at the end, and starts over if either changed.
//! - An entry that moves (to another slot, when its secret changes; to another segment, in a
//!   split) is written to its new place, then the table's *move count* goes up, then the old
//!   place is taken out. A reader that did not find its identifier looks whether the move count
//!   changed since it began, and starts over if it did.
//!
//! `models/` tries the orders in which a reader and the writer can meet.
//!
//! So a reader never waits for a writer that was suspended half-way: it starts over only if a
//! writer finished something. Segments are never freed, only used again; what a late reader finds
//! in one is judged by the same rules.

use std::sync::OnceLock;

use alloc::{boxed::Box, vec::Vec};

use crate::index::{
    line::{GONE, LIVE, Line, Row, STATE, VACANT},
    slab::Slab,
    sync::{AtomicU32, AtomicU64, Ordering, SLOTS, fence},
};

/// What the lines of a segment take.
const SEGMENT_BYTES: usize = SLOTS * size_of::<Line>();
/// A segment with more slots in use than this is split, or copied if most of them are gone.
const SLOTS_USED_MAX: usize = SLOTS * 7 / 10;
/// A full segment with fewer live entries than this is copied, not split.
const SLOTS_LIVE_SPLIT: usize = SLOTS / 2;
/// A directory of 2^22 places, for 2^22 segments: about two thousand million entries.
const DEPTH_MAX: usize = 22;

pub(super) struct Table {
    /// The move count, and the depth of the directory in the last eight bits.
    control: AtomicU64,
    /// The directory of depth `n` has 2^n places, each the number of a segment.
    directories: [OnceLock<Box<[AtomicU32]>>; DEPTH_MAX + 1],
    segments: Segments,
}

/// A directory may name as many segments as it has places, and each is in use.
type Segments = Slab<OnceLock<Box<[Line; SLOTS]>>, 22>;

/// Where an entry is, if it is there.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    table: &'a Table,
    hash: u64,
    control: u64,
    lines: Option<&'a [Line; SLOTS]>,
}

/// The writer's side of a table. Whoever holds it may write.
///
/// It keeps a `C` for every entry, out of the readers' way.
pub(super) struct TableWriter<C> {
    /// By the ranks of the segments.
    books: Vec<Book<C>>,
    /// Segments that are empty and in no directory.
    spare: Vec<u32>,
}

/// What the writer knows of a segment.
struct Book<C> {
    depth: u32,
    live: usize,
    /// Slots that are live or gone.
    used: usize,
    /// What it keeps for the entry in each slot.
    cold: Box<[C]>,
}

/// Where the writer found an entry.
struct Slot<'a> {
    segment: u32,
    at: usize,
    line: &'a Line,
}

impl Table {
    pub(super) fn new<C>() -> (Self, TableWriter<C>) {
        let table = Self {
            control: AtomicU64::new(0),
            directories: [const { OnceLock::new() }; DEPTH_MAX + 1],
            segments: Slab::new(),
        };
        let writer = TableWriter {
            books: Vec::new(),
            spare: Vec::new(),
        };
        (table, writer)
    }

    /// Where an entry is whose identifier [`spread`]s to `hash`, if it is there. Its line is on its
    /// way from memory from now on.
    #[expect(
        clippy::inline_always,
        reason = "a place that is returned through memory stalls"
    )]
    #[inline(always)]
    pub(super) fn locate(&self, hash: u64) -> Place<'_> {
        let control = self.control.load(Ordering::Acquire);
        let lines = self.lines_of(hash, depth_of(control));
        if let Some(lines) = lines {
            prefetch_index::prefetch_index(lines, home_of(hash));
        }
        Place {
            table: self,
            hash,
            control,
            lines,
        }
    }

    #[cfg(test)]
    fn found(&self, high: u64, low: u64) -> Option<Row> {
        self.locate(spread(high, low)).find(high, low)
    }

    #[inline]
    fn lines_of(&self, hash: u64, depth: usize) -> Option<&[Line; SLOTS]> {
        let directory = self.directories.get(depth)?.get()?;
        let number = directory.get(place_of(hash, depth))?;
        let lines = self.segments.value(number.load(Ordering::Acquire))?;
        Some(lines)
    }

    /// Bytes that the lines take.
    pub(super) fn bytes(&self) -> usize {
        self.segments.len().saturating_mul(SEGMENT_BYTES)
    }

    // From here on: for the writer.

    /// Writes an entry in place of the one with its identifier, or as a new one.
    pub(super) fn upsert<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        row: &Row,
        cold: C,
    ) -> Result<(), Full> {
        let Some(slot) = self.slot_of(row.high, row.low, |_| true) else {
            return self.insert(writer, row, cold);
        };
        let (line, old) = (slot.line, slot.line.row());
        if let Some(kept) = writer.cold_mut(slot.segment, slot.at) {
            *kept = cold;
        }
        let same_digest = old.digest == row.digest;
        if same_digest && old.payload == row.payload {
            line.tail.store(row.live_tail(), Ordering::Release);
        } else if same_digest && old.live_tail() == row.live_tail() {
            line.head
                .store(line.next_head(row.payload), Ordering::Release);
        } else {
            self.insert(writer, row, cold)?;
            self.count_move(None);
            // The insertion may have split the segment, and so moved the old entry.
            if let Some(slot) = self.slot_of(row.high, row.low, |line| line.row() != *row) {
                self.take_out(writer, slot.segment, slot.at);
            }
        }
        Ok(())
    }

    /// Takes an entry out. One that is not there stays so.
    pub(super) fn remove<C>(&self, writer: &mut TableWriter<C>, high: u64, low: u64) {
        if let Some(slot) = self.slot_of(high, low, |_| true) {
            self.take_out(writer, slot.segment, slot.at);
        }
    }

    /// Shows every entry to `change`, and writes the tail that it gives.
    pub(super) fn update_tails<C>(
        &self,
        writer: &TableWriter<C>,
        mut change: impl FnMut(&Row, &C) -> u64,
    ) {
        for ((_, segment), book) in self.segments.iter().zip(&writer.books) {
            let lines = segment.get().into_iter().flat_map(|lines| lines.iter());
            for (line, cold) in lines.zip(&book.cold).filter(|(line, _)| line.is_live()) {
                let mut row = line.row();
                row.tail = change(&row, cold);
                line.tail.store(row.live_tail(), Ordering::Release);
            }
        }
    }

    /// The slot of an entry, the first that is `wanted`.
    fn slot_of(&self, high: u64, low: u64, wanted: impl Fn(&Line) -> bool) -> Option<Slot<'_>> {
        let hash = spread(high, low);
        let segment = self.segment_number(hash)?;
        let lines = self.segments.value(segment)?;
        probe_order(hash)
            .filter_map(|at| {
                let line = lines.get(at)?;
                Some(Slot { segment, at, line })
            })
            .take_while(|slot| !slot.line.is_vacant())
            .find(|slot| slot.line.is_live() && slot.line.is_for(high, low) && wanted(slot.line))
    }

    fn segment_number(&self, hash: u64) -> Option<u32> {
        let depth = depth_of(self.control.load(Ordering::Relaxed));
        let directory = self.directories.get(depth)?.get()?;
        let place = directory.get(place_of(hash, depth))?;
        Some(place.load(Ordering::Relaxed))
    }

    /// Writes an entry into a free slot.
    fn insert<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        row: &Row,
        cold: C,
    ) -> Result<(), Full> {
        let hash = spread(row.high, row.low);
        loop {
            let number = match self.segment_number(hash) {
                Some(number) => number,
                None => self.first_segment(writer)?,
            };
            let book = writer.books.get(Segments::rank(number)).ok_or(Full)?;
            if book.used > SLOTS_USED_MAX {
                self.make_room(writer, number, hash)?;
                continue;
            }
            return self.place(writer, number, row, cold);
        }
    }

    /// Writes an entry into the first free slot of a segment.
    fn place<C>(
        &self,
        writer: &mut TableWriter<C>,
        number: u32,
        row: &Row,
        cold: C,
    ) -> Result<(), Full> {
        let lines = self.segments.value(number).ok_or(Full)?;
        let book = writer.book_mut(number).ok_or(Full)?;
        let (at, line) = probe_order(spread(row.high, row.low))
            .filter_map(|at| Some((at, lines.get(at)?)))
            .find(|(_, line)| !line.is_live())
            .ok_or(Full)?;
        *book.cold.get_mut(at).ok_or(Full)? = cold;
        book.live = book.live.saturating_add(1);
        if line.is_vacant() {
            book.used = book.used.saturating_add(1);
        }
        line.write(row);
        Ok(())
    }

    fn take_out<C>(&self, writer: &mut TableWriter<C>, number: u32, at: usize) {
        let Some(lines) = self.segments.value(number) else {
            return;
        };
        let Some(book) = writer.book_mut(number) else {
            return;
        };
        let line = |at: usize| lines.get(at % SLOTS);
        if let Some(line) = line(at) {
            line.tail.store(GONE, Ordering::Release);
            book.live = book.live.saturating_sub(1);
        }
        // Slots that are gone at the end of a run can be vacant: nothing stands behind them.
        let mut at = at;
        while line(at.wrapping_add(1)).is_some_and(Line::is_vacant) {
            match line(at) {
                Some(line) if line.is_gone() => line.tail.store(VACANT, Ordering::Release),
                _ => break,
            }
            book.used = book.used.saturating_sub(1);
            at = at.wrapping_add(SLOTS - 1) % SLOTS;
        }
    }

    fn first_segment<C: Copy + Default>(&self, writer: &mut TableWriter<C>) -> Result<u32, Full> {
        let number = self.new_segment(writer, 0)?;
        let directory = Box::from([AtomicU32::new(number)]);
        let first = self.directories.first().ok_or(Full)?;
        first.set(directory).map_err(|_| Full)?;
        self.count_move(None);
        Ok(number)
    }

    /// An empty segment.
    fn new_segment<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        depth: u32,
    ) -> Result<u32, Full> {
        if let Some(number) = writer.spare.pop() {
            let book = writer.book_mut(number).ok_or(Full)?;
            (book.depth, book.live, book.used) = (depth, 0, 0);
            return Ok(number);
        }
        let lines: Box<[Line]> = (0..SLOTS).map(|_| Line::vacant()).collect();
        let lines = lines.try_into().map_err(|_| Full)?;
        let number = self.segments.push(lines).ok_or(Full)?;
        writer.books.push(Book {
            depth,
            live: 0,
            used: 0,
            cold: alloc::vec![C::default(); SLOTS].into(),
        });
        Ok(number)
    }

    /// Splits a full segment in two, or copies it without the slots that are gone.
    fn make_room<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        number: u32,
        hash: u64,
    ) -> Result<(), Full> {
        let book = writer.books.get(Segments::rank(number)).ok_or(Full)?;
        let old_depth = book.depth;
        if book.live < SLOTS_LIVE_SPLIT {
            return self.copy(writer, number, hash, old_depth);
        }
        if old_depth as usize >= DEPTH_MAX {
            return Err(Full);
        }
        let depth = old_depth.saturating_add(1);
        let other = self.new_segment(writer, depth)?;
        let lines = self.segments.value(number).ok_or(Full)?;
        let moves = |line: &Line| {
            let row = line.row();
            place_of(spread(row.high, row.low), depth as usize) & 1 == 1
        };
        for (at, line) in lines.iter().enumerate() {
            if line.is_live() && moves(line) {
                let cold = writer.cold_mut(number, at).copied().unwrap_or_default();
                self.place(writer, other, &line.row(), cold)?;
            }
        }
        if let Some(book) = writer.book_mut(number) {
            book.depth = depth;
        }
        self.point(hash, old_depth, |half| if half { other } else { number })?;
        for (at, line) in lines.iter().enumerate() {
            if line.is_live() && moves(line) {
                self.take_out(writer, number, at);
            }
        }
        Ok(())
    }

    fn copy<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        number: u32,
        hash: u64,
        depth: u32,
    ) -> Result<(), Full> {
        let other = self.new_segment(writer, depth)?;
        let lines = self.segments.value(number).ok_or(Full)?;
        for (at, line) in lines.iter().enumerate() {
            if line.is_live() {
                let cold = writer.cold_mut(number, at).copied().unwrap_or_default();
                self.place(writer, other, &line.row(), cold)?;
            }
        }
        self.point(hash, depth, |_| other)?;
        for line in lines.iter() {
            line.tail.store(VACANT, Ordering::Release);
        }
        if let Some(book) = writer.book_mut(number) {
            book.live = 0;
        }
        writer.spare.push(number);
        Ok(())
    }

    /// Points all places of a segment of `depth` at new segments: `segment` is asked for the
    /// first and for the second half of them. Counts the move.
    fn point(&self, hash: u64, depth: u32, segment: impl Fn(bool) -> u32) -> Result<(), Full> {
        let own_depth = depth as usize;
        let halves_differ = segment(false) != segment(true);
        let old_depth = depth_of(self.control.load(Ordering::Relaxed));
        let grows = halves_differ && own_depth == old_depth;
        let new_depth = old_depth.saturating_add(usize::from(grows));
        if grows {
            let old = self.directories.get(old_depth).and_then(OnceLock::get);
            let doubled = old
                .ok_or(Full)?
                .iter()
                .flat_map(|place| [place.load(Ordering::Relaxed); 2])
                .map(AtomicU32::new)
                .collect();
            let place = self.directories.get(new_depth).ok_or(Full)?;
            place.set(doubled).map_err(|_| Full)?;
        }
        let directory = self.directories.get(new_depth).and_then(OnceLock::get);
        let own = place_of(hash, own_depth);
        for (at, place) in directory.ok_or(Full)?.iter().enumerate() {
            let below = new_depth.saturating_sub(own_depth);
            if at >> below == own {
                let half = below > 0 && (at >> below.saturating_sub(1)) & 1 == 1;
                place.store(segment(half), Ordering::Release);
            }
        }
        self.count_move(Some(new_depth));
        Ok(())
    }

    /// Lets readers that miss start over.
    fn count_move(&self, depth: Option<usize>) {
        let control = self.control.load(Ordering::Relaxed);
        let depth = depth.unwrap_or(depth_of(control)) as u64;
        let moved = ((control >> 8).wrapping_add(1) << 8) | depth;
        self.control.store(moved, Ordering::Release);
    }
}

impl Place<'_> {
    /// Finds the entry. Never waits.
    pub(crate) fn find(self, high: u64, low: u64) -> Option<Row> {
        let mut place = self;
        loop {
            match place.look(high, low) {
                Ok(found) => return found,
                Err(Changed) => place = self.table.locate(self.hash),
            }
        }
    }

    /// Finds the entry, unless something changes while it looks.
    #[expect(
        clippy::inline_always,
        reason = "a row that is returned through memory stalls"
    )]
    #[inline(always)]
    pub(crate) fn look(self, high: u64, low: u64) -> Result<Option<Row>, Changed> {
        let lines = self.lines;
        match lines.map(|lines| probe(lines, self.hash, high, low)) {
            Some(Probe::Found(row)) => return Ok(Some(row)),
            Some(Probe::Changed) => return Err(Changed),
            Some(Probe::Missed) | None => {}
        }
        // What was read of other entries' words comes before the move count.
        fence(Ordering::Acquire);
        if self.table.control.load(Ordering::Acquire) == self.control {
            Ok(None)
        } else {
            Err(Changed)
        }
    }
}

/// Something that the reader read changed meanwhile.
pub(crate) struct Changed;

impl<C> TableWriter<C> {
    fn cold_mut(&mut self, segment: u32, at: usize) -> Option<&mut C> {
        self.book_mut(segment)?.cold.get_mut(at)
    }

    fn book_mut(&mut self, segment: u32) -> Option<&mut Book<C>> {
        self.books.get_mut(Segments::rank(segment))
    }
}

/// The table has no room left, or the hashes of its identifiers are all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

enum Probe {
    Found(Row),
    /// The entry was found, but changed while it was read.
    Changed,
    Missed,
}

#[expect(clippy::inline_always, reason = "as `Table::find`")]
#[inline(always)]
fn probe(lines: &[Line; SLOTS], hash: u64, high: u64, low: u64) -> Probe {
    for at in probe_order(hash) {
        let Some(line) = lines.get(at) else {
            return Probe::Missed;
        };
        // The version first: it vouches for nothing that was read before it.
        let head = line.head.load(Ordering::Acquire);
        let tail = line.tail.load(Ordering::Acquire);
        match tail & STATE {
            LIVE => {}
            VACANT => return Probe::Missed,
            _ => continue,
        }
        if !line.is_for(high, low) {
            continue;
        }
        let digest = line.digest();
        fence(Ordering::Acquire);
        let same_head = line.head.load(Ordering::Relaxed) == head;
        if !same_head || line.tail.load(Ordering::Relaxed) != tail {
            return Probe::Changed;
        }
        return Probe::Found(Row::unpack(high, low, digest, head, tail));
    }
    Probe::Missed
}

/// The slots in which an entry may stand, the likeliest first.
#[inline]
fn probe_order(hash: u64) -> impl Iterator<Item = usize> {
    let home = home_of(hash);
    (0..SLOTS).map(move |step| home.wrapping_add(step) % SLOTS)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the last bits count")]
pub(super) fn home_of(hash: u64) -> usize {
    hash as usize % SLOTS
}

/// Spreads identifiers that need not be random: those of keys are, those of legacy credentials
/// nearly. Strangers cannot choose what is in a table.
///
/// This is [`spread_digits`] of the identifier's bytes as text.
pub(super) fn spread(high: u64, low: u64) -> u64 {
    let [first, second] = digits_of(high);
    let [third, fourth] = digits_of(low);
    spread_words([first, second, third, fourth])
}

/// As [`spread`], of an identifier that is not read yet: a reader asks for a line before it knows
/// whether these are digits at all.
#[inline]
pub(crate) fn spread_digits(digits: &[u8; 32]) -> u64 {
    let mut words = [0; 4];
    for (word, digits) in words.iter_mut().zip(digits.chunks_exact(8)) {
        *word = u64::from_le_bytes(digits.first_chunk().copied().unwrap_or_default());
    }
    spread_words(words)
}

#[inline]
fn spread_words([a, b, c, d]: [u64; 4]) -> u64 {
    // What varies in a digit is its last four bits and one or two of the others.
    let product = u128::from(a ^ b.rotate_left(4) ^ 0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(u128::from(c ^ d.rotate_left(4) ^ 0xd1b5_4a32_d192_ed03));
    #[expect(clippy::cast_possible_truncation, reason = "folds the two halves")]
    let folded = (product >> 64) as u64 ^ product as u64;
    folded
}

/// The sixteen lower-case hexadecimal digits of eight bytes, the lowest byte first.
fn digits_of(bytes: u64) -> [u64; 2] {
    [bytes & 0xffff_ffff, bytes >> 32].map(|four| {
        let twos = (four | (four << 16)) & 0x0000_ffff_0000_ffff;
        let ones = (twos | (twos << 8)) & 0x00ff_00ff_00ff_00ff;
        let values = ((ones >> 4) | (ones << 8)) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (values.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        // From '9' to 'a' there are 39 characters that are no digits.
        values
            .wrapping_add(0x3030_3030_3030_3030)
            .wrapping_add(letters.wrapping_mul(39))
    })
}

/// The place of a hash in a directory: its first bits.
#[inline]
pub(super) fn place_of(hash: u64, depth: usize) -> usize {
    (hash >> 1 >> 63usize.wrapping_sub(depth)) as usize
}

#[inline]
fn depth_of(control: u64) -> usize {
    (control & 0xff) as usize
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;
    use crate::key_id::KeyId;

    /// A row whose words all follow from identifier and generation, so that a mixture shows.
    fn row(id: u64, generation: u64) -> Row {
        Row {
            high: id,
            low: !id,
            digest: [id ^ generation, generation, id, id.wrapping_add(generation)],
            payload: (id ^ generation) & ((1 << 50) - 1),
            // Alike for all, as it is for most keys: nothing may depend on it.
            tail: 5,
        }
    }

    fn generation(found: &Row) -> u64 {
        found.digest[1]
    }

    /// A small generator of numbers (Steele, Lea, Flood: `SplitMix64`).
    fn numbers(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    #[test]
    fn an_identifier_and_its_digits_spread_alike() {
        let mut next = numbers(5);
        for _ in 0..1_000 {
            let bytes = (u128::from(next()) << 64) | u128::from(next());
            let id = KeyId::from_bytes(bytes.to_le_bytes());
            let (high, low) = id.halves();
            assert_eq!(spread(high, low), spread_digits(&id.to_digits()));
        }
    }

    #[test]
    fn agrees_with_a_hash_map() {
        let (table, mut writer) = Table::new::<()>();
        let mut model = HashMap::new();
        let mut next = numbers(7);
        for step in 0..200_000 {
            // Grows at first, then shrinks, over identifiers that come again.
            let id = next() % 20_000;
            if next() % 100 < if step < 100_000 { 70 } else { 30 } {
                let new = row(id, next() % 4);
                table.upsert(&mut writer, &new, ()).unwrap();
                model.insert(id, new);
            } else {
                table.remove(&mut writer, id, !id);
                model.remove(&id);
            }
            let asked = next() % 20_000;
            assert_eq!(table.found(asked, !asked), model.get(&asked).copied());
        }
        for id in 0..20_000 {
            assert_eq!(table.found(id, !id), model.get(&id).copied());
        }
        let live: usize = writer.books.iter().map(|book| book.live).sum();
        assert_eq!(live, model.len());
    }

    #[test]
    fn what_the_writer_keeps_moves_with_its_entry() {
        let (table, mut writer) = Table::new::<u64>();
        let mut next = numbers(3);
        for _ in 0..100_000 {
            let id = next() % 5_000;
            let generation = next();
            let row = row(id, generation);
            table.upsert(&mut writer, &row, generation).unwrap();
            let id = next() % 5_000;
            table.remove(&mut writer, id, !id);
        }
        let mut seen = 0;
        table.update_tails(&writer, |row, cold| {
            assert_eq!(generation(row), *cold);
            seen += 1;
            row.tail
        });
        let live: usize = writer.books.iter().map(|book| book.live).sum();
        assert_eq!(seen, live);
    }

    #[test]
    fn single_words_change_in_place() {
        let (table, mut writer) = Table::new::<()>();
        let one = row(1, 1);
        table.upsert(&mut writer, &one, ()).unwrap();
        for changed in [
            Row { tail: 5, ..one },
            Row { payload: 9, ..one },
            Row {
                payload: 9,
                tail: 6,
                ..one
            },
            Row {
                digest: [0; 4],
                ..one
            },
        ] {
            table.upsert(&mut writer, &changed, ()).unwrap();
            assert_eq!(table.found(1, !1), Some(changed));
        }
        table.update_tails(&writer, |_, ()| 77);
        assert_eq!(table.found(1, !1).unwrap().tail, 77);
        assert_eq!(writer.books[0].live, 1);
    }

    #[test]
    fn churn_does_not_fill_the_table() {
        let (table, mut writer) = Table::new::<()>();
        for id in 0..300_000 {
            table.upsert(&mut writer, &row(id, 0), ()).unwrap();
            if id >= 300 {
                table.remove(&mut writer, id - 300, !(id - 300));
            }
        }
        assert!(table.segments.len() <= 2, "{}", table.segments.len());
    }

    #[test]
    fn a_full_million_is_within_the_bound() {
        let (table, mut writer) = Table::new::<()>();
        let mut next = numbers(1);
        for _ in 0..1_000_000 {
            table.upsert(&mut writer, &row(next(), 0), ()).unwrap();
        }
        assert!(table.bytes() / 1_000_000 <= 150, "{}", table.bytes());
    }

    /// Two entries take turns in one slot, with nothing to tell them apart but their identifiers,
    /// digests and payloads.
    #[test]
    fn entries_that_share_a_slot_are_not_mixed() {
        let home = |id: u64| probe_order(spread(id, !id)).next();
        let one = 1;
        let two = (2..1_000_000).find(|id| home(*id) == home(one)).unwrap();
        let (table, mut writer) = Table::new::<()>();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (table, done) = (&table, &done);
            let readers = [0; 2].map(|_| {
                scope.spawn(move || {
                    let mut seen = 0;
                    while !done.load(Ordering::Relaxed) {
                        for id in [one, two] {
                            if let Some(found) = table.found(id, !id) {
                                assert_eq!(found, row(id, 0));
                                seen += 1;
                            }
                        }
                    }
                    seen
                })
            });
            for _ in 0..1_000_000 {
                for id in [one, two] {
                    table.upsert(&mut writer, &row(id, 0), ()).unwrap();
                    table.remove(&mut writer, id, !id);
                }
            }
            done.store(true, Ordering::Relaxed);
            for reader in readers {
                assert!(reader.join().unwrap() > 0);
            }
        });
    }

    /// Readers see every stable entry at any time, each entry whole, and each entry's
    /// generations in order, while a writer changes, moves, splits, takes out and adds.
    #[test]
    fn readers_miss_nothing_and_mix_nothing() {
        const STABLE: u64 = 2_000;
        const MOVING: u8 = 64;
        let (table, mut writer) = Table::new::<()>();
        for id in 0..STABLE {
            table.upsert(&mut writer, &row(id, 0), ()).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for seed in 0..2 {
                let (table, done) = (&table, &done);
                scope.spawn(move || {
                    let mut next = numbers(seed);
                    let mut seen = [0; MOVING as usize];
                    while !done.load(Ordering::Relaxed) {
                        let id = next() % STABLE;
                        let found = table.found(id, !id).expect("a stable entry is missing");
                        assert_eq!(found, row(id, generation(&found)));
                        if let Some(last) = seen.get_mut(usize::try_from(id).unwrap()) {
                            assert!(generation(&found) >= *last, "an old generation came back");
                            *last = generation(&found);
                        }
                        let strange = (next() % 512) | (1 << 40);
                        if let Some(found) = table.found(strange, !strange) {
                            assert_eq!(found, row(strange, 0));
                        }
                    }
                });
            }
            let mut next = numbers(99);
            for round in 1..60_000 {
                let id = next() % u64::from(MOVING);
                table.upsert(&mut writer, &row(id, round), ()).unwrap();
                for _ in 0..4 {
                    let passing = (next() % 512) | (1 << 40);
                    table.upsert(&mut writer, &row(passing, 0), ()).unwrap();
                    let passing = (next() % 512) | (1 << 40);
                    table.remove(&mut writer, passing, !passing);
                }
                let growing = (next() % 8_192) | (1 << 41);
                table.upsert(&mut writer, &row(growing, 0), ()).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
