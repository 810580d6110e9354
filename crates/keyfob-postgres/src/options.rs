//! Options for connecting to a store.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{ConnectError, PostgresStore};

/// Options for connecting to a store: [`PostgresStore::options`].
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) schema: String,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) transaction_pooling: bool,
}

impl Options {
    /// The schema that the tables are in, created if there is none. Default: `keyfob`. Stores in
    /// several schemas of a database are independent.
    ///
    /// A name has 1 to 63 characters of `a-z`, `0-9` and `_` and begins with a letter;
    /// [`connect`](Self::connect) checks it.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// The most connections, not counting the one that listens for changes; at least two.
    /// Default: eight. Commits use two at most, so commits that wait do not block readers.
    #[must_use]
    pub fn with_pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections.max(2);
        self
    }

    /// How long to wait for a new or a free connection. Default: five seconds.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a statement may take before the server cancels it. If the server does not answer at
    /// all, the connection is closed a little later. Default: 30 seconds.
    #[must_use]
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long a commit waits for commits before it, before it fails with nothing changed.
    /// Default: ten seconds.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How often [`wait_for_change`](keyfob::KeyStore::wait_for_change) reads the last revision
    /// when no notice comes. Default: every second.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// A PEM file with the certificates of the trusted authorities. Default: those of the system.
    #[must_use]
    pub fn with_root_certificates(mut self, file: impl AsRef<Path>) -> Self {
        self.root_certificates = Some(file.as_ref().to_owned());
        self
    }

    /// Whether the URL is that of a pooler that gives each transaction another connection to the
    /// server, as `PgBouncer` in transaction mode does. Default: no, unless the URL has
    /// `pool_mode=transaction`, which means the same.
    ///
    /// Then no statement is prepared, settings are part of each transaction, and changes of other
    /// processes are read once per [poll interval](Self::with_poll_interval), unless the URL names
    /// the servers themselves by `listen`: notices do not pass such a pooler. Without this, a store
    /// behind one is refused: [`ConnectError::TransactionPooling`].
    #[must_use]
    pub fn with_transaction_pooling(mut self, transaction_pooling: bool) -> Self {
        self.transaction_pooling = transaction_pooling;
        self
    }

    /// Connects to the store in the database at this URL.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`]; [`ConnectError::Schema`] if the name of the schema is not
    /// allowed, [`ConnectError::Certificates`] if the file cannot be read.
    pub async fn connect(&self, url: &str) -> Result<PostgresStore, ConnectError> {
        PostgresStore::connect_with(url, self).await
    }

    pub(crate) fn schema_is_valid(&self) -> bool {
        let begins = self.schema.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
        begins && self.schema.len() <= 63 && self.schema.chars().all(fits)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schema: "keyfob".to_owned(),
            pool_size: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            root_certificates: None,
            transaction_pooling: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_schema_needs_no_quotes() {
        let valid = |schema: &str| Options::default().with_schema(schema).schema_is_valid();
        for good in ["a", "keyfob", "k_2", &"x".repeat(63)] {
            assert!(valid(good), "{good}");
        }
        let bad = ["", "2k", "_k", "K", "a b", "a\"", "a;b", "a,b", "é", "pg-x"];
        for bad in bad.into_iter().chain([&*"x".repeat(64)]) {
            assert!(!valid(bad), "{bad}");
        }
    }
}
