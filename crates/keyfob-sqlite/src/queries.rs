//! Lists, page by page, each within one read transaction.

use std::collections::{BTreeMap, HashMap};

use keyfob::{
    KeyId, Tenant, Timestamp,
    audit::AuditEvent,
    key::CredentialId,
    legacy::{LegacyPolicy, LegacyRecord},
    manage::{OwnerError, Policy},
    name::NamespaceId,
    store::{
        AuditPath, AuditQuery, Cursor, Found, KeyPath, KeyQuery, KeyRecord, LegacyQuery,
        NamespaceQuery, NamespaceRecord, Order, Page, Record, Revision, StatusFilter, Target,
    },
};
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Result, Row, ToSql, types::Type,
};
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
    let (after, before) = of_interest(&mut cutoffs, query)?;
    let team = query.team.as_str();
    let by = |oldest_first: Sql, newest_first: Sql| match query.order {
        Order::OldestFirst => oldest_first,
        Order::NewestFirst => newest_first,
    };
    let unrevoked = !selects_revoked(query);
    let owner;
    let (first_expiry, first_revision, end);
    let (statement, parameters): (Sql, &[&dyn ToSql]) = match query.path() {
        KeyPath::Expiry(range) => {
            let first = query.first_expiry();
            let (expiry, revision) = first.unwrap_or((range.start, Revision::ZERO));
            (first_expiry, first_revision) = (expiry.as_unix(), number(revision));
            end = range.end.as_unix();
            (
                sql::KEYS_BY_EXPIRY,
                &[&team, &first_expiry, &first_revision, &end],
            )
        }
        KeyPath::Ids(ids) => return keys_by_id(&mut cutoffs, query, ids),
        KeyPath::Name(name) => (
            by(sql::KEYS_OF_NAME, sql::NEWEST_KEYS_OF_NAME),
            &[&team, &after, &before, &name.as_str()],
        ),
        KeyPath::Owner(of) if unrevoked => {
            owner = of.to_string();
            let statement = by(sql::UNREVOKED_OF_OWNER, sql::NEWEST_UNREVOKED_OF_OWNER);
            (statement, &[&team, &after, &before, &owner])
        }
        KeyPath::Owner(of) => {
            owner = of.to_string();
            let statement = by(sql::KEYS_OF_OWNER, sql::NEWEST_KEYS_OF_OWNER);
            (statement, &[&team, &after, &before, &owner])
        }
        KeyPath::CreatedForOthersBy(creator) => {
            owner = creator.to_string();
            let statement = by(sql::KEYS_OF_CREATOR, sql::NEWEST_KEYS_OF_CREATOR);
            (statement, &[&team, &after, &before, &owner])
        }
        KeyPath::Label(name, value) => (
            by(sql::KEYS_OF_LABEL, sql::NEWEST_KEYS_OF_LABEL),
            &[&team, &after, &before, &name.as_str(), &value.as_str()],
        ),
        KeyPath::Namespace(namespace) if unrevoked => (
            by(
                sql::UNREVOKED_OF_NAMESPACE,
                sql::NEWEST_UNREVOKED_OF_NAMESPACE,
            ),
            &[&namespace.as_str(), &after, &before],
        ),
        KeyPath::Namespace(namespace) => (
            by(sql::KEYS_OF_NAMESPACE, sql::NEWEST_KEYS_OF_NAMESPACE),
            &[&namespace.as_str(), &after, &before],
        ),
        KeyPath::Team if unrevoked => (
            by(sql::UNREVOKED_OF_TEAM, sql::NEWEST_UNREVOKED_OF_TEAM),
            &[&team, &after, &before],
        ),
        KeyPath::Team => (
            by(sql::KEYS_OF_TEAM, sql::NEWEST_KEYS_OF_TEAM),
            &[&team, &after, &before],
        ),
    };
    let by_index = match query.path() {
        KeyPath::Expiry(_) => true,
        KeyPath::Owner(_) | KeyPath::Namespace(_) | KeyPath::Team => unrevoked,
        _ => false,
    };
    if by_index {
        return ByIndex::new(cutoffs, query)?.page(statement, parameters);
    }
    let mut statement = statement.on(cutoffs.connection())?;
    let records = statement.query_map(parameters, |row| row::json(row, 0))?;
    let records = records.map(|record| cutoffs.apply(record?));
    let selects = |record: &_| query.selects(record);
    Page::selected_of(records, query.limit, |record| query.place(record), selects)
}

fn selects_revoked(query: &KeyQuery) -> bool {
    matches!(query.status, None | Some(StatusFilter::Revoked))
}

/// The revisions between which the list is: those of the query, without what a cutoff revoked if
/// only other keys are asked for.
fn of_interest(cutoffs: &mut Cutoffs<'_>, query: &KeyQuery) -> Result<(i64, i64)> {
    let (after, before) = query.between();
    if selects_revoked(query) {
        return Ok((number(after), number(before)));
    }
    let mut targets = vec![Target::Team(query.team.clone())];
    if let Some(namespace) = &query.namespace {
        let tenant = Tenant::new(query.team.clone(), namespace.clone());
        targets.push(Target::Namespace(tenant));
    }
    if let Some(owner) = &query.owner {
        targets.push(Target::Owner(query.team.clone(), owner.clone()));
    }
    let after = after.max(cutoffs.last_covered(&targets)?);
    Ok((number(after), number(before)))
}

fn keys_by_id(
    cutoffs: &mut Cutoffs<'_>,
    query: &KeyQuery,
    ids: &[KeyId],
) -> Result<Page<KeyRecord>> {
    let mut statement = sql::KEY.on(cutoffs.connection())?;
    let mut found = BTreeMap::new();
    for id in ids {
        let record: Option<KeyRecord> = statement
            .query_row([CredentialId::Key(*id).to_string()], |row| {
                row::json(row, 0)
            })
            .optional()?;
        let record = record.map(|record| cutoffs.apply(record)).transpose()?;
        let selected = record.filter(|record| query.selects(record) && query.reaches(record));
        if let Some(record) = selected {
            found.insert(record.created_revision, record);
        }
    }
    let records = found.into_values().map(Ok);
    let place = |record: &KeyRecord| query.place(record);
    match query.order {
        Order::OldestFirst => Page::first_of(records, query.limit, place),
        Order::NewestFirst => Page::first_of(records.rev(), query.limit, place),
    }
}

/// A list of keys of which an index says what to read.
struct ByIndex<'c, 'q> {
    cutoffs: Cutoffs<'c>,
    query: &'q KeyQuery,
    /// The owner whose keys are listed, as the index has it.
    owner: Option<String>,
    record: CachedStatement<'c>,
    /// What the cutoffs of owners and namespaces cover, by their names.
    owners: HashMap<String, Revision>,
    namespaces: HashMap<String, Revision>,
}

impl<'c, 'q> ByIndex<'c, 'q> {
    fn new(cutoffs: Cutoffs<'c>, query: &'q KeyQuery) -> Result<Self> {
        Ok(Self {
            record: sql::KEY_AT.on(cutoffs.connection())?,
            cutoffs,
            query,
            owner: query.owner.as_ref().map(ToString::to_string),
            owners: HashMap::new(),
            namespaces: HashMap::new(),
        })
    }

    fn page(mut self, statement: Sql, parameters: &[&dyn ToSql]) -> Result<Page<KeyRecord>> {
        let mut statement = statement.on(self.cutoffs.connection())?;
        let limit = self.query.limit;
        let rows = statement.query_map(parameters, |row| {
            let revision = row::revision(row, 0)?;
            let expiry: Option<i64> = row.get(6)?;
            let place = match expiry {
                Some(expiry) => Cursor::after_expiry(Timestamp::from_unix(expiry), revision),
                None => Cursor::after(revision),
            };
            Ok((place, self.look_at(revision, row)?))
        })?;
        Page::found_in(rows, limit)
    }

    fn look_at(&mut self, revision: Revision, row: &Row<'_>) -> Result<Found<KeyRecord>> {
        let query = self.query;
        let namespace = row.get_ref(1)?.as_str()?;
        let owner = row.get_ref(2)?.as_str()?;
        let (in_namespace, of_owner) = (query.namespace.as_ref(), self.owner.as_ref());
        if in_namespace.is_some_and(|wanted| wanted.as_str() != namespace)
            || of_owner.is_some_and(|wanted| wanted != owner)
        {
            return Ok(Found::PassedOver);
        }
        let name = row.get_ref(3)?.as_str_or_null()?;
        let id = row.get_ref(4)?.as_str_or_null()?;
        if let (Some(text), Some(name), Some(id)) = (&query.containing, name, id) {
            let mut names = [name, namespace, owner, id].into_iter();
            if !names.any(|name| text.is_in_text(name)) {
                return Ok(Found::PassedOver);
            }
        }
        if !selects_revoked(query)
            && (row.get(5)?
                || revision <= self.covered_of_owner(owner)?
                || revision <= self.covered_of_namespace(namespace)?)
        {
            return Ok(Found::PassedOver);
        }
        let record = self
            .record
            .query_row([number(revision)], |row| row::json(row, 0))?;
        let record: KeyRecord = self.cutoffs.apply(record)?;
        Ok(if query.selects(&record) {
            Found::Selected(record)
        } else {
            Found::Read
        })
    }

    fn covered_of_owner(&mut self, owner: &str) -> Result<Revision> {
        if let Some(covered) = self.owners.get(owner) {
            return Ok(*covered);
        }
        let parsed = owner.parse();
        let parsed = parsed.map_err(|fault: OwnerError| row::unfit(2, Type::Text, fault))?;
        let target = Target::Owner(self.query.team.clone(), parsed);
        let covered = self.cutoffs.last_covered(&[target])?;
        self.owners.insert(owner.to_owned(), covered);
        Ok(covered)
    }

    fn covered_of_namespace(&mut self, namespace: &str) -> Result<Revision> {
        if let Some(covered) = self.namespaces.get(namespace) {
            return Ok(*covered);
        }
        let parsed = NamespaceId::new(namespace);
        let parsed = parsed.map_err(|fault| row::unfit(1, Type::Text, fault))?;
        let target = Target::Namespace(Tenant::new(self.query.team.clone(), parsed));
        let covered = self.cutoffs.last_covered(&[target])?;
        self.namespaces.insert(namespace.to_owned(), covered);
        Ok(covered)
    }
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

pub(crate) fn policies(connection: &Connection, tenants: &[Tenant]) -> Result<Vec<Policy>> {
    let each = tenants
        .iter()
        .map(|tenant| policy(connection, Some(tenant)));
    each.collect()
}

pub(crate) fn legacy_policies(
    connection: &Connection,
    tenants: &[Tenant],
) -> Result<Vec<LegacyPolicy>> {
    let each = tenants.iter();
    each.map(|tenant| legacy_policy(connection, Some(tenant)))
        .collect()
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
        AuditPath::Leaks => (
            by(sql::AUDIT_OF_LEAKS, sql::NEWEST_OF_LEAKS),
            &[&after, &last],
        ),
        AuditPath::Action(team, action) => (
            by(sql::AUDIT_OF_ACTION, sql::NEWEST_OF_ACTION),
            &[&after, &last, &team.as_str(), &action.as_str()],
        ),
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
    let selects = |event: &AuditEvent| query.selects(&event.entry);
    Page::selected_of(events, query.limit, |event| event.revision, selects)
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
