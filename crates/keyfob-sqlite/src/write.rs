//! Keeping a commit: judged and written in one transaction.

use keyfob::{
    KeyId, Owner, Timestamp,
    audit::AuditEvent,
    key::KeyFormat,
    legacy::LegacyRecord,
    manage::Status,
    name::{NamespaceId, Reason, RequestId, TeamId},
    store::{Commit, Conflict, Cutoff, Existing, Item, KeyRecord, Revision, Snapshot, WriteSet},
};
use rusqlite::{CachedStatement, Connection, Error, Params, Result, params, params_from_iter};
use serde::Serialize;

use crate::{
    row::{self, OwnerKind, number},
    snapshot::{key_format, snapshot},
    sql,
};

/// Judges a commit and writes it, in the transaction that is open; a conflict writes nothing.
pub(crate) fn keep(
    connection: &Connection,
    commit: &Commit,
) -> Result<std::result::Result<Revision, Conflict>> {
    let snapshot = snapshot(connection, commit)?;
    match commit.decide(&snapshot) {
        Ok(judged) => {
            write(connection, &snapshot, &judged)?;
            Ok(Ok(judged.revision))
        }
        Err(conflict) => Ok(Err(conflict)),
    }
}

/// Records the format of the keys unless one is recorded, and returns the one that is.
pub(crate) fn record_key_format(connection: &Connection, format: &KeyFormat) -> Result<KeyFormat> {
    if let Some(recorded) = key_format(connection)? {
        return Ok(recorded);
    }
    one(sql::SET_KEY_FORMAT.on(connection)?, [json(format)?])?;
    Ok(*format)
}

pub(crate) fn write(connection: &Connection, snapshot: &Snapshot, write: &WriteSet) -> Result<()> {
    insert_event(connection, &write.event)?;
    if let Some(tenant) = &write.binds {
        one(
            sql::BIND_NAMESPACE.on(connection)?,
            (
                number(write.revision),
                tenant.namespace.as_str(),
                tenant.team.as_str(),
                write.event.entry.at.as_unix(),
            ),
        )?;
    }
    match &write.item {
        Some(Item::Key(record)) => put_key(connection, &snapshot.existing, record)?,
        Some(Item::KeyDeleted(id)) => delete_key(connection, write.revision, *id)?,
        Some(Item::Cutoff(cutoff)) => put_cutoff(connection, cutoff)?,
        Some(Item::Legacy(record)) => put_legacy(connection, &snapshot.existing, record)?,
        Some(Item::Policy(place, policy)) => {
            put_policy(connection, "keys", place.as_ref(), policy.as_ref(), write)?;
        }
        Some(Item::LegacyPolicy(place, policy)) => {
            put_policy(connection, "legacy", place.as_ref(), policy.as_ref(), write)?;
        }
        Some(_) => return Err(unknown_kind()),
        None => {}
    }
    let hash = write.event.hash.to_bytes();
    one(sql::ADVANCE.on(connection)?, (number(write.revision), hash))
}

fn put_key(connection: &Connection, known: &Existing, record: &KeyRecord) -> Result<()> {
    let previous = record.previous.as_ref();
    let (status, revocation) = match &record.status {
        Status::Active => ("active", None),
        Status::Disabled => ("disabled", None),
        Status::Revoked(revocation) => ("revoked", Some(json(revocation)?)),
    };
    let columns = params![
        record.id.to_bytes(),
        record.tenant.team.as_str(),
        record.tenant.namespace.as_str(),
        OwnerKind::of(&record.owner).as_str(),
        record.owner.as_str(),
        record.name.as_str(),
        json(&record.labels)?,
        json(&record.scopes)?,
        record.digest.to_text(),
        previous.map(|previous| previous.digest.to_text()),
        previous.map(|previous| previous.issued_at.as_unix()),
        previous.map(|previous| previous.until.as_unix()),
        record.created_at.as_unix(),
        json(&record.created_by)?,
        record.updated_at.as_unix(),
        record.issued_at.as_unix(),
        record.not_before.map(Timestamp::as_unix),
        record.expires_at.map(Timestamp::as_unix),
        status,
        revocation,
        number(record.created_revision),
        number(record.revision),
    ];
    match known {
        Existing::Key(known) => {
            let expected = number(known.revision);
            let columns = columns.iter().copied().chain([&expected as _]);
            one(sql::REPLACE_KEY.on(connection)?, params_from_iter(columns))
        }
        _ => one(sql::INSERT_KEY.on(connection)?, columns),
    }
}

fn delete_key(connection: &Connection, revision: Revision, id: KeyId) -> Result<()> {
    let id = id.to_bytes();
    one(sql::MARK_DELETED.on(connection)?, (number(revision), id))?;
    one(sql::DELETE_KEY.on(connection)?, [id])?;
    sql::DELETE_USAGE.on(connection)?.execute(("key", id))?;
    Ok(())
}

fn put_cutoff(connection: &Connection, cutoff: &Cutoff) -> Result<()> {
    let (kind, name) = row::target(&cutoff.target);
    one(
        sql::PUT_CUTOFF.on(connection)?,
        (
            cutoff.target.team().as_str(),
            kind,
            name,
            number(cutoff.up_to),
            cutoff.blocked,
            json(&cutoff.revocation)?,
            number(cutoff.revision),
        ),
    )
}

fn put_legacy(connection: &Connection, known: &Existing, record: &LegacyRecord) -> Result<()> {
    let columns = params![
        record.id.to_bytes(),
        record.tenant.team.as_str(),
        record.tenant.namespace.as_str(),
        record.subject.as_str(),
        record.digest.to_text(),
        record.blocked,
        record.imported_at.as_unix(),
        json(&record.imported_by)?,
        record.revoked.as_ref().map(json).transpose()?,
        number(record.created_revision),
        number(record.revision),
    ];
    match known {
        Existing::Legacy(known) => {
            let expected = number(known.revision);
            let columns = columns.iter().copied().chain([&expected as _]);
            one(
                sql::REPLACE_LEGACY.on(connection)?,
                params_from_iter(columns),
            )
        }
        _ => one(sql::INSERT_LEGACY.on(connection)?, columns),
    }
}

fn put_policy<P: Serialize>(
    connection: &Connection,
    kind: &str,
    place: Option<&NamespaceId>,
    policy: Option<&P>,
    write: &WriteSet,
) -> Result<()> {
    one(
        sql::PUT_POLICY.on(connection)?,
        (
            kind,
            place.map_or("", NamespaceId::as_str),
            policy.map(json).transpose()?,
            number(write.revision),
        ),
    )
}

fn insert_event(connection: &Connection, event: &AuditEvent) -> Result<()> {
    let entry = &event.entry;
    let actor = entry.actor.owner.as_ref();
    let owner = entry.owner.as_ref();
    let credential = match entry.credential {
        Some(id) => Some(row::credential(id).ok_or_else(unknown_kind)?),
        None => None,
    };
    one(
        sql::INSERT_EVENT.on(connection)?,
        params![
            number(event.revision),
            entry.at.as_unix(),
            actor.map(|actor| OwnerKind::of(actor).as_str()),
            actor.map(Owner::as_str),
            entry.actor.credential.as_ref().map(json).transpose()?,
            entry.action.as_str(),
            entry.team.as_ref().map(TeamId::as_str),
            entry.namespace.as_ref().map(NamespaceId::as_str),
            owner.map(|owner| OwnerKind::of(owner).as_str()),
            owner.map(Owner::as_str),
            credential.map(|(kind, _)| kind),
            credential.map(|(_, id)| id),
            entry.reason.as_ref().map(Reason::as_str),
            entry.request_id.as_ref().map(RequestId::as_str),
            event.hash.to_bytes(),
        ],
    )
}

/// Runs a statement that must change one row.
fn one(mut statement: CachedStatement<'_>, parameters: impl Params) -> Result<()> {
    match statement.execute(parameters)? {
        1 => Ok(()),
        rows => Err(Error::StatementChangedRows(rows)),
    }
}

pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|fault| Error::ToSqlConversionFailure(fault.into()))
}

/// Something that this version of the store has no columns for.
fn unknown_kind() -> Error {
    Error::ToSqlConversionFailure("a kind that this version of the store does not know".into())
}
