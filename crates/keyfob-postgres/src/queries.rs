//! Keys, legacy credentials, namespaces, policies and the trail, as somebody asks for them.

use keyfob::{
    KeyId, Owner, Tenant, Timestamp,
    audit::{Action, AuditEvent},
    key::KeyFormat,
    legacy::LegacyRecord,
    store::{
        AuditQuery, Cursor, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery, NamespaceRecord,
        Page, Revision, StatusFilter,
    },
};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use crate::{
    row::{Columns, OwnerKind, Result, credential, number, text},
    session::{Session, Step, values},
    snapshot::revision,
    sql,
};

pub(crate) async fn key(
    session: &mut Session,
    tenant: &Tenant,
    id: KeyId,
) -> Result<Option<KeyRecord>> {
    let values = values![
        id.to_bytes().to_vec(),
        tenant.team.as_str(),
        tenant.namespace.as_str(),
    ];
    let rows = session.rows(Step::new(sql::KEY_OF_TENANT, values)).await?;
    let key = rows.first().map(|row| Columns::of(row).key_behind());
    key.transpose()
}

pub(crate) async fn keys(session: &mut Session, query: &KeyQuery) -> Result<Page<KeyRecord>> {
    // By the path that leads to the fewest.
    let path = if query.name.is_some() {
        sql::KEYS_OF_NAME
    } else if query.owner.is_some() {
        sql::KEYS_OF_OWNER
    } else if query.label.is_some() {
        sql::KEYS_OF_LABEL
    } else if query.namespace.is_some() {
        sql::KEYS_OF_NAMESPACE
    } else {
        sql::KEYS_OF_TEAM
    };
    let (owner_kind, owner) = owner_columns(query.owner.as_ref());
    let label = query.label.as_ref();
    let values = values![
        query.team.as_str(),
        after(query.after),
        one_more(query.limit),
        text(query.namespace.as_ref()),
        owner_kind,
        owner,
        text(query.name.as_ref()),
        label.map(|(name, _)| name.as_str()),
        label.map(|(_, value)| value.as_str()),
        query.status.map(status),
    ];
    let rows = session.rows(Step::new(path, values)).await?;
    page(
        &rows,
        query.limit,
        |row| Columns::of(row).key_behind(),
        |key| key.created_revision,
    )
}

pub(crate) async fn legacy(
    session: &mut Session,
    query: &LegacyQuery,
) -> Result<Page<LegacyRecord>> {
    let team = text(query.team.as_ref());
    let namespace = text(query.namespace.as_ref());
    let mut values = values![after(query.after), one_more(query.limit)];
    let path = if let Some(id) = query.id {
        values.extend(values![id.to_bytes().to_vec(), team, namespace]);
        sql::LEGACY_OF_ID
    } else if namespace.is_some() {
        values.extend(values![namespace, team]);
        sql::LEGACY_OF_NAMESPACE
    } else if team.is_some() {
        values.extend(values![team]);
        sql::LEGACY_OF_TEAM
    } else {
        sql::LEGACY_OF_ALL
    };
    let rows = session.rows(Step::new(path, values)).await?;
    page(
        &rows,
        query.limit,
        |row| Columns::of(row).legacy_behind(),
        |record| record.created_revision,
    )
}

pub(crate) async fn namespaces(
    session: &mut Session,
    query: &NamespaceQuery,
) -> Result<Page<NamespaceRecord>> {
    let team = text(query.team.as_ref());
    let namespace = text(query.namespace.as_ref());
    let mut values = values![after(query.after), one_more(query.limit)];
    let path = if namespace.is_some() {
        values.extend(values![namespace, team]);
        sql::NAMESPACES_OF_NAME
    } else if team.is_some() {
        values.extend(values![team]);
        sql::NAMESPACES_OF_TEAM
    } else {
        sql::NAMESPACES_OF_ALL
    };
    let rows = session.rows(Step::new(path, values)).await?;
    page(
        &rows,
        query.limit,
        |row| Columns::of(row).namespace(),
        |record| record.created_revision,
    )
}

/// The format of the keys, once it was recorded.
pub(crate) async fn key_format(session: &mut Session) -> Result<Option<KeyFormat>> {
    let rows = session.rows(Step::new(sql::KEY_FORMAT, values![])).await?;
    let format = rows.first().map(|row| Columns::of(row).json_or_null());
    Ok(format.transpose()?.flatten())
}

/// The policy of a kind for a namespace: its own, the default that was set, or the default of the
/// type.
pub(crate) async fn policy<P: DeserializeOwned + Default>(
    session: &mut Session,
    kind: &str,
    tenant: Option<&Tenant>,
) -> Result<P> {
    let values = values![
        kind,
        tenant.map(|tenant| tenant.namespace.as_str()),
        tenant.map(|tenant| tenant.team.as_str()),
    ];
    let rows = session.rows(Step::new(sql::POLICY, values)).await?;
    let policy = rows.first().map(|row| Columns::of(row).json_or_null());
    Ok(policy.transpose()?.flatten().unwrap_or_default())
}

pub(crate) async fn audit(session: &mut Session, query: &AuditQuery) -> Result<Page<AuditEvent>> {
    // By the path that leads to the fewest.
    let path = if query.credential.is_some() {
        sql::AUDIT_OF_CREDENTIAL
    } else if query.actor.is_some() {
        sql::AUDIT_OF_ACTOR
    } else if query.namespace.is_some() {
        sql::AUDIT_OF_NAMESPACE
    } else if query.team.is_some() {
        sql::AUDIT_OF_TEAM
    } else {
        sql::AUDIT_OF_ALL
    };
    let credential = query.credential.and_then(credential);
    let (actor_kind, actor) = owner_columns(query.actor.as_ref());
    let values = values![
        after(query.after),
        one_more(query.limit),
        text(query.team.as_ref()),
        text(query.namespace.as_ref()),
        credential.map(|(kind, _)| kind),
        credential.map(|(_, id)| id.to_vec()),
        actor_kind,
        actor,
        query.since.map(Timestamp::as_unix),
        query.until.map(Timestamp::as_unix),
        query.action.map(Action::as_str),
    ];
    let rows = session.rows(Step::new(path, values)).await?;
    page(
        &rows,
        query.limit,
        |row| Columns::of(row).event(),
        |event| event.revision,
    )
}

/// The items of a page, of rows of which there is one more if the list goes on.
fn page<T>(
    rows: &[Row],
    limit: usize,
    read: impl Fn(&Row) -> Result<T>,
    place: impl Fn(&T) -> Revision,
) -> Result<Page<T>> {
    let limit = limit.clamp(1, KeyQuery::LIMIT_MAX);
    let items = rows.iter().take(limit);
    let items: Vec<T> = items.map(read).collect::<Result<_>>()?;
    let next = match items.last() {
        Some(last) if rows.len() > limit => Some(Cursor::after(place(last))),
        _ => None,
    };
    Ok(Page { items, next })
}

fn after(cursor: Option<Cursor>) -> i64 {
    cursor.map_or(0, |cursor| revision(cursor.revision()))
}

fn one_more(limit: usize) -> i64 {
    number(limit.clamp(1, KeyQuery::LIMIT_MAX) as u64 + 1)
}

fn owner_columns(owner: Option<&Owner>) -> (Option<&'static str>, Option<&str>) {
    match owner {
        Some(owner) => (Some(OwnerKind::of(owner).as_str()), Some(owner.as_str())),
        None => (None, None),
    }
}

fn status(filter: StatusFilter) -> &'static str {
    match filter {
        StatusFilter::Active => "active",
        StatusFilter::Disabled => "disabled",
        StatusFilter::Revoked => "revoked",
        // Of a later version of the core: nothing has it.
        _ => "",
    }
}
