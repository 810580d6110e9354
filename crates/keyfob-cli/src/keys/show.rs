//! `keyfob keys show`

use clap::Args;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyView, views},
};

/// Show a key
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The key id
    key: String,
}

impl Show {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let id = cx.key_id(&self.key)?;
        let key = cx.keyring.get(&cx.tenant()?, id).await?;
        for view in views(cx, &[key]).await? {
            cx.terminal.answer(&view, KeyView::details)?;
        }
        Ok(())
    }
}
