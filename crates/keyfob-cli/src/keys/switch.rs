//! `keyfob keys disable`, `enable` and `revoke`

use clap::Args;
use keyfob::name::Reason;
use serde::Serialize;

use crate::{desk::Desk, failure::Failure};

use super::{KeyView, views};

/// Keys to switch.
#[derive(Args, Debug)]
pub(crate) struct Switch {
    /// The keys' identifiers
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// Why, for the audit trail
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
    /// Switches one key after the other. What was switched before a failure stays so, and the
    /// command can be repeated.
    pub(super) async fn run(self, desk: &Desk, to: To) -> Result<(), Failure> {
        let tenant = desk.tenant()?;
        let context = desk.context(self.reason.as_ref());
        // All of them are read before any is switched: a mistyped one must not leave half done.
        let ids = self.keys.iter().map(|key| desk.key_id(key));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let mut keys = Vec::new();
        for id in ids {
            keys.push(match to {
                To::Disabled => desk.keyring.disable(&context, &tenant, id).await?,
                To::Enabled => desk.keyring.enable(&context, &tenant, id).await?,
                To::Revoked => desk.keyring.revoke(&context, &tenant, id).await?,
            });
        }
        let keys = views(desk, &keys).await?;
        desk.terminal.answer(&Switched { keys }, |switched| {
            KeyView::table(&switched.keys)
        })
    }
}
