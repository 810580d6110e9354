//! `keyfob audit …`

mod export;
mod follow;
mod list;
mod show;
mod verify;
mod view;

use clap::Subcommand;

use crate::{command_context::CommandContext, failure::Failure};

pub(crate) use verify::VerifyFile;

/// List, show, verify and export the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    List(list::List),
    Show(show::Show),
    Verify(verify::Verify),
    Export(export::Export),
}

impl Audit {
    /// The verification of an exported file, which needs no store.
    pub(crate) fn file(&self) -> Option<VerifyFile<'_>> {
        match self {
            Self::Verify(command) => command.of_file(),
            _ => None,
        }
    }

    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        match self {
            Self::List(command) => command.run(cx).await,
            Self::Show(command) => command.run(cx).await,
            Self::Verify(command) => command.run(cx).await,
            Self::Export(command) => command.run(cx).await,
        }
    }
}
