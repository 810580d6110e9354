//! `keyfob legacy revoke`

use clap::Args;
use keyfob::{legacy::LegacyId, name::Reason};
use serde::Serialize;

use crate::{command_context::CommandContext, failure::Failure};

/// Revoke one legacy credential of the namespace permanently
#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// Its id: the UUID before the colon
    credential: String,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Revoked {
    revoked: String,
}

impl Revoke {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        if self.credential.contains(':') {
            return Err(
                Failure::usage("an id has no colon: this may be a whole credential")
                    .hint("give the UUID before the colon"),
            );
        }
        let id = LegacyId::parse(self.credential.as_bytes())
            .map_err(|at| Failure::usage(format!("not a UUID, at position {at}")))?;
        let context = cx.context(self.reason.as_ref());
        let tenant = cx.tenant()?;
        cx.keyring.revoke_legacy(&context, &tenant, id).await?;
        let revoked = id.to_string();
        cx.terminal
            .say(&Revoked { revoked }, format_args!("revoked {id}"))
    }
}
