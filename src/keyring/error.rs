//! Why a management call was refused or failed.

use crate::{
    audit::ChainError,
    index::FollowError,
    lifecycle::LifecycleError,
    store::{CommitError, Conflict, StoreError},
};

/// A management call was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// There is no such key in the tenant.
    #[error("no such key")]
    NotFound,
    /// The state of the store does not allow it.
    #[error(transparent)]
    Conflict(Conflict),
    /// The key's state or the policy does not allow it.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The audit trail was tampered with.
    #[error(transparent)]
    Audit(#[from] ChainError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change is kept, but the index could not follow: it is not in force in this process
    /// yet.
    #[error("the change is kept, but not yet in force in this process")]
    Follow(#[from] FollowError),
    /// Nothing was to be changed, and the index could not follow the store.
    #[error("this process does not know of the latest changes")]
    Behind(#[source] FollowError),
}

impl From<Conflict> for ManageError {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::NotFound => Self::NotFound,
            other => Self::Conflict(other),
        }
    }
}

impl From<CommitError> for ManageError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => conflict.into(),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}
