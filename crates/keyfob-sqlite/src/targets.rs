//! Lists of teams and owners, and counts of what a revocation ends.

use keyfob::{
    Tenant, Timestamp,
    manage::OwnerError,
    name::TeamId,
    store::{LiveCount, Target, TargetPage, TargetQuery, TargetRecord, TargetsOf},
};
use rusqlite::{Connection, OptionalExtension, Params, Result, types::Type};

use crate::{
    cutoffs::Cutoffs,
    row::{self, number},
    snapshot::{is_known, team},
    sql::{self, Sql},
};

pub(crate) fn targets(connection: &Connection, query: &TargetQuery) -> Result<TargetPage> {
    let mut cutoffs = Cutoffs::new(connection);
    let mut record = |target: Target| {
        let cutoff = cutoffs.of(std::slice::from_ref(&target))?;
        let removed = cutoff.iter().any(|cutoff| cutoff.blocked);
        let has_cutoff = !cutoff.is_empty();
        Ok((TargetRecord { target, removed }, has_cutoff))
    };
    if let TargetsOf::One(target) = &query.of {
        let (record, has_cutoff) = record(target.clone())?;
        let is_known = has_cutoff || is_known(connection, target)?;
        return TargetPage::first_of(is_known.then_some(Ok(record)), query);
    }
    let names = match &query.of {
        TargetsOf::Teams(after) => {
            let after = after.as_ref().map_or("", TeamId::as_str);
            page(query, after.to_owned(), |after| {
                first_of(
                    next(connection, sql::NEXT_TEAM, [after])?,
                    next(connection, sql::NEXT_CUT_TEAM, [after])?,
                )
            })?
        }
        TargetsOf::Members(team, after) => {
            let after = after.as_ref().map_or("", |user| user.as_str());
            owners(connection, query, team, "user", after)?
        }
        TargetsOf::Services(team, after) => {
            let after = after.as_ref().map_or("", |service| service.as_str());
            owners(connection, query, team, "service", after)?
        }
        TargetsOf::One(_) => Vec::new(),
    };
    let items = names.iter().map(|name| {
        let target = target(&query.of, name).map_err(|fault| row::unfit(0, Type::Text, fault))?;
        record(target).map(|(record, _)| record)
    });
    TargetPage::first_of(items, query)
}

/// The owners of a kind, after one of this name.
fn owners(
    connection: &Connection,
    query: &TargetQuery,
    team: &TeamId,
    kind: &str,
    after: &str,
) -> Result<Vec<String>> {
    // `;` comes after `:`.
    let end = format!("{kind};");
    page(query, format!("{kind}:{after}"), |after| {
        let range = (team.as_str(), after, end.as_str());
        first_of(
            next(connection, sql::NEXT_OWNER, range)?,
            next(connection, sql::NEXT_CUT_OWNER, range)?,
        )
    })
}

/// The names of a page: each is the next one after the one before it.
fn page(
    query: &TargetQuery,
    mut last: String,
    next: impl Fn(&str) -> Result<Option<String>>,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    while names.len() < query.rows() {
        let Some(name) = next(&last)? else { break };
        last.clone_from(&name);
        names.push(name);
    }
    Ok(names)
}

fn next(connection: &Connection, statement: Sql, values: impl Params) -> Result<Option<String>> {
    let mut statement = statement.on(connection)?;
    statement.query_row(values, |row| row.get(0)).optional()
}

/// The earlier of two names.
#[expect(clippy::unnecessary_wraps, reason = "as the look-ups around it")]
fn first_of(a: Option<String>, b: Option<String>) -> Result<Option<String>> {
    Ok(match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    })
}

/// The target of a name as the database has it.
fn target(of: &TargetsOf, name: &str) -> std::result::Result<Target, OwnerError> {
    Ok(match of {
        TargetsOf::Teams(_) => Target::Team(TeamId::new(name)?),
        TargetsOf::Members(team, _) | TargetsOf::Services(team, _) => {
            Target::Owner(team.clone(), name.parse()?)
        }
        TargetsOf::One(target) => target.clone(),
    })
}

pub(crate) fn count_live(
    connection: &Connection,
    target: &Target,
    at: Timestamp,
) -> Result<LiveCount> {
    let mut cutoffs = Cutoffs::new(connection);
    let of_team = Target::Team(target.team().clone());
    let all_covered = number(cutoffs.last_covered(std::slice::from_ref(&of_team))?);
    let covered = number(cutoffs.last_covered(&[of_team, target.clone()])?);
    let at = at.as_unix();
    let team_name = target.team().as_str();
    match target {
        Target::Team(_) => {
            let keys = count(connection, sql::LIVE_KEYS_OF_TEAM, (team_name, covered, at))?;
            let legacy = count(connection, sql::LIVE_LEGACY_OF_TEAM, (team_name, covered))?;
            Ok(LiveCount::new(keys, legacy, 0))
        }
        Target::Namespace(Tenant {
            team: of,
            namespace,
        }) => {
            if team(connection, namespace)?.as_ref() != Some(of) {
                return Ok(LiveCount::default());
            }
            let namespace = namespace.as_str();
            let values = (team_name, covered, at, namespace);
            let keys = count(connection, sql::LIVE_KEYS_OF_NAMESPACE, values)?;
            let values = (team_name, covered, namespace);
            let legacy = count(connection, sql::LIVE_LEGACY_OF_NAMESPACE, values)?;
            Ok(LiveCount::new(keys, legacy, 0))
        }
        Target::Owner(_, owner) => {
            let owner = owner.to_string();
            let values = (team_name, covered, at, owner.as_str());
            let keys = count(connection, sql::LIVE_KEYS_OF_OWNER, values)?;
            let values = (team_name, all_covered, at, owner.as_str());
            let created = count(connection, sql::LIVE_KEYS_OF_CREATOR, values)?;
            Ok(LiveCount::new(keys, 0, created))
        }
    }
}

fn count(connection: &Connection, statement: Sql, values: impl Params) -> Result<u64> {
    let mut statement = statement.on(connection)?;
    statement.query_row(values, |row| row::count(row, 0))
}
