//! The pages of a snapshot, which another thread reads ahead.

use std::io::{Read, Seek};

use keyfob::gateway::ReplicaChanges;
use keyfob_feed::{Filter, Manifest, SnapshotError, SnapshotReader};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::error::FeedError;

/// The pages of a verified snapshot. Decompressing and parsing them takes as long as applying them, so
/// a thread does it meanwhile. It ends when this is dropped.
pub(super) struct Pages {
    receiver: mpsc::Receiver<Result<ReplicaChanges, SnapshotError>>,
    keys_max: usize,
    is_read: bool,
}

impl Pages {
    /// Verifies an object, and begins to read it.
    pub(super) async fn open<R>(
        manifest: Manifest,
        filter: Filter,
        object: R,
    ) -> Result<Self, FeedError>
    where
        R: Read + Seek + Send + 'static,
    {
        // The digest of a key is random, so no entry is compressed to less than that.
        let most = manifest.entries().min(manifest.bytes() / BYTES_MIN);
        let opening = spawn_blocking(move || SnapshotReader::open(&manifest, &filter, object));
        let mut reader = opening
            .await
            .map_err(|error| FeedError::Body(error.into()))??;
        let (sender, receiver) = mpsc::channel(AHEAD);
        spawn_blocking(move || {
            while let Some(page) = reader.next_page().transpose() {
                let failed = page.is_err();
                if sender.blocking_send(page).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self {
            receiver,
            keys_max: usize::try_from(most).unwrap_or(usize::MAX),
            is_read: false,
        })
    }

    /// How many keys the snapshot has at most.
    pub(super) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// The next page; `None` after the last one. A call whose future is dropped loses no page.
    pub(super) async fn next(&mut self) -> Result<Option<ReplicaChanges>, SnapshotError> {
        if self.is_read {
            return Ok(None);
        }
        // The thread ended before the last page: it panicked.
        let page = self.receiver.recv().await.ok_or(SnapshotError::Content)??;
        self.is_read = !page.more;
        Ok(Some(page))
    }
}

/// How many pages are kept that were not applied yet.
const AHEAD: usize = 4;
/// The least that an entry takes in an object, in bytes.
const BYTES_MIN: u64 = 16;
