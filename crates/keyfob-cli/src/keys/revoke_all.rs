//! `keyfob keys revoke-all`

use clap::{ArgGroup, Args};
use keyfob::{Owner, name::Reason, store::Target};

use crate::{
    command_context::CommandContext,
    failure::Failure,
    owner,
    targets::{Preview, say_ended},
};

/// Revoke all existing keys of an owner, a namespace or a team; new ones can be created
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("of").required(true)
    .args(["owner", "whole_namespace", "whole_team"]))]
#[group(skip)]
pub(crate) struct RevokeAll {
    /// All keys of this owner in the team
    #[arg(long, value_name = "WHO", value_parser = owner::parse)]
    owner: Option<Owner>,

    /// All keys and legacy credentials of the namespace
    #[arg(long)]
    whole_namespace: bool,

    /// All keys and legacy credentials in the team's namespaces
    #[arg(long)]
    whole_team: bool,

    /// Show which credentials would stop working, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

impl RevokeAll {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let target = match self.owner {
            Some(owner) => Target::Owner(cx.team()?.clone(), owner),
            None if self.whole_namespace => Target::Namespace(cx.tenant()?),
            None => Target::Team(cx.team()?.clone()),
        };
        if self.dry_run {
            cx.known(&target).await?;
            return Preview::of(cx, &target).await?.show(cx);
        }
        let context = cx.context(self.reason.as_ref());
        match cx.keyring.revoke_all(&context, target.clone()).await {
            Ok(ended) => say_ended(cx, &target, "revoked all of", ended),
            Err(error) => Err(cx.explain(error).await),
        }
    }
}
