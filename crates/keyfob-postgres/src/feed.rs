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
    Changes::first_of(after, last_revision, changed.iter().map(row::entry), limit)
}

/// The revision of the last commit, and the hash that the next one will follow.
pub(crate) async fn head(session: &mut Session) -> Result<TrailHead> {
    let rows = session.rows(Step::new(sql::HEAD, values![])).await?;
    rows.first().map_or(Ok(TrailHead::START), row::head)
}

/// The most that one part holds: it is in memory at once.
const PART_MAX: usize = 10_000;
