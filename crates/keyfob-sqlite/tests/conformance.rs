//! Every behaviour of the contract, over a file.

use std::ops::Deref;

use keyfob::block_on;
use keyfob_sqlite::SqliteStore;
use tempfile::TempDir;

/// A store in a folder that goes with it.
struct TemporaryStore {
    store: Checked,
    folder: TempDir,
}

impl TemporaryStore {
    fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(folder: TempDir) -> Self {
        let store = SqliteStore::open(folder.path().join("keys.db")).unwrap();
        Self {
            store: Checked(store),
            folder,
        }
    }

    /// Closes the file, and opens it again.
    fn reopened(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        Self::within(folder)
    }
}

impl Deref for TemporaryStore {
    type Target = SqliteStore;

    fn deref(&self) -> &SqliteStore {
        &self.store.0
    }
}

/// A store whose file must be sound when it is closed.
struct Checked(SqliteStore);

impl Drop for Checked {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            block_on(self.0.check()).unwrap();
        }
    }
}

keyfob_conformance::suite!(
    store = TemporaryStore::new(),
    reopen = |store| store.reopened(),
);
