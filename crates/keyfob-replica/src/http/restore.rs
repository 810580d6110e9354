//! A warm restart: applying what was kept.

use std::sync::Arc;

use keyfob::gateway::{Index, ReplicaChanges};
use keyfob_feed::{Position, Receiver, Refused};
use tokio::task::yield_now;

use super::{
    Config,
    error::FeedError,
    lock,
    pages::Pages,
    saved::{Kept, Kind, Record, Saved},
    session::{Filled, Session, timestamp},
    steady::Stamp,
};

impl Session {
    /// Applies what was kept. Returns whether the index is filled then.
    pub(super) async fn restore(&mut self, index: &Index) -> bool {
        let Some(saved) = self.keeper.saved() else {
            return false;
        };
        let Kept { records, is_closed } = self.keeper.read().unwrap_or_else(|error| {
            tracing::error!(%error, "what was kept for a warm restart cannot be read");
            Kept::default()
        });
        let mut restored = Restored {
            records: 0,
            filled: Filled::Nothing,
            end: None,
        };
        let mut receiver = self.receiver.clone();
        let config = Arc::clone(&self.config);
        let applying = apply(
            &config,
            index,
            saved,
            &records,
            &mut receiver,
            &mut restored,
        );
        let result = applying.await;
        if let Err(error) = &result
            && !records.is_empty()
        {
            let error = crate::error::chain(error);
            tracing::warn!(
                error,
                "not all that was kept for a warm restart can be used"
            );
        }
        self.filled = restored.filled;
        if restored.filled != Filled::Fully {
            // The next snapshot takes its place.
            self.empty(index);
            return false;
        }
        let kept = records.get(..restored.records).unwrap_or_default();
        self.keeper.resume(kept);
        self.receiver = receiver;
        if let Some(told) = &self.config.on_trust {
            told(self.receiver.trust());
        }
        let Some((end, stamp)) = restored.end else {
            return false;
        };
        let now = self.config.clocks.stamp();
        let as_of = self.receiver.as_of();
        // What was written last may have been lost with the machine's power.
        let is_last = now.is_of_boot(&stamp) || is_closed && restored.records == records.len();
        let at = match now.age(as_of, &stamp) {
            Some(age) if is_last => {
                tracing::info!(position = %end, age_ms = age, "a warm restart");
                Some(timestamp(now.wall.saturating_sub(age)))
            }
            Some(_) => {
                tracing::warn!(
                    "the machine was restarted before this process had stopped: calls are refused until the feed is read"
                );
                None
            }
            None => {
                tracing::warn!("the clock ran back: calls are refused until the feed is read");
                None
            }
        };
        let confirmation = ReplicaChanges {
            after: end.revision,
            entries: Vec::new(),
            next_after: end.revision,
            more: false,
            last_revision: end.horizon,
        };
        let mut progress = lock(&self.progress);
        progress.position = Some(end);
        progress.as_of = as_of;
        drop(progress);
        index.apply_replica(confirmation, at).is_ok()
    }
}

/// Verifies the records like what comes from the network, and applies them up to the first one that is
/// refused.
async fn apply(
    config: &Config,
    index: &Index,
    saved: &Saved,
    records: &[Record],
    receiver: &mut Receiver,
    restored: &mut Restored,
) -> Result<(), FeedError> {
    // A wall clock that ran back does not make the records come from the future: their age decides.
    let latest = records.iter().map(|record| record.stamp.wall).max();
    let now = config.clocks.now().max(latest.unwrap_or(0));
    for record in records {
        match record.kind {
            Kind::Pins => {}
            Kind::Signers => {
                let updated = receiver.restore_trust(&record.line);
                updated.map_err(|_| Refused::UnknownSigner)?;
            }
            Kind::Unproven => {
                let until = std::str::from_utf8(&record.line).ok();
                let until = until.and_then(|until| until.parse().ok());
                receiver.confirm_after(until.ok_or(Refused::Malformed)?);
                restored.end = None;
            }
            Kind::Manifest => {
                let manifest = receiver.manifest(&record.line, now)?;
                if manifest.format() != *index.format() {
                    return Err(FeedError::OtherFormat);
                }
                let object = saved.object(manifest.object()).map_err(FeedError::Object)?;
                restored.filled = Filled::Partly;
                let pages = Pages::open(manifest.clone(), config.filter.clone(), object);
                let mut pages = pages.await?;
                index.reserve(pages.keys_max());
                while let Some(page) = pages.next().await? {
                    // Nothing is confirmed before all of it is known.
                    let page = ReplicaChanges { more: true, ..page };
                    index.apply_replica(page, None)?;
                    yield_now().await;
                }
                receiver.loaded(&manifest, now);
                restored.filled = Filled::Fully;
                restored.end = Some((manifest.position(), record.stamp.clone()));
            }
            Kind::Frame | Kind::Bookmark => {
                let accepted = receiver.receive(&record.line, now)?;
                // What is held back at the end of the records follows with the next frames.
                if let Some(batch) = accepted.batch {
                    let page = ReplicaChanges {
                        more: true,
                        ..batch.changes
                    };
                    if let Err(error) = index.apply_replica(page, None) {
                        restored.filled = Filled::Partly;
                        return Err(error.into());
                    }
                    let end = (accepted.position, record.stamp.clone());
                    restored.end = batch.confirmed.map(|_| end);
                }
            }
        }
        restored.records += 1;
    }
    Ok(())
}

/// What was applied of the records.
struct Restored {
    records: usize,
    filled: Filled,
    /// The position of the state that was applied, and the clocks then; none if that is no state of the
    /// authority.
    end: Option<(Position, Stamp)>,
}
