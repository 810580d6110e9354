//! `keyfob legacy …`

mod days;
mod import;
mod policy;
mod report;
mod revoke;

use clap::Subcommand;

use crate::{command_context::CommandContext, failure::Failure, store::Absent};

/// Import legacy shared credentials, report their use, and end their acceptance.
#[derive(Debug, Subcommand)]
pub(crate) enum Legacy {
    Import(import::Import),
    Report(report::Report),
    Sunset(policy::Sunset),
    Brownout(policy::Brownout),
    CutOff(policy::CutOff),
    Restore(policy::Restore),
    Revoke(revoke::Revoke),
}

impl Legacy {
    pub(crate) fn absent(&self) -> Absent {
        match self {
            Self::Import(_) => Absent::Create,
            _ => Absent::Refuse,
        }
    }

    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        match self {
            Self::Import(command) => command.run(cx).await,
            Self::Report(command) => command.run(cx).await,
            Self::Sunset(command) => command.run(cx).await,
            Self::Brownout(command) => command.run(cx).await,
            Self::CutOff(command) => command.run(cx).await,
            Self::Restore(command) => command.run(cx).await,
            Self::Revoke(command) => command.run(cx).await,
        }
    }
}
