//! The change feed.

use keyfob::store::{Changes, Revision};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{
    row::{self, number},
    snapshot::head,
    sql,
};

/// A part of the feed, read within the transaction that is open.
pub(crate) fn changes(connection: &Connection, after: Revision, limit: usize) -> Result<Changes> {
    let head = head(connection)?;
    let rows = i64::try_from(Changes::rows(limit)).unwrap_or(i64::MAX);
    let mut statement = sql::CHANGED.on(connection)?;
    let entries = statement.query_map((number(after), rows), row::entry)?;
    let mut event = sql::HASH_OF.on(connection)?;
    let hash_of = |revision| {
        let hash = event.query_row([number(revision)], |row| row::hash(row, 0));
        hash.optional()
    };
    Changes::first_of(after, head, entries, limit, hash_of)
}
