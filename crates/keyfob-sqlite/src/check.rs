//! Looking for damage.

use keyfob::{
    audit::{AuditEvent, ChainHash},
    store::{AuditQuery, KeyQuery},
};
use rusqlite::Connection;

use crate::{error::CheckError, queries, snapshot::head};

/// Checks the file's structure, what refers to what, and the audit trail from its start to the
/// head, within one transaction.
pub(crate) fn check(connection: &Connection) -> Result<(), CheckError> {
    let damage: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(CheckError::database)?;
    if damage != "ok" {
        return Err(CheckError::Damaged(damage));
    }
    let loose = connection
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut statement| statement.exists([]))
        .map_err(CheckError::database)?;
    if loose {
        let damage = "a row refers to one that is not there".into();
        return Err(CheckError::Damaged(damage));
    }
    check_trail(connection)
}

fn check_trail(connection: &Connection) -> Result<(), CheckError> {
    let expected = head(connection).map_err(CheckError::database)?;
    let mut query = AuditQuery {
        limit: KeyQuery::LIMIT_MAX,
        ..AuditQuery::every_team()
    };
    let mut last = ChainHash::START;
    let mut events = 0;
    loop {
        let page = queries::audit(connection, &query).map_err(CheckError::database)?;
        last = AuditEvent::verify(last, &page.items)
            .map_err(|error| CheckError::Damaged(error.to_string()))?;
        events += page.items.len() as u64;
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if expected == (keyfob::store::Revision::new(events), last) {
        Ok(())
    } else {
        let damage = "the audit trail does not end at the head of the log".into();
        Err(CheckError::Damaged(damage))
    }
}
