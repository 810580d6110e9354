//! The builder of a keyring.

use alloc::{boxed::Box, sync::Arc};
use core::{future::Future, pin::Pin, time::Duration};

use crate::{
    digest::Peppers,
    format::KeyFormat,
    index::Index,
    keyring::{Error, Keyring},
    random::{Random, SystemRandom},
    store::KeyStore,
    timestamp::Timestamp,
};

/// Configures and opens a [`Keyring`]: see [`Keyring::builder`].
#[must_use]
pub struct KeyringBuilder {
    store: Arc<dyn KeyStore>,
    format: KeyFormat,
    peppers: Peppers,
    random: Arc<dyn Random>,
    stale_after: Duration,
    sync_limit: Option<SyncLimit>,
}

/// Makes the future that limits how long a call waits for the keyring's verifiers.
pub(super) type SyncLimit = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl KeyringBuilder {
    /// The default of [`KeyringBuilder::stale_after`].
    pub const STALE_AFTER: Duration = Duration::from_secs(10);

    pub(super) fn new(store: Arc<dyn KeyStore>, format: KeyFormat) -> Self {
        Self {
            store,
            format,
            peppers: Peppers::none(),
            random: Arc::new(SystemRandom),
            stale_after: Self::STALE_AFTER,
            sync_limit: None,
        }
    }

    /// Sets the peppers for making and verifying digests. The default is none.
    pub fn peppers(mut self, peppers: Peppers) -> Self {
        self.peppers = peppers;
        self
    }

    /// Sets the random source of identifiers and secrets. The default is [`SystemRandom`].
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Sets the bound on staleness: if the store's change feed was last read to its end this long
    /// ago, every verification is refused with 503, since a revocation may be missing. The default
    /// is 10 seconds. The bound is rounded down to whole seconds, with a minimum of one second.
    ///
    /// It has no effect if only this keyring can change the store: see [`KeyStore::is_shared`].
    pub fn stale_after(mut self, bound: Duration) -> Self {
        self.stale_after = bound;
        self
    }

    /// Limits how long a call waits, after its change is committed, until the keyring's verifiers
    /// apply the change. When the future that `limit` returns is ready, the call returns
    /// [`Error::AppliedNotSynced`], or the new secret with
    /// [`CreatedKey::in_force`](crate::manage::CreatedKey::in_force) `false`. The default is no
    /// limit.
    ///
    /// Set it in a server that drops a request after some time: a secret that was committed and
    /// not returned is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use keyfob::{Keyring, MemoryStore};
    /// # async fn sleep() {}
    /// # fn builder(format: keyfob::key::KeyFormat) {
    /// let builder = Keyring::builder(MemoryStore::new(), format)
    ///     .sync_limit(|| Box::pin(async { sleep().await }));
    /// # }
    /// ```
    pub fn sync_limit(
        mut self,
        limit: impl Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static,
    ) -> Self {
        self.sync_limit = Some(Arc::new(limit));
        self
    }

    /// Opens the store at the time `now`, as [`Keyring::open`] does.
    ///
    /// # Errors
    ///
    /// As [`Keyring::open`].
    pub async fn open(self, now: impl Into<Timestamp>) -> Result<Keyring, Error> {
        let keyring = self.open_to_manage().await?;
        keyring.sync(now).await.map_err(Error::NotSynced)?;
        Ok(Keyring {
            manages_only: false,
            ..keyring
        })
    }

    /// Opens the store to manage keys only: its keys are not read, so the time this takes does not
    /// grow with their number. The keyring's verifiers refuse every call until [`Keyring::sync`]
    /// is called. For a program that makes one change and exits.
    ///
    /// # Errors
    ///
    /// As [`Keyring::open`].
    pub async fn open_to_manage(self) -> Result<Keyring, Error> {
        // Most stores have it, and reading does not wait for writers.
        let recorded = match self.store.key_format().await? {
            Some(recorded) => recorded,
            None => self.store.record_key_format(&self.format).await?,
        };
        if recorded != self.format {
            return Err(Error::OtherFormat {
                store: Box::new(recorded),
                asked: Box::new(self.format),
            });
        }
        // Of the store itself, not of the `Arc` that the keyring made.
        let is_shared = (*self.store).is_shared();
        Ok(Keyring {
            index: Arc::new(Index::new(self.format, self.peppers)),
            store: self.store,
            random: self.random,
            stale_after: is_shared.then_some(self.stale_after),
            sync_limit: self.sync_limit,
            manages_only: true,
        })
    }
}

impl core::fmt::Debug for KeyringBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyringBuilder")
            .field("format", &self.format)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}
