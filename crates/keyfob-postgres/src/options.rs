//! How a store is connected to.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{ConnectError, PostgresStore};

/// How a store is connected to: [`PostgresStore::options`].
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) schema: String,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) root_certificates: Option<PathBuf>,
}

impl Options {
    /// The schema that the tables are in, made if there is none: `keyfob` unless this says
    /// otherwise. Stores in several schemas of a database know nothing of each other.
    ///
    /// A name has 1 to 63 characters of `a-z`, `0-9` and `_` and begins with a letter, which
    /// [`connect`](Self::connect) checks.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How many connections there are at most, without the one that listens for changes:
    /// at least two, eight unless this says otherwise. Two at most are used by commits at a time, so
    /// that commits that wait for their turn do not keep readers waiting.
    #[must_use]
    pub fn with_pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections.max(2);
        self
    }

    /// How long to wait for a connection, new or free; five seconds unless this says otherwise.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a statement may take; 30 seconds unless this says otherwise. Then the server ends
    /// it, and if the server does not answer at all the connection is given up a little later.
    #[must_use]
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long a commit may wait for commits before it; ten seconds unless this says otherwise.
    /// Then it fails, and nothing was changed.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How often [`wait_for_change`](keyfob::KeyStore::wait_for_change) asks for the last revision
    /// when no notice comes; every second unless this says otherwise.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// A file of certificates, in PEM, of the authorities that the server must be certified by, in
    /// place of those of the system.
    #[must_use]
    pub fn with_root_certificates(mut self, file: impl AsRef<Path>) -> Self {
        self.root_certificates = Some(file.as_ref().to_owned());
        self
    }

    /// Connects to the store in the database at this URL.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`]; [`ConnectError::Schema`] for the name of a schema that is
    /// none, [`ConnectError::Certificates`] for a file that cannot be read.
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
