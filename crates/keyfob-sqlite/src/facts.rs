//! The answers to a commit's questions, read in the transaction that will keep it.

use keyfob::{
    CredentialId, NamespaceId, Realm, Revision, TeamId, Tenant,
    audit::ChainHash,
    store::{Change, Commit, Facts, Known, NameQuestion, OwnerQuestion},
};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::{
    boundaries::Boundaries,
    row::{Columns, OwnerKind, number},
    sql,
};

pub(crate) fn facts(connection: &Connection, commit: &Commit) -> Result<Facts> {
    let questions = commit.questions();
    let mut boundaries = Boundaries::new(connection);
    let mut facts = Facts::default();
    (facts.head, facts.last_hash) = head(connection)?;
    if let Some(namespace) = questions.namespace {
        facts.team = team(connection, namespace)?;
    }
    if let Some(id) = questions.credential {
        facts.known = known(connection, &mut boundaries, id)?;
    }
    if let Some(asked) = questions.name {
        facts.name_is_taken = name_is_taken(connection, &mut boundaries, commit, asked)?;
    }
    if let Some(asked) = questions.owner {
        facts.live_keys = live_keys(connection, &mut boundaries, commit, asked)?;
    }
    let cut = boundaries.of(&questions.realms)?;
    facts.boundaries = cut.into_iter().cloned().collect();
    Ok(facts)
}

/// The revision of the last commit, and the hash of its event.
pub(crate) fn head(connection: &Connection) -> Result<(Revision, ChainHash)> {
    sql::HEAD.on(connection)?.query_row([], |row| {
        let mut columns = Columns::of(row);
        Ok((columns.revision()?, columns.hash()?))
    })
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
    boundaries: &mut Boundaries<'_>,
    credential: CredentialId,
) -> Result<Known> {
    match credential {
        CredentialId::Key(id) => {
            let id = id.to_bytes();
            let record = sql::KEY
                .on(connection)?
                .query_row([id], |row| Columns::of(row).key())
                .optional()?;
            match record {
                Some(record) => boundaries.key(record).map(Known::Key),
                None if sql::DELETED_KEY.on(connection)?.exists([id])? => Ok(Known::Deleted),
                None => Ok(Known::Nothing),
            }
        }
        CredentialId::Legacy(id) => {
            let record = sql::LEGACY
                .on(connection)?
                .query_row([id.to_bytes()], |row| Columns::of(row).legacy())
                .optional()?;
            record.map_or(Ok(Known::Nothing), |record| {
                boundaries.legacy(record).map(Known::Legacy)
            })
        }
        _ => Ok(Known::Nothing),
    }
}

fn name_is_taken(
    connection: &Connection,
    boundaries: &mut Boundaries<'_>,
    commit: &Commit,
    asked: NameQuestion<'_>,
) -> Result<bool> {
    let Some(team) = team(connection, asked.namespace)? else {
        return Ok(false);
    };
    let cut = boundaries.last_cut(&realms(&team, asked.namespace))?;
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
        if boundaries.key(Columns::of(row).key()?)?.is_live(now) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many live keys an owner has, counted as far as it matters.
fn live_keys(
    connection: &Connection,
    boundaries: &mut Boundaries<'_>,
    commit: &Commit,
    asked: OwnerQuestion<'_>,
) -> Result<u64> {
    let Some(team) = team(connection, asked.namespace)? else {
        return Ok(0);
    };
    let most = match &commit.change {
        Change::CreateKey { limits, .. } => limits.keys_per_owner.map_or(i64::MAX, i64::from),
        _ => i64::MAX,
    };
    let [of_team, of_namespace] = realms(&team, asked.namespace);
    let of_owner = Realm::Owner(team, asked.owner.clone());
    let cut = boundaries.last_cut(&[of_team, of_namespace, of_owner])?;
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

fn realms(team: &TeamId, namespace: &NamespaceId) -> [Realm; 2] {
    [
        Realm::Team(team.clone()),
        Realm::Namespace(Tenant::new(team.clone(), namespace.clone())),
    ]
}
