//! The reader's side: which lines are accepted.

use keyfob::{
    Timestamp,
    gateway::{Index, IndexError, ReplicaChanges, ReplicaEntry},
    store::Revision,
};
use serde::{Deserialize, Serialize};

use crate::{
    filter::Filter,
    frame::Frame,
    line::{Document, LineError},
    position::Position,
    signer::{Trust, TrustError},
    snapshot::Manifest,
};

/// How far the clocks of the authority's processes and of the readers may differ, in milliseconds.
///
/// A reader refuses what claims to be of a later time than its own clock plus this. The bound
/// on staleness holds end to end with this added: a reader that accepts a call knows everything that
/// was committed `stale_after` plus this ago.
pub const SKEW_MS: u64 = 2_000;

/// How long the authority's processes may take to read a page of the store, in milliseconds.
///
/// What a line tells was committed by its `as_of` and this at the latest.
pub const READ_MS: u64 = 5_000;

/// How many bytes of lines a [`Receiver`] holds back until the last frame of a batch has come.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Decides which lines of a feed a reader accepts, and what they confirm.
///
/// A reader that is far behind gets several frames. The state after each but the last one is that of no
/// time: an item that was changed twice is left out until its last change. So the receiver holds the entries
/// back and returns them together with those of the last frame; see [`Accepted::batch`].
///
/// It does no I/O and reads no clock: the same calls give the same results.
///
/// 1. Load a snapshot: verify its manifest with [`Receiver::manifest`], read the object with a
///    [`SnapshotReader`](crate::SnapshotReader), apply its pages to an empty index, and call
///    [`Receiver::loaded`].
/// 2. Give each line of the stream to [`Receiver::receive`], and apply the [`Batch`] that it returns.
/// 3. After [`Refused::Gap`], [`Refused::Replayed`] and [`Refused::OtherHistory`], connect again with
///    [`Receiver::position`]; if the server answers 410, begin with the first step on an
///    empty index.
///
/// A refused line changes nothing but the [counts](Receiver::refusals).
#[derive(Clone, Debug)]
pub struct Receiver {
    trust: Trust,
    filter: Filter,
    position: Option<Position>,
    /// The time of the authority as of which everything at the position is known.
    as_of: u64,
    /// The latest time of the authority as of which everything was known.
    latest: u64,
    /// The latest own time.
    now: u64,
    /// A time by which everything at the position was committed.
    committed_by: u64,
    /// What is as of this time or earlier may lack something that was accepted before.
    unproven_until: u64,
    /// What frames brought that are to be applied together with the next ones.
    held: Option<Held>,
    refusals: Refusals,
}

/// The entries of frames after which more follows.
#[derive(Clone, Debug)]
struct Held {
    /// The revision that the first frame starts after.
    after: Revision,
    entries: Vec<ReplicaEntry>,
    /// How many bytes the frames have.
    bytes: usize,
}

/// What a line brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// What to apply to the index. `None` if it is held back, since more frames follow.
    pub batch: Option<Batch>,
    /// The position of the reader after the line, with what is held back.
    pub position: Position,
    /// The authority's time before it read the store, in Unix milliseconds.
    pub as_of: u64,
    /// The version of the authority's signers document. If it is later than [`Trust::version`], read
    /// the document.
    pub signers_version: u64,
}

/// What became of a line of a broadcast.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Offered {
    /// It starts at the reader's position, and was accepted.
    Accepted(Accepted),
    /// It ends at the reader's position: the reader has what it brings.
    Reached,
    /// It starts earlier.
    Behind,
    /// It starts later: lines before it are missing, or will follow from another process.
    Ahead,
}

/// The changes of one or more lines, which are applied together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The changes.
    pub changes: ReplicaChanges,
    /// The time as of which the index is confirmed after the changes, in Unix milliseconds: that of the
    /// last line, or a later one that was accepted for the same position, and never later than the
    /// reader's own time.
    ///
    /// `None` if the index must refuse every call until more is applied: if more follows, but 32 MiB of lines
    /// were held back already, and after a snapshot that may lack what was known, see
    /// [`Receiver::loaded`].
    pub confirmed: Option<u64>,
}

impl Batch {
    /// Applies the changes to an index that has everything before them.
    ///
    /// # Errors
    ///
    /// As [`Index::apply_replica`].
    pub fn apply(self, index: &Index) -> Result<(), IndexError> {
        index.apply_replica(self.changes, self.confirmed.map(timestamp))
    }
}

impl Receiver {
    /// Creates a receiver that has loaded nothing.
    pub fn new(trust: Trust, filter: Filter) -> Self {
        Self {
            trust,
            filter,
            position: None,
            as_of: 0,
            latest: 0,
            now: 0,
            committed_by: 0,
            unproven_until: 0,
            held: None,
            refusals: Refusals::default(),
        }
    }

    /// Creates a receiver that has loaded nothing, with the signers that this one trusts. What it loads is
    /// confirmed once it cannot lack anything that this one has; see [`Receiver::loaded`].
    #[must_use]
    pub fn start_again(&self) -> Self {
        Self {
            now: self.now,
            unproven_until: self.known_until(),
            ..Self::new(self.trust.clone(), self.filter.clone())
        }
    }

    /// Confirms nothing as of this time or earlier, in Unix milliseconds, of what is loaded next.
    pub fn confirm_after(&mut self, time: u64) {
        self.unproven_until = self.unproven_until.max(time);
    }

    /// What the authority signs as of a later time cannot lack what this reader has: it was read from the store
    /// after that was committed, by a process whose clock is ahead by at most [`SKEW_MS`].
    fn known_until(&self) -> u64 {
        match self.position {
            Some(_) => {
                let ahead = self.committed_by.saturating_add(SKEW_MS);
                self.unproven_until.max(ahead)
            }
            None => self.unproven_until,
        }
    }

    /// Moves to a position that a line or a manifest as of this time leads to.
    fn move_to(&mut self, position: Position, as_of: u64) {
        if self.position != Some(position) {
            // It was committed before it arrived.
            self.committed_by = self.now.min(as_of.saturating_add(READ_MS));
            self.position = Some(position);
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The position to continue at, with what is held back; `None` if nothing was loaded.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The latest time of the authority as of which everything is known, in Unix milliseconds; zero for
    /// none.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The trusted signers.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// How many lines were refused, by reason.
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Replaces the trusted signers by those of a signers document; see [`Trust::update`]. `now` is
    /// the reader's time in Unix milliseconds; the latest of all calls counts.
    ///
    /// # Errors
    ///
    /// As [`Trust::update`].
    pub fn update_trust(&mut self, line: &[u8], now: u64) -> Result<bool, TrustError> {
        self.now = self.now.max(now);
        self.trust.update(line, self.now)
    }

    /// Replaces the trusted signers by those of a signers document that was accepted before; see
    /// [`Trust::restore`].
    ///
    /// # Errors
    ///
    /// As [`Trust::restore`].
    pub fn restore_trust(&mut self, line: &[u8]) -> Result<bool, TrustError> {
        self.trust.restore(line)
    }

    /// Verifies the manifest of a snapshot. `now` is the reader's time in Unix milliseconds.
    ///
    /// Nothing is loaded yet: see [`Receiver::loaded`].
    ///
    /// # Errors
    ///
    /// [`Refused`] for a line that is not the manifest of a trusted signer, is for another filter, is
    /// of an earlier time than what was accepted before, or of a time to come. Each is counted.
    pub fn manifest(&mut self, line: &[u8], now: u64) -> Result<Manifest, Refused> {
        let verified = self.verify_manifest(line, now);
        self.counted(verified)
    }

    fn verify_manifest(&mut self, line: &[u8], now: u64) -> Result<Manifest, Refused> {
        let raw = self.trust.verify(Document::Manifest, line)?;
        let manifest: Manifest = serde_json::from_slice(raw).map_err(|_| Refused::Malformed)?;
        if manifest.filter() != self.filter.id() {
            return Err(Refused::OtherFilter);
        }
        self.check_time(manifest.as_of(), now)?;
        // It is not that of a restored store: what is known is better.
        let is_behind = |at: Position| manifest.position().revision < at.revision;
        if manifest.as_of() < self.latest && self.position.is_some_and(is_behind) {
            return Err(Refused::Older);
        }
        Ok(manifest)
    }

    /// Continues after a snapshot, all of which was applied to an empty index. Returns the time as of
    /// which the index is confirmed, in Unix milliseconds.
    ///
    /// `None` if the index must refuse every call until a line confirms it: the snapshot may lack what this
    /// reader had accepted, so that a revoked key would be accepted again. It may be of an earlier revision, or of a
    /// history that the store has lost since. A line confirms the index if it is as of a time more than
    /// [`SKEW_MS`] after everything that this reader had was committed: before it arrived, and within [`READ_MS`]
    /// of its `as_of`.
    pub fn loaded(&mut self, manifest: &Manifest, now: u64) -> Option<u64> {
        self.now = self.now.max(now);
        if self.position != Some(manifest.position()) {
            self.unproven_until = self.known_until();
        }
        self.move_to(manifest.position(), manifest.as_of());
        self.held = None;
        // A later time that was accepted before was of another state.
        self.as_of = manifest.as_of();
        self.latest = self.latest.max(self.as_of);
        self.confirmed()
    }

    /// The time up to which nothing is confirmed, in Unix milliseconds, if what was loaded is not confirmed yet.
    pub fn unproven_until(&self) -> Option<u64> {
        (self.as_of <= self.unproven_until).then_some(self.unproven_until)
    }

    /// The time as of which an index that is at the position is confirmed.
    fn confirmed(&self) -> Option<u64> {
        (self.as_of > self.unproven_until).then(|| self.as_of.min(self.now))
    }

    /// Verifies a line of the stream, without its line break. `now` is the reader's time in Unix
    /// milliseconds; the latest of all calls counts.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why; the line changes nothing, and is counted.
    pub fn receive(&mut self, line: &[u8], now: u64) -> Result<Accepted, Refused> {
        let frame = self.check_line(line, now);
        let frame = self.counted(frame)?;
        Ok(self.accept(frame, line.len()))
    }

    fn check_line(&mut self, line: &[u8], now: u64) -> Result<Frame, Refused> {
        let frame = self.verify_frame(line)?;
        let at = self.position.ok_or(Refused::NotLoaded)?;
        if frame.from != at {
            return Err(misplaced(frame.from, at));
        }
        self.check_time(frame.as_of, now)?;
        Ok(frame)
    }

    /// Verifies a line of a broadcast, without its line break. It is as [`Receiver::receive`], except
    /// that a line of another position is no fault: several processes of the authority publish, and what
    /// is between may lose, repeat and reorder lines.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why; the line changes nothing, and is counted.
    pub fn offer(&mut self, line: &[u8], now: u64) -> Result<Offered, Refused> {
        let frame = self.check_offer(line, now);
        match self.counted(frame)? {
            Ok(frame) => Ok(Offered::Accepted(self.accept(frame, line.len()))),
            Err(elsewhere) => Ok(elsewhere),
        }
    }

    /// Returns the frame if it is to be accepted, or else what it is.
    fn check_offer(&mut self, line: &[u8], now: u64) -> Result<Result<Frame, Offered>, Refused> {
        let frame = self.verify_frame(line)?;
        let at = self.position.ok_or(Refused::NotLoaded)?;
        self.check_time(frame.as_of, now)?;
        if frame.from == at {
            return Ok(Ok(frame));
        }
        match misplaced(frame.from, at) {
            _ if frame.to == at => Ok(Err(Offered::Reached)),
            Refused::Gap => Ok(Err(Offered::Ahead)),
            Refused::Replayed => Ok(Err(Offered::Behind)),
            other => Err(other),
        }
    }

    /// Continues after a frame that starts at the reader's position.
    fn accept(&mut self, frame: Frame, bytes: usize) -> Accepted {
        if !frame.more {
            // A frame that changes something vouches for its own time only: it can be of a history that the
            // store has lost since. A bookmark proves that the position is still the end, unless it ends a
            // batch.
            let is_bookmark = self.held.is_none() && Some(frame.to) == self.position;
            self.as_of = if is_bookmark {
                self.as_of.max(frame.as_of)
            } else {
                frame.as_of
            };
            self.latest = self.latest.max(self.as_of);
        }
        self.move_to(frame.to, frame.as_of);
        Accepted {
            position: frame.to,
            as_of: frame.as_of,
            signers_version: frame.signers,
            batch: self.batch(frame, bytes),
        }
    }

    /// Adds the entries of a frame to those that are held back; returns all if they are to be applied.
    fn batch(&mut self, frame: Frame, bytes: usize) -> Option<Batch> {
        let held = match self.held.take() {
            None => Held {
                after: frame.from.revision,
                entries: frame.entries,
                bytes,
            },
            Some(mut held) => {
                held.entries.extend(frame.entries);
                held.bytes += bytes;
                held
            }
        };
        if frame.more {
            if held.bytes < HELD_BYTES_MAX {
                self.held = Some(held);
                return None;
            }
            // The state after a part of a batch is that of no time, and is not confirmed.
            self.as_of = 0;
        }
        Some(Batch {
            changes: ReplicaChanges {
                after: held.after,
                entries: held.entries,
                next_after: frame.to.revision,
                more: frame.more,
                last_revision: frame.to.horizon,
            },
            confirmed: self.confirmed(),
        })
    }

    fn verify_frame(&self, line: &[u8]) -> Result<Frame, Refused> {
        let raw = self.trust.verify(Document::Frame, line)?;
        let frame: Frame = serde_json::from_slice(raw).map_err(|_| Refused::Malformed)?;
        if frame.filter != self.filter.id() {
            return Err(Refused::OtherFilter);
        }
        let included = frame
            .entries
            .iter()
            .all(|entry| self.filter.includes(&entry.item));
        if !included || !frame.is_consistent() {
            return Err(Refused::Malformed);
        }
        Ok(frame)
    }

    fn check_time(&mut self, as_of: u64, now: u64) -> Result<(), Refused> {
        self.now = self.now.max(now);
        if as_of > self.now.saturating_add(SKEW_MS) {
            return Err(Refused::Future);
        }
        if as_of.saturating_add(SKEW_MS) < self.latest {
            return Err(Refused::Older);
        }
        Ok(())
    }

    fn counted<T>(&mut self, result: Result<T, Refused>) -> Result<T, Refused> {
        if let Err(refused) = &result {
            let count = self.refusals.of(*refused);
            *count = count.saturating_add(1);
        }
        result
    }
}

/// Why a frame that is for another position does not fit.
fn misplaced(from: Position, at: Position) -> Refused {
    let same_place = from.revision == at.revision && from.horizon == at.horizon;
    if same_place {
        Refused::OtherHistory
    } else if (from.revision, from.horizon) > (at.revision, at.horizon) {
        Refused::Gap
    } else {
        Refused::Replayed
    }
}

/// The whole seconds of a time in Unix milliseconds.
pub(crate) fn timestamp(milliseconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX))
}

/// Why a line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is not a signed line, or a trusted signer signed what this version cannot read.
    #[error("the line is malformed")]
    Malformed,
    /// Its signer is not trusted: retired, or announced in a document that the reader lacks.
    #[error("the signer is not trusted")]
    UnknownSigner,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Forged,
    /// It is for another filter.
    #[error("the line is for another filter")]
    OtherFilter,
    /// No snapshot was loaded.
    #[error("no snapshot was loaded")]
    NotLoaded,
    /// It starts later than the reader is: lines before it are missing.
    #[error("lines before it are missing")]
    Gap,
    /// It starts earlier than the reader is.
    #[error("the line is of an earlier position")]
    Replayed,
    /// It starts where the reader is, in another history of the store.
    #[error("the line is of another history of the store")]
    OtherHistory,
    /// It is of an earlier time than what was accepted before.
    #[error("the line is of an earlier time")]
    Older,
    /// It is of a time that has not come by the reader's clock.
    #[error("the line is of a time to come: compare the clocks")]
    Future,
}

impl From<LineError> for Refused {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Malformed => Self::Malformed,
            LineError::UnknownSigner => Self::UnknownSigner,
            LineError::Forged => Self::Forged,
        }
    }
}

/// How many lines were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusals {
    /// See [`Refused::Malformed`].
    pub malformed: u64,
    /// See [`Refused::UnknownSigner`].
    pub unknown_signer: u64,
    /// See [`Refused::Forged`].
    pub forged: u64,
    /// See [`Refused::OtherFilter`].
    pub other_filter: u64,
    /// See [`Refused::NotLoaded`].
    pub not_loaded: u64,
    /// See [`Refused::Gap`].
    pub gap: u64,
    /// See [`Refused::Replayed`].
    pub replayed: u64,
    /// See [`Refused::OtherHistory`].
    pub other_history: u64,
    /// See [`Refused::Older`].
    pub older: u64,
    /// See [`Refused::Future`].
    pub future: u64,
}

impl Refusals {
    /// The number of refused lines.
    pub fn total(&self) -> u64 {
        let counts = [
            self.malformed,
            self.unknown_signer,
            self.forged,
            self.other_filter,
            self.not_loaded,
            self.gap,
            self.replayed,
            self.other_history,
            self.older,
            self.future,
        ];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    fn of(&mut self, refused: Refused) -> &mut u64 {
        match refused {
            Refused::Malformed => &mut self.malformed,
            Refused::UnknownSigner => &mut self.unknown_signer,
            Refused::Forged => &mut self.forged,
            Refused::OtherFilter => &mut self.other_filter,
            Refused::NotLoaded => &mut self.not_loaded,
            Refused::Gap => &mut self.gap,
            Refused::Replayed => &mut self.replayed,
            Refused::OtherHistory => &mut self.other_history,
            Refused::Older => &mut self.older,
            Refused::Future => &mut self.future,
        }
    }
}

#[cfg(test)]
mod tests {
    use keyfob::{
        audit::{ChainHash, TrailHead},
        key::{KeyFormat, Peppers, SystemRandom},
    };

    use super::*;
    use crate::{FeedKeys, SnapshotWriter, line::SignedLine};

    /// An authority whose store is at revision 100, and a reader at revision 0 as of 4,000.
    struct Fixture {
        keys: FeedKeys,
        receiver: Receiver,
        index: Index,
    }

    impl Fixture {
        fn new() -> Self {
            let keys = FeedKeys::generate(&SystemRandom).unwrap();
            let format = KeyFormat::new("dof").unwrap();
            let mut receiver = Receiver::new(Trust::pinned(keys.signers()).unwrap(), Filter::All);
            let writer = SnapshotWriter::new(Filter::All, 1 << 20).unwrap();
            let start = keys.mark_key().position(Self::head(0));
            let snapshot = writer.finish(start, 4000, format, &keys).unwrap();
            let manifest = receiver.manifest(snapshot.line.as_bytes(), 5000).unwrap();
            let index = Index::new(format, Peppers::none());
            let loaded = timestamp(receiver.loaded(&manifest, 5000).unwrap());
            let empty = ReplicaChanges::default();
            index.apply_replica(empty, Some(loaded)).unwrap();
            Self {
                keys,
                receiver,
                index,
            }
        }

        fn head(revision: u64) -> TrailHead {
            TrailHead {
                revision: Revision::new(revision),
                hash: ChainHash::from_bytes([0; 32]),
            }
        }

        fn end(&self) -> Position {
            self.keys.mark_key().position(Self::head(100))
        }

        /// A frame without entries from the reader's position.
        fn frame(&self, to: Position, as_of: u64, rest: &str) -> SignedLine {
            let from = self.receiver.position().unwrap();
            let frame =
                format!(r#"{{"from":"{from}","to":"{to}","as_of":{as_of},"signers":1{rest}}}"#);
            self.keys.sign(Document::Frame, frame.as_bytes())
        }

        fn receive(&mut self, line: &SignedLine) -> Option<Batch> {
            self.receiver.receive(line.as_bytes(), 5000).unwrap().batch
        }
    }

    #[test]
    fn the_index_refuses_every_call_if_a_batch_is_too_long_to_be_held_back() {
        let mut fixture = Fixture::new();
        let end = fixture.end();
        let more = format!(r#","more":true{}"#, " ".repeat(4_000_000));
        let mut bytes = 0;
        for revision in 1..100 {
            let marks = fixture.keys.mark_key();
            let to = marks.position_within(Revision::new(revision), Fixture::head(100));
            let line = fixture.frame(to, 5000, &more);
            bytes += line.as_bytes().len();
            let Some(batch) = fixture.receive(&line) else {
                assert!(bytes < HELD_BYTES_MAX);
                assert_eq!(fixture.index.confirmed_at(), Some(timestamp(4000)));
                continue;
            };
            assert!(bytes >= HELD_BYTES_MAX);
            assert_eq!(batch.confirmed, None);
            batch.apply(&fixture.index).unwrap();
            assert_eq!(fixture.index.confirmed_at(), None);
            break;
        }
        let last = fixture.frame(end, 5000, "");
        fixture
            .receive(&last)
            .unwrap()
            .apply(&fixture.index)
            .unwrap();
        assert_eq!(fixture.index.confirmed_at(), Some(timestamp(5000)));
        assert_eq!(fixture.index.as_of(), end.revision);
    }

    #[test]
    fn the_end_of_a_batch_vouches_for_its_own_time_only() {
        let mut fixture = Fixture::new();
        let end = fixture.end();
        let first = fixture.frame(end, 2500, r#","more":true"#);
        assert!(fixture.receive(&first).is_none());
        assert_eq!(fixture.receiver.as_of(), 4000);
        let last = fixture.frame(end, 3500, "");
        assert_eq!(fixture.receive(&last).unwrap().confirmed, Some(3500));
        // A bookmark that was signed earlier takes nothing back.
        let bookmark = fixture.frame(end, 3000, "");
        assert_eq!(fixture.receive(&bookmark).unwrap().confirmed, Some(3500));
    }
}
