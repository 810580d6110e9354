//! The answers to a commit's questions, read in the transaction that will keep it.

use keyfob::{
    key::CredentialId,
    store::{Change, Commit, Existing, Snapshot, Target},
};
use tokio_postgres::Row;

use crate::{
    row::{Columns, OwnerKind, Result, number, target},
    session::{Step, values},
    sql,
};

/// What is asked, in the order in which [`facts`] takes the answers.
pub(crate) fn read_set(commit: &Commit) -> Vec<Step<'_>> {
    let read_set = commit.read_set();
    let now = commit.event.at.as_unix();
    let mut steps = vec![Step::new(sql::LOCK_LOG, values![])];
    if let Some(namespace) = read_set.namespace {
        steps.push(Step::new(
            sql::TEAM_OF_NAMESPACE,
            values![namespace.as_str()],
        ));
    }
    match read_set.actor {
        Some(CredentialId::Key(id)) => {
            let id = || id.to_bytes().to_vec();
            steps.push(Step::new(sql::KEY, values![id()]));
            steps.push(Step::new(sql::POLICY_OF_KEY, values![id()]));
        }
        Some(CredentialId::Legacy(id)) => {
            let id = || id.to_bytes().to_vec();
            steps.push(Step::new(sql::LEGACY, values![id()]));
            steps.push(Step::new(sql::POLICY_OF_LEGACY, values![id()]));
        }
        _ => {}
    }
    match read_set.credential {
        Some(CredentialId::Key(id)) => {
            steps.push(Step::new(sql::KEY, values![id.to_bytes().to_vec()]));
            steps.push(Step::new(sql::DELETED_KEY, values![id.to_bytes().to_vec()]));
        }
        Some(CredentialId::Legacy(id)) => {
            steps.push(Step::new(sql::LEGACY, values![id.to_bytes().to_vec()]));
        }
        _ => {}
    }
    if !read_set.targets.is_empty() {
        steps.push(cutoffs(&read_set.targets));
    }
    if let Some(asked) = read_set.name {
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
    if let Some(asked) = read_set.owner {
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

fn cutoffs(targets: &[Target]) -> Step<'static> {
    let columns = || targets.iter().map(target);
    let teams: Vec<String> = targets
        .iter()
        .map(|target| target.team().to_string())
        .collect();
    let kinds: Vec<&'static str> = columns().map(|(kind, _)| kind).collect();
    let names: Vec<String> = columns().map(|(_, name)| name.to_owned()).collect();
    Step::new(sql::CUTOFFS, values![teams, kinds, names])
}

/// How far an owner's keys are counted: no further than it matters.
fn most(commit: &Commit) -> i64 {
    match &commit.change {
        Change::CreateKey { limits, .. } => limits.keys_per_owner.map_or(i64::MAX, i64::from),
        _ => i64::MAX,
    }
}

/// What a commit is judged by, and the mark by which it is found again if its answer is lost.
pub(crate) fn snapshot(
    commit: &Commit,
    mut answers: impl Iterator<Item = Vec<Row>>,
) -> Result<(Snapshot, [u8; 16])> {
    let read_set = commit.read_set();
    let mut rows = || answers.next().unwrap_or_default();
    let mut snapshot = Snapshot::default();
    let mut attempt = [0; 16];
    for row in rows() {
        let mut columns = Columns::of(&row);
        snapshot.last_revision = columns.revision()?;
        snapshot.last_hash = columns.hash()?;
        attempt = columns.attempt()?;
    }
    if read_set.namespace.is_some() {
        let teams = rows();
        let team = teams.first().map(|row| Columns::of(row).team());
        snapshot.team = team.transpose()?;
    }
    match read_set.actor {
        Some(CredentialId::Key(_)) => {
            let (keys, policies) = (rows(), rows());
            if let (Some(key), Some(policy)) = (keys.first(), policies.first()) {
                snapshot.actor = Existing::Key(Columns::of(key).key_behind()?);
                let policy = Columns::of(policy).json_or_null()?;
                snapshot.actor_policy = policy.unwrap_or_default();
            }
        }
        Some(CredentialId::Legacy(_)) => {
            let (records, policies) = (rows(), rows());
            if let (Some(record), Some(policy)) = (records.first(), policies.first()) {
                snapshot.actor = Existing::Legacy(Columns::of(record).legacy_behind()?);
                let policy = Columns::of(policy).json_or_null()?;
                snapshot.actor_legacy_policy = policy.unwrap_or_default();
            }
        }
        _ => {}
    }
    match read_set.credential {
        Some(CredentialId::Key(_)) => {
            let (keys, deleted) = (rows(), rows());
            snapshot.existing = match keys.first() {
                Some(row) => Existing::Key(Columns::of(row).key_behind()?),
                None if deleted.is_empty() => Existing::Nothing,
                None => Existing::Deleted,
            };
        }
        Some(CredentialId::Legacy(_)) => {
            if let Some(row) = rows().first() {
                snapshot.existing = Existing::Legacy(Columns::of(row).legacy_behind()?);
            }
        }
        _ => {}
    }
    if !read_set.targets.is_empty() {
        let cutoffs = rows();
        let cutoffs = cutoffs.iter().map(|row| Columns::of(row).cutoff());
        snapshot.cutoffs = cutoffs.collect::<Result<_>>()?;
    }
    if read_set.name.is_some() {
        snapshot.name_is_taken = !rows().is_empty();
    }
    if read_set.owner.is_some() {
        for row in rows() {
            snapshot.live_keys = Columns::of(&row).count()?;
        }
    }
    Ok((snapshot, attempt))
}

/// The number of a revision as a column.
pub(crate) fn revision(revision: keyfob::store::Revision) -> i64 {
    number(revision.get())
}
