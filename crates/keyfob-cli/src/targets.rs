//! `keyfob members`, `services` and `teams`: removing and restoring them.

use std::{error::Error, str::FromStr};

use clap::{Args, Subcommand};
use keyfob::{
    KeyInfo, Owner, Tenant,
    audit::{Action, AuditEvent},
    key::CredentialId,
    manage::{self, EffectiveStatus},
    name::{Reason, ServiceId, TeamId, UserId},
    store::{AuditQuery, KeyQuery, LegacyQuery, Target},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    keys::{KeyView, read_all, views},
    owner::{self, OwnerFault},
    terminal::{TableView, Tone, count},
};

/// Remove and restore people of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Members {
    /// Remove a person: revoke all their keys in the team, and block new ones
    Remove(Removal<User>),
    /// Allow new keys for a person again; revoked keys stay revoked
    Restore(Restoral<User>),
}

/// Remove and restore services of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Remove a service: revoke all its keys in the team, and block new ones
    Remove(Removal<Service>),
    /// Allow new keys for a service again; revoked keys stay revoked
    Restore(Restoral<Service>),
}

/// Remove and restore a whole team.
#[derive(Debug, Subcommand)]
pub(crate) enum Teams {
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

    /// Show which credentials would stop working, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

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
            Self::Remove(Removal {
                name,
                dry_run,
                reason,
            }) => remove(cx, target(name)?, dry_run, reason).await,
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
            Self::Remove(Removal {
                name,
                dry_run,
                reason,
            }) => remove(cx, target(name)?, dry_run, reason).await,
            Self::Restore(Restoral { name, reason }) => restore(cx, target(name)?, reason).await,
        }
    }
}

impl Teams {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        match self {
            Self::Remove(Removal {
                name,
                dry_run,
                reason,
            }) => remove(cx, Target::Team(name), dry_run, reason).await,
            Self::Restore(Restoral { name, reason }) => {
                restore(cx, Target::Team(name), reason).await
            }
        }
    }
}

/// Removes a target, or shows what would stop working.
pub(crate) async fn remove(
    cx: &CommandContext,
    target: Target,
    dry_run: bool,
    reason: Option<Reason>,
) -> Result<(), Failure> {
    if dry_run {
        return Preview::of(cx, &target).await?.show(cx);
    }
    let context = cx.context(reason.as_ref());
    cx.keyring.remove(&context, target.clone()).await?;
    say_done(cx, &target, "removed")
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
    /// The keys that would stop working.
    stops: Vec<KeyView>,
    /// The legacy credentials that would stop working.
    stops_legacy: Vec<String>,
    /// Keys that the owner created for others; they keep working.
    goes_on: Vec<KeyView>,
}

impl Preview {
    pub(crate) async fn of(cx: &CommandContext, target: &Target) -> Result<Self, Failure> {
        let team = target.team().clone();
        let (stops, goes_on) = match target {
            Target::Team(_) => (read_all(cx, KeyQuery::team(team)).await?, Vec::new()),
            Target::Namespace(tenant) => {
                (read_all(cx, KeyQuery::namespace(tenant)).await?, Vec::new())
            }
            Target::Owner(_, owner) => {
                let own = KeyQuery {
                    owner: Some(owner.clone()),
                    ..KeyQuery::team(team.clone())
                };
                let others = created_for_others(cx, team, owner).await?;
                (read_all(cx, own).await?, others)
            }
        };
        let mut preview = Self {
            what: target_text(target),
            stops: views(cx, &stops).await?,
            stops_legacy: legacy_of(cx, target).await?,
            goes_on: views(cx, &goes_on).await?,
        };
        preview
            .stops
            .retain(|key| key.status == EffectiveStatus::Active);
        preview
            .goes_on
            .retain(|key| key.status == EffectiveStatus::Active);
        Ok(preview)
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
        let (what, keys, legacy) = (&self.what, self.stops.len(), self.stops_legacy.len());
        terminal.note(format_args!(
            "{what}: {} and {} would stop working; nothing was changed",
            count(keys as u64, "key"),
            count(legacy as u64, "legacy credential")
        ));
        if !self.goes_on.is_empty() {
            terminal.note(format_args!(
                "keys that they created for others, and that keep working:"
            ));
            terminal.note_table(KeyView::table(&self.goes_on));
        }
        Ok(())
    }
}

/// The keys of others that an owner created. The audit trail lists them, so that the other keys of
/// the team need not be read.
async fn created_for_others(
    cx: &CommandContext,
    team: TeamId,
    owner: &Owner,
) -> Result<Vec<KeyInfo>, Failure> {
    let query = AuditQuery {
        actor: Some(owner.clone()),
        action: Some(Action::KeyCreated),
        limit: KeyQuery::LIMIT_MAX,
        ..AuditQuery::team(team)
    };
    let mut created = Vec::new();
    let mut events = cx.keyring.walk(query);
    while let Some(AuditEvent { entry, .. }) = events.next().await? {
        let (Some(team), Some(namespace)) = (entry.team, entry.namespace) else {
            continue;
        };
        if let (Some(CredentialId::Key(id)), false) =
            (entry.credential, entry.owner.as_ref() == Some(owner))
        {
            match cx.keyring.get(&Tenant::new(team, namespace), id).await {
                Ok(key) => created.push(key),
                Err(manage::Error::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(created)
}

/// The legacy credentials of a target that are not revoked.
async fn legacy_of(cx: &CommandContext, target: &Target) -> Result<Vec<String>, Failure> {
    let query = match target {
        Target::Owner(..) => return Ok(Vec::new()),
        Target::Team(team) => LegacyQuery::team(team.clone()),
        Target::Namespace(tenant) => LegacyQuery {
            namespace: Some(tenant.namespace.clone()),
            ..LegacyQuery::team(tenant.team.clone())
        },
    };
    let mut ids = Vec::new();
    let mut credentials = cx.keyring.walk(query);
    while let Some(credential) = credentials.next().await? {
        if credential.record.revoked.is_none() && !credential.record.blocked {
            ids.push(credential.record.id.to_string());
        }
    }
    Ok(ids)
}
