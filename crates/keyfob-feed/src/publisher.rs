//! The authority's side: from the store's changes to signed lines.

mod log;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use keyfob::{
    audit::{ChainHash, TrailHead},
    store::{Changes, Revision},
};

use crate::{
    filter::Filter,
    frame::FrameHead,
    history::{FeedPage, FeedRead, HistoryError, Progress},
    keys::FeedKeys,
    line::SignedLine,
    lines::{Cursor, Lines, Next},
    position::{Mark, Position},
};

use log::Log;

/// The bounds on the memory of a [`Publisher`], and how often it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many of the last entries are kept for readers that come back.
    pub log_entries: usize,
    /// How many bytes of JSON these entries may have.
    pub log_bytes: usize,
    /// How many of the last lines are kept for each filter in use.
    pub lines: usize,
    /// How many bytes these lines may have, for each filter in use.
    pub line_bytes: usize,
    /// How many filters may be in use at one time.
    pub filters: usize,
    /// How many frames for readers that come back are kept.
    pub catch_ups: usize,
    /// How many bytes these frames may have.
    pub catch_up_bytes: usize,
    /// How many bytes of entries a frame may have; more than half of [`SignedLine::BYTES_MAX`] is
    /// taken as that half. A frame with a single entry may have more.
    pub frame_bytes: usize,
    /// How old the last line for a filter may become, in milliseconds: see
    /// [`Publisher::bookmark_due`]. A line that is half as old is followed by a bookmark when the store is
    /// read anyway, so that the filters' bookmarks are due together.
    pub bookmark_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_entries: 100_000,
            log_bytes: 64 << 20,
            lines: 256,
            line_bytes: 4 << 20,
            filters: 1_000,
            catch_ups: 256,
            catch_up_bytes: 16 << 20,
            frame_bytes: 1 << 20,
            bookmark_ms: 950,
        }
    }
}

/// Turns the changes of a store into signed lines, one for all readers with the same filter.
///
/// It does no I/O and reads no clock. Ask the store for the changes after [`Publisher::wants`], and
/// give them to [`Publisher::answer`] with a time before the question, at least once a second. A
/// reader [opens](Publisher::open) its filter, [joins](Publisher::join) with its position, and takes
/// line by line with [`Publisher::next`].
///
/// # Memory
///
/// Bounded by [`Limits`] and the number of different filters of the readers at one time.
#[derive(Debug)]
pub struct Publisher {
    keys: Arc<FeedKeys>,
    limits: Limits,
    read: FeedRead,
    /// Where the log ends.
    at: Position,
    log: Log,
    /// The marks of horizons from the start of the log on.
    marks: BTreeMap<Revision, Mark>,
    /// The marks that were asked for, the latest last.
    learned: VecDeque<(Revision, Mark)>,
    /// Whether the last answer was the end of the feed.
    complete: bool,
    /// The time of the last answer, in Unix milliseconds. A clock that was set back sets it back:
    /// readers refuse what is of a time to come, and nothing else would help them.
    latest: u64,
    /// The time of the last answer that was the end of the feed.
    as_of: u64,
    /// The time of a page that waits for a proof.
    asked: Option<u64>,
    channels: HashMap<Filter, Channel>,
    catch_ups: VecDeque<CatchUp>,
    catch_up_bytes: usize,
    failed: Option<HistoryError>,
    signatures: u64,
}

/// A filter in use.
#[derive(Debug)]
struct Channel {
    lines: Lines,
    readers: usize,
    /// The time of the last line.
    last: u64,
    /// Whether more follows after the last line: readers apply it together with the next ones.
    is_open: bool,
}

/// A frame for readers at a position that is no start of a line.
#[derive(Debug)]
struct CatchUp {
    from: Position,
    filter: Filter,
    to: Position,
    as_of: u64,
    line: SignedLine,
}

/// How a reader begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Join {
    /// Its next line is kept: continue with [`Publisher::next`].
    At(Cursor),
    /// Send this line first; then join again at this position.
    CatchUp(SignedLine, Position),
    /// Whether the position is of this history is not known: look up the hash of the event with this revision
    /// ([`Changes::after_hash`]), give it to [`Publisher::learn`], and join again.
    Ask(Revision),
    /// The position is later than this process has read. Another process may have; wait, and join
    /// again.
    Ahead,
    /// The position is earlier than what is kept, or of another history: load a snapshot.
    Gone,
    /// The store has another history than before, so nothing is served any more.
    Failed(HistoryError),
}

impl Publisher {
    /// Creates a publisher that starts after this head of the store. What is between `start` and
    /// the store's head now is read first, and kept for readers that come back.
    pub fn new(keys: Arc<FeedKeys>, start: TrailHead, limits: Limits) -> Self {
        let at = keys.mark_key().position(start);
        let limits = Limits {
            frame_bytes: limits.frame_bytes.min(SignedLine::BYTES_MAX / 2),
            ..limits
        };
        Self {
            limits,
            read: FeedRead::after(start),
            at,
            log: Log::at(at),
            marks: BTreeMap::from([(at.horizon, at.mark)]),
            learned: VecDeque::new(),
            complete: false,
            latest: 0,
            as_of: 0,
            asked: None,
            channels: HashMap::new(),
            catch_ups: VecDeque::new(),
            catch_up_bytes: 0,
            failed: None,
            signatures: 0,
            keys,
        }
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<FeedKeys> {
        &self.keys
    }

    /// The revision after which the store's changes are wanted.
    pub fn wants(&self) -> Revision {
        self.read.wants()
    }

    /// Up to where the store was read.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The position of a reader that has everything up to this head of the store, as a snapshot has.
    pub fn position_of(&self, head: TrailHead) -> Position {
        self.keys.mark_key().position(head)
    }

    /// The time before the last read that reached the end of the store's feed, in Unix
    /// milliseconds; zero if there was none.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// When the store should be read again, so that each filter in use has a line that is new enough;
    /// in Unix milliseconds. `None` if no filter is in use.
    pub fn bookmark_due(&self) -> Option<u64> {
        let oldest = self.channels.values().map(|channel| channel.last).min()?;
        Some(oldest.saturating_add(self.limits.bookmark_ms))
    }

    /// The position after which the last entries are kept.
    pub fn kept_from(&self) -> Position {
        self.log.start()
    }

    /// Why nothing is served any more, if the store has another history than before.
    pub fn failed(&self) -> Option<HistoryError> {
        self.failed
    }

    /// How many signatures were made.
    pub fn signatures(&self) -> u64 {
        self.signatures
    }

    /// How many filters are in use.
    pub fn filters(&self) -> usize {
        self.channels.len()
    }

    /// How many entries are kept, and how many bytes of JSON they have.
    pub fn kept(&self) -> (usize, usize) {
        self.log.size()
    }

    /// Takes the store's answer to [`Publisher::wants`]. `asked` is a time before the question, in Unix
    /// milliseconds: everything that was committed by then is in the answer, or follows it. An answer that took longer than
    /// [`READ_MS`](crate::READ_MS) must not be given to it.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Forked`] and [`HistoryError::Regressed`] are permanent: nothing is served any more.
    /// End the process; a new one reads the store from its start, and readers load a snapshot.
    pub fn answer(&mut self, changes: &Changes, asked: u64) -> Result<Progress, HistoryError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (page, progress) = match self.read.answer(changes) {
            Ok(answer) => answer,
            Err(error) => {
                if error != HistoryError::Unexpected {
                    self.failed = Some(error);
                }
                return Err(error);
            }
        };
        // A page that had to be proven was read before the proof.
        let asked = self.asked.take().unwrap_or(asked);
        let Some(page) = page else {
            self.asked = Some(asked);
            return Ok(progress);
        };
        self.latest = asked;
        self.complete = !page.more();
        if self.complete {
            self.as_of = self.latest;
        }
        self.publish(&page);
        Ok(progress)
    }

    fn publish(&mut self, page: &FeedPage) {
        let (key, horizon) = (self.keys.mark_key().clone(), page.horizon);
        let end = if page.more() {
            key.position_within(page.to.revision, horizon)
        } else {
            key.position(page.to)
        };
        self.marks.insert(end.horizon, end.mark);
        if end != self.at {
            let within = |revision| Position { revision, ..end };
            let added = self.log.append(
                page.entries.as_slice(),
                end,
                within,
                self.limits.frame_bytes,
            );
            for (filter, channel) in &mut self.channels {
                let segments = self.log.last(added);
                let mut segments = segments.filter(|s| s.has_any(filter)).peekable();
                while let Some(segment) = segments.next() {
                    let follows = segments.peek().is_some();
                    let head = FrameHead {
                        from: channel.lines.end(),
                        to: if follows { segment.to() } else { end },
                        as_of: self.latest,
                        filter: filter.id(),
                        more: follows || !self.complete,
                    };
                    let line = head.signed(&segment.entries(filter), &self.keys);
                    self.signatures += 1;
                    channel.push(line, head, &self.limits);
                }
            }
            self.at = end;
            self.log
                .trim(self.limits.log_entries, self.limits.log_bytes);
            self.forget_marks();
        }
        for (filter, channel) in &mut self.channels {
            let age = self.latest.checked_sub(channel.last);
            // There is no age if the clock was set back.
            let due = age.is_none_or(|age| age >= self.limits.bookmark_ms / 2);
            if self.complete && (due || channel.is_open) {
                channel.bookmark(filter, self.at, self.latest, &self.keys, &self.limits);
                self.signatures += 1;
            }
        }
    }

    /// Counts a reader of this filter. The lines of a filter are made while it has readers. Returns
    /// `false`, and does not count it, if [`Limits::filters`] others are in use.
    #[must_use]
    pub fn open(&mut self, filter: &Filter) -> bool {
        if self.channels.len() >= self.limits.filters && !self.channels.contains_key(filter) {
            return false;
        }
        let (at, last, is_open) = (self.at, self.latest, !self.complete);
        let channel = self.channels.entry(filter.clone());
        let channel = channel.or_insert_with(|| Channel {
            lines: Lines::at(at),
            readers: 0,
            last,
            is_open,
        });
        channel.readers += 1;
        true
    }

    /// Forgets a reader of this filter; the filter is dropped with its last reader.
    pub fn close(&mut self, filter: &Filter) {
        if let Some(channel) = self.channels.get_mut(filter) {
            channel.readers = channel.readers.saturating_sub(1);
            if channel.readers == 0 {
                self.channels.remove(filter);
            }
        }
    }

    /// Finds the place of a reader that [opened](Publisher::open) this filter. With `fresh`, a reader
    /// that has everything gets a bookmark at once, so that it knows that it has.
    pub fn join(&mut self, filter: &Filter, position: Position, fresh: bool) -> Join {
        if let Some(error) = self.failed {
            return Join::Failed(error);
        }
        if position == self.at && self.complete {
            self.advance(filter);
        }
        if let Some(channel) = self.channels.get(filter)
            && let Some(cursor) = channel.lines.find(position)
            && (!fresh || channel.lines.end() != position)
        {
            return Join::At(cursor);
        }
        if position == self.at && !self.complete && !fresh {
            return Join::Ahead;
        }
        self.catch_up(filter, position)
    }

    /// Makes one frame from a reader's position to the present, or as far as a frame may reach:
    /// [`Join::CatchUp`], or why there is none. It is kept for other readers at the same position.
    pub fn catch_up(&mut self, filter: &Filter, position: Position) -> Join {
        if let Some(error) = self.failed {
            return Join::Failed(error);
        }
        let end = (self.at.revision, self.at.horizon);
        if position.revision > end.0 || position.horizon > end.1 {
            return Join::Ahead;
        }
        if position.revision < self.log.start().revision {
            return Join::Gone;
        }
        let learned = self.learned.iter();
        let mut learned = learned.filter(|(revision, _)| *revision == position.horizon);
        let known = self.marks.get(&position.horizon);
        match known.or_else(|| learned.next().map(|(_, mark)| mark)) {
            Some(mark) if *mark == position.mark => {}
            Some(_) => return Join::Gone,
            None => return Join::Ask(position.horizon),
        }
        // Readers of the stream continue where the frame ends, so a line has to start there.
        if self.complete {
            self.advance(filter);
        }
        let oldest = self.latest.saturating_sub(self.limits.bookmark_ms);
        let channel = self.channels.get(filter);
        let continues = |to: Position| {
            to == self.at || channel.is_some_and(|channel| channel.lines.find(to).is_some())
        };
        let kept = self.catch_ups.iter().find(|kept| {
            kept.from == position
                && kept.filter == *filter
                && (oldest..=self.latest).contains(&kept.as_of)
                && continues(kept.to)
        });
        if let Some(kept) = kept {
            return Join::CatchUp(kept.line.clone(), kept.to);
        }
        let part = self
            .log
            .after(position.revision, filter, self.limits.frame_bytes);
        let to = match part.end {
            // The reader left out what changed by its horizon, and gets it later.
            Some(end) if end.horizon < position.horizon => Position {
                revision: end.revision,
                ..position
            },
            Some(end) => end,
            None => self.at,
        };
        let head = FrameHead {
            from: position,
            to,
            as_of: self.latest,
            filter: filter.id(),
            more: part.end.is_some() || !self.complete,
        };
        let line = head.signed(&part.entries, &self.keys);
        self.signatures += 1;
        self.keep(CatchUp {
            from: position,
            filter: filter.clone(),
            to,
            as_of: self.latest,
            line: line.clone(),
        });
        Join::CatchUp(line, to)
    }

    /// Moves the end of a filter's lines to the present.
    fn advance(&mut self, filter: &Filter) {
        if let Some(channel) = self.channels.get_mut(filter)
            && channel.lines.end() != self.at
        {
            channel.bookmark(filter, self.at, self.latest, &self.keys, &self.limits);
            self.signatures += 1;
        }
    }

    fn keep(&mut self, catch_up: CatchUp) {
        let limits = &self.limits;
        self.catch_up_bytes += catch_up.line.as_bytes().len();
        self.catch_ups.push_back(catch_up);
        let oldest = self.latest.saturating_sub(limits.bookmark_ms);
        while let Some(first) = self.catch_ups.front()
            && (first.as_of < oldest
                || self.catch_ups.len() > limits.catch_ups
                || self.catch_up_bytes > limits.catch_up_bytes)
        {
            self.catch_up_bytes -= first.line.as_bytes().len();
            self.catch_ups.pop_front();
        }
    }

    /// Takes the hash of the store's event with a revision that [`Join::Ask`] asked for.
    pub fn learn(&mut self, revision: Revision, hash: ChainHash) {
        let mark = self.keys.mark_key().mark(revision, hash);
        if self.learned.len() >= LEARNED_MAX {
            self.learned.pop_front();
        }
        self.learned.push_back((revision, mark));
    }

    fn forget_marks(&mut self) {
        let start = self.log.start().revision;
        if self
            .marks
            .first_key_value()
            .is_some_and(|(first, _)| *first < start)
        {
            self.marks = self.marks.split_off(&start);
        }
    }

    /// The next line of a reader that joined.
    pub fn next(&self, filter: &Filter, cursor: Cursor) -> Next {
        match self.channels.get(filter) {
            _ if self.failed.is_some() => Next::Lost,
            Some(channel) => channel.lines.next(cursor),
            None => Next::Lost,
        }
    }
}

impl Channel {
    fn push(&mut self, line: SignedLine, head: FrameHead, limits: &Limits) {
        self.last = head.as_of;
        self.is_open = head.more;
        self.lines
            .push(line, head.to, limits.lines, limits.line_bytes);
    }

    fn bookmark(
        &mut self,
        filter: &Filter,
        to: Position,
        as_of: u64,
        keys: &FeedKeys,
        limits: &Limits,
    ) {
        let head = FrameHead {
            from: self.lines.end(),
            to,
            as_of,
            filter: filter.id(),
            more: false,
        };
        let line = head.signed(&[], keys);
        self.push(line, head, limits);
    }
}

/// How many marks that were asked for are kept.
const LEARNED_MAX: usize = 256;
