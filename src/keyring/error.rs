//! Why a management call was refused or failed.

use crate::{
    audit::ChainError,
    format::{FormatError, KeyFormat},
    index::FollowError,
    lifecycle::LifecycleError,
    name::NameError,
    store::{ActorFault, CommitError, Conflict, StoreError},
};

/// A management call was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such key in the tenant.
    #[error("no such key")]
    NotFound,
    /// The state of the store does not allow it.
    #[error(transparent)]
    Conflict(Conflict),
    /// The actor may not make the change, or no longer: judged when it was to be kept.
    #[error(transparent)]
    Actor(ActorFault),
    /// The key's state or the policy does not allow it.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The key prefix breaks a rule.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The store has keys of another prefix.
    #[error("the keys in the store begin with {store}, not with {asked}")]
    OtherFormat {
        /// The format of the keys in the store.
        store: KeyFormat,
        /// The format that was asked for.
        asked: KeyFormat,
    },
    /// The audit trail was tampered with.
    #[error(transparent)]
    Audit(#[from] ChainError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change is kept, but the store could not be read after it: it is not in force in this
    /// process yet.
    #[error("the change is kept, but not yet in force in this process")]
    AppliedNotSynced(#[source] FollowError),
    /// There was nothing to change, and the store could not be read: what another process changed
    /// is not in force in this process yet.
    #[error("this process does not know of the latest changes")]
    NotSynced(#[source] FollowError),
}

impl Error {
    /// The HTTP status to answer: 400 for what the caller can correct, 401 and 403 for an actor
    /// that may not make the change, 404 and 409 for the state of the store, 503 for what may
    /// work later, 500 for the rest.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound | Self::Conflict(Conflict::ForeignNamespace) => 404,
            Self::Conflict(_)
            | Self::Lifecycle(
                LifecycleError::Revoked | LifecycleError::Expired | LifecycleError::OtherSecret,
            ) => 409,
            Self::Actor(ActorFault::MissingScope) => 403,
            Self::Actor(_) => 401,
            Self::Lifecycle(LifecycleError::Random(_))
            | Self::Store(_)
            | Self::AppliedNotSynced(_)
            | Self::NotSynced(_) => 503,
            Self::Lifecycle(_) | Self::Name(_) => 400,
            Self::Format(_) | Self::OtherFormat { .. } | Self::Audit(_) => 500,
        }
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::NotFound => Self::NotFound,
            Conflict::Actor(fault) => Self::Actor(fault),
            other => Self::Conflict(other),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => conflict.into(),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}
