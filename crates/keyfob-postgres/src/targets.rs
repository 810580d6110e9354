//! Lists of teams and owners, and counts of what a revocation ends.

use keyfob::{
    Owner, Timestamp,
    name::TeamId,
    store::{LiveCount, Target, TargetPage, TargetQuery, TargetRecord, TargetsOf},
};
use tokio_postgres::Row;

use crate::{
    row::{self, Result, number},
    session::{Session, Step, values},
    sql,
};

pub(crate) async fn targets(session: &mut Session, query: &TargetQuery) -> Result<TargetPage> {
    let limit = number(query.rows());
    let (team, kind, after) = match &query.of {
        TargetsOf::Teams(after) => {
            let after = after.as_ref().map_or("", TeamId::as_str);
            let step = Step::new(sql::TEAMS, values![after, limit]);
            let rows = session.rows(step).await?;
            let teams = rows
                .iter()
                .map(|row| record(row, row::text(row, 0, TeamId::new).map(Target::Team)));
            return TargetPage::first_of(teams, query);
        }
        TargetsOf::Members(team, after) => {
            let after = after.as_ref().map_or("", |user| user.as_str());
            (team, "user", after)
        }
        TargetsOf::Services(team, after) => {
            let after = after.as_ref().map_or("", |service| service.as_str());
            (team, "service", after)
        }
        TargetsOf::One(target) => return one(session, query, target).await,
    };
    // `;` comes after `:`.
    let values = values![
        team.as_str(),
        format!("{kind}:{after}"),
        format!("{kind};"),
        limit
    ];
    let rows = session.rows(Step::new(sql::OWNERS, values)).await?;
    let owners = rows.iter().map(|row| {
        let owner = row::text(row, 0, str::parse::<Owner>);
        record(row, owner.map(|owner| Target::Owner(team.clone(), owner)))
    });
    TargetPage::first_of(owners, query)
}

async fn one(session: &mut Session, query: &TargetQuery, target: &Target) -> Result<TargetPage> {
    let team = target.team().as_str();
    let step = match target {
        Target::Team(_) => Step::new(sql::TEAM, values![team]),
        Target::Namespace(tenant) => {
            Step::new(sql::NAMESPACE, values![team, tenant.namespace.as_str()])
        }
        Target::Owner(_, owner) => Step::new(sql::OWNER, values![team, owner.to_string()]),
    };
    let rows = session.rows(step).await?;
    let Some(row) = rows.first() else {
        return TargetPage::first_of([], query);
    };
    let (has_any, blocked): (bool, Option<bool>) = (row::get(row, 0)?, row::get(row, 1)?);
    let record = TargetRecord {
        target: target.clone(),
        removed: blocked.unwrap_or_default(),
    };
    let is_known = has_any || blocked.is_some();
    TargetPage::first_of(is_known.then_some(Ok(record)), query)
}

fn record(row: &Row, target: Result<Target>) -> Result<TargetRecord> {
    Ok(TargetRecord {
        target: target?,
        removed: row::get(row, 1)?,
    })
}

pub(crate) async fn count_live(
    session: &mut Session,
    target: &Target,
    at: Timestamp,
) -> Result<LiveCount> {
    let (team, at) = (target.team().as_str(), at.as_unix());
    let step = match target {
        Target::Team(_) => Step::new(sql::LIVE_OF_TEAM, values![team, at]),
        Target::Namespace(tenant) => {
            let values = values![team, at, tenant.namespace.as_str()];
            Step::new(sql::LIVE_OF_NAMESPACE, values)
        }
        Target::Owner(_, owner) => {
            Step::new(sql::LIVE_OF_OWNER, values![team, at, owner.to_string()])
        }
    };
    let rows = session.rows(step).await?;
    let Some(row) = rows.first() else {
        return Ok(LiveCount::default());
    };
    let [keys, legacy, created] = [0, 1, 2].map(|column| row::count(row, column));
    Ok(LiveCount::new(keys?, legacy?, created?))
}
