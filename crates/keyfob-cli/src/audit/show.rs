//! `keyfob audit show`

use clap::Args;
use keyfob::store::{AuditQuery, Cursor, Revision};

use crate::{command_context::CommandContext, exit::Exit, failure::Failure};

use super::view::EventView;

/// Show an audit event, with the old and new value of each changed field
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The revision of the event
    revision: u64,
}

impl Show {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let mut query = AuditQuery::every_team().limit(1);
        if let Some(before) = self.revision.checked_sub(1) {
            query = query.after(Cursor::after(Revision::new(before)));
        }
        let found = cx.keyring.audit(&query).await?.items.pop();
        match found.filter(|event| event.revision.get() == self.revision) {
            Some(event) => cx
                .terminal
                .answer(&EventView::new(&event, cx.format()), EventView::details),
            None => Err(Failure::new(
                Exit::NotFound,
                format!("no event of revision {}", self.revision),
            )),
        }
    }
}
