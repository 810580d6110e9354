//! The change feed.

use keyfob::store::{Changes, Revision};
use rusqlite::{Connection, Result};

use crate::{
    row::{self, number},
    snapshot::head,
    sql,
};

/// A part of the feed, read within the transaction that is open.
pub(crate) fn changes(connection: &Connection, after: Revision, limit: usize) -> Result<Changes> {
    let last_revision = head(connection)?.revision;
    let rows = i64::try_from(Changes::rows(limit)).unwrap_or(i64::MAX);
    let mut statement = sql::CHANGED.on(connection)?;
    let entries = statement.query_map((number(after), rows), row::entry)?;
    Changes::first_of(after, last_revision, entries, limit)
}
