//! `keyfob keys show`

use clap::Args;

use crate::{desk::Desk, failure::Failure};

use super::{KeyView, views};

/// Show all that is known of a key; its secret is known to nobody but its owner
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The key's identifier
    key: String,
}

impl Show {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let id = desk.key_id(&self.key)?;
        let key = desk.keyring.get(&desk.tenant()?, id).await?;
        for view in views(desk, &[key]).await? {
            desk.terminal.answer(&view, KeyView::sheet)?;
        }
        Ok(())
    }
}
