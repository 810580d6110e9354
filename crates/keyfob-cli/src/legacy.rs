//! `keyfob legacy …`: the old shared credentials, and their end.

mod import;
mod policy;
mod report;
mod revoke;

use clap::Subcommand;

use crate::{desk::Desk, failure::Failure, store::Absent};

/// The old shared credentials: import them, see who still uses them, and end them.
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

    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Import(command) => command.run(desk).await,
            Self::Report(command) => command.run(desk).await,
            Self::Sunset(command) => command.run(desk).await,
            Self::Brownout(command) => command.run(desk).await,
            Self::CutOff(command) => command.run(desk).await,
            Self::Restore(command) => command.run(desk).await,
            Self::Revoke(command) => command.run(desk).await,
        }
    }
}
