//! `keyfob keys revoke-all`

use clap::{ArgGroup, Args};
use keyfob::{Owner, name::Reason, store::Target};

use crate::{
    desk::Desk,
    failure::Failure,
    owner,
    targets::{Preview, say_cut},
};

/// End every key that there is now, and let new ones be made: what to do after a leak
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("of").required(true)
    .args(["owner", "whole_namespace", "whole_team"]))]
#[group(skip)]
pub(crate) struct RevokeAll {
    /// Of this person or service, in the team
    #[arg(long, value_name = "WHO", value_parser = owner::parse)]
    owner: Option<Owner>,

    /// Of the namespace, with its legacy credentials
    #[arg(long)]
    whole_namespace: bool,

    /// Of the team, in all its namespaces
    #[arg(long)]
    whole_team: bool,

    /// Show what would stop working, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Why, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

impl RevokeAll {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let target = match self.owner {
            Some(owner) => Target::Owner(desk.team()?.clone(), owner),
            None if self.whole_namespace => Target::Namespace(desk.tenant()?),
            None => Target::Team(desk.team()?.clone()),
        };
        if self.dry_run {
            return Preview::of(desk, &target).await?.show(desk);
        }
        let context = desk.context(self.reason.as_ref());
        desk.keyring.revoke_all(&context, target.clone()).await?;
        say_cut(desk, &target, "revoked")
    }
}
