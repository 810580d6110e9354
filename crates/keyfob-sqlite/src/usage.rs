//! Usage: merged as it comes in, one upsert per credential.

use keyfob::{Timestamp, gateway::Usage, key::CredentialId};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{row, sql};

/// Adds a batch to what is kept, in the transaction that is open.
pub(crate) fn merge(connection: &Connection, batch: &[Usage]) -> Result<()> {
    for usage in batch {
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
