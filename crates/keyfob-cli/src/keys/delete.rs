//! `keyfob keys delete`

use clap::Args;
use keyfob::name::Reason;
use serde::Serialize;

use crate::{command_context::CommandContext, failure::Failure};

/// Delete keys and their records; the audit trail keeps their history
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// The key ids
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: Vec<String>,
}

impl Delete {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let tenant = cx.tenant()?;
        let context = cx.context(self.reason.as_ref());
        let mut deleted = Vec::new();
        for id in cx.key_ids(&self.keys)? {
            let outcome = cx.keyring.delete(&context, &tenant, id, None).await;
            outcome.map_err(|error| Failure::from(error).done_before(&deleted))?;
            deleted.push(cx.format().key_id(id));
        }
        let names = deleted.join(" ");
        cx.terminal
            .say(&Deleted { deleted }, format_args!("deleted {names}"))
    }
}
