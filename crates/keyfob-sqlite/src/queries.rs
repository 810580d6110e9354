//! Lists, page by page, each within one read transaction.

use keyfob::{
    KeyId, Tenant, Timestamp,
    audit::AuditEvent,
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Cursor, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery, NamespaceRecord,
        Page, Revision, StatusFilter, Target,
    },
};
use rusqlite::{Connection, OptionalExtension, Result, Row, Rows, ToSql};
use serde::de::DeserializeOwned;

use crate::{
    cutoffs::Cutoffs,
    row::{self, Columns, OwnerKind, number},
    snapshot::team,
    sql::{self, Sql},
};

pub(crate) fn key(
    connection: &Connection,
    tenant: &Tenant,
    id: KeyId,
) -> Result<Option<KeyRecord>> {
    let (team, namespace) = (tenant.team.as_str(), tenant.namespace.as_str());
    let record = sql::KEY_OF_TENANT
        .on(connection)?
        .query_row((id.to_bytes(), team, namespace), |row| {
            Columns::of(row).key()
        })
        .optional()?;
    let read = |record| Cutoffs::new(connection).key(record);
    record.map(read).transpose()
}

pub(crate) fn keys(connection: &Connection, query: &KeyQuery) -> Result<Page<KeyRecord>> {
    let mut cutoffs = Cutoffs::new(connection);
    let after = number(first_of_interest(&mut cutoffs, query)?);
    let team = query.team.as_str();
    let select = |row: &Row<'_>| {
        let record = cutoffs.key(Columns::of(row).key()?)?;
        Ok(query.selects(&record).then_some(record))
    };
    let (statement, columns): (Sql, &[&dyn ToSql]) = match query {
        KeyQuery {
            name: Some(name), ..
        } => (sql::KEYS_OF_NAME, &[&team, &after, &name.as_str()]),
        KeyQuery {
            owner: Some(owner), ..
        } => (
            sql::KEYS_OF_OWNER,
            &[
                &team,
                &after,
                &owner.as_str(),
                &OwnerKind::of(owner).as_str(),
            ],
        ),
        KeyQuery {
            namespace: Some(namespace),
            ..
        } => (
            sql::KEYS_OF_NAMESPACE,
            &[&team, &after, &namespace.as_str()],
        ),
        _ => (sql::KEYS_OF_TEAM, &[&team, &after]),
    };
    let mut statement = statement.on(connection)?;
    let rows = statement.query(columns)?;
    page(rows, query.limit, select, |record| record.created_revision)
}

/// The revision behind which the list begins: the cursor, or a cut that revoked whatever came
/// before it where only other keys are asked for.
fn first_of_interest(cutoffs: &mut Cutoffs<'_>, query: &KeyQuery) -> Result<Revision> {
    let after = query.after.map_or(Revision::ZERO, Cursor::revision);
    if !matches!(
        query.status,
        Some(StatusFilter::Active | StatusFilter::Disabled)
    ) {
        return Ok(after);
    }
    let mut targets = vec![Target::Team(query.team.clone())];
    if let Some(namespace) = &query.namespace {
        let tenant = Tenant::new(query.team.clone(), namespace.clone());
        targets.push(Target::Namespace(tenant));
    }
    if let Some(owner) = &query.owner {
        targets.push(Target::Owner(query.team.clone(), owner.clone()));
    }
    Ok(after.max(cutoffs.last_cut(&targets)?))
}

pub(crate) fn legacy(connection: &Connection, query: &LegacyQuery) -> Result<Page<LegacyRecord>> {
    let mut cutoffs = Cutoffs::new(connection);
    let after = start(query.after);
    let select = |row: &Row<'_>| {
        let record = Columns::of(row).legacy()?;
        let selected = query.selects(&record).then_some(record);
        selected.map(|record| cutoffs.legacy(record)).transpose()
    };
    let id = query.id.map(LegacyId::to_bytes);
    let (statement, columns): (Sql, &[&dyn ToSql]) = match (&id, &query.namespace, &query.team) {
        (Some(id), ..) => (sql::LEGACY_BY_ID, &[&after, id]),
        (None, Some(namespace), _) => (sql::LEGACY_OF_NAMESPACE, &[&after, &namespace.as_str()]),
        (None, None, Some(team)) => (sql::LEGACY_OF_TEAM, &[&after, &team.as_str()]),
        (None, None, None) => (sql::LEGACY_OF_ALL, &[&after]),
    };
    let mut statement = statement.on(connection)?;
    let rows = statement.query(columns)?;
    page(rows, query.limit, select, |record| record.created_revision)
}

pub(crate) fn namespaces(
    connection: &Connection,
    query: &NamespaceQuery,
) -> Result<Page<NamespaceRecord>> {
    let mut cutoffs = Cutoffs::new(connection);
    let after = start(query.after);
    let select = |row: &Row<'_>| {
        let record = Columns::of(row).namespace()?;
        let selected = query.selects(&record).then_some(record);
        let read = |record| cutoffs.namespace(record);
        selected.map(read).transpose()
    };
    let (statement, columns): (Sql, &[&dyn ToSql]) = match (&query.namespace, &query.team) {
        (Some(namespace), _) => (sql::NAMESPACES_OF_NAME, &[&after, &namespace.as_str()]),
        (None, Some(team)) => (sql::NAMESPACES_OF_TEAM, &[&after, &team.as_str()]),
        (None, None) => (sql::NAMESPACES_OF_ALL, &[&after]),
    };
    let mut statement = statement.on(connection)?;
    let rows = statement.query(columns)?;
    page(rows, query.limit, select, |record| record.created_revision)
}

pub(crate) fn policy(connection: &Connection, tenant: Option<&Tenant>) -> Result<Policy> {
    effective(connection, "keys", tenant)
}

pub(crate) fn legacy_policy(
    connection: &Connection,
    tenant: Option<&Tenant>,
) -> Result<LegacyPolicy> {
    effective(connection, "legacy", tenant)
}

/// The policy of a namespace: its own, the default that was set, or the default of the type.
fn effective<P: Default + DeserializeOwned>(
    connection: &Connection,
    kind: &str,
    tenant: Option<&Tenant>,
) -> Result<P> {
    let mut statement = sql::POLICY.on(connection)?;
    let mut policy = |place: &str| -> Result<Option<P>> {
        let policy: Option<Option<P>> = statement
            .query_row((kind, place), |row| Columns::of(row).policy_or_null())
            .optional()?;
        Ok(policy.flatten())
    };
    if let Some(tenant) = tenant
        && team(connection, &tenant.namespace)?.as_ref() == Some(&tenant.team)
        && let Some(own) = policy(tenant.namespace.as_str())?
    {
        return Ok(own);
    }
    Ok(policy("")?.unwrap_or_default())
}

pub(crate) fn audit(connection: &Connection, query: &AuditQuery) -> Result<Page<AuditEvent>> {
    let (after, last) = bounds(connection, query)?;
    let select = |row: &Row<'_>| {
        let event = Columns::of(row).event()?;
        Ok(query.selects(&event.entry).then_some(event))
    };
    let credential = query.credential.and_then(row::credential);
    let (statement, columns): (Sql, &[&dyn ToSql]) = match (&credential, query) {
        (Some((kind, id)), _) => (sql::AUDIT_OF_CREDENTIAL, &[&after, &last, id, kind]),
        (
            None,
            AuditQuery {
                actor: Some(actor), ..
            },
        ) => (
            sql::AUDIT_OF_ACTOR,
            &[
                &after,
                &last,
                &actor.as_str(),
                &OwnerKind::of(actor).as_str(),
            ],
        ),
        (
            None,
            AuditQuery {
                namespace: Some(namespace),
                ..
            },
        ) => (
            sql::AUDIT_OF_NAMESPACE,
            &[&after, &last, &namespace.as_str()],
        ),
        (
            None,
            AuditQuery {
                team: Some(team), ..
            },
        ) => (sql::AUDIT_OF_TEAM, &[&after, &last, &team.as_str()]),
        (None, _) => (sql::AUDIT_OF_ALL, &[&after, &last]),
    };
    let mut statement = statement.on(connection)?;
    let rows = statement.query(columns)?;
    page(rows, query.limit, select, |event| event.revision)
}

/// The revision behind which the first event of interest may stand, and that at which the last may.
fn bounds(connection: &Connection, query: &AuditQuery) -> Result<(i64, i64)> {
    let first_at_or_after = |time: Timestamp| -> Result<i64> {
        let first = sql::FIRST_SINCE
            .on(connection)?
            .query_row([time.as_unix()], |row| row.get::<_, i64>(0))
            .optional()?;
        // Where there is none, it would be behind everything.
        Ok(first.unwrap_or(i64::MAX))
    };
    let mut after = start(query.after);
    if let Some(since) = query.since {
        after = after.max(first_at_or_after(since)? - 1);
    }
    let mut last = i64::MAX;
    if let Some(until) = query.until {
        let late: Option<i64> = sql::LAST_LATE
            .on(connection)?
            .query_row([until.as_unix()], |row| row.get(0))?;
        last = (first_at_or_after(until)? - 1).max(late.unwrap_or(0));
    }
    Ok((after, last))
}

fn start(after: Option<Cursor>) -> i64 {
    after.map_or(0, |cursor| number(cursor.revision()))
}

/// The first rows that are selected, and a cursor if there are more.
fn page<T>(
    mut rows: Rows<'_>,
    limit: usize,
    mut select: impl FnMut(&Row<'_>) -> Result<Option<T>>,
    place: impl Fn(&T) -> Revision,
) -> Result<Page<T>> {
    let limit = limit.clamp(1, KeyQuery::LIMIT_MAX);
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(item) = select(row)? else { continue };
        if items.len() == limit {
            let next = items.last().map(|last| Cursor::after(place(last)));
            return Ok(Page { items, next });
        }
        items.push(item);
    }
    Ok(Page { items, next: None })
}
