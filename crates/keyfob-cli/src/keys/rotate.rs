//! `keyfob keys rotate`

use std::time::Duration;

use clap::Args;
use keyfob::{Expiry, manage::Rotation, name::Reason, store::Revision};

use crate::{command_context::CommandContext, failure::Failure, key_view::KeyReads, moment};

use super::secret;

/// Replace a key's secret, and show the new credential once
///
/// The old secret works until the grace period ends, or until it expires.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The key id
    key: String,

    /// The grace period, in which the old secret still works
    #[arg(long, value_name = "TIME", value_parser = moment::parse_span, default_value = "0s")]
    grace: Duration,

    /// A new expiry: `90d`, `2027-01-31`, `2027-01-31T08:00:00Z` or `never` [default: the old one]
    #[arg(long, value_name = "WHEN", value_parser = moment::parse_expiry)]
    expires: Option<Expiry>,

    /// Only if the key is still at this revision
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

impl Rotate {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let id = cx.key_id(&self.key)?;
        let mut rotation = Rotation::new().with_grace(self.grace);
        if let Some(expiry) = self.expires {
            rotation = rotation.with_expiry(expiry);
        }
        let expected = self.if_revision.map(Revision::new);
        let context = cx.context(self.reason.as_ref());
        let tenant = cx.tenant()?;
        let reads = KeyReads::read(cx, [&tenant], [id]).await?;
        let rotated = cx
            .keyring
            .rotate(&context, &tenant, id, rotation, expected)
            .await?;
        secret::show(cx, rotated, &reads, "rotated")
    }
}
