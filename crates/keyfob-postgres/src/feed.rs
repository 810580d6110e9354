//! The change feed.

use keyfob::{
    audit::TrailHead,
    store::{Changes, Revision},
};

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
        Step::new(sql::HEAD_AND_EVENT, values![number(after.get())]),
        Step::new(sql::CHANGED, values![number(after.get()), rows]),
    ];
    // One moment for both.
    let sent = session.pipeline(Some(sql::BEGIN_SNAPSHOT), &steps, Some(sql::COMMIT));
    let mut answers = sent.await?.rows()?;
    let first = answers.next().unwrap_or_default();
    let (head, after_hash) = match first.first() {
        Some(row) => (row::head(row)?, row::hash_or_null(row, 2)?),
        None => (TrailHead::START, None),
    };
    let changed = answers.next().unwrap_or_default();
    let last = changed.get(limit.max(1) - 1);
    let hash_of = |revision| match last {
        _ if revision == after => Ok(after_hash),
        Some(last) if row::revision(last, 0)? == revision => row::hash_or_null(last, 2),
        _ => Ok(None),
    };
    let entries = changed.iter().map(row::entry);
    Changes::first_of(after, head, entries, limit, hash_of)
}

/// The revision of the last commit, and the hash that the next one will follow.
pub(crate) async fn head(session: &mut Session) -> Result<TrailHead> {
    let rows = session.rows(Step::new(sql::HEAD, values![])).await?;
    rows.first().map_or(Ok(TrailHead::START), row::head)
}

/// The most that one part holds: it is in memory at once.
const PART_MAX: usize = 10_000;
