//! The settings of a replica.

use std::{fmt, sync::Arc, time::Duration};

use keyfob::{
    KeyStore, Keyring, Timestamp,
    key::{FormatError, KeyFormat, Peppers},
    manage::KeyringBuilder,
};

use crate::{
    Replica, StartError,
    clock::{Clock, Uptime, uptime},
};

/// Follows a store, with settings: the builder of a [`Replica`].
///
/// [`Follower::new`] is for a process that only verifies; [`Follower::over`] for one that also
/// manages keys, and so has a [`Keyring`].
#[must_use]
pub struct Follower<K = NewKeyring> {
    keyring: K,
    settings: Settings,
}

/// A keyring that [`Follower::start`] opens.
pub struct NewKeyring(Result<KeyringBuilder, FormatError>);

pub(crate) struct Settings {
    pub(crate) poll_every: Duration,
    pub(crate) flush_usage_every: Duration,
    pub(crate) clock: Clock,
    pub(crate) uptime: Uptime,
}

impl Follower {
    /// Follows a store whose keys begin with this prefix, as [`Keyring::open`] would open it.
    pub fn new(
        store: impl KeyStore + 'static,
        prefix: impl TryInto<KeyFormat, Error: Into<FormatError>>,
    ) -> Self {
        let format = prefix.try_into().map_err(Into::into);
        Self::with(NewKeyring(
            format.map(|format| Keyring::builder(store, format)),
        ))
    }

    /// Refuses every call with 503 when the store could not be read to its end for this long: a key
    /// that another process revoked meanwhile must not pass. The default is 10 seconds, the least
    /// is 2; fractions of a second are cut off.
    pub fn stale_after(self, bound: Duration) -> Self {
        self.configured(|builder| builder.stale_after(bound))
    }

    /// Verifies keys whose digests were made under these peppers.
    pub fn peppers(self, peppers: Peppers) -> Self {
        self.configured(|builder| builder.peppers(peppers))
    }

    fn configured(mut self, configure: impl FnOnce(KeyringBuilder) -> KeyringBuilder) -> Self {
        self.keyring.0 = self.keyring.0.map(configure);
        self
    }

    /// Reads the store to its end, and follows it in a task from then on.
    ///
    /// It does not limit the time that the first reading takes: `tokio::time::timeout` does.
    ///
    /// # Errors
    ///
    /// - the store cannot be opened, or has keys of another prefix -> [`StartError::Open`]
    /// - its changes cannot be read -> [`StartError::Follow`]
    /// - the bound is under 2 seconds -> [`StartError::StaleAfter`]
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its clock enabled.
    pub async fn start(self) -> Result<Replica, StartError> {
        let builder = self.keyring.0.map_err(keyfob::manage::Error::from)?;
        let keyring = builder.open_to_manage().await?;
        Replica::start(Arc::new(keyring), self.settings).await
    }
}

impl Follower<Arc<Keyring>> {
    /// Follows the store of a keyring. Peppers and the bound on staleness are the keyring's.
    pub fn over(keyring: Arc<Keyring>) -> Self {
        Self::with(keyring)
    }

    /// Reads the store to its end, and follows it in a task from then on.
    ///
    /// It does not limit the time that the first reading takes: `tokio::time::timeout` does.
    ///
    /// # Errors
    ///
    /// - the store cannot be read -> [`StartError::Follow`]
    /// - the keyring's bound is under 2 seconds -> [`StartError::StaleAfter`]
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its clock enabled.
    pub async fn start(self) -> Result<Replica, StartError> {
        Replica::start(self.keyring, self.settings).await
    }
}

impl<K> Follower<K> {
    /// The default of [`Follower::poll_every`].
    pub const POLL_EVERY: Duration = Duration::from_secs(1);
    /// The default of [`Follower::flush_usage_every`].
    pub const FLUSH_USAGE_EVERY: Duration = Duration::from_secs(10);

    fn with(keyring: K) -> Self {
        let settings = Settings {
            poll_every: Self::POLL_EVERY,
            flush_usage_every: Self::FLUSH_USAGE_EVERY,
            clock: Arc::new(keyfob::now),
            uptime: Arc::new(uptime),
        };
        Self { keyring, settings }
    }

    /// Reads the store's changes at least this often. The default is 1 second; more than a quarter
    /// of the bound on staleness is taken as that quarter.
    ///
    /// A store that tells of changes
    /// ([`wait_for_change`](keyfob::KeyStore::wait_for_change)) is read at each of them.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.settings.poll_every = interval;
        self
    }

    /// Writes to the store who used what, this often. The default is 10 seconds.
    pub fn flush_usage_every(mut self, interval: Duration) -> Self {
        self.settings.flush_usage_every = interval;
        self
    }

    /// Takes the time from this in place of [`keyfob::now`]: for tests.
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Takes the time since the machine was started from this in place of `CLOCK_BOOTTIME`, which
    /// counts the time that the machine was suspended: for tests.
    pub fn uptime(mut self, uptime: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.settings.uptime = Arc::new(uptime);
        self
    }
}

impl<K> fmt::Debug for Follower<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("poll_every", &self.settings.poll_every)
            .field("flush_usage_every", &self.settings.flush_usage_every)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKeyring")
    }
}
