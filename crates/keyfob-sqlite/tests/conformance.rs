//! Every behaviour of the contract, over a file.

use std::ops::Deref;

use keyfob::block_on;
use keyfob_sqlite::SqliteStore;
use tempfile::TempDir;

/// A store in a folder that goes with it. When it goes, the file must be sound.
struct TemporaryStore {
    store: SqliteStore,
    _folder: TempDir,
}

impl TemporaryStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("keys.db")).unwrap();
        Self {
            store,
            _folder: folder,
        }
    }
}

impl Deref for TemporaryStore {
    type Target = SqliteStore;

    fn deref(&self) -> &SqliteStore {
        &self.store
    }
}

impl Drop for TemporaryStore {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            block_on(self.store.check()).unwrap();
        }
    }
}

keyfob_conformance::suite!(TemporaryStore::new());
