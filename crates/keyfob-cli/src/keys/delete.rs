//! `keyfob keys delete`

use clap::Args;
use keyfob::name::Reason;
use serde::Serialize;

use crate::{desk::Desk, failure::Failure};

/// Delete keys: they end at once, and only the audit trail remembers them
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// The keys' identifiers
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// Why, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: Vec<String>,
}

impl Delete {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let tenant = desk.tenant()?;
        let context = desk.context(self.reason.as_ref());
        let ids = self.keys.iter().map(|key| desk.key_id(key));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let mut deleted = Vec::new();
        for id in ids {
            desk.keyring.delete(&context, &tenant, id).await?;
            deleted.push(desk.format().key_id(id));
        }
        let names = deleted.join(" ");
        desk.terminal
            .say(&Deleted { deleted }, format_args!("deleted {names}"))
    }
}
