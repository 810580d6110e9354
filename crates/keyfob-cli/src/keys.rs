//! `keyfob keys …`

mod create;
mod delete;
mod list;
mod purge;
mod revoke_all;
mod rotate;
mod secret;
mod show;
mod switch;
mod update;
mod usage;

use clap::Subcommand;

use crate::{command_context::CommandContext, failure::Failure, store::Absent};

/// Manage the keys of people and services.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    #[command(name = "usage")]
    UsageOverTime(usage::UsageOverTime),
    Update(update::Update),
    Rotate(rotate::Rotate),
    /// Disable keys until they are enabled again
    Disable(switch::Switch),
    /// Enable disabled keys
    Enable(switch::Switch),
    /// Revoke keys permanently
    Revoke(switch::Switch),
    RevokeAll(revoke_all::RevokeAll),
    Delete(delete::Delete),
    Purge(purge::Purge),
}

impl Keys {
    pub(crate) fn absent(&self) -> Absent {
        match self {
            Self::Create(_) => Absent::Create,
            _ => Absent::Refuse,
        }
    }

    /// Whether the output is a new credential.
    pub(crate) fn shows_a_secret(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Rotate(_))
    }

    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(cx).await,
            Self::List(command) => command.run(cx).await,
            Self::Show(command) => command.run(cx).await,
            Self::UsageOverTime(command) => command.run(cx).await,
            Self::Update(command) => command.run(cx).await,
            Self::Rotate(command) => command.run(cx).await,
            Self::Disable(command) => command.run(cx, switch::To::Disabled).await,
            Self::Enable(command) => command.run(cx, switch::To::Enabled).await,
            Self::Revoke(command) => command.run(cx, switch::To::Revoked).await,
            Self::RevokeAll(command) => command.run(cx).await,
            Self::Delete(command) => command.run(cx).await,
            Self::Purge(command) => command.run(cx).await,
        }
    }
}
