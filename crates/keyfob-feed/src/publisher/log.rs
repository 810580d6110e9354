//! The last entries of the feed, encoded once.

use std::collections::VecDeque;

use bytes::Bytes;
use keyfob::{gateway::ReplicaEntry, store::Revision};

use crate::{
    entry,
    filter::{Filter, Reach},
    position::Position,
};

/// The last entries of the feed, in segments.
#[derive(Debug)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    /// Where the first segment starts.
    start: Position,
    entries: usize,
    bytes: usize,
}

/// Entries that were read together: at most as many bytes as a frame may have.
#[derive(Debug)]
pub(crate) struct Segment {
    to: Position,
    /// The entries as JSON, with commas between them.
    json: Bytes,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    revision: Revision,
    /// Where its JSON starts and ends.
    start: usize,
    end: usize,
    reach: Reach,
}

/// What a reader lacks.
pub(crate) struct Part<'a> {
    pub(crate) entries: Vec<&'a [u8]>,
    /// Where the part ends, if it does not reach the end of the log.
    pub(crate) end: Option<Position>,
}

impl Log {
    pub(crate) fn at(start: Position) -> Self {
        Self {
            segments: VecDeque::new(),
            start,
            entries: 0,
            bytes: 0,
        }
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    /// The number of entries, and the bytes of their JSON.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries, self.bytes)
    }

    /// Appends entries, up to the position `end`, in segments of at most `bytes_max` bytes. Returns the number of segments.
    /// `within` returns the position of a reader that has the entries up to a revision.
    pub(crate) fn append(
        &mut self,
        entries: &[ReplicaEntry],
        end: Position,
        within: impl Fn(Revision) -> Position,
        bytes_max: usize,
    ) -> usize {
        let mut added = 0;
        let mut open = Segment::empty(end);
        let (mut json, mut text) = (Vec::new(), Vec::new());
        for entry in entries {
            text.clear();
            entry::write(entry, &mut text);
            if !json.is_empty() && json.len() + 1 + text.len() > bytes_max {
                if let Some(last) = open.entries.last() {
                    open.to = within(last.revision);
                }
                self.push(open, std::mem::take(&mut json));
                added += 1;
                open = Segment::empty(end);
            }
            if !json.is_empty() {
                json.push(b',');
            }
            let start = json.len();
            json.extend_from_slice(&text);
            open.entries.push(Entry {
                revision: entry.revision,
                start,
                end: json.len(),
                reach: Reach::of(&entry.item),
            });
        }
        self.push(open, json);
        added + 1
    }

    fn push(&mut self, mut segment: Segment, json: Vec<u8>) {
        segment.json = json.into();
        segment.entries.shrink_to_fit();
        self.entries += segment.cost();
        self.bytes += segment.json.len();
        self.segments.push_back(segment);
    }

    /// The last `count` segments.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .skip(self.segments.len().saturating_sub(count))
    }

    /// Drops the first segments until no more than this is left.
    pub(crate) fn trim(&mut self, entries: usize, bytes: usize) {
        while self.entries > entries || self.bytes > bytes {
            let Some(segment) = self.segments.pop_front() else {
                return;
            };
            self.entries -= segment.cost();
            self.bytes -= segment.json.len();
            self.start = segment.to;
        }
    }

    /// The entries after `revision` that the filter includes, up to the end of a segment, and about
    /// `bytes_max` bytes at most.
    pub(crate) fn after(&self, revision: Revision, filter: &Filter, bytes_max: usize) -> Part<'_> {
        let first = self
            .segments
            .partition_point(|segment| segment.to.revision <= revision);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut end = None;
        for segment in self.segments.iter().skip(first) {
            let from = segment
                .entries
                .partition_point(|entry| entry.revision <= revision);
            let count = entries.len();
            let mut added = 0;
            for json in segment.selected(from, filter) {
                added += json.len() + 1;
                entries.push(json);
            }
            if count > 0 && bytes + added > bytes_max {
                entries.truncate(count);
                return Part { entries, end };
            }
            bytes += added;
            end = Some(segment.to);
        }
        Part { entries, end: None }
    }
}

impl Segment {
    fn empty(to: Position) -> Self {
        Self {
            to,
            json: Bytes::new(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn to(&self) -> Position {
        self.to
    }

    /// What it counts for in the limit on entries.
    fn cost(&self) -> usize {
        self.entries.len() + 1
    }

    /// Whether the filter includes any entry.
    pub(crate) fn has_any(&self, filter: &Filter) -> bool {
        self.entries
            .iter()
            .any(|entry| filter.reaches(&entry.reach))
    }

    /// The entries that the filter includes.
    pub(crate) fn entries(&self, filter: &Filter) -> Vec<&[u8]> {
        match filter {
            Filter::All if self.entries.is_empty() => Vec::new(),
            Filter::All => vec![&self.json],
            _ => self.selected(0, filter).collect(),
        }
    }

    fn selected<'a>(&'a self, from: usize, filter: &Filter) -> impl Iterator<Item = &'a [u8]> {
        self.entries
            .iter()
            .skip(from)
            .filter(|entry| filter.reaches(&entry.reach))
            .filter_map(|entry| self.json.get(entry.start..entry.end))
    }
}
