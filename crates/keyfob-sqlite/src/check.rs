//! Looking for damage of the file.

use keyfob::{
    audit::TrailHead,
    store::{AuditQuery, KeyQuery, Revision},
};
use rusqlite::{Connection, ErrorCode};

use crate::{error::CheckError, feed, queries, snapshot::head};

/// Checks the file's structure.
pub(crate) fn quick_check(connection: &Connection) -> Result<(), CheckError> {
    sound(connection, "PRAGMA quick_check(1)")
}

/// Runs a check of the database itself. It may also find damage by failing.
fn sound(connection: &Connection, check: &str) -> Result<(), CheckError> {
    match connection.query_row(check, [], |row| row.get::<_, String>(0)) {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(damage) => Err(CheckError::Damaged(damage)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Err(CheckError::Damaged(error.to_string()))
            }
            _ => Err(CheckError::database(error)),
        },
    }
}

/// Checks the file's structure and references, every record, and the audit trail from its start to
/// the head of the log, within one transaction.
pub(crate) fn check(connection: &Connection) -> Result<(), CheckError> {
    sound(connection, "PRAGMA integrity_check(1)")?;
    let loose = connection
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut statement| statement.exists([]))
        .map_err(CheckError::database)?;
    if loose {
        let damage = "a row refers to one that is not there".into();
        return Err(CheckError::Damaged(damage));
    }
    let mislabelled: bool = connection
        .query_row(MISLABELLED, [], |row| row.get(0))
        .map_err(CheckError::database)?;
    if mislabelled {
        let damage = "the labels of a key differ from its record".into();
        return Err(CheckError::Damaged(damage));
    }
    check_records(connection)?;
    check_trail(connection)
}

/// Whether `key_labels` differs from the records. All other columns are computed from the record,
/// and `integrity_check` compares the indexes with them.
const MISLABELLED: &str = "WITH expected AS (SELECT k.team, l.key, l.value, k.created_revision \
    FROM keys k, json_each(k.record, '$.labels') l), \
    found AS (SELECT team, label, value, created_revision FROM key_labels) \
    SELECT EXISTS (SELECT * FROM expected EXCEPT SELECT * FROM found) \
    OR EXISTS (SELECT * FROM found EXCEPT SELECT * FROM expected)";

/// Reads every record once.
fn check_records(connection: &Connection) -> Result<(), CheckError> {
    let mut after = Revision::ZERO;
    loop {
        let changes = feed::changes(connection, after, KeyQuery::LIMIT_MAX)
            .map_err(|error| CheckError::Damaged(format!("a record cannot be read: {error}")))?;
        if !changes.more {
            return Ok(());
        }
        after = changes.next_after;
    }
}

fn check_trail(connection: &Connection) -> Result<(), CheckError> {
    let expected = head(connection).map_err(CheckError::database)?;
    let mut query = AuditQuery {
        limit: KeyQuery::LIMIT_MAX,
        ..AuditQuery::every_team()
    };
    let mut last = TrailHead::START;
    loop {
        let page = queries::audit(connection, &query).map_err(CheckError::database)?;
        let mut events = page.items.iter();
        events
            .try_for_each(|event| last.advance(event))
            .map_err(|error| CheckError::Damaged(error.to_string()))?;
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if expected == last {
        Ok(())
    } else {
        let damage = "the audit trail does not end at the head of the log".into();
        Err(CheckError::Damaged(damage))
    }
}
