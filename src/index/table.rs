//! A hash table with one writer and any number of readers that never wait. See `README.md`.

use std::sync::OnceLock;

use alloc::{boxed::Box, vec::Vec};

use crate::index::{
    append_vec::AppendVec,
    line::{Line, Row},
    sync::{AtomicU16, AtomicU32, AtomicU64, GROUPS, Ordering, SLOTS, fence},
};

/// The memory of a segment that readers use.
const SEGMENT_BYTES: usize = size_of::<Segment>() + SLOTS * size_of::<Line>();
/// A segment with more entries than this is split: in a fuller one, pilots are hard to find.
const LIVE_MAX: usize = SLOTS * 6 / 10;
/// How many entries a segment is reserved for: with this many on average, few segments have more than
/// [`LIVE_MAX`].
const RESERVED: usize = SLOTS * 11 / 20;
/// The maximum directory depth: 2^22 segments, about two billion entries.
const DEPTH_MAX: usize = 22;

pub(super) struct Table {
    /// The move count, and the depth of the directory in the last eight bits.
    control: AtomicU64,
    /// The directory of depth `n` has 2^n elements, each the number of a segment.
    directories: [OnceLock<Box<[AtomicU32]>>; DEPTH_MAX + 1],
    segments: Segments,
}

/// As many segments as the largest directory has elements.
type Segments = AppendVec<Segment, 22>;

struct Segment {
    pilots: [AtomicU16; GROUPS],
    lines: OnceLock<Box<[Line; SLOTS]>>,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            pilots: core::array::from_fn(|_| AtomicU16::new(0)),
            lines: OnceLock::new(),
        }
    }
}

impl Segment {
    #[inline]
    fn slot(&self, hash: Hash) -> Option<usize> {
        let pilot = self.pilots.get(hash.group())?;
        Some(hash.slot(pilot.load(Ordering::Acquire)))
    }

    fn line(&self, at: usize) -> Option<&Line> {
        self.lines.get()?.get(at)
    }
}

/// The slot in which an entry must be if it exists.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    line: Option<&'a Line>,
}

/// The content of the slot in which an entry must be.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// If `mismatch` is not zero, another entry or a removed one.
    pub(crate) row: Row,
    /// Zero if this is the requested entry.
    pub(crate) mismatch: u64,
}

/// The writer's part of a table. Holding it gives the right to write.
///
/// It has a value of type `C` for every entry, outside the memory that readers use.
pub(super) struct TableWriter<C> {
    /// Indexed by the ranks of the segments.
    segment_metas: Vec<SegmentMeta<C>>,
}

/// The writer's data on a segment.
struct SegmentMeta<C> {
    depth: u32,
    live: usize,
    /// The group of the entry in each slot; [`FREE`] for a vacant slot.
    groups: Box<[u8; SLOTS]>,
    /// The writer's value for each slot.
    cold: Box<[C]>,
}

const FREE: u8 = u8::MAX;

const _: () = assert!(GROUPS <= FREE as usize, "a group is told from none");

impl<C> SegmentMeta<C> {
    fn is_free(&self, at: usize) -> bool {
        self.groups.get(at) == Some(&FREE)
    }

    fn fill(&mut self, at: usize, group: u8, cold: C) -> Result<(), Full> {
        *self.cold.get_mut(at).ok_or(Full)? = cold;
        *self.groups.get_mut(at).ok_or(Full)? = group;
        self.live = self.live.saturating_add(1);
        Ok(())
    }

    fn clear(&mut self, at: usize) {
        if let Some(group) = self.groups.get_mut(at) {
            *group = FREE;
            self.live = self.live.saturating_sub(1);
        }
    }

    /// Returns the slots of a group's entries.
    fn slots_of(&self, group: u8) -> Vec<usize> {
        let mut slots = Vec::new();
        for (first, part) in (0..).step_by(64).zip(self.groups.chunks(64)) {
            // `contains` is vectorized, and most parts have no entry of the group.
            if part.contains(&group) {
                let own = (first..).zip(part).filter(|(_, own)| **own == group);
                slots.extend(own.map(|(at, _)| at));
            }
        }
        slots
    }

    /// Finds a pilot that maps entries with these hashes to free slots; returns it with the slots.
    fn pilot_for(&self, hashes: &[Hash]) -> Option<(u16, Vec<usize>)> {
        let (first, rest) = hashes.split_at_checked(4).unwrap_or((hashes, &[]));
        (0..=u16::MAX).find_map(|pilot| {
            // Branch-free, since a branch per hash would be mispredicted.
            let are_free = |free, hash: &Hash| free & self.is_free(hash.slot(pilot));
            if !(first.iter().fold(true, are_free) && rest.iter().fold(true, are_free)) {
                return None;
            }
            let slots: Vec<_> = hashes.iter().map(|hash| hash.slot(pilot)).collect();
            let mut taken = slots.iter().enumerate();
            let differ = taken.all(|(n, at)| !slots.iter().take(n).any(|other| other == at));
            differ.then_some((pilot, slots))
        })
    }
}

/// The slot of an existing entry, for the writer.
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
            segments: AppendVec::new(),
        };
        (
            table,
            TableWriter {
                segment_metas: Vec::new(),
            },
        )
    }

    /// Returns the slot in which the entry with this hash must be, and prefetches it.
    #[expect(
        clippy::inline_always,
        reason = "a place that is returned through memory stalls"
    )]
    #[inline(always)]
    pub(super) fn locate(&self, hash: Hash) -> Place<'_> {
        let depth = depth_of(self.control.load(Ordering::Acquire));
        Place {
            line: self.line_of(hash, depth),
        }
    }

    #[expect(clippy::inline_always, reason = "as `locate`")]
    #[inline(always)]
    fn line_of(&self, hash: Hash, depth: usize) -> Option<&Line> {
        let directory = self.directories.get(depth)?.get()?;
        let number = directory.get(hash.place(depth))?;
        let segment = self.segments.get(number.load(Ordering::Acquire))?;
        let lines: &[Line; SLOTS] = segment.lines.get()?;
        let at = segment.slot(hash)?;
        prefetch_index::prefetch_index(lines, at);
        lines.get(at)
    }

    /// Reads the slot in which this entry must be. Retries if the writer moved entries meanwhile,
    /// but never waits for the writer.
    pub(super) fn find(&self, high: u64, low: u64) -> Seen {
        let hash = spread(high, low);
        loop {
            let control = self.control.load(Ordering::Acquire);
            let line = self.line_of(hash, depth_of(control));
            let seen = Place { line }.read(high, low);
            // The line is read before the move count: `read` has a fence.
            let moved = self.control.load(Ordering::Relaxed) != control;
            match seen {
                Some(seen) if !moved => return seen,
                None if !moved && line.is_none() => return Seen::NOTHING,
                _ => {}
            }
        }
    }

    #[cfg(test)]
    fn found(&self, high: u64, low: u64) -> Option<Row> {
        let seen = self.find(high, low);
        (seen.mismatch == 0).then_some(seen.row)
    }

    /// The memory of the segments in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.segments.len().saturating_mul(SEGMENT_BYTES)
    }

    // The writer's methods.

    /// Makes room for this many entries in a table that never had one. A table that grows entry by
    /// entry splits its segments, and so writes each entry about twice.
    pub(super) fn reserve<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        entries: usize,
    ) -> Result<(), Full> {
        if !writer.segment_metas.is_empty() || entries <= RESERVED {
            return Ok(());
        }
        let segments = entries.div_ceil(RESERVED).next_power_of_two();
        let depth = segments.trailing_zeros();
        let place = self.directories.get(depth as usize).ok_or(Full)?;
        let numbers = (0..segments).map(|_| self.new_segment(writer, depth));
        let numbers = numbers.collect::<Result<Vec<_>, Full>>()?;
        let directory = numbers.into_iter().map(AtomicU32::new).collect();
        place.set(directory).map_err(|_| Full)?;
        self.count_move(Some(depth as usize));
        Ok(())
    }

    /// Inserts an entry, or replaces the one with its identifier.
    pub(super) fn upsert<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        row: &Row,
        cold: C,
    ) -> Result<(), Full> {
        let Some(slot) = self.slot_of(row.high, row.low) else {
            return self.insert(writer, row, cold);
        };
        let (line, old) = (slot.line, slot.line.row());
        if old.digest == row.digest && old.payload == row.payload {
            line.meta.store(row.live_meta(), Ordering::Release);
        } else if old.digest == row.digest && old.live_meta() == row.live_meta() {
            line.version
                .store(line.next_version(row.payload), Ordering::Release);
        } else {
            return self.insert(writer, row, cold);
        }
        if let Some(kept) = writer.cold_mut(slot.segment, slot.at) {
            *kept = cold;
        }
        Ok(())
    }

    /// Removes an entry, if it exists.
    pub(super) fn remove<C>(&self, writer: &mut TableWriter<C>, high: u64, low: u64) {
        if let Some(slot) = self.slot_of(high, low) {
            slot.line.take_out();
            if let Some(segment_meta) = writer.segment_meta_mut(slot.segment) {
                segment_meta.clear(slot.at);
            }
        }
    }

    /// Removes all entries. The memory is kept for others.
    pub(super) fn clear<C>(&self, writer: &mut TableWriter<C>) {
        for (number, segment_meta) in self.segments.numbers().zip(&mut writer.segment_metas) {
            let lines = self.segments.get(number).and_then(|own| own.lines.get());
            for line in lines.into_iter().flat_map(|lines| lines.iter()) {
                if line.is_live() {
                    line.take_out();
                }
            }
            segment_meta.groups.fill(FREE);
            segment_meta.live = 0;
        }
    }

    /// Replaces the metadata of an entry, if it exists, with the result of `change`.
    pub(super) fn update_meta<C>(
        &self,
        writer: &mut TableWriter<C>,
        high: u64,
        low: u64,
        change: impl FnOnce(u64, &C) -> u64,
    ) {
        if let Some(slot) = self.slot_of(high, low)
            && let Some(cold) = writer.cold_mut(slot.segment, slot.at)
        {
            let mut row = slot.line.row();
            let before = row.meta;
            row.meta = change(before, cold);
            // A store takes the line away from readers.
            if row.meta != before {
                slot.line.meta.store(row.live_meta(), Ordering::Release);
            }
        }
    }

    /// Returns an entry, for the writer.
    pub(super) fn row<C>(&self, _: &TableWriter<C>, high: u64, low: u64) -> Option<Row> {
        Some(self.slot_of(high, low)?.line.row())
    }

    fn slot_of(&self, high: u64, low: u64) -> Option<Slot<'_>> {
        let hash = spread(high, low);
        let number = self.segment_number(hash)?;
        let segment = self.segments.get(number)?;
        let at = segment.slot(hash)?;
        let line = segment.line(at)?;
        let meta = line.meta.load(Ordering::Relaxed);
        (line.difference(high, low, meta) == 0).then_some(Slot {
            segment: number,
            at,
            line,
        })
    }

    fn segment_number(&self, hash: Hash) -> Option<u32> {
        let depth = depth_of(self.control.load(Ordering::Relaxed));
        let directory = self.directories.get(depth)?.get()?;
        let place = directory.get(hash.place(depth))?;
        Some(place.load(Ordering::Relaxed))
    }

    /// Writes an entry to a vacant slot, and removes the existing one with its identifier.
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
            let live = writer.segment_meta_mut(number).ok_or(Full)?.live;
            if live <= LIVE_MAX && self.place(writer, number, row, cold)? {
                return Ok(());
            }
            // In a nearly empty segment a pilot exists for every group, unless hashes are equal,
            // which a split would not separate.
            if live.saturating_mul(16) < SLOTS {
                return Err(Full);
            }
            self.split(writer, number, hash)?;
        }
    }

    /// Writes an entry to a segment; returns `false` if no pilot was found.
    fn place<C: Copy>(
        &self,
        writer: &mut TableWriter<C>,
        number: u32,
        row: &Row,
        cold: C,
    ) -> Result<bool, Full> {
        let hash = spread(row.high, row.low);
        let segment = self.segments.get(number).ok_or(Full)?;
        let segment_meta = writer.segment_meta_mut(number).ok_or(Full)?;
        let at = segment.slot(hash).ok_or(Full)?;
        let group = u8::try_from(hash.group()).map_err(|_| Full)?;
        if segment_meta.is_free(at) {
            segment_meta.fill(at, group, cold)?;
            segment.line(at).ok_or(Full)?.write(row);
            return Ok(true);
        }
        // The slot is taken: move the whole group.
        let left = segment_meta.slots_of(group);
        let mut entries = Vec::with_capacity(left.len().saturating_add(1));
        entries.push((*row, cold));
        for at in &left {
            let old = segment.line(*at).ok_or(Full)?.row();
            if (old.high, old.low) != (row.high, row.low) {
                entries.push((old, *segment_meta.cold.get(*at).ok_or(Full)?));
            }
        }
        let hashes = entries.iter().map(|(row, _)| spread(row.high, row.low));
        let Some((pilot, slots)) = segment_meta.pilot_for(&hashes.collect::<Vec<_>>()) else {
            return Ok(false);
        };
        for ((row, cold), at) in entries.iter().zip(slots) {
            segment_meta.fill(at, group, *cold)?;
            segment.line(at).ok_or(Full)?.write(row);
        }
        let current = segment.pilots.get(hash.group()).ok_or(Full)?;
        current.store(pilot, Ordering::Release);
        self.count_move(None);
        for at in left {
            segment.line(at).ok_or(Full)?.take_out();
            segment_meta.clear(at);
        }
        Ok(true)
    }

    fn first_segment<C: Copy + Default>(&self, writer: &mut TableWriter<C>) -> Result<u32, Full> {
        let number = self.new_segment(writer, 0)?;
        let directory = Box::from([AtomicU32::new(number)]);
        let first = self.directories.first().ok_or(Full)?;
        first.set(directory).map_err(|_| Full)?;
        self.count_move(None);
        Ok(number)
    }

    /// Appends an empty segment.
    fn new_segment<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        depth: u32,
    ) -> Result<u32, Full> {
        let lines: Box<[Line]> = (0..SLOTS).map(|_| Line::vacant()).collect();
        let lines = lines.try_into().map_err(|_| Full)?;
        let (number, segment) = self.segments.extend().ok_or(Full)?;
        segment.lines.set(lines).map_err(|_| Full)?;
        writer.segment_metas.push(SegmentMeta {
            depth,
            live: 0,
            groups: Box::new([FREE; SLOTS]),
            cold: alloc::vec![C::default(); SLOTS].into(),
        });
        Ok(number)
    }

    /// Splits a segment into two.
    fn split<C: Copy + Default>(
        &self,
        writer: &mut TableWriter<C>,
        number: u32,
        hash: Hash,
    ) -> Result<(), Full> {
        let old_depth = writer.segment_meta_mut(number).ok_or(Full)?.depth;
        if old_depth as usize >= DEPTH_MAX {
            return Err(Full);
        }
        let depth = old_depth.saturating_add(1);
        let other = self.new_segment(writer, depth)?;
        let segment = self.segments.get(number).ok_or(Full)?;
        let lines = segment.lines.get().ok_or(Full)?;
        let moves = |line: &Line| {
            let row = line.row();
            spread(row.high, row.low).place(depth as usize) & 1 == 1
        };
        for (at, line) in lines.iter().enumerate() {
            if line.is_live() && moves(line) {
                let cold = *writer.cold_mut(number, at).ok_or(Full)?;
                if !self.place(writer, other, &line.row(), cold)? {
                    return Err(Full);
                }
            }
        }
        let segment_meta = writer.segment_meta_mut(number).ok_or(Full)?;
        segment_meta.depth = depth;
        self.point(hash, old_depth, [number, other])?;
        for (at, line) in lines.iter().enumerate() {
            if line.is_live() && moves(line) {
                line.take_out();
                segment_meta.clear(at);
            }
        }
        Ok(())
    }

    /// Points the first half of the directory elements of a segment of `depth` at one segment, and
    /// the second half at another. Increments the move count.
    fn point(&self, hash: Hash, depth: u32, [first, second]: [u32; 2]) -> Result<(), Full> {
        let own_depth = depth as usize;
        let old_depth = depth_of(self.control.load(Ordering::Relaxed));
        let grows = own_depth == old_depth;
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
        let own = hash.place(own_depth);
        let below = new_depth.saturating_sub(own_depth);
        for (at, place) in directory.ok_or(Full)?.iter().enumerate() {
            if at >> below == own {
                let half = (at >> below.saturating_sub(1)) & 1;
                place.store(if half == 0 { first } else { second }, Ordering::Release);
            }
        }
        self.count_move(Some(new_depth));
        Ok(())
    }

    /// Increments the move count, which makes readers that did not find their entry retry.
    fn count_move(&self, depth: Option<usize>) {
        let control = self.control.load(Ordering::Relaxed);
        let depth = depth.unwrap_or(depth_of(control)) as u64;
        let moved = ((control >> 8).wrapping_add(1) << 8) | depth;
        self.control.store(moved, Ordering::Release);
    }
}

impl Place<'_> {
    /// Reads the slot; `None` if it changed during the read, or if the table is empty. A mismatch
    /// may also mean that the entry was moved, which [`Table::find`] checks.
    ///
    /// There is no branch on whether the entry exists: the comparison result, including the secret,
    /// is the only branch.
    #[expect(
        clippy::inline_always,
        reason = "a row that is returned through memory stalls"
    )]
    #[inline(always)]
    pub(crate) fn read(self, high: u64, low: u64) -> Option<Seen> {
        let line = self.line?;
        // The version first: it vouches for nothing that was read before it.
        let version = line.version.load(Ordering::Acquire);
        let meta = line.meta.load(Ordering::Acquire);
        let mismatch = line.difference(high, low, meta);
        let digest = line.digest();
        fence(Ordering::Acquire);
        if line.version.load(Ordering::Relaxed) != version {
            return None;
        }
        let row = Row::unpack(high, low, digest, version, meta);
        Some(Seen { row, mismatch })
    }
}

impl Seen {
    const NOTHING: Self = Self {
        row: Row {
            high: 0,
            low: 0,
            digest: [0; 4],
            payload: 0,
            meta: 0,
        },
        mismatch: u64::MAX,
    };
}

impl<C> TableWriter<C> {
    fn cold_mut(&mut self, segment: u32, at: usize) -> Option<&mut C> {
        self.segment_meta_mut(segment)?.cold.get_mut(at)
    }

    fn segment_meta_mut(&mut self, segment: u32) -> Option<&mut SegmentMeta<C>> {
        self.segment_metas.get_mut(Segments::rank(segment))
    }
}

/// The table has no room, or too many identifiers have equal hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The hash of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash {
    /// Its high bits select the directory element, its low bits the group.
    rough: u64,
    /// Selects the slot, together with the pilot of the group.
    fine: u64,
}

impl Hash {
    const SLOT_SHIFT: u32 = u64::BITS - SLOTS.trailing_zeros();

    #[inline]
    pub(super) fn place(self, depth: usize) -> usize {
        (self.rough >> 1 >> 63usize.wrapping_sub(depth)) as usize
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "only the last bits count")]
    pub(super) fn group(self) -> usize {
        self.rough as usize % GROUPS
    }

    #[inline]
    pub(super) fn slot(self, pilot: u16) -> usize {
        let mixed = (self.fine ^ u64::from(pilot)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> Self::SLOT_SHIFT) as usize
    }
}

/// Hashes an identifier, to the same value as [`spread_digits`] of its text. A keyed hash is not
/// needed: attackers cannot choose the identifiers in a table.
pub(super) fn spread(high: u64, low: u64) -> Hash {
    let [first, second] = digits_of(high);
    let [third, fourth] = digits_of(low);
    spread_words([first, second, third, fourth])
}

/// Hashes the text of an identifier before it is parsed, so that the prefetch starts early.
#[inline]
pub(crate) fn spread_digits(digits: &[u8; 32]) -> Hash {
    let mut words = [0; 4];
    for (word, digits) in words.iter_mut().zip(digits.chunks_exact(8)) {
        *word = u64::from_le_bytes(digits.first_chunk().copied().unwrap_or_default());
    }
    spread_words(words)
}

#[inline]
fn spread_words([a, b, c, d]: [u64; 4]) -> Hash {
    // The bits of a digit that vary are its low four and one or two of the others.
    let product = u128::from(a ^ b.rotate_left(4) ^ 0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(u128::from(c ^ d.rotate_left(4) ^ 0xd1b5_4a32_d192_ed03));
    #[expect(clippy::cast_possible_truncation, reason = "takes the halves")]
    let (high, low) = ((product >> 64) as u64, product as u64);
    Hash {
        rough: high ^ low,
        fine: low,
    }
}

/// Returns the sixteen lower-case hexadecimal digits of eight bytes, lowest byte first.
fn digits_of(bytes: u64) -> [u64; 2] {
    [bytes & 0xffff_ffff, bytes >> 32].map(|four| {
        let twos = (four | (four << 16)) & 0x0000_ffff_0000_ffff;
        let ones = (twos | (twos << 8)) & 0x00ff_00ff_00ff_00ff;
        let values = ((ones >> 4) | (ones << 8)) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (values.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        // There are 39 characters between '9' and 'a'.
        values
            .wrapping_add(0x3030_3030_3030_3030)
            .wrapping_add(letters.wrapping_mul(39))
    })
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

    /// Returns a row whose words are all derived from identifier and generation, so that torn reads
    /// are detected.
    fn row(id: u64, generation: u64) -> Row {
        Row {
            high: id,
            low: !id,
            digest: [id ^ generation, generation, id, id.wrapping_add(generation)],
            payload: (id ^ generation) & ((1 << 50) - 1),
            // Equal for all rows, as it is for most keys: lookups must not depend on it.
            meta: 5,
        }
    }

    fn generation(found: &Row) -> u64 {
        found.digest[1]
    }

    /// A small random number generator (Steele, Lea, Flood: `SplitMix64`).
    fn numbers(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    #[test]
    fn a_reserved_table_has_room_without_splits_and_grows_beyond_it() {
        let entries = 100_000;
        let (table, mut writer) = Table::new::<()>();
        table.reserve(&mut writer, entries).unwrap();
        let reserved = table.segments.len();
        let row = |n: u64| Row {
            high: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            low: n.wrapping_mul(0xd6e8_feb8_6659_fd93),
            digest: [n; 4],
            payload: 0,
            meta: 0,
        };
        let insert = |writer: &mut TableWriter<()>, numbers: core::ops::Range<usize>| {
            for n in numbers {
                table.upsert(writer, &row(n as u64), ()).unwrap();
            }
        };
        insert(&mut writer, 0..entries);
        let splits = table.segments.len() - reserved;
        assert!(splits * 20 <= reserved, "{splits} splits of {reserved}");
        insert(&mut writer, entries..3 * entries);
        for n in 0..3 * entries {
            let row = row(n as u64);
            assert!(table.found(row.high, row.low).is_some(), "{n}");
        }
        // One that has entries is left as it is.
        let full = table.segments.len();
        table.reserve(&mut writer, 100 * entries).unwrap();
        assert_eq!(table.segments.len(), full);
    }

    #[test]
    fn an_identifier_and_its_text_have_the_same_hash() {
        let mut next = numbers(5);
        for _ in 0..1_000 {
            let bytes = (u128::from(next()) << 64) | u128::from(next());
            let id = KeyId::from_bytes(bytes.to_le_bytes());
            let (high, low) = id.halves();
            assert_eq!(spread(high, low), spread_digits(&id.to_digits()));
        }
    }

    #[test]
    fn the_table_agrees_with_a_hash_map() {
        let (table, mut writer) = Table::new::<()>();
        let mut model = HashMap::new();
        let mut next = numbers(7);
        for step in 0..200_000 {
            // Grows at first, then shrinks, over identifiers that recur.
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
        let live: usize = writer
            .segment_metas
            .iter()
            .map(|segment_meta| segment_meta.live)
            .sum();
        assert_eq!(live, model.len());
    }

    #[test]
    fn the_writers_data_moves_with_its_entry() {
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
        for id in 0..5_000 {
            let row = table.row(&writer, id, !id);
            table.update_meta(&mut writer, id, !id, |meta, cold| {
                assert_eq!(row.map(|row| generation(&row)), Some(*cold));
                seen += 1;
                meta
            });
        }
        let live: usize = writer
            .segment_metas
            .iter()
            .map(|segment_meta| segment_meta.live)
            .sum();
        assert_eq!(seen, live);
    }

    #[test]
    fn metadata_is_updated_in_place() {
        let (table, mut writer) = Table::new::<()>();
        let one = row(1, 1);
        table.upsert(&mut writer, &one, ()).unwrap();
        for changed in [
            Row { meta: 5, ..one },
            Row { payload: 9, ..one },
            Row {
                payload: 1 << 49,
                ..one
            },
            Row {
                payload: 9,
                meta: 6,
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
        table.update_meta(&mut writer, 1, !1, |_, ()| 77);
        table.update_meta(&mut writer, 2, !2, |_, ()| panic!("there is no such entry"));
        assert_eq!(table.found(1, !1).unwrap().meta, 77);
        assert_eq!(writer.segment_metas[0].live, 1);
    }

    #[test]
    fn removed_entries_free_their_slots() {
        let (table, mut writer) = Table::new::<()>();
        for id in 0..300_000 {
            table.upsert(&mut writer, &row(id, 0), ()).unwrap();
            if id >= 300 {
                table.remove(&mut writer, id - 300, !(id - 300));
            }
        }
        assert_eq!(table.segments.len(), 1);
    }

    #[test]
    fn a_million_entries_use_bounded_memory() {
        let (table, mut writer) = Table::new::<()>();
        let mut next = numbers(1);
        for _ in 0..1_000_000 {
            table.upsert(&mut writer, &row(next(), 0), ()).unwrap();
        }
        assert!(table.bytes() / 1_000_000 <= 150, "{}", table.bytes());
    }

    /// Two entries alternate in one slot. Only identifiers, digests and payloads differ.
    #[test]
    fn reads_of_a_shared_slot_are_not_torn() {
        let place = |id: u64| {
            let hash = spread(id, !id);
            (hash.group(), hash.slot(0))
        };
        let one = 1;
        let two = (2..10_000_000).find(|id| place(*id) == place(one)).unwrap();
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

    /// Readers find every stable entry at any time, each entry consistent and each entry's
    /// generations in order, while a writer changes, moves, splits, removes and adds entries.
    #[test]
    fn concurrent_readers_find_every_entry_and_read_no_torn_entry() {
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
                            assert!(generation(&found) >= *last, "the generation decreased");
                            *last = generation(&found);
                        }
                        let mismatch = (next() % 512) | (1 << 40);
                        if let Some(found) = table.found(mismatch, !mismatch) {
                            assert_eq!(found, row(mismatch, 0));
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
