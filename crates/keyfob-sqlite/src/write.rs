//! Keeping a commit: decided and written in one transaction.

use keyfob::{
    KeyId, Tenant,
    audit::AuditEvent,
    key::{CredentialId, KeyFormat},
    store::{Commit, Conflict, Item, Revision, WriteSet},
};
use rusqlite::{CachedStatement, Connection, Error, Params, Result};

use crate::{
    row::{number, to_json},
    snapshot::{key_format, snapshot},
    sql,
};

/// Decides on a commit and writes it, in the transaction that is open. A conflict writes nothing.
pub(crate) fn keep(
    connection: &Connection,
    commit: &Commit,
) -> Result<std::result::Result<Revision, Conflict>> {
    let snapshot = snapshot(connection, commit)?;
    match commit.decide(&snapshot) {
        Ok(write_set) => {
            write(connection, &write_set)?;
            Ok(Ok(write_set.revision))
        }
        Err(conflict) => Ok(Err(conflict)),
    }
}

/// Records the format of the keys unless one is recorded, and returns the one that is.
pub(crate) fn record_key_format(connection: &Connection, format: &KeyFormat) -> Result<KeyFormat> {
    if let Some(recorded) = key_format(connection)? {
        return Ok(recorded);
    }
    one(sql::SET_KEY_FORMAT.on(connection)?, [to_json(format)?])?;
    Ok(*format)
}

pub(crate) fn write(connection: &Connection, write_set: &WriteSet) -> Result<()> {
    let revision = number(write_set.revision);
    insert_event(connection, &write_set.event)?;
    if let Some(record) = &write_set.binds {
        let statement = sql::INSERT_NAMESPACE.on(connection)?;
        one(statement, (revision, to_json(record)?))?;
    }
    match &write_set.item {
        Some(Item::Key(record)) => one(
            sql::PUT_KEY.on(connection)?,
            (number(record.created_revision), to_json(record)?),
        )?,
        Some(Item::KeyDeleted { id, tenant }) => delete_key(connection, revision, *id, tenant)?,
        Some(Item::Cutoff(cutoff)) => one(sql::PUT_CUTOFF.on(connection)?, [to_json(cutoff)?])?,
        Some(Item::Legacy(record)) => one(
            sql::PUT_LEGACY.on(connection)?,
            (number(record.created_revision), to_json(record)?),
        )?,
        Some(Item::Policy(tenant, policy)) => one(
            sql::PUT_POLICY.on(connection)?,
            ("policy", revision, to_json(&(tenant, policy))?),
        )?,
        Some(Item::LegacyPolicy(tenant, policy)) => one(
            sql::PUT_POLICY.on(connection)?,
            ("legacy_policy", revision, to_json(&(tenant, policy))?),
        )?,
        Some(_) => {
            let fault = "a kind of item that this version of the store does not know";
            return Err(Error::ToSqlConversionFailure(fault.into()));
        }
        None => {}
    }
    let hash = write_set.event.hash.to_bytes();
    one(sql::ADVANCE.on(connection)?, (revision, hash))
}

fn insert_event(connection: &Connection, event: &AuditEvent) -> Result<()> {
    one(
        sql::INSERT_EVENT.on(connection)?,
        (
            number(event.revision),
            event.entry.at.as_unix(),
            to_json(&event.entry)?,
            event.hash.to_bytes(),
        ),
    )
}

fn delete_key(connection: &Connection, revision: i64, id: KeyId, tenant: &Tenant) -> Result<()> {
    let id = CredentialId::Key(id).to_string();
    let (team, namespace) = (tenant.team.as_str(), tenant.namespace.as_str());
    let mark = sql::MARK_DELETED.on(connection)?;
    one(mark, (revision, &id, team, namespace))?;
    one(sql::DELETE_KEY.on(connection)?, [&id])?;
    sql::DELETE_USAGE.on(connection)?.execute([&id])?;
    Ok(())
}

/// Runs a statement that must change one row.
fn one(mut statement: CachedStatement<'_>, parameters: impl Params) -> Result<()> {
    match statement.execute(parameters)? {
        1 => Ok(()),
        rows => Err(Error::StatementChangedRows(rows)),
    }
}
