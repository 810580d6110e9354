//! The change feed: whatever changed after a revision, merged from all tables.

use keyfob::store::{Changes, Entry, Item, Revision};
use rusqlite::{Connection, Result};

use crate::{
    row::{Columns, number},
    snapshot::head,
    sql,
};

/// A part of the feed, read within the transaction that is open.
pub(crate) fn changes(connection: &Connection, after: Revision, limit: usize) -> Result<Changes> {
    let (head, _) = head(connection)?;
    let limit = limit.max(1);
    let one_more = i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1));
    let mut entries = Vec::new();
    let mut more = false;
    let mut statement = sql::CHANGED.on(connection)?;
    let mut rows = statement.query((number(after), one_more))?;
    while let Some(row) = rows.next()? {
        if entries.len() == limit {
            more = true;
            break;
        }
        let revision = Columns::of(row).revision()?;
        let item = item(connection, row.get_ref(1)?.as_str()?, number(revision))?;
        entries.push(Entry { revision, item });
    }
    let next_after = match entries.last() {
        Some(last) if more => last.revision,
        _ => head,
    };
    Ok(Changes {
        after,
        entries,
        next_after,
        more,
        last_revision: head,
    })
}

/// What changed last at this revision, by the name of its kind.
fn item(connection: &Connection, kind: &str, revision: i64) -> Result<Item> {
    match kind {
        "key" => sql::KEY_AT
            .on(connection)?
            .query_row([revision], |row| Columns::of(row).key().map(Item::Key)),
        "deleted" => sql::DELETED_AT
            .on(connection)?
            .query_row([revision], |row| {
                Columns::of(row).key_id().map(Item::KeyDeleted)
            }),
        "cutoff" => sql::CUTOFF_AT.on(connection)?.query_row([revision], |row| {
            let cutoff = Columns::of(row).cutoff_and_target()?;
            Ok(Item::Cutoff(cutoff))
        }),
        "legacy" => sql::LEGACY_AT.on(connection)?.query_row([revision], |row| {
            Columns::of(row).legacy().map(Item::Legacy)
        }),
        _ => sql::POLICY_AT
            .on(connection)?
            .query_row([revision], |row| Columns::of(row).policy()),
    }
}
