//! The reader's side: which lines are accepted.

use keyfob::{Timestamp, gateway::ReplicaChanges};
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

/// Decides which lines of a feed a reader accepts, and what they confirm.
///
/// It does no I/O and reads no clock: the same calls give the same results.
///
/// 1. Load a snapshot: verify its manifest with [`Receiver::manifest`], read the object with a
///    [`SnapshotReader`](crate::SnapshotReader), apply its pages to an empty index, and call
///    [`Receiver::loaded`].
/// 2. Give each line of the stream to [`Receiver::receive`], and apply the changes that it returns.
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
    refusals: Refusals,
}

/// What a line brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The changes, to be applied to the index.
    pub changes: ReplicaChanges,
    /// The position of the reader after them.
    pub position: Position,
    /// The authority's time before it read the store, in Unix milliseconds.
    pub as_of: u64,
    /// The time as of which the index is confirmed after the changes, in Unix milliseconds: `as_of`,
    /// or a later one that was accepted for the same position, and never later than the reader's own
    /// time. `None` if more changes follow.
    pub confirmed: Option<u64>,
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

impl Accepted {
    /// The time for [`Index::apply_replica`](keyfob::gateway::Index): `confirmed` in whole seconds,
    /// rounded down.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        self.confirmed.map(timestamp)
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
            refusals: Refusals::default(),
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The position to continue at; `None` if nothing was loaded.
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
        // What was refused as revoked since must not be accepted again.
        let is_behind = |at: Position| manifest.position().revision < at.revision;
        if manifest.as_of() < self.latest && self.position.is_some_and(is_behind) {
            return Err(Refused::Older);
        }
        Ok(manifest)
    }

    /// Continues after a snapshot, all of which was applied to an empty index. Returns the time as of
    /// which the index is confirmed, in Unix milliseconds.
    pub fn loaded(&mut self, manifest: &Manifest, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.position = Some(manifest.position());
        // A later time that was accepted before was of another state.
        self.as_of = manifest.as_of();
        self.latest = self.latest.max(self.as_of);
        self.as_of.min(self.now)
    }

    /// Verifies a line of the stream, without its line break. `now` is the reader's time in Unix
    /// milliseconds; the latest of all calls counts.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why; the line changes nothing, and is counted.
    pub fn receive(&mut self, line: &[u8], now: u64) -> Result<Accepted, Refused> {
        let accepted = self.verify_line(line, now);
        let (accepted, as_of) = self.counted(accepted)?;
        self.accept(&accepted, as_of);
        Ok(accepted)
    }

    fn verify_line(&mut self, line: &[u8], now: u64) -> Result<(Accepted, u64), Refused> {
        let frame = self.verify_frame(line)?;
        let at = self.position.ok_or(Refused::NotLoaded)?;
        if frame.from != at {
            return Err(misplaced(frame.from, at));
        }
        self.place(frame, at, now)
    }

    /// Verifies a line of a broadcast, without its line break. It is as [`Receiver::receive`], except
    /// that a line of another position is no fault: several processes of the authority publish, and what
    /// is between may lose, repeat and reorder lines.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why; the line changes nothing, and is counted.
    pub fn offer(&mut self, line: &[u8], now: u64) -> Result<Offered, Refused> {
        let offered = self.verify_offer(line, now);
        let (offered, as_of) = self.counted(offered)?;
        if let Offered::Accepted(accepted) = &offered {
            self.accept(accepted, as_of);
        }
        Ok(offered)
    }

    /// Returns what [`Receiver::place`] does, too.
    fn verify_offer(&mut self, line: &[u8], now: u64) -> Result<(Offered, u64), Refused> {
        let frame = self.verify_frame(line)?;
        let at = self.position.ok_or(Refused::NotLoaded)?;
        if frame.from == at {
            let (accepted, as_of) = self.place(frame, at, now)?;
            return Ok((Offered::Accepted(accepted), as_of));
        }
        self.check_time(frame.as_of, now)?;
        let offered = match misplaced(frame.from, at) {
            _ if frame.to == at => Offered::Reached,
            Refused::Gap => Offered::Ahead,
            Refused::Replayed => Offered::Behind,
            other => return Err(other),
        };
        Ok((offered, frame.as_of))
    }

    fn accept(&mut self, accepted: &Accepted, as_of: u64) {
        self.position = Some(accepted.position);
        // A frame that more follow claims nothing for its time: the lines that follow it may have
        // been signed earlier.
        if !accepted.changes.more {
            self.as_of = as_of;
            self.latest = self.latest.max(as_of);
        }
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

    /// Says what a frame brings that starts at the reader's position. Returns the time as of which the
    /// state after it is complete, too.
    fn place(&mut self, frame: Frame, at: Position, now: u64) -> Result<(Accepted, u64), Refused> {
        self.check_time(frame.as_of, now)?;
        // A frame that changes something vouches for its own time only: it can be of a history that the
        // store has lost since. A bookmark proves that the position is still the end.
        let as_of = if frame.to == at {
            self.as_of.max(frame.as_of)
        } else if frame.more && frame.as_of < self.as_of {
            // Until the last frame, the index stays confirmed as it was.
            return Err(Refused::Older);
        } else {
            frame.as_of
        };
        let accepted = Accepted {
            changes: ReplicaChanges {
                after: frame.from.revision,
                entries: frame.entries,
                next_after: frame.to.revision,
                more: frame.more,
                last_revision: frame.to.horizon,
            },
            position: frame.to,
            as_of: frame.as_of,
            confirmed: (!frame.more).then(|| as_of.min(self.now)),
            signers_version: frame.signers,
        };
        Ok((accepted, as_of))
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
