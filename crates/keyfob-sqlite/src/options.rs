//! Options for opening a store.

use std::{path::Path, time::Duration};

use crate::{OpenError, SqliteStore};

/// Options for opening a store: [`SqliteStore::options`].
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) interval: Duration,
}

impl Options {
    /// Whether to create the file if there is none. Default: yes.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The number of reader threads, each with its own connection; at least one. Default: two.
    #[must_use]
    pub fn with_readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// How long a commit waits for another process that writes, before it fails with nothing
    /// changed. Default: five seconds.
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How often [`wait_for_change`](keyfob::KeyStore::wait_for_change) looks for commits of other
    /// processes. Default: every 50 milliseconds.
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
    /// created.
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
