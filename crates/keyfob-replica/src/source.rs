//! What a replica follows.

use std::{error::Error, sync::Arc};

use keyfob::{
    Keyring, Timestamp,
    gateway::{FollowError, Index, IndexError, UsageBatch},
    store::async_trait,
};

/// What a replica follows: a store in this process, or a feed that another process sends.
///
/// A [`Replica`](crate::Replica) calls it from one task for the index, and from the same task for
/// usage, while it does the former. Each future may be dropped before it is ready, since the
/// replica limits how long it waits; the next call continues.
///
/// # Examples
///
/// A source that is fed by other code of the process: the pages of a change feed, each with the
/// time at which its reader asked the store.
///
/// ```
/// use std::{collections::VecDeque, sync::Mutex};
///
/// use keyfob::{
///     Timestamp,
///     gateway::{Index, UsageBatch},
///     store::Changes,
/// };
/// use keyfob_replica::{Follower, Source, SourceError, Synced, async_trait};
///
/// #[derive(Default)]
/// struct Queue(Mutex<VecDeque<(Changes, Timestamp)>>);
///
/// #[async_trait]
/// impl Source for Queue {
///     async fn wait(&self, _: &Index) -> Result<bool, SourceError> {
///         Ok(false) // it is polled
///     }
///
///     async fn sync(&self, index: &Index, _: Timestamp) -> Result<Synced, SourceError> {
///         while let Some((changes, asked_at)) = self.0.lock().unwrap().pop_front() {
///             index.apply(&changes, asked_at)?;
///         }
///         Ok(Synced::AsSent)
///     }
///
///     async fn report(&self, _: Option<&UsageBatch>, _: Timestamp) -> Result<(), SourceError> {
///         Ok(()) // nobody wants it
///     }
/// }
///
/// let follower = Follower::from_source(Queue::default(), "acme");
/// # let _ = follower;
/// ```
#[async_trait]
pub trait Source: Send + Sync {
    /// Waits until there may be something that `index` does not have.
    ///
    /// - there may be -> `true`; too early is allowed
    /// - the source cannot tell -> `false`: the replica waits for
    ///   [`poll_every`](crate::Follower::poll_every)
    /// - an error -> the same, except that [`SourceError::Index`] fails the replica
    async fn wait(&self, index: &Index) -> Result<bool, SourceError>;

    /// Applies everything that is new to `index`, and confirms it.
    ///
    /// - the source was asked for everything that it has -> [`Synced::ToEnd`], with the index
    ///   confirmed as of `now`, which is a time before the call
    /// - the source is sent changes, and what has arrived is applied -> [`Synced::AsSent`], with
    ///   the index confirmed as of the time that the sender stated. If the sender stated none since
    ///   the last call, the confirmation must stay what it was: a connection that is open says
    ///   nothing about the age of what it delivered
    /// - the source cannot be read now -> [`SourceError::Unavailable`]; what was applied stays
    /// - the source refuses, and will go on -> [`SourceError::Refused`]; what was applied stays
    /// - the index can never be confirmed again -> [`SourceError::Index`]
    async fn sync(&self, index: &Index, now: Timestamp) -> Result<Synced, SourceError>;

    /// Takes usage back at the time `now`, and may tell how far the replica is. It is called every
    /// [`flush_usage_every`](crate::Follower::flush_usage_every) and at the end, with `None` if
    /// nothing was used.
    ///
    /// - recorded, now or by an earlier call with the same batch -> `Ok`
    /// - refused, or the outcome is unknown -> an error: the replica keeps the batch, and hands it over
    ///   again unchanged
    async fn report(&self, usage: Option<&UsageBatch>, now: Timestamp) -> Result<(), SourceError>;
}

/// How far [`Source::sync`] came: from when on the age of the index counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// To the end of what the source had at the call. The age counts from the call.
    ToEnd,
    /// To the end of what the sender has sent. The age counts from the time that the sender stated.
    AsSent,
}

/// A source could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot now: it is asked again, with back-off.
    #[error(transparent)]
    Unavailable(Box<dyn Error + Send + Sync>),
    /// It refuses, and will until somebody changes something, such as a key that was revoked. A replica that
    /// runs asks again as for [`SourceError::Unavailable`]; one that starts fails at once.
    #[error(transparent)]
    Refused(Box<dyn Error + Send + Sync>),
    /// What it has can no longer be applied to the index, which refuses every call from then on:
    /// the replica fails.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl SourceError {
    /// An error after which the source is asked again.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// An error that does not end by itself.
    pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(source.into())
    }
}

impl From<FollowError> for SourceError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Index(error) => Self::Index(error),
            FollowError::Store(error) => Self::unavailable(error),
            error => Self::unavailable(error),
        }
    }
}

#[async_trait]
impl<S: Source + ?Sized> Source for Arc<S> {
    async fn wait(&self, index: &Index) -> Result<bool, SourceError> {
        (**self).wait(index).await
    }

    async fn sync(&self, index: &Index, now: Timestamp) -> Result<Synced, SourceError> {
        (**self).sync(index, now).await
    }

    async fn report(&self, usage: Option<&UsageBatch>, now: Timestamp) -> Result<(), SourceError> {
        (**self).report(usage, now).await
    }
}

/// The store of a keyring, in this process.
pub(crate) struct StoreSource(pub(crate) Arc<Keyring>);

#[async_trait]
impl Source for StoreSource {
    async fn wait(&self, index: &Index) -> Result<bool, SourceError> {
        let changed = self.0.store().wait_for_change(index.as_of()).await;
        changed.map_err(SourceError::unavailable)
    }

    async fn sync(&self, index: &Index, now: Timestamp) -> Result<Synced, SourceError> {
        index.follow(self.0.store(), now).await?;
        Ok(Synced::ToEnd)
    }

    async fn report(&self, usage: Option<&UsageBatch>, now: Timestamp) -> Result<(), SourceError> {
        let Some(batch) = usage else {
            return Ok(());
        };
        let recorded = self.0.store().record_usage(batch, now).await;
        recorded.map_err(SourceError::unavailable)
    }
}
