//! The answers to a commit's read set, read in the transaction that will keep it.

use keyfob::{
    key::CredentialId,
    name::{NamespaceId, TeamId},
    store::{Change, Commit, Existing, PolicyLookup, ReadSet, Snapshot, Target},
};
use tokio_postgres::{Row, types::Json};

use crate::{
    row::{self, Result},
    session::{Step, values},
    sql,
};

/// A question to the database, and what its answer says.
type Question<'a> = (Step<'a>, Answer);

pub(crate) type Answer = fn(&mut Snapshot, &[Row]) -> Result<()>;

/// What a commit's read set asks.
pub(crate) fn questions(commit: &Commit) -> Vec<Question<'_>> {
    let ReadSet {
        namespace,
        credential,
        targets,
        known,
        name,
        owner,
        policy,
        actor,
        ..
    } = commit.read_set();
    let now = commit.event.at.as_unix();
    // The lock comes first.
    let mut questions: Vec<Question<'_>> = vec![(Step::new(sql::LOCK_LOG, values![]), head)];
    if let Some(namespace) = namespace {
        let values = values![namespace.as_str()];
        questions.push((Step::new(sql::TEAM_OF_NAMESPACE, values), team));
    }
    let existing = credential.map(|id| of_credential(id, existing_key, existing_legacy));
    questions.extend(existing);
    if let Some(id @ CredentialId::Key(_)) = credential {
        let values = values![id.to_string()];
        questions.push((Step::new(sql::DELETED_KEY, values), deleted_key));
    }
    if !targets.is_empty() {
        let targets: Vec<_> = targets.into_iter().map(Json).collect();
        questions.push((Step::new(sql::CUTOFFS, values![targets]), cutoffs));
    }
    if let Some(target) = known {
        let team = target.team().as_str();
        questions.push(match target {
            Target::Owner(_, owner) => {
                let step = Step::new(sql::OWNER_IS_KNOWN, values![team, owner.to_string()]);
                (step, target_is_known)
            }
            _ => (
                Step::new(sql::TEAM_IS_KNOWN, values![team]),
                target_is_known,
            ),
        });
    }
    if let Some(lookup) = name {
        let except = CredentialId::Key(lookup.except).to_string();
        let (namespace, name) = (lookup.namespace.as_str(), lookup.name.as_str());
        let owner = lookup.owner.to_string();
        let values = values![namespace, name, except, now, owner];
        questions.push((Step::new(sql::NAME_IS_TAKEN, values), name_is_taken));
    }
    if let Some(lookup) = owner {
        let (namespace, owner) = (lookup.namespace.as_str(), lookup.owner.to_string());
        let values = values![namespace, owner, now, most(commit)];
        questions.push((Step::new(sql::LIVE_KEYS, values), live_keys));
    }
    questions.extend(policy.and_then(of_policy));
    if let Some(id) = actor {
        questions.push(of_credential(id, actor_key, actor_legacy));
        let values = values![id.to_string()];
        questions.push(match id {
            CredentialId::Legacy(_) => (Step::new(sql::POLICY_OF_LEGACY, values), legacy_policy),
            _ => (Step::new(sql::POLICY_OF_KEY, values), key_policy),
        });
    }
    questions
}

fn of_credential(id: CredentialId, key: Answer, legacy: Answer) -> Question<'static> {
    let values = values![id.to_string()];
    match id {
        CredentialId::Legacy(_) => (Step::new(sql::LEGACY, values), legacy),
        _ => (Step::new(sql::KEY, values), key),
    }
}

fn of_policy(lookup: PolicyLookup<'_>) -> Option<Question<'_>> {
    let (kind, place) = match lookup {
        PolicyLookup::Keys(place) => ("policy", place),
        PolicyLookup::Legacy(place) => ("legacy_policy", place),
        _ => return None,
    };
    let values = values![kind, place.map_or("", NamespaceId::as_str)];
    Some((Step::new(sql::POLICY_ENTRY, values), policy_entry))
}

/// How far an owner's keys are counted: no further than it matters.
fn most(commit: &Commit) -> i64 {
    match &commit.change {
        Change::CreateKey { limits, .. } => limits.keys_per_owner.map_or(i64::MAX, i64::from),
        _ => i64::MAX,
    }
}

/// The snapshot that the answers make, and the mark by which the commit is found again if its
/// answer is lost.
pub(crate) fn snapshot(
    answers: &[Answer],
    rows: impl Iterator<Item = Vec<Row>>,
) -> Result<(Snapshot, [u8; 16])> {
    let mut snapshot = Snapshot::default();
    let mut attempt = None;
    for (answer, rows) in answers.iter().zip(rows) {
        answer(&mut snapshot, &rows)?;
        if let (None, Some(head)) = (attempt, rows.first()) {
            attempt = Some(row::bytes(head, 2)?);
        }
    }
    Ok((snapshot, attempt.unwrap_or_default()))
}

fn head(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        let head = row::head(row)?;
        (snapshot.last_revision, snapshot.last_hash) = (head.revision, head.hash);
    }
    Ok(())
}

fn policy_entry(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    snapshot.policy = rows.first().map(row::entry).transpose()?;
    Ok(())
}

fn team(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    let team = rows.first().map(|row| row::text(row, 0, TeamId::new));
    snapshot.team = team.transpose()?;
    Ok(())
}

fn existing_key(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.existing = Existing::Key(row::record(row)?);
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "as every answer")]
fn deleted_key(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    if !rows.is_empty() {
        snapshot.existing = Existing::Deleted;
    }
    Ok(())
}

fn existing_legacy(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.existing = Existing::Legacy(row::record(row)?);
    }
    Ok(())
}

fn cutoffs(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    let cutoffs = rows.iter().map(|row| row::json(row, 0));
    snapshot.cutoffs = cutoffs.collect::<Result<_>>()?;
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "as every answer")]
fn target_is_known(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    snapshot.target_is_known = !rows.is_empty();
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "as every answer")]
fn name_is_taken(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    snapshot.name_is_taken = !rows.is_empty();
    Ok(())
}

fn live_keys(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.live_keys = row::count(row, 0)?;
    }
    Ok(())
}

fn actor_key(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.actor = Existing::Key(row::record(row)?);
    }
    Ok(())
}

fn actor_legacy(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.actor = Existing::Legacy(row::record(row)?);
    }
    Ok(())
}

fn key_policy(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.actor_policy = row::json_or_null(row, 0)?.unwrap_or_default();
    }
    Ok(())
}

fn legacy_policy(snapshot: &mut Snapshot, rows: &[Row]) -> Result<()> {
    for row in rows {
        snapshot.actor_legacy_policy = row::json_or_null(row, 0)?.unwrap_or_default();
    }
    Ok(())
}
