//! Lists, page by page.

use keyfob::{
    KeyId, Tenant, Timestamp,
    audit::{Action, AuditEvent},
    key::{CredentialId, KeyFormat},
    legacy::LegacyRecord,
    store::{
        AuditPath, AuditQuery, Cursor, KeyPath, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Order, Page, Record,
    },
};
use serde::de::DeserializeOwned;

use crate::{
    row::{self, Result, number},
    session::{Session, Step, values},
    sql::{self, Sql},
};

pub(crate) async fn key(
    session: &mut Session,
    tenant: &Tenant,
    id: KeyId,
) -> Result<Option<KeyRecord>> {
    let values = values![
        CredentialId::Key(id).to_string(),
        tenant.team.as_str(),
        tenant.namespace.as_str(),
    ];
    let rows = session.rows(Step::new(sql::KEY_OF_TENANT, values)).await?;
    rows.first().map(row::record).transpose()
}

pub(crate) async fn keys(session: &mut Session, query: &KeyQuery) -> Result<Page<KeyRecord>> {
    let statement = match query.path() {
        KeyPath::Name(_) => sql::KEYS_OF_NAME,
        KeyPath::Owner(_) => sql::KEYS_OF_OWNER,
        KeyPath::CreatedForOthersBy(_) => sql::KEYS_OF_CREATOR,
        KeyPath::Label(..) => sql::KEYS_OF_LABEL,
        KeyPath::Namespace(_) => sql::KEYS_OF_NAMESPACE,
        KeyPath::Team => sql::KEYS_OF_TEAM,
    };
    let label = query.label.as_ref();
    let values = values![
        query.team.as_str(),
        after(query.after),
        rows(query.limit),
        text(query.namespace.as_ref()),
        query.owner.as_ref().map(ToString::to_string),
        text(query.name.as_ref()),
        label.map(|(name, _)| name.as_str()),
        label.map(|(_, value)| value.as_str()),
        query.status.map(|status| status.statuses().to_vec()),
        query
            .created_for_others_by
            .as_ref()
            .map(ToString::to_string),
    ];
    page(session, Step::new(statement, values), query.limit).await
}

pub(crate) async fn legacy(
    session: &mut Session,
    query: &LegacyQuery,
) -> Result<Page<LegacyRecord>> {
    let statement = match (&query.id, &query.namespace, &query.team) {
        (Some(_), ..) => sql::LEGACY_OF_ID,
        (None, Some(_), _) => sql::LEGACY_OF_NAMESPACE,
        (None, None, Some(_)) => sql::LEGACY_OF_TEAM,
        (None, None, None) => sql::LEGACY_OF_ALL,
    };
    let values = values![
        after(query.after),
        rows(query.limit),
        text(query.team.as_ref()),
        text(query.namespace.as_ref()),
        query.id.map(|id| CredentialId::Legacy(id).to_string()),
    ];
    page(session, Step::new(statement, values), query.limit).await
}

pub(crate) async fn namespaces(
    session: &mut Session,
    query: &NamespaceQuery,
) -> Result<Page<NamespaceRecord>> {
    let statement = match (&query.namespace, &query.team) {
        (Some(_), _) => sql::NAMESPACES_OF_NAME,
        (None, Some(_)) => sql::NAMESPACES_OF_TEAM,
        (None, None) => sql::NAMESPACES_OF_ALL,
    };
    let values = values![
        after(query.after),
        rows(query.limit),
        text(query.team.as_ref()),
        text(query.namespace.as_ref()),
    ];
    page(session, Step::new(statement, values), query.limit).await
}

async fn page<R: Record + DeserializeOwned>(
    session: &mut Session,
    step: Step<'_>,
    limit: usize,
) -> Result<Page<R>> {
    let rows = session.rows(step).await?;
    Page::first_of(rows.iter().map(row::record), limit, R::created_revision)
}

/// The format of the keys, once it was recorded.
pub(crate) async fn key_format(session: &mut Session) -> Result<Option<KeyFormat>> {
    let rows = session.rows(Step::new(sql::KEY_FORMAT, values![])).await?;
    let format = rows.first().map(|row| row::json_or_null(row, 0));
    Ok(format.transpose()?.flatten())
}

/// The policy of a kind for a namespace: its override, the default that was set, or the default of
/// the type.
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
    let policy = rows.first().map(|row| row::json_or_null(row, 0));
    Ok(policy.transpose()?.flatten().unwrap_or_default())
}

pub(crate) async fn audit(session: &mut Session, query: &AuditQuery) -> Result<Page<AuditEvent>> {
    let newest = query.order == Order::NewestFirst;
    let by =
        |oldest_first: Sql, newest_first: Sql| if newest { newest_first } else { oldest_first };
    let statement = match query.path() {
        AuditPath::Credential(_) => by(sql::AUDIT_OF_CREDENTIAL, sql::NEWEST_OF_CREDENTIAL),
        AuditPath::Actor(_) => by(sql::AUDIT_OF_ACTOR, sql::NEWEST_OF_ACTOR),
        AuditPath::Namespace(_) => by(sql::AUDIT_OF_NAMESPACE, sql::NEWEST_OF_NAMESPACE),
        AuditPath::Team(_) => by(sql::AUDIT_OF_TEAM, sql::NEWEST_OF_TEAM),
        AuditPath::All => by(sql::AUDIT_OF_ALL, sql::NEWEST_OF_ALL),
    };
    let begin = match query.after {
        None if newest => i64::MAX,
        cursor => after(cursor),
    };
    let values = values![
        begin,
        rows(query.limit),
        text(query.team.as_ref()),
        text(query.namespace.as_ref()),
        query.credential.map(|credential| credential.to_string()),
        query.actor.as_ref().map(ToString::to_string),
        query.since.map(Timestamp::as_unix),
        query.until.map(Timestamp::as_unix),
        query.action.map(Action::as_str),
    ];
    let rows = session.rows(Step::new(statement, values)).await?;
    let events = rows.iter().map(|row| {
        Ok(AuditEvent {
            revision: row::revision(row, 0)?,
            entry: row::json(row, 1)?,
            hash: row::hash(row, 2)?,
        })
    });
    Page::first_of(events, query.limit, |event| event.revision)
}

fn after(cursor: Option<Cursor>) -> i64 {
    cursor.map_or(0, |cursor| number(cursor.revision().get()))
}

fn rows(limit: usize) -> i64 {
    number(Page::<()>::rows(limit))
}

/// A text as a column, or null.
fn text(text: Option<&impl AsRef<str>>) -> Option<&str> {
    text.map(AsRef::as_ref)
}
