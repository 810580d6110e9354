//! The settings of a replica.

use std::{fmt, sync::Arc, time::Duration};

use keyfob::{
    KeyStore, Keyring, Timestamp,
    gateway::Index,
    key::{FormatError, KeyFormat, Peppers},
    manage::KeyringBuilder,
};

use crate::{
    Replica, Source, StartError,
    clock::{Clock, Uptime, uptime},
    replica::Origin,
    source::StoreSource,
};

/// Follows a store or another source, with settings: the builder of a [`Replica`].
///
/// [`Follower::new`] is for a process that only verifies, next to a store;
/// [`Follower::from_source`] for one that verifies, and is fed in another way; [`Follower::over`]
/// for one that also manages keys, and so has a [`Keyring`].
#[must_use]
pub struct Follower<F = OwnIndex> {
    followed: F,
    settings: Settings,
}

/// A source that fills an index of the replica's own, which [`Follower::start`] makes.
pub struct OwnIndex {
    filled: Result<Filled, FormatError>,
    peppers: Peppers,
    stale_after: Duration,
}

/// What fills the index.
enum Filled {
    ByStore(KeyringBuilder),
    BySource(Arc<dyn Source>, KeyFormat),
}

pub(crate) struct Settings {
    pub(crate) poll_every: Duration,
    /// Whether a source that cannot be read at the start is asked again.
    pub(crate) waits_for_source: bool,
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
        Self::with_own_index(format.map(|format| Filled::ByStore(Keyring::builder(store, format))))
    }

    /// Follows a source whose keys begin with this prefix.
    pub fn from_source(
        source: impl Source + 'static,
        prefix: impl TryInto<KeyFormat, Error: Into<FormatError>>,
    ) -> Self {
        let format = prefix.try_into().map_err(Into::into);
        Self::with_own_index(format.map(|format| Filled::BySource(Arc::new(source), format)))
    }

    fn with_own_index(filled: Result<Filled, FormatError>) -> Self {
        Self::with(OwnIndex {
            filled,
            peppers: Peppers::none(),
            stale_after: KeyringBuilder::STALE_AFTER,
        })
    }

    /// Refuses every call with 503 when the source could not be read to its end for this long, or
    /// sent nothing that is younger: a key that another process revoked meanwhile must not pass. The
    /// default is 10 seconds, the least is 2; fractions of a second are cut off.
    ///
    /// It has no effect over a store that only this process can change
    /// ([`KeyStore::is_shared`]).
    pub fn stale_after(mut self, bound: Duration) -> Self {
        self.followed.stale_after = bound;
        self
    }

    /// Verifies keys whose digests were made under these peppers.
    pub fn peppers(mut self, peppers: Peppers) -> Self {
        self.followed.peppers = peppers;
        self
    }

    /// Reads the source to its end, and follows it in a task from then on.
    ///
    /// It does not limit the time that the first reading takes: `tokio::time::timeout` does.
    ///
    /// # Errors
    ///
    /// - the store cannot be opened, or has keys of another prefix -> [`StartError::Open`]
    /// - the source cannot be read, unless it [waits](Self::wait_for_source) for that, or refuses ->
    ///   [`StartError::Source`]
    /// - the bound is under 2 seconds -> [`StartError::StaleAfter`]
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its clock enabled.
    pub async fn start(self) -> Result<Replica, StartError> {
        let OwnIndex {
            filled,
            peppers,
            stale_after,
        } = self.followed;
        let origin = match filled.map_err(keyfob::manage::Error::from)? {
            Filled::ByStore(builder) => {
                let builder = builder.peppers(peppers).stale_after(stale_after);
                of_store(Arc::new(builder.open_to_manage().await?))
            }
            Filled::BySource(source, format) => Origin {
                source,
                index: Arc::new(Index::new(format, peppers)),
                stale_after: Some(stale_after),
            },
        };
        Replica::start(origin, self.settings).await
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
    /// - the store cannot be read -> [`StartError::Source`]
    /// - the keyring's bound is under 2 seconds -> [`StartError::StaleAfter`]
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its clock enabled.
    pub async fn start(self) -> Result<Replica, StartError> {
        Replica::start(of_store(self.followed), self.settings).await
    }
}

fn of_store(keyring: Arc<Keyring>) -> Origin {
    Origin {
        index: Arc::clone(keyring.index()),
        stale_after: keyring.stale_after(),
        source: Arc::new(StoreSource(keyring)),
    }
}

impl<F> Follower<F> {
    /// The default of [`Follower::poll_every`].
    pub const POLL_EVERY: Duration = Duration::from_secs(1);
    /// The default of [`Follower::flush_usage_every`].
    pub const FLUSH_USAGE_EVERY: Duration = Duration::from_secs(10);

    fn with(followed: F) -> Self {
        let settings = Settings {
            poll_every: Self::POLL_EVERY,
            waits_for_source: false,
            flush_usage_every: Self::FLUSH_USAGE_EVERY,
            clock: Arc::new(keyfob::now),
            uptime: Arc::new(uptime),
        };
        Self { followed, settings }
    }

    /// Reads the source's changes at least this often. The default is 1 second; more than a quarter
    /// of the bound on staleness is taken as that quarter.
    ///
    /// A source that tells of changes ([`Source::wait`], [`KeyStore::wait_for_change`]) is read at
    /// each of them.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.settings.poll_every = interval;
        self
    }

    /// Asks a source again, with back-off, that cannot be read at the start: `start` then returns when it could
    /// be read, and fails only if the source refuses. The default is to fail at once.
    pub fn wait_for_source(mut self) -> Self {
        self.settings.waits_for_source = true;
        self
    }

    /// Hands to the source who used what, this often. The default is 10 seconds.
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

impl<F> fmt::Debug for Follower<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("poll_every", &self.settings.poll_every)
            .field("flush_usage_every", &self.settings.flush_usage_every)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnIndex")
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}
