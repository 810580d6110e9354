//! `keyfob backup`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{command_context::CommandContext, failure::Failure};

/// Copy the store to a new file, while other processes use it
#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The new file; it must not exist
    to: PathBuf,
}

#[derive(Serialize)]
struct Made {
    backup: String,
}

impl Backup {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        cx.store.backup(&self.to).await?;
        let backup = self.to.display().to_string();
        let text = backup.clone();
        cx.terminal
            .say(&Made { backup }, format_args!("copied the store to {text}"))
    }
}
