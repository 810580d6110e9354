//! Usage: merged as it comes in, for each credential as a whole and by day.

use std::collections::{BTreeMap, btree_map::Entry};

use keyfob::{
    Tenant, Timestamp,
    gateway::{Usage, UsageBatch, UsageDelta, UsageOutcome, UsageSource},
    key::CredentialId,
    name::{NamespaceId, TeamId},
    store::{UsageDay, UsageOf, UsageQuery},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, types::Type};

use crate::{row, sql};

/// Adds a batch to what is kept, in the transaction that is open, unless it was added before.
pub(crate) fn merge(connection: &Connection, batch: &UsageBatch, now: Timestamp) -> Result<()> {
    let source = batch.source.to_bytes();
    let recorded = sql::RECORD_SOURCE.on(connection)?.execute((
        source,
        count(batch.sequence),
        now.as_unix(),
    ))?;
    if recorded == 0 {
        return Ok(());
    }
    sql::FORGET_SOURCES
        .on(connection)?
        .execute([UsageSource::forgotten_at(now).as_unix()])?;
    let (first, last) = batch.source.group();
    sql::FORGET_OF_GROUP.on(connection)?.execute((
        first.to_bytes(),
        last.to_bytes(),
        source,
        i64::try_from(UsageSource::GROUP_MAX - 1).unwrap_or(i64::MAX),
    ))?;
    let mut totals: BTreeMap<CredentialId, (Usage, Tenant)> = BTreeMap::new();
    let mut days = Days::new();
    for delta in batch.used(now) {
        let (usage, tenant) = match totals.entry(delta.credential) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match tenant_of(connection, delta.credential)? {
                Some(tenant) => new.insert((Usage::none(delta.credential), tenant)),
                None => continue,
            },
        };
        usage.add(&delta);
        add(&mut days, &delta, tenant);
    }
    for (usage, _) in totals.values() {
        sql::MERGE_USAGE.on(connection)?.execute((
            usage.credential.to_string(),
            usage.last_used.map(Timestamp::as_unix),
            count(usage.accepted),
            count(usage.refused),
        ))?;
    }
    // More than the days that are added.
    let most = count(days.len().try_into().unwrap_or(u64::MAX)).saturating_add(FORGOTTEN_AT_ONCE);
    sql::FORGET_DAYS
        .on(connection)?
        .execute((UsageBatch::forgotten_at(now), most))?;
    if let Some((day, hour)) = batch.slot(now) {
        for ((of, legacy, outcome), uses) in days {
            sql::MERGE_DAY.on(connection)?.execute((
                day,
                of.to_string(),
                legacy,
                outcome.as_str(),
                hour.to_string(),
                count(uses),
            ))?;
        }
    }
    Ok(())
}

/// The uses of an hour: what they are of, whether of legacy credentials, and their outcome.
type Days = BTreeMap<(UsageOf, bool, UsageOutcome), u64>;

fn add(days: &mut Days, delta: &UsageDelta, tenant: &Tenant) {
    let legacy = matches!(delta.credential, CredentialId::Legacy(_));
    for of in [
        UsageOf::Credential(delta.credential),
        UsageOf::Namespace(tenant.namespace.clone()),
        UsageOf::Team(tenant.team.clone()),
    ] {
        let uses = days.entry((of, legacy, delta.outcome)).or_default();
        *uses = uses.saturating_add(delta.count);
    }
}

fn tenant_of(connection: &Connection, credential: CredentialId) -> Result<Option<Tenant>> {
    let mut statement = sql::TENANT_OF_CREDENTIAL.on(connection)?;
    let tenant = statement.query_row([credential.to_string()], |row| {
        Ok(Tenant::new(
            text(row, 1, TeamId::new)?,
            text(row, 0, NamespaceId::new)?,
        ))
    });
    tenant.optional()
}

/// A column of a type that is read from text.
fn text<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> std::result::Result<T, E>,
) -> Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).map_err(|fault| row::unfit(column, Type::Text, fault))
}

/// A count as a column, which ends at half of what a counter could hold.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn usage(connection: &Connection, credentials: &[CredentialId]) -> Result<Vec<Usage>> {
    let mut statement = sql::USAGE.on(connection)?;
    let mut found = Vec::new();
    for credential in credentials {
        let usage = statement.query_row([credential.to_string()], |row| {
            let last_used: Option<i64> = row.get(0)?;
            Ok(Usage {
                credential: *credential,
                last_used: last_used.map(Timestamp::from_unix),
                accepted: row::count(row, 1)?,
                refused: row::count(row, 2)?,
            })
        });
        found.extend(usage.optional()?);
    }
    Ok(found)
}

pub(crate) fn usage_days(connection: &Connection, query: &UsageQuery) -> Result<Vec<UsageDay>> {
    let mut statement = sql::USAGE_OF_DAY.on(connection)?;
    let mut found = Vec::new();
    for of in &query.of {
        let subject = of.to_string();
        for day in query.days() {
            let rows = statement.query_map((day, &subject), |row| {
                let by_hour: BTreeMap<usize, u64> = row::json(row, 2)?;
                let mut hours = [0; 24];
                for (hour, uses) in by_hour {
                    if let Some(known) = hours.get_mut(hour) {
                        *known = uses;
                    }
                }
                Ok(UsageDay {
                    of: of.clone(),
                    day,
                    legacy: row.get(0)?,
                    outcome: text(row, 1, str::parse)?,
                    hours,
                })
            })?;
            for row in rows {
                found.push(row?);
            }
        }
    }
    Ok(found)
}

/// How many rows of days that are forgotten a batch deletes, in addition to as many as it adds.
const FORGOTTEN_AT_ONCE: i64 = 100;
