//! Errors of management calls.

use alloc::boxed::Box;

use crate::{
    audit::VerifyError,
    format::{FormatError, KeyFormat},
    index::FollowError,
    lifecycle::LifecycleError,
    name::NameError,
    store::{ActorFault, CommitError, Conflict, StoreError},
};

/// The error of a management call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such key in the tenant.
    #[error("no such key")]
    NotFound,
    /// The state of the store does not allow the change.
    #[error(transparent)]
    Conflict(Conflict),
    /// The actor is not, or no longer, allowed to make the change, as checked in the commit.
    #[error(transparent)]
    Actor(ActorFault),
    /// The key's state or the policy does not allow the change.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The key prefix is invalid.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The store holds keys with another prefix.
    #[error("the store holds keys with prefix {store}, not {asked}")]
    OtherFormat {
        /// The format recorded in the store.
        store: Box<KeyFormat>,
        /// The requested format.
        asked: Box<KeyFormat>,
    },
    /// The audit trail was tampered with, or does not fit the store.
    #[error(transparent)]
    Audit(#[from] VerifyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change was committed, but reading the store failed afterwards: the verifiers of this
    /// process do not apply it yet.
    #[error("the change was committed, but does not apply in this process yet")]
    AppliedNotSynced(#[source] FollowError),
    /// A call that makes many changes failed after some of them, which were committed.
    #[error("stopped after {changes} changes, which were committed")]
    Interrupted {
        /// The number of changes that were committed.
        changes: u64,
        /// The failure.
        source: Box<Self>,
    },
    /// Reading the store failed, and nothing was committed: the verifiers of this process may lack
    /// changes that other processes made.
    #[error("this process could not read the latest changes")]
    NotSynced(#[source] FollowError),
}

impl Error {
    /// The HTTP status for the error: 400 for invalid input, 401 and 403 for an actor that may not
    /// make the change, 404 and 409 if the state of the store does not allow it, 503 for a
    /// temporary failure, 500 for all else.
    pub fn status(&self) -> u16 {
        match self {
            Self::Interrupted { source, .. } => source.status(),
            Self::NotFound
            | Self::Conflict(Conflict::ForeignNamespace | Conflict::UnknownTarget(_)) => 404,
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
