//! Errors of following a store.

use crate::{index::table::Full, revision::Revision, store::StoreError};

/// A page of a change feed cannot be applied to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The page starts after the index's revision: changes in between are missing.
    #[error("the change feed has a gap after revision {at}")]
    Gap {
        /// The revision of the index.
        at: Revision,
    },
    /// The store is at an earlier revision than before: it was restored from a backup, or it is
    /// another store.
    #[error("the store went back to revision {store_at}; the index is at {at}")]
    Regressed {
        /// The revision of the store.
        store_at: Revision,
        /// The revision of the index.
        at: Revision,
    },
    /// The store has another history than before: it was restored from a backup or replaced by a
    /// standby that lacked commits, and has caught up since, or it is another store.
    #[error("the store has another history up to revision {at} than the one that was read before")]
    Forked {
        /// The revision of the event that differs.
        at: Revision,
    },
    /// The store reports more entries but returns none.
    #[error("the change feed does not advance past revision {at}")]
    Stalled {
        /// The revision of the index.
        at: Revision,
    },
    /// The index has no room for more keys.
    #[error("the index has no room for more keys")]
    Full,
}

impl From<Full> for IndexError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// Following a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change feed cannot be applied to the index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store did not answer within [`KeyringBuilder::sync_limit`](crate::manage::KeyringBuilder::sync_limit).
    #[error("the store did not answer in time")]
    TimedOut,
}
