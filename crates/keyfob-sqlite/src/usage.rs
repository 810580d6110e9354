//! Usage: merged as it comes in, one upsert a row.

use keyfob::{Timestamp, gateway::Usage, key::CredentialId};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{
    row::{self, Columns},
    sql,
};

/// Adds a batch to what is kept, in the transaction that is open.
pub(crate) fn merge(connection: &Connection, batch: &[Usage]) -> Result<()> {
    for usage in batch {
        let statement = match usage.credential {
            CredentialId::Key(_) => sql::MERGE_KEY_USAGE,
            _ => sql::MERGE_LEGACY_USAGE,
        };
        if let Some((kind, id)) = row::credential(usage.credential) {
            statement.on(connection)?.execute((
                kind,
                id,
                usage.last_used.map(Timestamp::as_unix),
                count(usage.accepted),
                count(usage.refused),
            ))?;
        }
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
        if let Some(columns) = row::credential(*credential) {
            let usage = statement
                .query_row(columns, |row| Columns::of(row).usage(*credential))
                .optional()?;
            found.extend(usage);
        }
    }
    Ok(found)
}
