//! A receiver, and what planted bugs make of it.

use keyfob::{
    gateway::{ReplicaChanges, ReplicaEntry, ReplicaItem},
    store::Revision,
};
use keyfob_feed::{FilterId, Manifest, Position, Receiver, Refused};
use serde::Deserialize;

use crate::{bug::Bug, context::Context};

/// What a line brings, by a receiver or despite it.
pub(crate) struct Brought {
    /// What to apply; none if it is held back.
    pub(crate) changes: Option<ReplicaChanges>,
    pub(crate) position: Position,
    pub(crate) as_of: u64,
    /// The time as of which the index is confirmed then; none if more follows.
    pub(crate) confirmed: Option<u64>,
    pub(crate) signers: u64,
}

/// A frame that nobody has verified.
#[derive(Deserialize)]
struct Unverified {
    from: Position,
    to: Position,
    as_of: u64,
    signers: u64,
    #[serde(default)]
    filter: Option<FilterId>,
    #[serde(default)]
    more: bool,
    #[serde(default)]
    entries: Vec<(Revision, ReplicaItem)>,
}

/// Gives a line to a receiver.
pub(crate) fn receive(
    context: &Context,
    receiver: &mut Receiver,
    line: &[u8],
    now: u64,
) -> Result<Brought, Refused> {
    let refused = match receiver.receive(line, now) {
        Ok(accepted) => {
            let (mut changes, confirmed) = match accepted.batch {
                Some(batch) => (Some(batch.changes), batch.confirmed),
                None => (None, None),
            };
            if changes.is_none() && context.has(Bug::ConfirmsWithMoreToCome) {
                changes = unverified(line).map(Unverified::changes);
            }
            return Ok(Brought {
                changes,
                position: accepted.position,
                as_of: accepted.as_of,
                confirmed,
                signers: accepted.signers_version,
            });
        }
        Err(refused) => refused,
    };
    if !is_ignored(context.bug, refused) {
        return Err(refused);
    }
    let frame = unverified(line).ok_or(refused)?;
    let is_in_place = Some(frame.from) == receiver.position();
    if receiver.position().is_none()
        || (!is_in_place && refused_elsewhere(refused))
        || (!context.has(Bug::AcceptsOtherFilters) && frame.filter != receiver.filter().id())
    {
        return Err(refused);
    }
    move_to(receiver, frame.to, frame.as_of, now);
    Ok(Brought {
        position: frame.to,
        as_of: frame.as_of,
        confirmed: (!frame.more).then(|| receiver.as_of().min(now)),
        signers: frame.signers,
        changes: Some(frame.changes()),
    })
}

impl Unverified {
    fn changes(self) -> ReplicaChanges {
        ReplicaChanges {
            after: self.from.revision,
            entries: self.entries.into_iter().map(entry).collect(),
            next_after: self.to.revision,
            more: self.more,
            last_revision: self.to.horizon,
        }
    }
}

/// Whether a bug takes this reason to refuse a line for none.
pub(crate) fn is_ignored(bug: Option<Bug>, refused: Refused) -> bool {
    matches!(
        (bug, refused),
        (
            Some(Bug::IgnoresFrom),
            Refused::Gap | Refused::Replayed | Refused::OtherHistory
        ) | (Some(Bug::IgnoresSignatures), Refused::Forged)
            | (Some(Bug::TrustsAnySigner), Refused::UnknownSigner)
            | (Some(Bug::AcceptsTheFuture), Refused::Future)
            | (Some(Bug::AcceptsOlderSnapshots), Refused::Older)
            | (Some(Bug::AcceptsOtherFilters), Refused::OtherFilter)
    )
}

fn entry((revision, item): (Revision, ReplicaItem)) -> ReplicaEntry {
    ReplicaEntry { revision, item }
}

fn refused_elsewhere(refused: Refused) -> bool {
    !matches!(
        refused,
        Refused::Gap | Refused::Replayed | Refused::OtherHistory
    )
}

fn unverified(line: &[u8]) -> Option<Unverified> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, frame) = text.split_once(r#","frame":"#)?;
    serde_json::from_str(frame.strip_suffix('}')?).ok()
}

/// A manifest that nobody has verified.
pub(crate) fn unverified_manifest(line: &[u8]) -> Option<Manifest> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, manifest) = text.split_once(r#","snapshot":"#)?;
    serde_json::from_str(manifest.strip_suffix('}')?).ok()
}

/// The ends of a frame, if it is one.
pub(crate) fn ends(line: &[u8]) -> Option<(Position, Position)> {
    unverified(line).map(|frame| (frame.from, frame.to))
}

/// Moves a receiver without a frame.
fn move_to(receiver: &mut Receiver, position: Position, as_of: u64, now: u64) {
    let json = serde_json::json!({
        "position": position,
        "as_of": as_of,
        "format": crate::authority::format(),
        "object": "0".repeat(64),
        "bytes": 0,
        "content_bytes": 0,
        "entries": 0,
    });
    if let Ok(manifest) = serde_json::from_value(json) {
        receiver.loaded(&manifest, now);
    }
}
