//! Why an index could not follow.

use crate::{index::table::Full, revision::Revision, store::StoreError};

/// A part of a change feed does not fit the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The part begins behind where the index is: something is missing between.
    #[error("the change feed has a gap behind revision {at}")]
    Gap {
        /// Where the index is.
        at: Revision,
    },
    /// The store is behind where it was: it is another one, or was restored from a backup.
    #[error("the store went back to revision {store_at}, the index is at {at}")]
    Regressed {
        /// Where the store is.
        store_at: Revision,
        /// Where the index is.
        at: Revision,
    },
    /// The store says that there is more, and gives nothing.
    #[error("the change feed does not go on behind revision {at}")]
    Stalled {
        /// Where the index is.
        at: Revision,
    },
    /// There is no room for more keys.
    #[error("the index has no room for more keys")]
    Full,
}

impl From<Full> for IndexError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// An index could not follow its store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The feed does not fit the index.
    #[error(transparent)]
    Index(#[from] IndexError),
}
