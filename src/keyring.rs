//! Key management over a store.

mod builder;
mod cutoffs;
mod error;
mod keys;
mod legacy;
mod namespaces;
mod purge;
mod trail;
mod walk;

use alloc::sync::Arc;
use core::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

pub use builder::KeyringBuilder;
pub use error::Error;
pub use keys::CreatedKey;
pub use legacy::Imported;
pub use walk::{Query, Walk};

use builder::SyncLimit;

use crate::{
    audit::{Action, AuditEntry},
    format::{FormatError, KeyFormat},
    identity::Context,
    index::{FollowError, Index},
    random::Random,
    revision::Revision,
    store::{Change, Commit, CommitError, KeyStore},
    timestamp::Timestamp,
    verify::Verifier,
};

/// Creates, lists, changes and revokes keys in a [`KeyStore`], and provides verifiers for them.
///
/// Every call that changes something takes a [`Context`]: the actor, its authority, the time and
/// the reason. The call commits the change with its audit event, and returns when the keyring's
/// verifiers apply it. The same holds for a call that finds nothing to change or is refused because
/// of a change that another process made. If the change was committed but the index could not be updated, the call
/// returns [`Error::AppliedNotSynced`]; it is safe to repeat the call. Calls that only read are not
/// audited and take no context.
///
/// The calls are `async` but need no runtime: with a store whose futures are always ready, such as
/// [`MemoryStore`](crate::MemoryStore), [`block_on`](crate::block_on) runs them.
///
/// The embedder decides which calls a caller may make. The keyring limits each call to the tenant
/// that it names: a key of another tenant is [`Error::NotFound`].
pub struct Keyring {
    store: Arc<dyn KeyStore>,
    index: Arc<Index>,
    random: Arc<dyn Random>,
    stale_after: Option<Duration>,
    sync_limit: Option<SyncLimit>,
    /// Whether the index is left empty until `sync` is called.
    manages_only: bool,
}

impl Keyring {
    /// Opens a store whose keys begin with this prefix (`[a-z][a-z0-9]{0,15}`), and reads its
    /// change feed to the end.
    ///
    /// The first call records the prefix in the store. [`Keyring::builder`] offers further
    /// settings.
    ///
    /// # Errors
    ///
    /// - the prefix is invalid -> [`Error::Format`]
    /// - another prefix is recorded in the store -> [`Error::OtherFormat`]
    /// - the store cannot be read -> [`Error::Store`], [`Error::NotSynced`]
    pub async fn open(
        store: impl KeyStore + 'static,
        prefix: impl TryInto<KeyFormat, Error: Into<FormatError>>,
    ) -> Result<Self, Error> {
        let format = prefix.try_into().map_err(Into::into)?;
        let keyring = Self::builder(store, format).open(crate::now()).await?;
        // Reading a large store may take longer than `stale_after`.
        keyring.sync(crate::now()).await.map_err(Error::NotSynced)?;
        Ok(keyring)
    }

    /// Returns a builder for a keyring over a store whose keys have this format.
    pub fn builder(store: impl KeyStore + 'static, format: KeyFormat) -> KeyringBuilder {
        KeyringBuilder::new(Arc::new(store), format)
    }

    /// Returns a verifier for the keys in the store. It applies each change of this keyring before
    /// the change's call returns.
    ///
    /// If others can change the store ([`KeyStore::is_shared`]: other processes, or other users of
    /// an `Arc` in this process), call [`Keyring::sync`] regularly (the crate `keyfob-replica`
    /// does). When the last successful sync is as old as
    /// [`stale_after`](KeyringBuilder::stale_after), the verifier refuses every call with 503.
    pub fn verifier(&self) -> Verifier {
        self.index.verifier(self.stale_after)
    }

    /// Returns a verifier without a bound on staleness.
    ///
    /// # Security
    ///
    /// A key that another process or keyring revoked is accepted until the next [`Keyring::sync`].
    /// Use it in tests, or if you sync before each verification.
    pub fn unbounded_verifier(&self) -> Verifier {
        self.index.verifier(None)
    }

    /// The store. A change that is made there without the keyring takes effect with the next
    /// [`Keyring::sync`].
    pub fn store(&self) -> &dyn KeyStore {
        &*self.store
    }

    /// The index that the verifiers read. It has figures for metrics.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The format of the keys.
    pub fn format(&self) -> &KeyFormat {
        self.index.format()
    }

    /// The age of the index at which the verifiers refuse every call; `None` if only this keyring
    /// can change the store.
    pub fn stale_after(&self) -> Option<Duration> {
        self.stale_after
    }

    /// Updates the verifiers from the store, and returns the revision reached. `now` must be a time
    /// before the call, since the index is confirmed as of `now`.
    ///
    /// # Errors
    ///
    /// - the store failed -> [`FollowError::Store`]; call again
    /// - the store went back to an earlier revision -> [`FollowError::Index`]; open a new keyring,
    ///   or exit the process
    pub async fn sync(&self, now: impl Into<Timestamp>) -> Result<Revision, FollowError> {
        self.index.follow(&*self.store, now).await
    }

    /// The context at the time to decide by: the same as that of the verifiers, which does not run
    /// back.
    fn timed(&self, context: &Context) -> Context {
        Context {
            now: self.index.latest(context.now),
            ..context.clone()
        }
    }

    async fn sync_for(&self, context: &Context) -> Result<Revision, FollowError> {
        if self.manages_only && !self.index.is_ready() {
            return Ok(self.index.as_of());
        }
        let mut sync = pin!(self.index.follow_change(&*self.store, context.now));
        let Some(limit) = &self.sync_limit else {
            return sync.await;
        };
        let mut limit = limit();
        poll_fn(|cx| match sync.as_mut().poll(cx) {
            Poll::Pending => limit.as_mut().poll(cx).map(|()| Err(FollowError::TimedOut)),
            synced @ Poll::Ready(_) => synced,
        })
        .await
    }

    /// Refuses a call. The refusal tells the state of the store, which another process may have
    /// changed: this process applies that state first.
    async fn refused<T>(&self, context: &Context, error: impl Into<Error>) -> Result<T, Error> {
        self.sync_for(context).await.map_err(Error::NotSynced)?;
        Err(error.into())
    }

    /// Commits a change and updates the index.
    async fn commit(
        &self,
        context: &Context,
        action: Action,
        change: Change,
    ) -> Result<Revision, Error> {
        let revision = self.keep(context, action, change).await?;
        self.sync_for(context)
            .await
            .map_err(Error::AppliedNotSynced)?;
        Ok(revision)
    }

    /// Commits a change. What the event says of its object is computed by
    /// [`Commit::decide`].
    async fn keep(
        &self,
        context: &Context,
        action: Action,
        change: Change,
    ) -> Result<Revision, Error> {
        let commit = Commit {
            change,
            authority: context.authority.clone(),
            // The store judges the actor by the time of the event.
            event: AuditEntry {
                at: self.index.latest(context.now),
                ..AuditEntry::new(action, context)
            },
        };
        match self.store.commit(&commit).await {
            Err(CommitError::Conflict(conflict)) => self.refused(context, conflict).await,
            outcome => Ok(outcome?),
        }
    }
}

impl core::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keyring")
            .field("format", self.format())
            .field("index", &self.index)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}
