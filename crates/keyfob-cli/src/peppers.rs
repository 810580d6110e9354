//! `keyfob peppers`

use std::collections::BTreeMap;

use clap::Subcommand;
use keyfob::{
    key::PepperId,
    manage::Status,
    store::{Cutoff, Item, Revision, Target},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    terminal::{TableView, Tone},
};

/// Show which peppers the stored digests need.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum PeppersCommand {
    /// Count the digests under each pepper
    ///
    /// A server moves the digest of a key to the current pepper when the key is used. A pepper can
    /// be removed from the settings when no digest is under it. The keys that are left were not used
    /// since: rotate or revoke them.
    Status,
}

#[derive(Serialize)]
struct Counted {
    peppers: Vec<PepperView>,
}

#[derive(Serialize)]
struct PepperView {
    /// None for digests without a pepper.
    pepper: Option<u8>,
    configured: bool,
    current: bool,
    /// Keys that are neither revoked nor expired.
    keys: u64,
    legacy: u64,
}

impl PeppersCommand {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let Self::Status = self;
        let mut counts: BTreeMap<Option<u8>, (u64, u64)> = BTreeMap::new();
        for configured in cx.peppers.ids() {
            counts.entry(Some(configured.get())).or_default();
        }
        let current = cx.peppers.current_id().map(PepperId::get);
        counts.entry(current).or_default();
        let cutoffs = cutoffs(cx).await?;
        let covering = |targets: &[Target]| -> Vec<&Cutoff> {
            let targets = targets.iter();
            targets.filter_map(|target| cutoffs.get(target)).collect()
        };
        each_item(cx, |item| match item {
            Item::Key(record) => {
                let cutoffs = covering(&record.targets());
                let record = record.with_cutoffs(cutoffs);
                let expired = record.expires_at.is_some_and(|end| end <= cx.now);
                if !expired && !matches!(record.status, Status::Revoked(_)) {
                    let pepper = record.digest.pepper().map(PepperId::get);
                    counts.entry(pepper).or_default().0 += 1;
                }
            }
            Item::Legacy(record) => {
                let cutoffs = covering(&record.targets());
                let record = record.with_cutoffs(cutoffs);
                if record.revoked.is_none() {
                    let pepper = record.digest.pepper().map(PepperId::get);
                    counts.entry(pepper).or_default().1 += 1;
                }
            }
            _ => {}
        })
        .await?;
        let configured: Vec<u8> = cx.peppers.ids().map(PepperId::get).collect();
        let peppers = counts
            .into_iter()
            .map(|(pepper, (keys, legacy))| PepperView {
                pepper,
                configured: pepper.is_none_or(|pepper| configured.contains(&pepper)),
                current: pepper == current,
                keys,
                legacy,
            });
        let counted = Counted {
            peppers: peppers.collect(),
        };
        cx.terminal.answer(&counted, |counted| {
            let mut table = TableView::new(["PEPPER", "STATUS", "KEYS", "LEGACY"], "no digests");
            for one in &counted.peppers {
                let needed = one.keys + one.legacy > 0;
                let status = match (one.current, one.configured, needed) {
                    (true, ..) => ("current", Tone::Good),
                    (_, false, _) => ("missing from the settings", Tone::Bad),
                    (.., true) => ("old, needed", Tone::Warning),
                    (.., false) => ("old, can be removed", Tone::Dim),
                };
                let pepper = one.pepper.map_or("none".to_owned(), |id| id.to_string());
                table.row([
                    (pepper, Tone::Plain),
                    (status.0.to_owned(), status.1),
                    (one.keys.to_string(), Tone::Plain),
                    (one.legacy.to_string(), Tone::Plain),
                ]);
            }
            table
        })
    }
}

/// The cutoffs of all targets.
async fn cutoffs(cx: &CommandContext) -> Result<BTreeMap<Target, Cutoff>, Failure> {
    let mut cutoffs = BTreeMap::new();
    each_item(cx, |item| {
        if let Item::Cutoff(cutoff) = item {
            cutoffs.insert(cutoff.target.clone(), cutoff);
        }
    })
    .await?;
    Ok(cutoffs)
}

/// Reads every item of the store.
async fn each_item(cx: &CommandContext, mut take: impl FnMut(Item)) -> Result<(), Failure> {
    let mut after = Some(Revision::ZERO);
    while let Some(from) = after {
        let page = cx.store.changes(from).await?;
        after = page.more.then_some(page.next_after);
        page.entries.into_iter().for_each(|entry| take(entry.item));
    }
    Ok(())
}
