//! `keyfob members`, `services` and `teams`: listing, removing and restoring them.

mod list;
mod unknown;

use std::{error::Error, str::FromStr};

use clap::{Args, Subcommand};
use keyfob::{
    KeyInfo, Owner,
    name::{Reason, ServiceId, TeamId, UserId},
    store::{KeyQuery, LegacyQuery, LiveCount, StatusFilter, Target, TargetQuery},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyView, views},
    owner::{self, OwnerFault},
    terminal::{TableView, Tone, count},
};

/// Manage the people of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Members {
    /// List the people of the team: all who have a key in it, and all who were removed
    List(list::List),
    /// Remove a person: revoke all their keys in the team, and block new ones
    Remove(Removal<User>),
    /// Allow new keys for a person again; revoked keys stay revoked
    Restore(Restoral<User>),
}

/// Manage the services of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// List the services of the team: all that have a key in it, and all that were removed
    List(list::List),
    /// Remove a service: revoke all its keys in the team, and block new ones
    Remove(Removal<Service>),
    /// Allow new keys for a service again; revoked keys stay revoked
    Restore(Restoral<Service>),
}

/// Manage teams.
#[derive(Debug, Subcommand)]
pub(crate) enum Teams {
    /// List the teams: all that have a namespace, and all that were removed
    List(list::List),
    /// Remove a team: revoke all keys in all its namespaces, and block new ones
    Remove(Removal<TeamId>),
    /// Allow new keys in a team again; revoked keys stay revoked
    Restore(Restoral<TeamId>),
}

/// What to remove.
#[derive(Args, Debug)]
pub(crate) struct Removal<T: Name> {
    /// The name
    pub(crate) name: T,

    #[command(flatten)]
    pub(crate) how: How,
}

/// How to remove it.
#[derive(Args, Debug)]
pub(crate) struct How {
    /// Show which credentials would stop working, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Also if the store has nothing of it yet: block it before it has a key
    #[arg(long)]
    pub(crate) in_advance: bool,

    /// The reason, for the audit trail
    #[arg(long)]
    pub(crate) reason: Option<Reason>,
}

/// What to restore.
#[derive(Args, Debug)]
pub(crate) struct Restoral<T: Name> {
    /// The name
    pub(crate) name: T,

    /// The reason, for the audit trail
    #[arg(long)]
    pub(crate) reason: Option<Reason>,
}

/// A person, `alice` or `user:alice`.
#[derive(Clone, Debug)]
pub(crate) struct User(UserId);

/// A service, `deploy-bot` or `service:deploy-bot`.
#[derive(Clone, Debug)]
pub(crate) struct Service(ServiceId);

impl FromStr for User {
    type Err = OwnerFault;

    fn from_str(text: &str) -> Result<Self, OwnerFault> {
        owner::parse_user(text).map(Self)
    }
}

impl FromStr for Service {
    type Err = OwnerFault;

    fn from_str(text: &str) -> Result<Self, OwnerFault> {
        owner::parse_service(text).map(Self)
    }
}

/// A name that the command line can parse.
pub(crate) trait Name:
    FromStr<Err: Error + Send + Sync> + Clone + Send + Sync + 'static
{
}

impl<T: FromStr<Err: Error + Send + Sync> + Clone + Send + Sync + 'static> Name for T {}

impl Members {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let target = |user: User| -> Result<_, Failure> {
            Ok(Target::Owner(cx.team()?.clone(), Owner::User(user.0)))
        };
        match self {
            Self::List(list) => list.run(cx, TargetQuery::members(cx.team()?.clone())).await,
            Self::Remove(Removal { name, how }) => remove(cx, target(name)?, how).await,
            Self::Restore(Restoral { name, reason }) => restore(cx, target(name)?, reason).await,
        }
    }
}

impl Services {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let target = |service: Service| -> Result<_, Failure> {
            Ok(Target::Owner(cx.team()?.clone(), Owner::Service(service.0)))
        };
        match self {
            Self::List(list) => {
                list.run(cx, TargetQuery::services(cx.team()?.clone()))
                    .await
            }
            Self::Remove(Removal { name, how }) => remove(cx, target(name)?, how).await,
            Self::Restore(Restoral { name, reason }) => restore(cx, target(name)?, reason).await,
        }
    }
}

impl Teams {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(cx, TargetQuery::teams()).await,
            Self::Remove(Removal { name, how }) => remove(cx, Target::Team(name), how).await,
            Self::Restore(Restoral { name, reason }) => {
                restore(cx, Target::Team(name), reason).await
            }
        }
    }
}

/// Removes a target, or shows what would stop working.
pub(crate) async fn remove(cx: &CommandContext, target: Target, how: How) -> Result<(), Failure> {
    if how.dry_run {
        if !how.in_advance {
            cx.known(&target).await?;
        }
        return Preview::of(cx, &target).await?.show(cx);
    }
    let context = cx.context(how.reason.as_ref());
    let removed = if how.in_advance {
        cx.keyring.remove_in_advance(&context, target.clone()).await
    } else {
        cx.keyring.remove(&context, target.clone()).await
    };
    match removed {
        Ok(ended) => say_ended(cx, &target, "removed", ended),
        Err(error) => Err(cx.explain(error).await),
    }
}

/// Restores a target.
pub(crate) async fn restore(
    cx: &CommandContext,
    target: Target,
    reason: Option<Reason>,
) -> Result<(), Failure> {
    let context = cx.context(reason.as_ref());
    cx.keyring.restore(&context, target.clone()).await?;
    say_done(cx, &target, "restored")
}

/// Writes what was done to a target.
pub(crate) fn say_done(
    cx: &CommandContext,
    target: &Target,
    done: &'static str,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Done {
        done: &'static str,
        what: String,
    }
    let what = target_text(target);
    let text = what.clone();
    cx.terminal
        .say(&Done { done, what }, format_args!("{done}: {text}"))
}

/// Writes what was done to a target, and how many credentials it ended.
pub(crate) fn say_ended(
    cx: &CommandContext,
    target: &Target,
    done: &'static str,
    ended: Option<LiveCount>,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Ended {
        done: &'static str,
        what: String,
        /// `null` if they could not be counted.
        keys_revoked: Option<u64>,
        legacy_revoked: Option<u64>,
        keys_created_for_others: Option<u64>,
    }
    let what = target_text(target);
    let revoked = match ended {
        Some(ended) => format!(": {} revoked", count_text(ended)),
        None => "; its keys could not be counted".to_owned(),
    };
    let text = format!("{done} {what}{revoked}");
    let view = Ended {
        done,
        what,
        keys_revoked: ended.map(|ended| ended.keys),
        legacy_revoked: ended.map(|ended| ended.legacy),
        keys_created_for_others: ended.map(|ended| ended.created_for_others),
    };
    cx.terminal.say(&view, format_args!("{text}"))?;
    let kept = ended.map_or(0, |ended| ended.created_for_others);
    if kept > 0 {
        let keys = count(kept, "key");
        cx.terminal.note(format_args!(
            "{keys} that they created for others still work: `--dry-run` lists them"
        ));
    }
    Ok(())
}

/// `3 keys`, or `1 key and 2 legacy credentials`.
fn count_text(live: LiveCount) -> String {
    let keys = count(live.keys, "key");
    match live.legacy {
        0 => keys,
        legacy => format!("{keys} and {}", count(legacy, "legacy credential")),
    }
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Team(team) => format!("team {team}"),
        Target::Namespace(tenant) => {
            format!("namespace {} of team {}", tenant.namespace, tenant.team)
        }
        Target::Owner(team, owner) => format!("{owner} of team {team}"),
    }
}

/// The effect of removing a target.
#[derive(Debug, Serialize)]
pub(crate) struct Preview {
    what: String,
    /// How many keys would stop working.
    keys: u64,
    /// How many legacy credentials would stop working.
    legacy: u64,
    /// How many keys that the owner created for others keep working.
    created_for_others: u64,
    /// The first of the keys that would stop working.
    stops: Vec<KeyView>,
    /// The first of the legacy credentials that would stop working.
    stops_legacy: Vec<String>,
    /// The first of the keys that the owner created for others.
    goes_on: Vec<KeyView>,
}

/// How many of each a preview lists. The numbers are of all.
const LISTED_MAX: usize = 200;

impl Preview {
    pub(crate) async fn of(cx: &CommandContext, target: &Target) -> Result<Self, Failure> {
        let live = cx.keyring.count_live(target, cx.now).await?;
        let team = || KeyQuery::team(target.team().clone());
        let (own, created) = match target {
            Target::Team(_) => (team(), None),
            Target::Namespace(tenant) => (KeyQuery::namespace(tenant), None),
            Target::Owner(_, owner) => (
                team().with_owner(owner.clone()),
                Some(team().with_created_for_others_by(owner.clone())),
            ),
        };
        let goes_on = match created {
            Some(created) if live.created_for_others > 0 => first_live(cx, created).await?,
            _ => Vec::new(),
        };
        let stops = if live.keys > 0 {
            first_live(cx, own).await?
        } else {
            Vec::new()
        };
        Ok(Self {
            what: target_text(target),
            keys: live.keys,
            legacy: live.legacy,
            created_for_others: live.created_for_others,
            stops: views(cx, &stops).await?,
            stops_legacy: legacy_of(cx, target).await?,
            goes_on: views(cx, &goes_on).await?,
        })
    }

    pub(crate) fn show(&self, cx: &CommandContext) -> Result<(), Failure> {
        cx.terminal.answer(self, |preview| {
            if preview.stops.is_empty() && preview.stops_legacy.is_empty() {
                return TableView::new([""], "nothing would stop working");
            }
            let mut table = KeyView::table(&preview.stops);
            for id in &preview.stops_legacy {
                let cell = |text: &str| (text.to_owned(), Tone::Plain);
                table.row([cell(id), cell("(legacy)")]);
            }
            table
        })?;
        let terminal = cx.terminal;
        let listed = self.stops.len() + self.stops_legacy.len();
        let first = if self.keys + self.legacy > listed as u64 {
            format!(" (the first {listed} are listed)")
        } else {
            String::new()
        };
        let (what, keys) = (&self.what, count(self.keys, "key"));
        let legacy = count(self.legacy, "legacy credential");
        terminal.note(format_args!(
            "{what}: {keys} and {legacy} would stop working{first}; nothing was changed"
        ));
        if self.created_for_others > 0 {
            let keys = count(self.created_for_others, "key");
            terminal.note(format_args!(
                "{keys} that they created for others would keep working:"
            ));
            terminal.note_table(KeyView::table(&self.goes_on));
        }
        Ok(())
    }
}

/// The first live keys that a query selects.
async fn first_live(cx: &CommandContext, query: KeyQuery) -> Result<Vec<KeyInfo>, Failure> {
    let mut live = Vec::new();
    let query = query.with_status(StatusFilter::Unrevoked);
    let mut keys = cx.keyring.walk(query.limit(LISTED_MAX));
    while let Some(key) = keys.next().await? {
        if live.len() == LISTED_MAX {
            break;
        }
        if key.expires_at.is_none_or(|end| cx.now < end) {
            live.push(key);
        }
    }
    Ok(live)
}

/// The first legacy credentials of a target that are neither revoked nor blocked.
async fn legacy_of(cx: &CommandContext, target: &Target) -> Result<Vec<String>, Failure> {
    let query = match target {
        Target::Owner(..) => return Ok(Vec::new()),
        Target::Team(team) => LegacyQuery::team(team.clone()),
        Target::Namespace(tenant) => LegacyQuery::namespace(tenant),
    };
    let mut ids = Vec::new();
    let mut credentials = cx.keyring.walk(query.limit(LISTED_MAX));
    while let Some(credential) = credentials.next().await? {
        if ids.len() == LISTED_MAX {
            break;
        }
        if credential.record.revoked.is_none() && !credential.record.blocked {
            ids.push(credential.record.id.to_string());
        }
    }
    Ok(ids)
}
