//! What a commit writes.

use keyfob::{
    Owner,
    audit::AuditEvent,
    legacy::LegacyRecord,
    manage::{Revocation, Status},
    store::{Change, Commit, Cutoff, Item, KeyRecord, WriteSet},
};
use serde::Serialize;
use tokio_postgres::types::Json;

use crate::{
    DatabaseError,
    row::{OwnerKind, Result, credential, target, text},
    session::{Step, Value, values},
    snapshot::revision,
    sql,
};

/// The statements that keep what was judged, the notice of it at their end.
pub(crate) fn writes<'a>(
    commit: &'a Commit,
    write: &'a WriteSet,
    attempt: [u8; 16],
) -> Result<Vec<Step<'a>>> {
    let event = &write.event;
    let at = revision(write.revision);
    let mut steps = vec![
        Step::new(
            sql::ADVANCE,
            values![at, event.hash.to_bytes().to_vec(), event.entry.at.as_unix()],
        ),
        insert_event(event, attempt),
    ];
    if let Some(tenant) = &write.binds {
        steps.push(Step::new(
            sql::BIND_NAMESPACE,
            values![
                at,
                tenant.namespace.as_str(),
                tenant.team.as_str(),
                event.entry.at.as_unix(),
            ],
        ));
    }
    match &write.item {
        Some(Item::Key(record)) => put_key(&mut steps, commit, record),
        Some(Item::KeyDeleted(id)) => {
            let id = || id.to_bytes().to_vec();
            steps.push(Step::new(sql::DELETE_KEY, values![id()]));
            steps.push(Step::new(sql::MARK_DELETED, values![id(), at]));
            steps.push(Step::new(sql::DELETE_USAGE, values![id()]));
        }
        Some(Item::Cutoff(cutoff)) => steps.push(put_cutoff(cutoff)),
        Some(Item::Legacy(record)) => steps.push(put_legacy(commit, record)),
        Some(Item::Policy(place, policy)) => {
            let place = text(place.as_ref()).unwrap_or_default();
            let policy = policy.as_ref().map(Json);
            steps.push(Step::new(
                sql::PUT_POLICY,
                values!["keys", place, policy, at],
            ));
        }
        Some(Item::LegacyPolicy(place, policy)) => {
            let place = text(place.as_ref()).unwrap_or_default();
            let policy = policy.as_ref().map(Json);
            steps.push(Step::new(
                sql::PUT_POLICY,
                values!["legacy", place, policy, at],
            ));
        }
        Some(_) => {
            return Err(DatabaseError::other(
                "an item that this version does not know",
            ));
        }
        None => {}
    }
    steps.push(Step::new(sql::NOTIFY, values![at]));
    Ok(steps)
}

fn insert_event(event: &AuditEvent, attempt: [u8; 16]) -> Step<'_> {
    let entry = &event.entry;
    let kind = |owner: &Option<Owner>| owner.as_ref().map(|owner| OwnerKind::of(owner).as_str());
    let credential = entry.credential.and_then(credential);
    Step::new(
        sql::INSERT_EVENT,
        values![
            revision(event.revision),
            entry.at.as_unix(),
            kind(&entry.actor.owner),
            entry.actor.owner.as_ref().map(Owner::as_str),
            entry.actor.credential.map(Json),
            entry.action.as_str(),
            text(entry.team.as_ref()),
            text(entry.namespace.as_ref()),
            kind(&entry.owner),
            entry.owner.as_ref().map(Owner::as_str),
            credential.map(|(kind, _)| kind),
            credential.map(|(_, id)| id.to_vec()),
            text(entry.reason.as_ref()),
            text(entry.request_id.as_ref()),
            event.hash.to_bytes().to_vec(),
            attempt.to_vec(),
        ],
    )
}

fn put_key<'a>(steps: &mut Vec<Step<'a>>, commit: &Commit, record: &'a KeyRecord) {
    let mut values = key(record);
    let labelled = !record.labels.is_empty();
    if let Change::ReplaceKey { expected, .. } = commit.change {
        values.push(Box::new(revision(expected)));
        steps.push(Step::new(sql::REPLACE_KEY, values));
        let created_revision = revision(record.created_revision);
        steps.push(Step::new(sql::DELETE_LABELS, values![created_revision]));
    } else {
        steps.push(Step::new(sql::INSERT_KEY, values));
    }
    if labelled {
        let (names, labels): (Vec<&str>, Vec<&str>) = record
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .unzip();
        let team = record.tenant.team.as_str();
        steps.push(Step::new(
            sql::INSERT_LABELS,
            values![team, revision(record.created_revision), names, labels],
        ));
    }
}

fn key(record: &KeyRecord) -> Vec<Value<'_>> {
    let previous = record.previous.as_ref();
    let (status, revocation) = status(&record.status);
    values![
        record.id.to_bytes().to_vec(),
        record.tenant.team.as_str(),
        record.tenant.namespace.as_str(),
        OwnerKind::of(&record.owner).as_str(),
        record.owner.as_str(),
        record.name.as_str(),
        Json(&record.labels),
        Json(&record.scopes),
        record.digest.to_text(),
        previous.map(|old| old.digest.to_text()),
        previous.map(|old| old.issued_at.as_unix()),
        previous.map(|old| old.until.as_unix()),
        record.created_at.as_unix(),
        Json(&record.created_by),
        record.updated_at.as_unix(),
        record.issued_at.as_unix(),
        record.not_before.map(keyfob::Timestamp::as_unix),
        record.expires_at.map(keyfob::Timestamp::as_unix),
        status,
        revocation.map(Json),
        revision(record.created_revision),
        revision(record.revision),
    ]
}

fn status(status: &Status) -> (&'static str, Option<&Revocation>) {
    match status {
        Status::Active => ("active", None),
        Status::Disabled => ("disabled", None),
        Status::Revoked(revocation) => ("revoked", Some(revocation)),
    }
}

fn put_cutoff(cutoff: &Cutoff) -> Step<'_> {
    let (kind, name) = target(&cutoff.target);
    Step::new(
        sql::PUT_CUTOFF,
        values![
            cutoff.target.team().as_str(),
            kind,
            name,
            revision(cutoff.up_to),
            cutoff.blocked,
            json(&cutoff.revocation),
            revision(cutoff.revision),
        ],
    )
}

fn put_legacy<'a>(commit: &Commit, record: &'a LegacyRecord) -> Step<'a> {
    let mut values = values![
        record.id.to_bytes().to_vec(),
        record.tenant.team.as_str(),
        record.tenant.namespace.as_str(),
        record.subject.as_str(),
        record.digest.to_text(),
        record.blocked,
        record.imported_at.as_unix(),
        json(&record.imported_by),
        record.revoked.as_ref().map(Json),
        revision(record.created_revision),
        revision(record.revision),
    ];
    if let Change::ReplaceLegacy { expected, .. } = commit.change {
        values.push(Box::new(revision(expected)));
        Step::new(sql::REPLACE_LEGACY, values)
    } else {
        Step::new(sql::INSERT_LEGACY, values)
    }
}

fn json<T: Serialize>(value: &T) -> Json<&T> {
    Json(value)
}
