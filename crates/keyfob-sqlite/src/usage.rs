//! Usage: merged as it comes in, one upsert per credential.

use keyfob::{
    Timestamp,
    gateway::{Usage, UsageBatch, UsageSource},
    key::CredentialId,
};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{row, sql};

/// Adds a batch to what is kept, in the transaction that is open, unless it was added before.
pub(crate) fn merge(connection: &Connection, batch: &UsageBatch, now: Timestamp) -> Result<()> {
    let source = batch.source.to_bytes();
    let recorded = sql::RECORD_SOURCE.on(connection)?.execute((
        source,
        count(batch.sequence),
        now.as_unix(),
    ))?;
    if recorded == 0 {
        return Ok(());
    }
    sql::FORGET_SOURCES
        .on(connection)?
        .execute([UsageSource::forgotten_at(now).as_unix()])?;
    for usage in &batch.usage {
        sql::MERGE_USAGE.on(connection)?.execute((
            usage.credential.to_string(),
            usage.last_used.map(Timestamp::as_unix),
            count(usage.accepted),
            count(usage.refused),
        ))?;
    }
    Ok(())
}

/// A count as a column, which ends at half of what a counter could hold.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn usage(connection: &Connection, credentials: &[CredentialId]) -> Result<Vec<Usage>> {
    let mut statement = sql::USAGE.on(connection)?;
    let mut found = Vec::new();
    for credential in credentials {
        let usage = statement.query_row([credential.to_string()], |row| {
            let last_used: Option<i64> = row.get(0)?;
            Ok(Usage {
                credential: *credential,
                last_used: last_used.map(Timestamp::from_unix),
                accepted: row::count(row, 1)?,
                refused: row::count(row, 2)?,
            })
        });
        found.extend(usage.optional()?);
    }
    Ok(found)
}
