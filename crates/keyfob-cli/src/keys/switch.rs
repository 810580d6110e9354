//! `keyfob keys disable`, `enable` and `revoke`

use clap::Args;
use keyfob::name::Reason;
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyReads, KeyView},
};

/// Keys to change.
#[derive(Args, Debug)]
pub(crate) struct Switch {
    /// The key ids
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    Disabled,
    Enabled,
    Revoked,
}

#[derive(Serialize)]
struct Switched {
    keys: Vec<KeyView>,
}

impl Switch {
    /// Changes the keys in order. After a failure the earlier ones stay changed, and the command can
    /// be repeated.
    pub(super) async fn run(self, cx: &CommandContext, to: To) -> Result<(), Failure> {
        let tenant = cx.tenant()?;
        let context = cx.context(self.reason.as_ref());
        let ids = cx.key_ids(&self.keys)?;
        let reads = KeyReads::read(cx, [&tenant], ids.iter().copied()).await?;
        let mut keys = Vec::new();
        for id in ids {
            let changed = match to {
                To::Disabled => cx.keyring.disable(&context, &tenant, id, None).await,
                To::Enabled => cx.keyring.enable(&context, &tenant, id, None).await,
                To::Revoked => cx.keyring.revoke(&context, &tenant, id, None).await,
            };
            let done = keys.iter().map(|key: &KeyView| &key.id);
            let key = changed.map_err(|error| Failure::from(error).done_before(done))?;
            keys.push(reads.view(cx, &key));
        }
        cx.terminal.answer(&Switched { keys }, |switched| {
            KeyView::table(&switched.keys)
        })
    }
}
