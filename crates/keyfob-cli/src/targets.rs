//! `keyfob members`, `services` and `teams`: who is removed and admitted again.

use clap::{Args, Subcommand};
use keyfob::{
    Actor, KeyInfo, Owner,
    manage::EffectiveStatus,
    name::{Reason, ServiceId, TeamId, UserId},
    store::{KeyQuery, LegacyQuery, Target},
};
use serde::Serialize;

use crate::{
    desk::Desk,
    failure::Failure,
    keys::{KeyView, read_all, views},
    owner,
    terminal::{Sheet, Tone},
};

/// People of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Members {
    /// Remove a person: all their keys in the team end at once, and none can be made for them
    Remove(Removal<UserId>),
    /// Let keys be made for a person again; what ended stays so
    Restore(Restoral<UserId>),
}

/// Services of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Remove a service: all its keys in the team end at once, and none can be made for it
    Remove(Removal<ServiceId>),
    /// Let keys be made for a service again; what ended stays so
    Restore(Restoral<ServiceId>),
}

/// The team as a whole, as `--team` names it.
#[derive(Debug, Subcommand)]
pub(crate) enum Teams {
    /// Remove a team: all keys in all its namespaces end at once, and none can be made
    Remove(Removal<TeamId>),
    /// Let keys be made in a team again; what ended stays so
    Restore(Restoral<TeamId>),
}

/// Who is to be removed.
#[derive(Args, Debug)]
pub(crate) struct Removal<T: Name> {
    /// The name
    pub(crate) name: T,

    /// Show what would stop working, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Why, for the audit trail
    #[arg(long)]
    pub(crate) reason: Option<Reason>,
}

/// Who is to be admitted again.
#[derive(Args, Debug)]
pub(crate) struct Restoral<T: Name> {
    /// The name
    pub(crate) name: T,

    /// Why, for the audit trail
    #[arg(long)]
    pub(crate) reason: Option<Reason>,
}

/// A name that the command line can read.
pub(crate) trait Name:
    std::str::FromStr<Err = keyfob::name::NameError> + Clone + Send + Sync + 'static
{
}

impl<T> Name for T where
    T: std::str::FromStr<Err = keyfob::name::NameError> + Clone + Send + Sync + 'static
{
}

impl Members {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let team = desk.team()?.clone();
        match self {
            Self::Remove(removal) => {
                let target = Target::Owner(team, Owner::User(removal.name));
                remove(desk, target, removal.dry_run, removal.reason).await
            }
            Self::Restore(restoral) => {
                let context = desk.context(restoral.reason.as_ref());
                let user = restoral.name;
                desk.keyring.restore_member(&context, &team, &user).await?;
                say_cut(desk, &Target::Owner(team, Owner::User(user)), "restored")
            }
        }
    }
}

impl Services {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let team = desk.team()?.clone();
        match self {
            Self::Remove(removal) => {
                let target = Target::Owner(team, Owner::Service(removal.name));
                remove(desk, target, removal.dry_run, removal.reason).await
            }
            Self::Restore(restoral) => {
                let context = desk.context(restoral.reason.as_ref());
                let service = restoral.name;
                desk.keyring
                    .restore_service(&context, &team, &service)
                    .await?;
                say_cut(
                    desk,
                    &Target::Owner(team, Owner::Service(service)),
                    "restored",
                )
            }
        }
    }
}

impl Teams {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Remove(removal) => {
                let target = Target::Team(removal.name);
                remove(desk, target, removal.dry_run, removal.reason).await
            }
            Self::Restore(restoral) => {
                let context = desk.context(restoral.reason.as_ref());
                let team = restoral.name;
                desk.keyring.restore_team(&context, &team).await?;
                say_cut(desk, &Target::Team(team), "restored")
            }
        }
    }
}

/// Removes a target, or shows what that would end.
pub(crate) async fn remove(
    desk: &Desk,
    target: Target,
    dry_run: bool,
    reason: Option<Reason>,
) -> Result<(), Failure> {
    if dry_run {
        return Preview::of(desk, &target).await?.show(desk);
    }
    let context = desk.context(reason.as_ref());
    let keyring = &desk.keyring;
    match &target {
        Target::Team(team) => keyring.remove_team(&context, team).await?,
        Target::Namespace(tenant) => keyring.remove_namespace(&context, tenant).await?,
        Target::Owner(team, Owner::User(user)) => {
            keyring.remove_member(&context, team, user).await?;
        }
        Target::Owner(team, Owner::Service(service)) => {
            keyring.remove_service(&context, team, service).await?;
        }
    }
    say_cut(desk, &target, "removed")
}

/// Says what was done to a target.
pub(crate) fn say_cut(desk: &Desk, target: &Target, done: &'static str) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Done {
        done: &'static str,
        what: String,
    }
    let what = target_text(target);
    let text = what.clone();
    desk.terminal
        .say(&Done { done, what }, format_args!("{done}: {text}"))
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Team(team) => format!("team {team}"),
        Target::Namespace(tenant) => {
            format!("namespace {} of team {}", tenant.namespace, tenant.team)
        }
        Target::Owner(team, owner) => format!("{} of team {team}", owner::text(owner)),
    }
}

/// What the end of a target would end.
#[derive(Debug, Serialize)]
pub(crate) struct Preview {
    what: String,
    /// The keys that work now and would not.
    stops: Vec<KeyView>,
    /// The legacy credentials that would stop too.
    stops_legacy: Vec<String>,
    /// Keys of services that the person made, which go on.
    goes_on: Vec<KeyView>,
}

impl Preview {
    pub(crate) async fn of(desk: &Desk, target: &Target) -> Result<Self, Failure> {
        let team = target.team().clone();
        let (stops, goes_on) = match target {
            Target::Team(_) => (read_all(desk, KeyQuery::team(team)).await?, Vec::new()),
            Target::Namespace(tenant) => (
                read_all(desk, KeyQuery::namespace(tenant)).await?,
                Vec::new(),
            ),
            Target::Owner(_, owner) => {
                let keys = read_all(desk, KeyQuery::team(team)).await?;
                let maker = Actor {
                    owner: Some(owner.clone()),
                    credential: None,
                };
                let made = |key: &KeyInfo| key.created_by.owner == maker.owner;
                let (own, others): (Vec<_>, Vec<_>) =
                    keys.into_iter().partition(|key| key.owner == *owner);
                (own, others.into_iter().filter(made).collect())
            }
        };
        let mut preview = Self {
            what: target_text(target),
            stops: views(desk, &stops).await?,
            stops_legacy: legacy_of(desk, target).await?,
            goes_on: views(desk, &goes_on).await?,
        };
        preview
            .stops
            .retain(|key| key.status == EffectiveStatus::Active);
        preview
            .goes_on
            .retain(|key| key.status == EffectiveStatus::Active);
        Ok(preview)
    }

    pub(crate) fn show(&self, desk: &Desk) -> Result<(), Failure> {
        desk.terminal.answer(self, |preview| {
            if preview.stops.is_empty() && preview.stops_legacy.is_empty() {
                return Sheet::new([""], "nothing would stop working");
            }
            let mut sheet = KeyView::table(&preview.stops);
            for id in &preview.stops_legacy {
                let cell = |text: &str| (text.to_owned(), Tone::Plain);
                sheet.row([cell(id), cell("(legacy)")]);
            }
            sheet
        })?;
        let terminal = desk.terminal;
        let (what, keys, legacy) = (&self.what, self.stops.len(), self.stops_legacy.len());
        terminal.note(format_args!(
            "{what}: {keys} keys and {legacy} legacy credentials would stop working; nothing was changed"
        ));
        if !self.goes_on.is_empty() {
            terminal.note(format_args!(
                "keys that they made for others, and that go on:"
            ));
            terminal.note_sheet(KeyView::table(&self.goes_on));
        }
        Ok(())
    }
}

/// The legacy credentials of a target that are not revoked.
async fn legacy_of(desk: &Desk, target: &Target) -> Result<Vec<String>, Failure> {
    let mut query = match target {
        Target::Owner(..) => return Ok(Vec::new()),
        Target::Team(team) => LegacyQuery::team(team.clone()),
        Target::Namespace(tenant) => LegacyQuery {
            namespace: Some(tenant.namespace.clone()),
            ..LegacyQuery::team(tenant.team.clone())
        },
    };
    let mut ids = Vec::new();
    loop {
        let page = desk.keyring.legacy_report(&query).await?;
        let live = page
            .items
            .iter()
            .filter(|credential| credential.record.revoked.is_none() && !credential.record.blocked);
        ids.extend(live.map(|credential| credential.record.id.to_string()));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(ids),
        }
    }
}
