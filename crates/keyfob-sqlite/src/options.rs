//! How a store is opened.

use std::{path::Path, time::Duration};

use crate::{OpenError, SqliteStore};

/// How a store is opened: [`SqliteStore::options`].
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) interval: Duration,
}

impl Options {
    /// Whether a file is made where there is none; it is, unless this says otherwise.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How many threads read, each with a connection of its own: at least one, two unless this
    /// says otherwise.
    #[must_use]
    pub fn with_readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// How long to wait for another process that writes; five seconds unless this says otherwise.
    /// Then a commit fails, and nothing was changed.
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How often [`wait_for_change`](keyfob::KeyStore::wait_for_change) looks for changes of other
    /// processes; every 50 milliseconds unless this says otherwise.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Opens the store in this file.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`]; [`OpenError::Missing`] if there is no file and none is to be
    /// made.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        SqliteStore::open_with(path.as_ref(), self)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            readers: 2,
            busy_timeout: Duration::from_secs(5),
            interval: Duration::from_millis(50),
        }
    }
}
