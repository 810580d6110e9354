//! Lists, page by page, each within one read transaction.

use keyfob::{
    KeyId, Tenant, Timestamp,
    audit::AuditEvent,
    key::CredentialId,
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditPath, AuditQuery, Cursor, KeyPath, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Order, Page, Record, Revision, StatusFilter, Target,
    },
};
use rusqlite::{Connection, OptionalExtension, Params, Result, ToSql};
use serde::de::DeserializeOwned;

use crate::{
    cutoffs::Cutoffs,
    row::{self, number},
    snapshot::team,
    sql::{self, Sql},
};

pub(crate) fn key(
    connection: &Connection,
    tenant: &Tenant,
    id: KeyId,
) -> Result<Option<KeyRecord>> {
    let record: Option<KeyRecord> = sql::KEY
        .on(connection)?
        .query_row([CredentialId::Key(id).to_string()], |row| row::json(row, 0))
        .optional()?;
    let record = record.filter(|record| record.tenant == *tenant);
    let mut cutoffs = Cutoffs::new(connection);
    record.map(|record| cutoffs.apply(record)).transpose()
}

pub(crate) fn keys(connection: &Connection, query: &KeyQuery) -> Result<Page<KeyRecord>> {
    let mut cutoffs = Cutoffs::new(connection);
    let after = number(first_of_interest(&mut cutoffs, query)?);
    let team = query.team.as_str();
    let owner;
    let (statement, parameters): (Sql, &[&dyn ToSql]) = match query.path() {
        KeyPath::Name(name) => (sql::KEYS_OF_NAME, &[&team, &after, &name.as_str()]),
        KeyPath::Owner(of) => {
            owner = of.to_string();
            (sql::KEYS_OF_OWNER, &[&team, &after, &owner])
        }
        KeyPath::CreatedForOthersBy(creator) => {
            owner = creator.to_string();
            (sql::KEYS_OF_CREATOR, &[&team, &after, &owner])
        }
        KeyPath::Label(name, value) => (
            sql::KEYS_OF_LABEL,
            &[&team, &after, &name.as_str(), &value.as_str()],
        ),
        KeyPath::Namespace(namespace) => (sql::KEYS_OF_NAMESPACE, &[&namespace.as_str(), &after]),
        KeyPath::Team => (sql::KEYS_OF_TEAM, &[&team, &after]),
    };
    let mut statement = statement.on(cutoffs.connection())?;
    let records = statement.query_map(parameters, |row| row::json(row, 0))?;
    let records = records.map(|record| cutoffs.apply(record?));
    let selects = |record: &_| query.selects(record);
    let position = |record: &KeyRecord| record.created_revision;
    Page::selected_of(records, query.limit, position, selects)
}

/// The revision after which the list begins: the cursor, or that up to which a cutoff revoked
/// everything if only other keys are asked for.
fn first_of_interest(cutoffs: &mut Cutoffs<'_>, query: &KeyQuery) -> Result<Revision> {
    let after = query.after.map_or(Revision::ZERO, Cursor::revision);
    if matches!(query.status, None | Some(StatusFilter::Revoked)) {
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
    Ok(after.max(cutoffs.last_covered(&targets)?))
}

pub(crate) fn legacy(connection: &Connection, query: &LegacyQuery) -> Result<Page<LegacyRecord>> {
    let after = start(query.after);
    let id = query.id.map(|id| CredentialId::Legacy(id).to_string());
    let (statement, parameters): (Sql, &[&dyn ToSql]) = match (&id, &query.namespace, &query.team) {
        (Some(id), ..) => (sql::LEGACY_BY_ID, &[&after, id]),
        (None, Some(namespace), _) => (sql::LEGACY_OF_NAMESPACE, &[&after, &namespace.as_str()]),
        (None, None, Some(team)) => (sql::LEGACY_OF_TEAM, &[&after, &team.as_str()]),
        (None, None, None) => (sql::LEGACY_OF_ALL, &[&after]),
    };
    let selects = |record: &_| query.selects(record);
    page(
        Cutoffs::new(connection),
        statement,
        parameters,
        query.limit,
        selects,
    )
}

pub(crate) fn namespaces(
    connection: &Connection,
    query: &NamespaceQuery,
) -> Result<Page<NamespaceRecord>> {
    let after = start(query.after);
    let (statement, parameters): (Sql, &[&dyn ToSql]) = match (&query.namespace, &query.team) {
        (Some(namespace), _) => (sql::NAMESPACES_OF_NAME, &[&after, &namespace.as_str()]),
        (None, Some(team)) => (sql::NAMESPACES_OF_TEAM, &[&after, &team.as_str()]),
        (None, None) => (sql::NAMESPACES_OF_ALL, &[&after]),
    };
    let selects = |record: &_| query.selects(record);
    page(
        Cutoffs::new(connection),
        statement,
        parameters,
        query.limit,
        selects,
    )
}

/// The first records that are selected, with cutoffs applied.
fn page<R: Record + DeserializeOwned>(
    mut cutoffs: Cutoffs<'_>,
    statement: Sql,
    parameters: impl Params,
    limit: usize,
    selects: impl Fn(&R) -> bool,
) -> Result<Page<R>> {
    let mut statement = statement.on(cutoffs.connection())?;
    let records = statement.query_map(parameters, |row| row::json(row, 0))?;
    let records = records
        .map(|record| cutoffs.apply(record?))
        .filter(|record| record.as_ref().map_or(true, &selects));
    Page::first_of(records, limit, R::created_revision)
}

pub(crate) fn policy(connection: &Connection, tenant: Option<&Tenant>) -> Result<Policy> {
    effective(connection, "policy", tenant)
}

pub(crate) fn legacy_policy(
    connection: &Connection,
    tenant: Option<&Tenant>,
) -> Result<LegacyPolicy> {
    effective(connection, "legacy_policy", tenant)
}

/// The policy of a namespace: its override, the default that was set, or the default of the type.
fn effective<P: Default + DeserializeOwned>(
    connection: &Connection,
    kind: &str,
    tenant: Option<&Tenant>,
) -> Result<P> {
    let mut statement = sql::POLICY.on(connection)?;
    let mut policy = |namespace: &str| -> Result<Option<P>> {
        let record: Option<(Option<Tenant>, Option<P>)> = statement
            .query_row((kind, namespace), |row| row::json(row, 0))
            .optional()?;
        Ok(record.and_then(|(_, policy)| policy))
    };
    if let Some(tenant) = tenant
        && team(connection, &tenant.namespace)?.as_ref() == Some(&tenant.team)
        && let Some(policy) = policy(tenant.namespace.as_str())?
    {
        return Ok(policy);
    }
    Ok(policy("")?.unwrap_or_default())
}

pub(crate) fn audit(connection: &Connection, query: &AuditQuery) -> Result<Page<AuditEvent>> {
    let (after, last) = bounds(connection, query)?;
    let newest = query.order == Order::NewestFirst;
    let by =
        |oldest_first: Sql, newest_first: Sql| if newest { newest_first } else { oldest_first };
    let text;
    let (statement, parameters): (Sql, &[&dyn ToSql]) = match query.path() {
        AuditPath::Credential(credential) => {
            text = credential.to_string();
            let statement = by(sql::AUDIT_OF_CREDENTIAL, sql::NEWEST_OF_CREDENTIAL);
            (statement, &[&after, &last, &text])
        }
        AuditPath::Actor(actor) => {
            text = actor.to_string();
            let statement = by(sql::AUDIT_OF_ACTOR, sql::NEWEST_OF_ACTOR);
            (statement, &[&after, &last, &text])
        }
        AuditPath::Namespace(namespace) => (
            by(sql::AUDIT_OF_NAMESPACE, sql::NEWEST_OF_NAMESPACE),
            &[&after, &last, &namespace.as_str()],
        ),
        AuditPath::Team(team) => (
            by(sql::AUDIT_OF_TEAM, sql::NEWEST_OF_TEAM),
            &[&after, &last, &team.as_str()],
        ),
        AuditPath::All => (by(sql::AUDIT_OF_ALL, sql::NEWEST_OF_ALL), &[&after, &last]),
    };
    let mut statement = statement.on(connection)?;
    let events = statement.query_map(parameters, |row| {
        Ok(AuditEvent {
            revision: row::revision(row, 0)?,
            entry: row::json(row, 1)?,
            hash: row::hash(row, 2)?,
        })
    })?;
    let events = events.filter(|event| {
        let entry = event.as_ref().map(|event| &event.entry);
        entry.map_or(true, |entry| query.selects(entry))
    });
    Page::first_of(events, query.limit, |event| event.revision)
}

/// The revision after which the first event of interest may be, and that of the last.
fn bounds(connection: &Connection, query: &AuditQuery) -> Result<(i64, i64)> {
    let first_at_or_after = |time: Timestamp| -> Result<i64> {
        let first = sql::FIRST_SINCE
            .on(connection)?
            .query_row([time.as_unix()], |row| row.get::<_, i64>(0))
            .optional()?;
        // If there is none, it would be after everything.
        Ok(first.unwrap_or(i64::MAX))
    };
    let (mut after, mut last) = match (query.order, query.after) {
        (Order::OldestFirst, cursor) => (start(cursor), i64::MAX),
        (Order::NewestFirst, None) => (0, i64::MAX),
        (Order::NewestFirst, Some(cursor)) => (0, number(cursor.revision()) - 1),
    };
    if let Some(since) = query.since {
        after = after.max(first_at_or_after(since)? - 1);
    }
    if let Some(until) = query.until {
        let late: Option<i64> = sql::LAST_LATE
            .on(connection)?
            .query_row([until.as_unix()], |row| row.get(0))?;
        last = last.min((first_at_or_after(until)? - 1).max(late.unwrap_or(0)));
    }
    Ok((after, last))
}

fn start(after: Option<Cursor>) -> i64 {
    after.map_or(0, |cursor| number(cursor.revision()))
}
