//! The answers to a commit's questions, read in the transaction that will keep it.

use keyfob::{
    Tenant,
    audit::ChainHash,
    key::{CredentialId, KeyFormat},
    name::{NamespaceId, TeamId},
    store::{Change, Commit, Existing, NameLookup, OwnerLookup, Revision, Snapshot, Target},
};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{
    cutoffs::Cutoffs,
    queries,
    row::{Columns, OwnerKind, number},
    sql,
};

pub(crate) fn snapshot(connection: &Connection, commit: &Commit) -> Result<Snapshot> {
    let read_set = commit.read_set();
    let mut cutoffs = Cutoffs::new(connection);
    let mut snapshot = Snapshot::default();
    (snapshot.last_revision, snapshot.last_hash) = head(connection)?;
    if let Some(namespace) = read_set.namespace {
        snapshot.team = team(connection, namespace)?;
    }
    if let Some(id) = read_set.credential {
        snapshot.existing = known(connection, &mut cutoffs, id)?;
    }
    if let Some(asked) = read_set.name {
        snapshot.name_is_taken = name_is_taken(connection, &mut cutoffs, commit, asked)?;
    }
    if let Some(asked) = read_set.owner {
        snapshot.live_keys = live_keys(connection, &mut cutoffs, commit, asked)?;
    }
    if let Some(id) = read_set.actor {
        snapshot.actor = known(connection, &mut cutoffs, id)?;
        let tenant = match &snapshot.actor {
            Existing::Key(record) => Some(&record.tenant),
            Existing::Legacy(record) => Some(&record.tenant),
            _ => None,
        };
        if let Some(tenant) = tenant {
            snapshot.actor_policy = queries::policy(connection, Some(tenant))?;
            snapshot.actor_legacy_policy = queries::legacy_policy(connection, Some(tenant))?;
        }
    }
    let cut = cutoffs.of(&read_set.targets)?;
    snapshot.cutoffs = cut.into_iter().cloned().collect();
    Ok(snapshot)
}

/// The revision of the last commit, and the hash of its event.
pub(crate) fn head(connection: &Connection) -> Result<(Revision, ChainHash)> {
    sql::HEAD.on(connection)?.query_row([], |row| {
        let mut columns = Columns::of(row);
        Ok((columns.revision()?, columns.hash()?))
    })
}

/// The format of the keys, once it was recorded.
pub(crate) fn key_format(connection: &Connection) -> Result<Option<KeyFormat>> {
    sql::KEY_FORMAT
        .on(connection)?
        .query_row([], |row| Columns::of(row).key_format())
}

/// The team that a namespace is bound to.
pub(crate) fn team(connection: &Connection, namespace: &NamespaceId) -> Result<Option<TeamId>> {
    sql::TEAM_OF_NAMESPACE
        .on(connection)?
        .query_row([namespace.as_str()], |row| Columns::of(row).team())
        .optional()
}

fn known(
    connection: &Connection,
    cutoffs: &mut Cutoffs<'_>,
    credential: CredentialId,
) -> Result<Existing> {
    match credential {
        CredentialId::Key(id) => {
            let id = id.to_bytes();
            let record = sql::KEY
                .on(connection)?
                .query_row([id], |row| Columns::of(row).key())
                .optional()?;
            match record {
                Some(record) => cutoffs.key(record).map(Existing::Key),
                None if sql::DELETED_KEY.on(connection)?.exists([id])? => Ok(Existing::Deleted),
                None => Ok(Existing::Nothing),
            }
        }
        CredentialId::Legacy(id) => {
            let record = sql::LEGACY
                .on(connection)?
                .query_row([id.to_bytes()], |row| Columns::of(row).legacy())
                .optional()?;
            record.map_or(Ok(Existing::Nothing), |record| {
                cutoffs.legacy(record).map(Existing::Legacy)
            })
        }
        _ => Ok(Existing::Nothing),
    }
}

fn name_is_taken(
    connection: &Connection,
    cutoffs: &mut Cutoffs<'_>,
    commit: &Commit,
    asked: NameLookup<'_>,
) -> Result<bool> {
    let Some(team) = team(connection, asked.namespace)? else {
        return Ok(false);
    };
    let cut = cutoffs.last_cut(&targets(&team, asked.namespace))?;
    let now = commit.event.at;
    let mut statement = sql::SAME_NAME.on(connection)?;
    let mut rows = statement.query((
        asked.namespace.as_str(),
        asked.name.as_str(),
        number(cut),
        asked.except.to_bytes(),
        now.as_unix(),
    ))?;
    while let Some(row) = rows.next()? {
        if cutoffs.key(Columns::of(row).key()?)?.is_live(now) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many live keys an owner has, counted as far as it matters.
fn live_keys(
    connection: &Connection,
    cutoffs: &mut Cutoffs<'_>,
    commit: &Commit,
    asked: OwnerLookup<'_>,
) -> Result<u64> {
    let Some(team) = team(connection, asked.namespace)? else {
        return Ok(0);
    };
    let most = match &commit.change {
        Change::CreateKey { limits, .. } => limits.keys_per_owner.map_or(i64::MAX, i64::from),
        _ => i64::MAX,
    };
    let [of_team, of_namespace] = targets(&team, asked.namespace);
    let of_owner = Target::Owner(team, asked.owner.clone());
    let cut = cutoffs.last_cut(&[of_team, of_namespace, of_owner])?;
    let count: i64 = sql::COUNT_OF_OWNER.on(connection)?.query_row(
        (
            asked.namespace.as_str(),
            asked.owner.as_str(),
            OwnerKind::of(asked.owner).as_str(),
            number(cut),
            commit.event.at.as_unix(),
            most,
        ),
        |row| row.get(0),
    )?;
    Ok(count.unsigned_abs())
}

fn targets(team: &TeamId, namespace: &NamespaceId) -> [Target; 2] {
    [
        Target::Team(team.clone()),
        Target::Namespace(Tenant::new(team.clone(), namespace.clone())),
    ]
}
