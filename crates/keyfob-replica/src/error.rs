//! Why a replica could not start, or cannot go on.

use std::{error::Error, iter, time::Duration};

use keyfob::gateway::IndexError;

use crate::SourceError;

/// A replica could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] keyfob::manage::Error),
    /// The source could not be read to its end.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The bound on staleness is too short for timestamps in whole seconds.
    #[error("`stale_after` is {0:?}; the least is 2 seconds")]
    StaleAfter(Duration),
}

/// A replica cannot go on: its verifiers refuse every call with 503. End the process; a new one
/// reads the store from its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store does not fit what was read of it before: it was replaced by a backup, for example.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The replica's task panicked.
    #[error("the task that follows the store panicked")]
    Panicked,
}

/// The text of an error with its sources.
pub(crate) fn chain(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}
