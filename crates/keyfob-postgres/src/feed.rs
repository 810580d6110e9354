//! The change feed: the tables merged in the order of last changes.

use crate::{
    row::{Columns, Result, number},
    session::{Session, Step, values},
    snapshot::revision,
    sql,
};
use keyfob::store::{Changes, Entry, Item, Revision};

pub(crate) async fn changes(
    session: &mut Session,
    after: Revision,
    limit: usize,
) -> Result<Changes> {
    let limit = limit.clamp(1, PART_MAX);
    let tables = [
        sql::CHANGED_KEYS,
        sql::DELETED_KEYS,
        sql::CHANGED_CUTOFFS,
        sql::CHANGED_LEGACY,
        sql::CHANGED_POLICIES,
    ];
    let one_more = number(limit as u64 + 1);
    let mut steps = vec![Step::new(sql::HEAD, values![])];
    steps.extend(tables.map(|sql| Step::new(sql, values![revision(after), one_more])));
    // One moment for all tables and the head.
    let flown = session.fly(Some(sql::BEGIN_SNAPSHOT), &steps, Some(sql::COMMIT));
    let mut answers = flown.await?.rows()?;
    let mut rows = || answers.next().unwrap_or_default();

    let head = match rows().first() {
        Some(row) => Columns::of(row).revision()?,
        None => Revision::ZERO,
    };
    let mut entries = Vec::new();
    for read in [key, deleted, cutoff, legacy, policy] {
        for row in rows() {
            entries.push(read(&mut Columns::of(&row))?);
        }
    }
    entries.sort_by_key(|entry: &Entry| entry.revision);
    let more = entries.len() > limit;
    entries.truncate(limit);
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

fn key(columns: &mut Columns<'_>) -> Result<Entry> {
    let record = columns.key()?;
    Ok(Entry {
        revision: record.revision,
        item: Item::Key(record),
    })
}

fn deleted(columns: &mut Columns<'_>) -> Result<Entry> {
    let item = Item::KeyDeleted(columns.key_id()?);
    let revision = columns.revision()?;
    Ok(Entry { revision, item })
}

fn cutoff(columns: &mut Columns<'_>) -> Result<Entry> {
    let cutoff = columns.cutoff()?;
    Ok(Entry {
        revision: cutoff.revision,
        item: Item::Cutoff(cutoff),
    })
}

fn legacy(columns: &mut Columns<'_>) -> Result<Entry> {
    let record = columns.legacy()?;
    Ok(Entry {
        revision: record.revision,
        item: Item::Legacy(record),
    })
}

fn policy(columns: &mut Columns<'_>) -> Result<Entry> {
    let item = columns.policy()?;
    let revision = columns.revision()?;
    Ok(Entry { revision, item })
}

/// The most that one part holds, whatever was asked for: it is in memory at once.
const PART_MAX: usize = 10_000;
