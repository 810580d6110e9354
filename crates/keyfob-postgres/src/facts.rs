//! The answers to a commit's questions, read in the transaction that will keep it.

use keyfob::{
    CredentialId, Realm,
    store::{Change, Commit, Facts, Known},
};
use tokio_postgres::Row;

use crate::{
    row::{Columns, OwnerKind, Result, number, realm},
    session::{Step, values},
    sql,
};

/// What is asked, in the order in which [`facts`] takes the answers.
pub(crate) fn questions(commit: &Commit) -> Vec<Step<'_>> {
    let questions = commit.questions();
    let now = commit.event.at.as_unix();
    let mut steps = vec![Step::new(sql::LOCK_LOG, values![])];
    if let Some(namespace) = questions.namespace {
        steps.push(Step::new(
            sql::TEAM_OF_NAMESPACE,
            values![namespace.as_str()],
        ));
    }
    match questions.credential {
        Some(CredentialId::Key(id)) => {
            steps.push(Step::new(sql::KEY, values![id.to_bytes().to_vec()]));
            steps.push(Step::new(sql::DELETED_KEY, values![id.to_bytes().to_vec()]));
        }
        Some(CredentialId::Legacy(id)) => {
            steps.push(Step::new(sql::LEGACY, values![id.to_bytes().to_vec()]));
        }
        _ => {}
    }
    if !questions.realms.is_empty() {
        steps.push(boundaries(&questions.realms));
    }
    if let Some(asked) = questions.name {
        steps.push(Step::new(
            sql::NAME_IS_TAKEN,
            values![
                asked.namespace.as_str(),
                asked.name.as_str(),
                asked.except.to_bytes().to_vec(),
                now,
            ],
        ));
    }
    if let Some(asked) = questions.owner {
        steps.push(Step::new(
            sql::LIVE_KEYS,
            values![
                asked.namespace.as_str(),
                OwnerKind::of(asked.owner).as_str(),
                asked.owner.as_str(),
                now,
                most(commit),
            ],
        ));
    }
    steps
}

fn boundaries(realms: &[Realm]) -> Step<'static> {
    let columns = || realms.iter().map(realm);
    let teams: Vec<String> = realms
        .iter()
        .map(|realm| realm.team().to_string())
        .collect();
    let kinds: Vec<&'static str> = columns().map(|(kind, _)| kind).collect();
    let names: Vec<String> = columns().map(|(_, name)| name.to_owned()).collect();
    Step::new(sql::BOUNDARIES, values![teams, kinds, names])
}

/// How far an owner's keys are counted: no further than it matters.
fn most(commit: &Commit) -> i64 {
    match &commit.change {
        Change::CreateKey { limits, .. } => limits.keys_per_owner.map_or(i64::MAX, i64::from),
        _ => i64::MAX,
    }
}

/// What a commit is judged by, and the mark by which it is found again if its answer is lost.
pub(crate) fn facts(
    commit: &Commit,
    mut answers: impl Iterator<Item = Vec<Row>>,
) -> Result<(Facts, [u8; 16])> {
    let questions = commit.questions();
    let mut rows = || answers.next().unwrap_or_default();
    let mut facts = Facts::default();
    let mut attempt = [0; 16];
    for row in rows() {
        let mut columns = Columns::of(&row);
        facts.head = columns.revision()?;
        facts.last_hash = columns.hash()?;
        attempt = columns.attempt()?;
    }
    if questions.namespace.is_some() {
        let teams = rows();
        let team = teams.first().map(|row| Columns::of(row).team());
        facts.team = team.transpose()?;
    }
    match questions.credential {
        Some(CredentialId::Key(_)) => {
            let (keys, deleted) = (rows(), rows());
            facts.known = match keys.first() {
                Some(row) => Known::Key(Columns::of(row).key_behind()?),
                None if deleted.is_empty() => Known::Nothing,
                None => Known::Deleted,
            };
        }
        Some(CredentialId::Legacy(_)) => {
            if let Some(row) = rows().first() {
                facts.known = Known::Legacy(Columns::of(row).legacy_behind()?);
            }
        }
        _ => {}
    }
    if !questions.realms.is_empty() {
        let boundaries = rows();
        let boundaries = boundaries.iter().map(|row| Columns::of(row).boundary());
        facts.boundaries = boundaries.collect::<Result<_>>()?;
    }
    if questions.name.is_some() {
        facts.name_is_taken = !rows().is_empty();
    }
    if questions.owner.is_some() {
        for row in rows() {
            facts.live_keys = Columns::of(&row).count()?;
        }
    }
    Ok((facts, attempt))
}

/// The number of a revision as a column.
pub(crate) fn revision(revision: keyfob::Revision) -> i64 {
    number(revision.get())
}
