//! The answers to a commit's read set, read in the transaction that will keep it.

use keyfob::{
    Tenant,
    audit::TrailHead,
    key::{CredentialId, KeyFormat},
    name::{NamespaceId, TeamId},
    store::{
        Change, Commit, Entry, Existing, KeyRecord, NameLookup, OwnerLookup, PolicyLookup,
        Snapshot, Target,
    },
};
use rusqlite::{Connection, OptionalExtension, Result, types::Type};

use crate::{
    cutoffs::Cutoffs,
    queries,
    row::{self, number},
    sql,
};

pub(crate) fn snapshot(connection: &Connection, commit: &Commit) -> Result<Snapshot> {
    let read_set = commit.read_set();
    let mut cutoffs = Cutoffs::new(connection);
    let mut snapshot = Snapshot::default();
    let head = head(connection)?;
    (snapshot.last_revision, snapshot.last_hash) = (head.revision, head.hash);
    if let Some(namespace) = read_set.namespace {
        snapshot.team = team(connection, namespace)?;
    }
    if let Some(id) = read_set.credential {
        snapshot.existing = existing(connection, &mut cutoffs, id)?;
    }
    if let Some(target) = read_set.known {
        snapshot.target_is_known = is_known(connection, target)?;
    }
    if let Some(lookup) = read_set.name {
        snapshot.name_is_taken = name_is_taken(connection, &mut cutoffs, commit, lookup)?;
    }
    if let Some(lookup) = read_set.owner {
        snapshot.live_keys = live_keys(connection, &mut cutoffs, commit, lookup)?;
    }
    if let Some(lookup) = read_set.policy {
        snapshot.policy = policy(connection, lookup)?;
    }
    if let Some(id) = read_set.actor {
        snapshot.actor = existing(connection, &mut cutoffs, id)?;
    }
    match &snapshot.actor {
        Existing::Key(record) => {
            snapshot.actor_policy = queries::policy(connection, Some(&record.tenant))?;
        }
        Existing::Legacy(record) => {
            let policy = queries::legacy_policy(connection, Some(&record.tenant))?;
            snapshot.actor_legacy_policy = policy;
        }
        Existing::Nothing | Existing::Deleted => {}
    }
    let found = cutoffs.of(&read_set.targets)?;
    snapshot.cutoffs = found.into_iter().cloned().collect();
    Ok(snapshot)
}

/// The revision of the last commit, and the hash of its event.
pub(crate) fn head(connection: &Connection) -> Result<TrailHead> {
    sql::HEAD.on(connection)?.query_row([], |row| {
        Ok(TrailHead {
            revision: row::revision(row, 0)?,
            hash: row::hash(row, 1)?,
        })
    })
}

/// The policy that is set, as its entry in the feed.
fn policy(connection: &Connection, lookup: PolicyLookup<'_>) -> Result<Option<Entry>> {
    let (kind, place) = match lookup {
        PolicyLookup::Keys(place) => ("policy", place),
        PolicyLookup::Legacy(place) => ("legacy_policy", place),
        _ => return Ok(None),
    };
    let place = place.map_or("", NamespaceId::as_str);
    sql::POLICY_ENTRY
        .on(connection)?
        .query_row([kind, place], row::entry)
        .optional()
}

/// The format of the keys, once it was recorded.
pub(crate) fn key_format(connection: &Connection) -> Result<Option<KeyFormat>> {
    sql::KEY_FORMAT
        .on(connection)?
        .query_row([], |row| match row.get_ref(0)?.data_type() {
            Type::Null => Ok(None),
            _ => row::json(row, 0).map(Some),
        })
}

/// The team that a namespace is bound to.
pub(crate) fn team(connection: &Connection, namespace: &NamespaceId) -> Result<Option<TeamId>> {
    sql::TEAM_OF_NAMESPACE
        .on(connection)?
        .query_row([namespace.as_str()], |row| {
            let team = TeamId::new(row.get_ref(0)?.as_str()?);
            team.map_err(|fault| row::unfit(0, Type::Text, fault))
        })
        .optional()
}

/// Whether a namespace is bound to its team, a team has one, or an owner has a key in their team.
pub(crate) fn is_known(connection: &Connection, target: &Target) -> Result<bool> {
    match target {
        Target::Team(team) => sql::TEAM_IS_KNOWN.on(connection)?.exists([team.as_str()]),
        Target::Owner(team, owner) => sql::OWNER_IS_KNOWN
            .on(connection)?
            .exists((team.as_str(), owner.to_string())),
        Target::Namespace(tenant) => {
            Ok(team(connection, &tenant.namespace)?.as_ref() == Some(&tenant.team))
        }
    }
}

fn existing(
    connection: &Connection,
    cutoffs: &mut Cutoffs<'_>,
    id: CredentialId,
) -> Result<Existing> {
    let text = id.to_string();
    match id {
        CredentialId::Key(_) => {
            let record = sql::KEY
                .on(connection)?
                .query_row([&text], |row| row::json(row, 0))
                .optional()?;
            match record {
                Some(record) => cutoffs.apply(record).map(Existing::Key),
                None if sql::DELETED_KEY.on(connection)?.exists([&text])? => Ok(Existing::Deleted),
                None => Ok(Existing::Nothing),
            }
        }
        CredentialId::Legacy(_) => {
            let record = sql::LEGACY
                .on(connection)?
                .query_row([&text], |row| row::json(row, 0))
                .optional()?;
            record.map_or(Ok(Existing::Nothing), |record| {
                cutoffs.apply(record).map(Existing::Legacy)
            })
        }
        _ => Ok(Existing::Nothing),
    }
}

fn name_is_taken(
    connection: &Connection,
    cutoffs: &mut Cutoffs<'_>,
    commit: &Commit,
    lookup: NameLookup<'_>,
) -> Result<bool> {
    let Some(team) = team(connection, lookup.namespace)? else {
        return Ok(false);
    };
    let covered = cutoffs.last_covered(&targets(&team, lookup.namespace))?;
    let now = commit.event.at;
    let mut statement = sql::SAME_NAME.on(connection)?;
    let mut rows = statement.query((
        lookup.namespace.as_str(),
        lookup.name.as_str(),
        number(covered),
        CredentialId::Key(lookup.except).to_string(),
        now.as_unix(),
        lookup.owner.to_string(),
    ))?;
    while let Some(row) = rows.next()? {
        let record: KeyRecord = row::json(row, 0)?;
        if cutoffs.apply(record)?.is_live(now) {
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
    lookup: OwnerLookup<'_>,
) -> Result<u64> {
    let Some(team) = team(connection, lookup.namespace)? else {
        return Ok(0);
    };
    let most = match &commit.change {
        Change::CreateKey { limits, .. } => limits.keys_per_owner.map_or(i64::MAX, i64::from),
        _ => i64::MAX,
    };
    let [of_team, of_namespace] = targets(&team, lookup.namespace);
    let of_owner = Target::Owner(team, lookup.owner.clone());
    let covered = cutoffs.last_covered(&[of_team, of_namespace, of_owner])?;
    sql::COUNT_OF_OWNER.on(connection)?.query_row(
        (
            lookup.namespace.as_str(),
            lookup.owner.to_string(),
            number(covered),
            commit.event.at.as_unix(),
            most,
        ),
        |row| row::count(row, 0),
    )
}

fn targets(team: &TeamId, namespace: &NamespaceId) -> [Target; 2] {
    [
        Target::Team(team.clone()),
        Target::Namespace(Tenant::new(team.clone(), namespace.clone())),
    ]
}
