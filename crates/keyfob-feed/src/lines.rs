//! The last lines of a feed, from which all its readers are served.

use std::collections::VecDeque;

use crate::{line::SignedLine, position::Position};

/// The last lines for a filter, each of which starts where the one before ended.
#[derive(Debug)]
pub(crate) struct Lines {
    kept: VecDeque<Line>,
    /// The number of the first line.
    first: u64,
    /// Where the last line ended.
    at: Position,
    bytes: usize,
}

#[derive(Debug)]
struct Line {
    from: Position,
    line: SignedLine,
}

/// The place of a reader in the lines of its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u64);

/// What comes next for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// A line, and the cursor after it.
    Line(SignedLine, Cursor),
    /// Nothing yet.
    Wait,
    /// The reader was too slow: the line was dropped. It resumes by its position.
    Lost,
}

impl Lines {
    pub(crate) fn at(at: Position) -> Self {
        Self {
            kept: VecDeque::new(),
            first: 0,
            at,
            bytes: 0,
        }
    }

    /// Where the last line ended.
    pub(crate) fn end(&self) -> Position {
        self.at
    }

    /// Appends a line that starts at [`Lines::end`], and drops the first ones beyond these limits. At
    /// least one line is kept.
    pub(crate) fn push(&mut self, line: SignedLine, to: Position, most: usize, bytes_max: usize) {
        let from = std::mem::replace(&mut self.at, to);
        self.bytes += line.as_bytes().len();
        self.kept.push_back(Line { from, line });
        while self.kept.len() > 1 && (self.kept.len() > most || self.bytes > bytes_max) {
            if let Some(dropped) = self.kept.pop_front() {
                self.bytes -= dropped.line.as_bytes().len();
                self.first += 1;
            }
        }
    }

    /// The last line.
    #[cfg(feature = "server")]
    pub(crate) fn last(&self) -> Option<&SignedLine> {
        self.kept.back().map(|line| &line.line)
    }

    /// Drops all lines: the next one starts at `at`.
    #[cfg(feature = "server")]
    pub(crate) fn restart(&mut self, at: Position) {
        self.first = self.end_cursor().0 + 1;
        self.kept.clear();
        self.bytes = 0;
        self.at = at;
    }

    fn end_cursor(&self) -> Cursor {
        Cursor(self.first + u64::try_from(self.kept.len()).unwrap_or(u64::MAX))
    }

    /// The cursor of a reader at a position that is the end, or the start of a line that is kept.
    pub(crate) fn find(&self, position: Position) -> Option<Cursor> {
        if position == self.at {
            return Some(self.end_cursor());
        }
        let back = self
            .kept
            .iter()
            .rev()
            .position(|line| line.from == position)?;
        let back = u64::try_from(back).ok()?;
        Some(Cursor(self.end_cursor().0.checked_sub(back + 1)?))
    }

    pub(crate) fn next(&self, cursor: Cursor) -> Next {
        let Some(index) = cursor.0.checked_sub(self.first) else {
            return Next::Lost;
        };
        match usize::try_from(index).ok().and_then(|at| self.kept.get(at)) {
            Some(line) => Next::Line(line.line.clone(), Cursor(cursor.0 + 1)),
            None if cursor == self.end_cursor() => Next::Wait,
            None => Next::Lost,
        }
    }
}
