//! Lists, page by page.

use keyfob::{
    KeyId, Tenant, Timestamp,
    audit::{Action, AuditEvent},
    key::{CredentialId, KeyFormat},
    legacy::LegacyRecord,
    store::{
        AuditPath, AuditQuery, Cursor, KeyPath, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Order, Page, Record, Revision, SearchText, StatusFilter,
    },
};
use serde::de::DeserializeOwned;

use crate::{
    row::{self, Result, number},
    session::{Session, Step, values},
    sql::{self, Sql},
    value::Value,
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
    match &query.containing {
        Some(text) => search(session, query, text).await,
        None => page_of_keys(session, query).await,
    }
}

/// A page without regard to the text that is searched for.
async fn page_of_keys(session: &mut Session, query: &KeyQuery) -> Result<Page<KeyRecord>> {
    let unrevoked = !selects_revoked(query);
    let mut values = filters(query);
    let pair = match query.path() {
        KeyPath::Expiry(range) => {
            let first = query.first_expiry();
            let (expiry, revision) = first.unwrap_or((range.start, Revision::ZERO));
            values.extend(values![
                expiry.as_unix(),
                number(revision.get()),
                range.end.as_unix(),
            ]);
            (sql::KEYS_BY_EXPIRY, sql::KEYS_BY_EXPIRY)
        }
        KeyPath::Ids(_) => (sql::KEYS_OF_IDS, sql::NEWEST_KEYS_OF_IDS),
        KeyPath::Name(_) => (sql::KEYS_OF_NAME, sql::NEWEST_KEYS_OF_NAME),
        KeyPath::Owner(_) if unrevoked => (sql::UNREVOKED_OF_OWNER, sql::NEWEST_UNREVOKED_OF_OWNER),
        KeyPath::Owner(_) => (sql::KEYS_OF_OWNER, sql::NEWEST_KEYS_OF_OWNER),
        KeyPath::CreatedForOthersBy(_) => (sql::KEYS_OF_CREATOR, sql::NEWEST_KEYS_OF_CREATOR),
        KeyPath::Label(..) => (sql::KEYS_OF_LABEL, sql::NEWEST_KEYS_OF_LABEL),
        KeyPath::Namespace(_) if unrevoked => (
            sql::UNREVOKED_OF_NAMESPACE,
            sql::NEWEST_UNREVOKED_OF_NAMESPACE,
        ),
        KeyPath::Namespace(_) => (sql::KEYS_OF_NAMESPACE, sql::NEWEST_KEYS_OF_NAMESPACE),
        KeyPath::Team if unrevoked => (sql::UNREVOKED_OF_TEAM, sql::NEWEST_UNREVOKED_OF_TEAM),
        KeyPath::Team => (sql::KEYS_OF_TEAM, sql::NEWEST_KEYS_OF_TEAM),
    };
    let step = Step::new(ordered(query.order, pair), values);
    keys_of(session, step, query).await
}

async fn keys_of(
    session: &mut Session,
    step: Step<'_>,
    query: &KeyQuery,
) -> Result<Page<KeyRecord>> {
    let rows = session.rows(step).await?;
    let place = |record: &KeyRecord| query.place(record);
    Page::first_of(rows.iter().map(row::record), query.limit, place)
}

fn selects_revoked(query: &KeyQuery) -> bool {
    matches!(query.status, None | Some(StatusFilter::Revoked))
}

/// The statement for an order, of those for both.
fn ordered(order: Order, (oldest_first, newest_first): (Sql, Sql)) -> Sql {
    match order {
        Order::OldestFirst => oldest_first,
        Order::NewestFirst => newest_first,
    }
}

/// The values of a statement for a page of keys.
fn filters(query: &KeyQuery) -> Vec<Value<'_>> {
    let (after, before) = query.between();
    let label = query.label.as_ref();
    let creator = query.created_for_others_by.as_ref();
    values![
        query.team.as_str(),
        number(after.get()),
        number(before.get()),
        rows(query.limit),
        text(query.namespace.as_ref()),
        query.owner.as_ref().map(ToString::to_string),
        text(query.name.as_ref()),
        label.map(|(name, _)| name.as_str()),
        label.map(|(_, value)| value.as_str()),
        query.status.map(|status| status.statuses().to_vec()),
        creator.map(ToString::to_string),
        query.ids.as_deref().map(|ids| {
            let ids = ids.iter().map(|id| CredentialId::Key(*id).to_string());
            ids.collect::<Vec<_>>()
        }),
    ]
}

/// A page of the keys that have a text in what names them. The text is compared here, so that every
/// store finds the same.
async fn search(
    session: &mut Session,
    query: &KeyQuery,
    text: &SearchText,
) -> Result<Page<KeyRecord>> {
    let limit = Page::<()>::rows(query.limit) - 1;
    let mut items = Vec::new();
    let mut rest = KeyQuery {
        limit: KeyQuery::LIMIT_MAX,
        ..query.clone()
    };
    let by_name = matches!(
        query.path(),
        KeyPath::Owner(_) | KeyPath::Namespace(_) | KeyPath::Team
    );
    let (most, at_once) = if by_name {
        (Page::<()>::PASSED_OVER, NAMES)
    } else {
        (Page::<()>::LOOKED_THROUGH, KeyQuery::LIMIT_MAX)
    };
    for _ in 0..most / at_once {
        let page = if by_name {
            search_names(session, &rest, text, limit + 1 - items.len()).await?
        } else {
            let mut page = page_of_keys(session, &rest).await?;
            page.items.retain(|record| text.is_in(record));
            page
        };
        items.extend(page.items);
        if items.len() > limit {
            items.truncate(limit);
            let next = items.last().map(|last| query.place(last));
            return Ok(Page { items, next });
        }
        rest.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let next = rest.after;
    Ok(Page { items, next })
}

/// How many names of keys are read at once.
const NAMES: usize = 10_000;

/// The keys that have a text in what names them, of those whose names are read at once: no more than
/// a page of them after there are `enough`.
async fn search_names(
    session: &mut Session,
    query: &KeyQuery,
    text: &SearchText,
    enough: usize,
) -> Result<Page<KeyRecord>> {
    let step = names(query);
    let rows = session.rows(step).await?;
    let (mut found, mut last) = (Vec::new(), None);
    for row in &rows {
        let names = [1, 2, 3, 4].map(|column| row::get::<&str>(row, column));
        for name in names {
            if text.is_in_text(name?) {
                found.push(row::get::<i64>(row, 0)?);
                break;
            }
        }
        last = Some(row);
    }
    let last = last.map(|row| row::revision(row, 0)).transpose()?;
    let next = last.filter(|_| rows.len() >= NAMES).map(Cursor::after);
    let mut items = Vec::new();
    for at in found.chunks(KeyQuery::LIMIT_MAX) {
        let mut values = filters(query);
        values.extend(values![at.to_vec()]);
        let statement = ordered(query.order, (sql::KEYS_AT, sql::NEWEST_KEYS_AT));
        let page = keys_of(session, Step::new(statement, values), query).await?;
        items.extend(page.items);
        if items.len() >= enough {
            break;
        }
    }
    Ok(Page { items, next })
}

/// What names the keys by the path of a query.
fn names(query: &KeyQuery) -> Step<'_> {
    let unrevoked = !selects_revoked(query);
    let (after, before) = query.between();
    let mut values = values![
        query.team.as_str(),
        number(after.get()),
        number(before.get()),
        number(NAMES),
    ];
    let pair = match query.path() {
        KeyPath::Owner(owner) => {
            values.extend(values![owner.to_string()]);
            if unrevoked {
                (
                    sql::UNREVOKED_NAMES_OF_OWNER,
                    sql::NEWEST_UNREVOKED_NAMES_OF_OWNER,
                )
            } else {
                (sql::NAMES_OF_OWNER, sql::NEWEST_NAMES_OF_OWNER)
            }
        }
        KeyPath::Namespace(namespace) => {
            values.extend(values![namespace.as_str()]);
            if unrevoked {
                (
                    sql::UNREVOKED_NAMES_OF_NAMESPACE,
                    sql::NEWEST_UNREVOKED_NAMES_OF_NAMESPACE,
                )
            } else {
                (sql::NAMES_OF_NAMESPACE, sql::NEWEST_NAMES_OF_NAMESPACE)
            }
        }
        _ if unrevoked => (
            sql::UNREVOKED_NAMES_OF_TEAM,
            sql::NEWEST_UNREVOKED_NAMES_OF_TEAM,
        ),
        _ => (sql::NAMES_OF_TEAM, sql::NEWEST_NAMES_OF_TEAM),
    };
    Step::new(ordered(query.order, pair), values)
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

/// The policies of a kind for namespaces, in their order.
pub(crate) async fn policies<P: DeserializeOwned + Default>(
    session: &mut Session,
    kind: &str,
    tenants: &[Tenant],
) -> Result<Vec<P>> {
    let namespaces = tenants.iter().map(|tenant| tenant.namespace.as_str());
    let teams = tenants.iter().map(|tenant| tenant.team.as_str());
    let values = values![
        kind,
        namespaces.collect::<Vec<_>>(),
        teams.collect::<Vec<_>>()
    ];
    let rows = session.rows(Step::new(sql::POLICIES, values)).await?;
    let policies = rows.iter().map(|row| row::json_or_null(row, 0));
    policies
        .map(|policy| Ok(policy?.unwrap_or_default()))
        .collect()
}

pub(crate) async fn audit(session: &mut Session, query: &AuditQuery) -> Result<Page<AuditEvent>> {
    let newest = query.order == Order::NewestFirst;
    let by =
        |oldest_first: Sql, newest_first: Sql| if newest { newest_first } else { oldest_first };
    let statement = match query.path() {
        AuditPath::Credential(_) => by(sql::AUDIT_OF_CREDENTIAL, sql::NEWEST_OF_CREDENTIAL),
        AuditPath::Leaks => by(sql::AUDIT_OF_LEAKS, sql::NEWEST_OF_LEAKS),
        AuditPath::Action(..) => by(sql::AUDIT_OF_ACTION, sql::NEWEST_OF_ACTION),
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
        query.leaks_only,
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
