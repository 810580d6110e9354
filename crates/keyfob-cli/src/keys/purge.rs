//! `keyfob keys purge`

use clap::Args;
use keyfob::{
    KeyInfo, Timestamp,
    manage::Status,
    name::Reason,
    store::{KeyQuery, Target},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyView, read_all, views},
    moment::{self, Moment},
    terminal::{Progress, count},
};

/// Delete the team's keys that were revoked or expired long ago
///
/// The audit trail keeps their history. A key that is expired only by its policy's maximum TTL is
/// kept, since the policy can change.
#[derive(Args, Debug)]
pub(crate) struct Purge {
    /// Revoked or expired for this long, as in `90d`, or before a date
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    dead_for: Moment,

    /// Show which keys would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Serialize)]
struct Purged {
    purged: u64,
}

#[derive(Serialize)]
struct Planned {
    would_purge: usize,
    keys: Vec<KeyView>,
}

impl Purge {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let team = cx.team()?;
        cx.known(&Target::Team(team.clone())).await?;
        let before = self.dead_for.ago(cx.now);
        if self.dry_run {
            let mut keys = read_all(cx, KeyQuery::team(team.clone())).await?;
            keys.retain(|key| is_dead(key, before));
            let keys = views(cx, &keys).await?;
            let planned = Planned {
                would_purge: keys.len(),
                keys,
            };
            cx.terminal
                .answer(&planned, |planned| KeyView::table(&planned.keys))?;
            let keys = count(planned.would_purge as u64, "key");
            cx.terminal
                .note(format_args!("{keys} would be deleted; nothing was deleted"));
            return Ok(());
        }
        let progress = Progress::open("deleting keys");
        let context = cx.context(self.reason.as_ref());
        let purged = cx.keyring.purge(&context, team, before).await;
        drop(progress);
        let purged = purged?;
        cx.terminal
            .say(&Purged { purged }, format_args!("deleted {purged}"))
    }
}

/// What [`keyfob::Keyring::purge`] deletes.
fn is_dead(key: &KeyInfo, before: Timestamp) -> bool {
    let revoked = match &key.status {
        Status::Revoked(revocation) => Some(revocation.at),
        Status::Active | Status::Disabled => None,
    };
    let ends = [revoked, key.expires_at];
    ends.into_iter().flatten().any(|end| end < before)
}
