//! The change feed.

use keyfob::store::{Changes, Entry, Revision};

use crate::{
    row::{self, Result, number},
    session::{Session, Step, values},
    sql,
};

pub(crate) async fn changes(
    session: &mut Session,
    after: Revision,
    limit: usize,
) -> Result<Changes> {
    let limit = limit.min(PART_MAX);
    let rows = number(Changes::rows(limit));
    let steps = [
        Step::new(sql::HEAD, values![]),
        Step::new(sql::CHANGED, values![number(after.get()), rows]),
    ];
    // One moment for both.
    let sent = session.pipeline(Some(sql::BEGIN_SNAPSHOT), &steps, Some(sql::COMMIT));
    let mut answers = sent.await?.rows()?;
    let head = answers.next().unwrap_or_default();
    let last_revision = match head.first() {
        Some(row) => row::revision(row, 0)?,
        None => Revision::ZERO,
    };
    let changed = answers.next().unwrap_or_default();
    let entries = changed.iter().map(|row| {
        Ok(Entry {
            revision: row::revision(row, 0)?,
            item: row::json(row, 1)?,
        })
    });
    Changes::first_of(after, last_revision, entries, limit)
}

/// The most that one part holds: it is in memory at once.
const PART_MAX: usize = 10_000;
